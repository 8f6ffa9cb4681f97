// The keys of a sorted set's two trees, for the code of ZsetValue.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/types/counted_tree.h"

namespace firn {

// Scores in the order of unsigned numbers; zeros of both signs are one.
inline uint64_t OrderedScore(double score) {
  if (score == 0) score = 0;
  auto bits = std::bit_cast<uint64_t>(score);
  return (bits >> 63) != 0 ? ~bits : bits | 1ull << 63;
}

// Of tree 0: the score, then the member, as far as a separator can tell keys apart by it.
class ElementKey {
 public:
  ElementKey(uint64_t ordered_score, std::string_view member)
      : size_(8 + std::min(member.size(), sizeof bytes_ - 8)) {
    StoreBig64(bytes_, ordered_score);
    if (size_ > 8) std::memcpy(bytes_ + 8, member.data(), size_ - 8);
  }
  ElementKey(double score, std::string_view member) : ElementKey(OrderedScore(score), member) {}
  std::string_view view() const { return {bytes_, size_}; }

 private:
  char bytes_[kMaxSeparatorBytes + 8];
  size_t size_;
};

// Of tree 1.
class HashKey {
 public:
  explicit HashKey(uint64_t hash) { StoreBig64(bytes_, hash); }
  std::string_view view() const { return {bytes_, sizeof bytes_}; }

 private:
  char bytes_[8];
};

inline std::string ElementKeyOf(const PackedPage& page, uint32_t row) {
  PackedRow element = page.Row(row);
  return std::string(ElementKey(element.score, element.bytes).view());
}
inline std::string HashKeyOf(const PackedPage& page, uint32_t row) {
  return std::string(HashKey(page.Hash(row)).view());
}

}  // namespace firn
