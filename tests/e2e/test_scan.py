"""SCAN: every key that is there throughout is returned, whatever else happens."""

import random
import time

import pytest


def scan(resp, *options, between=lambda: None):
    cursor, keys, calls = b"0", [], 0
    while True:
        cursor, found = resp("SCAN", cursor, *options)
        assert int(cursor) < 2**53
        keys += found
        calls += 1
        assert calls < 100_000
        if cursor == b"0":
            return keys
        between()


def fill(resp, count, prefix="k"):
    resp.pipeline([("SET", f"{prefix}{i}", "v") for i in range(count)])
    return {f"{prefix}{i}".encode() for i in range(count)}


def test_empty_database(resp):
    assert resp("SCAN", 0) == [b"0", []]


@pytest.mark.parametrize("count", [1, 10, 1000, 10_000_000])
def test_returns_every_key(resp, count):
    expected = fill(resp, 2000)
    keys = scan(resp, "COUNT", count)
    assert set(keys) == expected
    assert len(keys) == len(expected)


def test_options(resp):
    fill(resp, 100)
    fill(resp, 50, "other:")
    assert len(scan(resp, "MATCH", "other:*")) == 50
    assert len(scan(resp, "MATCH", "*", "COUNT", 7)) == 150
    assert len(scan(resp, "TYPE", "string")) == 150
    assert len(scan(resp, "TYPE", "STRING", "MATCH", "k1?")) == 10
    assert scan(resp, "TYPE", "list") == []
    assert scan(resp, "TYPE", "nonsense") == []


@pytest.mark.parametrize("arguments, error", [
    (("x",), "ERR invalid cursor"), ((" 1",), "ERR invalid cursor"),
    (("1x",), "ERR invalid cursor"), ((str(2**64),), "ERR invalid cursor"),
    (("0", "COUNT"), "ERR syntax error"), (("0", "COUNT", "0"), "ERR syntax error"),
    (("0", "COUNT", "x"), "ERR value is not an integer or out of range"),
    (("0", "FOO", "1"), "ERR syntax error"), (("0", "MATCH"), "ERR syntax error")])
def test_errors(resp, arguments, error):
    assert resp("SCAN", *arguments) == error


def test_guarantee_under_changes(resp):
    generator = random.Random(11)
    expected = fill(resp, 3000)
    victims = fill(resp, 3000, "victim")

    def change():
        commands = []
        for _ in range(40):
            if generator.random() < 0.5 and victims:
                commands.append(("DEL", victims.pop()))
            else:
                commands.append(("SET", f"new{generator.randrange(10**6)}", "v"))
        resp.pipeline(commands)

    keys = scan(resp, "COUNT", 20, between=change)
    assert expected <= set(keys)


def test_guarantee_while_the_table_grows(resp):
    expected = fill(resp, 200)
    added = [0]

    def grow():
        resp.pipeline([("SET", f"grow{added[0] + i}", "v") for i in range(500)])
        added[0] += 500

    keys = scan(resp, "COUNT", 10, between=lambda: grow() if added[0] < 20_000 else None)
    assert expected <= set(keys)


def test_a_cursor_may_be_used_again(resp):
    fill(resp, 1000)
    cursor, _ = resp("SCAN", 0, "COUNT", 100)
    first = resp("SCAN", cursor, "COUNT", 100)
    assert resp("SCAN", cursor, "COUNT", 100) == first


def test_databases_are_apart(resp):
    fill(resp, 10)
    resp("SELECT", 1)
    assert scan(resp) == []


@pytest.mark.parametrize("cold", [False, True])
def test_deletes_the_expired_keys_that_it_meets(resp, cold):
    resp("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    live = fill(resp, 50)
    gone = [f"gone{i}" for i in range(50)]
    for millis in (200, 2000, 20_000):
        resp.pipeline([("SET", key, "v", "PX", millis) for key in gone])
        if not cold or resp("TIER", "DEMOTE", *gone) == 50:
            break
    time.sleep(millis / 1000 + 0.05)
    assert resp("DBSIZE") == 100
    assert set(scan(resp, "TYPE", "list")) == set()
    assert resp("DBSIZE") == 50
    assert set(scan(resp)) == live
    resp("DEBUG", "SET-ACTIVE-EXPIRE", "1")
