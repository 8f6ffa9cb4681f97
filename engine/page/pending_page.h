// PendingPage: pending entries of a consumer group in one block, a leaf of a stream's second tree
// (stream_groups.h), sorted by id. Of all entries of a group, or, with ids alone, of those of one
// consumer.
//
//   u8 kind 33 | u8 flags | u16 1 | u32 rows | u32 group | u32 consumer, 0: all of the group |
//   u64 base ms | i64 base delivery | rows ...
//
// Rows have a fixed width, so that they are found by halving and added by one splice. Mostly:
//
//   u32 seq | u32 ms - base ms [| u32 delivered - base | u16 deliveries | u16 consumer]
//
// and in a page that is wide, since one of its rows does not fit these:
//
//   u64 ms | u64 seq [| i64 delivered | u64 deliveries | u32 consumer | u32 0]
//
// Every page counts as one row of the counted tree.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/page/page_edit.h"
#include "engine/page/stream_page.h"

namespace firn {

struct PendingEntry {
  StreamId id;
  int64_t delivered_ms = 0;
  uint64_t deliveries = 0;
  uint32_t consumer = 0;
};

class PendingPage {
 public:
  // Whose entries a page has.
  struct Owner {
    uint32_t group = 0;
    uint32_t consumer = 0;  // 0: of the whole group
    friend bool operator==(const Owner&, const Owner&) = default;
  };

  // Any page of the tree.
  static bool Is(std::string_view bytes) { return !bytes.empty() && bytes[0] == kKind; }
  static bool Validate(std::string_view bytes);
  // REQUIRES: bytes that Is and Validate accept.
  explicit PendingPage(std::string_view bytes) : bytes_(bytes) {}

  Owner owner() const {
    return {LoadFixed<uint32_t>(bytes_.data() + kGroupAt),
            LoadFixed<uint32_t>(bytes_.data() + kConsumerAt)};
  }
  // Whether it is the first page of its owner.
  bool is_first() const { return (flags() & kFirst) != 0; }
  uint32_t rows() const { return LoadFixed<uint32_t>(bytes_.data() + kRowsAt); }
  uint64_t size() const { return bytes_.size(); }
  // How many rows a page may have so as to take at most so many bytes, in this one's format.
  uint32_t Capacity(uint64_t max_bytes) const {
    return static_cast<uint32_t>((max_bytes - kHeaderSize) / row_size());
  }
  // REQUIRES: i < rows().
  StreamId Id(uint32_t i) const;
  // Of a page of one consumer, just the id and the consumer.
  PendingEntry Row(uint32_t i) const;
  std::vector<PendingEntry> Rows(uint32_t first, uint32_t end) const;
  // The first row whose id is not less; rows() if there is none.
  uint32_t LowerBound(StreamId id) const;
  // Whether the page's format has room for such a row.
  bool CanHold(const PendingEntry& row) const;

  // --- edits. REQUIRES: CanHold of every row; `scratch` lives until the edit is applied.
  void Insert(uint32_t at, std::span<const PendingEntry> rows, std::string* scratch,
              PageEdit* edit) const;
  void Replace(uint32_t at, const PendingEntry& row, std::string* scratch, PageEdit* edit) const;
  void Remove(uint32_t at, uint32_t count, PageEdit* edit) const;
  // A page that has these rows, in the narrowest format.
  struct Spec {
    Owner owner;
    bool is_first = false;
    std::span<const PendingEntry> rows;
  };
  static std::string Build(const Spec& spec);

 private:
  static constexpr char kKind = 33;
  enum Flag : uint8_t { kFirst = 1, kWide = 2 };
  static constexpr uint32_t kRowsAt = 4;
  static constexpr uint32_t kGroupAt = 8;
  static constexpr uint32_t kConsumerAt = 12;
  static constexpr uint32_t kBaseMsAt = 16;
  static constexpr uint32_t kBaseDeliveryAt = 24;
  static constexpr uint32_t kHeaderSize = 32;

  uint8_t flags() const { return static_cast<uint8_t>(bytes_[1]); }
  bool wide() const { return (flags() & kWide) != 0; }
  bool ids_alone() const { return LoadFixed<uint32_t>(bytes_.data() + kConsumerAt) != 0; }
  uint32_t row_size() const {
    if (wide()) return ids_alone() ? 16 : 40;
    return ids_alone() ? 8 : 16;
  }
  uint32_t Offset(uint32_t i) const { return kHeaderSize + i * row_size(); }
  uint64_t base_ms() const { return LoadFixed<uint64_t>(bytes_.data() + kBaseMsAt); }
  int64_t base_delivery() const { return LoadFixed<int64_t>(bytes_.data() + kBaseDeliveryAt); }
  void AppendRow(const PendingEntry& row, std::string* out) const;

  std::string_view bytes_;
};

}  // namespace firn
