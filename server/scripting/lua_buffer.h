// LuaBuffer: bytes that grow, in a userdata on the Lua stack, so that an error of Lua, which leaves
// C++ frames behind, leaks nothing and a script's memory limit counts them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <luajit-2.1/lua.hpp>

namespace firn::server {

class LuaBuffer {
 public:
  // Takes one slot of the stack, which stays where it is until Push.
  explicit LuaBuffer(lua_State* lua) : lua_(lua) {
    luaL_checkstack(lua, 2, "too many values");
    data_ = static_cast<char*>(lua_newuserdata(lua, capacity_));
    slot_ = lua_gettop(lua);
  }

  void Append(const void* bytes, size_t size) {
    if (size == 0) return;
    if (size > capacity_ - size_) Grow(size);
    std::memcpy(data_ + size_, bytes, size);
    size_ += size;
  }
  void AppendByte(unsigned char byte) { Append(&byte, 1); }
  void AppendZeros(size_t count) {
    if (count > capacity_ - size_) Grow(count);
    std::memset(data_ + size_, 0, count);
    size_ += count;
  }
  size_t size() const { return size_; }
  void PushString() { lua_pushlstring(lua_, data_, size_); }

 private:
  void Grow(size_t more) {
    constexpr size_t kMost = size_t{1} << 40;
    if (more > kMost - size_) luaL_error(lua_, "string too long");
    const size_t capacity = std::max(capacity_ * 2, size_ + more);
    auto* data = static_cast<char*>(lua_newuserdata(lua_, capacity));
    std::memcpy(data, data_, size_);
    lua_replace(lua_, slot_);
    data_ = data;
    capacity_ = capacity;
  }

  lua_State* lua_;
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 256;
  int slot_ = 0;
};

}  // namespace firn::server
