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
    const Pending pending{.id = id,
                          .delivered_ms = static_cast<int64_t>(random_() % (1ull << 41)),
                          .deliveries = random_() % 300,
                          .consumer = number};
    groups.Put(model.group, pending, had ? &old : nullptr);
    model.pending[id] = pending;
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
    } else if (action < 2) {
      Destroy(name);
    } else if (action < 6) {
      Delete(name, consumer);
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
  Create("g");
  CreateConsumer("g", "c");
  for (uint64_t i = 0; i < 20'000; ++i) Put("g", "c", {1'700'000'000'000 + i, 0});
  size_t bytes = 0;
  for (const auto& [number, page] : space_.pages()) bytes += page.size();
  EXPECT_LE(bytes, 20'000 * 75u);
  for (uint64_t i = 0; i < 20'000; ++i) Remove("g", {1'700'000'000'000 + i, 0});
  EXPECT_LE(space_.pages().size(), 6u);
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
