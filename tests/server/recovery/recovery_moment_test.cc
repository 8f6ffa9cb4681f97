#include "server/recovery_moment.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <optional>
#include <string>

namespace firn::server {
namespace {

// 2026-11-21 10:15:00 UTC.
constexpr int64_t kMoment = 1795256100'000;

class RecoveryMomentTest : public testing::Test {
 protected:
  void SetUp() override { SetZone("UTC"); }
  void TearDown() override { SetZone("UTC"); }
  static void SetZone(const char* zone) {
    setenv("TZ", zone, 1);
    tzset();
  }
  static std::optional<int64_t> Parse(const std::string& text) {
    auto target = ParseMoment(text);
    return target ? target->unix_ms : std::nullopt;
  }
};

TEST_F(RecoveryMomentTest, TakesLocalTime) {
  EXPECT_EQ(Parse("2026-11-21 10:15:00"), kMoment);
  EXPECT_EQ(Parse("2026-11-21T10:15:00"), kMoment);
  EXPECT_EQ(Parse("2026-11-21 10:15"), kMoment);
  EXPECT_EQ(Parse("2026-11-21 10:15:00.250"), kMoment + 250);
  EXPECT_EQ(Parse("2026-11-21 10:15:00.2509999"), kMoment + 250);
  SetZone("XXX-01:00");  // an hour east, in the way of POSIX
  EXPECT_EQ(Parse("2026-11-21 11:15:00"), kMoment);
}

TEST_F(RecoveryMomentTest, TakesAnExplicitZone) {
  SetZone("XXX-05:00");
  EXPECT_EQ(Parse("2026-11-21 10:15:00Z"), kMoment);
  EXPECT_EQ(Parse("2026-11-21 10:15:00 UTC"), kMoment);
  EXPECT_EQ(Parse("2026-11-21T10:15:00 GMT"), kMoment);
  EXPECT_EQ(Parse("2026-11-21 11:15:00 +01:00"), kMoment);
  EXPECT_EQ(Parse("2026-11-21 06:45:00-0330"), kMoment);
  EXPECT_EQ(Parse("2026-11-21 12:15:00.5 +02"), kMoment + 500);
}

TEST_F(RecoveryMomentTest, TakesUnixTimeAndRecordNumbers) {
  EXPECT_EQ(Parse("1795256100"), kMoment);
  EXPECT_EQ(Parse("1795256100.25"), kMoment + 250);
  auto target = ParseMoment("lsn:81234");
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->lsn, 81234u);
  EXPECT_FALSE(target->unix_ms.has_value());
}

TEST_F(RecoveryMomentTest, RefusesWhatIsNoMoment) {
  for (const char* text : {"",
                           "yesterday",
                           "2026-11-21",
                           "2026-11-21 10",
                           "2026-13-01 00:00:00",
                           "2026-02-30 00:00:00",
                           "2026-11-21 24:00:00",
                           "2026-11-21 10:61:00",
                           "2026-11-21 10:15:00 CET",
                           "2026-11-21 10:15:00 +1",
                           "2026-11-21 10:15:00 +01:00 ",
                           "2026-11-21 10:15:00.",
                           "-5",
                           "12x",
                           "1795256100.",
                           "99999999999999999999",
                           "1795256100000",
                           "lsn:",
                           "lsn:0",
                           "lsn:x",
                           "lsn:-1",
                           "0000-00-00 00:00:00",
                           "2026-11-21 10:15:00 +99:00"}) {
    auto target = ParseMoment(text);
    ASSERT_FALSE(target.has_value()) << text;
    EXPECT_EQ(target.error().code(), StatusCode::kInvalid);
    EXPECT_NE(target.error().message().find("recover-until"), std::string::npos);
  }
}

TEST_F(RecoveryMomentTest, RefusesAnHourThatTheClockLeavesOut) {
  SetZone("CET-1CEST,M3.5.0,M10.5.0/3");
  EXPECT_FALSE(Parse("2026-03-29 02:30:00").has_value());
  EXPECT_EQ(Parse("2026-03-29 03:30:00"), Parse("2026-03-29 01:30:00 Z"));
}

}  // namespace
}  // namespace firn::server
