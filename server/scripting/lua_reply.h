// Replies for scripts: what a command answered as a value of Lua, and a value of Lua as a reply.
#pragma once

#include <string_view>

#include "server/resp/reply.h"

struct lua_State;

namespace firn::server {

// Pushes the value of an encoded reply, which is one that this server wrote. True if it is an
// error. May raise an error of Lua (memory).
bool PushReply(lua_State* lua, std::string_view resp);

// Pushes a table with the field `err`. A text that begins with '-' has its code in front, as in
// "-WRONGTYPE Operation against"; any other gets "ERR".
void PushError(lua_State* lua, std::string_view text);

struct LuaReplyOptions {
  int protocol = 2;  // that the script has chosen
};
// Answers with the value on the top of the stack, and takes it away. True if it was an error that
// has been counted already.
bool WriteReply(lua_State* lua, const LuaReplyOptions& options, Reply* reply);

}  // namespace firn::server
