// The searches of sorted pages.
#include <algorithm>

#include "engine/page/packed_page.h"

namespace firn {
namespace {

// The first row for which is_less says no, in a column that is sorted and holds such a row.
// REQUIRES: is_less(0), !is_less(count - 1).
//
// Hashes are spread evenly, and scores often are, so the place can be guessed well from how far the
// value is from the first to the last: `share`. Two or three cache lines are read, where halving
// would read five. From the guess on, strides double until the place is passed.
template <typename IsLess>
[[gnu::always_inline]] inline uint32_t Gallop(uint32_t count, double share, IsLess is_less) {
  const uint32_t guess = std::min(static_cast<uint32_t>(share * (count - 1)), count - 1);
  uint32_t low = 0;
  uint32_t high = count - 1;
  if (is_less(guess)) {
    low = guess;
    for (uint32_t stride = 1; low + stride < high; stride *= 2) {
      if (!is_less(low + stride)) {
        high = low + stride;
        break;
      }
      low += stride;
    }
  } else {
    high = guess;
    for (uint32_t stride = 1; low + stride < high; stride *= 2) {
      if (is_less(high - stride)) {
        low = high - stride;
        break;
      }
      high -= stride;
    }
  }
  while (low + 1 < high) {
    uint32_t middle = (low + high) / 2;
    (is_less(middle) ? low : high) = middle;
  }
  return high;
}

}  // namespace

uint32_t PackedPage::LowerBoundScore(double score) const {
  const uint32_t count = rows();
  if (count == 0 || !(Score(0) < score)) return 0;
  const double first = Score(0);
  const double last = Score(count - 1);
  if (last < score) return count;
  // Infinities give no number.
  const double share = (score - first) / (last - first);
  return Gallop(count, share >= 0 && share <= 1 ? share : 0.5,
                [&](uint32_t i) { return Score(i) < score; });
}

uint32_t PackedPage::UpperBoundScore(double score) const { return UpperBoundScore(score, 0); }

// Mostly few rows share a score.
uint32_t PackedPage::UpperBoundScore(double score, uint32_t first) const {
  const uint32_t count = rows();
  uint32_t low = first;
  uint32_t high = count;
  for (uint32_t stride = 1; low + stride <= count; stride *= 2) {
    if (Score(low + stride - 1) > score) {
      high = low + stride - 1;
      break;
    }
    low += stride;
  }
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (Score(middle) <= score) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

uint32_t PackedPage::LowerBound(double score, std::string_view bytes) const {
  uint32_t low = LowerBoundScore(score);
  if (low == rows() || Score(low) != score) return low;
  uint32_t high = UpperBoundScore(score, low);
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (Row(middle).bytes < bytes) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

uint32_t PackedPage::FindScored(double score, std::string_view bytes) const {
  const uint32_t count = rows();
  uint32_t row = LowerBoundScore(score);
  if (row == count || Score(row) != score) return count;
  if (row + 1 < count && Score(row + 1) == score) row = LowerBound(score, bytes);
  return row < count && Score(row) == score && Row(row).bytes == bytes ? row : count;
}

uint32_t PackedPage::LowerBoundHash(uint64_t hash) const {
  uint32_t count = rows();
  if (count == 0 || hash <= Hash(0)) return 0;
  uint64_t first = Hash(0);
  uint64_t last = Hash(count - 1);
  if (hash > last) return count;
  return Gallop(count, static_cast<double>(hash - first) / static_cast<double>(last - first),
                [&](uint32_t i) { return Hash(i) < hash; });
}

void PackedPage::PrefetchSorted(float share) const {
  constexpr uint32_t kLine = 64;
  const uint32_t count = rows();
  const char* column = bytes_.data() + kHeaderSize;
  const auto guess = static_cast<uint32_t>(share * static_cast<float>(count));
  const char* at = column + 8 * guess;
  __builtin_prefetch(at - kLine);
  __builtin_prefetch(at);
  __builtin_prefetch(at + kLine);
  const char* end = column + 8 * count;
  __builtin_prefetch(end - 8);
  if (kind() != PackedKind::kZset) return;
  // The lengths up to there will be added up.
  for (uint32_t i = 0; i < guess; i += kLine) __builtin_prefetch(end + i);
}

const char* PackedPage::BytesFrom(uint32_t i) const {
  return i < rows() ? bytes_.data() + RowOffset(i) : nullptr;
}

}  // namespace firn
