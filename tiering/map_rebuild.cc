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

// A reading begins with a search in every table of the index and reads ahead in each: the longer
// it is, the less that matters. Taking a piece takes the executor some 0.5 ms.
constexpr size_t kJobRoots = 32768;
constexpr size_t kTakenAtOnce = 4096;
constexpr int64_t kRetryMicros = 5'000'000;
// What a slot may take, at most, with its share of the directory.
constexpr uint64_t kSlotBytesGuess = 64;
constexpr uint64_t kFewestRoots = 64;

// Whether RAM says more of the item's key.
bool IsResident(const Keyspace& keyspace, const Index::Visited& item) {
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
    uint32_t key_size;
    size_t key_at;
    IndexRoot root;
  };
  Index::Visited At(size_t i) const {
    const Item& item = items[i];
    return {.hash = item.hash,
            .key = std::string_view(keys).substr(item.key_at, item.key_size),
            .is_long = item.is_long,
            .root = item.root};
  }

  uint32_t keyspace_id = 0;
  uint64_t first = 0;   // what has not been taken begins there
  bool maps = false;    // else its keys are left to the index
  bool counts = false;  // else they are counted already
  size_t most = kJobRoots;
  uint64_t reading = 0;  // of LeftKeys
  std::vector<Item> items;
  std::string keys;
  size_t taken = 0;
  bool at_end = false;
  Status status;
};

MapRebuild::MapRebuild(StoreImpl* store) : store_(*store) {}
MapRebuild::~MapRebuild() = default;

void MapRebuild::Begin() {
  complete_ = false;
  begun_micros_ = store_.environment_.loop->NowMicros();
  for (Keyspace* keyspace : store_.slots_) keyspace->ForgetCounts();
}

bool MapRebuild::Step() {
  if (taking_ != nullptr) {
    TakePiece();
    return true;
  }
  if (running_ || store_.closing_ || store_.map_bound_->lowering()) return false;
  if (store_.environment_.loop->NowMicros() < not_before_micros_) return false;
  if (complete_) {
    MapMore();
    return false;
  }
  if (!store_.hot_set_->MayMeet()) return false;
  for (Keyspace* keyspace : store_.slots_) {
    if (!keyspace->fully_counted()) {
      StartSlice(*keyspace, keyspace->counted_until);
      return false;
    }
  }
  Complete();
  return false;
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
  store_.environment_.loop->LowerWorkers();
  store_.sweeper_->NoteMapComplete();
  for (auto& waiter : std::exchange(waiters_, {})) waiter();
}

// What was left to the index, if there is room for it now.
void MapRebuild::MapMore() {
  if (!store_.map_bound_->WantsMore()) return;
  for (Keyspace* keyspace : store_.slots_) {
    if (!keyspace->fully_mapped()) return StartSlice(*keyspace, keyspace->mapped_until);
  }
}

void MapRebuild::StartSlice(Keyspace& keyspace, uint64_t first) {
  running_ = true;
  auto slice = std::make_shared<Slice>();
  const uint64_t room = store_.map_bound_->Room();
  slice->keyspace_id = keyspace.id;
  slice->first = first;
  slice->counts = first == keyspace.counted_until && !keyspace.fully_counted();
  slice->maps = first == keyspace.mapped_until && room > 0;
  if (slice->maps && room != UINT64_MAX) {
    slice->most = std::clamp<uint64_t>(room / kSlotBytesGuess, kFewestRoots, kJobRoots);
  }
  slice->reading = store_.left_keys_->BeginReading();
  store_.RunJob(
      io::WorkPriority::kBackground,
      [slice, index = store_.index_] {
        slice->at_end = true;
        slice->items.reserve(slice->most);
        slice->status =
            index->Visit(slice->keyspace_id, slice->first, [&](const Index::Visited& visited) {
              // Roots that share a hash stay together.
              if (slice->items.size() >= slice->most && visited.hash != slice->items.back().hash) {
                slice->at_end = false;
                return false;
              }
              slice->items.push_back({.hash = visited.hash,
                                      .is_long = visited.is_long,
                                      .key_size = static_cast<uint32_t>(visited.key.size()),
                                      .key_at = slice->keys.size(),
                                      .root = visited.root});
              slice->keys += visited.key;
              return true;
            });
      },
      [this, slice] {
        taking_ = slice;
        TakePiece();
      });
}

void MapRebuild::TakePiece() {
  Slice& slice = *taking_;
  Keyspace* keyspace = store_.KeyspaceById(slice.keyspace_id);
  if (keyspace == nullptr) return EndSlice();  // flushed meanwhile
  if (!slice.status.ok()) {
    HoldUp(slice.status);
    return EndSlice();
  }
  size_t to = std::min(slice.taken + kTakenAtOnce, slice.items.size());
  while (to < slice.items.size() && slice.items[to].hash == slice.items[to - 1].hash) ++to;
  const bool is_last = to == slice.items.size();
  uint64_t end = slice.at_end && is_last ? Keyspace::kAllHashes : slice.items[to - 1].hash + 1;
  const uint64_t whole = end;
  // Of what has left since it was read, the index says more now: there the next slice begins.
  const Departures departures = store_.left_keys_->Since(slice.reading);
  if (auto left = departures.First(slice.keyspace_id, slice.first)) end = std::min(end, *left);
  const Status status = Take(*keyspace, slice, to, &end);
  if (slice.maps) {
    keyspace->mapped_until = end;
  } else {
    store_.map_bound_->NotePartial();
  }
  if (slice.counts) {
    keyspace->counted_until = end;
    if (keyspace->fully_counted()) FinishCounting(*keyspace);
  }
  slice.first = end;
  slice.taken = to;
  if (!status.ok()) HoldUp(status);
  if (is_last || end != whole) EndSlice();
}

void MapRebuild::EndSlice() {
  store_.left_keys_->EndReading(taking_->reading);
  taking_ = nullptr;
  running_ = false;
}

void MapRebuild::HoldUp(const Status& status) {
  not_before_micros_ = store_.environment_.loop->NowMicros() + kRetryMicros;
  ++store_.stats_.read_errors;
  store_.Log(3, "Rebuild of the cold map is held up: " + status.message());
}

// The items up to `to`, with hashes before `*end`; all for the last of a keyspace. A root that
// points nowhere is of an index that has lost what it knew last. To the map its key would be
// absent; who asks the index is told of the damage. So `*end` is set to there.
Status MapRebuild::Take(Keyspace& keyspace, const Slice& slice, size_t to, uint64_t* end) {
  const bool may_point_nowhere = !store_.options_.durable || store_.durability_switch_->running();
  std::vector<HotSet::Met> met;
  std::vector<std::pair<size_t, PackedPosition>> found;
  Status status;
  auto is_before_end = [&](uint64_t hash) { return hash < *end || *end == Keyspace::kAllHashes; };
  for (size_t i = slice.taken; i < to; ++i) {
    const Index::Visited item = slice.At(i);
    if (!is_before_end(item.hash)) break;
    if (slice.counts) met.push_back({.hash = item.hash, .key = item.key});
    if (IsResident(keyspace, item)) continue;
    found.emplace_back(i, store_.segments_->Pack(item.root.position));
    if (found.back().second == kNoPosition && !may_point_nowhere) {
      *end = item.hash;
      status = PointsNowhere(item.root.position);
    }
  }
  for (const auto& [i, position] : found) {
    const Index::Visited item = slice.At(i);
    if (!is_before_end(item.hash)) break;
    TakeItem(keyspace, slice, item, position);
  }
  // Of hashes before `end`: they are in the map now.
  while (!met.empty() && !is_before_end(met.back().hash)) met.pop_back();
  store_.hot_set_->Meet(keyspace.id, met);
  return status;
}

void MapRebuild::TakeItem(Keyspace& keyspace, const Slice& slice, const Index::Visited& item,
                          PackedPosition position) {
  if (slice.counts && item.root.type == static_cast<uint8_t>(ValueType::kReapNote)) {
    store_.reaper_->NoteFound(keyspace.id, item.key);
  }
  if (position == kNoPosition) return;  // of what was never durable
  if (slice.maps) {
    keyspace.cold.Insert(item.hash, {position, SizeClassFor(item.root.size)});
  }
  if (!slice.counts) {
    --keyspace.left;
    return;
  }
  if (!slice.maps) ++keyspace.left;
  store_.AddLive(keyspace, position, item.root.logical_size);
  ++keys_;
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
