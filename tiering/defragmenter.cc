#include "tiering/defragmenter.h"

#include <bit>

#include "engine/base/fine_blocks.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kBlocksAtOnce = 512;
constexpr uint64_t kPartitionsAtOnce = 2048;
// Begins when so much of max_memory is holes, and ends at half of that.
constexpr uint64_t kWasteShare = 20;
constexpr double kNearLimit = 0.88;
// A round that moves less than one block in so many was in vain.
constexpr uint64_t kFruitless = 100;
constexpr int64_t kRestMicros = 500'000;
constexpr double kFullEnough = 0.92;
constexpr double kClearlyEmptier = 0.97;
constexpr double kMeanWeight = 1.0 / 512;

}  // namespace

bool Defragmenter::ClassUse::WorthMoving(const SlabUse& slab) const {
  double mean = 1 / inverse_use;
  return mean < kFullEnough && static_cast<double>(slab.used) <
                                   mean * kClearlyEmptier * static_cast<double>(slab.regions);
}

void Defragmenter::ClassUse::Meet(const SlabUse& slab) {
  double inverse = static_cast<double>(slab.regions) / static_cast<double>(slab.used);
  inverse_use += (inverse - inverse_use) * kMeanWeight;
}

// Sixteen classes for each power of two, as fine blocks have them.
Defragmenter::ClassUse& Defragmenter::ClassOf(const SlabUse& slab) {
  const uint64_t bytes = slab.region_bytes;
  if (bytes < 16) return classes_[bytes];  // 0: alone
  int log = std::bit_width(bytes) - 1;
  uint64_t sixteenth = (bytes >> (log - 4)) & 15;
  return classes_[(static_cast<uint64_t>(log) * 16 + sixteenth) % classes_.size()];
}

bool Defragmenter::QueryBlocks() {
  if (!QuerySlabs(blocks_, &slabs_)) return false;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint64_t bytes = entries_[i]->BlockSize();
    if (IsFineBlock(bytes)) slabs_[i] = FineBlocks::Shared().UseOf(entries_[i], bytes);
  }
  return true;
}

bool Defragmenter::WantsWork() {
  uint64_t limit = store_.options_.max_memory_bytes;
  if (limit == 0 || !store_.options_.tiering || !store_.environment_.meter_process_memory) {
    return false;
  }
  uint64_t wasted = store_.memory_.Wasted();
  if (active_) return wasted > limit / kWasteShare / 2;
  return wasted > limit / kWasteShare &&
         static_cast<double>(store_.UsedMemory()) > static_cast<double>(limit) * kNearLimit &&
         store_.environment_.loop->NowMicros() >= rests_until_micros_;
}

void Defragmenter::BeginRound() {
  active_ = true;
  slot_ = 0;
  part_ = Part::kEntries;
  at_ = 0;
  round_visited_ = round_moved_ = 0;
}

void Defragmenter::NextPart() {
  at_ = 0;
  part_ = static_cast<Part>(static_cast<int>(part_) + 1);
  if (part_ != Part::kEnd) return;
  part_ = Part::kEntries;
  if (++slot_ < store_.slots_.size()) return;
  bool fruitless = round_moved_ * kFruitless < round_visited_ + kFruitless;
  BeginRound();
  if (!fruitless) return;
  active_ = false;
  rests_until_micros_ = store_.environment_.loop->NowMicros() + kRestMicros;
}

bool Defragmenter::Step() {
  if (!WantsWork()) {
    active_ = false;
    return false;
  }
  if (!active_) BeginRound();
  if (slot_ >= store_.slots_.size()) BeginRound();
  Keyspace& keyspace = *store_.slots_[slot_];
  entries_.clear();
  arrays_.clear();
  blocks_.clear();
  switch (part_) {
    case Part::kEntries:
      GatherEntries(keyspace);
      break;
    case Part::kTableArrays:
      GatherArrays(keyspace.table);
      break;
    case Part::kColdArrays:
      GatherArrays(keyspace.cold);
      break;
    case Part::kEnd:
      break;
  }
  if (!blocks_.empty()) {
    if (!QueryBlocks()) {
      rests_until_micros_ = INT64_MAX;  // this allocator can't tell
      active_ = false;
      return false;
    }
    round_visited_ += blocks_.size();
    uint64_t before = moved_;
    if (part_ == Part::kEntries) {
      MoveEntries(keyspace);
    } else {
      MoveArrays();
    }
    round_moved_ += moved_ - before;
  }
  if (at_ == 0) NextPart();
  return active_;
}

void Defragmenter::GatherEntries(Keyspace& keyspace) {
  if (keyspace.table.empty()) return;
  at_ = keyspace.table.Walk(at_, kBlocksAtOnce, [&](Entry* entry) {
    // Reads and settling under way look an entry up again, but what they pin is short-lived anyway.
    if (entry->flags() & (Entry::kPinned | Entry::kTransient | Entry::kBlind)) return;
    entries_.push_back(entry);
    blocks_.push_back(entry);
  });
}

template <typename Map>
void Defragmenter::GatherArrays(Map& map) {
  at_ = map.WalkArrays(at_, kPartitionsAtOnce, [&](SlotArray* array) {
    arrays_.push_back(array);
    blocks_.push_back(array->slots());
  });
}

void Defragmenter::MoveEntries(Keyspace& keyspace) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    ClassUse& use = ClassOf(slabs_[i]);
    use.Meet(slabs_[i]);
    if (!use.WorthMoving(slabs_[i])) continue;
    Entry* old = entries_[i];
    Entry* moved = old->CopyBlock();
    keyspace.table.Replace({old->key(), keyspace.table.HashOf(old->key())}, old, moved);
    store_.NoteMoved(keyspace, old, moved);
    Entry::FreeCopiedBlock(old);
    ++moved_;
  }
}

void Defragmenter::MoveArrays() {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    ClassUse& use = ClassOf(slabs_[i]);
    use.Meet(slabs_[i]);
    if (!use.WorthMoving(slabs_[i])) continue;
    arrays_[i]->MoveBlock();
    ++moved_;
  }
}

}  // namespace firn
