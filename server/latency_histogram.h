// How long commands took: counts in buckets whose width grows with the value, so that percentiles
// are right within 3 %.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace firn::server {

class LatencyHistogram {
 public:
  void Add(uint64_t nanos) {
    ++counts_[BucketOf(nanos)];
    ++total_;
  }
  uint64_t total() const { return total_; }
  // How many were `nanos` or less, within the precision of the buckets.
  uint64_t CountUpTo(uint64_t nanos) const {
    uint64_t count = 0;
    for (size_t i = 0; i < kBuckets && UpperEnd(i) <= nanos; ++i) count += counts_[i];
    return count;
  }
  // The value, in nanoseconds, that `percentile` percent (0 to 100) of those added don't exceed:
  // the upper end of its bucket.
  uint64_t Percentile(double percentile) const {
    const double wanted = percentile / 100 * static_cast<double>(total_);
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) return UpperEnd(i);
    }
    return 0;
  }

 private:
  // 32 buckets for each power of two, up to 18 minutes.
  static constexpr int kSubBits = 5;
  static constexpr int kMaxBits = 40;
  static constexpr size_t kBuckets = (kMaxBits - kSubBits + 1) << kSubBits;

  static size_t BucketOf(uint64_t value) {
    const uint64_t capped = value >> kMaxBits != 0 ? (1ull << kMaxBits) - 1 : value;
    const int shift = std::max(static_cast<int>(std::bit_width(capped)) - kSubBits - 1, 0);
    return (static_cast<size_t>(shift) << kSubBits) + static_cast<size_t>(capped >> shift);
  }
  static uint64_t UpperEnd(size_t bucket) {
    if (bucket < (2u << kSubBits)) return bucket;
    const size_t shift = (bucket >> kSubBits) - 1;
    const uint64_t mantissa = (bucket & ((1u << kSubBits) - 1)) | (1u << kSubBits);
    return ((mantissa + 1) << shift) - 1;
  }

  std::array<uint32_t, kBuckets> counts_ = {};
  uint64_t total_ = 0;
};

}  // namespace firn::server
