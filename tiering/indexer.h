// Indexer: brings the index up to what the log has made durable, in batches and in LSN order,
// through one worker at a time that reads the log's tail. A batch holds only records that are
// synced, keeps the last change of each key, and carries the replay position: where a start would
// begin.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/keyspace/entry.h"
#include "tiering/index/index.h"
#include "tiering/index_meta.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment.h"

namespace firn {

class StoreImpl;

class Indexer {
 public:
  explicit Indexer(StoreImpl* store) : store_(*store) {}

  // Before the first Step: what the index and the replay say.
  struct Start {
    log::LogPosition indexed;  // every record before it is in the index, and flushed
    uint64_t indexed_lsn = 0;
    log::LogPosition end;  // of the log that was found; segment 0: it is empty
  };
  void Begin(const Start& start);

  // To be called just before a sync is asked for: a batch can end there.
  void NoteSyncPoint();
  void Step();
  // Somebody waits for values to become demotable.
  void Urge() { urged_ = true; }
  // A batch is wanted, and what it lacks is a sync.
  bool WantsSync() const;
  // As WantsSync, and somebody waits for just that.
  bool WantsSyncAtOnce() const { return !waiters_.empty() && WantsSync(); }
  // For so long Step has nothing to do, unless a sync or a batch ends, or something is asked for.
  int64_t IdleMicros() const;
  bool job_running() const { return job_running_; }

  // Every record before this position has been put into the index.
  const log::LogPosition& indexed_position() const { return indexed_position_; }
  uint64_t indexed_lsn() const { return indexed_lsn_; }
  // What a start would replay from now, and what the flushed index covers.
  const log::LogPosition& flushed_replay_position() const { return flushed_replay_position_; }
  uint64_t flushed_lsn() const { return flushed_lsn_; }
  uint64_t ReplayBytesFrom(const log::LogPosition& position) const;

  // A copy that compaction made is now the newest place of its key.
  struct Move {
    IndexKey key;
    IndexRoot root;
  };
  void AddMoves(std::vector<Move> moves);
  bool has_moves() const { return job_running_ || !moves_.empty(); }
  // Moves that the index doesn't know yet. As has_moves, but exact.
  bool moves_pending() const { return job_moves_ || !moves_.empty(); }
  // Whether the index doesn't know yet that a record that compaction moved is here. Only kept of
  // keys that are not in the cold map.
  bool IsMoving(PackedPosition position) const { return moving_.contains(position); }
  void AddSpentHints(std::vector<IndexBatch::Hint> hints);
  // For a store without tiering: the index changes its memory when it has something to do anyway.
  void SetMemoryWithBatch(const Index::Memory& memory) { memory_ = memory; }
  // Calls back once everything up to `lsn`, and every move added before, is in the index, flushed
  // if `flushed`.
  struct WaitFor {
    uint64_t lsn = 0;
    bool flushed = false;
  };
  void WhenIndexed(WaitFor what, std::move_only_function<void(Status)> done);

 private:
  struct SyncPoint {
    uint64_t lsn = 0;
    log::LogPosition tail;
    log::LogPosition replay_end;  // where a start would go on if all up to here is indexed
    IndexMeta meta;
  };
  struct Job;
  struct Waiter {
    WaitFor what;
    uint64_t batch;  // the first batch that has the moves
    std::move_only_function<void(Status)> done;
  };
  bool HasWork(const SyncPoint& target) const;
  bool Due(const SyncPoint& target) const;
  // How old a batch may get that nobody waits for.
  int64_t LazyMicros() const;
  void StartJob(SyncPoint target);
  void OnJobDone(std::shared_ptr<Job> job);
  void SetReplayBegin(SyncPoint* target) const;
  static void RunJob(Job* job);

  StoreImpl& store_;
  std::deque<SyncPoint> points_;
  log::LogPosition end_at_start_;
  log::LogPosition indexed_position_;
  uint64_t indexed_lsn_ = 0;
  log::LogPosition flushed_replay_position_;
  uint64_t flushed_lsn_ = 0;
  uint64_t batches_begun_ = 0;
  uint64_t batches_done_ = 0;
  uint64_t unflushed_records_ = 0;
  uint64_t unflushed_bytes_ = 0;
  int64_t last_batch_micros_ = 0;
  bool urged_ = false;
  bool job_running_ = false;
  bool failed_ = false;
  std::optional<Index::Memory> memory_;  // of the index, which hasn't heard of it yet
  std::vector<Move> moves_;
  bool job_moves_ = false;  // the job that runs has some
  std::unordered_set<PackedPosition> moving_;
  std::vector<IndexBatch::Hint> spent_hints_;
  std::vector<Waiter> waiters_;
};

}  // namespace firn
