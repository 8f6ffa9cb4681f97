// Collections on the real store: pages that leave RAM one by one, changes that are replayed after a
// crash, values that are deleted in slices. The data type is the simplest there is, a list of
// sorted strings, so that only the pages matter.
#include "tiering/collection.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "engine/base/random.h"
#include "support/store_driver.h"
#include "support/string_set.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/posix_file.h"

namespace firn {
namespace {

using test::EraseString;
using test::InsertString;
using test::ReadStrings;

class CollectionTest : public ::testing::Test {
 protected:
  using Model = std::map<std::string, std::set<std::string>>;

  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "firn-pages-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    options_.directory = pattern;
    options_.segment_size_bytes = 1 << 20;
    options_.random_seed = 7;
    options_.warm_memory_bytes = 1 << 20;
    files_ = io::CreatePosixFileSystem();
    Open();
  }
  void TearDown() override {
    if (driver_) driver_->Abandon();
    driver_.reset();
    loop_.reset();
    std::filesystem::remove_all(options_.directory);
  }
  void Open() {
    driver_.reset();
    std::string notice;
    auto loop = io::CreateNetLoop({}, &notice);
    ASSERT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
    driver_ = std::make_unique<test::StoreDriver>(
        options_, StoreEnvironment{.file_system = files_.get(), .loop = loop_.get()});
    Status status = driver_->Open();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void Crash() {
    driver_->Abandon();
    Open();
  }
  void Restart() {
    ASSERT_TRUE(driver_->Close().ok());
    Open();
  }

  // As the dispatcher runs a command: again after each fetch of what was missing.
  template <typename Body>
  void Run(const std::string& key, Body body, uint32_t db = 0) {
    Store& store = driver_->store();
    ASSERT_EQ(driver_->WaitForRoom(64 << 10), Store::WriteGate::kOk);
    Ticket ticket;
    std::vector<KeyAccess> keys = {driver_->Wants(key, Access::kUpdate, db)};
    PlanResult result = store.Plan(keys, &ticket);
    for (int turns = 0; turns < 100'000; ++turns) {
      if (result == PlanResult::kReady) {
        Collection pages(store.database(db), keys[0].key, ValueType::kList);
        bool through = body(&pages);
        ASSERT_EQ(through, !store.pages_missing());
        if (through) break;
        result = store.PlanMissing(keys, &ticket);
      } else {
        ASSERT_EQ(result, PlanResult::kWaiting) << ticket.error().message();
        driver_->Turn();
        if (!ticket.waiting()) result = store.Plan(keys, &ticket);
      }
    }
    store.Release(&ticket);
    Status status = store.TakeRunError();
    EXPECT_TRUE(status.ok()) << status.message();
  }
  void Insert(const std::string& key, const std::string& text) {
    Run(key, [&](Collection* pages) { return InsertString(pages, text); });
    model_[key].insert(text);
  }
  void Erase(const std::string& key, const std::string& text) {
    Run(key, [&](Collection* pages) { return EraseString(pages, text); });
    model_[key].erase(text);
  }
  void Check() {
    for (const auto& [key, strings] : model_) {
      std::set<std::string> found;
      Run(key, [&](Collection* pages) { return ReadStrings(pages, &found); });
      ASSERT_EQ(found.size(), strings.size()) << key;
      ASSERT_EQ(found, strings) << key;
    }
  }
  void Fill(const std::string& key, int count) {
    for (int i = 0; i < count; ++i) Insert(key, "string-" + std::to_string(i * 7919 % 1'000'003));
  }
  void Demote(const std::string& key) { driver_->Demote({key}); }
  bool Settled() {
    Status status = driver_->store().CheckConsistency();
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kBusy) << status.message();
    return status.code() != StatusCode::kBusy;
  }

  StoreOptions options_;
  std::unique_ptr<io::FileSystem> files_;
  std::unique_ptr<io::NetLoop> loop_;
  std::unique_ptr<test::StoreDriver> driver_;
  Model model_;
};

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
    return stats.hot.keys + stats.cold.keys;
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
    return stats.hot.keys + stats.cold.keys;
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
