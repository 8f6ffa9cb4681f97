// The rows of the HyperLogLog commands.
#include "server/command.h"
#include "server/commands/hyperloglogs.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr CommandArgument kKey = {.name = "key", .type = Type::kKey, .key_spec_index = 0};

constexpr KeySpec kPfAddKeys[] = {{.flags = kKeyReadWrite | kKeyInsert, .access = Access::kUpdate}};
constexpr KeySpec kPfCountKeys[] = {{.flags = kKeyReadWrite | kKeyAccess,
                                     .access = Access::kUpdate,
                                     .last = -1,
                                     .notes = "The count is stored in the value."}};
constexpr KeySpec kPfDebugKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess, .access = Access::kUpdate, .begin_index = 2}};
constexpr KeySpec kPfMergeKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyInsert, .access = Access::kUpdate},
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .begin_index = 2, .last = -1}};

constexpr CommandArgument kPfAddArguments[] = {
    kKey, {.name = "element", .flags = CommandArgument::kOptional | CommandArgument::kMultiple}};
constexpr CommandArgument kPfCountArguments[] = {
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0}};
constexpr CommandArgument kPfDebugArguments[] = {{.name = "subcommand"}, kKey};
constexpr CommandArgument kPfMergeArguments[] = {
    {.name = "destkey", .type = Type::kKey, .key_spec_index = 0},
    {.name = "sourcekey",
     .type = Type::kKey,
     .flags = CommandArgument::kOptional | CommandArgument::kMultiple,
     .key_spec_index = 1}};

constexpr Command kCommands[] = {
    {.name = "pfadd",
     .arity = -2,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclHyperloglog,
     .function = PfAddCommand,
     .key_specs = kPfAddKeys,
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "O(1) for each element",
     .summary = "Counts elements in a HyperLogLog, creating it if needed.",
     .arguments = kPfAddArguments},
    {.name = "pfcount",
     .arity = -2,
     .flags = kReadonly | kMayReplicate | kRunsInPlace,
     .acl_categories = kAclHyperloglog,
     .function = PfCountCommand,
     .key_specs = kPfCountKeys,
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "O(1) for one key, O(N) for the union of N keys",
     .summary = "Estimates how many different elements HyperLogLogs have seen.",
     .arguments = kPfCountArguments},
    {.name = "pfdebug",
     .arity = 3,
     .flags = kWrite | kDenyOom | kAdmin | kRunsInPlace,
     .acl_categories = kAclHyperloglog,
     .function = PfDebugCommand,
     .key_specs = kPfDebugKeys,
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "N/A",
     .summary = "Shows the inside of a HyperLogLog, for tests.",
     .arguments = kPfDebugArguments},
    {.name = "pfmerge",
     .arity = -2,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclHyperloglog,
     .function = PfMergeCommand,
     .key_specs = kPfMergeKeys,
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "O(N), N: the HyperLogLogs merged",
     .summary = "Merges HyperLogLogs into one.",
     .arguments = kPfMergeArguments},
    {.name = "pfselftest",
     .arity = 1,
     .flags = kAdmin | kRunsInPlace,
     .acl_categories = kAclHyperloglog,
     .function = PfSelfTestCommand,
     .group = "hyperloglog",
     .since = "2.8.9",
     .complexity = "N/A",
     .summary = "Tests the HyperLogLogs of this server."}};

}  // namespace

std::span<const Command> HyperLogLogCommands() { return kCommands; }

}  // namespace firn::server
