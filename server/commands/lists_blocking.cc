// The list commands that wait for elements.
#include "server/blocking.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/commands/lists.h"

namespace firn::server {
namespace {

void BlockingPop(CommandContext& context, ListEnd end) {
  int64_t timeout_ms;
  if (!ParseBlockTimeout(context, context.args.back(), &timeout_ms)) return;
  if (PopFirstAndReply(context, {.end = end, .with_key = true})) return;
  BlockOnKeys(context, {.type = ValueType::kList, .timeout_ms = timeout_ms});
}

void BlockingMove(CommandContext& context, ListMove move) {
  int64_t timeout_ms;
  if (!ParseBlockTimeout(context, context.args.back(), &timeout_ms)) return;
  if (MoveAndReply(context, move)) return;
  // Redis has a null here where it may not block, but a null array at the end of the time.
  if (context.client.transaction().running) return context.reply.Null();
  BlockOnKeys(context, {.type = ValueType::kList, .timeout_ms = timeout_ms, .key_count = 1});
}

}  // namespace

void BLPopCommand(CommandContext& context) { BlockingPop(context, ListEnd::kHead); }
void BRPopCommand(CommandContext& context) { BlockingPop(context, ListEnd::kTail); }

void BLMPopCommand(CommandContext& context) {
  MultiPop pop;
  if (!ParseMultiPopOr(context, 2, &pop)) return;
  int64_t timeout_ms;
  if (!ParseBlockTimeout(context, context.args[1], &timeout_ms)) return;
  const PopReply reply = {
      .end = pop.end, .count = static_cast<uint64_t>(pop.count), .with_key = true};
  if (PopFirstAndReply(context, reply)) return;
  BlockOnKeys(context, {.type = ValueType::kList, .timeout_ms = timeout_ms});
}

void BLMoveCommand(CommandContext& context) {
  ListMove move;
  if (!ParseListEndOr(context, context.args[3], &move.from)) return;
  if (!ParseListEndOr(context, context.args[4], &move.to)) return;
  BlockingMove(context, move);
}

void BRPopLPushCommand(CommandContext& context) {
  BlockingMove(context, {.from = ListEnd::kTail, .to = ListEnd::kHead});
}

}  // namespace firn::server
