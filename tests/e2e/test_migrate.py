"""MIGRATE between Firn and Redis, both ways."""

import random
import shutil
import socket
import threading
import time

import pytest

from harness import Error, Server, free_port, wait_for
from test_snapshot import contents, fill

REDIS = shutil.which("redis-server")


@pytest.fixture
def redis():
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = Server("--save", "", "--appendonly", "no", "--daemonize", "no", binary=REDIS,
                    wait=None)
    yield server
    server.remove()


def begin_redis(redis):
    return redis.start()


@pytest.mark.parametrize("way", ["to redis", "from redis", "to firn"])
def test_all_types_move(start, redis, way):
    ours = start("--save", "")
    other = start("--save", "") if way == "to firn" else begin_redis(redis)
    source, target = (other, ours) if way == "from redis" else (ours, other)
    with source.resp() as here, target.resp() as there:
        fill(here, random.Random(2), keys=120)
        everything = contents(here)
        expected = {key: value for key, value in everything.items() if key[0] == 0}
        names = sorted(key[1] for key in expected)
        assert here("MIGRATE", "127.0.0.1", target.port, names[0], 0, 5000, "COPY") == "OK"
        assert here("EXISTS", names[0]) == 1
        assert "BUSYKEY" in here("MIGRATE", "127.0.0.1", target.port, names[0], 0, 5000)
        assert here("EXISTS", names[0]) == 1
        assert here("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS",
                    *names, "absent") == "OK"
        assert here("DBSIZE") == 0
        found = contents(there)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key][0] == value[0] and found[key][2] == value[2], key
            # RESTORE is told what is left to live.
            assert abs(found[key][1] - value[1]) < 60_000, key
        assert here("MIGRATE", "127.0.0.1", target.port, names[0], 0, 5000) == "NOKEY"


def test_errors_leave_the_keys(start, redis):
    ours = start("--save", "")
    begin_redis(redis)
    with ours.resp() as here, redis.resp() as there:
        here("SET", "a", 1)
        here("SET", "b", 2)
        there("SET", "a", "there")
        port = redis.port
        assert here("MIGRATE", "127.0.0.1", free_port(), "a", 0, 500).startswith("IOERR")
        assert here("MIGRATE", "127.0.0.1", port, "a", 99, 500).startswith("ERR Target instance")
        assert here("MIGRATE", "127.0.0.1", port, "a", 0, 500, "NOSUCH") == "ERR syntax error"
        assert isinstance(here("MIGRATE", "127.0.0.1", port, "a", 0, 500, "KEYS", "a"), Error)
        assert isinstance(here("MIGRATE", "127.0.0.1", port, "a", "x", 500), Error)
        # One is taken and deleted, the other stays.
        assert "BUSYKEY" in here("MIGRATE", "127.0.0.1", port, "", 0, 500, "KEYS", "a", "b")
        assert [here("GET", "a"), here("GET", "b")] == [b"1", None]
        assert there("GET", "b") == b"2"
        there("CONFIG", "SET", "requirepass", "secret")
        there("CLIENT", "KILL", "TYPE", "normal")
        assert "NOAUTH" in here("MIGRATE", "127.0.0.1", port, "a", 0, 500, "REPLACE")
        assert "WRONGPASS" in here("MIGRATE", "127.0.0.1", port, "a", 0, 500, "REPLACE",
                                   "AUTH", "wrong")
        assert here("EXISTS", "a") == 1
        assert here("MIGRATE", "127.0.0.1", port, "a", 0, 500, "REPLACE", "AUTH2", "default",
                    "secret") == "OK"
        assert here("EXISTS", "a") == 0
        assert there("GET", "a") == b"1"


def test_a_silent_target_holds_up_nobody_else(start):
    ours = start("--save", "")
    with socket.socket() as silent, ours.resp() as here, ours.resp() as other:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        here("SET", "a", 1)
        port = silent.getsockname()[1]
        begin = time.monotonic()
        assert here("MIGRATE", "127.0.0.1", port, "a", 0, 500).startswith("IOERR")
        assert time.monotonic() - begin >= 0.4
        here.send("MIGRATE", "127.0.0.1", port, "a", 0, 1_000_000)
        for _ in range(20):
            assert other("PING") == "PONG"
        assert wait_for(lambda: "cmd=migrate" in other("CLIENT", "LIST").decode())
        assert other("GET", "a") == b"1"
        # Nor the end of the server.
        other.send("SHUTDOWN")
        ours.wait()


def connections_of(server):
    with server.resp() as client:
        text = client("INFO", "stats").decode()
    return int(text.split("total_connections_received:")[1].split("\r")[0])


def test_connections_are_used_again(start):
    ours, other = start("--save", ""), start("--save", "")
    with ours.resp() as here:
        here.pipeline([("SET", f"k{i}", i) for i in range(20)])
        before = connections_of(other)
        for i in range(10):
            assert here("MIGRATE", "127.0.0.1", other.port, f"k{i}", i % 3, 5000) == "OK"
        assert connections_of(other) == before + 2
        assert b"migrate_cached_sockets:1\r\n" in here("INFO", "stats")
        # Others than those are not taken for one another.
        assert "WRONGPASS" in here("MIGRATE", "127.0.0.1", other.port, "k10", 0, 5000, "AUTH2",
                                   "nobody", "x")
        assert connections_of(other) == before + 4
        # The one that was kept has gone with the server.
        other.restart()
        assert here("MIGRATE", "127.0.0.1", other.port, "k11", 0, 5000) == "OK"
        with other.resp() as there:
            assert [there("DBSIZE"), there("GET", "k11")] == [5, b"11"]


def test_a_key_that_changes_meanwhile_stays(start):
    ours = start("--save", "")

    def serve(listener, resp):
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"+OK\r\n")
            connection.recv(1 << 16)
            with ours.resp() as other:
                other("APPEND", "a", "more")
            connection.sendall(b"+OK\r\n")

    with socket.socket() as listener, ours.resp() as here:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        here("SET", "a", "some")
        thread = threading.Thread(target=serve, args=(listener, here))
        thread.start()
        assert "changed" in here("MIGRATE", "127.0.0.1", listener.getsockname()[1], "a", 0, 5000)
        thread.join()
        assert here("GET", "a") == b"somemore"
