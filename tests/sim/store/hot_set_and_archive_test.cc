// What a store keeps beside its log, under crashes: the note of what is hot, and the archive.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "crash_world.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment_list.h"

namespace firn::test {
namespace {

constexpr int kKeys = 200;
constexpr int64_t kMinuteMicros = 61'000'000;
constexpr const char* kArchive = "/archive";

std::string Key(int i) { return "key" + std::to_string(i); }
std::string Text(int i, int round) {
  return std::string(700, static_cast<char>('a' + (i + round) % 26)) + std::to_string(round);
}

class HotSetAndArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    disk_ = std::make_unique<io::SimDisk>(kCrashDisk);
    ASSERT_TRUE(disk_->CreateDirectories(kDirectory).ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
    options_ = SmallStore(SyncPolicy::kAlways, 5);
    options_.keep_hot_set = true;
  }
  std::unique_ptr<CrashWorld> Open(io::SimDisk* disk, uint64_t seed) {
    auto world = std::make_unique<CrashWorld>(disk, options_, WorldOptions{.seed = seed});
    const Status status = world->Open();
    EXPECT_TRUE(status.ok()) << status.message();
    return status.ok() ? std::move(world) : nullptr;
  }
  static void Fill(CrashWorld* world, int round) {
    for (int i = 0; i < kKeys; ++i) world->driver().Set(Key(i), Text(i, round));
  }
  // A minute passes, and the note is written.
  static void WaitForNote(CrashWorld* world) {
    for (int i = 0; i < 50; ++i) world->driver().Turn(20'000);
    world->loop().AdvanceTime(kMinuteMicros);
    for (int i = 0; i < 50; ++i) world->driver().Turn(20'000);
  }
  static void ExpectAll(CrashWorld* world, int round, const std::string& what) {
    for (int i = 0; i < kKeys; ++i) {
      ASSERT_EQ(world->driver().Get(Key(i)), Text(i, round)) << what << ": " << Key(i);
    }
    ASSERT_EQ(world->driver().Count(), static_cast<uint64_t>(kKeys)) << what;
  }
  static uint64_t WaitUntilRestored(CrashWorld* world) {
    for (int i = 0; i < 300; ++i) world->driver().Turn(20'000);
    EXPECT_EQ(world->store().Stats().hot_set_left, 0u);
    return world->store().Stats().hot_set_restored;
  }
  static std::vector<io::CrashPolicy> Ways() {
    using Kind = io::CrashPolicy::Kind;
    return {{.kind = Kind::kNone}, {.kind = Kind::kAll}, {.kind = Kind::kRandomSectors}};
  }

  std::unique_ptr<io::SimDisk> disk_;
  StoreOptions options_;
};

TEST_F(HotSetAndArchiveTest, WhatIsHotIsNotedOnceAMinuteAndBackAfterADeath) {
  auto world = Open(disk_.get(), 1);
  Fill(world.get(), 0);
  std::vector<std::string> cold;
  for (int i = 0; i < kKeys; i += 2) cold.push_back(Key(i));
  ASSERT_EQ(world->driver().Demote(cold), kKeys / 2);
  WaitForNote(world.get());
  auto image = disk_->ProcessDeathImage(disk_->event_count());
  ASSERT_TRUE(image->Exists("/data/HOT"));
  auto again = Open(image.get(), 2);
  EXPECT_EQ(WaitUntilRestored(again.get()), static_cast<uint64_t>(kKeys / 2));
  ExpectAll(again.get(), 0, "after the restoring");
}

TEST_F(HotSetAndArchiveTest, CrashesAmidNotingAndRestoringLoseNothing) {
  {
    auto world = Open(disk_.get(), 1);
    Fill(world.get(), 0);
    WaitForNote(world.get());
    const uint64_t first = disk_->event_count();
    // Another use, so that there is something new to note.
    for (int i = 0; i < kKeys; i += 3) ASSERT_EQ(world->driver().Get(Key(i)), Text(i, 0));
    WaitForNote(world.get());
    const uint64_t last = disk_->event_count();
    ASSERT_GT(last, first);
    uint64_t seed = 1;
    for (uint64_t event = first; event <= last;
         event += std::max<uint64_t>((last - first) / 8, 1)) {
      for (const io::CrashPolicy& way : Ways()) {
        auto image = disk_->CrashImage(event, way, ++seed);
        auto again = Open(image.get(), seed);
        ASSERT_NE(again, nullptr);
        // In the middle of the restoring a second time.
        for (uint64_t i = 0; i < seed % 20; ++i) again->driver().Turn(100);
        again->driver().Abandon();
        auto next = image->CrashImage(image->event_count(), way, seed);
        again.reset();
        auto third = Open(next.get(), seed);
        ASSERT_NE(third, nullptr);
        WaitUntilRestored(third.get());
        ExpectAll(third.get(), 0, "event " + std::to_string(event));
      }
    }
  }
}

TEST_F(HotSetAndArchiveTest, AFlippedBitOfTheNoteChangesNothing) {
  {
    auto world = Open(disk_.get(), 1);
    Fill(world.get(), 0);
    for (int i = 0; i < 50; ++i) world->driver().Turn(20'000);
    ASSERT_TRUE(world->driver().Close().ok());
  }
  auto file =
      disk_->CrashImage(disk_->event_count(), {}, 1)->Open("/data/HOT", {.writable = false});
  ASSERT_TRUE(file.has_value());
  const uint64_t size = *(*file)->Size();
  for (uint64_t offset = 0; offset < size; offset += offset < 32 ? 1 : 97) {
    auto image = disk_->CrashImage(disk_->event_count(), {}, 1);
    ASSERT_TRUE(image->FlipBit("/data/HOT", offset, static_cast<int>(offset % 8)).ok());
    auto world = Open(image.get(), 3);
    ASSERT_NE(world, nullptr);
    EXPECT_EQ(WaitUntilRestored(world.get()), 0u) << offset;
    ASSERT_EQ(world->driver().Get(Key(7)), Text(7, 0));
  }
}

// After any crash the archive has, once the store was stopped, the whole of the fresh stream.
TEST_F(HotSetAndArchiveTest, TheArchiveIsWholeAfterAnyCrash) {
  options_.keep_hot_set = false;
  options_.archive_directory = kArchive;
  auto world = Open(disk_.get(), 1);
  for (int round = 0; round < 14; ++round) {
    Fill(world.get(), round);
    for (int i = 0; i < 20; ++i) world->driver().Turn(20'000);
  }
  world->store().Compact();
  for (int i = 0; i < 300; ++i) world->driver().Turn(20'000);
  EXPECT_GT(world->store().Stats().archived_segments, 1u);
  const uint64_t last = disk_->event_count();
  uint64_t seed = 1;
  for (uint64_t event = last / 10; event <= last; event += last / 12) {
    for (const io::CrashPolicy& way : Ways()) {
      auto image = disk_->CrashImage(event, way, ++seed);
      const std::string what = "event " + std::to_string(event) + ", seed " + std::to_string(seed);
      uint64_t lsn = 0;
      {
        auto again = Open(image.get(), seed);
        ASSERT_NE(again, nullptr) << what;
        again->driver().Set("after", "x");
        ASSERT_TRUE(again->driver().Sync().ok());
        lsn = again->store().Stats().appended_lsn;
        ASSERT_TRUE(again->driver().Close().ok()) << what;
        auto found = log::ListSegments(image.get(), kArchive, {});
        ASSERT_TRUE(found.has_value());
        ASSERT_FALSE(found->empty());
        ASSERT_EQ(found->front().header->previous_id, 0u) << what;
        log::LogReader reader(log::SegmentsOf(log::Stream::kFresh, *found), log::kSegmentHeaderSize,
                              {});
        log::RecordView record;
        uint64_t end = 0;
        while (reader.Next(&record) == log::LogReader::Outcome::kRecord) end = record.lsn;
        EXPECT_GE(end, lsn) << what << ": " << reader.message();
      }
    }
  }
}

}  // namespace
}  // namespace firn::test
