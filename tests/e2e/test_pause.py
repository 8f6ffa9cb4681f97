"""CLIENT PAUSE: what it holds back, and for how long."""

import time

import pytest

from harness import Error, Simple, wait_for

OK = Simple("OK")


@pytest.fixture
def other(server, resp):
    with server.resp() as connection:
        yield connection
    resp("CLIENT", "UNPAUSE")


def blocked(resp):
    for line in resp("INFO", "clients").decode().split("\r\n"):
        if line.startswith("blocked_clients:"):
            return int(line.split(":")[1])
    raise AssertionError("no blocked_clients")


def test_a_pause_of_writes_lets_reads_through(resp, other):
    resp("SET", "k", "v")
    resp("CLIENT", "PAUSE", "60000", "WRITE")
    assert other("GET", "k") == b"v"
    other.send("SET", "k", "w")
    assert wait_for(lambda: blocked(resp) == 1)
    assert resp("CLIENT", "UNPAUSE") == OK
    assert other.read() == OK


def test_a_pause_of_all_holds_client_commands_back_too(server, resp, other):
    began = time.monotonic()
    resp("CLIENT", "PAUSE", "300", "ALL")
    for command in (["PING"], ["CLIENT", "ID"], ["CLIENT", "UNPAUSE"], ["MULTI"]):
        with server.resp() as connection:
            connection(*command)
            assert time.monotonic() - began >= 0.29
        began = time.monotonic()
        resp("CLIENT", "PAUSE", "300", "ALL")


def test_wrong_commands_are_answered_at_once(resp, other):
    resp("CLIENT", "PAUSE", "60000", "WRITE")
    assert other("SET", "k") == Error("ERR wrong number of arguments for 'set' command")


def test_writes_are_not_even_queued(resp, other):
    other("MULTI")
    resp("CLIENT", "PAUSE", "60000", "WRITE")
    assert other("GET", "k") == Simple("QUEUED")
    other.send("SET", "k", "v")
    assert wait_for(lambda: blocked(resp) == 1)
    resp("CLIENT", "UNPAUSE")
    assert other.read() == Simple("QUEUED")
    assert other("EXEC") == [None, OK]


def test_scripts_that_only_read_run(resp, other):
    resp("SET", "k", "v")
    sha = resp("SCRIPT", "LOAD", "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])")
    resp("FUNCTION", "LOAD", "REPLACE", "#!lua name=reads\nredis.register_function{"
         "function_name='reads', callback=function(keys) return redis.call('get', keys[1]) end, "
         "flags={'no-writes'}}")
    resp("CLIENT", "PAUSE", "60000", "WRITE")
    assert other("EVALSHA", sha, "1", "k") == b"v"
    assert other("EVALSHA", sha.upper(), "1", "k") == b"v"
    assert other("FCALL", "reads", "1", "k") == b"v"
    assert other("EVAL", "#!lua flags=no-writes\nreturn 1", "0") == 1
    assert other("EVAL_RO", "return 2", "0") == 2
    other.send("EVAL", "return 3", "0")
    assert wait_for(lambda: blocked(resp) == 1)
    resp("CLIENT", "UNPAUSE")
    assert other.read() == 3
    resp("FUNCTION", "FLUSH")


def test_nothing_expires_during_a_pause(server, resp, other):
    def expired():
        text = resp("INFO", "stats").decode()
        return int(text.split("expired_keys:")[1].split("\r\n")[0])

    before = expired()
    resp("SET", "k", "v", "PX", "30")
    resp("CLIENT", "PAUSE", "60000", "WRITE")
    time.sleep(0.3)
    assert other("GET", "k") is None
    assert other("EXISTS", "k") == 0
    assert expired() == before
    resp("CLIENT", "UNPAUSE")
    assert wait_for(lambda: expired() == before + 1)


def test_a_pause_within_a_transaction_begins_after_it(resp, other):
    resp("SET", "gone", "v", "PX", "1")
    time.sleep(0.01)
    resp("MULTI")
    resp("SET", "a", "1")
    resp("CLIENT", "PAUSE", "60000", "WRITE")
    resp("SET", "b", "2")
    resp("RPUSH", "gone", "x")
    assert resp("EXEC") == [OK, OK, OK, 1]
    assert other("MGET", "a", "b") == [b"1", b"2"]
    assert other("LRANGE", "gone", "0", "-1") == [b"x"]
    other.send("DEL", "a")
    assert wait_for(lambda: blocked(resp) == 1)
    resp("CLIENT", "UNPAUSE")
    assert other.read() == 1


def test_a_pause_ends_when_it_says(resp, other):
    began = time.monotonic()
    resp("CLIENT", "PAUSE", "150", "WRITE")
    resp("CLIENT", "PAUSE", "10", "WRITE")
    assert other("SET", "k", "v") == OK
    assert 0.14 <= time.monotonic() - began < 60
