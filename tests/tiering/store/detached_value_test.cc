#include "tiering/detached_value.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/types/zset_value.h"
#include "tests/tiering/store/collection_fixture.h"
#include "tiering/frozen_rows.h"

namespace firn {
namespace {

using test::CollectionTest;

constexpr int kCount = 40'000;

class DetachedValueTest : public CollectionTest {
 protected:
  Database& db() { return driver_->store().database(0); }
  HashSecret Secret() {
    return Collection(db(), driver_->store().Key("k"), ValueType::kZset).secret();
  }

  std::unique_ptr<DetachedValue> Make(int count) {
    std::vector<std::string> members;
    std::vector<ZsetElement> elements;
    for (int i = 0; i < count; ++i) members.push_back("member:" + std::to_string(i));
    for (int i = 0; i < count; ++i) elements.push_back({members[i], static_cast<double>(i)});
    auto value = std::make_unique<DetachedValue>(db());
    ZsetValue(&value->pages(), Secret()).Build(elements, {});
    return value;
  }
  // At most so many slices; how many it has written.
  int Write(DetachedValue* value, int slices) {
    int written = 0;
    for (test::Patience patience = driver_->NewPatience(); patience.Left();) {
      if (written == slices) return written;
      switch (value->WriteSlice()) {
        case DetachedValue::Written::kAll:
          return written;
        case DetachedValue::Written::kMore:
          ++written;
          break;
        case DetachedValue::Written::kLater:
          break;
        case DetachedValue::Written::kFailed:
          ADD_FAILURE() << "no room";
          return written;
      }
      driver_->Turn();
    }
    return written;
  }
  void Install(const std::string& key, DetachedValue* value) {
    const Status run = driver_->Run({driver_->Wants(key, Access::kReplace)}, [&] {
      driver_->store().BeginGroup();
      value->Install(db(), driver_->store().Key(key), ValueType::kZset);
      driver_->store().EndGroup();
    });
    EXPECT_TRUE(run.ok()) << run.message();
  }
  // The elements in the order of their ranks.
  std::vector<std::string> Members(const std::string& key) {
    std::vector<std::string> members;
    const Status run = driver_->Run({driver_->Wants(key, Access::kRead)}, [&] {
      members.clear();
      const Database::KeyInfo info = db().Lookup(driver_->store().Key(key));
      if (!info.exists()) return true;
      Collection pages(db(), driver_->store().Key(key), ValueType::kZset);
      if (!CountedTree::WantValue(&pages)) return false;
      ZsetValue zset(&pages, pages.secret());
      const RankRange all{.first = 0, .end = zset.count()};
      zset.ForEach(all, [&](const ZsetElement& element) { members.emplace_back(element.member); });
      double score = -1;
      for (uint64_t i = 0; i < all.end; i += 97) {
        EXPECT_EQ(zset.Score(members[i], &score), ZsetValue::Lookup::kPresent);
        EXPECT_EQ(score, static_cast<double>(i));
      }
      return true;
    });
    EXPECT_TRUE(run.ok()) << run.message();
    return members;
  }
  uint64_t Entries() {
    const StoreStats stats = driver_->store().Stats();
    return stats.hot.keys + stats.warm.keys + stats.cold.keys;
  }
  void ExpectConsistent() {
    EXPECT_TRUE(driver_->RunUntil([&] { return Settled(); }));
  }
  void ExpectZset(const std::string& key, int count) {
    const std::vector<std::string> members = Members(key);
    ASSERT_EQ(members.size(), static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) ASSERT_EQ(members[i], "member:" + std::to_string(i));
  }
};

TEST_F(DetachedValueTest, IsWrittenInSlicesAndBecomesAKey) {
  auto value = Make(kCount);
  EXPECT_GT(Write(value.get(), 1000), 3);
  Install("k", value.get());
  value.reset();
  ExpectZset("k", kCount);
  Demote("k");
  ExpectZset("k", kCount);
  Restart();
  ExpectZset("k", kCount);
}

TEST_F(DetachedValueTest, TakesThePlaceOfWhatWasThere) {
  Insert("k", "a string");
  auto small = Make(3);
  Write(small.get(), 1000);
  Install("k", small.get());
  ExpectZset("k", 3);
  auto large = Make(kCount);
  Write(large.get(), 1000);
  Install("k", large.get());
  ExpectZset("k", kCount);
  small = Make(4);
  Write(small.get(), 1000);
  Install("k", small.get());
  ExpectZset("k", 4);
}

TEST_F(DetachedValueTest, NothingIsLeftOfHalfAValue) {
  Insert("other", "a string");
  ASSERT_TRUE(driver_->Sync().ok());
  const uint64_t before = Entries();
  for (const bool crash : {false, true}) {
    auto value = Make(kCount);
    EXPECT_EQ(Write(value.get(), 2), 2);
    EXPECT_GT(Entries(), before + 100);
    if (crash) Crash();
    value.reset();
    EXPECT_TRUE(driver_->RunUntil([&] { return Entries() <= before; })) << Entries();
    Check();
    ExpectConsistent();
  }
}

TEST_F(DetachedValueTest, IsWholeAfterACrash) {
  Insert("k", "a string");
  auto value = Make(kCount);
  Write(value.get(), 1000);
  Install("k", value.get());
  ASSERT_TRUE(driver_->Sync().ok());
  Crash();
  value.reset();
  ExpectZset("k", kCount);
  ExpectConsistent();
}

TEST_F(DetachedValueTest, FrozenRowsAreTheValueAsItWas) {
  auto value = Make(kCount);
  Write(value.get(), 1000);
  Install("k", value.get());
  std::unique_ptr<FrozenValue> frozen;
  const Status run = driver_->Run({driver_->Wants("k", Access::kRead)}, [&] {
    frozen = std::make_unique<FrozenValue>(db(), driver_->store().Key("k"));
  });
  ASSERT_TRUE(run.ok());
  Demote("k");
  FrozenRows rows(frozen.get(), 100, kCount - 300);
  uint64_t next = 100;
  int slices = 0;
  while (!rows.ended()) {
    const Status slice = driver_->Run({}, [&] {
      return rows.Read([&](const PackedRow& row) {
        ASSERT_EQ(row.bytes, "member:" + std::to_string(next));
        ++next;
      });
    });
    ASSERT_TRUE(slice.ok());
    if (++slices == 2) driver_->Delete("k");
  }
  EXPECT_GT(slices, 3);
  EXPECT_EQ(next, static_cast<uint64_t>(kCount - 200));
  EXPECT_TRUE(frozen->changed());
}

}  // namespace
}  // namespace firn
