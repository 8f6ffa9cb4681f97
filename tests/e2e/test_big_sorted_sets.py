"""Sorted sets that are stored are made in slices, and nobody else notices."""

import random

import pytest

from harness import run_beside

COUNT = 20_000


def add(resp, key, scored):
    scored = list(scored)
    for first in range(0, len(scored), 1000):
        resp("ZADD", key, *[x for member, score in scored[first:first + 1000]
                            for x in (score, member)])


def everything(resp, key):
    return resp("ZRANGE", key, 0, -1, "WITHSCORES")


@pytest.fixture
def sources(resp):
    """Two that overlap, one that a few share with them, sets, and nothing."""
    draw = random.Random(5)
    score = lambda: str(draw.choice([draw.randint(-9, 9), draw.random() * 1e6, "inf", "-inf"]))  # noqa: E731
    add(resp, "a", [(f"member:{i}", score()) for i in range(COUNT)])
    add(resp, "b", [(f"member:{i}", score()) for i in range(COUNT // 2, COUNT * 2)])
    add(resp, "few", [(f"member:{i}", score()) for i in range(COUNT - 7, COUNT + 9)])
    add(resp, "small", [("member:3", "1.5"), ("other", 2)])
    for first in range(0, COUNT, 1000):
        resp("SADD", "set", *[f"member:{i * 3}" for i in range(first, first + 1000)])


COMMANDS = [
    ("ZUNIONSTORE", 2, "a", "b"),
    ("ZUNIONSTORE", 1, "a"),
    ("ZUNIONSTORE", 1, "set", "WEIGHTS", 3),
    ("ZUNIONSTORE", 4, "a", "set", "small", "none", "AGGREGATE", "MAX"),
    ("ZUNIONSTORE", 3, "a", "b", "a", "WEIGHTS", 2, 0, -1),
    ("ZUNIONSTORE", 2, "b", "a", "WEIGHTS", 0, "inf", "AGGREGATE", "MIN"),
    ("ZINTERSTORE", 2, "a", "b"),
    ("ZINTERSTORE", 2, "b", "a", "WEIGHTS", 2, 3, "AGGREGATE", "MAX"),
    ("ZINTERSTORE", 3, "a", "set", "b", "WEIGHTS", 0, "-inf", 1),
    ("ZINTERSTORE", 1, "a", "WEIGHTS", 4),
    ("ZINTERSTORE", 2, "a", "a"),
    ("ZINTERSTORE", 2, "a", "few"),
    ("ZINTERSTORE", 2, "a", "none"),
    ("ZINTERSTORE", 2, "set", "set"),
    ("ZDIFFSTORE", 2, "a", "b"),
    ("ZDIFFSTORE", 3, "b", "set", "few"),
    ("ZDIFFSTORE", 2, "a", "none"),
    ("ZDIFFSTORE", 2, "set", "a"),
    ("ZDIFFSTORE", 2, "a", "a"),
    ("ZDIFFSTORE", 1, "a"),
]
RANGES = [("a", 0, -1), ("a", 100, -100, "REV"), ("b", "-inf", "+inf", "BYSCORE"),
          ("b", "(3", "+inf", "BYSCORE", "LIMIT", 10, 12_000),
          ("b", "+inf", "(-5", "BYSCORE", "REV", "LIMIT", 3, 11_000)]


@pytest.mark.parametrize("demoted", [False, True])
def test_sorted_sets_of_any_size_are_stored(server, resp, sources, demoted):
    """What a transaction stores at once is the measure."""
    commands = [(command[0], command[1:]) for command in COMMANDS]
    commands += [("ZRANGESTORE", arguments) for arguments in RANGES]
    for name, arguments in commands:
        if demoted:
            resp("TIER", "DEMOTE", "a", "b", "set")
        resp("SETEX", "target", 1000, "a string")
        stored = resp(name, "target", *arguments)
        at_once = resp.pipeline([("MULTI",), (name, "other", *arguments), ("EXEC",)])[2][0]
        assert stored == at_once == resp("ZCARD", "target"), (name, arguments)
        assert everything(resp, "target") == everything(resp, "other"), (name, arguments)
        if stored:
            assert resp("TTL", "target") == -1
            assert resp("OBJECT", "ENCODING", "target") == resp("OBJECT", "ENCODING", "other")
            for member in ("member:3", "member:19999", "member:10002"):
                assert resp("ZSCORE", "target", member) == resp("ZSCORE", "other", member)
                assert resp("ZRANK", "target", member) == resp("ZRANK", "other", member)
        else:
            assert resp("EXISTS", "target") == 0


def test_a_stored_sorted_set_is_one_like_any_other(server, resp, sources):
    # A target that is a source.
    assert resp("ZUNIONSTORE", "a", 2, "a", "b", "WEIGHTS", 1, 2) == COUNT * 2
    for i in range(0, COUNT * 2, 7):
        assert resp("ZADD", "a", i, f"member:{i}") == 0
        assert resp("ZREM", "a", f"member:{i + 1}") <= 1
    expected = everything(resp, "a")
    assert resp("ZADD", "a", 5, "new") == 1
    assert resp("ZPOPMIN", "a", 1)
    resp("ZREM", "a", "new")
    expected = expected[2:]
    assert everything(resp, "a") == expected
    server.restart()
    with server.resp() as again:
        assert everything(again, "a") == expected


def test_stored_sorted_sets_survive_a_kill(start):
    server = start("--appendonly", "yes", "--appendfsync", "always")
    with server.resp() as resp:
        add(resp, "a", [(f"member:{i}", i) for i in range(COUNT)])
        assert resp("ZUNIONSTORE", "whole", 1, "a", "WEIGHTS", 2) == COUNT
        expected = everything(resp, "whole")
        resp.send("ZUNIONSTORE", "half", 1, "a")
        server.kill()
    server.start()
    with server.resp() as resp:
        assert everything(resp, "whole") == expected
        half = everything(resp, "half")
        assert half == [] or half == everything(resp, "a")


def test_what_is_stored_is_of_the_moment_in_which_it_appears(server, resp, sources):
    with server.resp() as writer:
        resp.send("ZUNIONSTORE", "target", 2, "a", "b", "AGGREGATE", "MIN")
        i = 0
        while not writer("EXISTS", "target"):
            writer("ZADD", "a", 100 + i, f"new:{i}")
            writer("ZREM", "b", f"member:{COUNT + i}")
            i += 1
            assert i < 100_000
    stored = resp.read()
    members = set(resp("ZRANGE", "target", 0, -1))
    assert stored == len(members)
    # What came between the command and the answer to EXISTS may be missing.
    now = set(resp("ZRANGE", "a", 0, -1)) | set(resp("ZRANGE", "b", 0, -1))
    assert len(members ^ now) <= 4


def test_sources_may_go_while_a_sorted_set_is_stored(server, resp):
    for command in [("DEL", "b"), ("SET", "b", "a string"), ("RENAME", "b", "c"), ("FLUSHALL",)]:
        resp("DEL", "a", "b", "target")
        add(resp, "a", [(f"a:{i}", i) for i in range(COUNT)])
        add(resp, "b", [(f"b:{i}", i) for i in range(COUNT)])
        with server.resp() as other:
            other.send("ZUNIONSTORE", "target", 2, "a", "b")
            resp(*command)
            stored = other.read()
        if command[0] == "SET" and not isinstance(stored, int):
            assert "WRONGTYPE" in str(stored)
        elif command[0] != "FLUSHALL":
            assert stored in (COUNT, COUNT * 2)
            assert resp("ZCARD", "target") == stored
        else:
            assert stored in (0, COUNT * 2)
    with server.resp() as other:
        add(resp, "a", [(f"a:{i}", i) for i in range(COUNT)])
        other.send("ZUNIONSTORE", "gone", 1, "a")
    assert resp("PING") == "PONG"


def test_others_are_served_while_sorted_sets_are_stored(server, resp):
    for key in ("a", "b"):
        add(resp, key, [(f"{key}:{i}", i * 7919 % 1_000_003) for i in range(150_000)])
    for command, stored in [(("ZUNIONSTORE", "target", 2, "a", "b"), 300_000),
                            (("ZDIFFSTORE", "target", 2, "a", "b"), 150_000),
                            (("ZINTERSTORE", "target", 2, "a", "a"), 150_000),
                            (("ZRANGESTORE", "target", "a", 0, -1), 150_000)]:
        with server.resp() as other:
            assert run_beside(resp, other, *command) == stored
            resp("DEL", "target")
