#include "server/commands/zset_common.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "engine/types/string_ops.h"
#include "server/blocking.h"
#include "server/client.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr IntegerRange kAnyLong = {std::numeric_limits<int64_t>::min(),
                                   std::numeric_limits<int64_t>::max()};
// What an element takes in a reply besides its bytes, at most: two headers and a score.
constexpr uint64_t kElementOverhead = 48;
// So few elements are not summed up before a reply.
constexpr uint64_t kFewElements = 512;

// Most scores are small integers, which are read at once.
bool ParseSmallInteger(std::string_view text, double* score) {
  constexpr size_t kMaxDigits = 15;  // exact in a double
  bool negative = text.starts_with('-');
  std::string_view digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.size() > kMaxDigits) return false;
  int64_t value = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  *score = negative ? -static_cast<double>(value) : static_cast<double>(value);
  return true;
}

// As strtod reads the text up to the first NUL; spaces may lead, and nothing is zero.
bool ParseBound(std::string_view text, double* score) {
  if (ParseSmallInteger(text, score)) return true;
  const std::string copy(UpToNul(text));
  char* end = nullptr;
  *score = std::strtod(copy.c_str(), &end);
  return *end == '\0' && !std::isnan(*score);
}

bool ParseLexBound(std::string_view text, LexBound* bound) {
  if (text.empty()) return false;
  switch (text[0]) {
    case '-':
      bound->kind = LexBound::Kind::kLowest;
      return UpToNul(text).size() == 1;
    case '+':
      bound->kind = LexBound::Kind::kHighest;
      return UpToNul(text).size() == 1;
    case '(':
    case '[':
      bound->kind = text[0] == '(' ? LexBound::Kind::kOpen : LexBound::Kind::kClosed;
      bound->bytes = text.substr(1);
      return true;
    default:
      return false;
  }
}

}  // namespace

OpenZset::OpenZset(CommandContext& context, const HashedKey& key, Use use)
    : pages_(context.db(), key, ValueType::kZset,
             {.touch = !context.client.no_touch(), .count_hit = use == Use::kRead}),
      value_(&pages_, pages_.secret()) {
  if (use == Use::kRead && !exists() && !wrong_type()) context.Notify('m', "keymiss", key.bytes);
}

bool OpenZset::CheckType(CommandContext& context) const {
  if (!wrong_type()) return true;
  context.reply.Error(kWrongTypeError);
  return false;
}

ZsetLimits ZsetLimitsOf(const CommandContext& context) {
  const OptionValues& options = context.server.options().values();
  return {.max_listpack_entries = static_cast<uint64_t>(options.zset_max_listpack_entries),
          .max_listpack_value = static_cast<uint64_t>(options.zset_max_listpack_value)};
}

// --- arguments

bool ParseScoreOr(CommandContext& context, std::string_view text, double* score,
                  std::string_view error) {
  if (ParseSmallInteger(text, score) || ParseDouble(text, score)) return true;
  context.reply.Error(error);
  return false;
}

bool ParseScoreRangeOr(CommandContext& context, const BoundTexts& texts, ScoreRange* range) {
  range->min_open = texts.min.starts_with('(');
  range->max_open = texts.max.starts_with('(');
  if (ParseBound(texts.min.substr(range->min_open ? 1 : 0), &range->min) &&
      ParseBound(texts.max.substr(range->max_open ? 1 : 0), &range->max)) {
    return true;
  }
  context.reply.Error(kRangeNotFloatError);
  return false;
}

bool ParseLexRangeOr(CommandContext& context, const BoundTexts& texts, LexRange* range) {
  if (ParseLexBound(texts.min, &range->min) && ParseLexBound(texts.max, &range->max)) return true;
  context.reply.Error(kRangeNotLexError);
  return false;
}

RankRange ClampRanks(const GivenRanks& given, uint64_t count) {
  auto size = static_cast<int64_t>(count);
  int64_t first = given.first < 0 ? std::max<int64_t>(size + given.first, 0) : given.first;
  int64_t last = given.last < 0 ? size + given.last : std::min(given.last, size - 1);
  if (first > last || first >= size) return {};
  return {.first = static_cast<uint64_t>(first), .end = static_cast<uint64_t>(last) + 1};
}

// --- replies

void ReplyElementsHeader(CommandContext& context, uint64_t count, bool with_scores) {
  bool flat_pairs = with_scores && context.reply.protocol() < 3;
  context.reply.ArrayHeader(static_cast<int64_t>(flat_pairs ? count * 2 : count));
}

void ReplyElement(CommandContext& context, const ZsetElement& element, bool with_scores) {
  if (with_scores && context.reply.protocol() > 2) context.reply.ArrayHeader(2);
  context.reply.Bulk(element.member);
  if (with_scores) context.reply.Double(element.score);
}

bool CheckReplySize(CommandContext& context, ZsetValue& value, RankRange ranks) {
  const uint64_t limit = MaxReplyBytes(context);
  if (limit == std::numeric_limits<uint64_t>::max() || ranks.size() <= kFewElements) return true;
  uint64_t bytes = 0;
  value.ForEach(ranks, [&](const ZsetElement& element) {
    bytes += element.member.size() + kElementOverhead;
  });
  if (bytes <= limit) return true;
  context.reply.Error(kOutOfMemoryError);
  return false;
}

// --- changes

void NoteZsetChange(CommandContext& context, const HashedKey& key, std::string_view event,
                    bool gone) {
  context.Modified(key);
  context.Notify('z', event, key.bytes);
  if (gone) context.Notify('g', "del", key.bytes);
}

void ElementCopies::Add(const ZsetElement& element) {
  entries_.push_back(
      {.offset = bytes_.size(), .size = element.member.size(), .score = element.score});
  bytes_ += element.member;
}

std::vector<ZsetElement> ElementCopies::Elements() const {
  std::vector<ZsetElement> elements;
  elements.reserve(entries_.size());
  const std::string_view bytes(bytes_);
  for (const Entry& entry : entries_) {
    elements.push_back({bytes.substr(entry.offset, entry.size), entry.score});
  }
  return elements;
}

void StoreZset(CommandContext& context, const HashedKey& key, const ElementCopies& elements,
               std::string_view event) {
  const bool existed = LookupForWrite(context, key).exists();
  if (elements.size() == 0) {
    if (existed) {
      context.db().Delete(key);
      context.Modified(key);
      context.Notify('g', "del", key.bytes);
    }
    return context.reply.Integer(0);
  }
  context.store.BeginGroup();
  if (existed) context.db().Delete(key);
  {
    OpenZset zset(context, key, OpenZset::Use::kWrite);
    std::vector<ZsetElement> stored = elements.Elements();
    zset.value().Build(stored, ZsetLimitsOf(context));
  }
  context.store.EndGroup();
  NoteZsetChange(context, key, event, false);
  SignalReady(context, key);
  context.reply.Integer(static_cast<int64_t>(elements.size()));
}

// --- taking elements from the ends

PopResult PopFromZset(CommandContext& context, const HashedKey& key, const PopRequest& request) {
  OpenZset zset(context, key, OpenZset::Use::kWrite);
  if (!zset.CheckType(context)) return PopResult::kDone;
  if (!zset.exists()) return PopResult::kAbsent;
  ZsetValue& value = zset.value();
  const uint64_t total = value.count();
  const uint64_t count = std::min(request.count, total);
  RankRange ranks{.first = 0, .end = count};
  if (request.end == ZsetEnd::kMax) ranks = {.first = total - count, .end = total};
  ZsetValue::Removal removal;
  const bool wanted = (count == 1 && total > 1) || value.Want(ranks);
  if (!value.PlanRemoval(ranks, &removal) || !wanted) return PopResult::kMissing;
  if (!CheckReplySize(context, value, ranks)) return PopResult::kDone;

  const auto elements = static_cast<int64_t>(count);
  if (request.emit_key && request.nested) {
    context.reply.ArrayHeader(2);
    context.reply.Bulk(key.bytes);
    context.reply.ArrayHeader(elements);
  } else if (request.emit_key) {
    context.reply.ArrayHeader(elements * 2 + 1);
    context.reply.Bulk(key.bytes);
  } else {
    context.reply.ArrayHeader(request.nested ? elements : elements * 2);
  }
  auto reply = [&](const ZsetElement& element) {
    if (request.nested) context.reply.ArrayHeader(2);
    context.reply.Bulk(element.member);
    context.reply.Double(element.score);
  };
  if (request.end == ZsetEnd::kMin) {
    value.ForEach(ranks, reply);
  } else {
    value.ForEachReversed(ranks, reply);
  }
  value.Remove(removal);
  NoteZsetChange(context, key, request.end == ZsetEnd::kMin ? "zpopmin" : "zpopmax",
                 !zset.exists());
  return PopResult::kDone;
}

bool ParseMultiPopOr(CommandContext& context, size_t at, MultiPopArguments* arguments) {
  std::span<const std::string_view> args = context.args;
  int64_t keys;
  if (!ParseRangeOr(context, args[at], {1, kAnyLong.max}, &keys,
                    "ERR numkeys should be greater than 0")) {
    return false;
  }
  auto syntax_error = [&] {
    context.reply.Error(kSyntaxError);
    return false;
  };
  if (static_cast<uint64_t>(keys) >= args.size() - at - 1) return syntax_error();
  arguments->first_key = at + 1;
  arguments->keys = static_cast<size_t>(keys);
  size_t where = at + 1 + arguments->keys;
  PopRequest& request = arguments->request;
  request = {.nested = true, .emit_key = true};
  if (EqualsIgnoreCase(args[where], "max")) {
    request.end = ZsetEnd::kMax;
  } else if (!EqualsIgnoreCase(args[where], "min")) {
    return syntax_error();
  }
  bool counted = false;
  for (size_t i = where + 1; i < args.size(); i += 2) {
    if (counted || i + 1 == args.size() || !EqualsIgnoreCase(args[i], "count")) {
      return syntax_error();
    }
    int64_t count;
    if (!ParseRangeOr(context, args[i + 1], {1, kAnyLong.max}, &count,
                      "ERR count should be greater than 0")) {
      return false;
    }
    request.count = static_cast<uint64_t>(count);
    counted = true;
  }
  return true;
}

}  // namespace firn::server
