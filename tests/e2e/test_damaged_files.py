"""Files of Redis with a byte turned over, or cut off: an error that tells where, or, of append-only
files, which have no checksum, a load that equals what redis-server makes of the same file.

A run takes a sample. FIRN_EVERY_BYTE=1 takes all bytes and all lengths of both files."""

import os
import random
import re
import shutil
import subprocess
import time

import pytest

from harness import RespClient, firn_binary, free_port

REDIS = shutil.which("redis-server") or "/usr/bin/redis-server"
CONVERT = os.path.join(os.path.dirname(firn_binary()), "firn-convert")
EVERY_BYTE = os.environ.get("FIRN_EVERY_BYTE") == "1"
SAMPLE = 20
FAR = 4_000_000_000_000  # ms

pytestmark = pytest.mark.skipif(not os.path.exists(REDIS), reason="redis-server is not installed")

COMMANDS = [
    ("SELECT", 0), ("SET", "s", "value"), ("SET", "n", "1234"), ("INCR", "n"), ("APPEND", "s", "+"),
    ("PEXPIREAT", "s", FAR), ("RPUSH", "l", "a", "b", "7"), ("LPOP", "l"),
    ("HSET", "h", "f", "v", "g", "1"), ("HDEL", "h", "g"), ("SADD", "i", 1, 2, 300),
    ("SADD", "m", "x", "y"), ("ZADD", "z", "1.5", "p", "2", "q"),
    ("MULTI",), ("SET", "t", "1"), ("DEL", "n"), ("EXEC",),
    ("SELECT", 2), ("XADD", "x", "5-1", "k", "v"), ("XADD", "x", "5-2", "k", "w"),
    ("XGROUP", "CREATE", "x", "g", "0"), ("SETBIT", "b", 9, 1), ("PFADD", "hll", "e"),
]


class Process:
    """A server on a directory; ended when it has said what it holds, or why it doesn't start."""

    def __init__(self, binary, directory, *options):
        self.port = free_port()
        self.log = os.path.join(directory, "test.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory),
                 "--enable-debug-command", "yes", "--save", "", *options],
                stdout=log, stderr=log)

    def state(self):
        """(the state or None, the log)"""
        try:
            return self._state(), self._text()
        finally:
            self.process.kill()
            self.process.wait()

    def _text(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def _state(self):
        for _ in range(6000):
            if self.process.poll() is not None:
                assert self.process.returncode == 1, (self.process.returncode, self._text())
                return None
            try:
                with RespClient(self.port) as client:
                    if client("PING") == "PONG":
                        return self._content(client)
            except (OSError, EOFError):
                pass
            time.sleep(0.005)
        raise AssertionError("the server hangs:\n" + self._text())

    @staticmethod
    def _content(client):
        content = [client("DEBUG", "DIGEST")]
        for db in range(16):
            client("SELECT", db)
            content.append([(key, client("PEXPIRETIME", key))
                            for key in sorted(client("KEYS", "*"))])
        return content


def load(binary, directory, name, content, *options):
    os.mkdir(directory)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(content)
    state, log = Process(binary, directory, *options).state()
    shutil.rmtree(directory)
    return state, log


def places(size, seed):
    """Of a file so long: every one, or some."""
    return range(size) if EVERY_BYTE else sorted(random.Random(seed).sample(range(size), SAMPLE))


def flipped(content, at, seed):
    change = random.Random(seed * 100_000 + at).choice([1 << bit for bit in range(8)] + [0xff])
    return content[:at] + bytes([content[at] ^ change]) + content[at + 1:]


def check_append_only(tmp_path, content, what):
    found, log = load(firn_binary(), tmp_path / "firn", "appendonly.aof", content,
                      "--appendonly", "yes")
    if found is None:
        assert re.search(r"offset \d+", log), f"{what}: no offset in\n{log}"
        return False
    expected, redis_log = load(REDIS, tmp_path / "redis", "appendonly.aof", content,
                               "--appendonly", "yes")
    assert found == expected, f"{what}: redis-server: {redis_log}"
    return True


def test_append_only_files_with_a_byte_turned_over(tmp_path):
    content = b"".join(RespClient.encode(*command) for command in COMMANDS)
    loaded = [check_append_only(tmp_path, flipped(content, at, 1), f"byte {at}")
              for at in places(len(content), 1)]
    print(f"{len(loaded)} of {len(content)} bytes: {sum(loaded)} loaded, the others refused")


def test_append_only_files_that_are_cut_off(tmp_path):
    content = b"".join(RespClient.encode(*command) for command in COMMANDS)
    loaded = [check_append_only(tmp_path, content[:size], f"{size} bytes")
              for size in places(len(content), 2)]
    print(f"{len(loaded)} of {len(content)} lengths: {sum(loaded)} loaded, the others refused")


@pytest.fixture
def dump(tmp_path):
    """A small dump.rdb of redis-server's, of all types."""
    os.mkdir(tmp_path / "made")
    redis = Process(REDIS, tmp_path / "made")
    for _ in range(2000):
        try:
            client = RespClient(redis.port)
            break
        except OSError:
            time.sleep(0.005)
    for command in COMMANDS:
        client(*command)
    client("FUNCTION", "LOAD", "#!lua name=a\nredis.register_function('f', function() end)")
    assert client("SAVE") == "OK"
    redis.process.kill()
    redis.process.wait()
    return (tmp_path / "made" / "dump.rdb").read_bytes()


def refuses(tmp_path, content, what):
    """Quicker than a server; the loader is the same."""
    (tmp_path / "dump.rdb").write_bytes(content)
    done = subprocess.run([CONVERT, "import", tmp_path / "dump.rdb", tmp_path / "firn"],
                          capture_output=True, text=True, errors="replace", timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), f"{what}: {done.returncode} {said}"
    assert re.search(r"offset \d+", said) or not content, f"{what}: no offset in {said}"
    assert not (tmp_path / "firn").exists()


@pytest.mark.skipif(not os.path.exists(CONVERT), reason="firn-convert is not built")
def test_dumps_with_a_byte_turned_over_or_cut_off(tmp_path, dump):
    for at in places(len(dump), 3):
        refuses(tmp_path, flipped(dump, at, 3), f"byte {at}")
    for size in places(len(dump), 4):
        refuses(tmp_path, dump[:size], f"{size} bytes")


def test_what_the_checksum_would_find_is_an_error_or_a_load_without_it(tmp_path, dump):
    for at in places(len(dump) - 8, 5):
        found, log = load(firn_binary(), tmp_path / "firn", "dump.rdb", flipped(dump, at, 5),
                          "--rdbchecksum", "no")
        assert found is not None or re.search(r"offset \d+", log), f"byte {at}: {log}"
