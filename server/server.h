// Server: one process's loop, store, options and clients. It owns everything; nothing of it is
// global. Executor thread only.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/blocking.h"
#include "server/client.h"
#include "server/command.h"
#include "server/dispatcher.h"
#include "server/first_load.h"
#include "server/held_keys.h"
#include "server/keyspace_events.h"
#include "server/latency_histogram.h"
#include "server/latency_monitor.h"
#include "server/logger.h"
#include "server/loop_statistics.h"
#include "server/monitor.h"
#include "server/oom_score.h"
#include "server/options/options.h"
#include "server/pubsub.h"
#include "server/slow_log.h"
#include "server/tracking.h"
#include "server/transaction.h"
#include "tiering/io/net_loop.h"
#include "tiering/store.h"

namespace firn::server {

// Since the start or CONFIG RESETSTAT.
struct ServerStats {
  uint64_t connections_received = 0;
  uint64_t connections_rejected = 0;
  uint64_t commands_processed = 0;
  uint64_t net_input_bytes = 0;
  uint64_t net_output_bytes = 0;
  uint64_t reads = 0;   // from sockets
  uint64_t writes = 0;  // to sockets
  uint64_t protocol_errors = 0;
  uint64_t output_limit_disconnections = 0;
  uint64_t query_limit_disconnections = 0;
  uint64_t error_replies = 0;
  uint64_t changes = 0;  // rdb_changes_since_last_save
  uint64_t peak_clients = 0;
  uint64_t evicted_clients = 0;
  // Per second, over the last 16 samples of 100 ms.
  double ops_per_second = 0;
  double input_kbps = 0;
  double output_kbps = 0;
};

class Acl;
class Scripting;
class TlsSettings;

class Backups;
class Errands;
class IoThreads;
class RdbSaver;
class AofFeed;

enum class PauseKind : uint8_t { kNone, kWrite, kAll };

class Server : public StoreListener {
 public:
  Server(Options* options, Logger* logger);
  ~Server() override;

  // Opens the store and the sockets. On failure everything is closed again; the status is the line
  // to print.
  Status Start();
  // For tools, before Start: these files of Redis are loaded, and not those that lie in dir (which
  // must hold no data). `progress` is called now and then until Start returns.
  struct Import {
    std::vector<std::string> paths;
    std::function<void(const LoadTotals& totals)> progress;
  };
  void SetImport(Import import) { import_ = std::move(import); }
  // Of the load at the start.
  const LoadTotals& load_totals() const { return load_totals_; }
  // Runs until a shutdown. Returns the process's exit code.
  int Run();

  // --- parts
  Options& options() { return options_; }
  io::NetLoop& loop() { return *loop_; }
  // REQUIRES: not loading.
  Store& store() { return *store_; }
  // The first start loads files of Redis: most commands are refused.
  bool first_loading() const { return load_state_.begun_ms != 0 && !serving_; }
  // Its own client runs the commands of append-only files.
  bool IsFeed(const Client& client) const { return client.id() == feed_client_; }
  struct LoadState {
    int64_t begun_ms = 0;  // of the first start's
    uint64_t total_bytes = 0;
    uint64_t loaded_bytes = 0;
    uint64_t keys = 0;     // of the last dump
    uint64_t expired = 0;  // of the last dump: left out
  };
  const LoadState& load_state() const { return load_state_; }
  // Start has failed since a signal or SHUTDOWN said so.
  bool told_to_stop() const { return stopping_ || signal_.load() != 0; }
  // While the store is being closed and opened again, or a dump loaded into it: commands wait.
  bool loading() const { return store_ == nullptr || reloading_; }
  CommandTable& commands() { return commands_; }
  Dispatcher& dispatcher() { return *dispatcher_; }
  WatchTable& watches() { return watches_; }
  HeldKeys& held_keys() { return held_keys_; }
  Blocking& blocking() { return blocking_; }
  ServerStats& stats() { return stats_; }
  SlowLog& slow_log() { return slow_log_; }
  RdbSaver& saver() { return *saver_; }
  Backups& backups() { return *backups_; }
  Errands& errands() { return *errands_; }
  PubSub& pubsub() { return pubsub_; }
  KeyspaceEvents& events() { return events_; }
  // Null if there are none.
  const IoThreads* io_threads() const { return io_threads_.get(); }
  Tracking& tracking() { return tracking_; }
  Monitors& monitors() { return monitors_; }
  LatencyMonitor& latency_monitor() { return latency_monitor_; }
  Acl& acl() { return *acl_; }
  Scripting& scripting() { return *scripting_; }
  Logger& logger() { return logger_; }
  void Log(int severity, std::string_view text) { logger_.Write(severity, text); }

  // The database is about to be emptied, or to be replaced by another one.
  void NoteDatabaseChange(uint32_t db, std::optional<uint32_t> replaced_by = {});

  // --- clients
  Client* FindClient(uint64_t id) const;
  // In the order of their ids.
  const std::map<uint64_t, std::unique_ptr<Client>>& clients() const { return clients_; }
  // A reply was written, or something else is to be done for it at the end of the iteration.
  void NoteActive(Client* client);
  // Its queue may go on; done before the iteration ends, or in the next.
  void NoteReady(uint64_t id);
  // The same of all clients with a queue: what held some of them back is over.
  void NoteWaiting();
  void NoteClosing(Client* client);
  void HoldReplies(Client* client);
  uint64_t blocked_clients() const;
  uint64_t clients_memory() const { return clients_memory_; }

  // Large bytes are given back to the kernel by a worker: that takes it milliseconds.
  void FreeOnWorker(std::string bytes);

  // --- limits
  // The longest request that is taken: a quarter of maxmemory, but 16 KiB at least.
  uint64_t MaxRequestBytes() const;
  // The longest string, and argument: proto-max-bulk-len as far as there can be such strings.
  uint64_t MaxStringBytes() const;
  // Unsent replies of one client beyond which it has to read before it may go on.
  uint64_t OutputShare() const;
  bool MayUseProtected(const Command& command, const Client& client) const;
  std::string ProtectedText(const Command& command) const;
  std::string LogFailureText() const;

  // --- CLIENT PAUSE
  void Pause(PauseKind kind, int64_t until_ms);
  void Unpause();
  PauseKind pause() const { return pause_; }
  // Some commands wait: for its end, or for that of a hold on their keys.
  bool holds_back() const { return pause_ != PauseKind::kNone || held_keys_.any(); }

  // --- statistics
  void ResetStatistics();
  void NoteError(const std::string& text);
  void NoteDuration(const Client& client, const Command& command, uint64_t nanos);
  // A command has run: for those who watch what clients do.
  void NoteRun(Client* client, const Command& command, std::span<const std::string_view> args) {
    events_.EndCommand();
    if (monitors_.any() || tracking_.active()) [[unlikely]]
      TellObservers(client, command, args);
  }
  // Tells the monitors of a command that has run, or begun to.
  void FeedMonitors(const Client& client, const Command& command,
                    std::span<const std::string_view> args);
  // Remembers it for LATENCY if it took latency-monitor-threshold or more.
  void NoteLatency(std::string_view event, int64_t micros);
  // DEBUG SET-SKIP-CHECKSUM-VALIDATION: those of dumps and of what DUMP gives are not looked at.
  void set_skips_checksums(bool skips) { skips_checksums_ = skips; }
  bool skips_checksums() const { return skips_checksums_; }
  const LoopStatistics& loop_statistics() const { return loop_statistics_; }
  // DEBUG PAUSE-CRON: what is done ten times a second for clients and statistics.
  void set_cron_paused(bool paused) { cron_paused_ = paused; }
  // The store's counters as they were at the last ResetStatistics.
  const StoreStats& store_stats_base() const { return store_stats_base_; }
  // How long its calls took; null if it was not called, or latency-tracking is off.
  const LatencyHistogram* latency(const Command& command) const {
    return latencies_[commands_.IndexOf(command)].get();
  }
  const std::map<std::string, uint64_t>& error_counts() const { return error_counts_; }
  const std::string& FullNameOf(const Command& command) const {
    return commands_.FullName(command);
  }
  int64_t start_time_ms() const { return start_time_ms_; }
  const std::string& run_id() const { return run_id_; }
  // `used` memory right after the start, with no data.
  uint64_t startup_memory() const { return startup_memory_; }
  io::FileSystem& files() { return *files_; }

  // --- ending
  struct ShutdownRequest {
    bool now = false;
    bool save = false;    // a last snapshot, even without save rules
    bool nosave = false;  // none
    bool force = false;   // even if it fails
  };
  // `done` tells, often before this returns, whether the server ends now: it goes on if the last
  // snapshot could not be written. REQUIRES: no transaction is under way.
  void RequestShutdown(ShutdownRequest request, std::move_only_function<void(Status)> done);
  // Closes the store and recovers it from its log, at the end of the iteration.
  void ReloadStore(std::move_only_function<void(Status)> done);
  struct DumpReload {
    bool save = true;
    bool flush = true;
    bool merge = false;  // a key of the dump takes the place of one that is there
  };
  // Writes the dump, empties all databases and loads the dump, all at the end of the iteration and
  // blocking. After a failure the databases hold what was loaded until then.
  void ReloadDump(DumpReload request, std::move_only_function<void(Status)> done);
  // --- durability
  // CONFIG SET appendonly yes has begun to make all data durable that was not, and is not done.
  bool becoming_durable() const { return switch_step_ != SwitchStep::kNone; }
  // Calls back when what was executed before is as durable as it will be.
  void WhenDurable(std::move_only_function<void(Status)> done);

  // What a signal has asked for and has not begun. False if there is no such thing.
  bool AbortShutdown();
  // From a signal handler.
  void OnSignal(int signal);

  // --- StoreListener
  void OnExpired(uint32_t db, std::string_view key) override;
  void OnEvicted(uint32_t db, std::string_view key) override;
  void OnLatency(StoreLatency event, int64_t micros) override;
  void OnMoved(uint32_t db, std::string_view key, TierMove move) override;

 private:
  Status OpenStore(const StoreOptions& options);
  // recover-until.
  Status BringLogForward();
  // The first start in a directory with files of Redis.
  Status LoadFirst(FirstLoad* load);
  struct RdbLoad {
    bool replace = false;     // keys that are there; else they are an error
    bool stoppable = true;    // by a signal
    uint64_t* end = nullptr;  // becomes the offset where the dump ends
  };
  Status LoadRdb(const std::string& path, const RdbLoad& load);
  Status LoadAof(const FirstLoad& load);
  void NoteLoadedBytes(uint64_t bytes);
  void BeginFirstLoad(const FirstLoad& load);
  void ServeWhileLoading();
  Status LoadAofFile(const FirstLoad& load, size_t number, AofFeed* feed);
  Status LoadBase(const std::string& path, io::File* file, bool is_only, uint64_t* end);
  Status AtCutEnd(const std::string& where, bool is_last);
  Status Feed(std::string_view requests, AofFeed* feed);
  void RewriteIfGrown();
  Status SyncLoaded();
  Status Listen();
  Status ListenTcp();
  Status LoadTls();
  struct Port {
    int number;
    bool is_encrypted;
  };
  Status ListenOn(const Port& port);
  void OnAcceptEncrypted(io::Socket* socket, int error);
  // Before anybody can connect.
  Status StartSecurity();
  void RegisterSecurityAppliers();
  Status ListenUnix();
  void OnAccept(io::Socket* socket, int error);
  // A connection that was just accepted goes to an I/O thread, if there are any.
  void OnAcceptPlain(io::Socket* socket, int error);
  void OnAccepted(io::Socket* socket);
  void RegisterAppliers();
  Status AdjustOomScore();
  StoreOptions MakeStoreOptions() const;
  SyncPolicy WantedSyncPolicy() const;
  Status ApplyAppendOnly();
  void StepSwitch();
  void EndSwitch(const Status& status);
  void Cron();
  void EndPause();
  void EndIteration(uint64_t log_nanos);
  void SampleRates();
  void HandleSignals();
  void AdjustMaxClients();
  void RunReady();
  void FlushReplies();
  void Account(Client* client);
  void TellObservers(Client* client, const Command& command,
                     std::span<const std::string_view> args);
  // Closes the clients that use most while all together use more than maxmemory-clients.
  void EvictClients();
  void DeleteClosed();
  void DoReload();
  void ReopenStore();
  Status SaveAndLoad(const DumpReload& request);
  void FlushEverything();
  Status Stop();

  Options& options_;
  Logger& logger_;
  CommandTable commands_;
  std::unique_ptr<io::FileSystem> files_;
  std::unique_ptr<io::FileLock> directory_lock_;
  std::unique_ptr<io::NetLoop> loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<IoThreads> io_threads_;  // null without; clients' sockets are theirs
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  bool serving_ = false;  // everything that the start had to do is done
  uint64_t rewritten_log_bytes_ = 0;
  uint64_t seen_rewrites_ = 0;
  Import import_;
  LoadTotals load_totals_;
  LoadState load_state_;
  uint64_t feed_client_ = 0;                // id of the client that runs append-only files
  std::vector<io::Socket*> early_sockets_;  // accepted before the store was open
  std::unique_ptr<TlsSettings> tls_;        // null without certificates
  SlowLog slow_log_;
  std::unique_ptr<RdbSaver> saver_;
  std::unique_ptr<Backups> backups_;
  std::unique_ptr<Errands> errands_;
  ServerStats stats_;
  OomScore oom_score_;
  StoreStats store_stats_base_;
  std::map<std::string, uint64_t> error_counts_;
  std::vector<std::unique_ptr<LatencyHistogram>> latencies_;  // by CommandTable::IndexOf

  LatencyMonitor latency_monitor_;
  LoopStatistics loop_statistics_;

  // Clients take themselves out of these.
  PubSub pubsub_;
  KeyspaceEvents events_{this};
  Tracking tracking_{this};
  Monitors monitors_;
  std::unique_ptr<Acl> acl_;
  std::unique_ptr<Scripting> scripting_;
  WatchTable watches_{this};
  Blocking blocking_{this};
  std::map<uint64_t, std::unique_ptr<Client>> clients_;
  std::unordered_map<uint64_t, Client*> by_id_;
  uint64_t next_client_id_ = 1;
  std::vector<uint64_t> active_;
  std::deque<uint64_t> ready_;
  std::vector<uint64_t> closing_;
  std::vector<uint64_t> held_;  // replies that MayReply holds back
  uint64_t clients_memory_ = 0;

  HeldKeys held_keys_{this};
  PauseKind pause_ = PauseKind::kNone;
  int64_t pause_until_ms_ = 0;
  bool cron_paused_ = false;
  uint64_t iteration_commands_ = 0;  // commands_processed when the iteration began
  std::move_only_function<void(Status)> reload_;
  std::optional<DumpReload> reload_dump_;  // else the store is opened anew
  bool reloading_ = false;
  // Of CONFIG SET appendonly yes where the store was not durable.
  enum class SwitchStep : uint8_t { kNone, kWanted, kPreparing, kPrepared, kRunning };
  SwitchStep switch_step_ = SwitchStep::kNone;
  int64_t switch_retry_micros_ = 0;
  std::vector<std::move_only_function<void(Status)>> durable_waiters_;
  bool stopping_ = false;
  bool skips_checksums_ = false;
  int exit_code_ = 0;
  std::atomic<int> signal_{0};
  int signals_seen_ = 0;

  int64_t start_time_ms_ = 0;
  std::string run_id_;
  uint64_t startup_memory_ = 0;
  struct RateSample {
    int64_t micros = 0;
    uint64_t commands = 0, input = 0, output = 0;
  };
  static constexpr size_t kRateSamples = 16;
  RateSample rates_[kRateSamples];
  size_t next_rate_ = 0;
};

}  // namespace firn::server
