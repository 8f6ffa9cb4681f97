// Cold maps that have not enough memory for all keys: the index answers for the rest.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/base/random.h"
#include "support/store_on_files.h"
#include "support/string_set.h"
#include "tiering/collection.h"

namespace firn {
namespace {

constexpr int kKeys = 6000;
constexpr uint64_t kMapBytes = 48 << 10;

class IndexMemoryTest : public test::StoreOnFiles {
 protected:
  void SetUp() override {
    options_.index_memory_bytes = kMapBytes;
    options_.max_memory_bytes = 128 << 20;
    test::StoreOnFiles::SetUp();
  }

  static std::string Name(int i) { return "key:" + std::to_string(i); }
  static std::string Value(int i, int version = 0) {
    std::string value = std::to_string(i) + "/" + std::to_string(version) + "/";
    Random random(static_cast<uint64_t>(i + version * kKeys));
    while (value.size() < 100) value.push_back(static_cast<char>('a' + random.Below(26)));
    return value;
  }
  static std::vector<std::string> Names(int keys = kKeys) {
    std::vector<std::string> names;
    for (int i = 0; i < keys; ++i) names.push_back(Name(i));
    return names;
  }

  // All on disk, with the maps within their bound.
  void Load() {
    for (int i = 0; i < kKeys; ++i) driver_->Set(Name(i), Value(i));
    driver_->Demote(Names());
    AwaitBound();
  }
  void AwaitBound() {
    EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().cold_map_bytes <= kMapBytes; }));
  }
  void ExpectConsistent() {
    Status status = Status(StatusCode::kBusy, "");
    for (int i = 0; i < 200 && status.code() == StatusCode::kBusy; ++i) {
      ASSERT_TRUE(driver_->Sync().ok());
      driver_->Demote({});
      status = store().CheckConsistency();
      for (int turn = 0; turn < 5; ++turn) driver_->Turn();
    }
    EXPECT_TRUE(status.ok()) << status.message();
  }
  void ExpectValues(int version = 0) {
    for (int i = 0; i < kKeys; ++i) ASSERT_EQ(driver_->Get(Name(i)), Value(i, version)) << i;
  }
};

TEST_F(IndexMemoryTest, TheMapsStayWithinTheirBoundAndEveryKeyIsFound) {
  Load();
  StoreStats stats = store().Stats();
  EXPECT_GT(stats.unmapped_keys, uint64_t{kKeys} / 2);
  EXPECT_EQ(stats.warm.keys + stats.cold.keys, uint64_t{kKeys});
  EXPECT_EQ(driver_->Count(), uint64_t{kKeys});
  ExpectValues();
  EXPECT_EQ(driver_->Get("absent"), std::nullopt);
  driver_->Demote(Names());
  AwaitBound();
  ExpectConsistent();
}

TEST_F(IndexMemoryTest, KeysLeftToTheIndexAreOverwrittenAndDeleted) {
  Load();
  for (int i = 0; i < kKeys; i += 2) driver_->Set(Name(i), Value(i, 1));
  for (int i = 0; i < kKeys; i += 3) EXPECT_TRUE(driver_->Delete(Name(i))) << i;
  EXPECT_FALSE(driver_->Delete("absent"));
  EXPECT_EQ(driver_->Count(), uint64_t{kKeys} * 2 / 3);
  driver_->Demote(Names());
  for (int i = 0; i < kKeys; ++i) {
    std::optional<std::string> expected = Value(i, i % 2 == 0 ? 1 : 0);
    if (i % 3 == 0) expected = std::nullopt;
    ASSERT_EQ(driver_->Get(Name(i)), expected) << i;
  }
  ExpectConsistent();
  // What is deleted is nowhere any more, and may come back.
  for (int i = 0; i < kKeys; i += 3) driver_->Set(Name(i), Value(i, 2));
  EXPECT_EQ(driver_->Count(), uint64_t{kKeys});
  EXPECT_EQ(driver_->Get(Name(0)), Value(0, 2));
  ExpectConsistent();
}

TEST_F(IndexMemoryTest, TombstonesGoOnceTheIndexKnows) {
  Load();
  for (int i = 0; i < kKeys; ++i) EXPECT_TRUE(driver_->Delete(Name(i)));
  EXPECT_EQ(driver_->Count(), 0u);
  ASSERT_TRUE(driver_->Sync().ok());
  EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().hot.bytes == 0; }));
  EXPECT_EQ(store().Stats().unmapped_keys, 0u);
}

TEST_F(IndexMemoryTest, KeysLeftToTheIndexExpire) {
  for (int i = 0; i < kKeys; ++i) {
    Database::SetOptions options;
    if (i % 2 == 0) {
      options.expiry = Database::ExpiryChange::kSet;
      options.expiry_ms = store().now_ms() + 3'000;
    }
    driver_->Set(Name(i), Value(i), options);
  }
  driver_->Demote(Names());
  AwaitBound();
  EXPECT_TRUE(driver_->RunUntil([&] { return store().EstimateKeys(0) == kKeys / 2; }, 100'000));
  for (int i = 1; i < 200; i += 2) EXPECT_EQ(driver_->Get(Name(i)), Value(i));
  EXPECT_EQ(driver_->Get(Name(0)), std::nullopt);
  ExpectConsistent();
}

TEST_F(IndexMemoryTest, ScansAndRandomKeysKnowWhatIsLeftToTheIndex) {
  Load();
  auto expected = Names();
  std::sort(expected.begin(), expected.end());
  for (uint64_t batch : {37, 5000}) {
    auto found = driver_->ScanAll(batch);
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected);
  }
  std::set<std::string> seen;
  for (int i = 0; i < 300; ++i) {
    std::optional<std::string> key;
    bool answered = false;
    store().RandomKey(0, [&](std::optional<std::string> found) {
      key = std::move(found);
      answered = true;
    });
    ASSERT_TRUE(driver_->RunUntil([&] { return answered; }));
    ASSERT_TRUE(key.has_value());
    seen.insert(*key);
  }
  EXPECT_GT(seen.size(), 250u);
}

TEST_F(IndexMemoryTest, CompactionMovesKeysLeftToTheIndex) {
  Load();
  for (int round = 1; round <= 4; ++round) {
    for (int i = 0; i < kKeys; ++i) {
      if (i % 8 != 0) driver_->Set(Name(i), Value(i, round));
    }
    driver_->Demote(Names());
  }
  const uint64_t before = store().Stats().log_bytes;
  store().Compact();
  EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().rewrites > 0; }, 100'000));
  EXPECT_GT(store().Stats().compactions, 0u);
  EXPECT_LE(store().Stats().log_bytes, before);  // less, unless compacted while it was written
  EXPECT_GT(store().Stats().unmapped_keys, uint64_t{kKeys} / 2);
  for (int i = 0; i < kKeys; ++i) {
    ASSERT_EQ(driver_->Get(Name(i)), Value(i, i % 8 == 0 ? 0 : 4)) << i;
  }
  driver_->Demote(Names());
  ExpectConsistent();
}

TEST_F(IndexMemoryTest, ARestartCountsAllAndMapsWhatThereIsRoomFor) {
  Load();
  for (int i = 0; i < 100; ++i) driver_->Delete(Name(i));
  for (bool crash : {false, true}) {
    crash ? Crash() : Restart();
    EXPECT_EQ(driver_->Get(Name(200)), Value(200));
    EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().cold_map_complete; }));
    EXPECT_LE(store().Stats().cold_map_bytes, kMapBytes);
    EXPECT_GT(store().Stats().unmapped_keys, uint64_t{kKeys} / 2);
    EXPECT_EQ(driver_->Count(), uint64_t{kKeys} - 100);
    EXPECT_EQ(driver_->Get(Name(0)), std::nullopt);
    ExpectConsistent();
  }
}

TEST_F(IndexMemoryTest, AHigherLimitMapsAllAgainAndALowerOneDropsIt) {
  Load();
  store().SetIndexMemory(0);
  EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().unmapped_keys == 0; }));
  ExpectConsistent();
  ExpectValues();
  driver_->Demote(Names());
  // A map that is complete knows without a look at the index what is absent.
  EXPECT_EQ(store().Stats().unmapped_keys, 0u);
  store().SetIndexMemory(1);
  EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().cold_map_bytes == 0; }));
  EXPECT_EQ(store().Stats().unmapped_keys, uint64_t{kKeys});
  ExpectConsistent();
  ExpectValues();
}

// What the rebuild has read of the index is taken in pieces: keys change, come, go and leave RAM
// between them.
TEST_F(IndexMemoryTest, KeysChangeWhileTheMapGrowsAndAfterACrash) {
  Load();
  Random random(5);
  std::vector<std::optional<int>> versions(kKeys, 0);
  auto change = [&](int version) {
    for (int i = 0; i < 8; ++i) {
      const int key = static_cast<int>(random.Below(kKeys));
      if (random.Below(3) == 0) {
        EXPECT_EQ(driver_->Delete(Name(key)), versions[key].has_value()) << key;
        versions[key] = std::nullopt;
      } else {
        driver_->Set(Name(key), Value(key, version));
        versions[key] = version;
      }
      if (random.Below(2) == 0) driver_->Demote({Name(key)});
    }
  };
  int version = 0;
  for (int round = 0; round < 12; ++round) {
    if (round % 3 == 2) {
      Crash();
    } else {
      store().SetIndexMemory(1);
      EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().cold_map_bytes == 0; }));
    }
    store().SetIndexMemory(0);
    auto is_whole = [&] {
      change(++version);
      const StoreStats stats = store().Stats();
      return stats.cold_map_complete && stats.unmapped_keys == 0;
    };
    EXPECT_TRUE(driver_->RunUntil(is_whole)) << round;
  }
  ExpectConsistent();
  for (int i = 0; i < kKeys; ++i) {
    std::optional<std::string> expected;
    if (versions[i]) expected = Value(i, *versions[i]);
    ASSERT_EQ(driver_->Get(Name(i)), expected) << i;
  }
}

TEST_F(IndexMemoryTest, BlindWritesAreSettledBeforeTheirPartIsDropped) {
  store().SetIndexMemory(0);
  for (int i = 0; i < kKeys; ++i) driver_->Set(Name(i), Value(i));
  driver_->Demote(Names());
  store().SetIndexMemory(1);
  for (int i = 0; i < kKeys; ++i) driver_->Set(Name(i), Value(i, 1));
  EXPECT_EQ(driver_->Count(), uint64_t{kKeys});
  driver_->Demote(Names());
  EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().cold_map_bytes == 0; }));
  EXPECT_EQ(driver_->Count(), uint64_t{kKeys});
  ExpectConsistent();
  ExpectValues(1);
}

TEST_F(IndexMemoryTest, PagesOfCollectionsAreLeftToTheIndex) {
  options_.index_memory_bytes = 1;
  Restart();
  const std::string name = "list";
  std::set<std::string> expected;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = Value(i);
    expected.insert(text);
    driver_->WaitForRoom(4096);
    ASSERT_TRUE(driver_
                    ->Run({driver_->Wants(name, Access::kUpdate)},
                          [&] {
                            Collection pages(store().database(0), store().Key(name),
                                             ValueType::kList);
                            return test::InsertString(&pages, text);
                          })
                    .ok());
    if (i % 500 == 499) {
      driver_->Demote({name});
    }
  }
  EXPECT_TRUE(driver_->RunUntil([&] { return store().Stats().unmapped_keys > 40; }));
  std::set<std::string> found;
  ASSERT_TRUE(driver_
                  ->Run({driver_->Wants(name, Access::kRead)},
                        [&] {
                          found.clear();
                          Collection pages(store().database(0), store().Key(name),
                                           ValueType::kList);
                          return test::ReadStrings(&pages, &found);
                        })
                  .ok());
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(driver_->Delete(name));
  EXPECT_TRUE(driver_->RunUntil(
      [&] { return store().Stats().unreaped_values == 0 && store().Stats().unmapped_keys == 0; }));
  ExpectConsistent();
}

TEST_F(IndexMemoryTest, EvictionAtTheDiskLimitTakesKeysLeftToTheIndex) {
  options_.eviction = EvictionPolicy::kAllKeysRandom;
  options_.max_disk_bytes = 12 << 20;
  Restart();
  for (int i = 0; i < 60'000; ++i) {
    driver_->Set(Name(i), Value(i));
    if (i % 2000 == 1999) driver_->Demote(Names(i));
  }
  EXPECT_GT(store().Stats().evicted_keys, 0u);
  EXPECT_EQ(driver_->Get(Name(59'999)), Value(59'999));
  ExpectConsistent();
}

}  // namespace
}  // namespace firn
