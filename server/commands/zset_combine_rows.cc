// The rows of the commands that combine sorted sets.
#include "server/command.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kZDiffKeys[] = {
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .find = KeySpec::Find::kKeynum}};
constexpr CommandArgument kZDiffArguments[] = {
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0},
    {.name = "withscores",
     .type = Type::kPureToken,
     .token = "WITHSCORES",
     .flags = CommandArgument::kOptional}};
constexpr KeySpec kZDiffStoreKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kUpdate},
    {.flags = kKeyReadOnly | kKeyAccess,
     .access = Access::kRead,
     .begin_index = 2,
     .find = KeySpec::Find::kKeynum}};
constexpr CommandArgument kZDiffStoreArguments[] = {
    {.name = "destination", .type = Type::kKey, .key_spec_index = 0},
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 1}};
constexpr CommandArgument kZInterAggregate[] = {
    {.name = "sum", .type = Type::kPureToken, .token = "SUM"},
    {.name = "min", .type = Type::kPureToken, .token = "MIN"},
    {.name = "max", .type = Type::kPureToken, .token = "MAX"}};
constexpr CommandArgument kZInterArguments[] = {
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0},
    {.name = "weight",
     .type = Type::kInteger,
     .token = "WEIGHTS",
     .flags = CommandArgument::kOptional | CommandArgument::kMultiple},
    {.name = "aggregate",
     .type = Type::kOneOf,
     .token = "AGGREGATE",
     .flags = CommandArgument::kOptional,
     .arguments = kZInterAggregate},
    {.name = "withscores",
     .type = Type::kPureToken,
     .token = "WITHSCORES",
     .flags = CommandArgument::kOptional}};
constexpr CommandArgument kZInterCardArguments[] = {
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0},
    {.name = "limit",
     .type = Type::kInteger,
     .token = "LIMIT",
     .flags = CommandArgument::kOptional}};
constexpr CommandArgument kZInterStoreArguments[] = {
    {.name = "destination", .type = Type::kKey, .key_spec_index = 0},
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 1},
    {.name = "weight",
     .type = Type::kInteger,
     .token = "WEIGHTS",
     .flags = CommandArgument::kOptional | CommandArgument::kMultiple},
    {.name = "aggregate",
     .type = Type::kOneOf,
     .token = "AGGREGATE",
     .flags = CommandArgument::kOptional,
     .arguments = kZInterAggregate}};

constexpr Command kCommands[] = {
    {.name = "zdiff",
     .arity = -3,
     .flags = kReadonly | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZDiffCommand,
     .key_specs = kZDiffKeys,
     .group = "sorted-set",
     .since = "6.2.0",
     .complexity = "O(L+(N-K)*log(N)), L: elements of all sets, N: of the first, K: of the result",
     .summary = "Gives what is in the first sorted set and in none of the others.",
     .arguments = kZDiffArguments},
    {.name = "zdiffstore",
     .arity = -4,
     .flags = kWrite | kDenyOom | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZDiffStoreCommand,
     .key_specs = kZDiffStoreKeys,
     .group = "sorted-set",
     .since = "6.2.0",
     .complexity = "O(L+(N-K)*log(N)), L: elements of all sets, N: of the first, K: of the result",
     .summary = "Stores what is in the first sorted set and in none of the others.",
     .arguments = kZDiffStoreArguments},
    {.name = "zinter",
     .arity = -3,
     .flags = kReadonly | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZInterCommand,
     .key_specs = kZDiffKeys,
     .group = "sorted-set",
     .since = "6.2.0",
     .complexity =
         "O(N*K+M*log(M)), N: elements of the smallest set, K: sets, M: elements of the result",
     .summary = "Gives what all of several sorted sets have in common.",
     .arguments = kZInterArguments},
    {.name = "zintercard",
     .arity = -3,
     .flags = kReadonly | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZInterCardCommand,
     .key_specs = kZDiffKeys,
     .group = "sorted-set",
     .since = "7.0.0",
     .complexity = "O(N*K), N: elements of the smallest set, K: sets",
     .summary = "Counts what all of several sorted sets have in common.",
     .arguments = kZInterCardArguments},
    {.name = "zinterstore",
     .arity = -4,
     .flags = kWrite | kDenyOom | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZInterStoreCommand,
     .key_specs = kZDiffStoreKeys,
     .group = "sorted-set",
     .since = "2.0.0",
     .complexity =
         "O(N*K+M*log(M)), N: elements of the smallest set, K: sets, M: elements of the result",
     .summary = "Stores what all of several sorted sets have in common.",
     .arguments = kZInterStoreArguments},
    {.name = "zunion",
     .arity = -3,
     .flags = kReadonly | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZUnionCommand,
     .key_specs = kZDiffKeys,
     .group = "sorted-set",
     .since = "6.2.0",
     .complexity = "O(N+M*log(M)), N: elements of all sets, M: of the result",
     .summary = "Gives what is in any of several sorted sets.",
     .arguments = kZInterArguments},
    {.name = "zunionstore",
     .arity = -4,
     .flags = kWrite | kDenyOom | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclSortedset,
     .function = ZUnionStoreCommand,
     .key_specs = kZDiffStoreKeys,
     .group = "sorted-set",
     .since = "2.0.0",
     .complexity = "O(N+M*log(M)), N: elements of all sets, M: of the result",
     .summary = "Stores what is in any of several sorted sets.",
     .arguments = kZInterStoreArguments}};

}  // namespace

std::span<const Command> ZsetCombineCommands() { return kCommands; }

}  // namespace firn::server
