// The table `redis` of scripts: call, pcall, error_reply, log and the others.
#pragma once

struct lua_State;

namespace firn::server {

// Each fills the table on the top of the stack. The virtual machine's context is the ScriptRunner.

// For EVAL, and for functions once they are registered.
void FillRedisLibrary(lua_State* lua);
// redis.log and its levels, and the version: all that there is, besides register_function, while a
// library of functions is loaded.
void FillRedisBasics(lua_State* lua);

}  // namespace firn::server
