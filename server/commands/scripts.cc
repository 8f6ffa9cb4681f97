// EVAL and its like, SCRIPT.
#include "server/commands/scripts.h"

#include <charconv>
#include <string>

#include "server/commands/common.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kNoScript = "NOSCRIPT No matching script. Please use EVAL.";

// The third argument.
bool ParseKeyCount(CommandContext& context, size_t* count) {
  int64_t number;
  if (!ParseIntegerOr(context, context.args[2], &number)) return false;
  if (number > static_cast<int64_t>(context.args.size()) - 3) {
    context.reply.Error("ERR Number of keys can't be greater than number of args");
    return false;
  }
  if (number < 0) {
    context.reply.Error("ERR Number of keys can't be negative");
    return false;
  }
  *count = static_cast<size_t>(number);
  return true;
}

void RunScript(CommandContext& context, const Scripting::Cached& script, size_t key_count,
               bool read_only) {
  Scripting& scripting = context.server.scripting();
  scripting.runner().Run(context, {.vm = &scripting.vm(),
                                   .function = script.function,
                                   .name = script.digest,
                                   .flags = script.flags,
                                   .read_only = read_only,
                                   .is_eval = true,
                                   .key_count = key_count});
}

void Eval(CommandContext& context, bool read_only) {
  size_t key_count;
  if (!ParseKeyCount(context, &key_count)) return;
  auto script = context.server.scripting().Load(context.args[1]);
  if (!script) return context.reply.Error("ERR " + script.error());
  RunScript(context, **script, key_count, read_only);
}

void EvalSha(CommandContext& context, bool read_only) {
  const std::string_view given = context.args[1];
  if (given.size() != kScriptDigestSize) return context.reply.Error(kNoScript);
  size_t key_count;
  if (!ParseKeyCount(context, &key_count)) return;
  char digest[kScriptDigestSize];
  for (size_t i = 0; i < kScriptDigestSize; ++i) {
    const char c = given[i];
    digest[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  }
  const Scripting::Cached* script = context.server.scripting().Find({digest, kScriptDigestSize});
  if (script == nullptr) return context.reply.Error(kNoScript);
  RunScript(context, *script, key_count, read_only);
}

void RunFunction(CommandContext& context, bool read_only) {
  Functions& functions = context.server.scripting().functions();
  const Functions::Function* function = functions.Find(context.args[1]);
  if (function == nullptr) return context.reply.Error("ERR Function not found");
  int64_t number;
  if (!ParseIntegerOr(context, context.args[2], &number, "ERR Bad number of keys provided")) return;
  size_t key_count;
  if (!ParseKeyCount(context, &key_count)) return;
  context.server.scripting().runner().Run(context, {.vm = &functions.vm(),
                                                    .function = function->reference,
                                                    .name = function->name,
                                                    .flags = function->flags,
                                                    .read_only = read_only,
                                                    .is_eval = false,
                                                    .key_count = key_count});
}

}  // namespace

void EvalCommand(CommandContext& context) { Eval(context, false); }
void EvalRoCommand(CommandContext& context) { Eval(context, true); }
void EvalShaCommand(CommandContext& context) { EvalSha(context, false); }
void EvalShaRoCommand(CommandContext& context) { EvalSha(context, true); }
void FcallCommand(CommandContext& context) { RunFunction(context, false); }
void FcallRoCommand(CommandContext& context) { RunFunction(context, true); }

void ScriptDebugCommand(CommandContext& context) {
  const std::string_view mode = context.args[2];
  if (EqualsIgnoreCase(mode, "no")) return context.reply.Ok();
  if (!EqualsIgnoreCase(mode, "yes") && !EqualsIgnoreCase(mode, "sync")) {
    return context.reply.Error("ERR Use SCRIPT DEBUG YES/SYNC/NO");
  }
  context.reply.Error("ERR The debugger for scripts is not available in Firn");
}

void ScriptExistsCommand(CommandContext& context) {
  context.reply.ArrayHeader(static_cast<int64_t>(context.args.size()) - 2);
  for (std::string_view digest : context.args.subspan(2)) {
    context.reply.Integer(context.server.scripting().Find(digest) != nullptr ? 1 : 0);
  }
}

void ScriptFlushCommand(CommandContext& context) {
  const auto args = context.args;
  const bool known = args.size() == 2 || (args.size() == 3 && (EqualsIgnoreCase(args[2], "sync") ||
                                                               EqualsIgnoreCase(args[2], "async")));
  if (!known) return context.reply.Error("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
  context.server.scripting().Flush();
  context.reply.Ok();
}

void ScriptHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"DEBUG (YES|SYNC|NO)", "Only NO is known: there is no debugger."},
      {"EXISTS <sha1> [<sha1> ...]", "Tells for each digest if its script is known."},
      {"FLUSH [ASYNC|SYNC]", "Forgets all scripts."},
      {"KILL", "Ends the script that runs, if it has written nothing."},
      {"LOAD <script>", "Makes a script known without running it."}};
  ReplyHelp(context, "SCRIPT", kLines);
}

void ScriptKillCommand(CommandContext& context) {
  context.server.scripting().runner().Kill(&context.reply, ScriptRunner::KillKind::kScript);
}

void ScriptLoadCommand(CommandContext& context) {
  auto script = context.server.scripting().Load(context.args[2]);
  if (!script) return context.reply.Error("ERR " + script.error());
  context.reply.Bulk((*script)->digest);
}

}  // namespace firn::server
