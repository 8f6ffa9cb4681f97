#include "engine/keyspace/cold_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

bool IsCandidate(const ColdMap& map, uint64_t hash, ColdSlot wanted) {
  bool found = false;
  map.ForCandidates(hash, [&](ColdSlot slot) {
    found |= slot.position == wanted.position && slot.size_class == wanted.size_class;
  });
  return found;
}

TEST(SizeClassTest, CoverEverySizeAndWasteLessThanAThird) {
  uint64_t before = 0;
  for (int i = 0; i < kSizeClasses; ++i) {
    EXPECT_GT(SizeClassBytes(i), before);
    if (i > 0) {
      EXPECT_LE(SizeClassBytes(i), before * 1.3);
    }
    EXPECT_EQ(SizeClassFor(SizeClassBytes(i)), i);
    EXPECT_EQ(SizeClassFor(before + 1), i);
    before = SizeClassBytes(i);
  }
  EXPECT_EQ(SizeClassFor(0), 0);
  EXPECT_GE(before, uint64_t{600} << 20);
  for (uint64_t size = 64; size <= uint64_t{600} << 20; size += size / 1000 + 1) {
    const uint64_t bytes = SizeClassBytes(SizeClassFor(size));
    ASSERT_GE(bytes, size);
    ASSERT_LE(bytes, size * 1.3);
  }
}

TEST(ColdMapTest, PartitionsFor16To32Keys) {
  EXPECT_EQ(ColdMap::PartitionBitsFor(0), 4);
  EXPECT_EQ(ColdMap::PartitionBitsFor(~uint64_t{0}), 26);
  for (uint64_t keys = 256; keys < uint64_t{1} << 30; keys += keys / 3) {
    const uint64_t mean = keys >> ColdMap::PartitionBitsFor(keys);
    EXPECT_GE(mean, 16u);
    EXPECT_LT(mean, 32u);
  }
}

TEST(ColdMapTest, AgreesWithAModelUnderRandomChanges) {
  for (int bits : {4, 10, 26}) {
    Random random(bits);
    ColdMap map(bits);
    std::unordered_map<uint64_t, ColdSlot> model;
    std::vector<uint64_t> hashes;
    for (int i = 0; i < 4'000; ++i) hashes.push_back(random.Next());
    for (int i = 0; i < 40'000; ++i) {
      const uint64_t hash = hashes[random.Below(hashes.size())];
      const ColdSlot slot = {.position = random.Below(uint64_t{1} << 40),
                             .size_class = static_cast<int>(random.Below(kSizeClasses))};
      const auto known = model.find(hash);
      if (known == model.end()) {
        ASSERT_FALSE(map.Remove(hash, slot.position));
        ASSERT_FALSE(map.Move(hash, slot.position, slot));
        map.Insert(hash, slot);
        model[hash] = slot;
      } else if (random.Below(2) == 0) {
        ASSERT_TRUE(map.Move(hash, known->second.position, slot));
        known->second = slot;
      } else {
        ASSERT_TRUE(map.Remove(hash, known->second.position));
        ASSERT_FALSE(map.Contains(hash, known->second.position));
        model.erase(known);
      }
      ASSERT_EQ(map.size(), model.size());
    }
    const uint64_t begin = 1000 * ColdMap::kRegionPositions,
                   end = 5'000'000 * ColdMap::kRegionPositions;
    EXPECT_EQ(map.CountIn(begin, end),
              static_cast<uint64_t>(std::ranges::count_if(model, [&](const auto& known) {
                return begin <= known.second.position && known.second.position < end;
              })));
    EXPECT_EQ(map.CountIn(0, UINT64_MAX / 2), map.size());
    for (const auto& [hash, slot] : model) {
      ASSERT_TRUE(IsCandidate(map, hash, slot));
      ASSERT_TRUE(map.MayContain(hash));
      ASSERT_TRUE(map.Contains(hash, slot.position));
    }
    if (bits < 26) map.CheckInvariants();
  }
}

TEST(ColdMapTest, StalePositionsChangeNothing) {
  ColdMap map(4);
  const uint64_t hash = 0x123456789abcdef0;
  map.Insert(hash, {.position = 7, .size_class = 3});
  EXPECT_FALSE(map.Move(hash, 8, {.position = 9, .size_class = 1}));
  EXPECT_FALSE(map.Remove(hash, 8));
  EXPECT_TRUE(IsCandidate(map, hash, {.position = 7, .size_class = 3}));
  EXPECT_TRUE(map.Move(hash, 7, {.position = 9, .size_class = 1}));
  EXPECT_FALSE(map.Remove(hash, 7));
  EXPECT_EQ(map.size(), 1u);
  EXPECT_TRUE(map.Remove(hash, 9));
  EXPECT_FALSE(map.MayContain(hash));
  EXPECT_EQ(map.size(), 0u);
}

TEST(ColdMapTest, KeysThatShareATagEachHaveASlot) {
  ColdMap map(10);
  // Equal in the 28 bits that a slot knows of a hash.
  const uint64_t hash = 0xfedcba9876543210;
  for (uint64_t i = 1; i <= 20; ++i) map.Insert(hash ^ i, {.position = i, .size_class = 0});
  ColdMap::Candidates found;
  EXPECT_EQ(map.Find(hash, &found), ColdMap::kMaxCandidates);
  std::set<uint64_t> positions;
  for (const ColdSlot& slot : found.slots) positions.insert(slot.position);
  EXPECT_EQ(positions.size(), ColdMap::kMaxCandidates);
  for (uint64_t i = 1; i <= 20; ++i) EXPECT_TRUE(map.Remove(hash ^ i, i));
  EXPECT_EQ(map.Find(hash, &found), 0u);
}

TEST(ColdMapTest, OneBitOfPartitionOrTagTellsHashesApart) {
  ColdMap map(8);
  const uint64_t hash = 0x5a5a5a5a5a5a5a5a;
  map.Insert(hash, {.position = (uint64_t{1} << 40) - 1, .size_class = kSizeClasses - 1});
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_EQ(map.MayContain(hash ^ uint64_t{1} << bit), bit < 64 - 8 - 18);
  }
}

TEST(ColdMapTest, AbsentKeysRarelyHaveACandidate) {
  Random random(5);
  ColdMap map(8);
  for (uint64_t i = 0; i < 8'000; ++i) map.Insert(random.Next(), {.position = i, .size_class = 0});
  int candidates = 0;
  for (int i = 0; i < 1'000'000; ++i) candidates += map.MayContain(random.Next());
  // 8000 / 2^26: 119 of a million.
  EXPECT_GT(candidates, 60);
  EXPECT_LT(candidates, 200);
}

TEST(ColdMapTest, TakesAboutEightBytesAKey) {
  for (uint64_t keys : {100'000u, 130'000u, 190'000u, 260'000u}) {
    Random random(keys);
    ColdMap map(ColdMap::PartitionBitsFor(keys));
    for (uint64_t i = 0; i < keys; ++i) map.Insert(random.Next(), {.position = i, .size_class = 9});
    EXPECT_LE(map.MemoryBytes(), keys * 10);
    map.CheckInvariants();
  }
}

TEST(ColdMapTest, ABigDirectoryCountsOnlyOnceTouched) {
  ColdMap map(26);
  EXPECT_LT(map.MemoryBytes(), 1'000u);
  for (uint64_t i = 0; i < 100; ++i) {
    map.Insert(i << 56, {.position = i, .size_class = 0});
  }
  EXPECT_LT(map.MemoryBytes(), 100 * 8'192u);
  EXPECT_FALSE(map.FreeSome(~uint64_t{0}));
}

TEST(ColdMapTest, SampleAnswersEverySlotAboutEquallyOften) {
  Random random(6);
  ColdMap map(6);
  std::map<uint64_t, uint64_t> hash_of;
  const uint64_t size = 1'500;
  for (uint64_t i = 0; i < size; ++i) {
    hash_of[i] = random.Next();
    map.Insert(hash_of[i], {.position = i, .size_class = 1});
  }
  std::map<uint64_t, int> times;
  const int rounds = 200;
  for (uint64_t i = 0; i < size * rounds; ++i) {
    ColdSlot slot;
    uint64_t prefix;
    ASSERT_TRUE(map.Sample(random.Next(), UINT64_MAX, &slot, &prefix));
    ASSERT_EQ(prefix, hash_of[slot.position] >> 40 << 40);
    ++times[slot.position];
  }
  EXPECT_EQ(times.size(), size);
  for (const auto& [position, n] : times) {
    EXPECT_GT(n, rounds / 2);
    EXPECT_LT(n, rounds * 2);
  }
}

TEST(ColdMapTest, SampleOfANearlyEmptyMapFindsWhatIsThere) {
  ColdMap map(16);
  ColdSlot slot;
  uint64_t prefix;
  EXPECT_FALSE(map.Sample(1, UINT64_MAX, &slot, &prefix));
  map.Insert(0x1234567812345678, {.position = 42, .size_class = 2});
  ASSERT_TRUE(map.Sample(1, UINT64_MAX, &slot, &prefix));
  EXPECT_EQ(slot.position, 42u);
  EXPECT_EQ(prefix, 0x1234567812345678u >> 30 << 30);
}

TEST(ColdMapTest, DropsItsLastPartitionsAndGivesTheMemoryBack) {
  for (int bits : {6, 16}) {
    Random random(bits);
    ColdMap map(bits);
    std::vector<uint64_t> hashes;
    for (uint64_t i = 0; i < 20'000; ++i) {
      hashes.push_back(random.Next());
      map.Insert(hashes.back(), {.position = i, .size_class = 0});
    }
    const uint64_t full = map.MemoryBytes();
    const uint64_t floor = map.AlignDown(UINT64_MAX / 4);
    uint64_t end = UINT64_MAX;
    int slices = 0;
    for (; end > floor; ++slices) {
      end = map.DropTop({.floor = floor, .end = end, .max_partitions = 1 + (1ull << bits) / 8});
    }
    EXPECT_EQ(end, floor);
    EXPECT_EQ(slices, 6);
    map.CheckInvariants();
    EXPECT_LT(map.MemoryBytes(), full / 3);
    for (uint64_t i = 0; i < hashes.size(); ++i) {
      ASSERT_EQ(map.Contains(hashes[i], i), hashes[i] < floor);
    }
    ColdSlot slot;
    uint64_t prefix;
    ASSERT_TRUE(map.Sample(random.Next(), end, &slot, &prefix));
    EXPECT_EQ(map.DropTop({.floor = 0, .end = end, .max_partitions = UINT64_MAX}), 0u);
    EXPECT_EQ(map.size(), 0u);
    EXPECT_EQ(map.MemoryBytes(), 0u);
    map.Insert(hashes[0], {.position = 1, .size_class = 0});
    EXPECT_TRUE(map.Contains(hashes[0], 1));
    map.CheckInvariants();
  }
}

TEST(ColdMapTest, FreesItselfInSlices) {
  Random random(7);
  ColdMap map(10);
  for (uint64_t i = 0; i < 10'000; ++i) map.Insert(random.Next(), {.position = i, .size_class = 0});
  int slices = 1;
  while (map.FreeSome(100)) ++slices;
  EXPECT_EQ(slices, 11);
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(map.MemoryBytes(), 1024 * 8u);
}

TEST(ColdMapTest, WhatFollowsItsLastSlotIsFreedAtOnce) {
  ColdMap map(26);
  EXPECT_FALSE(map.FreeSome(1));
  map.Insert(uint64_t{1} << 60, {.position = 1, .size_class = 0});
  EXPECT_TRUE(map.FreeSome(1));
  EXPECT_FALSE(map.FreeSome(uint64_t{1} << 23));
  EXPECT_EQ(map.size(), 0u);
}

}  // namespace
}  // namespace firn
