// The smaller commands on the server itself, and those whose feature is not there.
#include <sys/time.h>

#include <algorithm>
#include <string>

#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/options/version.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kNoSnapshots =
    "ERR Snapshots are not available in this version: every change is in the log";

}  // namespace

void TimeCommand(CommandContext& context) {
  timeval now;
  gettimeofday(&now, nullptr);
  context.reply.ArrayHeader(2);
  context.reply.BulkInteger(now.tv_sec);
  context.reply.BulkInteger(now.tv_usec);
}

void RoleCommand(CommandContext& context) {
  context.reply.ArrayHeader(3);
  context.reply.Bulk(std::string_view("master"));
  context.reply.Integer(0);
  context.reply.EmptyArray();
}

void ReplicaOfCommand(CommandContext& context) {
  if (EqualsIgnoreCase(context.args[1], "no") && EqualsIgnoreCase(context.args[2], "one")) {
    return context.reply.Ok();
  }
  int64_t port;
  if (!ParseRangeOr(context, context.args[2], {0, 65535}, &port, "ERR Invalid master port")) return;
  context.reply.Error("ERR Replication is not available in this version");
}

void LolwutCommand(CommandContext& context) {
  // A snow crystal, and the line that clients look for.
  constexpr std::string_view kCrystal =
      "      \\ | /\n"
      "   \\___\\|/___/\n"
      "  ---- >*< ----\n"
      "   /   /|\\   \\\n"
      "      / | \\\n\n"
      "Firn: snow of last year, on its way to ice.\n\n";
  std::string text(kCrystal);
  text.append("Redis ver. ").append(kRedisVersion).append(", Firn ").append(kFirnVersion);
  text.append("\n");
  context.reply.Verbatim("txt", text);
}

void LastSaveCommand(CommandContext& context) {
  context.reply.Integer(context.server.start_time_ms() / 1000);
}

void SaveCommand(CommandContext& context) { context.reply.Error(kNoSnapshots); }

void BgSaveCommand(CommandContext& context) {
  const bool schedule = context.args.size() == 2 && EqualsIgnoreCase(context.args[1], "schedule");
  if (context.args.size() > 1 && !schedule) return context.reply.Error(kSyntaxError);
  context.reply.Error(kNoSnapshots);
}

void BgRewriteAofCommand(CommandContext& context) {
  context.reply.Error("ERR The log is compacted all the time, there is nothing to rewrite");
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
  // There is no reply but the end of the connection.
  context.Suspend();
  context.server.RequestShutdown({.now = now});
}

void ClusterCommand(CommandContext& context) {
  context.reply.Error("ERR This instance has cluster support disabled");
}

void FunctionFlushCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  const bool known = args.size() == 2 || (args.size() == 3 && (EqualsIgnoreCase(args[2], "sync") ||
                                                               EqualsIgnoreCase(args[2], "async")));
  if (!known) {
    return context.reply.Error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
  }
  context.reply.Ok();
}

void ModuleListCommand(CommandContext& context) { context.reply.EmptyArray(); }

void ModuleLoadCommand(CommandContext& context) {
  context.reply.Error("ERR Error loading the extension. Modules are not available in this version");
}

void ModuleLoadExCommand(CommandContext& context) { ModuleLoadCommand(context); }

void ModuleUnloadCommand(CommandContext& context) {
  context.reply.Error("ERR Error unloading module: no such module with that name");
}

void ModuleHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"LIST", "Lists the loaded modules: none, they are not available in this version."},
      {"LOAD <path> [<arg> ...]", "Refused."},
      {"LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]", "Refused."},
      {"UNLOAD <name>", "Refused."}};
  ReplyHelp(context, "MODULE", kLines);
}

}  // namespace firn::server
