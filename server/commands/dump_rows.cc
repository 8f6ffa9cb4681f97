// The rows of DUMP and RESTORE.
#include "server/command.h"
#include "server/commands/dump.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kDumpKeys[] = {{.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead}};
constexpr std::string_view kDumpTips[] = {"nondeterministic_output"};
constexpr CommandArgument kDumpArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0}};

constexpr KeySpec kRestoreKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kReplace}};
constexpr CommandHistory kRestoreHistory[] = {{"3.0.0", "Option `REPLACE`."},
                                              {"5.0.0", "Option `ABSTTL`."},
                                              {"5.0.0", "Options `IDLETIME` and `FREQ`."}};
constexpr CommandArgument kRestoreArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "ttl", .type = Type::kInteger},
    {.name = "serialized-value"},
    {.name = "replace",
     .type = Type::kPureToken,
     .token = "REPLACE",
     .flags = CommandArgument::kOptional,
     .since = "3.0.0"},
    {.name = "absttl",
     .type = Type::kPureToken,
     .token = "ABSTTL",
     .flags = CommandArgument::kOptional,
     .since = "5.0.0"},
    {.name = "seconds",
     .type = Type::kInteger,
     .token = "IDLETIME",
     .flags = CommandArgument::kOptional,
     .since = "5.0.0"},
    {.name = "frequency",
     .type = Type::kInteger,
     .token = "FREQ",
     .flags = CommandArgument::kOptional,
     .since = "5.0.0"}};

constexpr Command kCommands[] = {
    {.name = "dump",
     .arity = 2,
     .flags = kReadonly,
     .acl_categories = kAclKeyspace,
     .function = DumpCommand,
     .key_specs = kDumpKeys,
     .group = "generic",
     .since = "2.6.0",
     .complexity = "O(N), N: the size of the value",
     .summary = "Gives a value in the form that RESTORE takes.",
     .tips = kDumpTips,
     .arguments = kDumpArguments},
    {.name = "restore",
     .arity = -4,
     .flags = kWrite | kDenyOom,
     .acl_categories = kAclKeyspace | kAclDangerous,
     .function = RestoreCommand,
     .key_specs = kRestoreKeys,
     .group = "generic",
     .since = "2.6.0",
     .complexity = "O(N log N), N: the size of the value",
     .summary = "Makes a key of what DUMP gave.",
     .history = kRestoreHistory,
     .arguments = kRestoreArguments},
    {.name = "restore-asking",
     .arity = -4,
     .flags = kWrite | kDenyOom | kAsking,
     .acl_categories = kAclKeyspace | kAclDangerous,
     .function = RestoreCommand,
     .key_specs = kRestoreKeys,
     .group = "server",
     .since = "3.0.0",
     .complexity = "O(N log N), N: the size of the value",
     .summary = "As RESTORE; for nodes of a cluster.",
     .history = kRestoreHistory,
     .arguments = kRestoreArguments},
};

}  // namespace

std::span<const Command> DumpCommands() { return kCommands; }

}  // namespace firn::server
