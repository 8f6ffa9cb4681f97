// CLIENT TRACKING, TRACKINGINFO, GETREDIR, CACHING.
#include <string>
#include <string_view>
#include <vector>

#include "server/client.h"
#include "server/commands/client_commands.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {
namespace {

// The options behind ON; OFF takes them too, for nothing.
bool ParseTrackingOr(CommandContext& context, TrackingState* wanted) {
  const auto args = context.args;
  for (size_t i = 3; i < args.size(); ++i) {
    const bool more = i + 1 < args.size();
    if (EqualsIgnoreCase(args[i], "redirect") && more) {
      int64_t id;
      if (wanted->redirect != 0) {
        context.reply.Error("ERR A client can only redirect to a single other client");
        return false;
      }
      if (!ParseIntegerOr(context, args[++i], &id)) return false;
      // It may go away later; a client that is wrong from the start is a mistake.
      if (id <= 0 || context.server.FindClient(static_cast<uint64_t>(id)) == nullptr) {
        context.reply.Error("ERR The client ID you want redirect to does not exist");
        return false;
      }
      wanted->redirect = static_cast<uint64_t>(id);
    } else if (EqualsIgnoreCase(args[i], "bcast")) {
      wanted->broadcast = true;
    } else if (EqualsIgnoreCase(args[i], "optin")) {
      wanted->opt_in = true;
    } else if (EqualsIgnoreCase(args[i], "optout")) {
      wanted->opt_out = true;
    } else if (EqualsIgnoreCase(args[i], "noloop")) {
      wanted->no_loop = true;
    } else if (EqualsIgnoreCase(args[i], "prefix") && more) {
      wanted->prefixes.insert(std::string(args[++i]));
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

// An error's text, or nothing if the options go together, and with those in force.
std::string_view ConflictOf(const TrackingState& wanted, const TrackingState* now) {
  if (!wanted.broadcast && !wanted.prefixes.empty()) {
    return "ERR PREFIX option requires BCAST mode to be enabled";
  }
  if (now != nullptr && now->broadcast != wanted.broadcast) {
    return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and "
           "then re-enabling it with a different mode.";
  }
  if (wanted.broadcast && (wanted.opt_in || wanted.opt_out)) {
    return "ERR OPTIN and OPTOUT are not compatible with BCAST";
  }
  if (wanted.opt_in && wanted.opt_out) {
    return "ERR You can't use both OPTIN mode and OPTOUT mode";
  }
  if (now != nullptr && ((wanted.opt_in && now->opt_out) || (wanted.opt_out && now->opt_in))) {
    return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and "
           "then re-enabling it with a different mode.";
  }
  return {};
}

bool Overlap(std::string_view a, std::string_view b) {
  return a.starts_with(b) || b.starts_with(a);
}

// Two prefixes of one client that could match the same key.
std::string OverlapOf(const TrackingState* now, std::span<const std::string_view> given) {
  for (size_t i = 0; i < given.size(); ++i) {
    const std::string text = "ERR Prefix '" + std::string(given[i]) + "' overlaps with ";
    constexpr std::string_view kEnd = "'. Prefixes for a single client must not overlap.";
    if (now != nullptr) {
      for (const std::string& other : now->prefixes) {
        if (Overlap(given[i], other)) {
          return text + "an existing prefix '" + other + std::string(kEnd);
        }
      }
    }
    for (size_t j = i + 1; j < given.size(); ++j) {
      if (Overlap(given[i], given[j])) {
        return text + "another provided prefix '" + std::string(given[j]) + std::string(kEnd);
      }
    }
  }
  return {};
}

std::vector<std::string_view> GivenPrefixes(std::span<const std::string_view> args) {
  std::vector<std::string_view> given;
  for (size_t i = 3; i + 1 < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "redirect")) {
      ++i;
    } else if (EqualsIgnoreCase(args[i], "prefix")) {
      given.push_back(args[++i]);
    }
  }
  return given;
}

}  // namespace

void ClientTrackingCommand(CommandContext& context) {
  TrackingState wanted;
  if (!ParseTrackingOr(context, &wanted)) return;
  if (EqualsIgnoreCase(context.args[2], "off")) {
    context.server.tracking().Disable(&context.client);
    return context.reply.Ok();
  }
  if (!EqualsIgnoreCase(context.args[2], "on")) return context.reply.Error(kSyntaxError);
  const TrackingState* now = context.client.tracking().get();
  if (const std::string_view conflict = ConflictOf(wanted, now); !conflict.empty()) {
    return context.reply.Error(conflict);
  }
  if (wanted.broadcast) {
    const std::string overlap = OverlapOf(now, GivenPrefixes(context.args));
    if (!overlap.empty()) return context.reply.Error(overlap);
    if (wanted.prefixes.empty()) wanted.prefixes.insert("");
  }
  context.server.tracking().Enable(&context.client, wanted);
  context.reply.Ok();
}

void ClientGetRedirCommand(CommandContext& context) {
  const TrackingState* state = context.client.tracking().get();
  context.reply.Integer(state == nullptr ? -1 : static_cast<int64_t>(state->redirect));
}

void ClientTrackingInfoCommand(CommandContext& context) {
  const TrackingState* state = context.client.tracking().get();
  std::vector<std::string_view> flags = {state == nullptr ? "off" : "on"};
  if (state != nullptr) {
    if (state->broadcast) flags.push_back("bcast");
    if (state->opt_in) flags.push_back("optin");
    if (state->opt_in && state->caching) flags.push_back("caching-yes");
    if (state->opt_out) flags.push_back("optout");
    if (state->opt_out && state->caching) flags.push_back("caching-no");
    if (state->no_loop) flags.push_back("noloop");
    if (state->broken_redirect) flags.push_back("broken_redirect");
  }
  Reply& reply = context.reply;
  reply.MapHeader(3);
  reply.Bulk(std::string_view("flags"));
  reply.SetHeader(static_cast<int64_t>(flags.size()));
  for (std::string_view flag : flags) reply.Bulk(flag);
  reply.Bulk(std::string_view("redirect"));
  reply.Integer(state == nullptr ? -1 : static_cast<int64_t>(state->redirect));
  reply.Bulk(std::string_view("prefixes"));
  reply.ArrayHeader(state == nullptr ? 0 : static_cast<int64_t>(state->prefixes.size()));
  if (state == nullptr) return;
  for (const std::string& prefix : state->prefixes) reply.Bulk(prefix);
}

void ClientCachingCommand(CommandContext& context) {
  TrackingState* state = context.client.tracking().get();
  if (state == nullptr) {
    return context.reply.Error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
        "OPTOUT mode enabled");
  }
  const bool yes = EqualsIgnoreCase(context.args[2], "yes");
  if (!yes && !EqualsIgnoreCase(context.args[2], "no")) {
    return context.reply.Error(kSyntaxError);
  }
  if (yes && !state->opt_in) {
    return context.reply.Error(
        "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
  }
  if (!yes && !state->opt_out) {
    return context.reply.Error(
        "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
  }
  state->caching = true;
  context.reply.Ok();
}

}  // namespace firn::server
