// MessagePack and struct, in a machine of their own: what goes in comes out, and hostile input is
// an error.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "server/scripting/cmsgpack.h"
#include "server/scripting/lua_vm.h"
#include "server/scripting/struct.h"

namespace firn::server {
namespace {

class PackingTest : public testing::Test {
 protected:
  void SetUp() override {
    lua_ = luaL_newstate();
    lua_pushcfunction(lua_, OpenMessagePack);
    lua_call(lua_, 0, 1);
    lua_setglobal(lua_, "cmsgpack");
    lua_pushcfunction(lua_, OpenStruct);
    lua_call(lua_, 0, 1);
    lua_setglobal(lua_, "struct");
  }
  void TearDown() override { lua_close(lua_); }

  // The first result as a string, or "error: " with the message. `input` is the first argument.
  std::string Run(const std::string& code, std::string_view input = {}) {
    lua_settop(lua_, 0);
    if (luaL_loadstring(lua_, code.c_str()) != 0) return "no Lua";
    lua_pushlstring(lua_, input.data(), input.size());
    if (lua_pcall(lua_, 1, 1, 0) != 0) return std::string("error: ") + lua_tostring(lua_, -1);
    size_t size = 0;
    const char* text = lua_tolstring(lua_, -1, &size);
    return text == nullptr ? luaL_typename(lua_, -1) : std::string(text, size);
  }

  lua_State* lua_ = nullptr;
};

TEST_F(PackingTest, MessagePackUsesTheShortestForms) {
  EXPECT_EQ(Run("return cmsgpack.pack(0)"), std::string("\0", 1));
  EXPECT_EQ(Run("return cmsgpack.pack(127)"), "\x7f");
  EXPECT_EQ(Run("return cmsgpack.pack(128)"), "\xcc\x80");
  EXPECT_EQ(Run("return cmsgpack.pack(65536)"), std::string("\xce\0\1\0\0", 5));
  EXPECT_EQ(Run("return cmsgpack.pack(-1)"), "\xff");
  EXPECT_EQ(Run("return cmsgpack.pack(-33)"), "\xd0\xdf");
  EXPECT_EQ(Run("return cmsgpack.pack(-1099511627776)"),
            std::string("\xd3\xff\xff\xff\0\0\0\0\0", 9));
  EXPECT_EQ(Run("return cmsgpack.pack(0.5)"), std::string("\xca\x3f\0\0\0", 5));
  EXPECT_EQ(Run("return cmsgpack.pack(0.1)"), "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a");
  EXPECT_EQ(Run("return cmsgpack.pack({1, 2}, true)"), "\x92\x01\x02\xc3");
  EXPECT_EQ(Run("return cmsgpack.pack({a = 1})"), "\x81\xa1\x61\x01");
}

TEST_F(PackingTest, MessagePackGivesBackWhatItPacked) {
  EXPECT_EQ(Run("local t = cmsgpack.unpack(cmsgpack.pack({a = {1, 2, 'x'}, b = -5, c = 1e300}))"
                "return t.a[3] .. t.b .. t.c"),
            "x-51e+300");
  EXPECT_EQ(Run("local a = {} a.b = a "
                "local t, depth = cmsgpack.unpack(cmsgpack.pack(a)), 0 "
                "while t do t = t.b depth = depth + 1 end return depth"),
            "16");
  EXPECT_EQ(Run("local p = cmsgpack.pack('a', 'b', 'c') "
                "local at, v = cmsgpack.unpack_one(p, 2) return at .. v"),
            "4b");
  EXPECT_EQ(Run("return (cmsgpack.unpack_limit(cmsgpack.pack(1, 2), 2, 0))"), "-1");
}

TEST_F(PackingTest, MessagePackRefusesWhatIsCutOff) {
  for (const char* bytes : {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff",
                            "\xd9", "\xcb\x01", "\x91", "\x81\x01", "\xda\xff"}) {
    EXPECT_EQ(Run("return cmsgpack.unpack(...)", bytes), "error: Missing bytes in input.");
  }
  EXPECT_EQ(Run("return cmsgpack.unpack(...)", "\xc1"), "error: Bad data format in input.");
  EXPECT_TRUE(Run("return cmsgpack.unpack_one('a', -1)").starts_with("error: Invalid request"));
  EXPECT_TRUE(Run("return cmsgpack.unpack_one('a', 5)").starts_with("error: Start offset"));
  const std::string deep(1 << 20, '\x91');
  EXPECT_TRUE(Run("return cmsgpack.unpack(...)", deep).starts_with("error: "));
}

TEST_F(PackingTest, MessagePackSurvivesAnyBytes) {
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes)
      c = static_cast<char>(random() % 4 == 0 ? 0x90 + random() % 80 : random());
    Run("return cmsgpack.unpack(...)", bytes);
  }
}

TEST_F(PackingTest, StructLaysOutAsTheFormatSays) {
  EXPECT_EQ(Run("return struct.pack('>I2', 258)"), "\x01\x02");
  EXPECT_EQ(Run("return struct.pack('<I2', 258)"), "\x02\x01");
  EXPECT_EQ(Run("return struct.pack('>hbs', -2, 1, 'x')"), std::string("\xff\xfe\x01x\0", 5));
  EXPECT_EQ(Run("return struct.pack('<!4bi', 1, 2)"), std::string("\1\0\0\0\2\0\0\0", 8));
  EXPECT_EQ(Run("return struct.size('!8bd')"), "16");
  EXPECT_EQ(Run("local a, b, at = struct.unpack('>Bc0', '\\3abc') return a .. (b or 0)"), "abc5");
  EXPECT_EQ(Run("return (struct.unpack('>i3', struct.pack('>i3', -70000)))"), "-70000");
  EXPECT_EQ(Run("return (struct.unpack('<d', struct.pack('<d', 1.5)))"), "1.5");
}

TEST_F(PackingTest, StructRefusesWhatDoesNotFit) {
  EXPECT_TRUE(Run("return struct.pack('>I2147483648', '10')").find("integral size overflow") !=
              std::string::npos);
  EXPECT_TRUE(Run("return struct.pack('>I33', 1)").find("larger than limit of 32") !=
              std::string::npos);
  EXPECT_TRUE(Run("return struct.pack('!3i', 1)").find("not a power of 2") != std::string::npos);
  EXPECT_TRUE(Run("return struct.pack('q', 1)").find("invalid format option") != std::string::npos);
  EXPECT_TRUE(Run("return struct.pack('i')").starts_with("error: "));
  EXPECT_TRUE(Run("return struct.pack('sss', 'a')").starts_with("error: "));
  EXPECT_TRUE(Run("return struct.pack('c9', 'a')").find("string too short") != std::string::npos);
  EXPECT_TRUE(Run("return struct.unpack('>I4', 'abc')").find("too short") != std::string::npos);
  EXPECT_TRUE(Run("return struct.unpack('c2147483647', 'abc')").find("too short") !=
              std::string::npos);
  EXPECT_TRUE(Run("return struct.unpack('i', 'abcd', -1)").find("offset must be 1") !=
              std::string::npos);
  EXPECT_TRUE(Run("return struct.unpack('i', 'abcd', 2^53)").find("too short") !=
              std::string::npos);
  EXPECT_TRUE(Run("return struct.unpack('dc0', struct.pack('d', -1))").starts_with("error: "));
  EXPECT_TRUE(Run("return struct.unpack('dc0', struct.pack('d', 0/0))").starts_with("error: "));
  EXPECT_TRUE(Run("return struct.unpack('s', 'abc')").find("unfinished string") !=
              std::string::npos);
  EXPECT_TRUE(Run("return struct.size('s')").starts_with("error: "));
}

TEST_F(PackingTest, StructSurvivesAnyFormat) {
  std::mt19937 random(11);
  constexpr std::string_view kLetters = "bBhHlLTfdxcsiI<>! 0123456789q";
  for (int i = 0; i < 20'000; ++i) {
    std::string format;
    for (size_t n = random() % 12; n > 0; --n) format += kLetters[random() % kLetters.size()];
    Run("return struct.unpack((...), ('x'):rep(64), " + std::to_string(1 + random() % 70) + ")",
        format);
    Run("return #struct.pack((...), 1, 2, 3, 'four', 5)", format);
    Run("return struct.size((...))", format);
  }
}

// --- the sandbox

void NoRedis(lua_State*) {}

std::string RunIn(LuaVm& vm, const std::string& code) {
  auto function = vm.Compile(code, "@user_script");
  if (!function) return "no Lua: " + function.error();
  lua_State* lua = vm.lua();
  lua_rawgeti(lua, LUA_REGISTRYINDEX, *function);
  vm.Forget(*function);
  std::string result;
  if (lua_pcall(lua, 0, 1, 0) != 0) result = "error: ";
  const char* text = lua_tostring(lua, -1);
  result += text == nullptr ? luaL_typename(lua, -1) : text;
  lua_pop(lua, 1);
  return result;
}

TEST(LuaVmTest, GlobalsAndLibrariesCannotBeChanged) {
  LuaVm vm(NoRedis, nullptr);
  constexpr std::string_view kReadonly = "Attempt to modify a readonly table";
  for (const char* code : {"x = 1",
                           "_G.x = 1",
                           "rawset(_G, 'x', 1)",
                           "setmetatable(_G, {})",
                           "_G.string = nil",
                           "string.rep = 1",
                           "rawset(string, 'rep', 1)",
                           "table.insert(table, 1)",
                           "table.insert(math, 1, 1)",
                           "table.remove(math)",
                           "table.sort(math)",
                           "math.random = 1",
                           "getmetatable(_G).__index = nil",
                           "getmetatable('').__index = nil",
                           "getmetatable('').__index.rep = nil",
                           "coroutine.wrap = nil",
                           "bit.band = 1",
                           "cjson.encode = 1",
                           "cmsgpack.pack = 1",
                           "struct.pack = 1",
                           "redis.call = 1",
                           "setmetatable(getmetatable(''), {})",
                           "getmetatable(string).x = 1"}) {
    EXPECT_NE(RunIn(vm, code).find(kReadonly), std::string::npos)
        << code << ": " << RunIn(vm, code);
  }
  EXPECT_EQ(RunIn(vm, "return ('x'):rep(3) .. math.max(1, 2) .. type(_G._G)"), "xxx2table");
  EXPECT_EQ(
      RunIn(vm, "local n = 0 for k in pairs(string) do n = n + 1 end return n > 10 and 'many'"),
      "many");
  EXPECT_EQ(RunIn(vm, "return next({}) == nil and next(string) ~= nil and 'yes'"), "yes");
}

TEST(LuaVmTest, WhatReachesTheProcessIsAbsent) {
  LuaVm vm(NoRedis, nullptr);
  for (const char* name : {"print", "dofile", "loadfile", "require", "module", "package", "io",
                           "os", "debug", "ffi", "jit", "newproxy"}) {
    const std::string error = RunIn(vm, std::string("return ") + name);
    EXPECT_NE(error.find("nonexistent global variable '" + std::string(name) + "'"),
              std::string::npos)
        << error;
  }
  EXPECT_EQ(RunIn(vm, "return (loadstring(string.dump(function() return 1 end)))"), "nil");
  EXPECT_EQ(RunIn(vm,
                  "local s, done = string.dump(function() end), false "
                  "return (load(function() if done then return nil end done = true return s end))"),
            "nil");
  EXPECT_FALSE(vm.Compile("\x1bLJ\x02", "@user_script"));
  EXPECT_EQ(RunIn(vm, "return loadstring('return 1 + 1')()"), "2");
  EXPECT_TRUE(RunIn(vm, "setfenv(0, {})").starts_with("error: "));
  EXPECT_TRUE(RunIn(vm, "setfenv(coroutine.create(function() end), {})").starts_with("error: "));
}

TEST(LuaVmTest, MemoryIsBounded) {
  LuaVm vm(NoRedis, nullptr);
  vm.set_memory_limit(16 << 20);
  EXPECT_NE(RunIn(vm, "return #string.rep('x', 1e9)").find("not enough memory"), std::string::npos);
  EXPECT_NE(RunIn(vm, "local t = {} for i = 1, 1e9 do t[i] = {i} end").find("not enough memory"),
            std::string::npos);
  EXPECT_EQ(RunIn(vm,
                  "local s = string.rep('x', 1e6) local t = {} "
                  "for i = 1, 1000 do t[i] = s end "
                  "return select(2, pcall(cjson.encode, t))"),
            "not enough memory");
  EXPECT_EQ(RunIn(vm, "return cjson.encode({1, 'a', {b = true}})"), "[1,\"a\",{\"b\":true}]");
  EXPECT_LE(vm.memory_bytes(), 17u << 20);
}

TEST(LuaVmTest, KnownAttacksFail) {
  LuaVm vm(NoRedis, nullptr);
  vm.set_memory_limit(64 << 20);
  EXPECT_TRUE(RunIn(vm, "return unpack({}, 0, 2147483647)").starts_with("error: "));
  EXPECT_TRUE(RunIn(vm, "return unpack({}, -2147483648, 2147483647)").starts_with("error: "));
  EXPECT_EQ(RunIn(vm, "return bit.tohex(65535, -2147483648)"), "0000FFFF");
  EXPECT_EQ(RunIn(vm, "return bit.tohex(255) .. bit.tohex(255, -4)"), "000000ff00FF");
  EXPECT_TRUE(
      RunIn(vm, "local f = loadstring('return [' .. string.rep('=', 1000000)) return f and 1")
          .starts_with("nil"));
  EXPECT_TRUE(RunIn(vm, "local function f() return f() + 1 end return f()").starts_with("error: "));
  EXPECT_TRUE(
      RunIn(vm, "local s = string.rep('(', 100000) return loadstring(s) and 1").starts_with("nil"));
  EXPECT_TRUE(RunIn(vm, "return cjson.decode(string.rep('[', 100000))").starts_with("error: "));
  EXPECT_TRUE(RunIn(vm, "local t = {} t[1] = t return cjson.encode(t)").starts_with("error: "));
  EXPECT_EQ(RunIn(vm, "collectgarbage('stop') return collectgarbage('count') > 0 and 'yes'"),
            "yes");
}

}  // namespace
}  // namespace firn::server
