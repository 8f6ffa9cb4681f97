"""Random hash commands against redis-server and Firn side by side: every reply must be equal,
wherever the pages are. The order of fields is nobody's promise, so whole hashes are compared
sorted."""

import random

import pytest

from differential import emptied, has_tiers, run_pipelines, run_steps
from harness import Error
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1200

KEYS = [b"h1", b"h2", b"big", b"long", b"string"]
VALUES = [b"", b"v", b"0", b"-1", b"12345", b"3.25", b"x" * 64, b"y" * 65, b"z" * 254, b"w" * 255,
          b"u" * 5000, b"\x00\xff\r\n", b"1e3", b" 1", b"99999999999999999999"]
FIELDS = [b"", b"a", b"b", b"c", b"n", b"f", b"0", b"-1", b"\x00\xff\r\n", b"f" * 64, b"g" * 65,
          b"h" * 300]
INTEGERS = [b"0", b"1", b"-1", b"100", b"9223372036854775807", b"-9223372036854775808",
            b"9223372036854775808", b"x", b"", b" 1", b"1.5"]
FLOATS = [b"0.1", b"-0.5", b"3.0e3", b"nan", b"inf", b"1e400", b"x", b"", b"123456789.123456789"]
COUNTS = [b"0", b"1", b"-1", b"x", b"-9223372036854775808", b"9223372036854775807",
          b"4611686018427387904", b"5", b"-20"]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return self.random.choice(KEYS)

    def field(self):
        if self.random.random() < 0.6:
            return b"field:%d" % self.random.randrange(400)
        return self.random.choice(FIELDS)

    def value(self):
        return self.random.choice(VALUES[:6] if self.random.random() < 0.7 else VALUES)

    def fields(self):
        count = self.random.choice([1, 1, 1, 2, 5, 30])
        return [self.field() for _ in range(count)]

    def pairs(self):
        count = self.random.choice([1, 1, 1, 1, 2, 5, 30])
        if self.random.random() < 0.03:
            count = 1000
        flat = [part for _ in range(count) for part in (self.field(), self.value())]
        if count == 1000:
            flat[::2] = [b"field:%d" % self.random.randrange(3000) for _ in range(count)]
        if self.random.random() < 0.02:
            flat.pop()
        return flat

    def options(self, *groups):
        chosen = [group for group in groups if self.random.random() < 0.4]
        self.random.shuffle(chosen)
        flat = [part() if callable(part) else part for group in chosen for part in group]
        if flat and self.random.random() < 0.03:
            flat.pop()
        if self.random.random() < 0.02:
            flat.append(b"NONSENSE")
        return flat

    def command(self):
        key, pick, field = self.key, self.random.choice, self.field
        makers = [
            (8, lambda: ["HSET", key()] + self.pairs()),
            (1, lambda: ["HMSET", key()] + self.pairs()),
            (2, lambda: ["HSETNX", key(), field(), self.value()]),
            (4, lambda: ["HGET", key(), field()]),
            (2, lambda: ["HMGET", key()] + self.fields()),
            (2, lambda: ["HEXISTS", key(), field()]),
            (2, lambda: ["HSTRLEN", key(), field()]),
            (2, lambda: ["HLEN", key()]),
            (4, lambda: ["HDEL", key()] + self.fields()),
            (1, lambda: ["HDEL", key()] + [b"field:%d" % i for i in range(
                self.random.randrange(300), 400)]),
            (2, lambda: ["HINCRBY", key(), pick([b"n", field()]), pick(INTEGERS)]),
            (2, lambda: ["HINCRBYFLOAT", key(), pick([b"f", field()]), pick(FLOATS + INTEGERS)]),
            (0.5, lambda: ["HGETALL", key()]),
            (0.5, lambda: ["HKEYS", key()]),
            (0.5, lambda: ["HVALS", key()]),
            (0.5, lambda: ["HRANDFIELD", key()]),
            (1, lambda: ["HRANDFIELD", key(), pick(COUNTS)] + self.options([b"WITHVALUES"])),
            (0.5, lambda: ["HRANDFIELD", key(), b"100000", b"WITHVALUES"]),
            (1, lambda: ["HSCAN", key(), b"0", b"COUNT", b"100000"] + self.options(
                [b"MATCH", lambda: pick([b"*", b"field:1*", b"?", b"", b"[a-c]"])])),
            (0.3, lambda: ["HSCAN", key(), pick([b"x", b"", b" 0", b"18446744073709551616"])]),
            (0.3, lambda: ["HSCAN", key(), b"0", b"COUNT", pick(COUNTS)]),
            (0.1, lambda: ["DEL", key()]),
            (0.5, lambda: ["TYPE", key()]),
            (1, lambda: ["OBJECT", "ENCODING", key()]),
            (0.3, lambda: ["EXPIRE", key(), b"100000"]),
            (0.3, lambda: ["TTL", key()]),
            (0.2, lambda: ["RENAME", key(), pick(KEYS[:4])]),
            (0.2, lambda: ["COPY", key(), pick(KEYS[:4]), b"REPLACE"]),
            (0.2, lambda: ["SET", b"string", b"x"]),
            (0.2, lambda: ["GET", key()]),
            (0.2, lambda: [pick(["HSET", "HGET", "HDEL", "HSCAN", "HRANDFIELD", "HLEN"])]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


def sorted_pairs(flat):
    if flat and isinstance(flat[0], list):
        return sorted(map(tuple, flat))
    return sorted(zip(flat[::2], flat[1::2]))


def normal(command, reply):
    name = command[0]
    if isinstance(reply, Error):
        return ("error", reply)
    if name in ("HKEYS", "HVALS"):
        return sorted(reply)
    if name == "HGETALL":
        return reply if isinstance(reply, dict) else sorted_pairs(reply)
    if name == "HRANDFIELD" and len(command) == 2:
        return reply is None
    if name == "HRANDFIELD":
        return sorted_pairs(reply) if command[2] == b"100000" else len(reply)
    if name == "HSCAN" and isinstance(reply, list):
        if b"100000" in command:
            return [reply[0], sorted_pairs(reply[1])]
        return "a scan"
    return reply


def near(command, a, b):
    return command[0] == "TTL" and isinstance(a, int) and isinstance(b, int) and abs(a - b) <= 5


def same(command, mine, other):
    return normal(command, mine) == normal(command, other) or near(command, mine, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(3)],
              seed=seed, steps=STEPS, same=same)
    for key in KEYS[:4]:
        command = ("HGETALL", key)
        assert normal(command, ours(*command)) == normal(command, theirs(*command)), (seed, key)
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS, same=same)
    ours.close()
    theirs.close()


def test_scans_see_every_field_that_stays(pair):  # noqa: F811
    """While others come and go, and pages move to disk and back."""
    ours = pair[0].resp()
    ours("FLUSHALL")
    choose = random.Random(7)
    for i in range(0, 5000, 50):
        ours("HSET", "h", *[part for j in range(i, i + 50) for part in (f"stay:{j}", j)])
    seen, cursor, calls = [], b"0", 0
    while calls == 0 or cursor != b"0":
        cursor, flat = ours("HSCAN", "h", cursor, "COUNT", 50, "MATCH", "stay:*")
        seen += flat[::2]
        names = [f"move:{choose.randrange(3000)}" for _ in range(40)]
        if calls % 40 < 20:
            ours("HSET", "h", *[part for name in names for part in (name, "v")])
        else:
            ours("HDEL", "h", *names)
        if has_tiers(ours) and calls % 7 == 0:
            ours("TIER", "DEMOTE", "h")
        calls += 1
        assert calls < 1000
    assert sorted(seen) == sorted(f"stay:{i}".encode() for i in range(5000))
    ours.close()
