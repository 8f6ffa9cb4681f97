// The part of the workload that changes and reads sets of strings: values of many pages.

#include <algorithm>
#include <iterator>

#include "crash_workload.h"
#include "support/string_set.h"
#include "tiering/collection.h"

namespace firn::test {
namespace {

// Of 5 to 300 bytes, anywhere in the order.
std::string RandomString(Random* random) {
  std::string text = std::to_string(random->Below(90'000) + 10'000);
  uint64_t size = 5 + random->Below(random->Below(4) == 0 ? 296 : 60);
  while (text.size() < size) text += static_cast<char>('a' + random->Below(26));
  return text;
}

}  // namespace

CrashWorkload::SetChange CrashWorkload::DrawSetChange(uint32_t db, size_t key, uint64_t seed) {
  Random random(seed ^ key);
  SetChange change;
  uint64_t kind = random.Below(40);
  std::optional<ModelValue> value = Current(db, key);
  if (!value || kind < 26) {
    static constexpr uint64_t kMost[] = {2, 20, 120};
    for (uint64_t count = random.Below(kMost[random.Below(3)]) + 1; count > 0; --count) {
      change.strings.push_back(RandomString(&random));
    }
  } else if (kind < 34) {
    change.kind = SetChange::Kind::kErase;
    static constexpr uint64_t kMost[] = {2, 20, 100};
    uint64_t count = random.Below(kMost[random.Below(3)]) + 1;
    const std::set<std::string>& strings = value->set->strings();
    auto it = strings.lower_bound(RandomString(&random));
    for (; count > 0 && it != strings.end(); --count, ++it) change.strings.push_back(*it);
  } else if (kind < 37) {
    change.kind = SetChange::Kind::kExpire;
    static constexpr int64_t kDelays[] = {-1, 100'000'000, 100'000'000, 400, 30};
    change.delay_ms = kDelays[random.Below(options_.reads_first ? 3 : 5)];
  } else if (kind < 39) {
    change.kind = SetChange::Kind::kDelete;
  } else {
    change.kind = SetChange::Kind::kOverwrite;
  }
  return change;
}

bool CrashWorkload::WantSetChange(uint32_t db, size_t key, uint64_t seed) {
  SetChange change = DrawSetChange(db, key, seed);
  Collection pages(world_->store().database(db), Name(key), ValueType::kSet);
  bool complete = true;
  for (const std::string& text : change.strings) complete &= WantString(&pages, text);
  return complete;
}

// REQUIRES: planned with kUpdate and looked up; the key is a set, or absent.
bool CrashWorkload::ChangeSet(uint32_t db, size_t key, uint64_t seed) {
  if (!WantSetChange(db, key, seed)) return false;
  Database& database = world_->store().database(db);
  SetChange change = DrawSetChange(db, key, seed);
  std::optional<ModelValue> value = Current(db, key);
  if (change.kind == SetChange::Kind::kOverwrite) {
    SetValue(db, key);
    return true;
  }
  Begin();
  if (change.kind == SetChange::Kind::kDelete) {
    if (!database.Delete(Name(key))) Fail("a delete of a set found none");
    value.reset();
  } else if (change.kind == SetChange::Kind::kExpire) {
    value->expiry_ms = change.delay_ms < 0 ? -1 : world_->store().now_ms() + change.delay_ms;
    database.SetExpiry(Name(key), value->expiry_ms);
  } else {
    if (!value) value = ModelValue{.set = std::make_shared<ModelSet>()};
    Collection pages(database, Name(key), ValueType::kSet);
    bool inserts = change.kind == SetChange::Kind::kInsert;
    for (const std::string& text : change.strings) {
      bool done = inserts ? InsertString(&pages, text) : EraseString(&pages, text);
      if (!done) Fail("a page is missing in the middle of a change");
      inserts ? value->set->Insert(text) : value->set->Erase(text);
    }
    if (value->set->strings().empty()) value.reset();
  }
  model_.Set(model_.Slot(db, key), std::move(value));
  return true;
}

std::shared_ptr<ModelSet> CrashWorkload::MakeSet(PageSpace* pages) {
  auto set = std::make_shared<ModelSet>();
  for (uint64_t count = random_.Below(1500) + 1; count > 0; --count) {
    const std::string text = RandomString(&random_);
    if (!InsertString(pages, text)) Fail("a page in RAM is missing");
    set->Insert(text);
  }
  return set;
}

bool CrashWorkload::ReadSet(uint32_t db, size_t key, const ModelSet& expected) {
  Collection pages(world_->store().database(db), Name(key), ValueType::kSet);
  std::set<std::string> found;
  if (!ReadStrings(&pages, &found)) return false;
  if (found != expected.strings()) {
    Fail("a wrong set was read: " + std::to_string(found.size()) + " strings for " +
         std::to_string(expected.strings().size()));
  }
  return true;
}

}  // namespace firn::test
