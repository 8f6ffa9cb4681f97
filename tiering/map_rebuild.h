// MapRebuild: fills the cold maps from the index after a start, in the background, in hash order, a
// slice at a time. Until a keyspace is done, IsMapped tells which part of it the map answers for.
// Counts the keys on the way. Executor thread; the index is read by a worker.
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
  bool complete() const { return complete_; }
  void WhenComplete(std::move_only_function<void()> done);

 private:
  struct Slice;
  void StartSlice(Keyspace& keyspace);
  void OnSlice(uint32_t keyspace_id, const Slice& slice);
  void FinishKeyspace(Keyspace& keyspace);

  StoreImpl& store_;
  bool complete_ = true;
  bool running_ = false;
  int64_t not_before_micros_ = 0;  // after a failure
  int64_t begun_micros_ = 0;
  uint64_t keys_ = 0;
  std::vector<std::move_only_function<void()>> waiters_;
};

}  // namespace firn
