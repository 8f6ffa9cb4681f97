"""What single commands read of keys that have left RAM."""

import time
import typing

import benchlib
from counters import device_directory, device_stat


class Read(typing.NamedTuple):
    """What one command made the server read."""
    reads: float  # that the device was asked for, also by others; the pages, if there is no device
    pages: float  # of 4 KiB
    milliseconds: float
    reply: object


def read_by(server, resp, command):
    reads = device_stat(server.directory)["reads"]
    before = benchlib.process_io(server.pid)["read_bytes"]
    began = time.perf_counter()
    reply = resp(*command)
    taken = time.perf_counter() - began
    pages = (benchlib.process_io(server.pid)["read_bytes"] - before) / benchlib.PAGE
    reads = device_stat(server.directory)["reads"] - reads
    if device_directory(server.directory) is None:
        reads = pages
    return Read(reads, pages, taken * 1000, reply)


def restart(server, limit):
    """Nothing is left of how the data came in."""
    server.stop()
    server.config["maxmemory"] = limit
    server.start()
    benchlib.settle(server, limit_seconds=120)
