// LatencyHistogram: counts of durations in buckets of a quarter of a power of two: percentiles
// within 19 %.
#pragma once

#include <bit>
#include <cstdint>

namespace firn {

class LatencyHistogram {
 public:
  void Add(uint64_t micros) {
    ++counts_[BucketOf(micros)];
    ++total_;
  }
  // The upper bound of the bucket in which `fraction` of the durations is reached; 0 if there are
  // none.
  uint64_t Percentile(double fraction) const {
    uint64_t wanted = static_cast<uint64_t>(static_cast<double>(total_) * fraction);
    uint64_t seen = 0;
    for (int i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen > wanted) return UpperBound(i);
    }
    return 0;
  }

 private:
  static constexpr int kBuckets = 64 * 4;
  static int BucketOf(uint64_t micros) {
    if (micros < 4) return static_cast<int>(micros);
    int log = std::bit_width(micros) - 1;
    return log * 4 + static_cast<int>((micros >> (log - 2)) & 3);
  }
  static uint64_t UpperBound(int bucket) {
    if (bucket < 8) return static_cast<uint64_t>(bucket < 4 ? bucket : 4);
    int log = bucket / 4;
    return (static_cast<uint64_t>(4 + bucket % 4 + 1) << (log - 2)) - 1;
  }
  uint64_t counts_[kBuckets] = {};
  uint64_t total_ = 0;
};

}  // namespace firn
