// MapRebuild: fills the cold maps from the index after a start, in the background, in hash order, a
// slice at a time, each taken in pieces. Until a keyspace is done, IsMapped tells which part of it
// the map answers for. Counts the keys and live bytes on the way; what MapBound has no room for is
// only counted, and left to the index. When there is room later, it maps that, too. Executor
// thread; the index is read by a worker.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/keyspace/entry.h"
#include "tiering/index/index.h"

namespace firn {

struct Keyspace;
class StoreImpl;

class MapRebuild {
 public:
  explicit MapRebuild(StoreImpl* store);
  ~MapRebuild();
  MapRebuild(const MapRebuild&) = delete;
  MapRebuild& operator=(const MapRebuild&) = delete;

  // All keyspaces present are unmapped from their first hash on. For the start.
  void Begin();
  // Once an iteration. True if there is more to do now.
  bool Step();
  // Everything is counted since the start.
  bool complete() const { return complete_; }
  // A slice is being read or taken.
  bool reading() const { return running_; }
  void WhenComplete(std::move_only_function<void()> done);

 private:
  struct Slice;
  void Complete();
  void MapMore();
  void StartSlice(Keyspace& keyspace, uint64_t first);
  void TakePiece();
  void EndSlice();
  Status Take(Keyspace& keyspace, const Slice& slice, size_t to, uint64_t* end);
  void TakeItem(Keyspace& keyspace, const Slice& slice, const Index::Visited& item,
                PackedPosition position);
  void FinishCounting(Keyspace& keyspace);
  void HoldUp(const Status& status);

  StoreImpl& store_;
  bool complete_ = true;
  bool running_ = false;
  std::shared_ptr<Slice> taking_;  // the one that has been read
  int64_t not_before_micros_ = 0;  // after a failure
  int64_t begun_micros_ = 0;
  uint64_t keys_ = 0;
  std::vector<std::move_only_function<void()>> waiters_;
};

}  // namespace firn
