// The rows of EVAL, EVALSHA, FCALL, SCRIPT and FUNCTION.
#include "server/commands/scripts.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr std::string_view kKeyNotes =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
constexpr std::string_view kReadNotes =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";
constexpr KeySpec kKeys[] = {{.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate,
                              .access = Access::kUpdate,
                              .begin_index = 2,
                              .find = KeySpec::Find::kKeynum,
                              .notes = kKeyNotes}};
constexpr KeySpec kReadKeys[] = {{.flags = kKeyReadOnly | kKeyAccess,
                                  .access = Access::kRead,
                                  .begin_index = 2,
                                  .find = KeySpec::Find::kKeynum,
                                  .notes = kReadNotes}};
constexpr uint8_t kOptionalMultiple = CommandArgument::kOptional | CommandArgument::kMultiple;

#define FIRN_SCRIPT_ARGUMENTS(first)                                                            \
  {                                                                                             \
    {.name = first}, {.name = "numkeys", .type = Type::kInteger},                               \
        {.name = "key", .type = Type::kKey, .flags = kOptionalMultiple, .key_spec_index = 0}, { \
      .name = "arg", .flags = kOptionalMultiple                                                 \
    }                                                                                           \
  }
constexpr CommandArgument kEvalArguments[] = FIRN_SCRIPT_ARGUMENTS("script");
constexpr CommandArgument kEvalShaArguments[] = FIRN_SCRIPT_ARGUMENTS("sha1");
constexpr CommandArgument kFcallArguments[] = FIRN_SCRIPT_ARGUMENTS("function");
#undef FIRN_SCRIPT_ARGUMENTS

constexpr uint64_t kEvalFlags =
    kNoscript | kStale | kSkipMonitor | kMayReplicate | kNoMandatoryKeys | kMovableKeys;
constexpr uint64_t kEvalRoFlags =
    kNoscript | kStale | kSkipMonitor | kReadonly | kNoMandatoryKeys | kMovableKeys;

constexpr std::string_view kFlushTips[] = {"request_policy:all_nodes",
                                           "response_policy:all_succeeded"};
constexpr std::string_view kShardTips[] = {"request_policy:all_shards",
                                           "response_policy:all_succeeded"};
constexpr std::string_view kExistsTips[] = {"request_policy:all_shards",
                                            "response_policy:agg_logical_and"};
constexpr std::string_view kKillTips[] = {"request_policy:all_shards",
                                          "response_policy:one_succeeded"};
constexpr std::string_view kListTips[] = {"nondeterministic_output_order"};
constexpr std::string_view kStatsTips[] = {"nondeterministic_output", "request_policy:all_shards",
                                           "response_policy:special"};
constexpr CommandHistory kScriptFlushHistory[] = {
    {"6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers."}};

constexpr CommandArgument kModes[] = {{.name = "yes", .type = Type::kPureToken, .token = "YES"},
                                      {.name = "sync", .type = Type::kPureToken, .token = "SYNC"},
                                      {.name = "no", .type = Type::kPureToken, .token = "NO"}};
constexpr CommandArgument kDebugArguments[] = {
    {.name = "mode", .type = Type::kOneOf, .arguments = kModes}};
constexpr CommandArgument kDigests[] = {{.name = "sha1", .flags = CommandArgument::kMultiple}};
constexpr CommandArgument kFlushTypes[] = {
    {.name = "async", .type = Type::kPureToken, .token = "ASYNC"},
    {.name = "sync", .type = Type::kPureToken, .token = "SYNC"}};
constexpr CommandArgument kFlushArguments[] = {{.name = "flush-type",
                                                .type = Type::kOneOf,
                                                .flags = CommandArgument::kOptional,
                                                .arguments = kFlushTypes}};
constexpr CommandArgument kScriptArgument[] = {{.name = "script"}};
constexpr CommandArgument kLibraryName[] = {{.name = "library-name"}};
constexpr CommandArgument kListArguments[] = {
    {.name = "library-name-pattern", .token = "LIBRARYNAME", .flags = CommandArgument::kOptional},
    {.name = "withcode",
     .type = Type::kPureToken,
     .token = "WITHCODE",
     .flags = CommandArgument::kOptional}};
constexpr CommandArgument kLoadArguments[] = {{.name = "replace",
                                               .type = Type::kPureToken,
                                               .token = "REPLACE",
                                               .flags = CommandArgument::kOptional},
                                              {.name = "function-code"}};
constexpr CommandArgument kPolicies[] = {
    {.name = "flush", .type = Type::kPureToken, .token = "FLUSH"},
    {.name = "append", .type = Type::kPureToken, .token = "APPEND"},
    {.name = "replace", .type = Type::kPureToken, .token = "REPLACE"}};
constexpr CommandArgument kRestoreArguments[] = {{.name = "serialized-value"},
                                                 {.name = "policy",
                                                  .type = Type::kOneOf,
                                                  .flags = CommandArgument::kOptional,
                                                  .arguments = kPolicies}};

constexpr Command kScriptSubcommands[] = {
    {.name = "debug",
     .arity = 3,
     .flags = kNoscript,
     .acl_categories = kAclScripting,
     .function = ScriptDebugCommand,
     .group = "scripting",
     .since = "3.2.0",
     .complexity = "O(1)",
     .summary = "Sets the debug mode of scripts; there is none but NO.",
     .arguments = kDebugArguments},
    {.name = "exists",
     .arity = -3,
     .flags = kNoscript,
     .acl_categories = kAclScripting,
     .function = ScriptExistsCommand,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "O(N), N: the number of digests",
     .summary = "Tells which scripts are known.",
     .tips = kExistsTips,
     .arguments = kDigests},
    {.name = "flush",
     .arity = -2,
     .flags = kNoscript,
     .acl_categories = kAclScripting,
     .function = ScriptFlushCommand,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "O(N), N: the number of scripts",
     .summary = "Forgets all scripts.",
     .history = kScriptFlushHistory,
     .tips = kFlushTips,
     .arguments = kFlushArguments},
    {.name = "help",
     .arity = 2,
     .flags = kLoading | kStale,
     .acl_categories = kAclScripting,
     .function = ScriptHelpCommand,
     .group = "scripting",
     .since = "5.0.0",
     .complexity = "O(1)",
     .summary = "Tells of the subcommands."},
    {.name = "kill",
     .arity = 2,
     .flags = kNoscript | kAllowBusy,
     .acl_categories = kAclScripting,
     .function = ScriptKillCommand,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "O(1)",
     .summary = "Ends the script that runs.",
     .tips = kKillTips},
    {.name = "load",
     .arity = 3,
     .flags = kNoscript | kStale,
     .acl_categories = kAclScripting,
     .function = ScriptLoadCommand,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "O(N), N: the length of the script",
     .summary = "Makes a script known.",
     .tips = kFlushTips,
     .arguments = kScriptArgument},
};

constexpr Command kFunctionSubcommands[] = {
    {.name = "delete",
     .arity = 3,
     .flags = kNoscript | kWrite,
     .acl_categories = kAclScripting,
     .function = FunctionDeleteCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(1)",
     .summary = "Deletes a library.",
     .tips = kShardTips,
     .arguments = kLibraryName},
    {.name = "dump",
     .arity = 2,
     .flags = kNoscript,
     .acl_categories = kAclScripting,
     .function = FunctionDumpCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(N), N: the number of functions",
     .summary = "Gives all libraries as bytes."},
    {.name = "flush",
     .arity = -2,
     .flags = kNoscript | kWrite,
     .acl_categories = kAclScripting,
     .function = FunctionFlushCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(N), N: the number of functions",
     .summary = "Deletes all libraries.",
     .tips = kShardTips,
     .arguments = kFlushArguments},
    {.name = "help",
     .arity = 2,
     .flags = kLoading | kStale,
     .acl_categories = kAclScripting,
     .function = FunctionHelpCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(1)",
     .summary = "Tells of the subcommands."},
    {.name = "kill",
     .arity = 2,
     .flags = kNoscript | kAllowBusy,
     .acl_categories = kAclScripting,
     .function = FunctionKillCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(1)",
     .summary = "Ends the function that runs.",
     .tips = kKillTips},
    {.name = "list",
     .arity = -2,
     .flags = kNoscript,
     .acl_categories = kAclScripting,
     .function = FunctionListCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(N), N: the number of functions",
     .summary = "Describes the libraries.",
     .tips = kListTips,
     .arguments = kListArguments},
    {.name = "load",
     .arity = -3,
     .flags = kNoscript | kWrite | kDenyOom,
     .acl_categories = kAclScripting,
     .function = FunctionLoadCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(1)",
     .summary = "Makes a library.",
     .tips = kShardTips,
     .arguments = kLoadArguments},
    {.name = "restore",
     .arity = -3,
     .flags = kNoscript | kWrite | kDenyOom,
     .acl_categories = kAclScripting,
     .function = FunctionRestoreCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(N), N: the number of functions",
     .summary = "Adds the libraries of a dump.",
     .tips = kShardTips,
     .arguments = kRestoreArguments},
    {.name = "stats",
     .arity = 2,
     .flags = kNoscript | kAllowBusy,
     .acl_categories = kAclScripting,
     .function = FunctionStatsCommand,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "O(1)",
     .summary = "Tells which function runs.",
     .tips = kStatsTips},
};

constexpr Command kRows[] = {
    {.name = "eval",
     .arity = -3,
     .flags = kEvalFlags,
     .acl_categories = kAclScripting,
     .function = EvalCommand,
     .key_specs = kKeys,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "Depends on the script.",
     .summary = "Runs a script.",
     .arguments = kEvalArguments},
    {.name = "eval_ro",
     .arity = -3,
     .flags = kEvalRoFlags,
     .acl_categories = kAclScripting,
     .function = EvalRoCommand,
     .key_specs = kReadKeys,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "Depends on the script.",
     .summary = "Runs a script that writes nothing.",
     .arguments = kEvalArguments},
    {.name = "evalsha",
     .arity = -3,
     .flags = kEvalFlags,
     .acl_categories = kAclScripting,
     .function = EvalShaCommand,
     .key_specs = kKeys,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "Depends on the script.",
     .summary = "Runs a known script by its digest.",
     .arguments = kEvalShaArguments},
    {.name = "evalsha_ro",
     .arity = -3,
     .flags = kEvalRoFlags,
     .acl_categories = kAclScripting,
     .function = EvalShaRoCommand,
     .key_specs = kReadKeys,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "Depends on the script.",
     .summary = "Runs a known script that writes nothing by its digest.",
     .arguments = kEvalShaArguments},
    {.name = "fcall",
     .arity = -3,
     .flags = kEvalFlags,
     .acl_categories = kAclScripting,
     .function = FcallCommand,
     .key_specs = kKeys,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "Depends on the function.",
     .summary = "Runs a function.",
     .arguments = kFcallArguments},
    {.name = "fcall_ro",
     .arity = -3,
     .flags = kEvalRoFlags,
     .acl_categories = kAclScripting,
     .function = FcallRoCommand,
     .key_specs = kReadKeys,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "Depends on the function.",
     .summary = "Runs a function that writes nothing.",
     .arguments = kFcallArguments},
    {.name = "function",
     .arity = -2,
     .flags = 0,
     .acl_categories = 0,
     .subcommands = kFunctionSubcommands,
     .group = "scripting",
     .since = "7.0.0",
     .complexity = "As the subcommand says.",
     .summary = "Groups the commands that deal with functions."},
    {.name = "script",
     .arity = -2,
     .flags = 0,
     .acl_categories = 0,
     .subcommands = kScriptSubcommands,
     .group = "scripting",
     .since = "2.6.0",
     .complexity = "As the subcommand says.",
     .summary = "Groups the commands that deal with scripts."},
};

}  // namespace

std::span<const Command> ScriptCommands() { return kRows; }

}  // namespace firn::server
