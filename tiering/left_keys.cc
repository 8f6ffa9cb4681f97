#include "tiering/left_keys.h"

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/compactor.h"
#include "tiering/indexer.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr size_t kTriesAtOnce = 2048;

uint64_t HoldId(uint32_t keyspace, uint64_t hash) {
  return hash ^ (uint64_t{keyspace} * 0x9e3779b97f4a7c15ULL);
}

}  // namespace

// --- departures

void Departures::Add(const Range& range) {
  if (range.first == range.last) {
    hashes_.emplace_back(range.keyspace, range.first);
  } else {
    ranges_.push_back(range);
  }
}

void Departures::Sort() { std::sort(hashes_.begin(), hashes_.end()); }

bool Departures::Include(uint32_t keyspace, uint64_t hash) const {
  if (std::binary_search(hashes_.begin(), hashes_.end(), std::pair(keyspace, hash))) return true;
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return range.keyspace == keyspace && range.first <= hash && hash <= range.last;
  });
}

std::optional<uint64_t> Departures::First(uint32_t keyspace, uint64_t first) const {
  std::optional<uint64_t> least;
  auto it = std::lower_bound(hashes_.begin(), hashes_.end(), std::pair(keyspace, first));
  if (it != hashes_.end() && it->first == keyspace) least = it->second;
  for (const Range& range : ranges_) {
    if (range.keyspace != keyspace || range.last < first) continue;
    const uint64_t begin = std::max(range.first, first);
    if (!least || begin < *least) least = begin;
  }
  return least;
}

uint64_t LeftKeys::BeginReading() {
  readings_.insert(last_serial_);
  return last_serial_;
}

Departures LeftKeys::Since(uint64_t reading) const {
  Departures since;
  auto it = std::upper_bound(
      departures_.begin(), departures_.end(), reading,
      [](uint64_t serial, const Departure& departure) { return serial < departure.serial; });
  for (; it != departures_.end(); ++it) since.Add(it->range);
  since.Sort();
  return since;
}

Departures LeftKeys::EndReading(uint64_t reading) {
  Departures since = Since(reading);
  readings_.erase(readings_.find(reading));
  while (!departures_.empty() &&
         (readings_.empty() || departures_.front().serial <= *readings_.begin())) {
    departures_.pop_front();
  }
  return since;
}

void LeftKeys::NoteRange(const Departures::Range& range) {
  if (!readings_.empty()) departures_.push_back({++last_serial_, range});
}

bool LeftKeys::IsCurrent(const Keyspace& keyspace, uint64_t hash, PackedPosition position,
                         const Departures& departures) const {
  if (position == kNoPosition) return false;
  if (keyspace.IsMapped(hash)) return keyspace.cold.Contains(hash, position);
  return keyspace.IsCounted(hash) && !departures.Include(keyspace.id, hash);
}

// --- leaving

bool LeftKeys::MayLeave(const Keyspace& keyspace, uint64_t hash, const Entry& entry) const {
  if (!keyspace.IsLeft(hash)) return false;
  if (entry.flags() & (Entry::kDirty | Entry::kBlind | Entry::kPinned)) return false;
  const PackedPosition position = entry.position();
  if (entry.kind() == Entry::Kind::kTombstone) {
    // The index knew of a delete when the segment that had it went.
    const bool gone = IsLogPosition(position) && store_.segments_->Of(position) == nullptr;
    if (!gone && !store_.IsIndexed(position)) return false;
  } else {
    // Compaction counts on finding the entries of what it moves.
    if (!store_.IsIndexed(position) || store_.indexer_->IsMoving(position)) return false;
    if (store_.segments_->Of(position)->id == store_.compactor_->victim()) return false;
  }
  return !holds_.contains(HoldId(keyspace.id, hash));
}

void LeftKeys::Leave(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  ++keyspace.left;
  NoteRange({keyspace.id, key.hash, key.hash});
  store_.Discard(keyspace, key, entry);
}

bool LeftKeys::MayForget(const Keyspace& keyspace, uint64_t hash, const Entry& tombstone) const {
  if (tombstone.flags() & (Entry::kBlind | Entry::kPinned)) return false;
  if (keyspace.IsMapped(hash)) return !keyspace.IsLowering(hash);
  return MayLeave(keyspace, hash, tombstone);
}

void LeftKeys::Forget(Keyspace& keyspace, const HashedKey& key, Entry* tombstone) {
  if (!keyspace.IsMapped(key.hash)) NoteRange({keyspace.id, key.hash, key.hash});
  store_.Discard(keyspace, key, tombstone);
}

void LeftKeys::Await(const Keyspace& keyspace, uint64_t hash, PackedPosition position) {
  waiting_.push_back({keyspace.id, hash, position});
}

void LeftKeys::Step() {
  for (size_t left = std::min(waiting_.size(), kTriesAtOnce); left > 0; --left) {
    const Waiting item = waiting_.front();
    Keyspace* keyspace = store_.KeyspaceById(item.keyspace);
    if (keyspace != nullptr) {
      const bool gone =
          !IsLogPosition(item.position) || store_.segments_->Of(item.position) == nullptr;
      // What waits behind it is younger, or will be as soon.
      if (!gone && !store_.IsIndexed(item.position)) return;
      if (keyspace->IsLowering(item.hash)) return;
    }
    waiting_.pop_front();
    if (keyspace != nullptr && !TryAgain(*keyspace, item.hash)) waiting_.push_back(item);
  }
}

bool LeftKeys::TryAgain(Keyspace& keyspace, uint64_t hash) {
  std::vector<Entry*> entries;
  keyspace.table.WalkRange(hash, hash, [&](Entry* entry) {
    if (entry->kind() != Entry::Kind::kHot) entries.push_back(entry);
  });
  bool all = true;
  for (Entry* entry : entries) {
    const HashedKey key{entry->key(), hash};
    if (entry->kind() == Entry::Kind::kTombstone) {
      if (MayForget(keyspace, hash, *entry)) {
        Forget(keyspace, key, entry);
      } else {
        all = false;
      }
    } else if (keyspace.IsMapped(hash) && store_.IsDemotable(*entry)) {
      store_.Demote(keyspace, key, entry);
    } else if (MayLeave(keyspace, hash, *entry)) {
      Leave(keyspace, key, entry);
    } else {
      all = false;
    }
  }
  return all;
}

// --- holds

void LeftKeys::Hold(uint32_t keyspace, uint64_t hash) { ++holds_[HoldId(keyspace, hash)]; }

void LeftKeys::Unhold(uint32_t keyspace, uint64_t hash) {
  auto it = holds_.find(HoldId(keyspace, hash));
  CHECK(it != holds_.end());
  if (--it->second == 0) holds_.erase(it);
}

}  // namespace firn
