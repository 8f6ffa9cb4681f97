// The bitmap commands but for bit fields: single bits, counts, searches and BITOP.
#include "server/commands/bitmaps.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/types/bitmap.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "tiering/value_copy.h"

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

// Of the string at the first key, which exists. False: a page is missing.
bool ReadByte(CommandContext& context, const Database::KeyInfo& info, uint64_t at, char* byte,
              bool* behind_end) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  *byte = '\0';
  if (!info.is_long) {
    const StringValue value = db.GetString(key);
    *behind_end = at >= value.bytes().size();
    if (!*behind_end) *byte = value.bytes()[at];
    return true;
  }
  if (const auto stored = db.ReadLong(key, {at, at + 1})) {
    *byte = stored->front();
    *behind_end = false;
    return true;
  }
  // Nothing but zeros, or behind the end, unless the page is missing.
  if (!db.WantString(key, {at, at + 1})) return false;
  *behind_end = at >= db.StringLength(key);
  return true;
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
  const uint64_t byte = offset >> 3;
  bool grows = true;
  char old_byte = '\0';
  if (info.exists() && !ReadByte(context, info, byte, &old_byte, &grows)) return;
  const bool old_bit = BitAt({&old_byte, 1}, offset & 7);
  if (grows || old_bit != (bit != 0)) {
    const char changed = WithBit(old_byte, offset, bit != 0);
    if (!info.is_long) {
      db.SetRange(key, byte, {&changed, 1});
    } else if (!db.WriteLong(key, byte, {&changed, 1})) {
      return;
    }
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
  char byte;
  bool behind_end;
  if (!ReadByte(context, info, offset >> 3, &byte, &behind_end)) return;
  context.reply.Integer(BitAt({&byte, 1}, offset & 7) ? 1 : 0);
}

namespace {

// The bytes that a range of bits reaches into.
StringRange BytesOf(BitRange range) { return {range.begin / 8, (range.end + 7) / 8}; }

// Takes the bits of a range from pieces of its bytes that come in order.
class BitPieces {
 public:
  explicit BitPieces(BitRange range) : range_(range), at_(range.begin / 8) {}
  // Where the piece begins, in bits of the string, and what of it lies in the range, in bits of the
  // piece.
  struct Part {
    uint64_t base = 0;
    BitRange bits;
  };
  Part Next(std::string_view piece) {
    const uint64_t base = at_ * 8;
    at_ += piece.size();
    return {.base = base,
            .bits = {.begin = std::max(range_.begin, base) - base,
                     .end = std::min(range_.end, at_ * 8) - base}};
  }

 private:
  const BitRange range_;
  uint64_t at_;
};

void ReplyCount(CommandContext& context, const Database::KeyInfo& info, BitRange range) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  if (range.empty()) return context.reply.Integer(0);
  if (!info.is_long) {
    const StringValue value = db.GetString(key);
    return context.reply.Integer(static_cast<int64_t>(CountBits(value.bytes(), range)));
  }
  struct Count {
    BitPieces pieces;
    int64_t bits = 0;
  };
  auto count = std::make_shared<Count>(Count{.pieces = BitPieces(range)});
  auto add = [count](std::string_view piece) {
    count->bits += static_cast<int64_t>(CountBits(piece, count->pieces.Next(piece).bits));
    return true;
  };
  if (!IsReadInPieces(context, BytesOf(range))) {
    if (!db.WantString(key, BytesOf(range))) return;
    db.VisitString(key, BytesOf(range), add);
    return context.reply.Integer(count->bits);
  }
  if (!context.LeavePlace()) return;
  WalkString(context,
             {.key = key,
              .range = BytesOf(range),
              .visit = [add](CommandContext&, std::string_view piece) { return add(piece); },
              .done = [count](CommandContext& c) { c.reply.Integer(count->bits); }});
}

}  // namespace

void BitCountCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  const Database::KeyInfo info = LookupForRead(context, context.key());
  if (!info.exists()) return context.reply.Integer(0);
  if (!CheckString(context, info)) return;
  const uint64_t length = context.db().StringLength(context.key());
  if (args.size() == 2) return ReplyCount(context, info, {0, length * 8});
  if (args.size() < 4 || args.size() > 5) return context.reply.Error(kSyntaxError);
  GivenRange given;
  if (!ParseIntegerOr(context, args[2], &given.first)) return;
  if (!ParseIntegerOr(context, args[3], &given.last)) return;
  const bool backwards = given.first < 0 && given.last < 0 && given.first > given.last;
  if (backwards) return context.reply.Integer(0);
  if (args.size() == 5 && !ParseUnitOr(context, args[4], &given.in_bits)) return;
  ReplyCount(context, info, ClampToBits(given, length));
}

namespace {

struct BitSearch {
  BitRange range;
  bool bit = false;
  bool found_at_end = false;  // if there is none within the range
};

void ReplyPosition(CommandContext& context, const Database::KeyInfo& info,
                   const BitSearch& search) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  const BitRange range = search.range;
  auto reply = [search](CommandContext& context, uint64_t at) {
    const bool found = at < search.range.end || search.found_at_end;
    context.reply.Integer(found ? static_cast<int64_t>(at) : -1);
  };
  if (!info.is_long) {
    const StringValue value = db.GetString(key);
    return reply(context, FindBit(value.bytes(), range, search.bit));
  }
  struct Found {
    BitPieces pieces;
    uint64_t at;
  };
  auto found = std::make_shared<Found>(Found{.pieces = BitPieces(range), .at = range.end});
  auto look = [found, bit = search.bit](std::string_view piece) {
    const BitPieces::Part part = found->pieces.Next(piece);
    const uint64_t at = FindBit(piece, part.bits, bit);
    if (at < part.bits.end) found->at = part.base + at;
    return at >= part.bits.end;
  };
  if (!IsReadInPieces(context, BytesOf(range))) {
    if (!db.WantString(key, BytesOf(range))) return;
    db.VisitString(key, BytesOf(range), look);
    return reply(context, found->at);
  }
  if (!context.LeavePlace()) return;
  WalkString(context,
             {.key = key,
              .range = BytesOf(range),
              .visit = [look](CommandContext&, std::string_view piece) { return look(piece); },
              .done = [found, reply](CommandContext& c) { reply(c, found->at); }});
}

}  // namespace

void BitPosCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  int64_t bit;
  if (!ParseIntegerOr(context, args[2], &bit)) return;
  if (bit != 0 && bit != 1) return context.reply.Error("ERR The bit argument must be 1 or 0.");
  const Database::KeyInfo info = LookupForRead(context, context.key());
  // As good as zeros without an end.
  if (!info.exists()) return context.reply.Integer(bit == 1 ? -1 : 0);
  if (!CheckString(context, info)) return;
  const uint64_t length = context.db().StringLength(context.key());
  if (args.size() > 6) return context.reply.Error(kSyntaxError);
  GivenRange given;
  if (args.size() > 3 && !ParseIntegerOr(context, args[3], &given.first)) return;
  if (args.size() > 5 && !ParseUnitOr(context, args[5], &given.in_bits)) return;
  const bool end_given = args.size() > 4;
  if (end_given && !ParseIntegerOr(context, args[4], &given.last)) return;
  // The default end is the string's, which an empty string hasn't.
  if (length == 0) return context.reply.Integer(-1);
  const BitRange range = ClampToBits(given, length);
  if (range.empty()) return context.reply.Integer(-1);
  // Without an end, zeros follow the string.
  const bool found_at_end = bit == 0 && !end_given;
  ReplyPosition(context, info, {.range = range, .bit = bit == 1, .found_at_end = found_at_end});
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

// BITOP. The keys are among the command's arguments: the target, then the sources.
struct CombineRequest {
  BitOperation operation;
  std::vector<KeyAccess> keys;
  std::shared_ptr<ValueCopy> mix;  // of long strings, once it is under way
  int tries = 0;

  std::span<const KeyAccess> sources() const { return std::span(keys).subspan(1); }
};

// Some source that is short may change each time.
constexpr int kMostTries = 16;

void FinishCombine(CommandContext& context, const CombineRequest& request, uint64_t length) {
  const HashedKey& target = request.keys[0].key;
  context.Modified(target);
  context.Notify('$', "set", target.bytes);
  context.reply.Integer(static_cast<int64_t>(length));
}

void CombineAtOnce(CommandContext& context, const CombineRequest& request,
                   std::span<const Database::KeyInfo> infos) {
  Database& db = context.db();
  const std::span<const KeyAccess> keys = request.sources();
  // Integers are written out here, so the values must stay where they are.
  std::vector<WholeString> values(keys.size());
  std::vector<std::string_view> sources(keys.size());
  bool complete = true;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (infos[i].exists()) complete &= values[i].Load(db, keys[i].key, infos[i]);
    sources[i] = values[i].bytes();
  }
  if (!complete) return;
  const std::string result = CombineBits(request.operation, sources);
  const HashedKey& target = request.keys[0].key;
  if (!result.empty()) {
    db.SetString(target, result, {.raw = true});
    return FinishCombine(context, request, result.size());
  }
  if (LookupForWrite(context, target).exists()) {
    db.Delete(target);
    context.Modified(target);
    context.Notify('g', "del", target.bytes);
  }
  context.reply.Integer(0);
}

void Combine(CommandContext& context, CombineRequest request);

void CombineInSlices(CommandContext& context, CombineRequest request) {
  Database& db = context.db();
  std::vector<HashedKey> sources;
  for (const KeyAccess& access : request.sources()) sources.push_back(access.key);
  auto mixer = [operation = request.operation](std::span<const std::string_view> parts,
                                               std::span<char> to) {
    CombineBits(operation, parts, to);
  };
  if (db.PrepareMix(sources, mixer, &request.mix)) {
    const uint64_t length = db.SetMixed(request.keys[0].key, request.mix.get());
    return FinishCombine(context, request, length);
  }
  if (const Status& status = request.mix->status(); !status.ok()) {
    return context.reply.Error(status.code() == StatusCode::kNoMemory
                                   ? std::string(kOutOfMemoryError)
                                   : "ERR " + status.message());
  }
  ++request.tries;
  SuspendedCommand suspended = context.Suspend();
  const std::shared_ptr<ValueCopy> mix = request.mix;
  mix->Await([suspended, request = std::move(request)] {
    suspended.Resume([request](CommandContext& context) {
      // Meanwhile the keys may have gone to disk.
      RunWithKeys(context, request.keys,
                  [request](CommandContext& context) { Combine(context, request); });
    });
  });
}

void Combine(CommandContext& context, CombineRequest request) {
  // They are looked up again once the result is there, and count once.
  const bool counts = request.mix == nullptr;
  const std::span<const KeyAccess> keys = request.sources();
  std::vector<Database::KeyInfo> infos(keys.size());
  uint64_t length = 0;
  bool any_long = false;
  for (size_t i = 0; i < keys.size(); ++i) {
    infos[i] = counts ? LookupForRead(context, keys[i].key)
                      : context.db().Lookup(keys[i].key, {.touch = false, .count_hit = false});
    if (!CheckString(context, infos[i])) return;
    if (!infos[i].exists()) continue;
    length = std::max(length, context.db().StringLength(keys[i].key));
    any_long |= infos[i].is_long;
  }
  if (any_long && IsReadInPieces(context, {0, length}) && request.tries < kMostTries) {
    return CombineInSlices(context, std::move(request));
  }
  CombineAtOnce(context, request, infos);
}

}  // namespace

void BitOpCommand(CommandContext& context) {
  BitOperation operation;
  if (!ParseOperationOr(context, &operation)) return;
  if (operation == BitOperation::kNot && context.args.size() != 4) {
    return context.reply.Error("ERR BITOP NOT must be called with a single source key.");
  }
  Combine(
      context,
      {.operation = operation, .keys = {context.keys.begin(), context.keys.end()}, .mix = nullptr});
}

}  // namespace firn::server
