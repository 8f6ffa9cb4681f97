#include "engine/types/tree_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/types/set_value.h"
#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

constexpr HashSecret kSecret{3, 4};
constexpr uint64_t kId = 7;

std::string KeyOf(uint64_t hash) {
  std::string key(8, '\0');
  StoreBig64(key.data(), hash);
  return key;
}

// A set of so many members, in leaves of so many.
void Build(uint64_t members, uint32_t rows_per_leaf, test::MemoryPageSpace* space) {
  std::vector<std::pair<uint64_t, std::string>> sorted;
  for (uint64_t i = 0; i < members; ++i) {
    std::string member = "member:" + std::to_string(i);
    const uint64_t hash = SipHash13(kSecret, member);
    sorted.emplace_back(hash, std::move(member));
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::pair<PageNumber, std::string>> pages;
  TreeBuilder tree(
      [&](PageNumber page, std::string_view bytes) { pages.emplace_back(page, bytes); });
  for (size_t i = 0; i < sorted.size();) {
    PackedBuilder leaf(PackedKind::kSet);
    const std::string separator =
        i == 0 ? std::string()
               : CountedTree::Separator(KeyOf(sorted[i - 1].first), KeyOf(sorted[i].first));
    for (; i < sorted.size() && leaf.rows() < rows_per_leaf; ++i) {
      leaf.Add({.bytes = sorted[i].second, .tag = static_cast<uint8_t>(sorted[i].first)});
    }
    tree.AddLeaf(leaf.Finish(), separator);
  }
  EXPECT_EQ(tree.rows(), members);
  const std::string root =
      tree.Finish({.value_id = kId, .flags = static_cast<uint8_t>(SetEncoding::kHashtable)});
  ASSERT_TRUE(RootView::Validate(root));
  EXPECT_EQ(RootView(root).value_id(), kId);
  space->CreateRoot(root);
  for (const auto& [page, bytes] : pages) {
    EXPECT_LT(page, RootView(root).next_page());
    space->Create(page, bytes);
  }
  EXPECT_TRUE(CountedTree::ValidateNode(RootView(root).node(0)));
}

class TreeBuilderTest : public testing::TestWithParam<uint64_t> {};

TEST_P(TreeBuilderTest, WhatIsBuiltIsASetLikeAnyOther) {
  test::MemoryPageSpace space;
  Build(GetParam(), 5, &space);
  SetValue set(&space, kSecret);
  EXPECT_EQ(set.count(), GetParam());
  std::set<std::string> all;
  set.ForEach([&](std::string_view member) { all.emplace(member); });
  EXPECT_EQ(all.size(), GetParam());
  for (uint64_t i = 0; i < GetParam(); ++i) {
    SetValue::Place place;
    ASSERT_TRUE(set.Find("member:" + std::to_string(i), &place));
    EXPECT_TRUE(place.found) << i;
  }
  EXPECT_FALSE(set.At(GetParam() - 1).empty());
}

TEST_P(TreeBuilderTest, WhatIsBuiltCanBeChanged) {
  test::MemoryPageSpace space;
  Build(GetParam(), 5, &space);
  SetValue set(&space, kSecret);
  const SetLimits limits;
  for (uint64_t i = 0; i < 2000; ++i) {
    const std::string member = "new:" + std::to_string(i);
    SetValue::Place place;
    ASSERT_TRUE(set.Find(member, &place));
    set.Add(place, member, limits);
  }
  for (uint64_t i = 0; i < GetParam(); ++i) {
    SetValue::Place place;
    ASSERT_TRUE(set.Find("member:" + std::to_string(i), &place));
    ASSERT_TRUE(place.found);
    set.Remove(place);
  }
  EXPECT_EQ(set.count(), 2000u);
}

// One leaf; one node; as many as one node holds, and one more; three levels.
INSTANTIATE_TEST_SUITE_P(Sizes, TreeBuilderTest,
                         testing::Values(1, 5, 6, 700, 1000, 1050, 2000, 30'000, 400'000),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace firn
