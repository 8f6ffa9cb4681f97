// The inner nodes of a CountedTree, for its own sources and TreeBuilder's.
//
//   kind | level | children, 16 bits | page, rows of each child | end of each separator |
//   separators
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "engine/types/counted_tree.h"

namespace firn {

inline constexpr uint32_t kNodeHeader = 4;
inline constexpr uint32_t kChildSize = 8;
inline constexpr uint32_t kEndSize = 2;

// The bytes of a node with these children, which have a page, rows and a separator.
template <typename Child>
std::string BuildTreeNode(uint8_t level, std::span<const Child> children) {
  std::string node{kNodeKind, static_cast<char>(level)};
  AppendFixed(&node, static_cast<uint16_t>(children.size()));
  for (const Child& child : children) {
    AppendFixed(&node, child.page);
    AppendFixed(&node, child.rows);
  }
  uint16_t end = 0;
  for (const Child& child : children) {
    end = static_cast<uint16_t>(end + child.separator.size());
    AppendFixed(&node, end);
  }
  for (const Child& child : children) node += child.separator;
  return node;
}

struct CountedTree::ChildSpec {
  PageNumber page = 0;
  uint32_t rows = 0;
  std::string_view separator;
};

// A view of an inner node's bytes.
class CountedTree::Node {
 public:
  explicit Node(std::string_view bytes) : bytes_(bytes) {}
  uint8_t level() const { return static_cast<uint8_t>(bytes_[1]); }
  uint32_t children() const { return LoadFixed<uint16_t>(bytes_.data() + 2); }
  uint32_t child_offset(uint32_t i) const { return kNodeHeader + kChildSize * i; }
  PageNumber page(uint32_t i) const { return LoadFixed<uint32_t>(bytes_.data() + child_offset(i)); }
  uint32_t rows(uint32_t i) const {
    return LoadFixed<uint32_t>(bytes_.data() + child_offset(i) + 4);
  }
  uint32_t ends_offset() const { return kNodeHeader + kChildSize * children(); }
  uint32_t separators_offset() const { return ends_offset() + kEndSize * children(); }
  uint32_t end(uint32_t i) const {
    return LoadFixed<uint16_t>(bytes_.data() + ends_offset() + kEndSize * i);
  }
  uint32_t begin(uint32_t i) const { return i == 0 ? 0 : end(i - 1); }
  std::string_view separator(uint32_t i) const {
    return bytes_.substr(separators_offset() + begin(i), end(i) - begin(i));
  }
  uint64_t total() const { return RowsBefore(children()); }
  // The last child whose separator is not greater; the first of all for what is less than any.
  // `bounds` are those of the node's keys, and become those of the child's.
  uint32_t Find(std::string_view key, Bounds* bounds) const {
    const Separators separators(*this);
    const uint64_t prefix = PrefixOf(key, key.data() + key.size());
    auto is_greater = [&](uint32_t i) __attribute__((always_inline)) {
      const uint64_t other = separators.Prefix(i);
      return other != prefix ? other > prefix : IsGreater(separators.At(i), key);
    };
    uint32_t low = 0;
    uint32_t high = children() - 1;
    if (high > kFewChildren) {
      Bounds range = *bounds;
      if (!range.known()) {
        range = {separators.Prefix(1), separators.Prefix(high)};
        if (prefix < range.low) return 0;
        if (prefix > range.high) return high;
      }
      Narrow(range.ShareOf(prefix), is_greater, &low, &high);
    }
    while (low < high) {
      uint32_t middle = (low + high + 1) / 2;
      bool greater = is_greater(middle);
      high = greater ? middle - 1 : high;
      low = greater ? low : middle;
    }
    const bool inside = low > 0 && low + 1 < children();
    if (inside || bounds->known()) {
      if (low > 0) bounds->low = separators.Prefix(low);
      if (low + 1 < children()) bounds->high = separators.Prefix(low + 1);
    }
    return low;
  }
  // Rows below the children before this one.
  uint64_t RowsBefore(uint32_t child) const {
    const char* at = bytes_.data() + kNodeHeader;
    uint64_t sum = 0;
    uint32_t i = 0;
#ifdef __SSE2__
    // The counts are the upper halves of words of 64 bits.
    __m128i sums[2] = {_mm_setzero_si128(), _mm_setzero_si128()};
    for (; i + 4 <= child; i += 4, at += 4 * kChildSize) {
      const auto* children = reinterpret_cast<const __m128i*>(at);
      sums[0] = _mm_add_epi64(sums[0], _mm_srli_epi64(_mm_loadu_si128(children), 32));
      sums[1] = _mm_add_epi64(sums[1], _mm_srli_epi64(_mm_loadu_si128(children + 1), 32));
    }
    const __m128i both = _mm_add_epi64(sums[0], sums[1]);
    sum = static_cast<uint64_t>(_mm_cvtsi128_si64(both)) +
          static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(both, both)));
#endif
    for (; i < child; ++i, at += kChildSize) sum += LoadFixed<uint32_t>(at + 4);
    return sum;
  }
  std::vector<ChildSpec> Children(uint32_t first, uint32_t last) const {
    std::vector<ChildSpec> specs;
    for (uint32_t i = first; i < last; ++i) specs.push_back({page(i), rows(i), separator(i)});
    return specs;
  }
  uint64_t size() const { return bytes_.size(); }

 private:
  // Below, halving is as fast as guessing.
  static constexpr uint32_t kFewChildren = 12;
  // Hashes are spread evenly, and scores often are, so the place can be guessed well from how far
  // the key is from the first separator to the last. From the guess on, strides double until the
  // place is passed.
  template <typename IsGreaterAt>
  [[gnu::always_inline]] static void Narrow(double share, IsGreaterAt is_greater, uint32_t* low,
                                            uint32_t* high) {
    const uint32_t guess = 1 + static_cast<uint32_t>(share * (*high - 1));
    if (is_greater(guess)) {
      *high = guess - 1;
      for (uint32_t stride = 1; *high > stride; stride *= 2) {
        if (!is_greater(*high - stride + 1)) {
          *low = *high - stride + 1;
          return;
        }
        *high -= stride;
      }
    } else {
      *low = guess;
      for (uint32_t stride = 1; *low + stride <= *high; stride *= 2) {
        if (is_greater(*low + stride)) {
          *high = *low + stride - 1;
          return;
        }
        *low += stride;
      }
    }
  }
  // The separators of the children from 1 on.
  class Separators {
   public:
    explicit Separators(const Node& node)
        : ends_(node.bytes_.data() + node.ends_offset()),
          bytes_(node.bytes_.data() + node.separators_offset()),
          limit_(node.bytes_.data() + node.bytes_.size()) {}
    std::string_view At(uint32_t i) const {
      const uint32_t from = LoadFixed<uint16_t>(ends_ + kEndSize * (i - 1));
      const uint32_t to = LoadFixed<uint16_t>(ends_ + kEndSize * i);
      return {bytes_ + from, to - from};
    }
    [[gnu::always_inline]] uint64_t Prefix(uint32_t i) const { return PrefixOf(At(i), limit_); }

   private:
    const char* const ends_;
    const char* const bytes_;
    const char* const limit_;
  };

  // The first eight bytes as a number that compares as they do; zeros stand for missing ones, so
  // equal numbers decide nothing. Bytes up to `limit` may be read.
  [[gnu::always_inline]] static uint64_t PrefixOf(std::string_view bytes, const char* limit) {
    if (limit - bytes.data() >= 8) {
      const uint64_t prefix = LoadBig64(bytes.data());
      return bytes.size() >= 8 ? prefix : prefix & ~(UINT64_MAX >> 8 * bytes.size());
    }
    char padded[8] = {};
    bytes.copy(padded, sizeof padded);
    return LoadBig64(padded);
  }
  // Of keys with equal prefixes, as those of streams mostly are.
  [[gnu::noinline]] static bool IsGreater(std::string_view separator, std::string_view key) {
    if (separator.size() >= 16 && key.size() >= 16) {
      const uint64_t a = LoadBig64(separator.data() + 8);
      const uint64_t b = LoadBig64(key.data() + 8);
      if (a != b) return a > b;
    }
    return separator > key;
  }
  std::string_view bytes_;
};

}  // namespace firn
