// Commands at the ends of lists: pushing, popping, moving; and what the list commands share.
#include "server/commands/lists.h"

#include <algorithm>
#include <limits>
#include <string>

#include "server/client.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {
namespace {

using namespace std::string_view_literals;

constexpr int64_t kMaxCount = std::numeric_limits<int64_t>::max();

std::string_view PushEvent(ListEnd end) { return end == ListEnd::kHead ? "lpush"sv : "rpush"sv; }
std::string_view PopEvent(ListEnd end) { return end == ListEnd::kHead ? "lpop"sv : "rpop"sv; }

// Redis counts elements, not keys, as changes since the last save; a key that was modified has
// counted one.
void CountFurtherChanges(CommandContext& context, int64_t count) {
  context.server.stats().changes += static_cast<uint64_t>(count);
}

void PushCommand(CommandContext& context, ListEnd end, bool only_existing) {
  const HashedKey& key = context.key();
  ListAccess access(context, key, ListAccess::Purpose::kWrite);
  if (!access.CheckType()) return;
  if (only_existing && !access.exists()) return context.reply.Integer(0);
  if (!access.list().Push(end, context.args.subspan(2))) return;
  context.Modified(key);
  CountFurtherChanges(context, static_cast<int64_t>(context.args.size()) - 3);
  context.Notify('l', PushEvent(end), key.bytes);
  context.reply.Integer(static_cast<int64_t>(access.list().length()));
}

void PopCommand(CommandContext& context, ListEnd end) {
  if (context.args.size() > 3) return ArityError(context);
  const bool has_count = context.args.size() == 3;
  int64_t count = 0;
  if (has_count && !ParseRangeOr(context, context.args[2], {0, kMaxCount}, &count,
                                 "ERR value is out of range, must be positive")) {
    return;
  }
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (!access.CheckType()) return;
  if (!access.exists()) {
    if (has_count) return context.reply.NullArray();
    return context.reply.Null();
  }
  if (has_count && count == 0) return context.reply.EmptyArray();
  PopAndReply(context, context.key(), &access, {.end = end, .count = static_cast<uint64_t>(count)});
}

// After elements have left a list.
void NotifyPopped(CommandContext& context, const HashedKey& key, ListEnd end, bool exists) {
  context.Notify('l', PopEvent(end), key.bytes);
  if (!exists) context.Notify('g', "del", key.bytes);
  context.Modified(key);
}

void PopOne(CommandContext& context, const HashedKey& key, ListAccess* access, PopReply pop) {
  ListValue& list = access->list();
  ListValue::Place place;
  if (!list.FindEnd(pop.end, &place)) return;
  if (pop.with_key) {
    context.reply.ArrayHeader(2);
    context.reply.Bulk(key.bytes);
  }
  context.reply.Bulk(list.At(place));
  list.Remove(place);
}

}  // namespace

// --- shared

ListAccess::ListAccess(CommandContext& context, const HashedKey& key, Purpose purpose)
    : context_(context),
      pages_(context.db(), key, ValueType::kList,
             {.touch = !context.client.no_touch(), .count_hit = purpose == Purpose::kRead}),
      list_(&pages_, {context.server.options()->list_max_listpack_size}) {
  if (purpose == Purpose::kRead && !pages_.exists() && !pages_.wrong_type()) {
    context.Notify('m', "keymiss", key.bytes);
  }
}

bool ListAccess::CheckType() {
  if (!pages_.wrong_type()) return true;
  context_.reply.Error(kWrongTypeError);
  return false;
}

bool ParseListEndOr(CommandContext& context, std::string_view text, ListEnd* end) {
  if (EqualsIgnoreCase(text, "left")) {
    *end = ListEnd::kHead;
  } else if (EqualsIgnoreCase(text, "right")) {
    *end = ListEnd::kTail;
  } else {
    context.reply.Error(kSyntaxError);
    return false;
  }
  return true;
}

void PopAndReply(CommandContext& context, const HashedKey& key, ListAccess* access, PopReply pop) {
  ListValue& list = access->list();
  const uint64_t length = list.length();
  if (pop.count == 0) {
    PopOne(context, key, access, pop);
  } else {
    const uint64_t count = std::min(pop.count, length);
    const ListValue::Ranks ranks = pop.end == ListEnd::kHead
                                       ? ListValue::Ranks{0, count - 1}
                                       : ListValue::Ranks{length - count, length - 1};
    if (!list.Want(ranks)) return;
    if (list.BytesOf(ranks) > MaxReplyBytes(context)) return context.reply.Error(kOutOfMemoryError);
    if (pop.with_key) {
      context.reply.ArrayHeader(2);
      context.reply.Bulk(key.bytes);
    }
    context.reply.ArrayHeader(static_cast<int64_t>(count));
    auto reply = [&](std::string_view bytes) { context.reply.Bulk(bytes); };
    if (pop.end == ListEnd::kHead) {
      list.ForEach(ranks, reply);
    } else {
      list.ForEachBackward(ranks, reply);
    }
    list.RemoveRanks(ranks);
  }
  const uint64_t popped = length - list.length();
  if (popped == 0) return;
  NotifyPopped(context, key, pop.end, access->exists());
  CountFurtherChanges(context, static_cast<int64_t>(popped) - 1);
}

bool PopFirstAndReply(CommandContext& context, PopReply pop) {
  for (const KeyAccess& key : context.keys) {
    ListAccess access(context, key.key, ListAccess::Purpose::kWrite);
    if (!access.CheckType()) return true;
    if (!access.exists()) continue;
    PopAndReply(context, key.key, &access, pop);
    return true;
  }
  return false;
}

bool MoveAndReply(CommandContext& context, ListMove move) {
  const HashedKey& from_key = context.key(0);
  const HashedKey& to_key = context.key(1);
  ListAccess from(context, from_key, ListAccess::Purpose::kWrite);
  if (!from.exists() && !from.pages().wrong_type()) return false;
  if (!from.CheckType()) return true;
  ListValue::Place place;
  std::string element;
  if (from_key.bytes == to_key.bytes) {
    bool ready = from.list().FindEnd(move.from, &place);
    ready &= from.list().WantPush(move.to);
    if (!ready) return true;
    element = from.list().At(place);
    // A single element stays where it is, and the key keeps its expiry.
    if (from.list().length() > 1) {
      from.list().Remove(place);
      std::string_view moved = element;
      CHECK(from.list().Push(move.to, {&moved, 1}));
    }
  } else {
    ListAccess to(context, to_key, ListAccess::Purpose::kWrite);
    if (!to.CheckType()) return true;
    bool ready = from.list().FindEnd(move.from, &place);
    ready &= to.list().WantPush(move.to);
    if (!ready) return true;
    element = from.list().At(place);
    context.store.BeginGroup();
    std::string_view moved = element;
    CHECK(to.list().Push(move.to, {&moved, 1}));
    from.list().Remove(place);
    to.pages().Commit();
    from.pages().Commit();
    context.store.EndGroup();
  }
  context.Modified(to_key);
  context.Notify('l', PushEvent(move.to), to_key.bytes);
  context.reply.Bulk(element);
  NotifyPopped(context, from_key, move.from, from.exists());
  CountFurtherChanges(context, -1);  // a move is one
  return true;
}

bool ParseMultiPopOr(CommandContext& context, size_t numkeys_at, MultiPop* pop) {
  std::span<const std::string_view> args = context.args;
  if (!ParseRangeOr(context, args[numkeys_at], {1, kMaxCount}, &pop->keys,
                    "ERR numkeys should be greater than 0")) {
    return false;
  }
  // Compared so that it can't overflow.
  if (static_cast<uint64_t>(pop->keys) >= args.size() - numkeys_at - 1) {
    context.reply.Error(kSyntaxError);
    return false;
  }
  size_t at = numkeys_at + static_cast<size_t>(pop->keys) + 1;
  if (!ParseListEndOr(context, args[at], &pop->end)) return false;
  bool has_count = false;
  for (++at; at < args.size(); at += 2) {
    if (has_count || !EqualsIgnoreCase(args[at], "count") || at + 1 == args.size()) {
      context.reply.Error(kSyntaxError);
      return false;
    }
    has_count = true;
    if (!ParseRangeOr(context, args[at + 1], {1, kMaxCount}, &pop->count,
                      "ERR count should be greater than 0")) {
      return false;
    }
  }
  return true;
}

// --- the commands

void LPushCommand(CommandContext& context) { PushCommand(context, ListEnd::kHead, false); }
void RPushCommand(CommandContext& context) { PushCommand(context, ListEnd::kTail, false); }
void LPushXCommand(CommandContext& context) { PushCommand(context, ListEnd::kHead, true); }
void RPushXCommand(CommandContext& context) { PushCommand(context, ListEnd::kTail, true); }
void LPopCommand(CommandContext& context) { PopCommand(context, ListEnd::kHead); }
void RPopCommand(CommandContext& context) { PopCommand(context, ListEnd::kTail); }

void LMPopCommand(CommandContext& context) {
  MultiPop pop;
  if (!ParseMultiPopOr(context, 1, &pop)) return;
  const PopReply reply = {
      .end = pop.end, .count = static_cast<uint64_t>(pop.count), .with_key = true};
  if (!PopFirstAndReply(context, reply)) context.reply.NullArray();
}

void LMoveCommand(CommandContext& context) {
  ListMove move;
  if (!ParseListEndOr(context, context.args[3], &move.from)) return;
  if (!ParseListEndOr(context, context.args[4], &move.to)) return;
  if (!MoveAndReply(context, move)) context.reply.Null();
}

void RPopLPushCommand(CommandContext& context) {
  constexpr ListMove kMove = {.from = ListEnd::kTail, .to = ListEnd::kHead};
  if (!MoveAndReply(context, kMove)) context.reply.Null();
}

}  // namespace firn::server
