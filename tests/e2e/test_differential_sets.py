"""Random set commands and SORT against redis-server and Firn side by side: every reply must be
equal, wherever the pages are."""

import random

import pytest

from differential import emptied, has_tiers
from harness import Error
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1200

SETS = [b"s1", b"s2", b"s3", b"big", b"int", b"long"]
KEYS = SETS + [b"string", b"list", b"none"]
MEMBERS = [b"", b"a", b"b", b"c", b"0", b"-1", b"01", b"-0", b"9223372036854775807",
           b"-9223372036854775808", b"9223372036854775808", b"x" * 64, b"y" * 65, b"z" * 254,
           b"w" * 255, b"v" * 300, b"u" * 5000, b"q\x00\xff\r\n"]
COUNTS = [b"0", b"1", b"2", b"5", b"100", b"1000", b"x", b"", b"9223372036854775808"]
INTEGERS = COUNTS + [b"-1", b"-5", b"-9223372036854775808"]
UNORDERED = {"SMEMBERS", "SUNION", "SINTER", "SDIFF"}


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return self.random.choice(KEYS if self.random.random() < 0.1 else SETS)

    def keys(self):
        return [self.key() for _ in range(self.random.choice([1, 2, 2, 3, 5]))]

    def member(self, key=None):
        if key == b"int" and self.random.random() < 0.98:
            return b"%d" % self.random.randrange(-400, 400)
        if self.random.random() < 0.8:
            return b"%d" % self.random.randrange(300)
        return self.random.choice(MEMBERS[:-3] if self.random.random() < 0.8 else MEMBERS)

    def members(self, key=None):
        if key == b"big" and self.random.random() < 0.1:
            base = self.random.randrange(5000)
            return [b"member:%d" % (base + i) for i in range(1500)]
        count = self.random.choice([1, 1, 1, 2, 5, 30])
        return [self.member(key) for _ in range(count)]

    def add(self):
        key = self.key()
        return ["SADD", key] + self.members(key)

    def options(self, *groups):
        chosen = [group for group in groups if self.random.random() < 0.4]
        self.random.shuffle(chosen)
        flat = [part() if callable(part) else part for group in chosen for part in group]
        if flat and self.random.random() < 0.03:
            flat.pop()
        if self.random.random() < 0.02:
            flat.append(b"NONSENSE")
        return flat

    def sort(self, name):
        pick = self.random.choice
        pattern = lambda: pick([b"w:*", b"h:*->f", b"w:*", b"h:*->nofield", b"h:*->", b"*", b"none:*",
                                b"#", b"nosuchkey", b"s*"])
        store = [] if name == "SORT_RO" else [[b"STORE", lambda: pick(SETS[:3] + [b"list"])]]
        command = [name, pick([b"s1", b"s2", b"int", b"list", b"zset", b"big", self.key()])]
        words = self.options(
            [b"BY", lambda: pick([b"w:*", b"h:*->f", b"w:*", b"nosort", pattern()])],
            [b"GET", pattern], [b"GET", b"#"], [b"ALPHA"], [b"ALPHA"], [b"DESC"], [b"asc"],
            [b"LIMIT", lambda: pick(INTEGERS[:-2]), lambda: pick(INTEGERS)], *store)
        return command + words

    def command(self):
        key, pick = self.key, self.random.choice
        several = self.keys()
        number = pick([b"%d" % len(several)] * 20 + [b"0", b"-1", b"9", b"x"])
        makers = [
            (20, self.add),
            (8, lambda: ["SREM", key()] + self.members()),
            (2, lambda: ["SCARD", key()]),
            (4, lambda: ["SISMEMBER", key(), self.member()]),
            (2, lambda: ["SMISMEMBER", key()] + self.members()),
            (3, lambda: ["SMEMBERS", key()]),
            (5, lambda: ["SMOVE", key(), key(), self.member()]),
            (3, lambda: ["SPOP", key()]),
            (3, lambda: ["SPOP", key(), pick(INTEGERS)]),
            (2, lambda: ["SRANDMEMBER", key()]),
            (2, lambda: ["SRANDMEMBER", key(), pick(INTEGERS)]),
            (3, lambda: ["SUNION"] + several),
            (3, lambda: ["SINTER"] + several),
            (3, lambda: ["SDIFF"] + several),
            (2, lambda: ["SUNIONSTORE", key()] + several),
            (2, lambda: ["SINTERSTORE", key()] + several),
            (2, lambda: ["SDIFFSTORE", key()] + several),
            (3, lambda: ["SINTERCARD", number] + several + self.options(
                [b"LIMIT", lambda: pick(INTEGERS)])),
            (2, lambda: ["SSCAN", key(), pick([b"0"] * 9 + [b"x"]), b"COUNT", b"1000000"]
             + self.options([b"MATCH", lambda: pick([b"*", b"1*", b"?"])],
                            [b"COUNT", b"1000000"])),
            (6, lambda: self.sort(pick(["SORT", "SORT", "SORT_RO"]))),
            (1, lambda: ["SET", b"w:%d" % self.random.randrange(100),
                         pick([b"%d" % self.random.randrange(100), b"1.5", b"-3e2", b" 7", b""])]),
            (1, lambda: ["HSET", b"h:%d" % self.random.randrange(100), b"f",
                         b"%d" % self.random.randrange(100)]),
            (1, lambda: ["RPUSH", b"list"] + [self.member() for _ in range(5)]),
            (1, lambda: ["ZADD", b"zset", b"%d" % self.random.randrange(20), self.member()]),
            (1, lambda: ["DEL", key()]),
            (1, lambda: ["TYPE", key()]),
            (0.5, lambda: ["EXPIRE", key(), b"100000"]),
            (0.5, lambda: ["TTL", key()]),
            (0.3, lambda: ["RENAME", key(), pick(SETS)]),
            (0.3, lambda: ["COPY", key(), pick(SETS), b"REPLACE"]),
            (0.2, lambda: ["SET", b"string", b"x"]),
            (0.2, lambda: [pick(["SADD", "SPOP", "SMOVE", "SORT", "SINTERCARD"]), b"s1"]),
            (0.2, lambda: ["SPOP", b"s1", b"1", b"2"]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


def is_random(command):
    return command[0] in ("SPOP", "SRANDMEMBER") and len(command) <= 3


def normal(command, reply):
    if isinstance(reply, (set, frozenset)):
        return sorted(reply)
    if command[0] in UNORDERED and isinstance(reply, list):
        return sorted(reply)
    if command[0] == "SSCAN" and isinstance(reply, list):
        return [reply[0], sorted(reply[1])]
    if command[0].startswith("SORT") and isinstance(reply, list) and unstable(command):
        return sorted(reply, key=lambda each: (each is not None, each or b""))
    return reply


def unstable(command):
    """The order among equal weights, and of an unsorted set, is nobody's business. Neither is
    then, which elements a limit takes."""
    return any(word in (b"BY",) for word in command[2:])


def comparable(command):
    """Whether the outcome does not depend on an order that is nobody's business."""
    if not command[0].startswith("SORT"):
        return True
    words = [word.upper() for word in command[2:]]
    return not (b"BY" in words and (b"LIMIT" in words or b"STORE" in words))


def near(command, a, b):
    return command[0] == "TTL" and isinstance(a, int) and isinstance(b, int) and abs(a - b) <= 5


def check_random(command, ours, theirs):
    """What Firn has chosen must be members; what it has popped is removed from the other side."""
    mine = ours(*command)
    key = command[1]
    before = theirs("TYPE", key)
    if isinstance(mine, Error) or before not in ("set", "none"):
        assert isinstance(mine, Error) and mine == theirs(*command), (command, mine)
        return
    chosen = [] if mine is None else [mine] if isinstance(mine, bytes) else list(mine)
    counted = len(command) == 3
    present = theirs("SCARD", key)
    if before == "none":
        assert mine == theirs(*command)
    elif counted:
        count = int(command[2])
        assert len(chosen) == (min(count, present) if count >= 0 else -count), command
    else:
        assert len(chosen) == 1
    if chosen:
        assert all(theirs("SMISMEMBER", key, *chosen)), command
    if not counted or not command[2].startswith(b"-"):
        assert len(set(chosen)) == len(chosen)
    if command[0] == "SPOP" and chosen:
        assert theirs("SREM", key, *chosen) == len(chosen)


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    tiers = has_tiers(ours)
    history = []
    for step in range(STEPS):
        if tiers and sequence.random.random() < 0.1:
            demoted = sequence.keys() + [b"w:%d" % i for i in range(0, 100, 7)] + [b"h:1", b"h:5"]
            history.append(["TIER", "DEMOTE"] + demoted)
            assert isinstance(ours("TIER", "DEMOTE", *demoted), int), (seed, step)
        if tiers and sequence.random.random() < 0.005:
            history.append(["DEBUG", "RELOAD"])
            assert ours("DEBUG", "RELOAD") == "OK"
        command = sequence.command()
        if not comparable(command):
            continue
        history.append(command)
        if is_random(command):
            check_random(command, ours, theirs)
            continue
        mine, other = (normal(command, connection(*command)) for connection in (ours, theirs))
        if mine != other and not near(command, mine, other):
            last = "\n".join(repr(line)[:200] for line in history[-25:])
            pytest.fail(f"seed {seed}, step {step}: {command!r:.300}\nours:   {mine!r:.500}\n"
                        f"theirs: {other!r:.500}\nthe last commands:\n{last}")
    for key in SETS:
        mine, other = (normal(["SMEMBERS"], side("SMEMBERS", key)) for side in (ours, theirs))
        assert mine == other, (seed, key)
    ours.close()
    theirs.close()


def test_pipelines_are_equal(pair):  # noqa: F811
    """The same with whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = emptied(pair)
    sequence = Sequence(4711)
    tiers = has_tiers(ours)
    for batch in range(40):
        if tiers:
            ours("TIER", "DEMOTE", *KEYS)
        commands = [sequence.command() for _ in range(60)]
        commands = [each for each in commands if comparable(each) and not is_random(each)]
        mine, other = ours.pipeline(commands), theirs.pipeline(commands)
        for command, a, b in zip(commands, mine, other):
            a, b = normal(command, a), normal(command, b)
            assert a == b or near(command, a, b), (
                f"batch {batch}: {command!r:.300}: {a!r:.300} instead of {b!r:.300}")
    ours.close()
    theirs.close()
