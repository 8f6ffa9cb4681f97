// The rows of the string commands.
#include "server/command.h"
#include "server/commands/strings.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kAppendKeys[] = {
    {.flags = kKeyReadWrite | kKeyInsert, .access = Access::kUpdate}};
constexpr CommandArgument kAppendArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0}, {.name = "value"}};
constexpr KeySpec kDecrKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate, .access = Access::kUpdate}};
constexpr CommandArgument kDecrArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0}};
constexpr CommandArgument kDecrByArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "decrement", .type = Type::kInteger}};
constexpr KeySpec kGetKeys[] = {{.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead}};
constexpr KeySpec kGetDelKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyDelete, .access = Access::kRead}};
constexpr KeySpec kGetExKeys[] = {{.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate,
                                   .access = Access::kUpdate,
                                   .notes = "May change the expiry."}};
constexpr CommandArgument kGetExExpiration[] = {
    {.name = "seconds", .type = Type::kInteger, .token = "EX"},
    {.name = "milliseconds", .type = Type::kInteger, .token = "PX"},
    {.name = "unix-time-seconds", .type = Type::kUnixTime, .token = "EXAT"},
    {.name = "unix-time-milliseconds", .type = Type::kUnixTime, .token = "PXAT"},
    {.name = "persist", .type = Type::kPureToken, .token = "PERSIST"}};
constexpr CommandArgument kGetExArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "expiration",
     .type = Type::kOneOf,
     .flags = CommandArgument::kOptional,
     .arguments = kGetExExpiration}};
constexpr CommandArgument kGetRangeArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "start", .type = Type::kInteger},
    {.name = "end", .type = Type::kInteger}};
constexpr KeySpec kGetSetKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate, .access = Access::kRead}};
constexpr CommandArgument kIncrByArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "increment", .type = Type::kInteger}};
constexpr CommandArgument kIncrByFloatArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "increment", .type = Type::kDouble}};
constexpr KeySpec kLcsKeys[] = {
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .last = 1}};
constexpr CommandArgument kLcsArguments[] = {
    {.name = "key1", .type = Type::kKey, .key_spec_index = 0},
    {.name = "key2", .type = Type::kKey, .key_spec_index = 0},
    {.name = "len", .type = Type::kPureToken, .token = "LEN", .flags = CommandArgument::kOptional},
    {.name = "idx", .type = Type::kPureToken, .token = "IDX", .flags = CommandArgument::kOptional},
    {.name = "min-match-len",
     .type = Type::kInteger,
     .token = "MINMATCHLEN",
     .flags = CommandArgument::kOptional},
    {.name = "withmatchlen",
     .type = Type::kPureToken,
     .token = "WITHMATCHLEN",
     .flags = CommandArgument::kOptional}};
constexpr KeySpec kMGetKeys[] = {
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .last = -1}};
constexpr std::string_view kMGetTips[] = {"request_policy:multi_shard"};
constexpr CommandArgument kMGetArguments[] = {
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 0}};
constexpr KeySpec kMSetKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kOverwrite, .last = -1, .step = 2}};
constexpr std::string_view kMSetTips[] = {"request_policy:multi_shard",
                                          "response_policy:all_succeeded"};
constexpr CommandArgument kMSetArguments[] = {{.name = "data",
                                               .type = Type::kBlock,
                                               .flags = CommandArgument::kMultiple,
                                               .arguments = kAppendArguments}};
constexpr KeySpec kMSetNxKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyInsert, .access = Access::kReplace, .last = -1, .step = 2}};
constexpr KeySpec kPSetExKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kOverwrite}};
constexpr CommandArgument kPSetExArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "milliseconds", .type = Type::kInteger},
    {.name = "value"}};
constexpr KeySpec kSetKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate | kKeyVariableFlags,
     .access = Access::kOverwrite,
     .notes = "`GET` makes it a read as well."}};
constexpr CommandHistory kSetHistory[] = {{"2.6.12", "Options `EX`, `PX`, `NX`, `XX`."},
                                          {"6.0.0", "Option `KEEPTTL`."},
                                          {"6.2.0", "Options `GET`, `EXAT`, `PXAT`."},
                                          {"7.0.0", "`NX` and `GET` go together."}};
constexpr CommandArgument kSetCondition[] = {
    {.name = "nx", .type = Type::kPureToken, .token = "NX"},
    {.name = "xx", .type = Type::kPureToken, .token = "XX"}};
constexpr CommandArgument kSetExpiration[] = {
    {.name = "seconds", .type = Type::kInteger, .token = "EX", .since = "2.6.12"},
    {.name = "milliseconds", .type = Type::kInteger, .token = "PX", .since = "2.6.12"},
    {.name = "unix-time-seconds", .type = Type::kUnixTime, .token = "EXAT", .since = "6.2.0"},
    {.name = "unix-time-milliseconds", .type = Type::kUnixTime, .token = "PXAT", .since = "6.2.0"},
    {.name = "keepttl", .type = Type::kPureToken, .token = "KEEPTTL", .since = "6.0.0"}};
constexpr CommandArgument kSetArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "value"},
    {.name = "condition",
     .type = Type::kOneOf,
     .flags = CommandArgument::kOptional,
     .since = "2.6.12",
     .arguments = kSetCondition},
    {.name = "get",
     .type = Type::kPureToken,
     .token = "GET",
     .flags = CommandArgument::kOptional,
     .since = "6.2.0"},
    {.name = "expiration",
     .type = Type::kOneOf,
     .flags = CommandArgument::kOptional,
     .arguments = kSetExpiration}};
constexpr CommandArgument kSetExArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "seconds", .type = Type::kInteger},
    {.name = "value"}};
constexpr KeySpec kSetNxKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyInsert, .access = Access::kReplace}};
constexpr KeySpec kSetRangeKeys[] = {
    {.flags = kKeyReadWrite | kKeyUpdate, .access = Access::kUpdate}};
constexpr CommandArgument kSetRangeArguments[] = {
    {.name = "key", .type = Type::kKey, .key_spec_index = 0},
    {.name = "offset", .type = Type::kInteger},
    {.name = "value"}};
constexpr KeySpec kStrLenKeys[] = {{.flags = kKeyReadOnly, .access = Access::kRead}};

constexpr Command kCommands[] = {
    {.name = "append",
     .arity = 3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = AppendCommand,
     .key_specs = kAppendKeys,
     .group = "string",
     .since = "2.0.0",
     .complexity = "O(N), N: the bytes added",
     .summary = "Adds bytes at the end of a string, creating it if needed.",
     .arguments = kAppendArguments},
    {.name = "decr",
     .arity = 2,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = DecrCommand,
     .key_specs = kDecrKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Takes one from an integer value; an absent key counts as 0.",
     .arguments = kDecrArguments},
    {.name = "decrby",
     .arity = 3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = DecrByCommand,
     .key_specs = kDecrKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Takes a number from an integer value; an absent key counts as 0.",
     .arguments = kDecrByArguments},
    {.name = "get",
     .arity = 2,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = GetCommand,
     .key_specs = kGetKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(N), N: the length of the value",
     .summary = "Gives the string value of a key.",
     .arguments = kDecrArguments},
    {.name = "getdel",
     .arity = 2,
     .flags = kWrite | kFast | kFreesSpace | kRunsInPlace,
     .acl_categories = kAclString,
     .function = GetDelCommand,
     .key_specs = kGetDelKeys,
     .group = "string",
     .since = "6.2.0",
     .complexity = "O(N), N: the length of the value",
     .summary = "Gives a string value and deletes its key.",
     .arguments = kDecrArguments},
    {.name = "getex",
     .arity = -2,
     .flags = kWrite | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = GetExCommand,
     .key_specs = kGetExKeys,
     .access = GetExAccess,
     .group = "string",
     .since = "6.2.0",
     .complexity = "O(N), N: the length of the value",
     .summary = "Gives a string value and sets or removes its expiry.",
     .arguments = kGetExArguments},
    {.name = "getrange",
     .arity = 4,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclString,
     .function = GetRangeCommand,
     .key_specs = kGetKeys,
     .group = "string",
     .since = "2.4.0",
     .complexity = "O(N), N: the bytes given",
     .summary = "Gives a part of a string, by its first and last byte.",
     .arguments = kGetRangeArguments},
    {.name = "getset",
     .arity = 3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = GetSetCommand,
     .key_specs = kGetSetKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(N), N: the length of the values",
     .summary = "Sets a string and gives the value it replaces.",
     .replaced_by = "`SET` with the `GET` option",
     .deprecated_since = "6.2.0",
     .arguments = kAppendArguments},
    {.name = "incr",
     .arity = 2,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = IncrCommand,
     .key_specs = kDecrKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Adds one to an integer value; an absent key counts as 0.",
     .arguments = kDecrArguments},
    {.name = "incrby",
     .arity = 3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = IncrByCommand,
     .key_specs = kDecrKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Adds a number to an integer value; an absent key counts as 0.",
     .arguments = kIncrByArguments},
    {.name = "incrbyfloat",
     .arity = 3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = IncrByFloatCommand,
     .key_specs = kDecrKeys,
     .group = "string",
     .since = "2.6.0",
     .complexity = "O(1)",
     .summary = "Adds a number with a fraction to a value; an absent key counts as 0.",
     .arguments = kIncrByFloatArguments},
    {.name = "lcs",
     .arity = -3,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclString,
     .function = LcsCommand,
     .key_specs = kLcsKeys,
     .group = "string",
     .since = "7.0.0",
     .complexity = "O(N*M), N, M: the lengths of the strings",
     .summary = "Finds the longest sequence of bytes that two strings have in common.",
     .arguments = kLcsArguments},
    {.name = "mget",
     .arity = -2,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = MGetCommand,
     .key_specs = kMGetKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(N), N: the number of keys",
     .summary = "Gives the string values of several keys.",
     .tips = kMGetTips,
     .arguments = kMGetArguments},
    {.name = "mset",
     .arity = -3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclString,
     .function = MSetCommand,
     .key_specs = kMSetKeys,
     .group = "string",
     .since = "1.0.1",
     .complexity = "O(N), N: the number of keys",
     .summary = "Sets several string values as one change.",
     .tips = kMSetTips,
     .arguments = kMSetArguments},
    {.name = "msetnx",
     .arity = -3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclString,
     .function = MSetNxCommand,
     .key_specs = kMSetNxKeys,
     .group = "string",
     .since = "1.0.1",
     .complexity = "O(N), N: the number of keys",
     .summary = "Sets several string values, or none if any of the keys exists.",
     .arguments = kMSetArguments},
    {.name = "psetex",
     .arity = 4,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclString,
     .function = PSetExCommand,
     .key_specs = kPSetExKeys,
     .group = "string",
     .since = "2.6.0",
     .complexity = "O(1)",
     .summary = "Sets a string and its time to live in milliseconds.",
     .replaced_by = "`SET` with the `PX` option",
     .deprecated_since = "2.6.12",
     .arguments = kPSetExArguments},
    {.name = "set",
     .arity = -3,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclString,
     .function = SetCommand,
     .key_specs = kSetKeys,
     .access = SetAccess,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Sets a key to a string, whatever it was before.",
     .history = kSetHistory,
     .arguments = kSetArguments},
    {.name = "setex",
     .arity = 4,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclString,
     .function = SetExCommand,
     .key_specs = kPSetExKeys,
     .group = "string",
     .since = "2.0.0",
     .complexity = "O(1)",
     .summary = "Sets a string and its time to live in seconds.",
     .replaced_by = "`SET` with the `EX` option",
     .deprecated_since = "2.6.12",
     .arguments = kSetExArguments},
    {.name = "setnx",
     .arity = 3,
     .flags = kWrite | kDenyOom | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = SetNxCommand,
     .key_specs = kSetNxKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Sets a string if the key does not exist.",
     .replaced_by = "`SET` with the `NX` option",
     .deprecated_since = "2.6.12",
     .arguments = kAppendArguments},
    {.name = "setrange",
     .arity = 4,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclString,
     .function = SetRangeCommand,
     .key_specs = kSetRangeKeys,
     .group = "string",
     .since = "2.2.0",
     .complexity = "O(N), N: the bytes written and the zeros before them",
     .summary = "Overwrites a part of a string from an offset on, creating it if needed.",
     .arguments = kSetRangeArguments},
    {.name = "strlen",
     .arity = 2,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclString,
     .function = StrLenCommand,
     .key_specs = kStrLenKeys,
     .group = "string",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary = "Gives the length of a string in bytes.",
     .arguments = kDecrArguments},
    {.name = "substr",
     .arity = 4,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclString,
     .function = GetRangeCommand,
     .key_specs = kGetKeys,
     .group = "string",
     .since = "1.0.0",
     .complexity = "O(N), N: the bytes given",
     .summary = "Gives a part of a string, by its first and last byte.",
     .replaced_by = "`GETRANGE`",
     .deprecated_since = "2.0.0",
     .arguments = kGetRangeArguments}};

}  // namespace

std::span<const Command> StringCommands() { return kCommands; }

}  // namespace firn::server
