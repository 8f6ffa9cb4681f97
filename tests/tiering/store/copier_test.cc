// Copies of big collections, made in slices: right whatever happens to the source meanwhile, whole
// or absent after a crash, and nothing is left of one that nobody wants any more.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/base/random.h"
#include "tests/tiering/store/collection_fixture.h"
#include "tiering/value_copy.h"

namespace firn {
namespace {

class CopierTest : public test::CollectionTest {
 protected:
  enum class Step { kWaits, kNamed, kSourceGone };

  // What COPY, or MOVE, does each time it is its turn.
  Step Try(uint32_t target_db, bool move = false) {
    Store& store = driver_->store();
    Step step = Step::kWaits;
    Status run = driver_->Run({driver_->Wants("from", Access::kUpdate),
                               driver_->Wants("to", Access::kReplace, target_db)},
                              [&] {
                                Database& source = store.database(0);
                                Database& target = store.database(target_db);
                                const HashedKey from = store.Key("from");
                                const HashedKey to = store.Key("to");
                                if (!source.Lookup(from).exists()) {
                                  step = Step::kSourceGone;
                                  return;
                                }
                                target.Lookup(to);
                                if (!source.PrepareCopy(from, target, &copy_)) return;
                                ASSERT_NE(copy_, nullptr);
                                step = Step::kNamed;
                                if (move) {
                                  source.Rename(from, target, to, copy_.get());
                                } else {
                                  source.Copy(from, target, to, copy_.get());
                                }
                              });
    EXPECT_TRUE(run.ok()) << run.message();
    return step;
  }
  // Awaits the copy, doing something each turn.
  template <typename Body>
  Step Finish(uint32_t target_db, Body body, bool move = false) {
    for (int i = 0; i < 10'000; ++i) {
      const Step step = Try(target_db, move);
      if (step != Step::kWaits) return step;
      bool ready = false;
      copy_->Await([&] { ready = true; });
      for (test::Patience patience = driver_->NewPatience(); !ready && patience.Left();) {
        body();
        driver_->Turn(0);
      }
      EXPECT_TRUE(ready);
      EXPECT_TRUE(copy_->status().ok()) << copy_->status().message();
    }
    return Step::kWaits;
  }
  uint64_t Entries() {
    StoreStats stats = driver_->store().Stats();
    return stats.hot.keys + stats.warm.keys + stats.cold.keys;
  }
  void ExpectConsistent() {
    EXPECT_TRUE(driver_->RunUntil([&] { return Settled(); }));
  }

  std::shared_ptr<ValueCopy> copy_;
};

TEST_F(CopierTest, MakesACopyInManyTurns) {
  Fill("from", 40'000);
  int turns = 0;
  EXPECT_EQ(Finish(0, [&] { ++turns; }), Step::kNamed);
  EXPECT_GT(turns, 3);
  model_["to"] = model_["from"];
  Check();
  Insert("to", "only here");
  Insert("from", "only there");
  Check();
  Crash();
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, CopiesWhatIsOnDisk) {
  Fill("from", 40'000);
  Demote("from");
  EXPECT_EQ(Finish(0, [] {}), Step::kNamed);
  model_["to"] = model_["from"];
  Demote("to");
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, HasEveryChangeOfTheSourceBeforeItsName) {
  Fill("from", 40'000);
  Random random(3);
  int turn = 0;
  EXPECT_EQ(Finish(0,
                   [&] {
                     if (++turn % 400 == 0) Demote("from");
                     if (turn > 1000) return;
                     for (int i = 0; i < 8; ++i) {
                       Insert("from", "string-" + std::to_string(random.Below(1'000'000)) + "+");
                       Erase("from", *model_["from"].lower_bound("string-" +
                                                                 std::to_string(random.Below(9))));
                     }
                   }),
            Step::kNamed);
  model_["to"] = model_["from"];
  Check();
  Crash();
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, FollowsASourceThatShrinks) {
  Fill("from", 40'000);
  EXPECT_EQ(Finish(0,
                   [&] {
                     for (int i = 0; i < 3000 && model_["from"].size() > 10; ++i) {
                       Erase("from", *model_["from"].begin());
                     }
                   }),
            Step::kNamed);
  model_["to"] = model_["from"];
  Check();
  Crash();
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, MovesToAnotherDatabase) {
  Fill("from", 40'000);
  EXPECT_EQ(Finish(
                5, [] {}, true),
            Step::kNamed);
  std::set<std::string> expected = std::exchange(model_["from"], {});
  Check();
  std::set<std::string> found;
  Run(
      "to", [&](Collection* pages) { return test::ReadStrings(pages, &found); }, 5);
  EXPECT_EQ(found, expected);
  copy_.reset();
  ExpectConsistent();
}

TEST_F(CopierTest, ReplacesWhatTheKeyHeld) {
  Fill("from", 40'000);
  Fill("to", 20'000);
  EXPECT_EQ(Finish(0, [] {}), Step::kNamed);
  model_["to"] = model_["from"];
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, ACrashOnTheWayLeavesNothing) {
  Fill("from", 40'000);
  ASSERT_TRUE(driver_->Sync().ok());
  const uint64_t before = Entries();
  EXPECT_EQ(Try(0), Step::kWaits);
  copy_->Await([] {});
  ASSERT_TRUE(driver_->RunUntil([&] { return Entries() > before + 30; }));
  Crash();
  copy_.reset();
  EXPECT_TRUE(driver_->RunUntil([&] { return Entries() <= before; })) << Entries();
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, WhatNobodyWantsAnyMoreGoes) {
  Fill("from", 40'000);
  const uint64_t before = Entries();
  EXPECT_EQ(Try(0), Step::kWaits);
  copy_->Await([] {});
  ASSERT_TRUE(driver_->RunUntil([&] { return Entries() > before + 30; }));
  copy_.reset();
  EXPECT_TRUE(driver_->RunUntil([&] { return Entries() <= before; })) << Entries();
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, IsToldWhenTheSourceGoes) {
  Fill("from", 40'000);
  int turn = 0;
  EXPECT_EQ(Finish(0,
                   [&] {
                     if (++turn == 3) driver_->Delete("from");
                   }),
            Step::kSourceGone);
  model_["from"].clear();
  copy_.reset();
  Check();
  EXPECT_TRUE(driver_->RunUntil([&] { return Entries() < 5; })) << Entries();
  ExpectConsistent();
}

TEST_F(CopierTest, BeginsAnewWithAnotherValueUnderTheKey) {
  Fill("from", 40'000);
  int turn = 0;
  EXPECT_EQ(Finish(0,
                   [&] {
                     if (++turn != 3) return;
                     driver_->Delete("from");
                     model_["from"].clear();
                     Fill("from", 30'000);
                   }),
            Step::kNamed);
  model_["to"] = model_["from"];
  Check();
  ExpectConsistent();
}

TEST_F(CopierTest, EndsWithAFlushOfEitherDatabase) {
  for (uint32_t db : {0u, 5u}) {
    Fill("from", 40'000);
    int turn = 0;
    const Step step = Finish(5, [&] {
      if (++turn == 3) driver_->store().FlushDatabase(db);
    });
    EXPECT_EQ(step, db == 0 ? Step::kSourceGone : Step::kNamed);
    if (db == 0) model_["from"].clear();
    Check();
    copy_.reset();
  }
  ExpectConsistent();
}

}  // namespace
}  // namespace firn
