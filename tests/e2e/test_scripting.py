"""EVAL, EVALSHA, SCRIPT, FUNCTION and FCALL."""

import threading
import time

import pytest
import redis

from harness import Error, Simple, wait_for

LOOP = "while true do end"


def sha(client, script):
    return client.script_load(script)


def test_values_become_replies(resp):
    def run(body, *args):
        return resp("EVAL", body, *(args or ("0",)))

    assert run("return 1.9") == 1
    assert run("return 'a\\0b'") == b"a\0b"
    assert run("return {1, {2, 'x'}, nil, 4}") == [1, [2, b"x"]]
    assert run("return true") == 1
    assert run("return false") is None
    assert run("return nil") is None
    assert run("return {ok = 'fine'}") == Simple("fine")
    assert run("return {err = 'MY bad'}") == Error("MY bad")
    assert run("return redis.error_reply('MY bad\\r\\n+OK')") == Error("MY bad  +OK")
    assert run("return redis.status_reply('a\\r\\nb')") == Simple("a  b")
    assert run("return {KEYS[1], ARGV[1], #KEYS, #ARGV}", "1", "k", "v", "w") == [b"k", b"v", 1, 2]
    assert run("return 2^63") == -(2**63)
    assert run("return {double = 1.5}") == b"1.5"


def test_resp3_values(resp):
    resp("HELLO", "3")
    resp("HSET", "h", "a", "1")
    assert resp("EVAL", "redis.setresp(3) return redis.call('HGETALL', 'h')", "0") == {b"a": b"1"}
    assert resp("EVAL", "return redis.call('HGETALL', 'h')", "0") == [b"a", b"1"]
    assert resp("EVAL", "return {double = 1.5}", "0") == 1.5
    assert resp("EVAL", "return {map = {a = 1}}", "0") == {b"a": 1}
    assert resp("EVAL", "return {set = {a = true}}", "0") == {b"a"}
    assert resp("EVAL", "redis.setresp(3) return true", "0") is True
    resp("ZADD", "z", "1.5", "m")
    assert resp("EVAL", "redis.setresp(3) return redis.call('ZSCORE', 'z', 'm').double * 2",
                "0") == 3


def test_commands_are_called(resp):
    assert resp("EVAL", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])",
                "1", "k", "v") == b"v"
    assert resp("EVAL", "return redis.call('INCRBY', 'n', 2^53)", "0") == 2**53
    assert resp("EVAL", "return redis.call('APPEND', 'a', 0.1)", "0") == 3
    assert resp("EVAL", "return redis.call('MISSING')", "0").startswith(
        "ERR Unknown Redis command called from script script: ")
    digest = resp("SCRIPT", "LOAD", "return redis.call('LPUSH', 'k', 1)").decode()
    assert resp("EVALSHA", digest.upper(), "0") == Error(
        "WRONGTYPE Operation against a key holding the wrong kind of value script: "
        f"{digest}, on @user_script:1.")
    assert resp("EVAL", "return redis.pcall('LPUSH', 'k', 1).err", "0").startswith(b"WRONGTYPE")
    assert resp("EVAL", "return {pcall(redis.call, 'LPUSH', 'k', 1)}", "0")[1].startswith(
        b"WRONGTYPE")
    assert resp("EVAL", "return redis.call('BLPOP', 'none', 0)", "0") is None
    assert resp("EVAL", "return redis.call('SUBSCRIBE', 'x')", "0").startswith(
        "ERR This Redis command is not allowed from script")
    assert resp("EVALSHA", "f" * 40, "0") == Error(
        "NOSCRIPT No matching script. Please use EVAL.")
    assert resp("EVAL", "redis.call('SELECT', 3) return redis.call('SET', 'other', 1)", "0") == "OK"
    assert resp("EXISTS", "other") == 0
    resp("SELECT", "3")
    assert resp("EXISTS", "other") == 1


def test_scripts_that_only_read(resp):
    for command in ("EVAL_RO", "EVAL"):
        head = "" if command == "EVAL_RO" else "#!lua flags=no-writes\n"
        error = resp(command, head + "return redis.call('SET', 'k', 1)", "0")
        assert error.startswith("ERR Write commands are not allowed from read-only scripts.")
        assert resp(command, head + "return redis.call('GET', 'k')", "0") is None
    assert resp("EVAL", "#!lua name=x\nreturn 1", "0") == Error(
        "ERR Unknown lua shebang option: name=x")
    assert resp("EVAL", "#!lua flags=bad\nreturn 1", "0") == Error(
        "ERR Unexpected flag in script shebang: bad")
    assert resp("EVAL", "#!js\nreturn 1", "0") == Error(
        "ERR Unexpected engine in script shebang: #!js")


def test_undeclared_cold_keys_are_fetched_within_the_script(client):
    keys = [f"cold{i}" for i in range(100)]
    for key in keys:
        client.set(key, key * 50)
    client.hset("h", mapping={f"f{i}": "v" * 100 for i in range(500)})
    client.execute_command("TIER", "DEMOTE", *keys, "h")
    total = client.eval(
        "local n = 0 for i = 0, 99 do n = n + #redis.call('GET', 'cold' .. i) end "
        "redis.call('HSET', 'h', 'f0', 'new') redis.call('SET', 'sum', n) "
        "return n + redis.call('HLEN', 'h')", 0)
    assert total == sum(len(key) * 50 for key in keys) + 500
    assert client.get("sum") == str(total - 500).encode()
    assert client.hget("h", "f0") == b"new"
    assert client.info("stats")["scripts_suspended"] > 0


def test_cold_keys_within_callbacks_and_coroutines(client):
    for i in range(20):
        client.set(f"k{i}", str(20 - i))
    client.execute_command("TIER", "DEMOTE", *[f"k{i}" for i in range(20)])
    assert client.eval(
        "local t = {} for i = 0, 19 do t[#t + 1] = 'k' .. i end "
        "table.sort(t, function(a, b) return tonumber(redis.call('GET', a)) < "
        "tonumber(redis.call('GET', b)) end) return t[1]", 0) == b"k19"
    client.execute_command("TIER", "DEMOTE", *[f"k{i}" for i in range(20)])
    assert client.eval(
        "return (string.gsub('k1 k2', 'k%d', function(k) return redis.call('GET', k) end))",
        0) == b"19 18"
    client.execute_command("TIER", "DEMOTE", *[f"k{i}" for i in range(20)])
    assert client.eval(
        "local get = coroutine.wrap(function() for i = 3, 5 do "
        "coroutine.yield(redis.call('GET', 'k' .. i)) end end) "
        "return {get(), get(), get()}", 0) == [b"17", b"16", b"15"]


def test_asynchronous_commands_within_a_script(client):
    for i in range(50):
        client.set(f"k{i}", "v" * 200)
    client.execute_command("TIER", "DEMOTE", *[f"k{i}" for i in range(50)])
    assert client.eval("return redis.call('DBSIZE')", 0) == 50
    assert len(client.eval("return redis.call('KEYS', '*')", 0)) == 50
    assert client.eval("return redis.call('SCAN', 0, 'COUNT', 1000)[1]", 0) == b"0"
    client.rpush("list", *range(10))
    client.mset({f"w{i}": 10 - i for i in range(10)})
    client.execute_command("TIER", "DEMOTE", *[f"w{i}" for i in range(10)])
    assert client.eval("return redis.call('SORT', 'list', 'BY', 'w*', 'LIMIT', 0, 1)", 0) == [b"9"]
    with client.pipeline(transaction=True) as pipe:
        pipe.eval("return redis.call('DBSIZE')", 0)
        pipe.eval("return redis.call('GET', 'k1')", 0)
        assert pipe.execute() == [61, b"v" * 200]


def test_nobody_sees_half_of_a_script(server, client):
    for i in range(40):
        client.set(f"cold{i}", "x" * 500)
    stop = threading.Event()
    seen = []

    def watch():
        with server.redis() as other:
            while not stop.is_set():
                a, b = other.mget("a", "b")
                if a != b:
                    seen.append((a, b))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for round_number in range(50):
            client.execute_command("TIER", "DEMOTE", *[f"cold{i}" for i in range(40)])
            client.eval(
                "redis.call('SET', 'a', ARGV[1]) for i = 0, 39 do redis.call('GET', 'cold' .. i) end "
                "redis.call('SET', 'b', ARGV[1])", 0, round_number)
    finally:
        stop.set()
        thread.join()
    assert seen == []


def test_a_script_outlives_its_client(server, client):
    for i in range(50):
        client.set(f"cold{i}", "x" * 500)
    client.execute_command("TIER", "DEMOTE", *[f"cold{i}" for i in range(50)])
    other = server.resp()
    other.send("EVAL", "redis.call('SET', 'a', 1) for i = 0, 49 do redis.call('GET', 'cold' .. i) "
               "end redis.call('SET', 'b', 1)", "0")
    other.close()
    deadline = time.time() + 5
    while client.mget("a", "b") != [b"1", b"1"] and time.time() < deadline:
        time.sleep(0.01)
    assert client.mget("a", "b") in ([b"1", b"1"], [None, None])


NOT_BUSY = Error("NOTBUSY No scripts in execution right now.")


def wait_until_busy(connection):
    assert wait_for(lambda: (connection("GET", "k") or b"")[:5] == "BUSY ")


def test_busy_scripts_can_be_killed(server, client):
    client.config_set("busy-reply-threshold", 10)
    try:
        with server.resp() as runner, server.resp() as other:
            for loop in (LOOP, "while true do pcall(function() while true do end end) end",
                         "string.gsub('x', 'x', function() while true do end end)",
                         "coroutine.wrap(function() while true do end end)()"):
                runner.send("EVAL", loop, "0")
                wait_until_busy(other)
                assert other("FUNCTION", "KILL").startswith("BUSY ")
                assert other("MULTI") == "OK"
                assert other("GET", "k").startswith("BUSY ")
                assert other("EXEC").startswith("EXECABORT ")
                assert other("SCRIPT", "KILL") == "OK"
                assert "Script killed by user with SCRIPT KILL" in runner.read()
                assert other("GET", "k") is None
            assert other("SCRIPT", "KILL") == NOT_BUSY
            # It may have ended before anybody saw that it runs.
            for rounds in (3, 30, 300):
                runner.send("EVAL", "redis.call('SET', 'k', 1) local n = 0 "
                            "for i = 1, ARGV[1] * 1e8 do n = n + 1 end return n", "0", rounds)
                time.sleep(0.1)
                refusal = other("SCRIPT", "KILL")
                assert runner.read() == rounds * 10**8
                if refusal != NOT_BUSY:
                    break
            assert refusal.startswith("UNKILLABLE ")
            assert other("GET", "k") == b"1"
    finally:
        client.config_set("busy-reply-threshold", 5000)


@pytest.mark.parametrize("becoming_durable", [False, True])
def test_shutdown_ends_a_busy_script(start, becoming_durable):
    server = start("--busy-reply-threshold", "10",
                   *(("--appendonly", "no") if becoming_durable else ()))
    with server.resp() as runner, server.resp() as other:
        other("SET", "before", "1")
        if becoming_durable:
            assert other("SAVE") == "OK"
            runner.send("CONFIG", "SET", "appendonly", "yes")
        runner.send("EVAL", "redis.call('SET', 'half', 1) " + LOOP, "0")
        wait_until_busy(other)
        other.send("SHUTDOWN", "NOSAVE")
        server.wait()
    server.start()
    with server.redis() as client:
        assert client.get("before") == b"1"
        assert client.get("half") is None


LIBRARY = """#!lua name=mylib
local function get(keys, args) return redis.call('GET', keys[1]) end
redis.register_function{function_name = 'my_get', callback = get, flags = {'no-writes'},
                        description = 'reads'}
redis.register_function('my_set', function(keys, args)
  return redis.call('SET', keys[1], args[1])
end)
"""


def test_functions_are_called_and_survive_a_restart(start):
    server = start()
    with server.resp() as resp:
        assert resp("FUNCTION", "LOAD", LIBRARY) == b"mylib"
        assert resp("FUNCTION", "LOAD", LIBRARY) == Error("ERR Library 'mylib' already exists")
        assert resp("FUNCTION", "LOAD", "REPLACE", LIBRARY) == b"mylib"
        assert resp("FCALL", "my_set", "1", "k", "v") == "OK"
        assert resp("FCALL_RO", "MY_GET", "1", "k") == b"v"
        assert resp("FCALL_RO", "my_set", "1", "k", "v") == Error(
            "ERR Can not execute a script with write flag using *_ro command.")
        assert resp("FCALL", "none", "0") == Error("ERR Function not found")
        dump = resp("FUNCTION", "DUMP")
    server.kill()
    server.start()
    with server.resp() as resp:
        assert resp("FCALL", "my_get", "1", "k") == b"v"
        assert resp("FUNCTION", "DUMP") == dump
        assert resp("FUNCTION", "FLUSH") == "OK"
        assert resp("FUNCTION", "LIST") == []
        assert resp("FUNCTION", "RESTORE", dump) == "OK"
        assert resp("FUNCTION", "RESTORE", dump) == Error("ERR Library mylib already exists")
        assert resp("FUNCTION", "RESTORE", dump[:-1] + b"x") == Error(
            "ERR DUMP payload version or checksum are wrong")
        assert resp("FCALL", "my_get", "1", "k") == b"v"
        (library,) = resp("FUNCTION", "LIST", "WITHCODE")
        assert library[1] == b"mylib" and library[-1] == LIBRARY.encode()


STEP = """local n = redis.call('INCR', 'a')
for i = 0, 199 do redis.call('APPEND', 'cold' .. i, 'y') end
redis.call('SET', 'b', n)"""


@pytest.mark.parametrize("call", [("EVAL", STEP, "0"), ("FCALL", "step", "0")],
                         ids=["script", "function"])
def test_a_script_is_whole_or_absent_after_a_crash(start, call):
    server = start("--appendfsync", "always")
    with server.resp() as resp:
        resp("FUNCTION", "LOAD", "#!lua name=crash\n"
             f"redis.register_function('step', function() {STEP} end)")
        for i in range(200):
            resp("SET", f"cold{i}", "x" * 1000)
    done = 0
    for _ in range(4):
        with server.resp() as resp:
            resp("TIER", "DEMOTE", *[f"cold{i}" for i in range(200)])
            assert resp(*call) is None
            done += 1
            resp.send(*call)
            time.sleep(0.003)
            server.kill()
        server.start()
        with server.resp() as resp:
            a, b = resp("MGET", "a", "b")
            assert a == b and int(a) in (done, done + 1)
            done = int(a)
            assert {resp("STRLEN", f"cold{i}") for i in range(200)} == {1000 + done}


def test_what_a_script_does_wakes_others(server, client):
    with server.resp() as blocked:
        blocked.send("BLPOP", "queue", "5")
        time.sleep(0.1)
        assert client.eval("redis.call('LPUSH', 'queue', 'a') return redis.call('LLEN', 'queue')",
                           0) == 1
        assert blocked.read() == [b"queue", b"a"]
    with server.resp() as watcher:
        watcher("WATCH", "w")
        client.eval("redis.call('SET', 'w', 1)", 0)
        watcher("MULTI")
        watcher("PING")
        assert watcher("EXEC") is None


def test_scripts_leave_nothing_behind(resp):
    resp("EVAL", "local t = {} for i = 1, 1e5 do t[i] = {i} end", "0")
    assert "readonly table" in resp("EVAL", "leak = 1", "0")
    assert "nonexistent global variable 'leak'" in resp("EVAL", "return leak", "0")
    assert resp("EVAL", "return #KEYS + #ARGV", "0") == 0
    assert resp("SCRIPT", "FLUSH") == "OK"
    digest = resp("SCRIPT", "LOAD", "return 7")
    assert resp("SCRIPT", "EXISTS", digest, "x") == [1, 0]
    assert resp("EVALSHA", digest, "0") == 7
