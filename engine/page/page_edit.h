// PageEdit: a change of one page as a list of splices. The same list changes the bytes in RAM and,
// encoded into a log record, changes them again in a replay, so recovery knows no data type.
//
// Offsets count in the page as it was before the edit; splices are added in ascending order, and
// those at one offset insert in the order in which they were added. What is inserted must not lie
// in the page that is edited, and must live until the edit has been applied.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/check.h"
#include "engine/base/coding.h"

namespace firn {

struct Splice {
  uint32_t offset = 0;
  uint32_t removed = 0;
  std::string_view inserted;
};

class PageEdit {
 public:
  PageEdit() {}  // what is not used is not initialised
  PageEdit(const PageEdit&) = delete;
  PageEdit& operator=(const PageEdit&) = delete;

  void Add(uint32_t offset, uint32_t removed, std::string_view inserted) {
    CHECK(count_ < kMaxSplices);
    keeps_size_ &= removed == inserted.size();
    new (&splices_[count_++]) Splice{offset, removed, inserted};
  }
  // Copies a few bytes, so that the caller needn't keep them.
  template <typename T>
  void AddNumber(uint32_t offset, uint32_t removed, T value) {
    CHECK(scratch_size_ + sizeof value <= sizeof scratch_);
    char* at = scratch_ + scratch_size_;
    StoreFixed(at, value);
    scratch_size_ += sizeof value;
    Add(offset, removed, {at, sizeof value});
  }
  // As many bytes, which the caller fills before the edit is applied.
  char* AddScratch(uint32_t offset, uint32_t removed, uint32_t size) {
    CHECK(scratch_size_ + size <= sizeof scratch_);
    char* at = scratch_ + scratch_size_;
    scratch_size_ += size;
    Add(offset, removed, {at, size});
    return at;
  }
  template <typename T>
  void Overwrite(uint32_t offset, T value) {
    AddNumber(offset, sizeof value, value);
  }

  // Moves all splices up: the edited bytes lie `base` bytes into their page.
  void Shift(uint32_t base) {
    for (uint32_t i = 0; i < count_; ++i) splices_[i].offset += base;
  }
  std::span<const Splice> splices() const { return {splices_, count_}; }
  bool empty() const { return count_ == 0; }
  // Every splice inserts as much as it removes: bytes are overwritten, none moves.
  bool keeps_size() const { return keeps_size_; }
  int64_t SizeChange() const;

 private:
  static constexpr uint32_t kMaxSplices = 12;
  union {
    Splice splices_[kMaxSplices];
  };
  uint32_t count_ = 0;
  bool keeps_size_ = true;
  uint32_t scratch_size_ = 0;
  char scratch_[96];
};

// The size after the splices; nothing if they don't fit a page of this size (only possible for
// splices that were read from somewhere).
bool CheckSplices(std::span<const Splice> splices, uint64_t size, uint64_t* new_size);
// As ApplySplices, from one place to another that has room for the new size.
void CopySpliced(std::span<const Splice> splices, std::string_view bytes, char* to);
// Applies checked splices in place. `bytes` has room for the larger of both sizes. With `shift`,
// the result begins that much behind `bytes`, or before, where there must be room as well.
void ApplySplices(std::span<const Splice> splices, char* bytes, uint64_t size, int64_t shift = 0);

// By how much splices make the bytes grow before and behind the largest piece that they keep whole:
// what needn't move if there is room on both sides.
struct Growth {
  int64_t before = 0;
  int64_t behind = 0;
};
Growth GrowthOf(std::span<const Splice> splices, uint64_t size);

}  // namespace firn
