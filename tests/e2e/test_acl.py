"""Users and their rights: the same answers as redis-server, and what is Firn's own."""
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from harness import Error, RespClient, Server, free_port, redis_server, wait_for


def decoded(value):
    if isinstance(value, bytes):
        return value.decode("utf8", "surrogateescape")
    return [decoded(each) for each in value] if type(value) is list else value


def in_brief(value):
    """7.2 words refusals otherwise than 7.0."""
    if isinstance(value, list):
        return [in_brief(each) for each in value]
    if isinstance(value, str) and "no permissions" in value.lower():
        return [word for word in ("run", "key", "channel") if word in value.lower()][0]
    return value


class Client(RespClient):
    """Bulk strings as text."""

    def read(self):
        return decoded(super().read())


class Redis:
    """Debian's redis-server, without persistence."""

    def __init__(self, directory, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [shutil.which("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
             "--dir", str(directory), "--save", "", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("redis-server doesn't start")

    def resp(self):
        return Client(self.port)

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def both(start, tmp_path):
    """A client of Firn and one of redis-server; both do the same."""
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server")
    firn = start()
    redis = Redis(tmp_path)
    with Client(firn.port) as ours, redis.resp() as theirs:
        def run(*command, only=()):
            mine, other = ours(*command), theirs(*command)
            if only and mine is not None and other is not None:
                mine = {name: dict(zip(mine[::2], mine[1::2]))[name] for name in only}
                other = {name: dict(zip(other[::2], other[1::2]))[name] for name in only}
            assert in_brief(mine) == in_brief(other), command
            assert type(mine) is type(other), command
            return mine
        yield run
    redis.end()


RULES = [
    "on", "off", "nopass", "resetpass", "reset", "allkeys", "resetkeys", "~*", "~a*", "~b:*",
    "%R~r*", "%W~w*", "%RW~a*", "%rw~x", "allchannels", "resetchannels", "&*", "&c*", "&d",
    "allcommands", "nocommands", "+@all", "-@all", "+get", "-get", "+set", "-set", "+@read",
    "-@read", "+@string", "-@string", "+@hash", "+config|get", "-config|get", "+config",
    "-config", "-config|set", "+client|id", "-client|id", "+select|0", "+get|x", ">pw", "<pw",
    ">pw2", "(+get ~s*)", "(%R~q +@read)", "clearselectors", "sanitize-payload",
    "skip-sanitize-payload", "ALLKEYS", "+GET", "+Config|Get", "()",
]


def test_any_rules_make_the_same_user(both):
    state = 7
    for _ in range(400):
        words = []
        for _ in range(1 + state % 4):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            words.append(RULES[(state >> 33) % len(RULES)])
        both("ACL", "SETUSER", "bob", *words)
        # How rules on commands are shown has changed since 7.0, not what they mean.
        both("ACL", "GETUSER", "bob", only=("passwords", "keys", "channels"))
        for command in (["GET", "ab"], ["SET", "wx", "1"], ["GET", "s1"], ["HGETALL", "q"],
                        ["CONFIG", "GET", "x"], ["CONFIG", "SET", "x", "y"], ["CLIENT", "ID"],
                        ["SELECT", "0"], ["SELECT", "1"], ["GET", "x"], ["PUBLISH", "c1", "m"],
                        ["PSUBSCRIBE", "c*"], ["SUBSCRIBE", "d"], ["AUTH", "a", "b"]):
            both("ACL", "DRYRUN", "bob", *command)


@pytest.mark.parametrize("rules", [
    ["+nosuch"], ["+@nosuch"], ["-config|nosuch"], ["+config|get|x"], ["+get|a|b"], ["%~"], ["%"],
    ["%X~a"], ["%RR~a"], ["~a b"], ["&a b"], ["nonsense"], [")"], ["(+get"], ["(+get", "~a"],
    ["(on)"], ["(+nosuch)"], [" () "], ["#12"], ["!12"], ["<nosuch"], ["+get|"], ["allkeys", "~a"],
    ["&*", "&a"], ["on", "+get", "-nosuch"], ["+"], ["-"], ["+@"], ["@read"], [""], ["#" + "G" * 64],
    ["(&* &fail)"], ["+debug|sleep"],
])
def test_wrong_rules_get_the_same_error_and_change_nothing(both, rules):
    both("ACL", "SETUSER", "bob", *rules)
    both("ACL", "GETUSER", "bob", only=("passwords", "keys", "channels"))


@pytest.mark.parametrize("command", [
    ["ACL", "WHOAMI"], ["ACL", "USERS"], ["ACL", "CAT"], ["ACL", "CAT", "nosuch"],
    ["ACL", "GETUSER", "nosuch"], ["ACL", "DELUSER", "default"], ["ACL", "DELUSER", "nosuch"],
    ["ACL", "GENPASS", "0"], ["ACL", "GENPASS", "5000"], ["ACL", "GENPASS", "x"], ["ACL", "LOAD"],
    ["ACL", "SAVE"], ["ACL", "LOG"], ["ACL", "LOG", "RESET"], ["ACL", "LOG", "-1"],
    ["ACL", "LOG", "x"], ["ACL", "DRYRUN", "nosuch", "get", "a"],
    ["ACL", "DRYRUN", "default", "nosuch"], ["ACL", "DRYRUN", "default", "get"],
    ["ACL", "DRYRUN", "default", "get", "a"], ["ACL", "SETUSER", "a b"], ["ACL", "SETUSER", ""],
    ["ACL", "NOSUCH"], ["ACL"], ["ACL", "SETUSER"], ["AUTH", "x"], ["AUTH", "a", "b"],
    ["AUTH", "a", "b", "c"], ["AUTH"],
])
def test_replies_are_the_same(both, command):
    both(*command)


def test_what_a_user_may_run_is_the_same(both):
    both("MSET", "a", "1", "b", "2", "r", "3", "w", "4")
    both("RPUSH", "list", "1")
    both("ACL", "SETUSER", "bob", "on", ">pw", "~a*", "%R~r*", "%W~w*", "(%R~list +lrange)",
         "+@all", "-@dangerous", "+config|get", "-incr", "&c")
    commands = [
        ["GET", "a"], ["GET", "b"], ["GET", "r"], ["GET", "w"], ["SET", "a", "x"], ["SET", "r", "x"],
        ["SET", "w", "x"], ["SET", "w", "x", "GET"], ["GETDEL", "w"], ["GETSET", "r", "x"],
        ["COPY", "r", "w"], ["COPY", "w", "r"], ["RENAME", "r", "w"], ["EXISTS", "b", "w"],
        ["DEL", "r"], ["DEL", "w", "a"], ["INCR", "a"], ["STRLEN", "w"], ["EXPIRE", "r", "10"],
        ["LRANGE", "list", "0", "-1"], ["LPUSH", "list", "1"], ["TYPE", "b"], ["TTL", "b"],
        ["OBJECT", "ENCODING", "b"], ["CONFIG", "GET", "port"], ["CONFIG", "SET", "x", "y"],
        ["KEYS", "*"], ["FLUSHALL"], ["PING"], ["ECHO", "x"], ["SELECT", "0"], ["MULTI"],
        ["SORT", "a", "BY", "x*"], ["MEMORY", "USAGE", "b"], ["WATCH", "b"],
        ["SDIFFSTORE", "w", "a", "r"], ["SDIFFSTORE", "w", "b"], ["ZUNIONSTORE", "w", "2", "a", "b"],
        ["LMPOP", "1", "b", "LEFT"], ["LMPOP", "x", "b", "LEFT"], ["MGET", "a", "r", "b"],
        ["CLIENT", "ID"], ["CLIENT", "KILL", "1"], ["BLPOP", "b", "0.01"],
    ]
    for command in commands:
        both("ACL", "DRYRUN", "bob", *command)
    both("AUTH", "bob", "wrong")
    both("AUTH", "bob", "pw")
    for command in commands:
        if command[0] not in ("MULTI", "CLIENT", "EXPIRE", "MEMORY"):
            both(*command) if command[:2] != ["CONFIG", "GET"] else None
    both("ACL", "WHOAMI")


def test_denials_within_transactions_are_the_same(both):
    both("ACL", "SETUSER", "bob", "on", "nopass", "~a*", "+@all", "+acl")
    both("AUTH", "bob", "x")
    both("MULTI")
    both("SET", "b", "1")
    both("SET", "a", "1")
    both("EXEC")
    both("MULTI")
    both("SET", "a", "1")
    both("ACL", "SETUSER", "bob", "resetkeys", "-get")
    both("SET", "a", "2")
    both("GET", "a")
    both("EXEC")


def log_of(client):
    entries = client("ACL", "LOG")
    return [{entry[i]: entry[i + 1] for i in range(0, len(entry), 2)} for entry in entries]


def test_the_log_tells_what_was_refused(start, tmp_path):
    def fill(client):
        client("ACL", "SETUSER", "bob", "on", ">pw", "~a", "+@all", "-del", "+acl")
        client("AUTH", "bob", "no")
        client("AUTH", "bob", "pw")
        client("GET", "b")
        client("GET", "b")
        client("DEL", "a")
        client("MULTI")
        client("SET", "c", "1")
        client("DISCARD")
        client("PUBLISH", "x", "y")
        return [{k: v for k, v in entry.items()
                 if k in ("count", "reason", "context", "object", "username")}
                for entry in log_of(client)]

    firn = start()
    with Client(firn.port) as client:
        ours = fill(client)
        entry = log_of(client)[0]
        assert "user=bob" in entry["client-info"]
        assert {"entry-id", "timestamp-created", "timestamp-last-updated"} <= set(entry)
        assert float(entry["age-seconds"]) < 60
        info = client("INFO", "stats")
        assert "acl_access_denied_auth:1\r\n" in info
        assert "acl_access_denied_cmd:1\r\n" in info
        assert "acl_access_denied_key:3\r\n" in info
        assert "acl_access_denied_channel:1\r\n" in info
        assert client("ACL", "LOG", "RESET") == "OK"
        assert client("ACL", "LOG") == []
    if shutil.which("redis-server"):
        redis = Redis(tmp_path)
        with redis.resp() as client:
            assert fill(client) == ours
        redis.end()


def test_deleting_a_user_closes_its_connections(server):
    with Client(server.port) as admin, Client(server.port) as other, Client(server.port) as own:
        admin("ACL", "SETUSER", "gone", "on", "nopass", "+@all", "~*", "&*")
        assert other("AUTH", "gone", "x") == "OK"
        assert own("AUTH", "gone", "x") == "OK"
        assert own("ACL", "DELUSER", "gone") == 1
        assert own.at_end()
        assert other.at_end()


def test_a_blocked_command_is_checked_again(server):
    with Client(server.port) as admin, Client(server.port) as waiter:
        admin("ACL", "SETUSER", "waits", "reset", "on", "nopass", "+@all", "~*")
        waiter("AUTH", "waits", "x")
        waiter.send("BLPOP", "q", "0")
        wait_for(lambda: "blocked_clients:1" in admin("INFO", "clients"))
        admin("ACL", "SETUSER", "waits", "resetkeys")
        admin("RPUSH", "q", "x")
        assert waiter.read() == "NOPERM No permissions to access a key"
        assert admin("LLEN", "q") == 1
        admin("DEL", "q")
        admin("ACL", "DELUSER", "waits")


def test_sort_by_unnamed_keys_needs_all_keys(server):
    with Client(server.port) as client:
        client("RPUSH", "s", "1")
        client("ACL", "SETUSER", "sorter", "on", "nopass", "+@all", "~s")
        client("AUTH", "sorter", "x")
        assert client("SORT", "s") == ["1"]
        assert client("SORT", "s", "GET", "#") == ["1"]
        assert client("SORT", "s", "BY", "nosort") == ["1"]
        assert client("SORT", "s", "BY", "w_*") == (
            "ERR BY option of SORT denied due to insufficient ACL permissions.")
        assert client("SORT", "s", "GET", "w_*") == (
            "ERR GET option of SORT denied due to insufficient ACL permissions.")
        client("AUTH", "default", "")
        client("ACL", "SETUSER", "sorter", "%R~*")
        client("AUTH", "sorter", "x")
        assert client("SORT", "s", "BY", "w_*", "GET", "w_*") == [None]
        client("AUTH", "default", "")
        client("ACL", "DELUSER", "sorter")


def test_a_password_for_the_default_user(start):
    firn = start("--requirepass", "secret", wait=None)
    wait_for(lambda: "Ready to accept" in firn.log())
    with Client(firn.port) as client:
        assert client("PING") == "NOAUTH Authentication required."
        assert client("HELLO", "3").startswith("NOAUTH HELLO must be called")
        assert client("AUTH", "wrong").startswith("WRONGPASS")
        assert client("AUTH", "default", "secret") == "OK"
        assert client("CONFIG", "SET", "requirepass", "") == "OK"
    with Client(firn.port) as client:
        assert client("PING") == "PONG"
        assert client("CONFIG", "SET", "requirepass", "new") == "OK"
        assert client("PING") == "PONG"
    with Client(firn.port) as client:
        assert client("PING") == "NOAUTH Authentication required."
        assert client("AUTH", "new") == "OK"


def test_users_of_the_configuration_survive_a_rewrite(start, tmp_path):
    path = tmp_path / "firn.conf"
    path.write_text("# mine\nuser alice on nopass ~a* +@all\nuser bob on >pw (+get ~b*)\n")
    firn = start(config=str(path))
    with Client(firn.port) as client:
        assert client("ACL", "USERS") == ["alice", "bob", "default"]
        client("ACL", "DELUSER", "alice")
        client("ACL", "SETUSER", "carol", "on", "#" + "a" * 64, "%R~c", "+@read")
        lines = client("ACL", "LIST")
        assert client("CONFIG", "REWRITE") == "OK"
    text = path.read_text()
    assert text.startswith("# mine\n")
    assert "alice" not in text
    firn.restart()
    with Client(firn.port) as client:
        assert client("ACL", "LIST") == lines


def fails_to_start(start, *options, **kwargs):
    firn = start(*options, wait=None, **kwargs)
    assert firn.wait() != 0
    return firn.log()


def test_wrong_users_stop_the_start(start, tmp_path):
    assert "Duplicate user" in fails_to_start(start, "--user", "foo", "--user", "foo")
    assert "nosuch" in fails_to_start(start, "--user", "foo", "+nosuch")
    assert "Unmatched parenthesis" in fails_to_start(start, "--user", "foo", "(+get")
    (tmp_path / "users.acl").write_text("user x on\n")
    assert "not both" in fails_to_start(
        start, "--aclfile", str(tmp_path / "users.acl"), "--user", "foo", "on")
    assert "opening file" in fails_to_start(start, "--aclfile", str(tmp_path / "nosuch"))


def test_the_acl_file(start, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user alice on nopass ~* +@all\n\nuser default on nopass ~* &* +@all\n")
    firn = start("--aclfile", str(path))
    with Client(firn.port) as client, Client(firn.port) as alice:
        assert client("ACL", "USERS") == ["alice", "default"]
        alice("AUTH", "alice", "x")
        client("ACL", "SETUSER", "bob", "on", "~b", "+get")
        assert client("ACL", "SAVE") == "OK"
        assert "user bob on sanitize-payload ~b resetchannels -@all +get\n" in path.read_text()
        assert os.listdir(tmp_path) == ["users.acl"]
        path.write_text("user a on\nuser a off\nuser b +nosuch\nwrong\n")
        error = client("ACL", "LOAD")
        assert isinstance(error, Error)
        for part in ("Duplicate user 'a' found on line 2", "Unknown command", "start with user",
                     "no change to the previously active"):
            assert part in error
        assert client("ACL", "USERS") == ["alice", "bob", "default"]
        path.write_text("user carol on >pw +@all ~*\n")
        assert client("ACL", "LOAD") == "OK"
        assert client("ACL", "USERS") == ["carol", "default"]
        assert client("PING") == "PONG"
        assert alice.at_end()


def test_renamed_commands(start):
    firn = start("--rename-command", "get", "fetchit", "--rename-command", "flushall", "")
    with Client(firn.port) as client:
        assert client("SET", "a", "1") == "OK"
        assert client("GET", "a").startswith("ERR unknown command 'GET'")
        assert client("fetchit", "a") == "1"
        assert client("FLUSHALL").startswith("ERR unknown command")
        client("ACL", "SETUSER", "bob", "on", "nopass", "~*", "+get")
        client("AUTH", "bob", "")
        assert client("fetchit", "a") == "1"
    assert "No such command" in fails_to_start(start, "--rename-command", "nosuch", "x")
    assert "already exists" in fails_to_start(start, "--rename-command", "get", "set")


def test_protected_commands_and_settings(start):
    firn = start("--enable-debug-command", "no")
    with Client(firn.port) as client:
        assert client("DEBUG", "SLEEP", "0").startswith("ERR DEBUG command not allowed. If the "
                                                        "enable-debug-command option")
        assert client("MODULE", "LOAD", "/x").startswith("ERR MODULE command not allowed.")
        assert "protected config" in client("CONFIG", "SET", "dir", "/")
    firn = start("--enable-debug-command", "local", "--enable-module-command", "local")
    with Client(firn.port) as client:
        assert client("DEBUG", "SLEEP", "0") == "OK"
        assert client("MODULE", "LOAD", "/x").startswith("ERR Error loading the extension")


def test_secrets_are_not_logged(server):
    with Client(server.port) as client:
        client("CONFIG", "SET", "slowlog-log-slower-than", "0")
        client("SLOWLOG", "RESET")
        client("ACL", "SETUSER", "secretive", "on", ">topsecret")
        client("AUTH", "secretive", "topsecret")
        client("AUTH", "default", "topsecret2")
        entries = repr(client("SLOWLOG", "GET", "10"))
        assert "topsecret" not in entries
        client("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        client("ACL", "DELUSER", "secretive")
    assert "topsecret" not in server.log()


def test_hostile_rules_don_t_hurt(server):
    with Client(server.port) as client:
        for rule in ("(" * 10000, "+" + "a|" * 10000, "%" + "R" * 10000, "~" + "*" * 10000,
                     "\0", "+\0get", "(+get \"", "&" + "[" * 5000):
            client("ACL", "SETUSER", "h", rule)
            client("ACL", "GETUSER", "h")
        client("ACL", "SETUSER", "h" * 100000, "on")
        client("ACL", "DELUSER", "h" * 100000)
        client("ACL", "DELUSER", "h")
        assert client("PING") == "PONG"
        assert re.match("^[0-9a-f]{64}$", client("ACL", "GENPASS"))
        assert re.match("^[0-9a-f]{2}$", client("ACL", "GENPASS", "5"))
