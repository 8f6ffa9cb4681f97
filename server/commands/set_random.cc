// SPOP and SRANDMEMBER. A member is chosen by its rank, so that each is equally likely.
#include <algorithm>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "server/client.h"
#include "server/commands/collection_common.h"
#include "server/commands/set_common.h"
#include "server/commands/sets.h"

namespace firn::server {
namespace {

using Use = OpenSet::Use;

// REQUIRES: the ranks' pages are in RAM.
bool CheckRanksFit(CommandContext& context, SetValue& value, std::span<const uint64_t> ranks) {
  if (MaxReplyBytes(context) == std::numeric_limits<uint64_t>::max()) return true;
  ReplySize size{.members = ranks.size()};
  for (uint64_t rank : ranks) size.bytes += value.At(rank).size();
  return CheckReplySize(context, size);
}

void PopOne(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kWrite);
  if (!set.CheckType(context)) return;
  if (!set.exists()) return context.reply.Null();
  SetValue& value = set.value();
  Random random(context.client.random_seed());
  const uint64_t rank = random.Below(value.count());
  if (!value.WantRanks({&rank, 1})) return;
  context.client.AdvanceRandomSeed();
  context.reply.Bulk(value.At(rank));
  value.RemoveRanks({&rank, 1});
  NoteSetChange(context, context.key(), "spop", !set.exists());
}

// Answers with everything and deletes the set.
void PopAll(CommandContext& context, OpenSet& set) {
  bool answered_all;
  if (!ReplyAllMembers(context, set.value(), &answered_all) || !answered_all) return;
  set.Delete();
  NoteSetChange(context, context.key(), "spop", true);
}

// When so few members are left, Redis makes a new set of them.
bool LeavesFew(uint64_t total, uint64_t count) { return (total - count) * 5 <= count; }

void PopSeveral(CommandContext& context) {
  int64_t given;
  if (!ParseRangeOr(context, context.args[2], {0, std::numeric_limits<int64_t>::max()}, &given,
                    "ERR value is out of range, must be positive")) {
    return;
  }
  OpenSet set(context, context.key(), Use::kWrite);
  if (!set.CheckType(context)) return;
  const auto count = static_cast<uint64_t>(given);
  if (!set.exists() || count == 0) return context.reply.SetHeader(0);
  SetValue& value = set.value();
  const uint64_t total = value.count();
  if (count >= total) return PopAll(context, set);
  const bool anew = LeavesFew(total, count);
  if (!CheckReplySize(context, {.members = count}) || (anew && !value.WantAll())) return;
  std::vector<uint64_t> ranks = ChooseRanks(context, {.count = count, .size = total});
  std::sort(ranks.begin(), ranks.end());
  if (!value.WantRanks(ranks)) return;
  if (!CheckRanksFit(context, value, ranks)) return;
  context.client.AdvanceRandomSeed();
  context.reply.SetHeader(static_cast<int64_t>(count));
  for (uint64_t rank : ranks) context.reply.Bulk(value.At(rank));
  value.RemoveRanks(ranks);
  if (anew) value.ChooseEncodingAnew(SetLimitsOf(context));
  NoteSetChange(context, context.key(), "spop", false);
}

void ReplyRanks(CommandContext& context, SetValue& value, std::span<const uint64_t> ranks) {
  if (!value.WantRanks(ranks) || !CheckRanksFit(context, value, ranks)) return;
  context.client.AdvanceRandomSeed();
  context.reply.ArrayHeader(static_cast<int64_t>(ranks.size()));
  for (uint64_t rank : ranks) context.reply.Bulk(value.At(rank));
}

void ReplyRandomMembers(CommandContext& context, SetValue& value, int64_t given) {
  const uint64_t total = value.count();
  if (given < 0) {
    const uint64_t count = uint64_t{0} - static_cast<uint64_t>(given);
    if (!CheckRandomCount(context, count)) return;
    if (!CheckReplySize(context, {.members = count})) return;
    return ReplyRanks(context, value,
                      ChooseRanks(context, {.count = count, .size = total, .repeat = true}));
  }
  const auto count = static_cast<uint64_t>(given);
  if (!CheckReplySize(context, {.members = std::min(count, total)})) return;
  if (count < total) {
    return ReplyRanks(context, value, ChooseRanks(context, {.count = count, .size = total}));
  }
  if (!value.WantAll()) return;
  if (!CheckReplySize(context, {.members = total, .bytes = value.TotalBytes()})) return;
  context.reply.ArrayHeader(static_cast<int64_t>(total));
  value.ForEach([&](std::string_view member) { context.reply.Bulk(member); });
}

}  // namespace

void SPopCommand(CommandContext& context) {
  if (context.args.size() > 3) return context.reply.Error(kSyntaxError);
  context.args.size() == 3 ? PopSeveral(context) : PopOne(context);
}

void SRandMemberCommand(CommandContext& context) {
  if (context.args.size() > 3) return context.reply.Error(kSyntaxError);
  const bool counted = context.args.size() == 3;
  int64_t count = 1;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (counted && !ParseRangeOr(context, context.args[2], {-kMax, kMax}, &count)) return;
  OpenSet set(context, context.key(), Use::kRead);
  if (!set.CheckType(context)) return;
  if (!set.exists()) return counted ? context.reply.EmptyArray() : context.reply.Null();
  SetValue& value = set.value();
  if (counted) {
    return count == 0 ? context.reply.EmptyArray() : ReplyRandomMembers(context, value, count);
  }
  Random random(context.client.random_seed());
  const uint64_t rank = random.Below(value.count());
  if (!value.WantRanks({&rank, 1})) return;
  context.client.AdvanceRandomSeed();
  context.reply.Bulk(value.At(rank));
}

}  // namespace firn::server
