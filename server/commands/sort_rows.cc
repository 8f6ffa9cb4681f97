// The rows of SORT.
#include "server/command.h"
#include "server/commands/common.h"
#include "server/commands/sort.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kSource = {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead};
constexpr KeySpec kPatternKeys = {
    .flags = kKeyReadOnly | kKeyAccess,
    .access = Access::kRead,
    .begin = KeySpec::Begin::kUnknown,
    .find = KeySpec::Find::kUnknown,
    .notes = "The keys of `BY` and `GET`: their names depend on the elements."};
constexpr KeySpec kSortKeys[] = {kSource,
                                 kPatternKeys,
                                 {.flags = kKeyOverwriteOnly | kKeyUpdate,
                                  .access = Access::kReplace,
                                  .begin = KeySpec::Begin::kUnknown,
                                  .find = KeySpec::Find::kUnknown,
                                  .notes = "The key of `STORE`, which may stand anywhere."}};
constexpr const KeySpec& kTarget = kSortKeys[2];
constexpr KeySpec kSortReadOnlyKeys[] = {kSource, kPatternKeys};

constexpr CommandArgument kKey = {.name = "key", .type = Type::kKey, .key_spec_index = 0};
constexpr CommandArgument kBy = {.name = "by-pattern",
                                 .type = Type::kPattern,
                                 .token = "BY",
                                 .flags = CommandArgument::kOptional,
                                 .key_spec_index = 1};
constexpr CommandArgument kLimitArguments[] = {{.name = "offset", .type = Type::kInteger},
                                               {.name = "count", .type = Type::kInteger}};
constexpr CommandArgument kLimit = {.name = "limit",
                                    .type = Type::kBlock,
                                    .token = "LIMIT",
                                    .flags = CommandArgument::kOptional,
                                    .arguments = kLimitArguments};
constexpr CommandArgument kGet = {.name = "get-pattern",
                                  .type = Type::kPattern,
                                  .token = "GET",
                                  .flags = CommandArgument::kOptional | CommandArgument::kMultiple |
                                           CommandArgument::kMultipleToken,
                                  .key_spec_index = 1};
constexpr CommandArgument kOrders[] = {{.name = "asc", .type = Type::kPureToken, .token = "ASC"},
                                       {.name = "desc", .type = Type::kPureToken, .token = "DESC"}};
constexpr CommandArgument kOrder = {.name = "order",
                                    .type = Type::kOneOf,
                                    .flags = CommandArgument::kOptional,
                                    .arguments = kOrders};
constexpr CommandArgument kSorting = {.name = "sorting",
                                      .type = Type::kPureToken,
                                      .token = "ALPHA",
                                      .flags = CommandArgument::kOptional};
constexpr CommandArgument kSortArguments[] = {kKey,
                                              kBy,
                                              kLimit,
                                              kGet,
                                              kOrder,
                                              kSorting,
                                              {.name = "destination",
                                               .type = Type::kKey,
                                               .token = "STORE",
                                               .flags = CommandArgument::kOptional,
                                               .key_spec_index = 2}};
constexpr CommandArgument kSortReadOnlyArguments[] = {kKey, kBy, kLimit, kGet, kOrder, kSorting};

constexpr std::string_view kComplexity =
    "O(N+M*log(M)), N: the elements, M: those given; O(N) if nothing is sorted";
constexpr uint64_t kCategories = kAclSet | kAclSortedset | kAclList | kAclDangerous;

// The key of the last STORE. The words behind other keywords may read like it.
void FindTarget(std::span<const std::string_view> args, std::vector<FoundKey>* keys) {
  size_t target = 0;
  for (size_t i = 2; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "limit")) {
      i += 2;
    } else if (EqualsIgnoreCase(args[i], "get") || EqualsIgnoreCase(args[i], "by")) {
      ++i;
    } else if (EqualsIgnoreCase(args[i], "store") && i + 1 < args.size()) {
      target = ++i;
    }
  }
  if (target != 0) keys->push_back({target, &kTarget});
}

constexpr Command kCommands[] = {
    {.name = "sort",
     .arity = -2,
     .flags = kWrite | kDenyOom | kMovableKeys,
     .acl_categories = kCategories,
     .function = SortCommand,
     .key_specs = kSortKeys,
     .more_keys = FindTarget,
     .group = "generic",
     .since = "1.0.0",
     .complexity = kComplexity,
     .summary = "Sorts the elements of a list, a set or a sorted set, and gives or stores them.",
     .arguments = kSortArguments},
    {.name = "sort_ro",
     .arity = -2,
     .flags = kReadonly | kMovableKeys,
     .acl_categories = kCategories,
     .function = SortReadOnlyCommand,
     .key_specs = kSortReadOnlyKeys,
     .group = "generic",
     .since = "7.0.0",
     .complexity = kComplexity,
     .summary = "Sorts the elements of a list, a set or a sorted set and gives them.",
     .arguments = kSortReadOnlyArguments}};

}  // namespace

std::span<const Command> SortCommands() { return kCommands; }

}  // namespace firn::server
