"""Client-side caching: CLIENT TRACKING and its invalidation messages."""

import pytest

from harness import Error, Push, Simple, wait_for

OK = Simple("OK")


@pytest.fixture
def connect(server):
    connections = []

    def begin(protocol=3):
        connection = server.resp()
        connections.append(connection)
        if protocol == 3:
            connection("HELLO", "3")
        return connection

    yield begin
    for connection in connections:
        connection.close()


def nothing_more(connection):
    connection.send("ECHO", "end")
    assert connection.read() == b"end"


def test_a_key_that_was_read_is_invalidated_once(resp, connect):
    reader = connect()
    assert reader("CLIENT", "TRACKING", "ON") == OK
    resp("SET", "k", "1")
    reader("GET", "k")
    resp("SET", "k", "2")
    message = reader.read()
    assert isinstance(message, Push) and message == [b"invalidate", [b"k"]]
    resp("SET", "k", "3")
    nothing_more(reader)


def test_own_changes_come_behind_the_reply_unless_noloop(resp, connect):
    reader = connect()
    reader("CLIENT", "TRACKING", "ON")
    reader("GET", "k")
    assert reader("SET", "k", "1") == OK
    assert reader.read() == [b"invalidate", [b"k"]]
    reader("CLIENT", "TRACKING", "OFF")
    reader("CLIENT", "TRACKING", "ON", "NOLOOP")
    reader("GET", "k")
    assert reader("SET", "k", "1") == OK
    nothing_more(reader)


def test_a_transaction_is_not_interrupted(resp, connect):
    reader = connect()
    reader("CLIENT", "TRACKING", "ON")
    reader("MULTI")
    reader("GET", "k")
    reader("SET", "k", "1")
    reader("GET", "k")
    assert reader("EXEC") == [None, OK, b"1"]
    assert reader.read() == [b"invalidate", [b"k"]]


def test_resp2_redirects_to_a_subscriber(resp, connect):
    listener, reader = connect(2), connect(2)
    target = listener("CLIENT", "ID")
    listener("SUBSCRIBE", "__redis__:invalidate")
    assert reader("CLIENT", "TRACKING", "ON", "REDIRECT", str(target)) == OK
    assert reader("CLIENT", "GETREDIR") == target
    resp("SET", "k", "1")
    reader("GET", "k")
    resp("SET", "k", "2")
    assert listener.read() == [b"message", b"__redis__:invalidate", [b"k"]]
    resp("FLUSHALL")
    assert listener.read() == [b"message", b"__redis__:invalidate", None]


def test_a_broken_redirection_is_told(server, resp, connect):
    reader = connect()
    with server.resp() as target:
        number = target("CLIENT", "ID")
        reader("CLIENT", "TRACKING", "ON", "REDIRECT", str(number))
        reader("GET", "k")
    assert wait_for(lambda: f"id={number} " not in resp("CLIENT", "LIST").decode())
    resp("SET", "k", "1")
    assert reader.read() == [b"tracking-redir-broken", number]
    assert b"broken_redirect" in reader("CLIENT", "TRACKINGINFO")[b"flags"]


def test_expiry_invalidates(resp, connect):
    reader = connect()
    reader("CLIENT", "TRACKING", "ON")
    for millis in (20, 500, 20_000):
        resp("SET", "k", "1", "PX", millis)
        if reader("GET", "k") == b"1":
            break
    assert reader.read() == [b"invalidate", [b"k"]]


def test_optin_and_optout(resp, connect):
    reader = connect()
    reader("CLIENT", "TRACKING", "ON", "OPTIN")
    reader("GET", "a")
    assert reader("CLIENT", "CACHING", "YES") == OK
    reader("GET", "b")
    reader("GET", "c")
    resp("MSET", "a", "1", "b", "1", "c", "1")
    assert reader.read() == [b"invalidate", [b"b"]]
    nothing_more(reader)
    reader("CLIENT", "TRACKING", "OFF")
    reader("CLIENT", "TRACKING", "ON", "OPTOUT")
    reader("CLIENT", "CACHING", "NO")
    reader("GET", "a")
    reader("GET", "b")
    resp("MSET", "a", "1", "b", "1")
    assert reader.read() == [b"invalidate", [b"b"]]
    nothing_more(reader)


def test_broadcast_by_prefix(resp, connect):
    reader = connect()
    assert reader("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "u:", "PREFIX", "v:") == OK
    resp("MSET", "u:1", "1", "u:2", "1", "x", "1")
    assert reader.read() == [b"invalidate", [b"u:1", b"u:2"]]
    assert reader("CLIENT", "TRACKINGINFO") == {
        b"flags": {b"on", b"bcast"},
        b"redirect": 0,
        b"prefixes": [b"u:", b"v:"],
    }


def test_errors(connect):
    reader = connect()
    assert reader("CLIENT", "CACHING", "YES").startswith("ERR CLIENT CACHING can be called only")
    assert reader("CLIENT", "TRACKING", "ON", "PREFIX", "a") == Error(
        "ERR PREFIX option requires BCAST mode to be enabled"
    )
    assert reader("CLIENT", "TRACKING", "ON", "REDIRECT", "99999999") == Error(
        "ERR The client ID you want redirect to does not exist"
    )
    assert reader("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "ab") == Error(
        "ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client "
        "must not overlap."
    )
    assert reader("CLIENT", "TRACKING", "ON", "OPTIN", "OPTOUT") == Error(
        "ERR You can't use both OPTIN mode and OPTOUT mode"
    )
    assert reader("CLIENT", "GETREDIR") == -1


def test_the_table_has_a_limit(resp, connect):
    reader = connect()
    reader("CLIENT", "TRACKING", "ON")
    resp("CONFIG", "SET", "tracking-table-max-keys", "2")
    try:
        for key in "abc":
            reader("GET", key)
        message = reader.read()
        assert message[0] == b"invalidate" and message[1][0] in (b"a", b"b", b"c")
    finally:
        resp("CONFIG", "SET", "tracking-table-max-keys", "1000000")


def test_tier_moves_invalidate_nothing(resp, connect):
    reader = connect()
    reader("CLIENT", "TRACKING", "ON")
    resp("SET", "k", "v" * 5000)
    reader("GET", "k")
    resp("DEMOTE", "k")
    resp("GET", "k")
    nothing_more(reader)


def test_a_lowered_limit_of_tracked_keys_holds_without_further_commands(server, resp):
    with server.resp() as reader:
        reader("HELLO", "3")
        reader("CLIENT", "TRACKING", "ON")
        for i in range(250):
            resp("SET", f"k{i}", "v")
            reader("GET", f"k{i}")
        resp("CONFIG", "SET", "tracking-table-max-keys", "1")
        told = [reader.read() for _ in range(249)]
        assert len({message[1][0] for message in told}) == 249
        resp("CONFIG", "SET", "tracking-table-max-keys", "1000000")
