"""What was acknowledged is there after every kind of end."""

import os
import random
import signal
import threading
import time

import pytest

from harness import Error, RespClient, Server


def fill(client, count, seed=1):
    generator = random.Random(seed)
    values = {f"k{i}".encode(): generator.randbytes(generator.randrange(2000)) for i in range(count)}
    assert set(client.pipeline([("SET", k, v) for k, v in values.items()])) == {"OK"}
    return values


def check(client, values):
    keys = list(values)
    for begin in range(0, len(keys), 500):
        part = keys[begin:begin + 500]
        assert client("MGET", *part) == [values[key] for key in part]
    assert client("DBSIZE") == len(values)


@pytest.mark.parametrize("how", ["term", "kill"])
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_everything_is_there(start, how, policy):
    server = start("--appendfsync", policy)
    with server.resp() as client:
        values = fill(client, 2000)
        client("EXPIRE", "k0", 10000)
        client("DEL", "k1")
        del values[b"k1"]
        client("APPEND", "k2", "tail")
        values[b"k2"] += b"tail"
        client("SELECT", 5)
        client("SET", "other", "database")
        client("SWAPDB", 5, 6)
    server.restart(how)
    with server.resp() as client:
        check(client, values)
        assert 9900 < client("TTL", "k0") <= 10000
        client("SELECT", 6)
        assert client("GET", "other") == b"database"
        client("SELECT", 0)
        # And a second time, with what is now cold.
        assert client("FLUSHDB") == "OK"
        values = fill(client, 100, seed=2)
    server.restart(how)
    with server.resp() as client:
        check(client, values)


def test_exit_codes(start):
    server = start()
    assert server.stop() == 0
    server.start()
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    server.start()
    with server.resp() as client:
        client.send("SHUTDOWN")
        assert server.wait() == 0
    server.start()
    with server.resp() as client:
        client.send("SHUTDOWN", "NOSAVE")
        assert server.wait() == 0


def test_hup_and_pipe_are_ignored(start):
    server = start()
    for number in (signal.SIGHUP, signal.SIGPIPE):
        server.signal(number)
    time.sleep(0.2)
    with server.resp() as client:
        assert client("PING") == "PONG"


def test_a_second_server_is_refused(start):
    server = start()
    other = Server(directory=server.directory, wait=None)
    other.log_path = os.path.join(server.directory, "other.log")
    other.start(wait=False)
    try:
        assert other.wait() != 0
        assert server.directory in other.log()
    finally:
        other.kill()
    with server.resp() as client:
        assert client("SET", "k", "v") == "OK"


def test_killed_under_writers(start):
    """Each writer counts its key up; what was acknowledged must be there, whatever else is."""
    server = start("--maxmemory", "64mb")
    acknowledged = {}

    def write(name):
        generator = random.Random(name)
        client = RespClient(server.port)
        try:
            for number in range(1, 10**9):
                value = b"%d:" % number + generator.randbytes(100)
                if client("SET", name, value) != "OK":
                    return
                acknowledged[name] = number
        except (OSError, ConnectionError):
            pass

    for round_number in range(5):
        threads = [threading.Thread(target=write, args=(f"w{round_number}:{i}",))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.15 + 0.1 * round_number)
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        with server.resp() as client:
            for name, number in acknowledged.items():
                found = int(client("GET", name).split(b":")[0])
                assert number <= found <= number + 1, name


def test_appendonly_no_refuses_a_directory_with_data(start):
    server = start()
    with server.resp() as client:
        values = fill(client, 100)
    assert server.stop() == 0
    refused = Server("--appendonly", "no", directory=server.directory, wait=None)
    refused.log_path = os.path.join(server.directory, "refused.log")
    refused.start(wait=False)
    assert refused.wait() == 1
    text = refused.log()
    assert "appendonly yes" in text and "dir" in text
    server.start()
    with server.resp() as client:
        check(client, values)


def test_appendonly_no_without_snapshots_starts_empty_each_time(start):
    server = start("--appendonly", "no", "--save", "")
    with server.resp() as client:
        assert client("CONFIG", "GET", "appendonly")[1] == b"no"
        fill(client, 100)
        client("TIER", "DEMOTE", "k1", "k2")
        assert client("DBSIZE") == 100
    assert server.stop() == 0
    server.start()
    with server.resp() as client:
        assert client("DBSIZE") == 0


def test_tiering_no_keeps_everything_in_ram(start):
    server = start("--tiering", "no")
    with server.resp() as client:
        values = fill(client, 500)
        client("TIER", "DEMOTE", "k1")
        check(client, values)
    server.restart("kill")
    with server.resp() as client:
        check(client, values)


def test_expired_keys_stay_dead(start):
    server = start()
    with server.resp() as client:
        client("SET", "dies", "v", "PX", 100)
        client("SET", "lives", "v", "EX", 1000)
    server.kill()
    time.sleep(0.2)
    server.start()
    with server.resp() as client:
        assert client("GET", "dies") is None
        assert client("DBSIZE") == 1


def test_larger_than_memory(start):
    """Values of twice maxmemory: everything comes back, before and after a kill."""
    server = start("--maxmemory", "40mb", "--appendfsync", "no")
    generator = random.Random(3)
    block = generator.randbytes(1 << 20)

    def value(i):
        at = (i * 7919) % (len(block) - 1000)
        return b"%08d" % i + block[at:at + 992]

    count = 80_000
    with server.resp() as client:
        for begin in range(0, count, 1000):
            replies = client.pipeline(
                [("SET", f"key:{i}", value(i)) for i in range(begin, begin + 1000)])
            assert set(replies) == {"OK"}
        keys = random.Random(4).sample(range(count), 5000)
        for begin in range(0, len(keys), 500):
            part = keys[begin:begin + 500]
            assert client.pipeline([("GET", f"key:{i}") for i in part]) == [
                value(i) for i in part]
        assert client("DBSIZE") == count
        with open(f"/proc/{server.process.pid}/status") as status:
            resident = int(status.read().split("VmRSS:")[1].split()[0]) * 1024
        assert resident < 80 << 20, resident
    server.restart("kill")
    with server.resp() as client:
        assert client("DBSIZE") == count
        for begin in range(0, len(keys), 500):
            part = keys[begin:begin + 500]
            assert client.pipeline([("GET", f"key:{i}") for i in part]) == [
                value(i) for i in part]


def test_a_command_too_big_for_memory_is_refused(start):
    server = start("--maxmemory", "40mb")
    with server.resp() as client:
        reply = client("SET", "k", b"x" * (20 << 20))
        assert isinstance(reply, Error) and reply.startswith("OOM ")
    with server.resp() as client:
        assert client("GET", "k") is None
        assert client("SET", "k", b"x" * (1 << 20)) == "OK"
