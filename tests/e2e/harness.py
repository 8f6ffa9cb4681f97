"""Starts and stops servers for the end-to-end tests, and speaks RESP without a client library's
help, so that a test sees replies exactly as they were sent."""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# What a machine with more to do than it can may take; only a test that fails waits that long.
PATIENCE_SECONDS = 120

# Below the ports that the kernel gives to connections: nobody else takes one while its server is
# down. Each process of tests begins elsewhere.
PORTS = range(10_000, 32_000)
_next_port = PORTS.start + os.getpid() * 97 % len(PORTS)


def free_port():
    global _next_port
    for _ in PORTS:
        port = _next_port
        _next_port = port + 1 if port + 1 in PORTS else PORTS.start
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no port is free")


def firn_binary():
    path = os.environ.get("FIRN_SERVER")
    if path:
        return path
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.path.join(root, "build", "firn-server")


def _die_with_parent():
    # A test run that is killed leaves no server behind. 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL("libc.so.6", use_errno=True).prctl(1, signal.SIGKILL)


class Error(str):
    """An error reply."""


class Simple(str):
    """A simple string reply."""


class Push(list):
    pass


class RespClient:
    """A connection. Replies: Simple, Error, int, bytes, list, None; with RESP3 also float, bool,
    dict, set, Push, and ("bignum" | "verbatim" | "attribute", ...) tuples."""

    def __init__(self, port, timeout=PATIENCE_SECONDS, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def encode(*args):
        parts = [b"*%d\r\n" % len(args)]
        for arg in args:
            if isinstance(arg, str):
                arg = arg.encode()
            elif isinstance(arg, int):
                arg = b"%d" % arg
            parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
        return b"".join(parts)

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *args):
        self.socket.sendall(self.encode(*args))

    def __call__(self, *args):
        self.send(*args)
        return self.read()

    def pipeline(self, commands):
        self.socket.sendall(b"".join(self.encode(*command) for command in commands))
        return [self.read() for _ in commands]

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        return line[:-2]

    def _exactly(self, size):
        data = self.file.read(size + 2)
        if len(data) != size + 2:
            raise ConnectionError("the server closed the connection")
        assert data.endswith(b"\r\n"), data[-10:]
        return data[:-2]

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Simple(rest.decode("latin1"))
        if kind == b"-":
            return Error(rest.decode("latin1"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"_":
            return None
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind == b"(":
            return ("bignum", int(rest))
        if kind == b"=":
            text = self._exactly(int(rest))
            return ("verbatim", text[:3], text[4:])
        if kind == b"%":
            pairs = [(self.read(), self.read()) for _ in range(int(rest))]
            return dict(pairs)
        if kind == b"~":
            return {self.read() for _ in range(int(rest))}
        if kind == b">":
            return Push(self.read() for _ in range(int(rest)))
        if kind == b"|":
            pairs = [(self.read(), self.read()) for _ in range(int(rest))]
            return ("attribute", pairs, self.read())
        raise AssertionError(f"not RESP: {line!r}")

    def at_end(self):
        """True once the server has closed the connection."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


class Server:
    """One server process with a data directory of its own, on a free port."""

    def __init__(self, *options, directory=None, config=None, binary=None, wait=True, durable=True):
        self.binary = binary or firn_binary()
        # So that a file of tests can be run with either; tests that name one have the last word.
        self.io_backend = None if binary else os.environ.get("FIRN_TEST_IO_BACKEND")
        # The same for anything else, as in "--io-threads 2".
        self.arguments = [] if binary else os.environ.get("FIRN_TEST_ARGUMENTS", "").split()
        self.owns_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="firn-test-")
        self.port = free_port()
        self.options = [str(option) for option in options]
        self.config = config
        self.process = None
        self.log_path = os.path.join(self.directory, "server.log")
        if wait is not None:
            self.start(wait=wait)

    def start(self, wait=True, extra=()):
        command = [self.binary]
        if self.config is not None:
            command.append(self.config)
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory]
        command += ["--enable-debug-command", "yes"]
        if self.io_backend:
            command += ["--io-backend", self.io_backend]
        command += self.arguments + self.options + [str(option) for option in extra]
        # The log may not lie in a directory whose disk the test fills.
        with open(self.log_file(), "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent)
        if wait:
            self.wait_until_ready()
        return self

    def log_file(self):
        return os.environ.get("FIRN_TEST_LOG", self.log_path)

    def wait_until_ready(self, seconds=PATIENCE_SECONDS):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self.process.returncode}:\n{self.log()}")
            try:
                with RespClient(self.port) as client:
                    if client("PING") == "PONG":
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"the server is not ready after {seconds} s:\n{self.log()}")

    def log(self):
        with open(self.log_file(), "rb") as log:
            return log.read().decode("utf8", "replace")

    def resp(self, **options):
        return RespClient(self.port, **options)

    def redis(self, **options):
        import redis
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=PATIENCE_SECONDS, **options)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE_SECONDS):
        return self.process.wait(seconds)

    def stop(self):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self, how="term", extra=()):
        self.kill() if how == "kill" else self.stop()
        return self.start(extra=extra)

    def remove(self):
        self.kill()
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)


def redis_server():
    """Debian's redis-server, in memory; None where it isn't installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        return None
    return Server("--save", "", "--appendonly", "no", "--daemonize", "no", binary=binary)


def run_beside(busy, other, *command):
    """What `busy` is answered to a command on much, while `other` is served as well. Were it done in
    one go, that would be two PINGs; bench/no-stall measures how long they wait."""
    busy.send(*command)
    pings = 0
    while not select.select([busy.socket], [], [], 0)[0]:
        assert other("PING") == "PONG"
        pings += 1
    reply = busy.read()
    assert pings > 5, (command[0], pings)
    return reply


def wait_for(condition, seconds=PATIENCE_SECONDS, interval=0.02):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(interval)
    return condition()
