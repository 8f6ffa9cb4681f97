// Commands of the connection itself: AUTH, HELLO, PING, ECHO, QUIT, RESET, SELECT.

#include <string>
#include <string_view>

#include "server/acl/acl.h"
#include "server/client.h"
#include "server/commands/client_commands.h"
#include "server/commands/common.h"
#include "server/options/version.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kWrongPass =
    "WRONGPASS invalid username-password pair or user is disabled.";

bool Authenticate(CommandContext& context, const Acl::Credentials& credentials) {
  if (context.server.acl().Authenticate(&context.client, credentials)) return true;
  context.reply.Error(kWrongPass);
  return false;
}

}  // namespace

void AuthCommand(CommandContext& context) {
  if (context.args.size() > 3) {
    context.reply.Error(kSyntaxError);
    return;
  }
  bool named = context.args.size() == 3;
  if (!named && context.server.acl().default_user()->no_password) {
    context.reply.Error(
        "ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?");
    return;
  }
  std::string_view user = named ? context.args[1] : "default";
  if (Authenticate(context, {.user = user, .password = context.args.back()})) context.reply.Ok();
}

void HelloCommand(CommandContext& context) {
  int64_t version = 0;
  size_t next = 1;
  if (context.args.size() >= 2) {
    if (!ParseIntegerOr(context, context.args[1], &version,
                        "ERR Protocol version is not an integer or out of range")) {
      return;
    }
    if (version < 2 || version > 3) {
      context.reply.Error("NOPROTO unsupported protocol version");
      return;
    }
    next = 2;
  }
  std::string_view user, password, name;
  bool has_auth = false, has_name = false;
  for (; next < context.args.size(); ++next) {
    size_t more = context.args.size() - next - 1;
    if (EqualsIgnoreCase(context.args[next], "auth") && more >= 2) {
      user = context.args[next + 1];
      password = context.args[next + 2];
      has_auth = true;
      next += 2;
    } else if (EqualsIgnoreCase(context.args[next], "setname") && more >= 1) {
      name = context.args[next + 1];
      if (!CheckClientName(context, name)) return;
      has_name = true;
      next += 1;
    } else {
      context.reply.Error("ERR Syntax error in HELLO option '" + std::string(context.args[next]) +
                          "'");
      return;
    }
  }
  if (has_auth && !Authenticate(context, {.user = user, .password = password})) return;
  if (!context.client.authenticated()) {
    context.reply.Error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
        "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
        "RESP protocol version at the same time");
    return;
  }
  if (has_name) context.client.set_name(std::string(name));
  if (version != 0) context.reply.set_protocol(static_cast<int>(version));
  Reply& reply = context.reply;
  reply.MapHeader(7);
  reply.Bulk(std::string_view("server"));
  reply.Bulk(std::string_view("redis"));
  reply.Bulk(std::string_view("version"));
  reply.Bulk(kRedisVersion);
  reply.Bulk(std::string_view("proto"));
  reply.Integer(reply.protocol());
  reply.Bulk(std::string_view("id"));
  reply.Integer(static_cast<int64_t>(context.client.id()));
  reply.Bulk(std::string_view("mode"));
  reply.Bulk(std::string_view("standalone"));
  reply.Bulk(std::string_view("role"));
  reply.Bulk(std::string_view("master"));
  reply.Bulk(std::string_view("modules"));
  reply.EmptyArray();
}

void PingCommand(CommandContext& context) {
  if (context.args.size() > 2) {
    ArityError(context);
  } else if (context.client.only_listens()) {
    // In the form of a message, which is all that its client expects.
    context.reply.ArrayHeader(2);
    context.reply.Bulk(std::string_view("pong"));
    context.reply.Bulk(context.args.size() == 2 ? context.args[1] : std::string_view());
  } else if (context.args.size() == 2) {
    context.reply.Bulk(context.args[1]);
  } else {
    context.reply.SimpleString("PONG");
  }
}

void EchoCommand(CommandContext& context) { context.reply.Bulk(context.args[1]); }

void QuitCommand(CommandContext& context) {
  context.reply.Ok();
  context.client.CloseAfterReply();
}

void ResetCommand(CommandContext& context) {
  context.client.ResetState();
  context.reply.SimpleString("RESET");
}

void SelectCommand(CommandContext& context) {
  uint32_t number;
  if (!ParseDatabaseOr(context, context.args[1], &number)) return;
  context.client.set_db(number);
  context.reply.Ok();
}

namespace {

void NoCluster(CommandContext& context) {
  context.reply.Error("ERR This instance has cluster support disabled");
}

constexpr uint64_t kAnytime = kNoscript | kLoading | kStale | kFast | kNoAuth | kAllowBusy;
using Argument = CommandArgument;

constexpr Argument kHelloAuth[] = {{.name = "username"}, {.name = "password"}};
constexpr Argument kHelloInner[] = {
    {.name = "protover", .type = Argument::Type::kInteger},
    {.name = "auth",
     .type = Argument::Type::kBlock,
     .token = "AUTH",
     .flags = Argument::kOptional,
     .arguments = kHelloAuth},
    {.name = "clientname", .token = "SETNAME", .flags = Argument::kOptional}};
constexpr Argument kHelloArguments[] = {{.name = "arguments",
                                         .type = Argument::Type::kBlock,
                                         .flags = Argument::kOptional,
                                         .arguments = kHelloInner}};
constexpr Argument kAuthArguments[] = {
    {.name = "username", .flags = Argument::kOptional, .since = "6.0.0"}, {.name = "password"}};
constexpr Argument kPingArguments[] = {{.name = "message", .flags = Argument::kOptional}};
constexpr Argument kEchoArguments[] = {{.name = "message"}};
constexpr Argument kSelectArguments[] = {{.name = "index", .type = Argument::Type::kInteger}};
constexpr CommandHistory kAuthHistory[] = {{"6.0.0", "Takes a username too (ACL)."}};
constexpr CommandHistory kHelloHistory[] = {{"6.2.0", "The protocol version may be left out."}};
constexpr std::string_view kCommandTips[] = {"nondeterministic_output_order"};
constexpr std::string_view kPingTips[] = {"request_policy:all_shards",
                                          "response_policy:all_succeeded"};

const Command kRows[] = {
    {.name = "auth",
     .arity = -2,
     .flags = kAnytime | kHidesArguments | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = AuthCommand,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(N) where N is the number of passwords of the user",
     .summary = "Authenticates the connection.",
     .history = kAuthHistory,
     .arguments = kAuthArguments},
    {.name = "hello",
     .arity = -1,
     .flags = kAnytime | kHidesArguments | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = HelloCommand,
     .group = "connection",
     .since = "6.0.0",
     .complexity = "O(1)",
     .summary = "Chooses the protocol version and tells what the server is.",
     .history = kHelloHistory,
     .arguments = kHelloArguments},
    {.name = "ping",
     .arity = -1,
     .flags = kFast | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = PingCommand,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Answers, to show that the server is alive.",
     .tips = kPingTips,
     .arguments = kPingArguments},
    {.name = "echo",
     .arity = 2,
     .flags = kLoading | kStale | kFast | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = EchoCommand,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Answers with its argument.",
     .arguments = kEchoArguments},
    {.name = "quit",
     .arity = -1,
     .flags = kAnytime | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = QuitCommand,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Closes the connection.",
     .replaced_by = "just closing the connection",
     .deprecated_since = "7.2.0"},
    {.name = "reset",
     .arity = 1,
     .flags = kAnytime | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = ResetCommand,
     .group = "connection",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Puts the connection back to how it began."},
    {.name = "select",
     .arity = 2,
     .flags = kLoading | kStale | kFast | kRunsInPlace,
     .acl_categories = kAclConnection,
     .function = SelectCommand,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Chooses the database.",
     .arguments = kSelectArguments},
    {.name = "client",
     .arity = -2,
     .flags = 0,
     .acl_categories = 0,
     .subcommands = ClientSubcommands(),
     .group = "connection",
     .since = "2.4.0",
     .complexity = "Depends on subcommand.",
     .summary = "Commands about client connections."},
    {.name = "command",
     .arity = -1,
     .flags = kLoading | kStale,
     .acl_categories = kAclConnection,
     .function = CommandCommand,
     .subcommands = CommandSubcommands(),
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(N), N: the number of commands",
     .summary = "Tells about all commands.",
     .tips = kCommandTips},
    {.name = "readonly",
     .arity = 1,
     .flags = kLoading | kStale | kFast,
     .acl_categories = kAclConnection,
     .function = NoCluster,
     .group = "cluster",
     .since = "3.0.0",
     .complexity = "O(1)",
     .summary = "Allows reads from a cluster's replica."},
    {.name = "readwrite",
     .arity = 1,
     .flags = kLoading | kStale | kFast,
     .acl_categories = kAclConnection,
     .function = NoCluster,
     .group = "cluster",
     .since = "3.0.0",
     .complexity = "O(1)",
     .summary = "Takes READONLY back."},
    {.name = "asking",
     .arity = 1,
     .flags = kFast,
     .acl_categories = kAclConnection,
     .function = NoCluster,
     .group = "cluster",
     .since = "3.0.0",
     .complexity = "O(1)",
     .summary = "Announces a redirected cluster command."},
};

}  // namespace

std::span<const Command> ConnectionCommands() { return kRows; }

}  // namespace firn::server
