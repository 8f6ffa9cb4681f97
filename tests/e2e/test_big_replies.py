"""Replies larger than memory are given in pieces, and are the value of one moment."""

import socket

import pytest

from harness import Server

TOO_LARGE = "OOM command not allowed when used memory > 'maxmemory'."
PAD = "x" * 232


@pytest.fixture(scope="module")
def small():
    instance = Server("--maxmemory", "24mb", "--appendfsync", "no")
    yield instance
    instance.remove()


def load_large(resp, kind, count=100_000):
    resp("FLUSHALL")
    # What is found by hash is all over the value: a command may need as many pages as elements.
    batch = 1000 if kind == "list" else 100
    for first in range(0, count, batch):
        numbers = range(first, first + batch)
        if kind == "list":
            added = resp("RPUSH", "k", *[f"{i:08}{PAD}" for i in numbers])
        elif kind == "set":
            added = resp("SADD", "k", *[f"{i:08}{PAD}" for i in numbers])
        elif kind == "hash":
            added = resp("HSET", "k", *[x for i in numbers for x in (f"{i:08}", f"{i:08}{PAD}")])
        else:
            added = resp("ZADD", "k", *[x for i in numbers for x in (i, f"{i:08}{PAD}")])
        assert added == (first + batch if kind == "list" else batch)
    return [f"{i:08}{PAD}".encode() for i in range(count)]


def begin_reply(resp, *command):
    """Sends a command and waits until its reply has begun to come."""
    resp.send(*command)
    assert resp.socket.recv(1, socket.MSG_PEEK)


def test_lists_larger_than_memory_are_given_whole(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "list")
    resp("TIER", "DEMOTE", "k")
    assert resp("LRANGE", "k", 0, -1) == expected
    assert resp("LRANGE", "k", 1000, -1001) == expected[1000:-1000]
    assert resp("LLEN", "k") == len(expected)


def test_sets_larger_than_one_command_may_need_are_given_whole(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "set", 30_000)
    assert sorted(resp("SMEMBERS", "k")) == expected


def test_hashes_larger_than_one_command_may_need_are_given_whole(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "hash", 30_000)
    assert sorted(resp("HVALS", "k")) == expected
    assert sorted(resp("HKEYS", "k")) == [value[:8] for value in expected]
    flat = resp("HGETALL", "k")
    assert sorted(flat[1::2]) == expected
    resp("HELLO", 3)
    assert resp("HGETALL", "k") == {value[:8]: value for value in expected}


def test_sorted_sets_larger_than_one_command_may_need_are_given_whole(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "zset", 40_000)
    assert resp("ZRANGE", "k", 0, -1) == expected
    assert resp("ZREVRANGE", "k", 0, -1) == expected[::-1]
    assert resp("ZRANGEBYSCORE", "k", 1000, "+inf", "LIMIT", 5, 30_000) == expected[1005:31005]
    with_scores = resp("ZRANGE", "k", 10, 29_999, "REV", "WITHSCORES")
    assert with_scores[::2] == expected[::-1][10:30_000]
    assert with_scores[1] == b"39989"


def test_a_reply_in_pieces_is_the_value_of_one_moment(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "list", 20_000)
    with small.resp() as other:
        begin_reply(resp, "LRANGE", "k", 0, -1)
        # It isn't read yet: most of it waits for the client.
        for i in range(200):
            other("LPUSH", "k", f"new:{i}")
            other("LSET", "k", 18_000 - i * 7, "changed")
            other("RPOP", "k")
        other("PUBLISH", "channel", "nothing")
    assert resp.read() == expected
    assert resp("LINDEX", "k", 0) == b"new:199"


def test_a_value_that_is_deleted_is_given_to_its_end(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "list", 20_000)
    with small.resp() as other:
        begin_reply(resp, "LRANGE", "k", 0, -1)
        assert other("DEL", "k") == 1
        assert resp.read() == expected
        assert other("EXISTS", "k") == 0


def test_a_flush_ends_a_reply_in_pieces_with_the_connection(small):
    resp = small.resp(timeout=120)
    load_large(resp, "list")
    with small.resp() as other:
        begin_reply(resp, "LRANGE", "k", 0, -1)
        other("FLUSHALL")
    with pytest.raises((ConnectionError, AssertionError)):
        resp.read()


def test_pushes_wait_for_the_end_of_a_reply(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "list", 20_000)
    resp("HELLO", 3)
    resp("SUBSCRIBE", "channel")
    with small.resp() as other:
        resp.send("LRANGE", "k", 0, -1)
        for i in range(50):
            other("PUBLISH", "channel", f"message {i}")
    # Some may have come before the reply began.
    received = [resp.read() for _ in range(51)]
    assert [reply for reply in received if len(reply) > 3] == [expected]
    messages = [push[2] for push in received if len(push) == 3]
    assert messages == [f"message {i}".encode() for i in range(50)]


def test_pipelines_go_on_behind_a_reply_in_pieces(small):
    resp = small.resp(timeout=120)
    expected = load_large(resp, "set", 10_000)
    replies = resp.pipeline([("SMEMBERS", "k"), ("PING",), ("SMEMBERS", "k"), ("SCARD", "k")])
    assert sorted(replies[0]) == sorted(replies[2]) == expected
    assert replies[1] == "PONG" and replies[3] == 10_000


def test_a_muted_client_gets_no_reply_in_pieces(small):
    resp = small.resp(timeout=120)
    load_large(resp, "set", 10_000)
    resp.send("CLIENT", "REPLY", "SKIP")
    resp.send("SMEMBERS", "k")
    assert resp("PING") == "PONG"


def test_transactions_refuse_what_exceeds_memory(small):
    resp = small.resp(timeout=120)
    load_large(resp, "list")
    answer = resp.pipeline([("MULTI",), ("LRANGE", "k", 0, -1), ("EXEC",)])[2]
    assert answer == [TOO_LARGE] or answer == TOO_LARGE
