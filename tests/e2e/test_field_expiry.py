"""Expiry of single fields of a hash, as the documentation of Redis 7.4 and 8.0 has it."""

import time

import pytest

from harness import Error

FAR = 4102444800


def fill(resp, count=3):
    resp("HSET", "h", *[part for i in range(1, count + 1) for part in (f"f{i}", f"v{i}")])


def demote(resp, *keys):
    assert not isinstance(resp("TIER", "DEMOTE", *keys), Error)


def test_times_are_set_and_told(resp):
    fill(resp)
    now = time.time()
    assert resp("HEXPIRE", "h", 100, "FIELDS", 2, "f1", "absent") == [1, -2]
    assert resp("HPEXPIRE", "h", 200_000, "FIELDS", 1, "f2") == [1]
    ttl = resp("HTTL", "h", "FIELDS", 4, "f1", "f2", "f3", "absent")
    assert 98 <= ttl[0] <= 100 and 198 <= ttl[1] <= 200 and ttl[2:] == [-1, -2]
    left = resp("HPTTL", "h", "FIELDS", 1, "f1")[0]
    assert 98_000 <= left <= 100_000
    at = resp("HEXPIRETIME", "h", "FIELDS", 3, "f1", "f3", "absent")
    assert abs(at[0] - now - 100) <= 2 and at[1:] == [-1, -2]
    assert resp("HEXPIREAT", "h", FAR, "FIELDS", 1, "f1") == [1]
    assert resp("HEXPIRETIME", "h", "FIELDS", 1, "f1") == [FAR]
    assert resp("HPEXPIREAT", "h", FAR * 1000 + 123, "FIELDS", 1, "f1") == [1]
    assert resp("HPEXPIRETIME", "h", "FIELDS", 1, "f1") == [FAR * 1000 + 123]
    assert resp("HPERSIST", "h", "FIELDS", 3, "f1", "f3", "absent") == [1, -1, -2]
    assert resp("HTTL", "h", "FIELDS", 1, "f1") == [-1]
    assert resp("OBJECT", "ENCODING", "h") == b"listpackex"


def test_absent_keys_and_other_types(resp):
    for command in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST"):
        assert resp(command, "absent", "FIELDS", 2, "a", "b") == [-2, -2]
    assert resp("HEXPIRE", "absent", 10, "FIELDS", 1, "a") == [-2]
    assert resp("HGETDEL", "absent", "FIELDS", 2, "a", "b") == [None, None]
    assert resp("HGETEX", "absent", "EX", 10, "FIELDS", 1, "a") == [None]
    assert resp("EXISTS", "absent") == 0
    resp("SET", "s", "x")
    for command in (("HTTL", "s", "FIELDS", 1, "a"), ("HEXPIRE", "s", 1, "FIELDS", 1, "a"),
                    ("HGETDEL", "s", "FIELDS", 1, "a"), ("HGETEX", "s", "FIELDS", 1, "a"),
                    ("HSETEX", "s", "FIELDS", 1, "a", "b"), ("HPERSIST", "s", "FIELDS", 1, "a")):
        assert resp(*command).startswith("WRONGTYPE")


def test_conditions(resp):
    fill(resp)
    assert resp("HEXPIRE", "h", 100, "XX", "FIELDS", 1, "f1") == [0]
    assert resp("HEXPIRE", "h", 100, "GT", "FIELDS", 1, "f1") == [0]
    assert resp("HEXPIRE", "h", 100, "LT", "FIELDS", 1, "f1") == [1]
    assert resp("HEXPIRE", "h", 200, "NX", "FIELDS", 2, "f1", "f2") == [0, 1]
    assert resp("HEXPIRE", "h", 50, "GT", "FIELDS", 1, "f1") == [0]
    assert resp("HEXPIRE", "h", 150, "GT", "FIELDS", 1, "f1") == [1]
    assert resp("HEXPIRE", "h", 250, "LT", "FIELDS", 1, "f1") == [0]
    assert resp("HEXPIRE", "h", 20, "XX", "FIELDS", 3, "f1", "f2", "f3") == [1, 1, 0]


def test_times_in_the_past_delete(resp):
    fill(resp)
    assert resp("HEXPIRE", "h", 0, "FIELDS", 2, "f1", "f1") == [2, -2]
    assert resp("HPEXPIREAT", "h", 1, "FIELDS", 1, "f2") == [2]
    assert resp("HKEYS", "h") == [b"f3"]
    assert resp("HEXPIREAT", "h", 1, "FIELDS", 1, "f3") == [2]
    assert resp("EXISTS", "h") == 0


@pytest.mark.parametrize("command, error", [
    (("HEXPIRE", "h", "x", "FIELDS", 1, "f"), "ERR value is not an integer or out of range"),
    (("HEXPIRE", "h", -1, "FIELDS", 1, "f"), "ERR invalid expire time, must be >= 0"),
    (("HEXPIRE", "h", 2**62, "FIELDS", 1, "f"), "ERR invalid expire time in 'hexpire' command"),
    (("HPEXPIRE", "h", 2**46, "FIELDS", 1, "f"), "ERR invalid expire time in 'hpexpire' command"),
    (("HEXPIRE", "h", 1, "FIELDS", 0, "f"),
     "ERR Parameter `numFields` should be greater than 0"),
    (("HEXPIRE", "h", 1, "FIELDS", 2, "f"),
     "ERR The `numfields` parameter must match the number of arguments"),
    (("HEXPIRE", "h", 1, "NX", "XX", "FIELDS", 1, "f"),
     "ERR Mandatory argument FIELDS is missing or not at the right position"),
    (("HTTL", "h", "FIELD", 1, "f"),
     "ERR Mandatory argument FIELDS is missing or not at the right position"),
    (("HTTL", "h", "FIELDS", "x", "f"), "ERR Number of fields must be a positive integer"),
    (("HPERSIST", "h", "FIELDS", 3, "f"),
     "ERR The `numfields` parameter must match the number of arguments"),
    (("HGETEX", "h", "EX", 1, "PX", 1, "FIELDS", 1, "f"),
     "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified"),
    (("HSETEX", "h", "EX", 1, "KEEPTTL", "FIELDS", 1, "f", "v"),
     "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
    (("HSETEX", "h", "FNX", "FXX", "FIELDS", 1, "f", "v"),
     "ERR Only one of FXX or FNX arguments can be specified"),
    (("HSETEX", "h", "NONSENSE", "FIELDS", 1, "f", "v"), "ERR unknown argument: NONSENSE"),
    (("HTTL", "h", "FIELDS"), "ERR wrong number of arguments for 'httl' command"),
])
def test_errors(resp, command, error):
    resp("HSET", "h", "f", "v")
    assert resp(*command) == error


def test_expired_fields_are_gone_for_every_command(resp):
    fill(resp, 4)
    assert resp("HPEXPIRE", "h", 30, "FIELDS", 2, "f1", "f2") == [1, 1]
    demote(resp, "h")
    time.sleep(0.05)
    assert resp("HGET", "h", "f1") is None
    assert resp("HEXISTS", "h", "f1") == 0
    assert resp("HSTRLEN", "h", "f2") == 0
    assert resp("HMGET", "h", "f1", "f3") == [None, b"v3"]
    assert resp("HLEN", "h") == 2
    assert sorted(resp("HKEYS", "h")) == [b"f3", b"f4"]
    assert sorted(resp("HSCAN", "h", 0)[1]) == [b"f3", b"f4", b"v3", b"v4"]
    assert sorted(resp("HSCAN", "h", 0, "NOVALUES")[1]) == [b"f3", b"f4"]
    assert resp("HTTL", "h", "FIELDS", 1, "f1") == [-2]
    assert resp("HSETNX", "h", "f1", "new") == 1
    assert resp("HTTL", "h", "FIELDS", 1, "f1") == [-1]
    assert resp("HINCRBY", "h", "f2", 5) == 5


def test_a_hash_goes_with_its_last_field(resp):
    fill(resp)
    assert resp("HPEXPIRE", "h", 20, "FIELDS", 3, "f1", "f2", "f3") == [1, 1, 1]
    time.sleep(0.05)
    assert resp("HGETALL", "h") == []
    assert resp("EXISTS", "h") == 0
    assert resp("HSET", "h", "f1", "v") == 1


def test_a_hash_without_fields_is_no_key(resp):
    for key in ("a", "b"):
        resp("HSET", key, "f", "v")
        resp("HPEXPIRE", key, 20, "FIELDS", 1, "f")
    resp("HSET", "c", "f", "v", "g", "v")
    resp("HPEXPIRE", "c", 20, "FIELDS", 1, "f")
    time.sleep(0.05)
    assert resp("EXISTS", "a") == 0
    assert resp("TYPE", "b") == "none"
    assert resp("SET", "a", "x", "NX") == "OK"
    assert resp("EXISTS", "c") == 1


def test_large_hashes(resp):
    count = 3000
    for i in range(0, count, 100):
        resp("HSET", "h", *[part for j in range(i, i + 100) for part in (f"f{j}", f"value {j}")])
    short = [f"f{i}" for i in range(0, count, 3)]
    long = [f"f{i}" for i in range(1, count, 3)]
    demote(resp, "h")
    assert resp("HPEXPIRE", "h", 100, "FIELDS", len(short), *short) == [1] * len(short)
    assert resp("HEXPIRE", "h", 1000, "FIELDS", len(long), *long) == [1] * len(long)
    demote(resp, "h")
    time.sleep(0.15)
    assert resp("HGET", "h", "f3") is None
    assert resp("HGET", "h", "f4") == b"value 4"
    assert resp("HSET", "h", "f6", "again") == 1
    demote(resp, "h")
    assert resp("HLEN", "h") == count - len(short) + 1
    assert resp("HTTL", "h", "FIELDS", 2, "f6", "f5") == [-1, -1]
    assert len(resp("HRANDFIELD", "h", count)) == count - len(short) + 1
    assert resp("HPERSIST", "h", "FIELDS", len(long), *long) == [1] * len(long)
    assert resp("HLEN", "h") == count - len(short) + 1


def test_overwriting_takes_the_expiry_off_and_counting_does_not(resp):
    fill(resp)
    resp("HSET", "h", "n", 1)
    assert resp("HEXPIRE", "h", 100, "FIELDS", 2, "f1", "n") == [1, 1]
    assert resp("HSET", "h", "f1", "new") == 0
    assert resp("HINCRBY", "h", "n", 2) == 3
    assert resp("HTTL", "h", "FIELDS", 2, "f1", "n")[0] == -1
    assert resp("HTTL", "h", "FIELDS", 1, "n")[0] > 90


def test_expiries_survive_demotion_copies_and_names(resp):
    fill(resp)
    resp("HPEXPIREAT", "h", FAR * 1000, "FIELDS", 1, "f1")
    demote(resp, "h")
    assert resp("COPY", "h", "copy") == 1
    assert resp("RENAME", "h", "other") == "OK"
    for key in ("copy", "other"):
        assert resp("HEXPIRETIME", key, "FIELDS", 2, "f1", "f2") == [FAR, -1]


def test_hgetdel(resp):
    fill(resp)
    assert resp("HGETDEL", "h", "FIELDS", 3, "f1", "absent", "f1") == [b"v1", None, None]
    assert resp("HLEN", "h") == 2
    assert resp("HGETDEL", "h", "FIELDS", 2, "f2", "f3") == [b"v2", b"v3"]
    assert resp("EXISTS", "h") == 0


def test_hgetex(resp):
    fill(resp)
    assert resp("HGETEX", "h", "FIELDS", 2, "f1", "absent") == [b"v1", None]
    assert resp("HTTL", "h", "FIELDS", 1, "f1") == [-1]
    assert resp("HGETEX", "h", "EXAT", FAR, "FIELDS", 2, "f1", "f2") == [b"v1", b"v2"]
    assert resp("HEXPIRETIME", "h", "FIELDS", 3, "f1", "f2", "f3") == [FAR, FAR, -1]
    assert resp("HGETEX", "h", "FIELDS", 1, "f1") == [b"v1"]
    assert resp("HEXPIRETIME", "h", "FIELDS", 1, "f1") == [FAR]
    assert resp("HGETEX", "h", "PERSIST", "FIELDS", 1, "f1") == [b"v1"]
    assert resp("HTTL", "h", "FIELDS", 1, "f1") == [-1]
    assert resp("HGETEX", "h", "PXAT", 1, "FIELDS", 1, "f1") == [b"v1"]
    assert resp("HEXISTS", "h", "f1") == 0


def test_hsetex(resp):
    assert resp("HSETEX", "h", "FXX", "FIELDS", 1, "f1", "a") == 0
    assert resp("EXISTS", "h") == 0
    assert resp("HSETEX", "h", "FNX", "EX", 100, "FIELDS", 2, "f1", "a", "f2", "b") == 1
    assert resp("HSETEX", "h", "FNX", "FIELDS", 2, "f2", "x", "f3", "x") == 0
    assert resp("HMGET", "h", "f1", "f2", "f3") == [b"a", b"b", None]
    assert 70 <= resp("HTTL", "h", "FIELDS", 1, "f2")[0] <= 100
    assert resp("HSETEX", "h", "KEEPTTL", "FIELDS", 1, "f1", "c") == 1
    assert resp("HTTL", "h", "FIELDS", 1, "f1")[0] > 90
    assert resp("HSETEX", "h", "FXX", "FIELDS", 1, "f1", "d") == 1
    assert resp("HTTL", "h", "FIELDS", 1, "f1") == [-1]
    assert resp("HSETEX", "h", "PXAT", 1, "FIELDS", 2, "f1", "gone", "f9", "gone") == 1
    assert resp("HGETALL", "h") == [b"f2", b"b"]
