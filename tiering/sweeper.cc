#include "tiering/sweeper.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/types/counted_tree.h"
#include "tiering/fetcher.h"
#include "tiering/indexer.h"
#include "tiering/latency_timer.h"
#include "tiering/left_keys.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kDemoteSlice = 512;
// An inner node leads to some hundred leaves and is used so much more often than each of them: only
// in one of so many rounds of the hand is it looked at whether it was used since the last such one.
constexpr uint32_t kRoundsOfNodes = 64;
// So few entries say little of each other, and cost little to look at.
constexpr uint64_t kSmallTables = 8 * kDemoteSlice;
constexpr uint64_t kExpireSlice = 2000;
constexpr int64_t kExpireEveryMicros = 50'000;
constexpr int64_t kHintsEveryMicros = 200'000;
constexpr size_t kHintsAtOnce = 2000;
// To free a large value takes long: its pages go back to the system.
constexpr uint64_t kFreeSlice = 4096;
constexpr uint64_t kFreeSliceBytes = 4 << 20;
// Writers wait once this share of max_memory is in use.
constexpr double kWriterShare = 0.94;
// With less than this share in entries there is nothing to gain by waiting for demotion.
constexpr int64_t kNothingToDemoteShare = 32;
constexpr int64_t kHardlyAnyBytes = 1 << 20;
// Redis remembers the best of earlier samples; here more are taken each time.
constexpr int kSamplesShare = 3;
constexpr int kEvictionsAtOnce = 64;
constexpr int kCheckpointsAtOnce = 16;

bool IsInnerNode(const Entry& entry) {
  return entry.type() == ValueType::kPage && CountedTree::IsNode(entry.value());
}

}  // namespace

Sweeper::Slice Sweeper::Sweep(Keyspace& keyspace, Purpose purpose, uint64_t entries,
                              uint64_t bytes_wanted) {
  Slice slice;
  visited_.clear();
  keyspace.sweep_hash = keyspace.table.Walk(keyspace.sweep_hash, entries,
                                            [&](Entry* entry) { visited_.push_back(entry); });
  if (keyspace.sweep_hash == 0) {
    ++keyspace.sweep_round;
    if (tidy_rounds_ > 0) --tidy_rounds_;
  }
  int64_t now = store_.expiry_clock_ms();
  for (Entry* entry : visited_) {
    ++slice.visited;
    // Most entries are only looked at: their keys needn't be hashed.
    auto key_of = [&] { return HashedKey{entry->key(), keyspace.table.HashOf(entry->key())}; };
    if (entry->kind() == Entry::Kind::kTombstone) {
      TidyTombstone(keyspace, key_of(), entry);
      continue;
    }
    if (entry->Has(Entry::kHasExpiry) && entry->expiry_ms() <= now) {
      if (MayExpire() && !entry->Has(Entry::kPinned)) store_.Expire(keyspace, key_of());
      continue;
    }
    if (entry->kind() == Entry::Kind::kStub && !keyspace.fully_mapped() &&
        !keyspace.IsMapped(key_of().hash)) {
      TidyLeftStub(keyspace, key_of(), entry);
      continue;
    }
    const bool tidy = entry->kind() == Entry::Kind::kStub;
    if (!tidy) {
      if (purpose != Purpose::kDemote || slice.freed_bytes >= bytes_wanted) continue;
      if (SparesNode(keyspace, *entry)) continue;
      if (entry->referenced()) {
        entry->set_referenced(false);
        continue;
      }
      if (store_.LogicalSizeOf(*entry) < store_.options_.min_value_bytes) continue;
      if (!IsLogPosition(entry->position()) && !store_.options_.durable) {
        store_.Checkpoint(keyspace, key_of(), entry);
        continue;
      }
    }
    if (!store_.IsDemotable(*entry)) {
      slice.young += !store_.IsIndexed(entry->position());
      continue;
    }
    uint64_t bytes = entry->MemoryBytes();
    if (!tidy) store_.TellMove(keyspace, entry->key(), TierMove::kDemoted);
    store_.Demote(keyspace, key_of(), entry);
    if (tidy) continue;
    slice.freed_bytes += bytes;
    ++slice.demoted;
  }
  store_.stats_.demotions += slice.demoted;
  return slice;
}

// Unless there was nothing else in a round.
bool Sweeper::SparesNode(const Keyspace& keyspace, const Entry& entry) const {
  if (!IsInnerNode(entry) || fruitless_ > keyspace.table.size()) return false;
  const auto phase = static_cast<uint8_t>(entry.key().back());
  return (phase + keyspace.sweep_round) % kRoundsOfNodes != 0;
}

void Sweeper::TidyTombstone(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  if (store_.left_keys_->MayForget(keyspace, key.hash, *entry)) {
    store_.left_keys_->Forget(keyspace, key, entry);
  } else if (tidy_rounds_ > 0 && keyspace.IsLeft(key.hash)) {
    store_.left_keys_->Await(keyspace, key.hash, entry->position());
  }
}

// What was told to leave and could not is tried again by itself: here are those that a start
// brought.
void Sweeper::TidyLeftStub(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  if (store_.left_keys_->MayLeave(keyspace, key.hash, *entry)) {
    store_.left_keys_->Leave(keyspace, key, entry);
  } else if (tidy_rounds_ > 0 && keyspace.IsLeft(key.hash)) {
    store_.left_keys_->Await(keyspace, key.hash, entry->position());
  }
}

// Hashes mix entries of all ages: where a slice was young the rest is, until the index has moved
// on.
bool Sweeper::WaitsForIndex(size_t keyspaces) {
  const uint64_t indexed = store_.indexer_->indexed_lsn();
  if (std::exchange(young_at_lsn_, indexed) != indexed) young_keyspaces_ = 0;
  return young_keyspaces_ >= keyspaces;
}

// Under pressure: demotes what brings memory back to its level, a slice at a time.
bool Sweeper::Relieve() {
  int64_t pressure = store_.MemoryPressure();
  waits_for_index_ = false;
  if (!store_.options_.tiering) return EvictSome();
  if (pressure <= 0) {
    fruitless_ = 0;
    return false;
  }
  uint64_t total = 0;
  size_t keyspaces = 0;
  for (Keyspace* keyspace : store_.slots_) {
    total += keyspace->table.size();
    keyspaces += !keyspace->table.empty();
  }
  if (total == 0) return false;
  store_.indexer_->Urge();
  waits_for_index_ = WaitsForIndex(keyspaces);
  if (waits_for_index_) return false;
  for (size_t tries = 0; tries < store_.slots_.size(); ++tries) {
    Keyspace& keyspace = *store_.slots_[keyspace_turn_ % store_.slots_.size()];
    if (keyspace.table.empty()) {
      ++keyspace_turn_;
      continue;
    }
    Slice slice = Sweep(keyspace, Purpose::kDemote, kDemoteSlice, static_cast<uint64_t>(pressure));
    store_.page_relief_bytes_ -= static_cast<int64_t>(slice.freed_bytes);
    const bool young =
        total > kSmallTables && slice.freed_bytes == 0 && slice.young > slice.visited / 4 * 3;
    young_keyspaces_ = young ? young_keyspaces_ + 1 : 0;
    if (keyspace.sweep_hash == 0 || young) ++keyspace_turn_;
    fruitless_ = slice.freed_bytes > 0 ? 0 : fruitless_ + slice.visited;
    break;
  }
  const bool stuck = fruitless_ > 2 * total + kDemoteSlice;
  return !stuck;
}

// Without tiering, the limit may have been lowered since the last write.
bool Sweeper::EvictSome() {
  const uint64_t limit = store_.options_.max_memory_bytes;
  if (limit == 0 || BytesToEvict() == 0) return false;
  if (store_.paused_ || store_.group_depth_ > 0) return false;
  const LatencyTimer timer(&store_, StoreLatency::kEvictionCycle);
  for (int left = kEvictionsAtOnce; left > 0; --left) {
    if (!EvictOne()) return false;
    if (BytesToEvict() == 0) return false;
  }
  return true;
}

bool Sweeper::MayExpire() const { return store_.active_expire_ && !store_.paused_; }

bool Sweeper::Step() {
  StepTables();
  bool more = Relieve();

  double headroom =
      store_.options_.max_memory_bytes * kWriterShare - static_cast<double>(store_.GateMemory());
  // In one iteration writers may take a quarter of what is left: they slow down as it shrinks.
  write_credit_bytes_ = static_cast<int64_t>(std::max(0.0, headroom / 4));

  int64_t now = store_.environment_.loop->NowMicros();
  if (MayExpire() && now - last_expire_micros_ >= kExpireEveryMicros) {
    last_expire_micros_ = now;
    const LatencyTimer timer(&store_, StoreLatency::kExpireCycle);
    ExpireHot();
  }
  if (tidy_rounds_ > 0) {
    for (Keyspace* keyspace : store_.slots_) {
      if (!keyspace->table.empty()) Sweep(*keyspace, Purpose::kExpire, kDemoteSlice, 0);
    }
  }
  ExpireCold();
  CheckpointOldest();
  return more;
}

// Insertions and removals move a table's growth or shrinking on themselves: this is for what is
// left when they end. To look at each table costs more than many an iteration's command.
void Sweeper::StepTables() {
  constexpr uint32_t kLookEvery = 32;
  if (!resizing_ && ++tables_skipped_ < kLookEvery) return;
  tables_skipped_ = 0;
  resizing_ = false;
  for (Keyspace* keyspace : store_.slots_) resizing_ |= keyspace->table.Step();
}

void Sweeper::ExpireHot() {
  for (Keyspace* keyspace : store_.slots_) {
    if (keyspace->expiring == 0 || keyspace->table.empty()) continue;
    Sweep(*keyspace, Purpose::kExpire, kExpireSlice, 0);
  }
}

// Cold keys that are due, by the index's hints.
void Sweeper::ExpireCold() {
  int64_t now = store_.environment_.loop->NowMicros();
  if (hints_in_flight_ || !MayExpire() || store_.closing_) return;
  if (!hints_left_ && now - last_hint_micros_ < kHintsEveryMicros) return;
  bool any = false;
  for (Keyspace* keyspace : store_.slots_) {
    if (!keyspace->fully_counted()) return;
    any |= keyspace->expiring > 0;
  }
  last_hint_micros_ = now;
  if (!any && !hints_left_) return;
  hints_in_flight_ = true;
  struct Found {
    std::vector<IndexBatch::Hint> hints;
    std::vector<std::pair<IndexKey, IndexRoot>> roots;
    Status status;
  };
  auto found = std::make_shared<Found>();
  const uint64_t reading = store_.left_keys_->BeginReading();
  store_.RunJob(
      io::WorkPriority::kBackground,
      [index = store_.index_, found, now_ms = store_.expiry_clock_ms()] {
        auto hints = index->DueHints(static_cast<uint64_t>(now_ms), kHintsAtOnce);
        if (!hints) {
          found->status = hints.error();
          return;
        }
        found->hints = std::move(*hints);
        for (const IndexBatch::Hint& hint : found->hints) {
          auto roots = index->FindByHash(hint.keyspace, hint.hash);
          if (!roots) {
            found->status = roots.error();
            return;
          }
          for (auto& [key, root] : *roots) {
            if (root.expiry_ms < 0 || root.expiry_ms > now_ms) continue;
            found->roots.push_back({{hint.keyspace, hint.hash, std::move(key)}, root});
          }
        }
      },
      [this, found, reading] {
        hints_in_flight_ = false;
        const Departures departures = store_.left_keys_->EndReading(reading);
        if (!found->status.ok()) {
          ++store_.stats_.read_errors;
          store_.Log(3, found->status.message());
          return;
        }
        OnDueHints(std::move(found->hints), std::move(found->roots), departures);
      });
}

void Sweeper::OnDueHints(std::vector<IndexBatch::Hint> hints,
                         std::vector<std::pair<IndexKey, IndexRoot>> roots,
                         const Departures& departures) {
  if (!MayExpire()) return;  // since it was asked for
  const LatencyTimer timer(&store_, StoreLatency::kExpireCycle);
  hints_left_ = hints.size() >= kHintsAtOnce;
  std::vector<uint64_t> kept;  // hashes whose hint must stay
  for (auto& [index_key, root] : roots) {
    Keyspace* keyspace = store_.KeyspaceById(index_key.keyspace);
    if (keyspace == nullptr) continue;
    PackedPosition position = store_.segments_->Pack(root.position);
    const bool is_current =
        store_.left_keys_->IsCurrent(*keyspace, index_key.hash, position, departures);
    if (index_key.key.empty() && is_current) {
      // A key too long for the index, or the empty one: it is deleted when it is next met.
      if (root.logical_size > Index::kMaxInlineKeySize) continue;
    }
    HashedKey key{index_key.key, index_key.hash};
    Entry* entry = store_.FindEntry(*keyspace, key);
    if (entry != nullptr) {
      bool due = entry->kind() != Entry::Kind::kTombstone && entry->Has(Entry::kHasExpiry) &&
                 entry->expiry_ms() <= store_.expiry_clock_ms();
      if (due && entry->Has(Entry::kPinned)) {
        kept.push_back(index_key.hash);
      } else if (due) {
        store_.Expire(*keyspace, key);
      }
      continue;
    }
    if (departures.Include(keyspace->id, index_key.hash)) kept.push_back(index_key.hash);
    if (!is_current) continue;
    // Its record is the newest of the key, so that the root says all that a stub has to know.
    store_.InstallStub(*keyspace, key, position, root);
    store_.Expire(*keyspace, key);
  }
  std::erase_if(hints, [&](const IndexBatch::Hint& hint) {
    return std::find(kept.begin(), kept.end(), hint.hash) != kept.end();
  });
  store_.indexer_->AddSpentHints(std::move(hints));
}

void Sweeper::CheckpointOldest() {
  auto& dirty = store_.dirty_;
  int checkpoints = 0;
  for (size_t i = store_.clean_prefix_; i < dirty.size(); ++i) {
    DirtyValue& value = dirty[i];
    if (value.clean_lsn == 0 && !CheckpointDirty(&value, &checkpoints)) break;
    if (i == store_.clean_prefix_) ++store_.clean_prefix_;
  }
  while (!dirty.empty() && dirty.front().clean_lsn != 0 &&
         dirty.front().clean_lsn <= store_.indexer_->flushed_lsn()) {
    log::Segment* segment = store_.segments_->ById(dirty.front().root_segment);
    if (segment != nullptr) --segment->holds;
    dirty.pop_front();
    if (store_.clean_prefix_ > 0) --store_.clean_prefix_;
  }
}

// False if the value stays dirty for now.
bool Sweeper::CheckpointDirty(DirtyValue* value, int* checkpoints) {
  uint64_t appended = store_.log_->appended_lsn();
  Keyspace* keyspace = store_.KeyspaceById(value->keyspace);
  HashedKey key{value->key, keyspace != nullptr ? keyspace->table.HashOf(value->key) : 0};
  Entry* entry = keyspace != nullptr ? store_.FindEntry(*keyspace, key) : nullptr;
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot || !entry->Has(Entry::kDirty)) {
    value->clean_lsn = std::max<uint64_t>(appended, 1);
    return true;
  }
  bool old = appended - value->first_lsn > store_.options_.replay_limit_records / 2 ||
             store_.indexer_->ReplayBytesFrom(value->first_effect) >
                 store_.options_.replay_limit_bytes / 2;
  bool pressed = store_.MemoryPressure() > 0 || store_.closing_;
  if (!old && !pressed) return false;
  if (++*checkpoints > kCheckpointsAtOnce) return false;
  if (!store_.Checkpoint(*keyspace, key, entry)) return false;
  value->clean_lsn = store_.log_->appended_lsn();
  return true;
}

// --- the writers' gate

// What can't leave RAM is more than the limit, and all else has left: no wait makes room.
bool Sweeper::CanNeverFit() const {
  uint64_t limit = store_.options_.max_memory_bytes;
  int64_t entries = store_.memory_.entries();
  int64_t hardly_any = static_cast<int64_t>(limit) / kNothingToDemoteShare;
  if (entries > std::max(hardly_any, kHardlyAnyBytes)) return false;
  uint64_t temporary = static_cast<uint64_t>(std::max<int64_t>(entries, 0)) + store_.fetch_memory_;
  uint64_t allocated = store_.memory_.Allocated();
  return allocated > temporary && allocated - temporary > limit;
}

// Whether hardly any of the memory could leave it: what a command waits with can't.
bool Sweeper::HardlyAnyToDemote() const {
  const int64_t limit = static_cast<int64_t>(store_.options_.max_memory_bytes);
  const int64_t pinned = static_cast<int64_t>(store_.fetcher_->pinned_bytes());
  return store_.memory_.entries() - pinned < limit / kNothingToDemoteShare;
}

bool Sweeper::MayWrite() const {
  uint64_t limit = store_.options_.max_memory_bytes;
  if (limit == 0) return true;
  if (CanNeverFit()) return true;  // to be refused
  uint64_t used = store_.GateMemory();
  if (static_cast<double>(used) < static_cast<double>(limit) * kWriterShare) return true;
  // Waiting would be in vain.
  return !store_.options_.tiering || HardlyAnyToDemote();
}

Sweeper::MemoryGate Sweeper::CheckMemory(uint64_t bytes) {
  uint64_t limit = store_.options_.max_memory_bytes;
  if (limit == 0) return MemoryGate::kOk;
  if (!store_.options_.tiering) {
    if (BytesToEvict() == 0 || store_.paused_) return MemoryGate::kOk;
    return EvictEnough();
  }
  bool pressed = store_.MemoryPressure() > 0;
  if (!pressed) return MemoryGate::kOk;
  if (CanNeverFit()) return MemoryGate::kFull;
  if (!MayWrite()) return MemoryGate::kWait;
  if (HardlyAnyToDemote()) return MemoryGate::kOk;
  if (write_credit_bytes_ <= 0) return MemoryGate::kWait;
  write_credit_bytes_ -= static_cast<int64_t>(bytes) + 64;
  return MemoryGate::kOk;
}

// As Redis: what is allocated counts, however it lies in pages.
uint64_t Sweeper::BytesToEvict() const {
  const uint64_t limit = store_.options_.max_memory_bytes;
  const uint64_t used = store_.memory_.Allocated();
  const uint64_t counted = used - std::min(used, store_.spared_memory_);
  return counted > limit ? counted - limit : 0;
}

Sweeper::MemoryGate Sweeper::EvictEnough() {
  const LatencyTimer timer(&store_, StoreLatency::kEvictionCycle);
  // What clients and threads have given back since the last sample is no reason to evict.
  constexpr uint64_t kMuchBytes = 64 << 10;
  if (BytesToEvict() > kMuchBytes) store_.SampleMemory();
  while (BytesToEvict() > 0) {
    if (EvictOne()) continue;
    // Nor to refuse a write; but those who are refused needn't look each time.
    constexpr int64_t kFreshMicros = 1'000;
    const int64_t now = store_.environment_.loop->NowMicros();
    if (now - last_look_micros_ >= kFreshMicros) {
      last_look_micros_ = now;
      store_.SampleMemory();
    }
    return BytesToEvict() > 0 ? MemoryGate::kFull : MemoryGate::kOk;
  }
  return MemoryGate::kOk;
}

bool Sweeper::EvictOne() {
  EvictionPolicy policy = store_.options_.eviction;
  if (policy == EvictionPolicy::kNone) return false;
  bool volatile_only =
      policy == EvictionPolicy::kVolatileLru || policy == EvictionPolicy::kVolatileLfu ||
      policy == EvictionPolicy::kVolatileRandom || policy == EvictionPolicy::kVolatileTtl;
  int64_t now = store_.now_ms();
  Keyspace* best_keyspace = nullptr;
  Entry* best = nullptr;
  double best_score = 0;
  for (Keyspace* keyspace : store_.slots_) {
    if (keyspace->holds_pages() || keyspace->table.empty()) continue;
    if (volatile_only && keyspace->expiring == 0) continue;
    // Volatile keys may be rare among all: look longer for them.
    const int wanted = kSamplesShare * std::max(store_.options_.eviction_samples, 1);
    const int samples = volatile_only ? 16 * wanted : wanted;
    for (int i = 0, taken = 0; i < samples && taken < wanted; ++i) {
      Entry* entry = keyspace->table.Sample(store_.random_.Next());
      if (entry == nullptr || entry->kind() != Entry::Kind::kHot || entry->Has(Entry::kPinned) ||
          (volatile_only && !entry->Has(Entry::kHasExpiry))) {
        continue;
      }
      ++taken;
      double score = store_.EvictionScore(*entry, now);
      if (best == nullptr || score > best_score) {
        best = entry;
        best_score = score;
        best_keyspace = keyspace;
      }
    }
  }
  if (best == nullptr) return false;
  store_.Evict(*best_keyspace, {best->key(), best_keyspace->table.HashOf(best->key())});
  return true;
}

bool Sweeper::FreeSome(Keyspace& keyspace) {
  if (keyspace.table.empty()) return false;
  visited_.clear();
  keyspace.sweep_hash = keyspace.table.Walk(keyspace.sweep_hash, kFreeSlice,
                                            [&](Entry* entry) { visited_.push_back(entry); });
  uint64_t bytes = 0;
  for (Entry* entry : visited_) {
    const HashedKey key = {entry->key(), keyspace.table.HashOf(entry->key())};
    if (bytes >= kFreeSliceBytes) {
      keyspace.sweep_hash = key.hash;
      break;
    }
    bytes += entry->MemoryBytes();
    store_.Discard(keyspace, key, entry);
  }
  return !keyspace.table.empty();
}

}  // namespace firn
