// The functions of Lua's libraries that scripts get in a form of ours: those that would write to
// sealed tables, load compiled code, stop the collector, or draw random numbers.
#pragma once

struct lua_State;

namespace firn::server {

class LuaVm;

// Adds the global functions to the table at stack position 1.
void AddBaseFunctions(lua_State* lua, LuaVm* vm);
// The table of the library is on the top of the stack.
void ReplaceLibraryFunctions(lua_State* lua, const char* library, LuaVm* vm);
// The same for cjson: what it builds outside of Lua's memory is bounded by the limit, too.
void GuardJson(lua_State* lua, LuaVm* vm);
// If the table at `index` is sealed: pushes what lies behind it.
bool PushBehind(lua_State* lua, int index);

}  // namespace firn::server
