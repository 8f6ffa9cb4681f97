#include "server/commands/common.h"

#include <limits>

#include "engine/keyspace/access_clock.h"
#include "engine/types/string_ops.h"
#include "server/client.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

bool TouchesKeys(const CommandContext& context) { return !context.client.no_touch(); }

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

std::string_view UpToNul(std::string_view text) { return text.substr(0, text.find('\0')); }

bool ParseIntegerOr(CommandContext& context, std::string_view text, int64_t* value,
                    std::string_view error) {
  if (ParseInteger(text, value)) return true;
  context.reply.Error(error);
  return false;
}

bool ParseRangeOr(CommandContext& context, std::string_view text, IntegerRange range,
                  int64_t* value, std::string_view error) {
  if (!ParseIntegerOr(context, text, value, error.empty() ? kNotAnIntegerError : error)) {
    return false;
  }
  if (*value >= range.min && *value <= range.max) return true;
  if (!error.empty()) {
    context.reply.Error(error);
  } else {
    context.reply.Error("ERR value is out of range, value must between " +
                        std::to_string(range.min) + " and " + std::to_string(range.max));
  }
  return false;
}

bool ParseLongDoubleOr(CommandContext& context, std::string_view text, long double* value) {
  if (ParseLongDouble(text, value)) return true;
  context.reply.Error(kNotAFloatError);
  return false;
}

bool ParseDatabaseOr(CommandContext& context, std::string_view text, uint32_t* number,
                     std::string_view error) {
  constexpr IntegerRange kInt = {std::numeric_limits<int32_t>::min(),
                                 std::numeric_limits<int32_t>::max()};
  int64_t value;
  if (!ParseRangeOr(context, text, kInt, &value, error)) return false;
  if (value < 0 || value >= context.store.databases()) {
    context.reply.Error(kDatabaseRangeError);
    return false;
  }
  *number = static_cast<uint32_t>(value);
  return true;
}

std::string FullName(const CommandContext& context) { return std::string(context.command.name); }

void ArityError(CommandContext& context) {
  context.reply.Error("ERR wrong number of arguments for '" + FullName(context) + "' command");
}

void SubcommandError(CommandContext& context) {
  std::string upper(context.args[0]);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
  }
  std::string_view given = UpToNul(context.args[1].substr(0, 128));
  context.reply.Error("ERR unknown subcommand or wrong number of arguments for '" +
                      std::string(given) + "'. Try " + upper + " HELP.");
}

Database::KeyInfo LookupForRead(CommandContext& context, const HashedKey& key) {
  Database::KeyInfo info = context.db().Lookup(key, {.touch = TouchesKeys(context)});
  if (!info.exists()) context.Notify('m', "keymiss", key.bytes);
  return info;
}

Database::KeyInfo LookupUntouched(CommandContext& context, const HashedKey& key) {
  Database::KeyInfo info = context.db().Lookup(key, {.touch = false});
  if (!info.exists()) context.Notify('m', "keymiss", key.bytes);
  return info;
}

Database::KeyInfo LookupForWrite(CommandContext& context, const HashedKey& key) {
  return context.db().Lookup(key, {.touch = TouchesKeys(context), .count_hit = false});
}

uint64_t MaxStringBytes(const CommandContext& context) { return context.server.MaxStringBytes(); }

uint64_t MaxReplyBytes(const CommandContext& context) {
  const uint64_t limit = context.server.options()->maxmemory;
  return limit == 0 ? std::numeric_limits<uint64_t>::max() : limit / 4;
}

bool LfuSelected(const CommandContext& context) {
  const MaxmemoryPolicy policy = context.server.options()->maxmemory_policy;
  return policy == MaxmemoryPolicy::kAllkeysLfu || policy == MaxmemoryPolicy::kVolatileLfu;
}

bool SharesIntegers(const CommandContext& context) {
  const MaxmemoryPolicy policy = context.server.options()->maxmemory_policy;
  const bool needs_clocks = LfuSelected(context) || policy == MaxmemoryPolicy::kAllkeysLru ||
                            policy == MaxmemoryPolicy::kVolatileLru;
  return context.server.options()->maxmemory == 0 || !needs_clocks;
}

int64_t IdleSeconds(const CommandContext& context, uint32_t access) {
  return LfuSelected(context) ? 0 : firn::IdleSeconds(access, context.now_ms());
}

int64_t AccessFrequency(const CommandContext& context, uint32_t access) {
  const OptionValues& options = context.server.options().values();
  return LfuDecayed(
      access, context.now_ms(),
      {.log_factor = options.lfu_log_factor, .decay_minutes = options.lfu_decay_time});
}

bool CheckString(CommandContext& context, const Database::KeyInfo& info) {
  if (!info.exists() || info.type == ValueType::kString) return true;
  context.reply.Error(kWrongTypeError);
  return false;
}

void StoreString(Database& db, const HashedKey& key, std::string_view value,
                 Database::SetOptions options) {
  int64_t integer;
  if (ParseInteger(value, &integer)) {
    db.SetInteger(key, integer, options);
  } else {
    db.SetString(key, value, options);
  }
}

void ReplyHelp(CommandContext& context, std::string_view container,
               std::span<const HelpLine> lines) {
  context.reply.ArrayHeader(static_cast<int64_t>(3 + 2 * lines.size()));
  context.reply.SimpleString(std::string(container) +
                             " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  for (const HelpLine& line : lines) {
    context.reply.SimpleString(line.usage);
    context.reply.SimpleString("    " + std::string(line.text));
  }
  context.reply.SimpleString("HELP");
  context.reply.SimpleString("    Prints this text.");
}

bool RunsAtomically(const CommandContext& context) {
  return context.client.transaction().running || context.server.scripting().runner().running();
}

std::shared_ptr<PendingCommand> PendingCommand::Begin(CommandContext& context) {
  return std::shared_ptr<PendingCommand>(new PendingCommand(context));
}

void PendingCommand::Finish(Finisher finisher) {
  if (context_ != nullptr) {
    finisher_ = std::move(finisher);
  } else {
    suspended_.Resume(std::move(finisher));
  }
}

void PendingCommand::Return() {
  CommandContext& context = *context_;
  context_ = nullptr;
  if (finisher_) {
    Finisher finisher = std::move(finisher_);
    finisher(context);
  } else {
    suspended_ = context.Suspend();
  }
}

bool PendingCommand::alive() const { return context_ != nullptr || suspended_.alive(); }

namespace {

// A plan of a command's own, tried again until it is ready. It lives as long as somebody may call
// back: the ticket's waiter, or the suspended command.
class OwnPlan : public std::enable_shared_from_this<OwnPlan> {
 public:
  OwnPlan(Server& server, std::vector<KeyAccess> keys, PendingCommand::Finisher run)
      : server_(server), keys_(std::move(keys)), run_(std::move(run)) {}
  ~OwnPlan() { server_.store().Release(&ticket_); }

  void Begin(CommandContext& context) { Attempt(context); }

 private:
  void Attempt(CommandContext& context) {
    PlanResult planned = server_.store().Plan(keys_, &ticket_);
    while (planned == PlanResult::kReady) {
      run_(context);
      if (!server_.store().pages_missing()) return;
      planned = server_.store().PlanMissing(keys_, &ticket_);
    }
    if (planned == PlanResult::kReadError) {
      bool too_large = ticket_.error().code() == StatusCode::kNoMemory;
      context.reply.Error(too_large ? std::string(kOutOfMemoryError)
                                    : "ERR " + ticket_.error().message());
      return;
    }
    suspended_ = context.Suspend();
    // The waiter keeps this object alive, and is dropped when it has been called.
    ticket_.on_ready = [self = shared_from_this()] {
      std::shared_ptr<OwnPlan> keep = self;
      keep->ticket_.on_ready = nullptr;
      keep->suspended_.Resume([keep](CommandContext& context) { keep->Attempt(context); });
    };
  }

  Server& server_;
  std::vector<KeyAccess> keys_;
  PendingCommand::Finisher run_;
  Ticket ticket_;
  SuspendedCommand suspended_;
};

}  // namespace

void RunWithKeys(CommandContext& context, std::vector<KeyAccess> keys,
                 PendingCommand::Finisher run) {
  std::make_shared<OwnPlan>(context.server, std::move(keys), std::move(run))->Begin(context);
}

}  // namespace firn::server
