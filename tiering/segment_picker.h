// SegmentPicker: which segment compaction takes next. By cost and benefit (garbage and age:
// Rosenblum, Ousterhout: "The Design and Implementation of a Log-Structured File System"); where
// keys are to be evicted, the one that the evictor ranks first; and the oldest, when too many
// deletes are kept for it.
//
// Executor thread; made for one pick.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tiering/log/segment.h"

namespace firn {

class StoreImpl;

// By how much the log is larger than it should be, as a share of its target.
double LogExcess(const StoreImpl& store);

// Deletes must stay as long as anything is older than they are, be it alive as a whole: they are no
// garbage. `removed_as_of_lsns`: begins of segments whose files may still be there.
class KeptDeletes {
 public:
  KeptDeletes(const log::SegmentTable& segments, const std::vector<uint64_t>& removed_as_of_lsns);
  uint64_t BytesIn(const log::Segment& segment) const;
  uint64_t total_bytes() const { return total_bytes_; }

 private:
  uint64_t oldest_ = UINT64_MAX;
  uint64_t second_ = UINT64_MAX;
  uint64_t total_bytes_ = 0;
};

class SegmentPicker {
 public:
  // What compaction knows and segments don't tell.
  struct Others {
    std::vector<uint64_t> not_to_pick;  // being filled, about to be removed, unreadable
    std::vector<uint64_t> removed_as_of_lsns;
    bool rewriting = false;  // all garbage is wanted
  };
  struct Pick {
    uint64_t id = 0;           // 0: none is worth it
    bool evicts = false;       // what is alive there
    bool needs_flush = false;  // a flush of the index would bring candidates
  };
  SegmentPicker(StoreImpl& store, Others others) : store_(store), others_(std::move(others)) {}

  Pick Next();

 private:
  bool IsEligible(const log::Segment& segment) const;
  // If all that keeps it from being eligible is that the index on disk doesn't know of it yet, a
  // flush is needed.
  bool IsEligibleOrNeedsFlush(const log::Segment& segment);
  uint64_t PickToEmpty();
  uint64_t PickGarbage();
  uint64_t PickOldest();

  StoreImpl& store_;
  const Others others_;
  bool needs_flush_ = false;
};

}  // namespace firn
