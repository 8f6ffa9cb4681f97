"""Big values are copied and moved in slices, and nobody else notices."""

import random

import pytest

from harness import run_beside, wait_for

# Some slices of 64 pages each.
COUNT = 40_000


def fill(resp, key, kind, count=COUNT):
    for first in range(0, count, 1000):
        numbers = range(first, min(first + 1000, count))
        if kind == "list":
            resp("RPUSH", key, *[f"element:{i:08}" for i in numbers])
        elif kind == "set":
            resp("SADD", key, *[f"member:{i:08}" for i in numbers])
        elif kind == "hash":
            resp("HSET", key, *[x for i in numbers for x in (f"field:{i:08}", f"value:{i}")])
        elif kind == "zset":
            resp("ZADD", key, *[x for i in numbers for x in (i, f"member:{i:08}")])
        elif kind == "stream":
            resp.pipeline([("XADD", key, f"{i + 1}-0", "field", f"value:{i}") for i in numbers])


def everything(resp, key, kind):
    if kind == "list":
        return resp("LRANGE", key, 0, -1)
    if kind == "set":
        return sorted(resp("SMEMBERS", key))
    if kind == "hash":
        flat = resp("HGETALL", key)
        return sorted(zip(flat[::2], flat[1::2]))
    if kind == "zset":
        return resp("ZRANGE", key, 0, -1, "WITHSCORES")
    return resp("XRANGE", key, "-", "+")


def change(resp, key, kind, i):
    if kind == "list":
        resp("LPUSH", key, f"new:{i}")
        resp("LSET", key, 1000 + 37 * i, f"set:{i}")
        resp("RPOP", key)
    elif kind == "set":
        resp("SADD", key, f"new:{i}")
        resp("SREM", key, f"member:{i * 97 % COUNT:08}")
    elif kind == "hash":
        resp("HSET", key, f"field:{i * 97 % COUNT:08}", f"changed:{i}", f"new:{i}", "x")
        resp("HDEL", key, f"field:{i * 89 % COUNT:08}")
    elif kind == "zset":
        resp("ZADD", key, i * 91 % COUNT, f"member:{i * 97 % COUNT:08}", -i, f"new:{i}")
    else:
        resp("XADD", key, "*", "new", i)
        resp("XDEL", key, f"{i * 97 % COUNT}-0")


KINDS = ["list", "set", "hash", "zset", "stream"]


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_moves_of_big_values(server, resp, kind):
    fill(resp, "from", kind)
    resp("EXPIRE", "from", 1000)
    expected = everything(resp, "from", kind)
    assert len(expected) >= COUNT
    assert resp("COPY", "from", "to") == 1
    assert everything(resp, "to", kind) == expected
    assert 900 < resp("TTL", "to") <= 1000
    assert resp("COPY", "from", "to") == 0
    change(resp, "from", kind, 1)
    assert everything(resp, "to", kind) == expected
    expected = everything(resp, "from", kind)
    resp("SET", "to", "a string")
    assert resp("COPY", "from", "to", "REPLACE") == 1
    assert everything(resp, "to", kind) == expected
    assert resp("TIER", "DEMOTE", "from", "to") == 2
    assert resp("MOVE", "from", 3) == 1
    assert resp("EXISTS", "from") == 0
    assert resp("MOVE", "from", 3) == 0
    resp("SELECT", 3)
    assert everything(resp, "from", kind) == expected
    assert resp("COPY", "from", "to", "DB", 0) == 0
    resp("SELECT", 0)
    assert everything(resp, "to", kind) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_the_value_of_one_moment(server, resp, kind):
    """A client that changes the source all the time sees its changes in the copy up to one."""
    fill(resp, "from", kind)
    with server.resp() as writer:
        resp.send("COPY", "from", "to")
        i = 0
        while not writer("EXISTS", "to"):
            change(writer, "from", kind, i)
            i += 1
            assert i < 100_000
    assert resp.read() == 1
    difference = set(map(str, everything(resp, "from", kind))) ^ set(
        map(str, everything(resp, "to", kind)))
    # What came between the copy and the answer to EXISTS.
    assert len(difference) <= 6, difference


def test_a_copy_in_a_transaction_or_script_is_made_at_once(resp):
    fill(resp, "from", "set")
    assert resp.pipeline([("MULTI",), ("COPY", "from", "to"), ("SCARD", "to"), ("EXEC",)])[3] == [
        1, COUNT]
    script = "redis.call('COPY', 'from', 'other'); return redis.call('SCARD', 'other')"
    assert resp("EVAL", script, 2, "from", "other") == COUNT


def test_the_source_of_a_copy_may_go(server, resp):
    fill(resp, "from", "zset")
    for command in [("DEL", "from"), ("RENAME", "from", "elsewhere"), ("FLUSHALL",)]:
        if not resp("EXISTS", "from"):
            fill(resp, "from", "zset")
        with server.resp() as other:
            other.send("COPY", "from", "to")
            resp(*command)
            answer = other.read()
            assert answer in (0, 1)
            if command[0] != "FLUSHALL":
                assert resp("EXISTS", "to") == answer
        resp("DEL", "to")


def test_a_client_that_leaves_takes_its_copy_along(server, resp):
    fill(resp, "from", "hash")
    other = server.resp()
    other.send("COPY", "from", "to")
    other.close()
    change(resp, "from", "hash", 5)
    assert resp("HGET", "from", "new:5") == b"x"


@pytest.mark.parametrize("durable", ["yes", "no"])
@pytest.mark.parametrize("reload", ["RELOAD", "LOADAOF"])
def test_a_copy_is_answered_although_the_data_is_loaded_anew(start, durable, reload):
    server = start("--appendonly", durable, "--save", "")
    with server.resp() as resp, server.resp() as other:
        fill(resp, "from", "list", 300_000)
        other.send("COPY", "from", "to")
        assert resp("DEBUG", reload) == "OK"
        assert other.read() == 1
        assert other("PING") == "PONG"
        assert resp("LLEN", "to") == resp("LLEN", "from") == 300_000
        other.send("TIER", "DEMOTE", "from")
        assert resp("DEBUG", reload) == "OK"
        assert other.read() in (0, 1)
        assert resp("LLEN", "from") == 300_000


@pytest.mark.parametrize("durable", ["yes", "no"])
def test_copies_survive_a_restart(start, durable):
    server = start("--appendonly", durable, "--save", "3600 1")
    resp = server.resp()
    fill(resp, "from", "hash")
    expected = everything(resp, "from", "hash")
    assert resp("COPY", "from", "to") == 1
    server.restart()
    resp = server.resp()
    assert everything(resp, "to", "hash") == expected
    assert everything(resp, "from", "hash") == expected


@pytest.mark.parametrize("kind", KINDS)
def test_dumps_of_big_values_are_restored(server, resp, kind):
    fill(resp, "from", kind)
    expected = everything(resp, "from", kind)
    encoding = resp("OBJECT", "ENCODING", "from")
    resp("TIER", "DEMOTE", "from")
    payload = resp("DUMP", "from")
    assert resp("RESTORE", "to", 0, payload) == "OK"
    assert everything(resp, "to", kind) == expected
    assert resp("OBJECT", "ENCODING", "to") == encoding
    # And within a transaction, in one go.
    assert resp.pipeline([("MULTI",), ("DUMP", "from"), ("EXEC",)])[2] == [payload] or kind == "list"


def test_a_dump_in_pieces_is_the_value_of_one_moment(server, resp):
    fill(resp, "k", "zset")
    expected = everything(resp, "k", "zset")
    with server.resp() as other:
        resp.send("DUMP", "k")
        assert wait_for(lambda: b"dump" in other("CLIENT", "LIST"))
        for i in range(200):
            change(other, "k", "zset", i)
        payload = resp.read()
        changed = everything(other, "k", "zset")
    assert resp("RESTORE", "to", 0, payload) == "OK"
    assert everything(resp, "to", "zset") in (expected, changed)
    assert changed != expected


def test_a_copy_needs_no_more_memory_than_a_slice(start):
    instance = start("--maxmemory", "16mb")
    with instance.resp(timeout=60) as resp:
        for first in range(0, 100_000, 10_000):
            elements = [f"{i:06}{'x' * 234}" for i in range(first, first + 10_000)]
            resp("RPUSH", "list", *elements)
        assert resp("COPY", "list", "copy") == 1
        assert resp("LLEN", "copy") == 100_000
        assert resp("LINDEX", "copy", 54_321).startswith(b"054321")
        assert resp("SET", "other", "value") == "OK"


def test_others_go_on_while_big_values_are_copied(server, resp):
    fill(resp, "from", "zset", 200_000)
    with server.resp() as other:
        assert run_beside(other, resp, "COPY", "from", "to") == 1


# --- sets that are stored in slices


def numbers(resp, key, members):
    members = list(members)
    for first in range(0, len(members), 1000):
        resp("SADD", key, *[f"member:{i}" for i in members[first:first + 1000]])


def members_of(resp, key):
    return {int(member[7:]) for member in resp("SMEMBERS", key)}


A, B, C = range(0, 40_000), range(20_000, 60_000), range(39_990, 40_100)


@pytest.fixture
def sets(resp):
    for key, members in (("a", A), ("b", B), ("c", C), ("small", range(5))):
        numbers(resp, key, members)
    return {"a": set(A), "b": set(B), "c": set(C), "small": set(range(5)), "none": set()}


@pytest.mark.parametrize("demoted", [False, True])
def test_sets_of_any_size_are_stored(server, resp, sets, demoted):
    cases = [("SUNIONSTORE", ["a", "b", "c"]), ("SUNIONSTORE", ["a", "none", "a"]),
             ("SUNIONSTORE", ["a", "small"]), ("SINTERSTORE", ["a", "b"]),
             ("SINTERSTORE", ["b", "c", "a"]), ("SINTERSTORE", ["a", "none"]),
             ("SDIFFSTORE", ["a", "b"]), ("SDIFFSTORE", ["a", "none", "c"]),
             ("SDIFFSTORE", ["b", "a", "c"]), ("SDIFFSTORE", ["a", "a"]),
             ("SDIFFSTORE", ["none", "a"])]
    combine = {"SUNIONSTORE": set.union, "SINTERSTORE": set.intersection,
               "SDIFFSTORE": set.difference}
    resp("SETEX", "target", 1000, "a string")
    for command, keys in cases:
        expected = combine[command](*[sets[key] for key in keys])
        if demoted:
            resp("TIER", "DEMOTE", *keys)
        assert resp(command, "target", *keys) == len(expected), (command, keys)
        assert members_of(resp, "target") == expected, (command, keys)
        if expected:
            assert resp("TTL", "target") == -1
            big = len(expected) > 512
            assert resp("OBJECT", "ENCODING", "target") == (b"hashtable" if big else b"listpack")
    # A target that is an operand.
    assert resp("SUNIONSTORE", "a", "a", "b") == 60_000
    assert members_of(resp, "a") == sets["a"] | sets["b"]
    assert resp("SADD", "a", "member:1", "other") == 1
    assert resp("SREM", "a", "member:1", "other") == 2
    server.restart()
    with server.resp() as again:
        assert members_of(again, "a") == (sets["a"] | sets["b"]) - {1}


def test_what_is_stored_is_of_the_moment_in_which_it_appears(server, resp, sets):
    with server.resp() as writer:
        resp.send("SUNIONSTORE", "target", "a", "b")
        added = 0
        while not writer("EXISTS", "target"):
            writer("SADD", "a", f"member:{100_000 + added}")
            writer("SREM", "b", f"member:{40_000 + added}")
            added += 1
    stored = resp.read()
    there = members_of(resp, "target")
    assert stored == len(there)
    # What came between the command and the answer to EXISTS may be missing.
    difference = there ^ (members_of(resp, "a") | members_of(resp, "b"))
    assert len(difference) <= 4, difference


def test_sets_are_stored_at_once_in_transactions_and_scripts(resp, sets):
    replies = resp.pipeline([("MULTI",), ("SUNIONSTORE", "target", "a", "b"), ("SCARD", "target"),
                             ("EXEC",)])
    assert replies[3] == [60_000, 60_000]
    script = "redis.call('SDIFFSTORE', 'other', 'a', 'b'); return redis.call('SCARD', 'other')"
    assert resp("EVAL", script, 3, "other", "a", "b") == 20_000


def test_operands_may_go_while_a_set_is_stored(server, resp, sets):
    for command in [("DEL", "b"), ("SET", "b", "a string"), ("RENAME", "b", "c"), ("FLUSHALL",)]:
        resp("DEL", "a", "b", "target")
        numbers(resp, "a", A)
        numbers(resp, "b", B)
        with server.resp() as other:
            other.send("SUNIONSTORE", "target", "a", "b")
            resp(*command)
            try:
                stored = other.read()
            except Exception as error:
                stored = error
        if command[0] == "SET" and not isinstance(stored, int):
            assert "WRONGTYPE" in str(stored)
        elif command[0] != "FLUSHALL":
            assert stored in (40_000, 60_000)
            assert resp("SCARD", "target") == stored
        else:
            assert stored in (0, 60_000)
    with server.resp() as other:
        numbers(resp, "a", A)
        other.send("SUNIONSTORE", "gone", "a", "a")
    assert resp("PING") == "PONG"


def test_others_are_served_while_a_set_is_stored(server, resp):
    for key in ("a", "b"):
        for first in range(0, 300_000, 5000):
            resp("SADD", key, *[f"{key}:{i}" for i in range(first, first + 5000)])
    for command in ("SUNIONSTORE", "SDIFFSTORE"):
        with server.resp() as other:
            count = 600_000 if command == "SUNIONSTORE" else 300_000
            assert run_beside(resp, other, command, "target", "a", "b") == count
            resp("DEL", "target")


# --- streams that are trimmed in slices


@pytest.mark.parametrize("strategy", ["MAXLEN", "MINID"])
def test_an_entry_may_push_out_many(resp, strategy):
    count = 400_000
    for first in range(0, count, 5000):
        resp.pipeline([("XADD", "s", f"{i + 1}-0", "field", f"value:{i}")
                       for i in range(first, first + 5000)])
    threshold = 10 if strategy == "MAXLEN" else count - 8
    added = resp("XADD", "s", strategy, threshold, "*", "last", "one")
    entries = resp("XRANGE", "s", "-", "+")
    assert [entry[0] for entry in entries] == [
        b"%d-0" % (count - i) for i in range(8, -1, -1)] + [added]
    assert resp("XLEN", "s") == 10
    at_once = resp.pipeline([("MULTI",), ("XADD", "s", "MAXLEN", 1, "*", "very", "last"),
                             ("XLEN", "s"), ("EXEC",)])[3]
    assert at_once[1] == 1


# --- long payloads


@pytest.mark.parametrize("kind", KINDS)
def test_others_are_served_while_a_big_value_is_restored(server, resp, kind):
    fill(resp, "from", kind, 120_000)
    payload = resp("DUMP", "from")
    resp("SET", "to", "a string")
    with server.resp() as other:
        assert run_beside(resp, other, "RESTORE", "to", 5_000_000, payload, "REPLACE") == "OK"
    assert everything(resp, "to", kind) == everything(resp, "from", kind)
    assert 4_000_000 < resp("PTTL", "to") <= 5_000_000
    assert resp("OBJECT", "ENCODING", "to") == resp("OBJECT", "ENCODING", "from")
    change(resp, "to", kind, 1)
    change(resp, "from", kind, 1)
    if kind != "stream":  # the ids of what is added are of the time
        assert everything(resp, "to", kind) == everything(resp, "from", kind)
    at_once = resp.pipeline([("MULTI",), ("RESTORE", "to", 0, payload, "REPLACE"), ("EXEC",)])[2]
    assert at_once == ["OK"]


def cycles(resp):
    for line in resp("INFO", "stats").decode().split("\r\n"):
        if line.startswith("eventloop_cycles:"):
            return int(line.split(":")[1])
    raise AssertionError("no eventloop_cycles")


def test_a_long_payload_is_handled_in_many_turns(server, resp):
    """Neither what is received nor what it is made of is copied or written in one turn."""
    draw = random.Random(1)
    for _ in range(240):
        resp("RPUSH", "from", *[draw.randbytes(1000) for _ in range(100)])
    payload = resp("DUMP", "from")
    assert len(payload) > 24_000_000
    parts = [b"RESTORE", b"to", b"0", payload, b"REPLACE"]
    request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
    end = len(request) - 15
    with server.resp() as other:
        identity = resp("CLIENT", "ID")
        resp.socket.sendall(request[:end])

        def buffer():
            line = other("CLIENT", "LIST", "ID", identity).decode()
            return dict(word.split("=", 1) for word in line.split() if "=" in word)

        assert wait_for(lambda: int(buffer()["qbuf"]) == end)
        # The arguments behind it find room, so that what is there isn't copied for their sake.
        assert int(buffer()["qbuf-free"]) >= 1000
        before = cycles(other)
        resp.socket.sendall(request[end:])
        assert resp.read() == "OK"
        # At most 1 MiB of copying or 256 KiB of pages in one of them.
        assert cycles(other) - before >= len(payload) // (1 << 20) + len(payload) // (256 << 10)
    assert resp("LLEN", "to") == 24_000


def test_what_can_not_be_restored_is_refused_as_if_it_were_short(server, resp):
    fill(resp, "from", "zset")
    payload = resp("DUMP", "from")
    assert len(payload) > 200_000
    assert "BUSYKEY" in resp("RESTORE", "from", 0, payload)
    wrong = payload[:-3] + b"abc"
    assert "checksum" in resp("RESTORE", "to", 0, wrong)
    assert "Invalid TTL" in resp("RESTORE", "to", -1, payload)
    resp("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", 1)
    try:
        assert "Bad data format" in resp("RESTORE", "to", 0, payload[:100_000] + payload[150_000:])
    finally:
        resp("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", 0)
    assert resp("EXISTS", "to") == 0
    # Already expired.
    assert resp("RESTORE", "from", 1, payload, "ABSTTL", "REPLACE") == "OK"
    assert resp("EXISTS", "from") == 0
    long = "x" * 300_000
    resp("SET", "string", long)
    assert resp("RESTORE", "to", 0, resp("DUMP", "string")) == "OK"
    assert resp("GET", "to").decode() == long


def test_the_key_of_a_restored_value_may_come_and_go_meanwhile(server, resp):
    fill(resp, "from", "set", 120_000)
    payload = resp("DUMP", "from")
    for command in [("SADD", "to", "x"), ("FLUSHALL",), ("SWAPDB", 0, 1)]:
        resp("DEL", "to")
        with server.resp() as other:
            other.send("RESTORE", "to", 0, payload)
            resp("PING")
            resp(*command)
            reply = other.read()
            assert reply == "OK" or "BUSYKEY" in reply
            assert other("SCARD", "to") == (120_000 if reply == "OK" else 1)
    with server.resp() as other:
        other.send("RESTORE", "gone", 0, payload)
    assert resp("PING") == "PONG"


# --- SORT


SORTS = [(), ("DESC",), ("ALPHA",), ("ALPHA", "DESC"), ("LIMIT", 100, 15_000),
         ("DESC", "LIMIT", 0, 3), ("BY", "nosort"), ("BY", "nosort", "DESC"),
         ("BY", "nosort", "LIMIT", 5, 12_000), ("GET", "#", "GET", "constant", "LIMIT", 0, 13_000)]


@pytest.mark.parametrize("kind", ["list", "set", "zset"])
def test_values_of_any_size_are_sorted(server, resp, kind):
    """What a transaction sorts at once is the measure."""
    draw = [i * 7919 % 30_011 for i in range(30_000)]
    for first in range(0, len(draw), 1000):
        some = draw[first:first + 1000]
        if kind == "list":
            resp("RPUSH", "k", *[x // 2 for x in some])
        elif kind == "set":
            resp("SADD", "k", *some)
        else:
            resp("ZADD", "k", *[x for n in some for x in (n % 5, n)])
    for options in SORTS:
        resp("TIER", "DEMOTE", "k")
        at_once = resp.pipeline([("MULTI",), ("SORT", "k", *options), ("EXEC",)])[2][0]
        assert resp("SORT", "k", *options) == at_once, options
        assert resp("SORT_RO", "k", *options) == at_once, options
        resp("SET", "target", "x")
        replies = resp.pipeline([("MULTI",), ("SORT", "k", *options, "STORE", "other"), ("EXEC",)])
        assert resp("SORT", "k", *options, "STORE", "target") == replies[2][0], options
        stored = resp("LRANGE", "target", 0, -1)
        assert stored == resp("LRANGE", "other", 0, -1), options
        if kind != "set":
            assert stored == [element or b"" for element in at_once], options
    # A target that is the source.
    assert resp("SORT", "k", "STORE", "k") == 30_000
    resp("RPUSH", "k", "no number")
    assert "double" in resp("SORT", "k")
    assert "double" in resp("SORT", "k", "STORE", "target")
    assert resp("LLEN", "target") > 0


def test_others_are_served_while_a_value_is_sorted(server, resp):
    fill(resp, "k", "list", 200_000)
    for command in [("SORT", "k", "ALPHA", "DESC", "STORE", "to"), ("SORT", "k", "ALPHA")]:
        with server.resp() as other:
            reply = run_beside(resp, other, *command)
            assert (reply if "STORE" in command else len(reply)) == 200_000


def test_what_is_sorted_may_change_meanwhile(server, resp):
    fill(resp, "k", "list")
    with server.resp() as writer:
        resp.send("SORT", "k", "ALPHA", "STORE", "to")
        i = 0
        while not writer("EXISTS", "to"):
            writer("LSET", "k", 10, f"set:{i}")
            i += 1
            assert i < 100_000
    assert resp.read() == COUNT
    difference = set(resp("LRANGE", "k", 0, -1)) ^ set(resp("LRANGE", "to", 0, -1))
    assert len(difference) <= 4
    for command in [("DEL", "k"), ("FLUSHALL",)]:
        fill(resp, "k", "list")
        with server.resp() as other:
            other.send("SORT", "k", "ALPHA", "STORE", "to")
            resp(*command)
            assert other.read() in (0, COUNT)


def test_a_member_of_a_cold_set_is_moved(resp):
    """The run that asked for its page logged that a group began, and ended."""
    fill(resp, "from", "set", 5000)
    fill(resp, "to", "set", 5000)
    resp("SADD", "from", "mine")
    for member, moved in (("mine", 1), ("nobody's", 0), ("member:00000007", 1)):
        resp("TIER", "DEMOTE", "from", "to")
        assert resp("SMOVE", "from", "to", member) == moved
        assert resp("SISMEMBER", "to", member) == moved
    assert resp("SCARD", "from") == 4999 and resp("SCARD", "to") == 5001
