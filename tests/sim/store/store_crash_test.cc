// The store under crashes at any moment (L1): whatever the disk kept, a start finds the state after
// some command, with all that was promised, and what it finds fits together.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "crash_explorer.h"

namespace firn::test {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kDefaultPoints = 300;
#else
constexpr uint64_t kDefaultPoints = 1500;
#endif

// All crash points of a run of this program, shared out among the tests.
uint64_t CrashPoints() {
  const char* text = std::getenv("FIRN_CRASH_POINTS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : kDefaultPoints;
}

uint64_t SeedOffset() {
  const char* text = std::getenv("FIRN_CRASH_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
}

void Explore(SyncPolicy policy, uint64_t first_seed, bool small_maps = false) {
  constexpr uint64_t kPointsEach = 200;
  uint64_t points = std::max<uint64_t>(CrashPoints() / 4, 1);
  std::clock_t begin = std::clock();
  uint64_t done = 0;
  for (uint64_t seed = first_seed + SeedOffset(); done < points; ++seed) {
    // Short runs and long ones: these are compacted.
    uint32_t commands = seed % 3 == 0 ? 3000 : 500;
    CrashExplorer explorer({.seed = seed,
                            .policy = policy,
                            .commands = commands,
                            .points = std::min(kPointsEach, points - done),
                            .collections = seed % 3 != 1,
                            .streams = seed % 3 != 1,
                            .long_strings = seed % 3 == 1,
                            .count_pages = seed % 2 == 0,
                            .small_maps = small_maps});
    ASSERT_EQ(explorer.Run(), "") << "seed " << seed;
    done += explorer.points();
    if (std::getenv("FIRN_CRASH_VERBOSE") != nullptr) {
      const StoreStats& stats = explorer.stats();
      std::printf(
          "seed %lu: %lu records, %lu segments, %lu compactions, %lu flushes, %lu "
          "demotions, %lu fetches, %lu warm hits, %lu keys unmapped\n",
          seed, stats.appended_lsn, stats.log_segments, stats.compactions, stats.index_flushes,
          stats.demotions, stats.fetches, stats.warm.hits, stats.unmapped_keys);
    }
  }
  double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  std::printf("%lu crash points in %.1f s of CPU: %.0f a minute\n", done, seconds,
              static_cast<double>(done) * 60 / seconds);
}

TEST(StoreCrashTest, SurvivesCrashesUnderAlways) { Explore(SyncPolicy::kAlways, 1000); }
TEST(StoreCrashTest, SurvivesCrashesUnderEverySecond) { Explore(SyncPolicy::kEverySecond, 2000); }
TEST(StoreCrashTest, SurvivesCrashesUnderNo) { Explore(SyncPolicy::kNo, 3000); }
TEST(StoreCrashTest, SurvivesCrashesWithKeysLeftToTheIndex) {
  Explore(SyncPolicy::kEverySecond, 4000, true);
}

// Half of one is nothing, and leaves no page behind.
TEST(StoreCrashTest, WhatIsBuiltBesideTheOthersIsWholeOrAbsent) {
  for (const SyncPolicy policy : {SyncPolicy::kAlways, SyncPolicy::kEverySecond, SyncPolicy::kNo}) {
    const uint64_t seed = 4000 + static_cast<uint64_t>(policy) + SeedOffset();
    CrashExplorer explorer({.seed = seed,
                            .policy = policy,
                            .commands = 400,
                            .points = std::max<uint64_t>(CrashPoints() / 15, 1),
                            .collections = true,
                            .builds = true,
                            .count_pages = true});
    ASSERT_EQ(explorer.Run(), "") << "seed " << seed;
  }
}

// A crash in the middle of a SETRANGE that makes a long string of nothing leaves nothing: this seed
// has one.
TEST(StoreCrashTest, ALongStringComesIntoBeingAtOnce) {
  CrashExplorer explorer({.seed = 23011,
                          .policy = SyncPolicy::kNo,
                          .commands = 500,
                          .points = 200,
                          .long_strings = true});
  EXPECT_EQ(explorer.Run(), "");
}

// The log of a store without durability is only its cold tier: while it runs it answers right, and
// a start finds nothing.
void RunVolatile(StoreOptions options, uint64_t seed) {
  io::SimDisk disk;
  ASSERT_TRUE(disk.CreateDirectories(kDirectory).ok());
  CrashWorkload workload({.seed = seed, .commands = 1500, .collections = seed % 2 == 0});
  {
    CrashWorld world(&disk, options, {.seed = seed});
    ASSERT_TRUE(world.Open().ok());
    ASSERT_EQ(workload.Run(&world), "") << "seed " << seed;
    FoundState found;
    ASSERT_EQ(world.ReadState(workload.model(), false, &found), "");
    PrefixRange range;
    ASSERT_EQ(workload.model().FindPrefix(found, workload.model().op(), &range), "");
    for (uint32_t db = 0; db < 3; ++db) ASSERT_EQ(world.CheckKeys(workload.model(), db), "");
  }
  auto image = disk.ProcessDeathImage(disk.event_count());
  CrashWorld world(image.get(), options, {.seed = seed});
  ASSERT_TRUE(world.Open().ok());
  for (uint32_t db = 0; db < 3; ++db) EXPECT_EQ(world.driver().Count(db), 0u);
}

TEST(VolatileStoreTest, AnswersRightAndForgetsEverything) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    StoreOptions options = SmallStore(SyncPolicy::kNo, seed);
    options.durable = false;
    RunVolatile(options, seed);
  }
}

TEST(VolatileStoreTest, KeepsEverythingInRamWithoutTiering) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    StoreOptions options = SmallStore(SyncPolicy::kNo, seed);
    options.durable = options.tiering = false;
    RunVolatile(options, seed);
  }
}

}  // namespace
}  // namespace firn::test
