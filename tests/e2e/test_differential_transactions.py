"""Random transactions over all types against redis-server and Firn side by side, with WATCH and with
values demoted in between: every reply must be equal, and so must the digest of what is stored."""

import random

import pytest

from harness import Error
from test_differential import FIRST, LAST, pair  # noqa: F401 (a fixture)

SEEDS = range(int(FIRST), int(LAST) + 1)
TRANSACTIONS = 60


class Sequence:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return b"%s%d" % (self.random.choice([b"str", b"list", b"hash", b"set", b"zset"]),
                          self.random.randrange(3))

    def command(self):
        number = b"%d" % self.random.randrange(3)
        item = b"%d" % self.random.randrange(200)
        many = [b"i%d" % self.random.randrange(3000) for _ in range(self.random.choice([1, 2, 400]))]
        string, items, hash_key = b"str" + number, b"list" + number, b"hash" + number
        members, ranks = b"set" + number, b"zset" + number
        return self.random.choice([
            ["SET", string, item], ["INCR", string], ["APPEND", string, item * 30],
            ["GET", string], ["STRLEN", string],
            ["RPUSH", items] + many, ["LPOP", items], ["LINDEX", items, item],
            ["LSET", items, item, b"new"], ["LMOVE", items, b"list0", "LEFT", "RIGHT"],
            ["LLEN", items], ["LREM", items, "1", many[0]], ["BLPOP", items, "0"],
            ["HSET", hash_key] + [part for field in many for part in (field, item)],
            ["HGET", hash_key, many[0]], ["HDEL", hash_key] + many[:50], ["HLEN", hash_key],
            ["HINCRBY", hash_key, b"n", "3"],
            ["SADD", members] + many, ["SREM", members] + many[:50], ["SISMEMBER", members, many[0]],
            ["SCARD", members], ["SINTERSTORE", b"set2", members, b"set0"],
            ["SMOVE", members, b"set1", many[0]],
            ["ZADD", ranks] + [part for member in many for part in (item, member)],
            ["ZRANK", ranks, many[0]], ["ZREM", ranks] + many[:50], ["ZPOPMIN", ranks],
            ["ZRANGE", ranks, "0", "5", "WITHSCORES"], ["ZINCRBY", ranks, "2", many[0]],
            ["ZUNIONSTORE", b"zset2", "2", ranks, members],
            ["DEL", self.key()], ["RENAME", self.key(), self.key()], ["EXISTS", self.key()],
            ["COPY", self.key(), self.key(), "REPLACE"], ["TYPE", self.key()],
            ["EXPIRE", self.key(), "10000"], ["PERSIST", self.key()],
            ["GET", self.key()], ["LPUSH", self.key(), item], ["HLEN", hash_key],
            ["SORT", items, "LIMIT", "0", "5", "ALPHA"],
        ])


@pytest.mark.parametrize("seed", SEEDS)
def test_transactions_are_equal(pair, seed):  # noqa: F811
    ours, theirs = (server.resp() for server in pair)
    others = [server.resp() for server in pair]
    for connection in (ours, theirs):
        assert connection("FLUSHALL") == "OK"
    sequence = Sequence(seed)
    for number in range(TRANSACTIONS):
        watched = [sequence.key() for _ in range(sequence.random.randrange(3))]
        commands = [sequence.command() for _ in range(sequence.random.choice([0, 1, 3, 10, 30]))]
        if sequence.random.random() < 0.05:
            commands.append(["HGETALL", "hash0", "too many"])  # refused: EXEC aborts
        script = [["WATCH"] + watched] if watched else []
        script += [["MULTI"]] + commands
        end = ["DISCARD"] if sequence.random.random() < 0.1 else ["EXEC"]
        mine, other = ours.pipeline(script), theirs.pipeline(script)
        assert mine == other, (seed, number)
        if sequence.random.random() < 0.4:
            # Another client's change between the two; it may be one of a watched key.
            change = sequence.command()
            if change[0] != "BLPOP":
                assert others[0](*change) == others[1](*change), (seed, number, change)
        demoted = [sequence.key() for _ in range(4)]
        reply = others[0]("TIER", "DEMOTE", *demoted)
        assert isinstance(reply, int) and not isinstance(reply, Error)
        mine, other = ours(*end), theirs(*end)
        if mine != other:
            for command, a, b in zip(commands, mine or [], other or []):
                assert a == b, (seed, number, command[:6], a, b)
        assert mine == other, (seed, number)
    assert others[0]("DEBUG", "DIGEST") == others[1]("DEBUG", "DIGEST"), seed
    for connection in [ours, theirs] + others:
        connection.close()
