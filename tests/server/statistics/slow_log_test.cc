#include "server/slow_log.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace firn::server {
namespace {

void Add(SlowLog* log, const std::vector<std::string_view>& arguments, size_t max_entries = 8) {
  log->Add({.arguments = arguments,
            .time_seconds = 7,
            .duration_us = 12'345,
            .peer = "127.0.0.1:5",
            .client_name = "me"},
           max_entries);
}

TEST(SlowLog, TheNewestComesFirst) {
  SlowLog log;
  Add(&log, {"GET", "a"});
  Add(&log, {"GET", "b"});
  ASSERT_EQ(log.entries().size(), 2u);
  EXPECT_EQ(log.entries()[0].id, 1u);
  EXPECT_EQ(log.entries()[0].arguments, (std::vector<std::string>{"GET", "b"}));
  EXPECT_EQ(log.entries()[1].id, 0u);
  EXPECT_EQ(log.entries()[1].duration_us, 12'345);
  EXPECT_EQ(log.entries()[1].client_name, "me");
}

TEST(SlowLog, TheOldestIsDroppedAndIdsGoOn) {
  SlowLog log;
  for (int i = 0; i < 5; ++i) Add(&log, {"PING"}, 3);
  ASSERT_EQ(log.entries().size(), 3u);
  EXPECT_EQ(log.entries().back().id, 2u);
  log.Clear();
  Add(&log, {"PING"}, 3);
  EXPECT_EQ(log.entries()[0].id, 5u);
  Add(&log, {"PING"}, 0);
  EXPECT_TRUE(log.entries().empty());
}

TEST(SlowLog, LongArgumentsAreCut) {
  SlowLog log;
  const std::string fits(SlowLog::kMaxArgumentSize, 'x');
  const std::string is_long(SlowLog::kMaxArgumentSize + 10, 'y');
  Add(&log, {"SET", fits, is_long});
  EXPECT_EQ(log.entries()[0].arguments[1], fits);
  EXPECT_EQ(log.entries()[0].arguments[2],
            std::string(SlowLog::kMaxArgumentSize, 'y') + "... (10 more bytes)");
}

TEST(SlowLog, ManyArgumentsAreCut) {
  SlowLog log;
  std::vector<std::string_view> arguments(SlowLog::kMaxArguments, "a");
  Add(&log, arguments);
  EXPECT_EQ(log.entries()[0].arguments.back(), "a");
  arguments.resize(SlowLog::kMaxArguments + 1, "a");
  Add(&log, arguments);
  EXPECT_EQ(log.entries()[0].arguments.size(), SlowLog::kMaxArguments);
  EXPECT_EQ(log.entries()[0].arguments.back(), "... (2 more arguments)");
}

}  // namespace
}  // namespace firn::server
