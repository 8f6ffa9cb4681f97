"""What is shipped beside the server: its configuration, and what it tells systemd."""
import os
import socket

from harness import wait_for

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
