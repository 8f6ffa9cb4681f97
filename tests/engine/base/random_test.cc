#include "engine/base/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace firn {
namespace {

TEST(RandomTest, OneSeedGivesOneSequence) {
  Random a(42);
  Random b(42);
  Random other(43);
  int equal = 0;
  for (int i = 0; i < 1'000; ++i) {
    const uint64_t next = a.Next();
    ASSERT_EQ(next, b.Next());
    equal += next == other.Next();
  }
  EXPECT_EQ(equal, 0);
}

TEST(RandomTest, BelowStaysBelowAndMeetsEverything) {
  Random random(1);
  std::vector<int> times(10);
  for (int i = 0; i < 100'000; ++i) ++times[random.Below(10)];
  for (int n : times) {
    EXPECT_GT(n, 9'500);
    EXPECT_LT(n, 10'500);
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.Below(1), 0u);
  const uint64_t most = ~uint64_t{0};
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.Below(most), most);
}

TEST(RandomTest, FractionIsUniformInTheUnitInterval) {
  Random random(2);
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double fraction = random.Fraction();
    ASSERT_GE(fraction, 0.0);
    ASSERT_LT(fraction, 1.0);
    sum += fraction;
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.005);
}

TEST(RandomTest, EveryBitIsSetHalfOfTheTime) {
  Random random(3);
  std::vector<int> times(64);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t next = random.Next();
    for (int bit = 0; bit < 64; ++bit) times[bit] += next >> bit & 1;
  }
  for (int n : times) EXPECT_NEAR(n, 10'000, 500);
}

}  // namespace
}  // namespace firn
