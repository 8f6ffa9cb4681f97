#include "server/loop_statistics.h"

#include <gtest/gtest.h>

namespace firn::server {
namespace {

TEST(LoopStatistics, AddsUpAndRemembersTheMost) {
  LoopStatistics statistics;
  statistics.Add({.duration_us = 10, .log_us = 1, .commands = 5});
  statistics.Add({.duration_us = 30, .log_us = 2, .commands = 3});
  statistics.AddCron(7);
  const auto& totals = statistics.totals();
  EXPECT_EQ(totals.cycles, 2u);
  EXPECT_EQ(totals.duration_us, 40u);
  EXPECT_EQ(totals.log_us, 3u);
  EXPECT_EQ(totals.cron_us, 7u);
  EXPECT_EQ(totals.longest_us, 30u);
  EXPECT_EQ(totals.most_commands, 5u);
}

TEST(LoopStatistics, TellsRatesOfTheLastSamples) {
  LoopStatistics statistics;
  for (int64_t tick = 1; tick <= 40; ++tick) {
    for (int i = 0; i < 5; ++i) statistics.Add({.duration_us = 200});
    statistics.Sample(tick * 100'000);
  }
  EXPECT_EQ(statistics.totals().cycles_per_second, 50u);
  EXPECT_EQ(statistics.totals().mean_duration_us, 200u);
  statistics.Reset();
  EXPECT_EQ(statistics.totals().cycles, 0u);
  EXPECT_EQ(statistics.totals().cycles_per_second, 0u);
}

}  // namespace
}  // namespace firn::server
