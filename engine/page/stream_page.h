// StreamPage: consecutive entries of a stream in one block, a leaf of its tree (stream_value.h). It
// stands for what Redis calls a node of its radix tree, and begins and ends where that would, so
// that trimming by whole nodes removes the same entries. The first entry's fields, the master
// fields, are written once; entries that have the same ones have only values.
//
//   u8 kind 32 | u8 flags | u16 1 | u32 entries | u32 listpack bytes | u32 deleted |
//   u64 master ms | u64 master seq | [last id, 16 bytes, if kLastDeleted] |
//   varint fields | (varint size, bytes) ... | entries ...
//
// An entry:
//
//   u8 head | [varint ms] | [varint seq] | [varint fields] | ([size, field], size, value) ...
//
// The ids count from the page's first one, the master id. Bit 0 of the head: the entry has fields
// of its own, else those are omitted. Bit 1: the sequence number differs from the master's; its
// difference is a zigzag varint. Bits 2 to 6: the low bits of the difference in milliseconds; bit
// 7: a varint has the rest of them.
//
// What was deleted is gone from the page, but still counts: `deleted`, and in the `listpack bytes`
// that the entries, without the master fields, would take in Redis.
//
// Every page counts as one row of the counted tree, whose total is thus the number of pages.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/page/page_edit.h"

namespace firn {

struct StreamId {
  uint64_t ms = 0;
  uint64_t seq = 0;
  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};
inline constexpr StreamId kMinStreamId = {0, 0};
inline constexpr StreamId kMaxStreamId = {UINT64_MAX, UINT64_MAX};

// An entry to be added; names and values alternate.
struct StreamEntry {
  StreamId id;
  std::span<const std::string_view> fields;
};

// How large a node of Redis' may get (stream-node-max-bytes, stream-node-max-entries); 0: no limit.
struct StreamLimits {
  uint64_t node_max_bytes = 4096;
  uint64_t node_max_entries = 100;
};

class StreamPage {
 public:
  StreamPage() = default;
  // REQUIRES: bytes that Validate accepts.
  explicit StreamPage(std::string_view bytes) : bytes_(bytes) {}
  static bool Validate(std::string_view bytes);
  // The page of a stream without entries.
  static std::string Void();
  // A page that has one entry.
  static std::string First(const StreamEntry& entry);

  bool is_void() const { return (flags() & kVoid) != 0; }
  uint32_t count() const { return LoadFixed<uint32_t>(bytes_.data() + kCountAt); }
  uint32_t deleted() const { return LoadFixed<uint32_t>(bytes_.data() + kDeletedAt); }
  StreamId master() const { return LoadId(kMasterAt); }
  uint64_t size() const { return bytes_.size(); }
  // What the entries, deleted ones as well, take in the listpack that Redis would have.
  uint32_t EntryListpackBytes() const { return LoadFixed<uint32_t>(bytes_.data() + kListpackAt); }
  // Whether the last entry that the page has had is one that was deleted.
  bool last_deleted() const { return (flags() & kLastDeleted) != 0; }
  // Calls visit(name) for each master field.
  template <typename Visit>
  void ForEachMasterField(Visit visit) const;
  // The greatest id that the page has ever had.
  StreamId LastId() const;
  // The size of the listpack that Redis would have for the page.
  uint64_t ListpackBytes() const;

  // The entries in their order.
  class Cursor;
  Cursor begin() const;

  // --- edits
  // Adds entries behind all others, as many of the first ones as Redis would put into the page and
  // not into a new one; returns how many. `scratch` must live until the edit is applied.
  size_t Append(std::span<const StreamEntry> entries, const StreamLimits& limits,
                std::string* scratch, PageEdit* edit) const;
  // Removes `count` entries that lie in [begin, end) of the page.
  struct Extent {
    uint32_t begin = 0;
    uint32_t end = 0;
    uint32_t count = 0;
  };
  void Remove(const Extent& extent, PageEdit* edit) const;

 private:
  static constexpr char kKind = 32;
  enum Flag : uint8_t { kLastDeleted = 1, kVoid = 2 };
  static constexpr uint32_t kCountAt = 4;
  static constexpr uint32_t kListpackAt = 8;
  static constexpr uint32_t kDeletedAt = 12;
  static constexpr uint32_t kMasterAt = 16;
  static constexpr uint32_t kHeaderSize = 32;

  uint8_t flags() const { return static_cast<uint8_t>(bytes_[1]); }
  StreamId LoadId(uint32_t at) const {
    return {LoadFixed<uint64_t>(bytes_.data() + at), LoadFixed<uint64_t>(bytes_.data() + at + 8)};
  }
  uint32_t FieldsOffset() const {
    return kHeaderSize + ((flags() & kLastDeleted) != 0 ? sizeof(StreamId) : 0);
  }
  static std::string Header(StreamId master, uint8_t flags);
  // Of the listpack that Redis would have: all but the entries and their number.
  uint64_t FrameListpackBytes() const;
  bool HasMasterFields(std::span<const std::string_view> fields) const;
  // Appends an entry, as the page has it, to `bytes`; returns what it takes in the listpack.
  uint64_t Encode(const StreamEntry& entry, std::string* bytes) const;
  friend class StreamPageBuilder;

  std::string_view bytes_;
};

// Makes a page of entries that are all there, for dumps.
class StreamPageBuilder {
 public:
  StreamPageBuilder(StreamId master, std::span<const std::string_view> master_fields);
  // Adds an entry behind the others: names and values alternate if it has names of its own, else
  // there are only values, one for each master field. REQUIRES: id >= master.
  void Add(StreamId id, std::span<const std::string_view> texts, bool own_fields);
  uint32_t count() const { return count_; }
  uint64_t size() const { return page_.size(); }
  struct Rest {
    uint32_t listpack_bytes = 0;  // of all entries, deleted ones as well
    uint32_t deleted = 0;
    StreamId last_deleted = {};  // if the last entry of all was deleted, else 0-0
  };
  std::string Finish(const Rest& rest);

 private:
  const StreamId master_;
  uint32_t count_ = 0;
  std::string page_;
};

class StreamPage::Cursor {
 public:
  explicit Cursor(const StreamPage& page);
  bool valid() const { return left_ > 0; }
  void Next();

  StreamId id() const { return id_; }
  uint32_t offset() const { return static_cast<uint32_t>(at_ - page_.data()); }
  uint32_t end_offset() const { return static_cast<uint32_t>(end_ - page_.data()); }
  uint64_t fields() const { return fields_; }
  // Whether it has not the master fields, but names of its own.
  bool own_fields() const { return own_fields_; }
  // Bytes that the entry takes.
  uint64_t size() const { return static_cast<uint64_t>(end_ - at_); }
  // Calls visit(name, value) for each field.
  template <typename Visit>
  void ForEachField(Visit visit) const;

 private:
  friend class StreamPage;
  void Load();
  static std::string_view TakeString(const char** at) {
    uint64_t size;
    *at += LoadVarint(reinterpret_cast<const uint8_t*>(*at), &size);
    std::string_view text(*at, size);
    *at += size;
    return text;
  }

  std::string_view page_;
  StreamId master_;
  uint64_t master_fields_ = 0;
  const char* names_ = nullptr;  // of the master
  const char* at_ = nullptr;
  const char* contents_ = nullptr;  // where names and values begin
  const char* end_ = nullptr;
  uint32_t left_ = 0;
  bool own_fields_ = false;
  uint64_t fields_ = 0;
  StreamId id_;
};

inline StreamPage::Cursor StreamPage::begin() const { return Cursor(*this); }

template <typename Visit>
void StreamPage::Cursor::ForEachField(Visit visit) const {
  const char* values = contents_;
  const char* names = names_;
  for (uint64_t i = 0; i < fields_; ++i) {
    std::string_view name = TakeString(own_fields_ ? &values : &names);
    visit(name, TakeString(&values));
  }
}

template <typename Visit>
void StreamPage::ForEachMasterField(Visit visit) const {
  const char* at = bytes_.data() + FieldsOffset();
  uint64_t fields;
  at += LoadVarint(reinterpret_cast<const uint8_t*>(at), &fields);
  for (; fields > 0; --fields) visit(Cursor::TakeString(&at));
}

// The bytes that an element takes in a listpack, as text and as a number.
uint64_t ListpackSize(std::string_view text);
uint64_t ListpackSize(int64_t number);

}  // namespace firn
