// Commands that change fields: HSET and its kin, counters, HDEL.
#include <cmath>
#include <string>

#include "engine/types/string_ops.h"
#include "server/commands/hash_common.h"
#include "server/commands/hashes.h"

namespace firn::server {
namespace {

using Use = OpenHash::Use;
using Lookup = HashValue::Lookup;
using Names = std::span<const std::string_view>;

// Sets fields to values, in turn in `pairs`. False: pages are missing; nothing has changed.
bool SetPairs(CommandContext& context, OpenHash& hash, Names pairs, uint64_t* added) {
  const HashLimits limits = HashLimitsOf(context);
  if (pairs.size() > 2 && !hash.Want(pairs, 2)) return false;
  HashValue& value = hash.value();
  for (size_t i = 0; i < pairs.size(); i += 2) {
    HashValue::Field field;
    Lookup found = value.Find(pairs[i], &field);
    if (found == Lookup::kMissing) {
      CHECK(i == 0);
      return false;
    }
    *added += found == Lookup::kAbsent ? 1 : 0;
    value.Set(field, {.name = pairs[i], .value = pairs[i + 1]}, limits);
  }
  value.NoteFields(pairs.size() / 2, limits);
  return true;
}

void DeleteOne(CommandContext& context, OpenHash& hash) {
  HashValue::Field field;
  Lookup found = hash.value().Find(context.args[2], &field);
  if (found == Lookup::kMissing) return;
  if (found == Lookup::kAbsent) return context.reply.Integer(0);
  hash.value().Remove(field);
  hash.Removed();
  hash.DropExpiredNear(context.args[2]);
  context.reply.Integer(1);
}

enum class SetReply : uint8_t { kAdded, kOk };
void SetFields(CommandContext& context, SetReply reply) {
  if (context.args.size() % 2 == 1) return ArityError(context);
  OpenHash hash(context, Use::kWrite);
  if (!hash.ok()) return;
  uint64_t added = 0;
  if (!SetPairs(context, hash, context.args.subspan(2), &added)) return;
  hash.Changed("hset");
  for (size_t i = 2; i < context.args.size(); i += 2) hash.DropExpiredNear(context.args[i]);
  if (reply == SetReply::kOk) return context.reply.Ok();
  context.reply.Integer(static_cast<int64_t>(added));
}

}  // namespace

void HSetCommand(CommandContext& context) { SetFields(context, SetReply::kAdded); }

void HMSetCommand(CommandContext& context) { SetFields(context, SetReply::kOk); }

void HSetNxCommand(CommandContext& context) {
  OpenHash hash(context, Use::kWrite);
  if (!hash.ok()) return;
  HashValue::Field field;
  Lookup found = hash.value().Find(context.args[2], &field);
  if (found == Lookup::kMissing) return;
  if (found == Lookup::kPresent) return context.reply.Integer(0);
  hash.value().Set(field, {.name = context.args[2], .value = context.args[3]},
                   HashLimitsOf(context));
  hash.Changed("hset");
  hash.DropExpiredNear(context.args[2]);
  context.reply.Integer(1);
}

void HIncrByCommand(CommandContext& context) {
  int64_t by;
  if (!ParseIntegerOr(context, context.args[3], &by)) return;
  OpenHash hash(context, Use::kWrite);
  if (!hash.ok()) return;
  HashValue::Field field;
  Lookup found = hash.value().Find(context.args[2], &field);
  if (found == Lookup::kMissing) return;
  int64_t number = 0;
  if (found == Lookup::kPresent && !ParseInteger(field.row.value, &number)) {
    return context.reply.Error("ERR hash value is not an integer");
  }
  if (__builtin_add_overflow(number, by, &number)) {
    return context.reply.Error("ERR increment or decrement would overflow");
  }
  char digits[kMaxIntegerDigits];
  std::string_view text(digits, static_cast<size_t>(WriteInteger(number, digits)));
  hash.value().Set(field, {.name = context.args[2], .value = text, .keep_expiry = true},
                   HashLimitsOf(context));
  hash.Changed("hincrby");
  hash.DropExpiredNear(context.args[2]);
  context.reply.Integer(number);
}

void HIncrByFloatCommand(CommandContext& context) {
  long double by;
  if (!ParseLongDoubleOr(context, context.args[3], &by)) return;
  if (std::isnan(by) || std::isinf(by)) {
    return context.reply.Error("ERR value is NaN or Infinity");
  }
  OpenHash hash(context, Use::kWrite);
  if (!hash.ok()) return;
  HashValue::Field field;
  Lookup found = hash.value().Find(context.args[2], &field);
  if (found == Lookup::kMissing) return;
  long double number = 0;
  if (found == Lookup::kPresent && !ParseLongDouble(field.row.value, &number)) {
    return context.reply.Error("ERR hash value is not a float");
  }
  number += by;
  if (std::isnan(number) || std::isinf(number)) {
    return context.reply.Error("ERR increment would produce NaN or Infinity");
  }
  std::string text = FormatLongDouble(number);
  hash.value().Set(field, {.name = context.args[2], .value = text, .keep_expiry = true},
                   HashLimitsOf(context));
  hash.Changed("hincrbyfloat");
  hash.DropExpiredNear(context.args[2]);
  context.reply.Bulk(text);
}

void HDelCommand(CommandContext& context) {
  OpenHash hash(context, Use::kWrite);
  if (!hash.ok()) return;
  if (!hash.exists()) return context.reply.Integer(0);
  Names names = context.args.subspan(2);
  if (names.size() == 1) return DeleteOne(context, hash);
  if (!hash.Want(names)) return;
  int64_t removed = 0;
  for (size_t i = 0; i < names.size() && hash.exists(); ++i) {
    HashValue::Field field;
    if (!hash.value().FindAgain(names[i], &field)) continue;
    hash.value().Remove(field);
    ++removed;
  }
  if (removed > 0) hash.Removed();
  for (size_t i = 0; i < names.size() && hash.exists(); ++i) hash.DropExpiredNear(names[i]);
  context.reply.Integer(removed);
}

}  // namespace firn::server
