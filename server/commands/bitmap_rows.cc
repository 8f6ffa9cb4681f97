// The rows of the bitmap commands.
#include "server/command.h"
#include "server/commands/bitmaps.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr CommandArgument kKey = {.name = "key", .type = Type::kKey, .key_spec_index = 0};

constexpr KeySpec kReadKeys[] = {{.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead}};
constexpr KeySpec kSetBitKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate, .access = Access::kUpdate}};
constexpr KeySpec kBitFieldKeys[] = {
    {.flags = kKeyReadWrite | kKeyAccess | kKeyUpdate | kKeyVariableFlags,
     .access = Access::kUpdate,
     .notes = "Reads the key, and changes it but with `GET` alone."}};
constexpr KeySpec kBitOpKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kReplace, .begin_index = 2},
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .begin_index = 3, .last = -1}};

constexpr CommandHistory kUnitHistory[] = {{"7.0.0", "The units `BYTE` and `BIT`."}};

constexpr CommandArgument kUnits[] = {{.name = "byte", .type = Type::kPureToken, .token = "BYTE"},
                                      {.name = "bit", .type = Type::kPureToken, .token = "BIT"}};
constexpr CommandArgument kUnit = {.name = "unit",
                                   .type = Type::kOneOf,
                                   .flags = CommandArgument::kOptional,
                                   .since = "7.0.0",
                                   .arguments = kUnits};
constexpr CommandArgument kCountRange[] = {
    {.name = "start", .type = Type::kInteger}, {.name = "end", .type = Type::kInteger}, kUnit};
constexpr CommandArgument kBitCountArguments[] = {kKey,
                                                  {.name = "range",
                                                   .type = Type::kBlock,
                                                   .flags = CommandArgument::kOptional,
                                                   .arguments = kCountRange}};
constexpr CommandArgument kEndAndUnit[] = {{.name = "end", .type = Type::kInteger}, kUnit};
constexpr CommandArgument kSearchRange[] = {{.name = "start", .type = Type::kInteger},
                                            {.name = "end-unit-block",
                                             .type = Type::kBlock,
                                             .flags = CommandArgument::kOptional,
                                             .arguments = kEndAndUnit}};
constexpr CommandArgument kBitPosArguments[] = {kKey,
                                                {.name = "bit", .type = Type::kInteger},
                                                {.name = "range",
                                                 .type = Type::kBlock,
                                                 .flags = CommandArgument::kOptional,
                                                 .arguments = kSearchRange}};
constexpr CommandArgument kGetBitArguments[] = {kKey, {.name = "offset", .type = Type::kInteger}};
constexpr CommandArgument kSetBitArguments[] = {
    kKey, {.name = "offset", .type = Type::kInteger}, {.name = "value", .type = Type::kInteger}};

constexpr CommandArgument kOperations[] = {
    {.name = "and", .type = Type::kPureToken, .token = "AND"},
    {.name = "or", .type = Type::kPureToken, .token = "OR"},
    {.name = "xor", .type = Type::kPureToken, .token = "XOR"},
    {.name = "not", .type = Type::kPureToken, .token = "NOT"}};
constexpr CommandArgument kBitOpArguments[] = {
    {.name = "operation", .type = Type::kOneOf, .arguments = kOperations},
    {.name = "destkey", .type = Type::kKey, .key_spec_index = 0},
    {.name = "key", .type = Type::kKey, .flags = CommandArgument::kMultiple, .key_spec_index = 1}};

constexpr CommandArgument kGetField[] = {{.name = "encoding"},
                                         {.name = "offset", .type = Type::kInteger}};
constexpr CommandArgument kSetField[] = {{.name = "encoding"},
                                         {.name = "offset", .type = Type::kInteger},
                                         {.name = "value", .type = Type::kInteger}};
constexpr CommandArgument kIncrField[] = {{.name = "encoding"},
                                          {.name = "offset", .type = Type::kInteger},
                                          {.name = "increment", .type = Type::kInteger}};
constexpr CommandArgument kOverflows[] = {
    {.name = "wrap", .type = Type::kPureToken, .token = "WRAP"},
    {.name = "sat", .type = Type::kPureToken, .token = "SAT"},
    {.name = "fail", .type = Type::kPureToken, .token = "FAIL"}};
constexpr CommandArgument kWriteKinds[] = {
    {.name = "set-block", .type = Type::kBlock, .token = "SET", .arguments = kSetField},
    {.name = "incrby-block", .type = Type::kBlock, .token = "INCRBY", .arguments = kIncrField}};
constexpr CommandArgument kWriteField[] = {
    {.name = "overflow-block",
     .type = Type::kOneOf,
     .token = "OVERFLOW",
     .flags = CommandArgument::kOptional,
     .arguments = kOverflows},
    {.name = "write-operation", .type = Type::kOneOf, .arguments = kWriteKinds}};
constexpr CommandArgument kFieldOperations[] = {
    {.name = "get-block", .type = Type::kBlock, .token = "GET", .arguments = kGetField},
    {.name = "write", .type = Type::kBlock, .arguments = kWriteField}};
constexpr CommandArgument kBitFieldArguments[] = {
    kKey,
    {.name = "operation",
     .type = Type::kOneOf,
     .flags = CommandArgument::kOptional | CommandArgument::kMultiple,
     .arguments = kFieldOperations}};
constexpr CommandArgument kBitFieldRoArguments[] = {
    kKey,
    {.name = "get-block",
     .type = Type::kBlock,
     .token = "GET",
     .flags =
         CommandArgument::kOptional | CommandArgument::kMultiple | CommandArgument::kMultipleToken,
     .arguments = kGetField}};

constexpr Command kCommands[] = {
    {.name = "bitcount",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclBitmap,
     .function = BitCountCommand,
     .key_specs = kReadKeys,
     .group = "bitmap",
     .since = "2.6.0",
     .complexity = "O(N), N: the bytes looked at",
     .summary = "Counts the bits that are set in a string, or in a part of it.",
     .history = kUnitHistory,
     .arguments = kBitCountArguments},
    {.name = "bitfield",
     .arity = -2,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclBitmap,
     .function = BitFieldCommand,
     .key_specs = kBitFieldKeys,
     .access = BitFieldAccess,
     .group = "bitmap",
     .since = "3.2.0",
     .complexity = "O(1) for each operation",
     .summary = "Reads and changes integers of any number of bits within a string.",
     .arguments = kBitFieldArguments},
    {.name = "bitfield_ro",
     .arity = -2,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclBitmap,
     .function = BitFieldRoCommand,
     .key_specs = kReadKeys,
     .group = "bitmap",
     .since = "6.0.0",
     .complexity = "O(1) for each operation",
     .summary = "Reads integers of any number of bits within a string.",
     .arguments = kBitFieldRoArguments},
    {.name = "bitop",
     .arity = -4,
     .flags = kWrite | kDenyOom,
     .acl_categories = kAclBitmap,
     .function = BitOpCommand,
     .key_specs = kBitOpKeys,
     .group = "bitmap",
     .since = "2.6.0",
     .complexity = "O(N), N: the bytes of all the strings",
     .summary = "Combines strings bit by bit and stores the result.",
     .arguments = kBitOpArguments},
    {.name = "bitpos",
     .arity = -3,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclBitmap,
     .function = BitPosCommand,
     .key_specs = kReadKeys,
     .group = "bitmap",
     .since = "2.8.7",
     .complexity = "O(N), N: the bytes looked at",
     .summary = "Finds the first bit of a string that is set, or that is not.",
     .history = kUnitHistory,
     .arguments = kBitPosArguments},
    {.name = "getbit",
     .arity = 3,
     .flags = kReadonly | kFast | kRunsInPlace,
     .acl_categories = kAclBitmap,
     .function = GetBitCommand,
     .key_specs = kReadKeys,
     .group = "bitmap",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary = "Gives a bit of a string by its offset.",
     .arguments = kGetBitArguments},
    {.name = "setbit",
     .arity = 4,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclBitmap,
     .function = SetBitCommand,
     .key_specs = kSetBitKeys,
     .group = "bitmap",
     .since = "2.2.0",
     .complexity = "O(1)",
     .summary = "Sets or clears a bit of a string, which is created or made longer if needed.",
     .arguments = kSetBitArguments}};

}  // namespace

std::span<const Command> BitmapCommands() { return kCommands; }

}  // namespace firn::server
