// struct: packs and unpacks binary structures described by a format, for scripts: pack, unpack,
// size.
#pragma once

struct lua_State;

namespace firn::server {

// Leaves the library's table on the stack.
int OpenStruct(lua_State* lua);

}  // namespace firn::server
