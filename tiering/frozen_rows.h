// FrozenRows: the rows of a FrozenValue's tree of elements, slice by slice, from one rank on.
//
// Executor thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/types/counted_tree.h"
#include "tiering/frozen_value.h"

namespace firn {

class FrozenRows {
 public:
  // `count` rows from rank `first` on. REQUIRES: they exist. `frozen` must outlive this.
  FrozenRows(FrozenValue* frozen, uint64_t first, uint64_t count)
      : tree_(frozen), at_(first), end_(first + count) {}

  bool ended() const { return at_ == end_; }
  // Calls visit(const PackedRow&) for some rows more: those of a few leaves. False: pages are
  // missing, and wanted. What was visited is not visited again. REQUIRES: the value is not lost.
  template <typename Visit>
  bool Read(Visit visit);

 private:
  static constexpr uint64_t kLeavesAtOnce = 64;

  CountedTree tree_;
  uint64_t at_;  // the rank of the next row
  const uint64_t end_;
  uint64_t rows_per_leaf_ = 1;
};

template <typename Visit>
bool FrozenRows::Read(Visit visit) {
  CountedTree::Leaf leaf;
  for (uint64_t leaves = 0; leaves < kLeavesAtOnce && at_ < end_; ++leaves) {
    const bool found =
        leaves == 0 ? tree_.FindRank(at_, &leaf) : tree_.Next(&leaf) == CountedTree::Moved::kYes;
    if (!found) {
      // Those behind it are fetched along with it.
      tree_.WantRanks(at_, std::min(at_ + rows_per_leaf_ * kLeavesAtOnce, end_) - 1);
      return false;
    }
    const PackedPage page = tree_.Page(leaf);
    rows_per_leaf_ = std::max<uint64_t>(1, page.rows());
    PackedPage::Cursor cursor(page, static_cast<uint32_t>(at_ - leaf.first_rank));
    for (; cursor.valid() && at_ < end_; cursor.Next(), ++at_) visit(cursor.row());
  }
  return true;
}

}  // namespace firn
