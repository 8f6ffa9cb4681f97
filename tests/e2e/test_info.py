"""INFO, MEMORY, DEBUG, SLOWLOG, TIME and the smaller commands on the server."""

import re
import time

import pytest

from harness import Error, wait_for

SECTIONS = ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules",
            "Errorstats", "Cluster", "Tiering", "Keyspace"]


def sections(text):
    return re.findall(r"^# (\w+)\r$", text.decode(), flags=re.M)


def fields(text):
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


def test_sections(resp):
    for arguments in ((), ("default",)):
        assert sorted(sections(resp("INFO", *arguments))) == sorted(SECTIONS)
    for arguments in (("all",), ("everything",)):
        assert sorted(sections(resp("INFO", *arguments))) == sorted(
            SECTIONS + ["Commandstats", "Latencystats"])
    assert sections(resp("INFO", "cpu")) == ["CPU"]
    assert sections(resp("INFO", "cPu", "Keyspace")) == ["CPU", "Keyspace"]
    assert resp("INFO", "nonsense") == b""
    assert len(sections(resp("INFO", "cpu", "default"))) == len(SECTIONS)


def test_identity(resp):
    info = fields(resp("INFO", "server"))
    assert info["redis_version"] == "7.2.4"
    assert info["server_name"] == "firn"
    assert info["redis_mode"] == "standalone"
    assert re.fullmatch(r"[0-9a-f]{40}", info["run_id"])
    assert "firn_version" in info


def test_it_is_text_in_resp3(server):
    with server.resp() as client:
        client("HELLO", 3)
        kind, form, text = client("INFO", "server")
        assert (kind, form) == ("verbatim", b"txt") and b"redis_version" in text


def test_keyspace_and_counters(resp):
    resp("CONFIG", "RESETSTAT")
    resp("MSET", "a", "1", "b", "2")
    resp("EXPIRE", "a", "100")
    resp("GET", "a")
    resp("GET", "none")
    resp("SELECT", "3")
    resp("SET", "c", "3")
    keyspace = fields(resp("INFO", "keyspace"))
    assert re.fullmatch(r"keys=2,expires=1,avg_ttl=\d+", keyspace["db0"])
    assert re.fullmatch(r"keys=1,expires=0,avg_ttl=0", keyspace["db3"])
    stats = fields(resp("INFO", "stats"))
    assert stats["keyspace_hits"] == "1" and stats["keyspace_misses"] == "1"
    assert int(stats["total_commands_processed"]) >= 6


def test_a_look_up_counts_once_though_its_command_runs_again_for_a_page(resp):
    for first in range(0, 20_000, 1000):
        resp("HSET", "h", *[x for i in range(first, first + 1000) for x in (f"field:{i}", i)])
    ways = [lambda: resp("HGET", "h", "field:7"),
            lambda: resp.pipeline([("MULTI",), ("HGET", "h", "field:7"), ("EXEC",)])[2][0],
            lambda: resp("EVAL", "return redis.call('HGET', KEYS[1], 'field:7')", 1, "h")]
    for way in ways:
        resp("TIER", "DEMOTE", "h")
        resp("CONFIG", "RESETSTAT")
        assert way() == b"7"
        assert fields(resp("INFO", "stats"))["keyspace_hits"] == "1"


def test_commandstats_and_errorstats(resp):
    resp("CONFIG", "RESETSTAT")
    resp("SET", "k", "x")
    resp("INCR", "k")
    resp("GET")
    resp("NOSUCHCOMMAND")
    stats = fields(resp("INFO", "commandstats"))
    assert re.match(r"calls=1,usec=\d+,usec_per_call=[\d.]+,rejected_calls=0,failed_calls=1",
                    stats["cmdstat_incr"])
    assert "rejected_calls=1" in stats["cmdstat_get"]
    assert "cmdstat_config|resetstat" in stats
    errors = fields(resp("INFO", "errorstats"))
    assert errors["errorstat_ERR"] == "count=3"
    latency = fields(resp("INFO", "latencystats"))
    assert re.match(r"p50=[\d.]+,p99=[\d.]+,p99.9=[\d.]+", latency["latency_percentiles_usec_set"])


def test_memory(resp):
    before = int(fields(resp("INFO", "memory"))["used_memory"])
    resp("SET", "k", b"x" * 10_000_000)
    info = fields(resp("INFO", "memory"))
    assert int(info["used_memory"]) > before + 5_000_000
    assert int(info["used_memory_peak"]) >= int(info["used_memory"])
    assert int(info["used_memory_rss"]) > 10_000_000
    assert re.fullmatch(r"[\d.]+[BKMG]", info["used_memory_human"])
    assert resp("MEMORY", "USAGE", "k") >= 10_000_000
    assert resp("MEMORY", "USAGE", "none") is None
    assert resp("MEMORY", "USAGE", "k", "SAMPLES", "x").startswith("ERR value is not an integer")
    assert resp("MEMORY", "USAGE", "k", "FOO") == "ERR syntax error"
    stats = resp("MEMORY", "STATS")
    names = stats[::2]
    for name in (b"peak.allocated", b"total.allocated", b"keys.count", b"dataset.bytes"):
        assert name in names
    assert resp("MEMORY", "PURGE") == "OK"
    assert resp("MEMORY", "DOCTOR")
    assert resp("MEMORY", "MALLOC-STATS")
    assert resp("MEMORY", "HELP")[0].startswith("MEMORY <subcommand>")


def test_small_commands(resp):
    seconds, microseconds = resp("TIME")
    assert abs(int(seconds) - time.time()) < 60 and 0 <= int(microseconds) < 10**6
    assert resp("ROLE") == [b"master", 0, []]
    assert isinstance(resp("LASTSAVE"), int)
    assert b"Redis ver. 7.2.4" in resp("LOLWUT")
    assert b"Redis ver. 7.2.4" in resp("LOLWUT", "VERSION", "5", "1", "2")
    assert resp("REPLICAOF", "NO", "ONE") == "OK"
    assert isinstance(resp("SLAVEOF", "127.0.0.1", "6379"), Error)
    assert resp("MODULE", "LIST") == []
    assert isinstance(resp("MODULE", "LOAD", "/x.so"), Error)
    assert resp("CLUSTER", "INFO") == "ERR This instance has cluster support disabled"
    assert resp("FUNCTION", "FLUSH") == "OK"
    assert resp("BGSAVE") in ("Background saving started",
                              Error("ERR Background save already in progress"))
    assert resp("SHUTDOWN", "FOO") == "ERR syntax error"
    assert resp("SHUTDOWN", "SAVE", "NOSAVE") == "ERR syntax error"
    assert resp("SHUTDOWN", "ABORT") == "ERR No shutdown in progress."


def test_debug(resp):
    resp("SET", "k", "hello")
    assert re.match(r"Value at:\S+ refcount:1 encoding:embstr serializedlength:\d+ lru:\d+ "
                    r"lru_seconds_idle:\d+", resp("DEBUG", "OBJECT", "k"))
    assert resp("DEBUG", "OBJECT", "none") == "ERR no such key"
    assert resp("DEBUG", "STRINGMATCH-LEN", "a*", "abc") == 1
    started = time.monotonic()
    assert resp("DEBUG", "SLEEP", "0.1") == "OK"
    assert time.monotonic() - started >= 0.1
    assert resp("DEBUG", "ERROR", "MYCODE text") == "MYCODE text"
    for accepted in (("PAUSE-CRON", 0), ("SET-DISABLE-DENY-SCRIPTS", 0), ("LOG", "hello"),
                     ("QUICKLIST-PACKED-THRESHOLD", "10b"), ("REPLYBUFFER", "RESIZING", 1)):
        assert resp("DEBUG", *accepted) == "OK"
    assert isinstance(resp("DEBUG", "NONSENSE"), Error)


def test_debug_object_shows_what_has_expired_as_long_as_it_is_there(resp):
    resp("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    resp("SET", "k", "v", "PX", 1)
    time.sleep(0.01)
    assert resp("DEBUG", "OBJECT", "k").startswith("Value at:")
    assert resp("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, "k") == 0
    assert resp("EXISTS", "k") == 0
    assert resp("DEBUG", "OBJECT", "k") == "ERR no such key"
    resp("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_values_that_are_deleted_later_are_counted(resp):
    def field(name):
        return int(fields(resp("INFO", "memory"))[name])

    assert wait_for(lambda: field("lazyfree_pending_objects") == 0)
    resp("CONFIG", "RESETSTAT")
    resp("SADD", "small", *range(10))
    resp("SADD", "large", *range(20_000))
    assert resp("UNLINK", "small", "large") == 2
    assert wait_for(lambda: field("lazyfree_pending_objects") == 0)
    assert field("lazyfreed_objects") == 1
    resp("CONFIG", "RESETSTAT")
    assert field("lazyfreed_objects") == 0


def test_populate_and_digest(resp):
    assert resp("DEBUG", "DIGEST") == "0" * 40
    assert resp("DEBUG", "POPULATE", 5000) == "OK"
    assert resp("DBSIZE") == 5000
    assert resp("GET", "key:4999") == b"value:4999"
    digest = resp("DEBUG", "DIGEST")
    assert resp("DEBUG", "POPULATE", 10, "p", 100) == "OK"
    assert resp("STRLEN", "p:3") == 100
    assert resp("DEBUG", "DIGEST") != digest
    resp("DEL", *[f"p:{i}" for i in range(10)])
    assert resp("DEBUG", "DIGEST") == digest
    # As redis-server computes it.
    resp("FLUSHALL")
    resp("SET", "a", "1")
    assert resp("DEBUG", "DIGEST-VALUE", "a", "none")[1] == "0" * 40


@pytest.mark.parametrize("how", ["RELOAD", "LOADAOF"])
def test_reload_keeps_everything(resp, how):
    resp("MSET", "a", "1", "b", "x" * 100_000)
    resp("EXPIRE", "a", 1000)
    resp("SELECT", 1)
    resp("SET", "c", "3")
    resp("SELECT", 0)
    digest = resp("DEBUG", "DIGEST")
    assert resp("DEBUG", how) == "OK"
    assert resp("DEBUG", "DIGEST") == digest
    assert resp("MGET", "a", "b") == [b"1", b"x" * 100_000]
    assert 900 <= resp("TTL", "a") <= 1000
    assert resp("SET", "d", "4") == "OK"


def test_slowlog(resp):
    resp("CONFIG", "SET", "slowlog-log-slower-than", "-1", "slowlog-max-len", "128")
    assert resp("SLOWLOG", "RESET") == "OK"
    assert resp("SLOWLOG", "LEN") == 0
    resp("CLIENT", "SETNAME", "me")
    resp("CONFIG", "SET", "slowlog-log-slower-than", "300000")
    resp("DEBUG", "SLEEP", "0.35")
    assert resp("SLOWLOG", "LEN") == 1
    number, at, took, arguments, address, name = resp("SLOWLOG", "GET")[0]
    assert took >= 350_000 and abs(at - time.time()) < 60
    assert arguments == [b"DEBUG", b"SLEEP", b"0.35"]
    assert address.startswith(b"127.0.0.1:") and name == b"me"
    assert resp("SLOWLOG", "GET", -2).startswith("ERR count should be greater than or equal to -1")
    resp("CONFIG", "SET", "slowlog-log-slower-than", "0")
    resp("SET", "k", b"x" * 1000)
    assert any(entry[3][0] == b"SET" and b"bytes)" in entry[3][2] for entry in
               resp("SLOWLOG", "GET", -1))
    resp("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    assert resp("SLOWLOG", "HELP")[0].startswith("SLOWLOG <subcommand>")


def test_the_loop_rests_between_writes_that_are_few(resp):
    """Their sync, and then the index, are waited for, not polled."""
    def cycles():
        return int(resp("INFO", "stats").decode().split("eventloop_cycles:")[1].split("\r\n")[0])

    before, began = cycles(), time.monotonic()
    for i in range(25):
        resp("SET", f"k{i}", "v")
        time.sleep(0.1)
    assert cycles() - before < 100 * (time.monotonic() - began)


def test_the_loop_tells_how_busy_it_is(resp):
    def fields(*sections):
        lines = resp("INFO", *sections).decode().split("\r\n")
        return {k: v for k, v in (line.split(":", 1) for line in lines if ":" in line)}

    resp("CONFIG", "RESETSTAT")
    began = time.monotonic()
    before = fields("stats")
    resp("EVAL", "for i = 1, 300000 do redis.sha1hex('x') end", "0")
    after = fields("stats")
    # A processor that is taken away while its cycles are calibrated makes them some percent longer.
    elapsed = (time.monotonic() - began) * 1e6 * 1.05
    assert int(after["eventloop_cycles"]) > int(before["eventloop_cycles"])
    grown = int(after["eventloop_duration_sum"]) - int(before["eventloop_duration_sum"])
    assert 5000 <= grown <= elapsed
    grown = int(after["eventloop_duration_cmd_sum"]) - int(before["eventloop_duration_cmd_sum"])
    assert 5000 <= grown <= elapsed
    assert int(after["total_reads_processed"]) > int(before["total_reads_processed"])
    assert "eventloop_duration_max" not in fields() and "eventloop_duration_max" not in fields("all")
    debug = fields("debug")
    assert int(debug["eventloop_duration_max"]) >= 5000
    assert int(debug["eventloop_cmd_per_cycle_max"]) >= 1
    assert int(debug["eventloop_duration_cron_sum"]) >= 0
