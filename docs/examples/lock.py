#!/usr/bin/env python3
"""A lock for work that must not be done twice at once.

The token tells whose the lock is, so that one who was too slow does not release another's. The
number that comes with the lock grows with every owner: a resource that remembers the highest it
has seen can refuse an owner that has lost the lock without noticing.
"""

import secrets
import sys
import threading
import time

import redis

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""

EXTEND = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""


class Lock:
    def __init__(self, client, name, milliseconds=10_000):
        self.client = client
        self.key = f"lock:{name}"
        self.milliseconds = milliseconds
        self.token = secrets.token_hex(16)
        self.release_script = client.register_script(RELEASE)
        self.extend_script = client.register_script(EXTEND)

    def acquire(self, seconds=5):
        """The number of this ownership, or None if somebody else kept the lock for so long."""
        deadline = time.monotonic() + seconds
        while True:
            if self.client.set(self.key, self.token, nx=True, px=self.milliseconds):
                return self.client.incr(f"{self.key}:owners")
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.005)

    def extend(self):
        """False if the lock was lost."""
        return bool(self.extend_script(keys=[self.key], args=[self.token, self.milliseconds]))

    def release(self):
        """False if it was lost before."""
        return bool(self.release_script(keys=[self.key], args=[self.token]))


def main(port):
    client = redis.Redis(port=port, decode_responses=True)
    client.delete("lock:report", "lock:report:owners")
    first, second = Lock(client, "report"), Lock(client, "report")
    number = first.acquire()
    assert number is not None
    assert second.acquire(seconds=0) is None
    assert first.extend()
    assert not second.release()
    assert first.release()
    assert second.acquire() > number
    assert second.release()

    # Four workers, one counter that no command guards.
    counter = {"value": 0}

    def work():
        for _ in range(10):
            lock = Lock(redis.Redis(port=port, decode_responses=True), "report")
            assert lock.acquire(seconds=30) is not None
            seen = counter["value"]
            time.sleep(0.001)
            counter["value"] = seen + 1
            assert lock.release()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter["value"] == 40
    client.delete("lock:report:owners")
    print("lock: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6379)
