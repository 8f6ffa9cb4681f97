// The values in force of the options that act in this server: a plain struct, so that the hot path
// pays one load an option. Filled by Options; read on the executor thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace firn::server {

enum class LogLevel : uint8_t { kDebug, kVerbose, kNotice, kWarning, kNothing };
enum class Supervision : uint8_t { kNo, kUpstart, kSystemd, kAuto };
enum class Permission : uint8_t { kNo, kYes, kLocal };
enum class AppendFsync : uint8_t { kNo, kEverySecond, kAlways };
enum class TierCompression : uint8_t { kNone, kZstd };
enum class IoBackend : uint8_t { kAuto, kIoUring, kThreads };
enum class MaxmemoryPolicy : uint8_t {
  kVolatileLru,
  kVolatileLfu,
  kVolatileRandom,
  kVolatileTtl,
  kAllkeysLru,
  kAllkeysLfu,
  kAllkeysRandom,
  kNoEviction,
};

// The bits of shutdown-on-sigint and shutdown-on-sigterm; none is "default".
enum ShutdownFlag : uint32_t {
  kShutdownSave = 1 << 0,
  kShutdownNosave = 1 << 1,
  kShutdownNow = 1 << 2,
  kShutdownForce = 1 << 3,
};

// The bits of notify-keyspace-events.
enum KeyspaceEvent : uint32_t {
  kEventKeyspace = 1 << 0,  // K: publish to __keyspace@<db>__
  kEventKeyevent = 1 << 1,  // E: publish to __keyevent@<db>__
  kEventGeneric = 1 << 2,   // g
  kEventString = 1 << 3,    // $
  kEventList = 1 << 4,      // l
  kEventSet = 1 << 5,       // s
  kEventHash = 1 << 6,      // h
  kEventZset = 1 << 7,      // z
  kEventExpired = 1 << 8,   // x
  kEventEvicted = 1 << 9,   // e
  kEventStream = 1 << 10,   // t
  kEventKeyMiss = 1 << 11,  // m, not part of A
  kEventModule = 1 << 12,   // d
  kEventNew = 1 << 13,      // n, not part of A
  kEventTier = 1 << 14,     // F, not part of A: a value moved between RAM and disk
  kEventAll = kEventGeneric | kEventString | kEventList | kEventSet | kEventHash | kEventZset |
              kEventExpired | kEventEvicted | kEventStream | kEventModule,  // A
};

struct OutputBufferLimit {
  uint64_t hard_bytes = 0;  // 0: no limit
  uint64_t soft_bytes = 0;  // 0: no limit
  int64_t soft_seconds = 0;
  bool operator==(const OutputBufferLimit&) const = default;
};
enum class ClientClass : uint8_t { kNormal, kReplica, kPubsub };

// Whether clients of the TLS port must show a certificate.
enum class TlsAuthClients : uint8_t { kNo, kYes, kOptional };

struct SaveRule {
  int64_t seconds = 0;
  int64_t changes = 0;
  bool operator==(const SaveRule&) const = default;
};

struct OptionValues {
  // Network and clients.
  std::vector<std::string> bind;  // "-ADDRESS" may be missing on this machine; "*" is every address
  int32_t port = 0;               // 0: no TCP
  int32_t tcp_backlog = 0;
  std::string unixsocket;       // empty: none
  uint32_t unixsocketperm = 0;  // 0: as the umask makes it
  bool protected_mode = true;
  int64_t timeout_seconds = 0;        // 0: never
  int64_t tcp_keepalive_seconds = 0;  // 0: none
  int32_t io_threads = 1;             // the executor included
  uint32_t maxclients = 0;
  int64_t client_query_buffer_limit = 0;
  int64_t proto_max_bulk_len = 0;
  std::array<OutputBufferLimit, 3> output_buffer_limits;  // by ClientClass
  int64_t tracking_table_max_keys = 0;    // 0: no limit
  int64_t maxmemory_clients = 0;  // 0: no limit; negative: percent of maxmemory
  std::string requirepass;        // empty: no password
  Permission enable_protected_configs = Permission::kNo;
  Permission enable_debug_command = Permission::kNo;
  Permission enable_module_command = Permission::kNo;
  std::string aclfile;  // empty: none
  uint64_t acllog_max_len = 0;
  bool acl_pubsub_all_channels = false;  // for new users

  // Encrypted connections.
  int32_t tls_port = 0;       // 0: none
  std::string tls_cert_file;  // PEM, as all of them
  std::string tls_key_file;
  std::string tls_key_file_pass;
  std::string tls_dh_params_file;
  std::string tls_ca_cert_file;
  std::string tls_ca_cert_dir;
  TlsAuthClients tls_auth_clients = TlsAuthClients::kYes;
  std::string tls_protocols;  // as "TLSv1.2 TLSv1.3"; empty: OpenSSL's default
  std::string tls_ciphers;
  std::string tls_ciphersuites;
  bool tls_prefer_server_ciphers = false;
  bool tls_session_caching = true;
  int64_t tls_session_cache_size = 0;
  int64_t tls_session_cache_timeout_seconds = 0;

  // The process.
  bool daemonize = false;
  Supervision supervised = Supervision::kNo;
  std::string pidfile;
  LogLevel loglevel = LogLevel::kNotice;
  std::string logfile;  // empty: standard output
  bool syslog_enabled = false;
  std::string syslog_ident;
  int32_t syslog_facility = 0;  // 0: user; from 1 on local0 and so on
  std::string dir;      // absolute
  int32_t databases = 0;
  int32_t hz = 0;
  bool crash_log_enabled = true;
  bool set_proc_title = true;
  std::string proc_title_template;
  uint32_t shutdown_on_sigint = 0;   // of ShutdownFlag
  uint32_t shutdown_on_sigterm = 0;  // of ShutdownFlag
  bool latency_tracking = true;
  std::vector<double> latency_tracking_info_percentiles;
  uint32_t notify_keyspace_events = 0;     // of KeyspaceEvent
  int64_t slowlog_log_slower_than_us = 0;  // negative: never
  int64_t slowlog_max_len = 0;
  int64_t busy_reply_threshold_ms = 5000;
  int64_t latency_monitor_threshold_ms = 0;  // 0: off

  // Memory.
  uint64_t maxmemory = 0;  // bytes; 0: no limit
  MaxmemoryPolicy maxmemory_policy = MaxmemoryPolicy::kNoEviction;
  int32_t maxmemory_samples = 0;
  int32_t lfu_log_factor = 0;
  int32_t lfu_decay_time = 0;  // minutes
  int32_t active_expire_effort = 0;
  int32_t oom_score_adj = 0;           // 0: off, 1: relative, 2: absolute
  int64_t oom_score_adjustment = 0;    // of oom-score-adj-values, the one of a server without master

  // How large a value may be that OBJECT ENCODING shows as packed.
  int64_t hash_max_listpack_entries = 0;
  int64_t hash_max_listpack_value = 0;  // bytes
  int32_t list_max_listpack_size = 0;   // elements; negative: a class of bytes
  int64_t set_max_intset_entries = 0;
  int64_t set_max_listpack_entries = 0;
  int64_t set_max_listpack_value = 0;  // bytes
  int64_t zset_max_listpack_entries = 0;
  int64_t zset_max_listpack_value = 0;  // bytes
  // The longest HyperLogLog that is kept sparse.
  int64_t hll_sparse_max_bytes = 0;
  int64_t stream_node_max_bytes = 0;
  int64_t stream_node_max_entries = 0;

  // Persistence.
  bool appendonly = true;
  int key_load_delay_us = 0;
  AppendFsync appendfsync = AppendFsync::kEverySecond;
  std::string appendfilename;
  std::string appenddirname;
  std::string log_archive_dir;
  std::string recover_until;
  int64_t auto_aof_rewrite_percentage = 0;
  int64_t auto_aof_rewrite_min_size = 0;
  bool aof_load_truncated = true;
  std::vector<SaveRule> save;
  std::string dbfilename;
  bool rdb_compression = true;
  bool rdb_checksum = true;
  bool rdb_save_incremental_fsync = true;
  bool stop_writes_on_bgsave_error = true;
  int32_t rdb_key_save_delay_us = 0;

  // Tiering.
  bool tiering = true;
  IoBackend io_backend = IoBackend::kAuto;
  uint64_t maxdisk = 0;            // bytes; 0: by the free space of the file system
  bool tier_restore_hot_set = false;
  uint64_t log_segment_size = 0;   // bytes, a power of two
  uint64_t tier_warm_memory = 0;   // bytes; 0: automatic
  uint64_t tier_index_memory = 0;  // bytes; 0: automatic
  uint64_t tier_min_value = 0;     // bytes
  TierCompression tier_compression = TierCompression::kNone;
  int32_t tier_compression_level = 0;
  int32_t log_compaction_target = 0;  // percent of the bytes alive
  int32_t log_compaction_share = 0;   // percent of the time

  const OutputBufferLimit& output_buffer_limit(ClientClass client_class) const {
    return output_buffer_limits[static_cast<size_t>(client_class)];
  }
  // The bytes all clients together may use; 0 is no limit, also for a percentage of no maxmemory.
  uint64_t MaxmemoryClientsBytes() const {
    return maxmemory_clients >= 0 ? static_cast<uint64_t>(maxmemory_clients)
                                  : maxmemory / 100 * static_cast<uint64_t>(-maxmemory_clients);
  }
};

}  // namespace firn::server
