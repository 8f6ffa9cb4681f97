#include "tiering/store.h"

#include <algorithm>
#include <random>

#include "engine/base/check.h"
#include "engine/types/root_format.h"
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
#include "tiering/memory_shares.h"
#include "tiering/read_ahead.h"
#include "tiering/reaper.h"
#include "tiering/recovery.h"
#include "tiering/scanner.h"
#include "tiering/settler.h"
#include "tiering/snapshot/capture.h"
#include "tiering/snapshot/durability_switch.h"
#include "tiering/store_impl.h"
#include "tiering/sweeper.h"

namespace firn {
namespace {

// A limit above this means no more: what is computed from it are numbers with a sign.
constexpr uint64_t kMostMemoryBytes = uint64_t{1} << 60;

uint64_t SystemRandomSeed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace

Ticket::~Ticket() { CHECK(pins_.empty() && serial_ == 0); }

// --- opening and closing

StoreImpl::StoreImpl(const StoreOptions& options, const StoreEnvironment& environment)
    : options_(options),
      environment_(environment),
      fetcher_(std::make_unique<Fetcher>(this)),
      settler_(std::make_unique<Settler>(this)),
      indexer_(std::make_unique<Indexer>(this)),
      sweeper_(std::make_unique<Sweeper>(this)),
      defragmenter_(std::make_unique<Defragmenter>(this)),
      left_keys_(std::make_unique<LeftKeys>(this)),
      map_bound_(std::make_unique<MapBound>(this)),
      map_rebuild_(std::make_unique<MapRebuild>(this)),
      compactor_(std::make_unique<Compactor>(this)),
      scanner_(std::make_unique<Scanner>(this)),
      reaper_(std::make_unique<Reaper>(this)),
      demoter_(std::make_unique<Demoter>(this)),
      evictor_(std::make_unique<Evictor>(this)),
      copier_(std::make_unique<Copier>(this)),
      read_ahead_(std::make_unique<ReadAhead>(this)),
      capture_(std::make_unique<Capture>(this)),
      archiver_(std::make_unique<LogArchiver>(this)),
      hot_set_(std::make_unique<HotSet>(this)),
      durability_switch_(std::make_unique<DurabilitySwitch>(this)),
      memory_(environment.meter_process_memory),
      random_(options.random_seed != 0 ? options.random_seed : SystemRandomSeed()),
      alive_(std::make_shared<StoreImpl*>(this)) {
  options_.databases = 2 * options.databases;  // slots: see KeyspaceOf
  options_.max_memory_bytes = std::min(options.max_memory_bytes, kMostMemoryBytes);
}

StoreImpl::~StoreImpl() {
  hot_set_->Stop();
  copier_->Stop();
  read_ahead_->Stop();
  demoter_->Stop();
  reaper_->Stop();
  // Jobs and reads that are still on their way find nobody.
  alive_.reset();
}

Status StoreImpl::Open(std::function<void()> progress) {
  SetEviction(options_.eviction, access_clock_.parameters.log_factor,
              access_clock_.parameters.decay_minutes);
  Recovery recovery(this, std::move(progress));
  FIRN_RETURN_IF_ERROR(recovery.Run());
  if (map_rebuild_->complete()) environment_.loop->LowerWorkers();
  databases_.resize(slots_.size() / 2);
  for (uint32_t db = 0; db < databases_.size(); ++db) {
    databases_[db].impl_ = this;
    databases_[db].number_ = db;
  }
  log_->set_synced([this] { OnSynced(); });
  log_->set_room_changed([this] { fetcher_->OnRoomChanged(); });
  SampleMemory();
  return Status::Ok();
}

Status StoreImpl::Close() {
  closing_ = true;
  io::Loop& loop = *environment_.loop;
  // Work that others depend on comes to its end first; background work stops at its next step.
  auto wait = [&](auto&& done) {
    while (!done() && log_->poison().ok()) {
      EndIteration();
      loop.RunOnce(10'000);
    }
  };
  wait([&] { return !settler_->busy() && fetcher_->idle(); });
  if (log_->poison().ok()) {
    bool indexed = false;
    indexer_->WhenIndexed({.lsn = log_->appended_lsn(), .flushed = true},
                          [&indexed](Status) { indexed = true; });
    wait([&] { return indexed; });
  }
  while (jobs_in_flight_ > 0 || log_->sync_in_flight()) loop.RunOnce(10'000);
  hot_set_->Finish();
  FIRN_RETURN_IF_ERROR(log_->Stop());
  return archiver_->Finish();
}

void StoreImpl::SetEviction(EvictionPolicy policy, int lfu_log_factor, int lfu_decay_time) {
  options_.eviction = policy;
  evictor_->Reset();
  access_clock_.lfu =
      policy == EvictionPolicy::kAllKeysLfu || policy == EvictionPolicy::kVolatileLfu;
  access_clock_.parameters.log_factor = lfu_log_factor;
  access_clock_.parameters.decay_minutes = lfu_decay_time;
}

Result<std::unique_ptr<Store>> Store::Open(const StoreOptions& options,
                                           const StoreEnvironment& environment,
                                           std::function<void()> progress) {
  auto impl = std::make_unique<StoreImpl>(options, environment);
  Status status = impl->Open(std::move(progress));
  if (!status.ok()) return std::unexpected(status);
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Store::Store(std::unique_ptr<StoreImpl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;
Status Store::Close() { return impl_->Close(); }

// --- plan

uint64_t Store::Hash(std::string_view key) const { return SipHash13(impl_->identity_.secret, key); }

void Store::Prefetch(uint32_t db, uint64_t hash) const {
  impl_->KeyspaceOf(db).table.Prefetch(hash);
}
void Store::PrefetchEntry(uint32_t db, uint64_t hash) const {
  impl_->KeyspaceOf(db).table.PrefetchEntry(hash);
}

PlanResult Store::Plan(std::span<const KeyAccess> keys, Ticket* ticket) {
  return impl_->fetcher_->Plan(keys, ticket);
}

void Store::UseHint(const ElementHint* hint) { impl_->element_hint_ = hint; }

Store::RunMark Store::MarkRun() const {
  const StoreStats& stats = impl_->stats_;
  return {.hits = stats.keyspace_hits,
          .misses = stats.keyspace_misses,
          .hot_hits = stats.hot.hits,
          .expired = stats.expired_keys,
          .records = impl_->log_->appended_lsn() - impl_->expiry_records_};
}

void Store::TakeBack(const RunMark& mark) {
  StoreStats& stats = impl_->stats_;
  stats.keyspace_hits = mark.hits;
  stats.keyspace_misses = mark.misses;
  stats.hot.hits = mark.hot_hits;
  CHECK_MSG(MarkRun().records == mark.records,
            "a run that is to be repeated has changed something");
}

bool Store::pages_missing() const { return !impl_->missing_.empty(); }

PlanResult Store::PlanMissing(std::span<const KeyAccess> keys, Ticket* ticket) {
  auto missing = std::exchange(impl_->missing_, {});
  ticket->pages_wanted_ += missing.size();
  constexpr uint64_t kPageBytesGuess = 4096;
  uint64_t limit = impl_->options_.max_memory_bytes;
  if (limit != 0 && ticket->pages_wanted_ * kPageBytesGuess > limit / 4) {
    ticket->error_ =
        Status(StatusCode::kNoMemory, "the value is larger than one command may have in memory");
    return PlanResult::kReadError;
  }
  std::vector<KeyAccess> all(keys.begin(), keys.end());
  for (const StoreImpl::MissingPage& page : missing) {
    all.push_back({page.db, {page.key.view(), page.hash}, Access::kRead, true});
  }
  const PlanResult result = impl_->fetcher_->Plan(all, ticket);
  if (result != PlanResult::kReady) return result;
  // What is nowhere now will never be there: a damaged value, on which nobody must wait for ever.
  for (const KeyAccess& page : std::span(all).subspan(keys.size())) {
    const Entry* entry = impl_->FindEntry(impl_->KeyspaceFor(page), page.key);
    if (entry != nullptr && entry->kind() == Entry::Kind::kHot) continue;
    ++impl_->stats_.read_errors;
    ticket->error_ = Status::Corruption("a page of it is missing");
    impl_->Log(3, "A page of a value in database " + std::to_string(page.db) + " is missing");
    return PlanResult::kReadError;
  }
  return result;
}

bool Store::MayLookAhead() const { return impl_->fetcher_->MayLookAhead(); }

void Store::Release(Ticket* ticket) { impl_->fetcher_->Release(ticket); }

Store::WriteGate Store::CheckWrite(uint64_t bytes, bool frees_space, Ticket* ticket) {
  return impl_->fetcher_->CheckWrite(bytes, frees_space, ticket);
}

const Status& Store::log_failure() const {
  return impl_->log_->poison().ok() ? impl_->log_->space_status() : impl_->log_->poison();
}

// --- run

Database& Store::database(uint32_t db) { return impl_->databases_[db]; }
uint32_t Store::databases() const { return static_cast<uint32_t>(impl_->databases_.size()); }
int64_t Store::now_ms() const { return impl_->now_ms(); }
int64_t Store::expiry_clock_ms() const { return impl_->expiry_clock_ms(); }
void Store::BeginGroup() { impl_->BeginGroup(); }
void Store::EndGroup() { impl_->EndGroup(); }
Status Store::TakeRunError() {
  if (impl_->run_error_.ok()) [[likely]]
    return {};
  return std::exchange(impl_->run_error_, Status::Ok());
}
void Store::SwapDatabases(uint32_t a, uint32_t b) { impl_->SwapDatabases(a, b); }
void Store::FlushDatabase(uint32_t db) { impl_->FlushDatabase(db); }

// --- reply

uint64_t Store::executed_lsn() const {
  // Since the log has failed, commands can only read: what they answer acknowledges nothing. Those
  // that ran in the iteration in which it failed may have changed something.
  return impl_->iterations_since_failure_ > 1 ? impl_->log_->durable_lsn()
                                              : impl_->log_->appended_lsn();
}
bool Store::MayReply(uint64_t lsn) const { return impl_->MayReply(lsn); }
bool Store::LogFailed() const { return !impl_->log_->poison().ok(); }
void Store::set_on_may_reply(std::function<void()> callback) {
  impl_->on_may_reply_ = std::move(callback);
}
int64_t Store::EndIteration() { return impl_->EndIteration(); }

// --- all tiers

void Store::Scan(uint32_t db, uint64_t cursor, uint64_t count, ScanCallback done) {
  impl_->scanner_->Scan(db, cursor, count, std::move(done));
}
void Store::RandomKey(uint32_t db, std::move_only_function<void(std::optional<std::string>)> done) {
  impl_->scanner_->RandomKey(db, std::move(done));
}
void Store::CountKeys(uint32_t db, std::move_only_function<void(uint64_t)> done) {
  impl_->scanner_->CountKeys(db, std::move(done));
}
uint64_t Store::EstimateKeys(uint32_t db) const { return impl_->KeyspaceOf(db).keys; }
uint64_t Store::EstimateExpiring(uint32_t db) const { return impl_->KeyspaceOf(db).expiring; }

// --- tiers by hand

Tier Store::Where(uint32_t db, const HashedKey& key) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(db), key);
  if (entry == nullptr || entry->kind() == Entry::Kind::kTombstone) return Tier::kNone;
  bool in_log = entry->kind() == Entry::Kind::kStub || entry->Has(Entry::kTransient);
  if (!in_log) return Tier::kHot;
  return impl_->IsWarm(entry->position()) ? Tier::kWarm : Tier::kCold;
}

void Store::Demote(uint32_t db, std::vector<std::string> keys,
                   std::move_only_function<void(int64_t)> done) {
  impl_->demoter_->Start(db, std::move(keys), std::move(done));
}

void Store::DemotePages(uint32_t db, std::string key, PageChoice pages,
                        std::move_only_function<void(int64_t)> done) {
  impl_->demoter_->StartPages(db, std::move(key), pages, std::move(done));
}

bool Store::Promote(uint32_t db, const HashedKey& key) {
  Keyspace& keyspace = impl_->KeyspaceOf(db);
  Entry* entry = impl_->FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return false;
  if (!entry->Has(Entry::kTransient)) return false;
  impl_->EndTransient(entry);
  entry->set_referenced(true);
  ++impl_->stats_.promotions;
  impl_->TellMove(keyspace, key.bytes, TierMove::kPromoted);
  return true;
}

void Store::SyncNow(std::move_only_function<void(Status)> done) { impl_->SyncNow(std::move(done)); }

// --- settings

void Store::SetMaxMemory(uint64_t bytes) {
  const Index::Memory before = IndexMemoryOf(impl_->options_);
  impl_->options_.max_memory_bytes = std::min(bytes, kMostMemoryBytes);
  impl_->log_->set_window_size(WindowBytesOf(impl_->options_));
  const Index::Memory memory = IndexMemoryOf(impl_->options_);
  if (memory == before) return;
  if (!impl_->options_.tiering) return impl_->indexer_->SetMemoryWithBatch(memory);
  auto status = std::make_shared<Status>();
  impl_->RunJob(
      io::WorkPriority::kBackground,
      [status, index = impl_->index_, memory] { *status = index->SetMemory(memory); },
      [status, impl = impl_.get()] {
        if (!status->ok()) impl->Log(3, status->message());
      });
}
void Store::SetMaxDisk(uint64_t bytes) {
  impl_->options_.max_disk_bytes = bytes;
  impl_->log_->set_max_bytes(bytes);
}
void Store::SetSyncPolicy(SyncPolicy policy) { impl_->options_.sync_policy = policy; }
void Store::SetWarmMemory(uint64_t bytes) {
  impl_->options_.warm_memory_bytes = bytes;
  impl_->log_->set_window_size(WindowBytesOf(impl_->options_));
}
void Store::SetIndexMemory(uint64_t bytes) { impl_->options_.index_memory_bytes = bytes; }
void Store::SetCompression(bool on, int level) {
  impl_->options_.compress = on;
  impl_->options_.compression_level = level;
}
void Store::SetCompactionPace(const CompactionPace& pace) {
  impl_->options_.compaction_target_percent = pace.target_percent;
  impl_->options_.compaction_share_percent = pace.share_percent;
}
void Store::SetMinValue(uint64_t bytes) { impl_->options_.min_value_bytes = bytes; }
void Store::SetActiveExpire(bool on) { impl_->active_expire_ = on; }
void Store::HoldExpiry(bool hold) { impl_->expiry_held_ = hold; }
void Store::SetPaused(bool paused) { impl_->paused_ = impl_->keep_expired_ = paused; }
void Store::KeepExpired(bool keep) { impl_->keep_expired_ = keep; }
void Store::SetEviction(EvictionPolicy policy, int lfu_log_factor, int lfu_decay_time) {
  impl_->SetEviction(policy, lfu_log_factor, lfu_decay_time);
}
void Store::SetEvictionSamples(int samples) { impl_->options_.eviction_samples = samples; }
void Store::SetSparedMemory(uint64_t bytes) { impl_->spared_memory_ = bytes; }
void Store::SetTellMoves(bool on) { impl_->tell_moves_ = on; }
void Store::set_listener(StoreListener* listener) { impl_->listener_ = listener; }

bool Store::Compact() { return impl_->compactor_->Rewrite(); }

LogSize Store::SizeOfLog() const {
  return {.bytes = impl_->segments_->total_bytes(),
          .rewrites = impl_->stats_.rewrites,
          .rewriting = impl_->compactor_->rewriting()};
}

// --- statistics

uint64_t Store::UsedMemory() const { return impl_->memory_.Allocated(); }

StoreStats Store::Stats() const {
  const StoreImpl& impl = *impl_;
  StoreStats stats = impl.stats_;
  const auto warm_ranges = impl.log_->WarmRanges();
  for (const Keyspace* keyspace : impl.slots_) {
    stats.hot.keys += keyspace->resident;
    stats.cold.keys += keyspace->cold.size() + keyspace->left;
    for (const auto& [begin, end] : warm_ranges)
      stats.warm.keys += keyspace->cold.CountIn(begin, end);
    stats.unmapped_keys += keyspace->left;
    stats.table_bytes += keyspace->table.MemoryBytes();
    stats.cold_map_bytes += keyspace->cold.MemoryBytes();
  }
  stats.cold.keys -= stats.warm.keys;
  stats.hot.bytes = static_cast<uint64_t>(std::max<int64_t>(0, impl.memory_.entries()));
  stats.warm.bytes = stats.window_bytes = impl.log_->window_bytes();
  const LatencyHistogram& latency = impl.fetcher_->latency();
  stats.fetch_p50_us = latency.Percentile(0.5);
  stats.fetch_p99_us = latency.Percentile(0.99);
  stats.fetch_p999_us = latency.Percentile(0.999);
  for (const auto& [id, segment] : impl.segments_->all()) {
    int64_t live = static_cast<int64_t>(segment->live_bytes);
    stats.log_bytes += segment->file_bytes;
    stats.log_live_bytes += static_cast<uint64_t>(std::max<int64_t>(0, live));
    ++stats.log_segments;
  }
  stats.cold.bytes = stats.log_live_bytes;
  stats.appended_lsn = impl.log_->appended_lsn();
  stats.durable_lsn = impl.log_->durable_lsn();
  stats.indexed_lsn = impl.indexer_->indexed_lsn();
  stats.replay_segment = impl.indexer_->flushed_replay_position().segment_id;
  stats.replay_offset = impl.indexer_->flushed_replay_position().offset;
  stats.replay_bytes = impl.indexer_->ReplayBytesFrom(impl.indexer_->flushed_replay_position());
  stats.cold_map_complete = impl.map_rebuild_->complete();
  stats.rewriting = impl_->compactor_->rewriting();
  stats.wasted_bytes = impl_->memory_.Wasted();
  stats.defragmented_blocks = impl_->defragmenter_->moved();
  stats.used_memory = impl.memory_.Allocated();
  stats.resident_bytes = impl.memory_.resident();
  stats.index_bytes = impl.index_->MemoryBytes();
  stats.unreaped_values = impl.reaper_->waiting();
  stats.hot_set_restored = impl.hot_set_->restored();
  stats.hot_set_left = impl.hot_set_->left();
  stats.archived_segments = impl.archiver_->kept();
  stats.archive_failing = impl.archiver_->failing();
  stats.fetch_bytes = impl.fetch_memory_;
  return stats;
}

}  // namespace firn
