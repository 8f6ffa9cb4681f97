// The store on real files: what a user of the engine sees over restarts and tiers.

#include "tiering/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "engine/base/random.h"
#include "support/store_on_files.h"

namespace firn {
namespace {

class StoreTest : public test::StoreOnFiles {
 protected:
  std::string Value(int i, size_t size = 100) {
    std::string value = "value-" + std::to_string(i) + "-";
    Random random(static_cast<uint64_t>(i));
    while (value.size() < size) value.push_back(static_cast<char>('a' + random.Below(26)));
    return value;
  }
  std::string KeyName(int i) { return "key:" + std::to_string(i); }
};

TEST_F(StoreTest, ReadsBackWhatWasWritten) {
  driver_->Set("a", "1");
  driver_->Set("b", "");
  driver_->SetInteger("c", -42);
  EXPECT_EQ(driver_->Get("a"), "1");
  EXPECT_EQ(driver_->Get("b"), "");
  EXPECT_EQ(driver_->Get("c"), "-42");
  EXPECT_EQ(driver_->Get("d"), std::nullopt);
  EXPECT_EQ(driver_->Count(), 3u);
}

TEST_F(StoreTest, SurvivesACleanRestart) {
  for (int i = 0; i < 1000; ++i) driver_->Set(KeyName(i), Value(i));
  driver_->Delete(KeyName(7));
  Restart();
  EXPECT_EQ(driver_->Count(), 999u);
  for (int i = 0; i < 1000; ++i) {
    if (i != 7) {
      ASSERT_EQ(driver_->Get(KeyName(i)), Value(i)) << i;
    }
  }
  EXPECT_EQ(driver_->Get(KeyName(7)), std::nullopt);
}

TEST_F(StoreTest, SurvivesTheDeathOfTheProcess) {
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 500; ++i) driver_->Set(KeyName(i), Value(i + round * 1000));
    for (int i = 0; i < 100; ++i) driver_->Delete(KeyName(i));
    Crash();
    ASSERT_EQ(driver_->Count(), 400u) << round;
    for (int i = 0; i < 500; ++i) {
      auto expected = i < 100 ? std::nullopt : std::optional(Value(i + round * 1000));
      ASSERT_EQ(driver_->Get(KeyName(i)), expected) << round << " " << i;
    }
  }
}

TEST_F(StoreTest, DemotedValuesAreReadFromDisk) {
  std::vector<std::string> keys;
  for (int i = 0; i < 300; ++i) {
    keys.push_back(KeyName(i));
    driver_->Set(keys.back(), Value(i, static_cast<size_t>(20 + i * 40)));
  }
  EXPECT_EQ(driver_->Demote(keys), 300);
  EXPECT_EQ(driver_->store().Stats().cold.keys, 300u);
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(driver_->Get(KeyName(i)), Value(i, static_cast<size_t>(20 + i * 40))) << i;
  }
  EXPECT_GT(driver_->store().Stats().disk_reads, 0u);
  EXPECT_EQ(driver_->Count(), 300u);
  EXPECT_EQ(driver_->Get("absent"), std::nullopt);
}

TEST_F(StoreTest, BlindOverwritesOfColdKeysAreSettled) {
  std::vector<std::string> keys;
  for (int i = 0; i < 200; ++i) {
    keys.push_back(KeyName(i));
    driver_->Set(keys.back(), Value(i));
  }
  driver_->Demote(keys);
  for (int i = 0; i < 200; i += 2) driver_->Set(KeyName(i), Value(i + 5000));
  for (int i = 0; i < 200; i += 4) driver_->Delete(KeyName(i));
  EXPECT_EQ(driver_->Count(), 150u);
  for (int i = 0; i < 200; ++i) {
    std::optional<std::string> expected = Value(i % 2 == 0 ? i + 5000 : i);
    if (i % 4 == 0) expected = std::nullopt;
    ASSERT_EQ(driver_->Get(KeyName(i)), expected) << i;
  }
}

TEST_F(StoreTest, ScanFindsEveryKeyOfEveryTierOnce) {
  std::vector<std::string> all, cold;
  for (int i = 0; i < 1000; ++i) {
    all.push_back(KeyName(i));
    driver_->Set(all.back(), Value(i));
    if (i % 3 == 0) cold.push_back(all.back());
  }
  all.push_back(std::string(500, 'k'));  // too long for the index
  driver_->Set(all.back(), "long");
  cold.push_back(all.back());
  driver_->Demote(cold);
  for (uint64_t batch : {1, 10, 5000}) {
    auto found = driver_->ScanAll(batch);
    std::sort(found.begin(), found.end());
    auto expected = all;
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(found, expected) << batch;
  }
}

TEST_F(StoreTest, LongStringsGrowByEffectsOverRestarts) {
  std::string expected(20'000, 'x');
  driver_->Set("long", expected);
  for (int i = 0; i < 50; ++i) {
    std::string more = "+" + std::to_string(i);
    expected += more;
    EXPECT_EQ(driver_->Append("long", more), expected.size());
    if (i % 10 == 9) Crash();
    if (i == 25) Restart();
    ASSERT_EQ(driver_->Get("long"), expected) << i;
  }
}

TEST_F(StoreTest, ALowerLimitShrinksTheWindow) {
  options_.warm_memory_bytes = 0;
  options_.max_memory_bytes = 0;
  Restart();
  const std::string value(100'000, 'v');
  for (int i = 0; i < 200; ++i) driver_->Set(KeyName(i), value + std::to_string(i));
  ASSERT_GT(driver_->store().Stats().window_bytes, 19u << 20);
  driver_->store().SetMaxMemory(64 << 20);
  EXPECT_TRUE(driver_->RunUntil([&] { return driver_->store().Stats().window_bytes < 8 << 20; }));
  for (int i = 0; i < 200; ++i) EXPECT_EQ(driver_->Get(KeyName(i)), value + std::to_string(i));
}

TEST_F(StoreTest, ALimitBeyondAllMemoryPressesNobody) {
  options_.max_memory_bytes = UINT64_MAX;
  Restart();
  for (int i = 0; i < 100; ++i) driver_->Set(KeyName(i), Value(i));
  driver_->store().SetMaxMemory(INT64_MAX);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(driver_->Get(KeyName(i)), Value(i));
  EXPECT_EQ(driver_->store().Stats().demotions, 0u);
}

TEST_F(StoreTest, FlushForgetsAllTiers) {
  std::vector<std::string> keys;
  for (int i = 0; i < 100; ++i) {
    keys.push_back(KeyName(i));
    driver_->Set(keys.back(), Value(i));
  }
  driver_->Demote(keys);
  driver_->Set("db1", "one", {}, 1);
  driver_->store().FlushDatabase(0);
  EXPECT_EQ(driver_->Count(), 0u);
  EXPECT_TRUE(driver_->ScanAll(10).empty());
  driver_->Set("after", "flush");
  Crash();
  EXPECT_EQ(driver_->Count(), 1u);
  EXPECT_EQ(driver_->Get(KeyName(5)), std::nullopt);
  EXPECT_EQ(driver_->Get("after"), "flush");
  EXPECT_EQ(driver_->Get("db1", 1), "one");
  driver_->store().SwapDatabases(0, 1);
  Crash();
  EXPECT_EQ(driver_->Get("db1", 0), "one");
  EXPECT_EQ(driver_->Get("after", 1), "flush");
}

TEST_F(StoreTest, CompactionGivesSpaceBack) {
  std::map<int, int> versions;
  Random random(3);
  for (int i = 0; i < 30'000; ++i) {
    int key = static_cast<int>(random.Below(2000));
    driver_->Set(KeyName(key), Value(key * 100'000 + i, 1000));
    versions[key] = i;
    if (i % 64 == 0) driver_->Turn(0);
  }
  ASSERT_TRUE(driver_->RunUntil([&] {
    StoreStats stats = driver_->store().Stats();
    return stats.compactions > 5 && stats.log_bytes < 10u << 20;
  })) << driver_->store().Stats().log_bytes
      << " bytes of log, " << driver_->store().Stats().compactions << " compactions\n"
      << lines_;
  for (auto [key, version] : versions) {
    ASSERT_EQ(driver_->Get(KeyName(key)), Value(key * 100'000 + version, 1000)) << key;
  }
  Crash();
  EXPECT_EQ(driver_->Count(), versions.size());
  for (auto [key, version] : versions) {
    ASSERT_EQ(driver_->Get(KeyName(key)), Value(key * 100'000 + version, 1000)) << key;
  }
}

TEST_F(StoreTest, DeletesKeptForWhatIsOlderAreNotCopiedForEver) {
  constexpr int kLasting = 3000;
  for (int i = 0; i < kLasting; ++i) driver_->Set(KeyName(i), Value(i, 1000));
  // More deletes than compaction leaves lying as garbage.
  for (int i = 0; i < 100'000; ++i) {
    const std::string job = "job:" + std::to_string(i);
    driver_->Set(job, "done soon");
    ASSERT_TRUE(driver_->Delete(job));
    if (i % 64 == 0) driver_->Turn(0);
  }
  constexpr int64_t kQuietMicros = 1'000'000;
  uint64_t written = 0;
  int64_t since = 0;
  EXPECT_TRUE(driver_->RunUntil([&] {
    const int64_t now = driver_->loop().NowMicros();
    const uint64_t now_written = store().Stats().compaction_written_bytes;
    if (std::exchange(written, now_written) != now_written || since == 0) since = now;
    return now - since > kQuietMicros;
  })) << written;
  EXPECT_LT(store().Stats().log_bytes, 8u << 20);
  Crash();
  EXPECT_EQ(driver_->Count(), static_cast<uint64_t>(kLasting));
  for (int i = 0; i < kLasting; i += 7) ASSERT_EQ(driver_->Get(KeyName(i)), Value(i, 1000)) << i;
}

TEST_F(StoreTest, ExpiredKeysVanishFromAllTiers) {
  int64_t soon = driver_->store().now_ms() + 300;
  std::vector<std::string> keys;
  for (int i = 0; i < 50; ++i) {
    keys.push_back(KeyName(i));
    driver_->Set(keys.back(), Value(i),
                 {.expiry = Database::ExpiryChange::kSet, .expiry_ms = soon});
  }
  driver_->Set("stays", "here");
  driver_->Demote({keys.begin(), keys.begin() + 25});
  ASSERT_TRUE(driver_->RunUntil([&] { return driver_->store().EstimateKeys(0) == 1; }));
  EXPECT_EQ(driver_->ScanAll(10), std::vector<std::string>{"stays"});
  Crash();
  EXPECT_EQ(driver_->Count(), 1u);
}

TEST_F(StoreTest, ARunThatIsRepeatedCountsItsLookUpsOnceAndMayLetKeysExpire) {
  Store& store = driver_->store();
  driver_->Set("stays", "here");
  store.SetActiveExpire(false);
  driver_->Set("goes", "now",
               {.expiry = Database::ExpiryChange::kSet, .expiry_ms = store.now_ms() + 50});
  ASSERT_TRUE(driver_->RunUntil([&, at = store.now_ms() + 60] { return store.now_ms() > at; }));
  const StoreStats before = store.Stats();
  const std::string stays = "stays", goes = "goes";
  const auto keys = {driver_->Wants(stays, Access::kRead), driver_->Wants(goes, Access::kRead)};
  ASSERT_TRUE(driver_
                  ->Run(keys,
                        [&] {
                          const Store::RunMark mark = store.MarkRun();
                          EXPECT_TRUE(store.database(0).Lookup(store.Key("stays")).exists());
                          EXPECT_FALSE(store.database(0).Lookup(store.Key("goes")).exists());
                          store.TakeBack(mark);
                        })
                  .ok());
  const StoreStats after = store.Stats();
  EXPECT_EQ(after.keyspace_hits, before.keyspace_hits);
  EXPECT_EQ(after.keyspace_misses, before.keyspace_misses);
  EXPECT_EQ(after.expired_keys, before.expired_keys + 1);
}

TEST_F(StoreTest, ARunThatIsRepeatedMustHaveChangedNothing) {
  Store& store = driver_->store();
  driver_->Set("key", "value");
  const Store::RunMark mark = store.MarkRun();
  driver_->Set("key", "changed");
  EXPECT_DEATH(store.TakeBack(mark), "has changed something");
}

TEST_F(StoreTest, WithoutTieringTheIndexIsInNoHurry) {
  options_.tiering = false;
  ASSERT_TRUE(driver_->Close().ok());
  Open();
  driver_->Set("key", "value");
  Store& store = driver_->store();
  // What a change of the memory takes for a moment would make keys go.
  store.SetMaxMemory(64 << 20);
  ASSERT_TRUE(driver_->RunUntil([&, at = store.now_ms() + 1500] { return store.now_ms() > at; }));
  EXPECT_LT(store.Stats().indexed_lsn, store.Stats().appended_lsn);
  Restart();
  EXPECT_EQ(driver_->Get("key"), "value");
}

TEST_F(StoreTest, AGroupInWhichNothingChangesIsNotLogged) {
  Store& store = driver_->store();
  driver_->Set("key", "value");
  const uint64_t before = store.Stats().appended_lsn;
  store.BeginGroup();
  store.BeginGroup();
  store.EndGroup();
  store.EndGroup();
  EXPECT_EQ(store.Stats().appended_lsn, before);
  store.BeginGroup();
  driver_->Set("key", "changed");
  store.EndGroup();
  EXPECT_EQ(store.Stats().appended_lsn, before + 3);
}

TEST_F(StoreTest, ADirectoryOfDurableDataIsNotOpenedVolatile) {
  driver_->Set("a", "1");
  ASSERT_TRUE(driver_->Close().ok());
  options_.durable = false;
  Status status = TryOpen();
  EXPECT_EQ(status.code(), StatusCode::kInvalid);
  EXPECT_NE(status.message().find("appendonly"), std::string::npos);
  options_.durable = true;
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(driver_->Get("a"), "1");
}

#ifdef FIRN_JEMALLOC
TEST_F(StoreTest, MovesEntriesTogetherWhenDeletesLeaveHolesNearTheMemoryLimit) {
  constexpr int kKeys = 300'000;
  for (int i = 0; i < kKeys; ++i) driver_->Set(KeyName(i), Value(i, 40));
  // Nine in ten, scattered.
  Random random(5);
  std::vector<int> kept;
  for (int i = 0; i < kKeys; ++i) {
    if (random.Below(10) == 0) {
      kept.push_back(i);
    } else {
      driver_->Delete(KeyName(i));
    }
  }
  ASSERT_TRUE(driver_->RunUntil([&] { return driver_->store().Stats().wasted_bytes > 10 << 20; }));
  uint64_t holes = driver_->store().Stats().wasted_bytes;
  driver_->store().SetMaxMemory(driver_->store().Stats().used_memory);
  EXPECT_TRUE(driver_->RunUntil([&] { return driver_->store().Stats().wasted_bytes < holes / 2; }));
  EXPECT_GT(driver_->store().Stats().defragmented_blocks, kept.size() / 4);
  for (int i : kept) ASSERT_EQ(driver_->Get(KeyName(i)), Value(i, 40));
  EXPECT_EQ(driver_->Count(), kept.size());
}
#endif

}  // namespace
}  // namespace firn
