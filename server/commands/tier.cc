// TIER: where values are, and moving them by hand. These commands are Firn's own.
#include <memory>
#include <string>
#include <vector>

#include "server/commands/common.h"

namespace firn::server {
namespace {

void WhereCommand(CommandContext& context) {
  switch (context.store.Where(context.db().number(), context.key())) {
    case Tier::kNone:
      return context.reply.Null();
    case Tier::kHot:
      return context.reply.Bulk(std::string_view("hot"));
    case Tier::kWarm:
      return context.reply.Bulk(std::string_view("warm"));
    case Tier::kCold:
      return context.reply.Bulk(std::string_view("cold"));
  }
}

void DemoteCommand(CommandContext& context) {
  std::vector<std::string> keys(context.args.begin() + 2, context.args.end());
  auto pending = PendingCommand::Begin(context);
  context.store.Demote(context.db().number(), std::move(keys), [pending](int64_t moved) {
    pending->Finish([moved](CommandContext& context) { context.reply.Integer(moved); });
  });
  pending->Return();
}

// The plan has brought the values already.
void PromoteCommand(CommandContext& context) {
  int64_t resident = 0;
  for (const KeyAccess& access : context.keys) {
    if (!context.db().Lookup(access.key, {.touch = false, .count_hit = false}).exists()) continue;
    context.store.Promote(context.db().number(), access.key);
    ++resident;
  }
  context.reply.Integer(resident);
}

void StatsCommand(CommandContext& context) {
  const StoreStats stats = context.store.Stats();
  struct Line {
    std::string_view name;
    uint64_t value;
  };
  const Line lines[] = {
      {"hot_keys", stats.hot.keys},
      {"hot_bytes", stats.hot.bytes},
      {"hot_hits", stats.hot.hits},
      {"warm_keys", stats.warm.keys},
      {"warm_bytes", stats.warm.bytes},
      {"warm_hits", stats.warm.hits},
      {"cold_keys", stats.cold.keys},
      {"cold_bytes", stats.cold.bytes},
      {"cold_hits", stats.cold.hits},
      {"fetches", stats.fetches},
      {"fetch_p50_us", stats.fetch_p50_us},
      {"fetch_p99_us", stats.fetch_p99_us},
      {"fetch_p999_us", stats.fetch_p999_us},
      {"disk_reads", stats.disk_reads},
      {"disk_read_bytes", stats.disk_read_bytes},
      {"read_errors", stats.read_errors},
      {"demotions", stats.demotions},
      {"promotions", stats.promotions},
      {"admissions_refused", stats.admissions_refused},
      {"writers_delayed", stats.writers_delayed},
      {"writers_delayed_us", stats.writers_delayed_us},
      {"log_bytes", stats.log_bytes},
      {"log_live_bytes", stats.log_live_bytes},
      {"log_segments", stats.log_segments},
      {"log_appended_bytes", stats.log_appended_bytes},
      {"compaction_read_bytes", stats.compaction_read_bytes},
      {"compaction_written_bytes", stats.compaction_written_bytes},
      {"index_bytes", stats.index_bytes},
      {"cold_map_bytes", stats.cold_map_bytes},
      {"unmapped_keys", stats.unmapped_keys},
      {"cold_map_complete", stats.cold_map_complete ? 1u : 0u},
      {"window_bytes", stats.window_bytes},
  };
  context.reply.MapHeader(static_cast<int64_t>(std::size(lines)));
  for (const Line& line : lines) {
    context.reply.Bulk(line.name);
    context.reply.Integer(static_cast<int64_t>(line.value));
  }
}

void HelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"DEMOTE <key> [<key> ...]",
       "Moves values to disk; answers how many are there that weren't."},
      {"PROMOTE <key> [<key> ...]", "Brings values into RAM; answers how many are there now."},
      {"STATS", "Gives the counters of the tiers, as in the tiering section of INFO."},
      {"WHERE <key>", "Gives where a value is: hot, warm or cold; null if there is no such key."}};
  ReplyHelp(context, "TIER", kLines);
}

using Type = CommandArgument::Type;

constexpr KeySpec kWhereKeys[] = {
    {.flags = kKeyReadOnly, .access = Access::kMetadata, .begin_index = 2}};
// What is demoted is planned by the store itself: nothing need be brought for it.
constexpr KeySpec kDemoteKeys[] = {
    {.flags = kKeyReadOnly, .access = Access::kMetadata, .begin_index = 2, .last = -1}};
constexpr KeySpec kPromoteKeys[] = {
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .begin_index = 2, .last = -1}};
constexpr CommandArgument kOneKey[] = {{.name = "key", .type = Type::kKey, .key_spec_index = 0}};
constexpr CommandArgument kSeveralKeys[] = {
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0}};

constexpr Command kSubcommands[] = {{.name = "demote",
                                     .arity = -3,
                                     .flags = kAdmin,
                                     .acl_categories = kAclKeyspace,
                                     .function = DemoteCommand,
                                     .key_specs = kDemoteKeys,
                                     .group = "tier",
                                     .since = "7.2.4",
                                     .complexity = "O(N), N: the number of keys",
                                     .summary = "Moves values to disk.",
                                     .arguments = kSeveralKeys},
                                    {.name = "help",
                                     .arity = 2,
                                     .flags = kLoading | kStale,
                                     .acl_categories = 0,
                                     .function = HelpCommand,
                                     .group = "tier",
                                     .since = "7.2.4",
                                     .complexity = "O(1)",
                                     .summary = "Describes the subcommands."},
                                    {.name = "promote",
                                     .arity = -3,
                                     .flags = kReadonly,
                                     .acl_categories = kAclKeyspace,
                                     .function = PromoteCommand,
                                     .key_specs = kPromoteKeys,
                                     .group = "tier",
                                     .since = "7.2.4",
                                     .complexity = "O(N), N: the number of keys",
                                     .summary = "Moves values into RAM.",
                                     .arguments = kSeveralKeys},
                                    {.name = "stats",
                                     .arity = 2,
                                     .flags = kLoading | kStale,
                                     .acl_categories = 0,
                                     .function = StatsCommand,
                                     .group = "tier",
                                     .since = "7.2.4",
                                     .complexity = "O(1)",
                                     .summary = "Gives the counters of the tiers."},
                                    {.name = "where",
                                     .arity = 3,
                                     .flags = kReadonly | kFast,
                                     .acl_categories = kAclKeyspace,
                                     .function = WhereCommand,
                                     .key_specs = kWhereKeys,
                                     .group = "tier",
                                     .since = "7.2.4",
                                     .complexity = "O(1)",
                                     .summary = "Gives the tier that a value is in.",
                                     .arguments = kOneKey}};

constexpr Command kCommands[] = {{.name = "tier",
                                  .arity = -2,
                                  .flags = 0,
                                  .acl_categories = 0,
                                  .subcommands = kSubcommands,
                                  .group = "tier",
                                  .since = "7.2.4",
                                  .complexity = "As the subcommand says.",
                                  .summary = "Groups the commands on the tiers of storage."}};

}  // namespace

std::span<const Command> TierCommands() { return kCommands; }

}  // namespace firn::server
