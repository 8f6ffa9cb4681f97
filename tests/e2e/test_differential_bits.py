"""Random bitmap and bit field commands against redis-server and Firn side by side: every reply
must be equal, and so must the strings, wherever they are."""

import random

import pytest

from differential import emptied, run_pipelines, run_steps
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1200

KEYS = [b"b1", b"b2", b"b3", b"long", b"long", b"text", b"number"]
WRONG = [b"list"]
OFFSETS = [b"0", b"1", b"7", b"8", b"63", b"64", b"1000", b"2000", b"130000", b"150000",
           b"900000"]
BAD_OFFSETS = [b"-1", b"x", b"", b"4294967296", b"9223372036854775807", b"1.5", b"#1"]
INDEXES = [b"0", b"1", b"2", b"5", b"100", b"-1", b"-2", b"-5", b"-100", b"1000", b"15999",
           b"16384", b"100000", b"-100000", b"9223372036854775807", b"-9223372036854775808"]
NUMBERS = [b"0", b"1", b"-1", b"2", b"10", b"-10", b"100", b"127", b"128", b"255", b"256",
           b"-128", b"-129", b"65535", b"2147483647", b"-2147483648", b"4294967295",
           b"9223372036854775807", b"-9223372036854775808"]
TYPES = [b"u1", b"u2", b"u5", b"u8", b"u16", b"u31", b"u32", b"u33", b"u62", b"u63", b"i1", b"i2",
         b"i5", b"i8", b"i16", b"i32", b"i63", b"i64"]
BAD_TYPES = [b"u64", b"i65", b"u0", b"i0", b"x8", b"u", b"", b"8", b"u08"]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        return self.random.choice(WRONG if self.chance(0.01) else KEYS)

    def offset(self):
        if self.chance(0.02):
            return self.random.choice(BAD_OFFSETS)
        if self.chance(0.5):
            return b"%d" % self.random.randrange(self.random.choice([16, 300, 3000, 200_000]))
        return self.random.choice(OFFSETS)

    def index(self):
        if self.chance(0.01):
            return self.random.choice([b"x", b"", b"1.0"])
        if self.chance(0.4):
            return b"%d" % self.random.randrange(-3000, 3000)
        return self.random.choice(INDEXES)

    def range(self, least):
        words = [self.index(), self.index()][:self.random.choice([least, 2, 2, 2])]
        if len(words) == 2 and self.chance(0.6):
            words.append(self.random.choice([b"BIT", b"bit", b"BYTE", b"byte"]))
        if self.chance(0.02):
            words.append(b"NONSENSE")
        return words if self.chance(0.85) else []

    def field(self):
        kind = self.random.choice(BAD_TYPES if self.chance(0.01) else TYPES)
        if self.chance(0.3):
            return [kind, b"#%d" % self.random.randrange(self.random.choice([5, 3000]))]
        return [kind, self.offset()]

    def number(self):
        if self.chance(0.01):
            return self.random.choice([b"x", b"9223372036854775808"])
        if self.chance(0.5):
            return b"%d" % self.random.randrange(-300, 300)
        return self.random.choice(NUMBERS)

    def fields(self, only_get):
        words = []
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 5])):
            kind = "GET" if only_get else self.random.choice(["GET", "set", "INCRBY", "incrby"])
            if not only_get and self.chance(0.4):
                words += [b"OVERFLOW", self.random.choice([b"wrap", b"SAT", b"fail", b"FAIL"])]
            words += [kind] + self.field()
            if kind != "GET":
                words.append(self.number())
        if words and self.chance(0.02):
            words.pop()
        return words

    def command(self):
        key, pick = self.key, self.random.choice
        bit = lambda: pick([b"0", b"1", b"1"]) if self.chance(0.98) else pick(  # noqa: E731
            [b"2", b"-1", b"x", b""])
        several = [key() for _ in range(self.random.randrange(1, 5))]
        makers = [
            (8, lambda: ["SETBIT", key(), self.offset(), bit()]),
            (5, lambda: ["GETBIT", key(), self.offset()]),
            (5, lambda: ["BITCOUNT", key()] + self.range(2)),
            (5, lambda: ["BITPOS", key(), bit()] + self.range(1)),
            (3, lambda: ["BITOP", pick([b"AND", b"or", b"XOR"]), pick(KEYS)] + several),
            (1, lambda: ["BITOP", pick([b"NOT", b"not", b"nor"]), pick(KEYS)] + several[:pick(
                [1, 1, 1, 2])]),
            (8, lambda: ["BITFIELD", key()] + self.fields(False)),
            (3, lambda: ["BITFIELD_RO", key()] + self.fields(self.chance(0.95))),
            (1, lambda: ["SETRANGE", key(), pick([b"0", b"3", b"500", b"16380", b"20000"]),
                         pick([b"", b"\xff", b"abc", b"\x00" * 300])]),
            (1, lambda: ["APPEND", key(), pick([b"x", b"\xff" * 200, b"\x00" * 2000])]),
            (1, lambda: ["SET", b"text", pick([b"", b"foobar", b"\xff" * 300, b"\x00" * 17000])]),
            (1, lambda: ["SET", b"number", pick([b"12345", b"-7", b"0"])]),
            (2, lambda: ["GETRANGE", key(), self.index(), self.index()]),
            (2, lambda: ["STRLEN", key()]),
            (0.4, lambda: ["DEL", key()]),
            (0.3, lambda: ["EXPIRE", key(), b"100000"]),
            (0.3, lambda: ["LPUSH", b"list", b"x"]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        connection("SET", b"long", random.Random(seed).randbytes(40_000))
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(3)],
              seed=seed, steps=STEPS)
    for key in set(KEYS):
        assert ours("GET", key) == theirs("GET", key), (seed, key)
        assert ours("TTL", key) in range(theirs("TTL", key) - 5, theirs("TTL", key) + 6), key
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS)
