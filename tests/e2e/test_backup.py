"""BACKUP TO: a server starts on the copy, which shows one moment."""

import os
import random
import shutil
import signal
import tempfile
import threading
import time

import pytest

from harness import Error, Server
from test_snapshot import fill


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


@pytest.fixture
def target():
    directory = tempfile.mkdtemp(prefix="firn-backup-")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def on(directory, *options):
    return Server(*options, directory=directory, wait=None)


def test_a_server_starts_on_a_backup(start, target):
    server = start("--save", "", "--log-segment-size", "1mb")
    with server.resp() as firn:
        fill(firn, random.Random(11))
        firn("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        digests = []
        for i in range(2):
            firn("SET", "which", i)
            digests.append(firn("DEBUG", "DIGEST"))
            assert firn("BACKUP", "TO", f"{target}/{i}") == "OK"
            assert firn("DEBUG", "DIGEST") == digests[i]
        firn("FLUSHALL")
        firn("BGREWRITEAOF")
    kill(server)
    for i in range(2):
        for _ in range(2):
            copy = on(f"{target}/{i}", "--save", "", "--log-segment-size", "1mb")
            try:
                copy.start()
                with copy.resp() as firn:
                    assert firn("GET", "which") == b"%d" % i
                    assert firn("DEBUG", "DIGEST") == digests[i]
                    assert firn("FCALL", "f", 0) == 7
                    firn("SET", "more", "x")
                    firn("DEL", "more")
            finally:
                kill(copy)


def test_a_backup_under_writes_is_of_one_moment(start, target):
    server = start("--save", "", "--maxmemory", "48mb", "--log-segment-size", "1mb")
    rng = random.Random(2)
    stop = threading.Event()

    def write():
        own = random.Random(4)
        turn = 0
        with server.resp() as connection:
            while not stop.is_set():
                turn += 1
                commands = []
                for _ in range(20):
                    commands += [("MULTI",), ("SET", "left", turn), ("LPUSH", "turns", turn),
                                 ("LTRIM", "turns", 0, 9), ("SET", "right", turn), ("EXEC",)]
                    commands += [("SET", f"key:{own.randrange(20_000)}", own.randbytes(1000))]
                connection.pipeline(commands)

    with server.resp() as firn:
        for first in range(0, 20_000, 500):
            firn.pipeline([("SET", f"key:{i}", rng.randbytes(1500)) for i in range(first, first + 500)])
        thread = threading.Thread(target=write)
        thread.start()
        try:
            for i in range(4):
                time.sleep(0.3)
                before = int(firn("GET", "left"))
                assert firn("BACKUP", "TO", f"{target}/{i}") == "OK"
                after = int(firn("GET", "left"))
                copy = on(f"{target}/{i}", "--save", "", "--maxmemory", "48mb",
                          "--log-segment-size", "1mb")
                try:
                    copy.start()
                    with copy.resp() as other:
                        left = int(other("GET", "left"))
                        assert before <= left <= after
                        assert int(other("GET", "right")) == left
                        assert int(other("LINDEX", "turns", 0)) == left
                        assert other("DBSIZE") == 20_003
                        values = other.pipeline([("STRLEN", f"key:{j}") for j in range(20_000)])
                        assert set(values) <= {1000, 1500}
                finally:
                    kill(copy)
        finally:
            stop.set()
            thread.join()


def test_a_backup_that_can_not_be_made(start, target):
    server = start("--save", "")
    with server.resp() as firn:
        firn("SET", "a", 1)
        with open(os.path.join(target, "something"), "w") as file:
            file.write("x")
        assert "not empty" in firn("BACKUP", "TO", target)
        assert os.listdir(target) == ["something"]
        assert isinstance(firn("BACKUP", "TO", target + "/something/below"), Error)
        assert isinstance(firn("BACKUP", "TO", ""), Error)
        # Relative to `dir`.
        assert firn("BACKUP", "TO", "copies/first") == "OK"
        assert os.path.exists(os.path.join(server.directory, "copies/first/IDENTITY"))
    volatile = start("--save", "", "--appendonly", "no")
    with volatile.resp() as firn:
        assert "appendonly" in firn("BACKUP", "TO", target + "/new")
        assert not os.path.exists(target + "/new/IDENTITY")
