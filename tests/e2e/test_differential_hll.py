"""Random HyperLogLog commands against redis-server and Firn side by side: every reply must be
equal, and so must every byte of the values, sparse and dense, wherever they are."""

import random

import pytest

from differential import emptied, has_tiers, run_pipelines, run_steps
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 500

KEYS = [b"h1", b"h2", b"h3", b"small", b"limit", b"dense"]
WRONG = [b"list", b"text", b"number", b"corrupt"]
HEADER = b"HYLL\x01\x00\x00\x00" + b"\x00" * 7 + b"\x80"
# Sparse values that don't add up, and others that only look like some.
CORRUPT = [HEADER, HEADER + b"\x7f\xfe", HEADER + b"\x7f\xff\x00", HEADER + b"\x80",
           HEADER + b"\x7f\xff\x7f\xff", b"HYLL\x00" + b"\x00" * 30, b"HYLL\x02" + b"\x00" * 20,
           b"HYLM\x01" + b"\x00" * 20, b"HYLL", b"HYLL\x00" + b"\x00" * 12299]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        return self.random.choice(WRONG if self.chance(0.02) else KEYS)

    def element(self):
        if self.chance(0.1):
            return self.random.randbytes(self.random.randrange(40))
        return b"%d" % self.random.randrange(10 ** self.random.randrange(2, 7))

    def add(self):
        key = self.key()
        count = self.random.choice([0, 1, 1, 1, 2, 4, 5, 30, 300])
        if key == b"small":
            count = min(count, 2)
        return ["PFADD", key] + [self.element() for _ in range(count)]

    def command(self):
        key, pick = self.key, self.random.choice
        several = [key() for _ in range(self.random.randrange(1, 4))]
        makers = [
            (20, self.add),
            (6, lambda: ["PFCOUNT", key()]),
            (3, lambda: ["PFCOUNT"] + several),
            (1.5, lambda: ["PFMERGE", pick(KEYS[:3])] + several),
            (0.3, lambda: ["PFMERGE", pick(KEYS[:3])]),
            (6, lambda: ["GET", key()]),
            (1, lambda: ["PFDEBUG", pick(["ENCODING", "decode", "DECODE"]), key()]),
            (0.2, lambda: ["PFDEBUG", pick(["TODENSE", "GETREG", "nothing"]), key()]),
            (1, lambda: ["STRLEN", key()]),
            (1, lambda: ["OBJECT", "ENCODING", pick(KEYS)]),
            (0.6, lambda: ["DEL", pick(KEYS)]),
            (0.3, lambda: ["EXPIRE", key(), b"100000"]),
            (0.5, lambda: ["CONFIG", "SET", "hll-sparse-max-bytes",
                           pick([b"3000", b"3000", b"100", b"500", b"0", b"20000"])]),
            (0.5, lambda: ["SET", b"corrupt", pick(CORRUPT)]),
            (0.2, lambda: ["SET", b"text", pick([b"", b"foo", b"HYLL"])]),
            (0.1, lambda: ["SET", b"number", b"12345"]),
            (0.1, lambda: ["LPUSH", b"list", b"x"]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        connection("CONFIG", "SET", "hll-sparse-max-bytes", "3000")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(3)],
              seed=seed, steps=STEPS)
    for key in KEYS:
        assert ours("GET", key) == theirs("GET", key), (seed, key)
    ours.close()
    theirs.close()


def test_values_are_the_same_all_the_way_to_dense(pair):  # noqa: F811
    """One element at a time, so that every shape of the sparse form is passed."""
    ours, theirs = (server.resp() for server in pair)
    tiers = has_tiers(ours)
    for connection in (ours, theirs):
        assert connection("FLUSHALL") == "OK"
        connection("CONFIG", "SET", "hll-sparse-max-bytes", "3000")
    for batch in range(60):
        if tiers and batch % 7 == 0:
            ours("TIER", "DEMOTE", "h")
        commands = [["PFADD", "h", f"{batch}-{i}"] for i in range(50)]
        assert ours.pipeline(commands) == theirs.pipeline(commands), batch
        assert ours("GET", "h") == theirs("GET", "h"), batch
        assert ours("PFCOUNT", "h") == theirs("PFCOUNT", "h"), batch
    assert ours("PFDEBUG", "ENCODING", "h") == "dense"
    assert ours("GET", "h") == theirs("GET", "h")


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        connection("CONFIG", "SET", "hll-sparse-max-bytes", "3000")
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS, batches=30)
