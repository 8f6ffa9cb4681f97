// The store under crashes at any moment (L1): whatever the disk kept, a start finds the state after
// some command, with all that was promised, and what it finds fits together.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <set>
#include <span>
#include <string>

#include "crash_explorer.h"
#include "support/string_set.h"
#include "tiering/collection.h"

namespace firn::test {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kDefaultPoints = 450;
#else
constexpr uint64_t kDefaultPoints = 2250;
#endif
constexpr uint64_t kPointsEach = 200;  // of one workload

// All crash points of a run of this program, shared out among the tests.
uint64_t CrashPoints() {
  const char* text = std::getenv("FIRN_CRASH_POINTS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : kDefaultPoints;
}

uint64_t SeedOffset() {
  const char* text = std::getenv("FIRN_CRASH_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
}

struct Exploration {
  SyncPolicy policy = SyncPolicy::kAlways;
  uint64_t first_seed = 0;
  bool small_maps = false;
};

// The points of one of six explorations, and what they took.
class PointCount {
 public:
  uint64_t left() const { return points_ - done_; }
  void Add(uint64_t points) { done_ += points; }
  void Print() const {
    const double seconds = static_cast<double>(std::clock() - begin_) / CLOCKS_PER_SEC;
    std::printf("%lu crash points in %.1f s of CPU: %.0f a minute\n", done_, seconds,
                static_cast<double>(done_) * 60 / seconds);
  }

 private:
  const uint64_t points_ = std::max<uint64_t>(CrashPoints() / 6, 1);
  const std::clock_t begin_ = std::clock();
  uint64_t done_ = 0;
};

void PrintStats(uint64_t seed, const StoreStats& stats) {
  if (std::getenv("FIRN_CRASH_VERBOSE") == nullptr) return;
  std::printf(
      "seed %lu: %lu records, %lu segments, %lu compactions, %lu flushes, %lu demotions, %lu "
      "fetches, %lu warm hits, %lu keys unmapped, %lu evicted, %lu of %lu KiB alive\n",
      seed, stats.appended_lsn, stats.log_segments, stats.compactions, stats.index_flushes,
      stats.demotions, stats.fetches, stats.warm.hits, stats.unmapped_keys, stats.evicted_keys,
      stats.log_live_bytes >> 10, stats.log_bytes >> 10);
}

void Explore(Exploration exploration) {
  PointCount count;
  for (uint64_t seed = exploration.first_seed + SeedOffset(); count.left() > 0; ++seed) {
    // Short runs and long ones: these are compacted.
    uint32_t commands = seed % 3 == 0 ? 3000 : 500;
    CrashExplorer explorer({.seed = seed,
                            .policy = exploration.policy,
                            .commands = commands,
                            .points = std::min(kPointsEach, count.left()),
                            .collections = seed % 3 != 1,
                            .streams = seed % 3 != 1,
                            .long_strings = seed % 3 == 1,
                            .count_pages = seed % 2 == 0,
                            .small_maps = exploration.small_maps});
    ASSERT_EQ(explorer.Run(), "") << "seed " << seed;
    count.Add(explorer.points());
    PrintStats(seed, explorer.stats());
  }
  count.Print();
}

TEST(StoreCrashTest, SurvivesCrashesUnderAlways) {
  Explore({.policy = SyncPolicy::kAlways, .first_seed = 1000});
}
TEST(StoreCrashTest, SurvivesCrashesUnderEverySecond) {
  Explore({.policy = SyncPolicy::kEverySecond, .first_seed = 2000});
}
TEST(StoreCrashTest, SurvivesCrashesUnderNo) {
  Explore({.policy = SyncPolicy::kNo, .first_seed = 3000});
}
TEST(StoreCrashTest, SurvivesCrashesWithKeysLeftToTheIndex) {
  Explore({.policy = SyncPolicy::kEverySecond, .first_seed = 4000, .small_maps = true});
}

// With `maxdisk` reached, what is missing was evicted, as the policy allows, and stays away.
void ExploreEviction(std::span<const EvictionPolicy> policies, uint64_t first_seed) {
  static constexpr SyncPolicy kSyncs[] = {SyncPolicy::kAlways, SyncPolicy::kEverySecond,
                                          SyncPolicy::kNo, SyncPolicy::kAlways};
  PointCount count;
  uint64_t evicted = 0;
  for (uint64_t seed = first_seed + SeedOffset(); count.left() > 0; ++seed) {
    CrashExplorer explorer({.seed = seed,
                            .policy = kSyncs[seed % std::size(kSyncs)],
                            .commands = 2000,
                            .points = std::min(kPointsEach, count.left()),
                            .overwrites = seed % 2 == 0,
                            .collections = seed % 4 == 1,
                            .small_maps = seed % 5 < 2,
                            .eviction = policies[seed % policies.size()]});
    ASSERT_EQ(explorer.Run(), "") << "seed " << seed;
    count.Add(explorer.points());
    evicted += explorer.stats().evicted_keys;
    PrintStats(seed, explorer.stats());
  }
  EXPECT_GT(evicted, 0u);
  count.Print();
}

TEST(StoreCrashTest, SurvivesCrashesWhileAnyKeyMayBeEvicted) {
  static constexpr EvictionPolicy kPolicies[] = {
      EvictionPolicy::kAllKeysLru, EvictionPolicy::kAllKeysRandom, EvictionPolicy::kAllKeysLfu};
  ExploreEviction(kPolicies, 5000);
}
TEST(StoreCrashTest, SurvivesCrashesWhileWhatExpiresMayBeEvicted) {
  static constexpr EvictionPolicy kPolicies[] = {
      EvictionPolicy::kVolatileLru, EvictionPolicy::kVolatileRandom, EvictionPolicy::kVolatileTtl};
  ExploreEviction(kPolicies, 6000);
}

// Half of one is nothing, and leaves no page behind.
TEST(StoreCrashTest, WhatIsBuiltBesideTheOthersIsWholeOrAbsent) {
  for (const SyncPolicy policy : {SyncPolicy::kAlways, SyncPolicy::kEverySecond, SyncPolicy::kNo}) {
    const uint64_t seed = 4000 + static_cast<uint64_t>(policy) + SeedOffset();
    CrashExplorer explorer({.seed = seed,
                            .policy = policy,
                            .commands = 400,
                            .points = std::max<uint64_t>(CrashPoints() / 22, 1),
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

// Compaction writes what lasts and what expires to files of their own: a crash may tear both. This
// seed has such a one.
TEST(StoreCrashTest, TwoFilesOfCopiesMayBeTorn) {
  CrashExplorer explorer({.seed = 1494712,
                          .policy = SyncPolicy::kEverySecond,
                          .commands = 500,
                          .points = 200,
                          .long_strings = true,
                          .count_pages = true});
  EXPECT_EQ(explorer.Run(), "");
}

// Wherever the log ends, a command that takes the elements of a value one by one until none is left
// has happened or has not.
TEST(StoreCrashTest, AValueThatIsEmptiedIsWholeOrGone) {
  const std::string segment = std::string(kDirectory) + "/log/0000000000000001.seg";
  const std::string key = "set";
  const std::set<std::string> strings = {"one", "two", "three", "four"};
  const StoreOptions options = SmallStore(SyncPolicy::kAlways, 1);
  io::SimDisk disk{kCrashDisk};
  ASSERT_TRUE(disk.CreateDirectories(kDirectory).ok());
  CrashWorld world(&disk, options, {.seed = 1});
  ASSERT_TRUE(world.Open().ok());
  auto change = [&](auto change_one) {
    const KeyAccess access = world.driver().Wants(key, Access::kUpdate);
    ASSERT_TRUE(world.driver()
                    .Run({access},
                         [&] {
                           Collection pages(world.store().database(0), access.key, ValueType::kSet);
                           for (const std::string& text : strings) {
                             ASSERT_TRUE(change_one(&pages, text));
                           }
                         })
                    .ok());
    const uint64_t lsn = world.store().Stats().appended_lsn;
    ASSERT_TRUE(world.driver().RunUntil([&] { return world.store().Stats().durable_lsn >= lsn; }));
  };
  auto log_end = [&] {
    const auto file = disk.Open(segment, {.writable = false});
    std::string bytes(options.segment_size_bytes, '\0');
    EXPECT_TRUE((*file)->ReadAt(0, bytes).has_value());
    return bytes.find_last_not_of('\0') + 1;
  };
  change(InsertString);
  const uint64_t begin = log_end();
  change(EraseString);
  const uint64_t end = log_end();
  ASSERT_GT(end, begin);
  uint32_t whole = 0, gone = 0;
  for (uint64_t cut = begin; cut < end + 8; cut += 8) {
    const auto image =
        disk.CrashImage(disk.event_count(), {.kind = io::CrashPolicy::Kind::kAll}, 1);
    ASSERT_TRUE(image->Damage(segment, cut, std::string(end + 16 - cut, '\0')).ok());
    CrashWorld found(image.get(), options, {.seed = 2});
    ASSERT_TRUE(found.Open().ok()) << found.log();
    const KeyAccess access = found.driver().Wants(key, Access::kRead);
    std::set<std::string> left;
    Status status = found.driver().Run({access}, [&] {
      Collection pages(found.store().database(0), access.key, ValueType::kSet);
      ASSERT_TRUE(ReadStrings(&pages, &left));
    });
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_TRUE(left.empty() || left == strings) << left.size() << " are left, cut at " << cut;
    left.empty() ? ++gone : ++whole;
  }
  EXPECT_GT(whole, 0u);
  EXPECT_GT(gone, 0u);
}

// The name of a later segment may reach the disk before that of the first.
TEST(StoreCrashTest, ALogThatLacksItsBeginBeginsAnewUnlessItWasDurable) {
  for (const SyncPolicy policy : {SyncPolicy::kNo, SyncPolicy::kAlways}) {
    StoreOptions options = SmallStore(policy, 1);
    options.replay_limit_bytes = 64 << 20;
    options.replay_limit_records = 1'000'000;
    io::SimDisk disk{kCrashDisk};
    ASSERT_TRUE(disk.CreateDirectories(kDirectory).ok());
    CrashWorld world(&disk, options, {.seed = 1});
    ASSERT_TRUE(world.Open().ok());
    for (int i = 0; i < 200; ++i) {
      world.driver().Set("key:" + std::to_string(i), std::string(8000, 'x'));
      if (policy == SyncPolicy::kAlways) {
        const uint64_t lsn = world.store().Stats().appended_lsn;
        ASSERT_TRUE(
            world.driver().RunUntil([&] { return world.store().Stats().durable_lsn >= lsn; }));
      }
    }
    const auto image = disk.ProcessDeathImage(disk.event_count());
    ASSERT_TRUE(image->Remove(std::string(kDirectory) + "/log/0000000000000001.seg").ok());
    CrashWorld found(image.get(), options, {.seed = 2});
    ASSERT_TRUE(found.Open().ok()) << found.log();
    const uint64_t keys = found.driver().Count(0);
    EXPECT_EQ(keys == 0, policy == SyncPolicy::kNo) << keys;
  }
}

// The log of a store without durability is only its cold tier: while it runs it answers right, and
// a start finds nothing.
void RunVolatile(StoreOptions options, uint64_t seed) {
  io::SimDisk disk{kCrashDisk};
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
