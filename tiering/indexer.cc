#include "tiering/indexer.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// Without anybody waiting, batches are made large, so that a key that is written again and again is
// put once. One of so many records is flushed, since a start should not have more to replay.
constexpr uint64_t kLazyRecords = 200'000;
constexpr uint64_t kLazyBytes = 64 << 20;
constexpr int64_t kLazyMicros = 2'000'000;
// Where no value leaves RAM nobody needs what is young in the index. What a batch takes would make
// keys go for it there, every other second under a small maxmemory.
constexpr int64_t kUntieredLazyMicros = 60'000'000;
// Under memory pressure still worth a batch.
constexpr uint64_t kUrgentRecords = 2'000;
constexpr int64_t kUrgentMicros = 20'000;
// Changes that a worker holds at once.
constexpr size_t kChangesAtOnce = 32 * 1024;

}  // namespace

struct Indexer::Job {
  // In.
  std::shared_ptr<Index> index;
  HashSecret secret;
  std::vector<log::ReadableSegment> segments;
  uint64_t first_offset = 0;
  uint64_t from_lsn = 0;
  SyncPoint target;
  std::vector<Move> moves;
  std::optional<Index::Memory> memory;
  IndexBatch last;  // drops, spent hints, meta
  bool flush = false;
  uint64_t replay_lsn = 0;
  // Out.
  Status status;
  Status memory_status;
  uint64_t records = 0;
};

void Indexer::Begin(const Start& start) {
  indexed_position_ = flushed_replay_position_ = start.indexed;
  indexed_lsn_ = flushed_lsn_ = start.indexed_lsn;
  end_at_start_ = start.end;
  if (!store_.options_.tiering) last_batch_micros_ = store_.environment_.loop->NowMicros();
}

void Indexer::NoteSyncPoint() {
  uint64_t lsn = store_.log_->appended_lsn();
  if (!points_.empty() && points_.back().lsn == lsn) return;
  SyncPoint point{
      .lsn = lsn, .tail = store_.log_->tail(), .replay_end = store_.log_->tail(), .meta = {}};
  // A segment without records may be gone after a crash or a stop.
  if (store_.log_->active()->end_offset == log::kSegmentHeaderSize) {
    point.replay_end = end_at_start_;
  }
  point.meta.replay_crc = store_.log_->last_crc();
  point.meta.wall_ms = store_.now_ms();
  point.meta.counts_lsn = lsn;
  point.meta.counts_exact = true;
  point.meta.next_keyspace_id = store_.next_keyspace_id_;
  for (Keyspace* keyspace : store_.slots_) {
    point.meta.keyspaces.push_back({.id = keyspace->id,
                                    .db = keyspace->slot,
                                    .keys = keyspace->keys,
                                    .expiring = keyspace->expiring});
    point.meta.counts_exact &= keyspace->unsettled == 0 && keyspace->counts_exact &&
                               !store_.settler_->HasPostponed(keyspace->id);
  }
  points_.push_back(std::move(point));
}

bool Indexer::WantsSync() const {
  if (job_running_ || failed_ || (!urged_ && waiters_.empty())) return false;
  uint64_t appended = store_.log_->appended_lsn();
  uint64_t durable = store_.log_->durable_lsn();
  if (appended == durable || store_.log_->sync_in_flight()) return false;
  return !waiters_.empty() || durable <= indexed_lsn_ + kUrgentRecords;
}

uint64_t Indexer::ReplayBytesFrom(const log::LogPosition& position) const {
  log::LogPosition tail = store_.log_->tail();
  uint64_t bytes = 0;
  for (auto it = store_.segments_->all().lower_bound(position.segment_id);
       it != store_.segments_->all().end(); ++it) {
    const log::Segment& segment = *it->second;
    if (segment.stream != log::Stream::kFresh) continue;
    uint64_t end = segment.id == tail.segment_id ? tail.offset : segment.end_offset;
    uint64_t begin = segment.id == position.segment_id ? position.offset : 0;
    if (end > begin) bytes += end - begin;
  }
  return bytes;
}

bool Indexer::HasWork(const SyncPoint& target) const {
  return target.lsn > indexed_lsn_ || !moves_.empty() || !spent_hints_.empty() ||
         !store_.dropped_ids_.empty();
}

bool Indexer::Due(const SyncPoint& target) const {
  if (!waiters_.empty()) return true;
  if (!HasWork(target)) return false;
  int64_t age = store_.environment_.loop->NowMicros() - last_batch_micros_;
  uint64_t records = target.lsn - indexed_lsn_;
  if (urged_ && (records >= kUrgentRecords || age >= kUrgentMicros)) return true;
  return records >= kLazyRecords || age >= LazyMicros() ||
         ReplayBytesFrom(indexed_position_) >= kLazyBytes;
}

int64_t Indexer::LazyMicros() const {
  return store_.options_.tiering ? kLazyMicros : kUntieredLazyMicros;
}

int64_t Indexer::IdleMicros() const {
  constexpr int64_t kUntilToldOtherwise = std::numeric_limits<int64_t>::max();
  if (job_running_ || failed_ || points_.empty()) return kUntilToldOtherwise;
  if (urged_ || !waiters_.empty()) return 0;
  const SyncPoint& next = points_.front();
  if (next.lsn > store_.log_->durable_lsn() || !HasWork(next)) return kUntilToldOtherwise;
  const int64_t due = last_batch_micros_ + LazyMicros();
  return std::max<int64_t>(due - store_.environment_.loop->NowMicros(), 0);
}

void Indexer::Step() {
  if (job_running_ || failed_) return;
  uint64_t durable = store_.log_->durable_lsn();
  if (store_.Has(PlantedBug::kIndexUnsynced)) durable = store_.log_->appended_lsn();
  while (points_.size() > 1 && points_[1].lsn <= durable) points_.pop_front();
  SyncPoint target;
  if (!points_.empty() && points_.front().lsn <= durable) {
    target = points_.front();
    if (target.lsn < indexed_lsn_) {
      points_.pop_front();
      return;
    }
  } else if (!moves_.empty() || !waiters_.empty() || !spent_hints_.empty() ||
             indexed_lsn_ < durable) {
    // Nothing new is on its way to the disk: moves, hints and what a start replayed go with an
    // unchanged end.
    if (store_.log_->appended_lsn() > durable) return;
    NoteSyncPoint();
    return;
  } else {
    return;
  }
  if (!Due(target)) return;
  points_.pop_front();
  StartJob(std::move(target));
}

// The replay begins at the oldest effect that no indexed image covers, or at the end of the batch.
void Indexer::SetReplayBegin(SyncPoint* target) const {
  for (const DirtyValue& value : store_.dirty_) {
    if (value.first_lsn > target->lsn || store_.Has(PlantedBug::kForgetEffects)) break;
    if (value.clean_lsn != 0 && value.clean_lsn <= target->lsn) continue;
    target->meta.replay_lsn = value.first_lsn;
    target->meta.replay_position = value.first_effect;
    target->meta.replay_crc = 0;
    return;
  }
  target->meta.replay_lsn = target->lsn + 1;
  target->meta.replay_position = target->replay_end;
}

void Indexer::StartJob(SyncPoint target) {
  auto job = std::make_shared<Job>();
  job->index = store_.index_;
  job->secret = store_.identity_.secret;
  job->from_lsn = indexed_lsn_;
  job->first_offset = indexed_position_.offset;
  for (auto it = store_.segments_->all().lower_bound(indexed_position_.segment_id);
       it != store_.segments_->all().end() && it->first <= target.tail.segment_id; ++it) {
    log::Segment& segment = *it->second;
    if (segment.stream != log::Stream::kFresh) continue;
    bool is_last = segment.id == target.tail.segment_id;
    job->segments.push_back(
        {segment.id, segment.file, is_last ? target.tail.offset : segment.end_offset});
    ++segment.holds;
  }
  job->moves = std::exchange(moves_, {});
  job_moves_ = !job->moves.empty();
  job->memory = std::exchange(memory_, std::nullopt);
  job->last.spent_hints = std::exchange(spent_hints_, {});
  std::erase_if(store_.dropped_ids_, [&](const StoreImpl::DroppedId& dropped) {
    if (dropped.lsn > target.lsn) return false;
    job->last.dropped_keyspaces.push_back(dropped.id);
    return true;
  });
  SetReplayBegin(&target);
  job->replay_lsn = target.meta.replay_lsn;
  job->last.meta = EncodeIndexMeta(target.meta);

  unflushed_records_ += target.lsn - indexed_lsn_;
  unflushed_bytes_ += ReplayBytesFrom(indexed_position_) - ReplayBytesFrom(target.tail);
  job->flush = unflushed_records_ >= store_.options_.replay_limit_records / 2 ||
               unflushed_bytes_ >= store_.options_.replay_limit_bytes / 2;
  for (const Waiter& waiter : waiters_) job->flush |= waiter.what.flushed;
  job->target = std::move(target);
  job_running_ = true;
  urged_ = false;
  ++batches_begun_;
  store_.RunJob(
      io::WorkPriority::kBackground, [job] { RunJob(job.get()); }, [this, job] { OnJobDone(job); });
}

// On a worker: reads the records, writes the changes of keys in batches.
void Indexer::RunJob(Job* job) {
  if (job->memory) job->memory_status = job->index->SetMemory(*job->memory);
  IndexBatch batch;
  batch.changes.reserve(std::min<size_t>(kChangesAtOnce, job->target.lsn - job->from_lsn));
  auto id_of = [](const IndexKey& key) {
    std::string id(12, '\0');
    StoreFixed(id.data(), key.keyspace);
    StoreFixed(id.data() + 4, key.hash);
    return id + key.key;
  };
  auto flush_batch = [&]() {
    Status status = job->index->Apply(batch);
    batch.changes.clear();
    return status;
  };
  std::unordered_set<std::string> written;  // keys of earlier batches that a move must not undo
  log::LogReader reader(job->segments, job->first_offset, {});
  log::RecordView record;
  for (;;) {
    auto outcome = job->segments.empty() ? log::LogReader::Outcome::kEnd : reader.Next(&record);
    if (outcome == log::LogReader::Outcome::kEnd) break;
    if (outcome != log::LogReader::Outcome::kRecord) {
      job->status = outcome == log::LogReader::Outcome::kError
                        ? reader.status()
                        : Status::Corruption("index batch: " + reader.message());
      return;
    }
    ++job->records;
    if (record.kind != log::RecordKind::kImage && record.kind != log::RecordKind::kDelete) continue;
    IndexBatch::Change change;
    change.key = {record.keyspace, SipHash13(job->secret, record.key), std::string(record.key)};
    if (record.kind == log::RecordKind::kImage) {
      uint64_t logical = LogicalRecordSize(record.key.size(), record.raw_payload_size,
                                           record.expiry_ms != log::kNoExpiry);
      change.root = IndexRoot{.position = reader.position(),
                              .logical_size = static_cast<uint32_t>(logical),
                              .size = static_cast<uint32_t>(log::PaddedSize(record.size)),
                              .lsn = record.lsn,
                              .type = record.type,
                              .expiry_ms = record.expiry_ms};
    }
    if (!job->moves.empty()) written.insert(id_of(change.key));
    batch.changes.push_back(std::move(change));
    if (batch.changes.size() >= kChangesAtOnce) {
      job->status = flush_batch();
      if (!job->status.ok()) return;
    }
  }
  for (Move& move : job->moves) {
    if (written.contains(id_of(move.key))) continue;
    batch.changes.push_back({move.key, move.root});
  }
  batch.dropped_keyspaces = job->last.dropped_keyspaces;
  batch.spent_hints = std::move(job->last.spent_hints);
  batch.meta = std::move(job->last.meta);
  job->status = flush_batch();
  if (job->status.ok() && job->flush) job->status = job->index->Flush();
}

void Indexer::OnJobDone(std::shared_ptr<Job> job) {
  job_running_ = job_moves_ = false;
  ++batches_done_;
  for (const log::ReadableSegment& readable : job->segments) {
    log::Segment* segment = store_.segments_->ById(readable.id);
    if (segment != nullptr) --segment->holds;
  }
  if (!job->memory_status.ok()) store_.Log(3, job->memory_status.message());
  if (!job->status.ok()) {
    // The log stays the truth; values that are not indexed stay in RAM, and a restart replays more.
    failed_ = job->status.code() != StatusCode::kNoSpace;
    ++store_.stats_.read_errors;
    store_.Log(3, "Index batch failed: " + job->status.message());
    // What this batch was to say is said again by the next: moves before those made since.
    job->moves.insert(job->moves.end(), moves_.begin(), moves_.end());
    moves_ = std::move(job->moves);
    for (uint32_t id : job->last.dropped_keyspaces) {
      store_.dropped_ids_.push_back({id, job->target.lsn});
    }
    for (auto& waiter : std::exchange(waiters_, {})) waiter.done(job->status);
    return;
  }
  if (!moving_.empty()) {
    for (const Move& move : job->moves) moving_.erase(store_.segments_->Pack(move.root.position));
  }
  last_batch_micros_ = store_.environment_.loop->NowMicros();
  indexed_position_ = job->target.tail;
  indexed_lsn_ = job->target.lsn;
  store_.log_->set_drop_cache_below(indexed_position_);
  if (job->flush) {
    flushed_replay_position_ = job->target.meta.replay_position;
    flushed_lsn_ = job->target.lsn;
    unflushed_records_ = 0;
    unflushed_bytes_ = 0;
    ++store_.stats_.index_flushes;
  }
  std::vector<Waiter> ready;
  std::erase_if(waiters_, [&](Waiter& waiter) {
    uint64_t reached = waiter.what.flushed ? flushed_lsn_ : indexed_lsn_;
    if (reached < waiter.what.lsn || batches_done_ < waiter.batch) return false;
    ready.push_back(std::move(waiter));
    return true;
  });
  for (Waiter& waiter : ready) waiter.done(Status::Ok());
}

void Indexer::AddMoves(std::vector<Move> moves) {
  for (Move& move : moves) {
    const Keyspace* keyspace = store_.KeyspaceById(move.key.keyspace);
    if (keyspace != nullptr && !keyspace->IsMapped(move.key.hash)) {
      moving_.insert(store_.segments_->Pack(move.root.position));
    }
    moves_.push_back(std::move(move));
  }
}

void Indexer::AddSpentHints(std::vector<IndexBatch::Hint> hints) {
  spent_hints_.insert(spent_hints_.end(), hints.begin(), hints.end());
}

void Indexer::WhenIndexed(WaitFor what, std::move_only_function<void(Status)> done) {
  waiters_.push_back({what, batches_begun_ + 1, std::move(done)});
}

}  // namespace firn
