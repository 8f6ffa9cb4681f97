"""maxmemory-policy when maxdisk is reached and not every key may go."""

import pytest

from harness import Error
from test_eviction import OOM, field, fill


@pytest.mark.parametrize("policy", ["volatile-ttl", "volatile-lru", "volatile-random"])
def test_a_full_maxdisk_spares_keys_without_expiry(start, policy):
    server = start("--maxmemory", "32mb", "--maxdisk", "96mb", "--log-segment-size", "4mb",
                   "--maxmemory-policy", policy)
    with server.resp(timeout=120) as resp:
        assert fill(resp, 5000, 4000) == 5000
        assert fill(resp, 25_000, 4000, "EX", "100000", first=5000) == 25_000
        assert field(resp, "evicted_keys") > 4000
        assert sum(resp.pipeline([("EXISTS", f"k{i}") for i in range(5000)])) == 5000


def test_a_full_maxdisk_refuses_where_nothing_may_go(start):
    server = start("--maxmemory", "32mb", "--maxdisk", "96mb", "--log-segment-size", "4mb",
                   "--maxmemory-policy", "volatile-lru")
    with server.resp(timeout=120) as resp:
        taken = fill(resp, 30_000, 4000)
        assert 5000 < taken < 30_000
        assert resp("DBSIZE") == taken
        assert field(resp, "evicted_keys") == 0
        resp("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert resp("SET", "more", "v" * 4000) == Error(OOM)
        # Every key that was taken is whole.
        assert sum(resp.pipeline([("STRLEN", f"k{i}") for i in range(1000)])) == 4_000_000
