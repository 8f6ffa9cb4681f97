"""Channels, patterns and shard channels, in both protocols."""

import pytest

from harness import Error, Push, RespClient, Simple, wait_for


@pytest.fixture
def connect(server):
    connections = []

    def begin(protocol=2):
        connection = server.resp()
        connections.append(connection)
        if protocol == 3:
            connection("HELLO", "3")
        return connection

    yield begin
    for connection in connections:
        connection.close()


def info(resp, section, field):
    for line in resp("INFO", section).decode().split("\r\n"):
        if line.startswith(field + ":"):
            return line.split(":", 1)[1]
    raise AssertionError(f"no {field} in INFO {section}")


def test_a_message_reaches_the_channel_and_matching_patterns(resp, connect):
    first, second = connect(), connect(3)
    assert first("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    assert second("PSUBSCRIBE", "n*") == Push([b"psubscribe", b"n*", 1])
    assert resp("PUBLISH", "news", "hi") == 2
    assert first.read() == [b"message", b"news", b"hi"]
    message = second.read()
    assert isinstance(message, Push)
    assert message == [b"pmessage", b"n*", b"news", b"hi"]
    assert resp("PUBLISH", "other", "hi") == 0


def test_a_client_with_a_channel_and_a_pattern_gets_both(resp, connect):
    listener = connect()
    listener("SUBSCRIBE", "c")
    listener("PSUBSCRIBE", "*")
    assert resp("PUBLISH", "c", "1") == 2
    assert listener.read() == [b"message", b"c", b"1"]
    assert listener.read() == [b"pmessage", b"*", b"c", b"1"]


def test_unsubscribing_counts_down_and_answers_for_nothing(connect):
    listener = connect()
    assert listener("UNSUBSCRIBE") == [b"unsubscribe", None, 0]
    assert listener("SUNSUBSCRIBE") == [b"sunsubscribe", None, 0]
    listener("SUBSCRIBE", "a")
    listener("PSUBSCRIBE", "b*")
    assert listener("UNSUBSCRIBE", "zz") == [b"unsubscribe", b"zz", 2]
    assert listener("UNSUBSCRIBE") == [b"unsubscribe", b"a", 1]
    assert listener("PUNSUBSCRIBE") == [b"punsubscribe", b"b*", 0]
    assert listener("PING") == Simple("PONG")


def test_shard_channels_are_a_space_of_their_own(resp, connect):
    listener = connect()
    assert listener("SSUBSCRIBE", "s") == [b"ssubscribe", b"s", 1]
    assert resp("PUBLISH", "s", "x") == 0
    assert resp("SPUBLISH", "s", "y") == 1
    assert listener.read() == [b"smessage", b"s", b"y"]
    assert resp("PUBSUB", "SHARDCHANNELS") == [b"s"]
    assert resp("PUBSUB", "SHARDNUMSUB", "s", "t") == [b"s", 1, b"t", 0]
    assert resp("PUBSUB", "CHANNELS") == []


def test_a_resp2_subscriber_takes_few_commands(connect):
    listener = connect()
    listener("SUBSCRIBE", "c")
    assert listener("GET", "k") == Error(
        "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
        "allowed in this context"
    )
    assert listener("PING") == [b"pong", b""]
    assert listener("PING", "x") == [b"pong", b"x"]
    assert listener("RESET") == Simple("RESET")
    assert listener("GET", "k") is None


def test_a_resp3_subscriber_takes_all_commands(resp, connect):
    listener = connect(3)
    listener("SUBSCRIBE", "c")
    assert listener("SET", "k", "v") == Simple("OK")
    assert listener("PING") == Simple("PONG")


def test_a_message_to_oneself_comes_behind_the_reply(connect):
    listener = connect(3)
    listener("SUBSCRIBE", "c")
    assert listener("PUBLISH", "c", "m") == 1
    assert listener.read() == [b"message", b"c", b"m"]
    listener("MULTI")
    listener("PUBLISH", "c", "1")
    listener("PUBLISH", "c", "2")
    assert listener("EXEC") == [1, 1]
    assert listener.read() == [b"message", b"c", b"1"]
    assert listener.read() == [b"message", b"c", b"2"]


def test_subscriptions_in_a_transaction(connect):
    listener = connect()
    listener("MULTI")
    listener("SUBSCRIBE", "c")
    assert listener("EXEC") == [[b"subscribe", b"c", 1]]
    other = connect()
    other("MULTI")
    other("SSUBSCRIBE", "c")
    assert other("EXEC") == [Error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")]


def test_introspection(resp, connect):
    a, b = connect(), connect()
    a("SUBSCRIBE", "x1")
    a.send("SUBSCRIBE", "y1", "x1")
    assert a.read() == [b"subscribe", b"y1", 2]
    assert a.read() == [b"subscribe", b"x1", 2]
    b("SUBSCRIBE", "x1")
    b("PSUBSCRIBE", "p*")
    assert sorted(resp("PUBSUB", "CHANNELS")) == [b"x1", b"y1"]
    assert resp("PUBSUB", "CHANNELS", "x*") == [b"x1"]
    assert resp("PUBSUB", "NUMSUB", "x1", "y1", "z") == [b"x1", 2, b"y1", 1, b"z", 0]
    assert resp("PUBSUB", "NUMPAT") == 1
    assert info(resp, "stats", "pubsub_channels") == "2"
    assert info(resp, "stats", "pubsub_patterns") == "1"
    assert info(resp, "clients", "pubsub_clients") == "2"
    lines = resp("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
    assert len(lines) == 2
    assert " flags=P " in lines[0] and " sub=2 psub=0 ssub=0 " in lines[0]


def test_a_client_that_goes_away_leaves_its_channels(server, resp):
    with server.resp() as listener:
        listener("SUBSCRIBE", "gone")
        assert resp("PUBLISH", "gone", "m") == 1
    assert wait_for(lambda: resp("PUBSUB", "CHANNELS", "gone") == [])


def test_a_slow_subscriber_is_closed(start):
    server = start("--client-output-buffer-limit", "pubsub 1mb 0 0")
    with server.resp() as resp, server.resp() as listener:
        listener("SUBSCRIBE", "big")
        assert wait_for(lambda: resp("PUBLISH", "big", b"x" * 500_000) == 0)
        assert info(resp, "stats", "client_output_buffer_limit_disconnections") == "1"


def test_long_messages_reach_all_subscribers(resp, connect):
    listeners = [connect(2), connect(3), connect(2)]
    for listener in listeners:
        listener("SUBSCRIBE", "big")
    message = bytes(range(256)) * 1000
    assert resp("PUBLISH", "big", message) == 3
    for listener in listeners:
        assert listener.read() == [b"message", b"big", message]


def test_client_reply_off_lets_messages_through(resp, connect):
    listener = connect(3)
    listener("SUBSCRIBE", "c")
    listener.send("CLIENT", "REPLY", "OFF")
    listener.send("SUBSCRIBE", "d")
    assert listener.read() == [b"subscribe", b"d", 2]
    assert resp("PUBLISH", "c", "m") == 1
    assert listener.read() == [b"message", b"c", b"m"]
