#include "tiering/segment_picker.h"

#include <algorithm>
#include <optional>

#include "tiering/evictor.h"
#include "tiering/indexer.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// With more alive in it a segment is no garbage.
constexpr double kHardlyGarbage = 0.95;
// A segment with as little alive in it is emptied although the log is within its target.
constexpr double kLittleLeft = 0.02;
// So much of the log may be deletes that are kept for what is older, before that is moved; and not
// while there is a segment of which less than this share is alive.
constexpr double kManyKeptDeletes = 0.1;
constexpr double kLittleGain = 0.5;
// With less alive in it a segment isn't emptied by eviction: it has garbage to be collected.
constexpr double kWorthEmptying = 0.25;

bool IsOversized(const log::Segment& segment, uint64_t segment_size_bytes) {
  return segment.end_offset > 2 * segment_size_bytes;
}

}  // namespace

double LogExcess(const StoreImpl& store) {
  // What is being written and what waits for the index is no garbage yet.
  const auto slack = static_cast<double>(3 * store.options_.segment_size_bytes);
  const auto live = static_cast<double>(store.segments_->live_bytes());
  const double target = store.options_.compaction_target_percent / 100.0 * live + slack;
  return static_cast<double>(store.segments_->total_bytes()) / target - 1;
}

KeptDeletes::KeptDeletes(const log::SegmentTable& segments,
                         const std::vector<uint64_t>& removed_as_of_lsns) {
  const auto note = [this](uint64_t as_of_lsn) {
    if (as_of_lsn < oldest_) {
      second_ = std::exchange(oldest_, as_of_lsn);
    } else {
      second_ = std::min(second_, as_of_lsn);
    }
  };
  for (const auto& [id, segment] : segments.all()) note(segment->as_of_lsn);
  for (uint64_t as_of_lsn : removed_as_of_lsns) note(as_of_lsn);
  for (const auto& [id, segment] : segments.all()) total_bytes_ += BytesIn(*segment);
}

uint64_t KeptDeletes::BytesIn(const log::Segment& segment) const {
  const uint64_t oldest_other = segment.as_of_lsn == oldest_ ? second_ : oldest_;
  return oldest_other < segment.last_delete_lsn ? segment.delete_bytes : 0;
}

SegmentPicker::Pick SegmentPicker::Next() {
  Pick pick;
  if (store_.evictor_->WantsSegments()) {
    pick.id = PickToEmpty();
    pick.evicts = pick.id != 0;
    if (!pick.evicts) store_.evictor_->OnNothingToEmpty();
  }
  if (pick.id == 0) pick.id = PickGarbage();
  pick.needs_flush = needs_flush_;
  return pick;
}

bool SegmentPicker::IsEligible(const log::Segment& segment) const {
  if (!segment.sealed || segment.holds > 0) return false;
  if (std::ranges::find(others_.not_to_pick, segment.id) != others_.not_to_pick.end()) return false;
  // A restart would still replay from a fresh segment behind the flushed replay position.
  return segment.stream != log::Stream::kFresh ||
         segment.id < store_.indexer_->flushed_replay_position().segment_id;
}

bool SegmentPicker::IsEligibleOrNeedsFlush(const log::Segment& segment) {
  if (IsEligible(segment)) return true;
  needs_flush_ |= segment.sealed && segment.holds == 0 && segment.stream == log::Stream::kFresh;
  return false;
}

uint64_t SegmentPicker::PickToEmpty() {
  uint64_t first = 0;
  uint64_t lowest = UINT64_MAX;
  for (const auto& [id, segment] : store_.segments_->all()) {
    const std::optional<uint64_t> rank = store_.evictor_->RankOf(*segment);
    const bool has_much = static_cast<double>(segment->live_bytes) >
                          kWorthEmptying * static_cast<double>(segment->end_offset);
    if (!rank || !has_much || IsOversized(*segment, store_.options_.segment_size_bytes)) continue;
    if (IsEligibleOrNeedsFlush(*segment) && *rank < lowest) {
      lowest = *rank;
      first = id;
    }
  }
  return first;
}

uint64_t SegmentPicker::PickGarbage() {
  const bool wanted = LogExcess(store_) > 0 || store_.log_->short_of_space() || others_.rewriting;
  const KeptDeletes kept_deletes(*store_.segments_, others_.removed_as_of_lsns);
  uint64_t best = 0;
  double best_score = 0;
  double best_used = 1;
  const uint64_t appended = store_.log_->appended_lsn();
  for (const auto& [id, segment] : store_.segments_->all()) {
    if (segment->end_offset == 0) continue;
    const int64_t live = std::max<int64_t>(0, static_cast<int64_t>(segment->live_bytes));
    const double used =
        static_cast<double>(live + static_cast<int64_t>(kept_deletes.BytesIn(*segment))) /
        static_cast<double>(segment->end_offset);
    // What expires by itself isn't worth a copy just because little of it is left.
    const double little = segment->max_expiry_ms == UINT64_MAX ? kLittleLeft : 0;
    if (used > kHardlyGarbage || (!wanted && used > little)) continue;
    if (used > 0 && IsOversized(*segment, store_.options_.segment_size_bytes)) continue;
    const bool eligible = wanted ? IsEligibleOrNeedsFlush(*segment) : IsEligible(*segment);
    if (!eligible) continue;
    const auto age = static_cast<double>(appended - std::min(appended, segment->as_of_lsn) + 1);
    const double score = (1 - used) * age / (1 + used);
    if (score > best_score) {
      best_score = score;
      best_used = used;
      best = id;
    }
  }
  const bool many_deletes = static_cast<double>(kept_deletes.total_bytes()) >
                            kManyKeptDeletes * static_cast<double>(store_.segments_->total_bytes());
  if (wanted && many_deletes && best_used > kLittleGain) {
    if (uint64_t oldest = PickOldest(); oldest != 0) return oldest;
  }
  return best;
}

// What is oldest is moved out of the way of the deletes that are kept for it.
uint64_t SegmentPicker::PickOldest() {
  const log::Segment* oldest = nullptr;
  for (const auto& [id, segment] : store_.segments_->all()) {
    if (segment->end_offset == 0) continue;
    if (oldest == nullptr || segment->as_of_lsn < oldest->as_of_lsn) oldest = segment.get();
  }
  return oldest != nullptr && IsEligibleOrNeedsFlush(*oldest) ? oldest->id : 0;
}

}  // namespace firn
