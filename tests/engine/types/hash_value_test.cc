#include "engine/types/hash_value.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;
using Lookup = HashValue::Lookup;

constexpr HashSecret kSecret = {1, 2};
constexpr HashLimits kLimits;

// Many fields share the upper 52 bits, some the whole hash.
uint64_t WeakHash(HashSecret secret, std::string_view bytes) {
  return SipHash13(secret, bytes) & 0x07f0'0000'0000'001f;
}

struct ModelField {
  std::string value;
  int64_t expiry_ms = -1;
};
using Model = std::map<std::string, ModelField>;

// A hash as commands use it: first find everything, then change.
class Driver {
 public:
  explicit Driver(HashedTree::HashFunction hash = SipHash13) : hash_(hash) {}

  HashValue Value() { return HashValue(&space, kSecret, now_ms, hash_); }
  bool Set(const std::string& name, const ModelField& to, bool keep_expiry = false) {
    bool added = false;
    RunFetching(&space, [&] {
      HashValue value = Value();
      value.DropExpiredIfSmall();
      HashValue::Field field;
      Lookup lookup = value.Find(name, &field);
      if (lookup == Lookup::kMissing) return false;
      added = lookup == Lookup::kAbsent;
      value.Set(
          field,
          {.name = name, .value = to.value, .expiry_ms = to.expiry_ms, .keep_expiry = keep_expiry},
          kLimits);
      value.DropExpiredNear(name);
      return true;
    });
    return added;
  }
  uint64_t Remove(const std::vector<std::string>& names) {
    uint64_t removed = 0;
    RunFetching(&space, [&] {
      HashValue value = Value();
      value.DropExpiredIfSmall();
      bool all = true;
      for (const std::string& name : names) all &= value.Want(name);
      if (!all) return false;
      for (const std::string& name : names) {
        HashValue::Field field;
        if (!value.FindAgain(name, &field)) continue;
        value.Remove(field);
        ++removed;
      }
      return true;
    });
    EXPECT_EQ(space.FetchWanted(), 0u) << "a second pass wanted pages";
    return removed;
  }
  bool SetExpiry(const std::string& name, int64_t expiry_ms) {
    bool found = false;
    RunFetching(&space, [&] {
      HashValue value = Value();
      value.DropExpiredIfSmall();
      HashValue::Field field;
      Lookup lookup = value.Find(name, &field);
      found = lookup == Lookup::kPresent;
      if (found) value.SetExpiry(field, expiry_ms);
      return lookup != Lookup::kMissing;
    });
    return found;
  }
  std::map<std::string, ModelField> All() {
    std::map<std::string, ModelField> all;
    RunFetching(&space, [&] { return Value().WantAll(); });
    Value().ForEach([&](const PackedRow& row) {
      ModelField field{std::string(row.value), row.expiry_ms};
      EXPECT_TRUE(all.emplace(row.bytes, field).second) << "twice: " << row.bytes;
    });
    return all;
  }

  MemoryPageSpace space;
  int64_t now_ms = 1'000;

 private:
  HashedTree::HashFunction hash_;
};

void ExpectSame(const Model& model, const Model& all) {
  ASSERT_EQ(model.size(), all.size());
  for (const auto& [name, field] : model) {
    auto at = all.find(name);
    ASSERT_NE(at, all.end()) << name;
    EXPECT_EQ(at->second.value, field.value);
    EXPECT_EQ(at->second.expiry_ms, field.expiry_ms);
  }
}

void CheckShape(MemoryPageSpace* space) {
  if (!space->exists()) return;
  RootView root(space->Root());
  EXPECT_TRUE(root.small() ? PackedPage::Validate(root.packed())
                           : CountedTree::ValidateNode(root.node(0)));
  for (const auto& [number, bytes] : space->pages()) {
    if (number == kRootPage || bytes[0] == 16) continue;
    ASSERT_TRUE(PackedPage::Validate(bytes));
    EXPECT_TRUE(bytes.size() <= kMaxLeafBytes || PackedPage(bytes).rows() < 40);
  }
}

struct Mix {
  uint64_t names = 1'000;
  int steps = 10'000;
  size_t longest_value = 40;
  bool expiries = false;
  HashedTree::HashFunction hash = SipHash13;
};

void RunAgainstModel(uint64_t seed, const Mix& mix) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  Driver driver(mix.hash);
  Model model;
  for (int step = 0; step < mix.steps; ++step) {
    std::string name = "field:" + std::to_string(random.Below(mix.names));
    bool shrink = step > mix.steps * 2 / 3;
    uint64_t dice = random.Below(100);
    if (dice < (shrink ? 20u : 70u)) {
      ModelField field{std::string(random.Below(mix.longest_value + 1), 'v')};
      if (mix.expiries && dice < 30) field.expiry_ms = driver.now_ms + 1 + random.Below(3'000);
      bool keep = random.Below(4) == 0;
      auto old = model.find(name);
      ASSERT_EQ(driver.Set(name, field, keep), old == model.end());
      if (keep && old != model.end()) field.expiry_ms = old->second.expiry_ms;
      model[name] = field;
    } else if (dice < 95) {
      std::vector<std::string> names = {name, name};
      for (uint64_t i = random.Below(6); i-- > 0 && !model.empty();) {
        auto at = model.lower_bound("field:" + std::to_string(random.Below(mix.names)));
        if (at != model.end()) names.push_back(at->first);
      }
      uint64_t gone = 0;
      for (const std::string& each : names) gone += model.erase(each);
      ASSERT_EQ(driver.Remove(names), gone);
    } else if (mix.expiries) {
      int64_t expiry = random.Below(3) == 0 ? -1 : driver.now_ms + 1 + random.Below(2'000);
      auto at = model.find(name);
      ASSERT_EQ(driver.SetExpiry(name, expiry), at != model.end());
      if (at != model.end()) at->second.expiry_ms = expiry;
    }
    if (mix.expiries) {
      ++driver.now_ms;
      std::erase_if(model, [&](const auto& item) {
        return item.second.expiry_ms != -1 && item.second.expiry_ms <= driver.now_ms;
      });
    }
    if (random.Below(50) == 0) driver.space.DemoteAll();
    if (mix.expiries && random.Below(500) == 0) {
      uint64_t dropped = 0;
      RunFetching(&driver.space, [&] { return driver.Value().DropExpired(&dropped); });
      ASSERT_EQ(driver.Value().count(), model.size());
    }
    if (!mix.expiries) {
      ASSERT_EQ(driver.Value().count(), model.size());
      ASSERT_EQ(driver.space.exists(), !model.empty());
    }
    if (random.Below(1'000) == 0) ExpectSame(model, driver.All());
  }
  driver.space.DemoteAll();
  ExpectSame(model, driver.All());
  CheckShape(&driver.space);
}

TEST(HashValueTest, AgreesWithAMapWhileSmall) {
  for (uint64_t seed = 1; seed <= 3; ++seed) RunAgainstModel(seed, {.names = 14});
  for (uint64_t seed = 1; seed <= 3; ++seed) RunAgainstModel(seed, {.names = 60});
}

TEST(HashValueTest, AgreesWithAMapWhenLarge) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    RunAgainstModel(seed, {.names = 30'000, .steps = 40'000});
  }
}

TEST(HashValueTest, AgreesWithAMapOfLongValues) {
  RunAgainstModel(1, {.names = 1'000, .longest_value = 600});
  RunAgainstModel(2, {.names = 100, .steps = 3'000, .longest_value = 100'000});
}

TEST(HashValueTest, AgreesWithAMapWhenHashesCollide) {
  RunAgainstModel(1, {.names = 5'000, .hash = WeakHash});
}

TEST(HashValueTest, AgreesWithAMapOfFieldsThatExpire) {
  RunAgainstModel(1, {.names = 40, .expiries = true});
  RunAgainstModel(4, {.names = 12, .longest_value = 300, .expiries = true});
  RunAgainstModel(2, {.names = 4'000, .steps = 30'000, .expiries = true});
  RunAgainstModel(3, {.names = 400, .longest_value = 600, .expiries = true});
}

// Fields that are there all the time are seen, whatever happens to others.
void RunScan(HashedTree::HashFunction hash) {
  Driver driver(hash);
  Random random(7);
  std::set<std::string> stay;
  for (int i = 0; i < 3'000; ++i) {
    driver.Set("stay:" + std::to_string(i), {"value"});
    stay.insert("stay:" + std::to_string(i));
  }
  std::multiset<std::string> seen;
  uint64_t cursor = 0;
  int batches = 0;
  do {
    HashedTree::ScanBatch batch;
    RunFetching(&driver.space, [&] { return driver.Value().Scan(cursor, 20, &batch); });
    for (const PackedRow& row : batch.rows) seen.emplace(row.bytes);
    EXPECT_TRUE(batch.rows.size() >= 20 || batch.next == 0);
    EXPECT_LT(batch.next, 1ull << 52);
    cursor = batch.next;
    ++batches;
    for (int i = 0; i < 40; ++i) {
      std::string name = "move:" + std::to_string(random.Below(4'000));
      batches % 60 < 30 ? (void)driver.Set(name, {"v"}) : (void)driver.Remove({name});
    }
    if (batches % 5 == 0) driver.space.DemoteAll();
  } while (cursor != 0 && batches < 10'000);
  EXPECT_EQ(cursor, 0u);
  for (const std::string& name : stay) EXPECT_EQ(seen.count(name), 1u) << name;
}

TEST(HashValueTest, ScansEveryFieldOnceWhileLeavesSplitAndMerge) { RunScan(SipHash13); }
TEST(HashValueTest, ScansEveryFieldOnceWhenHashesCollide) { RunScan(WeakHash); }

TEST(HashValueTest, ReadsOneLeafForOneField) {
  Driver driver;
  for (int i = 0; i < 20'000; ++i) driver.Set("field:" + std::to_string(i), {"0123456789abcdef"});
  driver.space.DemoteAll();
  HashValue value = driver.Value();
  HashValue::Field field;
  int rounds = RunFetching(&driver.space,
                           [&] { return value.Find("field:777", &field) != Lookup::kMissing; });
  EXPECT_TRUE(field.live);
  EXPECT_EQ(field.row.value, "0123456789abcdef");
  EXPECT_LE(rounds, 2);
}

TEST(HashValueTest, IsGoneWhenItsLastFieldHasExpired) {
  Driver driver;
  driver.Set("a", {"1", 2'000});
  driver.Set("b", {"2", 3'000});
  EXPECT_STREQ(HashEncoding(driver.space.Root()), "listpackex");
  driver.now_ms = 2'000;
  EXPECT_EQ(driver.Value().DropExpiredIfSmall(), 1u);
  EXPECT_EQ(driver.Value().count(), 1u);
  driver.now_ms = 3'000;
  EXPECT_EQ(driver.Value().DropExpiredIfSmall(), 1u);
  EXPECT_FALSE(driver.space.exists());
}

TEST(HashValueTest, KnowsWhetherAFieldOfATreeMayHaveExpired) {
  Driver driver;
  for (int i = 0; i < 5'000; ++i) driver.Set("field:" + std::to_string(i), {"v"});
  EXPECT_FALSE(driver.Value().MayHaveExpired());
  driver.SetExpiry("field:9", 5'000);
  driver.SetExpiry("field:10", 4'000);
  driver.SetExpiry("field:11", 6'000);
  EXPECT_FALSE(driver.Value().MayHaveExpired());
  driver.now_ms = 4'000;
  EXPECT_TRUE(driver.Value().MayHaveExpired());
  uint64_t dropped = 0;
  EXPECT_TRUE(driver.Value().DropExpired(&dropped));
  EXPECT_EQ(dropped, 1u);
  EXPECT_FALSE(driver.Value().MayHaveExpired());
  driver.now_ms = 6'000;
  EXPECT_TRUE(driver.Value().DropExpired(&dropped));
  EXPECT_EQ(dropped, 2u);
  EXPECT_EQ(driver.Value().count(), 4'997u);
}

PackedKind KindOfRoot(Driver* driver) {
  return PackedPage(RootView(driver->space.Root()).packed()).kind();
}

TEST(HashValueTest, AFewShortFieldsHaveAPageWithoutTags) {
  Driver driver;
  Model model;
  const auto set = [&](const std::string& name, const ModelField& field) {
    driver.Set(name, field);
    model[name] = field;
    ExpectSame(model, driver.All());
    CheckShape(&driver.space);
  };
  for (int i = 0; i < 16; ++i) set("field:" + std::to_string(i), {std::string(10, 'v')});
  EXPECT_EQ(KindOfRoot(&driver), PackedKind::kHashFew);
  set("field:3", {"another"});
  EXPECT_EQ(KindOfRoot(&driver), PackedKind::kHashFew);
  set("one more", {"value"});
  EXPECT_EQ(KindOfRoot(&driver), PackedKind::kHash);
  set("field:3", {"a third"});
}

TEST(HashValueTest, ALongFieldOrAnExpiryGivesThePageTags) {
  for (const auto& [name, field] :
       std::vector<std::pair<std::string, ModelField>>{{"new", {std::string(300, 'v')}},
                                                       {"a", {std::string(300, 'v')}},
                                                       {std::string(300, 'n'), {"v"}},
                                                       {"new", {"v", 5'000}},
                                                       {"a", {"v", 5'000}}}) {
    for (const bool first : {true, false}) {
      Driver driver;
      Model model;
      if (!first) {
        for (const char* each : {"a", "b", "c"}) {
          driver.Set(each, {"v"});
          model[each] = {"v"};
        }
      }
      driver.Set(name, field);
      model[name] = field;
      ExpectSame(model, driver.All());
      EXPECT_NE(KindOfRoot(&driver), PackedKind::kHashFew);
      CheckShape(&driver.space);
      EXPECT_EQ(driver.Remove({name, "c"}), first ? 1u : 2u);
    }
  }
}

TEST(HashValueTest, FewFieldsThatFillAPageBecomeATree) {
  Driver driver;
  Model model;
  for (int i = 0; i < 16; ++i) {
    const std::string name = std::to_string(i) + std::string(200, 'n');
    model[name] = {std::string(250, 'v')};
    driver.Set(name, model[name]);
  }
  EXPECT_FALSE(driver.Value().small());
  ExpectSame(model, driver.All());
  CheckShape(&driver.space);
}

TEST(HashValueTest, ASmallPageWithTagsIsReadAndChanged) {
  Driver driver;
  Model model;
  PackedBuilder builder(PackedKind::kHash);
  for (int i = 0; i < 5; ++i) {
    const std::string name = "field:" + std::to_string(i);
    model[name] = {"value"};
    builder.Add(
        {.bytes = name, .value = "value", .tag = static_cast<uint8_t>(SipHash13(kSecret, name))});
  }
  std::string root{static_cast<char>(RootForm::kSmall), 0};
  driver.space.CreateRoot(root + builder.Finish());
  ExpectSame(model, driver.All());
  driver.Set("field:2", {"changed"});
  driver.Set("new", {"value"});
  EXPECT_EQ(driver.Remove({"field:0"}), 1u);
  model["field:2"] = {"changed"};
  model["new"] = {"value"};
  model.erase("field:0");
  ExpectSame(model, driver.All());
  EXPECT_EQ(KindOfRoot(&driver), PackedKind::kHash);
  CheckShape(&driver.space);
}

TEST(HashValueTest, NamesItsEncodingByTheLimits) {
  Driver driver;
  driver.Set("a", {"1"});
  EXPECT_STREQ(HashEncoding(driver.space.Root()), "listpack");
  driver.Set("a", {std::string(64, 'x')});
  EXPECT_STREQ(HashEncoding(driver.space.Root()), "listpack");
  driver.Set("a", {std::string(65, 'x')});
  EXPECT_STREQ(HashEncoding(driver.space.Root()), "hashtable");
  driver.Set("a", {"1"});
  EXPECT_STREQ(HashEncoding(driver.space.Root()), "hashtable");
  Driver many;
  for (int i = 0; i < 512; ++i) many.Set(std::to_string(i), {"1"});
  EXPECT_STREQ(HashEncoding(many.space.Root()), "listpack");
  many.Set("one more", {"1"});
  EXPECT_STREQ(HashEncoding(many.space.Root()), "hashtable");
}

}  // namespace
}  // namespace firn
