// LuaVm: one Lua state, in which scripts see what Redis lets them see: a few libraries, globals
// that can't be changed, and nothing that reaches the process or another script.
//
// Tables that scripts may not change (globals, libraries, the metatable of strings) are shown to
// them as empty tables that forward reads and refuse writes; the functions of the library that
// would write past that (rawset, table.insert, setmetatable ...) refuse them too.
//
// Memory is counted, and allocations beyond the limit fail, which a script sees as the error "not
// enough memory". Executor thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <luajit-2.1/lua.hpp>
#include <string>
#include <string_view>

namespace firn::server {

class LuaVm {
 public:
  // Fills the table on the top of the stack: `redis` as scripts see it.
  using FillRedis = void (*)(lua_State* lua);

  LuaVm(FillRedis fill, void* context);
  ~LuaVm();
  LuaVm(const LuaVm&) = delete;
  LuaVm& operator=(const LuaVm&) = delete;

  lua_State* lua() { return lua_; }
  // Whose state, or coroutine of a state, it is.
  static LuaVm& Of(lua_State* lua) {
    void* vm;
    lua_getallocf(lua, &vm);
    return *static_cast<LuaVm*>(vm);
  }
  // As given to the constructor.
  void* context() const { return context_; }
  uint64_t memory_bytes() const { return memory_; }
  // 0: no limit.
  void set_memory_limit(uint64_t bytes) { limit_ = bytes; }
  // Collects what is garbage if it fills much of the limit: Lua itself does so in its own time.
  void MakeRoom() {
    if (limit_ != 0 && memory_ > limit_ / 2) lua_gc(lua_, LUA_GCCOLLECT, 0);
  }
  uint64_t memory_limit() const { return limit_; }
  // For what the server itself does with values, which must not fail in the middle.
  void set_limited(bool limited) { limited_ = limited; }

  // Compiles and returns a reference, or the error's text. `name` as Lua wants it: "@user_script".
  std::expected<int, std::string> Compile(std::string_view code, const char* name);
  void Forget(int reference) { luaL_unref(lua_, LUA_REGISTRYINDEX, reference); }

  // Sets a global to the value on the top of the stack, which it takes away. May raise an error of
  // Lua.
  void SetGlobal(const char* name);
  // While a library of functions is loaded its globals are those of the table on the top of the
  // stack, which is taken away; `restore` brings the usual ones back.
  void ReplaceGlobals();
  void RestoreGlobals();

  // Seals the table at the top of the stack: puts in its place what scripts may see of it.
  // `strict`: reading what isn't there is an error, as for globals.
  static void Seal(lua_State* lua, bool strict);
  // Raises the error of a write if the table at `index` is sealed.
  static void CheckWritable(lua_State* lua, int index);
  static bool IsSealed(lua_State* lua, int index);
  // A message handler for lua_pcall: makes a table of what was raised, with the place in the
  // script.
  static int ErrorHandler(lua_State* lua);
  // The function that scripts' errors are put down to if its own frame is gone: a call in tail
  // position has taken its place.
  void set_running(int reference) { running_ = reference; }
  void PushErrorHandler() { lua_rawgeti(lua_, LUA_REGISTRYINDEX, error_handler_); }

  // For math.random: 31 bits.
  int32_t NextRandom();
  void SeedRandom(int32_t seed);

 private:
  static void* Allocate(void* vm, void* block, size_t old_size, size_t new_size);
  static int Open(lua_State* lua);
  void OpenLibraries();

  struct Opening {
    LuaVm* vm;
    FillRedis fill;
  };

  lua_State* lua_ = nullptr;
  void* context_;
  uint64_t memory_ = 0;
  uint64_t limit_ = 0;
  bool limited_ = true;
  uint64_t random_ = 0x1234abcd330e;
  int globals_ = LUA_NOREF;    // what scripts see through the sealed table
  int metatable_ = LUA_NOREF;  // of the sealed table
  int error_handler_ = LUA_NOREF;
  int running_ = LUA_NOREF;
};

}  // namespace firn::server
