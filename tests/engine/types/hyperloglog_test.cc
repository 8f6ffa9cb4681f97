#include "engine/types/hyperloglog.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/coding.h"
#include "engine/base/random.h"

namespace firn {
namespace {

using std::string_view_literals::operator""sv;

constexpr uint64_t kSparseMax = 3000;

std::string Dense() {
  std::string bytes = EmptyHll();
  EXPECT_TRUE(MakeHllDense(&bytes));
  return bytes;
}

uint64_t Count(std::string_view bytes) {
  uint64_t count = 0;
  EXPECT_TRUE(CountHll(bytes, &count));
  return count;
}

HllElement ElementOf(uint64_t number) {
  char bytes[8];
  StoreFixed(bytes, number);
  return HashHllElement({bytes, sizeof bytes});
}

TEST(HyperLogLogTest, AnEmptyOneIsASingleRun) {
  EXPECT_EQ(EmptyHll(), "HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"sv);
  EXPECT_EQ(Count(EmptyHll()), 0u);
  EXPECT_EQ(DescribeHll(EmptyHll()), "Z:16384");
}

TEST(HyperLogLogTest, KnowsOneByItsHeader) {
  EXPECT_TRUE(IsHyperLogLog(EmptyHll()));
  EXPECT_TRUE(IsHyperLogLog(Dense()));
  EXPECT_FALSE(IsHyperLogLog(""));
  EXPECT_FALSE(IsHyperLogLog("HYLL"));
  EXPECT_FALSE(IsHyperLogLog("HYLM\1\0\0\0\0\0\0\0\0\0\0\0"sv));
  EXPECT_FALSE(IsHyperLogLog("HYLL\2\0\0\0\0\0\0\0\0\0\0\0"sv));
  EXPECT_FALSE(IsHyperLogLog(Dense() + "x"));
}

TEST(HyperLogLogTest, BothEncodingsHoldTheSameRegisters) {
  Random random(1);
  for (int round = 0; round < 20; ++round) {
    std::string sparse = EmptyHll();
    std::string dense = Dense();
    HllRegisters expected = {};
    // Few registers, so that runs of equal ones are split and joined.
    const uint64_t spread = round % 2 == 0 ? 100 : kHllRegisters;
    for (int i = 0; i < 700; ++i) {
      const HllElement element{.index = static_cast<uint32_t>(random.Below(spread)),
                               .value = static_cast<uint8_t>(1 + random.Below(3))};
      const bool raised = expected[element.index] < element.value;
      expected[element.index] = std::max(expected[element.index], element.value);
      const HllResult result = raised ? HllResult::kChanged : HllResult::kSame;
      ASSERT_EQ(RaiseHll(&sparse, element, kSparseMax), result);
      ASSERT_EQ(RaiseHll(&dense, element, kSparseMax), result);
    }
    ASSERT_FALSE(IsDenseHll(sparse));
    for (const std::string& bytes : {sparse, dense}) {
      HllRegisters registers = {};
      ASSERT_TRUE(MergeHll(bytes, &registers));
      ASSERT_EQ(registers, expected);
    }
    ASSERT_EQ(Count(sparse), Count(dense));
    ASSERT_EQ(Count(sparse), CountHll(expected));
    ASSERT_TRUE(MakeHllDense(&sparse));
    ASSERT_EQ(sparse.substr(kHllHeaderSize), dense.substr(kHllHeaderSize));
  }
}

TEST(HyperLogLogTest, BecomesDenseWhenTooLongOrTooHigh) {
  std::string bytes = EmptyHll();
  EXPECT_EQ(RaiseHll(&bytes, {.index = 5, .value = 32}, kSparseMax), HllResult::kChanged);
  EXPECT_FALSE(IsDenseHll(bytes));
  EXPECT_EQ(RaiseHll(&bytes, {.index = 5, .value = 33}, kSparseMax), HllResult::kChanged);
  EXPECT_TRUE(IsDenseHll(bytes));

  bytes = EmptyHll();
  size_t longest = 0;
  for (uint64_t i = 0; !IsDenseHll(bytes); ++i) {
    longest = bytes.size();
    RaiseHll(&bytes, ElementOf(i), 200);
  }
  EXPECT_LE(longest, 200u);
  EXPECT_GE(longest, 190u);
}

TEST(HyperLogLogTest, RefusesRunsThatDoNotAddUp) {
  const std::string header = EmptyHll().substr(0, kHllHeaderSize);
  for (std::string_view runs : {""sv, "\x7f\xfe"sv, "\x7f\xff\x00"sv, "\x80"sv, "\x7f"sv}) {
    std::string bytes = header + std::string(runs);
    HllRegisters registers = {};
    uint64_t count;
    EXPECT_FALSE(MergeHll(bytes, &registers));
    EXPECT_FALSE(CountHll(bytes, &count));
    EXPECT_FALSE(MakeHllDense(&bytes));
  }
  std::string shorter = header + "\x80";
  EXPECT_EQ(RaiseHll(&shorter, {.index = 9000, .value = 3}, kSparseMax), HllResult::kCorrupt);
}

TEST(HyperLogLogTest, SurvivesRunsOfRandomBytes) {
  Random random(2);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = EmptyHll().substr(0, kHllHeaderSize);
    for (uint64_t i = random.Below(60); i > 0; --i) {
      bytes += static_cast<char>(random.Below(256));
    }
    HllRegisters registers = {};
    uint64_t count;
    MergeHll(bytes, &registers);
    CountHll(bytes, &count);
    DescribeHll(bytes);
    for (int i = 0; i < 5; ++i) {
      const HllElement element{.index = static_cast<uint32_t>(random.Below(kHllRegisters)),
                               .value = static_cast<uint8_t>(1 + random.Below(40))};
      RaiseHll(&bytes, element, kSparseMax);
    }
  }
}

TEST(HyperLogLogTest, TheCachedCountGoesStaleWithAChange) {
  std::string bytes = Dense();
  uint64_t count = 1;
  EXPECT_TRUE(CachedHllCount(bytes, &count));
  EXPECT_EQ(count, 0u);
  RaiseHll(&bytes, {.index = 1, .value = 1}, kSparseMax);
  EXPECT_FALSE(CachedHllCount(bytes, &count));
}

// The standard error of 16384 registers is 0.81 %.
TEST(HyperLogLogTest, TheErrorIsSmall) {
  constexpr int kSets = 200;
  constexpr uint64_t kElements = 100'000;
  Random random(3);
  double squares = 0;
  for (int set = 0; set < kSets; ++set) {
    HllRegisters registers = {};
    const uint64_t salt = random.Next();
    for (uint64_t i = 0; i < kElements; ++i) {
      const HllElement element = ElementOf(i ^ salt);
      registers[element.index] = std::max(registers[element.index], element.value);
    }
    const double error = static_cast<double>(CountHll(registers)) / kElements - 1;
    squares += error * error;
  }
  const double root_mean_square = std::sqrt(squares / kSets);
  RecordProperty("rms_per_mille", static_cast<int>(root_mean_square * 1000));
  EXPECT_LE(root_mean_square, 0.009);
}

TEST(HyperLogLogTest, PassesItsOwnTest) { EXPECT_EQ(SelfTestHll(4, kSparseMax), ""); }

}  // namespace
}  // namespace firn
