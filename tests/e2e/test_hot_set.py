"""What was hot comes back after a start; what dumps tell of how keys are used."""

import shutil
import time

import pytest

from harness import wait_for
from test_aof_import import REDIS, Redis


def info(client):
    return dict(line.split(":", 1) for line in client("INFO", "tiering").decode().split()
                if ":" in line)


def test_the_hot_set_is_back_after_a_stop(start):
    firn = start("--maxmemory", "96mb")
    with firn.resp() as client:
        for base in range(0, 100_000, 1000):
            client.pipeline([("SET", f"key:{i}", "v" * 1000) for i in range(base, base + 1000)])
        for _ in range(3):
            client.pipeline([("GET", f"key:{i}") for i in range(10_000)])
        client.pipeline([("RPUSH", "list", "e" * 100) for _ in range(3000)])
        client("LRANGE", "list", 0, -1)
        hot = sum(client("TIER", "WHERE", f"key:{i}") == b"hot" for i in range(0, 10_000, 50))
        assert hot > 150
    firn.restart()
    with firn.resp() as client:
        assert wait_for(lambda: int(info(client)["hot_set_restored_keys"]) > 10_000, seconds=30)
        assert wait_for(lambda: info(client)["hot_set_pending_keys"] == "0", seconds=30)
        again = sum(client("TIER", "WHERE", f"key:{i}") == b"hot" for i in range(0, 10_000, 50))
        assert again > 0.9 * hot
        assert client("GET", "key:99999") == b"v" * 1000
        assert client("LLEN", "list") == 3000
    assert wait_for(lambda: "Hot set restored" in firn.log())


def test_it_can_be_switched_off(start):
    firn = start("--tier-restore-hot-set", "no")
    with firn.resp() as client:
        client("SET", "key", "value")
    firn.restart()
    with firn.resp() as client:
        assert info(client)["hot_set_restored_keys"] == "0"
        assert client("TIER", "WHERE", "key") in (b"warm", b"cold")


# --- LRU and LFU in dumps


needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server")


def opcodes(path):
    data = open(path, "rb").read()
    return data


@needs_redis
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "volatile-lfu"])
def test_dumps_tell_how_keys_are_used(start, tmp_path, policy):
    firn = start("--maxmemory-policy", policy, "--appendonly", "no", "--save", "")
    with firn.resp() as client:
        client("SET", "often", "1")
        client("SET", "seldom", "2")
        client("RPUSH", "list", *range(1000))
        if "lfu" in policy:
            client.pipeline([("GET", "often")] * 5000)
            frequency = client("OBJECT", "FREQ", "often")
            assert frequency > 10
        else:
            for key, idle in (("seldom", 5000), ("list", 700)):
                payload = client("DUMP", key)
                client("RESTORE", key, 0, payload, "REPLACE", "IDLETIME", idle)
        assert client("BGSAVE") == "Background saving started"
        assert wait_for(lambda: b"rdb_bgsave_in_progress:0" in client("INFO", "persistence"))
    directory = tmp_path / "redis"
    directory.mkdir()
    shutil.copy(f"{firn.directory}/dump.rdb", directory)
    redis = Redis(directory, "--appendonly", "no", "--maxmemory-policy", policy)
    again = start("--maxmemory-policy", policy, directory=str(directory))
    try:
        for client in (redis.client, again.resp()):
            if "lfu" in policy:
                assert abs(client("OBJECT", "FREQ", "often") - frequency) <= 2
                assert client("OBJECT", "FREQ", "seldom") <= 6
            else:
                assert 5000 <= client("OBJECT", "IDLETIME", "seldom") < 5030
                assert 700 <= client("OBJECT", "IDLETIME", "list") < 730
                assert client("OBJECT", "IDLETIME", "often") < 30
    finally:
        redis.process.kill()


def test_without_such_a_policy_they_do_not(start):
    firn = start("--appendonly", "no")
    with firn.resp() as client:
        client("SET", "key", "value")
        assert client("SAVE") == "OK"
        plain = len(opcodes(f"{firn.directory}/dump.rdb"))
        client("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        assert client("SAVE") == "OK"
        assert len(opcodes(f"{firn.directory}/dump.rdb")) == plain + 2


def test_saving_in_the_background_in_slices(start):
    firn = start("--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
    with firn.resp() as client:
        for base in range(0, 100_000, 5000):
            client.pipeline([("SET", f"key:{i}", i) for i in range(base, base + 5000)])
        client("BGSAVE")
        client("SET", "during", "1")
        assert wait_for(lambda: b"rdb_bgsave_in_progress:0" in client("INFO", "persistence"))
        assert b"rdb_last_bgsave_status:ok" in client("INFO", "persistence")
        client("DEBUG", "RELOAD", "NOSAVE")
        assert client("DBSIZE") in (100_000, 100_001)
        assert client("GET", "key:77777") == b"77777"
