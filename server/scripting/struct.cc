#include "server/scripting/struct.h"

#include <bit>
#include <cctype>
#include <climits>
#include <cstdint>
#include <cstring>

#include "server/scripting/lua_buffer.h"

namespace firn::server {
namespace {

constexpr size_t kMaxIntegerBytes = 32;
constexpr size_t kMaxAlignment = 8;

// Walks over a format: "<", ">", "=", "!n" set how what follows is laid out.
class Format {
 public:
  Format(lua_State* lua, const char* text) : lua_(lua), at_(text) {}

  // The next option; 0 at the end. Sets size() and padding(), given how many bytes precede it.
  char Next(size_t position);
  size_t size() const { return size_; }
  size_t padding() const { return padding_; }
  bool big_endian() const { return big_endian_; }

 private:
  size_t Count(size_t otherwise);
  size_t SizeOf(char option);
  // An option that stands for no bytes.
  void Control(char option);

  lua_State* lua_;
  const char* at_;
  bool big_endian_ = std::endian::native == std::endian::big;
  size_t alignment_ = 1;
  size_t size_ = 0;
  size_t padding_ = 0;
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsInteger(char option) { return std::strchr("bBhHlLTiI", option) != nullptr; }

size_t Format::Count(size_t otherwise) {
  if (!IsDigit(*at_)) return otherwise;
  size_t count = 0;
  while (IsDigit(*at_)) {
    count = count * 10 + static_cast<size_t>(*at_++ - '0');
    if (count > INT_MAX) luaL_error(lua_, "integral size overflow");
  }
  return count;
}

size_t Format::SizeOf(char option) {
  switch (option) {
    case 'b':
    case 'B':
    case 'x':
      return 1;
    case 'h':
    case 'H':
      return 2;
    case 'f':
      return 4;
    case 'l':
    case 'L':
    case 'T':
    case 'd':
      return 8;
    case 'c':
      return Count(1);
    case 'i':
    case 'I': {
      const size_t size = Count(sizeof(int));
      if (size > kMaxIntegerBytes) {
        luaL_error(lua_, "integral size %d is larger than limit of %d", static_cast<int>(size),
                   static_cast<int>(kMaxIntegerBytes));
      }
      return size;
    }
    default:
      return 0;
  }
}

void Format::Control(char option) {
  switch (option) {
    case ' ':
      return;
    case '>':
      big_endian_ = true;
      return;
    case '<':
      big_endian_ = false;
      return;
    case '!': {
      const size_t alignment = Count(kMaxAlignment);
      if (!std::has_single_bit(alignment)) {
        luaL_error(lua_, "alignment %d is not a power of 2", static_cast<int>(alignment));
      }
      alignment_ = alignment;
      return;
    }
    default:
      luaL_argerror(lua_, 1, lua_pushfstring(lua_, "invalid format option '%c'", option));
  }
}

char Format::Next(size_t position) {
  while (*at_ != '\0') {
    const char option = *at_++;
    size_ = SizeOf(option);
    padding_ = 0;
    if (size_ > 0 && option != 'c') {
      const size_t unit = std::min(size_, alignment_);
      padding_ = (unit - (position & (unit - 1))) & (unit - 1);
    }
    if (IsInteger(option) || std::strchr("xfdcs", option) != nullptr) return option;
    Control(option);
  }
  return 0;
}

uint64_t ToBits(double number) {
  // What lies outside the range of the type wraps, or is 0: a conversion would be undefined.
  if (number >= -0x1p63 && number < 0x1p63) {
    return static_cast<uint64_t>(static_cast<int64_t>(number));
  }
  return number >= 0x1p63 && number < 0x1p64 ? static_cast<uint64_t>(number) : uint64_t{1} << 63;
}

void Store(char* to, uint64_t value, size_t size, bool big_endian) {
  for (size_t i = 0; i < size; ++i) {
    to[big_endian ? size - 1 - i : i] = static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  }
}

uint64_t Load(const char* from, size_t size, bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value = value << 8 | static_cast<unsigned char>(from[big_endian ? i : size - 1 - i]);
  }
  return value;
}

double SignedOf(uint64_t value, size_t size) {
  if (size > 0 && size < 8 && (value >> (8 * size - 1) & 1) != 0)
    value |= ~uint64_t{0} << (8 * size);
  return static_cast<double>(static_cast<int64_t>(value));
}

void PackFloating(lua_State* lua, LuaBuffer* out, int argument, const Format& format) {
  const double number = luaL_checknumber(lua, argument);
  char bytes[8];
  if (format.size() == 4) {
    Store(bytes, std::bit_cast<uint32_t>(static_cast<float>(number)), 4, format.big_endian());
  } else {
    Store(bytes, std::bit_cast<uint64_t>(number), 8, format.big_endian());
  }
  out->Append(bytes, format.size());
}

int Pack(lua_State* lua) {
  Format format(lua, luaL_checkstring(lua, 1));
  // Arguments that are missing must not be taken for the buffer behind them.
  lua_pushnil(lua);
  LuaBuffer out(lua);
  int argument = 2;
  while (const char option = format.Next(out.size())) {
    out.AppendZeros(format.padding());
    if (IsInteger(option)) {
      char bytes[kMaxIntegerBytes];
      Store(bytes, ToBits(luaL_checknumber(lua, argument++)), format.size(), format.big_endian());
      out.Append(bytes, format.size());
    } else if (option == 'x') {
      out.AppendZeros(1);
    } else if (option == 'f' || option == 'd') {
      PackFloating(lua, &out, argument++, format);
    } else {
      size_t length;
      const char* bytes = luaL_checklstring(lua, argument++, &length);
      const size_t size = format.size() == 0 ? length : format.size();
      luaL_argcheck(lua, length >= size, argument, "string too short");
      out.Append(bytes, size);
      if (option == 's') out.AppendZeros(1);
    }
  }
  out.PushString();
  return 1;
}

int Unpack(lua_State* lua) {
  Format format(lua, luaL_checkstring(lua, 1));
  size_t length;
  const char* data = luaL_checklstring(lua, 2, &length);
  const lua_Integer first = luaL_optinteger(lua, 3, 1);
  luaL_argcheck(lua, first > 0, 3, "offset must be 1 or greater");
  size_t position = static_cast<size_t>(first) - 1;
  int results = 0;
  auto need = [&](size_t size) {
    luaL_argcheck(lua, size <= length && position <= length - size, 2, "data string too short");
  };
  while (const char option = format.Next(position)) {
    position += format.padding();
    size_t size = format.size();
    need(size);
    luaL_checkstack(lua, 2, "too many results");
    if (IsInteger(option)) {
      const uint64_t value = Load(data + position, size, format.big_endian());
      lua_pushnumber(lua,
                     std::islower(option) ? SignedOf(value, size) : static_cast<double>(value));
      ++results;
    } else if (option == 'f') {
      const uint64_t bits = Load(data + position, size, format.big_endian());
      lua_pushnumber(lua, std::bit_cast<float>(static_cast<uint32_t>(bits)));
      ++results;
    } else if (option == 'd') {
      lua_pushnumber(lua, std::bit_cast<double>(Load(data + position, size, format.big_endian())));
      ++results;
    } else if (option == 'c') {
      if (size == 0) {
        if (results == 0 || !lua_isnumber(lua, -1)) {
          luaL_error(lua, "format 'c0' needs a previous size");
        }
        const double wanted = lua_tonumber(lua, -1);
        lua_pop(lua, 1);
        --results;
        luaL_argcheck(lua, wanted >= 0 && wanted <= static_cast<double>(length), 2,
                      "data string too short");
        size = static_cast<size_t>(wanted);
        need(size);
      }
      lua_pushlstring(lua, data + position, size);
      ++results;
    } else if (option == 's') {
      const void* end = std::memchr(data + position, '\0', length - position);
      if (end == nullptr) luaL_error(lua, "unfinished string in data");
      size = static_cast<size_t>(static_cast<const char*>(end) - (data + position)) + 1;
      lua_pushlstring(lua, data + position, size - 1);
      ++results;
    }
    position += size;
  }
  lua_pushnumber(lua, static_cast<double>(position + 1));
  return results + 1;
}

int Size(lua_State* lua) {
  Format format(lua, luaL_checkstring(lua, 1));
  size_t position = 0;
  while (const char option = format.Next(position)) {
    if (option == 's') luaL_argerror(lua, 1, "option 's' has no fixed size");
    if (option == 'c' && format.size() == 0) luaL_argerror(lua, 1, "option 'c0' has no fixed size");
    position += format.padding() + format.size();
  }
  lua_pushnumber(lua, static_cast<double>(position));
  return 1;
}

}  // namespace

int OpenStruct(lua_State* lua) {
  constexpr luaL_Reg kFunctions[] = {{"pack", Pack}, {"unpack", Unpack}, {"size", Size}};
  lua_newtable(lua);
  for (const luaL_Reg& function : kFunctions) {
    lua_pushcfunction(lua, function.func);
    lua_setfield(lua, -2, function.name);
  }
  return 1;
}

}  // namespace firn::server
