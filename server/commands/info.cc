// INFO: collects the numbers; info_text.h writes them.
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "engine/keyspace/access_clock.h"
#include "server/acl/acl.h"
#include "server/commands/common.h"
#include "server/commands/info_text.h"
#include "server/commands/server_commands.h"
#include "server/errands.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

void TakeProcess(Server& server, InfoSnapshot* snapshot) {
  InfoSnapshot::Process& process = snapshot->process;
  process.run_id = server.run_id();
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  if (size > 0) process.executable.assign(path, static_cast<size_t>(size));
  process.backend = server.loop().name();
  timeval now = {};
  gettimeofday(&now, nullptr);
  process.now_us = static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_usec;
  process.uptime_seconds = (process.now_us / 1000 - server.start_time_ms()) / 1000;
  process.lru_clock = LruNow(process.now_us / 1000);
  snapshot->saves = server.saver().state();
  const Server::LoadState& state = server.load_state();
  snapshot->load = {.is_underway = server.first_loading(),
                    .begun_seconds = state.begun_ms / 1000,
                    .elapsed_ms = process.now_us / 1000 - state.begun_ms,
                    .total_bytes = state.total_bytes,
                    .loaded_bytes = state.loaded_bytes,
                    .keys = state.keys,
                    .expired = state.expired};
  snapshot->becoming_durable = server.becoming_durable() && server.options()->appendonly;
}

void TakeClients(Server& server, InfoSnapshot* snapshot) {
  snapshot->clients.connected = server.clients().size();
  snapshot->clients.blocked = server.blocked_clients();
  snapshot->clients.tracking = server.tracking().clients();
  snapshot->clients.pubsub = server.pubsub().clients();
  snapshot->clients.waits = server.blocking().CountWaits();
  snapshot->listening = {.channels = server.pubsub().topics(TopicKind::kChannel),
                         .patterns = server.pubsub().topics(TopicKind::kPattern),
                         .shard_channels = server.pubsub().topics(TopicKind::kShardChannel),
                         .tracked_keys = server.tracking().keys(),
                         .tracked_items = server.tracking().items(),
                         .tracked_prefixes = server.tracking().prefixes()};
  for (const auto& [id, client] : server.clients()) {
    uint64_t& output = snapshot->clients.max_output_buffer;
    uint64_t& input = snapshot->clients.max_input_buffer;
    output = std::max(output, client->output_bytes());
    const uint64_t memory = client->memory_bytes();
    input = std::max(input, memory - std::min(memory, client->output_bytes()));
  }
}

void TakeCounters(Server& server, InfoSnapshot* snapshot) {
  const ServerStats& stats = server.stats();
  InfoSnapshot::Counters& counters = snapshot->counters;
  counters.connections_received = stats.connections_received;
  counters.connections_rejected = stats.connections_rejected;
  counters.commands_processed = stats.commands_processed;
  counters.net_input_bytes = stats.net_input_bytes;
  counters.net_output_bytes = stats.net_output_bytes;
  counters.commands_per_second = static_cast<uint64_t>(stats.ops_per_second);
  counters.input_kib_per_second = stats.input_kbps;
  counters.output_kib_per_second = stats.output_kbps;
  counters.error_replies = stats.error_replies;
  counters.reads = stats.reads;
  counters.writes = stats.writes;
  if (const IoThreads* threads = server.io_threads()) {
    counters.threaded_reads = threads->counters().reads;
    counters.threaded_writes = threads->counters().writes;
  }
  snapshot->loop = server.loop_statistics().totals();
  snapshot->command_us = server.dispatcher().command_nanos() / 1000;
  counters.evicted_clients = stats.evicted_clients;
  counters.output_limit_disconnections = stats.output_limit_disconnections;
  counters.kept_connections = server.errands().connections().size();
  counters.query_limit_disconnections = stats.query_limit_disconnections;
  counters.changes = stats.changes;
  const AclLog::Counters& denied = server.acl().log().counters();
  counters.denied_auth = denied.auth;
  counters.denied_commands = denied.command;
  counters.denied_keys = denied.key;
  counters.denied_channels = denied.channel;
}

void TakeCommands(Server& server, InfoSnapshot* snapshot) {
  const std::vector<CommandStatistics>& all = server.dispatcher().statistics();
  for (const Command* command : server.commands().all()) {
    auto take = [&](const Command& row) {
      const CommandStatistics& use = all[server.commands().IndexOf(row)];
      if (use.calls == 0 && use.rejected == 0 && use.failed == 0) return;
      InfoSnapshot::CommandUse taken = {.name = server.FullNameOf(row),
                                        .calls = use.calls,
                                        .usec = use.nanos / 1000,
                                        .rejected = use.rejected,
                                        .failed = use.failed};
      if (const LatencyHistogram* latency = server.latency(row)) {
        for (double percentile : server.options()->latency_tracking_info_percentiles) {
          taken.percentiles_usec.push_back(static_cast<double>(latency->Percentile(percentile)) /
                                           1000);
        }
      }
      snapshot->commands.push_back(std::move(taken));
    };
    take(*command);
    for (const Command& sub : command->subcommands) take(sub);
  }
}

// The counters of commands begin anew with CONFIG RESETSTAT; those of the disk never do.
void TakeScripts(Server& server, InfoSnapshot* snapshot) {
  Scripting& scripting = server.scripting();
  InfoSnapshot::Scripts& scripts = snapshot->scripts;
  scripts.vm_bytes = scripting.vm_bytes();
  scripts.cached = scripting.cached_scripts();
  scripts.cached_bytes = scripting.cached_bytes();
  const Functions& functions = scripting.functions();
  scripts.functions_vm_bytes = functions.vm_bytes();
  scripts.functions = functions.function_count();
  scripts.libraries = functions.libraries().size();
  for (const auto& [name, library] : functions.libraries()) {
    scripts.function_bytes += name.size() + library->code.size();
  }
  scripts.suspensions = scripting.runner().suspensions();
}

void TakeStore(Server& server, InfoSnapshot* snapshot) {
  snapshot->store = server.store().Stats();
  const StoreStats& base = server.store_stats_base();
  auto since = [](uint64_t now, uint64_t then) { return now - std::min(now, then); };
  StoreStats& store = snapshot->store;
  store.keyspace_hits = since(store.keyspace_hits, base.keyspace_hits);
  store.keyspace_misses = since(store.keyspace_misses, base.keyspace_misses);
  store.expired_keys = since(store.expired_keys, base.expired_keys);
  store.evicted_keys = since(store.evicted_keys, base.evicted_keys);
  store.reaped_values = since(store.reaped_values, base.reaped_values);
}

void TakeKeyspaces(Store& store, InfoSnapshot* snapshot) {
  for (uint32_t db = 0; db < store.databases(); ++db) {
    const uint64_t keys = store.EstimateKeys(db);
    if (keys > 0) snapshot->keyspaces.push_back({db, keys, store.EstimateExpiring(db)});
  }
}

}  // namespace

void InfoCommand(CommandContext& context) {
  const InfoSections sections = InfoSections::Named(context.args.subspan(1));
  InfoSnapshot snapshot;
  TakeProcess(context.server, &snapshot);
  TakeClients(context.server, &snapshot);
  TakeCounters(context.server, &snapshot);
  if (sections.Has(InfoSections::kCommandStats) || sections.Has(InfoSections::kLatencyStats)) {
    TakeCommands(context.server, &snapshot);
  }
  for (const auto& [name, count] : context.server.error_counts()) {
    snapshot.errors.emplace_back(name, count);
  }
  if (sections.Has(InfoSections::kMemory)) snapshot.memory = ReportMemory(context.server);
  if (sections.Has(InfoSections::kKeyspace)) TakeKeyspaces(context.store, &snapshot);
  TakeStore(context.server, &snapshot);
  TakeScripts(context.server, &snapshot);
  context.reply.Verbatim("txt", FormatInfo(snapshot, context.server.options(), sections));
}

}  // namespace firn::server
