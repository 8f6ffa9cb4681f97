// Server's settings that change at run time, signals, reload and the end.

#include <csignal>
#include <cstdlib>

#include "server/backups.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/server.h"
#include "server/supervisor.h"

namespace firn::server {
namespace {

EvictionPolicy EvictionOf(MaxmemoryPolicy policy) {
  switch (policy) {
    case MaxmemoryPolicy::kVolatileLru:
      return EvictionPolicy::kVolatileLru;
    case MaxmemoryPolicy::kVolatileLfu:
      return EvictionPolicy::kVolatileLfu;
    case MaxmemoryPolicy::kVolatileRandom:
      return EvictionPolicy::kVolatileRandom;
    case MaxmemoryPolicy::kVolatileTtl:
      return EvictionPolicy::kVolatileTtl;
    case MaxmemoryPolicy::kAllkeysLru:
      return EvictionPolicy::kAllKeysLru;
    case MaxmemoryPolicy::kAllkeysLfu:
      return EvictionPolicy::kAllKeysLfu;
    case MaxmemoryPolicy::kAllkeysRandom:
      return EvictionPolicy::kAllKeysRandom;
    case MaxmemoryPolicy::kNoEviction:
      break;
  }
  return EvictionPolicy::kNone;
}

SyncPolicy SyncPolicyOf(AppendFsync fsync) {
  if (fsync == AppendFsync::kAlways) return SyncPolicy::kAlways;
  return fsync == AppendFsync::kNo ? SyncPolicy::kNo : SyncPolicy::kEverySecond;
}

}  // namespace

SyncPolicy Server::WantedSyncPolicy() const {
  return options_->appendonly ? SyncPolicyOf(options_->appendfsync) : SyncPolicy::kNo;
}

StoreOptions Server::MakeStoreOptions() const {
  StoreOptions store;
  store.directory = options_->dir;
  store.durable = options_->appendonly || (store_ != nullptr && store_->durable());
  store.tiering = options_->tiering;
  store.sync_policy = WantedSyncPolicy();
  store.max_memory_bytes = options_->maxmemory;
  store.max_disk_bytes = options_->maxdisk;
  store.segment_size_bytes = options_->log_segment_size;
  store.warm_memory_bytes = options_->tier_warm_memory;
  store.index_memory_bytes = options_->tier_index_memory;
  store.compress = options_->tier_compression == TierCompression::kZstd;
  store.compression_level = options_->tier_compression_level;
  store.compaction_target_percent = options_->log_compaction_target;
  store.compaction_share_percent = options_->log_compaction_share;
  store.min_value_bytes = options_->tier_min_value;
  store.databases = static_cast<uint32_t>(options_->databases);
  // While the log is brought back to an earlier moment, it is only read.
  if (options_->recover_until.empty()) store.archive_directory = options_->log_archive_dir;
  store.keep_hot_set = options_->tier_restore_hot_set;
  store.eviction = EvictionOf(options_->maxmemory_policy);
  store.eviction_samples = options_->maxmemory_samples;
  store.lfu_log_factor = options_->lfu_log_factor;
  store.lfu_decay_time = options_->lfu_decay_time;
  return store;
}

void Server::RegisterAppliers() {
  auto on = [this](std::initializer_list<std::string_view> names, auto apply) {
    options_.OnChange(names, [apply] {
      apply();
      return Status::Ok();
    });
  };
  on({"maxmemory"}, [this] { store_->SetMaxMemory(options_->maxmemory); });
  on({"maxdisk"}, [this] { store_->SetMaxDisk(options_->maxdisk); });
  on({"appendfsync"}, [this] { store_->SetSyncPolicy(WantedSyncPolicy()); });
  options_.OnChange({"appendonly"}, [this] { return ApplyAppendOnly(); });
  on({"tier-warm-memory"}, [this] { store_->SetWarmMemory(options_->tier_warm_memory); });
  on({"tier-index-memory"}, [this] { store_->SetIndexMemory(options_->tier_index_memory); });
  on({"tier-min-value"}, [this] { store_->SetMinValue(options_->tier_min_value); });
  on({"tier-compression", "tier-compression-level"}, [this] {
    store_->SetCompression(options_->tier_compression == TierCompression::kZstd,
                           options_->tier_compression_level);
  });
  on({"log-compaction-target", "log-compaction-share"}, [this] {
    store_->SetCompactionPace({.target_percent = options_->log_compaction_target,
                               .share_percent = options_->log_compaction_share});
  });
  on({"maxmemory-policy", "lfu-log-factor", "lfu-decay-time"}, [this] {
    store_->SetEviction(EvictionOf(options_->maxmemory_policy), options_->lfu_log_factor,
                        options_->lfu_decay_time);
  });
  on({"maxmemory-samples"}, [this] { store_->SetEvictionSamples(options_->maxmemory_samples); });
  on({"loglevel", "logfile"},
     [this] { logger_.Configure(options_->logfile, static_cast<int>(options_->loglevel)); });
  on({"notify-keyspace-events"},
     [this] { store_->SetTellMoves((options_->notify_keyspace_events & kEventTier) != 0); });
  RegisterSecurityAppliers();
  options_.OnChange({"oom-score-adj", "oom-score-adj-values"}, [this] { return AdjustOomScore(); });
  options_.OnChange({"maxclients"}, [this] {
    uint32_t wanted = options_->maxclients;
    AdjustMaxClients();
    if (options_->maxclients == wanted) return Status::Ok();
    return Status::Invalid(
        "The operating system is not able to handle the specified number of clients, try with " +
        std::to_string(options_->maxclients));
  });
  auto listen_anew = [this](const char* refusal) {
    listeners_.clear();
    const Status status = Listen();
    if (status.ok()) return status;
    Log(kLogWarning, status.message());
    return Status::Invalid(refusal);
  };
  options_.OnChange(
      {"bind"}, [listen_anew] { return listen_anew("Failed to bind to specified addresses."); });
  options_.OnChange({"port", "tls-port", "unixsocket", "unixsocketperm"}, [listen_anew] {
    return listen_anew("Unable to listen on this port. Check server logs.");
  });
}

Status Server::AdjustOomScore() {
  return oom_score_.Apply(static_cast<OomScore::Mode>(options_->oom_score_adj),
                          options_->oom_score_adjustment);
}

// --- signals and the end

void Server::OnSignal(int signal) {
  signal_.store(signal);
  if (loop_ != nullptr) loop_->Wake();
}

void Server::HandleSignals() {
  // A last snapshot would show half of a transaction.
  if (dispatcher_->in_transaction() || cron_paused_) return;
  int signal = signal_.exchange(0);
  if (signal == 0) return;
  ++signals_seen_;
  Log(kLogWarning, std::string("Received ") + (signal == SIGINT ? "SIGINT" : "SIGTERM") +
                       " scheduling shutdown...");
  uint32_t flags = signal == SIGINT ? options_->shutdown_on_sigint : options_->shutdown_on_sigterm;
  RequestShutdown({.now = (flags & kShutdownNow) != 0,
                   .save = (flags & kShutdownSave) != 0,
                   .nosave = (flags & kShutdownNosave) != 0,
                   .force = (flags & kShutdownForce) != 0},
                  [this](Status status) {
                    if (status.ok()) return;
                    Log(kLogWarning,
                        "The signal asked for a shutdown, which failed: " + status.message());
                  });
}

bool Server::AbortShutdown() {
  if (signal_.exchange(0) == 0) return false;
  Log(kLogNotice, "Shutdown manually aborted.");
  return true;
}

void Server::RequestShutdown(ShutdownRequest request, std::move_only_function<void(Status)> done) {
  if (first_loading()) {
    stopping_ = true;
    return done(Status::Ok());
  }
  const bool underway = switch_step_ != SwitchStep::kNone && switch_step_ != SwitchStep::kWanted;
  if (underway && options_->appendonly) {
    // A script that doesn't end keeps that from ever being done.
    const bool exits = request.force || (request.nosave && scripting_->runner().busy());
    Log(kLogWarning, exits ? "Not all data is durable yet. Exiting all the same."
                           : "Writing initial AOF, can't exit.");
    if (!exits) return done(Status(StatusCode::kBusy, "not all data is durable yet"));
  }
  saver_->Abandon();
  if (!request.save && (options_->save.empty() || request.nosave)) {
    stopping_ = true;
    return done(Status::Ok());
  }
  Log(kLogNotice, "Saving the final RDB snapshot before exiting.");
  saver_->Save([this, force = request.force, done = std::move(done)](Status status) mutable {
    if (!status.ok() && !force) {
      Log(kLogWarning, "Error trying to save the DB, can't exit.");
      return done(status);
    }
    stopping_ = true;
    done(Status::Ok());
  });
}

Status Server::Stop() {
  Log(kLogWarning, "User requested shutdown...");
  (void)TellSupervisor(options_->supervised, SupervisedState::kStopping);
  saver_->Stop();
  backups_->Abandon();
  listeners_.clear();
  active_.clear();
  ready_.clear();
  held_.clear();
  clients_.clear();
  by_id_.clear();
  if (scripting_->runner().running()) {
    // It was asked for although a script has not ended, whose group is dropped with the store.
    scripting_->Abandon();
    store_.reset();
    return Status::Ok();
  }
  Log(kLogNotice, "Closing the store");
  Status status = store_->Close();
  store_.reset();
  return status;
}

void Server::ReloadStore(std::move_only_function<void(Status)> done) {
  reload_ = std::move(done);
  reload_dump_.reset();
}

void Server::ReloadDump(DumpReload request, std::move_only_function<void(Status)> done) {
  reload_ = std::move(done);
  reload_dump_ = request;
}

void Server::DoReload() {
  auto done = std::exchange(reload_, {});
  Status status;
  if (auto request = std::exchange(reload_dump_, {})) {
    reloading_ = true;
    status = SaveAndLoad(*request);
    reloading_ = false;
    // Whoever waits for a key looks again.
    for (uint32_t db = 0; db < store_->databases(); ++db) blocking_.SignalDatabase(db);
    Log(status.ok() ? kLogNotice : kLogWarning,
        status.ok() ? "DB reloaded by DEBUG RELOAD" : "DEBUG RELOAD failed: " + status.message());
  } else {
    ReopenStore();
  }
  done(status);
  // What they sent meanwhile was only kept.
  for (const auto& [id, client] : clients_) {
    NoteReady(id);
    NoteActive(client.get());
  }
}

void Server::ReopenStore() {
  for (const auto& [id, client] : clients_) client->ReleaseTickets();
  // They keep the index open.
  saver_->Stop();
  backups_->Abandon();
  const StoreOptions options = MakeStoreOptions();
  Status status = store_->Close();
  // The old one holds the locks of its files until it is gone.
  store_.reset();
  if (status.ok()) status = OpenStore(options);
  if (status.ok()) status = store_->LetDataBeLeft(!options_->appendonly);
  if (!status.ok()) {
    // Without a store there is nothing to go on with. What was acknowledged is in the log.
    Log(kLogWarning, "Reloading the store failed: " + status.message());
    std::_Exit(1);
  }
  store_stats_base_ = {};
}

uint64_t Server::blocked_clients() const {
  return static_cast<uint64_t>(std::count_if(
      clients_.begin(), clients_.end(), [](const auto& item) { return item.second->waiting(); }));
}

void Server::Account(Client* client) {
  client->Account(&clients_memory_);
  if (client->tracking() != nullptr) tracking_.Account(client);
}

}  // namespace firn::server
