"""Commands on keys of any type."""

import random

import pytest

NO_SUCH_KEY = "ERR no such key"
SAME = "ERR source and destination objects are the same"
RANGE = "ERR DB index is out of range"


def test_del_unlink_exists_touch_count(resp):
    resp("MSET", "a", "1", "b", "2", "c", "3")
    assert resp("EXISTS", "a", "a", "b", "x") == 3
    assert resp("TOUCH", "a", "x", "b") == 2
    assert resp("DEL", "a", "a", "x") == 1
    assert resp("UNLINK", "b", "c", "x") == 2
    assert resp("DBSIZE") == 0


def test_type(resp):
    resp("SET", "a", "1")
    assert resp("TYPE", "a") == "string"
    assert resp("TYPE", "x") == "none"


def test_rename(resp):
    assert resp("RENAME", "a", "b") == NO_SUCH_KEY
    assert resp("RENAME", "a", "a") == NO_SUCH_KEY
    resp("SET", "a", "1", "EX", "100")
    resp("SET", "b", "2")
    assert resp("RENAME", "a", "a") == "OK"
    assert resp("RENAMENX", "a", "a") == 0
    assert resp("RENAMENX", "a", "b") == 0
    assert resp("RENAME", "a", "b") == "OK"
    assert resp("GET", "b") == b"1"
    assert 70 <= resp("TTL", "b") <= 100
    assert resp("RENAMENX", "b", "c") == 1
    assert resp("EXISTS", "a", "b", "c") == 1
    assert resp("RENAMENX", "x", "y") == NO_SUCH_KEY


def test_copy(resp):
    assert resp("COPY", "a", "b") == 0
    resp("SET", "a", "1", "EX", "100")
    assert resp("COPY", "a", "b") == 1
    assert resp("GET", "b") == b"1"
    assert 70 <= resp("TTL", "b") <= 100
    resp("SET", "a", "2")
    assert resp("COPY", "a", "b") == 0
    assert resp("COPY", "a", "b", "REPLACE") == 1
    assert resp("GET", "b") == b"2"
    assert resp("TTL", "b") == -1
    assert resp("COPY", "a", "a") == SAME
    assert resp("COPY", "a", "a", "DB", 1) == 1
    assert resp("COPY", "a", "a", "DB", 1) == 0
    assert resp("COPY", "a", "a", "DB", 1, "REPLACE") == 1
    assert resp("COPY", "a", "b", "DB", 16) == RANGE
    assert resp("COPY", "a", "b", "DB", "x") == "ERR value is not an integer or out of range"
    assert resp("COPY", "a", "b", "DB") == "ERR syntax error"
    assert resp("COPY", "a", "b", "DB", str(2**40)) == (
        "ERR value is out of range, value must between -2147483648 and 2147483647")


def test_copies_are_independent(resp):
    resp("SET", "a", "x" * 50_000)
    resp("COPY", "a", "b")
    resp("APPEND", "a", "tail")
    assert resp("STRLEN", "b") == 50_000
    resp("SETRANGE", "b", 0, "y")
    assert resp("GETRANGE", "a", 0, 0) == b"x"


def test_move(resp):
    resp("SET", "a", "1", "EX", "100")
    assert resp("MOVE", "a", 0) == SAME
    assert resp("MOVE", "a", 99) == RANGE
    assert resp("MOVE", "x", 1) == 0
    assert resp("MOVE", "a", 1) == 1
    resp("SET", "a", "2")
    assert resp("MOVE", "a", 1) == 0
    resp("SELECT", 1)
    assert resp("GET", "a") == b"1"
    assert 70 <= resp("TTL", "a") <= 100


def test_swapdb(resp):
    resp("SET", "a", "zero")
    resp("SELECT", 1)
    resp("SET", "a", "one")
    assert resp("SWAPDB", 0, 1) == "OK"
    assert resp("GET", "a") == b"zero"
    assert resp("SWAPDB", 0, 0) == "OK"
    assert resp("SWAPDB", "x", 0) == "ERR invalid first DB index"
    assert resp("SWAPDB", 0, "x") == "ERR invalid second DB index"
    assert resp("SWAPDB", 0, 44) == RANGE


def test_flush(resp):
    resp("SET", "a", "1")
    resp("SELECT", 1)
    resp("SET", "b", "1")
    assert resp("FLUSHDB") == "OK"
    assert resp("DBSIZE") == 0
    resp("SELECT", 0)
    assert resp("DBSIZE") == 1
    assert resp("FLUSHALL", "ASYNC") == "OK"
    assert resp("DBSIZE") == 0
    assert resp("FLUSHALL", "SYNC") == "OK"
    assert resp("FLUSHDB", "foo") == "ERR syntax error"
    assert resp("FLUSHALL", "SYNC", "ASYNC") == "ERR syntax error"


def test_object(resp):
    resp("SET", "a", "1")
    assert resp("OBJECT", "ENCODING", "a") == b"int"
    assert resp("OBJECT", "ENCODING", "x") is None
    assert isinstance(resp("OBJECT", "REFCOUNT", "a"), int)
    assert resp("OBJECT", "IDLETIME", "a") == 0
    assert "LFU" in resp("OBJECT", "FREQ", "a")
    assert resp("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu") == "OK"
    resp("SET", "b", "value")
    assert resp("OBJECT", "FREQ", "b") >= 4
    assert "LFU" in resp("OBJECT", "IDLETIME", "b")
    assert resp("CONFIG", "SET", "maxmemory-policy", "noeviction") == "OK"
    assert resp("OBJECT", "HELP")[0].startswith("OBJECT <subcommand>")
    assert resp("OBJECT", "FOO", "a").startswith("ERR unknown subcommand 'FOO'")


def test_randomkey_is_uniform(resp):
    assert resp("RANDOMKEY") is None
    for i in range(20):
        resp("SET", f"k{i}", "v")
    seen = {}
    for key in resp.pipeline([("RANDOMKEY",)] * 4000):
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 20
    # Each is expected 200 times.
    assert min(seen.values()) > 40 and max(seen.values()) < 800


def test_wait_without_replicas(resp):
    assert resp("WAIT", 0, 1000) == 0
    assert resp("WAIT", 1, 20) == 0
    assert resp("WAIT", "x", 0) == "ERR value is not an integer or out of range"
    assert resp("WAIT", 1, "x") == "ERR timeout is not an integer or out of range"
    assert resp("WAIT", 1, -1) == "ERR timeout is negative"


def test_keys(resp):
    names = [f"user:{i}:{part}" for i in range(30) for part in ("name", "mail")]
    for name in names:
        resp("SET", name, "v")
    assert sorted(resp("KEYS", "*")) == sorted(name.encode() for name in names)
    assert len(resp("KEYS", "user:1?:name")) == 10
    assert len(resp("KEYS", "user:[12]:*")) == 4
    assert resp("KEYS", "none*") == []
    assert resp("KEYS", "user:\\1:name") == [b"user:1:name"]


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "[" * 1000, "a" + "*?" * 500, "\\"])
def test_hostile_patterns_end_quickly(resp, pattern):
    resp("SET", "a" * 80, "v")
    assert isinstance(resp("KEYS", pattern), list)


def test_many_keys_are_counted_exactly(resp):
    generator = random.Random(7)
    live = set()
    for _ in range(20):
        commands = []
        for _ in range(500):
            key = f"k{generator.randrange(3000)}"
            if generator.random() < 0.7:
                live.add(key)
                commands.append(("SET", key, "v"))
            else:
                live.discard(key)
                commands.append(("DEL", key))
        resp.pipeline(commands)
        assert resp("DBSIZE") == len(live)
    assert set(resp("KEYS", "*")) == {key.encode() for key in live}
