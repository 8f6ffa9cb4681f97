// Sorted set commands that add and remove elements.
#include <array>
#include <limits>
#include <vector>

#include "server/blocking.h"
#include "server/commands/zset_common.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

using Use = OpenZset::Use;
using AddResult = ZsetValue::AddResult;

struct AddRequest {
  ZsetValue::AddOptions options;
  bool count_changed = false;  // CH
  size_t first_pair = 2;       // place of the first score
  size_t pairs = 0;
};

bool ParseAddOptions(std::string_view text, AddRequest* request) {
  ZsetValue::AddOptions& options = request->options;
  if (EqualsIgnoreCase(text, "nx")) return options.only_new = true;
  if (EqualsIgnoreCase(text, "xx")) return options.only_existing = true;
  if (EqualsIgnoreCase(text, "ch")) return request->count_changed = true;
  if (EqualsIgnoreCase(text, "incr")) return options.increment = true;
  if (EqualsIgnoreCase(text, "gt")) return options.only_greater = true;
  if (EqualsIgnoreCase(text, "lt")) return options.only_less = true;
  return false;
}

bool ParseAddOr(CommandContext& context, AddRequest* request) {
  std::span<const std::string_view> args = context.args;
  size_t at = 2;
  while (at < args.size() && ParseAddOptions(args[at], request)) ++at;
  auto refuse = [&](std::string_view error) {
    context.reply.Error(error);
    return false;
  };
  if (at == args.size() || (args.size() - at) % 2 != 0) return refuse(kSyntaxError);
  request->first_pair = at;
  request->pairs = (args.size() - at) / 2;
  const ZsetValue::AddOptions& options = request->options;
  if (options.only_new && options.only_existing) {
    return refuse("ERR XX and NX options at the same time are not compatible");
  }
  if (options.only_new + options.only_greater + options.only_less > 1) {
    return refuse("ERR GT, LT, and/or NX options at the same time are not compatible");
  }
  if (options.increment && request->pairs > 1) {
    return refuse("ERR INCR option supports a single increment-element pair");
  }
  return true;
}

struct AddCounts {
  int64_t added = 0;
  int64_t changed = 0;
};

// False if pages are missing.
bool AddAll(CommandContext& context, const AddRequest& request, std::span<const double> scores,
            AddCounts* counts) {
  const HashedKey& key = context.key();
  OpenZset zset(context, key, Use::kWrite);
  if (!zset.CheckType(context)) return true;
  ZsetValue& value = zset.value();
  auto element = [&](size_t i) {
    return ZsetElement{context.args[request.first_pair + 2 * i + 1], scores[i]};
  };
  if (request.pairs > 1) {
    bool all = true;
    for (size_t i = 0; i < request.pairs; ++i) all &= value.WantAdd(element(i), request.options);
    if (!all) return false;
    value.BeginBatch();
  }
  ZsetLimits limits = ZsetLimitsOf(context);
  // Redis looks at the number of pairs, whether or not they name different members.
  if (request.pairs > limits.max_listpack_entries) limits.max_listpack_entries = 0;
  double score = 0;
  for (size_t i = 0; i < request.pairs; ++i) {
    AddResult result = value.Add(element(i), request.options, limits, &score);
    if (result == AddResult::kMissing) return false;
    counts->added += result == AddResult::kAdded ? 1 : 0;
    counts->changed += result == AddResult::kChanged ? 1 : 0;
    if (!request.options.increment) continue;
    if (result == AddResult::kNotANumber) {
      context.reply.Error("ERR resulting score is not a number (NaN)");
    } else if (result == AddResult::kRefused) {
      context.reply.Null();
    } else {
      context.reply.Double(score);
    }
  }
  if (request.pairs > 1) value.EndBatch();
  if (!request.options.increment) {
    context.reply.Integer(counts->added + (request.count_changed ? counts->changed : 0));
  }
  return true;
}

void Add(CommandContext& context, AddRequest request) {
  if (!ParseAddOr(context, &request)) return;
  std::array<double, 8> few;
  std::vector<double> many;
  std::span<double> scores(few);
  if (request.pairs > few.size()) {
    many.resize(request.pairs);
    scores = many;
  }
  for (size_t i = 0; i < request.pairs; ++i) {
    if (!ParseScoreOr(context, context.args[request.first_pair + 2 * i], &scores[i])) return;
  }
  AddCounts counts;
  if (!AddAll(context, request, scores, &counts) || counts.added + counts.changed == 0) return;
  NoteZsetChange(context, context.key(), request.options.increment ? "zincr" : "zadd", false);
  if (counts.added > 0) SignalReady(context, context.key());
}

enum class RangeKind : uint8_t { kRank, kScore, kLex };

struct RemovedRange {
  GivenRanks ranks;
  ScoreRange scores;
  LexRange lex;
};

bool ParseRemovedRangeOr(CommandContext& context, RangeKind kind, RemovedRange* range) {
  const BoundTexts texts{.min = context.args[2], .max = context.args[3]};
  switch (kind) {
    case RangeKind::kRank:
      return ParseIntegerOr(context, texts.min, &range->ranks.first) &&
             ParseIntegerOr(context, texts.max, &range->ranks.last);
    case RangeKind::kScore:
      return ParseScoreRangeOr(context, texts, &range->scores);
    case RangeKind::kLex:
      return ParseLexRangeOr(context, texts, &range->lex);
  }
  return false;
}

void RemoveRange(CommandContext& context, RangeKind kind, std::string_view event) {
  RemovedRange range;
  if (!ParseRemovedRangeOr(context, kind, &range)) return;
  const HashedKey& key = context.key();
  RankRange ranks;
  bool gone = false;
  {
    OpenZset zset(context, key, Use::kWrite);
    if (!zset.CheckType(context)) return;
    if (!zset.exists()) return context.reply.Integer(0);
    ZsetValue& value = zset.value();
    if (kind == RangeKind::kRank) ranks = ClampRanks(range.ranks, value.count());
    if (kind == RangeKind::kScore && !value.Ranks(range.scores, &ranks)) return;
    if (kind == RangeKind::kLex && !value.Ranks(range.lex, &ranks)) return;
    ZsetValue::Removal removal;
    if (!value.PlanRemoval(ranks, &removal)) return;
    value.Remove(removal);
    gone = !zset.exists();
  }
  if (!ranks.empty()) NoteZsetChange(context, key, event, gone);
  context.reply.Integer(static_cast<int64_t>(ranks.size()));
}

void Pop(CommandContext& context, ZsetEnd end) {
  if (context.args.size() > 3) return context.reply.Error(kSyntaxError);
  PopRequest request{.end = end};
  if (context.args.size() == 3) {
    int64_t count;
    if (!ParseRangeOr(context, context.args[2], {0, std::numeric_limits<int64_t>::max()}, &count,
                      "ERR value is out of range, must be positive")) {
      return;
    }
    request.count = static_cast<uint64_t>(count);
    request.nested = context.reply.protocol() > 2;
  }
  if (request.count == 0) {
    OpenZset zset(context, context.key(), Use::kWrite);
    if (zset.CheckType(context)) context.reply.EmptyArray();
    return;
  }
  if (PopFromZset(context, context.key(), request) == PopResult::kAbsent) {
    context.reply.EmptyArray();
  }
}

}  // namespace

void ZAddCommand(CommandContext& context) { Add(context, {}); }
void ZIncrByCommand(CommandContext& context) { Add(context, {.options = {.increment = true}}); }

void ZRemCommand(CommandContext& context) {
  const HashedKey& key = context.key();
  int64_t removed = 0;
  bool gone = false;
  {
    OpenZset zset(context, key, Use::kWrite);
    if (!zset.CheckType(context)) return;
    ZsetValue& value = zset.value();
    std::span<const std::string_view> members = context.args.subspan(2);
    if (members.size() > 1) {
      bool all = true;
      for (std::string_view member : members) all &= value.WantRemove(member);
      if (!all) return;
    }
    value.BeginBatch();
    for (std::string_view member : members) {
      const ZsetValue::Lookup lookup = value.Remove(member);
      if (lookup == ZsetValue::Lookup::kMissing) return;
      removed += lookup == ZsetValue::Lookup::kPresent ? 1 : 0;
    }
    value.EndBatch();
    gone = !zset.exists();
  }
  if (removed > 0) NoteZsetChange(context, key, "zrem", gone);
  context.reply.Integer(removed);
}

void ZRemRangeByRankCommand(CommandContext& context) {
  RemoveRange(context, RangeKind::kRank, "zremrangebyrank");
}
void ZRemRangeByScoreCommand(CommandContext& context) {
  RemoveRange(context, RangeKind::kScore, "zremrangebyscore");
}
void ZRemRangeByLexCommand(CommandContext& context) {
  RemoveRange(context, RangeKind::kLex, "zremrangebylex");
}

void ZPopMinCommand(CommandContext& context) { Pop(context, ZsetEnd::kMin); }
void ZPopMaxCommand(CommandContext& context) { Pop(context, ZsetEnd::kMax); }

void ZMPopCommand(CommandContext& context) {
  MultiPopArguments arguments;
  if (!ParseMultiPopOr(context, 1, &arguments)) return;
  for (const KeyAccess& access : context.keys) {
    if (PopFromZset(context, access.key, arguments.request) != PopResult::kAbsent) return;
  }
  context.reply.NullArray();
}

}  // namespace firn::server
