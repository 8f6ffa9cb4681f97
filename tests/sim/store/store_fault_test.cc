// The store on disks that fail, or are full.

#include <gtest/gtest.h>

#include <algorithm>

#include "crash_explorer.h"

namespace firn::test {
namespace {

using Call = io::SimFault::Call;

// A world that can be put on an image of its disk, as after a crash.
class StoreFaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    disk_ = std::make_unique<io::SimDisk>(kCrashDisk);
    ASSERT_TRUE(disk_->CreateDirectories(kDirectory).ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
    NewWorld();
    Status status = world_->Open();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void TearDown() override { world_.reset(); }

  void NewWorld() {
    world_ = std::make_unique<CrashWorld>(disk_.get(), SmallStore(policy_, 7),
                                          WorldOptions{.seed = 7, .repeatable = true});
  }
  StoreDriver& driver() { return world_->driver(); }

  // The disk as it is, without what was not synced.
  std::unique_ptr<io::SimDisk> PowerCut() {
    return disk_->CrashImage(disk_->event_count(), {.kind = io::CrashPolicy::Kind::kNone}, 1);
  }
  Status PowerCutAndOpen() {
    auto image = PowerCut();
    world_.reset();
    disk_ = std::move(image);
    NewWorld();
    return world_->Open();
  }
  Status CloseAndOpen() {
    Status status = driver().Close();
    auto image = disk_->ProcessDeathImage(disk_->event_count());
    world_.reset();
    disk_ = std::move(image);
    NewWorld();
    return status.ok() ? world_->Open() : status;
  }

  SyncPolicy policy_ = SyncPolicy::kAlways;
  std::unique_ptr<io::SimDisk> disk_;
  std::unique_ptr<CrashWorld> world_;
};

std::string Text(int i, size_t size = 500) {
  std::string text = "value " + std::to_string(i) + " ";
  Random random(static_cast<uint64_t>(i));
  while (text.size() < size) text.push_back(static_cast<char>('a' + random.Below(26)));
  return text;
}
std::string Key(int i) { return "key:" + std::to_string(i); }

// --- errors of the disk

struct FaultCase {
  io::SimFault fault;
  uint64_t step = 1;  // between the calls that fail
  uint32_t commands = 400;
  uint64_t cases = 8;
};

// Whatever call fails, and when: while it runs, and after a power cut, the store has what it
// promised.
void FailEach(FaultCase fault_case) {
  uint64_t failed_calls = 0;
  for (uint64_t n = 0; n < fault_case.cases; ++n) {
    ExplorerOptions options{.seed = 500 + n,
                            .policy = n % 2 == 0 ? SyncPolicy::kAlways : SyncPolicy::kEverySecond,
                            .commands = fault_case.commands,
                            .points = 10,
                            .faults = {fault_case.fault}};
    options.faults[0].skip = fault_case.step * n;
    options.faults[0].repeats = n % 3 == 0;
    CrashExplorer explorer(options);
    ASSERT_EQ(explorer.Run(), "") << "the call number " << options.faults[0].skip;
    failed_calls += explorer.failed_calls();
  }
  EXPECT_GT(failed_calls, 0u);
}

TEST(StoreDiskErrorTest, FailingSyncsOfTheLog) {
  FailEach({.fault = {.call = Call::kSync, .path_part = "/log/"}, .step = 5});
}

TEST(StoreDiskErrorTest, FailingWritesOfTheLog) {
  FailEach({.fault = {.call = Call::kWrite, .path_part = "/log/"},
            .step = 1,
            .commands = 3500,
            .cases = 4});
}

TEST(StoreDiskErrorTest, FailingReadsOfTheLog) {
  FailEach({.fault = {.call = Call::kRead, .path_part = "/log/"}, .step = 7});
}

TEST(StoreDiskErrorTest, FailingSyncsOfTheIndex) {
  FailEach({.fault = {.call = Call::kSync, .path_part = "/index/"}, .step = 2});
}

TEST(StoreDiskErrorTest, FailingWritesOfTheIndex) {
  FailEach({.fault = {.call = Call::kWrite, .path_part = "/index/"}, .step = 3});
}

TEST(StoreDiskErrorTest, FailingReadsOfTheIndex) {
  FailEach({.fault = {.call = Call::kRead, .path_part = "/index/"}, .step = 3});
}

TEST(StoreDiskErrorTest, FailingChangesOfNames) {
  FailEach({.fault = {.call = Call::kNames}, .step = 2});
}

TEST(StoreDiskErrorTest, FailingSyncsOfDirectories) {
  FailEach({.fault = {.call = Call::kSyncDirectory}, .step = 1});
}

TEST_F(StoreFaultTest, AFailedSyncAcknowledgesNothingAndReadsGoOn) {
  driver().Set("safe", "1");
  ASSERT_TRUE(driver().Sync().ok());
  disk_->Inject({.call = Call::kSync, .path_part = "/log/"});
  driver().Set("lost", "2");
  uint64_t lsn = world_->store().executed_lsn();
  EXPECT_FALSE(driver().Sync().ok());
  EXPECT_TRUE(world_->store().LogFailed());
  EXPECT_FALSE(world_->store().MayReply(lsn));
  EXPECT_EQ(driver().WaitForRoom(100), Store::WriteGate::kLogFailed);
  EXPECT_NE(world_->store().log_failure().message().find(".seg"), std::string::npos);
  for (int i = 0; i < 100; ++i) driver().Turn();
  EXPECT_FALSE(world_->store().MayReply(lsn));
  // The next sync of the file would succeed, and prove nothing.
  EXPECT_EQ(driver().Get("safe"), "1");
  EXPECT_TRUE(world_->store().MayReply(world_->store().executed_lsn()));
  Status status = PowerCutAndOpen();
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(driver().Get("safe"), "1");
  driver().Set("more", "3");
  EXPECT_TRUE(driver().Sync().ok());
}

TEST_F(StoreFaultTest, NothingIsAcknowledgedThatRanInTheIterationInWhichASyncFailed) {
  disk_->Inject({.call = Call::kSync, .path_part = "/log/"});
  driver().Set("a", "1");
  world_->store().EndIteration();  // asks for the sync that will fail
  const uint64_t before = world_->store().Stats().appended_lsn;
  driver().Set("b", "2");
  ASSERT_GT(world_->store().Stats().appended_lsn, before);
  for (int i = 0; i < 1000 && !world_->store().LogFailed(); ++i) world_->loop().RunOnce(1000);
  ASSERT_TRUE(world_->store().LogFailed());
  world_->store().EndIteration();
  EXPECT_FALSE(world_->store().MayReply(world_->store().executed_lsn()));
  // Whoever only reads from now on is answered.
  world_->store().EndIteration();
  EXPECT_TRUE(world_->store().MayReply(world_->store().executed_lsn()));
}

TEST_F(StoreFaultTest, ATransactionThatWaitsForTheDiskMakesNoSecondLonger) {
  Store& store = world_->store();
  store.SetSyncPolicy(SyncPolicy::kEverySecond);
  driver().Set("answered", "1");
  ASSERT_TRUE(store.MayReply(store.executed_lsn()));
  store.BeginGroup();
  store.EndIteration();
  world_->loop().AdvanceTime(900'000);
  store.EndIteration();
  store.EndGroup();
  driver().Set("within", "2");
  store.EndIteration();
  EXPECT_TRUE(store.MayReply(store.executed_lsn()));
  world_->loop().AdvanceTime(200'000);
  EXPECT_FALSE(store.MayReply(store.executed_lsn()));
  ASSERT_TRUE(driver().Sync().ok());
  EXPECT_TRUE(store.MayReply(store.executed_lsn()));
}

TEST_F(StoreFaultTest, ALateSyncIsCountedOnce) {
  constexpr int64_t kOverASecond = 1'100'000;
  Store& store = world_->store();
  store.SetSyncPolicy(SyncPolicy::kEverySecond);
  for (uint64_t late = 1; late <= 2; ++late) {
    driver().Set("key", "value");
    store.EndIteration();
    EXPECT_EQ(store.Stats().delayed_syncs, late - 1);
    world_->loop().AdvanceTime(kOverASecond);
    for (int i = 0; i < 5; ++i) store.EndIteration();
    EXPECT_EQ(store.Stats().delayed_syncs, late);
    ASSERT_TRUE(driver().Sync().ok());
  }
}

TEST_F(StoreFaultTest, AReadErrorConcernsItsKeyAlone) {
  for (int i = 0; i < 20; ++i) driver().Set(Key(i), Text(i));
  std::vector<std::string> cold;
  for (int i = 0; i < 10; ++i) cold.push_back(Key(i));
  ASSERT_EQ(driver().Demote(cold), 10);
  disk_->Inject({.call = Call::kRead, .repeats = true, .path_part = "/log/"});
  std::string error = driver().Get(Key(3)).value_or("");
  EXPECT_EQ(error.substr(0, 1), "!");
  EXPECT_NE(error.find(".seg at offset"), std::string::npos) << error;
  EXPECT_EQ(driver().Get(Key(15)), Text(15));
  EXPECT_GT(world_->store().Stats().read_errors, 0u);
  disk_->ClearFaults();
  EXPECT_EQ(driver().Get(Key(3)), Text(3));
}

TEST_F(StoreFaultTest, AnOldRecordThatCannotBeReadNeverComesBack) {
  driver().Set("k", "old");
  ASSERT_EQ(driver().Demote({"k"}), 1);
  disk_->Inject({.call = Call::kRead, .repeats = true, .path_part = "/log/"});
  driver().Set("k", "new");  // without a look at the old
  for (int i = 0; i < 50; ++i) driver().Turn();
  EXPECT_TRUE(driver().Delete("k"));
  for (int i = 0; i < 50; ++i) driver().Turn();
  disk_->ClearFaults();
  EXPECT_EQ(driver().Get("k"), std::nullopt);
  // It is read at last, and the count is right again.
  world_->loop().AdvanceTime(60'000'000);
  for (int i = 0; i < 50; ++i) driver().Turn();
  EXPECT_EQ(driver().Count(), 0u);
  EXPECT_EQ(world_->CheckParts(), "");
}

TEST_F(StoreFaultTest, AStartThatCannotReadTheIndexGoesOnLater) {
  for (int i = 0; i < 200; ++i) driver().Set(Key(i), Text(i));
  ASSERT_TRUE(CloseAndOpen().ok());
  disk_->Inject({.call = Call::kRead, .repeats = true, .path_part = "/index/"});
  for (int i = 0; i < 20; ++i) driver().Turn();
  std::string error = driver().Get(Key(3)).value_or("");
  EXPECT_EQ(error.substr(0, 1), "!") << error;
  disk_->ClearFaults();
  world_->loop().AdvanceTime(60'000'000);
  ASSERT_TRUE(driver().RunUntil([&] { return world_->store().Stats().cold_map_complete; }));
  for (int i = 0; i < 200; ++i) ASSERT_EQ(driver().Get(Key(i)), Text(i));
}

// --- a full disk

TEST_F(StoreFaultTest, AFullDiskRefusesWritesAndServesTheRest) {
  disk_->SetCapacity(12 << 20);
  int written = 0;
  Store::WriteGate gate = Store::WriteGate::kOk;
  for (; written < 5000; ++written) {
    gate = driver().WaitForRoom(9000);
    if (gate != Store::WriteGate::kOk) break;
    driver().Set(Key(written), Text(written, 8000));
    ASSERT_TRUE(world_->store().TakeRunError().ok());
    driver().Turn(0);
  }
  ASSERT_EQ(gate, Store::WriteGate::kDiskFull);
  ASSERT_GT(written, 100);
  EXPECT_FALSE(world_->store().log_failure().ok());
  for (int i = 0; i < written; i += 7) ASSERT_EQ(driver().Get(Key(i)), Text(i, 8000));
  // Deletes pass, and make room in time.
  for (int i = 0; i < written; i += 2) {
    ASSERT_EQ(driver().WaitForRoom(100, true), Store::WriteGate::kOk) << i;
    ASSERT_TRUE(driver().Delete(Key(i)));
  }
  disk_->SetCapacity(64 << 20);
  world_->loop().AdvanceTime(1'000'000);
  ASSERT_TRUE(
      driver().RunUntil([&] { return driver().WaitForRoom(9000) == Store::WriteGate::kOk; }));
  driver().Set("again", "1");
  ASSERT_TRUE(driver().Sync().ok());
  Status status = PowerCutAndOpen();
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(driver().Get("again"), "1");
  for (int i = 0; i < written; ++i) {
    auto expected = i % 2 == 0 ? std::nullopt : std::optional(Text(i, 8000));
    ASSERT_EQ(driver().Get(Key(i)), expected) << i;
  }
  EXPECT_EQ(driver().Count(), static_cast<uint64_t>(written / 2 + 1));
}

TEST(StoreDiskErrorTest, DisksThatAreFullNowAndThen) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    CrashExplorer explorer({.seed = 700 + seed,
                            .policy = SyncPolicy::kEverySecond,
                            .commands = 2000,
                            .points = 10,
                            .capacity_bytes = (6 + seed) << 20});
    ASSERT_EQ(explorer.Run(), "");
  }
}

}  // namespace
}  // namespace firn::test
