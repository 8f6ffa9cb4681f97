"""Random list commands against redis-server and Firn side by side: every reply must be equal,
wherever the pages are."""

import random

import pytest

from differential import emptied, run_pipelines, run_steps
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1200

KEYS = [b"l1", b"l2", b"big", b"long", b"string"]
ELEMENTS = [b"", b"a", b"b", b"c", b"0", b"-1", b"127", b"4096", b"123456789012345", b"x" * 63,
            b"y" * 64, b"z" * 254, b"w" * 255, b"v" * 300, b"u" * 5000, b"\x00\xff\r\n"]
INDEXES = [b"0", b"1", b"-1", b"2", b"5", b"-5", b"100", b"-100", b"1000", b"-1500", b"2500",
           b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"x", b""]
COUNTS = [b"0", b"1", b"2", b"-1", b"-2", b"10", b"500", b"-500", b"x",
          b"-9223372036854775808", b"9223372036854775807"]
ENDS = [b"LEFT", b"RIGHT", b"left", b"Right", b"MIDDLE"]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return self.random.choice(KEYS)

    def element(self):
        if self.random.random() < 0.4:
            return b"%d" % self.random.randrange(300)
        return self.random.choice(ELEMENTS[:-3] if self.random.random() < 0.8 else ELEMENTS)

    def elements(self):
        count = self.random.choice([1, 1, 1, 1, 2, 5, 30])
        if self.random.random() < 0.03:
            count = 2000
        return [self.element() for _ in range(count)]

    def end(self):
        return self.random.choice(ENDS[:-1] if self.random.random() < 0.97 else ENDS)

    def options(self, *groups):
        chosen = [group for group in groups if self.random.random() < 0.4]
        self.random.shuffle(chosen)
        flat = [part() if callable(part) else part for group in chosen for part in group]
        if flat and self.random.random() < 0.03:
            flat.pop()
        if self.random.random() < 0.02:
            flat.append(b"NONSENSE")
        return flat

    def keys(self):
        return [self.key() for _ in range(self.random.randrange(1, 4))]

    def command(self):
        key, pick, element = self.key, self.random.choice, self.element
        index = lambda: pick(INDEXES[:-3] if self.random.random() < 0.9 else INDEXES)
        several = self.keys()
        number = pick([b"%d" % len(several)] * 20 + [b"0", b"-1", b"9", b"x"])
        makers = [
            (6, lambda: ["LPUSH", key()] + self.elements()),
            (6, lambda: ["RPUSH", key()] + self.elements()),
            (1, lambda: ["LPUSHX", key()] + self.elements()),
            (1, lambda: ["RPUSHX", key()] + self.elements()),
            (3, lambda: ["LPOP", key()]),
            (3, lambda: ["RPOP", key()]),
            (1, lambda: ["LPOP", key(), pick(COUNTS)]),
            (1, lambda: ["RPOP", key(), pick(COUNTS)]),
            (2, lambda: ["LLEN", key()]),
            (3, lambda: ["LINDEX", key(), index()]),
            (3, lambda: ["LINSERT", key(), pick([b"BEFORE", b"after", b"after", b"x"]), element(),
                         element()]),
            (3, lambda: ["LSET", key(), index(), element()]),
            (3, lambda: ["LRANGE", key(), index(), index()]),
            (1, lambda: ["LTRIM", key(), pick(INDEXES[:6]), pick([b"-1", b"-2", b"-1", b"-3",
                                                                  b"1000", b"0"])]),
            (0.3, lambda: ["LTRIM", key(), index(), index()]),
            (2, lambda: ["LREM", key(), pick(COUNTS[:7] if self.random.random() < .9 else COUNTS),
                         element()]),
            (3, lambda: ["LPOS", key(), element()] + self.options(
                [b"RANK", lambda: pick(COUNTS[:-2])], [b"COUNT", lambda: pick(COUNTS)],
                [b"MAXLEN", lambda: pick(COUNTS)])),
            (2, lambda: ["LMOVE", key(), key(), self.end(), self.end()]),
            (1, lambda: ["RPOPLPUSH", key(), key()]),
            (1, lambda: ["LMPOP", number] + several + [self.end()] + self.options(
                [b"COUNT", lambda: pick(COUNTS)])),
            (0.3, lambda: ["DEL", key()]),
            (0.5, lambda: ["TYPE", key()]),
            (0.3, lambda: ["EXPIRE", key(), b"100000"]),
            (0.3, lambda: ["TTL", key()]),
            (0.2, lambda: ["RENAME", key(), pick(KEYS[:4])]),
            (0.2, lambda: ["COPY", key(), pick(KEYS[:4]), b"REPLACE"]),
            (0.2, lambda: ["SET", b"string", b"x"]),
            (0.2, lambda: ["GET", key()]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


def near(command, a, b):
    return command[0] == "TTL" and isinstance(a, int) and isinstance(b, int) and abs(a - b) <= 5


def same(command, mine, other):
    return mine == other or near(command, mine, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: sequence.keys(), seed=seed, steps=STEPS, same=same)
    for key in KEYS[:4]:
        assert ours("LRANGE", key, 0, -1) == theirs("LRANGE", key, 0, -1), (seed, key)
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS, same=same)
    ours.close()
    theirs.close()


class Runs(Sequence):
    """The same command again and again, as job queues get it in pipelines."""

    def __init__(self, seed):
        super().__init__(seed)
        self.left = []

    def command(self):
        pick = self.random.choice
        if not self.left:
            if self.random.random() < 0.2:
                return super().command()
            key, name = pick(KEYS[:3] if self.random.random() < 0.95 else KEYS), pick(
                ["LPUSH", "RPUSH", "LPOP", "RPOP", "lpush", "rpop"])
            for _ in range(self.random.randrange(2, 40)):
                pushes = name.lower().endswith("push")
                elements = self.elements() if pushes and self.random.random() < 0.1 else [
                    self.element()]
                self.left.append([name, key] + (elements if pushes else []))
            self.left.append(pick([["LLEN", key], ["LRANGE", key, 0, -1], ["LINDEX", key, -1]]))
        return self.left.pop(0)


def test_runs_of_pushes_and_pops_are_equal(pair):  # noqa: F811
    ours, theirs = emptied(pair)
    run_pipelines((ours, theirs), Runs(815), KEYS, batches=150, same=same)
    for key in KEYS[:4]:
        assert ours("LRANGE", key, 0, -1) == theirs("LRANGE", key, 0, -1), key
    before = ours("INFO", "commandstats")
    ours.pipeline([["RPUSH", "counted", i] for i in range(32)])
    ours.pipeline([["LPOP", "counted"] for _ in range(32)])
    for name in (b"rpush", b"lpop"):
        def calls(text):
            line = [line for line in text.splitlines() if line.startswith(b"cmdstat_%s:" % name)]
            return int(line[0].split(b"calls=")[1].split(b",")[0]) if line else 0
        assert calls(ours("INFO", "commandstats")) - calls(before) == 32
    ours.close()
    theirs.close()
