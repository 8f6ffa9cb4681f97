// ACL: users, their rights, and what was refused.

#include "server/acl/acl.h"

#include <openssl/rand.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "server/client.h"
#include "server/commands/command_lookup.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr int64_t kMaxPasswordBits = 4096;
constexpr int64_t kDefaultPasswordBits = 256;
constexpr int64_t kDefaultLogEntries = 10;
constexpr size_t kShownBytes = 128;

constexpr std::string_view kNoAclFile =
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users "
    "via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
    "configuration file set) in order to store users in the Redis configuration.";

void Bulk(Reply& reply, std::string_view text) { reply.Bulk(text); }

// --- CAT

void AclCat(CommandContext& context) {
  Reply& reply = context.reply;
  if (context.args.size() > 3) return SubcommandError(context);
  if (context.args.size() == 2) {
    reply.ArrayHeader(static_cast<int64_t>(AclCategoryNames().size()));
    for (const AclCategoryName& each : AclCategoryNames()) Bulk(reply, each.name);
    return;
  }
  const uint64_t category = AclCategoryByName(context.args[2]);
  if (category == 0) {
    return reply.Error("ERR Unknown category '" +
                       std::string(UpToNul(context.args[2].substr(0, kShownBytes))) + "'");
  }
  const CommandTable& table = context.server.commands();
  std::vector<std::string_view> names;
  auto add = [&](const Command& command) {
    if ((AclCategoriesOf(command) & category) != 0) names.push_back(table.FullName(command));
  };
  for (const Command* command : table.all()) {
    add(*command);
    for (const Command& sub : command->subcommands) add(sub);
  }
  reply.ArrayHeader(static_cast<int64_t>(names.size()));
  for (std::string_view name : names) Bulk(reply, name);
}

// --- users

void AclSetUser(CommandContext& context) {
  const std::string_view name = context.args[2];
  if (HasSpaceOrNul(name)) {
    return context.reply.Error("ERR Usernames can't contain spaces or null characters");
  }
  const std::vector<std::string> rules(context.args.begin() + 3, context.args.end());
  Status status = context.server.acl().SetUser(name, rules);
  if (status.ok()) return context.reply.Ok();
  context.reply.Error("ERR " + status.message());
}

void AclDelUser(CommandContext& context) {
  const auto names = context.args.subspan(2);
  Acl& acl = context.server.acl();
  if (std::ranges::find(names, acl.default_user()->name) != names.end()) {
    return context.reply.Error("ERR The 'default' user cannot be removed");
  }
  int64_t deleted = 0;
  for (std::string_view name : names) deleted += acl.DeleteUser(name, &context.client);
  context.reply.Integer(deleted);
}

void ReplySelector(Reply& reply, const AclSelector& selector) {
  Bulk(reply, "commands");
  Bulk(reply, DescribeCommands(selector));
  Bulk(reply, "keys");
  Bulk(reply, DescribeKeys(selector));
  Bulk(reply, "channels");
  Bulk(reply, DescribeChannels(selector));
}

void AclGetUser(CommandContext& context) {
  Reply& reply = context.reply;
  const std::shared_ptr<AclUser> user = context.server.acl().Find(context.args[2]);
  if (user == nullptr) return reply.Null();
  reply.MapHeader(6);
  Bulk(reply, "flags");
  reply.SetHeader(user->no_password ? 3 : 2);
  Bulk(reply, user->enabled ? "on" : "off");
  if (user->no_password) Bulk(reply, "nopass");
  Bulk(reply, user->skip_sanitize ? "skip-sanitize-payload" : "sanitize-payload");
  Bulk(reply, "passwords");
  reply.ArrayHeader(static_cast<int64_t>(user->passwords.size()));
  for (const std::string& hash : user->passwords) Bulk(reply, hash);
  ReplySelector(reply, user->selectors[0]);
  Bulk(reply, "selectors");
  reply.ArrayHeader(static_cast<int64_t>(user->selectors.size() - 1));
  for (size_t i = 1; i < user->selectors.size(); ++i) {
    reply.MapHeader(3);
    ReplySelector(reply, user->selectors[i]);
  }
}

void AclList(CommandContext& context) {
  const std::vector<std::string> lines = context.server.acl().Lines();
  context.reply.ArrayHeader(static_cast<int64_t>(lines.size()));
  for (const std::string& line : lines) Bulk(context.reply, line);
}

void AclUsers(CommandContext& context) {
  const auto& users = context.server.acl().users();
  context.reply.ArrayHeader(static_cast<int64_t>(users.size()));
  for (const auto& [name, user] : users) Bulk(context.reply, name);
}

void AclWhoAmI(CommandContext& context) { Bulk(context.reply, context.client.user()->name); }

void AclGenPass(CommandContext& context) {
  if (context.args.size() > 3) return SubcommandError(context);
  int64_t bits = kDefaultPasswordBits;
  if (context.args.size() == 3 && !ParseIntegerOr(context, context.args[2], &bits)) return;
  if (bits <= 0 || bits > kMaxPasswordBits) {
    return context.reply.Error(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive "
        "number up to 4096");
  }
  unsigned char random[kMaxPasswordBits / 8];
  if (RAND_bytes(random, sizeof(random)) != 1) {
    return context.reply.Error("ERR no random numbers to be had");
  }
  std::string password;
  for (int64_t i = 0; i < (bits + 3) / 4; ++i) {
    const int byte = random[i / 2];
    password.push_back("0123456789abcdef"[i % 2 == 0 ? byte >> 4 : byte & 15]);
  }
  Bulk(context.reply, password);
}

// --- DRYRUN

void AclDryRun(CommandContext& context) {
  Reply& reply = context.reply;
  const auto args = context.args.subspan(3);
  const std::shared_ptr<AclUser> user = context.server.acl().Find(context.args[2]);
  if (user == nullptr) {
    return reply.Error("ERR User '" + std::string(UpToNul(context.args[2])) + "' not found");
  }
  const CommandTable& table = context.server.commands();
  const Command* command = table.Find(args[0]);
  if (command != nullptr && !command->subcommands.empty() && args.size() > 1) {
    const Command* sub = table.FindSub(*command, args[1]);
    command = sub != nullptr || command->function == nullptr ? sub : command;
  }
  if (command == nullptr) {
    return reply.Error("ERR Command '" + std::string(UpToNul(args[0])) + "' not found");
  }
  const int64_t count = static_cast<int64_t>(args.size());
  if (command->arity >= 0 ? count != command->arity : count < -command->arity) {
    return reply.Error("ERR wrong number of arguments for '" + table.FullName(*command) +
                       "' command");
  }
  const AclResult result = AclCheck(*user, *command, args);
  if (result.ok()) return reply.Ok();
  Bulk(reply, AclDenialText(*user, table.FullName(*command), args, result, AclDetail::kVerbose));
}

// --- LOG

void ReplyLogEntry(CommandContext& context, const AclLog::Entry& entry) {
  Reply& reply = context.reply;
  auto number = [&](std::string_view name, int64_t value) {
    Bulk(reply, name);
    reply.Integer(value);
  };
  auto text = [&](std::string_view name, std::string_view value) {
    Bulk(reply, name);
    Bulk(reply, value);
  };
  reply.MapHeader(10);
  number("count", static_cast<int64_t>(entry.count));
  text("reason", AclDenialName(entry.reason));
  text("context", AclContextName(entry.context));
  text("object", entry.object);
  text("username", entry.user);
  Bulk(reply, "age-seconds");
  reply.Double(static_cast<double>(context.server.loop().WallMillis() - entry.updated_ms) / 1000);
  text("client-info", entry.client);
  number("entry-id", static_cast<int64_t>(entry.id));
  number("timestamp-created", entry.created_ms);
  number("timestamp-last-updated", entry.updated_ms);
}

void AclLogCommand(CommandContext& context) {
  if (context.args.size() > 3) return SubcommandError(context);
  AclLog& log = context.server.acl().log();
  int64_t count = kDefaultLogEntries;
  if (context.args.size() == 3) {
    if (EqualsIgnoreCase(context.args[2], "reset")) {
      log.Clear();
      return context.reply.Ok();
    }
    if (!ParseIntegerOr(context, context.args[2], &count)) return;
  }
  count = std::clamp<int64_t>(count, 0, static_cast<int64_t>(log.entries().size()));
  context.reply.ArrayHeader(count);
  for (int64_t i = 0; i < count; ++i) {
    ReplyLogEntry(context, log.entries()[static_cast<size_t>(i)]);
  }
}

// --- files

// The error that there is no ACL file, and false.
bool HasFile(CommandContext& context) {
  if (!context.server.options()->aclfile.empty()) return true;
  context.reply.Error(kNoAclFile);
  return false;
}

void AclLoad(CommandContext& context) {
  if (!HasFile(context)) return;
  Status status = context.server.acl().LoadFile(&context.client);
  if (status.ok()) return context.reply.Ok();
  context.reply.Error("ERR " + status.message());
}

void AclSave(CommandContext& context) {
  if (!HasFile(context)) return;
  Status status = context.server.acl().SaveFile();
  if (status.ok()) return context.reply.Ok();
  context.reply.Error("ERR " + status.message());
}

void AclHelp(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"CAT [<category>]", "The names of all categories, or of the commands of one."},
      {"DELUSER <username> [<username> ...]", "Deletes users and closes their connections."},
      {"DRYRUN <username> <command> [<arg> ...]", "Whether the user might run the command."},
      {"GENPASS [<bits>]", "A random password of 256 bits, or of as many as are asked for."},
      {"GETUSER <username>", "The passwords and rights of a user."},
      {"LIST", "All users, as in configuration files."},
      {"LOAD", "Reads the users from the ACL file again."},
      {"LOG [<count> | RESET]", "What was refused, the newest first; RESET forgets it."},
      {"SAVE", "Writes the users to the ACL file."},
      {"SETUSER <username> <attribute> [<attribute> ...]", "Makes a user or changes it."},
      {"USERS", "The names of all users."},
      {"WHOAMI", "The name of the user of this connection."},
  };
  ReplyHelp(context, "ACL", kLines);
}

// --- rows

using Argument = CommandArgument;

constexpr uint64_t kFlags = kNoscript | kLoading | kStale;
constexpr uint64_t kAdminFlags = kAdmin | kFlags;
constexpr std::string_view kPerUser = "O(N), N: the number of users";
constexpr CommandHistory kGetUserHistory[] = {
    {"6.2.0", "Patterns of channels."},
    {"7.0.0", "Selectors; patterns of keys and channels as rules instead of lists."}};
constexpr CommandHistory kSetUserHistory[] = {{"6.2.0", "Patterns of channels."},
                                              {"7.0.0", "Selectors, and rights by key."}};
constexpr CommandHistory kLogHistory[] = {
    {"7.2.0", "The number of an entry, and when it was made and last changed."}};
constexpr Argument kCategory[] = {{.name = "category", .flags = Argument::kOptional}};
constexpr Argument kUserName[] = {{.name = "username"}};
constexpr Argument kUserNames[] = {{.name = "username", .flags = Argument::kMultiple}};
constexpr Argument kDryRun[] = {
    {.name = "username"},
    {.name = "command"},
    {.name = "arg", .flags = Argument::kOptional | Argument::kMultiple}};
constexpr Argument kBits[] = {
    {.name = "bits", .type = Argument::Type::kInteger, .flags = Argument::kOptional}};
constexpr Argument kLogOperations[] = {
    {.name = "count", .type = Argument::Type::kInteger},
    {.name = "reset", .type = Argument::Type::kPureToken, .token = "RESET"}};
constexpr Argument kLog[] = {{.name = "operation",
                              .type = Argument::Type::kOneOf,
                              .flags = Argument::kOptional,
                              .arguments = kLogOperations}};
constexpr Argument kSetUser[] = {
    {.name = "username"}, {.name = "rule", .flags = Argument::kOptional | Argument::kMultiple}};

constexpr Command Row(std::string_view name, int arity, uint64_t flags, CommandFunction function) {
  return {.name = name,
          .arity = arity,
          .flags = flags | kRunsInPlace,
          .acl_categories = 0,
          .function = function,
          .group = "server",
          .since = "6.0.0",
          .complexity = "O(1)"};
}

struct Documentation {
  std::string_view summary;
  std::string_view complexity = "O(1)";
  std::span<const Argument> arguments = {};
  std::span<const CommandHistory> history = {};
  std::string_view since = "6.0.0";
};

constexpr Command Documented(Command row, const Documentation& documentation) {
  row.summary = documentation.summary;
  row.complexity = documentation.complexity;
  row.arguments = documentation.arguments;
  row.history = documentation.history;
  row.since = documentation.since;
  return row;
}

constexpr Command kSubcommands[] = {
    Documented(Row("cat", -2, kFlags, AclCat),
               {.summary = "Lists the categories, or the commands of one.",
                .complexity = "O(1) since the categories and commands are a fixed set.",
                .arguments = kCategory}),
    Documented(Row("deluser", -3, kAdminFlags, AclDelUser),
               {.summary = "Deletes users and closes their connections.",
                .complexity = "O(1) amortized time considering the typical user.",
                .arguments = kUserNames}),
    Documented(Row("dryrun", -4, kAdminFlags | kHidesArguments, AclDryRun),
               {.summary = "Tells whether a user might run a command.",
                .complexity = "O(1).",
                .arguments = kDryRun,
                .since = "7.0.0"}),
    Documented(Row("genpass", -2, kFlags, AclGenPass),
               {.summary = "Makes a random password.", .arguments = kBits}),
    Documented(Row("getuser", 3, kAdminFlags, AclGetUser),
               {.summary = "Describes a user.",
                .complexity = "O(N), N: the number of rules of the user",
                .arguments = kUserName,
                .history = kGetUserHistory}),
    Documented(Row("help", 2, kLoading | kStale, AclHelp),
               {.summary = "Describes the subcommands."}),
    Documented(Row("list", 2, kAdminFlags, AclList),
               {.summary = "Describes all users by their rules.", .complexity = kPerUser}),
    Documented(Row("load", 2, kAdminFlags, AclLoad),
               {.summary = "Reads the ACL file again.", .complexity = kPerUser}),
    Documented(Row("log", -2, kAdminFlags, AclLogCommand),
               {.summary = "Shows what was refused.",
                .complexity = "O(N), N: the number of entries shown",
                .arguments = kLog,
                .history = kLogHistory}),
    Documented(Row("save", 2, kAdminFlags, AclSave),
               {.summary = "Writes the ACL file.", .complexity = kPerUser}),
    Documented(Row("setuser", -3, kAdminFlags | kHidesArguments, AclSetUser),
               {.summary = "Makes a user, or changes its rights.",
                .complexity = "O(N), N: the number of rules given",
                .arguments = kSetUser,
                .history = kSetUserHistory}),
    Documented(Row("users", 2, kAdminFlags, AclUsers),
               {.summary = "Names all users.", .complexity = kPerUser}),
    Documented(Row("whoami", 2, kFlags, AclWhoAmI),
               {.summary = "Names the user of the connection."}),
};

const Command kRows[] = {{.name = "acl",
                          .arity = -2,
                          .flags = 0,
                          .acl_categories = 0,
                          .subcommands = kSubcommands,
                          .group = "server",
                          .since = "6.0.0",
                          .complexity = "Depends on subcommand.",
                          .summary = "Commands about users and their rights."}};

}  // namespace

std::span<const Command> AclCommands() { return kRows; }

}  // namespace firn::server
