#include "tiering/evictor.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "tiering/compactor.h"
#include "tiering/indexer.h"
#include "tiering/latency_timer.h"
#include "tiering/left_keys.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr size_t kKeysAtOnce = 256;
constexpr size_t kMostHintsAtOnce = 1 << 16;
// So much of the log has to be garbage before compaction is waited for: with less it would move
// much to gain little.
constexpr double kGarbageShare = 0.15;
constexpr double kMostGarbageShare = 0.5;
constexpr uint64_t kGarbageSegments = 3;
// While the index has yet to be told of them, or readers are at them.
constexpr int64_t kNothingToEmptyMicros = 500'000;
// To look at all segments takes time where there are many.
constexpr int64_t kCheckGarbageMicros = 10'000;
// A segment in which less than this share of what was alive could be evicted was emptied in vain.
constexpr double kWorthEvicting = 0.25;
// After a round over all keys that found none to evict, writes are refused for so long.
constexpr int64_t kGiveUpMicros = 1'000'000;

bool IsVolatile(EvictionPolicy policy) {
  return policy == EvictionPolicy::kVolatileLru || policy == EvictionPolicy::kVolatileLfu ||
         policy == EvictionPolicy::kVolatileRandom || policy == EvictionPolicy::kVolatileTtl;
}

}  // namespace

struct Evictor::Batch {
  std::vector<std::pair<IndexKey, IndexRoot>> roots;
  std::vector<IndexBatch::Hint> hints;  // that led to them
  uint64_t next_hash = 0;               // 0: the keyspace's end
  uint64_t reading = 0;                 // of LeftKeys
  Departures departures;
  Status status;

  // But for a long key, whose name the index doesn't have: compaction may meet it.
  void Take(uint32_t keyspace, const Index::Visited& visited) {
    if (visited.is_long) return;
    roots.push_back({{keyspace, visited.hash, std::string(visited.key)}, visited.root});
  }
};

bool Evictor::Begin() {
  if (store_.options_.eviction == EvictionPolicy::kNone || store_.paused_) return false;
  const int64_t now = store_.environment_.loop->NowMicros();
  if (found_nothing_micros_ != 0 && now - found_nothing_micros_ < kGiveUpMicros) return false;
  found_nothing_micros_ = 0;
  wanted_ = true;
  return true;
}

// The policy may have changed since the keys were read.
bool Evictor::MayEvict() const {
  return store_.options_.eviction != EvictionPolicy::kNone && !store_.closing_ &&
         store_.group_depth_ == 0 && !store_.paused_;
}

bool Evictor::HasGarbageEnough() const {
  const int64_t now = store_.environment_.loop->NowMicros();
  if (garbage_checked_micros_ != 0 && now - garbage_checked_micros_ < kCheckGarbageMicros) {
    return garbage_enough_;
  }
  garbage_checked_micros_ = std::max<int64_t>(now, 1);
  const double total = static_cast<double>(store_.segments_->total_bytes());
  const auto live =
      static_cast<double>(store_.segments_->live_bytes() + store_.compactor_->KeptDeleteBytes());
  const double limit = static_cast<double>(store_.options_.max_disk_bytes);
  const double segments =
      static_cast<double>(kGarbageSegments * store_.options_.segment_size_bytes);
  garbage_enough_ =
      total - live > std::min(std::max(limit * kGarbageShare, segments), limit * kMostGarbageShare);
  return garbage_enough_;
}

void Evictor::Step() {
  if (job_running_ || awaits_index_ || store_.closing_) return;
  if (!store_.log_->short_of_space()) {
    wanted_ = false;
    finished_slots_ = 0;
    round_ = Round::kSparesHot;
    segments_are_worth_it_ = true;
    nothing_since_micros_ = 0;
    return;
  }
  // Before a write has to wait.
  if (!wanted_ && GoesBySegments()) Begin();
  if (!wanted_ || WantsSegments() || HasGarbageEnough()) return;
  if (!store_.log_->out_of_space()) return;
  for (const Keyspace* keyspace : store_.slots_) {
    // After a start: until then it isn't known which root is the newest of its key.
    if (!keyspace->fully_counted()) return;
  }
  StartBatch();
}

bool Evictor::GoesBySegments() const {
  const EvictionPolicy policy = store_.options_.eviction;
  return segments_are_worth_it_ && store_.options_.tiering && policy != EvictionPolicy::kNone &&
         store_.options_.max_disk_bytes != 0;
}

bool Evictor::WantsSegments() const {
  return wanted_ && GoesBySegments() && store_.log_->short_of_space() && !HasGarbageEnough();
}

std::optional<uint64_t> Evictor::RankOf(const log::Segment& segment) const {
  const EvictionPolicy policy = store_.options_.eviction;
  if (IsVolatile(policy) && segment.max_expiry_ms == UINT64_MAX) return std::nullopt;
  return policy == EvictionPolicy::kVolatileTtl ? segment.max_expiry_ms : segment.as_of_lsn;
}

bool Evictor::EvictMet(const log::RecordView& record, uint64_t hash, log::PackedPosition position) {
  Keyspace* keyspace = store_.KeyspaceById(record.keyspace);
  if (keyspace == nullptr || keyspace->holds_pages()) return false;
  if (!MayEvict()) return false;
  const bool has_expiry = record.expiry_ms != log::kNoExpiry;
  if (IsVolatile(store_.options_.eviction) && !has_expiry) return false;
  const HashedKey key{record.key, hash};
  if (const Entry* entry = store_.FindEntry(*keyspace, key)) {
    // What a blind write replaced is met too, until it is settled.
    if (entry->position() != position || !MayGo(*entry)) return false;
  } else {
    // It may have gone while the index was asked about others of its chunk.
    if (!keyspace->cold.Contains(hash, position)) return false;
    const uint64_t logical =
        LogicalRecordSize(record.key.size(), record.raw_payload_size, has_expiry);
    store_.InstallStub(*keyspace, key, position,
                       {.logical_size = static_cast<uint32_t>(logical),
                        .type = record.type,
                        .expiry_ms = record.expiry_ms});
  }
  const uint64_t before = store_.stats_.evicted_keys;
  store_.Evict(*keyspace, key);
  return store_.stats_.evicted_keys > before;
}

void Evictor::OnEmptied(const Emptied& emptied) {
  nothing_since_micros_ = 0;
  const auto evicted = static_cast<double>(emptied.evicted_bytes);
  const auto kept = static_cast<double>(emptied.kept_bytes);
  if (evicted >= kWorthEvicting * (evicted + kept)) return;
  if (round_ == Round::kSparesHot) {
    round_ = Round::kAll;  // perhaps RAM has nearly all that there is
  } else {
    segments_are_worth_it_ = false;
  }
}

void Evictor::OnNothingToEmpty() {
  const int64_t now = store_.environment_.loop->NowMicros();
  if (nothing_since_micros_ == 0) nothing_since_micros_ = std::max<int64_t>(now, 1);
  if (now - nothing_since_micros_ >= kNothingToEmptyMicros) segments_are_worth_it_ = false;
}

bool Evictor::MayGo(const Entry& entry) const {
  const EvictionPolicy policy = store_.options_.eviction;
  if (entry.kind() == Entry::Kind::kTombstone || entry.Has(Entry::kPinned)) return false;
  if (IsVolatile(policy) && !entry.Has(Entry::kHasExpiry)) return false;
  const bool prefers_cold =
      policy != EvictionPolicy::kAllKeysRandom && policy != EvictionPolicy::kVolatileRandom;
  return round_ != Round::kSparesHot || entry.kind() != Entry::Kind::kHot || !prefers_cold;
}

void Evictor::NextKeyspace() {
  next_hash_ = 0;
  const auto count = static_cast<uint32_t>(store_.slots_.size());
  do {
    slot_ = (slot_ + 1) % count;
    ++finished_slots_;
  } while (store_.slots_[slot_]->holds_pages() && finished_slots_ <= count);
  if (finished_slots_ <= count) return;
  finished_slots_ = 0;
  EndRound();
}

// No key was found that may go.
void Evictor::EndRound() {
  switch (round_) {
    case Round::kSparesHot:
      round_ = Round::kAll;
      return;
    case Round::kAll:
      // What is too young for the index wasn't seen.
      awaits_index_ = true;
      store_.indexer_->WhenIndexed({.lsn = store_.log_->appended_lsn()}, [this](Status status) {
        awaits_index_ = false;
        round_ = Round::kAllIndexed;
        if (!status.ok()) GiveUp();
      });
      return;
    case Round::kAllIndexed:
      GiveUp();
  }
}

void Evictor::GiveUp() {
  round_ = Round::kSparesHot;
  wanted_ = false;
  found_nothing_micros_ = std::max<int64_t>(store_.environment_.loop->NowMicros(), 1);
}

void Evictor::StartBatch() {
  const bool by_expiry = IsVolatile(store_.options_.eviction);
  if (!by_expiry && (store_.slots_[slot_]->holds_pages() || store_.slots_[slot_]->keys == 0)) {
    return NextKeyspace();
  }
  job_running_ = true;
  auto batch = std::make_shared<Batch>();
  batch->reading = store_.left_keys_->BeginReading();
  auto read = [index = store_.index_, batch, id = store_.slots_[slot_]->id, first = next_hash_] {
    batch->status = index->Visit(id, first, [&](const Index::Visited& visited) {
      // Roots of one hash stay together.
      if (batch->roots.size() >= kKeysAtOnce && visited.hash != batch->roots.back().first.hash) {
        batch->next_hash = visited.hash;
        return false;
      }
      batch->Take(id, visited);
      return true;
    });
  };
  if (hints_at_once_ == 0) hints_at_once_ = kKeysAtOnce;
  auto read_hints = [index = store_.index_, batch, limit = hints_at_once_] {
    auto hints = index->DueHints(INT64_MAX, limit);
    if (!hints) {
      batch->status = hints.error();
      return;
    }
    batch->hints = std::move(*hints);
    for (const IndexBatch::Hint& hint : batch->hints) {
      batch->status = index->Visit(hint.keyspace, hint.hash, [&](const Index::Visited& visited) {
        if (visited.hash != hint.hash) return false;
        batch->Take(hint.keyspace, visited);
        return true;
      });
      if (!batch->status.ok()) return;
    }
  };
  auto done = [this, batch] {
    job_running_ = false;
    batch->departures = store_.left_keys_->EndReading(batch->reading);
    OnBatch(*batch);
  };
  if (by_expiry) {
    store_.RunJob(io::WorkPriority::kUrgent, read_hints, done);
  } else {
    store_.RunJob(io::WorkPriority::kUrgent, read, done);
  }
}

void Evictor::OnBatch(const Batch& batch) {
  if (!batch.status.ok()) {
    ++store_.stats_.read_errors;
    store_.Log(3, batch.status.message());
    GiveUp();
    return;
  }
  if (!MayEvict()) return;  // it is read again
  const LatencyTimer timer(&store_, StoreLatency::kEvictionCycle);
  uint64_t evicted = 0;
  for (const auto& [key, root] : batch.roots) {
    evicted += TryEvict(key, root, batch.departures) ? 1 : 0;
  }
  if (evicted > 0) {
    finished_slots_ = 0;
    if (round_ == Round::kAllIndexed) round_ = Round::kAll;  // more is young by the next one
  }
  if (IsVolatile(store_.options_.eviction)) {
    auto hints = batch.hints;
    std::erase_if(hints, [&](const IndexBatch::Hint& hint) { return StillNeeded(hint, batch); });
    store_.indexer_->AddSpentHints(std::move(hints));
    if (evicted > 0) {
      hints_at_once_ = 0;
      return;
    }
    // The first may be of keys that are gone, which the index does not know yet.
    store_.indexer_->Urge();
    const bool more = batch.hints.size() >= hints_at_once_;
    hints_at_once_ = more ? std::min(2 * hints_at_once_, kMostHintsAtOnce) : 0;
    // What is left expires, but is in RAM or in use now, or is too young for the index.
    if (!more) EndRound();
    return;
  }
  next_hash_ = batch.next_hash;
  if (next_hash_ == 0) NextKeyspace();
}

// Its key is still there, and has to be found again when it expires.
bool Evictor::StillNeeded(const IndexBatch::Hint& hint, const Batch& batch) const {
  Keyspace* keyspace = store_.KeyspaceById(hint.keyspace);
  if (keyspace == nullptr) return false;
  return std::any_of(batch.roots.begin(), batch.roots.end(), [&](const auto& item) {
    const IndexKey& key = item.first;
    if (key.keyspace != hint.keyspace || key.hash != hint.hash) return false;
    const Entry* entry = store_.FindEntry(*keyspace, {key.key, key.hash});
    if (entry != nullptr) return entry->kind() != Entry::Kind::kTombstone;
    // Of what has left meanwhile it isn't known.
    if (batch.departures.Include(key.keyspace, key.hash)) return true;
    const PackedPosition position = store_.segments_->Pack(item.second.position);
    return store_.left_keys_->IsCurrent(*keyspace, key.hash, position, batch.departures);
  });
}

bool Evictor::TryEvict(const IndexKey& index_key, const IndexRoot& root,
                       const Departures& departures) {
  Keyspace* keyspace = store_.KeyspaceById(index_key.keyspace);
  if (keyspace == nullptr || keyspace->holds_pages()) return false;
  const HashedKey key{index_key.key, index_key.hash};
  const uint64_t before = store_.stats_.evicted_keys;
  if (Entry* entry = store_.FindEntry(*keyspace, key)) {
    if (!MayGo(*entry)) return false;
    store_.Evict(*keyspace, key);
  } else {
    const PackedPosition position = store_.segments_->Pack(root.position);
    if (!store_.left_keys_->IsCurrent(*keyspace, key.hash, position, departures)) return false;
    if (IsVolatile(store_.options_.eviction) && root.expiry_ms < 0) return false;
    store_.InstallStub(*keyspace, key, position, root);
    store_.Evict(*keyspace, key);
  }
  return store_.stats_.evicted_keys > before;
}

}  // namespace firn
