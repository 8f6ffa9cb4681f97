#include "server/scripting/lua_base.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <luajit-2.1/lua.hpp>

#include "server/scripting/lua_vm.h"

namespace firn::server {
namespace {

// What cjson.encode may build. Its own buffer counts in 31 bits, and it ends the process when
// memory is short.
constexpr uint64_t kMaxJsonBytes = 1 << 30;
constexpr uint64_t kMaxJsonValues = 100'000'000;
constexpr int kMaxJsonDepth = 1000;

LuaVm* VmOf(lua_State* lua) {
  return static_cast<LuaVm*>(lua_touserdata(lua, lua_upvalueindex(1)));
}

// --- tables

// Calls the function in the first upvalue with all arguments, the first of which is written to.
int GuardedCall(lua_State* lua) {
  LuaVm::CheckWritable(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

int TableInsert(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  if (lua_gettop(lua) != 2) return GuardedCall(lua);
  LuaVm::CheckWritable(lua, 1);
  lua_rawseti(lua, 1, static_cast<int>(lua_objlen(lua, 1)) + 1);
  return 0;
}

int Next(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 2);
  if (PushBehind(lua, 1)) lua_replace(lua, 1);
  if (lua_next(lua, 1) != 0) return 2;
  lua_pushnil(lua);
  return 1;
}

// Upvalue: the library's own next, for which the interpreter has instructions.
int Pairs(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  if (!PushBehind(lua, 1)) lua_pushvalue(lua, 1);
  lua_pushnil(lua);
  return 3;
}

int RawGet(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checkany(lua, 2);
  lua_settop(lua, 2);
  if (PushBehind(lua, 1)) lua_replace(lua, 1);
  lua_rawget(lua, 1);
  return 1;
}

// Upvalues: what is shown as the metatable of a sealed table, and of strings.
int GetMetatable(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (LuaVm::IsSealed(lua, 1)) {
    lua_pushvalue(lua, lua_upvalueindex(1));
  } else if (lua_type(lua, 1) == LUA_TSTRING) {
    lua_pushvalue(lua, lua_upvalueindex(2));
  } else if (lua_getmetatable(lua, 1) == 0) {
    lua_pushnil(lua);
  } else {
    luaL_getmetafield(lua, 1, "__metatable");
  }
  return 1;
}

// --- code

int LoadString(lua_State* lua) {
  size_t size;
  const char* code = luaL_checklstring(lua, 1, &size);
  const char* name = luaL_optstring(lua, 2, code);
  if (luaL_loadbufferx(lua, code, size, name, "t") == 0) return 1;
  lua_pushnil(lua);
  lua_insert(lua, -2);
  return 2;
}

// Upvalue: the library's load, which takes a mode and an environment, too.
int Load(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TFUNCTION);
  const char* name = luaL_optstring(lua, 2, "=(load)");
  lua_settop(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_pushstring(lua, name);
  lua_pushliteral(lua, "t");
  lua_call(lua, 3, LUA_MULTRET);
  return lua_gettop(lua);
}

// Not of a thread: what others compile later would see it.
int SetEnvironment(lua_State* lua) {
  luaL_checktype(lua, 2, LUA_TTABLE);
  if (lua_isfunction(lua, 1)) {
    lua_pushvalue(lua, 1);
  } else {
    lua_Debug frame;
    const int level = luaL_checkint(lua, 1);
    luaL_argcheck(lua, level > 0, 1, "level must be positive");
    luaL_argcheck(lua, lua_getstack(lua, level, &frame) != 0, 1, "invalid level");
    lua_getinfo(lua, "f", &frame);
  }
  lua_pushvalue(lua, 2);
  if (lua_iscfunction(lua, -2) || lua_setfenv(lua, -2) == 0) {
    return luaL_error(lua, "'setfenv' cannot change environment of given object");
  }
  return 1;
}

// An error that is a table with a field `err`, as redis.call raises it, becomes that text.
int ProtectedCall(lua_State* lua) {
  luaL_checkany(lua, 1);
  const int failed = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
  if (failed != 0 && lua_istable(lua, -1)) {
    lua_getfield(lua, -1, "err");
    if (lua_isstring(lua, -1)) {
      lua_replace(lua, -2);
    } else {
      lua_pop(lua, 1);
    }
  }
  lua_pushboolean(lua, failed == 0);
  lua_insert(lua, 1);
  return lua_gettop(lua);
}

int CollectGarbage(lua_State* lua) {
  constexpr const char* kOptions[] = {"collect", "count",    "step",       "stop",
                                      "restart", "setpause", "setstepmul", nullptr};
  switch (luaL_checkoption(lua, 1, "collect", kOptions)) {
    case 0:
      lua_pushinteger(lua, lua_gc(lua, LUA_GCCOLLECT, 0));
      return 1;
    case 1:
      lua_pushnumber(lua, lua_gc(lua, LUA_GCCOUNT, 0) + lua_gc(lua, LUA_GCCOUNTB, 0) / 1024.0);
      return 1;
    case 2:
      lua_pushboolean(lua, lua_gc(lua, LUA_GCSTEP, luaL_optint(lua, 2, 0)));
      return 1;
    default:  // how the collector works would stay so for all scripts
      lua_pushinteger(lua, 0);
      return 1;
  }
}

// --- numbers

int Random(lua_State* lua) {
  constexpr int32_t kMost = 0x7fffffff;
  const double fraction = static_cast<double>(VmOf(lua)->NextRandom() % kMost) / kMost;
  switch (lua_gettop(lua)) {
    case 0:
      lua_pushnumber(lua, fraction);
      break;
    case 1: {
      const int upper = luaL_checkint(lua, 1);
      luaL_argcheck(lua, 1 <= upper, 1, "interval is empty");
      lua_pushnumber(lua, std::floor(fraction * upper) + 1);
      break;
    }
    case 2: {
      const int lower = luaL_checkint(lua, 1), upper = luaL_checkint(lua, 2);
      luaL_argcheck(lua, lower <= upper, 2, "interval is empty");
      const double width = static_cast<double>(upper) - lower + 1;
      lua_pushnumber(lua, std::floor(fraction * width) + lower);
      break;
    }
    default:
      return luaL_error(lua, "wrong number of arguments");
  }
  return 1;
}

int RandomSeed(lua_State* lua) {
  VmOf(lua)->SeedRandom(luaL_checkint(lua, 1));
  return 0;
}

// --- JSON

struct JsonSize {
  uint64_t bytes = 0;
  uint64_t values = 0;
  bool too_deep = false;  // the library will say so
};

void AddString(const char* text, size_t length, JsonSize* size) {
  size->bytes += length + 2;
  // A control character takes six bytes, some others two.
  constexpr size_t kShort = 4096;
  if (length <= kShort) {
    size->bytes += 5 * length;
  } else {
    const auto escaped = std::count_if(text, text + length, [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '/' || c == 0x7f;
    });
    size->bytes += 5 * static_cast<uint64_t>(escaped);
  }
}

// Of the value at the top of the stack.
void MeasureJson(lua_State* lua, int depth, uint64_t limit, JsonSize* size) {
  ++size->values;
  if (lua_type(lua, -1) == LUA_TSTRING) {
    size_t length;
    const char* text = lua_tolstring(lua, -1, &length);
    AddString(text, length, size);
  } else if (!lua_istable(lua, -1)) {
    size->bytes += 32;
  } else if (depth >= kMaxJsonDepth) {
    size->too_deep = true;
  } else {
    luaL_checkstack(lua, 3, "too deep");
    size->bytes += 2;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
      MeasureJson(lua, depth + 1, limit, size);
      lua_pop(lua, 1);
      if (lua_type(lua, -1) == LUA_TSTRING) {
        size->bytes += 6 * lua_objlen(lua, -1) + 3;
      } else {
        size->bytes += 34;
      }
      if (size->bytes > limit || size->values > kMaxJsonValues || size->too_deep) {
        lua_pop(lua, 1);
        return;
      }
    }
  }
}

// Upvalues: the virtual machine, the library's encode.
int EncodeJson(lua_State* lua) {
  LuaVm* vm = VmOf(lua);
  const uint64_t limit =
      vm->memory_limit() == 0 ? kMaxJsonBytes : std::min(kMaxJsonBytes, vm->memory_limit());
  if (lua_gettop(lua) == 1) {
    JsonSize size;
    MeasureJson(lua, 0, limit, &size);
    if (size.bytes > limit || size.values > kMaxJsonValues) {
      return luaL_error(lua, "not enough memory");
    }
  }
  lua_pushvalue(lua, lua_upvalueindex(2));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

// Upvalue: the library's tohex, which takes the width whose negative can't be told for none.
int BitToHex(lua_State* lua) {
  constexpr lua_Number kLeast = -2147483648.0;
  if (lua_gettop(lua) >= 2 && lua_isnumber(lua, 2) && lua_tonumber(lua, 2) == kLeast) {
    lua_pushinteger(lua, -8);
    lua_replace(lua, 2);
  }
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, 1);
  return 1;
}

// The function `name` of the table at the top, under which `wrapper` takes its place.
void Wrap(lua_State* lua, const char* name, lua_CFunction wrapper) {
  lua_getfield(lua, -1, name);
  lua_pushcclosure(lua, wrapper, 1);
  lua_setfield(lua, -2, name);
}

void Alias(lua_State* lua, const char* name, const char* other) {
  lua_getfield(lua, -1, other);
  lua_setfield(lua, -2, name);
}

void SetFunction(lua_State* lua, const char* name, lua_CFunction function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, 1, name);
}

}  // namespace

void AddBaseFunctions(lua_State* lua, LuaVm*) {
  SetFunction(lua, "next", Next);
  SetFunction(lua, "rawget", RawGet);
  SetFunction(lua, "pcall", ProtectedCall);
  SetFunction(lua, "loadstring", LoadString);
  SetFunction(lua, "setfenv", SetEnvironment);
  SetFunction(lua, "collectgarbage", CollectGarbage);
  struct Wrapped {
    const char* name;
    const char* original;
    lua_CFunction function;
  };
  for (const Wrapped& wrapped : {Wrapped{"pairs", "next", Pairs},
                                 {"load", "load", Load},
                                 {"rawset", "rawset", GuardedCall},
                                 {"setmetatable", "setmetatable", GuardedCall}}) {
    lua_getglobal(lua, wrapped.original);
    lua_pushcclosure(lua, wrapped.function, 1);
    lua_setfield(lua, 1, wrapped.name);
  }
  lua_newtable(lua);
  LuaVm::Seal(lua, false);
  lua_newtable(lua);
  lua_getglobal(lua, "string");
  LuaVm::Seal(lua, false);
  lua_setfield(lua, -2, "__index");
  LuaVm::Seal(lua, false);
  lua_pushcclosure(lua, GetMetatable, 2);
  lua_setfield(lua, 1, "getmetatable");
}

void ReplaceLibraryFunctions(lua_State* lua, const char* library, LuaVm* vm) {
  if (std::strcmp(library, LUA_TABLIBNAME) == 0) {
    Wrap(lua, "insert", TableInsert);
    Wrap(lua, "remove", GuardedCall);
    Wrap(lua, "sort", GuardedCall);
    lua_pushnil(lua);
    lua_setfield(lua, -2, "move");
  } else if (std::strcmp(library, LUA_STRLIBNAME) == 0) {
    Alias(lua, "gfind", "gmatch");
  } else if (std::strcmp(library, LUA_BITLIBNAME) == 0) {
    Wrap(lua, "tohex", BitToHex);
  } else if (std::strcmp(library, LUA_MATHLIBNAME) == 0) {
    Alias(lua, "mod", "fmod");
    lua_pushlightuserdata(lua, vm);
    lua_pushcclosure(lua, Random, 1);
    lua_setfield(lua, -2, "random");
    lua_pushlightuserdata(lua, vm);
    lua_pushcclosure(lua, RandomSeed, 1);
    lua_setfield(lua, -2, "randomseed");
  }
}

void GuardJson(lua_State* lua, LuaVm* vm) {
  lua_pushlightuserdata(lua, vm);
  lua_getfield(lua, -2, "encode");
  lua_pushcclosure(lua, EncodeJson, 2);
  lua_setfield(lua, -2, "encode");
  // Another instance of the library would not be guarded.
  lua_pushnil(lua);
  lua_setfield(lua, -2, "new");
}

}  // namespace firn::server
