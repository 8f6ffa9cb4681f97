#include "engine/types/counted_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;

// A list of sorted strings on the tree: enough to use every operation, by key and by rank.
class SortedStrings {
 public:
  explicit SortedStrings(MemoryPageSpace* space) : space_(*space), tree_(space) {
    std::string root{static_cast<char>(RootForm::kSmall), 0};
    space_.CreateRoot(root + PackedPage::Empty(PackedKind::kList));
  }

  bool Insert(const std::string& text) {
    CountedTree::Leaf leaf;
    if (!tree_.FindKey(text, &leaf)) return false;
    uint32_t at = LowerBound(tree_.Page(leaf), text);
    PageEdit edit;
    tree_.Page(leaf).Insert(at, {.bytes = text}, &edit);
    tree_.EditLeaf(leaf, &edit, 1);
    if (tree_.Page(leaf).size() > kMaxLeafBytes) Split(leaf);
    return true;
  }
  bool Erase(const std::string& text) {
    CountedTree::Leaf leaf;
    if (!tree_.FindKey(text, &leaf)) return false;
    PackedPage page = tree_.Page(leaf);
    uint32_t at = LowerBound(page, text);
    if (at == page.rows() || page.Row(at).bytes != text) return true;
    if (page.rows() == 1 && tree_.count() > 1) {
      tree_.RemoveLeaf(leaf);
      return true;
    }
    PageEdit edit;
    page.Remove(at, 1, &edit);
    tree_.EditLeaf(leaf, &edit, -1);
    if (tree_.Page(leaf).rows() > 0) tree_.MergeLeaf(leaf);
    return true;
  }
  CountedTree& tree() { return tree_; }

  static uint32_t LowerBound(const PackedPage& page, const std::string& text) {
    uint32_t i = 0;
    while (i < page.rows() && page.Row(i).bytes < text) ++i;
    return i;
  }

 private:
  void Split(const CountedTree::Leaf& leaf) {
    tree_.SplitLeaf(leaf, tree_.Page(leaf).rows() / 2, [](const PackedPage& page, uint32_t row) {
      return std::string(page.Row(row).bytes);
    });
  }

  MemoryPageSpace& space_;
  CountedTree tree_;
};

void CheckShape(MemoryPageSpace* space) {
  RootView root(space->Root());
  for (const auto& [number, bytes] : space->pages()) {
    if (number == kRootPage) continue;
    EXPECT_TRUE(bytes[0] == 16 ? CountedTree::ValidateNode(bytes) : PackedPage::Validate(bytes));
    EXPECT_LE(bytes.size(), 30'000u);
  }
  EXPECT_TRUE(root.small() || CountedTree::ValidateNode(root.node(0)));
}

std::vector<std::string> ReadAll(MemoryPageSpace* space, CountedTree* tree, bool forward) {
  std::vector<std::string> all;
  CountedTree::Leaf leaf;
  RunFetching(space, [&] { return tree->FindRank(forward ? 0 : UINT64_MAX, &leaf); });
  for (;;) {
    PackedPage page = tree->Page(leaf);
    std::vector<std::string> rows;
    for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
      rows.emplace_back(cursor.row().bytes);
    }
    if (!forward) std::reverse(rows.begin(), rows.end());
    all.insert(all.end(), rows.begin(), rows.end());
    CountedTree::Moved moved = CountedTree::Moved::kMissing;
    RunFetching(space, [&] {
      moved = forward ? tree->Next(&leaf) : tree->Previous(&leaf);
      return moved != CountedTree::Moved::kMissing;
    });
    if (moved == CountedTree::Moved::kEnd) return all;
  }
}

using MakeKey = std::function<std::string(Random& random)>;

MakeKey Numbers(uint64_t range, size_t longest) {
  return [=](Random& random) {
    std::string key = std::to_string(random.Below(range));
    key.resize(key.size() + random.Below(longest), 'x');
    return key;
  };
}

void RunAgainstModel(uint64_t seed, int steps, const MakeKey& make_key) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  MemoryPageSpace space;
  SortedStrings strings(&space);
  std::vector<std::string> model;
  for (int step = 0; step < steps; ++step) {
    std::string key = make_key(random);
    bool erase = random.Below(100) < (step < steps / 2 ? 20u : 75u);
    if (erase && !model.empty() && random.Below(2) == 0) key = model[random.Below(model.size())];
    auto at = std::lower_bound(model.begin(), model.end(), key);
    bool present = at != model.end() && *at == key;
    if (erase) {
      RunFetching(&space, [&] { return strings.Erase(key); });
      if (present) model.erase(at);
    } else if (!present) {
      RunFetching(&space, [&] { return strings.Insert(key); });
      model.insert(at, key);
    }
    ASSERT_EQ(strings.tree().count(), model.size());
    if (random.Below(50) == 0) space.DemoteAll();
    if (!model.empty() && random.Below(10) == 0) {
      uint64_t rank = random.Below(model.size());
      CountedTree::Leaf leaf;
      int rounds = RunFetching(&space, [&] { return strings.tree().FindRank(rank, &leaf); });
      ASSERT_LE(rounds, leaf.depth);
      ASSERT_EQ(strings.tree().Page(leaf).Row(rank - leaf.first_rank).bytes, model[rank]);
    }
  }
  space.FetchWanted();
  CheckShape(&space);
  ASSERT_EQ(ReadAll(&space, &strings.tree(), true), model);
  std::reverse(model.begin(), model.end());
  space.DemoteAll();
  ASSERT_EQ(ReadAll(&space, &strings.tree(), false), model);
}

TEST(CountedTreeTest, AgreesWithASortedVector) {
  for (uint64_t seed = 1; seed <= 2; ++seed) RunAgainstModel(seed, 20'000, Numbers(100'000, 40));
}

// A place is guessed from how far a key is from the first to the last: here guesses are bad.
TEST(CountedTreeTest, AgreesWithASortedVectorOfUnevenKeys) {
  auto make_key = [](Random& random) {
    uint64_t number = random.Next() >> random.Below(64);
    if (random.Below(4) == 0) number = ~number;
    std::string key(8, '\0');
    StoreBig64(key.data(), number);
    return key + std::string(random.Below(30), 'x');
  };
  for (uint64_t seed = 1; seed <= 2; ++seed) RunAgainstModel(seed, 10'000, make_key);
}

TEST(CountedTreeTest, AgreesWithASortedVectorOfLongStrings) {
  for (uint64_t seed = 1; seed <= 2; ++seed) RunAgainstModel(seed, 5'000, Numbers(3'000, 1'000));
}

TEST(CountedTreeTest, WantsAllPagesOfARangeAtOnce) {
  MemoryPageSpace space;
  SortedStrings strings(&space);
  for (int i = 0; i < 30'000; ++i) ASSERT_TRUE(strings.Insert(std::to_string(100'000 + i)));
  space.DemoteAll();
  int rounds = RunFetching(&space, [&] { return strings.tree().WantAll(); });
  EXPECT_LE(rounds, 3);
  EXPECT_TRUE(strings.tree().WantRanks(0, 29'999));
  space.DemoteAll();
  size_t fetched = 0;
  while (!strings.tree().WantRanks(1'000, 1'100)) fetched += space.FetchWanted();
  EXPECT_GT(fetched, 0u);
  EXPECT_LE(fetched, 3u);
}

TEST(CountedTreeTest, SeparatesByTheShortestString) {
  EXPECT_EQ(CountedTree::Separator("abc", "abd"), "abd");
  EXPECT_EQ(CountedTree::Separator("abc", "b"), "b");
  EXPECT_EQ(CountedTree::Separator("abc", "bzzz"), "b");
  EXPECT_EQ(CountedTree::Separator("abc", "abcd"), "abcd");
  EXPECT_EQ(CountedTree::Separator("", "x"), "x");
}

}  // namespace
}  // namespace firn
