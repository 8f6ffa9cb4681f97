// The EXPIRE and TTL families.
#include <limits>
#include <string>

#include "server/commands/common.h"
#include "server/commands/keys.h"

namespace firn::server {
namespace {

enum class TimeUnit : uint8_t { kSeconds, kMilliseconds };
enum class TimeBase : uint8_t { kNow, kEpoch };
struct TimeForm {
  TimeUnit unit;
  TimeBase base;
};

struct Condition {
  bool nx = false;
  bool xx = false;
  bool gt = false;
  bool lt = false;
};

bool ParseConditionOr(CommandContext& context, Condition* condition) {
  for (std::string_view word : context.args.subspan(3)) {
    if (EqualsIgnoreCase(word, "nx")) {
      condition->nx = true;
    } else if (EqualsIgnoreCase(word, "xx")) {
      condition->xx = true;
    } else if (EqualsIgnoreCase(word, "gt")) {
      condition->gt = true;
    } else if (EqualsIgnoreCase(word, "lt")) {
      condition->lt = true;
    } else {
      context.reply.Error("ERR Unsupported option " + std::string(UpToNul(word)));
      return false;
    }
  }
  if (condition->nx && (condition->xx || condition->gt || condition->lt)) {
    context.reply.Error("ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (condition->gt && condition->lt) {
    context.reply.Error("ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

// A key without expiry counts as one that expires at the end of time.
bool Allows(const Condition& condition, int64_t current_ms, int64_t new_ms) {
  const bool has_expiry = current_ms >= 0;
  if (condition.nx && has_expiry) return false;
  if (condition.xx && !has_expiry) return false;
  if (condition.gt && (!has_expiry || new_ms <= current_ms)) return false;
  if (condition.lt && has_expiry && new_ms >= current_ms) return false;
  return true;
}

// Negative times are fine (the key is deleted), times beyond 64 bits are not.
bool ExpiryOr(CommandContext& context, TimeForm form, int64_t* expiry_ms) {
  int64_t value;
  if (!ParseIntegerOr(context, context.args[2], &value)) return false;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  bool valid = true;
  if (form.unit == TimeUnit::kSeconds) {
    valid = value <= kMax / 1000 && value >= kMin / 1000;
    if (valid) value *= 1000;
  }
  if (valid && form.base == TimeBase::kNow) {
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

void Expire(CommandContext& context, TimeForm form) {
  Condition condition;
  if (!ParseConditionOr(context, &condition)) return;
  int64_t expiry_ms;
  if (!ExpiryOr(context, form, &expiry_ms)) return;
  const HashedKey& key = context.key();
  Database::KeyInfo info = LookupForWrite(context, key);
  if (!info.exists() || !Allows(condition, info.expiry_ms, expiry_ms)) {
    return context.reply.Integer(0);
  }
  const bool past = expiry_ms <= context.store.expiry_clock_ms();
  if (past) {
    context.db().Delete(key);
  } else {
    context.db().SetExpiry(key, expiry_ms);
  }
  context.Modified(key);
  context.Notify('g', past ? "del" : "expire", key.bytes);
  context.reply.Integer(1);
}

void TimeToLive(CommandContext& context, TimeForm form) {
  Database::KeyInfo info = LookupUntouched(context, context.key());
  if (!info.exists()) return context.reply.Integer(-2);
  if (info.expiry_ms < 0) return context.reply.Integer(-1);
  int64_t time = info.expiry_ms;
  if (form.base == TimeBase::kNow) time = std::max<int64_t>(time - context.now_ms(), 0);
  // Seconds are rounded to the nearest, without an overflow at the end of time.
  if (form.unit == TimeUnit::kSeconds) time = time / 1000 + (time % 1000 >= 500 ? 1 : 0);
  context.reply.Integer(time);
}

}  // namespace

void ExpireCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kSeconds, TimeBase::kNow});
}
void ExpireAtCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kSeconds, TimeBase::kEpoch});
}
void PExpireCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kMilliseconds, TimeBase::kNow});
}
void PExpireAtCommand(CommandContext& context) {
  Expire(context, {TimeUnit::kMilliseconds, TimeBase::kEpoch});
}

void TtlCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kSeconds, TimeBase::kNow});
}
void PTtlCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kMilliseconds, TimeBase::kNow});
}
void ExpireTimeCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kSeconds, TimeBase::kEpoch});
}
void PExpireTimeCommand(CommandContext& context) {
  TimeToLive(context, {TimeUnit::kMilliseconds, TimeBase::kEpoch});
}

void PersistCommand(CommandContext& context) {
  const HashedKey& key = context.key();
  Database::KeyInfo info = LookupForWrite(context, key);
  if (!info.exists() || info.expiry_ms < 0) return context.reply.Integer(0);
  context.db().SetExpiry(key, Entry::kNoExpiry);
  context.Modified(key);
  context.Notify('g', "persist", key.bytes);
  context.reply.Integer(1);
}

}  // namespace firn::server
