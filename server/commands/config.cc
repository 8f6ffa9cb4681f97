// CONFIG: a thin layer over Options.
#include <string>
#include <vector>

#include "server/commands/common.h"
#include "server/commands/server_commands.h"
#include "server/options/options.h"
#include "server/server.h"

namespace firn::server {

void ConfigGetCommand(CommandContext& context) {
  std::vector<Options::NamedValue> values = context.server.options().Get(context.args.subspan(2));
  context.reply.MapHeader(static_cast<int64_t>(values.size()));
  for (const Options::NamedValue& value : values) {
    context.reply.Bulk(value.name);
    context.reply.Bulk(value.value);
  }
}

void ConfigSetCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  if (args.size() % 2 != 0) return ArityError(context);
  std::vector<Options::Assignment> assignments;
  for (size_t i = 2; i + 1 < args.size(); i += 2) assignments.push_back({args[i], args[i + 1]});
  Status status = context.server.options().Set(
      assignments, {.loading = context.server.first_loading(), .local_client = context.client.IsLocal()});
  if (status.ok()) return context.reply.Ok();
  const bool loading = status.code() == StatusCode::kBusy;
  context.reply.Error((loading ? "LOADING " : "ERR ") + status.message());
}

void ConfigResetStatCommand(CommandContext& context) {
  context.server.ResetStatistics();
  context.reply.Ok();
}

void ConfigRewriteCommand(CommandContext& context) {
  Status status = context.server.options().Rewrite();
  if (status.ok()) return context.reply.Ok();
  context.reply.Error("ERR " + status.message());
}

void ConfigHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"GET <pattern> [<pattern> ...]", "Gives the settings whose names match a pattern."},
      {"SET <setting> <value> [<setting> <value> ...]", "Changes settings: all of them or none."},
      {"RESETSTAT", "Sets the counters of INFO to zero."},
      {"REWRITE", "Writes the settings in force to the configuration file."}};
  ReplyHelp(context, "CONFIG", kLines);
}

}  // namespace firn::server
