"""MULTI, EXEC, DISCARD, WATCH and UNWATCH."""

import threading
import time

import pytest
import redis

from harness import Error, Simple, wait_for

ABORTED = "EXECABORT Transaction discarded because of previous errors."


def test_exec_runs_what_was_queued_in_order(resp):
    assert resp("MULTI") == Simple("OK")
    assert resp("SET", "a", "1") == Simple("QUEUED")
    assert resp("INCR", "a") == Simple("QUEUED")
    assert resp("PING") == Simple("QUEUED")
    assert resp("LPUSH", "a", "x") == Simple("QUEUED")
    assert resp("GET", "a") == Simple("QUEUED")
    replies = resp("EXEC")
    assert replies[:3] == ["OK", 2, "PONG"] and replies[4] == b"2"
    assert isinstance(replies[3], Error) and replies[3].startswith("WRONGTYPE")
    assert resp("MULTI") == Simple("OK")
    assert resp("EXEC") == []


def test_errors_while_queueing_abort_exec(resp):
    resp("MULTI")
    resp("SET", "a", "1")
    assert isinstance(resp("NOSUCH"), Error)
    assert resp("SET", "b", "1") == Simple("QUEUED")
    assert resp("EXEC") == Error(ABORTED)
    assert resp("EXISTS", "a", "b") == 0
    resp("MULTI")
    assert isinstance(resp("SET", "a"), Error)
    assert resp("EXEC") == Error(ABORTED)
    assert resp("EXEC") == Error("ERR EXEC without MULTI")


def test_rules_of_nesting(resp):
    assert resp("DISCARD") == Error("ERR DISCARD without MULTI")
    resp("MULTI")
    assert resp("MULTI") == Error("ERR MULTI calls can not be nested")
    assert resp("WATCH", "a") == Error("ERR WATCH inside MULTI is not allowed")
    assert resp("SET", "a", "1") == Simple("QUEUED")
    assert resp("EXEC") == ["OK"]
    resp("MULTI")
    resp("SET", "a", "2")
    assert resp("DISCARD") == Simple("OK")
    assert resp("GET", "a") == b"1"
    resp("MULTI")
    assert resp("RESET") == Simple("RESET")
    assert resp("GET", "a") == b"1"


CHANGES = [
    ("SET", "w", "2"), ("DEL", "w"), ("EXPIRE", "w", "100"), ("APPEND", "w", "x"),
    ("FLUSHDB",), ("FLUSHALL",), ("RENAME", "w", "other"), ("COPY", "source", "w", "REPLACE"),
    ("RENAME", "source", "w"), ("SWAPDB", "0", "1"), ("MOVE", "w", "5"), ("GETDEL", "w"),
]


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_a_change_of_a_watched_key_aborts_exec(server, resp, change):
    resp("MSET", "w", "1", "source", "s")
    assert resp("WATCH", "w", "unrelated") == Simple("OK")
    with server.resp() as other:
        assert not isinstance(other(*change), Error)
    resp("MULTI")
    resp("SET", "done", "1")
    assert resp("EXEC") is None
    assert resp("EXISTS", "done") == 0
    resp("MULTI")
    assert resp("EXEC") == []


@pytest.mark.parametrize("harmless", [
    ("GET", "w"), ("SET", "other", "1"), ("TIER", "DEMOTE", "w"), ("SELECT", "3"),
    ("TTL", "w"), ("DEL", "absent")], ids=" ".join)
def test_what_changes_nothing_leaves_exec_alone(server, resp, harmless):
    resp("SET", "w", "1")
    resp("WATCH", "w", "absent")
    with server.resp() as other:
        assert not isinstance(other(*harmless), Error)
    resp("MULTI")
    resp("GET", "w")
    assert resp("EXEC") == [b"1"]


def test_unwatch_and_flush_of_absent_keys(server, resp):
    resp("SET", "w", "1")
    resp("WATCH", "w")
    resp("SET", "w", "2")
    assert resp("UNWATCH") == Simple("OK")
    resp("MULTI")
    assert resp("EXEC") == []
    resp("WATCH", "absent")
    resp("FLUSHALL")
    resp("MULTI")
    assert resp("EXEC") == []


def test_a_watched_key_that_expires_aborts(resp):
    for millis in (30, 500, 20_000):
        resp("SET", "w", "1", "PX", millis)
        resp("WATCH", "w")
        if resp("EXISTS", "w") == 1:
            break
        resp("UNWATCH")
    time.sleep(millis / 1000 + 0.03)
    resp("MULTI")
    resp("PING")
    assert resp("EXEC") is None


def test_a_key_that_had_expired_before_watch_does_not_abort(resp):
    resp("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    resp("SET", "w", "1", "PX", "10")
    time.sleep(0.03)
    resp("WATCH", "w")
    resp("MULTI")
    resp("PING")
    assert resp("EXEC") == ["PONG"]
    resp("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_commands_that_answer_later_keep_their_place(server, resp):
    for i in range(50):
        resp("SET", f"k{i}", "v")
    resp("TIER", "DEMOTE", *[f"k{i}" for i in range(50)])
    resp("MULTI")
    resp("SET", "new", "1")
    resp("DBSIZE")
    resp("SCAN", "0", "COUNT", "1000")
    resp("KEYS", "k1*")
    resp("RANDOMKEY")
    resp("COPY", "k1", "k1", "DB", "3")
    resp("SELECT", "3")
    resp("GET", "k1")
    replies = resp("EXEC")
    assert replies[0] == "OK" and replies[1] == 51
    assert len(replies[2][1]) == 51 and len(replies[3]) == 11
    assert replies[5:] == [1, "OK", b"v"]
    with server.resp() as other:
        assert other("PING") == Simple("PONG")
        assert other("GET", "new") == b"1"


def test_keys_after_swapdb_in_a_transaction_are_found(resp):
    resp("SELECT", "1")
    resp("SET", "k", "in one")
    resp("TIER", "DEMOTE", "k")
    resp("SELECT", "0")
    resp("SET", "k", "in zero")
    resp("TIER", "DEMOTE", "k")
    resp("MULTI")
    resp("SWAPDB", "0", "1")
    resp("GET", "k")
    assert resp("EXEC") == ["OK", b"in one"]


def test_resp3_abort_and_client_list(server, resp):
    resp("HELLO", "3")
    resp("WATCH", "w")
    resp("SET", "w", "1")
    resp("MULTI")
    resp("PING")
    with server.resp() as other:
        line = next(line for line in other("CLIENT", "LIST").decode().splitlines()
                    if " multi=0 " in line or " multi=1 " in line)
    assert " flags=xd " in line or " flags=dx " in line
    assert resp("EXEC") is None


def test_redis_py_pipelines(server, client):
    with client.pipeline(transaction=True) as pipe:
        assert pipe.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]
    with client.pipeline() as pipe:
        pipe.watch("a")
        client.set("a", 5)
        pipe.multi()
        pipe.incr("a")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_a_hundred_cold_gets_are_fetched_together(client):
    keys = [f"cold{i}" for i in range(100)]
    for key in keys:
        client.set(key, key * 500)
    client.execute_command("TIER", "DEMOTE", *keys)
    with client.pipeline(transaction=True) as pipe:
        for key in keys:
            pipe.get(key)
        assert pipe.execute() == [(key * 500).encode() for key in keys]


def test_a_transaction_is_whole_or_absent_after_a_kill(start):
    server = start("--appendfsync", "no")
    stop = threading.Event()

    def write():
        try:
            with server.redis() as connection:
                n = 0
                while not stop.is_set():
                    n += 1
                    with connection.pipeline(transaction=True) as pipe:
                        for i in range(40):
                            pipe.set(f"k{i}", n)
                        pipe.execute()
        except redis.RedisError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    with server.redis() as other:
        assert wait_for(lambda: int(other.get("k39") or 0) > 50)
    server.kill()
    stop.set()
    thread.join()
    server.start()
    with server.redis() as connection:
        values = set(connection.mget([f"k{i}" for i in range(40)]))
    assert len(values) == 1 and None not in values


def test_pages_of_all_types_are_whole_or_absent_after_a_kill(start):
    """Each transaction adds the same items to large values of all types."""
    server = start("--appendfsync", "no", "--maxmemory", "512mb")
    acknowledged = [0]

    def write():
        try:
            with server.redis() as connection:
                while True:
                    n = acknowledged[0]
                    items = [f"{n}:{i}:" + "x" * 40 for i in range(30)]
                    with connection.pipeline(transaction=True) as pipe:
                        pipe.rpush("list", *items)
                        pipe.sadd("set", *items)
                        pipe.hset("hash", mapping={item: n for item in items})
                        pipe.zadd("zset", {item: n for item in items})
                        pipe.incr("count")
                        pipe.execute()
                    acknowledged[0] += 1
        except redis.RedisError:
            pass

    for _ in range(3):
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.6)
        with server.redis() as other:
            other.execute_command("TIER", "DEMOTE", "list", "set", "hash", "zset")
        time.sleep(0.2)
        server.kill()
        thread.join()
        server.start()
        with server.redis() as connection:
            count = int(connection.get("count") or 0)
            assert count in (acknowledged[0], acknowledged[0] + 1)
            acknowledged[0] = count
            assert connection.llen("list") == connection.scard("set") == 30 * count
            assert connection.hlen("hash") == connection.zcard("zset") == 30 * count
            in_order = connection.lrange("list", 0, -1)
            assert len(set(in_order)) == 30 * count
            assert set(in_order) == connection.smembers("set") == set(connection.hkeys("hash"))
            assert set(in_order) == set(connection.zrange("zset", 0, -1))


def test_client_pause_write_inside_a_transaction(server, resp):
    """The pause begins behind the transaction that asks for it, and holds other transactions that
    write, not those that read."""
    with server.resp() as other, server.resp() as reader:
        other.pipeline([("MULTI",), ("INCR", "after")])
        resp("MULTI")
        resp("SET", "before", "1")
        resp("CLIENT", "PAUSE", "60000", "WRITE")
        resp("SET", "after", "1")
        assert resp("EXEC") == ["OK", "OK", "OK"]
        assert reader.pipeline([("MULTI",), ("GET", "after"), ("EXEC",)])[2] == [b"1"]
        other.send("EXEC")
        time.sleep(0.1)
        assert reader("GET", "after") == b"1"
        assert resp("CLIENT", "UNPAUSE") == Simple("OK")
        assert other.read() == [2]
