"""What is shipped beside the server: its configuration, and what it tells systemd."""
import ctypes.util
import os
import socket

import pytest

from harness import firn_binary, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_the_shipped_configuration_is_good(start, tmp_path):
    with open(os.path.join(ROOT, "tools/packaging/firn.conf")) as shipped:
        text = shipped.read()
    assert "\ndir /var/lib/firn\n" in text
    config = tmp_path / "firn.conf"
    config.write_text(text.replace("\ndir /var/lib/firn\n", f"\ndir {tmp_path}\n"))
    firn = start(config=str(config))
    with firn.resp() as client:
        assert client("CONFIG", "GET", "protected-mode") == [b"protected-mode", b"yes"]
        assert client("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1"]


def test_a_supervisor_is_told_when_it_is_ready_and_when_it_ends(start, tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(120)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        firn = start("--supervised", "systemd", wait=None)
        assert supervisor.recv(1000).startswith(b"READY=1\n")
        with firn.resp() as client:
            assert client("PING") == "PONG"
        firn.stop()
        assert supervisor.recv(1000).startswith(b"STOPPING=1\n")


def test_a_supervisor_that_is_not_there_does_no_harm(start, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nosuch/socket")
    firn = start("--supervised", "systemd")
    wait_for(lambda: "supervised systemd" in firn.log())
    monkeypatch.setenv("NOTIFY_SOCKET", "x" * 500)
    start("--supervised", "auto")


# Runs what it is given under the profile, as Docker does.
CONFINED = """#!/usr/bin/python3
import ctypes, json, os, sys
ALLOW, ERRNO = 0x7fff0000, 0x00050000
ACTIONS = {"SCMP_ACT_ALLOW": ALLOW}
library = ctypes.CDLL("libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p
with open(PROFILE) as file:
    profile = json.load(file)
assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
context = ctypes.c_void_p(library.seccomp_init(ERRNO | profile["defaultErrnoRet"]))
for rule in profile["syscalls"]:
    assert rule.keys() == {"names", "action"}, rule
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        assert number != -1, name
        assert library.seccomp_rule_add(context, ACTIONS[rule["action"]], number, 0) == 0, name
assert library.seccomp_load(context) == 0
# What a container may not do.
assert ctypes.CDLL(None, use_errno=True).unshare(0) == -1 and ctypes.get_errno() == 1
os.execv(SERVER, [SERVER, *sys.argv[1:]])
"""


@pytest.mark.skipif(not ctypes.util.find_library("seccomp"), reason="no libseccomp")
def test_the_seccomp_profile_forbids_nothing_that_is_needed(start, tmp_path):
    confined = tmp_path / "confined"
    confined.write_text(
        CONFINED.replace("PROFILE", repr(os.path.join(ROOT, "tools/packaging/seccomp.json")))
        .replace("SERVER", repr(os.path.abspath(firn_binary()))))
    confined.chmod(0o755)
    config = tmp_path / "firn.conf"
    config.write_text("maxmemory 16mb\nlog-segment-size 4mb\n")
    (tmp_path / "users.acl").touch()
    firn = start("--io-backend", "io_uring", "--aclfile", str(tmp_path / "users.acl"),
                 "--io-threads", "2", "--save", "900 1", "--unixsocket", str(tmp_path / "socket"), "--dbfilename", "dump.rdb",
                 binary=str(confined), config=str(config))
    values = {f"k{i}": os.urandom(10_000) for i in range(4000)}
    for _ in range(2):
        with firn.redis() as client:
            for key, value in values.items():
                client.set(key, value)
            assert all(client.get(key) == value for key, value in values.items())
            assert client.eval("return redis.call('STRLEN', KEYS[1])", 1, "k7") == 10_000
            client.bgsave()
            assert wait_for(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
            assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
            assert client.config_rewrite() and client.acl_save()
        firn.restart()
