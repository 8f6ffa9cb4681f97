// DEBUG: what test suites need to look inside and to make rare things happen.
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/glob.h"
#include "server/commands/common.h"
#include "server/commands/debug_digest.h"
#include "server/commands/object_encoding.h"
#include "server/commands/server_commands.h"
#include "server/scripting/scripting.h"
#include "server/server.h"
#include "tiering/io/loop_base.h"

namespace firn::server {
namespace {

// A POPULATE of more than this at a time would hold up everybody else: it goes on in steps.
constexpr int64_t kPopulateStep = 1000;
// Longest sleep; more than any test wants.
constexpr double kMaxSleepSeconds = 3600;
constexpr std::string_view kReloadInGroupError = "ERR Nothing can be loaded within a transaction";

int64_t Leading(std::string_view text) { return std::atoll(std::string(text).c_str()); }

void Help(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"CONFIG-REWRITE-FORCE-ALL", "Rewrites the configuration file with a line for every option."},
      {"DEMOTE-PAGES <key> <first> <step>",
       "Moves every step-th page of a big value to disk; 0 is its root."},
      {"DIGEST", "Gives a digest of all data, equal to that of Redis for equal data."},
      {"DIGEST-VALUE <key> [<key> ...]", "Gives the digests of values."},
      {"ERROR <text>", "Answers with that error."},
      {"LOADAOF", "Closes the store and recovers it from the log."},
      {"LOG <text>", "Writes a line to the server's log."},
      {"OBJECT <key>", "Tells how a value is kept."},
      {"PAUSE-CRON <0|1>", "Stops periodic work."},
      {"POPULATE <count> [<prefix>] [<size>]", "Makes keys named <prefix>:<number>."},
      {"PROTOCOL <type>", "Answers with a test value of a protocol type."},
      {"QUICKLIST-PACKED-THRESHOLD <size>", "Accepted; means nothing here."},
      {"RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
       "Saves the dump, empties all databases and loads the dump."},
      {"REPLYBUFFER <setting> <value>", "Accepted; means nothing here."},
      {"SEGFAULT", "Crashes the server."},
      {"SET-ACTIVE-EXPIRE <0|1>", "Stops or starts the deletion of expired keys unasked."},
      {"SET-DISABLE-DENY-SCRIPTS <0|1>", "Lets scripts call DEBUG and CLIENT LIST, or no longer."},
      {"SET-SKIP-CHECKSUM-VALIDATION <0|1>", "Takes dumps whatever their checksum is, for tests."},
      {"SLEEP <seconds>", "Stops the server for a while."},
      {"STRINGMATCH-LEN <pattern> <text>", "Matches a pattern, and answers 1 or 0."}};
  ReplyHelp(context, "DEBUG", kLines);
}

void DemotePages(CommandContext& context) {
  constexpr IntegerRange kPages = {0, std::numeric_limits<uint32_t>::max()};
  int64_t first;
  int64_t step;
  if (!ParseRangeOr(context, context.args[3], kPages, &first)) return;
  if (!ParseRangeOr(context, context.args[4], {1, kPages.max}, &step)) return;
  auto pending = PendingCommand::Begin(context);
  context.store.DemotePages(
      context.db().number(), std::string(context.args[2]),
      {.first = static_cast<uint32_t>(first), .step = static_cast<uint32_t>(step)},
      [pending](int64_t moved) {
        pending->Finish([moved](CommandContext& context) { context.reply.Integer(moved); });
      });
  pending->Return();
}

void Sleep(CommandContext& context) {
  double seconds = std::strtod(std::string(context.args[2]).c_str(), nullptr);
  if (!(seconds > 0)) seconds = 0;
  seconds = std::min(seconds, kMaxSleepSeconds);
  // Blocks on purpose: that is what the command is for.
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  // Time stands still for a script.
  if (context.server.scripting().runner().running()) return context.reply.Ok();
  // A simulated loop's time is its own.
  if (auto* loop = dynamic_cast<io::LoopBase*>(&context.server.loop())) loop->SampleClocks();
  context.reply.Ok();
}

void ProtocolPush(CommandContext& context) {
  Reply& reply = context.reply;
  if (reply.protocol() < 3) return reply.Error("ERR RESP2 is not supported by this command");
  reply.PushHeader(2);
  reply.Bulk(std::string_view("server-cpu-usage"));
  reply.Integer(42);
  reply.Bulk(std::string_view("Some real reply following the push reply"));
}

void ProtocolAttribute(CommandContext& context) {
  Reply& reply = context.reply;
  if (reply.protocol() >= 3) {
    reply.AttributeHeader(1);
    reply.Bulk(std::string_view("key-popularity"));
    reply.ArrayHeader(2);
    reply.Bulk(std::string_view("key:123"));
    reply.Integer(90);
  }
  reply.Bulk(std::string_view("Some real reply following the attribute"));
}

void Protocol(CommandContext& context) {
  Reply& reply = context.reply;
  std::string_view type = context.args[2];
  auto is = [type](std::string_view name) { return EqualsIgnoreCase(type, name); };
  auto numbers = [&reply] {
    for (int i = 0; i < 3; ++i) reply.Integer(i);
  };
  if (is("string")) return reply.Bulk(std::string_view("Hello World"));
  if (is("integer")) return reply.Integer(12345);
  if (is("double")) return reply.Double(3.141);
  if (is("bignum")) return reply.BigNumber("1234567999999999999999999999999999999");
  if (is("null")) return reply.Null();
  if (is("array")) return reply.ArrayHeader(3), numbers();
  if (is("set")) return reply.SetHeader(3), numbers();
  if (is("map")) {
    reply.MapHeader(3);
    for (int i = 0; i < 3; ++i) reply.Integer(i), reply.Bool(i == 1);
    return;
  }
  if (is("attrib")) return ProtocolAttribute(context);
  if (is("push")) return ProtocolPush(context);
  if (is("true")) return reply.Bool(true);
  if (is("false")) return reply.Bool(false);
  if (is("verbatim")) return reply.Verbatim("txt", "This is a verbatim\nstring");
  reply.Error(
      "ERR Wrong protocol type name. Please use one of the following: "
      "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

void ObjectOf(CommandContext& context) {
  const HashedKey key = context.store.Key(context.args[2]);
  RunWithKeys(context, {{context.db().number(), key, Access::kRead}}, [](CommandContext& context) {
    // No look-up: what has expired is shown as long as it is there.
    Database::ObjectInfo info = context.db().Inspect(context.store.Key(context.args[2]));
    if (info.type == ValueType::kNone) return context.reply.Error(kNoSuchKeyError);
    context.reply.SimpleString("Value at:" + std::to_string(info.log_lsn) +
                               " refcount:1 encoding:" + std::string(EncodingName(info)) +
                               " serializedlength:" + std::to_string(info.serialized_bytes) +
                               " lru:" + std::to_string(info.access) + " lru_seconds_idle:" +
                               std::to_string(IdleSeconds(context, info.access)));
  });
}

// DEBUG POPULATE on its way.
struct Populate : std::enable_shared_from_this<Populate> {
  std::shared_ptr<PendingCommand> pending;
  Server& server;
  std::string prefix;
  int64_t count = 0;
  int64_t size = 0;  // 0: as long as the text
  int64_t next = 0;

  explicit Populate(Server& server) : server(server) {}

  void Plan(CommandContext& context) {
    names.clear();
    std::vector<KeyAccess> keys;
    for (int64_t i = next; i < std::min(count, next + kPopulateStep); ++i) {
      names.push_back(prefix + ":" + std::to_string(i));
    }
    for (const std::string& name : names) {
      keys.push_back({context.db().number(), context.store.Key(name), Access::kReplace});
    }
    RunWithKeys(context, std::move(keys),
                [self = shared_from_this()](CommandContext& context) { self->Run(context); });
  }

 private:
  std::vector<std::string> names;

  void Run(CommandContext& context) {
    Database& db = context.db();
    for (const std::string& name : names) {
      const HashedKey key = context.store.Key(name);
      if (db.Lookup(key, {.touch = false, .count_hit = false}).exists()) continue;
      std::string value = "value:" + std::to_string(next + (&name - names.data()));
      if (size > 0) value.resize(static_cast<size_t>(size));
      db.SetString(key, value, {});
      context.Modified(key);
    }
    next += static_cast<int64_t>(names.size());
    if (next >= count) return context.reply.Ok();
    SuspendedCommand suspended = context.Suspend();
    server.loop().Post([self = shared_from_this(), suspended] {
      suspended.Resume([self](CommandContext& context) { self->Plan(context); });
    });
  }
};

void PopulateKeys(CommandContext& context) {
  constexpr IntegerRange kPositive = {0, std::numeric_limits<int64_t>::max()};
  constexpr std::string_view kError = "ERR value is out of range, must be positive";
  auto populate = std::make_shared<Populate>(context.server);
  int64_t size = 0;
  if (!ParseRangeOr(context, context.args[2], kPositive, &populate->count, kError)) return;
  if (context.args.size() == 5 &&
      !ParseRangeOr(context, context.args[4], kPositive, &size, kError)) {
    return;
  }
  if (static_cast<uint64_t>(size) > MaxStringBytes(context)) {
    return context.reply.Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  }
  populate->prefix = context.args.size() == 3 ? "key" : std::string(context.args[3]);
  populate->size = size;
  if (populate->count == 0) return context.reply.Ok();
  populate->Plan(context);
}

// Closes the store and opens it again: whatever is wrong with the log or its recovery shows.
void Recover(CommandContext& context) {
  if (context.server.dispatcher().in_transaction()) return context.reply.Error(kReloadInGroupError);
  SuspendedCommand suspended = context.Suspend();
  context.server.ReloadStore([suspended](Status status) {
    suspended.Resume([status = std::move(status)](CommandContext& context) {
      if (status.ok()) return context.reply.Ok();
      context.reply.Error("ERR Error trying to load the log: " + status.message());
    });
  });
}

void Reload(CommandContext& context) {
  Server::DumpReload request;
  for (std::string_view option : context.args.subspan(2)) {
    if (EqualsIgnoreCase(option, "merge")) {
      request.merge = true;
    } else if (EqualsIgnoreCase(option, "noflush")) {
      request.flush = false;
    } else if (EqualsIgnoreCase(option, "nosave")) {
      request.save = false;
    } else {
      return context.reply.Error(
          "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
    }
  }
  if (context.server.dispatcher().in_transaction()) return context.reply.Error(kReloadInGroupError);
  SuspendedCommand suspended = context.Suspend();
  context.server.ReloadDump(request, [suspended](Status status) {
    suspended.Resume([status = std::move(status)](CommandContext& context) {
      if (status.ok()) return context.reply.Ok();
      context.reply.Error("ERR Error trying to load the RDB dump, check server logs.");
    });
  });
}

}  // namespace

void DebugCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  const size_t count = args.size();
  auto is = [&](std::string_view name, size_t least, size_t most) {
    return count >= least && count <= most && EqualsIgnoreCase(args[1], name);
  };
  if (is("help", 2, 2)) return Help(context);
  if (is("sleep", 3, 3)) return Sleep(context);
  if (is("protocol", 3, 3)) return Protocol(context);
  if (is("object", 3, 3)) return ObjectOf(context);
  if (is("populate", 3, 5)) return PopulateKeys(context);
  if (is("demote-pages", 5, 5)) return DemotePages(context);
  if (is("digest", 2, 2)) return DigestOfEverything(context);
  if (is("digest-value", 2, SIZE_MAX)) return DigestOfValues(context);
  const bool reloads = is("reload", 2, SIZE_MAX);
  if (reloads || is("loadaof", 2, SIZE_MAX)) {
    // The store would go away under the script.
    if (context.server.scripting().runner().running()) {
      return context.reply.Error("ERR This Redis command is not allowed from script");
    }
    // The log of a store without durability does not hold its data: the dump does.
    return reloads || !context.server.store().durable() ? Reload(context) : Recover(context);
  }
  if (is("error", 3, 3)) return context.reply.Error(args[2]);
  if (is("log", 3, 3)) {
    context.server.Log(kLogWarning, "DEBUG LOG: " + std::string(args[2]));
    return context.reply.Ok();
  }
  if (is("set-active-expire", 3, 3)) {
    context.store.SetActiveExpire(Leading(args[2]) != 0);
    return context.reply.Ok();
  }
  if (is("stringmatch-len", 4, 4)) {
    return context.reply.Integer(GlobMatch(args[2], args[3]) ? 1 : 0);
  }
  if (is("segfault", 2, 2)) {
    std::raise(SIGSEGV);
    return;
  }
  if (is("set-skip-checksum-validation", 3, 3)) {
    context.server.set_skips_checksums(Leading(args[2]) != 0);
    return context.reply.Ok();
  }
  if (is("set-disable-deny-scripts", 3, 3)) {
    context.server.scripting().runner().set_may_debug(Leading(args[2]) != 0);
    return context.reply.Ok();
  }
  if (is("config-rewrite-force-all", 2, 2)) {
    Status status = context.server.options().Rewrite(Options::RewriteScope::kAll);
    if (status.ok()) return context.reply.Ok();
    return context.reply.Error("ERR CONFIG-REWRITE-FORCE-ALL failed: " + status.message());
  }
  if (is("pause-cron", 3, 3)) {
    context.server.set_cron_paused(Leading(args[2]) != 0);
    return context.reply.Ok();
  }
  if (is("quicklist-packed-threshold", 3, 3) || is("replybuffer", 4, 4) ||
      is("change-repl-id", 2, 2) || is("set-skip-checksum-validation", 3, 3) || is("jmap", 2, 2)) {
    return context.reply.Ok();
  }
  SubcommandError(context);
}

}  // namespace firn::server
