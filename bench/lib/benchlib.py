"""What the scripts in bench/ share: servers and their counters, firn-bench, fio, cgroups, verdicts.

Nothing here trusts the measured server: memory, CPU and I/O come from /proc and from the block
device, values are checked by firn-bench, and a server is ready when it answers rightly."""

import argparse
import ctypes
import datetime
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from counters import (  # noqa: F401: the scripts name them through this module
    IoMeter, RssSampler, cpu_seconds, device_name, directory_bytes, file_system, memory_group,
    process_io, settle, slow_writes_group, status_bytes)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIRST_PORT, LAST_PORT = 22000, 22099
READY_SECONDS = 120
MB = 1 << 20
PAGE = 4096


# ---------------------------------------------------------------------------- command line


def parser(doc):
    """The options that every script takes."""
    options = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--server", default=os.path.join(ROOT, "build", "firn-server"),
                         help="the server to measure (build/firn-server)")
    options.add_argument("--server-args", default="", help="further arguments for it")
    options.add_argument("--redis", default="redis-server", help="the server to compare with")
    options.add_argument("--bench", default=None, help="firn-bench (beside the server, or build/)")
    options.add_argument("--scale", type=float, default=1.0,
                         help="size of the run; under 1, figures are printed but not judged")
    options.add_argument("--dir", default=None, help="where data goes (a temporary directory)")
    options.add_argument("--server-cpu", type=int, default=0)
    options.add_argument("--load-cpu", type=int, default=1 if os.cpu_count() > 1 else 0)
    options.add_argument("--json", default=None, help="write all figures to this file too")
    return options


def add_address(options):
    options.add_argument("--address", default=None,
                         help="host:port of a running local server, instead of --server")


class Run:
    """One run of a script: its options, data directory, verdicts. Use as a context."""

    def __init__(self, options):
        self.options = options
        self.scale = options.scale
        self.directory = tempfile.mkdtemp(prefix="firn-bench-", dir=options.dir)
        self.bench_path = options.bench or find_bench(options.server)
        self.failures = 0
        self.figures = {}
        self._closing = []
        self._servers = []
        print(environment_line(self.directory), flush=True)
        if self.scale < 1:
            print(f"scale {self.scale:g}: correctness is judged, figures are not", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self._say_what_ended()
        for close in reversed(self._closing):
            close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def at_exit(self, close):
        self._closing.append(close)

    def _say_what_ended(self):
        """The last words of servers that ended by themselves: their directories are removed."""
        for server in self._servers:
            if server.process is not None and not server.running:
                print(f"{server.binary} ended with {server.process.returncode}:\n"
                      f"{server.log_tail(80)}", flush=True)

    def path(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def server(self, binary=None, name="server", **kwargs):
        """Not started yet."""
        server = Server(binary or self.options.server, self.path(name),
                        cpu=kwargs.pop("cpu", self.options.server_cpu), **kwargs)
        if binary is None:
            server.extra = shlex.split(self.options.server_args)
        self.at_exit(server.kill)
        self._servers.append(server)
        return server

    # Verdicts.

    def note(self, name, text, value=None):
        if value is not None:
            self.figures[name] = value
        print(f"        {name}: {text}", flush=True)

    def right(self, name, holds, detail=""):
        """Correctness: counts at any scale."""
        self.figures[name] = bool(holds)
        self.failures += not holds
        print(f"{'PASS' if holds else 'FAIL'}    {name}{': ' + detail if detail else ''}",
              flush=True)

    def at_most(self, name, value, limit, unit=""):
        self._figure(name, value, value <= limit, f"at most {limit:,.4g}", unit)

    def at_least(self, name, value, limit, unit=""):
        self._figure(name, value, value >= limit, f"at least {limit:,.4g}", unit)

    def _figure(self, name, value, holds, bound, unit):
        self.figures[name] = value
        judged = self.scale >= 1
        self.failures += judged and not holds
        word = "PASS" if holds else "FAIL"
        word = word + "   " if judged else f"({word.lower()}) "
        print(f"{word} {name}: {value:,.4g} {unit} ({bound})", flush=True)

    def finish(self):
        """Prints the verdict and returns the exit code."""
        if self.options.json:
            with open(self.options.json, "w") as file:
                json.dump({"environment": environment_line(self.directory),
                           "script": os.path.basename(sys.argv[0]), "scale": self.scale,
                           "failures": self.failures, "figures": self.figures}, file, indent=1)
        print("PASS" if self.failures == 0 else f"FAIL: {self.failures}", flush=True)
        return 1 if self.failures else 0


def find_bench(server):
    beside = os.path.join(os.path.dirname(os.path.abspath(server)), "firn-bench")
    for path in (beside, os.path.join(ROOT, "build", "firn-bench"), shutil.which("firn-bench")):
        if path and os.access(path, os.X_OK):
            return path
    sys.exit("firn-bench is not built: say --bench PATH")


def environment_line(directory):
    model = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MB
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    return (f"{now}, {model}, {os.cpu_count()} cores, {memory} MB, Linux {platform.release()}, "
            f"{file_system(directory)} on {device_name(directory)}")


# ---------------------------------------------------------------------------- RESP


class Error(Exception):
    """An error reply."""


class Resp:
    """A connection. Errors raise; null is None; bulk strings are bytes."""

    def __init__(self, port, timeout=60, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __call__(self, *args):
        self.socket.sendall(encode(*args))
        return self._raising(self.read())

    def pipeline(self, commands):
        self.socket.sendall(b"".join(encode(*command) for command in commands))
        replies = [self.read() for _ in commands]
        return [self._raising(reply) for reply in replies]

    @staticmethod
    def _raising(reply):
        if isinstance(reply, Error):
            raise reply
        return reply

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Error(rest.decode("latin1"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) != size + 2:
                raise ConnectionError("the server closed the connection")
            return data[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"not RESP: {line[:60]!r}")


def encode(*args):
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, bytes):
            arg = str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


# ---------------------------------------------------------------------------- servers


def free_port():
    """A port that nothing listens on, different from those handed out before. Scripts that run at
    the same time begin at different ones: the port of a server that is being restarted is free."""
    count = LAST_PORT + 1 - FIRST_PORT
    for i in range(count):
        port = FIRST_PORT + (os.getpid() * 17 + i) % count
        if port in free_port.taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        free_port.taken.add(port)
        return port
    raise RuntimeError(f"no free port in {FIRST_PORT}-{LAST_PORT}")


free_port.taken = set()
_libc = ctypes.CDLL("libc.so.6", use_errno=True)


class Server:
    """A firn-server or redis-server process. Start it from the main thread only: it dies with the
    thread that started it, so that an interrupted run leaves nothing behind."""

    def __init__(self, binary, directory, cpu=None, groups=(), config=None):
        self.binary = shutil.which(binary) or binary
        if not os.access(self.binary, os.X_OK):
            sys.exit(f"no server at {binary}: say --server PATH")
        self.is_firn = b"firn" in subprocess.run(
            [self.binary, "--version"], stdout=subprocess.PIPE, timeout=30).stdout.lower()
        self.directory = directory
        self.cpu = cpu
        self.groups = list(groups)
        self.config = dict(config or {})
        self.extra = []
        self.port = free_port()
        self.process = None
        self.log_path = os.path.join(directory, "server.log")

    @property
    def pid(self):
        """None while it does not run."""
        process = self.process
        return process.pid if process else None

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def arguments(self):
        config = {"port": self.port, "bind": "127.0.0.1", "dir": self.directory, **self.config}
        if not self.is_firn:
            # Redis has one tier: it is given no limit, and the log that Firn has by default.
            config.pop("maxmemory", None)
            config.setdefault("appendonly", "yes")
            config.setdefault("save", "")
        arguments = [self.binary]
        for name, value in config.items():
            arguments += [f"--{name}", str(value)]
        return arguments + self.extra

    def start(self, probe=None):
        """Starts, and returns the seconds from exec to the first right reply: to `probe` if given,
        (command, expected reply), else to PING."""
        self.kill()
        command, expected = probe or (("PING",), "PONG")
        self._log = open(self.log_path, "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(self.arguments(), stdout=self._log, stderr=self._log,
                                        stdin=subprocess.DEVNULL, preexec_fn=self._in_child)
        while time.monotonic() - began < READY_SECONDS:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.binary} ended with {self.process.returncode}:\n"
                                   + self.log_tail())
            try:
                with Resp(self.port, timeout=READY_SECONDS) as resp:
                    while time.monotonic() - began < READY_SECONDS:
                        try:
                            reply = resp(*command)
                        except Error as error:
                            if not str(error).startswith("LOADING"):
                                raise
                            reply = None
                        if reply == expected:
                            return time.monotonic() - began
                        if reply is not None:
                            raise RuntimeError(f"{command} answered {reply!r:.80}")
                        time.sleep(0.001)
            except (ConnectionError, socket.timeout):
                time.sleep(0.0005)
        raise RuntimeError(f"{self.binary} gave no right reply in {READY_SECONDS} s:\n"
                           + self.log_tail())

    def _in_child(self):
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})
        for group in self.groups:
            group.join()

    def signal_kill(self):
        """SIGKILL, and doesn't wait."""
        if self.running:
            self.process.kill()

    def kill(self):
        """SIGKILL, and waits for the end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._log.close()
            self.process = None

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                pass
            self.kill()

    def log_tail(self, lines=20):
        with open(self.log_path, errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def resp(self):
        return Resp(self.port)

    def info(self, section="everything"):
        with self.resp() as resp:
            text = resp("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.splitlines()
                    if ":" in line and not line.startswith("#"))


class RunningServer(Server):
    """Somebody else's server on this machine, which is measured and never ended."""

    def __init__(self, address, directory):
        host, _, port = address.rpartition(":")
        if host not in ("", "127.0.0.1", "localhost"):
            sys.exit("--address: the server must run on this machine, its /proc is read")
        self.port = int(port)
        self.process = None
        self.directory = directory
        info = self.info("server")
        self._pid = int(info["process_id"])
        self.is_firn = info.get("server_name") == "firn"
        with self.resp() as resp:
            self.directory = resp("CONFIG", "GET", "dir")[1].decode()

    pid = property(lambda self: self._pid)
    running = property(lambda self: os.path.exists(f"/proc/{self._pid}"))

    def kill(self):
        pass

    stop = kill


# ---------------------------------------------------------------------------- programs


class Load:
    """A firn-bench. Its report is the dict `wait()` or `stop()` returns."""

    def __init__(self, run, port, *arguments, cpu=None, quiet=True):
        handle, self.json_path = tempfile.mkstemp(suffix=".json", dir=run.directory)
        os.close(handle)
        self.cpu = run.options.load_cpu if cpu is None else cpu
        command = [run.bench_path, "--port", str(port), "--json", self.json_path]
        command += [str(argument) for argument in arguments] + (["--quiet"] if quiet else [])
        self.process = subprocess.Popen(command, preexec_fn=self._in_child)
        run.at_exit(self._kill)

    def _in_child(self):
        _libc.prctl(1, signal.SIGKILL)
        os.sched_setaffinity(0, {self.cpu})

    def _kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self):
        self.process.wait()
        return self._report()

    def stop(self):
        self.process.terminate()
        return self.wait()

    def _report(self):
        with open(self.json_path) as file:
            text = file.read()
        os.unlink(self.json_path)
        if not text:
            raise RuntimeError(f"firn-bench ended with {self.process.returncode}, without report")
        return json.loads(text)


def load(run, server, *arguments):
    return Load(run, server.port, *arguments).wait()


FIO = ["fio", "--name=yardstick", "--rw=randread", "--bs=4k", "--direct=1", "--ioengine=io_uring",
       "--time_based", "--norandommap", "--randrepeat=0", "--output-format=json"]


def fio_random_reads(run, depth, size_bytes, seconds):
    """{'iops', 'mean_us', 'p99_us'} of direct 4 KiB random reads on the server's core; None
    without fio or where it cannot run."""
    if shutil.which("fio") is None:
        return None
    path = os.path.join(run.directory, "fio.data")
    command = FIO + [f"--filename={path}", f"--size={size_bytes}", f"--iodepth={depth}",
                     f"--runtime={seconds}", f"--cpus_allowed={run.options.server_cpu}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    if done.returncode != 0:
        return None
    text = done.stdout.decode()
    read = json.loads(text[text.index("{"):])["jobs"][0]["read"]
    return {"iops": read["iops"], "mean_us": read["clat_ns"]["mean"] / 1000,
            "p99_us": read["clat_ns"]["percentile"]["99.000000"] / 1000}


def sync_us(directory, group=None, rounds=200):
    """Time of a 4 KiB write and fdatasync into preallocated space: the median, or in `group`, where
    the throttle lets some through at once and stops others for long, the mean."""
    joined = {} if group is None else {"preexec_fn": group.join}
    command = [sys.executable, os.path.abspath(__file__), "measure-sync", directory, str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300, **joined)
    median, mean = map(float, done.stdout.split())
    return median if group is None else mean


def measure_sync(directory, rounds):
    handle, path = tempfile.mkstemp(dir=directory)
    try:
        os.posix_fallocate(handle, 0, PAGE * rounds)
        os.pwrite(handle, bytes(PAGE * rounds), 0)
        os.fsync(handle)
        times = []
        for i in range(rounds):
            block = os.urandom(PAGE)
            began = time.monotonic()
            os.pwrite(handle, block, i * PAGE)
            os.fdatasync(handle)
            times.append((time.monotonic() - began) * 1e6)
        # A throttled disk lets a burst through first.
        times = times[rounds // 2:]
        return f"{statistics.median(times)} {statistics.mean(times)}"
    finally:
        os.close(handle)
        os.unlink(path)


if __name__ == "__main__" and len(sys.argv) == 4 and sys.argv[1] == "measure-sync":
    print(measure_sync(sys.argv[2], int(sys.argv[3])))
