"""Strings in pages: what is cold is read, changed and streamed by its pages."""

import random

import pytest

from harness import Error, RespClient, Server, run_beside, wait_for

MB = 1 << 20
SIZE = 24 * MB


@pytest.fixture
def small():
    server = Server("--maxmemory", "16mb")
    yield server
    server.remove()


def info(resp, name):
    text = resp("INFO", "everything")
    for line in text.split(b"\r\n"):
        if line.startswith(name.encode() + b":"):
            return int(line.split(b":")[1])
    raise KeyError(name)


def fill(resp, key, size=SIZE, seed=1):
    """More than fits in RAM, by pieces."""
    generator = random.Random(seed)
    value = b""
    for _ in range(0, size, MB):
        value += generator.randbytes(MB)
        assert resp("APPEND", key, value[-MB:]) == len(value)
    resp("TIER", "DEMOTE", key)  # some of it is cold already
    return value


def bits_of(value):
    return int.from_bytes(value, "big").bit_count()


def test_a_value_larger_than_memory_is_given_counted_and_changed(small):
    resp = small.resp(timeout=60)
    value = fill(resp, "key")
    assert resp("STRLEN", "key") == SIZE
    assert resp("GET", "key") == value
    assert resp("GETRANGE", "key", 3, -5) == value[3:-4]
    assert resp("BITCOUNT", "key") == bits_of(value)
    assert resp("BITCOUNT", "key", 5 * MB, -MB) == bits_of(value[5 * MB:SIZE - MB + 1])
    assert resp("BITPOS", "key", 1, SIZE - 10) // 8 >= SIZE - 10
    assert info(resp, "used_memory") < 20 * MB
    assert resp("SETRANGE", "key", 7 * MB - 3, b"changed") == SIZE
    value = value[:7 * MB - 3] + b"changed" + value[7 * MB + 4:]
    assert resp("GET", "key") == value
    small.restart("kill")
    resp = small.resp(timeout=60)
    assert resp("GET", "key") == value
    # What needs it as a whole is refused.
    for command in (["DUMP", "key"], ["MGET", "key"]):
        assert isinstance(resp(*command), Error), command
    assert resp("UNLINK", "key") == 1


def test_bitmaps_larger_than_memory_are_combined(small):
    resp = small.resp(timeout=60)
    a, b = fill(resp, "a"), fill(resp, "b", SIZE - 5 * MB, seed=2)
    resp("SET", "short", b"some bytes")
    assert resp("EXPIRE", "a", 1000) == 1
    first, second = (int.from_bytes(value.ljust(SIZE, b"\0"), "big") for value in (a, b))
    short = int.from_bytes(b"some bytes".ljust(SIZE, b"\0"), "big")
    assert resp("BITOP", "XOR", "to", "a", "b", "short", "absent") == SIZE
    assert resp("GET", "to") == (first ^ second ^ short).to_bytes(SIZE, "big")
    assert resp("BITOP", "AND", "to", "a", "b") == SIZE
    assert resp("GET", "to") == (first & second).to_bytes(SIZE, "big")
    # Onto a source; the expiry goes.
    assert resp("BITOP", "NOT", "a", "a") == SIZE
    assert resp("GET", "a") == bytes(byte ^ 0xff for byte in a)
    assert resp("TTL", "a") == -1
    resp("MULTI")
    resp("BITOP", "OR", "to", "a", "b")
    assert isinstance(resp("EXEC")[0], Error)  # all of it at once
    assert info(resp, "used_memory") < 20 * MB
    small.restart("kill")
    resp = small.resp(timeout=60)
    assert resp("BITCOUNT", "to") == (first & second).bit_count()


def test_zeros_are_combined_too(small):
    resp = small.resp(timeout=60)
    assert resp("SETBIT", "sparse", 100_000_000, 1) == 0
    size = resp("STRLEN", "sparse")
    assert resp("BITOP", "NOT", "ones", "sparse") == size
    assert resp("BITCOUNT", "ones") == size * 8 - 1
    assert resp("BITOP", "AND", "one", "sparse", "sparse") == size
    assert resp("BITPOS", "one", 1) == 100_000_000
    assert resp("BITOP", "XOR", "zeros", "sparse", "one") == size
    assert resp("BITCOUNT", "zeros") == 0
    assert resp("MEMORY", "USAGE", "zeros") < 64 << 10
    assert resp("SETBIT", "zeros", 50_000_000, 1) == 0
    assert resp("BITPOS", "zeros", 1) == 50_000_000


def test_a_bit_of_a_cold_bitmap_takes_two_reads_and_little_log(small):
    resp = small.resp(timeout=60)
    fill(resp, "key")
    generator = random.Random(2)
    reads, written = info(resp, "fetches"), info(resp, "log_appended_bytes")
    for _ in range(50):
        offset = generator.randrange(SIZE * 8)
        bit = 1 - resp("GETBIT", "key", offset)
        assert resp("SETBIT", "key", offset, bit) == 1 - bit
        assert resp("GETBIT", "key", offset) == bit
    # The pages of one command may be demoted before the next comes.
    assert info(resp, "fetches") - reads <= 2 * 3 * 50
    assert info(resp, "log_appended_bytes") - written <= 50 * (64 << 10)


def test_each_of_a_run_of_bits_is_counted(small):
    resp = small.resp(timeout=60)
    value = bytearray(fill(resp, "key", MB))
    resp("SET", "short", b"\x80")

    def counts():
        calls = resp("INFO", "commandstats")
        return [int(calls.split(b"cmdstat_%s:calls=" % name)[1].split(b",")[0])
                if b"cmdstat_%s:" % name in calls else 0 for name in (b"getbit", b"setbit")] + [
                    info(resp, "keyspace_hits"), info(resp, "rdb_changes_since_last_save")]
    places = [8 * 100_000 * (i % 7) + i % 3 for i in range(32)]
    for key in ("key", "short", "absent"):
        bytes_ = resp("GET", key) or b""
        before = counts()
        expected = [int(at // 8 < len(bytes_) and bytes_[at // 8] >> (7 - at % 8) & 1)
                    for at in places]
        assert resp.pipeline([["GETBIT", key, at] for at in places]) == expected
        hits = 0 if key == "absent" else 32
        assert [b - a for a, b in zip(before, counts())] == [32, 0, hits, 0], key
    # Each finds what those before it have left.
    before = counts()
    changes = 0
    expected = []
    for i, at in enumerate(places):
        old = value[at // 8] >> (7 - at % 8) & 1
        expected.append(old)
        changes += old != i // 3 % 2
        value[at // 8] ^= (old ^ i // 3 % 2) << (7 - at % 8)
    bits = [["SETBIT", "key", at, i // 3 % 2] for i, at in enumerate(places)]
    assert resp.pipeline(bits) == expected
    assert [b - a for a, b in zip(before, counts())] == [0, 32, 0, changes]
    assert resp("GET", "key") == value
    small.restart("kill")
    assert small.resp()("GET", "key") == value


def test_a_run_of_bits_goes_on_behind_one_that_fails(small):
    resp = small.resp(timeout=60)
    value = fill(resp, "key", MB)
    run = [["SETBIT", "key", 8, 1], ["SETBIT", "key", "x", 1], ["SETBIT", "key", 9, 2],
           ["SETBIT", "key", 8 * MB + 15, 0], ["SETBIT", "key", 8, 0], ["SETBIT", "key", 8, 1]]
    replies = resp.pipeline(run)
    assert isinstance(replies[1], Error) and isinstance(replies[2], Error)
    assert replies[0] == value[1] >> 7 and replies[3:] == [0, 1, 0]
    assert resp("STRLEN", "key") == MB + 2
    assert resp.pipeline([["GETBIT", "key", at] for at in (8, -1, 8 * MB + 15, 1 << 31)])[::2] == [
        1, 0]


def test_a_sparse_bitmap_takes_what_is_set_in_it(small):
    resp = small.resp()
    assert resp("SETBIT", "key", 4_294_967_295, 1) == 0
    assert resp("STRLEN", "key") == 512 * MB
    assert resp("MEMORY", "USAGE", "key") < 64 << 10
    assert resp("SETBIT", "key", 80_000_000, 1) == 0
    assert resp("BITCOUNT", "key") == 2
    assert resp("BITPOS", "key", 1) == 80_000_000
    assert resp("BITPOS", "key", 1, 80_000_008, -1, "BIT") == 4_294_967_295
    assert resp("GETRANGE", "key", -3, -1) == b"\0\0\x01"


def test_a_reply_gives_the_value_as_it_was(small):
    resp = small.resp(timeout=60)
    value = fill(resp, "key", 8 * MB)
    with RespClient(small.port, timeout=60) as slow:
        slow.send("GET", "key")
        assert wait_for(lambda: resp("PING") == "PONG")
        for at in (100, 4 * MB, 8 * MB - 10):
            resp("SETRANGE", "key", at, b"changed")
        resp("DEL", "key")
        assert slow.read() == value
    assert resp("EXISTS", "key") == 0


def test_transactions_and_scripts_see_long_strings(small):
    resp = small.resp(timeout=60)
    value = fill(resp, "key", 2 * MB)
    resp("MULTI")
    resp("GET", "key")
    resp("SETRANGE", "key", 10, b"x")
    resp("BITCOUNT", "key")
    found = resp("EXEC")
    changed = value[:10] + b"x" + value[11:]
    assert found == [value, len(value), bits_of(changed)]
    resp("TIER", "DEMOTE", "key")
    assert resp("EVAL", "return redis.call('GETRANGE', KEYS[1], -4, -1)", 1, "key") == value[-4:]
    assert resp("EVAL", "return #redis.call('GET', KEYS[1])", 1, "key") == len(value)


def test_dumps_have_them(small):
    resp = small.resp(timeout=60)
    value = fill(resp, "key", 2 * MB)
    resp("APPEND", "key", b"more")
    resp("SET", "far", b"x")
    resp("SETBIT", "far", 8 * 300_000, 1)
    resp("TIER", "DEMOTE", "key")
    assert resp("DEBUG", "RELOAD") == "OK"
    assert resp("GET", "key") == value + b"more"
    assert resp("GET", "far") == b"x" + b"\0" * 299_999 + b"\x80"
    assert resp("OBJECT", "ENCODING", "key") == b"raw"
    assert resp("TYPE", "key") == "string"
    assert resp("SCAN", 0, "TYPE", "string", "COUNT", 100)[1] != []


@pytest.mark.parametrize("size", [3 * MB, 12 * MB])
def test_dumps_of_long_strings_are_restored(start, size):
    server = start("--appendfsync", "no")
    with server.resp(timeout=60) as resp, server.resp() as other:
        value = fill(resp, "key", size)
        resp("TIER", "DEMOTE", "key")
        payload = run_beside(resp, other, "DUMP", "key")
        assert payload == resp.pipeline([("MULTI",), ("DUMP", "key"), ("EXEC",)])[2][0]
        assert resp("RESTORE", "again", 0, payload) == "OK"
        assert resp("GET", "again") == value
        # Of the moment of the command; what goes meanwhile is given to its end, or is none.
        resp.send("DUMP", "key")
        other("SETRANGE", "key", size - 4, "last")
        assert resp.read() in (payload, resp("DUMP", "key"))
        for command in [("DEL", "key"), ("FLUSHALL",), ("LPUSH", "list", "x")]:
            resp("DEL", "key")
            fill(resp, "key", size)
            resp.send("DUMP", "key")
            other(*command)
            assert resp.read() in (None, payload)
