#include "engine/keyspace/table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/base/random.h"

namespace firn {
namespace {

constexpr HashSecret kSecret = {.low = 0x0123456789abcdef, .high = 0xfedcba9876543210};

class TableTest : public ::testing::Test {
 protected:
  HashedKey Key(const std::string& key) const { return {key, table_.HashOf(key)}; }
  static std::string Name(uint64_t i) { return "key:" + std::to_string(i); }

  Entry* Add(const std::string& key) {
    Entry* entry = Entry::Create({.key = key, .value = "v"});
    table_.Insert(Key(key), entry);
    return entry;
  }
  void Drop(const std::string& key) {
    Entry* entry = table_.Find(Key(key));
    ASSERT_NE(entry, nullptr);
    table_.Remove(Key(key), entry);
    Entry::Free(entry);
  }
  void AddMany(uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; ++i) Add(Name(i));
  }
  void DropMany(uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; ++i) Drop(Name(i));
  }
  void Settle() {
    while (table_.Step()) {
    }
  }

  Table table_{kSecret};
};

TEST_F(TableTest, EmptyTableFindsNothing) {
  EXPECT_EQ(table_.Find(Key("a")), nullptr);
  EXPECT_EQ(table_.Sample(1), nullptr);
  EXPECT_FALSE(table_.Step());
  int visits = 0;
  EXPECT_EQ(table_.Walk(0, 10, [&](Entry*) { ++visits; }), 0u);
  EXPECT_EQ(visits, 0);
  table_.CheckInvariants();
}

TEST_F(TableTest, AgreesWithAModelUnderRandomChanges) {
  Random random(2);
  std::unordered_map<std::string, Entry*> model;
  for (int i = 0; i < 100'000; ++i) {
    // Phases of mostly insertions and mostly removals: the table grows and shrinks several times.
    const bool growing = i / 25'000 % 2 == 0;
    const std::string key = Name(random.Below(20'000));
    const auto known = model.find(key);
    ASSERT_EQ(table_.Find(Key(key)), known == model.end() ? nullptr : known->second);
    const uint64_t action = random.Below(10);
    if (action == 0) {
      table_.Step();
    } else if (action < (growing ? 8 : 3)) {
      if (known == model.end()) {
        model[key] = Add(key);
      } else {
        Entry* entry = Entry::Create({.key = key, .value = "replaced"});
        table_.Replace(Key(key), known->second, entry);
        Entry::Free(known->second);
        known->second = entry;
      }
    } else if (known != model.end()) {
      table_.Remove(Key(key), known->second);
      Entry::Free(known->second);
      model.erase(known);
    }
    ASSERT_EQ(table_.size(), model.size());
    if (i % 5'000 == 0) table_.CheckInvariants();
  }
  table_.CheckInvariants();
  for (const auto& [key, entry] : model) ASSERT_EQ(table_.Find(Key(key)), entry);
}

TEST_F(TableTest, MemoryIsAboutEightBytesAnEntryAtAnySize) {
  for (uint64_t size : {10'000u, 30'000u, 50'000u, 70'000u, 100'000u}) {
    AddMany(table_.size(), size);
    Settle();
    EXPECT_LE(table_.MemoryBytes(), size * 10.5);
  }
}

TEST_F(TableTest, ShrinksToNothingWhenEmptied) {
  const uint64_t empty = table_.MemoryBytes();
  AddMany(0, 50'000);
  DropMany(0, 50'000);
  Settle();
  EXPECT_EQ(table_.MemoryBytes(), empty);
  table_.CheckInvariants();
}

TEST_F(TableTest, StepFinishesWhatIsLeftOfAResize) {
  AddMany(0, 32 * 1024 + 1);
  bool more = true;
  for (int i = 0; i < 1'000 && more; ++i) more = table_.Step();
  EXPECT_FALSE(more);
  table_.CheckInvariants();
}

TEST_F(TableTest, WalkVisitsEveryEntryOnceInOrderOfHashes) {
  AddMany(0, 40'000);
  Settle();
  std::unordered_set<Entry*> seen;
  uint64_t cursor = 0;
  do {
    uint64_t visits = 0;
    const uint64_t next = table_.Walk(cursor, 50, [&](Entry* entry) {
      const uint64_t hash = table_.HashOf(entry->key());
      EXPECT_GE(hash, cursor);
      EXPECT_TRUE(seen.insert(entry).second);
      ++visits;
    });
    EXPECT_TRUE(visits >= 50 || next == 0);
    EXPECT_LE(visits, 150u);
    EXPECT_TRUE(next == 0 || next > cursor);
    cursor = next;
  } while (cursor != 0);
  EXPECT_EQ(seen.size(), 40'000u);
}

// A full cycle of Walk with changes between the calls.
class TableWalkTest : public TableTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  // About as many as a call visits: at least a partition's.
  static uint64_t PerCall() { return std::max<uint64_t>(GetParam(), 20); }

  // Walks a cycle, calling `change` between the steps; the keys met.
  template <typename Change>
  std::unordered_set<std::string> Cycle(Change change) {
    std::unordered_set<std::string> seen;
    uint64_t cursor = 0;
    do {
      cursor = table_.Walk(cursor, GetParam(),
                           [&](Entry* entry) { seen.insert(std::string(entry->key())); });
      change();
    } while (cursor != 0);
    return seen;
  }
};

TEST_P(TableWalkTest, MeetsAllThatStayedWhileTheTableGrew) {
  AddMany(0, 3'000);
  uint64_t added = 3'000;
  auto seen = Cycle([&] {
    const uint64_t end = std::min<uint64_t>(added + 40 * PerCall(), 60'000);
    AddMany(added, end);
    added = end;
  });
  EXPECT_GT(table_.size(), 20'000u);
  for (uint64_t i = 0; i < 3'000; ++i) ASSERT_TRUE(seen.contains(Name(i)));
  table_.CheckInvariants();
}

TEST_P(TableWalkTest, MeetsAllThatStayedWhileTheTableShrank) {
  AddMany(0, 60'000);
  uint64_t left = 60'000;
  auto seen = Cycle([&] {
    const uint64_t begin = std::max<uint64_t>(left - std::min(left, 5 * PerCall()), 3'000);
    if (begin < left) DropMany(begin, left);
    left = begin;
  });
  EXPECT_LT(table_.size(), 10'000u);
  for (uint64_t i = 0; i < 3'000; ++i) ASSERT_TRUE(seen.contains(Name(i)));
  table_.CheckInvariants();
}

INSTANTIATE_TEST_SUITE_P(EntriesACall, TableWalkTest, ::testing::Values(1, 20, 300));

TEST_F(TableTest, WalkRangeVisitsExactlyTheRangeAlsoDuringResize) {
  Random random(3);
  std::map<uint64_t, std::string> model;
  for (uint64_t i = 0; i < 20'000; ++i) {
    Add(Name(i));
    model[table_.HashOf(Name(i))] = Name(i);
    if (i % 100 != 0) continue;
    uint64_t first = random.Next();
    uint64_t last = random.Next();
    if (i % 300 == 0) last = first + random.Below(uint64_t{1} << 55);
    if (i % 700 == 0) first = last = model.begin()->first;
    if (i % 1'100 == 0) first = 0, last = ~uint64_t{0};
    if (first > last) std::swap(first, last);
    uint64_t visits = 0;
    table_.WalkRange(first, last, [&](Entry* entry) {
      const uint64_t hash = table_.HashOf(entry->key());
      ASSERT_TRUE(first <= hash && hash <= last);
      ++visits;
    });
    const auto expected = std::distance(model.lower_bound(first), model.upper_bound(last));
    ASSERT_EQ(visits, static_cast<uint64_t>(expected));
  }
}

TEST_F(TableTest, SampleMeetsEveryEntryAboutEquallyOften) {
  Random random(4);
  // In the midst of a growth: half of the partitions are twice as full as the others.
  AddMany(0, 32 * 64 + 32);
  std::unordered_map<Entry*, int> times;
  const int rounds = 200;
  for (uint64_t i = 0; i < table_.size() * rounds; ++i) ++times[table_.Sample(random.Next())];
  EXPECT_EQ(times.size(), table_.size());
  for (const auto& [entry, n] : times) {
    EXPECT_GT(n, rounds / 2);
    EXPECT_LT(n, rounds * 2);
  }
}

TEST_F(TableTest, SampleFindsTheLastEntriesOfATableThatWasBig) {
  AddMany(0, 20'000);
  DropMany(3, 20'000);
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < 200; ++i) seen.insert(table_.Sample(i)->key());
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(TableTest, PrefetchingChangesNothing) {
  AddMany(0, 5'000);
  for (uint64_t i = 0; i < 10'000; ++i) {
    table_.Prefetch(Key(Name(i)).hash);
    table_.PrefetchEntry(Key(Name(i)).hash);
  }
  table_.CheckInvariants();
}

// What PrefetchEntry remembers is no more than a hint.
TEST_F(TableTest, FindsWhatIsThereAfterPrefetchingAndChanges) {
  Random random(5);
  AddMany(0, 3'000);
  for (uint64_t round = 0; round < 2'000; ++round) {
    std::map<uint64_t, Entry*> wanted;
    while (wanted.size() < 32) wanted[random.Below(4'000)] = nullptr;
    for (auto& [i, entry] : wanted) {
      table_.PrefetchEntry(Key(Name(i)).hash);
      entry = table_.Find(Key(Name(i)));
    }
    for (auto& [i, entry] : wanted) {
      if (entry == nullptr && random.Below(2) == 0) {
        entry = Add(Name(i));
      } else if (entry != nullptr && random.Below(3) == 0) {
        Drop(Name(i));
        entry = nullptr;
      } else if (entry != nullptr && random.Below(2) == 0) {
        Entry* other = Entry::Create({.key = Name(i), .value = "w"});
        table_.Replace(Key(Name(i)), entry, other);
        Entry::Free(std::exchange(entry, other));
      }
    }
    for (const auto& [i, entry] : wanted) ASSERT_EQ(table_.Find(Key(Name(i))), entry) << i;
  }
  table_.CheckInvariants();
}

TEST_F(TableTest, FreesItselfInSlices) {
  AddMany(0, 10'000);
  int slices = 0;
  uint64_t before = table_.size();
  while (table_.FreeSome(100)) {
    EXPECT_LE(before - table_.size(), 200u);
    before = table_.size();
    ++slices;
  }
  EXPECT_GT(slices, 50);
  EXPECT_TRUE(table_.empty());
}

}  // namespace
}  // namespace firn
