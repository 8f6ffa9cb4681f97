#include "server/latency_histogram.h"

#include <gtest/gtest.h>

namespace firn::server {
namespace {

TEST(LatencyHistogram, EmptyHasNoPercentiles) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.total(), 0u);
  EXPECT_EQ(histogram.Percentile(99), 0u);
}

TEST(LatencyHistogram, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (uint64_t value = 1; value <= 60; ++value) histogram.Add(value);
  EXPECT_EQ(histogram.Percentile(50), 30u);
  EXPECT_EQ(histogram.Percentile(100), 60u);
  EXPECT_EQ(histogram.Percentile(0), 1u);
}

TEST(LatencyHistogram, EveryValueIsWithinThreePercent) {
  for (uint64_t value = 64; value < 1ull << 40; value += value / 7 + 1) {
    LatencyHistogram histogram;
    histogram.Add(value);
    const uint64_t found = histogram.Percentile(50);
    EXPECT_GE(found, value);
    EXPECT_LE(found, value + value / 32) << value;
  }
}

TEST(LatencyHistogram, PercentilesSplitTheValues) {
  LatencyHistogram histogram;
  for (int i = 0; i < 990; ++i) histogram.Add(1000);
  for (int i = 0; i < 10; ++i) histogram.Add(1'000'000);
  EXPECT_LT(histogram.Percentile(99), 1100u);
  EXPECT_GE(histogram.Percentile(99.9), 1'000'000u);
}

TEST(LatencyHistogram, HugeValuesCountAsTheLargest) {
  LatencyHistogram histogram;
  histogram.Add(~0ull);
  EXPECT_EQ(histogram.total(), 1u);
  EXPECT_EQ(histogram.Percentile(50), (1ull << 40) - 1);
}

}  // namespace
}  // namespace firn::server
