// Expiries of single fields: the HEXPIRE and HTTL families as in Redis 7.4, HGETDEL, HGETEX and
// HSETEX as in Redis 8.0.
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "server/commands/hash_common.h"
#include "server/commands/hashes.h"

namespace firn::server {
namespace {

using Use = OpenHash::Use;
using Lookup = HashValue::Lookup;
using Names = std::span<const std::string_view>;

// The latest time that Redis can store for a field: 46 bits of milliseconds.
constexpr int64_t kMaxExpiryMs = (int64_t{1} << 46) - 1;

constexpr int64_t kNoField = -2;
constexpr int64_t kNoExpiry = -1;
constexpr int64_t kConditionNotMet = 0;
constexpr int64_t kSet = 1;
constexpr int64_t kDeleted = 2;

enum class TimeUnit : uint8_t { kSeconds, kMilliseconds };
enum class TimeBase : uint8_t { kNow, kEpoch };
struct TimeForm {
  TimeUnit unit;
  TimeBase base;
};

// A time in milliseconds; answers the client if it can't be one. It may lie in the past.
bool ParseExpiryOr(CommandContext& context, std::string_view text, TimeForm form,
                   int64_t* expiry_ms) {
  int64_t value;
  if (!ParseIntegerOr(context, text, &value)) return false;
  if (value < 0) {
    context.reply.Error("ERR invalid expire time, must be >= 0");
    return false;
  }
  bool valid = form.unit == TimeUnit::kMilliseconds || value <= kMaxExpiryMs / 1000;
  if (valid && form.unit == TimeUnit::kSeconds) value *= 1000;
  int64_t base = form.base == TimeBase::kNow ? context.now_ms() : 0;
  if (!valid || value > kMaxExpiryMs - base) {
    context.reply.Error("ERR invalid expire time in '" + FullName(context) + "' command");
    return false;
  }
  *expiry_ms = value + base;
  return true;
}

// FIELDS, their number and the fields, from args[at] to the end.
bool ParseFieldsOr(CommandContext& context, size_t at, std::string_view bad_number, Names* names) {
  std::span<const std::string_view> args = context.args;
  if (at + 1 >= args.size() || !EqualsIgnoreCase(args[at], "fields")) {
    context.reply.Error("ERR Mandatory argument FIELDS is missing or not at the right position");
    return false;
  }
  int64_t count;
  constexpr IntegerRange kPositive = {1, std::numeric_limits<int64_t>::max()};
  if (!ParseRangeOr(context, args[at + 1], kPositive, &count, bad_number)) return false;
  *names = args.subspan(at + 2);
  if (static_cast<uint64_t>(count) == names->size()) return true;
  context.reply.Error("ERR The `numfields` parameter must match the number of arguments");
  return false;
}

constexpr std::string_view kNotPositiveError = "ERR Number of fields must be a positive integer";

void ReplyIntegers(CommandContext& context, std::span<const int64_t> results) {
  context.reply.ArrayHeader(static_cast<int64_t>(results.size()));
  for (int64_t result : results) context.reply.Integer(result);
}

// Drops what has expired near these fields: the end of a command that changes a hash.
void Settle(OpenHash& hash, Names names, size_t step = 1) {
  for (size_t i = 0; i < names.size() && hash.exists(); i += step) hash.DropExpiredNear(names[i]);
}

// --- HEXPIRE

enum class Condition : uint8_t { kNone, kNx, kXx, kGt, kLt };

std::optional<Condition> ConditionNamed(std::string_view word) {
  if (EqualsIgnoreCase(word, "nx")) return Condition::kNx;
  if (EqualsIgnoreCase(word, "xx")) return Condition::kXx;
  if (EqualsIgnoreCase(word, "gt")) return Condition::kGt;
  if (EqualsIgnoreCase(word, "lt")) return Condition::kLt;
  return std::nullopt;
}

// A field without expiry counts as one that expires at the end of time.
bool Allows(Condition condition, int64_t current_ms, int64_t new_ms) {
  const bool expires = current_ms != HashValue::kNoExpiry;
  switch (condition) {
    case Condition::kNone:
      return true;
    case Condition::kNx:
      return !expires;
    case Condition::kXx:
      return expires;
    case Condition::kGt:
      return expires && new_ms > current_ms;
    case Condition::kLt:
      return !expires || new_ms < current_ms;
  }
  return true;
}

void Expire(CommandContext& context, TimeForm form) {
  OpenHash hash(context, Use::kWrite);
  if (!hash.ok()) return;
  int64_t expiry_ms;
  if (!ParseExpiryOr(context, context.args[2], form, &expiry_ms)) return;
  std::optional<Condition> condition = ConditionNamed(context.args[3]);
  Names names;
  if (!ParseFieldsOr(context, condition ? 4 : 3,
                     "ERR Parameter `numFields` should be greater than 0", &names)) {
    return;
  }
  if (!hash.Want(names)) return;
  const bool past = expiry_ms <= context.store.expiry_clock_ms();
  std::vector<int64_t> results(names.size(), kNoField);
  bool set = false;
  bool deleted = false;
  for (size_t i = 0; i < names.size() && hash.exists(); ++i) {
    HashValue::Field field;
    if (!hash.value().FindAgain(names[i], &field)) continue;
    if (!Allows(condition.value_or(Condition::kNone), field.row.expiry_ms, expiry_ms)) {
      results[i] = kConditionNotMet;
    } else if (past) {
      hash.value().Remove(field);
      results[i] = kDeleted;
      deleted = true;
    } else {
      hash.value().SetExpiry(field, expiry_ms);
      results[i] = kSet;
      set = true;
    }
  }
  if (set) hash.Changed("hexpire");
  if (deleted) hash.Removed();
  if (set || deleted) Settle(hash, names);
  ReplyIntegers(context, results);
}

// --- HTTL

void TimeToLive(CommandContext& context, TimeForm form) {
  OpenHash hash(context, Use::kRead);
  Names names;
  if (!hash.ok() || !ParseFieldsOr(context, 2, kNotPositiveError, &names)) return;
  std::vector<int64_t> results(names.size(), kNoField);
  bool all = true;
  for (size_t i = 0; i < names.size(); ++i) {
    HashValue::Field field;
    all &= hash.value().Find(names[i], &field) != Lookup::kMissing;
    if (!field.live) continue;
    results[i] = kNoExpiry;
    if (field.row.expiry_ms == HashValue::kNoExpiry) continue;
    int64_t time = field.row.expiry_ms;
    if (form.base == TimeBase::kNow) time -= context.now_ms();
    if (form.unit == TimeUnit::kSeconds) time = (time + 999) / 1000;
    results[i] = time;
  }
  if (all) ReplyIntegers(context, results);
}

// --- HGETEX and HSETEX

struct FieldOptions {
  enum class Expiry : uint8_t { kNone, kSet, kPersist, kKeep };
  Expiry expiry = Expiry::kNone;
  int64_t expiry_ms = HashValue::kNoExpiry;
  bool only_new = false;       // FNX
  bool only_existing = false;  // FXX
  Names fields;                // HSETEX: with their values
};

enum class Grammar : uint8_t { kHGetEx, kHSetEx };

struct ExpiryWord {
  std::string_view word;
  TimeForm form;
};
constexpr ExpiryWord kExpiryWords[] = {
    {"ex", {TimeUnit::kSeconds, TimeBase::kNow}},
    {"px", {TimeUnit::kMilliseconds, TimeBase::kNow}},
    {"exat", {TimeUnit::kSeconds, TimeBase::kEpoch}},
    {"pxat", {TimeUnit::kMilliseconds, TimeBase::kEpoch}},
};

bool Refuse(CommandContext& context, std::string_view error) {
  context.reply.Error(error);
  return false;
}

bool ParseFieldListOr(CommandContext& context, size_t at, Grammar grammar, FieldOptions* options) {
  std::span<const std::string_view> args = context.args;
  const size_t step = grammar == Grammar::kHSetEx ? 2 : 1;
  if (at + 1 + step >= args.size()) {
    ArityError(context);
    return false;
  }
  int64_t count;
  constexpr IntegerRange kPositive = {1, std::numeric_limits<int32_t>::max()};
  if (!ParseRangeOr(context, args[at + 1], kPositive, &count, "ERR invalid number of fields")) {
    return false;
  }
  options->fields = args.subspan(at + 2);
  if (static_cast<uint64_t>(count) * step == options->fields.size()) return true;
  ArityError(context);
  return false;
}

bool ParseOptionsOr(CommandContext& context, Grammar grammar, FieldOptions* options) {
  using Expiry = FieldOptions::Expiry;
  std::span<const std::string_view> args = context.args;
  const bool sets = grammar == Grammar::kHSetEx;
  const std::string_view keeping = sets ? "keepttl" : "persist";
  for (size_t i = 2; i < args.size(); ++i) {
    const ExpiryWord* timed = nullptr;
    for (const ExpiryWord& word : kExpiryWords) {
      if (EqualsIgnoreCase(args[i], word.word)) timed = &word;
    }
    const bool keeps = EqualsIgnoreCase(args[i], keeping);
    if ((timed != nullptr || keeps) && options->expiry != Expiry::kNone) {
      return Refuse(context, "ERR Only one of EX, PX, EXAT, PXAT or " +
                                 std::string(sets ? "KEEPTTL" : "PERSIST") +
                                 " arguments can be specified");
    }
    const bool only_new = sets && EqualsIgnoreCase(args[i], "fnx");
    const bool only_existing = sets && EqualsIgnoreCase(args[i], "fxx");
    if (EqualsIgnoreCase(args[i], "fields")) {
      return ParseFieldListOr(context, i, grammar, options);
    } else if (timed != nullptr) {
      if (i + 1 >= args.size()) return Refuse(context, "ERR missing expire time");
      if (!ParseExpiryOr(context, args[++i], timed->form, &options->expiry_ms)) return false;
      options->expiry = Expiry::kSet;
    } else if (keeps) {
      options->expiry = sets ? Expiry::kKeep : Expiry::kPersist;
    } else if (only_new || only_existing) {
      if (options->only_new || options->only_existing) {
        return Refuse(context, "ERR Only one of FXX or FNX arguments can be specified");
      }
      options->only_new = only_new;
      options->only_existing = only_existing;
    } else {
      return Refuse(context, "ERR unknown argument: " + std::string(UpToNul(args[i])));
    }
  }
  return Refuse(context, "ERR missing FIELDS argument");
}

// Answers with the values of fields that are all in RAM. The reply comes before the change: the
// values are gone after it.
void ReplyValues(CommandContext& context, OpenHash& hash, Names names) {
  context.reply.ArrayHeader(static_cast<int64_t>(names.size()));
  for (std::string_view name : names) {
    HashValue::Field field;
    bool found = hash.exists() && hash.value().FindAgain(name, &field);
    found ? context.reply.Bulk(field.row.value) : context.reply.Null();
  }
}

// How many fields were there.
uint64_t RemoveFields(OpenHash& hash, Names names, size_t step = 1) {
  uint64_t removed = 0;
  for (size_t i = 0; i < names.size() && hash.exists(); i += step) {
    HashValue::Field field;
    if (!hash.value().FindAgain(names[i], &field)) continue;
    hash.value().Remove(field);
    ++removed;
  }
  return removed;
}

// Whether HSETEX's condition holds, once all fields are in RAM.
bool ConditionHolds(OpenHash& hash, const FieldOptions& options) {
  if (!options.only_new && !options.only_existing) return true;
  for (size_t i = 0; i < options.fields.size(); i += 2) {
    HashValue::Field field;
    bool found = hash.exists() && hash.value().FindAgain(options.fields[i], &field);
    if (found ? options.only_new : options.only_existing) return false;
  }
  return true;
}

}  // namespace

void HExpireCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kSeconds, TimeBase::kNow});
}
void HExpireAtCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kSeconds, TimeBase::kEpoch});
}
void HPExpireCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kMilliseconds, TimeBase::kNow});
}
void HPExpireAtCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kMilliseconds, TimeBase::kEpoch});
}

void HTtlCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kSeconds, TimeBase::kNow});
}
void HPTtlCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kMilliseconds, TimeBase::kNow});
}
void HExpireTimeCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kSeconds, TimeBase::kEpoch});
}
void HPExpireTimeCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kMilliseconds, TimeBase::kEpoch});
}

void HPersistCommand(CommandContext& context) {
  OpenHash hash(context, Use::kWrite);
  Names names;
  if (!hash.ok() || !ParseFieldsOr(context, 2, kNotPositiveError, &names)) return;
  if (!hash.Want(names)) return;
  std::vector<int64_t> results(names.size(), kNoField);
  bool changed = false;
  for (size_t i = 0; i < names.size() && hash.exists(); ++i) {
    HashValue::Field field;
    if (!hash.value().FindAgain(names[i], &field)) continue;
    results[i] = kNoExpiry;
    if (field.row.expiry_ms == HashValue::kNoExpiry) continue;
    hash.value().SetExpiry(field, HashValue::kNoExpiry);
    results[i] = kSet;
    changed = true;
  }
  if (changed) {
    hash.Changed("hpersist");
    Settle(hash, names);
  }
  ReplyIntegers(context, results);
}

void HGetDelCommand(CommandContext& context) {
  OpenHash hash(context, Use::kWrite);
  Names names;
  if (!hash.ok() || !ParseFieldsOr(context, 2, kNotPositiveError, &names)) return;
  if (!hash.Want(names)) return;
  // A field that is named twice is gone the second time.
  context.reply.ArrayHeader(static_cast<int64_t>(names.size()));
  uint64_t removed = 0;
  for (std::string_view name : names) {
    HashValue::Field field;
    if (!hash.exists() || !hash.value().FindAgain(name, &field)) {
      context.reply.Null();
      continue;
    }
    context.reply.Bulk(field.row.value);
    hash.value().Remove(field);
    ++removed;
  }
  if (removed == 0) return;
  hash.Removed();
  Settle(hash, names);
}

void HGetExCommand(CommandContext& context) {
  using Expiry = FieldOptions::Expiry;
  OpenHash hash(context, Use::kWrite);
  FieldOptions options;
  if (!hash.ok() || !ParseOptionsOr(context, Grammar::kHGetEx, &options)) return;
  Names names = options.fields;
  if (!hash.Want(names)) return;
  ReplyValues(context, hash, names);
  if (!hash.exists() || options.expiry == Expiry::kNone) return;
  if (options.expiry == Expiry::kSet && options.expiry_ms <= context.store.expiry_clock_ms()) {
    if (RemoveFields(hash, names) > 0) {
      hash.Removed();
      Settle(hash, names);
    }
    return;
  }
  bool changed = false;
  for (std::string_view name : names) {
    HashValue::Field field;
    if (!hash.value().FindAgain(name, &field)) continue;
    if (field.row.expiry_ms == options.expiry_ms) continue;
    hash.value().SetExpiry(field, options.expiry_ms);
    changed = true;
  }
  if (!changed) return;
  hash.Changed(options.expiry == Expiry::kPersist ? "hpersist" : "hexpire");
  Settle(hash, names);
}

void HSetExCommand(CommandContext& context) {
  using Expiry = FieldOptions::Expiry;
  OpenHash hash(context, Use::kWrite);
  FieldOptions options;
  if (!hash.ok() || !ParseOptionsOr(context, Grammar::kHSetEx, &options)) return;
  Names pairs = options.fields;
  if (!hash.Want(pairs, 2)) return;
  if (!ConditionHolds(hash, options)) return context.reply.Integer(0);
  if (options.expiry == Expiry::kSet && options.expiry_ms <= context.store.expiry_clock_ms()) {
    // Set and expired at once: only what was there before changes.
    if (RemoveFields(hash, pairs, 2) > 0) {
      hash.Removed();
      Settle(hash, pairs, 2);
    }
    return context.reply.Integer(1);
  }
  const HashLimits limits = HashLimitsOf(context);
  for (size_t i = 0; i < pairs.size(); i += 2) {
    HashValue::Field field;
    CHECK(hash.value().Find(pairs[i], &field) != Lookup::kMissing);
    hash.value().Set(field,
                     {.name = pairs[i],
                      .value = pairs[i + 1],
                      .expiry_ms = options.expiry_ms,
                      .keep_expiry = options.expiry == Expiry::kKeep},
                     limits);
  }
  hash.Changed("hset");
  if (options.expiry == Expiry::kSet) hash.Changed("hexpire");
  Settle(hash, pairs, 2);
  context.reply.Integer(1);
}

}  // namespace firn::server
