// What StoreImpl does once an iteration of the loop: syncs, replies' gates, memory, and the
// background work's slices.

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "tiering/compactor.h"
#include "tiering/copier.h"
#include "tiering/defragmenter.h"
#include "tiering/demoter.h"
#include "tiering/evictor.h"
#include "tiering/fetcher.h"
#include "tiering/hot_set.h"
#include "tiering/indexer.h"
#include "tiering/left_keys.h"
#include "tiering/log_archiver.h"
#include "tiering/map_bound.h"
#include "tiering/map_rebuild.h"
#include "tiering/read_ahead.h"
#include "tiering/reaper.h"
#include "tiering/settler.h"
#include "tiering/snapshot/capture.h"
#include "tiering/store_impl.h"
#include "tiering/sweeper.h"

namespace firn {
namespace {

// How soon the loop looks again while a group is open.
constexpr int64_t kOpenGroupMicros = 1000;

// A sync is started once the oldest unsynced record is this old, so that it is over before
// everysec's one second.
constexpr int64_t kSyncAfterMicros = 500'000;
// Or once this much waits for it: the index and the window can only follow what is synced.
constexpr uint64_t kSyncAfterBytes = 8 << 20;
// Of a small max_memory, unsynced records may pin so small a share.
constexpr uint64_t kSyncAfterShare = 32;
// When somebody waits for the index: each sync also writes what is populated ahead of the tail, so
// that they should not come in quick succession.
constexpr int64_t kUrgentSyncMicros = 100'000;
// everysec: with an acknowledged record unsynced for this long nothing more is acknowledged.
constexpr int64_t kMaxUnsyncedMicros = 1'000'000;
// How exactly the age of what isn't synced is known.
constexpr int64_t kUnsyncedStepMicros = 1'000;
// always: a sync costs as much as several commands, so that it waits for those whom the last one
// has answered: for this many times its duration, but no longer than the second figure.
constexpr int64_t kGatherSyncs = 2;
constexpr int64_t kMaxGatherMicros = 2'000;
// And when nothing comes any more, for this part of it.
constexpr int64_t kGatherQuietShare = 4;
// A stamp, which needs a sync of its own, proves that what lies before it was synced; so does the
// next record.
constexpr int64_t kStampAfterMicros = 50'000;
constexpr int64_t kMemorySampleMicros = 10'000;
// Near the limit, what clients' buffers take between two samples counts. A sample costs some 100
// us. Where values only come and go, as with reads, the sum of the engine's own bytes is right for
// longer.
constexpr int64_t kPressedSampleMicros = 2'500;
constexpr int64_t kPressedSampleBytes = 256 << 10;
constexpr uint64_t kCrampedWindowBytes = 1 << 20;
// Freed pages may stay for reuse up to this share of max_memory.
constexpr uint64_t kUnusedPagesShare = 50;
constexpr int64_t kBusyWaitMicros = 2'000;
constexpr int64_t kIdleWaitMicros = 100'000;
// Demotion begins at this share of max_memory, so that the writers' limit is not met at once.
constexpr double kDemoteShare = 0.88;
// Pages in use may exceed what is allocated in them: by so much that the resident size holds, and
// less than what makes writers wait (kWriterShare and kPageSlack): somebody has to end that.
constexpr double kPageShare = 0.95;
constexpr double kPageSlack = 0.02;
// The part of what is too much in pages that is demoted between two samples. Demotion makes holes,
// and the cold map grows by it: what frees pages is defragmentation, which has to get the chance.
// Where it finds nothing to do, demotion has to be fast.
constexpr int64_t kPageReliefDivisor = 128;
constexpr int64_t kUrgentPageReliefDivisor = 16;
constexpr double kUrgentPageShare = 1.03;
// Slices of defragmentation in an iteration while there are too many pages.
constexpr int kUrgentDefragmentations = 4;
// Partitions of a dropped keyspace that one iteration frees.
constexpr uint64_t kDropSlice = 2048;

}  // namespace

void StoreImpl::SampleMemory() {
  last_memory_sample_micros_ = environment_.loop->NowMicros();
  memory_.Sample(log_ ? log_->window_bytes() : 0);
  if (options_.max_memory_bytes != 0) {
    memory_.LimitUnusedPages(options_.max_memory_bytes / kUnusedPagesShare);
  }
  double limit = static_cast<double>(options_.max_memory_bytes);
  double used = static_cast<double>(UsedMemory());
  int64_t excess = static_cast<int64_t>(used - limit * kPageShare);
  const bool urgent = used > limit * kUrgentPageShare;
  page_relief_bytes_ =
      excess > 0 ? excess / (urgent ? kUrgentPageReliefDivisor : kPageReliefDivisor) : 0;
  // Writers wait meanwhile.
  if (defragmenter_->working()) page_relief_bytes_ = 0;
  stats_.peak_memory = std::max(stats_.peak_memory, UsedMemory());
}

uint64_t StoreImpl::UsedMemory() const {
  return memory_.InUse() + (log_ ? log_->window_bytes() : 0) + fetch_memory_;
}

uint64_t StoreImpl::GateMemory() const {
  uint64_t outside = (log_ ? log_->window_bytes() : 0) + fetch_memory_;
  double slack = static_cast<double>(options_.max_memory_bytes) * kPageSlack;
  int64_t pages = static_cast<int64_t>(UsedMemory()) - static_cast<int64_t>(slack);
  return std::max(memory_.AllocatedAndOther() + outside,
                  static_cast<uint64_t>(std::max<int64_t>(pages, 0)));
}

int64_t StoreImpl::MemoryPressure() const {
  if (options_.max_memory_bytes == 0) return INT64_MIN;
  double limit = static_cast<double>(options_.max_memory_bytes);
  int64_t outside = static_cast<int64_t>((log_ ? log_->window_bytes() : 0) + fetch_memory_);
  int64_t allocated = static_cast<int64_t>(memory_.AllocatedAndOther()) + outside;
  int64_t by_allocated = allocated - static_cast<int64_t>(limit * kDemoteShare);
  int64_t by_pages = static_cast<int64_t>(UsedMemory()) - static_cast<int64_t>(limit * kPageShare);
  // Freeing values here and there hardly frees pages, but makes room in them for new values.
  return std::max(by_allocated, by_pages > 0 ? std::max<int64_t>(page_relief_bytes_, 1) : by_pages);
}

void StoreImpl::StartSync() {
  if (log_->appended_lsn() > log_->durable_lsn()) {
    indexer_->NoteSyncPoint();
    if (sync_began_micros_ == 0) {
      sync_began_micros_ = environment_.loop->NowMicros();
      last_sync_records_ = log_->appended_lsn() - log_->durable_lsn();
    }
    log_->Sync();
  }
}

int64_t StoreImpl::GatherMicros(int64_t now) const {
  if (log_->appended_lsn() - log_->durable_lsn() >= expected_records_) return 0;
  const int64_t begin = std::max(unsynced_.front().appended_micros, sync_ended_micros_);
  const int64_t latest = std::max(unsynced_.back().appended_micros, sync_ended_micros_);
  const int64_t end = std::min(begin + std::min(kGatherSyncs * last_sync_micros_, kMaxGatherMicros),
                               latest + last_sync_micros_ / kGatherQuietShare);
  return std::max<int64_t>(end - now, 0);
}

void StoreImpl::OnSynced() {
  ++stats_.syncs;
  if (sync_began_micros_ != 0) {
    sync_ended_micros_ = environment_.loop->NowMicros();
    last_sync_micros_ = sync_ended_micros_ - std::exchange(sync_began_micros_, 0);
    expected_records_ = last_sync_records_ + log_->appended_lsn() - log_->durable_lsn();
    NoteLatency(StoreLatency::kLogSync, last_sync_micros_);
  }
  uint64_t durable = log_->durable_lsn();
  while (!unsynced_.empty() && unsynced_.front().lsn <= durable) unsynced_.pop_front();
  AnswerSyncWaiters();
  if (on_may_reply_) on_may_reply_();
}

void StoreImpl::AnswerSyncWaiters() {
  while (!sync_waiters_.empty() &&
         (sync_waiters_.front().lsn <= log_->durable_lsn() || !log_->poison().ok())) {
    auto waiter = std::move(sync_waiters_.front());
    sync_waiters_.pop_front();
    waiter.done(waiter.lsn <= log_->durable_lsn() ? Status::Ok() : log_->poison());
  }
}

void StoreImpl::SyncNow(std::move_only_function<void(Status)> done) {
  sync_waiters_.push_back({log_->appended_lsn(), std::move(done)});
  if (log_->appended_lsn() <= log_->durable_lsn() || !log_->poison().ok()) {
    environment_.loop->Post([this, alive = std::weak_ptr<StoreImpl*>(alive_)] {
      if (!alive.expired()) AnswerSyncWaiters();
    });
    return;
  }
  StartSync();
}

bool StoreImpl::MayReply(uint64_t lsn) const {
  if (!options_.durable || lsn <= log_->durable_lsn()) return true;
  if (!log_->poison().ok()) return false;
  if (Has(PlantedBug::kReplyBeforeSync)) return true;
  switch (options_.sync_policy) {
    case SyncPolicy::kAlways:
      return false;
    case SyncPolicy::kEverySecond:
      return unsynced_.empty() ||
             environment_.loop->NowMicros() - unsynced_.front().appended_micros <
                 kMaxUnsyncedMicros;
    case SyncPolicy::kNo:
      return true;
  }
  return true;
}

// What was appended waits for a sync from now on, and has a second under `everysec`: also if a
// transaction puts the sync off.
void StoreImpl::MarkAppended(int64_t now) {
  const uint64_t appended = log_->appended_lsn();
  if (appended <= published_lsn_) return;
  published_lsn_ = appended;
  // A mark an iteration would take hundreds of KB until the next sync.
  const bool is_near = options_.sync_policy != SyncPolicy::kAlways && !unsynced_.empty() &&
                       now - unsynced_.back().appended_micros < kUnsyncedStepMicros;
  if (is_near) {
    unsynced_.back().lsn = appended;
  } else {
    unsynced_.push_back({appended, now});
  }
}

int64_t StoreImpl::EndIteration() {
  const int64_t now = environment_.loop->NowMicros();
  MarkAppended(now);
  if (group_depth_ > 0) [[unlikely]] {
    // A transaction waits for the disk: nothing of its group may become durable or be indexed
    // before its commit.
    sweeper_->Step();
    settler_->Step();
    fetcher_->Step();
    return kOpenGroupMicros;
  }
  if (!log_->poison().ok() && iterations_since_failure_ < 2) ++iterations_since_failure_;
  int64_t gather_micros = 0;
  if (!unsynced_.empty() && log_->poison().ok()) {
    bool due = now - unsynced_.front().appended_micros >= kSyncAfterMicros;
    if (options_.sync_policy == SyncPolicy::kAlways && !log_->sync_in_flight()) {
      if (!due) gather_micros = GatherMicros(now);
      due |= gather_micros == 0;
    }
    uint64_t most = kSyncAfterBytes;
    if (options_.max_memory_bytes != 0) {
      most = std::min(most, options_.max_memory_bytes / kSyncAfterShare);
    }
    bool worth = now - unsynced_.front().appended_micros >= kUrgentSyncMicros ||
                 log_->unsynced_bytes() >= most / 2;
    if (log_->unsynced_bytes() >= most || (worth && indexer_->WantsSync())) due = true;
    if (indexer_->WantsSyncAtOnce()) due = true;
    if (due) StartSync();
    const UnsyncedMark& oldest = unsynced_.front();
    if (options_.sync_policy == SyncPolicy::kEverySecond && options_.durable &&
        now - oldest.appended_micros >= kMaxUnsyncedMicros && oldest.lsn > delayed_lsn_) {
      delayed_lsn_ = unsynced_.back().lsn;
      ++stats_.delayed_syncs;
    }
  }
  // The window holds its segments: on a disk so small they must be free to be compacted.
  if (log_->out_of_space()) log_->set_window_size(kCrampedWindowBytes);
  log_->AdvanceWindow();
  if (log_->lock_failed() && !std::exchange(told_of_lock_, true)) {
    Log(3,
        "The newest values of the log can't be locked in RAM and are read from the disk instead: "
        "the limit on locked memory (RLIMIT_MEMLOCK, `ulimit -l`) is too low");
  }
  const bool pressed = MemoryPressure() > 0 && memory_.taken_since_sample() > kPressedSampleBytes;
  int64_t sample_after = pressed ? kPressedSampleMicros : kMemorySampleMicros;
  if (now - last_memory_sample_micros_ >= sample_after) SampleMemory();

  bool busy = sweeper_->Step();
  const bool crowded = options_.max_memory_bytes != 0 && UsedMemory() > options_.max_memory_bytes;
  for (int left = crowded ? kUrgentDefragmentations : 1; left > 0; --left) {
    busy |= defragmenter_->Step();
  }
  settler_->Step();
  fetcher_->Step();
  indexer_->Step();
  left_keys_->Step();
  busy |= map_bound_->Step();
  busy |= map_rebuild_->Step();
  compactor_->Step();
  evictor_->Step();
  busy |= reaper_->Step();
  busy |= demoter_->Step();
  busy |= copier_->Step();
  read_ahead_->Step();
  busy |= capture_->Step();
  archiver_->Step();
  busy |= hot_set_->Step();
  if (!dropped_.empty()) {
    Keyspace& keyspace = *dropped_.front();
    // The values first: they are what memory waits for.
    bool more = sweeper_->FreeSome(keyspace) || keyspace.cold.FreeSome(kDropSlice);
    if (!more) dropped_.pop_front();
    busy = true;
  }
  // What background work could not log concerns no command.
  run_error_ = Status::Ok();
  const bool idle = unsynced_.empty() && now - sync_ended_micros_ >= kStampAfterMicros;
  if (idle && log_->poison().ok() && !closing_) log_->StampIfIdle(now_ms());
  if (busy) return 0;
  if (gather_micros > 0) return gather_micros;
  if (sweeper_->waits_for_index() || settler_->busy() || demoter_->busy() || copier_->busy() ||
      evictor_->busy() || compactor_->busy() || compactor_->rewriting()) {
    return kBusyWaitMicros;
  }
  int64_t wait = indexer_->IdleMicros();
  if (!unsynced_.empty()) {
    wait = std::min(wait, unsynced_.front().appended_micros + kSyncAfterMicros - now);
  }
  return std::clamp(wait, kBusyWaitMicros, kIdleWaitMicros);
}

void StoreImpl::RunJob(io::WorkPriority priority, std::move_only_function<void()> job,
                       std::move_only_function<void()> done) {
  ++jobs_in_flight_;
  environment_.loop->RunOnWorker(
      priority, std::move(job),
      [this, alive = std::weak_ptr<StoreImpl*>(alive_), done = std::move(done)]() mutable {
        if (alive.expired()) return;
        --jobs_in_flight_;
        if (done) done();
      });
}

}  // namespace firn
