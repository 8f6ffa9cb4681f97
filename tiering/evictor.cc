#include "tiering/evictor.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/check.h"
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
};

bool Evictor::Begin() {
  if (store_.options_.eviction == EvictionPolicy::kNone || store_.paused_) return false;
  const int64_t now = store_.environment_.loop->NowMicros();
  if (found_nothing_micros_ != 0 && now - found_nothing_micros_ < kGiveUpMicros) return false;
  found_nothing_micros_ = 0;
  wanted_ = true;
  return true;
}

bool Evictor::HasGarbageEnough() const {
  const double total = static_cast<double>(store_.segments_->total_bytes());
  double live = 0;
  for (const auto& [id, segment] : store_.segments_->all()) {
    live += static_cast<double>(std::max<int64_t>(0, static_cast<int64_t>(segment->live_bytes)));
  }
  const double limit = static_cast<double>(store_.options_.max_disk_bytes);
  const double segments =
      static_cast<double>(kGarbageSegments * store_.options_.segment_size_bytes);
  return total - live >
         std::min(std::max(limit * kGarbageShare, segments), limit * kMostGarbageShare);
}

void Evictor::Step() {
  if (!wanted_ || job_running_ || store_.closing_) return;
  if (!store_.log_->out_of_space()) {
    wanted_ = false;
    finished_slots_ = 0;
    spares_hot_ = true;
    return;
  }
  if (HasGarbageEnough()) return;
  for (const Keyspace* keyspace : store_.slots_) {
    // After a start: until then it isn't known which root is the newest of its key.
    if (!keyspace->fully_counted()) return;
  }
  StartBatch();
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
  if (std::exchange(spares_hot_, false)) return;
  spares_hot_ = true;
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
      if (!visited.is_long) {
        batch->roots.push_back({{id, visited.hash, std::string(visited.key)}, visited.root});
      }
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
      auto roots = index->FindByHash(hint.keyspace, hint.hash);
      if (!roots) {
        batch->status = roots.error();
        return;
      }
      for (auto& [key, root] : *roots) {
        batch->roots.push_back({{hint.keyspace, hint.hash, std::move(key)}, root});
      }
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
    found_nothing_micros_ = std::max<int64_t>(store_.environment_.loop->NowMicros(), 1);
    wanted_ = false;
    return;
  }
  if (store_.closing_ || store_.group_depth_ > 0 || store_.paused_) return;  // it is read again
  const LatencyTimer timer(&store_, StoreLatency::kEvictionCycle);
  uint64_t evicted = 0;
  for (const auto& [key, root] : batch.roots) {
    evicted += TryEvict(key, root, batch.departures) ? 1 : 0;
  }
  if (evicted > 0) finished_slots_ = 0;
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
    if (more) return;
    // What is left expires, but is in use now, or is too young for the index.
    wanted_ = false;
    found_nothing_micros_ = std::max<int64_t>(store_.environment_.loop->NowMicros(), 1);
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
  const EvictionPolicy policy = store_.options_.eviction;
  const HashedKey key{index_key.key, index_key.hash};
  const uint64_t before = store_.stats_.evicted_keys;
  if (Entry* entry = store_.FindEntry(*keyspace, key)) {
    if (entry->kind() == Entry::Kind::kTombstone || entry->Has(Entry::kPinned)) return false;
    if (IsVolatile(policy) && !entry->Has(Entry::kHasExpiry)) return false;
    const bool spared =
        spares_hot_ && entry->kind() == Entry::Kind::kHot &&
        (policy == EvictionPolicy::kAllKeysLru || policy == EvictionPolicy::kAllKeysLfu);
    if (spared) return false;
    store_.Evict(*keyspace, key);
  } else {
    const PackedPosition position = store_.segments_->Pack(root.position);
    if (!store_.left_keys_->IsCurrent(*keyspace, key.hash, position, departures)) return false;
    if (IsVolatile(policy) && root.expiry_ms < 0) return false;
    store_.InstallStub(*keyspace, key, position, root);
    store_.Evict(*keyspace, key);
  }
  return store_.stats_.evicted_keys > before;
}

}  // namespace firn
