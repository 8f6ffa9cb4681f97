"""DEBUG RELOAD, and what a start finds without durability."""

import os
import random
import signal
import threading

import pytest

from harness import Error
from test_snapshot import contents, fill, wait_for_save


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


# --- DEBUG RELOAD

@pytest.mark.parametrize("durable", ["yes", "no"])
def test_reload_saves_empties_and_loads(start, durable):
    server = start("--appendonly", durable, "--save", "")
    with server.resp() as firn:
        fill(firn, random.Random(5), keys=120)
        firn("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        expected = contents(firn)
        encodings = {key: firn("OBJECT", "ENCODING", key[1]) for key in expected if key[0] == 0}
        digest = firn("DEBUG", "DIGEST")
        assert firn("DEBUG", "RELOAD") == "OK"
        assert firn("DEBUG", "DIGEST") == digest
        assert contents(firn) == expected
        assert {key: firn("OBJECT", "ENCODING", key[1]) for key in encodings} == encodings
        assert firn("FCALL", "f", 0) == 7
        assert os.path.exists(os.path.join(server.directory, "dump.rdb"))


def test_options_of_reload(start):
    server = start("--save", "")
    with server.resp() as firn:
        firn("SET", "a", 1)
        firn("SADD", "b", *range(20_000))
        assert firn("SAVE") == "OK"
        firn("SET", "a", 2)
        firn("SET", "c", 3)
        assert isinstance(firn("DEBUG", "RELOAD", "NOSUCH"), Error)
        assert firn("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE") == "OK"
        assert [firn("GET", "a"), firn("SCARD", "b"), firn("GET", "c")] == [b"1", 20_000, b"3"]
        assert firn("DEBUG", "RELOAD", "NOSAVE") == "OK"
        assert firn("GET", "c") is None
        assert isinstance(firn("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"), Error)
        os.remove(os.path.join(server.directory, "dump.rdb"))
        assert isinstance(firn("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"), Error)
        assert firn("GET", "a") == b"1"


def test_a_reload_takes_libraries_that_are_there_only_to_merge(start):
    server = start("--save", "")
    with server.resp() as firn:
        library = "#!lua name=lib\nredis.register_function('f', function() return 7 end)"
        assert firn("FUNCTION", "LOAD", library) == b"lib"
        assert firn("DEBUG", "RELOAD", "NOFLUSH").startswith("ERR Error trying to load the RDB")
        assert firn("FCALL", "f", 0) == 7
        assert firn("DEBUG", "RELOAD", "NOFLUSH", "MERGE") == "OK"
        assert firn("DEBUG", "RELOAD") == "OK"
        assert firn("FCALL", "f", 0) == 7


def test_a_reload_shows_to_those_who_watch_and_is_durable(start):
    server = start("--save", "")
    with server.resp() as firn, server.resp() as other:
        firn("RPUSH", "list", "a")
        other("WATCH", "list")
        other("MULTI")
        other("PING")
        assert firn("DEBUG", "RELOAD") == "OK"
        assert other("EXEC") is None
    kill(server)
    server.start()
    with server.resp() as firn:
        assert firn("LRANGE", "list", 0, -1) == [b"a"]


def test_reload_of_cold_values_under_requests(start):
    server = start("--save", "", "--maxmemory", "48mb", "--log-segment-size", "4mb")
    rng = random.Random(3)
    stop = threading.Event()
    failures = []

    def read():
        with server.resp() as connection:
            while not stop.is_set():
                value = connection("GET", f"key:{rng.randrange(40_000)}")
                if value is None or isinstance(value, Error):
                    failures.append(value)

    with server.resp() as firn:
        for first in range(0, 40_000, 500):
            firn.pipeline([("SET", f"key:{i}", rng.randbytes(1500)) for i in range(first, first + 500)])
        digest = firn("DEBUG", "DIGEST")
        thread = threading.Thread(target=read)
        thread.start()
        assert firn("DEBUG", "RELOAD") == "OK"
        stop.set()
        thread.join()
        assert failures == []
        assert firn("DEBUG", "DIGEST") == digest


@pytest.mark.parametrize("durable", ["yes", "no"])
def test_loadaof_loses_nothing(start, durable):
    server = start("--appendonly", durable, "--save", "")
    with server.resp() as firn:
        fill(firn, random.Random(6), keys=60)
        expected = contents(firn)
        assert firn("DEBUG", "LOADAOF") == "OK"
        assert contents(firn) == expected


# --- without durability

def test_without_durability_a_start_finds_the_last_snapshot(start):
    server = start("--appendonly", "no", "--save", "3600 1")
    with server.resp() as firn:
        fill(firn, random.Random(9), keys=60)
        firn("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        expected = contents(firn)
        assert firn("BGSAVE") == "Background saving started"
        wait_for_save(firn)
        firn("SET", "after", "lost")
        firn("DEL", "large hash")
    for _ in range(2):
        kill(server)
        server.start()
        with server.resp() as firn:
            assert contents(firn) == expected
            assert firn("FCALL", "f", 0) == 7
    with server.resp() as firn:
        firn("SET", "after", "kept")
        firn.send("SHUTDOWN")
    server.process.wait()
    server.start()
    with server.resp() as firn:
        assert firn("GET", "after") == b"kept"
        # FLUSHALL would have written an empty dump.
        assert firn("FLUSHDB") == "OK"
        firn.send("SHUTDOWN", "NOSAVE")
    server.process.wait()
    # Durable from now on, beginning with the dump.
    server.start(extra=["--appendonly", "yes"])
    with server.resp() as firn:
        assert firn("GET", "after") == b"kept"
        firn("SET", "more", "kept")
    kill(server)
    server.start(extra=["--appendonly", "yes"])
    with server.resp() as firn:
        assert [firn("GET", "after"), firn("GET", "more")] == [b"kept", b"kept"]
