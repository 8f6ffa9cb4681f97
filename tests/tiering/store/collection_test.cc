// Collections on the real store: pages that leave RAM one by one, changes that are replayed after a
// crash, values that are deleted in slices. The data type is the simplest there is, a list of
// sorted strings, so that only the pages matter.
#include "tiering/collection.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/base/random.h"
#include "tests/tiering/store/collection_fixture.h"

namespace firn {
namespace {

using test::CollectionTest;
using test::InsertString;

TEST_F(CollectionTest, LivesOverDemotionAndRestart) {
  Fill("small", 3);
  Fill("large", 8000);
  Check();
  Demote("large");
  Demote("small");
  Check();
  Restart();
  Check();
  Insert("large", "another");
  Crash();
  Check();
  EXPECT_TRUE(driver_->RunUntil([&] { return Settled(); }));
}

TEST_F(CollectionTest, AMissFetchesOnlyTheWayToARow) {
  Fill("large", 20'000);
  Demote("large");
  uint64_t before = driver_->store().Stats().fetches;
  Run("large", [](Collection* pages) { return InsertString(pages, "string-5000"); });
  EXPECT_LE(driver_->store().Stats().fetches - before, 3u);
}

TEST_F(CollectionTest, RandomChangesSurviveCrashesAndDemotions) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    for (int step = 0; step < 6000; ++step) {
      std::string key = "key:" + std::to_string(random.Below(4));
      std::string text = std::to_string(random.Below(2000));
      text.resize(text.size() + random.Below(60), '.');
      bool erase = random.Below(100) < 40;
      if (erase && !model_[key].empty()) {
        auto at = model_[key].lower_bound(text.substr(0, 2));
        text = at == model_[key].end() ? *model_[key].begin() : *at;
      }
      erase ? Erase(key, text) : Insert(key, text);
      uint64_t dice = random.Below(1500);
      if (dice < 10) Demote(key);
      if (dice == 20) Crash();
      if (dice == 21) Restart();
      if (dice == 22) {
        driver_->Delete(key);
        model_[key].clear();
      }
      if (HasFatalFailure()) return;
    }
    Check();
    if (HasFatalFailure()) return;
  }
  EXPECT_TRUE(driver_->RunUntil([&] { return Settled(); }));
}

TEST_F(CollectionTest, PagesOfADeletedValueGoAlsoAfterACrash) {
  Fill("gone", 20'000);
  Fill("kept", 5000);
  driver_->Delete("gone");
  model_["gone"].clear();
  Crash();
  Check();
  auto pages_left = [&] {
    StoreStats stats = driver_->store().Stats();
    return stats.hot.keys + stats.warm.keys + stats.cold.keys;
  };
  uint64_t kept = 5000 * 20 / kMaxLeafBytes * 3 + 10;
  EXPECT_TRUE(driver_->RunUntil([&] { return pages_left() < kept; })) << pages_left();
  Check();
}

TEST_F(CollectionTest, PagesOfAColdDeletedValueGo) {
  Fill("gone", 20'000);
  Demote("gone");
  driver_->Set("gone", "a string now");
  model_.erase("gone");
  auto pages_left = [&] {
    StoreStats stats = driver_->store().Stats();
    return stats.hot.keys + stats.warm.keys + stats.cold.keys;
  };
  EXPECT_TRUE(driver_->RunUntil([&] { return pages_left() < 5; })) << pages_left();
  EXPECT_EQ(driver_->Get("gone"), "a string now");
}

TEST_F(CollectionTest, RenamesAndCopiesKeepWhatWasThere) {
  Fill("from", 9000);
  Status run = driver_->Run(
      {driver_->Wants("from", Access::kUpdate), driver_->Wants("to", Access::kReplace)}, [&] {
        Store& store = driver_->store();
        store.database(0).Lookup(store.Key("from"));
        store.database(0).Rename(store.Key("from"), store.database(0), store.Key("to"));
      });
  EXPECT_TRUE(run.ok());
  model_["to"] = std::exchange(model_["from"], {});
  Check();
  run = driver_->Run(
      {driver_->Wants("to", Access::kUpdate), driver_->Wants("copy", Access::kReplace)}, [&] {
        Store& store = driver_->store();
        ASSERT_TRUE(store.database(0).WantAllPages(store.Key("to")));
        store.database(0).Copy(store.Key("to"), store.database(0), store.Key("copy"));
      });
  EXPECT_TRUE(run.ok());
  model_["copy"] = model_["to"];
  Insert("copy", "only here");
  Insert("to", "only there");
  Crash();
  Check();
}

TEST_F(CollectionTest, AFlushTakesThePagesToo) {
  Fill("large", 9000);
  Demote("large");
  driver_->store().FlushDatabase(0);
  model_["large"].clear();
  Check();
  Fill("large", 100);
  Crash();
  Check();
}

}  // namespace
}  // namespace firn
