// BZPOPMIN, BZPOPMAX, BZMPOP.
#include "server/blocking.h"
#include "server/commands/zset_common.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

// The first of the keys that has something gives it; if none has, the client waits.
void PopOrBlock(CommandContext& context, const PopRequest& request, int64_t timeout_ms) {
  for (const KeyAccess& access : context.keys) {
    if (PopFromZset(context, access.key, request) != PopResult::kAbsent) return;
  }
  BlockOnKeys(context, {.type = ValueType::kZset, .timeout_ms = timeout_ms});
}

void Pop(CommandContext& context, ZsetEnd end) {
  int64_t timeout_ms;
  if (!ParseBlockTimeout(context, context.args.back(), &timeout_ms)) return;
  PopOrBlock(context, {.end = end, .emit_key = true}, timeout_ms);
}

}  // namespace

void BZPopMinCommand(CommandContext& context) { Pop(context, ZsetEnd::kMin); }
void BZPopMaxCommand(CommandContext& context) { Pop(context, ZsetEnd::kMax); }

void BZMPopCommand(CommandContext& context) {
  MultiPopArguments arguments;
  int64_t timeout_ms;
  if (!ParseMultiPopOr(context, 2, &arguments)) return;
  if (!ParseBlockTimeout(context, context.args[1], &timeout_ms)) return;
  PopOrBlock(context, arguments.request, timeout_ms);
}

}  // namespace firn::server
