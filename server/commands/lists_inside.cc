// Commands that read or change lists by index or by value.
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "server/commands/common.h"
#include "server/commands/lists.h"
#include "server/commands/piecewise_reply.h"

namespace firn::server {
namespace {

constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
// At least so much does an element take in a reply.
constexpr uint64_t kLeastElementReply = 5;
// LTRIM makes a list anew of what is left, if that is this little and the rest so much: the pages
// of the rest are then freed without being read.
constexpr uint64_t kFewElements = 1000;
constexpr uint64_t kManyElements = 20'000;

// An index of LINDEX and its like: negative ones count from the end. Nothing if it is outside.
std::optional<uint64_t> RankOf(int64_t index, uint64_t length) {
  if (index < 0) index += static_cast<int64_t>(length);
  if (index < 0 || static_cast<uint64_t>(index) >= length) return std::nullopt;
  return static_cast<uint64_t>(index);
}

struct Indexes {
  int64_t first = 0;
  int64_t last = 0;
};
bool ParseIndexesOr(CommandContext& context, Indexes* indexes) {
  return ParseIntegerOr(context, context.args[2], &indexes->first) &&
         ParseIntegerOr(context, context.args[3], &indexes->last);
}

// The elements from one index to another, inclusive. Nothing if there are none.
std::optional<ListValue::Ranks> RanksOf(Indexes indexes, uint64_t length) {
  auto end = static_cast<int64_t>(length);
  if (indexes.first < 0) indexes.first = std::max<int64_t>(indexes.first + end, 0);
  if (indexes.last < 0) indexes.last += end;
  indexes.last = std::min(indexes.last, end - 1);
  if (indexes.first > indexes.last) return std::nullopt;
  return ListValue::Ranks{static_cast<uint64_t>(indexes.first),
                          static_cast<uint64_t>(indexes.last)};
}

void Changed(CommandContext& context, std::string_view event, bool exists = true) {
  const HashedKey& key = context.key();
  context.Notify('l', event, key.bytes);
  if (!exists) context.Notify('g', "del", key.bytes);
  context.Modified(key);
}

struct PosOptions {
  int64_t rank = 1;
  int64_t count = -1;  // not given
  int64_t max_length = 0;
};
bool ParsePosOr(CommandContext& context, PosOptions* options) {
  constexpr std::string_view kZeroRankError =
      "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
      "or use negative to start from the end of the list";
  std::span<const std::string_view> args = context.args;
  for (size_t i = 3; i < args.size(); i += 2) {
    if (i + 1 == args.size()) {
      context.reply.Error(kSyntaxError);
      return false;
    }
    std::string_view text = args[i + 1];
    if (EqualsIgnoreCase(args[i], "rank")) {
      if (!ParseRangeOr(context, text, {-kMaxInteger, kMaxInteger}, &options->rank)) return false;
      if (options->rank == 0) {
        context.reply.Error(kZeroRankError);
        return false;
      }
    } else if (EqualsIgnoreCase(args[i], "count")) {
      if (!ParseRangeOr(context, text, {0, kMaxInteger}, &options->count,
                        "ERR COUNT can't be negative")) {
        return false;
      }
    } else if (EqualsIgnoreCase(args[i], "maxlen")) {
      if (!ParseRangeOr(context, text, {0, kMaxInteger}, &options->max_length,
                        "ERR MAXLEN can't be negative")) {
        return false;
      }
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

// Makes the list anew of the elements that are left. False if they are not in RAM.
bool Rebuild(CommandContext& context, ListAccess* access, ListValue::Ranks kept) {
  ListValue& list = access->list();
  if (!list.Want(kept)) return false;
  std::vector<std::string> elements;
  list.ForEach(kept, [&](std::string_view bytes) { elements.emplace_back(bytes); });
  std::vector<std::string_view> views(elements.begin(), elements.end());
  int64_t expiry_ms = access->pages().expiry_ms();
  context.store.BeginGroup();
  access->pages().DeleteValue();
  CHECK(list.Push(ListEnd::kTail, views));
  access->pages().Commit();
  if (expiry_ms >= 0) context.db().SetExpiry(context.key(), expiry_ms);
  context.store.EndGroup();
  return true;
}

// False if pages are missing.
bool Trim(CommandContext& context, ListAccess* access, std::optional<ListValue::Ranks> kept) {
  ListValue& list = access->list();
  const uint64_t length = list.length();
  if (!kept) {
    list.RemoveRanks({0, length - 1});
    return true;
  }
  if (kept->size() <= kFewElements && length - kept->size() >= kManyElements) {
    return Rebuild(context, access, *kept);
  }
  bool ready = kept->first == 0 || list.Want({0, kept->first - 1});
  ready &= kept->last == length - 1 || list.Want({kept->last + 1, length - 1});
  if (!ready) return false;
  if (kept->last < length - 1) list.RemoveRanks({kept->last + 1, length - 1});
  if (kept->first > 0) list.RemoveRanks({0, kept->first - 1});
  return true;
}

}  // namespace

void LLenCommand(CommandContext& context) {
  ListAccess access(context, context.key(), ListAccess::Purpose::kRead);
  if (!access.CheckType()) return;
  context.reply.Integer(static_cast<int64_t>(access.list().length()));
}

void LIndexCommand(CommandContext& context) {
  ListAccess access(context, context.key(), ListAccess::Purpose::kRead);
  if (!access.CheckType()) return;
  if (!access.exists()) return context.reply.Null();
  int64_t index;
  if (!ParseIntegerOr(context, context.args[2], &index)) return;
  std::optional<uint64_t> rank = RankOf(index, access.list().length());
  if (!rank) return context.reply.Null();
  ListValue::Place place;
  if (!access.list().FindRank(*rank, &place)) return;
  context.reply.Bulk(access.list().At(place));
}

void LRangeCommand(CommandContext& context) {
  Indexes indexes;
  if (!ParseIndexesOr(context, &indexes)) return;
  ListAccess access(context, context.key(), ListAccess::Purpose::kRead);
  if (!access.CheckType()) return;
  if (!access.exists()) return context.reply.EmptyArray();
  ListValue& list = access.list();
  std::optional<ListValue::Ranks> ranks = RanksOf(indexes, list.length());
  if (!ranks) return context.reply.EmptyArray();
  if (RepliesInPieces(context, access.pages().Root(), ranks->size())) {
    return ReplyInPieces(
        context,
        {.key = context.key(),
         .first = ranks->first,
         .count = ranks->size(),
         .header = [count = static_cast<int64_t>(ranks->size())](
                       CommandContext& to) { to.reply.ArrayHeader(count); },
         .row = [](CommandContext& to, const PackedRow& row) { to.reply.Bulk(row.bytes); }});
  }
  const uint64_t most = MaxReplyBytes(context);
  if (ranks->size() > most / kLeastElementReply) return context.reply.Error(kOutOfMemoryError);
  if (!list.Want(*ranks)) return;
  if (list.BytesOf(*ranks) > most) return context.reply.Error(kOutOfMemoryError);
  context.reply.ArrayHeader(static_cast<int64_t>(ranks->size()));
  list.ForEach(*ranks, [&](std::string_view bytes) { context.reply.Bulk(bytes); });
}

void LPosCommand(CommandContext& context) {
  PosOptions options;
  if (!ParsePosOr(context, &options)) return;
  const bool counted = options.count != -1;
  ListAccess access(context, context.key(), ListAccess::Purpose::kRead);
  if (!access.CheckType()) return;
  if (!access.exists()) {
    if (counted) return context.reply.EmptyArray();
    return context.reply.Null();
  }
  const bool backward = options.rank < 0;
  std::vector<uint64_t> ranks;
  if (!access.list().FindEqual(
          {.element = context.args[2],
           .backward = backward,
           .skip = static_cast<uint64_t>(backward ? -options.rank : options.rank) - 1,
           .matches = counted ? static_cast<uint64_t>(options.count) : 1,
           .comparisons = static_cast<uint64_t>(options.max_length)},
          &ranks)) {
    return;
  }
  if (!counted) {
    if (ranks.empty()) return context.reply.Null();
    return context.reply.Integer(static_cast<int64_t>(ranks[0]));
  }
  if (ranks.size() > MaxReplyBytes(context) / kLeastElementReply) {
    return context.reply.Error(kOutOfMemoryError);
  }
  context.reply.ArrayHeader(static_cast<int64_t>(ranks.size()));
  for (uint64_t rank : ranks) context.reply.Integer(static_cast<int64_t>(rank));
}

void LInsertCommand(CommandContext& context) {
  ListValue::Side side = ListValue::Side::kBefore;
  if (EqualsIgnoreCase(context.args[2], "after")) {
    side = ListValue::Side::kAfter;
  } else if (!EqualsIgnoreCase(context.args[2], "before")) {
    return context.reply.Error(kSyntaxError);
  }
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (!access.CheckType()) return;
  if (!access.exists()) return context.reply.Integer(0);
  ListValue& list = access.list();
  ListValue::Place place;
  bool found = false;
  bool ready = list.FindPivot(context.args[3], &place, &found);
  ready &= list.WantForGrowth();
  if (!ready) return;
  if (!found) return context.reply.Integer(-1);
  list.InsertBeside(place, side, context.args[4]);
  Changed(context, "linsert");
  context.reply.Integer(static_cast<int64_t>(list.length()));
}

void LSetCommand(CommandContext& context) {
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (!access.CheckType()) return;
  if (!access.exists()) return context.reply.Error(kNoSuchKeyError);
  int64_t index;
  if (!ParseIntegerOr(context, context.args[2], &index)) return;
  ListValue& list = access.list();
  std::optional<uint64_t> rank = RankOf(index, list.length());
  if (!rank) return context.reply.Error("ERR index out of range");
  ListValue::Place place;
  bool ready = list.FindRank(*rank, &place);
  ready &= list.WantForGrowth();
  if (!ready) return;
  list.Set(place, context.args[3]);
  context.reply.Ok();
  Changed(context, "lset");
}

void LTrimCommand(CommandContext& context) {
  Indexes indexes;
  if (!ParseIndexesOr(context, &indexes)) return;
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (!access.CheckType()) return;
  if (!access.exists()) return context.reply.Ok();
  if (!Trim(context, &access, RanksOf(indexes, access.list().length()))) return;
  Changed(context, "ltrim", access.exists());
  context.reply.Ok();
}

void LRemCommand(CommandContext& context) {
  int64_t count;
  if (!ParseIntegerOr(context, context.args[2], &count)) return;
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (!access.CheckType()) return;
  if (!access.exists()) return context.reply.Integer(0);
  uint64_t removed = 0;
  uint64_t matches = count < 0 ? -static_cast<uint64_t>(count) : static_cast<uint64_t>(count);
  if (!access.list().RemoveEqual(
          {.element = context.args[3], .backward = count < 0, .matches = matches}, &removed)) {
    return;
  }
  if (removed > 0) Changed(context, "lrem", access.exists());
  context.reply.Integer(static_cast<int64_t>(removed));
}

}  // namespace firn::server
