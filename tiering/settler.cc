#include "tiering/settler.h"

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/left_keys.h"
#include "tiering/reaper.h"
#include "tiering/record_fetch.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kReadsInFlight = 64;
constexpr uint64_t kOverloaded = 4096;
constexpr int64_t kRetryMicros = 5'000'000;

}  // namespace

void Settler::Add(Keyspace& keyspace, const HashedKey& key) {
  ++keyspace.unsettled;
  ++store_.stats_.unsettled_writes;
  queue_.push_back({keyspace.id, key.hash, std::string(key.bytes)});
}

bool Settler::HasPostponed(uint32_t keyspace) const {
  return std::ranges::any_of(postponed_,
                             [&](const Item& item) { return item.keyspace == keyspace; });
}

bool Settler::overloaded() const { return pending() > kOverloaded; }

void Settler::Step() {
  if (!postponed_.empty()) RetryPostponed();
  while (!queue_.empty() && in_flight_ < kReadsInFlight) {
    Item item = std::move(queue_.front());
    queue_.pop_front();
    Begin(std::move(item));
  }
}

void Settler::Begin(Item item) {
  ++in_flight_;
  Keyspace* keyspace = store_.KeyspaceById(item.keyspace);
  if (keyspace == nullptr) {  // flushed meanwhile
    --in_flight_;
    --store_.stats_.unsettled_writes;
    AnswerWaiters();
    return;
  }
  // Candidates are tried one after the other: more than one is an accident of 36 hash bits.
  ColdMap::Candidates found;
  uint32_t count = keyspace->cold.Find(item.hash, &found);
  for (uint32_t i = 0; i < count; ++i) {
    bool tried = false;
    for (PackedPosition position : item.tried) tried |= position == found.slots[i].position;
    if (tried) continue;
    PackedPosition position = found.slots[i].position;
    RecordFetchRequest request{.position = position,
                               .size_guess_bytes = SizeClassBytes(found.slots[i].size_class),
                               .head_only = true};
    StartRecordFetch(&store_, request,
                     [this, item = std::move(item), position](Result<FetchedRecord> read) mutable {
                       --in_flight_;
                       if (read) {
                         Examine(std::move(item), position, read->record);
                       } else {
                         Postpone(std::move(item));
                       }
                     });
    return;
  }
  --in_flight_;
  Finish(*keyspace, {item.key, item.hash});
}

void Settler::Examine(Item item, PackedPosition position, const log::RecordView& head) {
  Keyspace* keyspace = store_.KeyspaceById(item.keyspace);
  bool is_predecessor =
      keyspace != nullptr && head.keyspace == item.keyspace && head.key == item.key;
  if (is_predecessor && keyspace->cold.Remove(item.hash, position)) {
    bool has_expiry = head.expiry_ms != log::kNoExpiry;
    if (HasRoot(static_cast<ValueType>(head.type))) {
      store_.reaper_->AddRecord(*keyspace, position);
    }
    store_.AddLive(*keyspace, position,
                   -static_cast<int64_t>(
                       LogicalRecordSize(item.key.size(), head.raw_payload_size, has_expiry)));
    --keyspace->keys;
    if (has_expiry) --keyspace->expiring;
    Finish(*keyspace, {item.key, item.hash});
    return;
  }
  // Another key's record, or compaction has moved it meanwhile: look again.
  if (!is_predecessor) item.tried.push_back(position);
  Begin(std::move(item));
}

void Settler::Finish(Keyspace& keyspace, const HashedKey& key) {
  --keyspace.unsettled;
  --store_.stats_.unsettled_writes;
  Entry* entry = store_.FindEntry(keyspace, key);
  CHECK(entry != nullptr && entry->Has(Entry::kBlind));
  entry->Clear(Entry::kBlind);
  if (entry->kind() == Entry::Kind::kTombstone && !entry->Has(Entry::kPinned)) {
    if (store_.left_keys_->MayForget(keyspace, key.hash, *entry)) {
      store_.left_keys_->Forget(keyspace, key, entry);
    } else {
      store_.left_keys_->Await(keyspace, key.hash, entry->position());
    }
  }
  AnswerWaiters();
}

void Settler::Postpone(Item item) {
  Keyspace* keyspace = store_.KeyspaceById(item.keyspace);
  --store_.stats_.unsettled_writes;
  if (keyspace != nullptr) {
    --keyspace->unsettled;
    postponed_.push_back(std::move(item));
    last_retry_micros_ = store_.environment_.loop->NowMicros();
  }
  AnswerWaiters();
}

void Settler::RetryPostponed() {
  if (store_.environment_.loop->NowMicros() - last_retry_micros_ < kRetryMicros) return;
  for (Item& item : std::exchange(postponed_, {})) {
    Keyspace* keyspace = store_.KeyspaceById(item.keyspace);
    if (keyspace == nullptr) continue;  // flushed meanwhile
    ++keyspace->unsettled;
    ++store_.stats_.unsettled_writes;
    queue_.push_back(std::move(item));
  }
}

void Settler::AnswerWaiters() {
  if (store_.stats_.unsettled_writes != 0 || waiters_.empty()) return;
  for (auto& waiter : std::exchange(waiters_, {})) waiter();
}

void Settler::WhenSettled(std::move_only_function<void()> done) {
  waiters_.push_back(std::move(done));
  store_.environment_.loop->Post([this, alive = store_.alive()] {
    if (!alive.expired()) AnswerWaiters();
  });
}

}  // namespace firn
