"""TIER: values on disk behave as those in RAM."""

import random

import pytest

from harness import Error, wait_for


def test_where_demote_promote(resp):
    assert resp("TIER", "WHERE", "none") is None
    resp("SET", "k", "v" * 1000)
    assert resp("TIER", "WHERE", "k") in (b"hot", b"warm")
    assert resp("TIER", "DEMOTE", "k", "none") == 1
    assert resp("TIER", "WHERE", "k") == b"cold"
    # Asking where it is read the record: it may have come back since.
    assert resp("TIER", "DEMOTE", "k") in (0, 1)
    assert resp("TIER", "DEMOTE", "k") == 0
    assert resp("TIER", "PROMOTE", "k", "none") == 1
    assert resp("TIER", "WHERE", "k") == b"hot"
    assert resp("GET", "k") == b"v" * 1000


def test_stats_and_help(resp):
    resp("SET", "k", "v" * 1000)
    resp("TIER", "DEMOTE", "k")
    before = dict(zip(*[iter(resp("TIER", "STATS"))] * 2))
    assert resp("GET", "k") == b"v" * 1000
    after = dict(zip(*[iter(resp("TIER", "STATS"))] * 2))
    assert after[b"disk_reads"] == before[b"disk_reads"] + 1
    assert resp("TIER", "HELP")[0].startswith("TIER <subcommand>")
    assert isinstance(resp("TIER", "NONSENSE"), Error)
    assert isinstance(resp("TIER", "WHERE"), Error)


def test_keys_are_counted_by_tier(start):
    """Also those that the mapped end of the log still serves."""
    server = start("--maxmemory", "32mb")
    with server.resp() as resp, server.redis() as client:
        keys = 30_000
        resp.pipeline([("SET", f"k{i}", i % 251 * b"x" + 1000 * b"v") for i in range(keys)])

        def counted():
            info = client.info("tiering")
            numbers = [info[f"{tier}_keys"] for tier in ("hot", "warm", "cold")]
            assert sum(numbers) == keys
            return numbers

        hot, warm, cold = counted()
        assert hot > 0 and cold > 0
        assert 0 < warm * 1000 < client.info("tiering")["window_bytes"]

        # Some stay until it is settled whether they have replaced what the map of cold keys takes
        # for theirs.
        def all_are_cold():
            for at in range(0, keys, 500):
                resp("TIER", "DEMOTE", *(f"k{i}" for i in range(at, at + 500)))
            return counted() == [0, 0, keys]
        assert wait_for(all_are_cold), counted()


@pytest.mark.parametrize("size", [0, 1, 5, 100, 4000, 16_384, 70_000, 3_000_000])
def test_values_of_every_size_come_back_from_disk(resp, size):
    value = random.Random(size).randbytes(size)
    resp("SET", "k", value)
    assert resp("TIER", "DEMOTE", "k") == 1
    assert resp("GET", "k") == value
    resp("TIER", "DEMOTE", "k")
    assert resp("STRLEN", "k") == size
    resp("TIER", "DEMOTE", "k")
    assert resp("APPEND", "k", "tail") == size + 4
    assert resp("GETRANGE", "k", size, -1) == b"tail"


def test_metadata_of_cold_keys(resp):
    for command, check in (
            (("EXISTS", "k"), lambda reply: reply == 1),
            (("TYPE", "k"), lambda reply: reply == "string"),
            (("TTL", "k"), lambda reply: 990 <= reply <= 1000),
            (("OBJECT", "ENCODING", "k"), lambda reply: reply == b"raw"),
            (("MEMORY", "USAGE", "k"), lambda reply: reply > 0),
            (("EXPIRE", "k", 500), lambda reply: reply == 1),
            (("PERSIST", "k"), lambda reply: reply == 1),
            (("TOUCH", "k"), lambda reply: reply == 1),
            (("RENAME", "k", "l"), lambda reply: reply == "OK"),
            (("DEL", "k"), lambda reply: reply == 1)):
        resp("SET", "k", "v" * 1000, "EX", 1000)
        assert resp("TIER", "DEMOTE", "k") == 1
        assert check(resp(*command)), command


def test_overwriting_a_cold_value_fetches_nothing(resp):
    resp("SET", "k", "v" * 1000)
    resp("TIER", "DEMOTE", "k")
    fetches = dict(zip(*[iter(resp("TIER", "STATS"))] * 2))[b"fetches"]
    assert resp("SET", "k", "other") == "OK"
    assert resp("MSET", "k", "third", "l", "v") == "OK"
    assert resp("SETEX", "k", 100, "fourth") == "OK"
    assert dict(zip(*[iter(resp("TIER", "STATS"))] * 2))[b"fetches"] == fetches
    assert resp("GET", "k") == b"fourth"


def test_a_pipeline_of_cold_reads_keeps_its_order(resp):
    values = {f"k{i}": random.Random(i).randbytes(200 + i) for i in range(300)}
    resp.pipeline([("SET", key, value) for key, value in values.items()])
    assert resp("TIER", "DEMOTE", *values) == len(values)
    commands = []
    expected = []
    for i, (key, value) in enumerate(values.items()):
        commands += [("GET", key), ("SET", f"hot{i}", i), ("GET", f"hot{i}")]
        expected += [value, "OK", str(i).encode()]
    assert resp.pipeline(commands) == expected


def test_writes_behind_a_cold_read_wait_for_it(resp):
    resp("SET", "k", "old" * 100)
    resp("TIER", "DEMOTE", "k")
    assert resp.pipeline([("GET", "k"), ("SET", "k", "new"), ("GET", "k"), ("DEL", "k"),
                          ("GET", "k")]) == [b"old" * 100, "OK", b"new", 1, None]


def test_several_clients_and_one_cold_key(server, resp):
    resp("SET", "k", "v" * 5000)
    clients = [server.resp() for _ in range(20)]
    for _ in range(10):
        resp("TIER", "DEMOTE", "k")
        for client in clients:
            client.send("APPEND", "k", "x")
        lengths = sorted(client.read() for client in clients)
        assert lengths == list(range(lengths[0], lengths[0] + 20))
    for client in clients:
        client.close()


def test_whole_keyspace_commands_see_cold_keys(resp):
    keys = [f"k{i}" for i in range(500)]
    resp.pipeline([("SET", key, "v") for key in keys])
    assert resp("TIER", "DEMOTE", *keys[:250]) == 250
    assert resp("DBSIZE") == 500
    assert sorted(resp("KEYS", "*")) == sorted(key.encode() for key in keys)
    resp("SET", keys[0], "other")
    assert resp("DEL", keys[1]) == 1
    assert resp("DBSIZE") == 499
    assert resp("RENAME", keys[2], "renamed") == "OK"
    assert resp("COPY", keys[3], "copied") == 1
    assert resp("MOVE", keys[4], 1) == 1
    assert resp("DBSIZE") == 499
    seen = {resp("RANDOMKEY") for _ in range(200)}
    assert len(seen) > 100
    assert resp("FLUSHALL") == "OK"
    assert resp("DBSIZE") == 0
    assert resp("GET", keys[10]) is None


def test_demoting_a_big_value_lets_others_run(server, resp):
    count = 200_000
    for first in range(0, count, 1000):
        pairs = [part for i in range(first, first + 1000) for part in (f"field{i}", f"value{i}")]
        resp("HSET", "big", *pairs)
    with server.resp() as demoter:
        demoter.send("TIER", "DEMOTE", "big", "none", "small")
        # Changes meanwhile may keep their pages in RAM, and are never lost.
        for i in range(0, count, 500):
            assert resp("HSET", "big", f"field{i}", "changed") == 0
            assert resp("HGET", "big", f"field{i + 1}") == f"value{i + 1}".encode()
        assert demoter.read() in (0, 1)
        assert resp("TIER", "DEMOTE", "big") in (0, 1)
        demoter.send("TIER", "DEMOTE", "big")
        assert resp("FLUSHALL") == "OK"
        assert demoter.read() in (0, 1)
        resp("HSET", "big", "f", "v")
        assert resp("HGETALL", "big") == [b"f", b"v"]


def test_a_demoted_big_value_is_whole(resp):
    count = 50_000
    for first in range(0, count, 1000):
        resp("RPUSH", "big", *range(first, first + 1000))
    assert resp("TIER", "DEMOTE", "big") == 1
    assert resp("TIER", "WHERE", "big") == b"cold"
    assert resp("LRANGE", "big", 0, -1) == [str(i).encode() for i in range(count)]


def test_some_pages_of_a_value_are_moved(resp):
    value = random.Random(5).randbytes(20 * 8160)
    resp("SET", "k", value)
    assert resp("DEBUG", "DEMOTE-PAGES", "k", 2, 3) == 7  # 2, 5, ... 20
    assert resp("TIER", "WHERE", "k") == b"hot"
    before = dict(zip(*[iter(resp("TIER", "STATS"))] * 2))[b"fetches"]
    for page in range(1, 21):
        at = (page - 1) * 8160 + 100
        assert resp("GETRANGE", "k", at, at + 9) == value[at:at + 10]
        fetches = dict(zip(*[iter(resp("TIER", "STATS"))] * 2))[b"fetches"]
        assert (fetches > before) == (page % 3 == 2), page
        before = fetches
    assert resp("DEBUG", "DEMOTE-PAGES", "k", 0, 100) == 1
    assert resp("TIER", "WHERE", "k") == b"cold"
    assert resp("GET", "k") == value
    assert resp("DEBUG", "DEMOTE-PAGES", "none", 0, 1) == 0
    assert isinstance(resp("DEBUG", "DEMOTE-PAGES", "k", 0, 0), Error)


def test_a_limit_that_the_server_alone_exceeds_refuses_writes(resp):
    resp("SET", "k", "v")
    resp("CONFIG", "SET", "maxmemory", "1")
    oom = "OOM command not allowed when used memory > 'maxmemory'."
    assert resp("SET", "k", "w") == oom
    assert resp("GET", "k") == b"v"
    assert resp.pipeline([("MULTI",), ("SET", "k", "w"), ("DISCARD",)]) == ["OK", oom, "OK"]
    assert resp("DEL", "k") == 1
    resp("CONFIG", "SET", "maxmemory", "0")
    assert resp("SET", "k", "w") == "OK"


def test_a_command_that_waits_with_all_there_is_goes_on(start):
    # The process alone takes about so much, and each command needs nearly every page of the set.
    server = start("--maxmemory", "24mb")
    draw = random.Random(1)
    with server.resp() as resp:
        for _ in range(60):
            resp("SADD", "set", *(f"{draw.getrandbits(64):016x}{'x' * 94}" for _ in range(500)))
        assert resp("SCARD", "set") == 30_000
