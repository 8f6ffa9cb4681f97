// MEMORY.
#include <limits>
#include <string>
#ifdef FIRN_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/memory_report.h"
#include "server/server.h"

namespace firn::server {

void MemoryUsageCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 3; i < args.size(); i += 2) {
    int64_t samples;
    if (!EqualsIgnoreCase(args[i], "samples") || i + 1 == args.size()) {
      return context.reply.Error(kSyntaxError);
    }
    if (!ParseIntegerOr(context, args[i + 1], &samples)) return;
    if (samples < 0) return context.reply.Error(kSyntaxError);
  }
  const HashedKey& key = context.key();
  if (!context.db().Lookup(key, {.touch = false, .count_hit = false}).exists()) {
    return context.reply.Null();
  }
  context.reply.Integer(static_cast<int64_t>(context.db().Inspect(key).memory_bytes));
}

void MemoryStatsCommand(CommandContext& context) {
  const MemoryReport report = ReportMemory(context.server);
  const std::vector<DatabaseMemory> databases = report.databases;
  Reply& reply = context.reply;
  auto integer = [&reply](std::string_view name, uint64_t value) {
    reply.Bulk(name);
    reply.Integer(static_cast<int64_t>(value));
  };
  auto number = [&reply](std::string_view name, double value) {
    reply.Bulk(name);
    reply.Double(value);
  };
  reply.MapHeader(static_cast<int64_t>(27 + databases.size()));
  integer("peak.allocated", report.peak);
  integer("total.allocated", report.used);
  integer("startup.allocated", report.startup);
  integer("replication.backlog", 0);
  integer("clients.slaves", 0);
  integer("clients.normal", report.clients);
  integer("cluster.links", 0);
  integer("aof.buffer", report.window);
  integer("lua.caches", 0);
  integer("functions.caches", 0);
  for (const DatabaseMemory& database : databases) {
    reply.Bulk("db." + std::to_string(database.number));
    reply.MapHeader(3);
    integer("overhead.hashtable.main", database.table_bytes);
    integer("overhead.hashtable.expires", 0);
    integer("overhead.hashtable.slot-to-keys", 0);
  }
  integer("overhead.total", report.overhead);
  integer("keys.count", report.keys);
  integer("keys.bytes-per-key", report.bytes_per_key);
  integer("dataset.bytes", report.dataset);
  number("dataset.percentage", report.dataset_percent);
  number("peak.percentage", report.peak_percent);
  integer("allocator.allocated", report.allocator_allocated);
  integer("allocator.active", report.allocator_active);
  integer("allocator.resident", report.allocator_resident);
  number("allocator-fragmentation.ratio", report.fragmentation_ratio());
  integer("allocator-fragmentation.bytes", report.fragmentation_bytes());
  number("allocator-rss.ratio", report.allocator_rss_ratio());
  integer("allocator-rss.bytes", report.allocator_rss_bytes());
  number("rss-overhead.ratio", report.rss_overhead_ratio());
  integer("rss-overhead.bytes", report.rss_overhead_bytes());
  number("fragmentation", report.total_ratio());
  integer("fragmentation.bytes", report.total_bytes());
}

void MemoryDoctorCommand(CommandContext& context) {
  const MemoryReport report = ReportMemory(context.server);
  constexpr uint64_t kSmall = 5 << 20;
  std::string text;
  if (report.used < kSmall) {
    text = "There is too little data in memory to say anything about it.\n";
  } else {
    if (report.peak > report.used + report.used / 2) {
      text += " * The peak was more than 1.5 times of what is used now.\n";
    }
    if (report.total_ratio() > 1.4 && report.total_bytes() > 10 << 20) {
      text += " * The process is more than 1.4 times as large as what is used.\n";
    }
    if (text.empty()) text = "Nothing remarkable about the use of memory.\n";
  }
  context.reply.Verbatim("txt", text);
}

void MemoryPurgeCommand(CommandContext& context) {
#ifdef FIRN_JEMALLOC
  const std::string all = "arena." + std::to_string(MALLCTL_ARENAS_ALL) + ".purge";
  if (mallctl(all.c_str(), nullptr, nullptr, nullptr, 0) != 0) {
    return context.reply.Error("ERR Error purging dirty pages");
  }
#endif
  context.reply.Ok();
}

void MemoryMallocStatsCommand(CommandContext& context) {
#ifdef FIRN_JEMALLOC
  std::string text;
  malloc_stats_print(
      [](void* to, const char* part) { static_cast<std::string*>(to)->append(part); }, &text,
      nullptr);
  context.reply.Verbatim("txt", text);
#else
  context.reply.Bulk(std::string_view("Stats not supported for the current allocator"));
#endif
}

void MemoryHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"DOCTOR", "Reports what is remarkable about the use of memory."},
      {"MALLOC-STATS", "Gives the statistics of the allocator."},
      {"PURGE", "Asks the allocator to give memory back."},
      {"STATS", "Tells what memory is used for."},
      {"USAGE <key> [SAMPLES <count>]", "Gives the bytes that a key and its value take."}};
  ReplyHelp(context, "MEMORY", kLines);
}

}  // namespace firn::server
