#include "engine/types/detached_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/types/list_value.h"
#include "engine/types/set_value.h"
#include "engine/types/zset_value.h"

namespace firn {
namespace {

constexpr HashSecret kSecret{3, 4};
constexpr uint64_t kId = 77;

std::string MemberOf(int i) { return "member:" + std::to_string(i); }

TEST(DetachedPagesTest, ASortedSetIsBuiltAndChangedInThem) {
  constexpr int kCount = 50'000;
  std::vector<std::string> members;
  std::vector<ZsetElement> elements;
  for (int i = 0; i < kCount; ++i) members.push_back(MemberOf(i));
  for (int i = 0; i < kCount; ++i) elements.push_back({members[i], static_cast<double>(i % 97)});
  DetachedPages pages(kId);
  EXPECT_FALSE(pages.exists());
  ZsetValue zset(&pages, kSecret);
  zset.Build(elements, {});
  ASSERT_TRUE(RootView::Validate(pages.root()));
  EXPECT_EQ(RootView(pages.root()).value_id(), kId);
  EXPECT_LE(pages.pages().size(), RootView(pages.root()).next_page());
  EXPECT_EQ(zset.count(), static_cast<uint64_t>(kCount));
  for (int i = 0; i < kCount; i += 2) {
    ASSERT_EQ(zset.Remove(MemberOf(i)), ZsetValue::Lookup::kPresent);
  }
  for (int i = 0; i < kCount; ++i) {
    double score = -1;
    const auto found = zset.Score(MemberOf(i), &score);
    ASSERT_EQ(found, i % 2 == 0 ? ZsetValue::Lookup::kAbsent : ZsetValue::Lookup::kPresent);
    if (i % 2 == 1) {
      ASSERT_EQ(score, i % 97);
    }
  }
}

TEST(DetachedPagesTest, AListGrowsInThem) {
  DetachedPages pages(kId);
  ListValue list(&pages, {});
  for (int i = 0; i < 30'000; ++i) {
    const std::string element = MemberOf(i);
    const std::string_view view = element;
    ASSERT_TRUE(list.Push(ListEnd::kTail, {&view, 1}));
  }
  EXPECT_EQ(list.length(), 30'000u);
  int next = 0;
  list.ForEach({.first = 0, .last = 29'999},
               [&](std::string_view element) { ASSERT_EQ(element, MemberOf(next++)); });
}

TEST(DetachedPagesTest, AValueThatWasDeletedCanBeMadeAnew) {
  DetachedPages pages(kId);
  SetValue set(&pages, kSecret);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 5000; ++i) {
      const std::string member = MemberOf(i);
      SetValue::Place place;
      ASSERT_TRUE(set.Find(member, &place));
      set.Add(place, member, {});
    }
    EXPECT_EQ(set.count(), 5000u);
    pages.DeleteValue();
    EXPECT_FALSE(pages.exists());
    EXPECT_TRUE(pages.pages().empty());
  }
}

}  // namespace
}  // namespace firn
