#!/usr/bin/env python3
"""Sessions: a hash each, that ends when nobody has used it for a while. Sessions of sleeping users
lie on disk, so that the time to live can be weeks."""

import secrets
import sys
import time

import redis


class Sessions:
    def __init__(self, client, seconds=14 * 24 * 3600):
        self.client = client
        self.seconds = seconds

    def begin(self, user):
        session = secrets.token_urlsafe(24)
        key = f"session:{session}"
        with self.client.pipeline() as transaction:
            transaction.hset(key, mapping={"user": user, "begun": int(time.time())})
            transaction.expire(key, self.seconds)
            transaction.sadd(f"sessions-of:{user}", session)
            transaction.execute()
        return session

    def use(self, session):
        """What the session holds, and its time begins anew; None if it has ended."""
        key = f"session:{session}"
        with self.client.pipeline() as transaction:
            transaction.hgetall(key)
            transaction.expire(key, self.seconds)
            fields, _ = transaction.execute()
        return fields or None

    def set(self, session, field, value):
        """False if it has ended: a late write must not make a session without a user."""
        key = f"session:{session}"
        with self.client.pipeline() as transaction:
            while True:
                try:
                    transaction.watch(key)
                    if not transaction.exists(key):
                        return False
                    transaction.multi()
                    transaction.hset(key, field, value)
                    transaction.execute()
                    return True
                except redis.WatchError:
                    continue

    def end_all(self, user):
        sessions = self.client.smembers(f"sessions-of:{user}")
        self.client.unlink(f"sessions-of:{user}", *(f"session:{name}" for name in sessions))
        return len(sessions)


def main(port):
    client = redis.Redis(port=port, decode_responses=True)
    client.delete("sessions-of:ann")
    sessions = Sessions(client)
    session = sessions.begin("ann")
    assert sessions.use(session)["user"] == "ann"
    assert sessions.set(session, "theme", "dark")

    # A watched key that moves to disk has not changed.
    client.execute_command("TIER", "DEMOTE", f"session:{session}")
    assert sessions.set(session, "theme", "light")
    assert sessions.use(session)["theme"] == "light"

    short = Sessions(client, seconds=1)
    other = short.begin("ann")
    time.sleep(1.1)
    assert short.use(other) is None
    assert not short.set(other, "theme", "dark")

    # A field may have a time to live of its own (as in Redis 7.4).
    client.hset(f"session:{session}", "code", "4711")
    client.execute_command("HEXPIRE", f"session:{session}", 60, "FIELDS", 1, "code")
    assert 0 < client.execute_command("HTTL", f"session:{session}", "FIELDS", 1, "code")[0] <= 60

    assert sessions.end_all("ann") == 2
    assert sessions.use(session) is None
    print("sessions: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6379)
