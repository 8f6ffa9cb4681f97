"""Unions, intersections and differences of large sets and sorted sets are answered in slices: with
what they hold at one moment, and nobody else notices."""

import random

import pytest

from harness import run_beside

COUNT = 30_000


def add_members(resp, key, numbers):
    numbers = list(numbers)
    for first in range(0, len(numbers), 1000):
        resp("SADD", key, *[f"member:{i}" for i in numbers[first:first + 1000]])


def add_scored(resp, key, numbers):
    numbers = list(numbers)
    draw = random.Random(key)
    for first in range(0, len(numbers), 1000):
        resp("ZADD", key, *[x for i in numbers[first:first + 1000]
                            for x in (str(draw.choice([draw.randint(-9, 9), draw.random(), "inf"])),
                                      f"member:{i}")])


RANGES = {"a": range(COUNT), "b": range(COUNT // 2, COUNT * 2), "c": range(COUNT - 9, COUNT + 99)}


@pytest.fixture
def values(resp):
    for key, numbers in RANGES.items():
        add_members(resp, key, numbers)
        add_scored(resp, "z" + key, numbers)
    resp("SADD", "small", "member:3", "member:7", "17")
    for first in range(0, COUNT, 1000):
        resp("SADD", "numbers", *range(first, first + 1000))
    resp("SADD", "less", *range(500, COUNT, 2))


COMMANDS = [
    ("SUNION", "a", "b", "c"), ("SUNION", "a"), ("SUNION", "a", "a", "none"),
    ("SUNION", "small", "b"), ("SINTER", "a", "b"), ("SINTER", "a", "a"), ("SINTER", "a"),
    ("SINTER", "b", "none"), ("SINTER", "numbers", "less"), ("SDIFF", "a", "b"),
    ("SDIFF", "a", "none", "c"), ("SDIFF", "numbers", "less"), ("SDIFF", "a", "a"),
    ("SDIFF", "c", "a"),
    ("SINTERCARD", 2, "a", "b"), ("SINTERCARD", 2, "a", "b", "LIMIT", 12_345),
    ("SINTERCARD", 1, "a", "LIMIT", 0), ("SINTERCARD", 2, "a", "b", "LIMIT", 1),
    ("ZUNION", 2, "za", "zb", "WITHSCORES"), ("ZUNION", 1, "a"),
    ("ZUNION", 3, "za", "zb", "za", "WEIGHTS", 2, 0, -1, "WITHSCORES"),
    ("ZUNION", 3, "za", "b", "none", "AGGREGATE", "MAX", "WITHSCORES"),
    ("ZINTER", 2, "za", "zb", "WITHSCORES"), ("ZINTER", 2, "zb", "a", "WEIGHTS", 0, "-inf"),
    ("ZINTER", 1, "za", "WITHSCORES"), ("ZINTER", 2, "a", "none"),
    ("ZDIFF", 2, "za", "zb", "WITHSCORES"), ("ZDIFF", 2, "zb", "c"), ("ZDIFF", 2, "za", "za"),
    ("ZINTERCARD", 2, "za", "zb"), ("ZINTERCARD", 2, "za", "zb", "LIMIT", 12_345),
    ("ZINTERCARD", 2, "za", "a", "LIMIT", 0),
]


def as_it_counts(command, reply):
    """Sets have no order."""
    return sorted(reply) if command[0][0] == "S" and isinstance(reply, list) else reply


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("demoted", [False, True])
def test_values_of_any_size_are_combined(resp, values, demoted, protocol):
    """What a transaction answers at once is the measure."""
    resp("HELLO", protocol)
    for command in COMMANDS:
        if demoted:
            resp("TIER", "DEMOTE", *RANGES, *["z" + key for key in RANGES], "numbers")
        reply = resp(*command)
        at_once = resp.pipeline([("MULTI",), command, ("EXEC",)])[2][0]
        assert as_it_counts(command, reply) == as_it_counts(command, at_once), command


def test_a_few_numbers_come_out_in_order(resp, values):
    for first in range(300, COUNT, 1000):
        resp("SADD", "less", *range(first, first + 1000))
    left = [b"%d" % i for i in range(300)]
    assert resp("SDIFF", "numbers", "less") == left


@pytest.mark.parametrize("command", [("SUNION", "a", "b"), ("SINTER", "a", "b"),
                                     ("ZUNION", 2, "a", "b"), ("ZINTER", 2, "a", "b")])
def test_what_is_answered_is_of_one_moment(server, resp, values, command):
    """Members move from one to another: a moment has each of them."""
    combine = set.intersection if "INTER" in command[0] else set.union
    before = combine(*[{b"member:%d" % i for i in RANGES[key]} for key in "ab"])
    with server.resp() as writer:
        resp.send(*command)
        for i in range(COUNT // 2):
            writer.send("SMOVE", "a", "gone", f"member:{i}")
            writer.send("SADD", "b", f"new:{i}")
            writer.send("SADD", "a", f"new:{i}")
        reply = resp.read()
        for _ in range(COUNT // 2 * 3):
            writer.read()
    found = set(reply)
    assert len(found) == len(reply)
    new = {int(member[4:]) for member in found if member.startswith(b"new:")}
    gone = {int(member[7:]) for member in before - found}
    # The first so many changes had been made, all of them, and no other.
    assert new == set(range(len(new)))
    if "UNION" in command[0]:
        assert gone == set(range(len(gone))) and abs(len(gone) - len(new)) <= 1
    else:
        assert not gone


def test_operands_may_go_meanwhile(server, resp, values):
    whole = {b"member:%d" % i for i in range(COUNT * 2)}
    for change in [("DEL", "a", "b"), ("SET", "a", "a string"), ("RENAME", "b", "c"),
                   ("FLUSHALL",)]:
        for command in [("SUNION", "a", "b"), ("ZUNION", 2, "a", "b")]:
            resp("DEL", "a", "b")
            add_members(resp, "a", RANGES["a"])
            add_members(resp, "b", RANGES["b"])
            with server.resp() as other:
                other.send(*command)
                resp(*change)
                reply = other.read()
            if isinstance(reply, str):
                assert change[0] == "SET" and "WRONGTYPE" in reply
            else:
                found = set(reply)
                assert found == whole or change[0] != "SET" and len(found) in (0, COUNT), change
    add_members(resp, "a", RANGES["a"])
    for command in [("SUNION", "a"), ("ZUNION", 1, "a"), ("SINTERCARD", 1, "a")]:
        with server.resp() as other:
            other.send(*command)
    assert resp("PING") == "PONG"


def test_what_exceeds_a_reply_is_refused(start):
    server = start("--maxmemory", "24mb", "--appendfsync", "no")
    with server.resp() as resp:
        for key in ("a", "b"):
            for first in range(0, 40_000, 100):
                resp("SADD", key, *[f"{key}:{i}:{'x' * 100}" for i in range(first, first + 100)])
        for command in [("SUNION", "a", "b"), ("ZUNION", 2, "a", "b")]:
            assert str(resp(*command)).startswith("OOM"), command
        # Neither the operands nor what is found is in RAM together.
        assert len(resp("SDIFF", "a", "b")) == 40_000
        assert resp("SINTERCARD", 2, "a", "b") == 0
        assert resp("SINTERCARD", 2, "a", "a") == 40_000
        assert resp("SINTER", "a", "b") == []
        assert resp("SUNIONSTORE", "target", "a", "b") == 80_000


def test_others_are_served_meanwhile(server, resp):
    for key in ("a", "b"):
        add_members(resp, key, range(150_000) if key == "a" else range(75_000, 225_000))
    add_scored(resp, "z", range(150_000))
    for command, answered in [(("SUNION", "a", "b"), 225_000), (("SINTER", "a", "b"), 75_000),
                              (("SDIFF", "a", "b"), 75_000), (("ZUNION", 2, "z", "b"), 225_000),
                              (("ZINTER", 2, "z", "b"), 75_000), (("ZDIFF", 2, "z", "b"), 75_000)]:
        with server.resp() as other:
            assert len(run_beside(resp, other, *command)) == answered
    for command in [("SINTERCARD", 2, "a", "b"), ("ZINTERCARD", 2, "z", "b")]:
        with server.resp() as other:
            assert run_beside(resp, other, *command) == 75_000


def test_a_difference_answers_once_when_one_set_is_cold_and_another_settles_it(start):
    server = start()
    with server.resp() as resp:
        members = [f"member:{i}" for i in range(3000)]
        resp("ZADD", "first", *sum(([i, name] for i, name in enumerate(members[:40])), []))
        resp("SADD", "cold", *members[:20], *[f"other:{i}" for i in range(3000)])
        resp("ZADD", "warm", *sum(([i, name] for i, name in enumerate(members[:40])), []))
        for _ in range(3):
            assert resp("TIER", "DEMOTE", "cold") == 1
            assert resp("ZDIFF", 3, "first", "cold", "warm") == []
            assert resp("ECHO", "next") == b"next"
