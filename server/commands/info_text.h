// The text of INFO: sections of lines "name:value", as Redis 7.2 has them, with one of our own.
// Formatting only; where the numbers come from is info.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/blocking.h"
#include "server/loop_statistics.h"
#include "server/memory_report.h"
#include "server/options/options.h"
#include "server/rdb_save.h"
#include "tiering/store_stats.h"

namespace firn::server {

// A snapshot of all that INFO tells, besides the options.
struct InfoSnapshot {
  struct Process {
    std::string run_id;
    std::string executable;
    std::string backend;  // of the loop: "io_uring" or "epoll"
    int64_t now_us = 0;
    int64_t uptime_seconds = 0;
    uint32_t lru_clock = 0;
  } process;

  struct Clients {
    uint64_t connected = 0;
    uint64_t blocked = 0;  // parked ones included
    uint64_t max_input_buffer = 0;
    uint64_t max_output_buffer = 0;
    uint64_t tracking = 0;
    uint64_t pubsub = 0;  // with a subscription of any kind
    Blocking::Counts waits;
  } clients;

  struct Scripts {
    uint64_t vm_bytes = 0;  // of the machine that runs EVAL's scripts
    uint64_t functions_vm_bytes = 0;
    uint64_t cached = 0;
    uint64_t cached_bytes = 0;
    uint64_t functions = 0;
    uint64_t libraries = 0;
    uint64_t function_bytes = 0;  // of their code
    uint64_t suspensions = 0;     // waits of scripts for the disk, or for room to write
  } scripts;

  struct Counters {
    uint64_t connections_received = 0;
    uint64_t connections_rejected = 0;
    uint64_t commands_processed = 0;
    uint64_t net_input_bytes = 0;
    uint64_t net_output_bytes = 0;
    uint64_t commands_per_second = 0;
    double input_kib_per_second = 0;
    double output_kib_per_second = 0;
    uint64_t reads = 0;
    uint64_t writes = 0;
    uint64_t threaded_reads = 0, threaded_writes = 0;  // of them, by I/O threads
    uint64_t error_replies = 0;
    uint64_t evicted_clients = 0;
    uint64_t output_limit_disconnections = 0;
    uint64_t kept_connections = 0;  // of MIGRATE
    uint64_t query_limit_disconnections = 0;
    uint64_t denied_auth = 0, denied_commands = 0, denied_keys = 0, denied_channels = 0;
    uint64_t changes = 0;  // since the last snapshot
  } counters;

  struct CommandUse {
    std::string name;  // "config|get"
    uint64_t calls = 0;
    uint64_t usec = 0;
    uint64_t rejected = 0;
    uint64_t failed = 0;
    std::vector<double> percentiles_usec;  // as latency-tracking-info-percentiles asks
  };
  std::vector<CommandUse> commands;                      // those that were called
  std::vector<std::pair<std::string, uint64_t>> errors;  // by their first word

  // What clients listen to.
  struct Listening {
    uint64_t channels = 0;
    uint64_t patterns = 0;
    uint64_t shard_channels = 0;
    uint64_t tracked_keys = 0;
    uint64_t tracked_items = 0;
    uint64_t tracked_prefixes = 0;
  } listening;

  struct Keyspace {
    uint32_t number = 0;
    uint64_t keys = 0;
    uint64_t expiring = 0;
  };
  std::vector<Keyspace> keyspaces;  // those with keys

  LoopStatistics::Totals loop;
  uint64_t command_us = 0;  // that all commands took
  RdbSaver::State saves;
  bool becoming_durable = false;
  struct Loading {
    bool is_underway = false;
    int64_t begun_seconds = 0;  // Unix time
    int64_t elapsed_ms = 0;
    uint64_t total_bytes = 0;
    uint64_t loaded_bytes = 0;
    uint64_t keys = 0;
    uint64_t expired = 0;
  } load;  // of the first start
  MemoryReport memory;
  StoreStats store;
};

// Bit sets of sections.
class InfoSections {
 public:
  enum Section : uint32_t {
    kServer,
    kClients,
    kMemory,
    kPersistence,
    kStats,
    kReplication,
    kCpu,
    kModules,
    kCommandStats,
    kErrorStats,
    kLatencyStats,
    kCluster,
    kTiering,
    kKeyspace,
    kDebug,  // by its name alone
    kCount
  };
  // Of the names in INFO's arguments, in any letter case; none means the default ones. Unknown
  // names are ignored, as in Redis, where they could be a module's.
  static InfoSections Named(std::span<const std::string_view> names);
  bool Has(Section section) const { return bits_ >> section & 1; }

 private:
  uint32_t bits_ = 0;
};

std::string FormatInfo(const InfoSnapshot& snapshot, const Options& options, InfoSections sections);

}  // namespace firn::server
