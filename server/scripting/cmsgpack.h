// cmsgpack: MessagePack (https://msgpack.org) for scripts: pack, unpack, unpack_one, unpack_limit.
#pragma once

struct lua_State;

namespace firn::server {

// Leaves the library's table on the stack.
int OpenMessagePack(lua_State* lua);

}  // namespace firn::server
