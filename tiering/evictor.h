// Evictor: deletes keys as maxmemory-policy says when maxdisk leaves no room to write. Their
// records become garbage, and compaction gives it back. It takes the keys from the index: in the
// order of their hashes for the allkeys policies, cold ones before those in RAM for lru and lfu;
// for the volatile policies those that expire soonest, since nothing is known of accesses to what
// is cold.
//
// Executor thread; the index is read by a worker.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "tiering/index/index.h"

namespace firn {

struct Keyspace;
class Departures;
class StoreImpl;

class Evictor {
 public:
  explicit Evictor(StoreImpl* store) : store_(*store) {}

  // A write finds no room on the disk. Whether it is worth waiting for: false if the policy
  // forbids to evict, or nothing was found that may go.
  bool Begin();
  // A slice of the work.
  void Step();
  bool busy() const { return wanted_; }
  // The policy has changed.
  void Reset() { found_nothing_micros_ = 0; }

 private:
  struct Batch;

  bool HasGarbageEnough() const;
  void StartBatch();
  void OnBatch(const Batch& batch);
  bool StillNeeded(const IndexBatch::Hint& hint, const Batch& batch) const;
  // Whether the key was evicted.
  bool TryEvict(const IndexKey& index_key, const IndexRoot& root, const Departures& departures);
  // The next keyspace with keys, from its beginning.
  void NextKeyspace();

  StoreImpl& store_;
  bool wanted_ = false;
  bool job_running_ = false;
  uint32_t slot_ = 0;                 // of the keyspace that is gone through
  uint64_t next_hash_ = 0;            // there
  uint32_t finished_slots_ = 0;       // without a single eviction
  size_t hints_at_once_ = 0;          // 0: as few as ever
  bool spares_hot_ = true;            // until a whole round has found nothing
  int64_t found_nothing_micros_ = 0;  // when it gave up; 0: it hasn't
};

}  // namespace firn
