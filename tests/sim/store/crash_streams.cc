// The part of the workload that changes and reads streams with consumer groups, as the stream
// commands do.

#include <algorithm>

#include "crash_workload.h"
#include "engine/types/stream_groups.h"
#include "tiering/collection.h"

namespace firn::test {
namespace {

using Lookup = StreamGroups::Lookup;

// Small nodes, so that few entries make many pages.
constexpr StreamLimits kLimits{.node_max_bytes = 800, .node_max_entries = 12};
constexpr int64_t kTimeMs = 1'700'000'000'000;

struct StreamChange {
  enum class Kind : uint8_t {
    kAdd,
    kDelete,
    kTrim,
    kSetId,
    kCreate,
    kDestroy,
    kRead,
    kAck,
    kClaim,
    kDeleteConsumer
  } kind = Kind::kAdd;
  std::string group;
  std::string consumer;
  uint64_t count = 1;
  uint64_t place = 0;  // among what there is
  int64_t time_ms = 0;
};

StreamChange Draw(const ModelStream* stream, uint64_t seed) {
  using Kind = StreamChange::Kind;
  Random random(seed);
  static constexpr uint64_t kMost[] = {2, 12, 150};
  static constexpr Kind kKinds[] = {Kind::kAdd,    Kind::kAdd,    Kind::kAdd,   Kind::kAdd,
                                    Kind::kDelete, Kind::kDelete, Kind::kTrim,  Kind::kRead,
                                    Kind::kRead,   Kind::kRead,   Kind::kRead,  Kind::kRead,
                                    Kind::kAck,    Kind::kAck,    Kind::kAck,   Kind::kAck,
                                    Kind::kClaim,  Kind::kClaim,  Kind::kSetId, Kind::kCreate};
  StreamChange change{.kind = kKinds[random.Below(std::size(kKinds))],
                      .group = "group" + std::to_string(random.Below(2)),
                      .consumer = "consumer" + std::to_string(random.Below(3)),
                      .count = 1 + random.Below(kMost[random.Below(3)]),
                      .place = random.Below(1000),
                      .time_ms = kTimeMs + static_cast<int64_t>(random.Below(1'000'000))};
  if (random.Below(60) == 0) change.kind = Kind::kDestroy;
  if (random.Below(40) == 0) change.kind = Kind::kDeleteConsumer;
  if (stream == nullptr) change.kind = Kind::kAdd;
  const bool of_group = change.kind >= Kind::kDestroy;
  if (of_group && !stream->groups.contains(change.group)) change.kind = Kind::kCreate;
  if (change.kind == Kind::kCreate && stream->groups.contains(change.group)) {
    change.kind = Kind::kRead;
  }
  return change;
}

// One change of a stream and of its model. `apply` false: just wants what it needs.
class StreamStep {
 public:
  StreamStep(PageSpace* pages, ModelStream* model, const StreamChange& change, bool apply)
      : value_(pages), groups_(pages), model_(*model), change_(change), apply_(apply) {}

  // False if pages are missing; nothing is changed then.
  bool Run() {
    using Kind = StreamChange::Kind;
    switch (change_.kind) {
      case Kind::kAdd:
        return Add();
      case Kind::kDelete:
        return Delete();
      case Kind::kTrim:
        return Trim();
      case Kind::kSetId:
        return SetId();
      case Kind::kCreate:
        return Create();
      default:
        break;
    }
    model_group_ = &model_.groups.at(change_.group);
    const Lookup lookup = groups_.FindGroup(change_.group, &group_);
    if (lookup != Lookup::kPresent) return lookup == Lookup::kAbsent && Wrong("a group is gone");
    switch (change_.kind) {
      case Kind::kDestroy:
        return Destroy();
      case Kind::kRead:
        return Read();
      case Kind::kAck:
        return Acknowledge();
      case Kind::kClaim:
        return Claim();
      default:
        return DeleteConsumer();
    }
  }
  const std::string& wrong() const { return wrong_; }

 private:
  bool Wrong(const char* what) {
    wrong_ = what;
    return true;
  }

  bool Add() {
    if (value_.exists() && !value_.WantAppend()) return false;
    for (uint64_t i = 0; apply_ && i < change_.count; ++i) {
      const uint64_t random = change_.place * 7919 + i * 31;
      const StreamId id{model_.last_id.ms + random % 3, model_.last_id.seq + 1};
      std::string text(random % 120, static_cast<char>('a' + i % 26));
      text += std::to_string(random);
      const std::string_view fields[] = {i % 9 == 0 ? "other" : "name", text};
      value_.Append(id, fields, kLimits);
      model_.entries[id] = text;
      model_.last_id = id;
      ++model_.entries_added;
    }
    return true;
  }

  bool Delete() {
    std::vector<StreamId> ids;
    auto it = model_.entries.begin();
    std::advance(it, change_.place % (model_.entries.size() + 1));
    for (; it != model_.entries.end() && ids.size() < change_.count; ++it) ids.push_back(it->first);
    bool all = true;
    for (StreamId id : ids) all &= value_.WantRemove(id);
    if (!all || !apply_ || ids.empty()) return all;
    for (StreamId id : ids) {
      if (!value_.Remove(id)) return Wrong("an entry is gone");
      model_.entries.erase(id);
    }
    model_.max_deleted_id = std::max(model_.max_deleted_id, ids.back());
    value_.SetMaxDeletedId(model_.max_deleted_id);
    return true;
  }

  bool Trim() {
    const uint64_t length = model_.entries.size();
    const StreamTrim trim{.by = StreamTrim::By::kLength,
                          .whole_pages = change_.place % 2 == 0,
                          .max_length = length - std::min(length, change_.count)};
    const bool sliced = change_.place % 3 == 0;
    if (sliced ? !value_.WantTrimSlice(trim) : !value_.WantTrim(trim)) return false;
    if (!apply_) return true;
    bool more;
    uint64_t removed = sliced ? value_.TrimSlice(trim, &more) : value_.Trim(trim);
    for (; removed > 0; --removed) model_.entries.erase(model_.entries.begin());
    return true;
  }

  bool SetId() {
    if (!apply_) return true;
    model_.last_id.ms += 5;
    value_.SetLastId(model_.last_id);
    return true;
  }

  bool Create() {
    if (!groups_.WantGroup(change_.group)) return false;
    if (!apply_) return true;
    StreamGroups::Group group{.entries_read = 0};
    groups_.CreateGroup(change_.group, &group);
    model_.groups[change_.group].row = group;
    return true;
  }

  bool Destroy() {
    if (!groups_.WantDestroy(group_)) return false;
    if (!apply_) return true;
    groups_.Destroy(change_.group, group_);
    model_.groups.erase(change_.group);
    return true;
  }

  // The consumer as the change finds it, or makes it.
  bool WantConsumer() {
    consumer_ = {.number = group_.next_consumer};
    const Lookup lookup = groups_.FindConsumer(group_, change_.consumer, &consumer_);
    is_new_ = lookup == Lookup::kAbsent;
    return lookup != Lookup::kMissing && groups_.WantConsumer(group_, change_.consumer);
  }
  void MakeConsumer() {
    if (is_new_) {
      consumer_ = {.seen_ms = change_.time_ms};
      groups_.CreateConsumer(change_.consumer, &group_, &consumer_);
    }
    consumer_.seen_ms = consumer_.active_ms = change_.time_ms;
  }
  void StoreBoth() {
    groups_.Store(group_, change_.consumer, consumer_);
    groups_.Store(change_.group, group_);
    model_group_->row = group_;
    model_group_->consumers[change_.consumer] = consumer_;
  }

  bool Read() {
    if (!WantConsumer()) return false;
    std::vector<PendingEntry> delivered;
    const StreamId after = group_.last_id;
    const bool walked = value_.Walk({.first = {after.ms, after.seq + 1}, .limit = change_.count},
                                    [&](const StreamPage::Cursor& entry) {
                                      delivered.push_back({.id = entry.id(),
                                                           .delivered_ms = change_.time_ms,
                                                           .deliveries = 1,
                                                           .consumer = consumer_.number});
                                    });
    const Lookup found = groups_.WantNew(group_, consumer_.number, delivered);
    if (!walked || found == Lookup::kMissing) return false;
    if (found == Lookup::kPresent) return Wrong("an entry is pending that was not read");
    if (!apply_) return true;
    MakeConsumer();
    groups_.PutNew(group_, delivered);
    for (const PendingEntry& entry : delivered) model_group_->pending[entry.id] = entry;
    if (!delivered.empty()) group_.last_id = delivered.back().id;
    group_.entries_read += static_cast<int64_t>(delivered.size());
    group_.pending += delivered.size();
    consumer_.pending += delivered.size();
    StoreBoth();
    return true;
  }

  // Some of the pending entries, in order; the store has to agree on what they are.
  bool FindSome(std::vector<PendingEntry>* some) {
    const auto& pending = model_group_->pending;
    auto it = pending.begin();
    std::advance(it, change_.place % (pending.size() + 1));
    bool all = true;
    for (; it != pending.end() && some->size() < change_.count; ++it) {
      PendingEntry entry;
      const Lookup lookup = groups_.FindPending(group_, it->first, &entry);
      all &= lookup != Lookup::kMissing;
      if (lookup == Lookup::kAbsent) return Wrong("a pending entry is gone");
      all &= groups_.WantPending(group_, it->second.consumer, it->first);
      all &= groups_.WantOwner(group_, it->second.consumer);
      some->push_back(it->second);
    }
    return all;
  }
  void CountOf(uint32_t consumer, int64_t change) {
    groups_.ChangePendingCount(group_, consumer, change);
    for (auto& [name, model] : model_group_->consumers) {
      if (model.number == consumer) model.pending += static_cast<uint64_t>(change);
    }
  }

  bool Acknowledge() {
    std::vector<PendingEntry> some;
    if (!FindSome(&some)) return false;
    if (!apply_ || !wrong_.empty()) return true;
    for (size_t begin = 0; begin < some.size();) {
      size_t end = begin;
      while (end < some.size() && some[end].consumer == some[begin].consumer) {
        model_group_->pending.erase(some[end++].id);
      }
      groups_.Remove(group_, std::span(some).subspan(begin, end - begin));
      CountOf(some[begin].consumer, -static_cast<int64_t>(end - begin));
      begin = end;
    }
    group_.pending -= some.size();
    groups_.Store(change_.group, group_);
    model_group_->row = group_;
    return true;
  }

  bool Claim() {
    std::vector<PendingEntry> some;
    if (!WantConsumer() || !FindSome(&some)) return false;
    bool all = true;
    for (const PendingEntry& entry : some) {
      all &= groups_.WantPending(group_, consumer_.number, entry.id);
    }
    if (!all || !apply_ || !wrong_.empty()) return all;
    MakeConsumer();
    StoreBoth();
    for (const PendingEntry& old : some) {
      PendingEntry entry = old;
      entry.consumer = consumer_.number;
      entry.deliveries += change_.place % 7 == 0 ? 100'000 : 1;
      groups_.Put(group_, entry, &old);
      model_group_->pending[entry.id] = entry;
      CountOf(old.consumer, -1);
      CountOf(entry.consumer, 1);
    }
    return true;
  }

  bool DeleteConsumer() {
    const Lookup lookup = groups_.FindConsumer(group_, change_.consumer, &consumer_);
    if (lookup != Lookup::kPresent) return lookup == Lookup::kAbsent;
    if (!groups_.WantDelete(group_, consumer_)) return false;
    if (!apply_) return true;
    groups_.Delete(change_.consumer, consumer_, &group_);
    groups_.Store(change_.group, group_);
    std::erase_if(model_group_->pending,
                  [&](const auto& entry) { return entry.second.consumer == consumer_.number; });
    model_group_->consumers.erase(change_.consumer);
    model_group_->row = group_;
    return true;
  }

  StreamValue value_;
  StreamGroups groups_;
  ModelStream& model_;
  const StreamChange& change_;
  const bool apply_;
  ModelStream::Group* model_group_ = nullptr;
  StreamGroups::Group group_;
  StreamGroups::Consumer consumer_;
  bool is_new_ = false;
  std::string wrong_;
};

}  // namespace

bool CrashWorkload::WantStreamChange(uint32_t db, size_t key, uint64_t seed) {
  const std::optional<ModelValue> value = Current(db, key);
  const StreamChange change = Draw(value ? value->stream.get() : nullptr, seed ^ key);
  ModelStream model = value ? *value->stream : ModelStream{};
  Collection pages(world_->store().database(db), Name(key), ValueType::kStream);
  return StreamStep(&pages, &model, change, false).Run();
}

// REQUIRES: planned with kUpdate and looked up; the key is a stream, or absent.
bool CrashWorkload::ChangeStream(uint32_t db, size_t key, uint64_t seed) {
  if (!WantStreamChange(db, key, seed)) return false;
  std::optional<ModelValue> value = Current(db, key);
  Database& database = world_->store().database(db);
  if (value && seed % 50 == 0) {
    Begin();
    if (!database.Delete(Name(key))) Fail("a delete of a stream found none");
    model_.Set(model_.Slot(db, key), std::nullopt);
    return true;
  }
  const StreamChange change = Draw(value ? value->stream.get() : nullptr, seed ^ key);
  Begin();
  if (!value) value = ModelValue{.stream = std::make_shared<ModelStream>()};
  auto stream = std::make_shared<ModelStream>(*value->stream);
  {
    Collection pages(database, Name(key), ValueType::kStream);
    StreamStep step(&pages, stream.get(), change, true);
    if (!step.Run()) Fail("a page is missing in the middle of a change of a stream");
    if (!step.wrong().empty()) Fail(step.wrong());
  }
  value->stream = std::move(stream);
  model_.Set(model_.Slot(db, key), std::move(value));
  return true;
}

bool CrashWorkload::ReadStream(uint32_t db, size_t key, const ModelStream& expected) {
  Collection pages(world_->store().database(db), Name(key), ValueType::kStream);
  ModelStream found;
  if (!ModelStream::Read(&pages, &found)) return false;
  if (found.fingerprint() != expected.fingerprint()) {
    Fail("a wrong stream was read: " + std::to_string(found.entries.size()) + " entries for " +
         std::to_string(expected.entries.size()));
  }
  return true;
}

}  // namespace firn::test
