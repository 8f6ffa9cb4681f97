#include "server/scripting/cmsgpack.h"

#include <bit>
#include <climits>
#include <cmath>
#include <cstdint>

#include "engine/base/coding.h"
#include "server/scripting/lua_buffer.h"

namespace firn::server {
namespace {

// Tables that lie deeper are packed as nil: one may contain itself.
constexpr int kMaxDepth = 16;

// --- packing

class Packer {
 public:
  explicit Packer(lua_State* lua) : lua_(lua), out_(lua) {}

  // The value on the top of the stack, which it takes away.
  void PackTop(int depth);
  void PushResult() { out_.PushString(); }

 private:
  template <typename T>
  void Tagged(unsigned char tag, T value) {
    unsigned char bytes[1 + sizeof(T)];
    bytes[0] = tag;
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes[sizeof(T) - i] = static_cast<unsigned char>(static_cast<uint64_t>(value) >> (8 * i));
    }
    out_.Append(bytes, sizeof bytes);
  }
  void Integer(int64_t value);
  void Number(double value);
  void String(const char* bytes, size_t size);
  // The head of an array or a map of `count`.
  void Head(uint64_t count, unsigned char small, unsigned char wide);
  void Table(int depth);
  bool IsArray(uint64_t* count);

  lua_State* lua_;
  LuaBuffer out_;
};

void Packer::Integer(int64_t value) {
  if (value >= 0) {
    const auto number = static_cast<uint64_t>(value);
    if (number <= 0x7f) {
      out_.AppendByte(static_cast<unsigned char>(number));
    } else if (number <= UINT8_MAX) {
      Tagged<uint8_t>(0xcc, static_cast<uint8_t>(number));
    } else if (number <= UINT16_MAX) {
      Tagged<uint16_t>(0xcd, static_cast<uint16_t>(number));
    } else if (number <= UINT32_MAX) {
      Tagged<uint32_t>(0xce, static_cast<uint32_t>(number));
    } else {
      Tagged<uint64_t>(0xcf, number);
    }
  } else if (value >= -32) {
    out_.AppendByte(static_cast<unsigned char>(value));
  } else if (value >= INT8_MIN) {
    Tagged<int8_t>(0xd0, static_cast<int8_t>(value));
  } else if (value >= INT16_MIN) {
    Tagged<int16_t>(0xd1, static_cast<int16_t>(value));
  } else if (value >= INT32_MIN) {
    Tagged<int32_t>(0xd2, static_cast<int32_t>(value));
  } else {
    Tagged<int64_t>(0xd3, value);
  }
}

void Packer::Number(double value) {
  // Beyond these bounds the conversion is undefined.
  if (value >= -0x1p63 && value < 0x1p63 &&
      static_cast<double>(static_cast<int64_t>(value)) == value) {
    Integer(static_cast<int64_t>(value));
  } else if (std::isfinite(value) && std::fabs(value) > static_cast<double>(__FLT_MAX__)) {
    Tagged<uint64_t>(0xcb, std::bit_cast<uint64_t>(value));
  } else if (const auto narrow = static_cast<float>(value); static_cast<double>(narrow) == value) {
    Tagged<uint32_t>(0xca, std::bit_cast<uint32_t>(narrow));
  } else {
    Tagged<uint64_t>(0xcb, std::bit_cast<uint64_t>(value));
  }
}

void Packer::String(const char* bytes, size_t size) {
  if (size < 32) {
    out_.AppendByte(static_cast<unsigned char>(0xa0 | size));
  } else if (size <= UINT8_MAX) {
    Tagged<uint8_t>(0xd9, static_cast<uint8_t>(size));
  } else if (size <= UINT16_MAX) {
    Tagged<uint16_t>(0xda, static_cast<uint16_t>(size));
  } else if (size <= UINT32_MAX) {
    Tagged<uint32_t>(0xdb, static_cast<uint32_t>(size));
  } else {
    luaL_error(lua_, "string too long to pack");
  }
  out_.Append(bytes, size);
}

void Packer::Head(uint64_t count, unsigned char small, unsigned char wide) {
  if (count <= 15) {
    out_.AppendByte(static_cast<unsigned char>(small | count));
  } else if (count <= UINT16_MAX) {
    Tagged<uint16_t>(wide, static_cast<uint16_t>(count));
  } else {
    Tagged<uint32_t>(static_cast<unsigned char>(wide + 1), static_cast<uint32_t>(count));
  }
}

// Whether the keys are 1 to `count`. Else sets `count` to the number of keys.
bool Packer::IsArray(uint64_t* count) {
  bool array = true;
  double largest = 0;
  *count = 0;
  lua_pushnil(lua_);
  while (lua_next(lua_, -2) != 0) {
    lua_pop(lua_, 1);
    ++*count;
    if (!array) continue;
    const double key = lua_type(lua_, -1) == LUA_TNUMBER ? lua_tonumber(lua_, -1) : 0;
    if (key < 1 || key > INT_MAX || std::floor(key) != key) array = false;
    if (key > largest) largest = key;
  }
  return array && largest == static_cast<double>(*count);
}

void Packer::Table(int depth) {
  luaL_checkstack(lua_, 4, "in function cmsgpack.pack");
  uint64_t count;
  if (IsArray(&count)) {
    Head(count, 0x90, 0xdc);
    for (uint64_t i = 1; i <= count; ++i) {
      lua_rawgeti(lua_, -1, static_cast<int>(i));
      PackTop(depth + 1);
    }
  } else {
    Head(count, 0x80, 0xde);
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pushvalue(lua_, -2);
      PackTop(depth + 1);
      PackTop(depth + 1);
    }
  }
}

void Packer::PackTop(int depth) {
  switch (lua_type(lua_, -1)) {
    case LUA_TSTRING: {
      size_t size;
      const char* bytes = lua_tolstring(lua_, -1, &size);
      String(bytes, size);
      break;
    }
    case LUA_TBOOLEAN:
      out_.AppendByte(lua_toboolean(lua_, -1) ? 0xc3 : 0xc2);
      break;
    case LUA_TNUMBER:
      Number(lua_tonumber(lua_, -1));
      break;
    case LUA_TTABLE:
      if (depth < kMaxDepth) {
        Table(depth);
        break;
      }
      [[fallthrough]];
    default:
      out_.AppendByte(0xc0);
  }
  lua_pop(lua_, 1);
}

int Pack(lua_State* lua) {
  const int count = lua_gettop(lua);
  if (count == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
  luaL_checkstack(lua, 4, "Too many arguments for MessagePack pack.");
  Packer packer(lua);
  for (int i = 1; i <= count; ++i) {
    lua_pushvalue(lua, i);
    packer.PackTop(0);
  }
  packer.PushResult();
  return 1;
}

// --- unpacking

class Unpacker {
 public:
  Unpacker(lua_State* lua, const char* bytes, size_t size)
      : lua_(lua), at_(reinterpret_cast<const uint8_t*>(bytes)), left_(size) {}

  size_t left() const { return left_; }
  // Pushes the next value.
  void Push();

 private:
  const uint8_t* Take(size_t size) {
    if (size > left_) luaL_error(lua_, "Missing bytes in input.");
    const uint8_t* taken = at_;
    at_ += size;
    left_ -= size;
    return taken;
  }
  uint64_t Number(size_t size) {
    const uint8_t* bytes = Take(size);
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) value = value << 8 | bytes[i];
    return value;
  }
  void PushString(uint64_t size) {
    const uint8_t* bytes = Take(size);
    lua_pushlstring(lua_, reinterpret_cast<const char*>(bytes), size);
  }
  void PushArray(uint64_t count);
  void PushMap(uint64_t count);
  void PushTagged(uint8_t tag);

  lua_State* lua_;
  const uint8_t* at_;
  size_t left_;
};

// No room is made for the announced number of elements: the input may lie.
void Unpacker::PushArray(uint64_t count) {
  lua_newtable(lua_);
  for (uint64_t i = 1; i <= count; ++i) {
    Push();
    lua_rawseti(lua_, -2, static_cast<int>(i));
  }
}

void Unpacker::PushMap(uint64_t count) {
  lua_newtable(lua_);
  for (uint64_t i = 0; i < count; ++i) {
    Push();
    Push();
    lua_settable(lua_, -3);
  }
}

void Unpacker::PushTagged(uint8_t tag) {
  switch (tag) {
    case 0xc0:
      return lua_pushnil(lua_);
    case 0xc2:
      return lua_pushboolean(lua_, 0);
    case 0xc3:
      return lua_pushboolean(lua_, 1);
    case 0xc4:
    case 0xd9:
      return PushString(Number(1));
    case 0xc5:
    case 0xda:
      return PushString(Number(2));
    case 0xc6:
    case 0xdb:
      return PushString(Number(4));
    case 0xca:
      return lua_pushnumber(lua_, std::bit_cast<float>(static_cast<uint32_t>(Number(4))));
    case 0xcb:
      return lua_pushnumber(lua_, std::bit_cast<double>(Number(8)));
    case 0xcc:
      return lua_pushnumber(lua_, static_cast<double>(Number(1)));
    case 0xcd:
      return lua_pushnumber(lua_, static_cast<double>(Number(2)));
    case 0xce:
      return lua_pushnumber(lua_, static_cast<double>(Number(4)));
    case 0xcf:
      return lua_pushnumber(lua_, static_cast<double>(Number(8)));
    case 0xd0:
      return lua_pushnumber(lua_, static_cast<int8_t>(Number(1)));
    case 0xd1:
      return lua_pushnumber(lua_, static_cast<int16_t>(Number(2)));
    case 0xd2:
      return lua_pushnumber(lua_, static_cast<int32_t>(Number(4)));
    case 0xd3:
      return lua_pushnumber(lua_, static_cast<double>(static_cast<int64_t>(Number(8))));
    case 0xdc:
      return PushArray(Number(2));
    case 0xdd:
      return PushArray(Number(4));
    case 0xde:
      return PushMap(Number(2));
    case 0xdf:
      return PushMap(Number(4));
    default:
      luaL_error(lua_, "Bad data format in input.");
  }
}

void Unpacker::Push() {
  luaL_checkstack(lua_, 3, "in function cmsgpack.unpack");
  const uint8_t tag = *Take(1);
  if (tag < 0x80) {
    lua_pushnumber(lua_, tag);
  } else if (tag >= 0xe0) {
    lua_pushnumber(lua_, static_cast<int8_t>(tag));
  } else if (tag < 0x90) {
    PushMap(tag & 0xf);
  } else if (tag < 0xa0) {
    PushArray(tag & 0xf);
  } else if (tag < 0xc0) {
    PushString(tag & 0x1f);
  } else {
    PushTagged(tag);
  }
}

int UnpackSome(lua_State* lua, lua_Integer limit, lua_Integer offset) {
  size_t size;
  const char* bytes = luaL_checklstring(lua, 1, &size);
  if (offset < 0 || limit < 0) {
    return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                      static_cast<int>(offset), static_cast<int>(size));
  }
  if (static_cast<size_t>(offset) > size) {
    return luaL_error(lua, "Start offset %d greater than input length %d.",
                      static_cast<int>(offset), static_cast<int>(size));
  }
  const bool all = limit == 0 && offset == 0;
  if (all) limit = INT_MAX;
  Unpacker unpacker(lua, bytes + offset, size - static_cast<size_t>(offset));
  int count = 0;
  while (unpacker.left() > 0 && count < limit) {
    unpacker.Push();
    ++count;
  }
  if (all) return count;
  luaL_checkstack(lua, 1, "in function cmsgpack.unpack");
  lua_pushnumber(lua, unpacker.left() == 0 ? -1 : static_cast<double>(size - unpacker.left()));
  lua_insert(lua, 2);
  return count + 1;
}

int Unpack(lua_State* lua) { return UnpackSome(lua, 0, 0); }

int UnpackOne(lua_State* lua) {
  const lua_Integer offset = luaL_optinteger(lua, 2, 0);
  lua_settop(lua, 1);
  return UnpackSome(lua, 1, offset);
}

int UnpackLimit(lua_State* lua) {
  const lua_Integer limit = luaL_checkinteger(lua, 2);
  const lua_Integer offset = luaL_optinteger(lua, 3, 0);
  lua_settop(lua, 1);
  return UnpackSome(lua, limit, offset);
}

}  // namespace

int OpenMessagePack(lua_State* lua) {
  constexpr luaL_Reg kFunctions[] = {
      {"pack", Pack}, {"unpack", Unpack}, {"unpack_one", UnpackOne}, {"unpack_limit", UnpackLimit}};
  lua_newtable(lua);
  for (const luaL_Reg& function : kFunctions) {
    lua_pushcfunction(lua, function.func);
    lua_setfield(lua, -2, function.name);
  }
  lua_pushliteral(lua, "cmsgpack");
  lua_setfield(lua, -2, "_NAME");
  lua_pushliteral(lua, "lua-cmsgpack 0.4.0");
  lua_setfield(lua, -2, "_VERSION");
  return 1;
}

}  // namespace firn::server
