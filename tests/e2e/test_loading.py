"""While a dump or an append-only file of Redis is loaded, most commands are refused."""

import os
import signal

import pytest

from harness import Error, RespClient, wait_for

LOADING = "LOADING Redis is loading the dataset in memory"


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


@pytest.fixture
def dump(start):
    """A dump of 400 keys that takes some seconds to load, in the directory of a new server."""
    source = start("--appendonly", "no", "--save", "")
    with source.resp() as firn:
        firn.pipeline([("SET", f"key:{i}", "x" * 100) for i in range(400)])
        assert firn("SAVE") == "OK"
    path = os.path.join(source.directory, "dump.rdb")

    kill(source)
    for name in os.listdir(source.directory):
        if name in ("IDENTITY", "log", "index", "LOCK"):
            target = os.path.join(source.directory, name)
            os.system(f"rm -rf '{target}'")
    source.options = ["--save", "", "--key-load-delay", "10000",
                      "--enable-protected-configs", "yes"]
    assert os.path.exists(path)
    return source


def connect(server):
    def attempt():
        try:
            return RespClient(server.port)
        except OSError:
            return None
    return wait_for(attempt)


def test_commands_are_refused_while_a_dump_is_loaded(dump):
    dump.start(wait=False)
    with connect(dump) as firn:
        assert firn("GET", "key:1") == LOADING
        assert firn("PING") == LOADING
        fields = dict(line.split(":", 1) for line in
                      firn("INFO", "persistence").decode().split("\r\n") if ":" in line)
        assert fields["loading"] == "1"
        assert int(fields["loading_total_bytes"]) == os.path.getsize(
            os.path.join(dump.directory, "dump.rdb"))
        assert int(fields["loading_start_time"]) > 0
        assert "loading_eta_seconds" in fields and "loading_loaded_perc" in fields
        assert firn("CLIENT", "SETNAME", "me") == "OK"
        assert firn("CONFIG", "GET", "maxmemory-policy")[0] == b"maxmemory-policy"
        assert isinstance(firn("CONFIG", "SET", "appendonly", "no"), Error)
        assert firn("CONFIG", "SET", "dir", "/").startswith("LOADING ")
        # What is refused within MULTI lets EXEC fail.
        assert firn("MULTI") == "OK"
        assert firn("GET", "key:1") == LOADING
        assert firn("EXEC").startswith("EXECABORT")
        assert wait_for(lambda: firn("GET", "key:399") == b"x" * 100)
        info = firn("INFO", "persistence").decode()
        assert "loading:0\r\n" in info
        assert "rdb_last_load_keys_loaded:400\r\n" in info
        assert firn("DBSIZE") == 400
        # The name is still there.
        assert firn("CLIENT", "GETNAME") == b"me"


@pytest.mark.parametrize("how", ["signal", "command"])
def test_a_load_can_be_stopped(dump, how):
    dump.start(wait=False)
    with connect(dump) as firn:
        assert firn("PING") == LOADING
        if how == "signal":
            dump.signal(signal.SIGTERM)
        else:
            firn.send("SHUTDOWN")
        assert dump.wait() == 0
    # It begins anew.
    dump.options = ["--save", ""]
    dump.start()
    with dump.resp() as firn:
        assert firn("DBSIZE") == 400


def test_commands_are_refused_while_an_append_only_file_is_loaded(start):
    server = start("--save", "", "--key-load-delay", "200000")
    kill(server)
    for name in ("IDENTITY", "log", "index"):
        os.system(f"rm -rf '{os.path.join(server.directory, name)}'")
    with open(os.path.join(server.directory, "appendonly.aof"), "wb") as file:
        file.write(RespClient.encode("SELECT", "0"))
        for i in range(150_000):
            file.write(RespClient.encode("SET", f"key:{i}", "x" * 50))
            if i % 1000 == 0:
                file.write(RespClient.encode("MULTI") + RespClient.encode("INCR", "counter") +
                           RespClient.encode("EXEC"))
    server.start(wait=False)
    with connect(server) as firn:
        assert firn("GET", "counter") == LOADING
        assert firn("CONFIG", "SET", "key-load-delay", 0) == "OK"
        assert wait_for(lambda: firn("GET", "counter") == b"150")
        assert firn("DBSIZE") == 150_001
