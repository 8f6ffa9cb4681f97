#include "tiering/index/sim_env.h"

#include <gtest/gtest.h>
#include <rocksdb/env.h>

#include <chrono>

#include "support/crash_enumerator.h"
#include "tiering/index/index.h"
#include "tiering/io/sim_disk.h"

namespace firn {
namespace {

IndexKey KeyOf(int i) { return {0, 1000u + i, "key" + std::to_string(i)}; }

IndexBatch BatchOf(int i) {
  IndexBatch batch;
  IndexRoot root;
  root.lsn = i;
  batch.changes.push_back({KeyOf(i), root});
  batch.meta = std::to_string(i);
  return batch;
}

Result<std::unique_ptr<Index>> OpenIndex(rocksdb::Env* env) {
  return Index::Open({.directory = "/index", .env = env, .background_compaction = false});
}

void MakeDirectory(io::SimDisk* disk) {
  ASSERT_TRUE(disk->CreateDirectories("/index").ok());
  ASSERT_TRUE(disk->SyncDirectory("/").ok());
}

// The number of the last batch, after checking that all before are there and none after; or -1.
int LastBatch(const Index& index, int batches, std::string* wrong) {
  Result<std::string> meta = index.ReadMeta();
  if (!meta) {
    *wrong = meta.error().message();
    return -1;
  }
  int last = meta->empty() ? 0 : std::stoi(*meta);
  for (int i = 1; i <= batches; ++i) {
    auto root = index.Find(KeyOf(i));
    if (!root) *wrong = root.error().message();
    if (root && root->has_value() != (i <= last)) {
      *wrong = "batch " + std::to_string(i) + " of " + std::to_string(last);
    }
  }
  return last;
}

TEST(SimEnvTest, ADatabaseSurvivesItsReopening) {
  io::SimDisk disk;
  MakeDirectory(&disk);
  auto env = CreateEnv(&disk);
  {
    auto index = OpenIndex(env.get());
    ASSERT_TRUE(index.has_value()) << index.error().message();
    EXPECT_FALSE(OpenIndex(env.get()).has_value());  // locked
    ASSERT_TRUE((*index)->Apply(BatchOf(1)).ok());
    ASSERT_TRUE((*index)->Flush().ok());
  }
  auto index = OpenIndex(env.get());
  ASSERT_TRUE(index.has_value()) << index.error().message();
  std::string wrong;
  EXPECT_EQ(LastBatch(**index, 2, &wrong), 1);
  EXPECT_EQ(wrong, "");
}

TEST(SimEnvTest, EveryCrashLeavesAPrefixOfTheBatchesAndAllThatWereFlushed) {
  constexpr int kBatches = 12;
  io::SimDisk disk;
  MakeDirectory(&disk);
  uint64_t opened = disk.event_count();
  std::vector<std::pair<uint64_t, int>> flushed;
  {
    auto env = CreateEnv(&disk);
    auto index = OpenIndex(env.get());
    ASSERT_TRUE(index.has_value());
    for (int i = 1; i <= kBatches; ++i) {
      ASSERT_TRUE((*index)->Apply(BatchOf(i)).ok());
      if (i % 3 != 0) continue;
      ASSERT_TRUE((*index)->Flush().ok());
      flushed.push_back({disk.event_count(), i});
      WaitForBackgroundWork(env.get());
    }
    disk.PowerOff();
  }
  test::CrashEnumerator enumerator(
      &disk, {.seed = 5, .points_max = 400, .first_event = opened, .garbage = false});
  auto begin = std::chrono::steady_clock::now();
  std::chrono::duration<double, std::micro> opening{};
  std::string failure = enumerator.Run([&](io::SimDisk* image, const test::CrashPoint& point) {
    auto env = CreateEnv(image);
    auto before = std::chrono::steady_clock::now();
    auto index = OpenIndex(env.get());
    opening += std::chrono::steady_clock::now() - before;
    if (!index) return index.error().message();
    std::string wrong;
    int last = LastBatch(**index, kBatches, &wrong);
    for (auto [event, batch] : flushed) {
      if (event <= point.event && last < batch) wrong = "lost batch " + std::to_string(batch);
    }
    return wrong;
  });
  EXPECT_EQ(failure, "");
  std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  double points = static_cast<double>(enumerator.points());
  printf("%.0f us a crash point, of which %.0f to open\n", spent.count() / points,
         opening.count() / points);
}

TEST(SimEnvTest, ErrorsOfTheDiskReachTheCallers) {
  io::SimDisk disk;
  MakeDirectory(&disk);
  auto env = CreateEnv(&disk);
  auto index = OpenIndex(env.get());
  ASSERT_TRUE(index.has_value());
  ASSERT_TRUE((*index)->Apply(BatchOf(1)).ok());
  disk.Inject({.call = io::SimFault::Call::kSync, .repeats = true});
  EXPECT_FALSE((*index)->Flush().ok());
}

TEST(SimEnvTest, EqualRunsLeaveEqualHistories) {
  std::vector<std::string> histories[2];
  for (auto& history : histories) {
    io::SimDisk disk;
    MakeDirectory(&disk);
    auto env = CreateEnv(&disk);
    auto index = OpenIndex(env.get());
    ASSERT_TRUE(index.has_value());
    for (int i = 1; i <= 5; ++i) {
      ASSERT_TRUE((*index)->Apply(BatchOf(i)).ok());
      ASSERT_TRUE((*index)->Flush().ok());
      WaitForBackgroundWork(env.get());
    }
    for (uint64_t i = 0; i < disk.event_count(); ++i) history.push_back(disk.DescribeEvent(i));
  }
  EXPECT_EQ(histories[0], histories[1]);
}

}  // namespace
}  // namespace firn
