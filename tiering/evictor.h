// Evictor: deletes keys as maxmemory-policy says when maxdisk leaves hardly any room to write.
//
// By segments: compaction empties the oldest segment that it may (under volatile-ttl the one whose
// last record expires first), and what it meets alive there is deleted instead of copied, but for
// what is in RAM under lru and lfu, and what never expires under the volatile policies. That frees
// a segment for each that is read and keeps what was written or moved last, as a log-structured
// cache does (McAllister et al., "Kangaroo", SOSP 2021, on why caches on flash evict so).
// By the index where segments hold little that may go: those keys that expire soonest, or in the
// order of their hashes. Their records become garbage here and there, which compaction has to
// gather.
//
// Executor thread; the index is read by a worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/keyspace/entry.h"
#include "tiering/index/index.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

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
  // Whether compaction should evict what it meets.
  bool WantsSegments() const;
  // The segment with the lowest number is to be emptied first; nothing: not this one. Under the
  // volatile policies only what expires as a whole.
  std::optional<uint64_t> RankOf(const log::Segment& segment) const;
  // Compaction has met a record that is its key's newest. Whether the key was evicted.
  bool EvictMet(const log::RecordView& record, uint64_t hash, log::PackedPosition position);
  // Compaction has emptied a segment for this.
  struct Emptied {
    uint64_t evicted_bytes = 0;
    uint64_t kept_bytes = 0;
  };
  void OnEmptied(const Emptied& emptied);
  // There is none now. After a while, in which what holds them may let them go, it is done without.
  void OnNothingToEmpty();
  bool busy() const { return wanted_; }
  // The policy has changed.
  void Reset() { found_nothing_micros_ = 0; }

 private:
  struct Batch;

  bool MayEvict() const;
  bool HasGarbageEnough() const;
  void StartBatch();
  void OnBatch(const Batch& batch);
  bool StillNeeded(const IndexBatch::Hint& hint, const Batch& batch) const;
  // Whether the key was evicted.
  bool TryEvict(const IndexKey& index_key, const IndexRoot& root, const Departures& departures);
  bool MayGo(const Entry& entry) const;
  bool GoesBySegments() const;
  // The next keyspace with keys, from its beginning.
  void NextKeyspace();
  void EndRound();
  void GiveUp();

  StoreImpl& store_;
  bool wanted_ = false;
  mutable bool garbage_enough_ = false;  // as of
  mutable int64_t garbage_checked_micros_ = 0;
  bool segments_are_worth_it_ = true;  // until one had little to evict
  int64_t nothing_since_micros_ = 0;   // there was none to empty; 0: there was
  bool job_running_ = false;
  uint32_t slot_ = 0;            // of the keyspace that is gone through
  uint64_t next_hash_ = 0;       // there
  uint32_t finished_slots_ = 0;  // without a single eviction
  size_t hints_at_once_ = 0;     // 0: as few as ever
  // Each begins when the one before has found nothing.
  enum class Round : uint8_t { kSparesHot, kAll, kAllIndexed };
  Round round_ = Round::kSparesHot;
  bool awaits_index_ = false;         // which has to hear of what is young
  int64_t found_nothing_micros_ = 0;  // when it gave up; 0: it hasn't
};

}  // namespace firn
