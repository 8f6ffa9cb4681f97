"""What the kernel counts, for bench/lib/benchlib.py: memory, CPU and I/O of a process, the block
device's own counts, and cgroups that limit them."""

import atexit
import os
import threading
import time


def status_bytes(pid, field="VmRSS"):
    """A field of /proc/PID/status in bytes; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def cpu_seconds(pid):
    """User and system time of all threads, also those that have ended. The process' CPU clock
    (clock_getcpuclockid(3)) knows nanoseconds, where /proc knows ticks of 10 ms."""
    return time.clock_gettime(~pid << 3 | 2)


def process_io(pid):
    with open(f"/proc/{pid}/io") as file:
        return {name: int(value) for name, value in (line.split(":") for line in file)}


def device_number(path):
    number = os.stat(path).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def device_directory(path):
    """The device's folder in /sys, None where the file system has no block device."""
    directory = f"/sys/dev/block/{device_number(path)}"
    return directory if os.path.exists(directory) else None


def device_name(path):
    directory = device_directory(path)
    return os.path.basename(os.path.realpath(directory)) if directory else "no block device"


def file_system(path):
    best, kind = "", "?"
    with open("/proc/self/mounts") as file:
        for line in file:
            _, mount, name = line.split()[:3]
            if (os.path.abspath(path) + "/").startswith(mount.rstrip("/") + "/") \
                    and len(mount) >= len(best):
                best, kind = mount, name
    return kind


def device_stat(path):
    directory = device_directory(path)
    if directory is None:
        return {"reads": 0, "read_bytes": 0, "writes": 0, "written_bytes": 0}
    with open(directory + "/stat") as file:
        fields = [int(field) for field in file.read().split()]
    return {"reads": fields[0], "read_bytes": fields[2] * 512, "writes": fields[4],
            "written_bytes": fields[6] * 512}


class IoMeter:
    """I/O of a process and of its device between two moments. The device is everybody's: on a busy
    machine its counts are an upper bound."""

    def __init__(self, server):
        self.server = server
        self.process = process_io(server.pid)
        self.device = device_stat(server.directory)
        self.cpu = cpu_seconds(server.pid)
        self.began = time.monotonic()

    def read(self):
        process = process_io(self.server.pid)
        device = device_stat(self.server.directory)
        result = {name: process[name] - self.process[name] for name in process}
        result.update({f"device_{name}": device[name] - self.device[name] for name in device})
        result["cpu"] = cpu_seconds(self.server.pid) - self.cpu
        result["seconds"] = time.monotonic() - self.began
        return result


class RssSampler:
    """Samples the resident size, file mappings included, every 50 ms; follows restarts."""

    def __init__(self, server, period=0.05):
        self.server = server
        self.period = period
        self.samples = 0
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(self.period):
            pid = self.server.pid
            resident = status_bytes(pid) if pid else 0
            if resident:
                self.samples += 1
                self.peak = max(self.peak, resident)

    def take_peak(self):
        """The peak since the last call."""
        peak, self.peak = self.peak, 0
        return peak

    def stop(self):
        self._stop.set()
        self._thread.join()


def settle(server, quiet_seconds=2, limit_seconds=60):
    """Waits until the server has written nothing for a while; bounded."""
    deadline = time.monotonic() + limit_seconds
    quiet_since, last = time.monotonic(), process_io(server.pid)["write_bytes"]
    while time.monotonic() < deadline and time.monotonic() - quiet_since < quiet_seconds:
        time.sleep(0.1)
        written = process_io(server.pid)["write_bytes"]
        if written != last:
            quiet_since, last = time.monotonic(), written


def directory_bytes(path):
    """Allocated on disk, not apparent: preallocated and sparse files count as they are."""
    total = 0
    for base, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


# ---------------------------------------------------------------------------- cgroups (v1)


class Cgroup:
    """A group below our own, so that no limit above us is escaped. `made` is False where that is
    not permitted. Empty it (end its processes) before remove()."""

    def __init__(self, controller, settings):
        self.directory = None
        parent = self._own(controller)
        if parent is None:
            return
        directory = os.path.join(parent, f"firn-bench-{os.getpid()}-{id(self):x}")
        try:
            os.mkdir(directory)
            self.directory = directory
            atexit.register(self.remove)
            for name, value in settings.items():
                with open(os.path.join(directory, name), "w") as file:
                    file.write(str(value))
        except OSError:
            self.remove()

    @staticmethod
    def _own(controller):
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if controller in controllers.split(","):
                    directory = f"/sys/fs/cgroup/{controller}{path}"
                    return directory if os.access(directory, os.W_OK) else None
        return None

    @property
    def made(self):
        return self.directory is not None

    def join(self, pid=None):
        """Moves the calling process in, or another one."""
        if self.made:
            with open(os.path.join(self.directory, "cgroup.procs"), "w") as file:
                file.write(str(pid or os.getpid()))

    def read(self, name):
        with open(os.path.join(self.directory, name)) as file:
            return file.read()

    def remove(self):
        deadline = time.monotonic() + 5
        while self.made and time.monotonic() < deadline:
            try:
                os.rmdir(self.directory)
                self.directory = None
            except OSError:
                time.sleep(0.05)


def memory_group(limit_bytes):
    return Cgroup("memory", {"memory.limit_in_bytes": limit_bytes})


def slow_writes_group(path, writes_per_second):
    """Slows the writes of the file system's disk, and so its fdatasync."""
    return Cgroup("blkio", {
        "blkio.throttle.write_iops_device": f"{device_number(path)} {writes_per_second}"})
