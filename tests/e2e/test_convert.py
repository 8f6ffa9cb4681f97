"""firn-convert: files of Redis to a data directory and back."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from harness import RespClient, Server, firn_binary, wait_for
from test_aof_import import REDIS, Redis, fill, files_of, state

CONVERT = os.path.join(os.path.dirname(firn_binary()), "firn-convert")

pytestmark = pytest.mark.skipif(
    not os.path.exists(CONVERT) or not os.path.exists(REDIS),
    reason="firn-convert is not built, or redis-server not installed")

LIBRARY = "#!lua name=mylib\nredis.register_function('answer', function() return 42 end)"


def convert(*arguments, code=0):
    finished = subprocess.run([CONVERT, *map(str, arguments)], capture_output=True, text=True,
                              timeout=120)
    assert finished.returncode == code, finished.stdout + finished.stderr
    return finished.stdout if code == 0 else finished.stderr


@pytest.fixture
def redis(tmp_path):
    """Starts redis-servers, each in a directory of its own."""
    servers = []

    def begin(name, *options):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        servers.append(Redis(directory, "--enable-debug-command", "yes", *options))
        wait_for(lambda: servers[-1].client("PING") == "PONG", seconds=30)
        return servers[-1], directory

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()


def serve(start, directory):
    return start(directory=str(directory)).resp()


def dump(redis, name, seed=1):
    """A dump.rdb of all types with a library, and what is in it."""
    server, directory = redis(name, "--appendonly", "no")
    fill(server.client, seed)
    server.client("XADD", "stream", "5-1", "field", "value")
    server.client("FUNCTION", "LOAD", LIBRARY)
    server.client("SELECT", 0)
    assert server.client("SAVE") == "OK"
    expected = state(server.client)
    server.stop()
    return directory / "dump.rdb", expected


def test_a_dump_to_a_data_directory_and_back(redis, start, tmp_path):
    path, expected = dump(redis, "redis")
    before = path.read_bytes()
    text = convert("import", path, tmp_path / "firn")
    assert " keys, from " in text
    assert path.read_bytes() == before
    with serve(start, tmp_path / "firn") as client:
        assert state(client) == expected
        assert client("FCALL", "answer", 0) == 42
        client("SET", "later", "1")
        client("SELECT", 3)
        client("SET", "third", "3")
        client("SELECT", 0)
        expected = state(client)
        client.send("SHUTDOWN", "NOSAVE")
        assert client.at_end()
    (tmp_path / "back").mkdir()
    wait_for(lambda: not lock_is_held(tmp_path / "firn"))
    text = convert("export", tmp_path / "firn", tmp_path / "back" / "dump.rdb")
    keys = int(text.split(": ")[1].split()[0])
    again, _ = redis("back", "--appendonly", "no")
    assert state(again.client) == expected
    assert again.client("FCALL", "answer", 0) == 42
    assert keys == sum(len(part) for part in expected[1:]) + 1
    # The data directory is as it was.
    with serve(start, tmp_path / "firn") as client:
        assert state(client) == expected


def lock_is_held(directory):
    import fcntl
    with open(directory / "LOCK", "rb+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_append_only_files_to_a_data_directory_and_back(redis, start, tmp_path, preamble):
    server, directory = redis("redis", "--aof-use-rdb-preamble", preamble)
    fill(server.client, 2)
    server.client("BGREWRITEAOF")
    wait_for(lambda: b"aof_rewrite_in_progress:0" in server.client("INFO", "persistence"))
    fill(server.client, 3)
    expected = state(server.client)
    server.stop()
    before = files_of(directory)
    # By the folder of append-only files, and by the directory that holds it.
    text = convert("import", directory / "appendonlydir", tmp_path / "first")
    assert "commands of append-only files" in text
    convert("import", "--quiet", directory, tmp_path / "second")
    assert files_of(directory) == before
    for name in ("first", "second"):
        with serve(start, tmp_path / name) as client:
            assert state(client) == expected
            client.send("SHUTDOWN", "NOSAVE")
            assert client.at_end()
        wait_for(lambda: not lock_is_held(tmp_path / name))
    convert("export", "--aof", tmp_path / "first", tmp_path / "back" / "appendonlydir")
    again, _ = redis("back")
    assert state(again.client) == expected
    # It goes on from there.
    again.client("SET", "later", "1")
    again.stop()
    again, _ = redis("back")
    assert again.client("GET", "later") == b"1"


def test_a_single_append_only_file_with_a_dump_before_it(redis, start, tmp_path):
    path, _ = dump(redis, "redis")
    single = tmp_path / "appendonly.aof"
    single.write_bytes(path.read_bytes() + b"*3\r\n$3\r\nSET\r\n$5\r\nlater\r\n$1\r\n1\r\n")
    convert("import", single, tmp_path / "firn")
    with serve(start, tmp_path / "firn") as client:
        assert client("GET", "later") == b"1"
        assert client("XLEN", "stream") == 1


def dump_of_expired_keys(redis, name):
    """A dump.rdb of one key, and of two that have expired."""
    server, directory = redis(name, "--appendonly", "no")
    server.client("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    server.client("SET", "there", "1")
    server.client("SET", "gone", "1", "PX", 1)
    server.client("RPUSH", "list", "old")
    server.client("PEXPIRE", "list", 20)
    time.sleep(0.1)
    assert server.client("SAVE") == "OK"
    server.stop()
    return directory / "dump.rdb"


def test_expired_keys_of_a_dump_are_left_out_and_counted(redis, start, tmp_path):
    said = convert("import", dump_of_expired_keys(redis, "redis"), tmp_path / "firn")
    assert "1 keys, 2 expired keys left out" in said
    with serve(start, tmp_path / "firn") as client:
        assert client("KEYS", "*") == [b"there"]


@pytest.mark.parametrize("cut", [0, 3])
def test_what_follows_a_dump_changes_what_has_expired_since(redis, start, tmp_path, cut):
    path = tmp_path / "appendonly.aof"
    tail = RespClient.encode("RPUSH", "list", "new") + RespClient.encode("SET", "late", "1")
    path.write_bytes(dump_of_expired_keys(redis, "redis").read_bytes() + tail[:len(tail) - cut])
    convert("import", path, tmp_path / "firn")
    with serve(start, tmp_path / "firn") as client:
        assert client("EXISTS", "list", "gone") == 0
        assert sorted(client("KEYS", "*")) == ([b"there"] if cut else [b"late", b"there"])


def test_more_than_memory_is_converted_in_bounded_memory(redis, start, tmp_path):
    server, directory = redis("redis", "--appendonly", "no", "--rdbcompression", "no")
    value = os.urandom(2000)
    for base in range(0, 60_000, 1000):
        server.client.pipeline([("SET", f"key:{i}", value) for i in range(base, base + 1000)])
    assert server.client("SAVE") == "OK"
    server.stop()

    # A process' maximum counts the program that it was before its exec: a small one in between
    # keeps this one's size out of the answer.
    measured = ("import resource, subprocess, sys; "
                "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")

    def peak_megabytes(*arguments):
        command = [sys.executable, "-c", measured, CONVERT, *map(str, arguments)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) / 1024

    options = ("--maxmemory", "32mb")
    assert peak_megabytes("import", *options, directory / "dump.rdb", tmp_path / "firn") < 90
    assert peak_megabytes("export", *options, tmp_path / "firn", tmp_path / "back.rdb") < 90
    (tmp_path / "again").mkdir()
    shutil.move(tmp_path / "back.rdb", tmp_path / "again" / "dump.rdb")
    again, _ = redis("again", "--appendonly", "no")
    assert again.client("DBSIZE") == 60_000
    assert again.client("GET", "key:59999") == value


def test_progress_is_shown_when_it_is_asked_for(redis, tmp_path):
    path, _ = dump(redis, "redis")
    finished = subprocess.run([CONVERT, "import", "--progress", path, tmp_path / "firn"],
                              capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0
    assert "[################################] 100 %" in finished.stderr
    finished = subprocess.run([CONVERT, "export", "--progress", tmp_path / "firn",
                               tmp_path / "back.rdb"], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0
    assert "100 %" in finished.stderr and " keys\x1b[K" in finished.stderr


# --- what is refused


def is_empty(directory):
    return not os.path.exists(directory) or set(os.listdir(directory)) <= {"LOCK"}


def test_damaged_and_truncated_sources_are_refused_and_leave_nothing(redis, tmp_path):
    path, _ = dump(redis, "redis")
    good = path.read_bytes()
    target = tmp_path / "firn"
    bad = tmp_path / "bad.rdb"
    bad.write_bytes(good[:len(good) // 2])
    assert "bad.rdb: " in convert("import", bad, target, code=2)
    bad.write_bytes(good[:1000] + bytes([good[1000] ^ 0x55]) + good[1001:])
    assert "offset" in convert("import", bad, target, code=2)
    bad.write_bytes(b"not a file of Redis\n")
    assert "at offset 0" in convert("import", bad, target, code=2)
    bad.write_bytes(b"")
    assert "is empty" in convert("import", bad, target, code=2)
    bad.write_bytes(b"*1\r\n$4\r\nNOPE\r\n")
    assert "Unknown command 'NOPE'" in convert("import", bad, target, code=2)
    assert is_empty(target)
    # And the next attempt finds nothing in its way.
    convert("import", path, target)


def test_a_truncated_append_only_file(redis, start, tmp_path):
    path = tmp_path / "some.aof"
    path.write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\nb")
    message = convert("import", "--strict", path, tmp_path / "firn", code=2)
    assert "Unexpected end of file" in message and "offset 27" in message
    convert("import", path, tmp_path / "firn")
    with serve(start, tmp_path / "firn") as client:
        assert client("KEYS", "*") == [b"a"]


def test_more_databases_than_there_are(redis, start, tmp_path):
    server, directory = redis("redis", "--appendonly", "no", "--databases", "40")
    server.client("SELECT", 30)
    server.client("SET", "key", "value")
    assert server.client("SAVE") == "OK"
    server.stop()
    message = convert("import", directory / "dump.rdb", tmp_path / "firn", code=2)
    assert "database 30" in message
    convert("import", "--databases", 40, directory / "dump.rdb", tmp_path / "firn")
    firn = start("--databases", 40, directory=str(tmp_path / "firn"))
    with firn.resp() as client:
        client("SELECT", 30)
        assert client("GET", "key") == b"value"


def test_existing_targets_and_wrong_sources_are_refused(redis, start, tmp_path):
    path, _ = dump(redis, "redis")
    target = tmp_path / "firn"
    convert("import", path, target)
    assert "holds data of Firn already" in convert("import", path, target, code=1)
    assert "is a data directory of Firn" in convert("import", target, tmp_path / "x", code=2)
    assert "is not there" in convert("import", tmp_path / "nothing", tmp_path / "x", code=1)
    (tmp_path / "empty").mkdir()
    assert "holds no dump.rdb" in convert("import", tmp_path / "empty", tmp_path / "x", code=2)
    shutil.copy(path, tmp_path / "empty" / "dump.rdb")
    (tmp_path / "empty" / "appendonly.aof").write_bytes(b"")
    assert "name the one" in convert("import", tmp_path / "empty", tmp_path / "x", code=2)
    existing = tmp_path / "there.rdb"
    existing.write_bytes(b"mine")
    assert "--replace" in convert("export", target, existing, code=1)
    assert existing.read_bytes() == b"mine"
    convert("export", "--replace", target, existing)
    assert existing.read_bytes().startswith(b"REDIS")
    assert "is not empty" in convert("export", "--aof", target, tmp_path / "empty", code=1)
    assert "has no IDENTITY" in convert("export", tmp_path / "empty", tmp_path / "y.rdb", code=2)
    firn = start(directory=str(target))
    assert "Another server uses" in convert("export", target, tmp_path / "y.rdb", code=1)
    assert "holds data" in convert("import", path, target, code=1)
    firn.stop()
    firn = start("--appendonly", "no", directory=str(tmp_path / "volatile"), wait=None) \
        if (tmp_path / "volatile").mkdir() is None else None
    firn.wait_until_ready()
    firn.stop()
    message = convert("export", tmp_path / "volatile", tmp_path / "y.rdb", code=2)
    assert "appendonly no" in message


def test_wrong_usage(tmp_path):
    assert "usage:" in convert(code=3)
    assert "usage:" in convert("transmute", code=3)
    assert "needed" in convert("import", "one", code=3)
    assert "wrong option: --aof" in convert("import", "--aof", "a", "b", code=3)
    assert "lacks its value" in convert("import", "a", "b", "--databases", code=3)
    dump_file = tmp_path / "a.aof"
    dump_file.write_bytes(b"*1\r\n$4\r\nPING\r\n")
    message = convert("import", "--databases", "none", dump_file, tmp_path / "b", code=3)
    assert "databases" in message
    assert "usage:" in convert("--help")


def test_a_conversion_that_was_killed_is_begun_again(redis, tmp_path):
    server, directory = redis("redis", "--appendonly", "no", "--rdbcompression", "no")
    value = os.urandom(1000)
    for base in range(0, 100_000, 1000):
        server.client.pipeline([("SET", f"key:{i}", value) for i in range(base, base + 1000)])
    assert server.client("SAVE") == "OK"
    server.stop()
    target = tmp_path / "firn"
    words = [CONVERT, "import", "--progress", str(directory / "dump.rdb"), str(target)]

    def identity():
        try:
            return (target / "IDENTITY").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def interrupted(how):
        before = identity()
        process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert wait_for(lambda: identity() not in (None, before) or process.poll() is not None)
        time.sleep(0.05)
        process.send_signal(how)
        process.communicate(timeout=60)
        return process.returncode

    if interrupted(signal.SIGKILL) != 0:
        # The server does not take a part for the whole.
        server = Server(directory=str(target), wait=None)
        server.start(wait=False)
        assert server.wait() == 1
        assert "run it again" in server.log()
    else:
        shutil.rmtree(target)
    if interrupted(signal.SIGTERM) != 0:
        # No part looks whole.
        assert identity() is None or (target / "LOADING").exists()
    else:
        shutil.rmtree(target)
    assert "100000 keys" in convert("import", directory / "dump.rdb", target)
