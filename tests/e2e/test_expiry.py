"""Expiry: times, conditions, and that what expired is gone everywhere."""

import time

import pytest

MAX = 2**63 - 1
MIN = -(2**63)


def test_four_ways_to_set_and_ask(resp):
    resp("SET", "k", "v")
    now = time.time()
    assert resp("EXPIRE", "k", 100) == 1
    assert 70 <= resp("TTL", "k") <= 100
    assert 70_000 <= resp("PTTL", "k") <= 100_000
    assert abs(resp("EXPIRETIME", "k") - now - 100) <= 30
    assert resp("PEXPIRE", "k", 50_000) == 1
    assert 30 <= resp("TTL", "k") <= 50
    assert resp("EXPIREAT", "k", 4102444800) == 1
    assert resp("EXPIRETIME", "k") == 4102444800
    assert resp("PEXPIREAT", "k", 4102444800123) == 1
    assert resp("PEXPIRETIME", "k") == 4102444800123
    assert resp("EXPIRETIME", "k") == 4102444800
    assert resp("PERSIST", "k") == 1
    assert resp("PERSIST", "k") == 0
    for command in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"):
        assert resp(command, "k") == -1
        assert resp(command, "absent") == -2
    assert resp("PERSIST", "absent") == 0
    assert resp("EXPIRE", "absent", 10) == 0


def test_conditions(resp):
    resp("SET", "k", "v")
    assert resp("EXPIRE", "k", 100, "XX") == 0
    assert resp("EXPIRE", "k", 100, "GT") == 0
    assert resp("EXPIRE", "k", 100, "LT") == 1
    assert resp("EXPIRE", "k", 200, "NX") == 0
    assert resp("EXPIRE", "k", 50, "GT") == 0
    assert resp("EXPIRE", "k", 200, "LT") == 0
    assert resp("EXPIRE", "k", 200, "XX", "GT") == 1
    assert resp("TTL", "k") > 150
    assert resp("PERSIST", "k") == 1
    assert resp("EXPIRE", "k", 200, "NX") == 1


@pytest.mark.parametrize("options, error", [
    (("NX", "XX"), "ERR NX and XX, GT or LT options at the same time are not compatible"),
    (("NX", "GT"), "ERR NX and XX, GT or LT options at the same time are not compatible"),
    (("GT", "LT"), "ERR GT and LT options at the same time are not compatible"),
    (("AB",), "ERR Unsupported option AB"),
    (("XX", "AB"), "ERR Unsupported option AB")])
def test_condition_errors(resp, options, error):
    resp("SET", "k", "v")
    assert resp("EXPIRE", "k", 10, *options) == error


@pytest.mark.parametrize("command", ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
def test_past_times_delete(resp, command):
    resp("SET", "k", "v")
    assert resp(command, "k", -1) == 1
    assert resp("EXISTS", "k") == 0
    resp("SET", "k", "v")
    assert resp(command, "k", "x") == "ERR value is not an integer or out of range"
    if command.startswith("EXPIRE"):
        for time_out in (MAX, MIN, MAX // 1000 + 1):
            assert resp(command, "k", str(time_out)) == (
                f"ERR invalid expire time in '{command.lower()}' command")
    assert resp("GET", "k") == b"v"


def test_relative_overflow(resp):
    resp("SET", "k", "v")
    assert resp("PEXPIRE", "k", str(MAX)) == "ERR invalid expire time in 'pexpire' command"
    assert resp("PEXPIREAT", "k", str(MAX)) == 1
    assert resp("TTL", "k") > 10**12


def test_expired_keys_are_gone_for_every_command(resp):
    for i in range(10):
        resp("SET", f"k{i}", "v", "PX", 30)
    resp("SET", "stays", "v")
    time.sleep(0.08)
    assert resp("GET", "k0") is None
    assert resp("EXISTS", "k1") == 0
    assert resp("TTL", "k2") == -2
    assert resp("TYPE", "k3") == "none"
    assert resp("DEL", "k4") == 0
    assert resp("RENAME", "k5", "x") == "ERR no such key"
    assert resp("SET", "k6", "v", "XX") is None
    assert resp("INCR", "k7") == 1
    assert resp("APPEND", "k8", "x") == 1
    assert resp("OBJECT", "ENCODING", "k9") is None
    assert sorted(resp("KEYS", "*")) == [b"k7", b"k8", b"stays"]


def test_expired_keys_are_gone_though_nothing_has_deleted_them(resp):
    assert resp("DEBUG", "SET-ACTIVE-EXPIRE", 0) == "OK"
    for i in range(8):
        resp("SET", f"k{i}", "v", "PX", 20)
    resp("SET", "lives", "v")
    time.sleep(0.05)
    assert resp("DEL", "k0") == 0
    assert resp("UNLINK", "k1") == 0
    assert resp("COPY", "k2", "x") == 0
    assert resp("MOVE", "k3", 1) == 0
    assert resp("RENAME", "lives", "k4") == "OK"
    assert resp("MSETNX", "k5", "1", "k6", "2") == 1
    assert resp("EXPIRE", "k7", 10) == 0
    assert resp("DEBUG", "SET-ACTIVE-EXPIRE", 1) == "OK"


def test_keys_expire_without_being_asked_for(resp):
    for i in range(200):
        resp("SET", f"k{i}", "v", "PX", 20)
    resp("SET", "stays", "v")
    deadline = time.monotonic() + 120
    while resp("DBSIZE") != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert resp("DBSIZE") == 1
    assert resp("RANDOMKEY") == b"stays"


def test_writes_keep_or_drop_the_expiry_as_they_should(resp):
    def ttl_after(*command):
        resp("SET", "k", "10", "EX", 100)
        resp(*command)
        return resp("TTL", "k")

    for keeps in (("INCR", "k"), ("APPEND", "k", "1"), ("SETRANGE", "k", 0, "x"),
                  ("INCRBYFLOAT", "k", "1"), ("GETEX", "k"), ("SET", "k", "1", "KEEPTTL")):
        assert ttl_after(*keeps) > 50, keeps
    for drops in (("SET", "k", "1"), ("GETSET", "k", "1"), ("MSET", "k", "1"),
                  ("GETEX", "k", "PERSIST")):
        assert ttl_after(*drops) == -1, drops
