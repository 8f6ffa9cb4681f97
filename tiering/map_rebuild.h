// MapRebuild: fills the cold maps from the index after a start, in the background, in hash order, a
// slice at a time. Until a keyspace is done, IsMapped tells which part of it the map answers for.
// Counts the keys and live bytes on the way; what MapBound has no room for is only counted, and
// left to the index. When there is room later, it maps that, too. Executor thread; the index is
// read by a worker.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tiering/index/index.h"

namespace firn {

struct Keyspace;
class StoreImpl;

class MapRebuild {
 public:
  explicit MapRebuild(StoreImpl* store) : store_(*store) {}

  // All keyspaces present are unmapped from their first hash on. For the start.
  void Begin();
  void Step();
  // Everything is counted since the start.
  bool complete() const { return complete_; }
  // A slice is being read.
  bool reading() const { return running_; }
  void WhenComplete(std::move_only_function<void()> done);

 private:
  struct Slice;
  void Complete();
  void MapMore();
  void StartSlice(Keyspace& keyspace, uint64_t first);
  void OnSlice(uint32_t keyspace_id, const Slice& slice);
  Status CheckPlaces(const Keyspace& keyspace, const Slice& slice, uint64_t* end) const;
  void ShowToHotSet(const Keyspace& keyspace, const Slice& slice, uint64_t end);
  void TakeItems(Keyspace& keyspace, const Slice& slice, uint64_t end);
  void FinishCounting(Keyspace& keyspace);
  void HoldUp(const Status& status);

  StoreImpl& store_;
  bool complete_ = true;
  bool running_ = false;
  int64_t not_before_micros_ = 0;  // after a failure
  int64_t begun_micros_ = 0;
  uint64_t keys_ = 0;
  std::vector<std::move_only_function<void()>> waiters_;
};

}  // namespace firn
