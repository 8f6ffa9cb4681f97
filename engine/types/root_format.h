// The root page of a collection. Small values have their one packed page in it; larger ones have
// the top of one or two trees of pages:
//
//   small   u8 1 | u8 flags | packed page
//   tree    u8 2 | u8 flags | u16 size of node A | u32 next page number | u64 value id |
//           u64 elements | i64 word | node A | node B
//   block   u8 3 | as a tree, with 64 bytes of the data type's own before node A (streams)
//
// Node A is the top of the tree of the elements; node B of a sorted set's member index, else empty.
// `flags` and `word` belong to the data type.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/coding.h"

namespace firn {

enum class RootForm : uint8_t { kSmall = 1, kTree = 2, kTreeWithBlock = 3 };

inline constexpr uint32_t kSmallRootHeader = 2;
inline constexpr uint32_t kTreeRootHeader = 32;
inline constexpr uint32_t kRootNodeSizeAt = 2;
inline constexpr uint32_t kRootNextPageAt = 4;
inline constexpr uint32_t kRootValueIdAt = 8;
inline constexpr uint32_t kRootCountAt = 16;
inline constexpr uint32_t kRootWordAt = 24;
inline constexpr uint32_t kRootBlockAt = 32;
inline constexpr uint32_t kRootBlockSize = 64;

class RootView {
 public:
  explicit RootView(std::string_view bytes) : bytes_(bytes) {}
  // Whether the header is plausible; nodes and packed pages are checked apart.
  static bool Validate(std::string_view bytes) {
    if (bytes.size() < kSmallRootHeader) return false;
    if (bytes[0] == static_cast<char>(RootForm::kSmall)) return true;
    if (bytes[0] != static_cast<char>(RootForm::kTree) &&
        bytes[0] != static_cast<char>(RootForm::kTreeWithBlock)) {
      return false;
    }
    return bytes.size() >= kTreeRootHeader && RootView(bytes).node_offset(1) <= bytes.size();
  }

  bool small() const { return bytes_[0] == static_cast<char>(RootForm::kSmall); }
  uint8_t flags() const { return static_cast<uint8_t>(bytes_[1]); }
  // REQUIRES: small().
  std::string_view packed() const { return bytes_.substr(kSmallRootHeader); }
  // REQUIRES of the others: a tree.
  uint32_t next_page() const { return LoadFixed<uint32_t>(bytes_.data() + kRootNextPageAt); }
  uint64_t value_id() const { return LoadFixed<uint64_t>(bytes_.data() + kRootValueIdAt); }
  uint64_t count() const { return LoadFixed<uint64_t>(bytes_.data() + kRootCountAt); }
  int64_t word() const { return LoadFixed<int64_t>(bytes_.data() + kRootWordAt); }
  bool has_block() const { return bytes_[0] == static_cast<char>(RootForm::kTreeWithBlock); }
  // `tree` is 0 for node A, 1 for B.
  uint32_t node_offset(int tree) const {
    return kTreeRootHeader + (has_block() ? kRootBlockSize : 0) +
           (tree == 0 ? 0 : LoadFixed<uint16_t>(bytes_.data() + kRootNodeSizeAt));
  }
  std::string_view node(int tree) const {
    uint32_t begin = node_offset(tree);
    return tree == 0 ? bytes_.substr(begin, node_offset(1) - begin) : bytes_.substr(begin);
  }

 private:
  std::string_view bytes_;
};

}  // namespace firn
