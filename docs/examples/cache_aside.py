#!/usr/bin/env python3
"""Cache-aside: a slow source, and a cache in front of it that forgets by itself.

What is rarely read costs no RAM: it lies on disk and comes back in a fraction of a millisecond,
so that the time to live can be as long as the data is true, instead of as short as RAM asks for.
"""

import json
import sys

import redis


class Cache:
    """Keeps what `load(name)` gives for `seconds`."""

    def __init__(self, client, load, seconds=3600):
        self.client = client
        self.load = load
        self.seconds = seconds

    def get(self, name):
        key = f"cache:{name}"
        kept = self.client.get(key)
        if kept is not None:
            return json.loads(kept)
        value = self.load(name)
        self.client.set(key, json.dumps(value), ex=self.seconds)
        return value

    def forget(self, name):
        """To be called once the source has changed."""
        self.client.delete(f"cache:{name}")


def main(port):
    client = redis.Redis(port=port, decode_responses=True)
    loaded = []

    def load(name):
        loaded.append(name)
        return {"name": name, "length": len(name)}

    cache = Cache(client, load)
    assert cache.get("fern") == {"name": "fern", "length": 4}
    assert cache.get("fern") == {"name": "fern", "length": 4}
    assert loaded == ["fern"]

    # The same when the value has gone to disk.
    client.execute_command("TIER", "DEMOTE", "cache:fern")
    assert cache.get("fern")["length"] == 4
    assert loaded == ["fern"]
    assert 0 < client.ttl("cache:fern") <= 3600

    cache.forget("fern")
    assert cache.get("fern")["length"] == 4
    assert loaded == ["fern", "fern"]
    cache.forget("fern")
    print("cache-aside: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6379)
