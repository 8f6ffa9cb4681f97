"""CONFIG, command lines and configuration files."""

import os
import re
import signal
import subprocess
import time

import pytest

from harness import Error, RespClient, Server, firn_binary, free_port, wait_for

DEBIAN = "/etc/redis/redis.conf"


def run(*arguments, text=None, seconds=20):
    return subprocess.run([firn_binary(), *arguments], input=text, capture_output=True, text=True,
                          timeout=seconds)


def test_get(resp):
    assert resp("CONFIG", "GET", "appendonly") == [b"appendonly", b"yes"]
    assert resp("CONFIG", "GET", "nonsense") == []
    names = resp("CONFIG", "GET", "*")[::2]
    assert len(names) > 150 and len(set(names)) == len(names)
    both = resp("CONFIG", "GET", "maxmemory", "maxmem*")
    assert both[::2].count(b"maxmemory") == 1
    assert b"maxmemory-policy" in both


def test_get_is_a_map_in_resp3(server):
    with server.resp() as client:
        client("HELLO", 3)
        assert client("CONFIG", "GET", "databases") == {b"databases": b"16"}


def test_set(resp):
    assert resp("CONFIG", "SET", "timeout", "100", "slowlog-max-len", "7") == "OK"
    assert resp("CONFIG", "GET", "timeout") == [b"timeout", b"100"]
    assert resp("CONFIG", "SET", "timeout", "0") == "OK"
    reply = resp("CONFIG", "SET", "slowlog-max-len", "9", "timeout", "abc")
    assert isinstance(reply, Error) and "timeout" in reply
    assert resp("CONFIG", "GET", "slowlog-max-len")[1] == b"7"
    assert isinstance(resp("CONFIG", "SET", "nonsense", "1"), Error)
    assert isinstance(resp("CONFIG", "SET", "port"), Error)
    assert isinstance(resp("CONFIG", "SET", "databases", "3"), Error)
    assert resp("CONFIG", "SET", "maxmemory", "100mb") == "OK"
    assert resp("CONFIG", "GET", "maxmemory")[1] == b"104857600"
    assert resp("CONFIG", "SET", "maxmemory", "0") == "OK"


def test_dir_stays(resp, tmp_path):
    assert isinstance(resp("CONFIG", "SET", "dir", str(tmp_path)), Error)


def test_resetstat(resp):
    resp("GET", "x")
    assert resp("CONFIG", "RESETSTAT") == "OK"
    info = resp("INFO", "stats").decode()
    assert "keyspace_misses:0\r\n" in info


def test_help_and_unknown(resp):
    assert resp("CONFIG", "HELP")[0].startswith("CONFIG <subcommand>")
    assert resp("CONFIG", "FOO") == "ERR unknown subcommand 'FOO'. Try CONFIG HELP."


def test_rewrite(start, tmp_path):
    config = tmp_path / "firn.conf"
    config.write_text("# kept\ntimeout 5\n")
    server = start(config=str(config))
    with server.resp() as client:
        assert client("CONFIG", "SET", "timeout", "77", "slowlog-max-len", "55") == "OK"
        assert client("CONFIG", "REWRITE") == "OK"
    text = config.read_text()
    assert "# kept" in text and "timeout 77" in text and "slowlog-max-len 55" in text
    server.restart()
    with server.resp() as client:
        assert client("CONFIG", "GET", "timeout")[1] == b"77"


def test_rewrite_without_a_file(resp):
    assert resp("CONFIG", "REWRITE") == "ERR The server is running without a config file"


def test_version_and_help():
    version = run("--version")
    assert version.returncode == 0 and re.search(r"\d+\.\d+", version.stdout)
    assert "--maxmemory" in run("--help").stdout or "maxmemory" in run("--help").stdout


@pytest.mark.parametrize("line", ["nonsense 1", "port", "port abc", "port 99999", "maxmemory 12zb",
                                  "appendfsync sometimes", "save 1", "timeout \"1",
                                  "databases 0", "include /does/not/exist"])
def test_bad_lines_stop_the_start(tmp_path, line):
    config = tmp_path / "bad.conf"
    config.write_text(f"# first\n\n{line}\n")
    result = run(str(config), "--dir", str(tmp_path))
    output = result.stdout + result.stderr
    assert result.returncode == 1
    if "include" not in line:
        assert "line 3" in output, output
        assert line.split()[0] in output


def test_bad_arguments_stop_the_start(tmp_path):
    for arguments in (("--nonsense", "1"), ("--port",), ("--port", "x"), ("/does/not/exist",)):
        result = run(*arguments, "--dir", str(tmp_path))
        assert result.returncode == 1, arguments
        assert result.stdout + result.stderr


def test_configuration_from_standard_input(tmp_path):
    port = free_port()
    process = subprocess.Popen([firn_binary(), "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        process.stdin.write(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n".encode())
        process.stdin.close()

        def answers():
            try:
                with RespClient(port) as client:
                    return client("PING") == "PONG"
            except OSError:
                return False

        assert wait_for(answers)
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.skipif(not os.path.exists(DEBIAN) or not os.access(DEBIAN, os.R_OK),
                    reason="Debian's redis.conf is not installed")
def test_debian_configuration_starts(tmp_path):
    """Unchanged save for paths and the port, which is another server's."""
    pidfile = tmp_path / "firn.pid"
    logfile = tmp_path / "firn.log"
    data = tmp_path / "data"
    data.mkdir()
    port = free_port()
    with open(DEBIAN) as original:
        text = original.read()
    for pattern, value in ((r"^pidfile .*$", f"pidfile {pidfile}"), (r"^dir .*$", f"dir {data}"),
                           (r"^logfile .*$", f"logfile {logfile}"), (r"^port .*$", f"port {port}")):
        text, count = re.subn(pattern, value, text, flags=re.M)
        assert count == 1, pattern
    config = tmp_path / "redis.conf"
    config.write_text(text)
    daemonizes = re.search(r"^daemonize yes", text, flags=re.M)
    assert daemonizes
    result = run(str(config))
    assert result.returncode == 0, result.stdout + result.stderr
    try:
        assert wait_for(lambda: pidfile.exists() and pidfile.read_text().strip())
        pid = int(pidfile.read_text())

        def answers():
            try:
                with RespClient(port) as client:
                    return client("SET", "k", "v") == "OK"
            except OSError:
                return False

        assert wait_for(answers), logfile.read_text()
        os.kill(pid, signal.SIGTERM)

        def gone():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            # A daemon's parent may leave it as a zombie where nobody reaps it.
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z"

        assert wait_for(gone, 20)
        assert not pidfile.exists()
        assert "Ready to accept connections" in logfile.read_text()
    finally:
        if pidfile.exists():
            try:
                os.kill(int(pidfile.read_text()), signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                pass


def test_log_lines_have_redis_form(start):
    server = start()
    log = server.log()
    assert re.search(r"PID: \d+", log)
    assert "Server initialized" in log
    line = next(line for line in log.splitlines() if "Ready to accept connections" in line)
    assert re.match(rf"{server.process.pid}:M \d\d \w\w\w \d{{4}} \d\d:\d\d:\d\d\.\d{{3}} [.\-*#] ",
                    line), line


def test_where_it_cannot_listen_it_stays_where_it_was(start):
    server, other = start(), start()
    with server.resp() as client:
        refusal = "ERR CONFIG SET failed (possibly related to argument '{}') - {}"
        assert client("CONFIG", "SET", "bind", "203.0.113.7") == refusal.format(
            "bind", "Failed to bind to specified addresses.")
        assert client("CONFIG", "SET", "port", other.port) == refusal.format(
            "port", "Unable to listen on this port. Check server logs.")
    assert "Failed listening on port" in server.log()
    with server.resp() as client:
        assert client("CONFIG", "GET", "port") == [b"port", str(server.port).encode()]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_an_unusable_dir_is_one_clear_line(tmp_path, kind):
    directory = tmp_path / "data"
    if kind == "file":
        directory.write_text("")
    result = run("--port", str(free_port()), "--dir", str(directory))
    assert result.returncode == 1
    assert str(directory) in result.stdout + result.stderr


def test_unix_socket_permissions(start, tmp_path):
    path = tmp_path / "firn.sock"
    start("--unixsocket", str(path), "--unixsocketperm", "700")
    assert oct(os.stat(path).st_mode)[-3:] == "700"
    deadline = time.monotonic() + 60
    import redis
    while time.monotonic() < deadline:
        with redis.Redis(unix_socket_path=str(path)) as client:
            assert client.ping()
            break


def test_a_rewrite_of_everything_can_be_read_again(start, tmp_path):
    path = tmp_path / "firn.conf"
    path.write_text("# kept\nhash-max-listpack-entries 77\n")
    server = start(config=str(path))
    with server.resp() as resp:
        before = resp("CONFIG", "GET", "*")
        assert resp("DEBUG", "CONFIG-REWRITE-FORCE-ALL") == "OK"
    text = path.read_text()
    assert text.startswith("# kept\nhash-max-listpack-entries 77\n")
    assert text.count("\n") > 150
    server.restart()
    with server.resp() as resp:
        assert resp("CONFIG", "GET", "*") == before


def test_a_rewrite_keeps_includes(start, tmp_path):
    included = tmp_path / "more.conf"
    included.write_text("hash-max-listpack-entries 66\n")
    path = tmp_path / "firn.conf"
    path.write_text(f"# first\ninclude {included}\n\n# last\nset-max-intset-entries 5\n")
    server = start(config=str(path))
    with server.resp() as resp:
        assert resp("CONFIG", "GET", "hash-max-listpack-entries")[1] == b"66"
        resp("CONFIG", "SET", "set-max-intset-entries", "9", "zset-max-listpack-value", "70")
        assert resp("CONFIG", "REWRITE") == "OK"
    assert included.read_text() == "hash-max-listpack-entries 66\n"
    lines = path.read_text().split("\n")
    assert lines[:5] == ["# first", f"include {included}", "", "# last", "set-max-intset-entries 9"]
    assert "zset-max-listpack-value 70" in lines
    server.restart()
    with server.resp() as resp:
        assert resp("CONFIG", "GET", "zset-max-listpack-value")[1] == b"70"
        assert resp("CONFIG", "GET", "hash-max-listpack-entries")[1] == b"66"


def test_the_address_of_replicas_calls_is_remembered(start):
    server = start("--bind-source-addr", "127.0.0.2")
    with server.resp() as client:
        assert client("CONFIG", "GET", "bind-source-addr") == [b"bind-source-addr", b"127.0.0.2"]
        assert client("CONFIG", "SET", "bind-source-addr", "") == "OK"
