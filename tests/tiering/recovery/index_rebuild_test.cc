// An index made anew from a log.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "support/store_on_files.h"
#include "tiering/log/segment.h"

namespace firn {
namespace {

constexpr int kKeys = 3'000;
constexpr size_t kValueBytes = 1'000;

class IndexRebuildTest : public test::StoreOnFiles {
 protected:
  static std::string Name(int i) { return "key:" + std::to_string(i); }
  static std::string Value(uint64_t seed) {
    Random random(seed);
    std::string value;
    while (value.size() < kValueBytes) value.push_back(static_cast<char>(random.Below(256)));
    return value;
  }
  bool HasSegment(uint64_t id) {
    return std::filesystem::exists(options_.directory + "/log/" + log::SegmentFileName(id));
  }
  void Write(const std::string& prefix, int keys, uint64_t seed) {
    std::vector<std::string> names;
    for (int i = 0; i < keys; ++i) {
      names.push_back(prefix + Name(i));
      driver_->Set(names.back(), Value(seed + i));
    }
    driver_->Demote(names);
  }
  void LoseTheIndex() {
    ASSERT_TRUE(driver_->Close().ok());
    std::filesystem::remove_all(options_.directory + "/index");
  }
};

// Compaction keeps nothing of a database that was flushed, so the log may have gaps behind an
// effect in it.
TEST_F(IndexRebuildTest, EffectsInAFlushedDatabaseAreNotReplayed) {
  driver_->Set("flushed", std::string(20'000, 'x'));
  driver_->Append("flushed", " and end");
  ASSERT_TRUE(driver_->Sync().ok());
  store().FlushDatabase(0);
  // The first segment stays for these.
  Write("lasts:", 900, 1);
  ASSERT_TRUE(HasSegment(1));
  // Those behind it go, since all in them is written again.
  Write("", kKeys, 10'000);
  for (int round = 0; round < 4; ++round) Write("", kKeys, 20'000);
  ASSERT_TRUE(driver_->RunUntil([&] { return !HasSegment(2); }, 500))
      << store().Stats().log_live_bytes << " of " << store().Stats().log_bytes;
  ASSERT_TRUE(HasSegment(1));
  LoseTheIndex();
  Open();
  EXPECT_EQ(driver_->Get("flushed"), std::nullopt);
  EXPECT_EQ(driver_->Get("lasts:" + Name(7)), Value(1 + 7));
  EXPECT_EQ(driver_->Get(Name(7)), Value(20'000 + 7));
  EXPECT_EQ(driver_->Count(0), kKeys + 900u);
}

}  // namespace
}  // namespace firn
