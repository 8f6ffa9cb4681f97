"""Commands that take long over what keeps changing: those who would change it wait, and nobody else
does. SORT by what other keys hold is the one that makes them wait from its beginning."""

import random
import select
import threading

import pytest

from harness import run_beside, wait_for

COUNT = 12_000


def fill_sorted(resp, kind="list", count=COUNT):
    draw = list(range(count))
    random.Random(kind).shuffle(draw)
    for first in range(0, count, 1000):
        some = draw[first:first + 1000]
        if kind == "list":
            resp("RPUSH", "k", *some)
        elif kind == "set":
            resp("SADD", "k", *some)
        else:
            resp("ZADD", "k", *[x for n in some for x in (n % 7, n)])
        resp("MSET", *[x for n in some for x in (f"w:{n}", n * 7919 % 30_011 if n % 5 else -n)])
        resp("MSET", *[x for n in some if n % 3 for x in (f"o:{n}", f"object {n}")])
        resp.pipeline([("HSET", f"h:{n}", "name", f"name {n}", "weight", n % 100)
                       for n in some if n % 4])
    resp("SET", "o:6", "")
    resp("RPUSH", "o:7", "a list")


SORTS = [("BY", "w:*"), ("BY", "w:*", "DESC", "LIMIT", 10, 11_000), ("BY", "h:*->weight"),
         ("BY", "o:*", "ALPHA"), ("BY", "o:*", "ALPHA", "DESC"),
         ("BY", "none:*"), ("GET", "o:*"), ("GET", "#", "GET", "o:*", "GET", "h:*->name"),
         ("BY", "w:*", "GET", "o:*", "GET", "constant", "LIMIT", 100, 6000),
         ("BY", "nosort", "GET", "h:*->name", "GET", "w:*"),
         ("BY", "nosort", "DESC", "GET", "o:*", "LIMIT", 3, 9000)]


@pytest.mark.parametrize("kind", ["list", "set", "zset"])
def test_values_of_any_size_are_sorted_by_what_other_keys_hold(resp, kind):
    """What a transaction sorts at once is the measure."""
    fill_sorted(resp, kind)
    for options in SORTS:
        resp("TIER", "DEMOTE", "k", *[f"{name}:{i}" for name in "woh" for i in range(0, 2000, 7)])
        at_once = resp.pipeline([("MULTI",), ("SORT", "k", *options), ("EXEC",)])[2][0]
        assert resp("SORT", "k", *options) == at_once, options
        assert resp("SORT_RO", "k", *options) == at_once, options
        replies = resp.pipeline([("MULTI",), ("SORT", "k", *options, "STORE", "other"), ("EXEC",)])
        assert resp("SORT", "k", *options, "STORE", "target") == replies[2][0], options
        assert resp("LRANGE", "target", 0, -1) == resp("LRANGE", "other", 0, -1), options
    assert "double" in resp("SORT", "k", "BY", "h:*->name")
    assert "double" in resp("SORT", "k", "BY", "o:*", "STORE", "target")


def test_others_are_served_while_a_value_is_sorted_by_what_other_keys_hold(server, resp):
    fill_sorted(resp, count=60_000)
    for command in [("SORT", "k", "BY", "w:*", "GET", "o:*"),
                    ("SORT", "k", "BY", "w:*", "GET", "h:*->name", "STORE", "to")]:
        with server.resp() as other:
            reply = run_beside(resp, other, *command)
            assert (reply if "STORE" in command else len(reply)) == 60_000


def test_what_is_sorted_by_is_of_one_moment(server, resp):
    """A writer numbers the keys anew, in turn: at a moment some first ones have a number more than
    the others."""
    fill_sorted(resp)
    resp("MSET", *[x for n in range(COUNT) for x in (f"w:{n}", 0)])
    stop = threading.Event()

    def write():
        with server.resp() as writer:
            number = 0
            while not stop.is_set():
                number += 1
                for first in range(0, COUNT, 100):
                    writer.pipeline([("SET", f"w:{i}", number) for i in range(first, first + 100)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(5):
            reply = resp("SORT", "k", "BY", "nosort", "GET", "#", "GET", "w:*")
            numbers = [0] * COUNT
            for element, number in zip(reply[::2], reply[1::2]):
                numbers[int(element)] = int(number)
            assert numbers[0] - numbers[-1] in (0, 1)
            assert numbers == sorted(numbers, reverse=True)
    finally:
        stop.set()
        thread.join()


def test_only_those_wait_who_would_change_what_is_read(server, resp):
    fill_sorted(resp, count=60_000)
    with server.resp() as writer, server.resp() as other:
        identity = resp("CLIENT", "ID")
        for command in [("SET", "w:3", 1), ("SET", "w:new", 1), ("LSET", "k", 3, 7),
                        ("RENAME", "o:1", "w:1"), ("EVAL", "return redis.call('INCR', KEYS[1])", 1,
                                                   "w:2")]:
            def waits():
                """Whether others were answered before it was done, and the writer was not."""
                resp.send("SORT", "k", "BY", "w:*", "STORE", "to")
                assert wait_for(lambda: b"cmd=sort" in other("CLIENT", "LIST", "ID", identity),
                                interval=0)
                writer.send(*command)
                assert other("SET", "o:3", "x") == "OK"
                assert other("GET", "w:3") is not None
                sorting, written = (not select.select([c.socket], [], [], 0)[0]
                                    for c in (resp, writer))
                assert resp.read() == 60_000
                writer.read()
                resp("SET", "o:1", 5)
                return sorting and written

            assert wait_for(waits), command


def test_what_nobody_can_hold_back_makes_it_begin_anew(server, resp):
    """Scripts with keys that they were not given, flushes, and what expires."""
    fill_sorted(resp)
    script = "redis.call('SET', 'w:5', 1e9 + ARGV[1]) redis.call('SET', 'w:6', 1e9 + ARGV[1])"
    for i in range(20):
        with server.resp() as other:
            other.send("SORT", "k", "BY", "nosort", "GET", "#", "GET", "w:*")
            resp("EVAL", script, 0, i)
            reply = other.read()
        found = dict(zip(reply[::2], reply[1::2]))
        assert (i == 0 and found[b"5"] != found[b"6"]) or found[b"5"] == found[b"6"]
    for i in range(0, COUNT, 10):
        resp("PEXPIRE", f"w:{i}", 1 + i // 100)
    reply = resp("SORT", "k", "BY", "nosort", "GET", "#", "GET", "w:*")
    gone = sorted(int(e) for e, v in zip(reply[::2], reply[1::2]) if v is None)
    assert gone == list(range(0, 10 * len(gone), 10))
    with server.resp() as other:
        other.send("SORT", "k", "BY", "w:*", "STORE", "to")
        resp("FLUSHALL")
        assert other.read() in (0, COUNT)


def test_sorts_that_follow_one_another_let_writers_through(server, resp):
    fill_sorted(resp)
    stop = threading.Event()

    def sort():
        with server.resp() as client:
            while not stop.is_set():
                assert client("SORT", "k", "BY", "w:*", "STORE", "to") == COUNT

    threads = [threading.Thread(target=sort) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for i in range(10):
            assert resp("SET", "w:1", i) == "OK"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_client_that_leaves_lets_others_go_on(server, resp):
    fill_sorted(resp, count=30_000)
    other = server.resp()
    other.send("SORT", "k", "BY", "w:*", "GET", "o:*")
    resp("PING")
    other.close()
    assert resp("SET", "w:1", 5) == "OK"


def test_transactions_wait_as_a_whole(server, resp):
    fill_sorted(resp, count=30_000)
    with server.resp() as other:
        other.pipeline([("MULTI",), ("SET", "w:1", 5), ("INCR", "transactions")])
        resp.send("SORT", "k", "BY", "w:*", "STORE", "to")
        other.send("EXEC")
        assert resp.read() == 30_000
        assert other.read() == ["OK", 1]


# --- sources that keep changing


@pytest.mark.parametrize("command", [("SUNIONSTORE", "target", "a", "b"),
                                     ("ZUNIONSTORE", "target", 2, "a", "b"),
                                     ("SORT", "list", "ALPHA", "STORE", "target")])
def test_what_keeps_changing_is_stored_all_the_same(server, resp, command):
    """After some attempts in vain its writers wait; others never do."""
    count = 60_000
    for first in range(0, count, 1000):
        resp("SADD", "a", *range(first, first + 1000))
        resp("SADD", "b", *range(first + count, first + count + 1000))
        resp("RPUSH", "list", *range(first, first + 1000))
    stop = threading.Event()
    written = []

    def write():
        with server.resp() as writer:
            number = 0
            while not stop.is_set():
                number += 1
                writer.pipeline([("SADD", "a", f"new:{number}"), ("LSET", "list", 7, number)])
                written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert wait_for(lambda: len(written) > 10)
        with server.resp() as other:
            stored = run_beside(resp, other, *command)
        assert stored >= count
        assert resp("TYPE", "target") != "none"
        at = len(written)
        assert wait_for(lambda: len(written) > at)
    finally:
        stop.set()
        thread.join()


# --- what is found by its place


def fill_places(resp, count):
    draw = random.Random(1)

    def place():
        return str(draw.uniform(-20, 20))

    for first in range(0, count, 1000):
        resp("GEOADD", "g", *[x for i in range(first, first + 1000)
                              for x in (place(), place(), f"p:{i}")])


SHAPES = [("FROMLONLAT", 1, 2, "BYRADIUS", 1500, "km"), ("FROMMEMBER", "p:7", "BYBOX", 9, 9, "km"),
          ("FROMMEMBER", "p:7", "BYBOX", 3000, 1000, "km"),
          ("FROMLONLAT", 0, 0, "BYRADIUS", 20_000, "km")]
CHOICES = [(), ("ASC",), ("DESC",), ("COUNT", 25), ("COUNT", 12_000, "ANY"),
           ("COUNT", 15_000, "DESC"), ("COUNT", 9, "ANY")]


def test_places_of_any_number_are_found(resp):
    fill_places(resp, 30_000)

    def both(*command):
        resp("TIER", "DEMOTE", "g")
        reply = resp(*command)
        assert reply == resp.pipeline([("MULTI",), command, ("EXEC",)])[2][0], command
        return reply

    for shape in SHAPES:
        for choice in CHOICES:
            both("GEOSEARCH", "g", *shape, *choice)
            both("GEOSEARCH", "g", *shape, *choice, "WITHDIST", "WITHHASH", "WITHCOORD")
            for store in ((), ("STOREDIST",)):
                resp("SET", "to", "x")
                stored = resp("GEOSEARCHSTORE", "to", "g", *shape, *choice, *store)
                members = resp("ZRANGE", "to", 0, -1, "WITHSCORES")
                assert stored == len(members) // 2
                both("GEOSEARCHSTORE", "to", "g", *shape, *choice, *store)
                assert resp("ZRANGE", "to", 0, -1, "WITHSCORES") == members
    found = both("GEORADIUS", "g", 1, 2, 1500, "km", "ASC")
    assert found == both("GEOSEARCH", "g", *SHAPES[0], "ASC")
    both("GEORADIUSBYMEMBER_RO", "g", "p:7", 9000, "km")
    both("GEORADIUSBYMEMBER", "g", "p:7", 1500, "km", "WITHDIST")
    assert both("GEORADIUS", "g", 1, 2, 1500, "km", "STORE", "to") == len(found)
    both("GEORADIUS", "g", 1, 2, 1500, "km", "STORE", "first", "STOREDIST", "to")
    assert resp("EXISTS", "first") == 0
    # A target that is the source.
    assert resp("GEOSEARCHSTORE", "g", "g", *SHAPES[0]) == len(found)
    assert sorted(resp("ZRANGE", "g", 0, -1)) == sorted(found)


def test_others_are_served_while_places_are_found(server, resp):
    fill_places(resp, 100_000)
    search = ("FROMLONLAT", 0, 0, "BYRADIUS", 20_000, "km")
    with server.resp() as other:
        assert run_beside(resp, other, "GEOSEARCHSTORE", "to", "g", *search) == 100_000
        assert len(run_beside(resp, other, "GEOSEARCH", "g", *search, "ASC")) == 100_000


def test_a_centre_that_goes_meanwhile_is_missed(server, resp):
    fill_places(resp, 30_000)
    with server.resp() as other:
        other.send("GEOSEARCHSTORE", "to", "g", "FROMMEMBER", "p:1", "BYRADIUS", 20_000, "km")
        resp("ZREM", "g", "p:1")
        reply = other.read()
    assert reply == 30_000 or "could not decode" in str(reply)
