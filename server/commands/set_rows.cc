// The rows of the set commands.
#include "server/command.h"
#include "server/commands/sets.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kAddKeys[] = {{.flags = kKeyReadWrite | kKeyInsert, .access = Access::kUpdate}};
constexpr KeySpec kTestKeys[] = {{.flags = kKeyReadOnly, .access = Access::kRead}};
constexpr KeySpec kReadKeys[] = {{.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead}};
constexpr KeySpec kReadAllKeys[] = {
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .last = -1}};
constexpr KeySpec kPopKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kUpdate}};
constexpr KeySpec kRemoveKeys[] = {
    {.flags = kKeyReadWrite | kKeyDelete, .access = Access::kUpdate}};
constexpr KeySpec kMoveKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kUpdate},
    {.flags = kKeyReadWrite | kKeyInsert, .access = Access::kUpdate, .begin_index = 2}};
constexpr KeySpec kStoreKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kReplace},
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .begin_index = 2, .last = -1}};
constexpr KeySpec kInterStoreKeys[] = {
    {.flags = kKeyReadWrite | kKeyUpdate, .access = Access::kReplace},
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .begin_index = 2, .last = -1}};
constexpr KeySpec kCountedKeys[] = {
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .find = KeySpec::Find::kKeynum}};
constexpr std::string_view kOrderTips[] = {"nondeterministic_output_order"};
constexpr std::string_view kRandomTips[] = {"nondeterministic_output"};
constexpr CommandArgument kKey = {.name = "key", .type = Type::kKey, .key_spec_index = 0};
constexpr CommandArgument kSeveralKeys = {
    .name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0};
constexpr CommandArgument kKeyArguments[] = {kKey};
constexpr CommandArgument kKeysArguments[] = {kSeveralKeys};
constexpr CommandArgument kMemberArguments[] = {kKey, {.name = "member"}};
constexpr CommandArgument kMembersArguments[] = {
    kKey, {.name = "member", .flags = CommandArgument::kMultiple}};
constexpr CommandArgument kMoveArguments[] = {
    {.name = "source", .type = Type::kKey, .key_spec_index = 0},
    {.name = "destination", .type = Type::kKey, .key_spec_index = 1},
    {.name = "member"}};
constexpr CommandArgument kStoreArguments[] = {
    {.name = "destination", .type = Type::kKey, .key_spec_index = 0},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 1}};
constexpr CommandArgument kInterCardArguments[] = {{.name = "numkeys", .type = Type::kInteger},
                                                   kSeveralKeys,
                                                   {.name = "limit",
                                                    .type = Type::kInteger,
                                                    .token = "LIMIT",
                                                    .flags = CommandArgument::kOptional}};
constexpr CommandArgument kPopArguments[] = {kKey,
                                             {.name = "count",
                                              .type = Type::kInteger,
                                              .flags = CommandArgument::kOptional,
                                              .since = "3.2.0"}};
constexpr CommandArgument kRandMemberArguments[] = {kKey,
                                                    {.name = "count",
                                                     .type = Type::kInteger,
                                                     .flags = CommandArgument::kOptional,
                                                     .since = "2.6.0"}};
constexpr CommandArgument kScanArguments[] = {kKey,
                                              {.name = "cursor", .type = Type::kInteger},
                                              {.name = "pattern",
                                               .type = Type::kPattern,
                                               .token = "MATCH",
                                               .flags = CommandArgument::kOptional},
                                              {.name = "count",
                                               .type = Type::kInteger,
                                               .token = "COUNT",
                                               .flags = CommandArgument::kOptional}};
constexpr CommandHistory kMembersHistory[] = {{"2.4.0", "Several members."}};
constexpr CommandHistory kPopHistory[] = {{"3.2.0", "The argument `count`."}};
constexpr CommandHistory kRandMemberHistory[] = {{"2.6.0", "The argument `count`."}};

constexpr Command kCommands[] = {
    {.name = "sadd",
     .arity = -3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SAddCommand,
     .key_specs = kAddKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members named",
     .summary = "Adds members to a set, creating it if needed.",
     .history = kMembersHistory,
     .arguments = kMembersArguments},
    {.name = "scard",
     .arity = 2,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SCardCommand,
     .key_specs = kTestKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Counts the members of a set.",
     .arguments = kKeyArguments},
    {.name = "sdiff",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SDiffCommand,
     .key_specs = kReadAllKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members of all the sets",
     .summary = "Gives the members of the first set that are in none of the others.",
     .tips = kOrderTips,
     .arguments = kKeysArguments},
    {.name = "sdiffstore",
     .arity = -3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SDiffStoreCommand,
     .key_specs = kStoreKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members of all the sets",
     .summary = "Stores the members of the first set that are in none of the others.",
     .arguments = kStoreArguments},
    {.name = "sinter",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SInterCommand,
     .key_specs = kReadAllKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N*M), N: the members of the smallest set, M: the sets",
     .summary = "Gives the members that all the sets have.",
     .tips = kOrderTips,
     .arguments = kKeysArguments},
    {.name = "sintercard",
     .arity = -3,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SInterCardCommand,
     .key_specs = kCountedKeys,
     .group = "set",
     .since = "7.0.0",
     .complexity = "O(N*M), N: the members of the smallest set, M: the sets",
     .summary = "Counts the members that all the sets have.",
     .arguments = kInterCardArguments},
    {.name = "sinterstore",
     .arity = -3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SInterStoreCommand,
     .key_specs = kInterStoreKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N*M), N: the members of the smallest set, M: the sets",
     .summary = "Stores the members that all the sets have.",
     .arguments = kStoreArguments},
    {.name = "sismember",
     .arity = 3,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SIsMemberCommand,
     .key_specs = kTestKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Says whether a set has a member.",
     .arguments = kMemberArguments},
    {.name = "smembers",
     .arity = 2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SMembersCommand,
     .key_specs = kReadKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members of the set",
     .summary = "Gives all members of a set.",
     .tips = kOrderTips,
     .arguments = kKeyArguments},
    {.name = "smismember",
     .arity = -3,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SMIsMemberCommand,
     .key_specs = kReadKeys,
     .group = "set",
     .since = "6.2.0",
     .complexity = "O(N), N: the members named",
     .summary = "Says of each of several members whether a set has it.",
     .arguments = kMembersArguments},
    {.name = "smove",
     .arity = 4,
     .flags = kWrite | kFast | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SMoveCommand,
     .key_specs = kMoveKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Moves a member from one set to another.",
     .arguments = kMoveArguments},
    {.name = "spop",
     .arity = -2,
     .flags = kWrite | kFast | kRunsInPlace | kFreesSpace,
     .acl_categories = kAclSet,
     .function = SPopCommand,
     .key_specs = kPopKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members taken",
     .summary = "Takes members at random out of a set and gives them.",
     .history = kPopHistory,
     .tips = kRandomTips,
     .arguments = kPopArguments},
    {.name = "srandmember",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SRandMemberCommand,
     .key_specs = kReadKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members given",
     .summary = "Gives members of a set at random.",
     .history = kRandMemberHistory,
     .tips = kRandomTips,
     .arguments = kRandMemberArguments},
    {.name = "srem",
     .arity = -3,
     .flags = kWrite | kFast | kRunsInPlace | kFreesSpace,
     .acl_categories = kAclSet,
     .function = SRemCommand,
     .key_specs = kRemoveKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members named",
     .summary = "Removes members from a set.",
     .history = kMembersHistory,
     .arguments = kMembersArguments},
    {.name = "sscan",
     .arity = -3,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SScanCommand,
     .key_specs = kReadKeys,
     .group = "set",
     .since = "2.8.0",
     .complexity = "O(1) a call, O(N) for all N members",
     .summary = "Goes over the members of a set in steps.",
     .tips = kRandomTips,
     .arguments = kScanArguments},
    {.name = "sunion",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SUnionCommand,
     .key_specs = kReadAllKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members of all the sets",
     .summary = "Gives the members that any of the sets has.",
     .tips = kOrderTips,
     .arguments = kKeysArguments},
    {.name = "sunionstore",
     .arity = -3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclSet,
     .function = SUnionStoreCommand,
     .key_specs = kStoreKeys,
     .group = "set",
     .since = "1.0.0",
     .complexity = "O(N), N: the members of all the sets",
     .summary = "Stores the members that any of the sets has.",
     .arguments = kStoreArguments}};

}  // namespace

std::span<const Command> SetCommands() { return kCommands; }

}  // namespace firn::server
