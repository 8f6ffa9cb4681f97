#include "engine/keyspace/access_clock.h"

#include <gtest/gtest.h>

namespace firn {
namespace {

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kNow = 1'700'000'000'123;

uint32_t Counter(uint32_t access) { return access & 0xff; }

TEST(LruTest, IdleTimeIsInSeconds) {
  const uint32_t access = LruNow(kNow);
  EXPECT_LE(access, kAccessClockMax);
  EXPECT_EQ(IdleSeconds(access, kNow), 0);
  EXPECT_EQ(IdleSeconds(access, kNow + 876), 0);
  EXPECT_EQ(IdleSeconds(access, kNow + 877), 1);
  EXPECT_EQ(IdleSeconds(access, kNow + 3'600'000), 3600);
}

TEST(LruTest, IdleTimeSurvivesTheWrap) {
  const int64_t wrap_ms = (kAccessClockMax + 1) * 1000 * 100;
  const uint32_t access = LruNow(wrap_ms - 10'000);
  EXPECT_EQ(LruNow(wrap_ms), 0u);
  EXPECT_EQ(IdleSeconds(access, wrap_ms - 5'000), 5);
  EXPECT_EQ(IdleSeconds(access, wrap_ms + 5'000), 14);  // one short, as Redis has it
}

TEST(LfuTest, BeginsWithSomeCredit) {
  const uint32_t access = LfuInit(kNow);
  EXPECT_LE(access, kAccessClockMax);
  EXPECT_EQ(LfuDecayed(access, kNow, {}), kLfuInitialCounter);
}

TEST(LfuTest, LosesOneEachDecayTime) {
  const uint32_t access = LfuInit(0) | 100;
  EXPECT_EQ(LfuDecayed(access, 59'999, {}), Counter(access));
  EXPECT_EQ(LfuDecayed(access, 10 * kMinuteMs, {}), Counter(access) - 10);
  EXPECT_EQ(LfuDecayed(access, 10 * kMinuteMs, {.decay_minutes = 4}), Counter(access) - 2);
  EXPECT_EQ(LfuDecayed(access, 10'000 * kMinuteMs, {}), 0u);
  EXPECT_EQ(LfuDecayed(access, 10'000 * kMinuteMs, {.decay_minutes = 0}), Counter(access));
}

TEST(LfuTest, DecaySurvivesTheWrapOfTheMinutes) {
  const int64_t wrap_ms = 65'536 * kMinuteMs;
  const uint32_t access = LfuInit(wrap_ms - 2 * kMinuteMs) | 0xff;
  EXPECT_EQ(LfuDecayed(access, wrap_ms + 3 * kMinuteMs, {}), 255u - 4);
}

// The table in redis.conf: the counter after so many hits.
TEST(LfuTest, CountsLogarithmicallyByTheFactor) {
  struct Row {
    int log_factor;
    int hits;
    uint32_t least;
    uint32_t most;
  };
  for (const Row& row : {Row{0, 100, 104, 105}, Row{0, 1'000, 255, 255}, Row{1, 1'000, 40, 60},
                         Row{10, 100, 8, 13}, Row{10, 1'000, 15, 23}, Row{10, 100'000, 130, 155},
                         Row{10, 1'000'000, 255, 255}, Row{100, 100'000, 43, 56}}) {
    Random random(7);
    uint32_t access = LfuInit(kNow);
    for (int i = 0; i < row.hits; ++i) {
      access = LfuTouch(access, kNow, {.log_factor = row.log_factor}, &random);
    }
    EXPECT_GE(Counter(access), row.least) << row.log_factor << " " << row.hits;
    EXPECT_LE(Counter(access), row.most) << row.log_factor << " " << row.hits;
  }
}

TEST(LfuTest, ATouchDecaysFirstAndSetsTheTime) {
  Random random(8);
  const uint32_t access = LfuInit(0) | 0xff;
  // 0 after the decay, so the access raises it for certain.
  const uint32_t touched = LfuTouch(access, 300 * kMinuteMs, {}, &random);
  EXPECT_EQ(touched, 300u << 8 | 1);
}

}  // namespace
}  // namespace firn
