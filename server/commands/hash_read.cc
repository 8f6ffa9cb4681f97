// Commands that read fields: one, several, all, some at random, and HSCAN.
#include <limits>
#include <optional>
#include <vector>

#include "server/client.h"
#include "server/commands/collection_common.h"
#include "server/commands/hash_common.h"
#include "server/commands/hashes.h"
#include "server/commands/piecewise_reply.h"

namespace firn::server {
namespace {

using Use = OpenHash::Use;
using Lookup = HashValue::Lookup;

// What a field takes in a reply besides its bytes, at most: two headers.
constexpr uint64_t kFieldOverhead = 32;
// HLEN of larger hashes counts what has expired until something else drops it, rather than go
// over all fields.
constexpr uint64_t kExactCount = 100'000;

// The part of a field that a command gives.
enum class Part : uint8_t { kNames, kValues, kBoth };

bool CheckReplySize(CommandContext& context, HashValue& value) {
  const uint64_t limit = MaxReplyBytes(context);
  if (limit == std::numeric_limits<uint64_t>::max() || value.small()) return true;
  uint64_t bytes = 0;
  value.ForEach(
      [&](const PackedRow& row) { bytes += row.bytes.size() + row.value.size() + kFieldOverhead; });
  if (bytes <= limit) return true;
  context.reply.Error(kOutOfMemoryError);
  return false;
}

void ReplyAll(CommandContext& context, Part part) {
  OpenHash hash(context, Use::kRead);
  if (!hash.ok()) return;
  HashValue& value = hash.value();
  const auto reply_header = [part](CommandContext& to, uint64_t fields) {
    const auto count = static_cast<int64_t>(fields);
    part == Part::kBoth ? to.reply.MapHeader(count) : to.reply.ArrayHeader(count);
  };
  const auto reply_row = [part](CommandContext& to, const PackedRow& row) {
    if (part != Part::kValues) to.reply.Bulk(row.bytes);
    if (part != Part::kNames) to.reply.Bulk(row.value);
  };
  if (hash.exists() && !value.MayHaveExpired() &&
      RepliesInPieces(context, hash.root(), value.count())) {
    const uint64_t count = value.count();
    return ReplyInPieces(context, {.key = context.key(),
                                   .count = count,
                                   .header = [=](CommandContext& to) { reply_header(to, count); },
                                   .row = reply_row});
  }
  if (!value.WantAll() || !hash.DropExpired() || !CheckReplySize(context, value)) return;
  reply_header(context, value.count());
  value.ForEach([&](const PackedRow& row) { reply_row(context, row); });
}

// Looks one field up. Nothing if the client has been answered or pages are missing.
std::optional<Lookup> FindOne(CommandContext& context, OpenHash& hash, HashValue::Field* field) {
  if (!hash.ok()) return std::nullopt;
  Lookup found = hash.value().Find(context.args[2], field);
  if (found == Lookup::kMissing) return std::nullopt;
  return found;
}

// --- random fields

enum class Pairs : uint8_t { kNo, kYes };

void ReplyFieldsHeader(CommandContext& context, uint64_t count, Pairs pairs) {
  bool flat = pairs == Pairs::kYes && context.reply.protocol() < 3;
  context.reply.ArrayHeader(static_cast<int64_t>(flat ? count * 2 : count));
}

void ReplyField(CommandContext& context, const PackedRow& row, Pairs pairs) {
  if (pairs == Pairs::kYes && context.reply.protocol() > 2) context.reply.ArrayHeader(2);
  context.reply.Bulk(row.bytes);
  if (pairs == Pairs::kYes) context.reply.Bulk(row.value);
}

void RandomFields(CommandContext& context, int64_t given, Pairs pairs) {
  OpenHash hash(context, Use::kRead);
  if (!hash.ok()) return;
  HashValue& value = hash.value();
  if (!hash.DropExpired()) return;
  if (!hash.exists() || given == 0) return context.reply.EmptyArray();
  const uint64_t size = value.count();
  const bool repeat = given < 0;
  const auto count = static_cast<uint64_t>(repeat ? -given : given);
  if (!repeat && count >= size) {
    if (!value.WantAll() || !CheckReplySize(context, value)) return;
    ReplyFieldsHeader(context, size, pairs);
    value.ForEach([&](const PackedRow& row) { ReplyField(context, row, pairs); });
    return;
  }
  if (!CheckRandomCount(context, count)) return;
  const std::vector<uint64_t> ranks =
      ChooseRanks(context, {.count = count, .size = size, .repeat = repeat});
  if (!value.tree().WantRanks(ranks)) return;
  context.client.AdvanceRandomSeed();
  ReplyFieldsHeader(context, count, pairs);
  for (uint64_t rank : ranks) {
    HashedTree::Place place;
    CHECK(value.tree().FindRank(rank, &place));
    ReplyField(context, value.tree().Row(place), pairs);
  }
}

void RandomField(CommandContext& context) {
  OpenHash hash(context, Use::kRead);
  if (!hash.ok() || !hash.DropExpired()) return;
  if (!hash.exists()) return context.reply.Null();
  const std::vector<uint64_t> ranks =
      ChooseRanks(context, {.count = 1, .size = hash.value().count()});
  HashedTree::Place place;
  if (!hash.value().tree().FindRank(ranks[0], &place)) return;
  context.client.AdvanceRandomSeed();
  context.reply.Bulk(hash.value().tree().Row(place).bytes);
}

}  // namespace

void HGetCommand(CommandContext& context) {
  OpenHash hash(context, Use::kRead);
  HashValue::Field field;
  std::optional<Lookup> found = FindOne(context, hash, &field);
  if (!found) return;
  field.live ? context.reply.Bulk(field.row.value) : context.reply.Null();
}

void HExistsCommand(CommandContext& context) {
  OpenHash hash(context, Use::kRead);
  HashValue::Field field;
  std::optional<Lookup> found = FindOne(context, hash, &field);
  if (found) context.reply.Integer(field.live ? 1 : 0);
}

void HStrLenCommand(CommandContext& context) {
  OpenHash hash(context, Use::kRead);
  HashValue::Field field;
  std::optional<Lookup> found = FindOne(context, hash, &field);
  if (found) context.reply.Integer(field.live ? static_cast<int64_t>(field.row.value.size()) : 0);
}

void HMGetCommand(CommandContext& context) {
  OpenHash hash(context, Use::kRead);
  if (!hash.ok()) return;
  std::span<const std::string_view> names = context.args.subspan(2);
  std::vector<std::optional<std::string_view>> values(names.size());
  bool all = true;
  for (size_t i = 0; i < names.size(); ++i) {
    HashValue::Field field;
    all &= hash.value().Find(names[i], &field) != Lookup::kMissing;
    if (field.live) values[i] = field.row.value;
  }
  if (!all) return;
  context.reply.ArrayHeader(static_cast<int64_t>(names.size()));
  for (const std::optional<std::string_view>& value : values) {
    value ? context.reply.Bulk(*value) : context.reply.Null();
  }
}

void HLenCommand(CommandContext& context) {
  OpenHash hash(context, Use::kRead);
  if (!hash.ok()) return;
  if (hash.value().count() <= kExactCount && !hash.DropExpired()) return;
  context.reply.Integer(static_cast<int64_t>(hash.value().count()));
}

void HGetAllCommand(CommandContext& context) { ReplyAll(context, Part::kBoth); }

void HKeysCommand(CommandContext& context) { ReplyAll(context, Part::kNames); }

void HValsCommand(CommandContext& context) { ReplyAll(context, Part::kValues); }

void HRandFieldCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  if (args.size() == 2) return RandomField(context);
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t count;
  if (!ParseRangeOr(context, args[2], {-kMax, kMax}, &count)) return;
  if (args.size() == 3) return RandomFields(context, count, Pairs::kNo);
  if (args.size() > 4 || !EqualsIgnoreCase(args[3], "withvalues")) {
    return context.reply.Error(kSyntaxError);
  }
  if (count < -kMax / 2 || count > kMax / 2) {
    return context.reply.Error("ERR value is out of range");
  }
  RandomFields(context, count, Pairs::kYes);
}

void HScanCommand(CommandContext& context) {
  ElementScan scan;
  if (!ParseScanCursorOr(context, &scan)) return;
  OpenHash hash(context, Use::kRead);
  if (!hash.ok()) return;
  // An absent key's options are not looked at, as in Redis.
  if (hash.exists() && !ParseScanOptionsOr(context, ScanOptions::kNoValues, &scan)) return;
  HashedTree::ScanBatch batch;
  if (!hash.value().Scan(scan.cursor, scan.count, &batch)) return;
  std::erase_if(batch.rows, [&](const PackedRow& row) { return !scan.Wants(row.bytes); });
  context.reply.ArrayHeader(2);
  context.reply.BulkInteger(static_cast<int64_t>(batch.next));
  context.reply.ArrayHeader(static_cast<int64_t>(batch.rows.size() * (scan.no_values ? 1 : 2)));
  for (const PackedRow& row : batch.rows) {
    context.reply.Bulk(row.bytes);
    if (!scan.no_values) context.reply.Bulk(row.value);
  }
}

}  // namespace firn::server
