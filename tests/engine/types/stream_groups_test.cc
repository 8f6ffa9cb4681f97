#include "engine/types/stream_groups.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RunFetching;
using Group = StreamGroups::Group;
using Consumer = StreamGroups::Consumer;
using Pending = StreamGroups::Pending;
using Lookup = StreamGroups::Lookup;

struct GroupModel {
  Group group;
  std::map<std::string, Consumer> consumers;
  std::map<StreamId, Pending> pending;
};

// Groups beside a model of them, of which pages leave RAM at random.
class StreamGroupsTest : public ::testing::Test {
 protected:
  StreamGroupsTest() { StreamValue(&space_).Create(); }

  void Create(const std::string& name) {
    StreamGroups groups(&space_);
    Group group;
    RunFetching(&space_, [&] { return groups.FindGroup(name, &group) != Lookup::kMissing; });
    group = {};
    group.last_id = {random_() % 100, 7};
    groups.CreateGroup(name, &group);
    model_[name].group = group;
  }

  void CreateConsumer(const std::string& name, const std::string& consumer_name) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    RunFetching(&space_, [&] {
      Group group;
      return groups.FindGroup(name, &group) == Lookup::kPresent &&
             groups.WantConsumer(group, consumer_name);
    });
    Consumer consumer{.seen_ms = 5};
    groups.CreateConsumer(consumer_name, &model.group, &consumer);
    groups.Store(name, model.group);
    model.consumers[consumer_name] = consumer;
  }

  void Put(const std::string& name, const std::string& consumer, StreamId id) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    const uint32_t number = model.consumers.at(consumer).number;
    Pending old;
    bool had = false;
    RunFetching(&space_, [&] {
      const Lookup lookup = groups.FindPending(model.group, id, &old);
      had = lookup == Lookup::kPresent;
      return lookup != Lookup::kMissing && groups.WantPending(model.group, number, id) &&
             (!had || groups.WantPending(model.group, old.consumer, id));
    });
    ASSERT_EQ(had, model.pending.contains(id));
    const Pending pending = RandomPending(id, number);
    groups.Put(model.group, pending, had ? &old : nullptr);
    model.pending[id] = pending;
  }

  // Now and then one for which pages must change their format.
  Pending RandomPending(StreamId id, uint32_t consumer) {
    const bool wide = wide_ && random_() % 200 == 0;
    return {.id = id,
            .delivered_ms = static_cast<int64_t>(wide ? random_() % (1ull << 41)
                                                      : 1'700'000'000'000 + random_() % 1000),
            .deliveries = random_() % (wide ? 100'000 : 300),
            .consumer = consumer};
  }

  // Ids that follow each other, some of which may be pending already.
  void PutRun(const std::string& name, const std::string& consumer, StreamId first,
              uint64_t count) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    const uint32_t number = model.consumers.at(consumer).number;
    std::vector<Pending> run;
    bool any = false;
    for (uint64_t i = 0; i < count; ++i) {
      const StreamId id{first.ms + 2 * i, first.seq};
      run.push_back(RandomPending(id, number));
      any |= model.pending.contains(id);
    }
    Lookup lookup = Lookup::kMissing;
    RunFetching(&space_, [&] {
      lookup = groups.WantNew(model.group, number, run);
      return lookup != Lookup::kMissing;
    });
    ASSERT_EQ(lookup, any ? Lookup::kPresent : Lookup::kAbsent);
    if (any) return;
    groups.PutNew(model.group, run);
    for (const Pending& pending : run) model.pending[pending.id] = pending;
  }

  // Of one consumer, from an id on.
  void RemoveRun(const std::string& name, const std::string& consumer, StreamId first) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    const uint32_t number = model.consumers.at(consumer).number;
    std::vector<Pending> run;
    for (auto it = model.pending.lower_bound(first); it != model.pending.end(); ++it) {
      if (it->second.consumer == number) run.push_back(it->second);
      if (run.size() == 40) break;
    }
    RunFetching(&space_, [&] {
      bool all = true;
      for (const Pending& pending : run) all &= groups.WantPending(model.group, number, pending.id);
      return all;
    });
    groups.Remove(model.group, run);
    for (const Pending& pending : run) model.pending.erase(pending.id);
  }

  void RemoveSome(const std::string& name, const std::string& consumer_name) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    const Consumer& consumer = model.consumers.at(consumer_name);
    const uint64_t limit = 1 + random_() % 100;
    std::optional<uint64_t> removed;
    RunFetching(&space_, [&] {
      removed = groups.RemoveSome(consumer, &model.group, limit);
      return removed.has_value();
    });
    uint64_t expected = 0;
    for (auto it = model.pending.begin(); it != model.pending.end() && expected < limit;) {
      const bool goes = it->second.consumer == consumer.number;
      expected += goes ? 1 : 0;
      it = goes ? model.pending.erase(it) : std::next(it);
    }
    ASSERT_EQ(*removed, expected);
  }

  void Remove(const std::string& name, StreamId id) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    Pending old;
    bool had = false;
    RunFetching(&space_, [&] {
      const Lookup lookup = groups.FindPending(model.group, id, &old);
      had = lookup == Lookup::kPresent;
      return lookup != Lookup::kMissing &&
             (!had || groups.WantPending(model.group, old.consumer, id));
    });
    ASSERT_EQ(had, model.pending.erase(id) == 1);
    if (had) groups.Remove(model.group, old);
  }

  void Delete(const std::string& name, const std::string& consumer_name) {
    StreamGroups groups(&space_);
    GroupModel& model = model_.at(name);
    const Consumer consumer = model.consumers.at(consumer_name);
    RunFetching(&space_, [&] {
      Consumer found;
      return groups.FindConsumer(model.group, consumer_name, &found) == Lookup::kPresent &&
             groups.WantDelete(model.group, consumer);
    });
    model.group.pending = model.pending.size();
    const uint64_t removed = std::erase_if(
        model.pending, [&](const auto& entry) { return entry.second.consumer == consumer.number; });
    ASSERT_EQ(groups.Delete(consumer_name, consumer, &model.group), removed);
    RunFetching(&space_, [&] { return groups.WantGroup(name); });
    groups.Store(name, model.group);
    model.consumers.erase(consumer_name);
  }

  void Destroy(const std::string& name) {
    StreamGroups groups(&space_);
    Group group;
    RunFetching(&space_, [&] {
      return groups.FindGroup(name, &group) == Lookup::kPresent && groups.WantDestroy(group);
    });
    groups.Destroy(name, group);
    model_.erase(name);
  }

  void DestroyInSlices(const std::string& name) {
    Group group;
    {
      StreamGroups groups(&space_);
      RunFetching(&space_, [&] { return groups.FindGroup(name, &group) == Lookup::kPresent; });
      groups.Forget(name);
    }
    model_.erase(name);
    for (bool goes_on = true; goes_on;) {
      if (random_() % 4 == 0) space_.DemoteAll();
      StreamGroups groups(&space_);
      RunFetching(&space_, [&] {
        const auto progress = groups.DropSlice(group);
        goes_on = progress != StreamGroups::Progress::kDone;
        return progress != StreamGroups::Progress::kMissing;
      });
    }
    StreamGroups groups(&space_);
    RunFetching(&space_, [&] { return groups.WantConsumers(group); });
    groups.DropConsumers(group);
  }

  void Check() {
    StreamGroups groups(&space_);
    RunFetching(&space_, [&] { return groups.WantAll(); });
    std::vector<std::string> names;
    ASSERT_TRUE(groups.ForEachGroup([&](std::string_view name, const Group& group) {
      names.emplace_back(name);
      EXPECT_EQ(group.number, model_.at(names.back()).group.number);
      EXPECT_EQ(group.last_id, model_.at(names.back()).group.last_id);
      return true;
    }));
    ASSERT_EQ(names.size(), model_.size());
    ASSERT_EQ(StreamValue(&space_).groups(), model_.size());
    for (const auto& [name, model] : model_) CheckGroup(groups, model);
    for (const auto& [number, page] : space_.pages()) {
      if (number == kRootPage || !PendingPage::Is(page)) continue;
      ASSERT_TRUE(PendingPage::Validate(page));
      const uint32_t group = PendingPage(page).owner().group;
      ASSERT_TRUE(std::any_of(model_.begin(), model_.end(), [&](const auto& entry) {
        return entry.second.group.number == group;
      })) << "a page of a group that is gone";
    }
  }

  void CheckGroup(StreamGroups& groups, const GroupModel& model) {
    std::map<StreamId, Pending> pending;
    StreamId last;
    ASSERT_TRUE(groups.ForEachPending(model.group, {}, [&](const Pending& entry) {
      EXPECT_TRUE(pending.empty() || pending.rbegin()->first < entry.id);
      pending[entry.id] = entry;
      return true;
    }));
    ASSERT_EQ(pending.size(), model.pending.size());
    for (const auto& [id, entry] : model.pending) {
      ASSERT_EQ(pending.at(id).consumer, entry.consumer);
      ASSERT_EQ(pending.at(id).delivered_ms, entry.delivered_ms);
      ASSERT_EQ(pending.at(id).deliveries, entry.deliveries);
    }
    ASSERT_TRUE(groups.FindLastPending(model.group, &last));
    ASSERT_EQ(last, model.pending.empty() ? StreamId() : model.pending.rbegin()->first);
    size_t owned = 0;
    for (const auto& [name, consumer] : model.consumers) {
      std::string found;
      ASSERT_EQ(groups.FindConsumerName(model.group, consumer.number, &found), Lookup::kPresent);
      ASSERT_EQ(found, name);
      ASSERT_TRUE(groups.ForEachPendingOf(model.group, consumer.number, {}, [&](StreamId id) {
        EXPECT_EQ(model.pending.at(id).consumer, consumer.number);
        ++owned;
        return true;
      }));
    }
    ASSERT_EQ(owned, model.pending.size());
  }

  std::mt19937_64 random_{11};
  MemoryPageSpace space_;
  std::map<std::string, GroupModel> model_;
  bool wide_ = true;
};

TEST_F(StreamGroupsTest, AgreesWithAModelThroughRandomChanges) {
  const std::string names[] = {"a", "b", "group", ""};
  const std::string consumers[] = {"x", "", std::string(700, 'c')};
  for (int i = 0; i < 30'000 && !HasFatalFailure(); ++i) {
    if (random_() % 40 == 0) space_.DemoteAll();
    const std::string& name = names[random_() % 4];
    const std::string& consumer = consumers[random_() % 3];
    const uint64_t action = random_() % 1000;
    if (!model_.contains(name)) {
      Create(name);
    } else if (!model_.at(name).consumers.contains(consumer)) {
      CreateConsumer(name, consumer);
    } else if (action < 1) {
      Destroy(name);
    } else if (action < 2) {
      DestroyInSlices(name);
    } else if (action < 6) {
      Delete(name, consumer);
    } else if (action < 12) {
      RemoveSome(name, consumer);
    } else if (action < 30) {
      PutRun(name, consumer, {random_() % 3000, random_() % 2}, 1 + random_() % 300);
    } else if (action < 80) {
      RemoveRun(name, consumer, {random_() % 3000, 0});
    } else if (action < 650) {
      Put(name, consumer, {random_() % 3000, 0});
    } else {
      Remove(name, {random_() % 3000, 0});
    }
    if (i % 500 == 0) Check();
  }
  Check();
}

TEST_F(StreamGroupsTest, KeepsALongQueueInFewPages) {
  wide_ = false;
  Create("g");
  CreateConsumer("g", "c");
  for (uint64_t i = 0; i < 20'000; ++i) Put("g", "c", {1'700'000'000'000 + i, 0});
  size_t bytes = 0;
  for (const auto& [number, page] : space_.pages()) bytes += page.size();
  EXPECT_LE(bytes, 20'000 * 27u);
  for (uint64_t i = 0; i < 20'000; ++i) Remove("g", {1'700'000'000'000 + i, 0});
  // The first and the last page of the group and of the consumer, the names, the entries, the root.
  EXPECT_LE(space_.pages().size(), 8u);
  Check();
  // A queue that is empty again and again makes no pages.
  const auto pages = space_.pages();
  for (uint64_t i = 0; i < 100; ++i) {
    const StreamId id{1'700'000'100'000 + i, 0};
    Put("g", "c", id);
    Remove("g", id);
  }
  for (const auto& [number, page] : space_.pages()) EXPECT_TRUE(pages.contains(number));
}

TEST_F(StreamGroupsTest, DestroysAColdGroupWithoutAllItsPagesInRam) {
  wide_ = false;
  for (const char* name : {"f", "g", "h"}) {
    Create(name);
    CreateConsumer(name, "c");
    CreateConsumer(name, "d");
    for (uint64_t i = 0; i < 200; ++i) PutRun(name, i % 2 == 0 ? "c" : "d", {1000 * i, 0}, 400);
  }
  const size_t before = space_.pages().size();
  space_.DemoteAll();
  DestroyInSlices("g");
  EXPECT_LT(space_.pages().size(), before * 7 / 10);
  Check();
}

TEST_F(StreamGroupsTest, TakesOnePageForSmallGroups) {
  for (int i = 0; i < 20; ++i) {
    Create("group" + std::to_string(i));
    CreateConsumer("group" + std::to_string(i), "c");
  }
  EXPECT_LE(space_.pages().size(), 3u);
  for (int i = 0; i < 20; ++i) Destroy("group" + std::to_string(i));
  Check();
  // The page without rows belongs to the value still.
  space_.DemoteAll();
  RunFetching(&space_, [&] { return CountedTree::WantValue(&space_); });
  MemoryPageSpace copy;
  CountedTree::CopyValue(&space_, &copy);
  EXPECT_EQ(copy.pages().size(), space_.pages().size());
}

}  // namespace
}  // namespace firn
