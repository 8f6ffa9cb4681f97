"""Random geo commands against redis-server and Firn side by side: every reply must be equal,
wherever the pages are."""

import random

import pytest

from differential import emptied, run_pipelines, run_steps
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 700

KEYS = [b"g1", b"g2", b"big", b"big", b"poles"]
TARGETS = [b"t1", b"t2", b"g2"]
WRONG = [b"string"]
UNITS = [b"m", b"km", b"KM", b"ft", b"mi"]
POINTS = [(b"0", b"0"), (b"180", b"85.05112878"), (b"-180", b"-85.05112878"), (b"179.99", b"0"),
          (b"-179.99", b"0.001"), (b"13.361389", b"38.115556"), (b"0", b"85"), (b"0", b"-84.9"),
          (b"12", b"67"), (b"-122.4", b"37.7")]
BAD_POINTS = [(b"181", b"0"), (b"0", b"86"), (b"x", b"0"), (b"0", b""), (b"inf", b"0"),
              (b"nan", b"1")]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def key(self):
        if self.chance(0.03):
            return self.random.choice(WRONG + [b"none"])
        return self.random.choice(KEYS)

    def member(self):
        if self.chance(0.05):
            return self.random.choice([b"", b"STORE", b"x" * 70, b"\x00\xff"])
        return b"m%d" % self.random.randrange(self.random.choice([10, 200, 3000]))

    def point(self, key=None):
        if self.chance(0.01):
            return self.random.choice(BAD_POINTS)
        if self.chance(0.05):
            return self.random.choice(POINTS)
        if key == b"poles" or self.chance(0.1):
            longitude = self.random.uniform(-180, 180)
            latitude = self.random.choice([-1, 1]) * self.random.uniform(60, 85)
        else:
            longitude = self.random.gauss(15, 3)
            latitude = self.random.gauss(38, 3)
        return b"%.6f" % longitude, b"%.6f" % latitude

    def size(self):
        if self.chance(0.02):
            return self.random.choice([b"-1", b"x", b"", b"0", b"0"])
        return b"%.2f" % self.random.choice([
            self.random.uniform(0, 500), self.random.uniform(0, 20), 10 ** self.random.uniform(0, 7)])

    def add(self):
        key = self.key()
        options = [word for word in (b"NX", b"XX", b"ch") if self.chance(0.12)]
        count = self.random.choice([1, 1, 1, 3, 20])
        if key == b"big" and self.chance(0.1):
            count = 1500
        flat = [part for _ in range(count) for part in (*self.point(key), self.member())]
        if self.chance(0.02):
            flat.pop()
        return ["GEOADD", key] + options + flat

    def options(self, *groups):
        chosen = [group for group in groups if self.chance(0.35)]
        self.random.shuffle(chosen)
        flat = [part for group in chosen for part in group]
        if flat and self.chance(0.02):
            flat.pop()
        if self.chance(0.01):
            flat.append(b"NONSENSE")
        return flat

    def count(self, bad=(b"0", b"-1", b"x")):
        value = self.random.choice(bad) if self.chance(0.03) else self.random.choice(
            [b"1", b"3", b"10", b"100", b"5000"])
        return [b"COUNT", value] + ([b"ANY"] if self.chance(0.3) else [])

    def common(self, store):
        order = [self.random.choice([b"ASC", b"desc"])]
        flags = [] if store and self.chance(0.95) else [[b"WITHDIST"], [b"withhash"],
                                                        [b"WITHCOORD"]]
        groups = self.options(order, self.count(), *flags)
        return groups

    def shape(self):
        if self.chance(0.5):
            words = [b"BYRADIUS", self.size(), self.random.choice(UNITS)]
        else:
            words = [b"BYBOX", self.size(), self.size(), self.random.choice(UNITS)]
        return words

    def center(self):
        if self.chance(0.5):
            return [b"FROMMEMBER", self.member()]
        return [b"fromlonlat", *self.point()]

    def search(self, store):
        words = [self.center(), self.shape(), self.common(store)]
        if self.chance(0.02):
            words.append(self.center())
        if self.chance(0.02):
            words.append(self.shape())
        self.random.shuffle(words)
        flat = [part for group in words for part in group]
        if store:
            flat += [b"STOREDIST"] if self.chance(0.4) else []
            return ["GEOSEARCHSTORE", self.random.choice(TARGETS), self.key()] + flat
        return ["GEOSEARCH", self.key()] + flat

    def radius(self):
        name = self.random.choice(["GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER",
                                   "GEORADIUSBYMEMBER_RO"])
        center = [self.member()] if "MEMBER" in name else list(self.point())
        unit = self.random.choice(UNITS) if self.chance(0.98) else b"parsec"
        stores = self.chance(0.02 if name.endswith("RO") else 0.3)
        words = [name, self.key(), *center, self.size(), unit] + self.common(stores)
        if stores:
            words += [self.random.choice([b"STORE", b"storedist"]), self.random.choice(TARGETS)]
        return words

    def command(self):
        key, pick, member = self.key, self.random.choice, self.member
        makers = [
            (8, self.add),
            (2, lambda: ["GEODIST", key(), member(), member()] + self.options([pick(UNITS)])),
            (2, lambda: ["GEOHASH", key()] + [member() for _ in range(pick([0, 1, 5, 40]))]),
            (2, lambda: ["GEOPOS", key()] + [member() for _ in range(pick([0, 1, 5, 40]))]),
            (10, lambda: self.search(False)),
            (3, lambda: self.search(True)),
            (6, self.radius),
            (1, lambda: ["ZREM", key(), member(), member()]),
            (1, lambda: ["ZADD", pick([b"g1", b"poles"]),
                         pick([b"-1", b"1e15", b"1e30", b"inf", b"-inf", b"1234567.75", b"1e19"]),
                         member()]),
            (2, lambda: ["ZRANGE", pick(TARGETS), b"0", b"-1"]),
            (1, lambda: ["OBJECT", "ENCODING", pick(TARGETS + KEYS)]),
            (0.2, lambda: ["DEL", key()]),
            (0.2, lambda: ["SET", b"string", b"x"]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()




def elements(connection, key):
    """Scores as numbers, since they are printed in several ways."""
    flat = connection("ZRANGE", key, 0, -1, "WITHSCORES")
    if flat and isinstance(flat[0], list):
        return [(member, float(score)) for member, score in flat]
    return list(zip(flat[::2], map(float, flat[1::2])))


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(3)],
              seed=seed, steps=STEPS)
    for key in set(KEYS + TARGETS):
        assert elements(ours, key) == elements(theirs, key), (seed, key)
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    run_pipelines((ours, theirs), sequence, KEYS, batches=30)
