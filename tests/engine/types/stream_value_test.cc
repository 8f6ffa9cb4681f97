#include "engine/types/stream_value.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;
using Fields = std::vector<std::string>;
using Model = std::map<StreamId, Fields>;

std::vector<std::string_view> Views(const Fields& fields) { return {fields.begin(), fields.end()}; }

Fields Contents(const StreamPage::Cursor& cursor) {
  Fields fields;
  cursor.ForEachField([&](std::string_view name, std::string_view value) {
    fields.emplace_back(name);
    fields.emplace_back(value);
  });
  return fields;
}

// A stream beside a model of it, of which pages leave RAM at random.
class StreamValueTest : public ::testing::Test {
 protected:
  Fields RandomFields(size_t longest) {
    Fields fields;
    const size_t pairs = 1 + random_() % 3;
    for (size_t i = 0; i < pairs; ++i) {
      fields.push_back(random_() % 8 == 0 ? "other" : "name" + std::to_string(i));
      fields.push_back(random_() % 2 == 0 ? std::to_string(static_cast<int64_t>(random_()))
                                          : std::string(random_() % longest, 'v'));
    }
    return fields;
  }

  void Append(const Fields& fields) {
    StreamId id = last_;
    if (random_() % 3 == 0) {
      ++id.seq;
    } else {
      id = {id.ms + 1 + random_() % 100, random_() % 3};
    }
    last_ = id;
    RunFetching(&space_, [&] { return !stream_.exists() || stream_.WantAppend(); });
    stream_.Append(id, Views(fields), limits_);
    model_[id] = fields;
    ++added_;
  }

  StreamId RandomId() {
    if (model_.empty()) return {};
    auto it = model_.lower_bound({random_() % (last_.ms + 1), 0});
    return it == model_.end() ? last_ : it->first;
  }

  void CheckRange(const StreamRange& range) {
    std::vector<std::pair<StreamId, Fields>> expected;
    auto first = model_.lower_bound(range.first);
    auto end = model_.upper_bound(range.last);
    if (range.first <= range.last) expected.assign(first, end);
    if (range.backward) std::reverse(expected.begin(), expected.end());
    if (expected.size() > range.limit) expected.resize(range.limit);
    RunFetching(&space_, [&] { return stream_.Want(range); });
    std::vector<std::pair<StreamId, Fields>> got;
    stream_.ForEach(range, [&](const StreamPage::Cursor& cursor) {
      got.emplace_back(cursor.id(), Contents(cursor));
    });
    ASSERT_EQ(got, expected);
  }

  void Check() {
    ASSERT_EQ(stream_.length(), model_.size());
    ASSERT_EQ(stream_.last_id(), last_);
    ASSERT_EQ(stream_.entries_added(), added_);
    StreamId first;
    RunFetching(&space_, [&] { return stream_.FirstId(&first); });
    ASSERT_EQ(first, model_.empty() ? StreamId() : model_.begin()->first);
    for (const auto& [number, bytes] : space_.pages()) {
      if (number != kRootPage && bytes[0] != 16) {
        ASSERT_TRUE(StreamPage::Validate(bytes));
      }
    }
  }

  uint64_t Trim(const StreamTrim& trim) {
    RunFetching(&space_, [&] { return stream_.WantTrim(trim); });
    const uint64_t removed = stream_.Trim(trim);
    for (uint64_t i = 0; i < removed; ++i) model_.erase(model_.begin());
    return removed;
  }

  std::mt19937_64 random_{7};
  MemoryPageSpace space_;
  StreamValue stream_{&space_};
  StreamLimits limits_;
  Model model_;
  StreamId last_;
  uint64_t added_ = 0;
};

TEST_F(StreamValueTest, AgreesWithAModelThroughRandomChanges) {
  limits_.node_max_entries = 20;
  for (int i = 0; i < 20'000; ++i) {
    if (random_() % 50 == 0) space_.DemoteAll();
    switch (random_() % 16) {
      case 0: {
        StreamId id = RandomId();
        if (random_() % 4 == 0) ++id.seq;
        if (!stream_.exists()) break;
        RunFetching(&space_, [&] { return stream_.WantRemove(id); });
        ASSERT_EQ(stream_.Remove(id), model_.erase(id) == 1);
        break;
      }
      case 1:
        if (stream_.exists() && random_() % 8 == 0) {
          const uint64_t keep = random_() % (model_.size() + 2);
          Trim({.by = StreamTrim::By::kLength, .max_length = keep});
          ASSERT_LE(stream_.length(), keep);
        }
        break;
      case 2:
        if (stream_.exists() && random_() % 8 == 0) {
          const StreamId id = RandomId();
          Trim({.by = StreamTrim::By::kId, .min_id = id});
          ASSERT_TRUE(model_.empty() || model_.begin()->first >= id);
        }
        break;
      case 3:
        if (stream_.exists()) {
          CheckRange({.first = RandomId(),
                      .last = RandomId(),
                      .backward = random_() % 2 == 0,
                      .limit = 1 + random_() % 60});
        }
        break;
      default:
        Append(RandomFields(random_() % 100 == 0 ? 6000 : 30));
    }
    if (stream_.exists() && i % 16 == 0) Check();
    if (HasFatalFailure()) return;
  }
  CheckRange({});
  CheckRange({.backward = true});
}

TEST_F(StreamValueTest, EntriesAddedTogetherMakeThePagesOfEntriesAddedAlone) {
  MemoryPageSpace space;
  StreamValue alone(&space);
  limits_.node_max_entries = 30;
  for (uint64_t i = 1; i < 500; ++i) {
    std::vector<Fields> fields(1 + random_() % 40);
    std::vector<std::vector<std::string_view>> views;
    std::vector<StreamEntry> entries;
    for (Fields& each : fields) {
      each = RandomFields(random_() % 20 == 0 ? 2000 : 30);
      views.push_back(Views(each));
    }
    for (size_t j = 0; j < views.size(); ++j) {
      entries.push_back({{i, j}, views[j]});
      alone.Append({i, j}, views[j], limits_);
    }
    stream_.Append(entries, limits_);
    if (i % 7 == 0) {
      // The next one comes behind one that was deleted.
      ASSERT_TRUE(stream_.Remove(stream_.last_id()) && alone.Remove(alone.last_id()));
    }
    ASSERT_EQ(space_.pages(), space.pages());
  }
}

TEST_F(StreamValueTest, ReadsAndTrimsTheOldEndWithoutTheNewOne) {
  limits_.node_max_bytes = 0;
  for (int i = 0; i < 20'000; ++i) Append({"a", "0123456789abcdef", "b", "0123456789abcdef"});
  EXPECT_EQ(stream_.nodes(), 200u);
  space_.DemoteAll();
  const StreamRange range{.first = RandomId(), .limit = 1};
  size_t pages = 0;
  while (!stream_.Want(range)) pages += space_.FetchWanted();
  EXPECT_LE(pages, 3u);
  space_.DemoteAll();
  RunFetching(&space_, [&] { return stream_.WantAppend(); });
  Append({"a", "x"});
  space_.DemoteAll();
  EXPECT_EQ(Trim({.by = StreamTrim::By::kLength, .whole_pages = true, .max_length = 19'950}), 0u);
  EXPECT_EQ(Trim({.by = StreamTrim::By::kLength, .whole_pages = true, .max_length = 19'850}), 100u);
  EXPECT_EQ(Trim({.by = StreamTrim::By::kLength, .whole_pages = true, .limit = 250}), 200u);
  EXPECT_EQ(stream_.nodes(), 198u);
  Check();
}

TEST_F(StreamValueTest, TrimsInSlicesWithoutAllPagesInRam) {
  for (int i = 0; i < 60'000; ++i) Append({"a", "0123456789abcdef", "b", "0123456789abcdef"});
  const StreamTrim trim{.by = StreamTrim::By::kLength, .max_length = 1234};
  uint64_t removed = 0;
  bool more = true;
  for (int slices = 0; more; ++slices) {
    ASSERT_LT(slices, 20);
    if (slices % 2 == 0) space_.DemoteAll();
    size_t fetched = 0;
    while (!stream_.WantTrimSlice(trim)) fetched += space_.FetchWanted();
    EXPECT_LE(fetched, 200u);
    const uint64_t edits = space_.edits();
    removed += stream_.TrimSlice(trim, &more);
    EXPECT_GT(space_.edits(), edits);
    EXPECT_EQ(stream_.length(), 60'000 - removed);
  }
  EXPECT_EQ(stream_.length(), 1234u);
  while (model_.size() > 1234) model_.erase(model_.begin());
  CheckRange({});
  Check();
}

TEST_F(StreamValueTest, KnowsWhichTrimmingTakesSlices) {
  for (int i = 0; i < 60'000; ++i) Append({"a", "b"});
  auto several = [this](const StreamTrim& trim) {
    bool several = false;
    RunFetching(&space_, [&] { return stream_.TakesSlices(trim, &several); });
    return several;
  };
  using By = StreamTrim::By;
  StreamId middle;
  ASSERT_TRUE(stream_.Want({.limit = 40'000}));
  stream_.ForEach({.limit = 40'000}, [&](const StreamPage::Cursor& entry) { middle = entry.id(); });
  space_.DemoteAll();
  EXPECT_FALSE(several({}));
  EXPECT_TRUE(several({.by = By::kLength, .max_length = 10'000}));
  EXPECT_FALSE(several({.by = By::kLength, .max_length = 59'000}));
  EXPECT_FALSE(several({.by = By::kLength, .max_length = 100'000}));
  EXPECT_FALSE(several({.by = By::kLength, .whole_pages = true, .max_length = 1, .limit = 10'000}));
  EXPECT_TRUE(several({.by = By::kId, .min_id = middle}));
  EXPECT_FALSE(several({.by = By::kId, .min_id = {0, 5}}));
}

TEST_F(StreamValueTest, TakesLittleSpace) {
  for (int i = 0; i < 20'000; ++i) Append({"a", "0123456789abcdef", "b", "0123456789abcdef"});
  size_t bytes = 0;
  for (const auto& [number, page] : space_.pages()) bytes += page.size() + 40;
  EXPECT_LE(bytes, 20'000 * 41u);
}

TEST_F(StreamValueTest, IsEmptyAndFilledAgain) {
  stream_.Create();
  EXPECT_EQ(stream_.nodes(), 0u);
  Check();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 250; ++i) Append({"a", "b"});
    Trim({.by = StreamTrim::By::kLength, .max_length = 0});
    EXPECT_EQ(stream_.nodes(), 0u);
    Check();
    CheckRange({});
  }
}

TEST_F(StreamValueTest, CountsTheNodesOfARadixTree) {
  uint64_t nodes = 0;
  limits_.node_max_entries = 1;
  auto append = [&](StreamId id) {
    std::string_view fields[] = {"a", "b"};
    stream_.Append(id, fields, limits_);
    EXPECT_TRUE(stream_.RadixNodes(&nodes));
  };
  append({1, 0});
  EXPECT_EQ(nodes, 2u);
  append({1, 1});
  EXPECT_EQ(nodes, 4u);
  append({1, 2});
  EXPECT_EQ(nodes, 5u);
  append({2, 0});
  EXPECT_EQ(nodes, 9u);
}

TEST_F(StreamValueTest, RefusesDamagedPages) {
  for (int i = 0; i < 50; ++i) Append(RandomFields(20));
  const std::string page = space_.pages().at(1);
  ASSERT_TRUE(StreamPage::Validate(page));
  for (size_t size = 0; size < page.size(); ++size) {
    EXPECT_FALSE(StreamPage::Validate(std::string_view(page).substr(0, size)));
  }
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = page;
    for (int j = 0; j < 3; ++j) bad[random_() % bad.size()] = static_cast<char>(random_());
    if (!StreamPage::Validate(bad)) continue;
    for (StreamPage::Cursor at = StreamPage(bad).begin(); at.valid(); at.Next()) Contents(at);
  }
}

}  // namespace
}  // namespace firn
