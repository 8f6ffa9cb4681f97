// SET and its kin: commands that write whole strings, and GET with side effects.
#include <limits>
#include <optional>

#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/commands/strings.h"

namespace firn::server {
namespace {

// The options that SET and GETEX share. Which of them exclude each other is Redis' grammar.
struct StringOptions {
  enum class Unit : uint8_t { kNone, kSeconds, kMilliseconds, kAtSeconds, kAtMilliseconds };
  bool nx = false;
  bool xx = false;
  bool get = false;
  bool keep_ttl = false;
  bool persist = false;
  Unit unit = Unit::kNone;
  std::string_view expire;
};

enum class Grammar : uint8_t { kSet, kGetEx };

std::optional<StringOptions::Unit> UnitOf(std::string_view word) {
  using Unit = StringOptions::Unit;
  if (EqualsIgnoreCase(word, "ex")) return Unit::kSeconds;
  if (EqualsIgnoreCase(word, "px")) return Unit::kMilliseconds;
  if (EqualsIgnoreCase(word, "exat")) return Unit::kAtSeconds;
  if (EqualsIgnoreCase(word, "pxat")) return Unit::kAtMilliseconds;
  return std::nullopt;
}

// Nothing if the options break the grammar.
std::optional<StringOptions> ParseOptions(std::span<const std::string_view> args, Grammar grammar) {
  using Unit = StringOptions::Unit;
  StringOptions options;
  const bool set = grammar == Grammar::kSet;
  for (size_t i = set ? 3 : 2; i < args.size(); ++i) {
    std::string_view word = args[i];
    if (set && EqualsIgnoreCase(word, "nx") && !options.xx) {
      options.nx = true;
    } else if (set && EqualsIgnoreCase(word, "xx") && !options.nx) {
      options.xx = true;
    } else if (set && EqualsIgnoreCase(word, "get")) {
      options.get = true;
    } else if (set && EqualsIgnoreCase(word, "keepttl") && options.unit == Unit::kNone) {
      options.keep_ttl = true;
    } else if (!set && EqualsIgnoreCase(word, "persist") && options.unit == Unit::kNone) {
      options.persist = true;
    } else if (std::optional<Unit> unit = UnitOf(word)) {
      // The same unit may come twice: the last one counts.
      if (options.keep_ttl || options.persist) return std::nullopt;
      if (options.unit != Unit::kNone && options.unit != *unit) return std::nullopt;
      if (i + 1 == args.size()) return std::nullopt;
      options.unit = *unit;
      options.expire = args[++i];
    } else {
      return std::nullopt;
    }
  }
  return options;
}

// Turns an expiry argument into a time in milliseconds; answers the client if it can't be one.
bool ExpiryOr(CommandContext& context, std::string_view text, StringOptions::Unit unit,
              int64_t* expiry_ms) {
  using Unit = StringOptions::Unit;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t value;
  if (!ParseIntegerOr(context, text, &value)) return false;
  const bool seconds = unit == Unit::kSeconds || unit == Unit::kAtSeconds;
  const bool relative = unit == Unit::kSeconds || unit == Unit::kMilliseconds;
  bool valid = value > 0 && (!seconds || value <= kMax / 1000);
  if (valid && seconds) value *= 1000;
  if (valid && relative) {
    valid = value <= kMax - context.now_ms();
    if (valid) value += context.now_ms();
  }
  if (!valid) {
    context.reply.Error("ERR invalid expire time in '" + FullName(context) + "' command");
    return false;
  }
  *expiry_ms = value;
  return true;
}

// Answers with the value, or null if the key is absent. False if it is no string: answered too; or
// if pages are missing.
bool ReplyWithValue(CommandContext& context, bool* found = nullptr) {
  Database::KeyInfo info = LookupForRead(context, context.key());
  if (found != nullptr) *found = info.exists();
  if (!info.exists()) {
    context.reply.Null();
    return true;
  }
  if (!CheckString(context, info)) return false;
  return ReplyWholeString(context, context.key(), info);
}

void Changed(CommandContext& context, std::string_view event, char event_class = '$') {
  context.Modified(context.key());
  context.Notify(event_class, event, context.key().bytes);
}

struct SetRequest {
  std::string_view value;
  StringOptions options;
};

// Everything about SET but the answer. False if the client has been answered already or the
// condition was not met.
enum class SetOutcome : uint8_t { kStored, kConditionNotMet, kAnswered };
SetOutcome StoreIf(CommandContext& context, const SetRequest& request) {
  using Unit = StringOptions::Unit;
  const StringOptions& options = request.options;
  Database::SetOptions store;
  if (options.keep_ttl) store.expiry = Database::ExpiryChange::kKeep;
  if (options.unit != Unit::kNone) {
    if (!ExpiryOr(context, options.expire, options.unit, &store.expiry_ms)) {
      return SetOutcome::kAnswered;
    }
    store.expiry = Database::ExpiryChange::kSet;
  }
  if (options.get && !ReplyWithValue(context)) return SetOutcome::kAnswered;
  if (options.nx || options.xx) {
    bool exists = LookupForWrite(context, context.key()).exists();
    if (exists ? options.nx : options.xx) {
      return options.get ? SetOutcome::kAnswered : SetOutcome::kConditionNotMet;
    }
  }
  StoreString(context.db(), context.key(), request.value, store);
  Changed(context, "set");
  if (options.unit != Unit::kNone) context.Notify('g', "expire", context.key().bytes);
  return options.get ? SetOutcome::kAnswered : SetOutcome::kStored;
}

void SetWithExpiry(CommandContext& context, StringOptions::Unit unit) {
  StringOptions options;
  options.unit = unit;
  options.expire = context.args[2];
  if (StoreIf(context, {context.args[3], options}) == SetOutcome::kStored) context.reply.Ok();
}

void StorePairs(CommandContext& context) {
  context.store.BeginGroup();
  for (size_t i = 0; i < context.keys.size(); ++i) {
    const HashedKey& key = context.key(i);
    StoreString(context.db(), key, context.args[2 + 2 * i], {});
    context.Modified(key);
    context.Notify('$', "set", key.bytes);
  }
  context.store.EndGroup();
}

}  // namespace

Access SetAccess(std::span<const std::string_view> args, const KeySpec&) {
  if (args.size() <= 3) return Access::kOverwrite;
  std::optional<StringOptions> options = ParseOptions(args, Grammar::kSet);
  if (!options) return Access::kMetadata;  // it will end in a syntax error
  if (options->get) return options->keep_ttl ? Access::kUpdate : Access::kRead;
  if (options->nx || options->xx || options->keep_ttl) return Access::kReplace;
  return Access::kOverwrite;
}

Access GetExAccess(std::span<const std::string_view> args, const KeySpec&) {
  return args.size() <= 2 ? Access::kRead : Access::kUpdate;
}

void SetCommand(CommandContext& context) {
  std::optional<StringOptions> options;
  if (context.args.size() == 3) {
    options.emplace();
  } else {
    options = ParseOptions(context.args, Grammar::kSet);
  }
  if (!options) return context.reply.Error(kSyntaxError);
  switch (StoreIf(context, {context.args[2], *options})) {
    case SetOutcome::kStored:
      return context.reply.Ok();
    case SetOutcome::kConditionNotMet:
      return context.reply.Null();
    case SetOutcome::kAnswered:
      return;
  }
}

void SetNxCommand(CommandContext& context) {
  StringOptions options;
  options.nx = true;
  SetOutcome outcome = StoreIf(context, {context.args[2], options});
  context.reply.Integer(outcome == SetOutcome::kStored ? 1 : 0);
}

void SetExCommand(CommandContext& context) {
  SetWithExpiry(context, StringOptions::Unit::kSeconds);
}

void PSetExCommand(CommandContext& context) {
  SetWithExpiry(context, StringOptions::Unit::kMilliseconds);
}

void GetCommand(CommandContext& context) {
  const Database::KeyInfo info = LookupForRead(context, context.key());
  if (!info.exists()) return context.reply.Null();
  if (!CheckString(context, info)) return;
  if (info.is_long) return ReplyLongString(context, context.key(), {});
  context.reply.Bulk(context.db().GetString(context.key()));
}

void GetSetCommand(CommandContext& context) {
  if (!ReplyWithValue(context)) return;
  StoreString(context.db(), context.key(), context.args[2], {});
  Changed(context, "set");
}

void GetDelCommand(CommandContext& context) {
  bool found = false;
  if (!ReplyWithValue(context, &found) || !found) return;
  context.db().Delete(context.key());
  Changed(context, "del", 'g');
}

void GetExCommand(CommandContext& context) {
  using Unit = StringOptions::Unit;
  std::optional<StringOptions> options = ParseOptions(context.args, Grammar::kGetEx);
  if (!options) return context.reply.Error(kSyntaxError);
  const HashedKey& key = context.key();
  Database::KeyInfo info = LookupForRead(context, key);
  if (!info.exists()) return context.reply.Null();
  if (!CheckString(context, info)) return;
  int64_t expiry_ms = -1;
  if (options->unit != Unit::kNone &&
      !ExpiryOr(context, options->expire, options->unit, &expiry_ms)) {
    return;
  }
  if (!ReplyWholeString(context, key, info)) return;
  if (options->unit != Unit::kNone && expiry_ms <= context.store.expiry_clock_ms()) {
    context.db().Delete(key);
    Changed(context, "del", 'g');
  } else if (options->unit != Unit::kNone) {
    context.db().SetExpiry(key, expiry_ms);
    Changed(context, "expire", 'g');
  } else if (options->persist && info.expiry_ms >= 0) {
    context.db().SetExpiry(key, Entry::kNoExpiry);
    Changed(context, "persist", 'g');
  }
}

void MSetCommand(CommandContext& context) {
  if (context.args.size() % 2 == 0) return ArityError(context);
  StorePairs(context);
  context.reply.Ok();
}

void MSetNxCommand(CommandContext& context) {
  if (context.args.size() % 2 == 0) return ArityError(context);
  for (size_t i = 0; i < context.keys.size(); ++i) {
    if (LookupForWrite(context, context.key(i)).exists()) return context.reply.Integer(0);
  }
  StorePairs(context);
  context.reply.Integer(1);
}

}  // namespace firn::server
