// The rows of DUMP and RESTORE.
#include <span>
#include <string_view>
#include <vector>

#include "server/command.h"
#include "server/commands/dump.h"

namespace firn::server {
namespace {

// MIGRATE has an empty key where one would stand if KEYS follows.
void DropEmptyKey(std::span<const std::string_view> args, std::vector<FoundKey>* keys) {
  constexpr size_t kSingleKey = 3;
  if (keys->size() < 2 || !args[kSingleKey].empty()) return;
  std::erase_if(*keys, [](const FoundKey& key) { return key.argument == kSingleKey; });
}

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

constexpr KeySpec kMigrateKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kRead, .begin_index = 3},
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete | kKeyIncomplete,
     .access = Access::kRead,
     .begin = KeySpec::Begin::kKeyword,
     .begin_index = -2,
     .keyword = "KEYS",
     .last = -1}};
constexpr std::string_view kMigrateTips[] = {"nondeterministic_output"};
constexpr CommandHistory kMigrateHistory[] = {{"3.0.0", "Options `COPY` and `REPLACE`."},
                                              {"3.0.6", "Option `KEYS`."},
                                              {"4.0.7", "Option `AUTH`."},
                                              {"6.0.0", "Option `AUTH2`."}};
constexpr CommandArgument kMigrateSelectors[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "empty-string", .type = Type::kPureToken, .token = "\"\""}};
constexpr CommandArgument kMigrateUser[] = {{.name = "username"}, {.name = "password"}};
constexpr CommandArgument kMigrateCredentials[] = {
    {.name = "auth", .token = "AUTH", .since = "4.0.7"},
    {.name = "auth2",
     .type = Type::kBlock,
     .token = "AUTH2",
     .since = "6.0.0",
     .arguments = kMigrateUser}};
constexpr CommandArgument kMigrateArguments[] = {
    {.name = "host"},
    {.name = "port", .type = Type::kInteger},
    {.name = "key-selector", .type = Type::kOneOf, .arguments = kMigrateSelectors},
    {.name = "destination-db", .type = Type::kInteger},
    {.name = "timeout", .type = Type::kInteger},
    {.name = "copy",
     .type = Type::kPureToken,
     .token = "COPY",
     .flags = CommandArgument::kOptional,
     .since = "3.0.0"},
    {.name = "replace",
     .type = Type::kPureToken,
     .token = "REPLACE",
     .flags = CommandArgument::kOptional,
     .since = "3.0.0"},
    {.name = "authentication",
     .type = Type::kOneOf,
     .flags = CommandArgument::kOptional,
     .arguments = kMigrateCredentials},
    {.name = "keys",
     .type = Type::kKey,
     .token = "KEYS",
     .flags = CommandArgument::kOptional | CommandArgument::kMultiple,
     .key_spec_index = 1,
     .since = "3.0.6"}};

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
    {.name = "migrate",
     .arity = -6,
     .flags = kWrite,
     .acl_categories = kAclKeyspace | kAclDangerous,
     .function = MigrateCommand,
     .key_specs = kMigrateKeys,
     .more_keys = DropEmptyKey,
     .group = "generic",
     .since = "2.6.0",
     .complexity = "O(N), N: the size of the values",
     .summary = "Moves keys to another server.",
     .history = kMigrateHistory,
     .tips = kMigrateTips,
     .arguments = kMigrateArguments},
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
