// What goes when the log has reached the limit of the disk.

#include "tiering/evictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "support/store_on_files.h"

namespace firn {
namespace {

constexpr uint64_t kDiskBytes = 16 << 20;
constexpr size_t kValueBytes = 1000;
// Two and a half times what the disk takes.
constexpr int kKeys = 40'000;
constexpr int kKeysAtOnce = 500;
// Surely fit, and surely don't.
constexpr int kYoungest = 3'000;
constexpr int kOldest = 15'000;

std::string Name(int i) { return "key:" + std::to_string(i); }

std::string Value(int i) {
  Random random(static_cast<uint64_t>(i) + 1);
  std::string value = std::to_string(i) + "/";
  while (value.size() < kValueBytes) value.push_back(static_cast<char>('a' + random.Below(26)));
  return value;
}

class EvictorTest : public test::StoreOnFiles {
 protected:
  void SetUp() override {
    options_.max_disk_bytes = kDiskBytes;
    options_.max_memory_bytes = 128 << 20;
    options_.index_memory_bytes = 0;
  }
  void OpenWith(EvictionPolicy policy) {
    options_.eviction = policy;
    test::StoreOnFiles::SetUp();
  }
  // Writes keys, which become cold.
  void Fill(int first, int end, Database::SetOptions options = {}) {
    for (int i = first; i < end; i += kKeysAtOnce) {
      std::vector<std::string> names;
      for (int k = i; k < std::min(i + kKeysAtOnce, end); ++k) {
        names.push_back(Name(k));
        driver_->Set(names.back(), Value(k), options);
      }
      driver_->Demote(names);
    }
  }
  std::vector<int> Present(int first, int end) {
    std::vector<int> present;
    for (int i = first; i < end; ++i) {
      const std::optional<std::string> value = driver_->Get(Name(i));
      if (!value) continue;
      EXPECT_EQ(*value, Value(i)) << i;
      present.push_back(i);
    }
    return present;
  }
  StoreStats Stats() { return store().Stats(); }
};

TEST_F(EvictorTest, WhatWasWrittenFirstGoesAndStaysAway) {
  OpenWith(EvictionPolicy::kAllKeysLru);
  Fill(0, kKeys);
  EXPECT_LE(Stats().log_bytes, kDiskBytes);
  EXPECT_EQ(Present(kKeys - kYoungest, kKeys).size(), kYoungest);
  EXPECT_TRUE(Present(0, kOldest).empty());
  // Segments were emptied, not copied.
  EXPECT_LT(Stats().compaction_written_bytes, kKeys * kValueBytes / 10);
  const std::vector<int> present = Present(0, kKeys);
  Crash();
  // Some may have gone meanwhile; none has come back.
  const std::vector<int> after = Present(0, kKeys);
  EXPECT_TRUE(std::ranges::includes(present, after));
  EXPECT_GT(after.size(), static_cast<size_t>(kYoungest));
}

TEST_F(EvictorTest, WhatIsInUseStays) {
  OpenWith(EvictionPolicy::kAllKeysLru);
  driver_->Set("in use", Value(-1));
  for (int i = 0; i < kKeys; i += kKeysAtOnce) {
    Fill(i, i + kKeysAtOnce);
    ASSERT_EQ(driver_->Get("in use"), Value(-1)) << "after " << i;
  }
  EXPECT_GT(Stats().evicted_keys, static_cast<uint64_t>(kOldest));
}

// No segment is emptied in which something lasts: the index leads to what may go.
class MixedEvictorTest : public EvictorTest {
 protected:
  static constexpr int kRounds = 14'000;

  void SetUp() override {
    EvictorTest::SetUp();
    OpenWith(EvictionPolicy::kVolatileLru);
  }
  static std::string LongName(int i) { return std::string(200, 'l') + Name(i); }
  void FillMixed(bool demotes) {
    const Database::SetOptions expires = {.expiry = Database::ExpiryChange::kSet,
                                          .expiry_ms = store().now_ms() + 1'000'000};
    std::vector<std::string> names;
    for (int i = 0; i < kRounds; ++i) {
      if (i % 8 == 0) driver_->Set("lasts:" + std::to_string(i), Value(i));
      names.push_back(i % 4 == 0 ? LongName(i) : Name(i));
      ASSERT_EQ(driver_->WaitForRoom(kValueBytes + 400), Store::WriteGate::kOk) << i;
      driver_->Set(names.back(), Value(i), expires);
      if (names.size() < kKeysAtOnce) continue;
      if (demotes) driver_->Demote(names);
      names.clear();
    }
  }
  std::vector<int> PresentLong() {
    std::vector<int> present;
    for (int i = 0; i < kRounds; i += 4) {
      if (driver_->Get(LongName(i)) == Value(i)) present.push_back(i);
    }
    return present;
  }
};

// Of a long key the index has no name.
TEST_F(MixedEvictorTest, ALongKeyIsNotTakenForTheEmptyOne) {
  driver_->Set("", Value(-1));
  FillMixed(true);
  ASSERT_GT(Stats().evicted_keys, 0u);
  EXPECT_EQ(driver_->Get(""), Value(-1));
  const std::vector<int> present = PresentLong();
  Crash();
  EXPECT_EQ(driver_->Get(""), Value(-1));
  EXPECT_TRUE(std::ranges::includes(present, PresentLong()));
}

TEST_F(MixedEvictorTest, WhatExpiresGoesAlsoIfAllOfItIsInRam) {
  FillMixed(false);
  EXPECT_GT(Stats().evicted_keys, 0u);
}

class VolatileEvictorTest : public EvictorTest,
                            public testing::WithParamInterface<EvictionPolicy> {};

TEST_P(VolatileEvictorTest, OnlyWhatExpiresGoes) {
  OpenWith(GetParam());
  constexpr int kLasting = 3'000;
  // Those before may lie in one segment with what lasts.
  constexpr int kFirstToGo = kLasting + 1'000;
  Fill(0, kLasting);
  Fill(kLasting, kKeys,
       {.expiry = Database::ExpiryChange::kSet, .expiry_ms = store().now_ms() + 1'000'000});
  EXPECT_EQ(Present(0, kLasting).size(), kLasting);
  EXPECT_EQ(Present(kKeys - kYoungest, kKeys).size(), kYoungest);
  EXPECT_TRUE(Present(kFirstToGo, kOldest).empty());
  Crash();
  EXPECT_EQ(Present(0, kLasting).size(), kLasting);
  EXPECT_TRUE(Present(kFirstToGo, kOldest).empty());
}

INSTANTIATE_TEST_SUITE_P(Policies, VolatileEvictorTest,
                         testing::Values(EvictionPolicy::kVolatileLru,
                                         EvictionPolicy::kVolatileRandom,
                                         EvictionPolicy::kVolatileTtl));

}  // namespace
}  // namespace firn
