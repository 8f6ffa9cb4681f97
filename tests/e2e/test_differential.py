"""Random command sequences against redis-server and Firn side by side. Every reply must be equal,
and so must the digest of what is stored. On Firn's side values are demoted to disk in between: no
reply may show it."""

import os
import random
import re
import time

import pytest

from differential import emptied, has_tiers, run_pipelines, run_steps
from harness import Error, Server, redis_server

# FIRN_SEEDS=100-200 runs others.
FIRST, LAST = os.environ.get("FIRN_SEEDS", "1-12").split("-")
SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1500

KEYS = [b"a", b"b", b"c", b"n", b"f", b"", b"key\r\nwith\x00bytes\xff", b"long" * 100]
INTEGERS = [b"0", b"1", b"-1", b"5", b"100", b"-100", b"9223372036854775807",
            b"-9223372036854775808", b"9223372036854775808", b"-0", b"01", b"+1", b" 1", b"1 ",
            b"", b"x", b"1.5", b"1e3", b"0x10", b"1\x00", b"99999999999999999999999"]
FLOATS = [b"0.1", b"-0.5", b"3.0e3", b"1e400", b"nan", b"inf", b"-inf", b"0x1p3", b".5", b"5.",
          b"1e-20", b"123456789.123456789", b"1.5 ", b"-", b"1e"]
VALUES = [b"", b"v", b"hello world", b"12345", b"3.25", b"\x00\xff\r\n", b"x" * 44, b"y" * 45,
          b"abc" * 2000, b"0123456789" * 2500]
# Far enough from now that both servers see the same. What SET makes expire at once is deleted by
# Redis a little later, so SET is given no time in the past.
TIMES = [b"100000", b"10000000", b"0", b"-1", b"4102444800", b"4102444800000",
         b"9223372036854775807", b"9223372036854775", b"9223372036854776", b"x", b""]
ABSOLUTE_TIMES = [b"4102444800000", b"0", b"-1", b"9223372036854775807", b"9223372036854775", b"x"]
OFFSETS = [b"0", b"1", b"5", b"-1", b"-5", b"44", b"20000", b"3000000", b"536870912"] + INTEGERS


class Sequence:
    """Makes commands from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, choices):
        return self.random.choice(choices)

    def key(self):
        return self.pick(KEYS)

    def value(self):
        return self.pick(self.pick([VALUES, INTEGERS, FLOATS]))

    def case(self, word):
        return self.pick([word, word.lower(), word.capitalize()])

    def words(self, *groups):
        """Some of the option groups, in a random order; at times a wrong word."""
        chosen = [group for group in groups if self.random.random() < 0.3]
        self.random.shuffle(chosen)
        flat = [part() if callable(part) else part for group in chosen for part in group]
        if self.random.random() < 0.03:
            flat.append(b"NONSENSE")
        if flat and self.random.random() < 0.03:
            flat.pop()
        return flat

    def time(self):
        return self.pick(TIMES)

    def set_options(self):
        return self.words([self.case("NX")], [self.case("XX")], [self.case("GET")],
                          [self.case("KEEPTTL")], [self.case("EX"), self.time],
                          [self.case("PXAT"), lambda: self.pick(ABSOLUTE_TIMES)],
                          [self.case("EXAT"), lambda: self.pick(ABSOLUTE_TIMES)],
                          [self.case("PX"), self.time])

    def command(self):
        key, value, pick = self.key, self.value, self.pick
        several = [key() for _ in range(self.random.randrange(1, 5))]
        pairs = [part for each in several for part in (each, value())]
        makers = [
            lambda: ["SET", key(), value()] + self.set_options(),
            lambda: ["SET", key(), value()],
            lambda: ["SETEX", key(), self.time(), value()],
            lambda: ["PSETEX", key(), self.time(), value()],
            lambda: ["SETNX", key(), value()],
            lambda: ["GET", key()],
            lambda: ["GETSET", key(), value()],
            lambda: ["GETDEL", key()],
            lambda: ["GETEX", key()] + self.words(
                ["PERSIST"], ["EX", self.time], ["PX", self.time], ["EXAT", self.time],
                ["PXAT", self.time], ["KEEPTTL"]),
            lambda: ["APPEND", key(), value()],
            lambda: ["STRLEN", key()],
            lambda: ["SETRANGE", key(), pick(OFFSETS), pick(VALUES)],
            lambda: ["GETRANGE", key(), pick(OFFSETS), pick(OFFSETS)],
            lambda: ["SUBSTR", key(), pick(OFFSETS), pick(OFFSETS)],
            lambda: ["INCR", pick([b"n", key()])],
            lambda: ["DECR", pick([b"n", key()])],
            lambda: ["INCRBY", pick([b"n", key()]), pick(INTEGERS)],
            lambda: ["DECRBY", pick([b"n", key()]), pick(INTEGERS)],
            lambda: ["INCRBYFLOAT", pick([b"f", key()]), pick(FLOATS + INTEGERS)],
            lambda: ["MGET"] + several,
            lambda: ["MSET"] + pairs[:len(pairs) - (self.random.random() < 0.1)],
            lambda: ["MSETNX"] + pairs[:len(pairs) - (self.random.random() < 0.1)],
            lambda: ["LCS", key(), key()] + self.words(
                ["LEN"], ["IDX"], ["WITHMATCHLEN"], ["MINMATCHLEN", lambda: pick(INTEGERS)]),
            lambda: ["DEL"] + several,
            lambda: ["UNLINK"] + several,
            lambda: ["EXISTS"] + several,
            lambda: ["TOUCH"] + several,
            lambda: ["TYPE", key()],
            lambda: ["OBJECT", "ENCODING", key()],
            lambda: ["RENAME", key(), key()],
            lambda: ["RENAMENX", key(), key()],
            lambda: ["COPY", key(), key()] + self.words(
                ["REPLACE"], ["DB", lambda: pick([b"0", b"1", b"15", b"16", b"-1", b"x",
                                                   b"99999999999"])]),
            lambda: ["MOVE", key(), pick([b"0", b"1", b"2", b"16", b"-1", b"x"])],
            lambda: ["SELECT", pick([b"0", b"0", b"0", b"1", b"2", b"16", b"x"])],
            lambda: ["SWAPDB", pick([b"0", b"1", b"x"]), pick([b"0", b"2", b"99", b""])],
            lambda: ["EXPIRE", key(), self.time()] + self.words(["NX"], ["XX"], ["GT"], ["LT"]),
            lambda: ["PEXPIRE", key(), self.time()] + self.words(["XX"], ["GT"], ["LT"]),
            lambda: ["EXPIREAT", key(), self.time()] + self.words(["NX"], ["GT"], ["LT"]),
            lambda: ["PEXPIREAT", key(), self.time()] + self.words(["NX"], ["XX"], ["GT"]),
            lambda: ["PERSIST", key()],
            lambda: ["TTL", key()],
            lambda: ["PTTL", key()],
            lambda: ["EXPIRETIME", key()],
            lambda: ["PEXPIRETIME", key()],
            lambda: ["DBSIZE"],
            lambda: ["KEYS", pick([b"*", b"?", b"[a-c]", b"long*", b"\\", b"[", b"", b"*key*"])],
            lambda: ["SCAN", b"0", "COUNT", b"100000"] + self.words(
                ["MATCH", lambda: pick([b"*", b"a*", b"?"])],
                ["TYPE", lambda: pick([b"string", b"list", b"foo"])]),
            lambda: ["SCAN", pick([b"x", b" 0", b"0x", b"18446744073709551616"])],
            lambda: ["SCAN", b"0", "COUNT", pick(INTEGERS)],
            lambda: ["RANDOMKEY"],
            lambda: ["FLUSHDB"] + self.words(["ASYNC"], ["SYNC"]),
            lambda: [self.pick(["GET", "SET", "INCR", "COPY", "EXPIRE", "SCAN", "OBJECT", "LCS"])],
            lambda: ["NOSUCHCOMMAND", key()],
            lambda: ["DEBUG", "DIGEST-VALUE"] + several,
        ]
        weights = [4 if i < 2 else 1 for i in range(len(makers))]
        weights[-4] = 0.2
        return self.random.choices(makers, weights)[0]()


def normal(command, reply):
    """The part of a reply that must be equal: orders and clocks may differ."""
    name = command[0]
    if isinstance(reply, Error):
        # The text after the code of an unknown command quotes its arguments in full.
        return ("error", reply)
    if name == "KEYS" and isinstance(reply, list):
        return sorted(reply)
    if name == "SCAN" and isinstance(reply, list):
        # How many keys come at a time differs, unless all of them are asked for.
        if b"100000" in command:
            return [reply[0], sorted(reply[1])]
        return "a scan"
    if name == "RANDOMKEY":
        return reply is None
    return reply


def near(command, ours, theirs):
    """Relative times were set within the same second or so."""
    if command[0] not in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"):
        return False
    if not (isinstance(ours, int) and isinstance(theirs, int) and ours >= 0 and theirs >= 0):
        return False
    return abs(ours - theirs) <= (5000 if command[0].startswith("P") else 5)


def same(command, mine, other):
    return normal(command, mine) == normal(command, other) or near(command, mine, other)


@pytest.fixture(scope="module")
def pair():
    theirs = redis_server()
    if theirs is None:
        pytest.skip("redis-server is not installed")
    ours = Server()
    yield ours, theirs
    ours.remove()
    theirs.remove()


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):
    ours, theirs = emptied(pair)
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(sequence.random.randrange(1, 6))],
              seed=seed, steps=STEPS, same=same, rate=0.08)
    # Expiries that were set as relative times differ by milliseconds, but the digest only tells
    # whether there is one.
    assert ours("DEBUG", "DIGEST") == theirs("DEBUG", "DIGEST"), f"seed {seed}"
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS, batches=60, same=same)
    assert ours("DEBUG", "DIGEST") == theirs("DEBUG", "DIGEST")


def test_short_expiries_are_equal(pair):
    ours, theirs = (server.resp() for server in pair)
    tiers = has_tiers(ours)
    for connection in (ours, theirs):
        connection("FLUSHALL")
        for i in range(50):
            connection("SET", f"k{i}", "v", "PX", 40 if i % 2 else 600_000)
    if tiers:
        ours("TIER", "DEMOTE", *[f"k{i}" for i in range(50)])
    time.sleep(0.1)
    for i in range(50):
        command = ("GET", "TYPE", "EXISTS", "STRLEN", "PERSIST")[i % 5]
        assert ours(command, f"k{i}") == theirs(command, f"k{i}"), (command, i)
    assert sorted(ours("KEYS", "*")) == sorted(theirs("KEYS", "*"))


def test_the_oracle_is_redis_7(pair):
    info = pair[1].resp()("INFO", "server").decode()
    assert re.search(r"redis_version:[78]\.", info), info
