"""An append-only file of real Redis is loaded at the first start, and never changed."""

import os
import random
import shutil
import subprocess
import time

import pytest

from harness import RespClient, free_port, wait_for

REDIS = shutil.which("redis-server") or "/usr/bin/redis-server"


class Redis:
    """A redis-server with an append-only file in a directory of the test's."""

    def __init__(self, directory, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory),
             "--appendonly", "yes", "--save", "", *options],
            stdout=subprocess.DEVNULL)
        for _ in range(2000):
            try:
                self.client = RespClient(self.port)
                break
            except OSError:
                time.sleep(0.05)

    def stop(self):
        self.client.send("SHUTDOWN", "NOSAVE")
        assert self.process.wait(30) == 0


def fill(client, seed):
    """All types, large and small, with what changes and deletes them."""
    generator = random.Random(seed)
    commands = []
    for i in range(3000):
        n = generator.randrange(300)
        commands.append(generator.choice([
            ("SET", f"s{n}", generator.randbytes(generator.randrange(200))),
            ("APPEND", f"s{n}", "tail"),
            ("SETRANGE", f"s{n}", 3, "xyz"),
            ("RPUSH", f"l{n % 7}", f"element {i}", i),
            ("LPOP", f"l{n % 7}"),
            ("HSET", f"h{n % 9}", f"f{n}", i, f"g{i}", "v" * (n % 90)),
            ("HDEL", f"h{n % 9}", f"f{n}"),
            ("SADD", f"i{n % 5}", n),
            ("SADD", f"m{n % 5}", f"member {i}"),
            ("SPOP", f"m{n % 5}"),
            ("ZADD", f"z{n % 6}", str(i / 7), f"member {n}"),
            ("ZREM", f"z{n % 6}", f"member {n}"),
            ("DEL", f"s{n}"),
            ("EXPIRE", f"s{n}", 100_000 + i),
            ("SETBIT", f"b{n % 3}", n * 11, 1),
            ("SELECT", n % 3),
        ]))
    commands += [("SELECT", 0), ("MULTI",), ("SET", "t1", "1"), ("INCR", "t2"), ("EXEC",)]
    client.pipeline(commands)


def state(client):
    digests = [client("DEBUG", "DIGEST")]
    for db in range(3):
        client("SELECT", db)
        keys = sorted(client("KEYS", "*"))
        digests.append([(key, client("TYPE", key), client("PEXPIRETIME", key)) for key in keys])
    client("SELECT", 0)
    return digests


def files_of(directory):
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            if "appendonly" in name:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[path] = file.read()
    return found


def make_aof(tmp_path, *options, rewrite=False):
    redis = Redis(tmp_path, "--enable-debug-command", "yes", *options)
    fill(redis.client, 1)
    if rewrite:
        assert redis.client("BGREWRITEAOF")
        while "aof_rewrite_in_progress:1" in redis.client("INFO", "persistence").decode():
            time.sleep(0.02)
        fill(redis.client, 2)
    expected = state(redis.client)
    redis.stop()
    return expected


@pytest.mark.parametrize("options, rewrite", [
    ((), False),
    ((), True),
    (("--aof-use-rdb-preamble", "no"), True),
    (("--aof-timestamp-enabled", "yes"), True),
])
def test_everything_in_it_is_loaded_once_and_the_files_stay(start, tmp_path, options, rewrite):
    expected = make_aof(tmp_path, *options, rewrite=rewrite)
    before = files_of(tmp_path)
    assert before
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert state(client) == expected
        client("SET", "mine", "1")
    assert "is not loaded" not in server.log()
    server.restart("kill")
    assert "has data of its own, and files of Redis are read at the first start" in server.log()
    with server.resp() as client:
        assert client("GET", "mine") == b"1"
        client("DEL", "mine")
        assert state(client) == expected
    assert files_of(tmp_path) == before


def single_file(tmp_path, content):
    path = tmp_path / "appendonly.aof"
    path.write_bytes(content)
    return path


def test_an_upgrade_of_redis_that_was_interrupted_is_gone_on_with(start, tmp_path):
    single_file(tmp_path, commands(("SET", "a", "1")))
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_bytes(b"file appendonly.aof seq 1 type b\n")
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert client("KEYS", "*") == [b"a"]


def commands(*all_commands):
    return b"".join(RespClient.encode(*command) for command in all_commands)


def test_a_file_of_before_redis_7_is_loaded(start, tmp_path):
    single_file(tmp_path, commands(("SELECT", 0), ("SET", "a", "1"), ("RPUSH", "l", "x", "y")))
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert client("GET", "a") == b"1"
        assert client("LRANGE", "l", 0, -1) == [b"x", b"y"]


def test_a_file_larger_than_maxmemory_is_loaded(start, tmp_path):
    value = random.Random(3).randbytes(1000)
    single_file(tmp_path, commands(*[("SET", f"k{i}", value + b"%d" % i) for i in range(60_000)]))
    server = start("--maxmemory", "32mb", directory=str(tmp_path))
    with server.resp() as client:
        assert client("DBSIZE") == 60_000
        for i in range(0, 60_000, 977):
            assert client("GET", f"k{i}") == value + b"%d" % i


@pytest.mark.parametrize("cut", [1, 5, 12, 30])
def test_a_truncated_end_is_left_out_unless_that_is_forbidden(start, tmp_path, cut):
    whole = commands(("SET", "a", "1"))
    path = single_file(tmp_path, whole + commands(("SET", "b", "22222222222222222222"))[:-cut])
    with_option = start("--aof-load-truncated", "no", directory=str(tmp_path), wait=False)
    assert with_option.process.wait(30) != 0
    assert f"offset {len(whole)}" in with_option.log()
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert client("KEYS", "*") == [b"a"]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("cut", [0, 5])
def test_an_unfinished_transaction_at_the_end_is_left_out_unless_that_is_forbidden(
        start, tmp_path, cut):
    whole = commands(("MULTI",), ("SET", "a", "0"), ("EXEC",), ("SET", "a", "1"))
    rest = commands(("MULTI",), ("SET", "a", "2"), ("SET", "b", "2"))
    single_file(tmp_path, whole + rest[:len(rest) - cut])
    refused = start("--aof-load-truncated", "no", directory=str(tmp_path), wait=False)
    assert refused.process.wait(30) != 0
    assert "Unexpected end of file reading the append only file" in refused.log()
    assert f"transaction at offset {len(whole)}" in refused.log()
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert client("GET", "a") == b"1"
        assert client("EXISTS", "b") == 0


@pytest.mark.parametrize("content, reason", [
    (commands(("SET", "a", "1")) + b"rubbish\r\n", "Bad file format reading the append only file"),
    (commands(("SET", "a", "1")) + b"*1\r\n$-5\r\n", "offset 27"),
    (commands(("SET", "a", "1"), ("NOSUCHCOMMAND", "x")), "Unknown command 'NOSUCHCOMMAND'"),
    (commands(("SET", "a", "1"), ("XGROUP", "NOSUCH", "x")), "Unknown command 'XGROUP'"),
    (b"REDIS0010\x00rubbish", "offset"),
])
def test_a_damaged_file_stops_the_start_and_leaves_nothing(start, tmp_path, content, reason):
    path = single_file(tmp_path, content)
    server = start(directory=str(tmp_path), wait=False)
    assert server.process.wait(30) != 0
    assert reason in server.log()
    assert path.read_bytes() == content
    # Once it is mended the load begins anew.
    path.write_bytes(commands(("SET", "c", "3")))
    server.start()
    with server.resp() as client:
        assert client("KEYS", "*") == [b"c"]


@pytest.mark.parametrize("manifest, reason", [
    (b"", "Found an empty AOF manifest"),
    (b"file x.aof seq 1\n", "Invalid AOF manifest file format"),
    (b"\nfile x.aof seq 1 type i\n", "Invalid AOF manifest file format"),
    (b"filx x.aof seq 1 type i\n", "Invalid AOF manifest file format"),
    (b"file x.aof seq 1 type i key\n", "Invalid AOF manifest file format"),
    (b"file ../x.aof seq 1 type i\n", "Invalid AOF manifest file format"),
    (b"file x.aof seq 1 type x\n", "Unknown AOF file type"),
    (b"file x.aof seq 1 type i", "line 1: the line has no end"),
    (b"file gone.aof seq 1 type i\n", "names: No such file or directory"),
    (b"file appendonly.aof seq 1 type b\n", "names: No such file or directory"),
    (b"file x.aof seq 2 type i\nfile x.aof seq 1 type i\n", "Found a non-monotonic sequence number"),
    (b"file x.aof seq 1 type b\nfile y.aof seq 2 type b\n",
     "line 2: Found duplicate base file information"),
    (b"file x.aof seq 1 type i " + b"more words " * 100 + b"\n",
     "The AOF manifest file contains too long line"),
])
def test_a_damaged_manifest_stops_the_start(start, tmp_path, manifest, reason):
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "x.aof").write_bytes(commands(("SET", "a", "1")))
    (folder / "appendonly.aof.manifest").write_bytes(manifest)
    server = start(directory=str(tmp_path), wait=False)
    assert server.process.wait(30) != 0
    assert server.log().count(reason) == 1


def test_without_appendonly_the_append_only_file_is_not_looked_at(start, tmp_path):
    single_file(tmp_path, commands(("SET", "a", "1")))
    server = start("--appendonly", "no", "--save", "", directory=str(tmp_path))
    with server.resp() as client:
        assert client("DBSIZE") == 0


def test_what_has_expired_since_is_gone_with_all_that_was_added_to_it(start, tmp_path):
    later = int(time.time() * 1000) + 100_000_000
    single_file(tmp_path, commands(
        ("RPUSH", "list", "a"), ("PEXPIREAT", "list", "1000"), ("RPUSH", "list", "b"),
        ("SET", "counter", "1", "PXAT", "1000"), ("INCR", "counter"),
        ("HSET", "hash", "f", "1"), ("EXPIREAT", "hash", "1"), ("HSET", "hash", "g", "2"),
        ("SET", "moved", "1", "PXAT", "1000"), ("RENAME", "moved", "renamed"),
        ("SET", "prolonged", "1", "PXAT", "1000"), ("PEXPIREAT", "prolonged", str(later)),
        ("SET", "persistent", "1", "PXAT", "1000"), ("PERSIST", "persistent"),
        ("SET", "from now", "1"), ("EXPIRE", "from now", "1000")))
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert sorted(client("KEYS", "*")) == [b"from now", b"persistent", b"prolonged"]
        assert client("PEXPIRETIME", "prolonged") == later
        assert 900 < client("TTL", "from now") <= 1000
        assert wait_for(lambda: client("DBSIZE") == 3)
        assert client("EXISTS", "list", "counter", "hash", "renamed") == 0


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_what_expires_while_nobody_runs_stays_gone(start, tmp_path, preamble):
    redis = Redis(tmp_path, "--enable-debug-command", "yes", "--aof-use-rdb-preamble", preamble)
    client = redis.client
    client("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    client("RPUSH", "list", "a")
    client("PEXPIRE", "list", "3000")
    client("BGREWRITEAOF")
    while "aof_rewrite_in_progress:1" in client("INFO", "persistence").decode():
        time.sleep(0.02)
    assert client("RPUSH", "list", "b") == 2
    redis.stop()
    time.sleep(3)
    server = start(directory=str(tmp_path))
    with server.resp() as client:
        assert client("EXISTS", "list") == 0
        assert wait_for(lambda: client("DBSIZE") == 0)
