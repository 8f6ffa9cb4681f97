"""Golden data directories: one for each version of the on-disk format, in tests/data. They were
written by the server of their time, and every later server opens them.

When the format gets a new version, and not before, make that version's with the new server:

    FIRN_SERVER=build/firn-server python3 tests/e2e/golden.py tests/data/golden-2.tar.gz

and add it to FILLS in test_golden.py. Those of released versions stay as they are: never make them
again. What they hold is the fill of their time, so it gets a new function beside it. Only until a
version is released, a change of the format within it is made good by making its directory anew."""

import os
import sys
import tarfile
import time

from harness import Server

# 2100, so that nothing of it expires.
LATE = 4102444800_000
OPTIONS = ["--log-segment-size", "1mb", "--tier-compression", "zstd", "--databases", "16",
           "--tier-restore-hot-set", "no"]
LIBRARY = "#!lua name=golden\nredis.register_function('answer', function() return 42 end)"


def fill_1(client, restart):
    """All types in all forms: small and large, integers, expiries, effects that are not in an image
    yet, transactions, dropped databases, records that compaction has copied and compressed.
    `restart` ends the server's process ("term" or "kill") and begins another; it returns a
    connection."""
    client.pipeline([("SET", f"old:{i}", "old" * 100) for i in range(1500)])
    client.pipeline([("SET", f"old:{i}", f"newer {i} " + "abc" * 40) for i in range(0, 1500, 2)])
    client.pipeline([("DEL", f"old:{i}") for i in range(0, 1500, 5)])
    client("SET", "integer", "-123456789012345")
    client("SET", "expiring", "value", "PXAT", LATE)
    client("SET", "binary", bytes(range(256)))
    client("SET", "empty", "")
    client("SET", "k" * 300, "a long key")
    client("SET", "long", "0123456789" * 5_000)
    client("APPEND", "long", "appended")
    client.pipeline([("RPUSH", "list", *[f"element {i}.{j}" for j in range(50)])
                     for i in range(60)])
    client("RPUSH", "small list", 1, "two", "3.5")
    client.pipeline([("HSET", "hash", *sum([[f"field {i}.{j}", i * j] for j in range(20)], []))
                     for i in range(60)])
    client("HSET", "small hash", "a", 1, "b", "x" * 100)
    client("HPEXPIREAT", "small hash", LATE, "FIELDS", 1, "a")
    client("SADD", "integers", *range(-100, 100))
    client.pipeline([("SADD", "set", *[f"member {i}.{j}" for j in range(30)]) for i in range(50)])
    client.pipeline([("ZADD", "zset", *sum([[str(i + j / 7), f"m{i}.{j}"] for j in range(20)], []))
                     for i in range(60)])
    client("ZADD", "small zset", "-inf", "low", "1.5", "middle", "+inf", "high")
    client("GEOADD", "geo", "13.361389", "38.115556", "Palermo")
    client("GEOADD", "geo", "15.087269", "37.502669", "Catania")
    client("PFADD", "hll", *range(500))
    client("SETBIT", "bits", 5000, 1)
    for i in range(1, 400):
        client.send("XADD", "stream", f"{i}-1", "field", f"value {i}")
    for _ in range(1, 400):
        client.read()
    client("XGROUP", "CREATE", "stream", "group", "0")
    client("XREADGROUP", "GROUP", "group", "consumer", "COUNT", 20, "STREAMS", "stream", ">")
    client("XDEL", "stream", "7-1", "8-1")
    client("FUNCTION", "LOAD", LIBRARY)
    for db in (1, 5):
        client("SELECT", db)
        client("SET", "in database", db)
        client("RPUSH", "list", db, "x")
    client("SELECT", 9)
    client("SET", "dropped", 1)
    client("FLUSHDB")
    client("SWAPDB", 5, 6)
    client("SELECT", 0)
    client("BGREWRITEAOF")
    deadline = time.monotonic() + 120
    while (b"aof_rewrite_in_progress:1" in client("INFO", "persistence")
           and time.monotonic() < deadline):
        time.sleep(0.05)
    client = restart("term")
    # The tail, which a start has to replay.
    client("APPEND", "binary", "tail")
    client("SETRANGE", "bits", 100, "range")
    client("SETRANGE", "long", 23_456, "ranged")
    client("APPEND", "long", "tail" * 100)
    client("LREM", "list", 1, "element 3.3")
    client("LINSERT", "list", "BEFORE", "element 10.10", "inserted")
    client("HDEL", "hash", "field 1.1")
    client("HINCRBY", "hash", "field 2.2", 1000)
    client("SREM", "set", "member 4.4")
    client("ZINCRBY", "zset", 100, "m5.5")
    client("ZADD", "zset", 3, "late")
    client("XADD", "stream", "500-1", "field", "last")
    client("XACK", "stream", "group", "3-1")
    client("PEXPIREAT", "integer", LATE + 1)
    client("MULTI")
    client("SET", "transaction", 1)
    client("RPUSH", "small list", "transaction")
    client("EXEC")
    client("RENAME", "small zset", "renamed zset")
    client("COPY", "small hash", "copied hash")
    client("SELECT", 1)
    client("DEL", "list")
    client("SELECT", 0)
    return restart("kill")


def state(client):
    """What a directory holds, as far as it can be told in short."""
    databases = []
    for db in range(16):
        client("SELECT", db)
        databases.append(sorted((key, client("TYPE", key), client("PEXPIRETIME", key))
                                for key in client("KEYS", "*")))
    client("SELECT", 0)
    return (client("DEBUG", "DIGEST"), databases, client("FCALL", "answer", 0),
            client("HPEXPIRETIME", "small hash", "FIELDS", 1, "a"),
            client("XPENDING", "stream", "group"), client("LRANGE", "list", 0, -1))


def make(path):
    server = Server(*OPTIONS)
    clients = [server.resp()]

    def restart(how):
        # What a killed process had acknowledged is in its log, whether synced or not.
        server.restart(how)
        clients.append(server.resp())
        return clients[-1]

    try:
        fill_1(clients[0], restart)
        server.kill()

        def wanted(item):
            name = os.path.basename(item.name)
            ours = name not in ("server.log", "LOCK") and not name.startswith("LOG")
            item.uid = item.gid = item.mtime = 0
            item.uname = item.gname = ""
            return item if ours else None

        with tarfile.open(path, "w:xz") as archive:
            archive.add(server.directory, arcname="golden", filter=wanted)
    finally:
        server.remove()


if __name__ == "__main__":
    make(sys.argv[1])
