"""Configuration against redis-server: defaults, CONFIG SET's replies, Debian's redis.conf."""

import os
import shutil
import subprocess

import pytest

from harness import Error, Server, firn_binary, redis_server

# Where Firn means to differ, or the machine and the test's own arguments decide.
DIFFERENT_DEFAULTS = {
    "appendonly", "save", "maxmemory", "dir", "port", "bind", "enable-debug-command", "logfile",
    # Not hidden yet in Redis 7.0.
    "aof-disable-auto-gc",
}
VALUES = ["", " ", "yes", "NO", "0", "1", "-1", "01", "+1", "5%", "200%", "x%", "%", "1kb", "1KB",
          "3mb", "1tb", "gb", "1 2", "1 2 3", " 1", "99999999999", "9223372036854775807",
          "9223372036854775808", "18446744073709551616", "abc", "50 99.9", "101", "nan",
          "normal 1 2 3", "replica 1mb 2k 3 pubsub 0 0 0", "master 1 2 3", "normal 1 2 -3",
          "KEA", "mg$lq", "nosave force", "save nosave", "default", "allkeys-lru", "a/b"]
# Setting these would cut the test off, or acts on the machine.
NOT_SET = {"port", "bind", "requirepass", "oom-score-adj", "oom-score-adj-values", "dir",
           "maxclients", "client-query-buffer-limit", "proto-max-bulk-len", "maxmemory",
           "maxmemory-clients", "timeout", "protected-mode", "unixsocket",
           "client-output-buffer-limit", "locale-collate", "tls-port", "watchdog-period",
           # Redis 7.2 has a level more than 7.0 and names it in the error.
           "loglevel",
           # They act on what Firn does not have, and are remembered; Redis wants certificates.
           "tls-cluster", "tls-replication"}


@pytest.fixture(scope="module")
def redis():
    instance = redis_server()
    assert instance is not None, "Debian's redis-server is not installed"
    yield instance
    instance.remove()


def pairs(reply):
    return dict(zip(map(bytes.decode, reply[::2]), map(bytes.decode, reply[1::2])))


def test_defaults_are_those_of_redis(server, redis):
    with server.resp() as firn, redis.resp() as other:
        ours, theirs = pairs(firn("CONFIG", "GET", "*")), pairs(other("CONFIG", "GET", "*"))
    given = os.environ.get("FIRN_TEST_ARGUMENTS", "")
    wrong = {name: (ours.get(name), value) for name, value in theirs.items()
             if name not in DIFFERENT_DEFAULTS and ours.get(name) != value
             and f"--{name} " not in given}
    assert not wrong


def test_what_is_missing_or_malformed_is_refused_as_in_redis(server, redis):
    commands = [["CONFIG", "SET"], ["CONFIG", "SET", "hz"], ["CONFIG", "SET", "nothing", "1"],
                ["CONFIG", "SET", "hz", "1", "nothing", "2", "daemonize", "yes"],
                ["CONFIG", "SET", "daemonize", "yes"], ["CONFIG", "SET", "hz", "1", "HZ", "2"],
                ["CONFIG", "SET", "dir", "/"], ["CONFIG", "GET"], ["CONFIG", "GET", "nothing"],
                ["CONFIG", "REWRITE"], ["CONFIG", "SET", "hz", "20", "timeout", "x"]]
    with server.resp() as firn, redis.resp() as other:
        for command in commands:
            assert firn(*command) == other(*command), command


def test_set_answers_as_in_redis(server, redis):
    with server.resp() as firn, redis.resp() as other:
        names = sorted(set(pairs(other("CONFIG", "GET", "*"))) - NOT_SET)
        for name in names:
            before = [connection("CONFIG", "GET", name)[1] for connection in (firn, other)]
            for value in VALUES:
                ours, theirs = (c("CONFIG", "SET", name, value) for c in (firn, other))
                if isinstance(ours, Error) and "does not have" in ours:
                    continue  # refused because its feature is missing
                if isinstance(ours, Error) and "while the server runs" in ours:
                    continue
                if isinstance(theirs, Error) and "Active defragmentation" in theirs:
                    continue  # it has no meaning in Firn, which remembers it
                assert ours == theirs, (name, value)
                if ours == "OK":
                    assert firn("CONFIG", "GET", name) == other("CONFIG", "GET", name), name
            firn("CONFIG", "SET", name, before[0])
            other("CONFIG", "SET", name, before[1])


def test_options_of_its_own_may_be_set_to_what_they_are(server, redis):
    with server.resp() as firn, redis.resp() as other:
        ours = pairs(firn("CONFIG", "GET", "*"))
        own = ours.keys() - pairs(other("CONFIG", "GET", "*")).keys()
        assert "tier-restore-hot-set" in own
        for name in sorted(own):
            assert firn("CONFIG", "SET", name, ours[name]) == "OK", name


def test_debian_configuration_starts_firn(tmp_path):
    # Only paths are replaced, and what would hide the server from the test.
    (tmp_path / "data").mkdir()
    instance = Server("--daemonize", "no", "--logfile", "", "--pidfile", str(tmp_path / "pid"),
                      directory=str(tmp_path / "data"), config="/etc/redis/redis.conf")
    try:
        with instance.resp() as firn:
            assert firn("CONFIG", "GET", "appendonly")[1] == b"no"
            assert firn("CONFIG", "GET", "proc-title-template")[1].startswith(b"{title}")
        assert instance.stop() == 0
    finally:
        instance.remove()


def start_fails(*arguments, stdin=b""):
    done = subprocess.run([firn_binary(), *map(str, arguments)], input=stdin, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode != 0
    return done.stdout.decode()


def test_a_bad_line_stops_the_start_with_file_line_and_reason(tmp_path):
    config = tmp_path / "firn.conf"
    config.write_text("# comment\nhz 10\nport nine\n")
    output = start_fails(config)
    assert "*** FATAL CONFIG FILE ERROR (Firn " in output
    assert "Reading the configuration file, at line 3" in output
    assert str(config) in output
    assert ">>> 'port nine'\nargument couldn't be parsed into an integer" in output
    assert "Bad directive or wrong number of arguments" in start_fails("--invalid", "1")
    assert "needs replication" in start_fails("--replicaof", "127.0.0.1", "1")
    assert "can't open config file" in start_fails(tmp_path / "missing.conf")
    assert ">>> 'bla'" in start_fails("-", stdin=b"bla\n")


def test_rewrite_survives_a_restart(tmp_path):
    config = tmp_path / "firn.conf"
    config.write_text("# mine\nhz 20\n")
    os.chmod(config, 0o600)
    (tmp_path / "data").mkdir()
    instance = Server(directory=str(tmp_path / "data"), config=str(config))
    try:
        with instance.resp() as firn:
            assert firn("CONFIG", "SET", "hz", "30", "maxmemory", "64mb", "timeout", "9") == "OK"
            assert firn("CONFIG", "REWRITE") == "OK"
        text = config.read_text()
        assert text.startswith("# mine\nhz 30\n")
        assert "# Generated by CONFIG REWRITE\n" in text
        assert config.stat().st_mode & 0o777 == 0o600
        instance.restart()
        with instance.resp() as firn:
            assert pairs(firn("CONFIG", "GET", "hz", "maxmemory", "timeout")) == {
                "hz": "30", "maxmemory": "67108864", "timeout": "9"}
    finally:
        instance.remove()


def test_version_help_and_reference_are_printed():
    def output(argument):
        return subprocess.run([firn_binary(), argument], stdout=subprocess.PIPE, check=True,
                              timeout=30).stdout.decode()

    assert output("--version").startswith("Firn server v=")
    assert "--maxdisk" in output("--help")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, "docs", "configuration.md"), encoding="utf8") as reference:
        assert output("--print-configuration-reference") == reference.read()


def test_debian_redis_is_there_to_compare_with():
    assert shutil.which("redis-server") and os.path.exists("/etc/redis/redis.conf")
