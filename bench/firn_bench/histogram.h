// Latencies in log-linear buckets: each power of two is cut into 128 equal parts, so that any
// percentile is right to 1 % whatever the range, and recording is one increment.
//
//   value    0 .. 255    one bucket each
//   value  256 .. 511    128 buckets of 2
//   value  512 .. 1023   128 buckets of 4, and so on up to kMaxValue
#pragma once

#include <cstdint>
#include <vector>

namespace firn::bench {

// One thread's. The unit is the caller's (firn-bench: nanoseconds).
class Histogram {
 public:
  static constexpr int kSubBits = 7;
  static constexpr uint64_t kSubBuckets = uint64_t{1} << kSubBits;
  static constexpr int kMaxBits = 42;
  // Larger values are counted as this; Max() stays exact.
  static constexpr uint64_t kMaxValue = (uint64_t{1} << kMaxBits) - 1;

  void Record(uint64_t value);
  void Merge(const Histogram& other);

  uint64_t Count() const { return count_; }
  uint64_t Max() const { return max_; }
  double Mean() const;
  // The smallest bucket's upper edge under which at least `fraction` of the values lie (at most
  // Max()); 0 when nothing was recorded.
  uint64_t Percentile(double fraction) const;

 private:
  static uint64_t BucketOf(uint64_t value);
  static uint64_t UpperEdge(uint64_t bucket);

  // Empty until the first Record: most operations never occur in a run.
  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace firn::bench
