// The rows of the geo commands.
#include "server/command.h"
#include "server/commands/common.h"
#include "server/commands/geo.h"

namespace firn::server {
namespace {

using Type = CommandArgument::Type;

constexpr KeySpec kReadKeys[] = {{.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead}};
constexpr KeySpec kGeoAddKeys[] = {
    {.flags = kKeyReadWrite | kKeyUpdate, .access = Access::kUpdate}};
constexpr KeySpec TargetBehind(std::string_view keyword, int from) {
  return {.flags = kKeyOverwriteOnly | kKeyUpdate,
          .access = Access::kReplace,
          .begin = KeySpec::Begin::kKeyword,
          .begin_index = from,
          .keyword = keyword};
}
constexpr KeySpec kGeoRadiusKeys[] = {kReadKeys[0], TargetBehind("STORE", 6),
                                      TargetBehind("STOREDIST", 6)};
constexpr KeySpec kByMemberKeys[] = {kReadKeys[0], TargetBehind("STORE", 5),
                                     TargetBehind("STOREDIST", 5)};
constexpr KeySpec kGeoSearchStoreKeys[] = {
    {.flags = kKeyOverwriteOnly | kKeyUpdate, .access = Access::kReplace},
    {.flags = kKeyReadOnly | kKeyAccess, .access = Access::kRead, .begin_index = 2}};

// The source and the target that counts, which is the last one named.
void FindRadiusKeys(std::span<const std::string_view> args, std::vector<FoundKey>* keys) {
  size_t target = 0;
  for (size_t i = 5; i + 1 < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "store") || EqualsIgnoreCase(args[i], "storedist")) {
      target = ++i;
    }
  }
  keys->clear();
  keys->push_back({1, &kGeoRadiusKeys[0]});
  if (target != 0) keys->push_back({target, &kGeoRadiusKeys[1]});
}

constexpr CommandArgument kKey = {.name = "key", .type = Type::kKey, .key_spec_index = 0};
constexpr CommandArgument kUnits[] = {{.name = "m", .type = Type::kPureToken, .token = "M"},
                                      {.name = "km", .type = Type::kPureToken, .token = "KM"},
                                      {.name = "ft", .type = Type::kPureToken, .token = "FT"},
                                      {.name = "mi", .type = Type::kPureToken, .token = "MI"}};
constexpr CommandArgument kUnit = {.name = "unit", .type = Type::kOneOf, .arguments = kUnits};
constexpr CommandArgument kMembersArguments[] = {
    kKey, {.name = "member", .flags = CommandArgument::kOptional | CommandArgument::kMultiple}};

constexpr CommandArgument kConditions[] = {{.name = "nx", .type = Type::kPureToken, .token = "NX"},
                                           {.name = "xx", .type = Type::kPureToken, .token = "XX"}};
constexpr CommandArgument kPlace[] = {{.name = "longitude", .type = Type::kDouble},
                                      {.name = "latitude", .type = Type::kDouble},
                                      {.name = "member"}};
constexpr CommandArgument kGeoAddArguments[] = {kKey,
                                                {.name = "condition",
                                                 .type = Type::kOneOf,
                                                 .flags = CommandArgument::kOptional,
                                                 .since = "6.2.0",
                                                 .arguments = kConditions},
                                                {.name = "change",
                                                 .type = Type::kPureToken,
                                                 .token = "CH",
                                                 .flags = CommandArgument::kOptional,
                                                 .since = "6.2.0"},
                                                {.name = "data",
                                                 .type = Type::kBlock,
                                                 .flags = CommandArgument::kMultiple,
                                                 .arguments = kPlace}};
constexpr CommandArgument kGeoDistArguments[] = {kKey,
                                                 {.name = "member1"},
                                                 {.name = "member2"},
                                                 {.name = "unit",
                                                  .type = Type::kOneOf,
                                                  .flags = CommandArgument::kOptional,
                                                  .arguments = kUnits}};

constexpr CommandArgument kWithPoint = {.name = "withcoord",
                                        .type = Type::kPureToken,
                                        .token = "WITHCOORD",
                                        .flags = CommandArgument::kOptional};
constexpr CommandArgument kWithDistance = {.name = "withdist",
                                           .type = Type::kPureToken,
                                           .token = "WITHDIST",
                                           .flags = CommandArgument::kOptional};
constexpr CommandArgument kWithHash = {.name = "withhash",
                                       .type = Type::kPureToken,
                                       .token = "WITHHASH",
                                       .flags = CommandArgument::kOptional};
constexpr CommandArgument kCountSince[] = {
    {.name = "count", .type = Type::kInteger, .token = "COUNT"},
    {.name = "any",
     .type = Type::kPureToken,
     .token = "ANY",
     .flags = CommandArgument::kOptional,
     .since = "6.2.0"}};
constexpr CommandArgument kCount[] = {
    {.name = "count", .type = Type::kInteger, .token = "COUNT"},
    {.name = "any", .type = Type::kPureToken, .token = "ANY", .flags = CommandArgument::kOptional}};
constexpr CommandArgument kCountBlockSince = {.name = "count-block",
                                              .type = Type::kBlock,
                                              .flags = CommandArgument::kOptional,
                                              .arguments = kCountSince};
constexpr CommandArgument kCountBlock = {.name = "count-block",
                                         .type = Type::kBlock,
                                         .flags = CommandArgument::kOptional,
                                         .arguments = kCount};
constexpr CommandArgument kOrders[] = {{.name = "asc", .type = Type::kPureToken, .token = "ASC"},
                                       {.name = "desc", .type = Type::kPureToken, .token = "DESC"}};
constexpr CommandArgument kOrder = {.name = "order",
                                    .type = Type::kOneOf,
                                    .flags = CommandArgument::kOptional,
                                    .arguments = kOrders};
constexpr CommandArgument kTargets[] = {
    {.name = "storekey", .type = Type::kKey, .token = "STORE", .key_spec_index = 1},
    {.name = "storedistkey", .type = Type::kKey, .token = "STOREDIST", .key_spec_index = 2}};
constexpr CommandArgument kStore = {.name = "store",
                                    .type = Type::kOneOf,
                                    .flags = CommandArgument::kOptional,
                                    .arguments = kTargets};

constexpr CommandArgument kLongitude = {.name = "longitude", .type = Type::kDouble};
constexpr CommandArgument kLatitude = {.name = "latitude", .type = Type::kDouble};
constexpr CommandArgument kRadius = {.name = "radius", .type = Type::kDouble};
constexpr CommandArgument kGeoRadiusArguments[] = {
    kKey,          kLongitude, kLatitude,        kRadius, kUnit, kWithPoint,
    kWithDistance, kWithHash,  kCountBlockSince, kOrder,  kStore};
constexpr CommandArgument kGeoRadiusRoArguments[] = {
    kKey,       kLongitude,    kLatitude, kRadius,          kUnit,
    kWithPoint, kWithDistance, kWithHash, kCountBlockSince, kOrder};
constexpr CommandArgument kByMemberArguments[] = {
    kKey,          {.name = "member"}, kRadius,     kUnit,  kWithPoint,
    kWithDistance, kWithHash,          kCountBlock, kOrder, kStore};
constexpr CommandArgument kByMemberRoArguments[] = {kKey,      {.name = "member"}, kRadius,
                                                    kUnit,     kWithPoint,         kWithDistance,
                                                    kWithHash, kCountBlock,        kOrder};

constexpr CommandArgument kPoint[] = {kLongitude, kLatitude};
constexpr CommandArgument kFrom[] = {
    {.name = "member", .token = "FROMMEMBER"},
    {.name = "fromlonlat", .type = Type::kBlock, .token = "FROMLONLAT", .arguments = kPoint}};
constexpr CommandArgument kCircle[] = {
    {.name = "radius", .type = Type::kDouble, .token = "BYRADIUS"}, kUnit};
constexpr CommandArgument kBox[] = {{.name = "width", .type = Type::kDouble, .token = "BYBOX"},
                                    {.name = "height", .type = Type::kDouble},
                                    kUnit};
constexpr CommandArgument kBy[] = {{.name = "circle", .type = Type::kBlock, .arguments = kCircle},
                                   {.name = "box", .type = Type::kBlock, .arguments = kBox}};
constexpr CommandArgument kFromOption = {.name = "from", .type = Type::kOneOf, .arguments = kFrom};
constexpr CommandArgument kByOption = {.name = "by", .type = Type::kOneOf, .arguments = kBy};
constexpr CommandArgument kGeoSearchArguments[] = {
    kKey, kFromOption, kByOption, kOrder, kCountBlock, kWithPoint, kWithDistance, kWithHash};
constexpr CommandArgument kGeoSearchStoreArguments[] = {
    {.name = "destination", .type = Type::kKey, .key_spec_index = 0},
    {.name = "source", .type = Type::kKey, .key_spec_index = 1},
    kFromOption,
    kByOption,
    kOrder,
    kCountBlock,
    {.name = "storedist",
     .type = Type::kPureToken,
     .token = "STOREDIST",
     .flags = CommandArgument::kOptional}};

constexpr CommandHistory kGeoAddHistory[] = {{"6.2.0", "The options `CH`, `NX` and `XX`."}};
constexpr CommandHistory kAnyHistory[] = {{"6.2.0", "`ANY` for `COUNT`."}};
constexpr CommandHistory kUnitHistory[] = {{"7.0.0", "Units in capital letters."}};
constexpr CommandHistory kRadiusHistory[] = {{"6.2.0", "`ANY` for `COUNT`."},
                                             {"7.0.0", "Units in capital letters."}};

constexpr std::string_view kSearchComplexity =
    "O(N+log(M)), N: the members in the squares around the shape, M: all members";

constexpr Command kCommands[] = {
    {.name = "geoadd",
     .arity = -5,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoAddCommand,
     .key_specs = kGeoAddKeys,
     .group = "geo",
     .since = "3.2.0",
     .complexity = "O(log(N)) for each member, N: the members there are",
     .summary = "Puts members at places on the earth, creating the key if needed.",
     .history = kGeoAddHistory,
     .arguments = kGeoAddArguments},
    {.name = "geodist",
     .arity = -4,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoDistCommand,
     .key_specs = kReadKeys,
     .group = "geo",
     .since = "3.2.0",
     .complexity = "O(1)",
     .summary = "Gives the distance between two members.",
     .arguments = kGeoDistArguments},
    {.name = "geohash",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoHashCommand,
     .key_specs = kReadKeys,
     .group = "geo",
     .since = "3.2.0",
     .complexity = "O(1) for each member",
     .summary = "Gives the places of members as geohash texts.",
     .arguments = kMembersArguments},
    {.name = "geopos",
     .arity = -2,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoPosCommand,
     .key_specs = kReadKeys,
     .group = "geo",
     .since = "3.2.0",
     .complexity = "O(1) for each member",
     .summary = "Gives the places of members by longitude and latitude.",
     .arguments = kMembersArguments},
    {.name = "georadius",
     .arity = -6,
     .flags = kWrite | kDenyOom | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoRadiusCommand,
     .key_specs = kGeoRadiusKeys,
     .more_keys = FindRadiusKeys,
     .group = "geo",
     .since = "3.2.0",
     .complexity = kSearchComplexity,
     .summary = "Finds the members within a distance of a point, and may store them.",
     .replaced_by = "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
     .deprecated_since = "6.2.0",
     .history = kRadiusHistory,
     .arguments = kGeoRadiusArguments},
    {.name = "georadius_ro",
     .arity = -6,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoRadiusRoCommand,
     .key_specs = kReadKeys,
     .group = "geo",
     .since = "3.2.10",
     .complexity = kSearchComplexity,
     .summary = "Finds the members within a distance of a point.",
     .replaced_by = "`GEOSEARCH` with the `BYRADIUS` argument",
     .deprecated_since = "6.2.0",
     .history = kAnyHistory,
     .arguments = kGeoRadiusRoArguments},
    {.name = "georadiusbymember",
     .arity = -5,
     .flags = kWrite | kDenyOom | kMovableKeys | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoRadiusByMemberCommand,
     .key_specs = kByMemberKeys,
     .more_keys = FindRadiusKeys,
     .group = "geo",
     .since = "3.2.0",
     .complexity = kSearchComplexity,
     .summary = "Finds the members within a distance of a member, and may store them.",
     .replaced_by =
         "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
     .deprecated_since = "6.2.0",
     .history = kUnitHistory,
     .arguments = kByMemberArguments},
    {.name = "georadiusbymember_ro",
     .arity = -5,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoRadiusByMemberRoCommand,
     .key_specs = kReadKeys,
     .group = "geo",
     .since = "3.2.10",
     .complexity = kSearchComplexity,
     .summary = "Finds the members within a distance of a member.",
     .replaced_by = "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
     .deprecated_since = "6.2.0",
     .arguments = kByMemberRoArguments},
    {.name = "geosearch",
     .arity = -7,
     .flags = kReadonly | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoSearchCommand,
     .key_specs = kReadKeys,
     .group = "geo",
     .since = "6.2.0",
     .complexity = kSearchComplexity,
     .summary = "Finds the members within a circle or a box.",
     .history = kUnitHistory,
     .arguments = kGeoSearchArguments},
    {.name = "geosearchstore",
     .arity = -8,
     .flags = kWrite | kDenyOom | kRunsInPlace,
     .acl_categories = kAclGeo,
     .function = GeoSearchStoreCommand,
     .key_specs = kGeoSearchStoreKeys,
     .group = "geo",
     .since = "6.2.0",
     .complexity = kSearchComplexity,
     .summary = "Stores the members within a circle or a box.",
     .history = kUnitHistory,
     .arguments = kGeoSearchStoreArguments}};

}  // namespace

std::span<const Command> GeoCommands() { return kCommands; }

}  // namespace firn::server
