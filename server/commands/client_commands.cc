// CLIENT and its subcommands.

#include "server/commands/client_commands.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/acl/acl.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {

bool CheckClientName(CommandContext& context, std::string_view name) {
  bool fits = std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
  if (!fits) {
    context.reply.Error("ERR Client names cannot contain spaces, newlines or special characters.");
  }
  return fits;
}

namespace {

constexpr std::string_view kTypes[] = {"normal", "master", "slave", "replica", "pubsub"};

bool IsClientType(std::string_view text) {
  return std::any_of(std::begin(kTypes), std::end(kTypes),
                     [&](std::string_view type) { return EqualsIgnoreCase(text, type); });
}

// There are no replicas and no master.
bool HasType(const Client& client, std::string_view type) {
  const bool listens = client.client_class() == ClientClass::kPubsub;
  return EqualsIgnoreCase(type, listens ? "pubsub" : "normal");
}

bool ParseOnOff(CommandContext& context, bool* on) {
  std::string_view text = context.args[2];
  *on = EqualsIgnoreCase(text, "on");
  if (*on || EqualsIgnoreCase(text, "off")) return true;
  context.reply.Error(kSyntaxError);
  return false;
}

}  // namespace

void ClientIdCommand(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.client.id()));
}

void ClientInfoCommand(CommandContext& context) {
  context.reply.Verbatim("txt", context.client.Describe() + "\n");
}

void ClientListCommand(CommandContext& context) {
  std::vector<uint64_t> ids;
  std::string_view type;
  bool by_id = false;
  if (context.args.size() == 4 && EqualsIgnoreCase(context.args[2], "type")) {
    type = context.args[3];
    if (!IsClientType(type)) {
      context.reply.Error("ERR Unknown client type '" + std::string(type) + "'");
      return;
    }
  } else if (context.args.size() > 3 && EqualsIgnoreCase(context.args[2], "id")) {
    by_id = true;
    for (std::string_view text : context.args.subspan(3)) {
      int64_t id;
      if (!ParseIntegerOr(context, text, &id, "ERR Invalid client ID")) return;
      ids.push_back(static_cast<uint64_t>(id));
    }
  } else if (context.args.size() != 2) {
    context.reply.Error(kSyntaxError);
    return;
  }
  std::string out;
  auto add = [&](const Client& client) {
    if (type.empty() || HasType(client, type)) out += client.Describe() + "\n";
  };
  if (by_id) {
    for (uint64_t id : ids) {
      if (const Client* client = context.server.FindClient(id)) add(*client);
    }
  } else {
    for (const auto& [id, client] : context.server.clients()) add(*client);
  }
  context.reply.Verbatim("txt", out);
}

void ClientGetNameCommand(CommandContext& context) {
  if (context.client.name().empty()) {
    context.reply.Null();
  } else {
    context.reply.Bulk(context.client.name());
  }
}

void ClientSetNameCommand(CommandContext& context) {
  if (!CheckClientName(context, context.args[2])) return;
  context.client.set_name(std::string(context.args[2]));
  context.reply.Ok();
}

void ClientSetInfoCommand(CommandContext& context) {
  std::string_view option = context.args[2];
  std::string_view value = context.args[3];
  bool is_name = EqualsIgnoreCase(option, "lib-name");
  if (!is_name && !EqualsIgnoreCase(option, "lib-ver")) {
    context.reply.Error("ERR Unrecognized option '" + std::string(option) + "'");
    return;
  }
  bool fits = std::all_of(value.begin(), value.end(), [](char c) { return c >= '!' && c <= '~'; });
  if (!fits) {
    context.reply.Error("ERR " + std::string(option) +
                        " cannot contain spaces, newlines or special characters.");
    return;
  }
  (is_name ? context.client.library_name() : context.client.library_version()) = std::string(value);
  context.reply.Ok();
}

namespace {

// --- CLIENT KILL

struct KillFilter {
  std::optional<std::string_view> address, local_address, user, type;
  std::optional<uint64_t> id;
  std::optional<int64_t> max_age;
  bool skip_me = true;
};

bool ParseKillFilter(CommandContext& context, KillFilter* filter) {
  if (context.args.size() % 2 != 0) {
    context.reply.Error(kSyntaxError);
    return false;
  }
  for (size_t i = 2; i + 1 < context.args.size(); i += 2) {
    std::string_view option = context.args[i];
    std::string_view value = context.args[i + 1];
    if (EqualsIgnoreCase(option, "id")) {
      int64_t id;
      if (!ParseRangeOr(context, value, {1, INT64_MAX}, &id,
                        "ERR client-id should be greater than 0")) {
        return false;
      }
      filter->id = static_cast<uint64_t>(id);
    } else if (EqualsIgnoreCase(option, "type")) {
      if (!IsClientType(value)) {
        context.reply.Error("ERR Unknown client type '" + std::string(value) + "'");
        return false;
      }
      filter->type = value;
    } else if (EqualsIgnoreCase(option, "addr")) {
      filter->address = value;
    } else if (EqualsIgnoreCase(option, "laddr")) {
      filter->local_address = value;
    } else if (EqualsIgnoreCase(option, "user")) {
      if (context.server.acl().Find(value) == nullptr) {
        context.reply.Error("ERR No such user '" + std::string(value) + "'");
        return false;
      }
      filter->user = value;
    } else if (EqualsIgnoreCase(option, "skipme") && EqualsIgnoreCase(value, "yes")) {
      filter->skip_me = true;
    } else if (EqualsIgnoreCase(option, "skipme") && EqualsIgnoreCase(value, "no")) {
      filter->skip_me = false;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

}  // namespace

void ClientKillCommand(CommandContext& context) {
  KillFilter filter;
  bool old_form = context.args.size() == 3;
  if (old_form) {
    filter.address = context.args[2];
    filter.skip_me = false;
  } else if (!ParseKillFilter(context, &filter)) {
    return;
  }
  int64_t killed = 0;
  for (const auto& [id, client] : context.server.clients()) {
    if (client->closing()) continue;
    if (filter.address && client->address().peer != *filter.address) continue;
    if (filter.local_address && client->address().local != *filter.local_address) continue;
    if (filter.type && !HasType(*client, *filter.type)) continue;
    if (filter.id && client->id() != *filter.id) continue;
    if (filter.user && (!client->authenticated() || client->user()->name != *filter.user)) continue;
    bool is_me = client.get() == &context.client;
    if (is_me && filter.skip_me) continue;
    ++killed;
    if (is_me) {
      client->CloseAfterReply();
    } else {
      client->CloseSoon();
    }
  }
  if (!old_form) {
    context.reply.Integer(killed);
  } else if (killed > 0) {
    context.reply.Ok();
  } else {
    context.reply.Error("ERR No such client");
  }
}

void ClientReplyCommand(CommandContext& context) {
  std::string_view mode = context.args[2];
  if (EqualsIgnoreCase(mode, "on")) {
    context.client.set_reply_mode(Client::ReplyMode::kOn);
    context.reply.Ok();
  } else if (EqualsIgnoreCase(mode, "off")) {
    context.client.set_reply_mode(Client::ReplyMode::kOff);
  } else if (EqualsIgnoreCase(mode, "skip")) {
    if (context.client.reply_mode() == Client::ReplyMode::kOn) {
      context.client.set_reply_mode(Client::ReplyMode::kSkipNext);
    }
  } else {
    context.reply.Error(kSyntaxError);
  }
}

void ClientNoEvictCommand(CommandContext& context) {
  bool on;
  if (!ParseOnOff(context, &on)) return;
  context.client.set_no_evict(on);
  context.reply.Ok();
}

void ClientNoTouchCommand(CommandContext& context) {
  bool on;
  if (!ParseOnOff(context, &on)) return;
  context.client.set_no_touch(on);
  context.reply.Ok();
}

void ClientPauseCommand(CommandContext& context) {
  PauseKind kind = PauseKind::kAll;
  if (context.args.size() == 4) {
    if (EqualsIgnoreCase(context.args[3], "write")) {
      kind = PauseKind::kWrite;
    } else if (!EqualsIgnoreCase(context.args[3], "all")) {
      context.reply.Error("ERR CLIENT PAUSE mode must be WRITE or ALL");
      return;
    }
  } else if (context.args.size() != 3) {
    ArityError(context);
    return;
  }
  int64_t millis;
  if (!ParseIntegerOr(context, context.args[2], &millis,
                      "ERR timeout is not an integer or out of range")) {
    return;
  }
  if (millis < 0) {
    context.reply.Error("ERR timeout is negative");
    return;
  }
  int64_t now = context.server.loop().WallMillis();
  if (millis > INT64_MAX - now) {
    context.reply.Error("ERR timeout is out of range");
    return;
  }
  context.server.Pause(kind, now + millis);
  context.reply.Ok();
}

void ClientUnpauseCommand(CommandContext& context) {
  context.server.Unpause();
  context.reply.Ok();
}

void ClientUnblockCommand(CommandContext& context) {
  if (context.args.size() == 4 && !EqualsIgnoreCase(context.args[3], "timeout") &&
      !EqualsIgnoreCase(context.args[3], "error")) {
    context.reply.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    return;
  }
  int64_t id;
  if (!ParseIntegerOr(context, context.args[2], &id)) return;
  const bool as_error = context.args.size() == 4 && EqualsIgnoreCase(context.args[3], "error");
  const auto reason = as_error ? Blocking::Reason::kError : Blocking::Reason::kTimeout;
  const bool unblocked = context.server.blocking().Unblock(static_cast<uint64_t>(id), reason);
  context.reply.Integer(unblocked ? 1 : 0);
}

void ClientHelpCommand(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"CACHING (YES|NO)", "Says whether the next command's keys are tracked."},
      {"GETREDIR", "The client that tracking messages go to."},
      {"GETNAME", "The name of this connection."},
      {"ID", "The id of this connection."},
      {"INFO", "A line about this connection."},
      {"KILL <ip:port>", "Closes the connection from this address."},
      {"KILL <option> <value> [<option> <value> [...]]",
       "Closes connections by ADDR, LADDR, TYPE, USER, ID; SKIPME (YES|NO)."},
      {"LIST [options ...]", "A line about each connection; TYPE or ID chooses among them."},
      {"UNPAUSE", "Ends CLIENT PAUSE."},
      {"PAUSE <timeout> [WRITE|ALL]", "Holds all commands, or those that write, back."},
      {"REPLY (ON|OFF|SKIP)", "Turns replies on or off, or skips the next."},
      {"SETNAME <name>", "Gives this connection a name."},
      {"SETINFO <option> <value>", "Says which library the client uses: LIB-NAME, LIB-VER."},
      {"UNBLOCK <clientid> [TIMEOUT|ERROR]", "Unblocks a client."},
      {"TRACKING (ON|OFF) [...]", "Turns client-side caching on or off."},
      {"TRACKINGINFO", "What is tracked for this connection."},
      {"NO-EVICT (ON|OFF)", "Protects this connection from eviction."},
      {"NO-TOUCH (ON|OFF)", "Commands of this connection don't count as accesses."},
  };
  ReplyHelp(context, "CLIENT", kLines);
}

}  // namespace firn::server
