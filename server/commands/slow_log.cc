// SLOWLOG.
#include "server/slow_log.h"

#include <algorithm>
#include <limits>

#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/server.h"

namespace firn::server {

void SlowLogGetCommand(CommandContext& context) {
  constexpr IntegerRange kCount = {-1, std::numeric_limits<int64_t>::max()};
  const std::deque<SlowLog::Entry>& entries = context.server.slow_log().entries();
  int64_t count = 10;
  if (context.args.size() > 3) return SubcommandError(context);
  if (context.args.size() == 3 &&
      !ParseRangeOr(context, context.args[2], kCount, &count,
                    "ERR count should be greater than or equal to -1")) {
    return;
  }
  const int64_t size = static_cast<int64_t>(entries.size());
  count = count < 0 ? size : std::min(count, size);
  context.reply.ArrayHeader(count);
  for (int64_t i = 0; i < count; ++i) {
    const SlowLog::Entry& entry = entries[static_cast<size_t>(i)];
    context.reply.ArrayHeader(6);
    context.reply.Integer(static_cast<int64_t>(entry.id));
    context.reply.Integer(entry.time_seconds);
    context.reply.Integer(entry.duration_us);
    context.reply.ArrayHeader(static_cast<int64_t>(entry.arguments.size()));
    for (const std::string& argument : entry.arguments) context.reply.Bulk(argument);
    context.reply.Bulk(entry.peer);
    context.reply.Bulk(entry.client_name);
  }
}

void SlowLogLenCommand(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.server.slow_log().entries().size()));
}

void SlowLogResetCommand(CommandContext& context) {
  context.server.slow_log().Clear();
  context.reply.Ok();
}

void SlowLogHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"GET [<count>]", "Gives the newest entries: 10, or <count>; -1 means all."},
      {"LEN", "Counts the entries."},
      {"RESET", "Deletes the entries."}};
  ReplyHelp(context, "SLOWLOG", kLines);
}

}  // namespace firn::server
