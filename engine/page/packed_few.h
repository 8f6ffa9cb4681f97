// FewFields: a PackedPage of kHashFew, for hashes of up to 16 fields that are all short. Fields are
// told apart by their bytes: a byte of tag for each would find nothing sooner. And a length that
// all fields share is there once, as is one that all values share.
//
//   u8 7 | u8 flags | u16 rows | length, or each row's | value length, or each row's | bytes ...
//
// Ten fields of 16 bytes with values of 16 bytes take 326 bytes; with the columns of kHash, 356.
//
// packed_page.cc hands over to this; the contracts are those of PackedPage.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/page/packed_page.h"

namespace firn {

class FewFields {
 public:
  static constexpr uint32_t kMaxRows = 16;
  static constexpr uint32_t kEmptySize = 6;  // with a length of each kind, which mean nothing yet

  explicit FewFields(std::string_view page);
  static bool Validate(std::string_view page);

  uint64_t RowOffset(uint32_t i) const;
  std::vector<uint32_t> RowOffsets() const;
  PackedRow Row(uint32_t i) const {
    uint64_t offset = RowOffset(i);
    return RowAt(i, &offset);
  }
  // Row i, which lies at `*offset`; that of the next one.
  PackedRow RowAt(uint32_t i, uint64_t* offset) const;
  uint32_t Find(std::string_view bytes) const;

  void Insert(uint32_t i, const PackedRow& row, PageEdit* edit) const;
  void Remove(uint32_t first, uint32_t count, PageEdit* edit) const;
  void SetValue(uint32_t i, std::string_view value, PageEdit* edit) const;

 private:
  static constexpr uint32_t kFlagsAt = 1;
  static constexpr uint32_t kRowsAt = 2;
  static constexpr uint32_t kColumnsAt = 4;
  enum Flag : uint8_t { kLengthsDiffer = 1, kValueLengthsDiffer = 2 };

  struct Column {
    const uint8_t* lengths = nullptr;
    uint32_t step = 0;  // 0: one for all
    uint8_t operator[](uint32_t i) const { return lengths[i * step]; }
    uint32_t size(uint32_t rows) const { return step == 0 ? 1 : rows; }
    uint64_t Sum(uint32_t rows) const;
    // Whether row i of so many can't have this length while all share one.
    bool Splits(uint32_t rows, uint8_t length) const {
      return step == 0 && rows > 0 && length != lengths[0];
    }
    // To where a length is added, before row i.
    void Insert(uint32_t at, uint32_t i, uint32_t rows, uint8_t length, PageEdit* edit) const;
    void Set(uint32_t at, uint32_t i, uint32_t rows, uint8_t length, PageEdit* edit) const;
  };
  uint32_t values_at() const { return kColumnsAt + lengths_.size(rows_); }
  uint32_t bytes_at() const { return values_at() + values_.size(rows_); }

  std::string_view bytes_;
  uint32_t rows_;
  uint8_t flags_;
  Column lengths_;
  Column values_;
};

}  // namespace firn
