#!/usr/bin/env python3
"""A rate limiter with a sliding window, in one script: whether one more is allowed is decided and
noted in one step, by the server's clock."""

import sys
import time

import redis

# KEYS[1] the window; ARGV: limit, window in milliseconds. Answers {allowed, left, wait in ms}.
ALLOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local used = redis.call('ZCARD', KEYS[1])
if used >= limit then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {0, 0, oldest[2] + window - now}
end
redis.call('ZADD', KEYS[1], now, time[1] .. '.' .. time[2] .. '.' .. used)
redis.call('PEXPIRE', KEYS[1], window)
return {1, limit - used - 1, 0}
"""


class RateLimiter:
    def __init__(self, client, limit, milliseconds):
        self.limit = limit
        self.milliseconds = milliseconds
        self.script = client.register_script(ALLOW)

    def allow(self, who):
        """Whether one more is allowed, how many are left, and for how long to wait if none is."""
        allowed, left, wait_ms = self.script(keys=[f"rate:{who}"],
                                             args=[self.limit, self.milliseconds])
        return bool(allowed), left, wait_ms


def main(port):
    client = redis.Redis(port=port, decode_responses=True)
    client.delete("rate:alice", "rate:bob")
    limiter = RateLimiter(client, limit=5, milliseconds=1500)
    assert [limiter.allow("alice")[:2] for _ in range(5)] == [
        (True, 4), (True, 3), (True, 2), (True, 1), (True, 0)]
    allowed, left, wait_ms = limiter.allow("alice")
    assert not allowed and left == 0 and 0 < wait_ms <= 1500
    assert limiter.allow("bob")[0]
    time.sleep(wait_ms / 1000 + 0.01)
    assert limiter.allow("alice")[0]
    client.delete("rate:alice", "rate:bob")
    print("rate limiter: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6379)
