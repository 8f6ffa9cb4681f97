// Sorted set commands that read single elements, or go over all of them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/types/string_ops.h"
#include "server/client.h"
#include "server/commands/collection_common.h"
#include "server/commands/zset_common.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

using Lookup = ZsetValue::Lookup;
using Use = OpenZset::Use;

enum class Direction : uint8_t { kUp, kDown };

void Rank(CommandContext& context, Direction direction) {
  std::span<const std::string_view> args = context.args;
  if (args.size() > 4) return ArityError(context);
  const bool with_score = args.size() == 4;
  if (with_score && !EqualsIgnoreCase(args[3], "withscore")) {
    return context.reply.Error(kSyntaxError);
  }
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  ZsetValue::Ranked ranked;
  const Lookup lookup = zset.value().Rank(args[2], &ranked);
  if (lookup == Lookup::kMissing) return;
  if (lookup == Lookup::kAbsent) {
    return with_score ? context.reply.NullArray() : context.reply.Null();
  }
  if (direction == Direction::kDown) ranked.rank = zset.value().count() - 1 - ranked.rank;
  if (with_score) context.reply.ArrayHeader(2);
  context.reply.Integer(static_cast<int64_t>(ranked.rank));
  if (with_score) context.reply.Double(ranked.score);
}

// --- random members

bool WantEach(ZsetValue& value, std::span<const uint64_t> ranks) {
  bool all = true;
  for (uint64_t rank : ranks) all &= value.Want({.first = rank, .end = rank + 1});
  return all;
}

struct RandomRequest {
  uint64_t count = 0;
  bool repeat = false;
  bool with_scores = false;
};

void RandomMembers(CommandContext& context, const RandomRequest& request) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  if (!zset.exists() || request.count == 0) return context.reply.EmptyArray();
  ZsetValue& value = zset.value();
  const uint64_t size = value.count();
  if (!request.repeat && request.count >= size) {
    const RankRange all{.first = 0, .end = size};
    if (!value.Want(all) || !CheckReplySize(context, value, all)) return;
    ReplyElementsHeader(context, size, request.with_scores);
    value.ForEach(all, [&](const ZsetElement& element) {
      ReplyElement(context, element, request.with_scores);
    });
    return;
  }
  if (!CheckRandomCount(context, request.count)) return;
  const std::vector<uint64_t> ranks =
      ChooseRanks(context, {.count = request.count, .size = size, .repeat = request.repeat});
  if (!WantEach(value, ranks)) return;
  context.client.AdvanceRandomSeed();
  ReplyElementsHeader(context, ranks.size(), request.with_scores);
  for (uint64_t rank : ranks) ReplyElement(context, value.At(rank), request.with_scores);
}

void RandomMember(CommandContext& context) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  if (!zset.exists()) return context.reply.Null();
  Random random(context.client.random_seed());
  const uint64_t rank = random.Below(zset.value().count());
  if (!zset.value().Want({.first = rank, .end = rank + 1})) return;
  context.client.AdvanceRandomSeed();
  context.reply.Bulk(zset.value().At(rank).member);
}

// --- scanning

// A string in both protocols. Like Redis, gives a skiplist's scores with 17 digits.
void ReplyScannedScore(CommandContext& context, double score, bool shortest) {
  if (shortest || std::isinf(score)) return context.reply.Bulk(FormatDouble(score));
  char text[40];
  const int size = std::snprintf(text, sizeof text, "%.17g", score);
  context.reply.Bulk({text, static_cast<size_t>(size)});
}

// A reply holds the elements of one call: more than this is refused a single ZSCAN, which may
// answer with fewer than COUNT.
constexpr uint64_t kMaxScanCount = 100'000;

}  // namespace

void ZCardCommand(CommandContext& context) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  context.reply.Integer(static_cast<int64_t>(zset.value().count()));
}

void ZScoreCommand(CommandContext& context) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  double score = 0;
  const Lookup lookup = zset.value().Score(context.args[2], &score);
  if (lookup == Lookup::kMissing) return;
  lookup == Lookup::kPresent ? context.reply.Double(score) : context.reply.Null();
}

void ZMScoreCommand(CommandContext& context) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  std::span<const std::string_view> members = context.args.subspan(2);
  double score = 0;
  bool all = true;
  for (std::string_view member : members) {
    all &= zset.value().Score(member, &score) != Lookup::kMissing;
  }
  if (!all) return;
  context.reply.ArrayHeader(static_cast<int64_t>(members.size()));
  for (std::string_view member : members) {
    const bool present = zset.value().Score(member, &score) == Lookup::kPresent;
    present ? context.reply.Double(score) : context.reply.Null();
  }
}

void ZRankCommand(CommandContext& context) { Rank(context, Direction::kUp); }
void ZRevRankCommand(CommandContext& context) { Rank(context, Direction::kDown); }

void ZRandMemberCommand(CommandContext& context) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  std::span<const std::string_view> args = context.args;
  if (args.size() < 3) return RandomMember(context);
  int64_t count;
  if (!ParseRangeOr(context, args[2], {-kMax, kMax}, &count)) return;
  if (args.size() > 4 || (args.size() == 4 && !EqualsIgnoreCase(args[3], "withscores"))) {
    return context.reply.Error(kSyntaxError);
  }
  const bool with_scores = args.size() == 4;
  if (with_scores && (count < -kMax / 2 || count > kMax / 2)) {
    return context.reply.Error("ERR value is out of range");
  }
  RandomMembers(context, {.count = static_cast<uint64_t>(count < 0 ? -count : count),
                          .repeat = count < 0,
                          .with_scores = with_scores});
}

void ZScanCommand(CommandContext& context) {
  ElementScan scan;
  if (!ParseElementScanOr(context, ScanOptions::kPlain, &scan)) return;
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  ZsetValue::ScanBatch batch;
  if (scan.cursor <= ZsetValue::kMaxCursor &&
      !zset.value().Scan(scan.cursor, std::min(scan.count, kMaxScanCount), &batch)) {
    return;
  }
  std::erase_if(batch.elements,
                [&](const ZsetElement& element) { return !scan.Wants(element.member); });
  const bool shortest = !zset.exists() || zset.encoding() == "listpack";
  context.reply.ArrayHeader(2);
  context.reply.Bulk(std::to_string(batch.next));
  context.reply.ArrayHeader(static_cast<int64_t>(batch.elements.size() * 2));
  for (const ZsetElement& element : batch.elements) {
    context.reply.Bulk(element.member);
    ReplyScannedScore(context, element.score, shortest);
  }
}

}  // namespace firn::server
