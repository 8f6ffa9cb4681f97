"""String commands: options, errors and edges, as Redis 7 answers them."""

import pytest

from harness import Error

INT_ERROR = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"
MAX = 2**63 - 1
MIN = -(2**63)


def test_set_and_get_any_bytes(resp):
    value = bytes(range(256)) * 100
    for key in (b"", b"k", b"\x00\r\n\xff", b"long" * 5000):
        assert resp("SET", key, value) == "OK"
        assert resp("GET", key) == value
        assert resp("STRLEN", key) == len(value)


@pytest.mark.parametrize("size", [0, 1, 44, 45, 16383, 16384, 16385, 100_000, 5_000_000])
def test_values_of_every_size_come_back(resp, size):
    value = b"x" * size
    assert resp("SET", "k", value) == "OK"
    assert resp("GET", "k") == value
    assert resp("APPEND", "k", "tail") == size + 4
    assert resp("GETRANGE", "k", -4, -1) == b"tail"
    assert resp("SETRANGE", "k", size, "TAIL") == size + 4
    assert resp("GET", "k") == value + b"TAIL"


def test_set_nx_and_xx(resp):
    assert resp("SET", "k", "1", "XX") is None
    assert resp("SET", "k", "1", "NX") == "OK"
    assert resp("SET", "k", "2", "NX") is None
    assert resp("SET", "k", "3", "xX") == "OK"
    assert resp("GET", "k") == b"3"
    assert resp("SET", "k", "4", "NX", "XX") == SYNTAX


def test_set_get_returns_the_old_value(resp):
    assert resp("SET", "k", "1", "GET") is None
    assert resp("SET", "k", "2", "GET") == b"1"
    assert resp("SET", "k", "3", "NX", "GET") == b"2"
    assert resp("GET", "k") == b"2"
    assert resp("SET", "new", "3", "XX", "GET") is None
    assert resp("EXISTS", "new") == 0


def test_set_expiry_options(resp):
    assert resp("SET", "k", "v", "EX", 100) == "OK"
    assert 98 <= resp("TTL", "k") <= 100
    assert resp("SET", "k", "v", "KEEPTTL") == "OK"
    assert 98 <= resp("TTL", "k") <= 100
    assert resp("SET", "k", "v") == "OK"
    assert resp("TTL", "k") == -1
    assert resp("SET", "k", "v", "PXAT", 4102444800000) == "OK"
    assert resp("PEXPIRETIME", "k") == 4102444800000
    assert resp("SET", "k", "v", "EXAT", 1) == "OK"
    assert resp("GET", "k") is None


@pytest.mark.parametrize("options", [
    ("EX",), ("EX", "1", "PX", "1"), ("KEEPTTL", "EX", "1"), ("EX", "1", "KEEPTTL"),
    ("PERSIST",), ("NX", "EX"), ("FOO",), ("EXAT", "1", "PXAT", "1"), ("",)])
def test_set_refuses_bad_grammar(resp, options):
    assert resp("SET", "k", "v", *options) == SYNTAX
    assert resp("EXISTS", "k") == 0


@pytest.mark.parametrize("command", [
    ("SET", "k", "v", "EX", "0"), ("SET", "k", "v", "PX", "-1"),
    ("SET", "k", "v", "EX", str(MAX)), ("SET", "k", "v", "PX", str(MAX)),
    ("SETEX", "k", "0", "v"), ("SETEX", "k", str(MAX), "v"), ("PSETEX", "k", "-9", "v")])
def test_invalid_expire_times(resp, command):
    assert resp(*command) == f"ERR invalid expire time in '{command[0].lower()}' command"


def test_expire_times_that_are_no_integers(resp):
    assert resp("SET", "k", "v", "EX", "1.5") == INT_ERROR
    assert resp("SETEX", "k", "x", "v") == INT_ERROR
    assert resp("SET", "k", "v", "PX", str(2**63)) == INT_ERROR


def test_getex(resp):
    assert resp("GETEX", "k") is None
    resp("SET", "k", "v")
    assert resp("GETEX", "k", "EX", 100) == b"v"
    assert 98 <= resp("TTL", "k") <= 100
    assert resp("GETEX", "k") == b"v"
    assert 98 <= resp("TTL", "k") <= 100
    assert resp("GETEX", "k", "PERSIST") == b"v"
    assert resp("TTL", "k") == -1
    assert resp("GETEX", "k", "EX", 1, "PERSIST") == SYNTAX
    assert resp("GETEX", "k", "KEEPTTL") == SYNTAX
    assert resp("GETEX", "k", "EX", "0") == "ERR invalid expire time in 'getex' command"
    assert resp("GETEX", "k", "PXAT", 1) == b"v"
    assert resp("EXISTS", "k") == 0


def test_getdel_getset(resp):
    assert resp("GETDEL", "k") is None
    assert resp("GETSET", "k", "1") is None
    assert resp("EXPIRE", "k", 100) == 1
    assert resp("GETSET", "k", "2") == b"1"
    assert resp("TTL", "k") == -1
    assert resp("GETDEL", "k") == b"2"
    assert resp("EXISTS", "k") == 0


def test_counters(resp):
    assert resp("INCR", "n") == 1
    assert resp("DECRBY", "n", 10) == -9
    assert resp("INCRBY", "n", str(MAX)) == MAX - 9
    assert resp("INCRBY", "n", 9) == MAX
    assert resp("INCR", "n") == "ERR increment or decrement would overflow"
    resp("SET", "n", str(MIN))
    assert resp("DECR", "n") == "ERR increment or decrement would overflow"
    assert resp("DECRBY", "n", str(MIN)) == "ERR decrement would overflow"
    resp("EXPIRE", "n", 100)
    assert resp("INCR", "n") == MIN + 1
    assert resp("TTL", "n") > 90


@pytest.mark.parametrize("value", [" 1", "1 ", "01", "+1", "-0", "1.0", "", "0x1", str(2**63), "abc",
                                   "1\x00"])
def test_counters_refuse_what_is_no_integer(resp, value):
    resp("SET", "n", value)
    assert resp("INCR", "n") == INT_ERROR
    assert resp("INCRBY", "x", value) == INT_ERROR
    assert resp("GET", "n") == value.encode()


def test_incrbyfloat(resp):
    assert resp("INCRBYFLOAT", "f", "10.5") == b"10.5"
    assert resp("INCRBYFLOAT", "f", "0.1") == b"10.6"
    assert resp("INCRBYFLOAT", "f", "-10.6") == b"0"
    assert resp("INCRBYFLOAT", "f", "5.0e3") == b"5000"
    assert resp("INCRBYFLOAT", "f", "3.0") == b"5003"
    assert resp("OBJECT", "ENCODING", "f") == b"embstr"
    assert resp("INCRBYFLOAT", "f", "x") == "ERR value is not a valid float"
    assert resp("INCRBYFLOAT", "f", " 1") == "ERR value is not a valid float"
    assert resp("INCRBYFLOAT", "f", "nan") == "ERR value is not a valid float"
    assert resp("INCRBYFLOAT", "f", "inf") == "ERR increment would produce NaN or Infinity"
    assert resp("GET", "f") == b"5003"


def test_append_and_encoding(resp):
    assert resp("APPEND", "k", "12") == 2
    assert resp("OBJECT", "ENCODING", "k") == b"int"
    assert resp("APPEND", "k", "34") == 4
    assert resp("OBJECT", "ENCODING", "k") == b"raw"
    assert resp("INCR", "k") == 1235
    assert resp("OBJECT", "ENCODING", "k") == b"int"
    resp("SET", "s", "x" * 44)
    assert resp("OBJECT", "ENCODING", "s") == b"embstr"
    resp("SET", "s", "x" * 45)
    assert resp("OBJECT", "ENCODING", "s") == b"raw"


def test_setrange(resp):
    assert resp("SETRANGE", "k", 5, "") == 0
    assert resp("EXISTS", "k") == 0
    assert resp("SETRANGE", "k", 2, "ab") == 4
    assert resp("GET", "k") == b"\0\0ab"
    assert resp("SETRANGE", "k", 1, "") == 4
    assert resp("SETRANGE", "k", -1, "x") == "ERR offset is out of range"
    limit = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert resp("SETRANGE", "k", 512 * 1024 * 1024, "x") == limit
    assert resp("SETRANGE", "k", MAX, "x") == limit
    assert resp("SETRANGE", "k", "x", "x") == INT_ERROR


def test_getrange(resp):
    resp("SET", "k", "Hello World")
    text = b"Hello World"
    for first in range(-13, 13):
        for last in range(-13, 13):
            begin = max(first + len(text), 0) if first < 0 else first
            end = max(last + len(text), 0) if last < 0 else last
            expected = text[begin:end + 1]
            if first < 0 and last < 0 and first > last:
                expected = b""
            assert resp("GETRANGE", "k", first, last) == expected, (first, last)
            assert resp("SUBSTR", "k", first, last) == expected
    assert resp("GETRANGE", "absent", 0, -1) == b""
    assert resp("GETRANGE", "k", str(MIN), str(MAX)) == text
    resp("SET", "n", "12345")
    assert resp("GETRANGE", "n", 1, 2) == b"23"


def test_several_keys(resp):
    assert resp("MSET", "a", "1", "b", "2", "a", "3") == "OK"
    assert resp("MGET", "a", "b", "c", "a") == [b"3", b"2", None, b"3"]
    assert resp("MSETNX", "c", "1", "b", "9") == 0
    assert resp("MGET", "b", "c") == [b"2", None]
    assert resp("MSETNX", "c", "1", "c", "2") == 1
    assert resp("GET", "c") == b"2"
    assert resp("MSET", "a", "1", "b") == "ERR wrong number of arguments for 'mset' command"
    assert resp("MSETNX", "a", "1", "b") == "ERR wrong number of arguments for 'msetnx' command"


def test_lcs(resp):
    resp("MSET", "a", "ohmytext", "b", "mynewtext")
    assert resp("LCS", "a", "b") == b"mytext"
    assert resp("LCS", "a", "b", "LEN") == 6
    matches = [[[4, 7], [5, 8]], [[2, 3], [0, 1]]]
    assert resp("LCS", "a", "b", "IDX") == [b"matches", matches, b"len", 6]
    assert resp("LCS", "a", "b", "IDX", "MINMATCHLEN", 4, "WITHMATCHLEN") == [
        b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]
    assert resp("LCS", "a", "none") == b""
    assert resp("LCS", "a", "b", "IDX", "LEN") == (
        "ERR If you want both the length and indexes, please just use IDX.")
    assert resp("LCS", "a", "b", "MINMATCHLEN") == SYNTAX
    assert resp("LCS", "a", "b", "MINMATCHLEN", "x") == INT_ERROR
    assert resp("LCS", "a", "b", "FOO") == SYNTAX
    resp("MSET", "a", "x" * 20000, "b", "y" * 20000)
    assert isinstance(resp("LCS", "a", "b"), Error)


def test_arity(resp):
    for name, args in (("GET", ()), ("GET", ("a", "b")), ("SET", ("a",)), ("SETNX", ("a",)),
                       ("APPEND", ("a",)), ("MGET", ()), ("INCR", ("a", "b"))):
        assert resp(name, *args) == (
            f"ERR wrong number of arguments for '{name.lower()}' command")


def test_long_pipelines_keep_their_order(resp):
    commands = [("SET", f"k{i % 100}", f"{i}") for i in range(5000)]
    assert resp.pipeline(commands) == ["OK"] * 5000
    commands = [("GETSET", "k", str(i)) for i in range(5000)]
    assert resp.pipeline(commands) == [None] + [str(i).encode() for i in range(4999)]


def test_redis_py(client):
    assert client.set("a", 1, ex=100)
    assert client.incr("a") == 2
    assert client.mget(["a", "b"]) == [b"2", None]
    with client.pipeline(transaction=False) as pipe:
        pipe.set("x", "1").append("x", "2").get("x")
        assert pipe.execute() == [True, 2, b"12"]
