#include "engine/types/list_value.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;
using Model = std::deque<std::string>;

constexpr ListLimits kLimits = {};

void CheckShape(MemoryPageSpace* space) {
  if (!space->exists()) return;
  RootView root(space->Root());
  for (const auto& [number, bytes] : space->pages()) {
    if (number == kRootPage) continue;
    bool is_node = bytes[0] == 16;
    ASSERT_TRUE(is_node ? CountedTree::ValidateNode(bytes) : PackedPage::Validate(bytes));
    if (is_node) continue;
    ASSERT_GT(PackedPage(bytes).rows(), 0u);
    ASSERT_TRUE(bytes.size() <= kMaxLeafBytes || PackedPage(bytes).rows() == 1) << bytes.size();
  }
  ASSERT_TRUE(root.small() ? PackedPage::Validate(root.packed())
                           : CountedTree::ValidateNode(root.node(0)));
}

void ExpectEqual(MemoryPageSpace* space, const Model& model) {
  ListValue list(space, kLimits);
  ASSERT_EQ(list.length(), model.size());
  ASSERT_EQ(space->exists(), !model.empty());
  if (model.empty()) return;
  ListValue::Ranks all = {0, model.size() - 1};
  RunFetching(space, [&] { return list.Want(all); });
  Model forward, backward;
  list.ForEach(all, [&](std::string_view bytes) { forward.emplace_back(bytes); });
  list.ForEachBackward(all, [&](std::string_view bytes) { backward.emplace_front(bytes); });
  ASSERT_EQ(forward, model);
  ASSERT_EQ(backward, model);
}

// Random operations on a list and on a deque.
class Walk {
 public:
  struct Style {
    size_t target = 0;      // about as many elements as it has in the end
    size_t longest = 0;     // bytes
    uint64_t elements = 0;  // different ones
    int demote_every = 50;
  };
  Walk(uint64_t seed, Style style) : random_(seed), style_(style) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (random_.Below(static_cast<uint64_t>(style_.demote_every)) == 0) space_.DemoteAll();
      if (model_.empty() || model_.size() < random_.Below(2 * style_.target)) {
        Push();
      } else {
        Step();
      }
      ASSERT_EQ(list_.length(), model_.size());
      if (i % 200 == 0) CheckShape(&space_);
      if (testing::Test::HasFatalFailure()) return;
    }
    CheckShape(&space_);
    ExpectEqual(&space_, model_);
  }

 private:
  std::string Element() {
    std::string text = std::to_string(random_.Below(style_.elements));
    if (style_.longest > 0) {
      Random sized(std::hash<std::string>()(text));
      text.resize(text.size() + sized.Below(style_.longest), 'x');
    }
    return text;
  }
  uint64_t Rank() { return random_.Below(model_.size()); }
  bool Coin() { return random_.Below(2) == 0; }

  void Push() {
    ListEnd end = Coin() ? ListEnd::kHead : ListEnd::kTail;
    std::vector<std::string> elements;
    size_t count = random_.Below(10) == 0 ? 1 + random_.Below(300) : 1;
    for (size_t i = 0; i < count; ++i) elements.push_back(Element());
    std::vector<std::string_view> views(elements.begin(), elements.end());
    RunFetching(&space_, [&] { return list_.Push(end, views); });
    for (const std::string& element : elements) {
      end == ListEnd::kHead ? model_.push_front(element) : model_.push_back(element);
    }
  }

  void Step() {
    switch (random_.Below(9)) {
      case 0: {
        ListValue::Place place;
        ListEnd end = Coin() ? ListEnd::kHead : ListEnd::kTail;
        RunFetching(&space_, [&] { return list_.FindEnd(end, &place); });
        ASSERT_EQ(list_.At(place), end == ListEnd::kHead ? model_.front() : model_.back());
        list_.Remove(place);
        end == ListEnd::kHead ? model_.pop_front() : model_.pop_back();
        break;
      }
      case 1: {
        uint64_t first = Coin() ? 0 : Rank();
        uint64_t count = random_.Below(std::min<uint64_t>(model_.size() - first, 200)) + 1;
        ListValue::Ranks ranks = {first, first + count - 1};
        RunFetching(&space_, [&] { return list_.Want(ranks); });
        Model part;
        list_.ForEach(ranks, [&](std::string_view bytes) { part.emplace_back(bytes); });
        auto begin = model_.begin() + static_cast<ptrdiff_t>(first);
        auto end = begin + static_cast<ptrdiff_t>(count);
        ASSERT_EQ(part, Model(begin, end));
        list_.RemoveRanks(ranks);
        model_.erase(begin, end);
        break;
      }
      case 2:
        Insert();
        break;
      case 3: {
        ListValue::Place place;
        uint64_t rank = Rank();
        std::string element = Element();
        RunFetching(&space_, [&] { return list_.FindRank(rank, &place) && list_.WantForGrowth(); });
        ASSERT_EQ(list_.At(place), model_[rank]);
        list_.Set(place, element);
        model_[rank] = element;
        break;
      }
      case 4:
        RemoveEqual();
        break;
      default:
        FindEqual();
    }
  }

  void Insert() {
    std::string pivot = Coin() ? model_[Rank()] : Element();
    std::string element = Element();
    auto side = Coin() ? ListValue::Side::kBefore : ListValue::Side::kAfter;
    ListValue::Place place;
    bool found = false;
    RunFetching(&space_,
                [&] { return list_.FindPivot(pivot, &place, &found) && list_.WantForGrowth(); });
    auto at = std::find(model_.begin(), model_.end(), pivot);
    ASSERT_EQ(found, at != model_.end());
    if (!found) return;
    list_.InsertBeside(place, side, element);
    model_.insert(side == ListValue::Side::kBefore ? at : at + 1, element);
  }

  ListValue::Search RandomSearch(std::string_view element) {
    return {.element = element, .backward = Coin(), .matches = Coin() ? 0 : 1 + random_.Below(4)};
  }

  std::vector<uint64_t> Expected(const ListValue::Search& search) {
    std::vector<uint64_t> ranks;
    uint64_t skip = search.skip;
    for (uint64_t i = 0; i < model_.size(); ++i) {
      if (search.comparisons != 0 && i == search.comparisons) break;
      uint64_t rank = search.backward ? model_.size() - 1 - i : i;
      if (model_[rank] != search.element) continue;
      if (skip > 0) {
        --skip;
        continue;
      }
      ranks.push_back(rank);
      if (ranks.size() == search.matches) break;
    }
    return ranks;
  }

  void FindEqual() {
    std::string element = model_[Rank()];
    ListValue::Search search = RandomSearch(element);
    search.skip = random_.Below(3);
    search.comparisons = Coin() ? 0 : 1 + Rank();
    std::vector<uint64_t> ranks;
    RunFetching(&space_, [&] { return list_.FindEqual(search, &ranks); });
    ASSERT_EQ(ranks, Expected(search));
  }

  void RemoveEqual() {
    std::string element = model_[Rank()];
    ListValue::Search search = RandomSearch(element);
    std::vector<uint64_t> expected = Expected(search);
    uint64_t removed = 0;
    RunFetching(&space_, [&] { return list_.RemoveEqual(search, &removed); });
    ASSERT_EQ(removed, expected.size());
    std::sort(expected.rbegin(), expected.rend());
    for (uint64_t rank : expected) model_.erase(model_.begin() + static_cast<ptrdiff_t>(rank));
  }

  Random random_;
  const Style style_;
  MemoryPageSpace space_;
  ListValue list_{&space_, kLimits};
  Model model_;
};

TEST(ListValueTest, AgreesWithADequeOfFewElements) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    Walk(seed, {.target = 6, .longest = 20, .elements = 5}).Run(4'000);
  }
}

TEST(ListValueTest, AgreesWithADequeOfManyElements) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    Walk(seed, {.target = 12'000, .longest = 30, .elements = 3'000, .demote_every = 10}).Run(4'000);
  }
}

TEST(ListValueTest, AgreesWithADequeOfLongElements) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    Walk(seed, {.target = 300, .longest = 700, .elements = 200, .demote_every = 20}).Run(3'000);
    Walk(seed, {.target = 40, .longest = 100'000, .elements = 30}).Run(600);
  }
}

void Fill(MemoryPageSpace* space, int count, size_t size) {
  ListValue list(space, kLimits);
  for (int i = 0; i < count; ++i) {
    std::string element = std::to_string(i);
    element.resize(size, '.');
    std::string_view view = element;
    ASSERT_TRUE(list.Push(ListEnd::kTail, {&view, 1}));
  }
}

TEST(ListValueTest, PushedElementsFillTheirPages) {
  MemoryPageSpace space;
  Fill(&space, 20'000, 32);
  uint64_t bytes = 0;
  for (const auto& [number, page] : space.pages()) bytes += page.size();
  EXPECT_LT(bytes, 20'000u * 34);
  MemoryPageSpace at_head;
  ListValue list(&at_head, kLimits);
  std::string element(32, 'x');
  std::string_view view = element;
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(list.Push(ListEnd::kHead, {&view, 1}));
  EXPECT_LT(at_head.pages().size(), 20'000u * 34 / kMaxLeafBytes);
}

TEST(ListValueTest, TheEndsOfAColdListNeedTheirPagesOnly) {
  MemoryPageSpace space;
  Fill(&space, 100'000, 32);
  ListValue list(&space, kLimits);
  std::string_view view = "new";
  for (ListEnd end : {ListEnd::kHead, ListEnd::kTail}) {
    space.DemoteAll();
    size_t fetched = 0;
    while (!list.Push(end, {&view, 1})) fetched += space.FetchWanted();
    EXPECT_LE(fetched, 2u);
    ListValue::Place place;
    ASSERT_TRUE(list.FindEnd(end, &place));
    EXPECT_EQ(list.At(place), view);
    list.Remove(place);
  }
}

TEST(ListValueTest, ASearchOfAColdListTakesFewRounds) {
  MemoryPageSpace space;
  Fill(&space, 100'000, 32);
  ListValue list(&space, kLimits);
  for (bool backward : {false, true}) {
    space.DemoteAll();
    std::vector<uint64_t> ranks;
    int rounds = RunFetching(
        &space, [&] { return list.FindEqual({.element = "none", .backward = backward}, &ranks); });
    EXPECT_TRUE(ranks.empty());
    EXPECT_LE(rounds, 20);
  }
}

struct EncodingCase {
  int64_t option;
  int elements;
  size_t size;
  const char* encoding;
};

TEST(ListValueTest, TheEncodingFollowsTheOption) {
  const EncodingCase kCases[] = {
      {-2, 1, 8'185, "listpack"},
      {-2, 1, 8'186, "quicklist"},
      {-1, 1, 5'000, "quicklist"},
      {-5, 1, 65'000, "listpack"},
      {-9, 1, 65'000, "listpack"},
      {3, 3, 10, "listpack"},
      {3, 4, 10, "quicklist"},
      {0, 1, 10, "listpack"},
      {0, 2, 10, "quicklist"},
      {1'000, 1, 9'000, "quicklist"},
      // 8192 bytes, of which 7 are overhead; an element of 30 takes 32, the last one counts 30.
      {-2, 255, 30, "listpack"},
      {-2, 256, 30, "quicklist"},
  };
  for (const EncodingCase& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.option << ": " << c.elements << " of " << c.size);
    MemoryPageSpace space;
    ListValue list(&space, {.max_listpack_size = c.option});
    std::string element(c.size, 'x');
    std::string_view view = element;
    for (int i = 0; i < c.elements; ++i) ASSERT_TRUE(list.Push(ListEnd::kTail, {&view, 1}));
    EXPECT_STREQ(ListEncoding(space.Root()), c.encoding);
  }
}

TEST(ListValueTest, AQuicklistBecomesAListpackAtHalfTheLimit) {
  for (int64_t option : {8, -1}) {
    MemoryPageSpace space;
    ListValue list(&space, {.max_listpack_size = option});
    std::string element(option == 8 ? 10 : 400, 'x');
    std::string_view view = element;
    for (int i = 0; i < 12; ++i) ASSERT_TRUE(list.Push(ListEnd::kTail, {&view, 1}));
    EXPECT_STREQ(ListEncoding(space.Root()), "quicklist");
    std::vector<std::string> encodings;
    while (list.length() > 1) {
      ListValue::Place place;
      ASSERT_TRUE(list.FindEnd(ListEnd::kHead, &place));
      list.Remove(place);
      EXPECT_STREQ(ListEncoding(space.Root()),
                   list.length() > (option == 8 ? 4u : 5u) ? "quicklist" : "listpack");
    }
  }
}

}  // namespace
}  // namespace firn
