// TreeBuilder: makes the pages of a large value (counted_tree.h) from its first leaf to its last.
// Each page is finished when it is handed out and is never touched again, so that a value of any
// size is made piece by piece, in little memory.
//
//   TreeBuilder tree([&](PageNumber page, std::string_view bytes) { ... });
//   tree.AddLeaf(packed, {});
//   tree.AddLeaf(packed, separator);
//   std::string root = tree.Finish({.value_id = id, .flags = flags});
//
// For values with one tree.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types/page_space.h"

namespace firn {

class TreeBuilder {
 public:
  using PageWriter = std::function<void(PageNumber page, std::string_view bytes)>;

  explicit TreeBuilder(PageWriter write_page) : write_page_(std::move(write_page)) {}

  // `separator` is greater than every key of the leaves before, and not greater than one of this;
  // empty for the first leaf, and for lists. REQUIRES: the leaf has rows.
  void AddLeaf(std::string_view packed, std::string_view separator);
  uint64_t rows() const { return rows_; }
  PageNumber next_page() const { return next_page_; }

  struct Root {
    uint64_t value_id = 0;
    uint8_t flags = 0;
  };
  // Hands out the last pages, and gives the root. REQUIRES: there is a leaf. Once.
  std::string Finish(const Root& root);

 private:
  struct Child {
    PageNumber page = 0;
    uint32_t rows = 0;
    std::string separator;
  };
  // The last node of its level, which is still being filled.
  struct Level {
    std::vector<Child> children;
    uint64_t bytes = 0;
  };
  void AddChild(size_t level, Child child);
  // Writes the last node of a level, which becomes a child of the level above.
  void Close(size_t level);

  PageWriter write_page_;
  std::vector<Level> levels_;  // that above the leaves first
  PageNumber next_page_ = kRootPage + 1;
  uint64_t rows_ = 0;
};

}  // namespace firn
