#include "bench/firn_bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/base/random.h"

namespace firn::bench {
namespace {

TEST(Histogram, EmptyAnswersZero) {
  Histogram histogram;
  EXPECT_EQ(histogram.Count(), 0u);
  EXPECT_EQ(histogram.Percentile(0.99), 0u);
  EXPECT_EQ(histogram.Max(), 0u);
}

TEST(Histogram, PercentilesAreWithinOnePercentOfSortedValues) {
  Random random(7);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 200'000; ++i) {
    // Spread over eight orders of magnitude.
    uint64_t value = random.Next() >> (24 + random.Below(38));
    values.push_back(value);
    histogram.Record(value);
  }
  std::ranges::sort(values);
  for (double fraction : {0.01, 0.5, 0.9, 0.99, 0.999, 0.9999}) {
    auto exact = static_cast<double>(
        values[static_cast<size_t>(fraction * static_cast<double>(values.size())) - 1]);
    auto found = static_cast<double>(histogram.Percentile(fraction));
    EXPECT_GE(found, exact) << fraction;
    EXPECT_LE(found, exact * 1.01 + 1) << fraction;
  }
  EXPECT_EQ(histogram.Percentile(1.0), values.back());
}

TEST(Histogram, EveryBucketEdgeComesBackExactly) {
  for (int bits = 0; bits < Histogram::kMaxBits; ++bits) {
    for (uint64_t value : {(uint64_t{1} << bits) - 1, uint64_t{1} << bits}) {
      Histogram histogram;
      histogram.Record(value);
      EXPECT_EQ(histogram.Percentile(0.5), value);
    }
  }
}

TEST(Histogram, ValuesBeyondTheRangeKeepTheirMaximum) {
  Histogram histogram;
  histogram.Record(uint64_t{1} << 60);
  EXPECT_EQ(histogram.Max(), uint64_t{1} << 60);
  EXPECT_EQ(histogram.Percentile(0.5), Histogram::kMaxValue);
}

TEST(Histogram, MergeAddsUp) {
  Histogram one;
  Histogram other;
  Histogram both;
  for (uint64_t i = 1; i <= 1000; ++i) {
    (i % 2 ? one : other).Record(i * 1000);
    both.Record(i * 1000);
  }
  one.Merge(other);
  EXPECT_EQ(one.Count(), both.Count());
  EXPECT_EQ(one.Max(), both.Max());
  EXPECT_EQ(one.Percentile(0.9), both.Percentile(0.9));
  EXPECT_DOUBLE_EQ(one.Mean(), both.Mean());
}

}  // namespace
}  // namespace firn::bench
