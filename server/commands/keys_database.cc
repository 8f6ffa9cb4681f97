// Commands on whole databases, WAIT and WAITAOF.
#include <algorithm>
#include <limits>
#include <memory>

#include "server/client.h"
#include "server/commands/common.h"
#include "server/commands/keys.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

// No timer needs to be longer than a century.
constexpr int64_t kLongestWaitMs = 100LL * 365 * 24 * 3600 * 1000;

// FLUSHALL and FLUSHDB take ASYNC or SYNC. Both mean the same here: the keys are gone at once, the
// memory is freed in slices.
bool ParseFlushOr(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  if (args.size() == 1) return true;
  if (args.size() == 2 &&
      (EqualsIgnoreCase(args[1], "sync") || EqualsIgnoreCase(args[1], "async"))) {
    return true;
  }
  context.reply.Error(kSyntaxError);
  return false;
}

// Each key that goes is a change since the last save.
void Empty(CommandContext& context, uint32_t db) {
  context.server.stats().changes += context.store.EstimateKeys(db);
  context.store.FlushDatabase(db);
}

}  // namespace

void FlushDbCommand(CommandContext& context) {
  if (!ParseFlushOr(context)) return;
  context.server.NoteDatabaseChange(context.db().number());
  context.server.tracking().InvalidateAll();
  Empty(context, context.db().number());
  context.server.blocking().SignalDatabase(context.db().number());
  context.reply.Ok();
}

void FlushAllCommand(CommandContext& context) {
  if (!ParseFlushOr(context)) return;
  context.store.BeginGroup();
  for (uint32_t db = 0; db < context.store.databases(); ++db) {
    context.server.NoteDatabaseChange(db);
    if (context.store.EstimateKeys(db) > 0) Empty(context, db);
    context.server.blocking().SignalDatabase(db);
  }
  context.server.tracking().InvalidateAll();
  context.store.EndGroup();
  auto pending = PendingCommand::Begin(context);
  // A failure is in the server's log: the data is gone in any case.
  context.server.saver().SaveEmpty([pending](const Status&) {
    pending->Finish([](CommandContext& context) { context.reply.Ok(); });
  });
  pending->Return();
}

void SwapDbCommand(CommandContext& context) {
  constexpr IntegerRange kInt = {std::numeric_limits<int32_t>::min(),
                                 std::numeric_limits<int32_t>::max()};
  int64_t first, second;
  if (!ParseRangeOr(context, context.args[1], kInt, &first, "ERR invalid first DB index") ||
      !ParseRangeOr(context, context.args[2], kInt, &second, "ERR invalid second DB index")) {
    return;
  }
  const int64_t databases = context.store.databases();
  if (first < 0 || first >= databases || second < 0 || second >= databases) {
    return context.reply.Error(kDatabaseRangeError);
  }
  if (first != second) {
    const uint32_t a = static_cast<uint32_t>(first);
    const uint32_t b = static_cast<uint32_t>(second);
    context.server.NoteDatabaseChange(a, b);
    context.server.NoteDatabaseChange(b, a);
    context.store.SwapDatabases(a, b);
    context.server.blocking().SignalDatabase(a);
    context.server.blocking().SignalDatabase(b);
  }
  context.reply.Ok();
}

// There are no replicas: what asks for none is answered at once, everything else waits in vain.
void WaitCommand(CommandContext& context) {
  int64_t replicas, timeout_ms;
  if (!ParseIntegerOr(context, context.args[1], &replicas) ||
      !ParseIntegerOr(context, context.args[2], &timeout_ms,
                      "ERR timeout is not an integer or out of range")) {
    return;
  }
  if (timeout_ms < 0) return context.reply.Error("ERR timeout is negative");
  if (timeout_ms > std::numeric_limits<int64_t>::max() - context.now_ms()) {
    return context.reply.Error("ERR timeout is out of range");
  }
  // Nobody waits within a transaction or a script.
  if (replicas <= 0 || RunsAtomically(context)) return context.reply.Integer(0);
  SuspendedCommand suspended = context.Suspend();
  if (timeout_ms == 0) return;
  context.server.loop().AddTimer(std::min(timeout_ms, kLongestWaitMs) * 1000, [suspended] {
    suspended.Resume([](CommandContext& context) { context.reply.Integer(0); });
  });
}

void WaitAofCommand(CommandContext& context) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  int64_t local, replicas, timeout_ms;
  if (!ParseRangeOr(context, context.args[1], {0, 1}, &local) ||
      !ParseRangeOr(context, context.args[2], {0, kMost}, &replicas,
                    "ERR value is out of range, must be positive") ||
      !ParseIntegerOr(context, context.args[3], &timeout_ms,
                      "ERR timeout is not an integer or out of range")) {
    return;
  }
  if (timeout_ms < 0) return context.reply.Error("ERR timeout is negative");
  if (timeout_ms > kMost - context.now_ms()) {
    return context.reply.Error("ERR timeout is out of range");
  }
  if (local > 0 && !context.server.options()->appendonly) {
    return context.reply.Error(
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
  }
  Store& store = context.server.store();
  auto synced = std::make_shared<bool>(!context.server.becoming_durable() &&
                                       store.Stats().durable_lsn >= store.executed_lsn());
  auto reply = [synced](CommandContext& context) {
    context.reply.ArrayHeader(2);
    context.reply.Integer(*synced ? 1 : 0);
    context.reply.Integer(0);
  };
  const bool enough = replicas == 0 && (local == 0 || *synced);
  if (enough || context.client.transaction().running) return reply(context);
  SuspendedCommand suspended = context.Suspend();
  if (!*synced) {
    context.server.WhenDurable([synced, suspended, reply, waits = replicas > 0](Status status) {
      *synced = status.ok();
      if (!waits) suspended.Resume(reply);
    });
  }
  if (timeout_ms == 0) return;
  context.server.loop().AddTimer(std::min(timeout_ms, kLongestWaitMs) * 1000,
                                 [suspended, reply] { suspended.Resume(reply); });
}

}  // namespace firn::server
