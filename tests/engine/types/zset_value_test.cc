#include "engine/types/zset_value.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;
using Lookup = ZsetValue::Lookup;

constexpr HashSecret kSecret{1, 2};

uint64_t FewHashes(HashSecret secret, std::string_view member) {
  return SipHash13(secret, member) % 7 * 0x2000'0000'0000'0001;
}
uint64_t EqualPrefixes(HashSecret secret, std::string_view member) {
  uint64_t hash = SipHash13(secret, member);
  return (hash % 50) << 50 | (hash >> 54);
}

struct Shape {
  uint64_t members = 1000;
  uint64_t scores = 1000;
  size_t longest = 20;
  int steps = 10'000;
  ZsetValue::HashFunction hash = SipHash13;
  uint64_t erase_percent = 30;
};

// A sorted set beside a model of it; every call runs through missing pages.
class Checked {
 public:
  Checked(uint64_t seed, const Shape& shape) : random_(seed), shape_(shape) {}

  ZsetValue Value() { return ZsetValue(&space_, kSecret, shape_.hash); }

  std::string RandomMember() {
    uint64_t number = random_.Below(shape_.members);
    std::string member = std::to_string(number);
    Random length(number);
    member.resize(member.size() + length.Below(shape_.longest + 1), 'x');
    return member;
  }
  double RandomScore() {
    uint64_t score = random_.Below(shape_.scores);
    if (score == 0 && random_.Below(2) == 0) return random_.Below(2) == 0 ? -INFINITY : INFINITY;
    return (static_cast<double>(score) - static_cast<double>(shape_.scores / 2)) / 4;
  }

  void Add() {
    std::string member = RandomMember();
    ZsetValue::AddOptions options;
    options.only_new = random_.Below(10) == 0;
    options.only_existing = !options.only_new && random_.Below(10) == 0;
    options.only_greater = random_.Below(10) == 0;
    options.only_less = !options.only_greater && random_.Below(10) == 0;
    options.increment = random_.Below(5) == 0;
    double score = RandomScore();
    auto expected = ZsetValue::AddResult::kAdded;
    double expected_score = score;
    if (auto old = model_.find(member); old != model_.end()) {
      expected = ZsetValue::AddResult::kChanged;
      if (options.increment) expected_score += old->second;
      if (options.only_new) {
        expected = ZsetValue::AddResult::kRefused;
      } else if (std::isnan(expected_score)) {
        expected = ZsetValue::AddResult::kNotANumber;
      } else if ((options.only_greater && expected_score <= old->second) ||
                 (options.only_less && expected_score >= old->second)) {
        expected = ZsetValue::AddResult::kRefused;
      } else if (expected_score == old->second) {
        expected = ZsetValue::AddResult::kSame;
      }
    } else if (options.only_existing) {
      expected = ZsetValue::AddResult::kRefused;
    }
    if (random_.Below(2) == 0) {
      RunFetching(&space_, [&] { return Value().WantAdd({member, score}, options); });
      ASSERT_TRUE(Value().WantAdd({member, score}, options));
      Apply(member, score, options, expected, expected_score);
      return;
    }
    RunFetching(&space_, [&] {
      uint64_t edits = space_.edits();
      if (Apply(member, score, options, expected, expected_score)) return true;
      EXPECT_EQ(space_.edits(), edits);
      return false;
    });
  }
  bool Apply(const std::string& member, double score, const ZsetValue::AddOptions& options,
             ZsetValue::AddResult expected, double expected_score) {
    double result = 0;
    auto got = Value().Add({member, score}, options, {}, &result);
    if (got == ZsetValue::AddResult::kMissing) return false;
    EXPECT_EQ(got, expected);
    if (got == ZsetValue::AddResult::kAdded || got == ZsetValue::AddResult::kChanged ||
        got == ZsetValue::AddResult::kSame) {
      EXPECT_EQ(result, expected_score);
      model_[member] = expected_score;
    }
    return true;
  }

  void Erase() {
    std::string member = RandomMember();
    Lookup lookup = Lookup::kMissing;
    RunFetching(&space_, [&] {
      lookup = Value().Remove(member);
      return lookup != Lookup::kMissing;
    });
    ASSERT_EQ(lookup == Lookup::kPresent, model_.erase(member) == 1);
  }

  void EraseRange() {
    std::vector<std::pair<double, std::string>> sorted = Sorted();
    if (sorted.empty()) return;
    uint64_t first = random_.Below(sorted.size());
    uint64_t end = std::min(sorted.size(), first + random_.Below(1 + sorted.size() / 4));
    EraseRanks({first, end}, sorted);
  }
  void EraseRanks(RankRange ranks, const std::vector<std::pair<double, std::string>>& sorted) {
    ZsetValue::Removal removal;
    RunFetching(&space_, [&] { return Value().PlanRemoval(ranks, &removal); });
    Value().Remove(removal);
    for (uint64_t i = ranks.first; i < ranks.end; ++i) model_.erase(sorted[i].second);
    ASSERT_EQ(Value().count(), model_.size());
  }

  void Look() {
    std::string member = RandomMember();
    double score = 0;
    Lookup lookup = Lookup::kMissing;
    // All in RAM first where hashes collide: a cold read may believe the index.
    if (shape_.hash != SipHash13 && space_.exists()) {
      RunFetching(&space_, [&] { return Value().Want({0, UINT64_MAX}); });
    }
    RunFetching(&space_, [&] {
      lookup = Value().Score(member, &score);
      return lookup != Lookup::kMissing;
    });
    auto found = model_.find(member);
    ASSERT_EQ(lookup == Lookup::kPresent, found != model_.end());
    if (found == model_.end()) return;
    ASSERT_EQ(score, found->second);
    ZsetValue::Ranked ranked;
    RunFetching(&space_, [&] { return Value().Rank(member, &ranked) == Lookup::kPresent; });
    auto sorted = Sorted();
    auto at = std::lower_bound(sorted.begin(), sorted.end(), std::pair(score, member));
    ASSERT_EQ(ranked.rank, static_cast<uint64_t>(at - sorted.begin()));
    ASSERT_EQ(ranked.score, score);
  }

  // Moves or removes neighbours, so that leaves become empty on the way.
  void Batch() {
    auto sorted = Sorted();
    if (sorted.empty()) return;
    bool removes = random_.Below(2) == 0;
    uint64_t first = random_.Below(sorted.size());
    uint64_t end = std::min(sorted.size(), first + 1 + random_.Below(300));
    std::vector<std::pair<std::string, double>> changes;
    for (uint64_t i = first; i < end; ++i) {
      changes.emplace_back(sorted[i].second,
                           random_.Below(3) == 0 ? sorted[i].first + 0.125 : RandomScore());
      if (random_.Below(4) == 0) changes.emplace_back(RandomMember(), sorted[i].first + 0.0625);
    }
    for (size_t i = changes.size(); i > 1; --i) {
      std::swap(changes[i - 1], changes[random_.Below(i)]);
    }
    ZsetValue value = Value();
    RunFetching(&space_, [&] {
      bool all = true;
      for (const auto& [member, score] : changes) {
        all &= removes ? value.WantRemove(member) : value.WantAdd({member, score}, {});
      }
      return all;
    });
    value.BeginBatch();
    for (const auto& [member, score] : changes) {
      if (removes) {
        Lookup lookup = value.Remove(member);
        ASSERT_NE(lookup, Lookup::kMissing);
        ASSERT_EQ(lookup == Lookup::kPresent, model_.erase(member) == 1);
      } else {
        ASSERT_NE(value.Add({member, score}, {}, {}), ZsetValue::AddResult::kMissing);
        model_[member] = score;
      }
    }
    value.EndBatch();
    ASSERT_EQ(space_.FetchWanted(), 0u);
  }

  void LookAtScores() {
    if (model_.empty()) return;
    ScoreRange range{.min = RandomScore(),
                     .max = RandomScore(),
                     .min_open = random_.Below(2) == 0,
                     .max_open = random_.Below(2) == 0};
    RankRange ranks;
    RunFetching(&space_, [&] { return Value().Ranks(range, &ranks); });
    auto sorted = Sorted();
    RankRange expected;
    for (const auto& [score, member] : sorted) {
      if (range.min_open ? score <= range.min : score < range.min) ++expected.first;
      if (range.max_open ? score < range.max : score <= range.max) ++expected.end;
    }
    ASSERT_EQ(ranks.first, expected.first);
    ASSERT_EQ(ranks.end, expected.end);
    RunFetching(&space_, [&] { return Value().Want(ranks); });
    std::vector<std::pair<double, std::string>> seen;
    Value().ForEach(ranks, [&](const ZsetElement& element) {
      seen.emplace_back(element.score, element.member);
    });
    std::vector<std::pair<double, std::string>> wanted;
    if (!ranks.empty()) wanted.assign(sorted.begin() + ranks.first, sorted.begin() + ranks.end);
    ASSERT_EQ(seen, wanted);
    seen.clear();
    Value().ForEachReversed(ranks, [&](const ZsetElement& element) {
      seen.emplace_back(element.score, element.member);
    });
    std::reverse(seen.begin(), seen.end());
    ASSERT_EQ(seen, wanted);
  }

  void ScanAll(uint64_t count) {
    std::set<std::string> seen;
    uint64_t cursor = 0;
    int rounds = 0;
    do {
      ZsetValue::ScanBatch batch;
      RunFetching(&space_, [&] { return Value().Scan(cursor, count, &batch); });
      for (const ZsetElement& element : batch.elements) {
        ASSERT_TRUE(seen.emplace(element.member).second) << "given twice";
        ASSERT_EQ(model_.at(std::string(element.member)), element.score);
      }
      ASSERT_LE(batch.next, ZsetValue::kMaxCursor);
      ASSERT_TRUE(batch.next == 0 || batch.next > cursor);
      cursor = batch.next;
      ASSERT_LE(static_cast<uint64_t>(++rounds), model_.size() / count + 2);
    } while (cursor != 0);
    ASSERT_EQ(seen.size(), model_.size());
  }

  void CheckAll() {
    if (model_.empty()) {
      ASSERT_FALSE(space_.exists());
      return;
    }
    RunFetching(&space_, [&] { return Value().Want({0, UINT64_MAX}); });
    std::vector<std::pair<double, std::string>> seen;
    Value().ForEach({0, model_.size()}, [&](const ZsetElement& element) {
      seen.emplace_back(element.score, element.member);
    });
    ASSERT_EQ(seen, Sorted());
    CheckShape();
  }
  void CheckShape() {
    RootView root(space_.Root());
    if (root.small()) {
      ASSERT_TRUE(PackedPage::Validate(root.packed()));
      return;
    }
    uint64_t elements = 0;
    uint64_t entries = 0;
    for (const auto& [number, bytes] : space_.pages()) {
      if (number == kRootPage) continue;
      if (bytes[0] == 16) {
        ASSERT_TRUE(CountedTree::ValidateNode(bytes));
        continue;
      }
      ASSERT_TRUE(PackedPage::Validate(bytes));
      PackedPage page(bytes);
      ASSERT_GT(page.rows(), 0u);
      (page.kind() == PackedKind::kZset ? elements : entries) += page.rows();
    }
    ASSERT_EQ(elements, model_.size());
    ASSERT_EQ(entries, model_.size());
  }

  void Run() {
    for (int step = 0; step < shape_.steps && !testing::Test::HasFatalFailure(); ++step) {
      bool shrinking = step > shape_.steps * 2 / 3;
      uint64_t erase_percent = shrinking ? 70 : shape_.erase_percent;
      if (random_.Below(100) < erase_percent) {
        Erase();
      } else {
        Add();
      }
      if (random_.Below(300) == 0) EraseRange();
      if (random_.Below(40) == 0) Look();
      if (random_.Below(100) == 0) LookAtScores();
      if (random_.Below(30) == 0) space_.DemoteAll();
      if (random_.Below(2000) == 0) CheckAll();
      if (random_.Below(2000) == 0) ScanAll(10);
    }
    CheckAll();
    space_.DemoteAll();
    ScanAll(100);
  }
  void Fill() {
    for (int step = 0; step < shape_.steps; ++step) Add();
  }

  std::vector<std::pair<double, std::string>> Sorted() const {
    std::vector<std::pair<double, std::string>> sorted;
    for (const auto& [member, score] : model_) sorted.emplace_back(score, member);
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }
  MemoryPageSpace& space() { return space_; }
  std::map<std::string, double>& model() { return model_; }
  Random& random() { return random_; }

 private:
  MemoryPageSpace space_;
  Random random_;
  const Shape shape_;
  std::map<std::string, double> model_;
};

void RunSeeds(const Shape& shape, uint64_t seeds) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Checked(seed, shape).Run();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ZsetValueTest, AgreesWithAModelWhileSmall) { RunSeeds({.members = 60, .scores = 20}, 4); }

TEST(ZsetValueTest, AgreesWithAModelOfThousands) {
  RunSeeds({.members = 4000, .scores = 2000, .steps = 20'000}, 2);
}

TEST(ZsetValueTest, AgreesWithAModelOfFewScores) {
  RunSeeds({.members = 3000, .scores = 3, .steps = 10'000}, 2);
}

TEST(ZsetValueTest, AgreesWithAModelOfLongMembers) {
  RunSeeds({.members = 200, .scores = 50, .longest = 1500, .steps = 4000}, 2);
}

TEST(ZsetValueTest, AgreesWithAModelWhereHashesCollide) {
  RunSeeds({.members = 1500, .scores = 200, .steps = 8'000, .hash = FewHashes}, 2);
  RunSeeds({.members = 1500, .scores = 2, .steps = 8'000, .hash = EqualPrefixes}, 2);
}

TEST(ZsetValueTest, HoldsMembersLargerThanAPage) {
  MemoryPageSpace space;
  ZsetValue value(&space, kSecret);
  for (int i = 0; i < 20; ++i) {
    std::string member(100'000, static_cast<char>('a' + i));
    ASSERT_EQ(value.Add({member, double(i % 3)}, {}, {}), ZsetValue::AddResult::kAdded);
  }
  for (int i = 0; i < 20; ++i) {
    std::string member(100'000, static_cast<char>('a' + i));
    double score = 0;
    ASSERT_EQ(value.Score(member, &score), Lookup::kPresent);
    ASSERT_EQ(score, i % 3);
    ASSERT_EQ(value.Add({member, 7}, {}, {}), ZsetValue::AddResult::kChanged);
  }
  ASSERT_EQ(value.count(), 20u);
}

TEST(ZsetValueTest, ReadsAColdScoreFromOneTree) {
  Checked checked(1, {.members = 100'000, .scores = 1'000'000, .steps = 30'000});
  checked.Fill();
  int reads = 0;
  for (const auto& [member, score] : checked.model()) {
    if (++reads > 20) break;
    checked.space().DemoteAll();
    double found = 0;
    int rounds = RunFetching(&checked.space(), [&] {
      return checked.Value().Score(member, &found) == Lookup::kPresent;
    });
    EXPECT_EQ(found, score);
    EXPECT_LE(rounds, 2);
    ZsetValue::Ranked ranked;
    checked.space().DemoteAll();
    rounds = RunFetching(&checked.space(),
                         [&] { return checked.Value().Rank(member, &ranked) == Lookup::kPresent; });
    EXPECT_LE(rounds, 4);
  }
}

TEST(ZsetValueTest, FindsRangesOfMembers) {
  MemoryPageSpace space;
  ZsetValue value(&space, kSecret);
  std::vector<std::string> members;
  for (int i = 10'000; i < 13'000; ++i) members.push_back(std::to_string(i) + "abc");
  for (const std::string& member : members) value.Add({member, -2.5}, {}, {});
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    auto bound = [&] {
      uint64_t i = random.Below(members.size());
      std::string text = members[i].substr(0, 3 + random.Below(6));
      return text;
    };
    std::string low = bound();
    std::string high = bound();
    bool low_open = random.Below(2) == 0;
    bool high_open = random.Below(2) == 0;
    using Kind = LexBound::Kind;
    LexRange range{.min = {low_open ? Kind::kOpen : Kind::kClosed, low},
                   .max = {high_open ? Kind::kOpen : Kind::kClosed, high}};
    RankRange expected;
    for (const std::string& member : members) {
      if (low_open ? member <= low : member < low) ++expected.first;
      if (high_open ? member < high : member <= high) ++expected.end;
    }
    space.DemoteAll();
    RankRange ranks;
    RunFetching(&space, [&] { return value.Ranks(range, &ranks); });
    ASSERT_EQ(ranks.first, expected.first);
    ASSERT_EQ(ranks.end, expected.end);
  }
}

TEST(ZsetValueTest, FindsRangesOfMembersThatAscendWithScores) {
  MemoryPageSpace space;
  ZsetValue value(&space, kSecret);
  for (int i = 1000; i < 3000; ++i) value.Add({std::to_string(i), double(i)}, {}, {});
  space.DemoteAll();
  RankRange ranks;
  LexRange range{.min = {LexBound::Kind::kClosed, "1500"}, .max = {LexBound::Kind::kOpen, "25"}};
  RunFetching(&space, [&] { return value.Ranks(range, &ranks); });
  EXPECT_EQ(ranks.first, 500u);
  EXPECT_EQ(ranks.end, 1500u);
}

TEST(ZsetValueTest, BuildsWhatAddingMakes) {
  for (size_t size : {1, 50, 200, 20'000}) {
    MemoryPageSpace space;
    ZsetValue value(&space, kSecret);
    std::vector<std::string> members;
    for (size_t i = 0; i < size; ++i) members.push_back("member:" + std::to_string(i));
    std::vector<ZsetElement> elements;
    for (size_t i = 0; i < size; ++i) {
      elements.push_back({members[i], static_cast<double>((i * 7919) % 1000)});
    }
    value.Build(elements, {});
    ASSERT_EQ(value.count(), size);
    ASSERT_STREQ(ZsetEncoding(space.Root()), size <= 128 ? "listpack" : "skiplist");
    for (size_t i = 0; i < size; ++i) {
      double score = 0;
      ASSERT_EQ(value.Score(members[i], &score), Lookup::kPresent);
      ASSERT_EQ(score, static_cast<double>((i * 7919) % 1000));
    }
    uint64_t rank = 0;
    value.ForEach({0, size}, [&](const ZsetElement& element) {
      EXPECT_EQ(element.member, elements[rank++].member);
    });
  }
}

TEST(ZsetValueTest, ZeroHasASignInASkiplistAlone) {
  for (const bool listpack : {true, false}) {
    const ZsetLimits limits{.max_listpack_entries = listpack ? 128u : 2u};
    MemoryPageSpace space;
    ZsetValue value(&space, kSecret);
    for (std::string member : {"a", "b", "c"}) value.Add({member, 1}, {}, limits);
    value.Add({"b", -0.0}, {}, limits);
    value.Add({"new", -0.0}, {}, limits);
    MemoryPageSpace built_space;
    ZsetValue built(&built_space, kSecret);
    std::vector<ZsetElement> elements{{"b", -0.0}, {"c", 1}, {"new", -0.0}};
    built.Build(elements, limits);
    for (ZsetValue* each : {&value, &built}) {
      for (std::string member : {"b", "new"}) {
        double score = 1;
        ASSERT_EQ(each->Score(member, &score), Lookup::kPresent);
        EXPECT_EQ(score, 0);
        EXPECT_EQ(std::signbit(score), !listpack);
      }
    }
  }
}

TEST(ZsetValueTest, StaysASkiplistOnceItWasOne) {
  MemoryPageSpace space;
  ZsetValue value(&space, kSecret);
  ZsetLimits limits{.max_listpack_entries = 3, .max_listpack_value = 5};
  for (std::string member : {"a", "b", "c"}) value.Add({member, 1}, {}, limits);
  EXPECT_STREQ(ZsetEncoding(space.Root()), "listpack");
  value.Add({"d", 1}, {}, limits);
  EXPECT_STREQ(ZsetEncoding(space.Root()), "skiplist");
  for (std::string member : {"b", "c", "d"}) value.Remove(member);
  EXPECT_STREQ(ZsetEncoding(space.Root()), "skiplist");
  value.Remove("a");
  EXPECT_FALSE(space.exists());
  value.Add({"abcdef", 1}, {}, limits);
  EXPECT_STREQ(ZsetEncoding(space.Root()), "skiplist");
}

TEST(ZsetValueTest, GivesElementsWhoseScoresChangeDuringAScan) {
  Checked checked(5, {.members = 3000, .scores = 500, .steps = 6000});
  checked.Fill();
  std::set<std::string> there;
  for (const auto& [member, score] : checked.model()) there.insert(member);
  uint64_t cursor = 0;
  do {
    ZsetValue::ScanBatch batch;
    RunFetching(&checked.space(), [&] { return checked.Value().Scan(cursor, 20, &batch); });
    for (const ZsetElement& element : batch.elements) there.erase(std::string(element.member));
    cursor = batch.next;
    for (int i = 0; i < 50; ++i) checked.Add();
    checked.space().DemoteAll();
  } while (cursor != 0);
  EXPECT_TRUE(there.empty());
}

TEST(ZsetValueTest, MissesNoPageInABatchThatWasWanted) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Checked checked(seed, {.members = 2000, .scores = 2000, .steps = 3000});
    checked.Fill();
    for (int round = 0; round < 60; ++round) {
      checked.space().DemoteAll();
      ASSERT_NO_FATAL_FAILURE(checked.Batch());
    }
    checked.CheckAll();
  }
}

TEST(ZsetValueTest, FillsLeavesOfAscendingScores) {
  MemoryPageSpace space;
  ZsetValue value(&space, kSecret);
  for (int i = 0; i < 20'000; ++i) {
    value.Add({"member:" + std::to_string(1'000'000 + i), double(i)}, {}, {});
  }
  uint64_t bytes = 0;
  for (const auto& [number, page] : space.pages()) bytes += page.size();
  // A row of both trees takes 39 bytes.
  EXPECT_LT(bytes / 20'000, 52u);
}

}  // namespace
}  // namespace firn
