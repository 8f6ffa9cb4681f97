// BITFIELD and BITFIELD_RO.
#include <algorithm>
#include <string>
#include <vector>

#include "engine/types/bitmap.h"
#include "engine/types/string_ops.h"
#include "server/commands/bitmaps.h"
#include "server/commands/common.h"

namespace firn::server {
namespace {

struct FieldOperation {
  enum class Kind : uint8_t { kGet, kSet, kIncrement };
  Kind kind = Kind::kGet;
  BitOverflow overflow = BitOverflow::kWrap;
  BitField field;
  int64_t operand = 0;
};

bool ParseOverflowOr(CommandContext& context, std::string_view text, BitOverflow* overflow) {
  if (EqualsIgnoreCase(text, "wrap")) {
    *overflow = BitOverflow::kWrap;
  } else if (EqualsIgnoreCase(text, "sat")) {
    *overflow = BitOverflow::kSaturate;
  } else if (EqualsIgnoreCase(text, "fail")) {
    *overflow = BitOverflow::kFail;
  } else {
    context.reply.Error("ERR Invalid OVERFLOW type specified");
    return false;
  }
  return true;
}

bool ParseFieldTypeOr(CommandContext& context, std::string_view text, BitField* field) {
  constexpr std::string_view kTypeError =
      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
      "i64 "
      "is.";
  field->is_signed = text.starts_with('i');
  if (!field->is_signed && !text.starts_with('u')) {
    context.reply.Error(kTypeError);
    return false;
  }
  int64_t bits;
  if (!ParseRangeOr(context, UpToNul(text.substr(1)), {1, field->is_signed ? 64 : 63}, &bits,
                    kTypeError)) {
    return false;
  }
  field->bits = static_cast<uint8_t>(bits);
  return true;
}

// An offset, or after '#' one that counts fields of this size.
bool ParseFieldOffsetOr(CommandContext& context, std::string_view text, BitField* field) {
  if (!text.starts_with('#')) return ParseBitOffsetOr(context, text, &field->offset);
  int64_t index;
  int64_t offset = -1;
  if (ParseInteger(text.substr(1), &index) &&
      __builtin_mul_overflow(index, int64_t{field->bits}, &offset)) {
    offset = -1;
  }
  char digits[kMaxIntegerDigits];
  const int size = WriteInteger(offset, digits);
  return ParseBitOffsetOr(context, {digits, static_cast<size_t>(size)}, &field->offset);
}

// The operation at args[*at], which moves behind it.
bool ParseOperationOr(CommandContext& context, size_t* at, FieldOperation* operation) {
  using Kind = FieldOperation::Kind;
  std::span<const std::string_view> rest = context.args.subspan(*at);
  if (EqualsIgnoreCase(rest[0], "get") && rest.size() > 2) {
    operation->kind = Kind::kGet;
  } else if (EqualsIgnoreCase(rest[0], "set") && rest.size() > 3) {
    operation->kind = Kind::kSet;
  } else if (EqualsIgnoreCase(rest[0], "incrby") && rest.size() > 3) {
    operation->kind = Kind::kIncrement;
  } else {
    context.reply.Error(kSyntaxError);
    return false;
  }
  if (!ParseFieldTypeOr(context, rest[1], &operation->field)) return false;
  if (!ParseFieldOffsetOr(context, rest[2], &operation->field)) return false;
  *at += 3;
  if (operation->kind == Kind::kGet) return true;
  *at += 1;
  return ParseIntegerOr(context, rest[3], &operation->operand);
}

bool ParseOperationsOr(CommandContext& context, std::vector<FieldOperation>* operations) {
  std::span<const std::string_view> args = context.args;
  BitOverflow overflow = BitOverflow::kWrap;
  for (size_t at = 2; at < args.size();) {
    if (EqualsIgnoreCase(args[at], "overflow") && at + 1 < args.size()) {
      if (!ParseOverflowOr(context, args[at + 1], &overflow)) return false;
      at += 2;
      continue;
    }
    FieldOperation operation{.overflow = overflow};
    if (!ParseOperationOr(context, &at, &operation)) return false;
    operations->push_back(operation);
  }
  return true;
}

bool Writes(const FieldOperation& operation) {
  return operation.kind != FieldOperation::Kind::kGet;
}

// A field, cut out of a string of any length.
struct CutField {
  std::string bytes;
  BitField field;  // within them
};
CutField Cut(CommandContext& context, const BitField& field) {
  CutField cut{
      .bytes = context.db().ReadString(context.key(), {field.first_byte(), field.end_byte()}),
      .field = field};
  cut.field.offset &= 7;
  return cut;
}

bool WantFields(CommandContext& context, std::span<const FieldOperation> operations) {
  bool complete = true;
  for (const FieldOperation& operation : operations) {
    const BitField& field = operation.field;
    complete &= context.db().WantString(context.key(), {field.first_byte(), field.end_byte()});
  }
  return complete;
}

enum class Outcome : uint8_t { kRefused, kSame, kChanged };

// Carries out a SET or INCRBY and answers it.
Outcome Change(CommandContext& context, const FieldOperation& operation) {
  const HashedKey& key = context.key();
  const BitField& field = operation.field;
  const CutField cut = Cut(context, field);
  const int64_t old_number = ReadBitField(cut.bytes, cut.field);
  const bool increments = operation.kind == FieldOperation::Kind::kIncrement;
  int64_t number;
  const bool fits =
      increments ? AddToBitField(field, old_number, operation.operand, operation.overflow, &number)
                 : AddToBitField(field, operation.operand, 0, operation.overflow, &number);
  if (!fits) {
    context.reply.Null();
    return Outcome::kRefused;
  }
  context.reply.Integer(increments ? number : old_number);
  if (number == old_number) return Outcome::kSame;
  char changed[BitField::kMaxBytes];
  const uint32_t size = WriteBitField(cut.bytes, cut.field, number, changed);
  context.db().SetRange(key, field.first_byte(), {changed, size});
  return Outcome::kChanged;
}

void RunReads(CommandContext& context, std::span<const FieldOperation> operations) {
  const Database::KeyInfo info = LookupForRead(context, context.key());
  if (!CheckString(context, info)) return;
  if (info.is_long && !WantFields(context, operations)) return;
  context.reply.ArrayHeader(static_cast<int64_t>(operations.size()));
  for (const FieldOperation& operation : operations) {
    if (!info.exists()) {
      context.reply.Integer(0);
      continue;
    }
    const CutField cut = Cut(context, operation.field);
    context.reply.Integer(ReadBitField(cut.bytes, cut.field));
  }
}

void RunWrites(CommandContext& context, std::span<const FieldOperation> operations) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  uint64_t needed = 0;
  for (const FieldOperation& operation : operations) {
    if (Writes(operation)) needed = std::max(needed, operation.field.end_byte());
  }
  const Database::KeyInfo info = LookupForWrite(context, key);
  if (!CheckString(context, info)) return;
  if (info.is_long && !WantFields(context, operations)) return;
  context.store.BeginGroup();
  // It grows even if nothing is written in the end.
  const bool grows = !info.exists() || db.StringLength(key) < needed;
  if (grows) db.SetRange(key, needed - 1, std::string_view("\0", 1));
  context.reply.ArrayHeader(static_cast<int64_t>(operations.size()));
  bool changed = false;
  for (const FieldOperation& operation : operations) {
    if (Writes(operation)) {
      const Outcome outcome = Change(context, operation);
      changed |= outcome == Outcome::kChanged || (grows && outcome == Outcome::kSame);
    } else {
      const CutField cut = Cut(context, operation.field);
      context.reply.Integer(ReadBitField(cut.bytes, cut.field));
    }
  }
  context.store.EndGroup();
  if (!changed) return;
  context.Modified(key);
  context.Notify('$', "setbit", key.bytes);
}

}  // namespace

Access BitFieldAccess(std::span<const std::string_view> args, const KeySpec&) {
  for (size_t at = 2; at < args.size(); ++at) {
    if (EqualsIgnoreCase(args[at], "set") || EqualsIgnoreCase(args[at], "incrby")) {
      return Access::kUpdate;
    }
  }
  return Access::kRead;
}

void BitFieldCommand(CommandContext& context) {
  std::vector<FieldOperation> operations;
  if (!ParseOperationsOr(context, &operations)) return;
  const bool writes = std::ranges::any_of(operations, Writes);
  return writes ? RunWrites(context, operations) : RunReads(context, operations);
}

void BitFieldRoCommand(CommandContext& context) {
  std::vector<FieldOperation> operations;
  if (!ParseOperationsOr(context, &operations)) return;
  if (std::ranges::any_of(operations, Writes)) {
    return context.reply.Error("ERR BITFIELD_RO only supports the GET subcommand");
  }
  RunReads(context, operations);
}

}  // namespace firn::server
