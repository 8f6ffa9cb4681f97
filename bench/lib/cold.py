"""What single commands read of keys that have left RAM."""

import time

import benchlib


def pages_read(server, resp, command):
    """(pages of 4 KiB, milliseconds, reply) of one command."""
    before = benchlib.process_io(server.pid)["read_bytes"]
    began = time.perf_counter()
    reply = resp(*command)
    taken = time.perf_counter() - began
    pages = (benchlib.process_io(server.pid)["read_bytes"] - before) / benchlib.PAGE
    return pages, taken * 1000, reply


def restart(server, limit):
    """Nothing is left of how the data came in."""
    server.stop()
    server.config["maxmemory"] = limit
    server.start()
    benchlib.settle(server, limit_seconds=120)
