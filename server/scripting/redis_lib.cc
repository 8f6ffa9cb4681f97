#include "server/scripting/redis_lib.h"

#include <luajit-2.1/lua.hpp>
#include <string>
#include <string_view>

#include "engine/base/sha1.h"
#include "server/scripting/lua_reply.h"
#include "server/scripting/lua_vm.h"
#include "server/scripting/script_runner.h"
#include "server/scripting/scripting.h"

namespace firn::server {
namespace {

constexpr int kReplicateAof = 1;
constexpr int kReplicateReplicas = 2;
constexpr int kLogLevels = 4;  // debug, verbose, notice, warning

ScriptRunner& RunnerOf(lua_State* lua) {
  return *static_cast<ScriptRunner*>(LuaVm::Of(lua).context());
}

int Raise(lua_State* lua, std::string_view text) {
  PushError(lua, text);
  return lua_error(lua);
}

int Call(lua_State* lua) { return RunnerOf(lua).Call(lua, true); }
int ProtectedCall(lua_State* lua) { return RunnerOf(lua).Call(lua, false); }
int CheckAcl(lua_State* lua) { return RunnerOf(lua).CheckAcl(lua); }

int ErrorReply(lua_State* lua) {
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    PushError(lua, "wrong number or type of arguments");
    return 1;
  }
  // What has no code in front begins with one all the same: its first word.
  if (lua_tostring(lua, 1)[0] != '-') {
    lua_pushliteral(lua, "-");
    lua_insert(lua, 1);
    lua_concat(lua, 2);
  }
  PushError(lua, lua_tostring(lua, 1));
  return 1;
}

int StatusReply(lua_State* lua) {
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    PushError(lua, "wrong number or type of arguments");
    return 1;
  }
  lua_createtable(lua, 0, 1);
  lua_pushvalue(lua, 1);
  lua_setfield(lua, -2, "ok");
  return 1;
}

int Sha1Hex(lua_State* lua) {
  if (lua_gettop(lua) != 1) return Raise(lua, "wrong number of arguments");
  size_t size = 0;
  const char* bytes = lua_tolstring(lua, 1, &size);
  char hex[kScriptDigestSize];
  ScriptDigest({bytes == nullptr ? "" : bytes, size}, hex);
  lua_pushlstring(lua, hex, sizeof hex);
  return 1;
}

int Log(lua_State* lua) {
  const int count = lua_gettop(lua);
  if (count < 2) return Raise(lua, "redis.log() requires two arguments or more.");
  if (lua_isnumber(lua, 1) == 0) {
    return Raise(lua, "First argument must be a number (log level).");
  }
  const int level = static_cast<int>(lua_tonumber(lua, 1));
  if (level < 0 || level >= kLogLevels) return Raise(lua, "Invalid debug level.");
  luaL_Buffer line;
  luaL_buffinit(lua, &line);
  for (int i = 2; i <= count; ++i) {
    if (lua_isstring(lua, i) == 0) continue;
    if (i > 2) luaL_addchar(&line, ' ');
    lua_pushvalue(lua, i);
    luaL_addvalue(&line);
  }
  luaL_pushresult(&line);
  size_t size;
  const char* text = lua_tolstring(lua, -1, &size);
  RunnerOf(lua).Log(level, {text, size});
  return 0;
}

int SetProtocol(lua_State* lua) {
  if (lua_gettop(lua) != 1) return Raise(lua, "redis.setresp() requires one argument.");
  const double version = lua_tonumber(lua, 1);
  if (version != 2 && version != 3) return Raise(lua, "RESP version must be 2 or 3.");
  RunnerOf(lua).set_protocol(static_cast<int>(version));
  return 0;
}

int SetReplication(lua_State* lua) {
  if (lua_gettop(lua) != 1) return Raise(lua, "redis.set_repl() requires one argument.");
  const double number = lua_tonumber(lua, 1);
  if (!(number >= 0 && number <= (kReplicateAof | kReplicateReplicas))) {
    return Raise(lua,
                 "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
  }
  return 0;
}

int ReplicateCommands(lua_State* lua) {
  lua_pushboolean(lua, 1);
  return 1;
}

int Breakpoint(lua_State* lua) {
  lua_pushboolean(lua, 0);
  return 1;
}

int Debug(lua_State*) { return 0; }

struct Constant {
  const char* name;
  int value;
};

void SetFunctions(lua_State* lua, std::span<const luaL_Reg> functions) {
  for (const luaL_Reg& function : functions) {
    lua_pushcfunction(lua, function.func);
    lua_setfield(lua, -2, function.name);
  }
}

void SetConstants(lua_State* lua, std::span<const Constant> constants) {
  for (const Constant& constant : constants) {
    lua_pushinteger(lua, constant.value);
    lua_setfield(lua, -2, constant.name);
  }
}

}  // namespace

void FillRedisBasics(lua_State* lua) {
  constexpr luaL_Reg kFunctions[] = {{"log", Log}};
  constexpr Constant kConstants[] = {{"LOG_DEBUG", 0},
                                     {"LOG_VERBOSE", 1},
                                     {"LOG_NOTICE", 2},
                                     {"LOG_WARNING", 3},
                                     {"REDIS_VERSION_NUM", 0x00070206}};
  SetFunctions(lua, kFunctions);
  SetConstants(lua, kConstants);
  lua_pushliteral(lua, "7.2.6");
  lua_setfield(lua, -2, "REDIS_VERSION");
}

void FillRedisLibrary(lua_State* lua) {
  FillRedisBasics(lua);
  constexpr luaL_Reg kFunctions[] = {{"call", Call},
                                     {"pcall", ProtectedCall},
                                     {"error_reply", ErrorReply},
                                     {"status_reply", StatusReply},
                                     {"sha1hex", Sha1Hex},
                                     {"setresp", SetProtocol},
                                     {"set_repl", SetReplication},
                                     {"replicate_commands", ReplicateCommands},
                                     {"acl_check_cmd", CheckAcl},
                                     {"breakpoint", Breakpoint},
                                     {"debug", Debug}};
  constexpr Constant kConstants[] = {{"REPL_NONE", 0},
                                     {"REPL_AOF", kReplicateAof},
                                     {"REPL_SLAVE", kReplicateReplicas},
                                     {"REPL_REPLICA", kReplicateReplicas},
                                     {"REPL_ALL", kReplicateAof | kReplicateReplicas}};
  SetFunctions(lua, kFunctions);
  SetConstants(lua, kConstants);
}

}  // namespace firn::server
