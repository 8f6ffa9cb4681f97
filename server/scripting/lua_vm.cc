#include "server/scripting/lua_vm.h"

#include <cstdlib>
#include <luajit-2.1/lua.hpp>
#include <utility>

#include "engine/base/check.h"
#include "server/scripting/cmsgpack.h"
#include "server/scripting/lua_base.h"
#include "server/scripting/struct.h"

extern "C" {
#include <lua5.1/lua-cjson.h>
}

namespace firn::server {
namespace {

// In the metatable of a sealed table: the table behind it. Its address is the key.
const char kBehind = 0;

constexpr const char* kGlobals[] = {
    "xpcall", "tostring", "next",   "assert", "tonumber", "rawequal", "coroutine", "type",
    "select", "unpack",   "gcinfo", "ipairs", "_VERSION", "getfenv",  "error",
};

int RefuseWrite(lua_State* lua) { return luaL_error(lua, "Attempt to modify a readonly table"); }

int RefuseUnknown(lua_State* lua) {
  const char* name = lua_tostring(lua, 2);
  return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                    name == nullptr ? luaL_typename(lua, 2) : name);
}

void CallOpen(lua_State* lua, lua_CFunction open, const char* name) {
  lua_pushcfunction(lua, open);
  lua_pushstring(lua, name);
  lua_call(lua, 1, 1);
}

}  // namespace

// The table on the top becomes the one behind a new, empty table with a metatable of its own.
void LuaVm::Seal(lua_State* lua, bool strict) {
  if (strict) {
    lua_newtable(lua);
    lua_pushcfunction(lua, RefuseUnknown);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
  }
  lua_newtable(lua);  // what is shown
  lua_newtable(lua);  // its metatable
  lua_pushlightuserdata(lua, const_cast<char*>(&kBehind));
  lua_pushvalue(lua, -4);
  lua_rawset(lua, -3);
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, RefuseWrite);
  lua_setfield(lua, -2, "__newindex");
  lua_setmetatable(lua, -2);
  lua_remove(lua, -2);
}

bool LuaVm::IsSealed(lua_State* lua, int index) {
  if (lua_getmetatable(lua, index) == 0) return false;
  lua_pushlightuserdata(lua, const_cast<char*>(&kBehind));
  lua_rawget(lua, -2);
  const bool sealed = !lua_isnil(lua, -1);
  lua_pop(lua, 2);
  return sealed;
}

void LuaVm::CheckWritable(lua_State* lua, int index) {
  if (!IsSealed(lua, index)) return;
  lua_pushliteral(lua, "Attempt to modify a readonly table");
  lua_error(lua);
}

bool PushBehind(lua_State* lua, int index) {
  if (lua_getmetatable(lua, index) == 0) return false;
  lua_pushlightuserdata(lua, const_cast<char*>(&kBehind));
  lua_rawget(lua, -2);
  lua_remove(lua, -2);
  if (!lua_isnil(lua, -1)) return true;
  lua_pop(lua, 1);
  return false;
}

void* LuaVm::Allocate(void* context, void* block, size_t old_size, size_t new_size) {
  auto* vm = static_cast<LuaVm*>(context);
  if (block == nullptr) old_size = 0;
  if (new_size == 0) {
    vm->memory_ -= old_size;
    std::free(block);
    return nullptr;
  }
  const bool grows = new_size > old_size;
  if (grows && vm->limited_ && vm->limit_ != 0 && vm->memory_ + new_size - old_size > vm->limit_) {
    return nullptr;
  }
  void* moved = std::realloc(block, new_size);
  // Whoever makes a block smaller relies on it.
  if (moved == nullptr) return grows ? nullptr : block;
  vm->memory_ += new_size - old_size;
  return moved;
}

LuaVm::LuaVm(FillRedis fill, void* context) : context_(context) {
  lua_ = lua_newstate(&LuaVm::Allocate, this);
  CHECK_MSG(lua_ != nullptr, "no memory for Lua");
  luaJIT_setmode(lua_, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  Opening opening{this, fill};
  const int failed = lua_cpcall(lua_, &LuaVm::Open, &opening);
  CHECK_MSG(failed == 0, "Lua's libraries can't be opened");
}

LuaVm::~LuaVm() { lua_close(lua_); }

int LuaVm::Open(lua_State* lua) {
  const auto* opening = static_cast<const Opening*>(lua_touserdata(lua, 1));
  lua_settop(lua, 0);
  LuaVm& vm = *opening->vm;
  lua_newtable(lua);  // 1: the globals behind the sealed table
  vm.OpenLibraries();
  lua_newtable(lua);
  opening->fill(lua);
  Seal(lua, false);
  lua_setfield(lua, 1, "redis");

  // The state's own table of globals becomes the sealed one: it is emptied, what was there goes.
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  lua_pushnil(lua);
  while (lua_next(lua, 2) != 0) {
    lua_pop(lua, 1);
    lua_pushvalue(lua, -1);
    lua_pushnil(lua);
    lua_rawset(lua, 2);
  }
  lua_pushvalue(lua, 1);
  Seal(lua, true);
  lua_getmetatable(lua, -1);
  lua_pushvalue(lua, -1);
  vm.metatable_ = luaL_ref(lua, LUA_REGISTRYINDEX);
  lua_setmetatable(lua, 2);
  lua_pushvalue(lua, 2);
  lua_setfield(lua, 1, "_G");
  lua_pushvalue(lua, 1);
  vm.globals_ = luaL_ref(lua, LUA_REGISTRYINDEX);
  lua_pushcfunction(lua, &LuaVm::ErrorHandler);
  vm.error_handler_ = luaL_ref(lua, LUA_REGISTRYINDEX);
  // Modules that libraries have registered.
  lua_pushnil(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, "_LOADED");
  return 0;
}

// Fills the table at stack position 1.
void LuaVm::OpenLibraries() {
  lua_State* lua = lua_;
  CallOpen(lua, luaopen_base, "");
  CallOpen(lua, luaopen_string, LUA_STRLIBNAME);
  CallOpen(lua, luaopen_table, LUA_TABLIBNAME);
  CallOpen(lua, luaopen_math, LUA_MATHLIBNAME);
  CallOpen(lua, luaopen_bit, LUA_BITLIBNAME);
  lua_settop(lua, 1);
  for (const char* name : kGlobals) {
    lua_getglobal(lua, name);
    if (lua_istable(lua, -1)) Seal(lua, false);
    lua_setfield(lua, 1, name);
  }
  AddBaseFunctions(lua, this);
  for (const char* name : {LUA_STRLIBNAME, LUA_TABLIBNAME, LUA_MATHLIBNAME, LUA_BITLIBNAME}) {
    lua_getglobal(lua, name);
    ReplaceLibraryFunctions(lua, name, this);
    Seal(lua, false);
    lua_setfield(lua, 1, name);
  }
  CallOpen(lua, luaopen_cjson, "cjson");
  GuardJson(lua, this);
  Seal(lua, false);
  lua_setfield(lua, 1, "cjson");
  OpenMessagePack(lua);
  Seal(lua, false);
  lua_setfield(lua, 1, "cmsgpack");
  OpenStruct(lua);
  Seal(lua, false);
  lua_setfield(lua, 1, "struct");
  lua_settop(lua, 1);
}

std::expected<int, std::string> LuaVm::Compile(std::string_view code, const char* name) {
  MakeRoom();
  // Its last line, for errors, is the last one with something on it.
  while (!code.empty() && (code.back() == '\n' || code.back() == '\r' || code.back() == ' ')) {
    code.remove_suffix(1);
  }
  // The mode refuses compiled code, which nobody checks.
  if (luaL_loadbufferx(lua_, code.data(), code.size(), name, "t") != 0) {
    const char* text = lua_tostring(lua_, -1);
    std::string error = text == nullptr ? "unknown" : text;
    lua_pop(lua_, 1);
    return std::unexpected(std::move(error));
  }
  const bool limited = std::exchange(limited_, false);
  const int reference = luaL_ref(lua_, LUA_REGISTRYINDEX);
  limited_ = limited;
  return reference;
}

void LuaVm::SetGlobal(const char* name) {
  lua_rawgeti(lua_, LUA_REGISTRYINDEX, globals_);
  lua_insert(lua_, -2);
  lua_pushstring(lua_, name);
  lua_insert(lua_, -2);
  lua_rawset(lua_, -3);
  lua_pop(lua_, 1);
}

void LuaVm::ReplaceGlobals() {
  lua_rawgeti(lua_, LUA_REGISTRYINDEX, metatable_);
  lua_insert(lua_, -2);
  lua_setfield(lua_, -2, "__index");
  lua_pop(lua_, 1);
}

void LuaVm::RestoreGlobals() {
  lua_rawgeti(lua_, LUA_REGISTRYINDEX, globals_);
  ReplaceGlobals();
}

int LuaVm::ErrorHandler(lua_State* lua) {
  lua_Debug where;
  // What raised it is a function of C for redis.call and error: the script's line is behind that.
  bool known = lua_getstack(lua, 1, &where) != 0 && lua_getinfo(lua, "Sl", &where) != 0;
  if (known && where.what[0] == 'C') {
    known = lua_getstack(lua, 2, &where) != 0 && lua_getinfo(lua, "Sl", &where) != 0;
    if (!known || where.what[0] == 'C') {
      lua_rawgeti(lua, LUA_REGISTRYINDEX, Of(lua).running_);
      known = lua_isfunction(lua, -1) && lua_getinfo(lua, ">S", &where) != 0;
      // What returns the value of a call is most likely the last line.
      where.currentline = where.lastlinedefined;
    }
  }
  if (!lua_istable(lua, 1)) {
    const char* text = lua_tostring(lua, 1);
    if (text != nullptr) {
      lua_pushliteral(lua, "ERR ");
      lua_pushvalue(lua, 1);
      lua_concat(lua, 2);
    } else if (lua_isboolean(lua, 1)) {
      lua_pushstring(lua, lua_toboolean(lua, 1) ? "ERR true" : "ERR false");
    } else {
      lua_pushfstring(lua, "ERR %s", luaL_typename(lua, 1));
    }
    lua_newtable(lua);
    lua_insert(lua, -2);
    lua_setfield(lua, -2, "err");
    lua_replace(lua, 1);
  }
  lua_settop(lua, 1);
  if (!known || IsSealed(lua, 1)) return 1;
  lua_pushliteral(lua, "source");
  lua_pushstring(lua, where.source);
  lua_rawset(lua, 1);
  lua_pushliteral(lua, "line");
  lua_pushinteger(lua, where.currentline);
  lua_rawset(lua, 1);
  return 1;
}

// The generator of drand48, so that scripts draw what they draw from Redis.
int32_t LuaVm::NextRandom() {
  random_ = (random_ * 0x5deece66d + 0xb) & 0xffffffffffff;
  return static_cast<int32_t>(random_ >> 17);
}

void LuaVm::SeedRandom(int32_t seed) {
  random_ = static_cast<uint64_t>(static_cast<uint32_t>(seed)) << 16 | 0x330e;
}

}  // namespace firn::server
