"""Random commands on sorted sets against redis-server and Firn side by side: every reply must be
equal, wherever the pages are. Scores are such that all versions print them alike."""

import random

import pytest

from differential import emptied, has_tiers, run_pipelines, run_steps
from harness import Error
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1200

KEYS = [b"z1", b"z2", b"z3", b"big", b"big", b"equal"]
WRONG = [b"string"]
SETS = [b"set1", b"set2"]
# All scores are equal: only here ranges of strings mean something.
LEX = b"lex"
SCORES = [b"0", b"-0", b"1", b"-1", b"2.5", b"0.5", b"-3.25", b"1e3", b"inf", b"-inf", b"+inf",
          b"100", b"4096", b"1000000", b"0x10", b"1.25e-1"]
BAD_SCORES = [b"x", b"", b"nan", b" 1", b"1 ", b"1e400", b"(1"]
BOUNDS = SCORES + [b"(0", b"(1", b"(-1", b"(2.5", b"(inf", b"(-inf", b"(", b"50", b"(50", b"150"]
LEX_BOUNDS = [b"-", b"+", b"[", b"(", b"[a", b"(a", b"[m1", b"(m2", b"[m15", b"(m150", b"[m2999",
              b"[z", b"(\xff"]
RANKS = [b"0", b"1", b"-1", b"2", b"5", b"-5", b"10", b"100", b"-100", b"1500", b"-1500",
         b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"x", b""]
COUNTS = [b"0", b"1", b"2", b"-1", b"10", b"500", b"x", b"9223372036854775807"]
MEMBERS = [b"", b"a", b"b", b"c", b"0", b"-1", b"x" * 63, b"y" * 65, b"z" * 254, b"w" * 255,
           b"v" * 300, b"u" * 5000, b"\x00\xff\r\n"]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        return self.random.choice(WRONG if self.chance(0.01) else KEYS)

    def source(self):
        return self.random.choice(SETS) if self.chance(0.2) else self.key()

    def member(self):
        if self.chance(0.85):
            return b"m%d" % self.random.randrange(self.random.choice([10, 300, 3000]))
        return self.random.choice(MEMBERS)

    def score(self):
        if self.chance(0.01):
            return self.random.choice(BAD_SCORES)
        if self.chance(0.7):
            return b"%d" % self.random.randrange(self.random.choice([5, 200]))
        if self.chance(0.5):
            return b"%s" % str(self.random.randrange(-800, 800) / 4).encode()
        return self.random.choice(SCORES)

    def bound(self):
        return self.random.choice(BOUNDS if self.chance(0.98) else BAD_SCORES)

    def lex(self):
        return self.random.choice(LEX_BOUNDS) if self.chance(0.98) else self.random.choice(
            [b"a", b"", b"++"])

    def rank(self):
        return self.random.choice(RANKS[:-3] if self.chance(0.95) else RANKS)

    def options(self, *groups):
        chosen = [group for group in groups if self.chance(0.35)]
        self.random.shuffle(chosen)
        flat = [part() if callable(part) else part for group in chosen for part in group]
        if flat and self.chance(0.03):
            flat.pop()
        if self.chance(0.02):
            flat.append(b"NONSENSE")
        return flat

    def add(self):
        key = self.key()
        options = [group for group in [b"NX", b"XX", b"GT", b"lt", b"CH", b"INCR"]
                   if self.chance(0.12)]
        pairs = self.random.choice([1, 1, 1, 1, 2, 5, 30])
        if b"INCR" in options and self.chance(0.9):
            pairs = 1
        elif self.chance(0.05):
            key, pairs = b"big", 2000
        score = (lambda: b"7") if key == b"equal" else self.score
        flat = [part for _ in range(pairs) for part in (score(), self.member())]
        if self.chance(0.01):
            flat.pop()
        return ["ZADD", key] + options + flat

    def several(self, source):
        keys = [source() for _ in range(self.random.randrange(1, 4))]
        number = b"%d" % len(keys) if self.chance(0.97) else self.random.choice(
            [b"0", b"-1", b"9", b"x"])
        return keys, [number] + keys

    def combine(self, name, store):
        keys, named = self.several(self.source)
        weights = [b"WEIGHTS"] + [self.random.choice(SCORES) for _ in keys]
        options = [[b"AGGREGATE", self.random.choice([b"sum", b"MIN", b"max", b"x"])]]
        if "DIFF" not in name or self.chance(0.05):
            options.append(weights)
        if not store or self.chance(0.05):
            options.append([b"WITHSCORES"])
        if "DIFF" in name and self.chance(0.95):
            options.pop(0)
        target = [self.random.choice([b"z1", b"z2", b"z3"])] if store else []
        return [name] + target + named + self.options(*options)

    def limit(self):
        return [b"LIMIT", lambda: self.random.choice(RANKS[:9]),
                lambda: self.random.choice(COUNTS[:6])]

    def range(self):
        kind = self.random.choice(["rank", "score", "lex"])
        options = [[b"REV"], [b"WITHSCORES"]]
        if kind == "rank":
            if self.chance(0.02):
                options.append(self.limit())
            return ["ZRANGE", self.key(), self.rank(), self.rank()] + self.options(*options)
        options.append(self.limit())
        if kind == "score":
            return (["ZRANGE", self.key(), self.bound(), self.bound(), b"BYSCORE"] +
                    self.options(*options))
        if self.chance(0.95):
            options.pop(1)
        return ["ZRANGE", LEX, self.lex(), self.lex(), b"bylex"] + self.options(*options)

    def command(self):
        key, pick, member = self.key, self.random.choice, self.member
        makers = [
            (14, self.add),
            (5, lambda: ["ZADD", LEX] + [part for _ in range(pick([1, 5, 100]))
                                         for part in (b"0", member())]),
            (2, lambda: ["ZINCRBY", key(), self.score(), member()]),
            (4, lambda: ["ZREM", pick([key(), LEX])] + [member() for _ in range(pick([1, 3, 200]))]),
            (1, lambda: ["ZCARD", key()]),
            (3, lambda: ["ZSCORE", key(), member()]),
            (2, lambda: ["ZMSCORE", key()] + [member() for _ in range(pick([1, 3, 20]))]),
            (3, lambda: [pick(["ZRANK", "ZREVRANK"]), key(), member()]),
            (3, lambda: ["ZCOUNT", key(), self.bound(), self.bound()]),
            (2, lambda: ["ZLEXCOUNT", LEX, self.lex(), self.lex()]),
            (8, self.range),
            (2, lambda: [pick(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]), key(), self.bound(),
                         self.bound()] + self.options([b"WITHSCORES"], self.limit())),
            (2, lambda: [pick(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), LEX, self.lex(), self.lex()] +
                self.options(self.limit())),
            (1, lambda: ["ZREVRANGE", key(), self.rank(), self.rank()] +
                self.options([b"WITHSCORES"])),
            (2, lambda: ["ZRANGESTORE", pick([b"z1", b"z2", b"z3"])] + self.range()[1:]),
            (0.5, lambda: ["ZREMRANGEBYRANK", key(), self.rank(), self.rank()]),
            (0.5, lambda: ["ZREMRANGEBYSCORE", key(), self.bound(), self.bound()]),
            (0.5, lambda: ["ZREMRANGEBYLEX", LEX, self.lex(), self.lex()]),
            (3, lambda: [pick(["ZPOPMIN", "ZPOPMAX"]), key()] +
                self.options([lambda: pick(COUNTS)])),
            (2, lambda: ["ZMPOP"] + self.several(key)[1] + [pick([b"MIN", b"max"])] +
                self.options([b"COUNT", lambda: pick(COUNTS)])),
            (1, lambda: self.combine("ZUNION", False)),
            (1, lambda: self.combine("ZINTER", False)),
            (1, lambda: self.combine("ZDIFF", False)),
            (1, lambda: self.combine("ZUNIONSTORE", True)),
            (1, lambda: self.combine("ZINTERSTORE", True)),
            (1, lambda: self.combine("ZDIFFSTORE", True)),
            (1, lambda: ["ZINTERCARD"] + self.several(self.source)[1] + self.options(
                [b"LIMIT", lambda: pick(COUNTS)])),
            (1, lambda: ["ZRANDMEMBER", b"none"] + self.options([lambda: pick(COUNTS)])),
            (2, lambda: ["SADD", pick(SETS)] + [member() for _ in range(pick([1, 20]))]),
            (0.2, lambda: ["DEL", pick([key(), LEX])]),
            (0.3, lambda: ["TYPE", key()]),
            (0.3, lambda: ["EXPIRE", key(), b"100000"]),
            (0.3, lambda: ["TTL", key()]),
            (0.2, lambda: ["RENAME", key(), pick(KEYS[:3])]),
            (0.2, lambda: ["COPY", key(), pick(KEYS[:3]), b"REPLACE"]),
            (0.3, lambda: ["SET", b"string", b"x"]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


def near(command, a, b):
    return command[0] == "TTL" and isinstance(a, int) and isinstance(b, int) and abs(a - b) <= 5


def scan(connection, key, count):
    """All elements by member; scores as numbers, since they are printed in several ways."""
    seen = {}
    cursor = b"0"
    while True:
        cursor, flat = connection("ZSCAN", key, cursor, "COUNT", count)
        seen.update(zip(flat[::2], map(float, flat[1::2])))
        if cursor == b"0":
            return seen


def random_members(connection, key):
    """What must be so of any choice."""
    card = connection("ZCARD", key)
    for count in (1, 3, card // 2, card, card + 5):
        chosen = connection("ZRANDMEMBER", key, count)
        assert len(chosen) == min(count, card) == len(set(chosen))
        assert None not in (connection("ZMSCORE", key, *chosen) if chosen else [])
    if card:
        assert len(connection("ZRANDMEMBER", key, -20)) == 20
        assert connection("ZSCORE", key, connection("ZRANDMEMBER", key)) is not None


def compare_keys(pair, seed):  # noqa: F811
    ours, theirs = pair
    for key in set(KEYS[:5]) | {LEX}:
        everything = ours("ZRANGE", key, 0, -1, "WITHSCORES")
        assert everything == theirs("ZRANGE", key, 0, -1, "WITHSCORES"), (seed, key)
        if isinstance(everything, Error):  # the string has been renamed
            continue
        if has_tiers(ours):
            ours("TIER", "DEMOTE", key)
        assert scan(ours, key, 13) == scan(theirs, key, 100), (seed, key)
        random_members(ours, key)


def same(command, mine, other):
    return mine == other or near(command, mine, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.source() for _ in range(3)] + [LEX],
              seed=seed, steps=STEPS, same=same)
    compare_keys((ours, theirs), seed)
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, [LEX, *KEYS], same=same)
    compare_keys((ours, theirs), 4711)
    ours.close()
    theirs.close()
