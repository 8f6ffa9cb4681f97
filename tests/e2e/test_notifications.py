"""Keyspace notifications: which events are published, where, in which order."""

import time

import pytest

from harness import wait_for


@pytest.fixture
def events(server, resp):
    """Listens to everything; answers what has come since it was asked last."""
    listener = server.resp()
    listener("PSUBSCRIBE", "__key*")

    def collect(flags=None):
        if flags is not None:
            resp("CONFIG", "SET", "notify-keyspace-events", flags)
        resp("PUBLISH", "__key:end", "end")
        seen = []
        while True:
            _, _, channel, message = listener.read()
            if channel == b"__key:end":
                return seen
            seen.append((channel.decode(), message.decode()))

    yield collect
    resp("CONFIG", "SET", "notify-keyspace-events", "")
    listener.close()


def test_nothing_is_published_by_default(resp, events):
    resp("SET", "k", "v")
    assert events() == []


def test_key_and_event_channels(resp, events):
    events("KEA")
    resp("SET", "k", "v")
    assert events() == [("__keyspace@0__:k", "set"), ("__keyevent@0__:set", "k")]
    events("E$")
    resp("SET", "k", "v")
    resp("DEL", "k")
    assert events() == [("__keyevent@0__:set", "k")]


def test_events_of_each_type(resp, events):
    events("EA")
    resp("RPUSH", "l", "a", "b")
    resp("LPOP", "l", "2")
    resp("HSET", "h", "f", "v")
    resp("HDEL", "h", "f")
    resp("SADD", "s", "m")
    resp("ZADD", "z", "1", "m")
    resp("INCR", "n")
    resp("APPEND", "n", "1")
    resp("EXPIRE", "n", "100")
    resp("PERSIST", "n")
    resp("RENAME", "n", "m")
    resp("COPY", "m", "c", "DB", "1")
    resp("MOVE", "m", "2")
    assert events() == [
        ("__keyevent@0__:rpush", "l"),
        ("__keyevent@0__:lpop", "l"),
        ("__keyevent@0__:del", "l"),
        ("__keyevent@0__:hset", "h"),
        ("__keyevent@0__:hdel", "h"),
        ("__keyevent@0__:del", "h"),
        ("__keyevent@0__:sadd", "s"),
        ("__keyevent@0__:zadd", "z"),
        ("__keyevent@0__:incrby", "n"),
        ("__keyevent@0__:append", "n"),
        ("__keyevent@0__:expire", "n"),
        ("__keyevent@0__:persist", "n"),
        ("__keyevent@0__:rename_from", "n"),
        ("__keyevent@0__:rename_to", "m"),
        ("__keyevent@1__:copy_to", "c"),
        ("__keyevent@0__:move_from", "m"),
        ("__keyevent@2__:move_to", "m"),
    ]


def test_active_expiry(resp, events):
    events("Ex")
    resp("SET", "k", "v", "PX", "20")
    assert wait_for(events) == [("__keyevent@0__:expired", "k")]


def test_lazy_expiry(resp, events):
    events("Ex")
    resp("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    resp("SET", "k", "v", "PX", "1")
    time.sleep(0.02)
    assert events() == []
    assert resp("GET", "k") is None
    assert events() == [("__keyevent@0__:expired", "k")]
    resp("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_misses_are_told_when_asked_for(resp, events):
    events("EA")
    resp("GET", "absent")
    assert events() == []
    events("Em")
    resp("GET", "absent")
    resp("MGET", "a", "b")
    assert events() == [
        ("__keyevent@0__:keymiss", "absent"),
        ("__keyevent@0__:keymiss", "a"),
        ("__keyevent@0__:keymiss", "b"),
    ]


def test_new_keys_come_before_what_made_them(resp, events):
    events("EAn")
    resp("SET", "k", "v")
    resp("SET", "k", "w")
    resp("HSET", "h", "f", "v")
    resp("MSET", "a", "1", "k", "2")
    resp("RENAME", "a", "b")
    assert events() == [
        ("__keyevent@0__:new", "k"),
        ("__keyevent@0__:set", "k"),
        ("__keyevent@0__:set", "k"),
        ("__keyevent@0__:new", "h"),
        ("__keyevent@0__:hset", "h"),
        ("__keyevent@0__:new", "a"),
        ("__keyevent@0__:set", "a"),
        ("__keyevent@0__:set", "k"),
        ("__keyevent@0__:rename_from", "a"),
        ("__keyevent@0__:new", "b"),
        ("__keyevent@0__:rename_to", "b"),
    ]


def test_flags_read_back_as_redis_orders_them(resp, events):
    for given, shown in [("KEA", b"AKE"), ("lshzxeg$tdKE", b"AKE"), ("Kg$", b"g$K"), ("Em", b"Em")]:
        resp("CONFIG", "SET", "notify-keyspace-events", given)
        assert resp("CONFIG", "GET", "notify-keyspace-events")[1] == shown
    assert resp("CONFIG", "SET", "notify-keyspace-events", "Kq").startswith("ERR CONFIG SET failed")


def test_moves_between_the_tiers_are_published_if_asked_for(resp, events):
    events("EA")
    resp("SET", "k", "v" * 1000)
    resp("TIER", "DEMOTE", "k")
    assert events() == [("__keyevent@0__:set", "k")]
    events("KEF")
    resp("TIER", "PROMOTE", "k")
    resp("TIER", "DEMOTE", "k")
    resp("SET", "other", "v")
    assert events() == [
        ("__keyspace@0__:k", "promoted"),
        ("__keyevent@0__:promoted", "k"),
        ("__keyspace@0__:k", "demoted"),
        ("__keyevent@0__:demoted", "k"),
    ]
