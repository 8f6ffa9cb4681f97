"""What FLUSHALL does to the dump."""

import contextlib
import ctypes
import glob
import os
import time

import pytest

from harness import wait_for


def dumped_keys(server):
    with open(os.path.join(server.directory, "dump.rdb"), "rb") as file:
        return b"kept" in file.read()


@pytest.mark.parametrize("durable", ["yes", "no"])
def test_flushall_leaves_an_empty_dump_where_there_are_rules(start, durable):
    server = start("--appendonly", durable, "--save", "3600 1000000")
    with server.resp() as firn:
        firn("SET", "kept", "1")
        assert firn("SAVE") == "OK"
        assert dumped_keys(server)
        firn("FLUSHDB")
        assert dumped_keys(server)
        assert firn("FLUSHALL") == "OK"
        assert not dumped_keys(server)
        assert "rdb_changes_since_last_save:0\r\n" in firn("INFO", "persistence").decode()
        firn("SET", "kept", "1")
        assert firn("SAVE") == "OK"
        firn("MULTI")
        firn("FLUSHALL")
        firn("SET", "a", "1")
        firn("EXEC")
        assert wait_for(lambda: not dumped_keys(server))
        assert wait_for(
            lambda: "rdb_bgsave_in_progress:0\r\n" in firn("INFO", "persistence").decode())
        firn("CONFIG", "SET", "save", "")
        firn("SET", "kept", "1")
        assert firn("SAVE") == "OK"
        firn("FLUSHALL")
        time.sleep(0.3)
        assert dumped_keys(server)


def test_flushall_ends_a_save_in_the_background(start):
    server = start("--save", "", "--rdb-key-save-delay", "1000")
    with server.resp() as firn:
        firn.pipeline([("SET", f"key:{i}", "x") for i in range(5000)])
        assert firn("BGSAVE") == "Background saving started"
        firn("FLUSHALL")
        assert "rdb_bgsave_in_progress:0" in firn("INFO", "persistence").decode()
        assert not os.path.exists(os.path.join(server.directory, "dump.rdb"))


SLEEPS = "230"  # clock_nanosleep, on x86-64: what a save does between two keys, if it is to be slow


def threads(server):
    return set(os.listdir(f"/proc/{server.process.pid}/task"))


@contextlib.contextmanager
def stopped(server, thread):
    """Stops a thread, amid a sleep, as a disk does that takes long."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, resume, detach = 0x4206, 0x4207, 7, 17
    if ptrace(seize, int(thread), None, None) != 0:
        pytest.skip("threads of others can't be stopped here")

    def sleeps():
        assert ptrace(interrupt, int(thread), None, None) == 0
        os.waitpid(int(thread), 0x40000000)  # __WALL
        with open(f"/proc/{server.process.pid}/task/{thread}/syscall") as file:
            if file.read().split()[0] == SLEEPS:
                return True
        assert ptrace(resume, int(thread), None, None) == 0
        return False

    assert wait_for(sleeps)
    try:
        yield
    finally:
        ptrace(detach, int(thread), None, None)


def begin_slow_save(firn, server):
    """Returns its thread."""
    firn("CONFIG", "SET", "rdb-key-save-delay", 10_000_000)
    before = threads(server)
    assert firn("BGSAVE") == "Background saving started"
    assert wait_for(lambda: b"current_save_keys_processed:1\r\n" in firn("INFO", "persistence"))
    firn("CONFIG", "SET", "rdb-key-save-delay", 0)
    started = threads(server) - before
    assert len(started) == 1
    return started.pop()


@pytest.mark.parametrize("durable", ["yes", "no"])
def test_flushall_does_not_wait_for_the_save_that_it_ends(start, durable):
    server = start("--appendonly", durable, "--save", "3600 1000000")
    temporary = os.path.join(server.directory, "temp-*.rdb")
    with server.resp() as firn:
        firn.pipeline([("SET", f"kept:{i}", "x") for i in range(10)])
        thread = begin_slow_save(firn, server)
        with stopped(server, thread):
            assert len(glob.glob(temporary)) == 1
            assert firn("FLUSHALL") == "OK"
            assert not dumped_keys(server)
            assert b"rdb_bgsave_in_progress:0\r\n" in firn("INFO", "persistence")
            assert glob.glob(temporary) == []
            firn("SET", "next", "1")
            assert firn("BGSAVE") == "Background saving started"
            assert wait_for(
                lambda: b"rdb_bgsave_in_progress:0\r\n" in firn("INFO", "persistence"))
            assert thread in threads(server)
        assert wait_for(lambda: thread not in threads(server))
        assert b"rdb_last_bgsave_status:ok\r\n" in firn("INFO", "persistence")
        assert not dumped_keys(server)
        with open(os.path.join(server.directory, "dump.rdb"), "rb") as file:
            assert b"next" in file.read()
        assert glob.glob(temporary) == []


def test_a_shutdown_waits_for_a_save_that_was_ended(start):
    server = start("--save", "")
    with server.resp() as firn:
        firn.pipeline([("SET", f"kept:{i}", "x") for i in range(10)])
        with stopped(server, begin_slow_save(firn, server)):
            assert firn("FLUSHALL") == "OK"
            assert firn("PING") == "PONG"
            firn.send("SHUTDOWN", "NOSAVE")
            assert wait_for(lambda: "User requested shutdown" in server.log())
    assert server.wait() == 0
    assert glob.glob(os.path.join(server.directory, "*.rdb")) == []


def test_many_saves_are_ended_at_once(start):
    server = start("--save", "", "--rdb-key-save-delay", "10000000")
    with server.resp() as firn:
        before = len(threads(server))
        for i in range(30):
            firn.pipeline([("SET", f"key:{i}", "x") for i in range(10)])
            assert firn("BGSAVE") == "Background saving started"
            assert firn("FLUSHALL") == "OK"
        assert wait_for(lambda: len(threads(server)) <= before)
    assert server.stop() == 0
    assert glob.glob(os.path.join(server.directory, "*.rdb")) == []


def test_what_was_flushed_counts_as_changes(start):
    server = start("--save", "")
    with server.resp() as firn:
        firn.pipeline([("SET", f"key:{i}", "x") for i in range(100)])
        assert firn("SAVE") == "OK"
        firn("FLUSHDB")
        assert "rdb_changes_since_last_save:100\r\n" in firn("INFO", "persistence").decode()
        firn("CONFIG", "SET", "save", "3600 1000")
        firn("SET", "a", "1")
        firn("FLUSHALL")
        assert "rdb_changes_since_last_save:0\r\n" in firn("INFO", "persistence").decode()
