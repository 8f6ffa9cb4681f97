"""Random stream commands against redis-server and Firn side by side: every reply must be equal,
wherever the pages are. Times differ, so they are left out of what is compared."""

import random

import pytest

from differential import emptied, run_pipelines, run_steps
from harness import Error
from test_differential import FIRST, LAST, pair  # noqa: F811, F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
STEPS = 1200

KEYS = [b"s1", b"s2", b"big", b"long", b"string"]
GROUPS = [b"g1", b"g2", b"", b"group:three"]
CONSUMERS = [b"alice", b"bob", b"", b"c" * 300]
NAMES = [b"a", b"b", b"field", b"", b"123", b"n" * 70]
VALUES = [b"", b"v", b"0", b"-1", b"127", b"128", b"-4096", b"40000", b"9000000", b"3000000000",
          b"99999999999", b"007", b"x" * 16, b"y" * 63, b"z" * 64, b"w" * 200, b"u" * 5000]
COUNTS = [b"0", b"1", b"2", b"7", b"1000", b"-1", b"x"]
BAD_IDS = [b"x", b"", b"-", b"+", b"1-x", b"1-2-3", b"18446744073709551616", b"$", b">", b"*", b"(5",
           b"-1", b"18446744073709551615-18446744073709551615", b"5-", b"1-*"]


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.top = {key: 0 for key in KEYS}

    def key(self):
        return self.random.choice(KEYS)

    def next_id(self, key):
        if self.random.random() < 0.05:
            bad = self.id(key)
            return b"x-*" if bad == b"*" else bad  # two servers' clocks differ by a millisecond
        step = self.random.choice([0, 0, 1, 1, 3, 50, 2000])
        self.top[key] += step
        if step == 0 or self.random.random() < 0.1:
            return b"%d-*" % self.top[key]
        return b"%d-%d" % (self.top[key], self.random.randrange(4))

    def id(self, key):
        if self.random.random() < 0.04:
            return self.random.choice(BAD_IDS)
        ms = self.random.randrange(self.top[key] + 2)
        return b"%d" % ms if self.random.random() < 0.3 else b"%d-%d" % (
            ms, self.random.choice([0, 0, 1, 2, 3]))

    def ids(self, key):
        return [self.id(key) for _ in range(self.random.choice([1, 1, 2, 5, 30]))]

    def range(self, key):
        ends = [self.random.choice([b"-", self.id(key), b"(" + self.id(key)]),
                self.random.choice([b"+", self.id(key), b"(" + self.id(key)])]
        return ends

    def fields(self):
        if self.random.random() < 0.7:
            names = NAMES[:2]
        else:
            names = [self.random.choice(NAMES) for _ in range(self.random.randrange(1, 5))]
        flat = [part for name in names for part in (name, self.value())]
        if self.random.random() < 0.01:
            flat.pop()
        return flat

    def value(self):
        return self.random.choice(VALUES[:14] if self.random.random() < 0.95 else VALUES)

    def trimming(self, key):
        pick = self.random.choice
        mark = pick([[b"~"], [b"~"], [b"="], []])
        if self.random.random() < 0.6:
            words = [b"MAXLEN"] + mark + [pick([b"0", b"10", b"100", b"250", b"300", b"1000", b"-1"])]
        else:
            words = [b"MINID"] + mark + [self.id(key)]
        if self.random.random() < 0.2:
            words += [b"LIMIT", pick([b"0", b"50", b"100", b"500", b"-1", b"x"])]
        return words

    def maybe(self, *words, chance=0.4):
        if self.random.random() >= chance:
            return []
        return [word() if callable(word) else word for word in words]

    def add(self, key, options=0.05):
        """`options`: how often there is one of each."""
        return ["XADD", key] + self.maybe(b"NOMKSTREAM", chance=options) + (
            self.trimming(key) if self.random.random() < options else []) + [
                self.next_id(key)] + self.fields()

    def command(self):
        key, pick = self.key(), self.random.choice
        group, consumer = pick(GROUPS[:2] + GROUPS), pick(CONSUMERS)
        count = lambda: pick(COUNTS)  # noqa: E731
        makers = [
            (30, lambda: self.add(key)),
            (1, lambda: ["XLEN", key]),
            (3, lambda: ["XRANGE", key] + self.range(key) + self.maybe(b"COUNT", count)),
            (3, lambda: ["XREVRANGE", key] + self.range(key)[::-1] + self.maybe(b"COUNT", count)),
            (4, lambda: ["XDEL", key] + self.ids(key)),
            (0.4, lambda: ["XTRIM", key] + self.trimming(key)),
            (2, lambda: ["XREAD"] + self.maybe(b"COUNT", count) + [
                b"STREAMS", key, b"s2", self.id(key), self.id(b"s2")]),
            (0.7, lambda: ["XSETID", key, self.id(key)] + self.maybe(
                b"ENTRIESADDED", lambda: pick([b"0", b"100", b"100000", b"-1"])) + self.maybe(
                    b"MAXDELETEDID", lambda: self.id(key))),
            (2, lambda: ["XGROUP", "CREATE", key, group, pick([b"$", b"0", self.id(key)])] +
             self.maybe(b"MKSTREAM") + self.maybe(b"ENTRIESREAD", lambda: pick([b"0", b"9", b"-1"]),
                                                  chance=0.2)),
            (0.5, lambda: ["XGROUP", "CREATECONSUMER", key, group, consumer]),
            (0.4, lambda: ["XGROUP", "DELCONSUMER", key, group, consumer]),
            (0.2, lambda: ["XGROUP", "DESTROY", key, group]),
            (0.7, lambda: ["XGROUP", "SETID", key, group, pick([b"$", b"0", self.id(key)])]),
            (8, lambda: ["XREADGROUP", b"GROUP", group, consumer] + self.maybe(b"COUNT", count) +
             self.maybe(b"NOACK", chance=0.1) + [b"STREAMS", key, pick(
                 [b">", b">", b">", b"0", self.id(key)])]),
            (6, lambda: ["XACK", key, group] + self.ids(key)),
            (3, lambda: ["XPENDING", key, group]),
            (3, lambda: ["XPENDING", key, group] + self.maybe(b"IDLE", b"0") + self.range(key) + [
                count()] + self.maybe(lambda: consumer)),
            (3, lambda: ["XCLAIM", key, group, consumer, pick([b"0", b"0", b"0", b"1000000"])] +
             self.ids(key) + self.maybe(b"FORCE") + self.maybe(b"JUSTID") + self.maybe(
                 b"RETRYCOUNT", b"7") + self.maybe(b"LASTID", lambda: self.id(key), chance=0.1)),
            (3, lambda: ["XAUTOCLAIM", key, group, consumer, pick([b"0", b"0", b"1000000"]), pick(
                [b"0", b"-", self.id(key)])] + self.maybe(b"COUNT", count) + self.maybe(b"JUSTID")),
            (2, lambda: ["XINFO", "STREAM", key]),
            (2, lambda: ["XINFO", "STREAM", key, "FULL"] + self.maybe(b"COUNT", count)),
            (2, lambda: ["XINFO", "GROUPS", key]),
            (1, lambda: ["XINFO", "CONSUMERS", key, group]),
            (0.05, lambda: ["DEL", key]),
            (0.5, lambda: ["TYPE", key]),
            (0.5, lambda: ["OBJECT", "ENCODING", key]),
            (0.1, lambda: ["RENAME", key, pick(KEYS[:4])]),
            (0.2, lambda: ["COPY", key, pick(KEYS[:4]), b"REPLACE"]),
            (0.2, lambda: ["SET", b"string", b"x"]),
            (0.2, lambda: [pick(["XADD", "XREAD", "XACK", "XGROUP", "XINFO", "XLEN"])]),
            (0.3, lambda: ["CONFIG", "SET", "stream-node-max-entries", pick(
                [b"0", b"1", b"10", b"100"])]),
            (0.3, lambda: ["CONFIG", "SET", "stream-node-max-bytes", pick(
                [b"0", b"200", b"1024", b"4096"])]),
        ]
        weights, functions = zip(*makers)
        return self.random.choices(functions, weights)[0]()


# Before Redis 7.2 there were other times, a lag was known less often, and claiming nothing made no
# consumer.
LEFT_OUT = (b"seen-time", b"active-time", b"idle", b"inactive", b"lag")


def without_times(info):
    """What XINFO gives, whichever protocol, without consumers that have nothing pending."""
    if isinstance(info, dict):
        info.pop(b"consumers", None) if isinstance(info.get(b"consumers"), int) else None
        if len(info) > 1 and not info.get(b"pel-count", info.get(b"pending", 1)) and (
                b"seen-time" in info or b"idle" in info):
            return None
        return {name: without_times(value) for name, value in info.items() if name not in LEFT_OUT}
    if isinstance(info, list) and info and info[0] in (b"length", b"name"):
        return without_times(dict(zip(info[::2], info[1::2])))
    if isinstance(info, list):
        parts = [(part, without_times(part)) for part in info]
        return [clean for part, clean in parts if clean is not None or part is None]
    return info if not isinstance(info, int) or info < 1600000000000 else "a time"


def normal(command, reply):
    if isinstance(reply, Error):
        return ("error", reply)
    if command[:2] == ["XGROUP", "CREATECONSUMER"]:
        return "made or not"
    if command[0] == "XINFO":
        return without_times(reply)
    if command[0] == "XPENDING" and isinstance(reply, list) and reply and isinstance(
            reply[0], list):
        return [[entry, owner, deliveries] for entry, owner, _, deliveries in reply]
    return reply


def same(command, mine, other):
    return normal(command, mine) == normal(command, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_are_equal(pair, seed):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        connection("CONFIG", "SET", "stream-node-max-entries", "100", "stream-node-max-bytes", "4096")
        if seed % 2 == 0:
            connection("HELLO", "3")
    sequence = Sequence(seed)
    run_steps((ours, theirs), sequence, lambda: [sequence.key() for _ in range(3)],
              seed=seed, steps=STEPS, same=same)
    for key in KEYS[:4]:
        for command in (("XRANGE", key, "-", "+"), ("XREVRANGE", key, "+", "-")):
            assert ours(*command) == theirs(*command), (seed, key)
    assert ours("DEBUG", "DIGEST") == theirs("DEBUG", "DIGEST")
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
            key = pick(KEYS[:3]) if self.random.random() < 0.95 else self.key()
            group = pick(GROUPS[:2])
            options = pick([0, 0, 0.05])
            self.left += [self.add(key, options) for _ in range(self.random.randrange(20))]
            self.left += [["XREADGROUP", "GROUP", group, pick(CONSUMERS[:2]), "COUNT", pick(
                [1, 2, 10]), "STREAMS", key, ">"] for _ in range(self.random.randrange(20))]
            ids = [self.id(key) for _ in range(self.random.randrange(2, 40))]
            if self.random.random() < 0.7:
                ids.sort(key=lambda one: [int(part) for part in one.split(b"-") if part.isdigit()])
            for one in ids:
                other = GROUPS[0] if self.random.random() < 0.03 else group
                many = self.ids(key) if self.random.random() < 0.1 else [one]
                self.left.append([pick(["XACK", "xack"]), key, other] + many)
            self.left += [["XPENDING", key, group], ["XINFO", "CONSUMERS", key, group]]
        return self.left.pop(0)


def test_runs_of_additions_and_acknowledgements_are_equal(pair):  # noqa: F811
    ours, theirs = emptied(pair)
    for connection in (ours, theirs):
        for key in KEYS[:3]:
            for group in GROUPS[:2]:
                connection("XGROUP", "CREATE", key, group, "0", "MKSTREAM")
    run_pipelines((ours, theirs), Runs(816), KEYS, batches=150, same=same)
    for key in KEYS[:3]:
        for group in GROUPS[:2]:
            command = ["XPENDING", key, group, "-", "+", 10_000]
            assert same(command, ours(*command), theirs(*command)), (key, group)
    ours.close()
    theirs.close()


def test_each_of_a_run_is_counted(pair):  # noqa: F811
    ours, theirs = emptied(pair)

    def counts(command):
        def number(section, name):
            line = [line for line in ours("INFO", section).splitlines() if line.startswith(name)]
            return int(line[0].split(b":")[1].removeprefix(b"calls=").split(b",")[0])
        return [number("commandstats", b"cmdstat_%s:" % command),
                number("stats", b"keyspace_hits:"),
                number("persistence", b"rdb_changes_since_last_save:")]

    def changes(command, before):
        return [after - old for after, old in zip(counts(command), before)]
    ours("XADD", "counted", "1-0", "f", "v")
    before = counts(b"xadd")
    ids = ours.pipeline([["XADD", "counted", f"{i}-0", "f", "v"] for i in range(2, 34)])
    assert ids == [b"%d-0" % i for i in range(2, 34)]
    assert changes(b"xadd", before) == [32, 0, 32]
    ours("XGROUP", "CREATE", "counted", "g", "0")
    ours("XREADGROUP", "GROUP", "g", "c", "STREAMS", "counted", ">")
    ours("XACK", "counted", "g", "33-0")
    before = counts(b"xack")
    replies = ours.pipeline([["XACK", "counted", "g", f"{i // 2}-0"] for i in range(2, 34)])
    assert replies == [1, 0] * 16
    assert changes(b"xack", before) == [32, 32, 16]
    ours.close()
    theirs.close()


def test_run_of_additions_goes_on_behind_one_that_fails(client):
    pipe = client.pipeline(transaction=False)
    for command in (["5-1", "f", "v"], ["5-*", "f", "v"], ["5-1", "f", "v"], ["6-0", "f", "v"],
                    ["MAXLEN", "3", "7-0", "f", "v"], ["8-0", "f"], ["9-0", "f", "v", "g", "w"]):
        pipe.execute_command("XADD", "s", *command)
    replies = [str(reply) if isinstance(reply, Exception) else reply
               for reply in pipe.execute(raise_on_error=False)]
    assert [reply for reply in replies if isinstance(reply, bytes)] == [
        b"5-1", b"5-2", b"6-0", b"7-0", b"9-0"]
    assert "equal or smaller" in replies[2] and "wrong number of arguments" in replies[5]
    assert client.xrange("s") == [(b"5-2", {b"f": b"v"}), (b"6-0", {b"f": b"v"}),
                                  (b"7-0", {b"f": b"v"}), (b"9-0", {b"f": b"v", b"g": b"w"})]
    assert client.xinfo_stream("s")["entries-added"] == 5


def test_key_named_twice_goes_on_where_it_was_left(client):
    for i in range(1, 4):
        client.xadd("s", {"a": i}, id=f"{i}-0")
    client.xgroup_create("s", "g", id="0")
    read = ["XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "STREAMS"]
    first, second = client.execute_command(*read, "s", "s", "s", ">", ">", ">")
    assert [entry[0] for entry in first[1]] == [b"1-0", b"2-0"]
    assert [entry[0] for entry in second[1]] == [b"3-0"]
    client.xgroup_setid("s", "g", "0")
    (everything,) = client.execute_command(
        "XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "s", ">", ">")
    assert len(everything[1]) == 3
