// A session store under a test clock: every value has a TTL, and the log must not keep what
// expired.

#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "crash_explorer.h"

namespace firn::test {
namespace {

constexpr int64_t kTtlMs = 60'000;
constexpr int kSeconds = 600;
constexpr int kSteadyAfterSeconds = 70;
constexpr int kWritesASecond = 20;
constexpr size_t kValueBytes = 18'000;

TEST(SessionStoreTest, SpaceOfExpiredSessionsIsGivenBackWithoutCopying) {
  io::SimDisk disk{kCrashDisk};
  ASSERT_TRUE(disk.CreateDirectories(kDirectory).ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  StoreOptions options = SmallStore(SyncPolicy::kEverySecond, 7);
  options.segment_size_bytes = 2 << 20;
  options.max_memory_bytes = 16 << 20;
  // A simulated index doesn't merge the tables that each checkpoint writes.
  options.replay_limit_bytes = 8 << 20;
  options.replay_limit_records = 4000;
  CrashWorld world(&disk, options, WorldOptions{.seed = 7, .repeatable = true});
  Status status = world.Open();
  ASSERT_TRUE(status.ok()) << status.message();
  StoreDriver& driver = world.driver();

  Random random(7);
  double worst = 0;
  for (int i = 0; i < kSeconds * kWritesASecond; ++i) {
    const std::string key = "session:" + std::to_string(i);
    std::string value(kValueBytes, ' ');
    for (char& c : value) c = static_cast<char>(random.Next());
    driver.Set(
        key, value,
        {.expiry = Database::ExpiryChange::kSet, .expiry_ms = driver.store().now_ms() + kTtlMs});
    const int64_t until = world.loop().NowMicros() + 1'000'000 / kWritesASecond;
    while (world.loop().NowMicros() < until) driver.Turn(until - world.loop().NowMicros());
    if (i % kWritesASecond == 0 && i / kWritesASecond > kSteadyAfterSeconds) {
      const StoreStats stats = driver.store().Stats();
      worst = std::max(
          worst, static_cast<double>(stats.log_bytes) / static_cast<double>(stats.log_live_bytes));
    }
  }
  const StoreStats stats = driver.store().Stats();
  EXPECT_LT(worst, 1.5);
  EXPECT_GT(stats.segments_dropped_unread, 20u);
  EXPECT_LT(stats.compaction_written_bytes, stats.log_appended_bytes / 20);
  EXPECT_LT(stats.compaction_read_bytes, stats.log_appended_bytes / 20);
  const auto share = [&](uint64_t bytes) {
    return 100 * static_cast<double>(bytes) / static_cast<double>(stats.log_appended_bytes);
  };
  std::printf(
      "%d s of sessions: space amplification at most %.3f; compaction wrote %.2f %% and "
      "read %.2f %% of %" PRIu64 " bytes written\n",
      kSeconds, worst, share(stats.compaction_written_bytes), share(stats.compaction_read_bytes),
      stats.log_appended_bytes);
}

}  // namespace
}  // namespace firn::test
