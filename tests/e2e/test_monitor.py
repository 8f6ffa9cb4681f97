"""MONITOR, SLOWLOG, LATENCY, and the limit of all clients' memory."""

import contextlib
import os
import re
import time

import pytest

from harness import Error, Simple, wait_for

OK = Simple("OK")


@pytest.fixture
def monitor(server, resp):
    with server.resp() as connection:
        assert connection("MONITOR") == OK
        yield connection


def shown(line):
    found = re.fullmatch(r"(\d+\.\d{6}) \[(\d+) ([^\]]+)\] (.*)", line)
    assert found, line
    return found[4]


def test_monitor_shows_commands_with_escapes(resp, monitor):
    resp("SET", "k", b'a"\\\n\x00\xff')
    assert shown(monitor.read()) == r'"SET" "k" "a\"\\\n\x00\xff"'


def test_monitor_hides_secrets_and_administration(resp, monitor):
    resp("AUTH", "user", "secret")
    resp("CONFIG", "GET", "maxmemory")
    resp("GET", "k")
    assert shown(monitor.read()) == '"AUTH" "(redacted)" "(redacted)"'
    assert shown(monitor.read()) == '"GET" "k"'


def test_monitor_shows_transactions_when_they_run(resp, monitor):
    resp("MULTI")
    resp("SET", "a", "1")
    resp("EXEC")
    assert [shown(monitor.read()) for _ in range(3)] == ['"MULTI"', '"SET" "a" "1"', '"EXEC"']


def test_monitor_shows_a_blocked_command_once(server, resp, monitor):
    with server.resp() as blocked:
        blocked.send("BLPOP", "q", "0")
        assert shown(monitor.read()) == '"BLPOP" "q" "0"'
        resp("RPUSH", "q", "x")
        blocked.read()
        resp("PING")
        rest = [shown(monitor.read()) for _ in range(2)]
        assert rest == ['"RPUSH" "q" "x"', '"PING"']


def test_slowlog_hides_secrets(resp):
    resp("CONFIG", "SET", "slowlog-log-slower-than", "0")
    resp("SLOWLOG", "RESET")
    resp("AUTH", "user", "secret")
    resp("CONFIG", "SET", "requirepass", "")
    entries = resp("SLOWLOG", "GET")
    resp("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    arguments = [entry[3] for entry in entries]
    assert [b"AUTH", b"(redacted)", b"(redacted)"] in arguments
    assert [b"CONFIG", b"SET", b"requirepass", b"(redacted)"] in arguments


def test_latency_events(resp):
    resp("CONFIG", "SET", "latency-monitor-threshold", "300")
    resp("LATENCY", "RESET")
    resp("DEBUG", "SLEEP", "0.35")
    resp("CONFIG", "SET", "latency-monitor-threshold", "0")
    latest = {event[0]: event[1:] for event in resp("LATENCY", "LATEST")}
    when, millis, worst = latest[b"command"]
    assert abs(when - time.time()) < 60 and 350 <= millis <= worst
    assert resp("LATENCY", "HISTORY", "command") == [[when, millis]]
    assert resp("LATENCY", "HISTORY", "nothing") == []
    assert b"command - high" in resp("LATENCY", "GRAPH", "command")
    assert b"command: 1 latency spikes" in resp("LATENCY", "DOCTOR")
    assert resp("LATENCY", "GRAPH", "no") == Error("ERR No samples available for event 'no'")
    assert resp("LATENCY", "RESET", "COMMAND", "no") == 1


def test_latency_histogram(resp):
    resp("CONFIG", "RESETSTAT")
    for _ in range(10):
        resp("SET", "k", "v")
    name, data = resp("LATENCY", "HISTOGRAM", "set")
    assert name == b"set"
    assert data[:3] == [b"calls", 10, b"histogram_usec"]
    counts = data[3][1::2]
    assert counts == sorted(counts) and counts[-1] == 10


def test_the_largest_client_is_evicted(start):
    server = start("--maxmemory-clients", "2mb")
    with server.resp() as resp, server.resp() as large, server.resp() as kept:
        kept("CLIENT", "NO-EVICT", "ON")
        with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
            large.send_raw(b"*2\r\n$3\r\nGET\r\n$8000000\r\n" + b"x" * 4_000_000)
        assert wait_for(lambda: "evicted_clients:1\r" in resp("INFO", "stats").decode())
        assert kept("PING") == Simple("PONG")


def test_latency_knows_what_the_store_waits_for(start):
    server = start("--latency-monitor-threshold", "0", "--appendfsync", "always")
    with server.resp() as resp:
        # A threshold of a millisecond catches a sync now and then; that of a disk that is held up
        # by larger writes surely.
        resp("CONFIG", "SET", "latency-monitor-threshold", "1")
        def seen():
            for i in range(50):
                resp("SET", f"k{i}", os.urandom(500_000))
            return b"log-sync" in {event[0] for event in resp("LATENCY", "LATEST")}

        assert wait_for(seen)
        assert resp("LATENCY", "RESET", "log-sync") == 1
        assert resp("LATENCY", "HISTORY", "log-sync") == []
