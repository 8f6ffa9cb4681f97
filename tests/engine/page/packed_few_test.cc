#include "engine/page/packed_few.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

using Row = std::pair<std::string, std::string>;

class PackedFewTest : public ::testing::Test {
 protected:
  PackedPage page() const { return PackedPage(bytes_); }

  template <typename Change>
  void Edit(Change change) {
    PageEdit edit;
    change(&edit);
    uint64_t size = 0;
    ASSERT_TRUE(CheckSplices(edit.splices(), bytes_.size(), &size));
    std::string changed(size, '\0');
    CopySpliced(edit.splices(), bytes_, changed.data());
    bytes_ = changed;
    Expect();
  }
  void Insert(uint32_t i, const std::string& name, const std::string& value) {
    rows_.insert(rows_.begin() + i, {name, value});
    Edit([&](PageEdit* edit) { page().Insert(i, {.bytes = name, .value = value}, edit); });
  }
  void SetValue(uint32_t i, const std::string& value) {
    rows_[i].second = value;
    Edit([&](PageEdit* edit) { page().SetValue(i, value, edit); });
  }
  void Remove(uint32_t first, uint32_t count) {
    rows_.erase(rows_.begin() + first, rows_.begin() + first + count);
    Edit([&](PageEdit* edit) { page().Remove(first, count, edit); });
  }

  void Expect() {
    ASSERT_TRUE(PackedPage::Validate(bytes_));
    const PackedPage page = this->page();
    ASSERT_EQ(page.kind(), PackedKind::kHashFew);
    ASSERT_EQ(page.rows(), rows_.size());
    PackedPage::Cursor cursor(page, 0);
    const std::vector<uint32_t> offsets = page.RowOffsets();
    for (uint32_t i = 0; i < rows_.size(); ++i, cursor.Next()) {
      ASSERT_EQ(page.Row(i).bytes, rows_[i].first);
      ASSERT_EQ(page.Row(i).value, rows_[i].second);
      ASSERT_EQ(cursor.row().bytes, rows_[i].first);
      ASSERT_EQ(cursor.row().value, rows_[i].second);
      ASSERT_EQ(page.FindTagged(static_cast<uint8_t>(i), rows_[i].first), i);
      ASSERT_EQ(offsets[i + 1] - offsets[i], rows_[i].first.size() + rows_[i].second.size());
    }
    ASSERT_FALSE(cursor.valid());
    ASSERT_EQ(page.FindTagged(0, "absent"), rows_.size());
  }

  std::string bytes_ = PackedPage::Empty(PackedKind::kHashFew);
  std::vector<Row> rows_;
};

TEST_F(PackedFewTest, LengthsThatAllRowsShareAreThereOnce) {
  for (uint32_t i = 0; i < 10; ++i) {
    Insert(i, "field:0123456789" + std::string(1, static_cast<char>('a' + i)),
           std::string(16, 'v'));
  }
  EXPECT_EQ(bytes_.size(), 6u + 10 * (17 + 16));
  SetValue(3, "short");
  EXPECT_EQ(bytes_.size(), 6u + 9 + 10 * (17 + 16) - 11);
  Insert(10, "name", std::string(16, 'v'));
  EXPECT_EQ(bytes_.size(), 6u + 10 + 10 + 10 * (17 + 16) - 11 + 4 + 16);
}

TEST_F(PackedFewTest, TheOnlyRowTakesAnyLength) {
  Insert(0, "", "");
  SetValue(0, "longer than nothing");
  SetValue(0, "");
  Insert(1, "name", "");
  Remove(0, 1);
  SetValue(0, "value");
}

TEST_F(PackedFewTest, RowsComeAndGoAsInAModel) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    rows_.clear();
    bytes_ = PackedPage::Empty(PackedKind::kHashFew);
    const uint64_t lengths = 1 + random.Below(3);  // one length, and any of two or three
    const auto text = [&](char c) {
      return std::string(random.Below(lengths) * random.Below(120), c);
    };
    for (int step = 0; step < 300; ++step) {
      const auto count = static_cast<uint32_t>(rows_.size());
      const uint64_t choice = random.Below(4);
      const auto row = static_cast<uint32_t>(random.Below(count + 1));
      if (count < FewFields::kMaxRows && (count == 0 || choice <= 1)) {
        Insert(row, std::to_string(seed * 1000 + 100 + static_cast<uint64_t>(step)) + text('n'),
               text('v'));
      } else if (count > 1 && choice == 2 && row < count) {
        const auto most = std::min(count - row, count - 1);
        Remove(row, 1 + static_cast<uint32_t>(random.Below(most)));
      } else if (row < count) {
        SetValue(row, text('w'));
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(PackedFewTest, TakesNoMoreThanSixteenRowsAndNoLongOnes) {
  EXPECT_TRUE(page().TakesRow({.bytes = std::string(254, 'n'), .value = std::string(254, 'v')}));
  EXPECT_FALSE(page().TakesRow({.bytes = std::string(255, 'n')}));
  EXPECT_FALSE(page().TakesRow({.bytes = "n", .value = std::string(255, 'v')}));
  EXPECT_FALSE(page().TakesValue(std::string(255, 'v')));
  for (uint32_t i = 0; i < 16; ++i) {
    EXPECT_TRUE(page().TakesRow({.bytes = "n"}));
    Insert(i, "n" + std::to_string(i), "v");
  }
  EXPECT_FALSE(page().TakesRow({.bytes = "n"}));
}

TEST_F(PackedFewTest, DamagedPagesAreRefused) {
  for (uint32_t i = 0; i < 5; ++i) Insert(i, "name" + std::to_string(i), std::string(i, 'v'));
  const std::string whole = bytes_;
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(PackedPage::Validate(whole.substr(0, size))) << size;
  }
  EXPECT_FALSE(PackedPage::Validate(whole + "x"));
  for (const auto& [at, byte] : std::vector<std::pair<size_t, char>>{
           {1, 0}, {1, 4}, {2, 4}, {2, 17}, {3, 1}, {4, 6}, {4, '\xff'}, {5, '\xff'}}) {
    std::string damaged = whole;
    damaged[at] = byte;
    EXPECT_FALSE(PackedPage::Validate(damaged)) << at << " " << int{byte};
  }
}

}  // namespace
}  // namespace firn
