// A store that becomes durable while it runs, and backups: under crashes at any moment, and with
// commands going on.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "crash_workload.h"
#include "crash_world.h"
#include "support/crash_enumerator.h"
#include "tiering/snapshot/backup.h"

namespace firn::test {
namespace {

constexpr int64_t kWallMs = 1'700'000'000'000;
constexpr uint64_t kPoints = 120;  // of each seed

// The state that a world shows, as a workload can go on from it.
CrashModel ModelNow(CrashWorld* world, const CrashModel& model) {
  FoundState found;
  EXPECT_EQ(world->ReadState(model, true, &found), "");
  return model.StartAt(found);
}

bool IsNothing(const FoundState& found) {
  return std::all_of(found.values.begin(), found.values.end(),
                     [](const FoundState::Value& value) { return value.fingerprint == 0; });
}

class DurabilitySwitchCrashTest : public ::testing::Test {
 protected:
  void Run(SyncPolicy policy, uint64_t seed) {
    policy_ = policy;
    ASSERT_TRUE(disk_.CreateDirectories(kDirectory).ok());
    ASSERT_TRUE(disk_.SyncDirectory("/").ok());
    StoreOptions options = SmallStore(policy, seed);
    options.durable = false;
    CrashWorld world(&disk_, options, {.seed = seed, .wall_start_ms = kWallMs, .repeatable = true});
    ASSERT_TRUE(world.Open().ok());
    const bool collections = seed % 2 == 0;
    CrashWorkload before({.seed = seed, .commands = 400, .collections = collections});
    ASSERT_EQ(before.Run(&world), "");
    after_ = std::make_unique<CrashWorkload>(
        WorkloadOptions{.seed = seed + 1000, .commands = 400, .collections = collections},
        ModelNow(&world, before.model()));
    begun_event_ = disk_.event_count();
    world.store().MakeDurable([this](const Status& status) {
      EXPECT_TRUE(status.ok()) << status.message();
      done_event_ = disk_.event_count();
    });
    ASSERT_EQ(after_->Run(&world), "");
    ASSERT_TRUE(world.driver().RunUntil([this] { return done_event_ != 0; }));
    ASSERT_EQ(after_->Run(&world), "");
    ASSERT_LT(begun_event_ + 1, done_event_);
    ASSERT_LT(done_event_ + 1, disk_.event_count());
  }
  std::string Check(io::SimDisk* image, const CrashPoint& point) const {
    StoreOptions options = SmallStore(policy_, point.seed | 1);
    CrashWorld world(image, options,
                     {.seed = point.seed, .wall_start_ms = kWallMs, .note_mapped_interval = 0});
    if (Status status = world.Open(); !status.ok()) return "open: " + status.message();
    FoundState found;
    std::string wrong = world.ReadState(after_->model(), false, &found);
    if (!wrong.empty()) return wrong;
    const bool is_done = point.event >= done_event_;
    if (!is_done && IsNothing(found)) return "";
    const uint32_t least =
        is_done ? after_->MustHave(point.event, policy_, !point.process_death) : 0;
    PrefixRange range;
    wrong = after_->model().FindPrefix(found, least, &range);
    if (wrong.empty() && point.seed % 3 == 0) wrong = world.CheckWhole(after_->model());
    return wrong.empty() ? "" : wrong + "\n" + world.log();
  }

  io::SimDisk disk_{kCrashDisk};
  SyncPolicy policy_ = SyncPolicy::kAlways;
  std::unique_ptr<CrashWorkload> after_;
  uint64_t begun_event_ = 0;
  uint64_t done_event_ = 0;
};

class DurabilitySwitchUnder : public DurabilitySwitchCrashTest,
                              public ::testing::WithParamInterface<uint64_t> {};

TEST_P(DurabilitySwitchUnder, LosesNothingOnceItIsDone) {
  const uint64_t seed = GetParam();
  Run(seed % 3 == 0 ? SyncPolicy::kEverySecond : SyncPolicy::kAlways, seed);
  ASSERT_FALSE(HasFatalFailure());
  CrashEnumerator enumerator(&disk_,
                             {.seed = seed, .points_max = kPoints, .first_event = begun_event_});
  EXPECT_EQ(enumerator.Run([this](io::SimDisk* image, const CrashPoint& point) {
    return Check(image, point);
  }),
            "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, DurabilitySwitchUnder, ::testing::Range<uint64_t>(1, 9));

// --- backups

class BackupUnder : public ::testing::TestWithParam<uint64_t> {};

constexpr const char* kBackup = "/backup";

TEST_P(BackupUnder, ShowsTheMomentWhenItsLogWasTaken) {
  const uint64_t seed = GetParam();
  io::SimDisk disk{kCrashDisk};
  ASSERT_TRUE(disk.CreateDirectories(kDirectory).ok());
  ASSERT_TRUE(disk.CreateDirectories(kBackup).ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  const StoreOptions options = SmallStore(SyncPolicy::kEverySecond, seed);
  auto workload = [&](uint64_t number, CrashWorld* world, CrashModel start) {
    auto made =
        std::make_unique<CrashWorkload>(WorkloadOptions{.seed = seed * 100 + number,
                                                        .commands = seed % 3 == 0 ? 1500u : 300u,
                                                        .collections = seed % 2 == 0},
                                        std::move(start));
    EXPECT_EQ(made->Run(world), "");
    return made;
  };
  uint64_t begun_event = 0;
  uint64_t done_event = 0;
  std::unique_ptr<CrashWorkload> shown;
  {
    CrashWorld world(&disk, options, {.seed = seed, .wall_start_ms = kWallMs, .repeatable = true});
    ASSERT_TRUE(world.Open().ok());
    CrashWorkload first({.seed = seed, .commands = 700, .collections = seed % 2 == 0});
    ASSERT_EQ(first.Run(&world), "");
    begun_event = disk.event_count();
    auto backup = world.store().BeginBackup(kBackup);
    ASSERT_TRUE(backup.has_value()) << backup.error().message();
    auto second = workload(1, &world, ModelNow(&world, first.model()));
    ASSERT_TRUE((*backup)->CopyIndex().ok());
    shown = workload(2, &world, ModelNow(&world, second->model()));
    (*backup)->TakeLog();
    auto fourth = workload(3, &world, ModelNow(&world, shown->model()));
    Status copied = (*backup)->CopyLog();
    ASSERT_TRUE(copied.ok()) << copied.message();
    done_event = disk.event_count();
    backup->reset();
    workload(4, &world, ModelNow(&world, fourth->model()));
  }
  CrashEnumerator enumerator(&disk,
                             {.seed = seed, .points_max = kPoints / 2, .first_event = begun_event});
  auto check = [&](io::SimDisk* image, const CrashPoint& point) -> std::string {
    StoreOptions restored = SmallStore(SyncPolicy::kEverySecond, point.seed | 1);
    restored.directory = kBackup;
    // What was not finished is not taken for data.
    if (!image->Exists(std::string(kBackup) + "/IDENTITY")) {
      return point.event < done_event ? "" : "the backup has no identity";
    }
    CrashWorld world(image, restored,
                     {.seed = point.seed, .wall_start_ms = kWallMs, .note_mapped_interval = 0});
    if (Status status = world.Open(); !status.ok()) return "open: " + status.message();
    FoundState found;
    std::string wrong = world.ReadState(shown->model(), false, &found);
    PrefixRange range;
    if (wrong.empty()) wrong = shown->model().FindPrefix(found, shown->model().op(), &range);
    if (wrong.empty() && point.seed % 3 == 0) wrong = world.CheckWhole(shown->model());
    return wrong.empty() ? "" : wrong + "\n" + world.log();
  };
  EXPECT_EQ(enumerator.Run(check), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, BackupUnder, ::testing::Range<uint64_t>(1, 7));

}  // namespace
}  // namespace firn::test
