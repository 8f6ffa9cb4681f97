// Ranges of sorted sets: ZRANGE and the commands that it replaces, ZRANGESTORE, the counts.
#include <algorithm>

#include "server/commands/piecewise_reply.h"
#include "server/commands/zset_common.h"
#include "server/commands/zset_slices.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

using Use = OpenZset::Use;

enum class RangeKind : uint8_t { kAny, kRank, kScore, kLex };
enum class Direction : uint8_t { kAny, kUp, kDown };

struct RangeRequest {
  size_t source = 1;  // the place of the key
  bool store = false;
  RangeKind kind = RangeKind::kAny;
  Direction direction = Direction::kAny;
  bool with_scores = false;
  int64_t offset = 0;
  int64_t limit = -1;
  GivenRanks ranks = {};
  ScoreRange scores = {};
  LexRange lex = {};
};

bool ParseRangeOptionsOr(CommandContext& context, RangeRequest* request) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = request->source + 3; i < args.size(); ++i) {
    if (!request->store && EqualsIgnoreCase(args[i], "withscores")) {
      request->with_scores = true;
    } else if (EqualsIgnoreCase(args[i], "limit") && i + 2 < args.size()) {
      if (!ParseIntegerOr(context, args[i + 1], &request->offset) ||
          !ParseIntegerOr(context, args[i + 2], &request->limit)) {
        return false;
      }
      i += 2;
    } else if (request->direction == Direction::kAny && EqualsIgnoreCase(args[i], "rev")) {
      request->direction = Direction::kDown;
    } else if (request->kind == RangeKind::kAny && EqualsIgnoreCase(args[i], "bylex")) {
      request->kind = RangeKind::kLex;
    } else if (request->kind == RangeKind::kAny && EqualsIgnoreCase(args[i], "byscore")) {
      request->kind = RangeKind::kScore;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  if (request->direction == Direction::kAny) request->direction = Direction::kUp;
  if (request->kind == RangeKind::kAny) request->kind = RangeKind::kRank;
  return true;
}

bool ParseRangeOr(CommandContext& context, RangeRequest* request) {
  if (!ParseRangeOptionsOr(context, request)) return false;
  auto refuse = [&](std::string_view error) {
    context.reply.Error(error);
    return false;
  };
  if (request->limit != -1 && request->kind == RangeKind::kRank) {
    return refuse(
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
  }
  if (request->with_scores && request->kind == RangeKind::kLex) {
    return refuse("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
  }
  BoundTexts texts{.min = context.args[request->source + 1],
                   .max = context.args[request->source + 2]};
  if (request->kind == RangeKind::kRank) {
    return ParseIntegerOr(context, texts.min, &request->ranks.first) &&
           ParseIntegerOr(context, texts.max, &request->ranks.last);
  }
  if (request->direction == Direction::kDown) std::swap(texts.min, texts.max);
  return request->kind == RangeKind::kScore ? ParseScoreRangeOr(context, texts, &request->scores)
                                            : ParseLexRangeOr(context, texts, &request->lex);
}

// Leaves out what LIMIT does, from the end where the range begins.
RankRange ApplyLimit(const RangeRequest& request, RankRange ranks) {
  if (ranks.empty()) return {};
  const uint64_t size = ranks.size();
  if (request.offset < 0 || static_cast<uint64_t>(request.offset) >= size) return {};
  const auto offset = static_cast<uint64_t>(request.offset);
  uint64_t taken = size - offset;
  if (request.limit >= 0) taken = std::min(taken, static_cast<uint64_t>(request.limit));
  if (request.direction == Direction::kUp) {
    return {.first = ranks.first + offset, .end = ranks.first + offset + taken};
  }
  return {.first = ranks.end - offset - taken, .end = ranks.end - offset};
}

// The ranks that the request names; false if pages are missing that tell.
bool Locate(const RangeRequest& request, ZsetValue& value, RankRange* ranks) {
  switch (request.kind) {
    case RangeKind::kAny:
    case RangeKind::kRank:
      *ranks = ClampRanks(request.ranks, value.count());
      if (request.direction == Direction::kDown && !ranks->empty()) {
        *ranks = {.first = value.count() - ranks->end, .end = value.count() - ranks->first};
      }
      return true;
    case RangeKind::kScore:
      if (!value.Ranks(request.scores, ranks)) return false;
      break;
    case RangeKind::kLex:
      if (!value.Ranks(request.lex, ranks)) return false;
      break;
  }
  *ranks = ApplyLimit(request, *ranks);
  return true;
}

void ReplyRangeInPieces(CommandContext& context, const RangeRequest& request, RankRange ranks) {
  const bool with_scores = request.with_scores;
  ReplyInPieces(
      context,
      {.key = context.key(),
       .first = ranks.first,
       .count = ranks.size(),
       .backward = request.direction == Direction::kDown,
       .header = [=](CommandContext& to) { ReplyElementsHeader(to, ranks.size(), with_scores); },
       .row =
           [=](CommandContext& to, const PackedRow& row) {
             ReplyElement(to, {row.bytes, row.score}, with_scores);
           }});
}

void ReplyRange(CommandContext& context, RangeRequest request) {
  if (!ParseRangeOr(context, &request)) return;
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  if (!zset.exists()) return context.reply.EmptyArray();
  ZsetValue& value = zset.value();
  RankRange ranks;
  if (!Locate(request, value, &ranks)) return;
  if (RepliesInPieces(context, zset.root(), ranks.size())) {
    return ReplyRangeInPieces(context, request, ranks);
  }
  if (!value.Want(ranks) || !CheckReplySize(context, value, ranks)) return;
  ReplyElementsHeader(context, ranks.size(), request.with_scores);
  auto reply = [&](const ZsetElement& element) {
    ReplyElement(context, element, request.with_scores);
  };
  if (request.direction == Direction::kUp) {
    value.ForEach(ranks, reply);
  } else {
    value.ForEachReversed(ranks, reply);
  }
}

}  // namespace

void ZRangeCommand(CommandContext& context) { ReplyRange(context, {}); }
void ZRevRangeCommand(CommandContext& context) {
  ReplyRange(context, {.kind = RangeKind::kRank, .direction = Direction::kDown});
}
void ZRangeByScoreCommand(CommandContext& context) {
  ReplyRange(context, {.kind = RangeKind::kScore, .direction = Direction::kUp});
}
void ZRevRangeByScoreCommand(CommandContext& context) {
  ReplyRange(context, {.kind = RangeKind::kScore, .direction = Direction::kDown});
}
void ZRangeByLexCommand(CommandContext& context) {
  ReplyRange(context, {.kind = RangeKind::kLex, .direction = Direction::kUp});
}
void ZRevRangeByLexCommand(CommandContext& context) {
  ReplyRange(context, {.kind = RangeKind::kLex, .direction = Direction::kDown});
}

namespace {

enum class Manner : uint8_t { kMaybeInSlices, kWhole };

void StoreRange(CommandContext& context, Manner manner) {
  RangeRequest request{.source = 2, .store = true};
  if (!ParseRangeOr(context, &request)) return;
  ElementCopies copies;
  bool in_slices = false;
  {
    OpenZset zset(context, context.key(1), Use::kRead);
    if (!zset.CheckType(context)) return;
    if (zset.exists()) {
      RankRange ranks;
      if (!Locate(request, zset.value(), &ranks)) return;
      in_slices = manner == Manner::kMaybeInSlices && ranks.size() >= kManyZsetElements &&
                  !RunsAtomically(context);
      if (!in_slices && !zset.value().Want(ranks)) return;
      if (!in_slices) {
        zset.value().ForEach(ranks, [&](const ZsetElement& element) { copies.Add(element); });
      }
    }
  }
  if (!in_slices) return StoreZset(context, context.key(0), copies, "zrangestore");
  CombineZsetsInSlices(
      context, {.ranks =
                    [request](CommandContext&, ZsetValue& value, std::vector<RankRange>* ranges) {
                      return Locate(request, value, &ranges->emplace_back());
                    },
                .event = "zrangestore",
                .whole = [](CommandContext& context) { StoreRange(context, Manner::kWhole); }});
}

}  // namespace

void ZRangeStoreCommand(CommandContext& context) { StoreRange(context, Manner::kMaybeInSlices); }

void ZCountCommand(CommandContext& context) {
  ScoreRange range;
  if (!ParseScoreRangeOr(context, {context.args[2], context.args[3]}, &range)) return;
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  RankRange ranks;
  if (zset.exists() && !zset.value().Ranks(range, &ranks)) return;
  context.reply.Integer(static_cast<int64_t>(ranks.size()));
}

void ZLexCountCommand(CommandContext& context) {
  LexRange range;
  if (!ParseLexRangeOr(context, {context.args[2], context.args[3]}, &range)) return;
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  RankRange ranks;
  if (zset.exists() && !zset.value().Ranks(range, &ranks)) return;
  context.reply.Integer(static_cast<int64_t>(ranks.size()));
}

}  // namespace firn::server
