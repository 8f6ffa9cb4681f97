// The rows of CLIENT's subcommands.
#include <span>
#include <string_view>

#include "server/commands/client_commands.h"

namespace firn::server {
namespace {

using Argument = CommandArgument;
using Type = CommandArgument::Type;

constexpr Argument Token(std::string_view name, std::string_view token,
                         std::string_view since = {}) {
  return {.name = name, .type = Type::kPureToken, .token = token, .since = since};
}
constexpr Argument Flag(std::string_view token) {
  return {.name = token, .type = Type::kPureToken, .token = token, .flags = Argument::kOptional};
}

constexpr Argument kYesNo[] = {Token("yes", "YES"), Token("no", "NO")};
constexpr Argument kOnOff[] = {Token("on", "ON"), Token("off", "OFF")};
constexpr Argument kCachingArguments[] = {
    {.name = "mode", .type = Type::kOneOf, .arguments = kYesNo}};
constexpr Argument kEnabledArguments[] = {
    {.name = "enabled", .type = Type::kOneOf, .arguments = kOnOff}};

constexpr Argument kKillTypes[] = {Token("normal", "NORMAL"), Token("master", "MASTER", "3.2.0"),
                                   Token("slave", "SLAVE"), Token("replica", "REPLICA", "5.0.0"),
                                   Token("pubsub", "PUBSUB")};
constexpr Argument kKillFilters[] = {
    {.name = "client-id",
     .type = Type::kInteger,
     .token = "ID",
     .flags = Argument::kOptional,
     .since = "2.8.12"},
    {.name = "client-type",
     .type = Type::kOneOf,
     .token = "TYPE",
     .flags = Argument::kOptional,
     .since = "2.8.12",
     .arguments = kKillTypes},
    {.name = "username", .token = "USER", .flags = Argument::kOptional},
    {.name = "addr", .token = "ADDR", .flags = Argument::kOptional},
    {.name = "laddr", .token = "LADDR", .flags = Argument::kOptional, .since = "6.2.0"},
    {.name = "skipme",
     .type = Type::kOneOf,
     .token = "SKIPME",
     .flags = Argument::kOptional,
     .arguments = kYesNo}};
constexpr Argument kKillForms[] = {{.name = "old-format"},
                                   {.name = "new-format",
                                    .type = Type::kOneOf,
                                    .flags = Argument::kMultiple,
                                    .arguments = kKillFilters}};
constexpr Argument kKillArguments[] = {
    {.name = "filter", .type = Type::kOneOf, .arguments = kKillForms}};

constexpr Argument kListTypes[] = {Token("normal", "NORMAL"), Token("master", "MASTER"),
                                   Token("replica", "REPLICA"), Token("pubsub", "PUBSUB")};
constexpr Argument kListArguments[] = {{.name = "client-type",
                                        .type = Type::kOneOf,
                                        .token = "TYPE",
                                        .flags = Argument::kOptional,
                                        .since = "5.0.0",
                                        .arguments = kListTypes},
                                       {.name = "client-id",
                                        .type = Type::kInteger,
                                        .token = "ID",
                                        .flags = Argument::kOptional | Argument::kMultiple,
                                        .since = "6.2.0"}};

constexpr Argument kPauseModes[] = {Token("write", "WRITE"), Token("all", "ALL")};
constexpr Argument kPauseArguments[] = {{.name = "timeout", .type = Type::kInteger},
                                        {.name = "mode",
                                         .type = Type::kOneOf,
                                         .flags = Argument::kOptional,
                                         .since = "6.2.0",
                                         .arguments = kPauseModes}};
constexpr Argument kReplyModes[] = {Token("on", "ON"), Token("off", "OFF"), Token("skip", "SKIP")};
constexpr Argument kReplyArguments[] = {
    {.name = "action", .type = Type::kOneOf, .arguments = kReplyModes}};
constexpr Argument kLibraryFields[] = {{.name = "libname", .token = "LIB-NAME"},
                                       {.name = "libver", .token = "LIB-VER"}};
constexpr Argument kSetInfoArguments[] = {
    {.name = "attr", .type = Type::kOneOf, .arguments = kLibraryFields}};
constexpr Argument kSetNameArguments[] = {{.name = "connection-name"}};
constexpr Argument kTrackingArguments[] = {
    {.name = "status", .type = Type::kOneOf, .arguments = kOnOff},
    {.name = "client-id",
     .type = Type::kInteger,
     .token = "REDIRECT",
     .flags = Argument::kOptional},
    {.name = "prefix",
     .token = "PREFIX",
     .flags = Argument::kOptional | Argument::kMultiple | Argument::kMultipleToken},
    Flag("BCAST"),
    Flag("OPTIN"),
    Flag("OPTOUT"),
    Flag("NOLOOP")};
constexpr Argument kUnblockReasons[] = {Token("timeout", "TIMEOUT"), Token("error", "ERROR")};
constexpr Argument kUnblockArguments[] = {{.name = "client-id", .type = Type::kInteger},
                                          {.name = "unblock-type",
                                           .type = Type::kOneOf,
                                           .flags = Argument::kOptional,
                                           .arguments = kUnblockReasons}};

constexpr std::string_view kVaries[] = {"nondeterministic_output"};
constexpr std::string_view kOnAllNodes[] = {"request_policy:all_nodes",
                                            "response_policy:all_succeeded"};
constexpr CommandHistory kKillHistory[] = {
    {"2.8.12", "The form with filters; the filter ID."},
    {"3.2.0", "The type master."},
    {"5.0.0", "The type replica, which slave still means, too."},
    {"6.2.0", "The filter LADDR."}};
constexpr CommandHistory kListHistory[] = {
    {"2.8.12", "The field id."},
    {"5.0.0", "The filter TYPE."},
    {"6.0.0", "The field user."},
    {"6.2.0", "The fields argv-mem, tot-mem, laddr and redir; the filter ID."},
    {"7.0.0", "The fields resp, multi-mem, rbs and rbp."},
    {"7.0.3", "The field ssub."}};
constexpr CommandHistory kPauseHistory[] = {{"6.2.0", "The mode WRITE."}};

constexpr uint64_t kUsual = kNoscript | kLoading | kStale | kRunsInPlace;

// What not every subcommand has.
struct Extras {
  std::span<const CommandArgument> arguments = {};
  std::span<const std::string_view> tips = {};
  std::span<const CommandHistory> history = {};
};

Command Row(std::string_view name, int arity, uint64_t flags, CommandFunction function,
            std::string_view since, std::string_view summary, const Extras& extras = {}) {
  uint64_t categories = kAclConnection;
  return {.name = name,
          .arity = arity,
          .flags = flags,
          .acl_categories = categories,
          .function = function,
          .group = "connection",
          .since = since,
          .complexity = "O(1)",
          .summary = summary,
          .history = extras.history,
          .tips = extras.tips,
          .arguments = extras.arguments};
}

const Command kRows[] = {
    Row("caching", 3, kUsual, ClientCachingCommand, "6.0.0", "Steers tracking of the next command.",
        {.arguments = kCachingArguments}),
    Row("getname", 2, kUsual, ClientGetNameCommand, "2.6.9", "Answers with the connection's name."),
    Row("getredir", 2, kUsual, ClientGetRedirCommand, "6.0.0", "Where tracking messages go."),
    Row("help", 2, kLoading | kStale, ClientHelpCommand, "5.0.0", "Describes the subcommands."),
    Row("id", 2, kUsual, ClientIdCommand, "5.0.0", "Answers with the connection's id."),
    Row("info", 2, kUsual, ClientInfoCommand, "6.2.0", "Describes the connection.",
        {.tips = kVaries}),
    Row("kill", -3, kUsual | kAdmin, ClientKillCommand, "2.4.0", "Closes connections.",
        {.arguments = kKillArguments, .history = kKillHistory}),
    Row("list", -2, kUsual | kAdmin, ClientListCommand, "2.4.0", "Describes all connections.",
        {.arguments = kListArguments, .tips = kVaries, .history = kListHistory}),
    Row("no-evict", 3, kUsual | kAdmin, ClientNoEvictCommand, "7.0.0", "Protects from eviction.",
        {.arguments = kEnabledArguments}),
    Row("no-touch", 3, kUsual, ClientNoTouchCommand, "7.2.0", "Leaves access clocks alone.",
        {.arguments = kEnabledArguments}),
    Row("pause", -3, kUsual | kAdmin, ClientPauseCommand, "3.0.0", "Holds commands back.",
        {.arguments = kPauseArguments, .history = kPauseHistory}),
    Row("reply", 3, kUsual, ClientReplyCommand, "3.2.0", "Turns replies on and off.",
        {.arguments = kReplyArguments}),
    Row("setinfo", 4, kUsual, ClientSetInfoCommand, "7.2.0", "Names the client's library.",
        {.arguments = kSetInfoArguments, .tips = kOnAllNodes}),
    Row("setname", 3, kUsual, ClientSetNameCommand, "2.6.9", "Names the connection.",
        {.arguments = kSetNameArguments, .tips = kOnAllNodes}),
    Row("tracking", -3, kUsual, ClientTrackingCommand, "6.0.0", "Client-side caching.",
        {.arguments = kTrackingArguments}),
    Row("trackinginfo", 2, kUsual, ClientTrackingInfoCommand, "6.2.0", "Tells what is tracked."),
    Row("unblock", -3, kUsual | kAdmin, ClientUnblockCommand, "5.0.0", "Unblocks a client.",
        {.arguments = kUnblockArguments}),
    Row("unpause", 2, kUsual | kAdmin, ClientUnpauseCommand, "6.2.0", "Ends a pause."),
};

}  // namespace

std::span<const Command> ClientSubcommands() { return kRows; }

}  // namespace firn::server
