// SETBITs and GETBITs of a pipeline that follow one another on one string (dispatcher_merge.cc): it
// is looked up, changed and logged once.
#include <array>

#include "engine/types/bitmap.h"
#include "engine/types/string_ops.h"
#include "server/commands/bitmaps.h"
#include "server/commands/common.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr Database::LookupOptions kUnseen = {.touch = false, .count_hit = false};

// A run of commands, and where their bits are.
struct BitRun {
  size_t size = 0;
  std::array<uint8_t, Dispatcher::kBatch> bits;      // within their bytes
  std::array<uint64_t, Dispatcher::kBatch> offsets;  // of the bytes
  std::array<char, Dispatcher::kBatch> bytes;

  std::span<const uint64_t> places() const { return std::span(offsets).first(size); }
  std::span<char> room() { return std::span(bytes).first(size); }
};

// False if one of them makes no sense: it is told so when it runs by itself.
bool FindBits(CommandContext& context, std::span<const ParsedRequest> requests, BitRun* run) {
  const uint64_t most = MaxStringBytes(context);
  for (const ParsedRequest& request : requests) {
    int64_t value;
    if (!ParseInteger(request.args[2], &value) || value < 0) return false;
    const auto offset = static_cast<uint64_t>(value);
    if (offset >> 3 >= most) return false;
    run->bits[run->size] = offset & 7;
    run->offsets[run->size++] = offset >> 3;
  }
  return true;
}

bool IsBit(std::string_view text) { return text == "0" || text == "1"; }

// What SETBITs change, and what each of them finds.
class BitChanges {
 public:
  BitChanges(std::span<const ParsedRequest> requests, const BitRun& run) {
    uint64_t seen = 0;  // of the offsets of bytes that are changed
    for (size_t i = 0; i < run.size; ++i) {
      const uint64_t offset = run.offsets[i];
      const uint64_t mark = uint64_t{1} << offset % 64;
      const char byte = (seen & mark) != 0 ? Latest(offset, run.bytes[i]) : run.bytes[i];
      const bool bit = requests[i].args[3] == "1";
      old_bits_[i] = BitAt({&byte, 1}, run.bits[i]);
      if (old_bits_[i] == bit) continue;
      bytes_[count_++] = {offset, WithBit(byte, run.bits[i], bit)};
      seen |= mark;
    }
  }

  size_t count() const { return count_; }
  std::span<const Database::NewByte> bytes() const { return std::span(bytes_).first(count_); }
  bool old_bit(size_t i) const { return old_bits_[i]; }

 private:
  // What commands before it have made of a byte.
  char Latest(uint64_t offset, char stored) const {
    for (size_t i = count_; i > 0; --i) {
      if (bytes_[i - 1].offset == offset) return bytes_[i - 1].byte;
    }
    return stored;
  }

  size_t count_ = 0;
  std::array<Database::NewByte, Dispatcher::kBatch> bytes_;
  std::array<bool, Dispatcher::kBatch> old_bits_;
};

}  // namespace

bool MergedGetBit(CommandContext& context, std::span<const ParsedRequest> requests) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  const Database::KeyInfo info = db.Lookup(key, kUnseen);
  if (info.type != ValueType::kString) return false;
  BitRun run;
  if (!FindBits(context, requests, &run)) return false;
  if (info.is_long) {
    if (!db.ReadBytes(key, run.places(), run.room())) return false;
  } else {
    const StringValue value = db.GetString(key);
    for (size_t i = 0; i < run.size; ++i) {
      run.bytes[i] = run.offsets[i] < value.bytes().size() ? value.bytes()[run.offsets[i]] : '\0';
    }
  }
  for (size_t i = 0; i < run.size; ++i) {
    LookupForRead(context, key);  // each counts a hit
    context.reply.Integer(BitAt({&run.bytes[i], 1}, run.bits[i]) ? 1 : 0);
  }
  return true;
}

bool MergedSetBit(CommandContext& context, std::span<const ParsedRequest> requests) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  if (!db.Lookup(key, kUnseen).is_long) return false;
  BitRun run;
  if (!FindBits(context, requests, &run)) return false;
  const uint64_t length = db.StringLength(key);
  for (size_t i = 0; i < run.size; ++i) {
    if (!IsBit(requests[i].args[3]) || run.offsets[i] >= length) return false;
  }
  if (!db.ReadBytes(key, run.places(), run.room())) return false;
  const BitChanges changes(requests, run);
  if (changes.count() > 0) {
    if (!db.WriteBytes(key, changes.bytes())) return false;
    context.Modified(key);
    context.server.stats().changes += changes.count() - 1;
  }
  LookupForWrite(context, key);
  for (size_t i = 0; i < run.size; ++i) context.reply.Integer(changes.old_bit(i) ? 1 : 0);
  return true;
}

}  // namespace firn::server
