#include "server/scripting/lua_reply.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <luajit-2.1/lua.hpp>
#include <string>

#include "engine/base/check.h"

namespace firn::server {
namespace {

// --- to Lua

class ReplyParser {
 public:
  ReplyParser(lua_State* lua, std::string_view resp) : lua_(lua), rest_(resp) {}
  void Push();

 private:
  std::string_view Line() {
    const size_t end = rest_.find('\r');
    CHECK(end != std::string_view::npos && end + 1 < rest_.size());
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 2);
    return line;
  }
  static int64_t Integer(std::string_view text) {
    int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }
  std::string_view Bytes(int64_t size) {
    std::string_view bytes = rest_.substr(0, static_cast<size_t>(size));
    rest_.remove_prefix(static_cast<size_t>(size) + 2);
    return bytes;
  }
  void PushString(std::string_view text) { lua_pushlstring(lua_, text.data(), text.size()); }
  // {name = text}
  void PushTable(const char* name, std::string_view text) {
    lua_createtable(lua_, 0, 1);
    PushString(text);
    lua_setfield(lua_, -2, name);
  }
  void PushArray(int64_t count);
  void PushMap(int64_t count);
  void PushSet(int64_t count);
  void PushDouble(std::string_view text);
  void PushVerbatim(std::string_view bytes);

  lua_State* lua_;
  std::string_view rest_;
};

void ReplyParser::PushArray(int64_t count) {
  if (count < 0) return lua_pushboolean(lua_, 0);
  lua_createtable(lua_, static_cast<int>(count), 0);
  for (int64_t i = 1; i <= count; ++i) {
    Push();
    lua_rawseti(lua_, -2, static_cast<int>(i));
  }
}

void ReplyParser::PushMap(int64_t count) {
  lua_createtable(lua_, 0, 1);
  lua_createtable(lua_, 0, static_cast<int>(count));
  for (int64_t i = 0; i < count; ++i) {
    Push();
    Push();
    if (lua_isnil(lua_, -2)) {
      lua_pop(lua_, 2);
    } else {
      lua_rawset(lua_, -3);
    }
  }
  lua_setfield(lua_, -2, "map");
}

void ReplyParser::PushSet(int64_t count) {
  lua_createtable(lua_, 0, 1);
  lua_createtable(lua_, 0, static_cast<int>(count));
  for (int64_t i = 0; i < count; ++i) {
    Push();
    if (lua_isnil(lua_, -1)) {
      lua_pop(lua_, 1);
      continue;
    }
    lua_pushboolean(lua_, 1);
    lua_rawset(lua_, -3);
  }
  lua_setfield(lua_, -2, "set");
}

void ReplyParser::PushDouble(std::string_view text) {
  double value = 0;
  if (text == "inf") {
    value = std::numeric_limits<double>::infinity();
  } else if (text == "-inf") {
    value = -std::numeric_limits<double>::infinity();
  } else if (text == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    std::from_chars(text.data(), text.data() + text.size(), value);
  }
  lua_createtable(lua_, 0, 1);
  lua_pushnumber(lua_, value);
  lua_setfield(lua_, -2, "double");
}

void ReplyParser::PushVerbatim(std::string_view bytes) {
  lua_createtable(lua_, 0, 1);
  lua_createtable(lua_, 0, 2);
  PushString(bytes.substr(4));
  lua_setfield(lua_, -2, "string");
  PushString(bytes.substr(0, 3));
  lua_setfield(lua_, -2, "format");
  lua_setfield(lua_, -2, "verbatim_string");
}

void ReplyParser::Push() {
  luaL_checkstack(lua_, 4, "reply nested too deeply");
  CHECK(!rest_.empty());
  const char type = rest_[0];
  rest_.remove_prefix(1);
  std::string_view line = Line();
  switch (type) {
    case ':':
      return lua_pushnumber(lua_, static_cast<double>(Integer(line)));
    case '$':
      if (line[0] == '-') return lua_pushboolean(lua_, 0);
      return PushString(Bytes(Integer(line)));
    case '*':
    case '>':
      return PushArray(Integer(line));
    case '+':
      return PushTable("ok", line);
    case '-':
      PushTable("err", line);
      // The command's error has been counted.
      lua_pushboolean(lua_, 1);
      return lua_setfield(lua_, -2, "ignore_error_stats_update");
    case '%':
      return PushMap(Integer(line));
    case '~':
      return PushSet(Integer(line));
    case '_':
      return lua_pushnil(lua_);
    case '#':
      return lua_pushboolean(lua_, line == "t");
    case ',':
      return PushDouble(line);
    case '(':
      return PushTable("big_number", line);
    case '=':
      return PushVerbatim(Bytes(Integer(line)));
    case '|':
      for (int64_t i = 2 * Integer(line); i > 0; --i) {
        Push();
        lua_pop(lua_, 1);
      }
      return Push();
    default:
      CHECK_MSG(false, "an unknown type of reply");
  }
}

// --- from Lua

std::string_view ViewOf(lua_State* lua, int index) {
  size_t size;
  const char* bytes = lua_tolstring(lua, index, &size);
  return {bytes, size};
}

std::string InOneLine(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return line;
}

class ReplyWriter {
 public:
  ReplyWriter(lua_State* lua, const LuaReplyOptions& options, Reply* reply)
      : lua_(lua), options_(options), reply_(*reply) {}
  // Takes the value away.
  void Write();
  bool counted() const { return counted_; }

 private:
  // Pushes the field if it has this type.
  bool Field(const char* name, int type) {
    lua_pushstring(lua_, name);
    lua_rawget(lua_, -2);
    if (lua_type(lua_, -1) == type) return true;
    lua_pop(lua_, 1);
    return false;
  }
  void Table();
  // Whether the table was one of those that stand for something.
  bool Special();
  bool Verbatim();
  void Map();
  void Set();
  int64_t CountPairs();

  lua_State* lua_;
  const LuaReplyOptions& options_;
  Reply& reply_;
  bool counted_ = false;
};

bool ReplyWriter::Verbatim() {
  if (!Field("verbatim_string", LUA_TTABLE)) return false;
  const int top = lua_gettop(lua_);
  bool written = false;
  if (Field("format", LUA_TSTRING)) {
    std::string format(ViewOf(lua_, -1));
    format.resize(3, ' ');
    lua_pushvalue(lua_, top);
    if (Field("string", LUA_TSTRING)) {
      reply_.Verbatim(format, ViewOf(lua_, -1));
      written = true;
    }
  }
  lua_settop(lua_, top - 1);
  return written;
}

int64_t ReplyWriter::CountPairs() {
  int64_t count = 0;
  lua_pushnil(lua_);
  while (lua_next(lua_, -2) != 0) {
    lua_pop(lua_, 1);
    ++count;
  }
  return count;
}

// The table of pairs lies on the top.
void ReplyWriter::Map() {
  reply_.MapHeader(CountPairs());
  lua_pushnil(lua_);
  while (lua_next(lua_, -2) != 0) {
    lua_pushvalue(lua_, -2);
    Write();
    Write();
  }
}

void ReplyWriter::Set() {
  reply_.SetHeader(CountPairs());
  lua_pushnil(lua_);
  while (lua_next(lua_, -2) != 0) {
    lua_pop(lua_, 1);
    lua_pushvalue(lua_, -1);
    Write();
  }
}

bool ReplyWriter::Special() {
  const int top = lua_gettop(lua_);
  if (Field("err", LUA_TSTRING)) {
    reply_.Error(ViewOf(lua_, -1));
    lua_settop(lua_, top);
    if (Field("ignore_error_stats_update", LUA_TBOOLEAN)) counted_ = lua_toboolean(lua_, -1) != 0;
  } else if (Field("ok", LUA_TSTRING)) {
    reply_.SimpleString(InOneLine(lua_tostring(lua_, -1)));
  } else if (Field("double", LUA_TNUMBER)) {
    reply_.Double(lua_tonumber(lua_, -1));
  } else if (Field("big_number", LUA_TSTRING)) {
    reply_.BigNumber(InOneLine(ViewOf(lua_, -1)));
  } else if (Field("map", LUA_TTABLE)) {
    Map();
  } else if (Field("set", LUA_TTABLE)) {
    Set();
  } else {
    return Verbatim();
  }
  lua_settop(lua_, top);
  return true;
}

void ReplyWriter::Table() {
  if (Special()) return;
  int count = 0;
  while (true) {
    lua_rawgeti(lua_, -1, count + 1);
    const bool end = lua_isnil(lua_, -1);
    lua_pop(lua_, 1);
    if (end) break;
    ++count;
  }
  reply_.ArrayHeader(count);
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(lua_, -1, i);
    Write();
  }
}

int64_t ToInteger(double number) {
  const bool fits = number >= -0x1p63 && number < 0x1p63;
  return fits ? static_cast<int64_t>(number) : std::numeric_limits<int64_t>::min();
}

void ReplyWriter::Write() {
  if (lua_checkstack(lua_, 5) == 0) {
    reply_.Error("ERR reached lua stack limit");
    lua_pop(lua_, 1);
    return;
  }
  switch (lua_type(lua_, -1)) {
    case LUA_TSTRING:
      reply_.Bulk(ViewOf(lua_, -1));
      break;
    case LUA_TNUMBER:
      reply_.Integer(ToInteger(lua_tonumber(lua_, -1)));
      break;
    case LUA_TBOOLEAN: {
      const bool value = lua_toboolean(lua_, -1) != 0;
      if (options_.protocol >= 3) {
        reply_.Bool(value);
      } else if (value) {
        reply_.Integer(1);
      } else {
        reply_.Null();
      }
      break;
    }
    case LUA_TTABLE:
      Table();
      break;
    default:
      reply_.Null();
  }
  lua_pop(lua_, 1);
}

}  // namespace

bool PushReply(lua_State* lua, std::string_view resp) {
  ReplyParser(lua, resp).Push();
  return resp[0] == '-';
}

void PushError(lua_State* lua, std::string_view text) {
  std::string_view code = "ERR";
  if (text.starts_with('-')) {
    text.remove_prefix(1);
    if (const size_t space = text.find(' '); space != std::string_view::npos) {
      code = text.substr(0, space);
      text.remove_prefix(space + 1);
    }
  }
  constexpr std::string_view kEnds = "\r\n";
  while (!text.empty() && kEnds.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  while (!text.empty() && kEnds.find(text.front()) != std::string_view::npos) text.remove_prefix(1);
  lua_createtable(lua, 0, 4);
  lua_pushlstring(lua, code.data(), code.size());
  lua_pushliteral(lua, " ");
  lua_pushlstring(lua, text.data(), text.size());
  lua_concat(lua, 3);
  lua_setfield(lua, -2, "err");
}

bool WriteReply(lua_State* lua, const LuaReplyOptions& options, Reply* reply) {
  ReplyWriter writer(lua, options, reply);
  writer.Write();
  return writer.counted();
}

}  // namespace firn::server
