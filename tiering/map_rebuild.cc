#include "tiering/map_rebuild.h"

#include "engine/base/check.h"
#include "tiering/reaper.h"
#include "tiering/store_impl.h"
#include "tiering/sweeper.h"

namespace firn {
namespace {

// Inserting a slice takes the executor some 0.5 ms.
constexpr size_t kJobRoots = 4096;
constexpr int64_t kRetryMicros = 5'000'000;

}  // namespace

struct MapRebuild::Slice {
  struct Item {
    uint64_t hash;
    bool is_long;
    std::string key;
    IndexRoot root;
  };
  std::vector<Item> items;
  bool at_end = false;
  Status status;
};

void MapRebuild::Begin() {
  complete_ = false;
  begun_micros_ = store_.environment_.loop->NowMicros();
  for (Keyspace* keyspace : store_.slots_) keyspace->mapped_until = 0;
}

void MapRebuild::Step() {
  if (complete_ || running_ || store_.closing_) return;
  if (store_.environment_.loop->NowMicros() < not_before_micros_) return;
  for (Keyspace* keyspace : store_.slots_) {
    if (!keyspace->fully_mapped()) {
      StartSlice(*keyspace);
      return;
    }
  }
  complete_ = true;
  int64_t micros = store_.environment_.loop->NowMicros() - begun_micros_;
  store_.Log(2, "Cold map rebuilt: " + std::to_string(keys_) + " keys in " +
                    std::to_string(micros / 1000) + " ms");
  store_.sweeper_->NoteMapComplete();
  for (auto& waiter : std::exchange(waiters_, {})) waiter();
}

void MapRebuild::StartSlice(Keyspace& keyspace) {
  running_ = true;
  auto slice = std::make_shared<Slice>();
  store_.RunJob(
      io::WorkPriority::kBackground,
      [slice, index = store_.index_, id = keyspace.id, first = keyspace.mapped_until] {
        slice->at_end = true;
        slice->status = index->Visit(id, first, [&](const Index::Visited& visited) {
          // Roots that share a hash stay together.
          if (slice->items.size() >= kJobRoots && visited.hash != slice->items.back().hash) {
            slice->at_end = false;
            return false;
          }
          slice->items.push_back(
              {visited.hash, visited.is_long, std::string(visited.key), visited.root});
          return true;
        });
      },
      [this, slice, id = keyspace.id] { OnSlice(id, *slice); });
}

void MapRebuild::OnSlice(uint32_t keyspace_id, const Slice& slice) {
  running_ = false;
  Keyspace* keyspace = store_.KeyspaceById(keyspace_id);
  if (keyspace == nullptr) return;  // flushed meanwhile
  if (!slice.status.ok()) {
    not_before_micros_ = store_.environment_.loop->NowMicros() + kRetryMicros;
    ++store_.stats_.read_errors;
    store_.Log(3, "Rebuild of the cold map is held up: " + slice.status.message());
    return;
  }
  for (const Slice::Item& item : slice.items) {
    bool resident = false;
    if (item.is_long) {
      // The key's bytes are only in the log; 64 keyed bits tell well enough.
      keyspace->table.WalkRange(item.hash, item.hash, [&](Entry*) { resident = true; });
    } else {
      resident = keyspace->table.Find({item.key, item.hash}) != nullptr;
    }
    if (resident) continue;  // what RAM says is newer
    if (item.root.type == static_cast<uint8_t>(ValueType::kReapNote)) {
      store_.reaper_->NoteFound(keyspace->id, item.key);
    }
    PackedPosition position = store_.segments_->Pack(item.root.position);
    if (position == kNoPosition) {
      ++store_.stats_.read_errors;
      store_.Log(3, "Index points into segment " + std::to_string(item.root.position.segment_id) +
                        ", which is not there");
      continue;
    }
    keyspace->cold.Insert(item.hash, {position, SizeClassFor(item.root.size)});
    store_.AddLive(*keyspace, position, item.root.logical_size);
    ++keys_;
  }
  if (slice.at_end) {
    FinishKeyspace(*keyspace);
  } else {
    keyspace->mapped_until = slice.items.back().hash + 1;
  }
}

void MapRebuild::FinishKeyspace(Keyspace& keyspace) {
  keyspace.mapped_until = Keyspace::kFullyMapped;
  uint64_t counted = keyspace.cold.size() + keyspace.resident;
  if (keyspace.counts_exact && keyspace.unsettled == 0 && keyspace.keys != counted) {
    store_.Log(3, "Database " + std::to_string(keyspace.db()) + " has " + std::to_string(counted) +
                      " keys, not " + std::to_string(keyspace.keys) + " as was remembered");
  }
  keyspace.keys = counted;
  keyspace.counts_exact = true;
}

void MapRebuild::WhenComplete(std::move_only_function<void()> done) {
  waiters_.push_back(std::move(done));
}

}  // namespace firn
