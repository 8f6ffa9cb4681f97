// SAVE, BGSAVE, LASTSAVE, BACKUP and SHUTDOWN.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/backups.h"
#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kInProgressError = "ERR Background save already in progress";

// What begins by a call with a callback, which as a rule is called before it returns: answers then,
// or when it is called.
struct Pending {
  std::optional<Status> early;
  std::optional<SuspendedCommand> suspended;
};
using Answer = void (*)(CommandContext& context, const Status& status);

template <typename Begin>
void AnswerWhenDone(CommandContext& context, Answer answer, Begin begin) {
  auto pending = std::make_shared<Pending>();
  begin([pending, answer](Status status) {
    if (!pending->suspended) {
      pending->early = std::move(status);
      return;
    }
    pending->suspended->Resume(
        [status = std::move(status), answer](CommandContext& context) { answer(context, status); });
  });
  if (pending->early) return answer(context, *pending->early);
  pending->suspended = context.Suspend();
}

}  // namespace

void LastSaveCommand(CommandContext& context) {
  context.reply.Integer(context.server.saver().state().last_save_seconds);
}

void SaveCommand(CommandContext& context) {
  RdbSaver& saver = context.server.saver();
  if (saver.in_progress()) return context.reply.Error(kInProgressError);
  auto answer = [](CommandContext& context, const Status& status) {
    if (status.ok()) return context.reply.Ok();
    context.reply.Error("ERR Saving failed: " + status.message());
  };
  AnswerWhenDone(context, answer, [&saver](RdbSaver::Done done) { saver.Save(std::move(done)); });
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

void BackupToCommand(CommandContext& context) {
  Backups& backups = context.server.backups();
  if (backups.in_progress()) return context.reply.Error("ERR A backup is already in progress");
  if (context.server.dispatcher().in_transaction()) {
    return context.reply.Error("ERR BACKUP can't run within a transaction");
  }
  const std::string directory(context.args[2]);
  if (directory.empty() || directory.find('\0') != std::string::npos) {
    return context.reply.Error("ERR Invalid directory");
  }
  SuspendedCommand suspended = context.Suspend();
  backups.Begin(directory, [suspended](Status status) {
    suspended.Resume([status = std::move(status)](CommandContext& context) {
      if (status.ok()) return context.reply.Ok();
      context.reply.Error("ERR Backup failed: " + status.message());
    });
  });
}

void BackupHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"TO <directory>",
       "Makes a copy of the data directory that a server can be started on; it is hard links "
       "where the file system has them. The directory must be empty or absent."}};
  ReplyHelp(context, "BACKUP", kLines);
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
  if (abort) {
    if (context.server.AbortShutdown()) return context.reply.Ok();
    return context.reply.Error("ERR No shutdown in progress.");
  }
  const ScriptRunner& script = context.server.scripting().runner();
  if (script.busy() && !nosave) return context.reply.Error(script.busy_error());
  const Server::ShutdownRequest request{.now = now, .save = save, .nosave = nosave, .force = force};
  auto answer = [](CommandContext& context, const Status& status) {
    if (!status.ok()) {
      return context.reply.Error("ERR Errors trying to SHUTDOWN. Check logs.");
    }
    // There is no reply but the end of the connection.
    context.Suspend();
  };
  AnswerWhenDone(context, answer, [&](RdbSaver::Done done) {
    context.server.RequestShutdown(request, std::move(done));
  });
}

}  // namespace firn::server
