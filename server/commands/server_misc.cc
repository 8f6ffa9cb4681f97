// The smaller commands on the server itself, and those whose feature is not there.
#include <sys/time.h>

#include <string>

#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/options/version.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
void TimeCommand(CommandContext& context) {
  const ScriptRunner& script = context.server.scripting().runner();
  timeval now = script.began_at();
  if (!script.running()) gettimeofday(&now, nullptr);
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

void BgRewriteAofCommand(CommandContext& context) {
  if (!context.server.store().Compact()) {
    return context.reply.Error("ERR Background append only file rewriting already in progress");
  }
  // Its first step comes after the transaction.
  const bool later = context.server.dispatcher().in_transaction();
  context.reply.SimpleString(std::string("Background append only file rewriting ") +
                             (later ? "scheduled" : "started"));
}

void ClusterCommand(CommandContext& context) {
  context.reply.Error("ERR This instance has cluster support disabled");
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
