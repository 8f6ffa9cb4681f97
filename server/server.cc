#include "server/server.h"

#include <sys/resource.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "engine/base/check.h"
#include "engine/types/long_string.h"
#include "server/acl/acl.h"
#include "server/backups.h"
#include "server/errands.h"
#include "server/net/io_threads.h"
#include "server/net/tls_settings.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/set_aside.h"
#include "tiering/io/posix_file.h"

namespace firn::server {
namespace {

constexpr int64_t kCronMicros = 100'000;
// What lasts longer goes on after replies have left and new requests have come in.
constexpr int64_t kIterationMicros = 2'000;
// File descriptors that the server itself needs, besides two for each segment.
constexpr uint64_t kReservedDescriptors = 256;
constexpr size_t kMaxErrorKinds = 128;

std::string RandomHex(size_t digits) {
  std::random_device device;
  std::string hex;
  while (hex.size() < digits) hex.push_back("0123456789abcdef"[device() & 15]);
  return hex;
}

int64_t SteadyMicros() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

Server::Server(Options* options, Logger* logger)
    : options_(*options), logger_(*logger), latencies_(commands_.count()) {
  acl_ = std::make_unique<Acl>(this);
}

Server::~Server() = default;

Status Server::Start() {
  run_id_ = RandomHex(40);
  files_ = io::CreatePosixFileSystem();
  io::NetLoopOptions loop_options;
  if (options_->io_backend == IoBackend::kIoUring) loop_options.backend = io::Backend::kUring;
  if (options_->io_backend == IoBackend::kThreads) loop_options.backend = io::Backend::kThreads;
  std::string notice;
  auto loop = io::CreateNetLoop(loop_options, &notice);
  if (!loop) return loop.error();
  loop_ = std::move(*loop);
  if (!notice.empty()) Log(kLogWarning, notice);
  if (options_->io_threads > 1) {
    // The executor is one of them.
    auto threads = IoThreads::Create(loop_.get(), options_->io_threads - 1, loop_options);
    if (!threads) return threads.error();
    io_threads_ = std::move(*threads);
  }
  start_time_ms_ = loop_->WallMillis();
  FIRN_RETURN_IF_ERROR(StartSecurity());
  AdjustMaxClients();
  auto lock = files_->Lock(options_->dir + "/LOCK");
  if (!lock) {
    if (lock.error().code() == StatusCode::kBusy) {
      return Status(StatusCode::kBusy, "Another server uses the directory " + options_->dir);
    }
    return lock.error();
  }
  directory_lock_ = std::move(*lock);
  // The ports first: a second server on them must not replay a log before it says so.
  FIRN_RETURN_IF_ERROR(Listen());
  Log(kLogNotice, "Server initialized");
  if (!options_->recover_until.empty()) FIRN_RETURN_IF_ERROR(BringLogForward());
  bool set_aside = false;
  FIRN_RETURN_IF_ERROR(SetAside(files_.get(), options_->dir, options_->appendonly, &set_aside));
  if (set_aside) {
    Log(kLogNotice,
        "Durable data that appendonly no leaves behind is in " + options_->dir + "/" + kAsideName);
  }
  FirstLoad load(files_.get(), {.directory = options_->dir,
                                .rdb_name = options_->dbfilename,
                                .aof_folder = options_->appenddirname,
                                .aof_name = options_->appendonly ? options_->appendfilename : "",
                                .import_paths = import_.paths});
  FIRN_RETURN_IF_ERROR(load.Prepare());
  FIRN_RETURN_IF_ERROR(OpenStore(MakeStoreOptions()));
  dispatcher_ = std::make_unique<Dispatcher>(this);
  scripting_ = std::make_unique<Scripting>(this);
  FIRN_RETURN_IF_ERROR(scripting_->LoadFunctions());
  saver_ = std::make_unique<RdbSaver>(this);
  backups_ = std::make_unique<Backups>(this);
  errands_ = std::make_unique<Errands>(loop_.get());
  RegisterAppliers();
  FIRN_RETURN_IF_ERROR(LoadFirst(&load));
  // Its work is done: a start that is like this one must not try again.
  if (!options_->recover_until.empty()) options_.SetInForce("recover-until", "");
  startup_memory_ = store_->UsedMemory();
  if (Status status = AdjustOomScore(); !status.ok()) Log(kLogWarning, status.message());
  Cron();
  serving_ = true;
  for (io::Socket* socket : std::exchange(early_sockets_, {})) OnAccept(socket, 0);
  if (options_->port != 0) Log(kLogNotice, "Ready to accept connections tcp");
  if (options_->tls_port != 0) Log(kLogNotice, "Ready to accept connections tls");
  if (!options_->unixsocket.empty()) Log(kLogNotice, "Ready to accept connections unix");
  return Status::Ok();
}

Status Server::OpenStore(const StoreOptions& options) {
  StoreEnvironment environment{
      .file_system = files_.get(),
      .loop = loop_.get(),
      .log = [this](int severity, const std::string& line) { Log(severity, line); }};
  auto store = Store::Open(options, environment);
  if (!store) return store.error();
  store_ = std::move(*store);
  store_->set_listener(this);
  store_->SetTellMoves((options_->notify_keyspace_events & kEventTier) != 0);
  store_->SetPaused(pause_ != PauseKind::kNone);
  store_->set_on_may_reply([this] {
    for (uint64_t id : std::exchange(held_, {})) active_.push_back(id);
  });
  return Status::Ok();
}

Client* Server::FindClient(uint64_t id) const {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

void Server::NoteActive(Client* client) {
  if (client->noted_active()) return;
  client->set_noted_active(true);
  active_.push_back(client->id());
}
void Server::NoteReady(uint64_t id) { ready_.push_back(id); }
void Server::NoteWaiting() {
  for (const auto& [id, client] : clients_) {
    if (client->waiting()) NoteReady(id);
  }
}
void Server::NoteClosing(Client* client) { closing_.push_back(client->id()); }
void Server::HoldReplies(Client* client) { held_.push_back(client->id()); }

// --- the loop

int Server::Run() {
  int64_t wait = 0;
  // A transaction is not left half done.
  while (!stopping_ || (dispatcher_->in_transaction() && !scripting_->runner().busy())) {
    dispatcher_->RestartClock();
    // The timer of the cron is nearer than any longer wait.
    if (wait >= kCronMicros) wait = -1;
    const bool serves = blocking_.has_ready() && !dispatcher_->in_transaction();
    loop_->RunOnce(ready_.empty() && !serves ? wait : 0);
    HandleSignals();
    RunReady();
    const uint64_t log_began = dispatcher_->Ticks();
    wait = store_->EndIteration();
    const uint64_t log_nanos = dispatcher_->NanosSince(log_began);
    tracking_.Broadcast();
    FlushReplies();
    if (options_->maxmemory_clients != 0) EvictClients();
    DeleteClosed();
    if (reload_ && !dispatcher_->in_transaction() && !becoming_durable()) DoReload();
    if (io_threads_ != nullptr) io_threads_->Flush();
    EndIteration(log_nanos);
  }
  Status status = Stop();
  if (!status.ok()) {
    Log(kLogWarning, "Closing the store failed: " + status.message());
    return 1;
  }
  Log(kLogWarning, "Firn is now ready to exit, bye bye...");
  return exit_code_;
}

void Server::EndIteration(uint64_t log_nanos) {
  const int64_t duration = SteadyMicros() - loop_->NowMicros();
  loop_statistics_.Add({.duration_us = static_cast<uint64_t>(std::max<int64_t>(duration, 0)),
                        .log_us = log_nanos / 1000,
                        .commands = stats_.commands_processed - iteration_commands_});
  iteration_commands_ = stats_.commands_processed;
}

void Server::RunReady() {
  // Who waited for a key in front of others may have gone.
  dispatcher_->ServeBlocked();
  // Those that become ready meanwhile have their turn in the next iteration, and so have the last
  // ones when all of them would take too long: new commands must not wait for that.
  const int64_t until = SteadyMicros() + kIterationMicros;
  for (size_t left = ready_.size(); left > 0; --left) {
    const uint64_t id = ready_.front();
    ready_.pop_front();
    dispatcher_->RestartClock();
    if (Client* client = FindClient(id)) client->Pump();
    if (SteadyMicros() > until) return;
  }
}

void Server::FlushReplies() {
  for (uint64_t id : std::exchange(active_, {})) {
    Client* client = FindClient(id);
    if (client == nullptr || client->closing()) continue;
    client->set_noted_active(false);
    client->NoteReplies();
    client->TrySend();
    Account(client);
  }
  // At once, not by the timer: the next sample of memory would evict for it.
  if (!loading()) store_->SetSparedMemory(tracking_.spared_bytes());
  if (store_->LogFailed()) {
    for (uint64_t id : std::exchange(held_, {})) {
      if (Client* client = FindClient(id)) client->TrySend();
    }
  }
}

void Server::DeleteClosed() {
  for (uint64_t id : std::exchange(closing_, {})) {
    if (const Client* client = FindClient(id)) clients_memory_ -= client->accounted_bytes();
    by_id_.erase(id);
    clients_.erase(id);
  }
}

void Server::Cron() {
  const uint64_t began = dispatcher_->Ticks();
  int64_t now = loop_->NowMicros();
  for (const auto& [id, client] : clients_) {
    if (cron_paused_) break;
    client->CheckLimits(now);
    Account(client.get());
  }
  EndPause();
  // Also if nobody runs commands: the limit may have been lowered by the last one.
  if (tracking_.active()) tracking_.LimitKeys();
  SampleRates();
  loop_statistics_.Sample(now);
  if (!dispatcher_->in_transaction() && !loading()) saver_->Step();
  StepSwitch();
  RewriteIfGrown();
  dispatcher_->CalibrateClock();
  // everysec holds replies back only while a sync is late: look again.
  for (uint64_t id : std::exchange(held_, {})) active_.push_back(id);
  loop_->AddTimer(kCronMicros, [this] { Cron(); });
  loop_statistics_.AddCron(dispatcher_->NanosSince(began) / 1000);
}

void Server::SampleRates() {
  RateSample now{loop_->NowMicros(), stats_.commands_processed, stats_.net_input_bytes,
                 stats_.net_output_bytes};
  RateSample& oldest = rates_[next_rate_];
  if (oldest.micros != 0 && now.micros > oldest.micros && now.commands >= oldest.commands) {
    double seconds = static_cast<double>(now.micros - oldest.micros) / 1e6;
    stats_.ops_per_second = static_cast<double>(now.commands - oldest.commands) / seconds;
    stats_.input_kbps = static_cast<double>(now.input - oldest.input) / 1024 / seconds;
    stats_.output_kbps = static_cast<double>(now.output - oldest.output) / 1024 / seconds;
  }
  oldest = now;
  next_rate_ = (next_rate_ + 1) % kRateSamples;
}

// --- limits

void Server::AdjustMaxClients() {
  rlimit limit;
  uint64_t wanted = options_->maxclients + kReservedDescriptors;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (limit.rlim_cur >= wanted) return;
  rlimit raised = limit;
  raised.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  if (limit.rlim_max < wanted) {
    // As root the hard limit can be raised, too.
    rlimit both{wanted, wanted};
    if (setrlimit(RLIMIT_NOFILE, &both) == 0) return;
  }
  setrlimit(RLIMIT_NOFILE, &raised);
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  // Of few, half is for clients.
  uint64_t possible = limit.rlim_cur - std::min<uint64_t>(kReservedDescriptors, limit.rlim_cur / 2);
  Log(kLogWarning, "You requested maxclients of " + std::to_string(options_->maxclients) +
                       " requiring at least " + std::to_string(wanted) +
                       " max file descriptors. Current maximum open files is " +
                       std::to_string(limit.rlim_cur) + ". maxclients has been reduced to " +
                       std::to_string(possible) + " to compensate for low ulimit.");
  options_.SetInForce("maxclients", std::to_string(possible));
}

void Server::FreeOnWorker(std::string bytes) {
  constexpr size_t kLargeBytes = 2 << 20;
  if (bytes.capacity() < kLargeBytes) return;
  loop_->RunOnWorker(io::WorkPriority::kBackground,
                     [bytes = std::move(bytes)]() mutable { std::string().swap(bytes); }, {});
}

uint64_t Server::MaxStringBytes() const {
  return std::min(static_cast<uint64_t>(options_->proto_max_bulk_len), kMaxStringBytes);
}

uint64_t Server::MaxRequestBytes() const {
  // CONFIG SET must be able to raise whatever limit it was given.
  constexpr uint64_t kLeast = 16 * 1024;
  return options_->maxmemory == 0 ? UINT64_MAX : std::max(kLeast, options_->maxmemory / 4);
}

uint64_t Server::OutputShare() const {
  constexpr uint64_t kUnlimitedShare = 64 << 20;
  return options_->maxmemory == 0 ? kUnlimitedShare : options_->maxmemory / 64;
}

std::string Server::LogFailureText() const {
  const Status& failure = store_->log_failure();
  if (failure.error_number() != 0) return std::strerror(failure.error_number());
  if (failure.code() == StatusCode::kNoSpace) return std::strerror(ENOSPC);
  return failure.message();
}

void Server::NoteDatabaseChange(uint32_t db, std::optional<uint32_t> replaced_by) {
  watches_.TouchDatabase(db, replaced_by);
  held_keys_.TouchDatabase(db);
}

// --- pause

void Server::Pause(PauseKind kind, int64_t until_ms) {
  // A pause is only ever made longer and stricter.
  if (kind > pause_) pause_ = kind;
  pause_until_ms_ = std::max(pause_until_ms_, until_ms);
  store_->SetPaused(true);
  // The cron looks, too; the timer is there to be exact.
  constexpr int64_t kExactMillis = 3'600'000;
  const int64_t millis = pause_until_ms_ - loop_->WallMillis();
  if (millis > kExactMillis) return;
  loop_->AddTimer(std::max<int64_t>(millis, 0) * 1000, [this] { EndPause(); });
}

void Server::EndPause() {
  if (pause_ != PauseKind::kNone && loop_->WallMillis() >= pause_until_ms_) Unpause();
}

void Server::Unpause() {
  pause_ = PauseKind::kNone;
  pause_until_ms_ = 0;
  if (!loading()) store_->SetPaused(false);
  NoteWaiting();
}

// --- statistics

void Server::ResetStatistics() {
  uint64_t changes = stats_.changes;
  stats_ = {};
  stats_.changes = changes;
  error_counts_.clear();
  loop_statistics_.Reset();
  if (io_threads_ != nullptr) io_threads_->ResetCounters();
  iteration_commands_ = 0;
  store_stats_base_ = store_->Stats();
  for (auto& latency : latencies_) latency.reset();
  dispatcher_->ResetStatistics();
  acl_->log().ResetCounters();
}

void Server::NoteError(const std::string& text) {
  ++stats_.error_replies;
  std::string kind = text.substr(0, text.find(' '));
  // Error codes come from clients' scripts later: their number is bounded.
  if (error_counts_.size() >= kMaxErrorKinds && !error_counts_.contains(kind)) return;
  ++error_counts_[kind];
}

void Server::NoteDuration(const Client& client, const Command& command, uint64_t nanos) {
  if (options_->latency_tracking) {
    std::unique_ptr<LatencyHistogram>& latency = latencies_[commands_.IndexOf(command)];
    if (latency == nullptr) latency = std::make_unique<LatencyHistogram>();
    latency->Add(nanos);
  }
  int64_t threshold = options_->slowlog_log_slower_than_us;
  int64_t micros = static_cast<int64_t>(nanos / 1000);
  NoteLatency((command.flags & kFast) != 0 ? "fast-command" : "command", micros);
  if (threshold < 0 || micros < threshold || (command.flags & kSkipSlowlog) != 0) return;
  const std::vector<std::string_view> arguments =
      RedactedArguments(&command, dispatcher_->current_args());
  slow_log_.Add({.arguments = arguments,
                 .time_seconds = loop_->WallMillis() / 1000,
                 .duration_us = micros,
                 .peer = client.address().peer,
                 .client_name = client.name()},
                static_cast<size_t>(options_->slowlog_max_len));
}

void Server::NoteLatency(std::string_view event, int64_t micros) {
  const int64_t threshold = options_->latency_monitor_threshold_ms;
  if (threshold == 0 || micros < threshold * 1000) return;
  latency_monitor_.Add(event, {.time_seconds = loop_->WallMillis() / 1000,
                               .millis = static_cast<uint64_t>(micros) / 1000});
}

void Server::TellObservers(Client* client, const Command& command,
                           std::span<const std::string_view> args) {
  if (monitors_.any() && !dispatcher_->current_is_monitored()) {
    FeedMonitors(*client, command, args);
  }
  TrackingState* state = client->tracking().get();
  if (state != nullptr) {
    tracking_.RememberKeys(client, command, args);
    if (!client->transaction().open && !FullNameOf(command).starts_with("client|")) {
      state->caching = false;
    }
  }
  if (tracking_.active()) tracking_.LimitKeys();
}

void Server::FeedMonitors(const Client& client, const Command& command,
                          std::span<const std::string_view> args) {
  timeval now = {};
  gettimeofday(&now, nullptr);
  const std::string source =
      client.address().is_unix ? "unix:" + options_->unixsocket : client.address().peer;
  monitors_.Feed({.command = &command,
                  .args = args,
                  .db = client.db(),
                  .time_micros = static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_usec,
                  .source = source});
}

void Server::EvictClients() {
  const uint64_t limit = options_->MaxmemoryClientsBytes();
  if (limit == 0) return;
  while (clients_memory_ > limit) {
    Client* largest = nullptr;
    for (const auto& [id, client] : clients_) {
      if (client->closing() || client->no_evict() || client->transaction().running) continue;
      if (largest == nullptr || client->accounted_bytes() > largest->accounted_bytes()) {
        largest = client.get();
      }
    }
    if (largest == nullptr) return;
    Log(kLogNotice, "Evicting client: " + largest->Describe());
    ++stats_.evicted_clients;
    largest->CloseSoon();
    DeleteClosed();
  }
}

void Server::OnExpired(uint32_t db, std::string_view key) {
  ++stats_.changes;
  watches_.Touch(db, key);
  events_.Notify(db, kEventExpired, "expired", key);
  if (tracking_.active()) tracking_.Invalidate(key, nullptr);
}
void Server::OnEvicted(uint32_t db, std::string_view key) {
  ++stats_.changes;
  watches_.Touch(db, key);
  events_.Notify(db, kEventEvicted, "evicted", key);
  if (tracking_.active()) tracking_.Invalidate(key, nullptr);
}

void Server::OnMoved(uint32_t db, std::string_view key, TierMove move) {
  events_.Notify(db, kEventTier, move == TierMove::kDemoted ? "demoted" : "promoted", key);
}

void Server::OnLatency(StoreLatency event, int64_t micros) {
  switch (event) {
    case StoreLatency::kFetch:
      return NoteLatency("fetch", micros);
    case StoreLatency::kDemotionWait:
      return NoteLatency("demotion-wait", micros);
    case StoreLatency::kLogSync:
      return NoteLatency("log-sync", micros);
    case StoreLatency::kCompaction:
      return NoteLatency("compaction", micros);
    case StoreLatency::kExpireCycle:
      return NoteLatency("expire-cycle", micros);
    case StoreLatency::kEvictionCycle:
      return NoteLatency("eviction-cycle", micros);
  }
}

}  // namespace firn::server
