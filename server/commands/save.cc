// SAVE, BGSAVE, LASTSAVE and SHUTDOWN.
#include <algorithm>
#include <string_view>

#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/rdb_save.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kInProgressError = "ERR Background save already in progress";

}  // namespace

void LastSaveCommand(CommandContext& context) {
  context.reply.Integer(context.server.saver().state().last_save_seconds);
}

void SaveCommand(CommandContext& context) {
  RdbSaver& saver = context.server.saver();
  if (saver.in_progress()) return context.reply.Error(kInProgressError);
  Status status = saver.SaveNow();
  if (status.ok()) return context.reply.Ok();
  context.reply.Error("ERR Saving failed: " + status.message());
}

void BgSaveCommand(CommandContext& context) {
  const bool schedule = context.args.size() == 2 && EqualsIgnoreCase(context.args[1], "schedule");
  if (context.args.size() > 1 && !schedule) return context.reply.Error(kSyntaxError);
  RdbSaver& saver = context.server.saver();
  if (saver.in_progress()) return context.reply.Error(kInProgressError);
  if (context.server.dispatcher().in_transaction()) {
    // The moment that is saved must not lie within the transaction.
    saver.Schedule();
    return context.reply.SimpleString("Background saving scheduled");
  }
  Status status = saver.Begin();
  if (status.ok()) return context.reply.SimpleString("Background saving started");
  context.reply.Error("ERR Saving failed: " + status.message());
}

void ShutdownCommand(CommandContext& context) {
  bool save = false, nosave = false, now = false, force = false, abort = false;
  struct Word {
    std::string_view name;
    bool* flag;
  };
  const Word words[] = {
      {"save", &save}, {"nosave", &nosave}, {"now", &now}, {"force", &force}, {"abort", &abort}};
  for (std::string_view arg : context.args.subspan(1)) {
    const Word* found = std::ranges::find_if(
        words, [arg](const Word& word) { return EqualsIgnoreCase(arg, word.name); });
    if (found == std::end(words)) return context.reply.Error(kSyntaxError);
    *found->flag = true;
  }
  if ((save && nosave) || (abort && (save || nosave || now || force))) {
    return context.reply.Error(kSyntaxError);
  }
  if (abort) return context.reply.Error("ERR No shutdown in progress.");
  Status status =
      context.server.RequestShutdown({.now = now, .save = save, .nosave = nosave, .force = force});
  if (!status.ok()) {
    return context.reply.Error("ERR Errors trying to SHUTDOWN. Check logs.");
  }
  // There is no reply but the end of the connection.
  context.Suspend();
}

}  // namespace firn::server
