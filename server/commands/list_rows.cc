// The rows of the list commands.
#include "server/command.h"
#include "server/commands/lists.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kReadKeys[] = {{.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead}};
constexpr KeySpec kLengthKeys[] = {{.flags = kKeyReadOnly, .access = Access::kRead}};
constexpr KeySpec kInsertKeys[] = {
    {.flags = kKeyReadWrite | kKeyInsert, .access = Access::kUpdate}};
constexpr KeySpec kSetKeys[] = {{.flags = kKeyReadWrite | kKeyUpdate, .access = Access::kUpdate}};
constexpr KeySpec kRemoveKeys[] = {
    {.flags = kKeyReadWrite | kKeyDelete, .access = Access::kUpdate}};
constexpr KeySpec kPopKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kUpdate}};
constexpr KeySpec kMoveKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kUpdate},
    {.flags = kKeyReadWrite | kKeyInsert, .access = Access::kUpdate, .begin_index = 2}};
constexpr KeySpec kLMPopKeys[] = {{.flags = kKeyReadWrite | kKeyAccess | kKeyDelete,
                                   .access = Access::kUpdate,
                                   .find = KeySpec::Find::kKeynum}};
constexpr KeySpec kBLMPopKeys[] = {{.flags = kKeyReadWrite | kKeyAccess | kKeyDelete,
                                    .access = Access::kUpdate,
                                    .begin_index = 2,
                                    .find = KeySpec::Find::kKeynum}};
constexpr KeySpec kBlockingPopKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kUpdate, .last = -2}};

constexpr CommandHistory kSeveralElements24[] = {{"2.4.0", "Several elements at a time."}};
constexpr CommandHistory kSeveralElements4[] = {{"4.0.0", "Several elements at a time."}};
constexpr CommandHistory kPopHistory[] = {{"6.2.0", "Argument `count`."}};
constexpr CommandHistory kTimeoutHistory[] = {{"6.0.0", "`timeout` may have a fraction."}};

constexpr CommandArgument kKeyOnly[] = {{.name = "key", .type = Type::kKey, .key_spec_index = 0}};
constexpr CommandArgument kLeftOrRight[] = {
    {.name = "left", .type = Type::kPureToken, .token = "LEFT"},
    {.name = "right", .type = Type::kPureToken, .token = "RIGHT"}};
constexpr CommandArgument kBeforeOrAfter[] = {
    {.name = "before", .type = Type::kPureToken, .token = "BEFORE"},
    {.name = "after", .type = Type::kPureToken, .token = "AFTER"}};
constexpr CommandArgument kLIndexArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "index", .type = Type::kInteger}};
constexpr CommandArgument kLInsertArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "where", .type = Type::kOneOf, .arguments = kBeforeOrAfter},
    {.name = "pivot"},
    {.name = "element"}};
constexpr CommandArgument kLMoveArguments[] = {
    {.name = "source", .type = Type::kKey, .key_spec_index = 0},
    {.name = "destination", .type = Type::kKey, .key_spec_index = 1},
    {.name = "wherefrom", .type = Type::kOneOf, .arguments = kLeftOrRight},
    {.name = "whereto", .type = Type::kOneOf, .arguments = kLeftOrRight}};
constexpr CommandArgument kLMPopArguments[] = {
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0},
    {.name = "where", .type = Type::kOneOf, .arguments = kLeftOrRight},
    {.name = "count",
     .type = Type::kInteger,
     .token = "COUNT",
     .flags = CommandArgument::kOptional}};
constexpr CommandArgument kPopArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "count",
     .type = Type::kInteger,
     .flags = CommandArgument::kOptional,
     .since = "6.2.0"}};
constexpr CommandArgument kLPosArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "element"},
    {.name = "rank", .type = Type::kInteger, .token = "RANK", .flags = CommandArgument::kOptional},
    {.name = "num-matches",
     .type = Type::kInteger,
     .token = "COUNT",
     .flags = CommandArgument::kOptional},
    {.name = "len",
     .type = Type::kInteger,
     .token = "MAXLEN",
     .flags = CommandArgument::kOptional}};
constexpr CommandArgument kPushArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "element", .flags = CommandArgument::kMultiple}};
constexpr CommandArgument kLRangeArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "start", .type = Type::kInteger},
    {.name = "stop", .type = Type::kInteger}};
constexpr CommandArgument kLRemArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "count", .type = Type::kInteger},
    {.name = "element"}};
constexpr CommandArgument kLSetArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "index", .type = Type::kInteger},
    {.name = "element"}};
constexpr CommandArgument kRPopLPushArguments[] = {
    {.name = "source", .type = Type::kKey, .key_spec_index = 0},
    {.name = "destination", .type = Type::kKey, .key_spec_index = 1}};
constexpr CommandArgument kBlockingPopArguments[] = {
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0},
    {.name = "timeout", .type = Type::kDouble}};
constexpr CommandArgument kBLMoveArguments[] = {
    {.name = "source", .type = Type::kKey, .key_spec_index = 0},
    {.name = "destination", .type = Type::kKey, .key_spec_index = 1},
    {.name = "wherefrom", .type = Type::kOneOf, .arguments = kLeftOrRight},
    {.name = "whereto", .type = Type::kOneOf, .arguments = kLeftOrRight},
    {.name = "timeout", .type = Type::kDouble}};
constexpr CommandArgument kBRPopLPushArguments[] = {
    {.name = "source", .type = Type::kKey, .key_spec_index = 0},
    {.name = "destination", .type = Type::kKey, .key_spec_index = 1},
    {.name = "timeout", .type = Type::kDouble}};
constexpr CommandArgument kBLMPopArguments[] = {
    {.name = "timeout", .type = Type::kDouble},
    {.name = "numkeys", .type = Type::kInteger},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0},
    {.name = "where", .type = Type::kOneOf, .arguments = kLeftOrRight},
    {.name = "count",
     .type = Type::kInteger,
     .token = "COUNT",
     .flags = CommandArgument::kOptional}};

constexpr Command kCommands[] = {
    {.name = "blmove",
     .arity = 6,
     .flags = kWrite | kDenyOom | kBlocking,
     .acl_categories = kAclList,
     .function = BLMoveCommand,
     .key_specs = kMoveKeys,
     .group = "list",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Moves an element from an end of a list to an end of another, waiting for one to "
                "come if there is none.",
     .arguments = kBLMoveArguments},
    {.name = "blmpop",
     .arity = -5,
     .flags = kWrite | kBlocking,
     .acl_categories = kAclList,
     .function = BLMPopCommand,
     .key_specs = kBLMPopKeys,
     .group = "list",
     .since = "7.0.0",
     .complexity = "O(N+M), N: the number of keys, M: the elements popped",
     .summary =
         "Pops elements from the first list that has any, waiting for one to come if none has.",
     .arguments = kBLMPopArguments},
    {.name = "blpop",
     .arity = -3,
     .flags = kWrite | kBlocking,
     .acl_categories = kAclList,
     .function = BLPopCommand,
     .key_specs = kBlockingPopKeys,
     .group = "list",
     .since = "2.0.0",
     .complexity = "O(N), N: the number of keys",
     .summary = "Pops the first element of the first list that has one, waiting for it if need be.",
     .history = kTimeoutHistory,
     .arguments = kBlockingPopArguments},
    {.name = "brpop",
     .arity = -3,
     .flags = kWrite | kBlocking,
     .acl_categories = kAclList,
     .function = BRPopCommand,
     .key_specs = kBlockingPopKeys,
     .group = "list",
     .since = "2.0.0",
     .complexity = "O(N), N: the number of keys",
     .summary = "Pops the last element of the first list that has one, waiting for it if need be.",
     .history = kTimeoutHistory,
     .arguments = kBlockingPopArguments},
    {.name = "brpoplpush",
     .arity = 4,
     .flags = kWrite | kDenyOom | kBlocking,
     .acl_categories = kAclList,
     .function = BRPopLPushCommand,
     .key_specs = kMoveKeys,
     .group = "list",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary = "Moves the last element of a list to the head of another, waiting for one to come "
                "if there is none.",
     .replaced_by = "`BLMOVE` with the `RIGHT` and `LEFT` arguments",
     .deprecated_since = "6.2.0",
     .history = kTimeoutHistory,
     .arguments = kBRPopLPushArguments},
    {.name = "lindex",
     .arity = 3,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LIndexCommand,
     .key_specs = kReadKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(log(N)), N: the length of the list",
     .summary = "Gives the element at an index.",
     .arguments = kLIndexArguments},
    {.name = "linsert",
     .arity = 5,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LInsertCommand,
     .key_specs = kInsertKeys,
     .group = "list",
     .since = "2.2.0",
     .complexity = "O(N), N: the elements before the pivot",
     .summary = "Inserts an element beside another one.",
     .arguments = kLInsertArguments},
    {.name = "llen",
     .arity = 2,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LLenCommand,
     .key_specs = kLengthKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Gives the length of a list.",
     .arguments = kKeyOnly},
    {.name = "lmove",
     .arity = 5,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LMoveCommand,
     .key_specs = kMoveKeys,
     .group = "list",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Moves an element from an end of a list to an end of another.",
     .arguments = kLMoveArguments},
    {.name = "lmpop",
     .arity = -4,
     .flags = kWrite | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LMPopCommand,
     .key_specs = kLMPopKeys,
     .group = "list",
     .since = "7.0.0",
     .complexity = "O(N+M), N: the number of keys, M: the elements popped",
     .summary = "Pops elements from the first list that has any.",
     .arguments = kLMPopArguments},
    {.name = "lpop",
     .arity = -2,
     .flags = kWrite | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LPopCommand,
     .key_specs = kPopKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(N), N: the elements popped",
     .summary = "Pops elements from the head of a list.",
     .history = kPopHistory,
     .arguments = kPopArguments},
    {.name = "lpos",
     .arity = -3,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LPosCommand,
     .key_specs = kReadKeys,
     .group = "list",
     .since = "6.0.6",
     .complexity = "O(N), N: the elements compared",
     .summary = "Gives the indexes of elements that are equal to a value.",
     .arguments = kLPosArguments},
    {.name = "lpush",
     .arity = -3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LPushCommand,
     .key_specs = kInsertKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(N), N: the elements pushed",
     .summary = "Puts elements before the head of a list, which is made if needed.",
     .history = kSeveralElements24,
     .arguments = kPushArguments},
    {.name = "lpushx",
     .arity = -3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LPushXCommand,
     .key_specs = kInsertKeys,
     .group = "list",
     .since = "2.2.0",
     .complexity = "O(N), N: the elements pushed",
     .summary = "Puts elements before the head of a list if it exists.",
     .history = kSeveralElements4,
     .arguments = kPushArguments},
    {.name = "lrange",
     .arity = 4,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LRangeCommand,
     .key_specs = kReadKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(log(N)+M), N: the length of the list, M: the elements given",
     .summary = "Gives the elements from one index to another.",
     .arguments = kLRangeArguments},
    {.name = "lrem",
     .arity = 4,
     .flags = kWrite | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LRemCommand,
     .key_specs = kRemoveKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(N+M), N: the elements compared, M: those removed",
     .summary = "Removes elements that are equal to a value.",
     .arguments = kLRemArguments},
    {.name = "lset",
     .arity = 4,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LSetCommand,
     .key_specs = kSetKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(log(N)), N: the length of the list",
     .summary = "Replaces the element at an index.",
     .arguments = kLSetArguments},
    {.name = "ltrim",
     .arity = 4,
     .flags = kWrite | kRunsInPlace,
     .acl_categories = kAclList,
     .function = LTrimCommand,
     .key_specs = kRemoveKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(N), N: the pages of elements removed",
     .summary = "Removes all elements but those from one index to another.",
     .arguments = kLRangeArguments},
    {.name = "rpop",
     .arity = -2,
     .flags = kWrite | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = RPopCommand,
     .key_specs = kPopKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(N), N: the elements popped",
     .summary = "Pops elements from the tail of a list.",
     .history = kPopHistory,
     .arguments = kPopArguments},
    {.name = "rpoplpush",
     .arity = 3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclList,
     .function = RPopLPushCommand,
     .key_specs = kMoveKeys,
     .group = "list",
     .since = "1.2.0",
     .complexity = "O(1)",
     .summary = "Moves the last element of a list to the head of another.",
     .replaced_by = "`LMOVE` with the `RIGHT` and `LEFT` arguments",
     .deprecated_since = "6.2.0",
     .arguments = kRPopLPushArguments},
    {.name = "rpush",
     .arity = -3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = RPushCommand,
     .key_specs = kInsertKeys,
     .group = "list",
     .since = "1.0.0",
     .complexity = "O(N), N: the elements pushed",
     .summary = "Puts elements behind the tail of a list, which is made if needed.",
     .history = kSeveralElements24,
     .arguments = kPushArguments},
    {.name = "rpushx",
     .arity = -3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclList,
     .function = RPushXCommand,
     .key_specs = kInsertKeys,
     .group = "list",
     .since = "2.2.0",
     .complexity = "O(N), N: the elements pushed",
     .summary = "Puts elements behind the tail of a list if it exists.",
     .history = kSeveralElements4,
     .arguments = kPushArguments}};

}  // namespace

std::span<const Command> ListCommands() { return kCommands; }

}  // namespace firn::server
