#include "tiering/map_bound.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "tiering/compactor.h"
#include "tiering/indexer.h"
#include "tiering/left_keys.h"
#include "tiering/map_rebuild.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// To add up the maps costs more than many an iteration's command.
constexpr uint32_t kLookEvery = 8;
// Of the limit: from where on a part is dropped, down to where, and from where up more is mapped.
constexpr uint64_t kHighParts = 31, kTargetParts = 28, kLowParts = 24, kAllParts = 32;
// Some 64 K slots: a millisecond.
constexpr uint64_t kDropPartitions = 2048;
constexpr int64_t kRetryMicros = 1'000'000;
constexpr int64_t kGrowAfterMicros = 10'000'000;

uint64_t PartsOf(uint64_t limit, uint64_t parts) {
  return limit / kAllParts * parts + limit % kAllParts * parts / kAllParts;
}

}  // namespace

uint64_t MapBound::Limit() const { return store_.options_.index_memory_bytes; }

uint64_t MapBound::MapBytes() const {
  uint64_t bytes = 0;
  for (const Keyspace* keyspace : store_.slots_) bytes += keyspace->cold.MemoryBytes();
  return bytes;
}

uint64_t MapBound::Room() const {
  const uint64_t limit = Limit();
  if (limit == 0) return UINT64_MAX;
  const uint64_t target = PartsOf(limit, kTargetParts);
  return target - std::min(target, MapBytes());
}

bool MapBound::WantsMore() {
  if (!partial_) return false;
  partial_ = std::ranges::any_of(
      store_.slots_, [](const Keyspace* keyspace) { return !keyspace->fully_mapped(); });
  if (!partial_) return false;
  const uint64_t limit = Limit();
  if (std::exchange(grow_limit_, limit) != limit) grow_after_micros_ = 0;
  if (store_.environment_.loop->NowMicros() < grow_after_micros_) return false;
  if (!growing_) growing_ = limit == 0 || MapBytes() < PartsOf(limit, kLowParts);
  if (growing_ && Room() == 0) growing_ = false;
  return growing_;
}

bool MapBound::Step() {
  if (store_.closing_) return false;
  if (lowering()) return Drop();
  const uint64_t limit = Limit();
  if (limit == 0 || ++skipped_ < kLookEvery) return false;
  skipped_ = 0;
  const uint64_t bytes = MapBytes();
  if (bytes <= PartsOf(limit, kHighParts)) return false;
  if (store_.environment_.loop->NowMicros() < not_before_micros_) return false;
  Begin(bytes);
  return false;
}

// Announces which part goes.
void MapBound::Begin(uint64_t bytes) {
  Keyspace* biggest = nullptr;
  for (Keyspace* keyspace : store_.slots_) {
    if (keyspace->cold.size() == 0 || keyspace->mapped_until == 0) continue;
    if (biggest == nullptr || keyspace->cold.MemoryBytes() > biggest->cold.MemoryBytes()) {
      biggest = keyspace;
    }
  }
  if (biggest == nullptr) return;
  const uint64_t excess = bytes - std::min(bytes, PartsOf(Limit(), kTargetParts));
  const auto has = static_cast<double>(biggest->cold.MemoryBytes());
  const double keeps = std::max(0.0, 1 - static_cast<double>(excess) / has);
  const double floor = keeps * static_cast<double>(biggest->mapped_until);
  // The last partition goes at least.
  const uint64_t most = biggest->cold.AlignDown(biggest->mapped_until - 1);
  const uint64_t wanted = floor < static_cast<double>(most) ? static_cast<uint64_t>(floor) : most;
  biggest->lowering_to = biggest->cold.AlignDown(wanted);
  keyspace_id_ = biggest->id;
  growing_ = false;
  index_knows_ = false;
  store_.indexer_->WhenIndexed(
      {.lsn = store_.log_->appended_lsn()}, [this, attempt = ++attempt_](Status status) {
        if (attempt != attempt_ || !lowering()) return;
        index_knows_ = status.ok();
        if (status.ok()) return;
        not_before_micros_ = store_.environment_.loop->NowMicros() + kRetryMicros;
        End();
      });
}

// A slice of it, once nothing is pending.
bool MapBound::Drop() {
  Keyspace* keyspace = store_.KeyspaceById(keyspace_id_);
  if (keyspace == nullptr) {  // flushed meanwhile
    End();
    return false;
  }
  if (!index_knows_ || store_.map_rebuild_->reading() || store_.compactor_->job_running()) {
    return false;
  }
  if (keyspace->unsettled > 0 || store_.settler_->HasPostponed(keyspace->id)) return false;
  if (store_.indexer_->moves_pending()) {
    store_.indexer_->Urge();
    return false;
  }
  const uint64_t floor = keyspace->lowering_to;
  const uint64_t end = keyspace->mapped_until;
  const uint64_t slots = keyspace->cold.size();
  keyspace->mapped_until =
      keyspace->cold.DropTop({.floor = floor, .end = end, .max_partitions = kDropPartitions});
  keyspace->left += slots - keyspace->cold.size();
  ++keyspace->lowerings;
  partial_ = true;
  store_.left_keys_->NoteRange({.keyspace = keyspace->id,
                                .first = keyspace->mapped_until,
                                .last = end == Keyspace::kAllHashes ? end : end - 1});
  if (keyspace->mapped_until > floor) return true;
  grow_after_micros_ = store_.environment_.loop->NowMicros() + kGrowAfterMicros;
  End();
  return false;
}

void MapBound::End() {
  if (Keyspace* keyspace = store_.KeyspaceById(keyspace_id_)) {
    keyspace->lowering_to = Keyspace::kAllHashes;
  }
  keyspace_id_ = 0;
}

}  // namespace firn
