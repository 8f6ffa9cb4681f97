#include "server/commands/info_text.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "server/commands/common.h"
#include "server/options/version.h"

namespace firn::server {
namespace {

using Snapshot = InfoSnapshot;

// Appends lines to a section.
class Lines {
 public:
  explicit Lines(std::string* out) : out_(out) {}
  void Section(std::string_view title) {
    if (!out_->empty()) out_->append("\r\n");
    out_->append("# ").append(title).append("\r\n");
  }
  void Text(std::string_view name, std::string_view value) {
    out_->append(name).append(":").append(value).append("\r\n");
  }
  void Number(std::string_view name, uint64_t value) { Text(name, std::to_string(value)); }
  void Signed(std::string_view name, int64_t value) { Text(name, std::to_string(value)); }
  void Fixed(std::string_view name, double value, int digits = 2) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    Text(name, text);
  }
  void Percent(std::string_view name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.2f%%", value);
    Text(name, text);
  }
  // The number, and the same for people.
  void Bytes(std::string_view name, uint64_t bytes) {
    Number(name, bytes);
    Human(name, bytes);
  }
  void Human(std::string_view name, uint64_t bytes) {
    constexpr std::array<const char*, 6> kUnits = {"B", "K", "M", "G", "T", "P"};
    double value = static_cast<double>(bytes);
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
    char text[64];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f%s" : "%.2f%s", value, kUnits[unit]);
    Text(std::string(name) + "_human", text);
  }
  // Lines of what there is no counterpart of here.
  void Zeros(std::initializer_list<std::string_view> names) {
    for (std::string_view name : names) Number(name, 0);
  }

 private:
  std::string* out_;
};

// Names come from clients: keeps them from looking like lines or fields of their own.
std::string Safe(std::string name) {
  for (char& c : name) {
    if (c == '#' || c == ':' || c == '\n' || c == '\r') c = '_';
  }
  return name;
}

void ServerSection(Lines& out, const Snapshot& s, const Options& options) {
  utsname system = {};
  uname(&system);
  out.Section("Server");
  out.Text("redis_version", kRedisVersion);
  out.Text("redis_git_sha1", "00000000");
  out.Text("redis_git_dirty", "0");
  out.Text("redis_build_id", "0");
  out.Text("redis_mode", "standalone");
  out.Text("server_name", "firn");
  out.Text("firn_version", kFirnVersion);
  out.Text("os", std::string(system.sysname) + " " + system.release + " " + system.machine);
  out.Text("arch_bits", "64");
  out.Text("monotonic_clock", "POSIX clock_gettime");
  out.Text("multiplexing_api", s.process.backend);
  out.Text("atomicvar_api", "c11-builtin");
  out.Text("gcc_version", __VERSION__);
  out.Signed("process_id", getpid());
  out.Text("process_supervised", options->supervised == Supervision::kNo ? "no" : "systemd");
  out.Text("run_id", s.process.run_id);
  out.Signed("tcp_port", options->port);
  out.Signed("server_time_usec", s.process.now_us);
  out.Signed("uptime_in_seconds", s.process.uptime_seconds);
  out.Signed("uptime_in_days", s.process.uptime_seconds / (24 * 3600));
  out.Signed("hz", options->hz);
  out.Signed("configured_hz", options->hz);
  out.Number("lru_clock", s.process.lru_clock);
  out.Text("executable", s.process.executable);
  out.Text("config_file", options.config_file());
  out.Number("io_threads_active", options->io_threads > 1 ? 1 : 0);
  int listener = 0;
  if (options->port != 0) {
    std::string text = "name=tcp";
    for (const std::string& address : options->bind) text += ",bind=" + address;
    text += ",port=" + std::to_string(options->port);
    out.Text("listener" + std::to_string(listener++), text);
  }
  if (options->tls_port != 0) {
    std::string text = "name=tls";
    for (const std::string& address : options->bind) text += ",bind=" + address;
    text += ",port=" + std::to_string(options->tls_port);
    out.Text("listener" + std::to_string(listener++), text);
  }
  if (!options->unixsocket.empty()) {
    out.Text("listener" + std::to_string(listener++), "name=unix,bind=" + options->unixsocket);
  }
}

void ClientsSection(Lines& out, const Snapshot& s, const Options& options) {
  out.Section("Clients");
  out.Number("connected_clients", s.clients.connected);
  out.Number("cluster_connections", 0);
  out.Number("maxclients", options->maxclients);
  out.Number("client_recent_max_input_buffer", s.clients.max_input_buffer);
  out.Number("client_recent_max_output_buffer", s.clients.max_output_buffer);
  out.Number("blocked_clients", s.clients.blocked);
  out.Number("tracking_clients", s.clients.tracking);
  out.Number("pubsub_clients", s.clients.pubsub);
  out.Number("clients_in_timeout_table", s.clients.waits.with_timeout);
  out.Number("total_blocking_keys", s.clients.waits.keys);
  out.Number("total_blocking_keys_on_nokey", s.clients.waits.keys_awake_on_nokey);
}

void AllocatorLines(Lines& out, const MemoryReport& m) {
  out.Fixed("allocator_frag_ratio", m.fragmentation_ratio());
  out.Number("allocator_frag_bytes", m.fragmentation_bytes());
  out.Fixed("allocator_rss_ratio", m.allocator_rss_ratio());
  out.Number("allocator_rss_bytes", m.allocator_rss_bytes());
  out.Fixed("rss_overhead_ratio", m.rss_overhead_ratio());
  out.Number("rss_overhead_bytes", m.rss_overhead_bytes());
  out.Fixed("mem_fragmentation_ratio", m.total_ratio());
  out.Number("mem_fragmentation_bytes", m.total_bytes());
}

void MemorySection(Lines& out, const Snapshot& s, const Options& options) {
  const MemoryReport& m = s.memory;
  out.Section("Memory");
  out.Bytes("used_memory", m.used);
  out.Bytes("used_memory_rss", m.resident);
  out.Bytes("used_memory_peak", m.peak);
  out.Percent("used_memory_peak_perc", m.peak_percent);
  out.Number("used_memory_overhead", m.overhead);
  out.Number("used_memory_startup", m.startup);
  out.Number("used_memory_dataset", m.dataset);
  out.Percent("used_memory_dataset_perc", m.dataset_percent);
  out.Number("allocator_allocated", m.allocator_allocated);
  out.Number("allocator_active", m.allocator_active);
  out.Number("allocator_resident", m.allocator_resident);
  out.Bytes("total_system_memory", m.system);
  const InfoSnapshot::Scripts& scripts = s.scripts;
  out.Number("used_memory_lua", scripts.vm_bytes);
  out.Number("used_memory_vm_eval", scripts.vm_bytes);
  out.Human("used_memory_lua", scripts.vm_bytes);
  out.Number("used_memory_scripts_eval", scripts.cached_bytes);
  out.Number("number_of_cached_scripts", scripts.cached);
  out.Number("number_of_functions", scripts.functions);
  out.Number("number_of_libraries", scripts.libraries);
  out.Number("used_memory_vm_functions", scripts.functions_vm_bytes);
  out.Bytes("used_memory_vm_total", scripts.vm_bytes + scripts.functions_vm_bytes);
  out.Number("used_memory_functions", scripts.function_bytes);
  out.Bytes("used_memory_scripts", scripts.cached_bytes + scripts.function_bytes);
  out.Bytes("maxmemory", options->maxmemory);
  out.Text("maxmemory_policy", options.GetOne("maxmemory-policy"));
  AllocatorLines(out, m);
  out.Zeros({"mem_not_counted_for_evict", "mem_replication_backlog",
             "mem_total_replication_buffers", "mem_clients_slaves"});
  out.Number("mem_clients_normal", m.clients);
  out.Number("mem_cluster_links", 0);
  out.Number("mem_aof_buffer", m.window);
#ifdef FIRN_JEMALLOC
  out.Text("mem_allocator", "jemalloc");
#else
  out.Text("mem_allocator", "libc");
#endif
  out.Number("active_defrag_running", 0);
  out.Number("lazyfree_pending_objects", s.store.unreaped_values);
  out.Number("lazyfreed_objects", s.store.reaped_values);
}

void LoadingLines(Lines& out, const Snapshot& s) {
  const Snapshot::Loading& load = s.load;
  const double total = static_cast<double>(std::max<uint64_t>(load.total_bytes, 1));
  const double loaded = static_cast<double>(std::min(load.loaded_bytes, load.total_bytes));
  const double seconds = static_cast<double>(load.elapsed_ms) / 1000;
  out.Signed("loading_start_time", load.begun_seconds);
  out.Number("loading_total_bytes", load.total_bytes);
  out.Number("loading_rdb_used_mem", 0);
  out.Number("loading_loaded_bytes", load.loaded_bytes);
  out.Fixed("loading_loaded_perc", 100 * loaded / total);
  out.Signed("loading_eta_seconds",
             loaded == 0 ? 1 : static_cast<int64_t>(seconds * (total - loaded) / loaded));
}

void PersistenceSection(Lines& out, const Snapshot& s, const Options& options) {
  const StoreStats& store = s.store;
  out.Section("Persistence");
  out.Number("loading", s.load.is_underway ? 1 : 0);
  out.Zeros({"async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"});
  out.Fixed("current_fork_perc", 0);
  out.Number("current_save_keys_processed", s.saves.keys_done);
  out.Number("current_save_keys_total", s.saves.keys_total);
  out.Number("rdb_changes_since_last_save", s.counters.changes);
  out.Number("rdb_bgsave_in_progress", s.saves.in_progress ? 1 : 0);
  out.Signed("rdb_last_save_time", s.saves.last_save_seconds);
  out.Text("rdb_last_bgsave_status", s.saves.last_ok ? "ok" : "err");
  out.Signed("rdb_last_bgsave_time_sec", s.saves.last_duration_seconds);
  out.Signed("rdb_current_bgsave_time_sec", s.saves.current_duration_seconds);
  out.Number("rdb_saves", s.saves.saves);
  out.Number("rdb_last_cow_size", 0);
  out.Number("rdb_last_load_keys_expired", s.load.expired);
  out.Number("rdb_last_load_keys_loaded", s.load.keys);
  out.Number("aof_enabled", options->appendonly ? 1 : 0);
  out.Number("aof_rewrite_in_progress", store.rewriting || s.becoming_durable ? 1 : 0);
  out.Number("aof_rewrite_scheduled", 0);
  out.Signed("aof_last_rewrite_time_sec",
             store.last_rewrite_us < 0 ? -1 : store.last_rewrite_us / 1'000'000);
  out.Signed("aof_current_rewrite_time_sec", -1);
  out.Text("aof_last_bgrewrite_status", "ok");
  out.Number("aof_rewrites", store.rewrites);
  out.Number("aof_rewrites_consecutive_failures", 0);
  out.Text("aof_last_write_status", store.last_write_ok ? "ok" : "err");
  out.Zeros({"aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"});
  if (s.load.is_underway) LoadingLines(out, s);
  if (!options->appendonly) return;
  out.Number("aof_current_size", store.log_bytes);
  out.Number("aof_base_size", store.log_live_bytes);
  out.Number("aof_pending_rewrite", 0);
  out.Number("aof_buffer_length", 0);
  out.Number("aof_pending_bio_fsync", 0);
  out.Number("aof_delayed_fsync", store.delayed_syncs);
}

void StatsSection(Lines& out, const Snapshot& s) {
  const Snapshot::Counters& c = s.counters;
  out.Section("Stats");
  out.Number("total_connections_received", c.connections_received);
  out.Number("total_commands_processed", c.commands_processed);
  out.Number("instantaneous_ops_per_sec", c.commands_per_second);
  out.Number("total_net_input_bytes", c.net_input_bytes);
  out.Number("total_net_output_bytes", c.net_output_bytes);
  out.Zeros({"total_net_repl_input_bytes", "total_net_repl_output_bytes"});
  out.Fixed("instantaneous_input_kbps", c.input_kib_per_second);
  out.Fixed("instantaneous_output_kbps", c.output_kib_per_second);
  out.Fixed("instantaneous_input_repl_kbps", 0);
  out.Fixed("instantaneous_output_repl_kbps", 0);
  out.Number("rejected_connections", c.connections_rejected);
  out.Zeros({"sync_full", "sync_partial_ok", "sync_partial_err"});
  out.Number("expired_keys", s.store.expired_keys);
  out.Fixed("expired_stale_perc", 0);
  out.Zeros({"expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"});
  out.Number("evicted_keys", s.store.evicted_keys);
  out.Number("evicted_clients", c.evicted_clients);
  out.Zeros({"total_eviction_exceeded_time", "current_eviction_exceeded_time"});
  out.Number("keyspace_hits", s.store.keyspace_hits);
  out.Number("keyspace_misses", s.store.keyspace_misses);
  out.Number("pubsub_channels", s.listening.channels);
  out.Number("pubsub_patterns", s.listening.patterns);
  out.Number("pubsubshard_channels", s.listening.shard_channels);
  out.Zeros({"latest_fork_usec", "total_forks"});
  out.Number("migrate_cached_sockets", c.kept_connections);
  out.Zeros({"slave_expires_tracked_keys", "active_defrag_misses", "active_defrag_key_hits",
             "active_defrag_key_misses", "total_active_defrag_time", "current_active_defrag_time"});
  out.Number("tracking_total_keys", s.listening.tracked_keys);
  out.Number("tracking_total_items", s.listening.tracked_items);
  out.Number("tracking_total_prefixes", s.listening.tracked_prefixes);
  out.Number("unexpected_error_replies", 0);
  out.Number("active_defrag_hits", s.store.defragmented_blocks);
  out.Number("scripts_suspended", s.scripts.suspensions);
  out.Number("total_error_replies", c.error_replies);
  out.Number("dump_payload_sanitizations", 0);
  out.Number("total_reads_processed", c.reads);
  out.Number("total_writes_processed", c.writes);
  out.Number("io_threaded_reads_processed", c.threaded_reads);
  out.Number("io_threaded_writes_processed", c.threaded_writes);
  out.Zeros({"reply_buffer_shrinks", "reply_buffer_expands"});
  out.Number("eventloop_cycles", s.loop.cycles);
  out.Number("client_query_buffer_limit_disconnections", c.query_limit_disconnections);
  out.Number("client_output_buffer_limit_disconnections", c.output_limit_disconnections);
  out.Number("eventloop_duration_sum", s.loop.duration_us);
  out.Number("eventloop_duration_cmd_sum", s.command_us);
  out.Number("instantaneous_eventloop_cycles_per_sec", s.loop.cycles_per_second);
  out.Number("instantaneous_eventloop_duration_usec", s.loop.mean_duration_us);
  out.Number("acl_access_denied_auth", c.denied_auth);
  out.Number("acl_access_denied_cmd", c.denied_commands);
  out.Number("acl_access_denied_key", c.denied_keys);
  out.Number("acl_access_denied_channel", c.denied_channels);
}

void ReplicationSection(Lines& out, const Snapshot& s) {
  out.Section("Replication");
  out.Text("role", "master");
  out.Number("connected_slaves", 0);
  out.Text("master_failover_state", "no-failover");
  out.Text("master_replid", s.process.run_id);
  out.Text("master_replid2", std::string(40, '0'));
  out.Number("master_repl_offset", 0);
  out.Signed("second_repl_offset", -1);
  out.Number("repl_backlog_active", 0);
  out.Number("repl_backlog_size", 1 << 20);
  out.Zeros({"repl_backlog_first_byte_offset", "repl_backlog_histlen"});
}

void CpuSection(Lines& out) {
  out.Section("CPU");
  struct Kind {
    int who;
    std::string suffix;
  };
  for (const Kind& kind : {Kind{RUSAGE_SELF, ""}, Kind{RUSAGE_CHILDREN, "_children"},
                           Kind{RUSAGE_THREAD, "_main_thread"}}) {
    rusage usage = {};
    getrusage(kind.who, &usage);
    auto line = [&](const std::string& name, timeval time) {
      out.Fixed(name + kind.suffix,
                static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6, 6);
    };
    line("used_cpu_sys", usage.ru_stime);
    line("used_cpu_user", usage.ru_utime);
  }
}

void CommandStatsSection(Lines& out, const Snapshot& s) {
  out.Section("Commandstats");
  for (const Snapshot::CommandUse& use : s.commands) {
    char text[256];
    const double mean =
        use.calls == 0 ? 0 : static_cast<double>(use.usec) / static_cast<double>(use.calls);
    std::snprintf(
        text, sizeof text,
        "calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu",
        static_cast<unsigned long long>(use.calls), static_cast<unsigned long long>(use.usec), mean,
        static_cast<unsigned long long>(use.rejected), static_cast<unsigned long long>(use.failed));
    out.Text("cmdstat_" + Safe(use.name), text);
  }
}

void LatencyStatsSection(Lines& out, const Snapshot& s, const Options& options) {
  out.Section("Latencystats");
  if (!options->latency_tracking) return;
  const std::vector<double>& percentiles = options->latency_tracking_info_percentiles;
  for (const Snapshot::CommandUse& use : s.commands) {
    if (use.calls == 0 || use.percentiles_usec.size() != percentiles.size()) continue;
    std::string text;
    for (size_t i = 0; i < percentiles.size(); ++i) {
      char part[128];
      std::snprintf(part, sizeof part, "%sp%.15g=%.3f", i == 0 ? "" : ",", percentiles[i],
                    use.percentiles_usec[i]);
      text += part;
    }
    out.Text("latency_percentiles_usec_" + Safe(use.name), text);
  }
}

void ErrorStatsSection(Lines& out, const Snapshot& s) {
  out.Section("Errorstats");
  for (const auto& [name, count] : s.errors) {
    out.Text("errorstat_" + Safe(name), "count=" + std::to_string(count));
  }
}

void TieringSection(Lines& out, const Snapshot& s, const Options& options) {
  const StoreStats& t = s.store;
  auto tier = [&out](const std::string& name, const TierCounts& counts) {
    out.Number(name + "_keys", counts.keys);
    out.Number(name + "_bytes", counts.bytes);
    out.Number(name + "_hits", counts.hits);
  };
  auto ratio = [](uint64_t a, uint64_t b) {
    return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
  };
  out.Section("Tiering");
  out.Number("tiering_enabled", options->tiering ? 1 : 0);
  tier("hot", t.hot);
  tier("warm", t.warm);
  tier("cold", t.cold);
  out.Number("fetches", t.fetches);
  out.Number("fetch_p50_usec", t.fetch_p50_us);
  out.Number("fetch_p99_usec", t.fetch_p99_us);
  out.Number("fetch_p999_usec", t.fetch_p999_us);
  out.Number("disk_reads", t.disk_reads);
  out.Number("disk_read_bytes", t.disk_read_bytes);
  out.Number("disk_read_errors", t.read_errors);
  out.Number("demotions", t.demotions);
  out.Number("promotions", t.promotions);
  out.Number("admissions_refused", t.admissions_refused);
  out.Number("writers_delayed", t.writers_delayed);
  out.Number("writers_delayed_usec", t.writers_delayed_us);
  out.Number("false_candidates", t.false_candidates);
  out.Number("unsettled_writes", t.unsettled_writes);
  out.Number("log_bytes", t.log_bytes);
  out.Number("log_live_bytes", t.log_live_bytes);
  out.Number("log_dead_bytes", t.log_bytes > t.log_live_bytes ? t.log_bytes - t.log_live_bytes : 0);
  out.Number("log_segments", t.log_segments);
  out.Number("log_appended_bytes", t.log_appended_bytes);
  out.Number("compactions", t.compactions);
  out.Number("segments_dropped_unread", t.segments_dropped_unread);
  out.Number("compaction_read_bytes", t.compaction_read_bytes);
  out.Number("compaction_written_bytes", t.compaction_written_bytes);
  out.Fixed("space_amplification", ratio(t.log_bytes, t.log_live_bytes));
  out.Fixed("write_amplification",
            ratio(t.log_appended_bytes + t.compaction_written_bytes, t.log_appended_bytes));
  out.Number("index_bytes", t.index_bytes);
  out.Number("index_map_bytes", t.cold_map_bytes);
  out.Number("index_map_left_keys", t.unmapped_keys);
  out.Number("index_map_complete", t.cold_map_complete ? 1 : 0);
  out.Number("index_flushes", t.index_flushes);
  out.Number("window_bytes", t.window_bytes);
  out.Number("appended_lsn", t.appended_lsn);
  out.Number("durable_lsn", t.durable_lsn);
  out.Number("indexed_lsn", t.indexed_lsn);
  out.Text("replay_position",
           std::to_string(t.replay_segment) + "+" + std::to_string(t.replay_offset));
  out.Number("replay_bytes", t.replay_bytes);
  out.Number("last_start_replayed_records", t.replayed_records);
  out.Number("last_start_replayed_bytes", t.replayed_bytes);
  out.Number("last_start_replay_usec", t.replay_us);
  out.Number("last_start_torn_bytes", t.torn_bytes);
  out.Number("hot_set_restored_keys", t.hot_set_restored);
  out.Number("hot_set_pending_keys", t.hot_set_left);
  out.Number("archived_segments", t.archived_segments);
  out.Number("archive_failing", t.archive_failing ? 1 : 0);
}

void KeyspaceSection(Lines& out, const Snapshot& s) {
  out.Section("Keyspace");
  for (const Snapshot::Keyspace& keyspace : s.keyspaces) {
    out.Text("db" + std::to_string(keyspace.number),
             "keys=" + std::to_string(keyspace.keys) +
                 ",expires=" + std::to_string(keyspace.expiring) + ",avg_ttl=0");
  }
}

void DebugSection(Lines& out, const Snapshot& s) {
  out.Section("Debug");
  out.Number("eventloop_duration_aof_sum", s.loop.log_us);
  out.Number("eventloop_duration_cron_sum", s.loop.cron_us);
  out.Number("eventloop_duration_max", s.loop.longest_us);
  out.Number("eventloop_cmd_per_cycle_max", s.loop.most_commands);
}

}  // namespace

InfoSections InfoSections::Named(std::span<const std::string_view> names) {
  constexpr uint32_t kAll = (1u << kDebug) - 1;
  constexpr uint32_t kDefault = kAll & ~(1u << kCommandStats) & ~(1u << kLatencyStats);
  constexpr std::array<std::string_view, kCount> kNames = {
      "server",       "clients", "memory",  "persistence",  "stats",
      "replication",  "cpu",     "modules", "commandstats", "errorstats",
      "latencystats", "cluster", "tiering", "keyspace",     "debug"};
  InfoSections sections;
  if (names.empty()) sections.bits_ = kDefault;
  for (std::string_view name : names) {
    if (EqualsIgnoreCase(name, "all") || EqualsIgnoreCase(name, "everything")) {
      sections.bits_ |= kAll;
    } else if (EqualsIgnoreCase(name, "default")) {
      sections.bits_ |= kDefault;
    } else {
      for (size_t i = 0; i < kNames.size(); ++i) {
        if (EqualsIgnoreCase(name, kNames[i])) sections.bits_ |= 1u << i;
      }
    }
  }
  return sections;
}

std::string FormatInfo(const InfoSnapshot& s, const Options& options, InfoSections sections) {
  using Sections = InfoSections;
  std::string text;
  Lines out(&text);
  if (sections.Has(Sections::kServer)) ServerSection(out, s, options);
  if (sections.Has(Sections::kClients)) ClientsSection(out, s, options);
  if (sections.Has(Sections::kMemory)) MemorySection(out, s, options);
  if (sections.Has(Sections::kPersistence)) PersistenceSection(out, s, options);
  if (sections.Has(Sections::kStats)) StatsSection(out, s);
  if (sections.Has(Sections::kReplication)) ReplicationSection(out, s);
  if (sections.Has(Sections::kCpu)) CpuSection(out);
  if (sections.Has(Sections::kModules)) out.Section("Modules");
  if (sections.Has(Sections::kCommandStats)) CommandStatsSection(out, s);
  if (sections.Has(Sections::kErrorStats)) ErrorStatsSection(out, s);
  if (sections.Has(Sections::kLatencyStats)) LatencyStatsSection(out, s, options);
  if (sections.Has(Sections::kCluster)) {
    out.Section("Cluster");
    out.Number("cluster_enabled", 0);
  }
  if (sections.Has(Sections::kTiering)) TieringSection(out, s, options);
  if (sections.Has(Sections::kKeyspace)) KeyspaceSection(out, s);
  if (sections.Has(Sections::kDebug)) DebugSection(out, s);
  return text;
}

}  // namespace firn::server
