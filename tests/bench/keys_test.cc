#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <set>
#include <vector>

#include "bench/firn_bench/key_source.h"
#include "bench/firn_bench/permutation.h"
#include "bench/firn_bench/zipf.h"

namespace firn::bench {
namespace {

TEST(Permutation, TakesEachIndexOnce) {
  for (uint64_t n : {1, 2, 3, 5, 64, 65, 1000, 4097, 99'991}) {
    Permutation permutation(n, 42);
    std::vector<bool> seen(n);
    for (uint64_t i = 0; i < n; ++i) {
      uint64_t at = permutation.At(i);
      ASSERT_LT(at, n);
      ASSERT_FALSE(seen[at]) << n;
      seen[at] = true;
    }
  }
}

TEST(Permutation, NeighboursAreScattered) {
  constexpr uint64_t kN = 100'000;
  Permutation permutation(kN, 1);
  double distance = 0;
  for (uint64_t i = 0; i + 1 < kN; ++i) {
    distance += std::abs(static_cast<double>(permutation.At(i)) -
                         static_cast<double>(permutation.At(i + 1)));
  }
  // A third of the range is what independent positions give.
  EXPECT_NEAR(distance / kN, kN / 3.0, kN / 60.0);
}

TEST(Zipf, FrequenciesFollowTheExponent) {
  constexpr uint64_t kN = 1000;
  constexpr int kDraws = 1'000'000;
  Zipf zipf(kN, 0.99);
  Random random(3);
  std::vector<double> counts(kN);
  for (int i = 0; i < kDraws; ++i) {
    uint64_t rank = zipf.Next(random);
    ASSERT_LT(rank, kN);
    ++counts[rank];
  }
  double norm = 0;
  for (uint64_t rank = 0; rank < kN; ++rank) norm += std::pow(rank + 1.0, -0.99);
  for (uint64_t rank : {0, 1, 2, 9, 99, 999}) {
    double expected = kDraws * std::pow(rank + 1.0, -0.99) / norm;
    EXPECT_NEAR(counts[rank], expected, 6 * std::sqrt(expected)) << rank;
  }
}

TEST(KeySource, ThreadsShareOutEachKeyOfTheSelectedClassesOnce) {
  Options options;
  options.first_key = 100;
  options.keys = 10'000;
  options.key_choice = KeyChoice::kShuffled;
  options.classes = 10;
  options.only_first_class = 2;
  options.only_last_class = 4;
  std::atomic<uint64_t> cursor = 0;
  KeySource one(options, 0, cursor);
  KeySource other(options, 1, cursor);
  std::multiset<uint64_t> taken;
  for (int i = 0; i < 10'000; ++i) {
    if (auto key = one.Next()) taken.insert(*key);
    if (auto key = other.Next()) taken.insert(*key);
  }
  for (uint64_t key = 100; key < 10'100; ++key) {
    uint32_t key_class = ClassOf(options, key);
    EXPECT_EQ(taken.count(key), key_class >= 2 && key_class <= 4 ? 1u : 0u) << key;
  }
  EXPECT_NEAR(static_cast<double>(taken.size()), 3000, 200);
}

TEST(KeySource, LatestSeesAnInsertOnlyOnceAcknowledged) {
  Options options;
  options.keys = 100;
  options.key_choice = KeyChoice::kLatest;
  std::atomic<uint64_t> cursor = 0;
  KeySource source(options, 0, cursor);
  EXPECT_EQ(source.Insert(), 100u);
  EXPECT_EQ(source.Insert(), 101u);
  source.Acknowledge(101);
  for (int i = 0; i < 1000; ++i) ASSERT_LT(*source.Next(), 100u);
  source.Acknowledge(100);
  int newest = 0;
  for (int i = 0; i < 1000; ++i) newest += *source.Next() == 101;
  EXPECT_GT(newest, 50);
}

TEST(KeyName, ParsesBack) {
  Options options;
  options.key_bytes = 17;
  std::string name(17, ' ');
  WriteKeyName(options, 1234567, name.data());
  EXPECT_EQ(name, "key:0000001234567");
  EXPECT_EQ(ParseKeyName(options, name), 1234567u);
  EXPECT_EQ(ParseKeyName(options, "key:000000123456x"), std::nullopt);
  EXPECT_EQ(ParseKeyName(options, "other"), std::nullopt);
}

}  // namespace
}  // namespace firn::bench
