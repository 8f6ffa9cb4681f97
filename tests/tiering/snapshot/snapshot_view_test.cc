// A snapshot shows the state of the moment when it was taken, whatever happens to the store after.

#include "tiering/snapshot/snapshot_view.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <variant>

#include "engine/base/random.h"
#include "engine/types/long_string.h"
#include "support/store_on_files.h"
#include "support/string_set.h"
#include "tiering/collection.h"
#include "tiering/snapshot/snapshot_pages.h"

namespace firn {
namespace {

struct ModelValue {
  std::string text;               // a string
  std::set<std::string> strings;  // a collection
  int64_t expiry_ms = -1;
  bool operator==(const ModelValue&) const = default;
};
using ModelDatabase = std::map<std::string, ModelValue>;
using Model = std::vector<ModelDatabase>;

constexpr uint32_t kDatabases = 3;

class SnapshotViewTest : public test::StoreOnFiles {
 protected:
  void SetUp() override {
    options_.databases = kDatabases;
    model_.resize(kDatabases);
    StoreOnFiles::SetUp();
  }

  void Set(uint32_t db, const std::string& key, const std::string& value, int64_t expiry_ms = -1) {
    Database::SetOptions options;
    if (expiry_ms >= 0) options = {Database::ExpiryChange::kSet, expiry_ms};
    driver_->Set(key, value, options, db);
    model_[db][key] = {.text = value, .expiry_ms = expiry_ms};
  }
  void Delete(uint32_t db, const std::string& key) {
    driver_->Delete(key, db);
    model_[db].erase(key);
  }
  void Append(const std::string& key, const std::string& bytes) {
    driver_->Append(key, bytes);
    model_[0][key].text += bytes;
  }
  void Expire(uint32_t db, const std::string& key, int64_t expiry_ms) {
    ASSERT_TRUE(driver_
                    ->Run({driver_->Wants(key, Access::kUpdate, db)},
                          [&] {
                            HashedKey hashed = store().Key(key);
                            ASSERT_TRUE(store().database(db).Lookup(hashed).exists());
                            store().database(db).SetExpiry(hashed, expiry_ms);
                          })
                    .ok());
    model_[db][key].expiry_ms = expiry_ms;
  }
  template <typename Body>
  void Change(uint32_t db, const std::string& key, Body body) {
    ASSERT_EQ(driver_->WaitForRoom(64 << 10), Store::WriteGate::kOk);
    ASSERT_TRUE(driver_
                    ->Run({driver_->Wants(key, Access::kUpdate, db)},
                          [&] {
                            Collection pages(store().database(db), store().Key(key),
                                             ValueType::kList);
                            return body(&pages);
                          })
                    .ok());
  }
  void Insert(uint32_t db, const std::string& key, const std::string& text) {
    Change(db, key, [&](Collection* pages) { return test::InsertString(pages, text); });
    model_[db][key].strings.insert(text);
  }
  void Erase(uint32_t db, const std::string& key, const std::string& text) {
    Change(db, key, [&](Collection* pages) { return test::EraseString(pages, text); });
    auto it = model_[db].find(key);
    if (it == model_[db].end()) return;
    it->second.strings.erase(text);
    if (it->second.strings.empty()) model_[db].erase(it);
  }

  std::unique_ptr<SnapshotView> Take(uint64_t memory_bytes = 0) {
    std::unique_ptr<SnapshotView> view;
    store().PrepareSnapshot([&](Status status) {
      ASSERT_TRUE(status.ok()) << status.message();
      auto source = store().TakeSnapshot();
      ASSERT_TRUE(source.has_value()) << source.error().message();
      if (memory_bytes != 0) (*source)->memory_bytes = memory_bytes;
      view = std::make_unique<SnapshotView>(std::move(*source));
    });
    EXPECT_TRUE(driver_->RunUntil([&] { return view != nullptr; }));
    return view;
  }
  // Everything that a snapshot shows, each key once.
  void Read(SnapshotView* view, Model* found) {
    found->assign(kDatabases, {});
    Status status = view->Open();
    ASSERT_TRUE(status.ok()) << status.message();
    for (uint32_t db = 0; db < kDatabases; ++db) {
      status = view->VisitKeys(db, [&](const SnapshotValue& value) {
        ModelValue& to = (*found)[db][std::string(value.key)];
        EXPECT_TRUE(to == ModelValue{}) << value.key;
        to.expiry_ms = value.expiry_ms;
        if (value.type == ValueType::kString) {
          to.text = value.is_integer ? std::to_string(value.integer) : std::string(value.bytes);
          return Status::Ok();
        }
        SnapshotPages pages(view, db, value.bytes);
        if (value.type == ValueType::kLongString) {
          LongString(&pages).Read({}, &to.text);
          return pages.status();
        }
        EXPECT_TRUE(test::ReadStrings(&pages, &to.strings)) << pages.status().message();
        return pages.status();
      });
      ASSERT_TRUE(status.ok()) << status.message();
    }
  }
  void ExpectShows(SnapshotView* view, const Model& expected) {
    Model found;
    Read(view, &found);
    for (uint32_t db = 0; db < kDatabases && !HasFatalFailure(); ++db) {
      ASSERT_EQ(found[db].size(), expected[db].size()) << "database " << db;
      for (const auto& [key, value] : expected[db]) {
        auto it = found[db].find(key);
        ASSERT_NE(it, found[db].end()) << key;
        ASSERT_EQ(it->second.expiry_ms, value.expiry_ms) << key;
        ASSERT_TRUE(it->second.text == value.text) << key;
        ASSERT_TRUE(it->second.strings == value.strings) << key;
      }
    }
  }

  Model model_;
};

TEST_F(SnapshotViewTest, AnEmptyStoreHasNothingToShow) { ExpectShows(Take().get(), model_); }

TEST_F(SnapshotViewTest, WritesAndDeletesAfterwardsDoNotShow) {
  for (int i = 0; i < 3000; ++i) Set(0, "key:" + std::to_string(i), std::to_string(i) + " before");
  ASSERT_TRUE(driver_->Sync().ok());
  driver_->SetInteger("number", -77);
  model_[0]["number"].text = "-77";
  auto view = Take();
  Model before = model_;
  for (int i = 0; i < 3000; i += 2) Set(0, "key:" + std::to_string(i), "after");
  for (int i = 1; i < 3000; i += 2) Delete(0, "key:" + std::to_string(i));
  Set(1, "new", "after");
  ExpectShows(view.get(), before);
}

TEST_F(SnapshotViewTest, CompactionMayRemoveWhatASnapshotReads) {
  std::string filling(2000, 'x');
  for (int i = 0; i < 3000; ++i) Set(0, "key:" + std::to_string(i), std::to_string(i) + filling);
  ASSERT_TRUE(driver_->Sync().ok());
  std::vector<std::string> names;
  for (int i = 0; i < 3000; ++i) names.push_back("key:" + std::to_string(i));
  driver_->Demote(names);
  auto view = Take();
  Model before = model_;
  uint64_t compactions = store().Stats().compactions;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 3000; ++i) Set(0, "key:" + std::to_string(i), "after" + filling);
  }
  ASSERT_TRUE(driver_->RunUntil([&] { return store().Stats().compactions >= compactions + 8; }));
  ExpectShows(view.get(), before);

  std::vector<std::weak_ptr<io::File>> removed;
  for (const SnapshotSource::Segment& segment : view->source().segments) {
    if (!std::filesystem::exists(segment.readable.file->path())) {
      removed.push_back(segment.readable.file);
    }
  }
  ASSERT_FALSE(removed.empty());
  for (const auto& file : removed) EXPECT_FALSE(file.expired());
  view->Release();
  for (const auto& file : removed) EXPECT_TRUE(file.expired());
}

TEST_F(SnapshotViewTest, FlushedAndSwappedDatabasesAreAsTheyWere) {
  Set(0, "a", "in 0");
  Set(1, "b", "in 1");
  store().SwapDatabases(0, 1);
  std::swap(model_[0], model_[1]);
  Set(0, "c", "in 0, which was 1");
  auto first = Take();
  Model at_first = model_;
  store().FlushDatabase(0);
  model_[0].clear();
  store().SwapDatabases(1, 2);
  std::swap(model_[1], model_[2]);
  Set(0, "d", "after the flush");
  auto second = Take();
  Model at_second = model_;
  store().FlushDatabase(0);
  store().FlushDatabase(2);
  ASSERT_TRUE(driver_->Sync().ok());
  ExpectShows(second.get(), at_second);
  ExpectShows(first.get(), at_first);
}

TEST_F(SnapshotViewTest, ExpiredKeysAreLeftOut) {
  int64_t now = store().now_ms();
  store().SetActiveExpire(false);
  Set(0, "short", "gone soon", now + 30);
  Set(0, "long", "stays", now + 1'000'000);
  Set(0, "none", "stays");
  std::string large(40'000, 'l');
  Set(0, "by effect", large);
  Expire(0, "by effect", now + 30);
  ASSERT_TRUE(driver_->RunUntil([&] { return store().now_ms() > now + 40; }));
  Model expected = model_;
  expected[0].erase("short");
  expected[0].erase("by effect");
  ExpectShows(Take().get(), expected);
}

TEST_F(SnapshotViewTest, LongKeysAndLongValuesAreRead) {
  std::string key(5000, 'k');
  std::string value(3 << 20, 'v');
  Set(0, key, value);
  Set(0, key + "2", "short");
  Set(0, key + "3", "short");
  ASSERT_TRUE(driver_->Sync().ok());
  ASSERT_EQ(driver_->Demote({key, key + "2", key + "3"}), 3);
  Set(0, key + "2", "newer");
  Delete(0, key + "3");
  auto view = Take();
  Model before = model_;
  Set(0, key, "after");
  ExpectShows(view.get(), before);
}

TEST_F(SnapshotViewTest, LittleMemoryOnlyMeansMorePasses) {
  std::string filling(400, 'x');
  for (int i = 0; i < 12'000; ++i) Set(0, "key:" + std::to_string(i), filling + std::to_string(i));
  ASSERT_TRUE(driver_->Sync().ok());
  ExpectShows(Take(8 * 2000).get(), model_);
}

TEST_F(SnapshotViewTest, ACancelledViewFails) {
  Set(0, "key", "value");
  auto view = Take();
  view->Cancel();
  ASSERT_TRUE(view->Open().ok());
  Status status = view->VisitKeys(0, [](const SnapshotValue&) { return Status::Ok(); });
  EXPECT_EQ(status.code(), StatusCode::kBusy);
}

TEST_F(SnapshotViewTest, ADamagedValueIsAnErrorThatNamesItsPlace) {
  for (int i = 0; i < 100; ++i) Set(0, "key:" + std::to_string(i), std::string(200, 'v'));
  ASSERT_TRUE(driver_->Sync().ok());
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("key:" + std::to_string(i));
  driver_->Demote(names);
  auto view = Take();
  ASSERT_TRUE(view->Open().ok());
  std::string path = options_.directory + "/log/" + log::SegmentFileName(1);
  auto file = files_->Open(path, {});
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE((*file)->WriteAt(log::kSegmentHeaderSize + 5000, "damage").ok());
  ASSERT_TRUE((*file)->Sync().ok());
  Status status = view->VisitKeys(0, [](const SnapshotValue&) { return Status::Ok(); });
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find(log::SegmentFileName(1)), std::string::npos);
}

// --- anything, at random

class RandomSnapshots : public SnapshotViewTest {
 protected:
  struct Taken {
    std::unique_ptr<SnapshotView> view;
    Model expected;
    int read_at = 0;
  };

  std::string AnyKey(Random& random, const char* kind) {
    std::string key = kind + std::to_string(random.Below(60));
    if (random.Below(10) == 0) key.resize(300, 'k');
    return key;
  }
  void StringStep(Random& random, uint32_t db) {
    std::string key = AnyKey(random, "s");
    uint64_t dice = random.Below(10);
    if (dice < 2) return Delete(db, key);
    if (dice == 2 && model_[db].contains(key)) {
      return Expire(db, key, random.Below(2) == 0 ? -1 : store().now_ms() + 1'000'000);
    }
    if (dice == 3 && db == 0 && model_[0].contains(key)) return Append(key, "+appended");
    uint64_t size = random.Below(20) == 0 ? random.Below(60'000) : random.Below(300);
    Set(db, key, std::string(size, static_cast<char>('a' + random.Below(26))),
        random.Below(8) == 0 ? store().now_ms() + 2'000'000 : -1);
  }
  void CollectionStep(Random& random, uint32_t db) {
    std::string key = "c" + std::to_string(random.Below(4));
    std::string text = std::to_string(random.Below(3000));
    text.resize(text.size() + random.Below(60), '.');
    for (uint64_t i = random.Below(4); i > 0; --i) Insert(db, key, text + std::to_string(i));
    if (random.Below(100) < 45 && model_[db].contains(key)) {
      auto at = model_[db][key].strings.lower_bound(text);
      if (at != model_[db][key].strings.end()) Erase(db, key, std::string(*at));
    }
    if (random.Below(400) == 0) Delete(db, key);
  }
  void RareStep(Random& random) {
    auto a = static_cast<uint32_t>(random.Below(kDatabases));
    auto b = static_cast<uint32_t>(random.Below(kDatabases));
    switch (random.Below(6)) {
      case 0:
        store().FlushDatabase(a);
        model_[a].clear();
        return;
      case 1:
        if (a == b) return;
        store().SwapDatabases(a, b);
        std::swap(model_[a], model_[b]);
        return;
      case 2:
        ASSERT_TRUE(driver_->Sync().ok());
        return;
      default: {
        std::vector<std::string> names;
        for (const auto& [key, value] : model_[a]) names.push_back(key);
        driver_->Demote(names, a);
      }
    }
  }
};

// Without durability, changes go on while RAM is brought into the log.
TEST_F(RandomSnapshots, OfAVolatileStoreShowTheStateOfTheirMoment) {
  options_.durable = false;
  driver_->Abandon();
  std::filesystem::remove_all(options_.directory);
  std::filesystem::create_directory(options_.directory);
  Open();
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    std::unique_ptr<SnapshotView> view;
    Model expected;
    bool asked = false;
    for (int step = 0; step < 12'000; ++step) {
      auto db = static_cast<uint32_t>(random.Below(kDatabases));
      random.Below(3) == 0 ? StringStep(random, db) : CollectionStep(random, db);
      if (random.Below(300) == 0) RareStep(random);
      if (random.Below(10) == 0) driver_->Turn(0);
      if (random.Below(1000) == 0 && !asked) {
        asked = true;
        store().PrepareSnapshot([&](Status status) {
          ASSERT_TRUE(status.ok()) << status.message();
          auto source = store().TakeSnapshot();
          ASSERT_TRUE(source.has_value()) << source.error().message();
          view = std::make_unique<SnapshotView>(std::move(*source));
          expected = model_;
        });
      }
      if (view != nullptr && random.Below(300) == 0) {
        ExpectShows(view.get(), expected);
        view.reset();
        asked = false;
      }
      if (HasFatalFailure()) return;
    }
    ASSERT_TRUE(driver_->RunUntil([&] { return !asked || view != nullptr; }));
  }
}

class StoreThatBecomesDurable : public RandomSnapshots {
 protected:
  void Begin() {
    driver_->Abandon();
    std::filesystem::remove_all(options_.directory);
    std::filesystem::create_directory(options_.directory);
    for (ModelDatabase& database : model_) database.clear();
    options_.durable = false;
    Open();
  }
  void Step(Random& random) {
    auto db = static_cast<uint32_t>(random.Below(kDatabases));
    random.Below(3) == 0 ? StringStep(random, db) : CollectionStep(random, db);
    if (random.Below(300) == 0) RareStep(random);
    if (random.Below(10) == 0) driver_->Turn(0);
  }
  void DieAndCompare() {
    driver_->Abandon();
    options_.durable = true;
    Open();
    ASSERT_FALSE(HasFatalFailure());
    ExpectShows(Take().get(), model_);
    for (uint32_t db = 0; db < kDatabases; ++db) EXPECT_EQ(driver_->Count(db), model_[db].size());
  }
};

TEST_F(StoreThatBecomesDurable, LosesNothingFromThenOn) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    Begin();
    bool done = false;
    for (int step = 0; step < 6000 && !HasFatalFailure(); ++step) {
      Step(random);
      if (step == 2000 && seed % 2 == 0) Take();  // a save, and then changes that aren't logged
      if (step == 4000) {
        store().MakeDurable([&](Status status) {
          done = true;
          EXPECT_TRUE(status.ok()) << status.message();
        });
      }
      // At the worst moment: just when it is done.
      if (done && seed % 3 == 0) break;
    }
    ASSERT_TRUE(driver_->RunUntil([&] { return done; }));
    EXPECT_TRUE(store().durable());
    DieAndCompare();
    // Ids of values that are given now must not be those of before.
    for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) Step(random);
    DieAndCompare();
    if (HasFatalFailure()) return;
  }
}

TEST_F(StoreThatBecomesDurable, IsEmptyAfterACrashAmidIt) {
  Begin();
  Set(0, "key", std::string(300, 'v'));
  store().MakeDurable([](const Status&) {});
  EXPECT_TRUE(store().making_durable());
  model_[0].clear();
  DieAndCompare();
}

TEST_F(RandomSnapshots, ShowTheStateOfTheirMoment) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    std::deque<Taken> taken;
    for (int step = 0; step < 12'000; ++step) {
      auto db = static_cast<uint32_t>(random.Below(kDatabases));
      random.Below(3) == 0 ? StringStep(random, db) : CollectionStep(random, db);
      if (random.Below(300) == 0) RareStep(random);
      if (random.Below(10) == 0) driver_->Turn(0);
      if (random.Below(500) == 0 && taken.size() < 4) {
        taken.push_back({Take(random.Below(2) == 0 ? 8 * 20 : 0), model_,
                         step + static_cast<int>(random.Below(3000))});
      }
      for (auto it = taken.begin(); it != taken.end();) {
        if (it->read_at > step) {
          ++it;
          continue;
        }
        ExpectShows(it->view.get(), it->expected);
        it = taken.erase(it);
      }
      if (HasFatalFailure()) return;
      if (random.Below(6000) == 0) {
        taken.clear();
        driver_->Abandon();
        Open();
      }
    }
  }
}

}  // namespace
}  // namespace firn
