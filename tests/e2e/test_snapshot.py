"""Snapshots: SAVE and BGSAVE show one moment of the data, whatever goes on meanwhile, and
redis-server loads what they write."""

import glob
import os
import random
import shutil
import struct
import subprocess
import tempfile
import threading
import time

import pytest

from harness import Error, Server, wait_for

REDIS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


def info(connection):
    text = connection("INFO", "persistence").decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def wait_for_save(connection, seconds=60):
    assert wait_for(lambda: info(connection)["rdb_bgsave_in_progress"] == "0", seconds)
    assert info(connection)["rdb_last_bgsave_status"] == "ok"


class Oracle:
    """redis-server with a copy of a dump."""

    def __init__(self, dump):
        self.directory = tempfile.mkdtemp(prefix="firn-oracle-")
        shutil.copy(dump, os.path.join(self.directory, "dump.rdb"))
        self.server = Server("--save", "", "--appendonly", "no", "--daemonize", "no",
                             binary=REDIS, directory=self.directory, wait=None)

    def __enter__(self):
        return self.server.start()

    def __exit__(self, *_):
        self.server.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


def contents(connection, databases=16):
    """Everything, with its expiry, from Firn or Redis."""
    found = {}
    for db in range(databases):
        assert connection("SELECT", db) == "OK"
        keys = sorted(connection("KEYS", "*"))
        if not keys:
            continue
        for start in range(0, len(keys), 500):
            part = keys[start:start + 500]
            types = connection.pipeline([("TYPE", key) for key in part])
            expiries = connection.pipeline([("PEXPIRETIME", key) for key in part])
            reads = []
            for key, kind in zip(part, types):
                reads.append({"string": ("GET", key), "list": ("LRANGE", key, 0, -1),
                              "hash": ("HGETALL", key), "set": ("SMEMBERS", key),
                              "zset": ("ZRANGE", key, 0, -1, "WITHSCORES")}[kind])
            for key, kind, expiry, value in zip(part, types, expiries,
                                                connection.pipeline(reads)):
                if kind == "set":
                    value = sorted(value)
                if kind == "hash":
                    value = sorted(zip(value[::2], value[1::2]))
                if kind == "zset":
                    # Redis 7.0 and 7.2 write the same numbers differently.
                    value = list(zip(value[::2], map(float, value[1::2])))
                found[db, key] = (kind, expiry, value)
    connection("SELECT", 0)
    return found


def fill(connection, rng, keys=600):
    """All types in several databases: small and large, with and without expiry."""
    expiry = 3_000_000_000_000
    commands = []
    for i in range(keys):
        db = rng.choice([0, 0, 0, 1, 5])
        commands.append(("SELECT", db))
        name = f"{db}:{i}"
        size = rng.choice([1, 3, 20, 200])
        kind = i % 6
        if kind == 0:
            commands.append(("SET", name, rng.randbytes(rng.choice([0, 5, 100, 20_000]))))
        elif kind == 1:
            commands.append(("SET", name, rng.choice([0, -1, 12345, 2**40, -2**63, 2**63 - 1])))
        elif kind == 2:
            commands.append(("RPUSH", name, *[rng.randbytes(rng.randrange(60)) for _ in range(size)]))
        elif kind == 3:
            pairs = [x for j in range(size) for x in (f"field:{j}", rng.randbytes(rng.randrange(80)))]
            commands.append(("HSET", name, *pairs))
        elif kind == 4:
            members = rng.sample(range(10**6), size)
            if rng.random() < 0.5:
                members = [f"member:{m}" for m in members]
            commands.append(("SADD", name, *members))
        else:
            rows = [x for j in range(size) for x in (repr(rng.uniform(-1e6, 1e6)), f"member:{j}")]
            commands.append(("ZADD", name, *rows))
        if rng.random() < 0.3:
            commands.append(("PEXPIREAT", name, expiry + i))
    for field in range(0, 30_000, 1000):
        pairs = [x for j in range(field, field + 1000) for x in (f"field:{j}", f"value:{j}" * 3)]
        commands.append(("HSET", "large hash", *pairs))
        commands.append(("RPUSH", "large list", *pairs))
        commands.append(("SADD", "large set", *pairs))
    commands.append(("SELECT", 0))
    for reply in connection.pipeline(commands):
        assert not isinstance(reply, Error), reply


@needs_redis
@pytest.mark.parametrize("save", ["SAVE", "BGSAVE"])
def test_redis_loads_what_was_saved(start, save):
    server = start()
    with server.resp() as firn:
        fill(firn, random.Random(7))
        expected = contents(firn)
        reply = firn(save)
        assert reply in ("OK", "Background saving started")
        wait_for_save(firn)
    with Oracle(os.path.join(server.directory, "dump.rdb")) as redis, redis.resp() as connection:
        found = contents(connection)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value, key


@needs_redis
def test_demoted_values_and_effects_are_saved(start):
    server = start("--maxmemory", "64mb", "--log-segment-size", "4mb")
    rng = random.Random(3)
    with server.resp() as firn:
        fill(firn, rng, keys=300)
        for first in range(0, 60_000, 500):
            firn.pipeline([("SET", f"filler:{i}", rng.randbytes(2000))
                           for i in range(first, first + 500)])
        firn("APPEND", "0:0", b"x" * 30_000)
        firn("HSET", "large hash", "field:17", "changed", "another", "field")
        firn("LPUSH", "large list", "first")
        firn("SREM", "large set", "field:5")
        firn("EXPIREAT", "large set", 4_000_000_000)
        expected = {key: value for key, value in contents(firn).items()
                    if not key[1].startswith(b"filler:") or key[1].endswith(b"77")}
        assert firn("BGSAVE") == "Background saving started"
        wait_for_save(firn)
    with Oracle(os.path.join(server.directory, "dump.rdb")) as redis, redis.resp() as connection:
        assert connection("DBSIZE") >= 60_000
        found = contents(connection)
    for key, value in expected.items():
        assert found[key] == value, key


@needs_redis
def test_a_snapshot_under_writes_shows_one_moment(start):
    """Pairs of counters that a transaction raises together, and a list that repeats their history."""
    server = start()
    stop = threading.Event()
    counts = []

    def write(number):
        count = 0
        with server.resp() as connection:
            while not stop.is_set():
                batch = []
                for _ in range(20):
                    count += 1
                    batch += [("MULTI",), ("SET", f"a:{number}", count),
                              ("RPUSH", f"history:{number}", count),
                              ("HSET", f"hash:{number}", f"f{count % 500}", count),
                              ("SET", f"b:{number}", count), ("EXEC",)]
                connection.pipeline(batch)
        counts.append(count)

    with server.resp() as firn:
        for i in range(0, 20_000, 500):
            firn.pipeline([("SET", f"still:{j}", "v" * 300) for j in range(i, i + 500)])
        threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        dumps = []
        for i in range(3):
            time.sleep(0.3)
            before = [int(firn("GET", f"a:{j}") or 0) for j in range(3)]
            assert firn("BGSAVE") == "Background saving started"
            after = [int(firn("GET", f"a:{j}") or 0) for j in range(3)]
            wait_for_save(firn)
            copy = os.path.join(server.directory, f"copy-{i}")
            shutil.copy(os.path.join(server.directory, "dump.rdb"), copy)
            dumps.append((copy, before, after))
        stop.set()
        for thread in threads:
            thread.join()
    for copy, before, after in dumps:
        with Oracle(copy) as redis, redis.resp() as connection:
            assert len(connection("KEYS", "still:*")) == 20_000
            for j in range(3):
                count = int(connection("GET", f"a:{j}") or 0)
                assert before[j] <= count <= after[j]
                assert int(connection("GET", f"b:{j}") or 0) == count
                history = [int(x) for x in connection("LRANGE", f"history:{j}", 0, -1)]
                assert history == list(range(1, count + 1))
                fields = connection("HGETALL", f"hash:{j}")
                assert all(int(value) % 500 == int(field[1:])
                           for field, value in zip(fields[::2], fields[1::2]))
                assert max((int(value) for value in fields[1::2]), default=0) == count


def test_what_is_known_of_saves(start):
    server = start("--save", "")
    with server.resp() as firn:
        before = info(firn)
        assert before["rdb_last_bgsave_time_sec"] == "-1"
        assert int(firn("LASTSAVE")) == int(before["rdb_last_save_time"])
        firn("SET", "a", 1)
        firn("SET", "b", 1)
        assert info(firn)["rdb_changes_since_last_save"] == "2"
        firn("CONFIG", "SET", "rdb-key-save-delay", 1_500_000)
        assert firn("BGSAVE") == "Background saving started"
        firn("SET", "c", 1)
        now = info(firn)
        assert now["rdb_bgsave_in_progress"] == "1"
        assert int(now["rdb_current_bgsave_time_sec"]) >= 0
        assert now["current_save_keys_total"] == "2"
        assert firn("BGSAVE") == "ERR Background save already in progress"
        assert firn("SAVE") == "ERR Background save already in progress"
        wait_for_save(firn)
        after = info(firn)
        assert after["rdb_changes_since_last_save"] == "1"
        assert after["rdb_saves"] == "1"
        assert int(after["rdb_last_bgsave_time_sec"]) >= 0
        assert firn("LASTSAVE") >= int(before["rdb_last_save_time"])
        assert firn("BGSAVE", "LATER") == "ERR syntax error"
        firn("CONFIG", "SET", "rdb-key-save-delay", 0)
        assert firn("SAVE") == "OK"
        assert info(firn)["rdb_changes_since_last_save"] == "0"
        firn("MULTI")
        firn("SET", "d", 1)
        firn("BGSAVE")
        assert firn("EXEC") == ["OK", "Background saving scheduled"]
        assert wait_for(lambda: info(firn)["rdb_saves"] == "3")
        wait_for_save(firn)


def test_rules_begin_saves(start):
    server = start("--save", "1 3")
    dump = os.path.join(server.directory, "dump.rdb")
    with server.resp() as firn:
        firn("SET", "a", 1)
        time.sleep(1.5)
        assert not os.path.exists(dump)
        firn("SET", "b", 1)
        firn("SET", "c", 1)
        assert wait_for(lambda: os.path.exists(dump))
        wait_for_save(firn)
        assert "3 changes in 1 seconds. Saving..." in server.log()
        firn("CONFIG", "SET", "save", "")
        saves = info(firn)["rdb_saves"]
        firn.pipeline([("SET", i, 1) for i in range(10)])
        time.sleep(1.5)
        assert info(firn)["rdb_saves"] == saves


def test_a_failed_save_leaves_the_old_dump_and_stops_writes(start):
    server = start("--save", "900 1000", "--enable-protected-configs", "yes")
    dump = os.path.join(server.directory, "dump.rdb")
    with server.resp() as firn:
        firn("SET", "a", 1)
        assert firn("SAVE") == "OK"
        with open(dump, "rb") as file:
            old = file.read()
        # A directory in the place of the temporary file: nobody can write there.
        temporary = os.path.join(server.directory, f"temp-{server.process.pid}.rdb")
        os.mkdir(temporary)
        firn("SET", "b", 1)
        assert firn("BGSAVE") == "Background saving started"
        assert wait_for(lambda: info(firn)["rdb_last_bgsave_status"] == "err")
        with open(dump, "rb") as file:
            assert file.read() == old
        assert firn("SET", "c", 1).startswith("MISCONF ")
        assert firn("GET", "b") == b"1"
        firn("MULTI")
        firn("SET", "c", 1)
        assert firn("EXEC").startswith("EXECABORT ")
        assert firn("SHUTDOWN", "SAVE") == "ERR Errors trying to SHUTDOWN. Check logs."
        firn("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        assert firn("SET", "c", 1) == "OK"
        firn("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        os.rmdir(temporary)
        assert firn("BGSAVE") == "Background saving started"
        wait_for_save(firn)
        assert firn("SET", "d", 1) == "OK"


def test_a_killed_save_leaves_only_what_the_next_start_removes(start):
    server = start()
    with server.resp() as firn:
        firn.pipeline([("SET", i, "v" * 100_000) for i in range(200)])
        assert firn("SAVE") == "OK"
        firn("CONFIG", "SET", "rdb-key-save-delay", 100_000)
        firn("SET", "new", 1)
        assert firn("BGSAVE") == "Background saving started"
        assert wait_for(lambda: int(info(firn)["current_save_keys_processed"]) > 3)
    dump = os.path.join(server.directory, "dump.rdb")
    with open(dump, "rb") as file:
        old = file.read()
    server.kill()
    assert len(glob.glob(os.path.join(server.directory, "temp-*.rdb"))) == 1
    server.start()
    assert glob.glob(os.path.join(server.directory, "temp-*.rdb")) == []
    with open(dump, "rb") as file:
        assert file.read() == old
    with server.resp() as firn:
        assert firn("DBSIZE") == 201


@pytest.mark.parametrize("rules,how,saved", [
    ("", "term", False), ("900 100", "term", True), ("900 100", "NOSAVE", False),
    ("", "SAVE", True)])
def test_the_last_save_of_a_shutdown(start, rules, how, saved):
    server = start("--save", rules)
    with server.resp() as firn:
        firn("SET", "a", "last words")
        if how == "term":
            assert server.stop() == 0
        else:
            firn.send("SHUTDOWN", how)
            assert server.wait() == 0
    dump = os.path.join(server.directory, "dump.rdb")
    assert os.path.exists(dump) == saved
    if saved:
        with open(dump, "rb") as file:
            assert b"last words" in file.read()


def test_a_shutdown_abandons_a_save(start):
    server = start()
    with server.resp() as firn:
        firn.pipeline([("SET", i, i) for i in range(100)])
        firn("CONFIG", "SET", "rdb-key-save-delay", 10_000_000)
        assert firn("BGSAVE") == "Background saving started"
    assert server.stop() == 0
    assert glob.glob(os.path.join(server.directory, "*.rdb")) == []


def test_options_of_the_dump(start):
    server = start("--rdbcompression", "no", "--rdbchecksum", "no", "--dbfilename", "other.rdb")
    with server.resp() as firn:
        firn("SET", "a", "x" * 10_000)
        assert firn("SAVE") == "OK"
    with open(os.path.join(server.directory, "other.rdb"), "rb") as file:
        dump = file.read()
    assert dump.startswith(b"REDIS0010")
    assert b"x" * 10_000 in dump
    assert dump.endswith(b"\xff" + struct.pack("<Q", 0))


@pytest.mark.skipif(shutil.which("redis-check-rdb") is None, reason="no redis-check-rdb")
def test_reload_during_a_save(start):
    server = start()
    with server.resp() as firn:
        firn.pipeline([("SET", i, i) for i in range(100)])
        firn("CONFIG", "SET", "rdb-key-save-delay", 10_000_000)
        assert firn("BGSAVE") == "Background saving started"
        assert firn("DEBUG", "LOADAOF") == "OK"
        assert info(firn)["rdb_bgsave_in_progress"] == "0"
        firn("CONFIG", "SET", "rdb-key-save-delay", 0)
        assert firn("BGSAVE") == "Background saving started"
        wait_for_save(firn)
    checked = subprocess.run(["redis-check-rdb", os.path.join(server.directory, "dump.rdb")],
                             capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert server.stop() == 0


@needs_redis
def test_without_durability_everything_is_saved_too(start):
    server = start("--appendonly", "no", "--save", "")
    with server.resp() as firn:
        fill(firn, random.Random(11), keys=300)
        for i in range(3):
            firn("SET", "round", i)
            firn("HSET", "large hash", "field:17", i)
            expected = contents(firn)
            assert firn(["BGSAVE", "SAVE", "BGSAVE"][i]) in ("OK", "Background saving started")
            wait_for_save(firn)
            with Oracle(os.path.join(server.directory, "dump.rdb")) as redis, \
                    redis.resp() as connection:
                assert contents(connection) == expected
        firn("CONFIG", "SET", "save", "900 1")
        firn("SET", "last", "words that were saved")
    assert server.stop() == 0
    with open(os.path.join(server.directory, "dump.rdb"), "rb") as file:
        assert b"words that were saved" in file.read()
