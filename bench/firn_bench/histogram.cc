#include "bench/firn_bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace firn::bench {

namespace {
constexpr uint64_t kBuckets =
    Histogram::kSubBuckets * (Histogram::kMaxBits - Histogram::kSubBits + 1);
}  // namespace

uint64_t Histogram::BucketOf(uint64_t value) {
  value = std::min(value, kMaxValue);
  if (value < 2 * kSubBuckets) return value;
  int shift = std::bit_width(value) - (kSubBits + 1);
  return kSubBuckets * static_cast<uint64_t>(shift) + (value >> shift);
}

uint64_t Histogram::UpperEdge(uint64_t bucket) {
  if (bucket < 2 * kSubBuckets) return bucket;
  uint64_t shift = bucket / kSubBuckets - 1;
  uint64_t mantissa = kSubBuckets + bucket % kSubBuckets;
  return ((mantissa + 1) << shift) - 1;
}

void Histogram::Record(uint64_t value) {
  if (buckets_.empty()) buckets_.resize(kBuckets);
  ++buckets_[BucketOf(value)];
  ++count_;
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (buckets_.empty()) buckets_.resize(kBuckets);
  for (uint64_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

double Histogram::Mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

uint64_t Histogram::Percentile(double fraction) const {
  if (count_ == 0) return 0;
  auto wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  wanted = std::clamp<uint64_t>(wanted, 1, count_);
  uint64_t seen = 0;
  for (uint64_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(UpperEdge(i), max_);
  }
  return max_;
}

}  // namespace firn::bench
