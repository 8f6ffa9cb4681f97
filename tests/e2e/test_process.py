"""The process and what surrounds it: signals, the background, rights, limits of the system."""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from harness import RespClient, Server, firn_binary, free_port, wait_for

NOBODY = 65534


def is_alive(pid):
    """False for a zombie, too: the parent of a daemon may be slow to reap it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ping(port):
    try:
        with RespClient(port) as client:
            return client("PING") == "PONG"
    except OSError:
        return False


@pytest.fixture
def open_directory():
    """A directory that every user may enter, whose parents everybody may enter."""
    path = tempfile.mkdtemp(prefix="firn-test-", dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def as_nobody(*arguments):
    if os.geteuid() != 0:
        return list(arguments)
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *arguments]


def title(server):
    with open(f"/proc/{server.process.pid}/cmdline", "rb") as file:
        return file.read().rstrip(b"\0").decode()


def test_the_process_has_a_title(start):
    server = start("--masterauth", "secret")
    # Who looks at the processes of a machine learns no passwords.
    assert title(server) == f"{server.binary} 127.0.0.1:{server.port}"
    with server.resp() as resp:
        template = "{{ {PORT} {listen-addr} {tls-port} {config-file}|"
        assert resp("CONFIG", "SET", "proc-title-template", template) == "OK"
        assert title(server) == f"{{ {server.port} 127.0.0.1:{server.port} 0 |"
        resp("CONFIG", "SET", "proc-title-template", "x" * 100_000)
        assert set(title(server)) == {"x"}
    other = start("--set-proc-title", "no")
    assert f"--port\0{other.port}" in title(other)


@pytest.mark.parametrize("relative", [False, True])
def test_daemonize_returns_at_once_and_serves_in_the_background(open_directory, relative):
    port = free_port()
    directory = os.path.join(open_directory, "data")
    os.mkdir(directory)
    pidfile = os.path.join(open_directory, "firn.pid")
    log = os.path.join(open_directory, "server.log")
    result = subprocess.run(
        [firn_binary(), "--port", str(port), "--bind", "127.0.0.1",
         "--dir", "data" if relative else directory, "--daemonize", "yes",
         "--pidfile", pidfile, "--logfile", log],
        cwd=open_directory, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0
    assert result.stdout + result.stderr == ""
    pid = None
    try:
        assert wait_for(lambda: ping(port)), open(log).read()
        assert wait_for(lambda: os.path.exists(pidfile) and os.path.getsize(pidfile))
        pid = int(open(pidfile).read())
        with RespClient(port) as client:
            assert b"process_id:%d\r\n" % pid in client("INFO", "server")
            assert client("SET", "k", "v") == "OK"
        assert os.getsid(pid) == pid  # no terminal's
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
        assert os.path.exists(os.path.join(directory, "IDENTITY"))
        os.kill(pid, signal.SIGTERM)
        assert wait_for(lambda: not is_alive(pid))
        assert not os.path.exists(pidfile)
    finally:
        if pid is not None and is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_daemon_that_cannot_start_says_why_in_its_log(start, open_directory):
    other = start()
    log = os.path.join(open_directory, "server.log")
    result = subprocess.run(
        [firn_binary(), "--port", str(other.port), "--bind", "127.0.0.1", "--dir", open_directory,
         "--daemonize", "yes", "--logfile", log], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0  # as Redis: the failure comes after the fork
    assert wait_for(lambda: os.path.exists(log) and "Failed listening on port" in open(log).read())


def test_a_signal_can_be_taken_back_before_it_counts(start):
    server = start("--save", "")
    with server.resp() as firn:
        assert firn("SHUTDOWN", "ABORT") == "ERR No shutdown in progress."
        assert firn("DEBUG", "PAUSE-CRON", 1) == "OK"
        server.signal(signal.SIGTERM)
        assert wait_for(lambda: firn("SHUTDOWN", "ABORT") == "OK")
        assert firn("DEBUG", "PAUSE-CRON", 0) == "OK"
        assert firn("PING") == "PONG"
        assert firn("DEBUG", "PAUSE-CRON", 1) == "OK"
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        try:
            assert firn("DEBUG", "PAUSE-CRON", 0) == "OK"
        except ConnectionError:
            pass  # the end may come before the reply
    assert server.wait() == 0


def test_the_second_interrupt_leaves_no_half_dump(start):
    server = start("--appendonly", "no", "--save", "900 1", "--rdb-key-save-delay", "100000")
    dump = os.path.join(server.directory, f"temp-{server.process.pid}.rdb")
    with server.resp() as client:
        client.pipeline([("SET", f"k{i}", "v") for i in range(50)])
    server.signal(signal.SIGINT)
    assert wait_for(lambda: os.path.exists(dump))
    server.signal(signal.SIGINT)
    assert server.wait() == 1
    assert not os.path.exists(dump)


def test_the_second_interrupt_ends_at_once(start):
    server = start("--appendfsync", "no", "--shutdown-timeout", "100")
    with server.resp() as client:
        value = os.urandom(1 << 20)
        client.pipeline([("SET", f"k{i}", value) for i in range(50)])
        # The thread that would shut down in order stands still; a signal still gets through.
        client.send("DEBUG", "SLEEP", "1000")
        assert wait_for(lambda: not answers(server))
        server.signal(signal.SIGINT)
        time.sleep(0.2)
        assert server.process.poll() is None
        # Two that come before the process runs are one.
        assert wait_for(lambda: server.signal(signal.SIGINT) or server.process.poll() is not None,
                        interval=0.1)
        assert server.wait() == 1
    server.start()
    with server.resp() as client:
        assert client("DBSIZE") == 50
        assert client("GET", "k49") == value


def answers(server):
    try:
        with server.resp(timeout=0.5) as client:
            return client("PING") == "PONG"
    except OSError:
        return False


@pytest.mark.parametrize("mode", [0o555, 0o700])
def test_a_directory_without_rights_is_named(open_directory, mode):
    directory = os.path.join(open_directory, "data")
    os.mkdir(directory)
    os.chmod(directory, mode)
    if os.geteuid() != 0 and mode == 0o700:
        pytest.skip("needs another user")
    result = subprocess.run(
        as_nobody(firn_binary(), "--port", str(free_port()), "--dir", directory),
        capture_output=True, text=True, timeout=120, cwd="/")
    assert result.returncode == 1
    text = result.stdout + result.stderr
    assert text.count(directory) == 1 and text.count("Permission denied") == 1, text
    assert os.listdir(directory) == []


def test_a_log_directory_of_another_user_is_one_clear_line(open_directory):
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    os.chown(open_directory, NOBODY, NOBODY)
    server = Server(wait=None, directory=open_directory).start()
    assert server.stop() == 0
    result = subprocess.run(
        as_nobody(firn_binary(), "--port", str(free_port()), "--dir", open_directory),
        capture_output=True, text=True, timeout=120, cwd="/")
    assert result.returncode == 1
    line = (result.stdout + result.stderr).splitlines()[-1]
    assert open_directory in line and "Permission denied" in line


def start_limited(directory, limits, *options):
    """A server of nobody's, whom limits bind, with a log in `directory`."""
    data = os.path.join(directory, "data")
    os.mkdir(data)
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
    server = Server(*options, wait=None, directory=data)
    binary = server.binary
    command = as_nobody("prlimit", *limits, binary, "--port", str(server.port), "--bind",
                        "127.0.0.1", "--dir", data, *[str(option) for option in options])
    server.log_path = os.path.join(directory, "server.log")
    with open(server.log_path, "ab") as log:
        server.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd="/",
                                          stdin=subprocess.DEVNULL)
    try:
        server.wait_until_ready()
    except AssertionError:
        server.kill()
        raise
    return server


@pytest.mark.parametrize("backend", ["auto", "threads"])
def test_little_lockable_memory_costs_a_warning_and_works(open_directory, backend):
    server = start_limited(open_directory, ["--memlock=65536:65536"], "--io-backend", backend)
    try:
        with server.resp() as client:
            values = {f"k{i}": os.urandom(20_000) for i in range(1500)}
            assert set(client.pipeline([("SET", k, v) for k, v in values.items()])) == {"OK"}
            for i in range(0, 1500, 50):
                assert client("TIER", "DEMOTE", f"k{i}") in (1, "OK")
            for key, value in values.items():
                assert client("GET", key) == value
        lines = [line for line in server.log().splitlines() if "RLIMIT_MEMLOCK" in line]
        assert len(lines) == 1, server.log()
        assert " # " in lines[0]
        assert server.stop() == 0
    finally:
        server.kill()


def test_few_descriptors_reduce_maxclients_with_a_warning(open_directory):
    server = start_limited(open_directory, ["--nofile=200:200"])
    try:
        lines = [line for line in server.log().splitlines() if "maxclients" in line]
        assert len(lines) == 1 and "Current maximum open files is 200" in lines[0]
        with server.resp() as client:
            possible = int(client("CONFIG", "GET", "maxclients")[1])
            # The one that asked whether the server is ready has gone.
            assert wait_for(lambda: client("CLIENT", "LIST").count(b"\n") == 1)
            assert 0 < possible < 200
            others = [server.resp() for _ in range(possible - 1)]
            assert all(other("PING") == "PONG" for other in others)
            with server.resp() as refused:
                assert "max number of clients reached" in refused.read()
            # The store still has descriptors of its own.
            value = os.urandom(100_000)
            assert client("SET", "k", value) == "OK"
            assert client("TIER", "DEMOTE", "k") in (1, "OK")
            assert client("GET", "k") == value
            for other in others:
                other.close()
        assert server.stop() == 0
    finally:
        server.kill()


def test_a_soft_limit_on_descriptors_is_raised_without_a_word(open_directory):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 2000:
        pytest.skip("the hard limit is too low")
    server = start_limited(open_directory, [f"--nofile=100:{hard}"], "--maxclients", "500")
    try:
        assert "maxclients" not in server.log()
        with server.resp() as client:
            assert client("CONFIG", "GET", "maxclients") == [b"maxclients", b"500"]
    finally:
        server.kill()
