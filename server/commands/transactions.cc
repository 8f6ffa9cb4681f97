// MULTI, EXEC, DISCARD, WATCH, UNWATCH. EXEC's work is the dispatcher's; see server/transaction.h.

#include "server/client.h"
#include "server/command.h"
#include "server/server.h"

namespace firn::server {
namespace {

void MultiCommand(CommandContext& context) {
  Transaction& transaction = context.client.transaction();
  if (transaction.open) return context.reply.Error("ERR MULTI calls can not be nested");
  transaction.open = true;
  context.reply.Ok();
}

void DiscardCommand(CommandContext& context) {
  if (!context.client.transaction().open) return context.reply.Error("ERR DISCARD without MULTI");
  context.client.DiscardTransaction();
  context.reply.Ok();
}

// Only of transactions that don't run.
void ExecCommand(CommandContext& context) {
  Transaction& transaction = context.client.transaction();
  if (!transaction.open) return context.reply.Error("ERR EXEC without MULTI");
  const bool failed = transaction.failed;
  context.client.DiscardTransaction();
  if (failed) {
    context.reply.Error("EXECABORT Transaction discarded because of previous errors.");
  } else {
    context.reply.NullArray();
  }
}

void WatchCommand(CommandContext& context) {
  if (context.client.transaction().open) {
    return context.reply.Error("ERR WATCH inside MULTI is not allowed");
  }
  // What has been touched stays touched: more keys needn't be watched.
  if (!context.client.transaction().touched) {
    for (const KeyAccess& access : context.keys) {
      auto info = context.db().Lookup(access.key, {.touch = false, .count_hit = false});
      context.server.watches().Watch(&context.client, {.db = access.db,
                                                       .key = std::string(access.key.bytes),
                                                       .exists = info.exists(),
                                                       .expiry_ms = info.expiry_ms});
    }
  }
  context.reply.Ok();
}

void UnwatchCommand(CommandContext& context) {
  context.server.watches().Unwatch(&context.client);
  context.reply.Ok();
}

constexpr uint64_t kUsual = kNoscript | kLoading | kStale | kFast | kAllowBusy;
constexpr KeySpec kWatchKeys[] = {{.flags = kKeyReadOnly, .access = Access::kMetadata, .last = -1}};
constexpr CommandArgument kWatchArguments[] = {{.name = "key",
                                                .type = CommandArgument::Type::kKey,
                                                .flags = CommandArgument::kMultiple,
                                                .key_spec_index = 0}};

constexpr Command kRows[] = {
    {.name = "multi",
     .arity = 1,
     .flags = kUsual | kRunsInPlace,
     .acl_categories = kAclTransaction,
     .function = MultiCommand,
     .group = "transactions",
     .since = "1.2.0",
     .complexity = "O(1)",
     .summary = "Begins a transaction: what follows is queued until EXEC."},
    {.name = "exec",
     .arity = 1,
     .flags = kNoscript | kLoading | kStale | kSkipSlowlog,
     .acl_categories = kAclTransaction,
     .function = ExecCommand,
     .group = "transactions",
     .since = "1.2.0",
     .complexity = "Depends on the commands queued.",
     .summary = "Runs the commands of a transaction."},
    {.name = "discard",
     .arity = 1,
     .flags = kUsual | kRunsInPlace,
     .acl_categories = kAclTransaction,
     .function = DiscardCommand,
     .group = "transactions",
     .since = "2.0.0",
     .complexity = "O(N), N: the number of commands queued",
     .summary = "Drops a transaction."},
    {.name = "watch",
     .arity = -2,
     .flags = kUsual,
     .acl_categories = kAclTransaction,
     .function = WatchCommand,
     .key_specs = kWatchKeys,
     .group = "transactions",
     .since = "2.2.0",
     .complexity = "O(1) for each key",
     .summary = "Makes the next EXEC fail if the keys change before it.",
     .arguments = kWatchArguments},
    {.name = "unwatch",
     .arity = 1,
     .flags = kUsual | kRunsInPlace,
     .acl_categories = kAclTransaction,
     .function = UnwatchCommand,
     .group = "transactions",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary = "Forgets the keys that are watched."},
};

}  // namespace

std::span<const Command> TransactionCommands() { return kRows; }

}  // namespace firn::server
