#include "tiering/map_rebuild.h"

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/hot_set.h"
#include "tiering/left_keys.h"
#include "tiering/map_bound.h"
#include "tiering/reaper.h"
#include "tiering/snapshot/durability_switch.h"
#include "tiering/store_impl.h"
#include "tiering/sweeper.h"

namespace firn {
namespace {

// Inserting a slice takes the executor some 0.5 ms.
constexpr size_t kJobRoots = 4096;
constexpr int64_t kRetryMicros = 5'000'000;
// What a slot may take, at most, with its share of the directory.
constexpr uint64_t kSlotBytesGuess = 64;
constexpr uint64_t kFewestRoots = 64;

// Whether RAM says more of the item's key.
template <typename Item>
bool IsResident(const Keyspace& keyspace, const Item& item) {
  if (!item.is_long) return keyspace.table.Find({item.key, item.hash}) != nullptr;
  // The key's bytes are only in the log; 64 keyed bits tell well enough.
  bool resident = false;
  keyspace.table.WalkRange(item.hash, item.hash, [&](const Entry*) { resident = true; });
  return resident;
}

}  // namespace

struct MapRebuild::Slice {
  struct Item {
    uint64_t hash;
    bool is_long;
    std::string key;
    IndexRoot root;
  };
  uint64_t first = 0;
  bool maps = false;    // else its keys are left to the index
  bool counts = false;  // else they are counted already
  size_t most = kJobRoots;
  uint64_t reading = 0;  // of LeftKeys
  std::vector<Item> items;
  bool at_end = false;
  Status status;
};

void MapRebuild::Begin() {
  complete_ = false;
  begun_micros_ = store_.environment_.loop->NowMicros();
  for (Keyspace* keyspace : store_.slots_) keyspace->ForgetCounts();
}

void MapRebuild::Step() {
  if (running_ || store_.closing_ || store_.map_bound_->lowering()) return;
  if (complete_) return MapMore();
  if (store_.environment_.loop->NowMicros() < not_before_micros_) return;
  if (!store_.hot_set_->MayMeet()) return;
  for (Keyspace* keyspace : store_.slots_) {
    if (!keyspace->fully_counted()) {
      StartSlice(*keyspace, keyspace->counted_until);
      return;
    }
  }
  Complete();
}

void MapRebuild::Complete() {
  complete_ = true;
  int64_t micros = store_.environment_.loop->NowMicros() - begun_micros_;
  uint64_t left = 0;
  for (const Keyspace* keyspace : store_.slots_) left += keyspace->left;
  const std::string of_them =
      left == 0 ? "" : ", " + std::to_string(left) + " of them left to the index";
  store_.Log(2, "Cold map rebuilt: " + std::to_string(keys_) + " keys in " +
                    std::to_string(micros / 1000) + " ms" + of_them);
  store_.sweeper_->NoteMapComplete();
  for (auto& waiter : std::exchange(waiters_, {})) waiter();
}

// What was left to the index, if there is room for it now.
void MapRebuild::MapMore() {
  if (!store_.map_bound_->WantsMore()) return;
  if (store_.environment_.loop->NowMicros() < not_before_micros_) return;
  for (Keyspace* keyspace : store_.slots_) {
    if (!keyspace->fully_mapped()) return StartSlice(*keyspace, keyspace->mapped_until);
  }
}

void MapRebuild::StartSlice(Keyspace& keyspace, uint64_t first) {
  running_ = true;
  auto slice = std::make_shared<Slice>();
  const uint64_t room = store_.map_bound_->Room();
  slice->first = first;
  slice->counts = first == keyspace.counted_until && !keyspace.fully_counted();
  slice->maps = first == keyspace.mapped_until && room > 0;
  if (slice->maps && room != UINT64_MAX) {
    slice->most = std::clamp<uint64_t>(room / kSlotBytesGuess, kFewestRoots, kJobRoots);
  }
  slice->reading = store_.left_keys_->BeginReading();
  store_.RunJob(
      io::WorkPriority::kBackground,
      [slice, index = store_.index_, id = keyspace.id] {
        slice->at_end = true;
        slice->status = index->Visit(id, slice->first, [&](const Index::Visited& visited) {
          // Roots that share a hash stay together.
          if (slice->items.size() >= slice->most && visited.hash != slice->items.back().hash) {
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
  const Departures departures = store_.left_keys_->EndReading(slice.reading);
  Keyspace* keyspace = store_.KeyspaceById(keyspace_id);
  if (keyspace == nullptr) return;  // flushed meanwhile
  if (!slice.status.ok()) return HoldUp(slice.status);
  // Of what has left since it was read, the index says more now: there the next slice begins.
  uint64_t end = slice.at_end ? Keyspace::kAllHashes : slice.items.back().hash + 1;
  if (auto left = departures.First(keyspace_id, slice.first)) end = std::min(end, *left);
  Status whole = CheckPlaces(*keyspace, slice, &end);
  TakeItems(*keyspace, slice, end);
  if (slice.maps) {
    keyspace->mapped_until = end;
  } else {
    store_.map_bound_->NotePartial();
  }
  if (slice.counts) {
    keyspace->counted_until = end;
    ShowToHotSet(*keyspace, slice, end);
    if (keyspace->fully_counted()) FinishCounting(*keyspace);
  }
  if (!whole.ok()) HoldUp(whole);
}

void MapRebuild::HoldUp(const Status& status) {
  not_before_micros_ = store_.environment_.loop->NowMicros() + kRetryMicros;
  ++store_.stats_.read_errors;
  store_.Log(3, "Rebuild of the cold map is held up: " + status.message());
}

// A root that points nowhere is of an index that has lost what it knew last. To the map its key
// would be absent; who asks the index is told of the damage. So the map ends there.
Status MapRebuild::CheckPlaces(const Keyspace& keyspace, const Slice& slice, uint64_t* end) const {
  if (!store_.options_.durable || store_.durability_switch_->running()) return Status::Ok();
  for (const Slice::Item& item : slice.items) {
    if (item.hash >= *end && *end != Keyspace::kAllHashes) break;
    if (store_.segments_->Pack(item.root.position) != kNoPosition) continue;
    if (IsResident(keyspace, item)) continue;
    *end = item.hash;
    return PointsNowhere(item.root.position);
  }
  return Status::Ok();
}

void MapRebuild::ShowToHotSet(const Keyspace& keyspace, const Slice& slice, uint64_t end) {
  std::vector<HotSet::Met> met;
  met.reserve(slice.items.size());
  for (const Slice::Item& item : slice.items) {
    if (item.hash >= end && end != Keyspace::kAllHashes) break;
    met.push_back({.hash = item.hash, .key = item.key});
  }
  store_.hot_set_->Meet(keyspace.id, met);
}

// Those with hashes before `end`; all for the last.
void MapRebuild::TakeItems(Keyspace& keyspace, const Slice& slice, uint64_t end) {
  for (const Slice::Item& item : slice.items) {
    if (item.hash >= end && end != Keyspace::kAllHashes) break;
    if (IsResident(keyspace, item)) continue;
    if (slice.counts && item.root.type == static_cast<uint8_t>(ValueType::kReapNote)) {
      store_.reaper_->NoteFound(keyspace.id, item.key);
    }
    const PackedPosition position = store_.segments_->Pack(item.root.position);
    if (position == kNoPosition) continue;  // of what was never durable: see CheckPlaces
    if (slice.maps) {
      keyspace.cold.Insert(item.hash, {position, SizeClassFor(item.root.size)});
    }
    if (!slice.counts) {
      --keyspace.left;
      continue;
    }
    if (!slice.maps) ++keyspace.left;
    store_.AddLive(keyspace, position, item.root.logical_size);
    ++keys_;
  }
}

void MapRebuild::FinishCounting(Keyspace& keyspace) {
  uint64_t counted = keyspace.cold.size() + keyspace.resident + keyspace.left;
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
