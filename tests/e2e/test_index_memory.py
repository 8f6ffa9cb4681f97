"""tier-index-memory: the map of cold keys stays within it, and the index answers for the rest."""

from harness import wait_for

KEYS = 200_000
BOUND = 64 << 10


def value(i, version=0):
    return f"value {i} {version} ".encode() + b"x" * (i % 50)


def tiering(client):
    return {name: text for name, _, text in
            (line.partition(":") for line in client("INFO", "tiering").decode().split("\r\n"))}


def demote_all(client):
    for begin in range(0, KEYS, 2000):
        client("TIER", "DEMOTE", *[f"key:{i}" for i in range(begin, begin + 2000)])
    assert wait_for(lambda: int(tiering(client)["index_map_bytes"]) <= BOUND)


def run(client, commands):
    commands = list(commands)
    for begin in range(0, len(commands), 2000):
        client.pipeline(commands[begin:begin + 2000])


def check(client, expected, step=1):
    names = [i for i in range(0, KEYS, step)]
    for begin in range(0, len(names), 1000):
        part = names[begin:begin + 1000]
        assert client("MGET", *[f"key:{i}" for i in part]) == [expected(i) for i in part]


def test_the_map_stays_within_its_bound(start):
    server = start("--tier-index-memory", "64kb", "--maxmemory", "256mb")
    with server.resp() as client:
        run(client, (("SET", f"key:{i}", value(i)) for i in range(KEYS)))
        demote_all(client)
        facts = tiering(client)
        assert int(facts["index_map_left_keys"]) > KEYS * 3 // 4
        assert client("DBSIZE") == KEYS
        check(client, value, step=7)
        run(client, (("SET", f"key:{i}", value(i, 1)) for i in range(0, KEYS, 10)))
        run(client, (("DEL", f"key:{i}") for i in range(5, KEYS, 10)))

    def expected(i):
        return None if i % 10 == 5 else value(i, 1 if i % 10 == 0 else 0)

    server.restart("kill")
    with server.resp() as client:
        assert wait_for(lambda: tiering(client)["index_map_complete"] == "1")
        # The slice that reaches the bound may be beyond it for a moment.
        assert wait_for(lambda: int(tiering(client)["index_map_bytes"]) <= BOUND)
        assert client("DBSIZE") == KEYS * 9 // 10
        check(client, expected)
        assert client("CONFIG", "SET", "tier-index-memory", "0") == "OK"
        assert wait_for(lambda: tiering(client)["index_map_left_keys"] == "0")
        check(client, expected, step=7)
