// Entry: one key of the RAM table as a single packed heap block.
//
//   +-----------+-------+-----------+--------------+----------+----------+-----+-------------+
//   | kind/type | flags | access 24 | position 40  | key size | payload  | key | value bytes |
//   | 1 byte    | 1     | 3 bytes   | 5 bytes      | varint   | varint   |     | or 8 bytes  |
//   +-----------+-------+-----------+--------------+----------+----------+-----+-------------+
//                                                   [expiry, 8 bytes, if kHasExpiry, after the two
//                                                   sizes; then slack, 2 bytes, if it is loose]
//
// A key of 17 bytes with a value of 64 bytes takes 93 bytes, a size class of 96. Values of more
// than kMaxInlineValueSize bytes live in a Page of their own (page.h), so that replies and
// checkpoints can share them and a growing string moves without its key.
//
// A collection's inline value in a block of more than kLeastLooseBlock bytes is loose: so many
// bytes as `slack` says lie free before it, of those that the allocator's size class has left over
// anyway. What is added or removed near either end of the value then moves the smaller part of it,
// into the slack or out of it, not all that follows.
//
// What an entry can be (Kind):
//   kHot        the value is here.
//   kStub       key, type, expiry and log position are here, the value is in the log at position().
//   kTombstone  the key does not exist, but the index may still hold an older root of it.
//
// Ownership: whoever creates an entry frees it (Entry::Free); the Table owns what is in it. No
// locks: entries belong to the executor thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/page/page.h"
#include "engine/page/page_edit.h"

namespace firn {

// On disk these numbers are those of log_format.h; the two enums are kept apart on purpose.
// kPage and kReapNote are no types of keys: a page of a value, and the note that the pages of a
// deleted one are still to be freed. kLongString is a string in pages (long_string.h); commands
// know it as kString.
enum class ValueType : uint8_t {
  kNone,
  kString,
  kList,
  kSet,
  kZset,
  kHash,
  kStream,
  kPage,
  kReapNote,
  kLongString
};
inline constexpr ValueType kLastValueType = ValueType::kLongString;
inline bool IsCollection(ValueType type) {
  return type >= ValueType::kList && type <= ValueType::kStream;
}
// Whether what lies under the key is a root (root_format.h), which may have pages.
inline bool HasRoot(ValueType type) { return IsCollection(type) || type == ValueType::kLongString; }
// What commands know a value as.
inline ValueType TypeForCommands(ValueType type) {
  return type == ValueType::kLongString ? ValueType::kString : type;
}

// A log position in units of 16 bytes within the 40-bit space of slots and offsets
// (log/position.h). Zero means: in no log record yet.
using PackedPosition = uint64_t;

class Entry {
 public:
  enum class Kind : uint8_t { kHot, kStub, kTombstone };
  enum Flag : uint8_t {
    kHasExpiry = 1,
    kInteger = 2,     // the value is an 8-byte integer: OBJECT ENCODING int
    kPaged = 4,       // the value is a Page*
    kRaw = 8,         // a string that was grown in place: OBJECT ENCODING raw whatever its size
    kDirty = 16,      // changed by effects that position() does not include
    kTransient = 32,  // brought by a fetch and not admitted yet
    kBlind = 64,      // written without knowing whether a cold predecessor exists
    kPinned = 128,    // a command waits for it: must not be demoted
  };
  static constexpr uint32_t kMaxInlineValueSize = 16 * 1024;

  // What to build. Views are copied; `page` is taken over (one reference).
  struct Spec {
    Kind kind = Kind::kHot;
    ValueType type = ValueType::kString;
    std::string_view key;
    std::string_view value;   // inline bytes (or the bytes put into a new Page if long)
    Page* page = nullptr;     // instead of value
    bool is_integer = false;  // `integer` instead of value
    int64_t integer = 0;
    int64_t expiry_ms = kNoExpiry;
    uint32_t access = 0;     // 24 bits
    uint64_t position = 0;   // PackedPosition
    uint8_t flags = 0;       // of kRaw, kDirty, kTransient, kBlind, kPinned
    uint32_t stub_size = 0;  // kStub: the size of the whole log record in bytes, if known
    uint64_t reserved = 0;   // instead of value: so many bytes, uninitialised, inline
    bool is_loose = false;   // with `reserved`: in a block of `block_size`, behind `slack`
    uint16_t slack = 0;
    uint64_t block_size = 0;
  };
  static constexpr int64_t kNoExpiry = -1;

  static Entry* Create(const Spec& spec);
  static void Free(Entry* entry);
  // For moving an entry in RAM: a copy, byte for byte, in a block elsewhere. The copy takes the
  // entry's place, its page included; the old block is freed by FreeCopiedBlock.
  Entry* CopyBlock() const;
  static void FreeCopiedBlock(Entry* entry);
  // Bytes that the entry's block was allocated with.
  uint64_t BlockSize() const;

  Kind kind() const { return static_cast<Kind>(bytes_[0] & 0x03); }
  // The CLOCK algorithm's bit: set by an access, cleared when the hand passes.
  bool referenced() const { return bytes_[0] & 0x08; }
  void set_referenced(bool referenced) {
    bytes_[0] = static_cast<uint8_t>(referenced ? bytes_[0] | 0x08 : bytes_[0] & ~0x08);
  }
  // Asks memory for the header, and for a byte of the value where it lies in a page's entry, unless
  // that is short.
  void PrefetchPageByte(uint32_t at) const {
    constexpr uint32_t kPageKey = 12;
    constexpr uint32_t kSizes = 3;
    __builtin_prefetch(bytes_);
    __builtin_prefetch(bytes_ + kHeaderSize + kSizes + kPageKey + at);
  }
  ValueType type() const { return static_cast<ValueType>(bytes_[0] >> 4); }
  bool Has(Flag flag) const { return bytes_[1] & flag; }
  void Set(Flag flag) { bytes_[1] |= flag; }
  void Clear(Flag flag) { bytes_[1] &= static_cast<uint8_t>(~flag); }
  uint8_t flags() const { return bytes_[1]; }

  // The access clock: 24 bits whose meaning (LRU seconds or LFU) is access_clock.h's.
  uint32_t access() const { return LoadFixed<uint32_t>(bytes_ + 2) & 0xffffff; }
  void set_access(uint32_t access) {
    bytes_[2] = static_cast<uint8_t>(access);
    bytes_[3] = static_cast<uint8_t>(access >> 8);
    bytes_[4] = static_cast<uint8_t>(access >> 16);
  }
  PackedPosition position() const { return Load40(bytes_ + 5); }
  void set_position(PackedPosition position) { Store40(bytes_ + 5, position); }

  std::string_view key() const;
  // kNoExpiry if there is none.
  int64_t expiry_ms() const;
  // REQUIRES: kHasExpiry. Adding or removing an expiry needs a new entry.
  void set_expiry_ms(int64_t expiry_ms);

  // REQUIRES: kHot and not kInteger. Valid until the entry or its page changes.
  std::string_view value() const;
  // REQUIRES: kInteger.
  int64_t integer() const;
  void set_integer(int64_t value);
  // REQUIRES: kPaged.
  Page* page() const;
  // REQUIRES: kPaged. Swaps the page; the old one's reference passes to the caller.
  Page* exchange_page(Page* page);
  // Becomes what Create makes of the spec, where it lies; false, and nothing has changed, if that
  // takes another block or page. The flags kPinned and kBlind stay. REQUIRES: the spec has this
  // entry's key; its value may be this entry's.
  bool Overwrite(const Spec& spec);
  // REQUIRES: kStub. Bytes of the log record, 0 if unknown.
  uint32_t stub_size() const;

  // REQUIRES of both: kHot, not kInteger; splices that CheckSplices accepts, with the size that it
  // gives. Changes the value where it lies, if the block (or the page) is of the right size for it;
  // false if it is not, and nothing has changed.
  bool SpliceInPlace(std::span<const Splice> splices, uint64_t new_size);
  // REQUIRES: kHot, not kInteger; splices that insert as much as they remove, within the value.
  // Overwrites these bytes where they lie; false if the value is in a page, and nothing has
  // changed.
  bool Patch(std::span<const Splice> splices);
  // A copy with the changed value; position, flags, access and expiry as here.
  Entry* Spliced(std::span<const Splice> splices, uint64_t new_size) const;
  // A copy with another expiry, or without one. A page is shared with it.
  Entry* WithExpiry(int64_t expiry_ms) const;

  // The length in bytes of the value as a string reply has it (integers: digits). REQUIRES: kHot.
  uint64_t StringLength() const;

  // What the allocator took for this entry, its page included (once, by the first holder).
  uint64_t MemoryBytes() const;

 private:
  static constexpr int kHeaderSize = 10;
  static constexpr uint64_t kWordSize = 8;  // an expiry, an integer, a Page*
  static constexpr uint8_t kLooseBit = 0x04;
  static constexpr uint64_t kSlackSize = 2;
  static constexpr uint64_t kLeastLooseBlock = 512;

  struct Layout {
    const uint8_t* expiry;  // only if kHasExpiry
    const char* key;
    uint64_t key_size;
    uint64_t slack;
    const char* payload;
    uint64_t payload_size;
    uint64_t BlockSize(const Entry* entry) const {
      return static_cast<uint64_t>(payload - reinterpret_cast<const char*>(entry)) + payload_size;
    }
    // REQUIRES: the entry is loose.
    char* slack_at() const { return const_cast<char*>(key) - kSlackSize; }
  };
  Entry() = default;
  Layout Decode() const;
  bool is_loose() const { return bytes_[0] & kLooseBit; }
  char* MutablePayload() { return const_cast<char*>(Decode().payload); }
  void PlanLoose(std::span<const Splice> splices, Spec* spec) const;

  uint8_t bytes_[kHeaderSize];  // followed by the rest of the block
};

inline Entry::Layout Entry::Decode() const {
  Layout layout;
  const uint8_t* at = reinterpret_cast<const uint8_t*>(this) + kHeaderSize;
  at += LoadVarint(at, &layout.key_size);
  at += LoadVarint(at, &layout.payload_size);
  layout.expiry = at;
  if (Has(kHasExpiry)) at += kWordSize;
  layout.slack = 0;
  if (is_loose()) {
    layout.slack = LoadFixed<uint16_t>(reinterpret_cast<const char*>(at));
    at += kSlackSize;
  }
  layout.key = reinterpret_cast<const char*>(at);
  layout.payload = layout.key + layout.key_size + layout.slack;
  return layout;
}

inline std::string_view Entry::key() const {
  Layout layout = Decode();
  return {layout.key, layout.key_size};
}

inline int64_t Entry::expiry_ms() const {
  return Has(kHasExpiry) ? LoadFixed<int64_t>(Decode().expiry) : kNoExpiry;
}

inline Page* Entry::page() const {
  CHECK(Has(kPaged));
  return LoadFixed<Page*>(Decode().payload);
}

inline std::string_view Entry::value() const {
  CHECK(kind() == Kind::kHot && !Has(kInteger));
  Layout layout = Decode();
  if (Has(kPaged)) return LoadFixed<Page*>(layout.payload)->bytes();
  return {layout.payload, layout.payload_size};
}

inline int64_t Entry::integer() const {
  CHECK(Has(kInteger));
  return LoadFixed<int64_t>(Decode().payload);
}

}  // namespace firn
