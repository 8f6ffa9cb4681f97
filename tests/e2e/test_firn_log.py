"""firn-log on the directory of a real server: what it finds, mends, and says."""

import os
import subprocess

import pytest

from harness import firn_binary, wait_for

FIRN_LOG = os.path.join(os.path.dirname(firn_binary()), "firn-log")
KEYS = 6000
DAMAGE_OFFSET = 2_000_000


def firn_log(*arguments, code=0):
    finished = subprocess.run([FIRN_LOG, *map(str, arguments)], capture_output=True, text=True,
                              timeout=120)
    assert finished.returncode == code, finished.stdout + finished.stderr
    return finished.stdout


def segments(directory):
    log = os.path.join(directory, "log")
    return sorted(os.path.join(log, name) for name in os.listdir(log) if name.endswith(".seg"))


def copies(server):
    """Those that compaction wrote."""
    return [os.path.join(server.directory, "log", line.split()[0])
            for line in firn_log("list", server.directory).splitlines() if line.split()[1] == "cold"]


def turn_over(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))


def value(i):
    return f"{i:08}".encode() * 125


def right_keys(server):
    """How many keys are there; each must have its value."""
    with server.resp() as resp:
        replies = resp.pipeline([("GET", f"k{i}") for i in range(KEYS)])
        for i, reply in enumerate(replies):
            assert reply is None or reply == value(i), i
        found = sum(reply is not None for reply in replies)
        assert resp("DBSIZE") == found
        return found


def refusal(server):
    """What a server says that doesn't start."""
    server.start(wait=False)
    assert server.wait() != 0
    return server.log()


@pytest.fixture
def stopped(start):
    """A server that was stopped; all values lie in the log, none is compressed."""
    server = start("--maxmemory", "16mb", "--log-segment-size", "4mb", "--tier-compression", "none")
    with server.resp() as resp:
        for at in range(0, KEYS, 500):
            resp.pipeline([("SET", f"k{i}", value(i)) for i in range(at, at + 500)])
    server.stop()
    return server


def test_a_clean_log(stopped):
    assert ": clean\n" in firn_log("verify", stopped.directory)
    assert len(firn_log("list", stopped.directory).splitlines()) == len(segments(stopped.directory))
    lines = firn_log("print", stopped.directory, "--key", "k17", "--values").splitlines()
    assert len(lines) >= 1 and all('key "k17"' in line for line in lines)
    assert "There is no damage" in firn_log("mend", stopped.directory, "--skip")
    assert "made anew" in firn_log("rebuild-index", stopped.directory)
    stopped.start()
    assert right_keys(stopped) == KEYS


def test_a_damaged_record_is_left_out(stopped):
    turn_over(segments(stopped.directory)[0], DAMAGE_OFFSET)
    text = firn_log("verify", stopped.directory, code=2)
    assert "DAMAGE" in text and f"firn-log mend {stopped.directory} --skip" in text
    firn_log("mend", stopped.directory, "--skip")
    stopped.start()
    assert right_keys(stopped) == KEYS - 1


def test_a_damaged_header_of_the_log_itself_is_made_anew(stopped):
    turn_over(segments(stopped.directory)[0], 20)
    assert "the header at offset 0 is damaged. firn-log verify tells more" in refusal(stopped)
    firn_log("verify", stopped.directory, code=2)
    firn_log("mend", stopped.directory, "--skip")
    stopped.start()
    assert right_keys(stopped) == KEYS


def test_a_damaged_header_of_copies_costs_what_only_they_hold(stopped):
    stopped.start()
    with stopped.resp() as resp:
        resp.pipeline([("SET", f"k{i}", value(i)) for i in range(0, KEYS, 2)])
        resp("BGREWRITEAOF")
        wait_for(lambda: resp("TIER", "WHERE", "k1") == b"cold" and copies(stopped))
        wait_for(lambda: b"aof_rewrite_in_progress:0" in resp("INFO", "persistence"))
    stopped.stop()
    turn_over(copies(stopped)[0], 20)
    assert "the header at offset 0 is damaged. firn-log verify tells more" in refusal(stopped)
    assert f"firn-log rebuild-index {stopped.directory}" in firn_log("verify", stopped.directory,
                                                                    code=1)
    firn_log("rebuild-index", stopped.directory)
    stopped.start()
    assert KEYS // 2 <= right_keys(stopped) < KEYS


def test_no_server_may_run_meanwhile(start):
    server = start()
    for command in ["rebuild-index"], ["mend", "--skip"]:
        firn_log(command[0], server.directory, *command[1:], code=3)
    with server.resp() as resp:
        assert resp("PING") == "PONG"
