"""Keys of all data types, small and large, with and without expiry, and what a server says of them:
for a server that is to hold exactly what another one does."""

import random

import benchlib

FIRST_EXPIRY_MS = 4_000_000_000_000
KINDS = 8
SMALL, LARGE = 5, 1500  # elements: within one packed value, and beyond
AT_ONCE = 100


def _pairs(rng, size):
    return [part for i in range(size) for part in (f"field:{i}", rng.randbytes(24))]


def _creates(name, kind, size, rng):
    """The commands that make the key."""
    if kind == 0:
        return [("SET", name, rng.randbytes(rng.choice((0, 10, 5_000, 150_000))))]
    if kind == 1:
        return [("SET", name, rng.choice((0, -7, 2**40, -2**63, 2**63 - 1)))]
    if kind == 2:
        return [("RPUSH", name, *(rng.randbytes(24) for _ in range(size)))]
    if kind == 3:
        return [("HSET", name, *_pairs(rng, size))]
    if kind == 4:
        return [("SADD", name, *rng.sample(range(10**9), size))]
    if kind == 5:
        return [("SADD", name, *(rng.randbytes(24) for _ in range(size)))]
    if kind == 6:
        return [("ZADD", name, *(part for i in range(size)
                                 for part in (repr(rng.uniform(-1e9, 1e9)), f"member:{i}")))]
    return ([("XADD", name, f"{i + 1}-{i % 3}", "f", rng.randbytes(24)) for i in range(size)]
            + [("XGROUP", "CREATE", name, "group", "0"),
               ("XREADGROUP", "GROUP", "group", "one", "COUNT", size // 2, "STREAMS", name, ">"),
               ("XACK", name, "group", "1-0"), ("XDEL", name, "2-1")])


def fill(server, count, prefix="type:"):
    """Makes `count` keys; returns their names."""
    rng = random.Random(11)
    names = [f"{prefix}{i}" for i in range(count)]
    with server.resp() as resp:
        for i, name in enumerate(names):
            size = LARGE if i // KINDS % 10 == 0 else SMALL
            commands = _creates(name, i % KINDS, size, rng)
            if i // KINDS % 3 == 0:
                commands.append(("PEXPIREAT", name, FIRST_EXPIRY_MS + i))
            resp.pipeline(commands)
    return names


def _reads(name, kind):
    return {"string": [("GET", name)], "list": [("LRANGE", name, 0, -1)],
            "hash": [("HGETALL", name)], "set": [("SMEMBERS", name)],
            "zset": [("ZRANGE", name, 0, -1, "WITHSCORES")],
            "stream": [("XRANGE", name, "-", "+"), ("XINFO", "GROUPS", name),
                       ("XPENDING", name, "group", "-", "+", 10 * LARGE),
                       ("XINFO", "STREAM", name)]}[kind]


def _value(kind, replies):
    """In the same form from every server and whatever the order in which it is kept."""
    value = replies[0]
    if kind == "set":
        return sorted(value)
    if kind == "hash":
        return sorted(zip(value[::2], value[1::2]))
    if kind == "zset":
        return [(member, float(score)) for member, score in zip(value[::2], value[1::2])]
    if kind == "stream":
        entries, groups, pending, stream = replies
        facts = dict(zip(stream[::2], stream[1::2]))
        # How long an entry has waited depends on when it is asked.
        return (entries, groups, [(entry, who, times) for entry, who, _, times in pending],
                [facts[name] for name in (b"length", b"last-generated-id", b"entries-added",
                                          b"max-deleted-entry-id")])
    return value


def contents(server, names):
    """{name: (type, expiry in ms, value)}"""
    found = {}
    with benchlib.Resp(server.port) as resp:
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin:begin + AT_ONCE]
            kinds = resp.pipeline([("TYPE", name) for name in some])
            expiries = resp.pipeline([("PEXPIRETIME", name) for name in some])
            for name, kind, expiry in zip(some, kinds, expiries):
                replies = resp.pipeline(_reads(name, kind)) if kind != "none" else None
                found[name] = (kind, expiry, replies and _value(kind, replies))
    return found
