"""Random commands on strings around and beyond the length from which they are kept in pages,
against redis-server and Firn side by side: every reply must be equal, wherever the pages are."""

import random

import pytest

from differential import emptied, run_pipelines, run_steps
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 500

LONG = 64 << 10
PAGE = 8160
KEYS = [b"a", b"b", b"c", b"sparse", b"{w}1"]
EDGES = [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, LONG - 1, LONG, LONG + 1, 9 * PAGE, 100_000,
         250_000, 700_000]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        return self.random.choice(KEYS)

    def place(self):
        if self.chance(0.5):
            return max(0, self.random.choice(EDGES) + self.random.randrange(-3, 4))
        return self.random.randrange(self.random.choice([300, 20_000, 150_000, 900_000]))

    def index(self):
        return self.place() * self.random.choice([1, 1, -1])

    def bytes(self):
        size = self.random.choice([0, 1, 3, 100, PAGE, 2 * PAGE + 5, 10_000])
        if self.chance(0.1):
            size = self.random.choice([LONG - 1, LONG, LONG + 1, 200_000])
        if self.chance(0.3):
            return b"\0" * size
        return self.random.randbytes(size)

    def value(self):
        size = self.random.choice([10, 10_000, LONG - 1, LONG, LONG + 1, 9 * PAGE, 100_000,
                                   300_000, 1_000_000])
        return b"\0" * size if self.chance(0.2) else self.random.randbytes(size)

    def bits(self):
        place = [b"%d" % self.index(), b"%d" % self.index()]
        if self.chance(0.4):
            place = [b"%d" % (8 * self.index()), b"%d" % (8 * self.index()), b"BIT"]
        return place if self.chance(0.8) else []

    def fields(self):
        words = []
        for _ in range(self.random.choice([1, 1, 2, 4])):
            kind = self.random.choice(["GET", "SET", "INCRBY"])
            width = self.random.choice([b"u1", b"u8", b"i16", b"u31", b"i64", b"u63"])
            words += [kind, width, b"%d" % (8 * self.place() + self.random.randrange(8))]
            if kind != "GET":
                words.append(b"%d" % self.random.randrange(1000))
        return words

    def command(self):
        key, pick = self.key, self.random.choice
        sources = [key() for _ in range(self.random.randrange(1, 4))]
        makers = [
            (6, lambda: ["SETRANGE", key(), self.place(), self.bytes()]),
            (4, lambda: ["APPEND", key(), self.bytes()]),
            (6, lambda: ["SETBIT", key(), 8 * self.place() + self.random.randrange(8),
                         pick([0, 1])]),
            (4, lambda: ["GETBIT", key(), 8 * self.place() + self.random.randrange(8)]),
            (6, lambda: ["BITFIELD", key()] + self.fields()),
            (6, lambda: ["GETRANGE", key(), self.index(), self.index()]),
            (1, lambda: ["SUBSTR", key(), self.index(), self.index()]),
            (4, lambda: ["BITCOUNT", key()] + self.bits()),
            (4, lambda: ["BITPOS", key(), pick([0, 1])] + self.bits()),
            (2, lambda: ["BITOP", pick(["AND", "OR", "XOR"]), key()] + sources),
            (1, lambda: ["BITOP", "NOT", key(), key()]),
            (4, lambda: ["STRLEN", key()]),
            (2, lambda: ["GET", key()]),
            (1, lambda: ["MGET", key(), key()]),
            (2, lambda: ["SET", key(), self.value()]),
            (0.5, lambda: ["SET", key(), self.value(), pick(["KEEPTTL", "GET", "XX", "NX"])]),
            (0.5, lambda: ["GETSET", key(), self.value()]),
            (0.3, lambda: ["GETDEL", key()]),
            (0.5, lambda: ["GETEX", key(), "PERSIST"]),
            (0.5, lambda: ["INCR", key()]),
            (0.5, lambda: ["INCRBYFLOAT", key(), "1.5"]),
            (0.5, lambda: ["PFADD", key(), "x"]),
            (0.5, lambda: ["PFCOUNT", key()]),
            (0.5, lambda: ["LPUSH", key(), "x"]),
            (1, lambda: ["COPY", key(), key(), "REPLACE"]),
            (1, lambda: ["RENAME", key(), key()]),
            (0.3, lambda: ["DEL", key()]),
            (0.3, lambda: ["UNLINK", key()]),
            (0.5, lambda: ["EXPIRE", key(), 100_000]),
            (0.5, lambda: ["TYPE", key()]),
            (0.5, lambda: ["OBJECT", "ENCODING", key()]),
            (0.3, lambda: ["SORT", "list", "BY", "nosort", "GET", "{w}*", "GET", "#"]),
            (0.3, lambda: ["EVAL", "redis.call('APPEND', KEYS[1], ARGV[1]) "
                                   "return redis.call('GETRANGE', KEYS[1], -20, -1)", 1, key(),
                           self.bytes()]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


def same(command, mine, theirs):
    """Redis 7.0 names the encoding of short lists otherwise."""
    return mine == theirs or (mine, theirs) == (b"listpack", b"quicklist")


def start(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        connection("SET", "a", random.Random(seed).randbytes(200_000))
        connection("SETBIT", "sparse", 8 * 500_000, 1)
        connection("RPUSH", "list", "1", "2")
    return ours, theirs


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = start(pair, seed)
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(3)],
              seed=seed, steps=STEPS, same=same, rate=0.15)
    for key in KEYS:
        assert ours("GET", key) == theirs("GET", key), (seed, key)
        assert ours("TTL", key) in range(theirs("TTL", key) - 5, theirs("TTL", key) + 6), key
    for key in KEYS:
        if ours("TYPE", key) != "string":
            continue
        value = ours("GET", key)
        payload = ours("DUMP", key)
        assert ours("RESTORE", "copy", 0, payload, "REPLACE") == "OK"
        assert ours("GET", "copy") == value
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = start(pair, 4711)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS, batches=12, size=30, same=same)


class Runs(Sequence):
    """Places of one string again and again: pipelines know where they are before they get there."""

    def __init__(self, seed):
        super().__init__(seed)
        self.left = []

    def command(self):
        if not self.left:
            if self.chance(0.3):
                return super().command()
            key, pick = self.key(), self.random.choice
            few = lambda: self.random.randbytes(pick([1, 1, 16, 16, 300]))  # noqa: E731
            bit = lambda: 8 * self.place() + self.random.randrange(8)  # noqa: E731
            make = pick([lambda: ["SETBIT", key, bit(), pick([0, 1])],
                         lambda: ["GETBIT", key, bit()],
                         lambda: ["SETRANGE", key, self.place(), few()],
                         lambda: ["GETRANGE", key, self.place(), self.place() + 40],
                         lambda: ["APPEND", key, few()]])
            self.left = [make() for _ in range(self.random.randrange(2, 40))]
            # What they point to goes, in the midst of them.
            if self.chance(0.3):
                other = pick([["DEL", key], ["SET", key, self.value()], ["SET", key, b"short"],
                              ["SETRANGE", key, self.place(), self.bytes()],
                              ["COPY", self.key(), key, "REPLACE"], ["RENAME", self.key(), key]])
                self.left.insert(self.random.randrange(len(self.left)), other)
        return self.left.pop(0)


def test_runs_in_one_string_are_equal(pair):  # noqa: F811
    ours, theirs = start(pair, 4712)
    run_pipelines((ours, theirs), Runs(4712), KEYS, batches=60, size=60, same=same)
    for key in KEYS:
        assert ours("GET", key) == theirs("GET", key), key
    ours.close()
    theirs.close()
