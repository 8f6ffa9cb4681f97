#include "engine/types/set_value.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;

constexpr HashSecret kSecret{1, 2};

uint64_t FewHashes(HashSecret secret, std::string_view member) {
  return SipHash13(secret, member) % 7 * 0x2000'0000'0000'0001;
}

struct Shape {
  uint64_t members = 1000;
  size_t longest = 20;
  int steps = 10'000;
  HashedTree::HashFunction hash = SipHash13;
  uint64_t remove_percent = 40;
};

// A set beside a model of it; every call runs through missing pages.
class Checked {
 public:
  Checked(uint64_t seed, const Shape& shape) : random_(seed), shape_(shape) {}

  SetValue Value() { return SetValue(&space_, kSecret, shape_.hash); }

  std::string RandomMember() {
    uint64_t number = random_.Below(shape_.members);
    std::string member = std::to_string(number);
    Random length(number);
    if (shape_.longest > 0) member.resize(member.size() + length.Below(shape_.longest), 'x');
    return member;
  }

  void AddSome() {
    std::vector<std::string> members(1 + random_.Below(4));
    for (std::string& member : members) member = RandomMember();
    RunFetching(&space_, [&] {
      SetValue value = Value();
      bool all = true;
      for (const std::string& member : members) all &= value.Want(member);
      if (!all) return false;
      value.Announce({.first = members[0], .members = members.size()}, limits_);
      for (const std::string& member : members) {
        SetValue::Place place;
        EXPECT_TRUE(value.Find(member, &place));
        EXPECT_EQ(place.found, !model_.insert(member).second);
        if (!place.found) value.Add(place, member, limits_);
      }
      return true;
    });
  }

  void RemoveSome() {
    std::vector<std::string> members(1 + random_.Below(4));
    for (std::string& member : members) member = RandomMember();
    RunFetching(&space_, [&] {
      SetValue value = Value();
      bool all = true;
      for (const std::string& member : members) all &= value.Want(member);
      if (!all) return false;
      for (const std::string& member : members) {
        SetValue::Place place;
        value.FindAgain(member, &place);
        EXPECT_EQ(place.found, model_.erase(member) == 1);
        if (place.found) value.Remove(place);
      }
      return true;
    });
  }

  void PopRanks(uint64_t count) {
    std::vector<uint64_t> ranks;
    for (uint64_t rank = 0, left = std::min<uint64_t>(count, model_.size()); left > 0; ++rank) {
      if (random_.Below(model_.size() - rank) >= left) continue;
      ranks.push_back(rank);
      --left;
    }
    if (ranks.empty()) return;
    RunFetching(&space_, [&] {
      SetValue value = Value();
      if (!value.WantRanks(ranks)) return false;
      for (uint64_t rank : ranks) EXPECT_EQ(model_.erase(std::string(value.At(rank))), 1u);
      value.RemoveRanks(ranks);
      return true;
    });
  }

  void Check() {
    ASSERT_EQ(Value().exists(), !model_.empty());
    ASSERT_EQ(Value().count(), model_.size());
    RunFetching(&space_, [&] { return Value().WantAll(); });
    std::set<std::string> found;
    uint64_t bytes = 0;
    SetValue value = Value();
    value.ForEach([&](std::string_view member) {
      found.emplace(member);
      bytes += member.size();
    });
    EXPECT_EQ(found, model_);
    EXPECT_GE(Value().TotalBytes(), bytes);
    found.clear();
    SetValue::ScanBatch batch;
    do {
      const uint64_t cursor = batch.next;
      RunFetching(&space_, [&] { return Value().Scan(cursor, 10, &batch); });
      for (std::string_view member : batch.members) {
        ASSERT_TRUE(found.emplace(member).second);
      }
      if (random_.Below(4) == 0) space_.DemoteAll();
    } while (batch.next != 0);
    EXPECT_EQ(found, model_);
  }

  void Run() {
    for (int i = 0; i < shape_.steps; ++i) {
      if (random_.Below(100) < shape_.remove_percent) {
        RemoveSome();
      } else {
        AddSome();
      }
      if (random_.Below(50) == 0) PopRanks(1 + random_.Below(random_.Below(4) == 0 ? 50 : 2));
      if (random_.Below(50) == 0) space_.DemoteAll();
      if (random_.Below(1000) == 0) Check();
    }
    Check();
    while (!model_.empty()) {
      PopRanks(1 + random_.Below(model_.size()));
      if (random_.Below(4) == 0) space_.DemoteAll();
    }
    Check();
    EXPECT_TRUE(space_.pages().empty());
  }

 private:
  Random random_;
  const Shape shape_;
  const SetLimits limits_;
  MemoryPageSpace space_;
  std::set<std::string> model_;
};

TEST(SetValueTest, SmallSetsDoAsTheModel) { Checked(1, {.members = 50}).Run(); }
TEST(SetValueTest, IntegersDoAsTheModel) {
  Checked(2, {.members = 100'000, .longest = 0, .remove_percent = 20}).Run();
}
TEST(SetValueTest, LargeSetsDoAsTheModel) {
  Checked(3, {.members = 30'000, .steps = 20'000, .remove_percent = 30}).Run();
}
TEST(SetValueTest, LongMembersDoAsTheModel) {
  Checked(4, {.members = 1000, .longest = 600}).Run();
  Checked(5, {.members = 40, .longest = 100'000, .steps = 500}).Run();
}
TEST(SetValueTest, MembersOfEqualHashesDoAsTheModel) {
  Checked(6, {.members = 2000, .steps = 3000, .hash = FewHashes}).Run();
}

TEST(SetValueTest, ABuiltSetHasItsMembers) {
  for (int count : {1, 10, 600, 20'000}) {
    std::vector<std::string> texts;
    for (int i = 0; i < count; ++i) texts.push_back("member:" + std::to_string(i * 7));
    texts.push_back(std::string(20'000, 'x'));
    std::vector<std::string_view> members(texts.begin(), texts.end());
    MemoryPageSpace space;
    SetValue value(&space, kSecret);
    value.Build(members, SetEncoding::kHashtable);
    EXPECT_EQ(value.count(), members.size());
    EXPECT_STREQ(SetEncodingName(space.Root()), "hashtable");
    for (std::string_view member : members) {
      SetValue::Place place;
      ASSERT_TRUE(value.Find(member, &place));
      EXPECT_TRUE(place.found);
    }
    std::set<std::string_view> found;
    value.ForEach([&](std::string_view member) { found.insert(member); });
    EXPECT_EQ(found.size(), members.size());
  }
}

std::string Encoding(const std::vector<std::string>& members, uint64_t at_once = 1,
                     const SetLimits& limits = {}) {
  MemoryPageSpace space;
  SetValue value(&space, kSecret);
  for (size_t i = 0; i < members.size(); ++i) {
    if (i % at_once == 0) {
      value.Announce({.first = members[i], .members = std::min(at_once, members.size() - i)},
                     limits);
    }
    SetValue::Place place;
    EXPECT_TRUE(value.Find(members[i], &place));
    if (!place.found) value.Add(place, members[i], limits);
  }
  return SetEncodingName(space.Root());
}

std::vector<std::string> Numbers(int count) {
  std::vector<std::string> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(std::to_string(i));
  return numbers;
}

TEST(SetValueTest, EncodingFollowsTheLimits) {
  EXPECT_EQ(Encoding({"1", "-5", "9223372036854775807"}), "intset");
  EXPECT_EQ(Encoding({"1", "9223372036854775808"}), "listpack");
  EXPECT_EQ(Encoding({"1", "01"}), "listpack");
  EXPECT_EQ(Encoding({"1", std::string(65, 'x')}), "hashtable");
  EXPECT_EQ(Encoding(Numbers(512)), "intset");
  EXPECT_EQ(Encoding(Numbers(513)), "hashtable");
  EXPECT_EQ(Encoding(Numbers(513), 1000), "hashtable");
  std::vector<std::string> mixed = Numbers(127);
  mixed.push_back("x");
  EXPECT_EQ(Encoding(mixed), "listpack");
  mixed.push_back("y");
  EXPECT_EQ(Encoding(mixed), "hashtable");
  EXPECT_EQ(Encoding({"a", "b", "c"}, 3, {.max_listpack_entries = 2}), "hashtable");
  EXPECT_EQ(Encoding({"100", "a"}, 1, {.max_listpack_value = 2}), "hashtable");
}

TEST(SetValueTest, AnIntsetIsVisitedInAscendingOrder) {
  MemoryPageSpace space;
  SetValue value(&space, kSecret);
  value.Announce({.first = "5"}, {});
  for (const char* member : {"5", "-100", "17", "-9", "0", "-10", "9223372036854775807"}) {
    SetValue::Place place;
    ASSERT_TRUE(value.Find(member, &place));
    value.Add(place, member, {});
  }
  std::vector<std::string> members;
  value.ForEach([&](std::string_view member) { members.emplace_back(member); });
  EXPECT_EQ(members,
            (std::vector<std::string>{"-100", "-10", "-9", "0", "5", "17", "9223372036854775807"}));
}

}  // namespace
}  // namespace firn
