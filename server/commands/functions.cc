// FUNCTION.
#include "engine/base/glob.h"
#include "server/commands/common.h"
#include "server/commands/scripts.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

Functions& FunctionsOf(CommandContext& context) { return context.server.scripting().functions(); }

// The libraries have changed: answers once that is on the disk.
void AnswerWhenSaved(CommandContext& context,
                     std::move_only_function<void(CommandContext&)> reply) {
  ++context.server.stats().changes;
  auto pending = PendingCommand::Begin(context);
  FunctionsOf(context).Save([pending, reply = std::move(reply)](Status status) mutable {
    pending->Finish([status, reply = std::move(reply)](CommandContext& finished) mutable {
      if (status.ok()) return reply(finished);
      finished.reply.Error("MISCONF The functions could not be saved: " + status.message());
    });
  });
  pending->Return();
}

void ReplyOk(CommandContext& context) { context.reply.Ok(); }

void ReplyLibrary(Reply& reply, const Functions::Library& library, bool with_code) {
  reply.MapHeader(with_code ? 4 : 3);
  reply.Bulk("library_name");
  reply.Bulk(library.name);
  reply.Bulk("engine");
  reply.Bulk("LUA");
  reply.Bulk("functions");
  reply.ArrayHeader(static_cast<int64_t>(library.functions.size()));
  for (const auto& [name, function] : library.functions) {
    reply.MapHeader(3);
    reply.Bulk("name");
    reply.Bulk(function.name);
    reply.Bulk("description");
    if (function.description) {
      reply.Bulk(*function.description);
    } else {
      reply.Null();
    }
    reply.Bulk("flags");
    int64_t flags = 0;
    for (const ScriptFlagName& flag : ScriptFlagNames()) {
      if ((function.flags & flag.flag) != 0) ++flags;
    }
    reply.SetHeader(flags);
    for (const ScriptFlagName& flag : ScriptFlagNames()) {
      if ((function.flags & flag.flag) != 0) reply.SimpleString(flag.name);
    }
  }
  if (!with_code) return;
  reply.Bulk("library_code");
  reply.Bulk(library.code);
}

}  // namespace

void FunctionDeleteCommand(CommandContext& context) {
  if (!FunctionsOf(context).Delete(context.args[2])) {
    return context.reply.Error("ERR Library not found");
  }
  AnswerWhenSaved(context, ReplyOk);
}

void FunctionDumpCommand(CommandContext& context) {
  context.reply.Bulk(FunctionsOf(context).Dump());
}

void FunctionFlushCommand(CommandContext& context) {
  const auto args = context.args;
  if (args.size() > 3) return SubcommandError(context);
  if (args.size() == 3 && !EqualsIgnoreCase(args[2], "sync") &&
      !EqualsIgnoreCase(args[2], "async")) {
    return context.reply.Error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
  }
  FunctionsOf(context).Flush();
  AnswerWhenSaved(context, ReplyOk);
}

void FunctionHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"LOAD [REPLACE] <FUNCTION CODE>", "Makes a library of the name that its code gives."},
      {"DELETE <LIBRARY NAME>", "Deletes a library."},
      {"LIST [LIBRARYNAME PATTERN] [WITHCODE]", "Describes the libraries and their functions."},
      {"STATS", "Tells which function runs, and what engines there are."},
      {"KILL", "Ends the function that runs, if it has written nothing."},
      {"FLUSH [ASYNC|SYNC]", "Deletes all libraries."},
      {"DUMP", "Gives all libraries in a form that RESTORE takes."},
      {"RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]", "Adds the libraries of a DUMP."}};
  ReplyHelp(context, "FUNCTION", kLines);
}

void FunctionKillCommand(CommandContext& context) {
  context.server.scripting().runner().Kill(&context.reply, ScriptRunner::KillKind::kFunction);
}

void FunctionListCommand(CommandContext& context) {
  bool with_code = false;
  std::optional<std::string_view> pattern;
  const auto args = context.args;
  for (size_t i = 2; i < args.size(); ++i) {
    if (!with_code && EqualsIgnoreCase(args[i], "withcode")) {
      with_code = true;
    } else if (!pattern && EqualsIgnoreCase(args[i], "libraryname")) {
      if (i + 1 >= args.size()) {
        return context.reply.Error("ERR library name argument was not given");
      }
      pattern = args[++i];
    } else {
      return context.reply.Error("ERR Unknown argument " + std::string(UpToNul(args[i])));
    }
  }
  std::vector<const Functions::Library*> found;
  for (const auto& [name, library] : FunctionsOf(context).libraries()) {
    if (!pattern || GlobMatch(*pattern, name, GlobCase::kIgnoreAscii))
      found.push_back(library.get());
  }
  context.reply.ArrayHeader(static_cast<int64_t>(found.size()));
  for (const Functions::Library* library : found) ReplyLibrary(context.reply, *library, with_code);
}

void FunctionLoadCommand(CommandContext& context) {
  auto on_conflict = Functions::OnConflict::kRefuse;
  size_t at = 2;
  for (; at + 1 < context.args.size(); ++at) {
    if (!EqualsIgnoreCase(context.args[at], "replace")) {
      return context.reply.Error("ERR Unknown option given: " +
                                 std::string(UpToNul(context.args[at])));
    }
    on_conflict = Functions::OnConflict::kReplace;
  }
  auto loaded = FunctionsOf(context).Load(context.args[at], on_conflict);
  if (!loaded) return context.reply.Error("ERR " + loaded.error());
  AnswerWhenSaved(context,
                  [name = *loaded](CommandContext& finished) { finished.reply.Bulk(name); });
}

void FunctionRestoreCommand(CommandContext& context) {
  if (context.args.size() > 4) return SubcommandError(context);
  auto policy = Functions::RestorePolicy::kAppend;
  if (context.args.size() == 4) {
    const std::string_view word = context.args[3];
    if (EqualsIgnoreCase(word, "replace")) {
      policy = Functions::RestorePolicy::kReplace;
    } else if (EqualsIgnoreCase(word, "flush")) {
      policy = Functions::RestorePolicy::kFlush;
    } else if (!EqualsIgnoreCase(word, "append")) {
      return context.reply.Error(
          "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
    }
  }
  if (auto error = FunctionsOf(context).Restore(context.args[2], policy)) {
    return context.reply.Error("ERR " + *error);
  }
  AnswerWhenSaved(context, ReplyOk);
}

void FunctionStatsCommand(CommandContext& context) {
  const ScriptRunner& runner = context.server.scripting().runner();
  if (runner.running() && runner.is_eval()) return context.reply.Error(runner.busy_error());
  Reply& reply = context.reply;
  reply.MapHeader(2);
  reply.Bulk("running_script");
  if (!runner.running()) {
    reply.Null();
  } else {
    reply.MapHeader(3);
    reply.Bulk("name");
    reply.Bulk(runner.name());
    reply.Bulk("command");
    reply.ArrayHeader(static_cast<int64_t>(runner.command_args().size()));
    for (std::string_view arg : runner.command_args()) reply.Bulk(arg);
    reply.Bulk("duration_ms");
    reply.Integer(runner.running_ms());
  }
  const Functions& functions = FunctionsOf(context);
  reply.Bulk("engines");
  reply.MapHeader(1);
  reply.Bulk("LUA");
  reply.MapHeader(2);
  reply.Bulk("libraries_count");
  reply.Integer(static_cast<int64_t>(functions.libraries().size()));
  reply.Bulk("functions_count");
  reply.Integer(static_cast<int64_t>(functions.function_count()));
}

}  // namespace firn::server
