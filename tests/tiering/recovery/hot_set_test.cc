// What was hot before a stop or a crash is hot again soon after the start.

#include "tiering/hot_set.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "support/store_driver.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/posix_file.h"

namespace firn {
namespace {

namespace fs = std::filesystem;

constexpr int kKeys = 4000;

class HotSetTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "firn-hot-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    options_.directory = pattern;
    options_.segment_size_bytes = 1 << 20;
    options_.warm_memory_bytes = 1 << 20;
    options_.keep_hot_set = true;
    files_ = io::CreatePosixFileSystem();
    Open();
    for (int i = 0; i < kKeys; ++i) driver_->Set(Key(i), Value(i));
    ASSERT_TRUE(driver_->Sync().ok());
  }
  void TearDown() override {
    if (driver_) driver_->Abandon();
    driver_.reset();
    loop_.reset();
    fs::remove_all(options_.directory);
  }
  void Open() {
    if (driver_) driver_->Abandon();
    driver_.reset();
    std::string notice;
    auto loop = io::CreateNetLoop({}, &notice);
    ASSERT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
    driver_.emplace(options_, StoreEnvironment{.file_system = files_.get(),
                                               .loop = loop_.get(),
                                               .meter_process_memory = false});
    const Status status = driver_->Open();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void Close() {
    ASSERT_TRUE(driver_->Close().ok());
    driver_.reset();
    loop_.reset();
  }
  static std::string Key(int i) { return "key" + std::to_string(i); }
  static std::string Value(int i) { return std::string(300, 'a' + static_cast<char>(i % 26)); }
  bool IsHot(int i) {
    Tier tier = Tier::kNone;
    EXPECT_TRUE(driver_
                    ->Run({driver_->Wants(Key(i), Access::kMetadata)},
                          [&] { tier = driver_->store().Where(0, driver_->store().Key(Key(i))); })
                    .ok());
    return tier == Tier::kHot;
  }
  // Until what a start begins by itself has ended: what workers had to do is behind them.
  void Settle() {
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 10; ++i) driver_->Turn();
      bool done = false;
      loop_->RunOnWorker(
          io::WorkPriority::kBackground, [] {}, [&] { done = true; });
      ASSERT_TRUE(driver_->RunUntil([&] { return done; }));
    }
  }
  // Waits for the end of the restoring, at which nothing is left to restore.
  void WaitUntilRestored(uint64_t at_least) {
    EXPECT_TRUE(driver_->RunUntil([&] {
      const StoreStats stats = driver_->store().Stats();
      return stats.hot_set_restored >= at_least && stats.hot_set_left == 0;
    })) << driver_->store().Stats().hot_set_restored;
  }

  StoreOptions options_;
  std::unique_ptr<io::FileSystem> files_;
  std::unique_ptr<io::NetLoop> loop_;
  std::optional<test::StoreDriver> driver_;
};

TEST_F(HotSetTest, AllComesBackWhereThereIsRoom) {
  driver_->Turn();
  EXPECT_TRUE(driver_->RunUntil([&] { return driver_->store().Stats().hot_set_left == 0; }));
  Settle();
  Close();
  Open();
  WaitUntilRestored(kKeys);
  for (int i = 0; i < kKeys; i += 97) {
    EXPECT_TRUE(IsHot(i)) << i;
    EXPECT_EQ(driver_->Get(Key(i)), Value(i));
  }
}

TEST_F(HotSetTest, WhatWasColdStaysCold) {
  Settle();
  std::vector<std::string> cold;
  for (int i = 0; i < kKeys; i += 2) cold.push_back(Key(i));
  ASSERT_EQ(driver_->Demote(cold), kKeys / 2);
  Close();
  Open();
  WaitUntilRestored(kKeys / 2);
  EXPECT_EQ(driver_->store().Stats().hot_set_restored, static_cast<uint64_t>(kKeys / 2));
  EXPECT_TRUE(IsHot(1));
  EXPECT_FALSE(IsHot(2));
}

TEST_F(HotSetTest, ChangesSinceTheNoteAreNotLost) {
  Settle();
  Close();
  // The next run ends without a note of its own.
  options_.keep_hot_set = false;
  Open();
  driver_->Set(Key(1), "new");
  EXPECT_TRUE(driver_->Delete(Key(2)));
  ASSERT_TRUE(driver_->Sync().ok());
  options_.keep_hot_set = true;
  Open();
  WaitUntilRestored(kKeys - 1);
  EXPECT_EQ(driver_->Get(Key(1)), "new");
  EXPECT_EQ(driver_->Get(Key(2)), std::nullopt);
  EXPECT_EQ(driver_->Count(), static_cast<uint64_t>(kKeys - 1));
}

TEST_F(HotSetTest, OnlyWhatMemoryHasRoomForComesBack) {
  Settle();
  Close();
  options_.max_memory_bytes = 1 << 20;
  Open();
  EXPECT_TRUE(driver_->RunUntil([&] {
    const StoreStats stats = driver_->store().Stats();
    return stats.hot_set_left == 0 && stats.fetch_bytes == 0;
  }));
  Settle();
  EXPECT_LT(driver_->store().Stats().hot_set_restored, static_cast<uint64_t>(kKeys));
  EXPECT_GT(driver_->store().Stats().hot_set_restored, 0u);
  for (int i = 0; i < kKeys; i += 191) EXPECT_EQ(driver_->Get(Key(i)), Value(i));
}

TEST_F(HotSetTest, ADamagedNoteIsLeftAside) {
  Settle();
  Close();
  const std::string path = options_.directory + "/HOT";
  ASSERT_TRUE(fs::exists(path));
  const auto size = fs::file_size(path);
  EXPECT_EQ(size, 24u + 16u * kKeys);
  for (const uint64_t cut : {size - 16, size - 1, uint64_t{30}, uint64_t{3}, uint64_t{0}}) {
    fs::resize_file(path, cut);
    Open();
    Settle();
    EXPECT_EQ(driver_->store().Stats().hot_set_restored, 0u);
    EXPECT_EQ(driver_->Get(Key(5)), Value(5));
  }
}

TEST_F(HotSetTest, ANoteWithAnyBitTurnedOverIsLeftAside) {
  Settle();
  Close();
  const std::string path = options_.directory + "/HOT";
  for (const uint64_t at : {0, 9, 12, 17, 24, 29, 33, 60'000}) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get());
    auto put = [&](char value) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put(value);
      file.flush();
    };
    put(static_cast<char>(byte ^ 4));
    Open();
    Settle();
    EXPECT_EQ(driver_->store().Stats().hot_set_restored, 0u) << at;
    driver_->Abandon();
    put(byte);
  }
}

TEST_F(HotSetTest, ItBeginsBeforeTheColdMapIsWhole) {
  // More than the rebuild takes at once.
  constexpr int kMany = 50'000;
  for (int i = kKeys; i < kMany; ++i) driver_->Set(Key(i), "small");
  Settle();
  Close();
  Open();
  EXPECT_TRUE(driver_->RunUntil([&] { return driver_->store().Stats().cold_map_complete; }));
  EXPECT_GT(driver_->store().Stats().hot_set_restored, 0u);
  WaitUntilRestored(kMany);
  for (int i = 0; i < kKeys; i += 97) EXPECT_EQ(driver_->Get(Key(i)), Value(i));
}

TEST_F(HotSetTest, OfTooManyThatAreEquallyHotSomeComeBack) {
  constexpr int kMostNoted = 64 << 10;
  for (int i = kKeys; i < kMostNoted + 10'000; ++i) driver_->Set(Key(i), "small");
  Settle();
  Close();
  EXPECT_EQ(fs::file_size(options_.directory + "/HOT"), 24u + 16u * kMostNoted);
  Open();
  WaitUntilRestored(kMostNoted);
  EXPECT_EQ(driver_->store().Stats().hot_set_restored, static_cast<uint64_t>(kMostNoted));
}

TEST_F(HotSetTest, WhatIsOnlyInTheLogsTailComesBack) {
  Settle();
  Close();
  options_.keep_hot_set = false;
  Open();
  Settle();
  for (int i = 0; i < kKeys; ++i) driver_->Set(Key(i), Value(i + 1));
  ASSERT_TRUE(driver_->Sync().ok());
  options_.keep_hot_set = true;
  Open();
  WaitUntilRestored(kKeys);
  for (int i = 0; i < kKeys; i += 97) {
    EXPECT_TRUE(IsHot(i)) << i;
    EXPECT_EQ(driver_->Get(Key(i)), Value(i + 1));
  }
}

TEST_F(HotSetTest, AbandoningAmidTheRestoringHarmsNothing) {
  Settle();
  Close();
  for (int turns = 0; turns < 60; turns += 7) {
    Open();
    for (int i = 0; i < turns; ++i) driver_->Turn(100);
    driver_->Abandon();
    driver_.reset();
  }
  Open();
  WaitUntilRestored(kKeys);
  EXPECT_EQ(driver_->Get(Key(5)), Value(5));
}

}  // namespace
}  // namespace firn
