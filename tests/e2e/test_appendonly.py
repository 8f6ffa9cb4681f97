"""CONFIG SET appendonly while the server runs."""

import os
import random
import signal
import threading
import time

import pytest

from harness import Error, wait_for
from test_snapshot import contents, fill


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def info(connection, field):
    for line in connection("INFO", "persistence").decode().split("\r\n"):
        if line.startswith(field + ":"):
            return line.split(":")[1]
    raise AssertionError(field)


def switched(connection):
    return info(connection, "aof_rewrite_in_progress") == "0"


@pytest.mark.parametrize("tiering", ["yes", "no"])
def test_on_makes_everything_durable(start, tiering):
    server = start("--appendonly", "no", "--save", "", "--tiering", tiering)
    with server.resp() as firn:
        fill(firn, random.Random(3), keys=150)
        firn("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        assert info(firn, "aof_enabled") == "0"
        assert firn("CONFIG", "SET", "appendonly", "yes") == "OK"
        assert info(firn, "aof_enabled") == "1"
        wait_for(lambda: switched(firn))
        expected = contents(firn)
        firn("SET", "after", "kept")
    for _ in range(2):
        kill(server)
        server.start(extra=["--appendonly", "yes"])
        with server.resp() as firn:
            assert firn("GET", "after") == b"kept"
            firn("DEL", "after")
            assert contents(firn) == expected
            assert firn("FCALL", "f", 0) == 7
            firn("SET", "after", "kept")


def test_on_under_writes_and_in_a_transaction(start):
    server = start("--appendonly", "no", "--save", "", "--appendfsync", "always",
                   "--maxmemory", "48mb", "--log-segment-size", "4mb")
    rng = random.Random(5)
    acknowledged = {}
    stop = threading.Event()

    def write():
        own = random.Random(6)
        with server.resp() as connection:
            while not stop.is_set():
                batch = [(f"key:{own.randrange(30_000)}", own.randbytes(900)) for _ in range(50)]
                try:
                    connection.pipeline([("SET", key, value) for key, value in batch])
                except (ConnectionError, OSError):
                    # What was sent last may be there or not.
                    for key, _ in batch:
                        acknowledged.pop(key, None)
                    return
                acknowledged.update(batch)

    with server.resp() as firn:
        for first in range(0, 30_000, 500):
            batch = [(f"key:{i}", rng.randbytes(1200)) for i in range(first, first + 500)]
            firn.pipeline([("SET", key, value) for key, value in batch])
            acknowledged.update(batch)
        thread = threading.Thread(target=write)
        thread.start()
        firn("MULTI")
        firn("CONFIG", "SET", "appendonly", "yes")
        firn("INCR", "counter")
        assert firn("EXEC") == ["OK", 1]
        # Waits until a crash would lose nothing.
        assert firn("WAITAOF", 1, 0, 0) == [1, 0]
        assert switched(firn)
        time.sleep(0.3)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    stop.set()
    thread.join()
    server.start(extra=["--appendonly", "yes"])
    with server.resp() as firn:
        assert firn("GET", "counter") == b"1"
        keys = list(acknowledged)
        for first in range(0, len(keys), 500):
            part = keys[first:first + 500]
            values = firn.pipeline([("GET", key) for key in part])
            assert values == [acknowledged[key] for key in part]


def test_a_crash_amid_the_switch_leaves_the_last_snapshot(start):
    server = start("--appendonly", "no", "--save", "", "--maxmemory", "200mb")
    with server.resp() as firn:
        firn("SET", "a", "saved")
        assert firn("SAVE") == "OK"
        for first in range(0, 60_000, 1000):
            firn.pipeline([("SET", f"key:{i}", "x" * 1000) for i in range(first, first + 1000)])
        firn("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        firn("CONFIG", "SET", "appendonly", "yes")
    kill(server)
    server.start(extra=["--appendonly", "yes"])
    with server.resp() as firn:
        found = firn("DBSIZE")
        # Nothing of the functions without the data, or all.
        if found == 1:
            assert firn("GET", "a") == b"saved"
            assert isinstance(firn("FCALL", "f", 0), Error)
        else:
            assert found == 60_001
            assert firn("FCALL", "f", 0) == 7


def test_off_loses_nothing_for_a_start_with_it(start):
    server = start("--save", "")
    with server.resp() as firn:
        fill(firn, random.Random(4), keys=60)
        assert firn("CONFIG", "SET", "appendonly", "no") == "OK"
        assert info(firn, "aof_enabled") == "0"
        assert "appendonly is disabled" in firn("WAITAOF", 1, 0, 0)
        firn("SET", "after", "x")
        expected = contents(firn)
        assert firn("DEBUG", "LOADAOF") == "OK"
        assert contents(firn) == expected
    kill(server)
    server.start()
    with server.resp() as firn:
        assert info(firn, "aof_enabled") == "1"
        assert contents(firn) == expected
        # And on again.
        firn("CONFIG", "SET", "appendonly", "no")
        firn("SET", "after", "y")
        firn("CONFIG", "SET", "appendonly", "yes")
        assert firn("WAITAOF", 1, 0, 0) == [1, 0]
    kill(server)
    server.start()
    with server.resp() as firn:
        assert firn("GET", "after") == b"y"


def test_a_start_without_it_finds_the_last_snapshot_and_sets_the_rest_aside(start):
    server = start("--save", "")
    with server.resp() as firn:
        firn("SET", "a", "1")
        assert firn("CONFIG", "SET", "appendonly", "no") == "OK"
        # Without durability there are rules, where none are given.
        assert firn("SAVE") == "OK"
        firn("SET", "a", "2")
    kill(server)
    server.start(extra=["--appendonly", "no"])
    with server.resp() as firn:
        assert firn("GET", "a") == b"1"
    aside = os.path.join(server.directory, "before-appendonly-no")
    assert sorted(os.listdir(aside)) == ["IDENTITY", "index", "log"]
    kill(server)
    for name in ("IDENTITY", "index", "log"):
        path = os.path.join(server.directory, name)
        os.rename(path, path + ".volatile")
        os.rename(os.path.join(aside, name), path)
    server.start()
    with server.resp() as firn:
        assert firn("GET", "a") == b"2"


def test_a_start_without_it_refuses_what_was_not_given_up(start):
    server = start("--save", "")
    with server.resp() as firn:
        firn("SET", "a", "1")
        firn("CONFIG", "SET", "appendonly", "no")
        firn("CONFIG", "SET", "appendonly", "yes")
    kill(server)
    server.start(wait=False, extra=["--appendonly", "no"])
    assert server.wait() == 1
    assert "holds durable data" in server.log()


def test_rules_of_save_follow(start):
    server = start()
    with server.resp() as firn:
        assert firn("CONFIG", "GET", "save") == [b"save", b""]
        firn("CONFIG", "SET", "appendonly", "no")
        assert firn("CONFIG", "GET", "save") == [b"save", b"3600 1 300 100 60 10000"]
        firn("CONFIG", "SET", "appendonly", "yes")
        assert firn("CONFIG", "GET", "save") == [b"save", b""]
        firn("CONFIG", "SET", "save", "10 10")
        firn("CONFIG", "SET", "appendonly", "no")
        assert firn("CONFIG", "GET", "save") == [b"save", b"10 10"]


def test_a_shutdown_waits_for_the_switch_or_is_forced(start):
    server = start("--appendonly", "no", "--save", "", "--maxmemory", "300mb")
    with server.resp() as firn:
        for first in range(0, 100_000, 1000):
            firn.pipeline([("SET", f"key:{i}", "x" * 1000) for i in range(first, first + 1000)])
        replies = firn.pipeline([("CONFIG", "SET", "appendonly", "yes"), ("SHUTDOWN",)])
        assert replies[0] == "OK"
        assert isinstance(replies[1], Error)
        wait_for(lambda: switched(firn))
        assert firn("DBSIZE") == 100_000
