"""A full disk: writes are refused, reads and deletions go on, nothing acknowledged is lost."""

import os
import subprocess

import pytest

from harness import Error, Server, wait_for

MISCONF = "MISCONF Errors writing to the AOF file: No space left on device"
OOM = "OOM command not allowed when used memory > 'maxmemory'."


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    result = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)],
                            capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted: " + result.stderr.strip())
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def write_until_refused(client, limit=5000):
    written = {}
    for i in range(limit):
        key, value = f"k{i}".encode(), os.urandom(30_000)
        reply = client("SET", key, value)
        if isinstance(reply, Error):
            return written, reply
        written[key] = value
    raise AssertionError("the disk never filled up")


def check(client, values):
    for key, value in values.items():
        assert client("GET", key) == value, key


def test_file_system_full(small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRN_TEST_LOG", str(tmp_path / "server.log"))
    data = small_disk / "data"
    data.mkdir()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (24 << 20))
    server = Server("--log-segment-size", "1mb", "--maxdisk", "1gb", directory=str(data))
    try:
        with server.resp() as client:
            written, error = write_until_refused(client)
            assert error == MISCONF
            assert len(written) > 100
            check(client, written)
            assert client("SET", "more", "v" * 30_000) == MISCONF
            assert client("PING") == "PONG"
            gone = list(written)[:20]
            assert client("DEL", *gone) == 20
            for key in gone:
                del written[key]
            assert client("EXPIRE", list(written)[0], 10_000) == 1
            check(client, written)
            ballast.unlink()
            assert wait_for(lambda: client("SET", "more", "v") == "OK", 20), server.log()
        server.restart("kill")
        with server.resp() as client:
            check(client, written)
            assert client("GET", "more") == b"v"
            assert client("EXISTS", *gone) == 0
    finally:
        server.kill()


def test_maxdisk_reached(start):
    server = start("--log-segment-size", "1mb", "--maxdisk", "20mb")
    with server.resp() as client:
        written, error = write_until_refused(client)
        assert error == OOM
        check(client, written)
        gone = list(written)[: len(written) * 2 // 3]
        assert client("DEL", *gone) == len(gone)
        for key in gone:
            del written[key]
        # Compaction makes room of what was deleted.
        assert wait_for(lambda: client("SET", "more", os.urandom(30_000)) == "OK", 20)
        check(client, written)
    server.restart("kill")
    with server.resp() as client:
        check(client, written)
        assert client("EXISTS", *gone) == 0


def test_maxmemory_without_tiers(start):
    server = start("--tiering", "no", "--maxmemory", "64mb")
    with server.resp() as client:
        written, error = write_until_refused(client)
        assert error == OOM
        check(client, written)
        assert client("DEL", *written) == len(written)
        assert wait_for(lambda: client("SET", "more", "v") == "OK", 10)
        assert client("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "OK"
        for i in range(2000):
            assert client("SET", f"k{i}", os.urandom(30_000)) == "OK"
        evicted = client("INFO", "stats").decode().split("evicted_keys:")[1].split("\r\n")[0]
        assert int(evicted) > 0
