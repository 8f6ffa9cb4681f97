// Commands that read or change a part of a string: ranges, lengths, counters, APPEND.
#include <cmath>
#include <limits>
#include <string>

#include "engine/types/string_ops.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/commands/strings.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr Database::SetOptions kKeepExpiry = {.expiry = Database::ExpiryChange::kKeep};

void Changed(CommandContext& context, std::string_view event) {
  context.Modified(context.key());
  context.Notify('$', event, context.key().bytes);
}

// Whether a string may have `offset` + `bytes` bytes; answers the client if not.
struct Extent {
  uint64_t offset;
  uint64_t bytes;
};
bool CheckLength(CommandContext& context, Extent extent) {
  if (extent.offset + extent.bytes <= MaxStringBytes(context)) return true;
  context.reply.Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  return false;
}

void Increment(CommandContext& context, int64_t by) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  Database::KeyInfo info = LookupForWrite(context, key);
  if (!CheckString(context, info)) return;
  int64_t value = 0;
  if (info.is_long) return context.reply.Error(kNotAnIntegerError);
  if (info.exists()) {
    StringValue old = db.GetString(key);
    if (old.is_integer()) {
      value = old.integer();
    } else if (!ParseIntegerOr(context, old.bytes(), &value)) {
      return;
    }
  }
  if (__builtin_add_overflow(value, by, &value)) {
    return context.reply.Error("ERR increment or decrement would overflow");
  }
  db.SetInteger(key, value, kKeepExpiry);
  Changed(context, "incrby");
  context.reply.Integer(value);
}

}  // namespace

void IncrCommand(CommandContext& context) { Increment(context, 1); }

void DecrCommand(CommandContext& context) { Increment(context, -1); }

void IncrByCommand(CommandContext& context) {
  int64_t by;
  if (ParseIntegerOr(context, context.args[2], &by)) Increment(context, by);
}

void DecrByCommand(CommandContext& context) {
  int64_t by;
  if (!ParseIntegerOr(context, context.args[2], &by)) return;
  if (by == std::numeric_limits<int64_t>::min()) {
    return context.reply.Error("ERR decrement would overflow");
  }
  Increment(context, -by);
}

void IncrByFloatCommand(CommandContext& context) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  Database::KeyInfo info = LookupForWrite(context, key);
  if (!CheckString(context, info)) return;
  if (info.is_long) return context.reply.Error(kNotAFloatError);
  long double value = 0;
  if (info.exists() && !ParseLongDoubleOr(context, db.GetString(key).bytes(), &value)) return;
  long double by;
  if (!ParseLongDoubleOr(context, context.args[2], &by)) return;
  value += by;
  if (std::isnan(value) || std::isinf(value)) {
    return context.reply.Error("ERR increment would produce NaN or Infinity");
  }
  std::string text = FormatLongDouble(value);
  // Stays a string of bytes even if it looks like an integer, as OBJECT ENCODING shows.
  db.SetString(key, text, kKeepExpiry);
  Changed(context, "incrbyfloat");
  context.reply.Bulk(text);
}

void AppendCommand(CommandContext& context) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  std::string_view bytes = context.args[2];
  Database::KeyInfo info = LookupForWrite(context, key);
  uint64_t length = bytes.size();
  if (!info.exists()) {
    StoreString(db, key, bytes, {});
  } else {
    if (!CheckString(context, info)) return;
    const uint64_t old_length = db.StringLength(key);
    if (!CheckLength(context, {old_length, bytes.size()})) return;
    if (!info.is_long) {
      length = db.AppendString(key, bytes);
    } else {
      if (!db.WriteLong(key, old_length, bytes)) return;
      length += old_length;
    }
  }
  Changed(context, "append");
  context.reply.Integer(static_cast<int64_t>(length));
}

bool MergedAppend(CommandContext& context, std::span<const ParsedRequest> requests) {
  // Copying more than this would take longer than it saves.
  constexpr uint64_t kMostBytes = 16 << 10;
  Database& db = context.db();
  const HashedKey& key = context.key();
  constexpr Database::LookupOptions kUnseen = {.touch = false, .count_hit = false};
  if (db.Lookup(key, kUnseen).type != ValueType::kString) return false;
  const Database::KeyInfo info = LookupForWrite(context, key);
  uint64_t length = db.StringLength(key);
  std::string bytes;
  for (const ParsedRequest& request : requests) {
    if (bytes.size() + request.args[2].size() > kMostBytes) return false;
    bytes += request.args[2];
  }
  if (length + bytes.size() > MaxStringBytes(context)) return false;
  if (!info.is_long) {
    db.AppendString(key, bytes);
  } else if (!db.WriteLong(key, length, bytes)) {
    return false;
  }
  context.Modified(key);
  context.server.stats().changes += requests.size() - 1;
  for (const ParsedRequest& request : requests) {
    length += request.args[2].size();
    context.reply.Integer(static_cast<int64_t>(length));
  }
  return true;
}

void SetRangeCommand(CommandContext& context) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  int64_t offset;
  if (!ParseIntegerOr(context, context.args[2], &offset)) return;
  if (offset < 0) return context.reply.Error("ERR offset is out of range");
  std::string_view bytes = context.args[3];
  Database::KeyInfo info = LookupForWrite(context, key);
  if (!CheckString(context, info)) return;
  if (bytes.empty()) {
    uint64_t length = info.exists() ? db.StringLength(key) : 0;
    return context.reply.Integer(static_cast<int64_t>(length));
  }
  const Extent extent = {static_cast<uint64_t>(offset), bytes.size()};
  if (!CheckLength(context, extent)) return;
  uint64_t length;
  if (!info.is_long) {
    length = db.SetRange(key, extent.offset, bytes);
  } else {
    if (!db.WriteLong(key, extent.offset, bytes)) return;
    length = db.StringLength(key);
  }
  Changed(context, "setrange");
  context.reply.Integer(static_cast<int64_t>(length));
}

void StrLenCommand(CommandContext& context) {
  Database::KeyInfo info = LookupForRead(context, context.key());
  if (!CheckString(context, info)) return;
  uint64_t length = info.exists() ? context.db().StringLength(context.key()) : 0;
  context.reply.Integer(static_cast<int64_t>(length));
}

void GetRangeCommand(CommandContext& context) {
  IndexRange range;
  if (!ParseIntegerOr(context, context.args[2], &range.first)) return;
  if (!ParseIntegerOr(context, context.args[3], &range.last)) return;
  Database::KeyInfo info = LookupForRead(context, context.key());
  if (!CheckString(context, info)) return;
  if (!info.exists()) return context.reply.Bulk(std::string_view());
  if (info.is_long) {
    const ByteRange part = ClampRange(context.db().StringLength(context.key()), range);
    return ReplyLongString(context, context.key(), {part.begin, part.begin + part.size});
  }
  StringValue value = context.db().GetString(context.key());
  ByteRange part = ClampRange(value.bytes().size(), range);
  if (part.size == value.bytes().size()) return context.reply.Bulk(value);
  context.reply.Bulk(value.bytes().substr(part.begin, part.size));
}

void MGetCommand(CommandContext& context) {
  Database& db = context.db();
  bool complete = true;
  for (const KeyAccess& access : context.keys) {
    const Database::KeyInfo info = db.Lookup(access.key, {.touch = false, .count_hit = false});
    if (info.is_long) complete &= db.WantString(access.key, {});
  }
  if (!complete) return;
  context.reply.ArrayHeader(static_cast<int64_t>(context.keys.size()));
  for (const KeyAccess& access : context.keys) {
    Database::KeyInfo info = LookupForRead(context, access.key);
    if (info.type == ValueType::kString) {
      ReplyWholeString(context, access.key, info);
    } else {
      context.reply.Null();
    }
  }
}

}  // namespace firn::server
