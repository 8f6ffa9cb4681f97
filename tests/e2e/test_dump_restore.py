"""Values and whole dumps in Redis' format, against Debian's redis-server in both directions."""

import os
import random
import shutil
import subprocess
import time

import pytest
import redis

from harness import Error, firn_binary, free_port

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")


def fill(client):
    rng = random.Random(1)
    client.set("s0", "")
    for i, number in enumerate((0, 5, -129, -70000, 2 ** 31, -(2 ** 63))):
        client.set(f"i{i}", number)
    client.set("big", "x" * 300_000)
    client.set("noise", rng.randbytes(5000))
    client.set("ttl", "v", px=100_000_000)
    client.rpush("l1", "a", 1, "b" * 100)
    client.rpush("l2", *[f"e{i}" * (i % 50) for i in range(20_000)])
    client.rpush("l3", "q" * 2_000_000, "z")
    client.sadd("set1", 1, 2, 3)
    client.sadd("set2", "a", "b", 1)
    client.sadd("set3", *range(5000))
    client.sadd("set4", *[f"m{i}" for i in range(3000)])
    client.sadd("set5", 2 ** 40, 5)
    client.zadd("z1", {"a": 1, "b": 2.5, "c": float("inf"), "d": float("-inf")})
    client.zadd("z2", {f"m{i}": i / 7 for i in range(5000)})
    client.hset("h1", mapping={"a": "1", "b": "x"})
    client.hset("h2", mapping={f"f{i}": "v" * i for i in range(700)})
    client.hset("h3", "f", "x" * 1000)


def value(client, key):
    kind = client.type(key)
    if kind == b"string":
        return client.get(key)
    if kind == b"list":
        return client.lrange(key, 0, -1)
    if kind == b"set":
        return client.smembers(key)
    if kind == b"zset":
        return client.zrange(key, 0, -1, withscores=True)
    return client.hgetall(key)


def everything(client):
    return {key: (value(client, key), client.pexpiretime(key)) for key in client.keys()}


@pytest.fixture
def oracle(tmp_path):
    port = free_port()
    process = subprocess.Popen(
        [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    for _ in range(2000):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    yield client
    client.close()
    process.kill()
    process.wait()


def test_values_go_to_redis_and_back(client, oracle):
    fill(client)
    for key in client.keys():
        client.execute_command("TIER", "DEMOTE", key)
        oracle.restore(key, 0, client.dump(key))
        assert value(oracle, key) == value(client, key), key
    client.flushall()
    for key in oracle.keys():
        client.restore(key, 0, oracle.dump(key))
        assert value(oracle, key) == value(client, key), key


def test_simple_values_are_dumped_as_redis_does(client, oracle):
    for each in (client, oracle):
        fill(each)
    for key in ("s0", "i0", "i1", "i2", "i3", "i4", "i5", "noise", "l1", "set1", "set5", "z1",
                "h1"):
        assert client.dump(key) == oracle.dump(key), key


def test_dump_of_redis_is_loaded_at_the_first_start(oracle, start, tmp_path):
    fill(oracle)
    expected = everything(oracle)
    oracle.save()
    directory = tmp_path / "firn"
    directory.mkdir()
    shutil.copy(tmp_path / "dump.rdb", directory)
    before = (directory / "dump.rdb").read_bytes()
    server = start(directory=str(directory))
    with server.redis() as client:
        assert everything(client) == expected
        client.set("new", 1)
    assert (directory / "dump.rdb").read_bytes() == before
    server.restart("kill")
    with server.redis() as client:
        assert client.dbsize() == len(expected) + 1


def test_damaged_dump_stops_the_start_and_leaves_nothing(oracle, tmp_path):
    fill(oracle)
    oracle.save()
    directory = tmp_path / "firn"
    directory.mkdir()
    dump = bytearray((tmp_path / "dump.rdb").read_bytes())
    dump[len(dump) // 2] ^= 1
    (directory / "dump.rdb").write_bytes(dump)
    done = subprocess.run(
        [firn_binary(), "--port", str(free_port()), "--bind", "127.0.0.1", "--dir",
         str(directory)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"offset " in done.stdout + done.stderr
    assert not (directory / "IDENTITY").exists()
    assert not (directory / "log").exists()
    assert (directory / "dump.rdb").read_bytes() == dump


def test_restore_says_what_is_wrong(resp):
    resp("SET", "k", "v")
    payload = resp("DUMP", "k")
    assert resp("DUMP", "none") is None
    assert resp("RESTORE", "k", 0, payload) == Error("BUSYKEY Target key name already exists.")
    assert resp("RESTORE", "k", -1, payload, "REPLACE") == Error(
        "ERR Invalid TTL value, must be >= 0")
    assert resp("RESTORE", "l", 0, payload[:-1] + b"?") == Error(
        "ERR DUMP payload version or checksum are wrong")
    assert resp("RESTORE", "l", 0, payload, "NONSENSE") == Error("ERR syntax error")
    assert resp("RESTORE", "l", 0, payload, "FREQ", 256) == Error(
        "ERR Invalid FREQ value, must be >= 0 and <= 255")
    assert resp("RESTORE", "k", 1, payload, "REPLACE", "ABSTTL") == "OK"
    assert resp("EXISTS", "k") == 0
    assert resp("RESTORE", "l", 5000, payload) == "OK"
    assert 0 < resp("PTTL", "l") <= 5000


def test_fields_keep_their_expiries(resp):
    resp("HSET", "h", "a", "1", "b", "2")
    resp("HPEXPIRE", "h", 100_000_000, "FIELDS", 1, "a")
    payload = resp("DUMP", "h")
    resp("DEL", "h")
    assert resp("RESTORE", "h", 0, payload) == "OK"
    left = resp("HPTTL", "h", "FIELDS", 2, "a", "b")
    assert 90_000_000 < left[0] <= 100_000_000 and left[1] == -1


def fill_streams(client):
    rng = random.Random(2)
    client.execute_command("CONFIG", "SET", "stream-node-max-entries", 20)
    client.xgroup_create("empty", "g", mkstream=True)
    client.xadd("trimmed", {"a": 1}, id="5-5")
    client.xtrim("trimmed", 0, approximate=False)
    for i in range(2000):
        fields = {"user": i, "text": "x" * rng.randrange(100)}
        if rng.random() < 0.2:
            fields = {f"own{rng.randrange(3)}": -i, "n": 2 ** rng.randrange(63)}
        client.xadd("st", fields, id=f"{1000 + i * rng.choice([1, 3])}-{i}" if i == 0 else
                    f"{10_000 + i * 50 + rng.randrange(50)}-{rng.randrange(5)}")
        client.xadd("one", {"f": i}, id=f"7-{i + 1}")
    ids = [entry[0] for entry in client.xrange("st")]
    client.xdel("st", *rng.sample(ids, 500), ids[-1])
    client.xtrim("st", 1200, approximate=False)
    client.xtrim("one", 700, approximate=False)
    for group in ("g1", "g2"):
        client.xgroup_create("st", group, id="0")
        for consumer in ("alice", "bob", ""):
            client.xreadgroup(group, consumer, {"st": ">"}, count=100)
        client.xgroup_createconsumer("st", group, "idle")
        pending = [p["message_id"] for p in client.xpending_range("st", group, "-", "+", 300)]
        client.xack("st", group, *rng.sample(pending, 120))
        client.xdel("st", *pending[:10])
        client.xclaim("st", group, "bob", 0, pending[50:60])


def stream(client, key):
    """Everything that can be seen of a stream but times that go on."""
    info = client.execute_command("XINFO", "STREAM", key)
    info = dict(zip(info[::2], info[1::2])) if isinstance(info, list) else info
    groups = []
    for group in client.xinfo_groups(key):
        name = group["name"]
        pending = client.xpending_range(key, name, "-", "+", 10_000)
        for entry in pending:
            entry["time_since_delivered"] = entry["time_since_delivered"] // 60_000
        consumers = [(c["name"], c["pending"]) for c in client.xinfo_consumers(key, name)]
        groups.append((group, pending, consumers))
    return client.xrange(key), {str(k): v for k, v in info.items()}, groups


STREAMS = ("empty", "trimmed", "st", "one")


def test_streams_go_to_redis_and_back(client, oracle):
    fill_streams(client)
    for key in STREAMS:
        client.execute_command("TIER", "DEMOTE", key)
        expected = stream(client, key)
        payload = client.dump(key)
        oracle.restore(key, 0, payload)
        assert stream(oracle, key) == expected, key
        client.delete(key)
        client.restore(key, 0, oracle.dump(key))
        assert stream(client, key) == expected, key
        # Nodes are as full as they were.
        assert client.dump(key) == payload


def test_restored_streams_go_on_as_in_redis(client, oracle):
    fill_streams(oracle)
    client.execute_command("CONFIG", "SET", "stream-node-max-entries", 20)
    for key in STREAMS:
        client.restore(key, 0, oracle.dump(key))
        assert stream(client, key) == stream(oracle, key)
    for key in STREAMS:
        replies = []
        for each in (client, oracle):
            said = [each.xadd(key, {"user": i, "text": "y" * 50}, id=f"999999-{i}")
                    for i in range(1, 150)]
            for length in (1300, 1100, 800, 120, 30):
                said.append(each.xtrim(key, length, approximate=True))
                said.append(each.xlen(key))
            said.append(stream(each, key))
            replies.append(said)
        assert replies[0] == replies[1], key


def test_streams_in_a_dump_of_redis_are_loaded_and_saved(oracle, start, tmp_path):
    fill_streams(oracle)
    expected = {key: stream(oracle, key) for key in STREAMS}
    oracle.save()
    directory = tmp_path / "firn"
    directory.mkdir()
    shutil.copy(tmp_path / "dump.rdb", directory)
    server = start(directory=str(directory))
    with server.redis() as client:
        assert {key: stream(client, key) for key in STREAMS} == expected
        client.save()
    shutil.copy(directory / "dump.rdb", tmp_path)
    port = free_port()
    process = subprocess.Popen(
        [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as second:
            for _ in range(2000):
                try:
                    second.ping()
                    break
                except (redis.ConnectionError, redis.BusyLoadingError):
                    time.sleep(0.05)
            assert {key: stream(second, key) for key in STREAMS} == expected
    finally:
        process.kill()
        process.wait()
