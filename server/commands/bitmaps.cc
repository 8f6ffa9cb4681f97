// The bitmap commands but for bit fields: single bits, counts, searches and BITOP.
#include "server/commands/bitmaps.h"

#include <algorithm>
#include <string>
#include <vector>

#include "engine/types/bitmap.h"
#include "server/commands/common.h"

namespace firn::server {
namespace {

// A range as BITCOUNT and BITPOS take it, and the length in bytes that it applies to.
struct GivenRange {
  int64_t first = 0;
  int64_t last = -1;
  bool in_bits = false;
};

bool ParseUnitOr(CommandContext& context, std::string_view text, bool* in_bits) {
  *in_bits = EqualsIgnoreCase(text, "bit");
  if (*in_bits || EqualsIgnoreCase(text, "byte")) return true;
  context.reply.Error(kSyntaxError);
  return false;
}

BitRange ClampToBits(const GivenRange& given, uint64_t bytes) {
  const auto size = static_cast<int64_t>(given.in_bits ? bytes * 8 : bytes);
  const int64_t first = given.first < 0 ? std::max<int64_t>(size + given.first, 0) : given.first;
  int64_t last = given.last < 0 ? std::max<int64_t>(size + given.last, 0) : given.last;
  last = std::min(last, size - 1);
  if (first > last) return {};
  const uint64_t unit = given.in_bits ? 1 : 8;
  return {.begin = static_cast<uint64_t>(first) * unit,
          .end = (static_cast<uint64_t>(last) + 1) * unit};
}

}  // namespace

bool ParseBitOffsetOr(CommandContext& context, std::string_view text, uint64_t* offset) {
  constexpr std::string_view kOffsetError = "ERR bit offset is not an integer or out of range";
  int64_t value;
  if (!ParseIntegerOr(context, text, &value, kOffsetError)) return false;
  *offset = static_cast<uint64_t>(value);
  if (value >= 0 && *offset >> 3 < MaxStringBytes(context)) return true;
  context.reply.Error(kOffsetError);
  return false;
}

void SetBitCommand(CommandContext& context) {
  constexpr std::string_view kBitError = "ERR bit is not an integer or out of range";
  Database& db = context.db();
  const HashedKey& key = context.key();
  uint64_t offset;
  int64_t bit;
  if (!ParseBitOffsetOr(context, context.args[2], &offset)) return;
  if (!ParseRangeOr(context, context.args[3], {0, 1}, &bit, kBitError)) return;
  const Database::KeyInfo info = LookupForWrite(context, key);
  if (!CheckString(context, info)) return;
  StringValue value;
  if (info.exists()) value = db.GetString(key);
  const std::string_view bytes = value.bytes();
  const uint64_t byte = offset >> 3;
  const bool grows = byte >= bytes.size();
  const bool old_bit = BitAt(bytes, offset);
  if (grows || old_bit != (bit != 0)) {
    const char changed = WithBit(grows ? '\0' : bytes[byte], offset, bit != 0);
    db.SetRange(key, byte, {&changed, 1});
    context.Modified(key);
    context.Notify('$', "setbit", key.bytes);
  }
  context.reply.Integer(old_bit ? 1 : 0);
}

void GetBitCommand(CommandContext& context) {
  uint64_t offset;
  if (!ParseBitOffsetOr(context, context.args[2], &offset)) return;
  const Database::KeyInfo info = LookupForRead(context, context.key());
  if (!info.exists()) return context.reply.Integer(0);
  if (!CheckString(context, info)) return;
  const StringValue value = context.db().GetString(context.key());
  context.reply.Integer(BitAt(value.bytes(), offset) ? 1 : 0);
}

void BitCountCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  const Database::KeyInfo info = LookupForRead(context, context.key());
  if (!info.exists()) return context.reply.Integer(0);
  if (!CheckString(context, info)) return;
  const StringValue value = context.db().GetString(context.key());
  const std::string_view bytes = value.bytes();
  if (args.size() == 2) return context.reply.Integer(static_cast<int64_t>(CountBits(bytes)));
  if (args.size() < 4 || args.size() > 5) return context.reply.Error(kSyntaxError);
  GivenRange given;
  if (!ParseIntegerOr(context, args[2], &given.first)) return;
  if (!ParseIntegerOr(context, args[3], &given.last)) return;
  const bool backwards = given.first < 0 && given.last < 0 && given.first > given.last;
  if (backwards) return context.reply.Integer(0);
  if (args.size() == 5 && !ParseUnitOr(context, args[4], &given.in_bits)) return;
  const BitRange range = ClampToBits(given, bytes.size());
  context.reply.Integer(static_cast<int64_t>(CountBits(bytes, range)));
}

void BitPosCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  int64_t bit;
  if (!ParseIntegerOr(context, args[2], &bit)) return;
  if (bit != 0 && bit != 1) return context.reply.Error("ERR The bit argument must be 1 or 0.");
  const Database::KeyInfo info = LookupForRead(context, context.key());
  // As good as zeros without an end.
  if (!info.exists()) return context.reply.Integer(bit == 1 ? -1 : 0);
  if (!CheckString(context, info)) return;
  const StringValue value = context.db().GetString(context.key());
  const std::string_view bytes = value.bytes();
  if (args.size() > 6) return context.reply.Error(kSyntaxError);
  GivenRange given;
  if (args.size() > 3 && !ParseIntegerOr(context, args[3], &given.first)) return;
  if (args.size() > 5 && !ParseUnitOr(context, args[5], &given.in_bits)) return;
  const bool end_given = args.size() > 4;
  if (end_given && !ParseIntegerOr(context, args[4], &given.last)) return;
  // The default end is the string's, which an empty string hasn't.
  if (bytes.empty()) return context.reply.Integer(-1);
  const BitRange range = ClampToBits(given, bytes.size());
  if (range.empty()) return context.reply.Integer(-1);
  const uint64_t at = FindBit(bytes, range, bit == 1);
  // Without an end, zeros follow the string.
  const bool found = at < range.end || (bit == 0 && !end_given);
  context.reply.Integer(found ? static_cast<int64_t>(at) : -1);
}

namespace {

bool ParseOperationOr(CommandContext& context, BitOperation* operation) {
  struct Name {
    std::string_view name;
    BitOperation operation;
  };
  constexpr Name kNames[] = {{"and", BitOperation::kAnd},
                             {"or", BitOperation::kOr},
                             {"xor", BitOperation::kXor},
                             {"not", BitOperation::kNot}};
  for (const Name& each : kNames) {
    if (!EqualsIgnoreCase(context.args[1], each.name)) continue;
    *operation = each.operation;
    return true;
  }
  context.reply.Error(kSyntaxError);
  return false;
}

}  // namespace

void BitOpCommand(CommandContext& context) {
  Database& db = context.db();
  BitOperation operation;
  if (!ParseOperationOr(context, &operation)) return;
  if (operation == BitOperation::kNot && context.args.size() != 4) {
    return context.reply.Error("ERR BITOP NOT must be called with a single source key.");
  }
  std::span<const KeyAccess> keys = context.keys.subspan(1);
  // Integers are written out here, so the values must stay where they are.
  std::vector<StringValue> values(keys.size());
  std::vector<std::string_view> sources(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const Database::KeyInfo info = LookupForRead(context, keys[i].key);
    if (!CheckString(context, info)) return;
    if (info.exists()) values[i] = db.GetString(keys[i].key);
    sources[i] = values[i].bytes();
  }
  const std::string result = CombineBits(operation, sources);
  const HashedKey& target = context.key();
  if (!result.empty()) {
    db.SetString(target, result, {.raw = true});
    context.Modified(target);
    context.Notify('$', "set", target.bytes);
  } else if (LookupForWrite(context, target).exists()) {
    db.Delete(target);
    context.Modified(target);
    context.Notify('g', "del", target.bytes);
  }
  context.reply.Integer(static_cast<int64_t>(result.size()));
}

}  // namespace firn::server
