// PackedPage: the elements of a collection, or a part of them, in one contiguous block: columns of
// fixed-width fields, one after the other, then the bytes of the elements in their order. Columns
// of one byte (lengths, tags) are searched and summed sixteen at a time.
//
//   u8 kind | u8 flags | u16 rows | u16 long rows | columns ... | bytes ...
//
//   kList       length
//   kSet        tag, length
//   kHash       tag, length, value length
//   kHashTtl    tag, length, value length, i64 expiry (-1: none)
//   kZset       f64 score, length
//   kZsetIndex  u64 hash, f64 score; no bytes
//   kHashFew    length, value length; a header without long rows (packed_few.h)
//
// A length of 255 stands for any from 255 on: the true one, 32 bits, precedes the bytes. Rows with
// such a length are counted, since pages without them (most) find a row's bytes by adding lengths.
//
// Reading: PackedPage, a view. Changing: functions that add splices to a PageEdit (page_edit.h),
// made for the page as the view shows it. An edit changes one page once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/page/page_edit.h"

namespace firn {

enum class PackedKind : uint8_t {
  kList = 1,
  kSet = 2,
  kHash = 3,
  kHashTtl = 4,
  kZset = 5,
  kZsetIndex = 6,
  kHashFew = 7,
};

// One row. Which fields count depends on the kind; the others are ignored.
struct PackedRow {
  std::string_view bytes = {};  // list element, member, field
  std::string_view value = {};  // of a field
  uint8_t tag = 0;
  uint64_t hash = 0;
  double score = 0;
  int64_t expiry_ms = -1;
};

class PackedPage {
 public:
  static constexpr uint32_t kHeaderSize = 6;
  static constexpr uint32_t kMaxRows = 65535;

  PackedPage() = default;
  // REQUIRES: bytes that Validate accepts.
  explicit PackedPage(std::string_view bytes) : bytes_(bytes) {}
  static bool Validate(std::string_view bytes);
  static std::string Empty(PackedKind kind);

  PackedKind kind() const { return static_cast<PackedKind>(bytes_[0]); }
  uint32_t rows() const { return LoadFixed<uint16_t>(bytes_.data() + 2); }
  uint64_t size() const { return bytes_.size(); }
  std::string_view bytes() const { return bytes_; }

  // --- rows by number. REQUIRES: i < rows()
  PackedRow Row(uint32_t i) const;
  double Score(uint32_t i) const { return LoadFixed<double>(Column(0) + 8 * i); }
  uint64_t Hash(uint32_t i) const { return LoadFixed<uint64_t>(Column(0) + 8 * i); }
  double IndexedScore(uint32_t i) const { return LoadFixed<double>(IndexedScoreAt(i)); }
  const char* IndexedScoreAt(uint32_t i) const {
    return bytes_.data() + kHeaderSize + 8 * rows() + 8 * i;
  }
  class Cursor;

  // The greatest length of an element, 255 standing for any from there on; 0 without rows.
  // REQUIRES: a kind with lengths.
  uint8_t LongestLength() const;

  // --- searches; rows() if there is none
  // The row of kSet, kHash, kHashTtl with these bytes; `tag` is the element's. Also of kHashFew,
  // whatever the tag.
  uint32_t FindTagged(uint8_t tag, std::string_view bytes) const;
  // Where the bytes of the first row with this tag are; null if there is none.
  const char* FirstTagged(uint8_t tag) const;
  // The row from `first` on of kList, kZset with these bytes.
  uint32_t FindBytes(std::string_view bytes, uint32_t first = 0) const;
  // kZset: the first row whose (score, bytes) is not less. kZsetIndex: whose hash is not less.
  uint32_t LowerBound(double score, std::string_view bytes) const;
  uint32_t LowerBoundScore(double score) const;  // the first with a score not less
  uint32_t UpperBoundScore(double score) const;  // the first with a greater score
  uint32_t LowerBoundHash(uint64_t hash) const;
  // kZset: the row with this score and these bytes.
  uint32_t FindScored(double score, std::string_view bytes) const;
  // kZset, kZsetIndex: asks memory for what the search of a row will read that is so far into the
  // page, 0 to 1.
  void PrefetchSorted(float share) const;
  // Where the bytes of a row and of those behind it are; null if there is none.
  const char* BytesFrom(uint32_t i) const;

  // Whether Insert and SetValue may be called: a page of kHashFew takes short rows, and not many.
  bool TakesRow(const PackedRow& row) const;
  bool TakesValue(std::string_view value) const;

  // --- edits. Views in `row` must live until the edit is applied.
  // REQUIRES: TakesRow(row).
  void Insert(uint32_t i, const PackedRow& row, PageEdit* edit) const;
  // All rows of another page of the same kind, before row i. That page must live as `row` does.
  void InsertPage(uint32_t i, const PackedPage& other, PageEdit* edit) const;
  void Remove(uint32_t first, uint32_t count, PageEdit* edit) const;
  // REQUIRES: kHash, kHashTtl, kHashFew.
  void SetValue(uint32_t i, std::string_view value, PageEdit* edit) const;
  // REQUIRES: kHashTtl.
  void SetExpiry(uint32_t i, int64_t expiry_ms, PageEdit* edit) const;
  // REQUIRES: kList. Replaces the bytes of a row.
  void SetBytes(uint32_t i, std::string_view bytes, PageEdit* edit) const;
  // REQUIRES: kZsetIndex.
  void SetIndexedScore(uint32_t i, double score, PageEdit* edit) const;
  // REQUIRES: kZset. Gives row i, whose bytes `bytes` repeats, another score, and moves it to where
  // row `to` begins now (rows(): to the end).
  void MoveScored(uint32_t i, uint32_t to, double score, std::string_view bytes,
                  PageEdit* edit) const;
  // Where the bytes of each row begin in the page, and where the last one's end: rows() + 1
  // numbers.
  std::vector<uint32_t> RowOffsets() const;
  // What every row takes beside its bytes; of kHashFew at most.
  static uint32_t FixedSize(PackedKind kind);
  // By how many bytes Insert grows the page.
  static uint64_t RowSize(PackedKind kind, const PackedRow& row);

 private:
  friend class PackedBuilder;
  struct Shape {
    uint32_t columns;
    uint8_t width[4];
  };
  static const Shape& ShapeOf(PackedKind kind);
  uint32_t long_rows() const { return LoadFixed<uint16_t>(bytes_.data() + 4); }
  const char* Column(uint32_t column) const;
  const uint8_t* Lengths() const;       // null for kZsetIndex
  const uint8_t* ValueLengths() const;  // null unless a hash
  uint32_t BytesOffset() const { return kHeaderSize + FixedSize(kind()) * rows(); }
  bool few() const { return kind() == PackedKind::kHashFew; }
  // Where the bytes of row i begin, in the page. i may be rows().
  uint64_t RowOffset(uint32_t i) const;
  uint32_t CountLong(uint32_t first, uint32_t count) const;
  // Of rows from `first` on, which has a score that is not greater.
  uint32_t UpperBoundScore(double score, uint32_t first) const;

  std::string_view bytes_;
};

// The rows from one on, without adding up lengths again for each.
class PackedPage::Cursor {
 public:
  Cursor(const PackedPage& page, uint32_t first);
  bool valid() const { return i_ < rows_; }
  uint32_t index() const { return i_; }
  const PackedRow& row() const { return row_; }
  void Next();

 private:
  void Load();
  const PackedPage page_;
  uint32_t rows_;
  uint32_t i_;
  uint64_t offset_;
  PackedRow row_;
};

// Builds a page row by row, in order. Not for kHashFew.
class PackedBuilder {
 public:
  explicit PackedBuilder(PackedKind kind) : kind_(kind) {}
  void Add(const PackedRow& row);
  void AddRows(const PackedPage& page, uint32_t first, uint32_t count);
  // Some rows of a page of the same kind, in the order of `rows`.
  void PickRows(const PackedPage& page, std::span<const uint32_t> rows);
  uint32_t rows() const { return rows_; }
  uint64_t size() const;
  std::string Finish() const;

 private:
  PackedKind kind_;
  uint32_t rows_ = 0;
  uint32_t long_rows_ = 0;
  std::string columns_[4];
  std::string bytes_;
};

}  // namespace firn
