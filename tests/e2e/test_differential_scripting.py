"""Scripts against redis-server and Firn side by side: values, errors and their places must be equal."""

import pytest

from test_differential import pair  # noqa: F401 (a fixture)

SCRIPTS = [
    "return 1", "return 3.99", "return -0.5", "return 'x'", "return true", "return false", "return",
    "return {}", "return {1, nil, 3}", "return {1, {2, {3}}}", "return {ok = 'a'}", "return {err = 'a b'}",
    "return {err = 'a'}", "return {double = 3.25}", "return {map = {a = 1}}", "return {set = {a = true}}",
    "return {big_number = '123'}", "return {verbatim_string = {string = 'a', format = 'txt'}}",
    "return function() end", "return 1e15", "return 0/0", "return tostring(0.1)", "return tostring(1e15)",
    "return tostring(2^53)", "return tostring(-0)", "return 10 / 3 .. ''", "return #'abc'",
    "return redis.error_reply('MY err')", "return redis.error_reply('-MY err')",
    "return redis.error_reply('one')", "return redis.error_reply()", "return redis.status_reply('fine')",
    "return redis.status_reply({})", "return redis.sha1hex('')", "return redis.sha1hex('abc')",
    "return redis.call('SET', 'k', 'v')", "return redis.call('GET', 'k')", "return redis.call('GET', 'none')",
    "return redis.call('LPUSH', 'k', 1)", "return redis.pcall('LPUSH', 'k', 1)",
    "return redis.pcall('LPUSH', 'k', 1).err", "return {pcall(redis.call, 'LPUSH', 'k', 1)}",
    "return redis.call('NOSUCH')", "return redis.call('GET')", "return redis.call('CONFIG', 'GET', 'maxmemory')",
    "return redis.call('SUBSCRIBE', 'x')", "return redis.call('EVAL', 'return 1', 0)", "return redis.call()",
    "return redis.call({})", "return redis.call('GET', true)", "return redis.pcall('GET', nil)",
    "return redis.call('SET', 'n', 10) and redis.call('INCRBY', 'n', 5)", "redis.call('SET', 'f', 1e20) return redis.call('GET', 'f')",
    
    "redis.call('RPUSH', 'l', 1, 2, 3) return redis.call('LRANGE', 'l', 0, -1)",
    "redis.call('HSET', 'h', 'a', 1) return redis.call('HGETALL', 'h')",
    "redis.setresp(3) return redis.call('HGETALL', 'h')", "redis.setresp(3) return redis.call('GET', 'none')",
    "redis.setresp(3) return redis.call('ZSCORE', 'none', 'a')", "redis.setresp(3) return true",
    "redis.setresp(3) redis.call('SADD', 's', 'a') return redis.call('SMEMBERS', 's')",
    "redis.setresp(3) redis.call('ZADD', 'z', 1.5, 'a') return redis.call('ZSCORE', 'z', 'a').double * 2",
    "redis.setresp(4)", "redis.setresp()", "error('boom')", "error({err = 'MY boom'})", "error(nil)",
    "error('boom', 0)", "local x = nil; return x.y", "return nosuch", "nosuch = 1", "return 1 +", "return {} + 1",
    "return ('x')()", "local t = setmetatable({}, {__index = function() error('inner') end}) return t.a",
    "return {pcall(error, 'x')}", "return {pcall(error, {err = 'y'})}", 
    "return {select('#', 1, 2, 3), select(2, 'a', 'b')}", "return table.concat({1, 2, 3}, ',')",
    "local t = {3, 1, 2} table.sort(t) return t", "return {string.find('hello', 'l+')}",
    "return string.format('%5.2f|%d|%s|%q', 3.14159, 42, 'x', 'a\\nb')", "return {math.floor(-1.5), math.max(1, 5, 3)}",
    "return {bit.band(255, 15), bit.tohex(255), bit.lshift(1, 31), bit.bxor(5, 3)}",
    "return cjson.encode({1, 2, {a = 'b'}})", "return cjson.encode({})", "return cjson.decode('[1, 2.5, \"x\", null]')[2] * 2",
    "return cjson.encode(cjson.decode('{\"a\": [1, null, true]}'))", "return cjson.decode('{bad')",
    "return cmsgpack.pack({1, 'a', {b = true}}, nil, -5, 1.5, 2^40)", "return {cmsgpack.unpack(cmsgpack.pack(1, 'x'))}",
    "return struct.pack('>I2hb', 1, -2, 3)", "return {struct.unpack('>I2', '\\1\\2')}", "return struct.size('>i4d')",
    "return {struct.unpack('>I2', 'a')}", "return {KEYS[1], ARGV[1], ARGV[2], #KEYS, #ARGV}",
    "return loadstring('return 1 + 1')()", "return {loadstring('bad code')}", "return load(function() return nil end) and 1",
    "return _VERSION", "return {type(redis), type(redis.LOG_DEBUG), redis.REPL_ALL}",
    "return math.random()", "return math.random(100)", "return math.random(5, 10)", "math.randomseed(42) return math.random(1e6)",
    "math.randomseed(7) local t = {} for i = 1, 10 do t[i] = math.random(1000) end return t", "return math.random(0)",
    "redis.set_repl(redis.REPL_ALL) return 1", "redis.set_repl(9)", "return redis.replicate_commands()",
    "return redis.breakpoint()", "return redis.debug('x')", "redis.log(redis.LOG_DEBUG, 'x') return 1", "redis.log('x')",
    "redis.log(10, 'x')", "redis.log('a', 'b')", "return redis.acl_check_cmd('set', 'k', 'v')", "return redis.acl_check_cmd('nosuch')",
    "string.rep = nil", "rawset(_G, 'x', 1)", "setmetatable(_G, {})", "return getmetatable('') ~= nil",
    "table.insert(redis, 1)", "print('x')", "dofile('x')", "return os", "return debug", "return io", "return require",
    "local a = {} local b = {a} a[1] = b return 1", "for i = 1, 3 do\n  if i == 2 then\n    error('line')\n  end\nend",
    "local function f()\n redis.call('NOSUCH')\nend\nf()", "return redis.call('PING')", "return redis.call('ECHO', 'x')",
    "return redis.call('TIME')[1] + 0 > 0", "redis.call('SELECT', 5) redis.call('SET', 'd5', 1)",
    "return redis.call('EXISTS', 'd5')", "return redis.call('type', 'k')", "return redis.call('set', 'k', 'v', 'nx')",
    "return redis.call('object', 'encoding', 'n')", "return redis.call('object', 'nosuch')", "return redis.call('script', 'exists', 'x')",
    "#!lua\nreturn 1", "#!lua flags=no-writes\nreturn redis.call('SET', 'k', 1)", "#!lua flags=nosuch\nreturn 1", "#!lua x=1\nreturn 1",
    "#!js\nreturn 1", "#!lua", "#!lua flags=allow-oom,no-writes\nreturn redis.call('GET', 'k')", "#!\nreturn 1",
    "return string.rep('x', 100000)", "return tostring({}):sub(1, 6)", "return tostring(redis):sub(1, 6)",
    "local t = {} for k in pairs({a = 1, b = 2}) do t[#t + 1] = k end table.sort(t) return t",
    "local n = 0 for k in pairs(redis) do n = n + 1 end return n > 10", "return next({}) == nil", "return {ipairs({})}",
    "return unpack({1, 2, 3})", "return {unpack({1, 2, 3}, 2)}", "return {tonumber('0x10'), tonumber('z', 36), tonumber('1e2')}",
    "return {1, 2, err = 'x y'}", "return {1, ok = 'x'}", "return {double = 'x'}", "return redis.call('HELLO')", "return redis.call('AUTH', 'x')",
]

LIBRARIES = [
    "#!lua name=l1\nredis.register_function('f1', function(k, a) return {#k, #a, k[1], a[1]} end)",
    "#!lua name=l1\nredis.register_function('f1', function() return 1 end)",
    "#!lua name=l2\nredis.register_function('f1', function() return 1 end)", "no head", "#!lua\nreturn", "#!lua name=a-b\nreturn 1",
    "#!js name=a\nx", "#!lua name=a name=b\nx", "#!lua name=a foo=b\nx", "#!lua name=l3\nreturn 1", "#!lua name=l3\nbad code",
    "#!lua name=l3\nredis.call('PING')", "#!lua name=l3\nerror('x')", "#!lua name=l3\nreturn math.abs(1)", "#!lua name=l3\nx = 1",
    "#!lua name=l3\nredis.register_function('f 3', function() end)", "#!lua name=l3\nredis.register_function('f3', 1)",
    "#!lua name=l3\nredis.register_function()", "#!lua name=l3\nredis.register_function({})", "#!lua name=l3\nredis.register_function('a')",
    "#!lua name=l3\nredis.register_function{function_name = 'f3', callback = function() end, flags = {'x'}}",
    "#!lua name=l3\nredis.register_function{function_name = 'f3', callback = function() end, foo = 1}",
    "#!lua name=l3\nredis.register_function{function_name = 'f3', callback = function() return redis.call('SET', 'k', 1) end, flags = {'no-writes'}}",
    "#!lua name=l4\nredis.register_function('f4', function(k) return redis.call('NOSUCH') end)",
    "#!lua name=l5\nlocal n = 0 redis.register_function('f5', function(k) n = n + 1 return n end)",
    "#!lua name=l6\nredis.register_function('f6', function(k) g = 1 end) redis.register_function('f6b', function() return g end)",
]

CALLS = [("FCALL", "f1", "1", "k", "a"), ("FCALL", "F1", "0"), ("FCALL", "none", "0"), ("FCALL", "f1", "x"), ("FCALL", "f1", "5"),
         ("FCALL", "f1", "-1"), ("FCALL_RO", "f1", "0"), ("FCALL_RO", "f3", "0"), ("FCALL", "f3", "0"), ("FCALL", "f4", "0"),
         ("FCALL", "f5", "0"), ("FCALL", "f5", "0"), ("FCALL", "f6", "0"), ("FCALL", "f6b", "0"), ("FUNCTION", "STATS"),
         ("FUNCTION", "LIST", "LIBRARYNAME", "l5", "WITHCODE"), ("FUNCTION", "LIST", "X"), ("FUNCTION", "DELETE", "nosuch"),
         ("FUNCTION", "DELETE", "l5"), ("FCALL", "f5", "0"), ("FUNCTION", "RESTORE", "bad"), ("FUNCTION", "KILL"), ("SCRIPT", "KILL"),
         ("FUNCTION", "FLUSH", "X"), ("SCRIPT", "FLUSH", "X"), ("SCRIPT", "EXISTS", "x", "y"), ("FUNCTION", "FLUSH"), ("FUNCTION", "LIST")]


# What differs on purpose: the texts of Lua's own errors are LuaJIT's.
LUA_ERRORS = ("attempt to", "bad argument", "Expected", "expected", "unexpected", "<eof>", "calling")


def same(ours, theirs):
    if ours == theirs:
        return True
    both = isinstance(ours, str) and isinstance(theirs, str)
    return both and any(text in theirs for text in LUA_ERRORS) and ours.split()[0] == theirs.split()[0]


@pytest.mark.parametrize("protocol", [2, 3])
def test_scripts_answer_as_redis_does(pair, protocol):  # noqa: F811
    servers = firn, redis_server = [server.resp() for server in pair]
    differences = []
    for server in servers:
        server("HELLO", str(protocol))
        server("FLUSHALL")
        server("FUNCTION", "FLUSH")
    for script in SCRIPTS:
        ours, theirs = (server("EVAL", script, "1", "key", "a", "b") for server in (firn, redis_server))
        if not same(ours, theirs):
            differences.append((script, ours, theirs))
    for library in LIBRARIES:
        ours, theirs = (server("FUNCTION", "LOAD", library) for server in (firn, redis_server))
        if not same(ours, theirs):
            differences.append((library, ours, theirs))
    dumps = [server("FUNCTION", "DUMP") for server in (firn, redis_server)]
    for server, dump in ((firn, dumps[1]), (redis_server, dumps[0])):
        assert server("FUNCTION", "RESTORE", dump, "FLUSH") == "OK"
    for call in CALLS:
        ours, theirs = (server(*call) for server in (firn, redis_server))
        if not same(ours, theirs):
            differences.append((call, ours, theirs))
    assert not differences, "\n".join(map(repr, differences))
