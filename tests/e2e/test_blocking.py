"""Commands that wait for a key: order, fairness, timeouts, CLIENT UNBLOCK."""

import time

import pytest

from harness import Error, Simple, wait_for


def wait_blocked(control, count):
    assert wait_for(
        lambda: f"blocked_clients:{count}\r" in control("INFO", "clients").decode())


@pytest.fixture
def blocked(server, resp):
    """Starts a command on a connection of its own and waits until it blocks."""
    connections = []

    def begin(*command):
        connection = server.resp()
        connections.append(connection)
        connection.send(*command)
        wait_blocked(resp, len(connections))
        return connection

    yield begin
    for connection in connections:
        connection.close()
    wait_blocked(resp, 0)


def test_clients_are_served_in_the_order_in_which_they_blocked(resp, blocked):
    waiting = [blocked("BLPOP", "q", "0") for _ in range(3)]
    assert resp("RPUSH", "q", "a", "b") == 2
    assert waiting[0].read() == [b"q", b"a"]
    assert waiting[1].read() == [b"q", b"b"]
    assert resp("EXISTS", "q") == 0
    assert resp("RPUSH", "q", "c") == 1
    assert waiting[2].read() == [b"q", b"c"]


def test_a_transaction_serves_only_when_it_has_ended(resp, blocked):
    first = blocked("BLPOP", "q", "r", "0")
    resp("MULTI")
    resp("RPUSH", "q", "gone")
    resp("DEL", "q")
    resp("RPUSH", "r", "1")
    resp("RPUSH", "q", "2")
    resp("RPOP", "none")
    assert resp("EXEC") == [1, 1, 1, 1, None]
    assert first.read() == [b"q", b"2"]
    assert resp("LRANGE", "r", "0", "-1") == [b"1"]


def test_timeouts(server, resp):
    begin = time.monotonic()
    assert resp("BLPOP", "none", "0.1") is None
    assert 0.09 <= time.monotonic() - begin < 60
    assert resp("BLPOP", "none", "-1") == Error("ERR timeout is negative")
    assert resp("BLPOP", "none", "x") == Error("ERR timeout is not a float or out of range")
    resp("MULTI")
    resp("BLPOP", "none", "0")
    assert resp("EXEC") == [None]


def test_another_type_leaves_the_client_blocked(resp, blocked):
    waiting = blocked("BLPOP", "q", "0")
    resp("SET", "q", "string")
    resp("DEL", "q")
    resp("RENAME", "q", "q")
    resp("RPUSH", "other", "x")
    resp("RENAME", "other", "q")
    assert waiting.read() == [b"q", b"x"]


def test_client_unblock(resp, blocked):
    first = blocked("BLPOP", "q", "0")
    second = blocked("BLPOP", "q", "0")
    ids = [dict(pair.split("=", 1) for pair in line.split())["id"]
           for line in resp("CLIENT", "LIST").decode().splitlines() if " flags=b " in line]
    assert len(ids) == 2
    assert resp("CLIENT", "UNBLOCK", ids[0]) == 1
    assert resp("CLIENT", "UNBLOCK", ids[0], "ERROR") == 0
    assert resp("CLIENT", "UNBLOCK", ids[1], "ERROR") == 1
    assert first.read() is None
    assert second.read() == Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")


def test_a_client_that_goes_away_takes_nothing(resp, server, blocked):
    gone = server.resp()
    gone.send("BLPOP", "q", "0")
    wait_blocked(resp, 1)
    gone.close()
    wait_blocked(resp, 0)
    assert resp("RPUSH", "q", "x") == 1
    assert resp("LLEN", "q") == 1


def test_what_is_behind_a_blocked_command_runs_afterwards(resp, blocked):
    waiting = blocked("BLPOP", "q", "0")
    waiting.send("PING")
    resp("LPUSH", "q", "x")
    assert waiting.read() == [b"q", b"x"]
    assert waiting.read() == Simple("PONG")


def test_swapdb_brings_what_is_waited_for(resp, blocked):
    waiting = blocked("BLPOP", "q", "0")
    resp("SELECT", "4")
    resp("RPUSH", "q", "x")
    resp("SELECT", "0")
    resp("SWAPDB", "0", "4")
    assert waiting.read() == [b"q", b"x"]
