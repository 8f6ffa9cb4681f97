#include "tiering/snapshot/snapshot_source.h"

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/snapshot/capture.h"
#include "tiering/snapshot/durability_switch.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kMemoryShare = 32;  // of max_memory
constexpr uint64_t kLeastMemory = 4 << 20;
constexpr uint64_t kMostMemory = 64 << 20;

}  // namespace

void Store::PrepareSnapshot(std::move_only_function<void(Status)> done) {
  impl_->capture_->Begin(std::move(done));
}

Result<std::unique_ptr<SnapshotSource>> Store::TakeSnapshot() {
  StoreImpl& impl = *impl_;
  CHECK_MSG(impl.group_depth_ == 0, "a snapshot was to be taken amid a transaction");
  if (!impl.log_->poison().ok()) return std::unexpected(impl.log_->poison());
  CHECK_MSG(impl.LogsChanges(), "a snapshot was to be taken that had not been prepared");
  auto source = std::make_unique<SnapshotSource>();
  source->index = std::make_unique<IndexView>(impl.index_);
  source->secret = impl.identity_.secret;
  source->end = impl.log_->tail();
  source->lsn = impl.log_->appended_lsn();
  source->now_ms = impl.expiry_clock_ms();
  source->has_stale_roots = !impl.options_.durable || impl.durability_switch_->running();
  for (const auto& [id, segment] : impl.segments_->all()) {
    bool is_last = id == source->end.segment_id;
    source->segments.push_back(
        {.readable = {id, segment->file, is_last ? source->end.offset : segment->end_offset},
         .stream = segment->stream,
         .synced_offset = segment->synced_offset});
  }
  for (size_t slot = 0; slot + 1 < impl.slots_.size(); slot += 2) {
    const Keyspace& keys = *impl.slots_[slot];
    source->databases.push_back({.keys_id = keys.id,
                                 .pages_id = impl.slots_[slot + 1]->id,
                                 .keys = keys.keys,
                                 .expiring = keys.expiring});
  }
  uint64_t memory = impl.options_.max_memory_bytes;
  source->memory_bytes =
      memory == 0 ? kMostMemory : std::clamp(memory / kMemoryShare, kLeastMemory, kMostMemory);
  return source;
}

}  // namespace firn
