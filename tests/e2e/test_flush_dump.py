"""What FLUSHALL does to the dump."""

import os
import time

import pytest

from harness import wait_for


def dumped_keys(server):
    with open(os.path.join(server.directory, "dump.rdb"), "rb") as file:
        return b"kept" in file.read()


@pytest.mark.parametrize("durable", ["yes", "no"])
def test_flushall_leaves_an_empty_dump_where_there_are_rules(start, durable):
    server = start("--appendonly", durable, "--save", "3600 1000000")
    with server.resp() as firn:
        firn("SET", "kept", "1")
        assert firn("SAVE") == "OK"
        assert dumped_keys(server)
        firn("FLUSHDB")
        assert dumped_keys(server)
        assert firn("FLUSHALL") == "OK"
        assert not dumped_keys(server)
        assert "rdb_changes_since_last_save:0\r\n" in firn("INFO", "persistence").decode()
        firn("SET", "kept", "1")
        assert firn("SAVE") == "OK"
        firn("MULTI")
        firn("FLUSHALL")
        firn("SET", "a", "1")
        firn("EXEC")
        assert wait_for(lambda: not dumped_keys(server))
        assert wait_for(
            lambda: "rdb_bgsave_in_progress:0\r\n" in firn("INFO", "persistence").decode())
        firn("CONFIG", "SET", "save", "")
        firn("SET", "kept", "1")
        assert firn("SAVE") == "OK"
        firn("FLUSHALL")
        time.sleep(0.3)
        assert dumped_keys(server)


def test_flushall_ends_a_save_in_the_background(start):
    server = start("--save", "", "--rdb-key-save-delay", "1000")
    with server.resp() as firn:
        firn.pipeline([("SET", f"key:{i}", "x") for i in range(5000)])
        assert firn("BGSAVE") == "Background saving started"
        firn("FLUSHALL")
        assert "rdb_bgsave_in_progress:0" in firn("INFO", "persistence").decode()
        assert not os.path.exists(os.path.join(server.directory, "dump.rdb"))


def test_what_was_flushed_counts_as_changes(start):
    server = start("--save", "")
    with server.resp() as firn:
        firn.pipeline([("SET", f"key:{i}", "x") for i in range(100)])
        assert firn("SAVE") == "OK"
        firn("FLUSHDB")
        assert "rdb_changes_since_last_save:100\r\n" in firn("INFO", "persistence").decode()
        firn("CONFIG", "SET", "save", "3600 1000")
        firn("SET", "a", "1")
        firn("FLUSHALL")
        assert "rdb_changes_since_last_save:0\r\n" in firn("INFO", "persistence").decode()
