"""maxmemory-policy where it decides: without tiering, and when maxdisk is reached."""

import os

import pytest

from harness import Error, Simple, wait_for

OK = Simple("OK")
OOM = "OOM command not allowed when used memory > 'maxmemory'."


def field(resp, name):
    text = resp("INFO", "everything").decode()
    return int(text.split(f"\r\n{name}:")[1].split("\r\n")[0])


def fill(resp, count, size, *options, first=0):
    """Writes so many keys; answers how many were taken."""
    taken = 0
    for start in range(first, first + count, 500):
        many = range(start, min(start + 500, first + count))
        replies = resp.pipeline([("SET", f"k{i}", os.urandom(size), *options) for i in many])
        taken += sum(1 for reply in replies if reply == OK)
    return taken


def settled_memory(resp):
    """What is used once all that is made at the start is there."""
    seen = [0] * 8

    def settled():
        seen.append(field(resp, "used_memory"))
        return max(seen[-8:]) - min(seen[-8:]) < 4096

    assert wait_for(settled, interval=0.1)
    return seen[-1]


def test_lowering_maxmemory_evicts_without_a_write(start):
    server = start("--tiering", "no", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
    with server.resp() as resp:
        fill(resp, 30_000, 1000)
        used = field(resp, "used_memory")
        limit = used - (10 << 20)
        resp("CONFIG", "SET", "maxmemory", str(limit))
        assert wait_for(lambda: field(resp, "used_memory") <= limit)
        assert field(resp, "evicted_keys") > 5000
        assert resp("DBSIZE") < 25_000


def test_lowering_maxmemory_evicts_nothing_without_a_policy(start):
    server = start("--tiering", "no", "--maxmemory", "100mb")
    with server.resp() as resp:
        fill(resp, 3000, 1000)
        resp("CONFIG", "SET", "maxmemory", "1mb")
        assert resp("SET", "more", "v") == Error(OOM)
        assert resp("DBSIZE") == 3000


def test_a_limit_a_little_above_what_is_used_holds_keys(start):
    """What the server itself takes and gives back would make it evict everything."""
    server = start("--tiering", "no", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no",
                   "--save", "")
    with server.resp() as resp:
        fill(resp, 2000, 100)
        limit = settled_memory(resp) + (1 << 20)
        resp("CONFIG", "SET", "maxmemory", str(limit))
        assert fill(resp, 20_000, 100, first=2000) == 20_000
        assert resp("DBSIZE") > 2000
        assert wait_for(lambda: field(resp, "used_memory") < limit + 4096)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_full_maxdisk_evicts_any_key(start, policy):
    server = start("--maxmemory", "32mb", "--maxdisk", "96mb", "--log-segment-size", "4mb",
                   "--maxmemory-policy", policy)
    with server.resp(timeout=120) as resp:
        assert fill(resp, 30_000, 4000) == 30_000
        assert field(resp, "evicted_keys") > 4000
        assert 2000 < resp("DBSIZE") < 26_000
        assert resp("EXISTS", "k29999") == 1
        assert field(resp, "log_bytes") <= 96 << 20


def test_a_full_maxdisk_evicts_what_is_in_ram_too(start):
    server = start("--maxmemory", "256mb", "--maxdisk", "96mb", "--log-segment-size", "4mb",
                   "--maxmemory-policy", "allkeys-lru")
    with server.resp(timeout=120) as resp:
        assert fill(resp, 40_000, 4000) == 40_000
        assert field(resp, "evicted_keys") > 15_000
        assert sum(resp.pipeline([("EXISTS", f"k{i}") for i in range(35_000, 40_000)])) == 5000
        assert field(resp, "log_bytes") <= 96 << 20
