// SINTER, SUNION, SDIFF and what they store or count. Members are compared where they lie: only
// what is stored is copied.
#include <algorithm>
#include <bit>
#include <deque>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/commands/set_common.h"
#include "server/commands/set_replies.h"
#include "server/commands/set_slices.h"
#include "server/commands/sets.h"

namespace firn::server {
namespace {

using Use = OpenSet::Use;

// Probes into cold sets of one attempt. Each may want a page.
constexpr uint64_t kMaxMissing = 1024;

// The sets that a command reads. A key that is named twice is opened once.
class Operands {
 public:
  // Answers with an error and returns false if one is no set.
  bool OpenOr(CommandContext& context, std::span<const KeyAccess> keys) {
    std::unordered_map<std::string_view, OpenSet*> opened;
    for (const KeyAccess& access : keys) {
      OpenSet*& set = opened[access.key.bytes];
      if (set == nullptr) {
        set = &sets_.emplace_back(context, access.key, Use::kRead);
        if (!set->CheckType(context)) return false;
      }
      in_order_.push_back(set);
    }
    return true;
  }
  std::span<OpenSet* const> in_order() const { return in_order_; }
  std::deque<OpenSet>& distinct() { return sets_; }

 private:
  std::deque<OpenSet> sets_;
  std::vector<OpenSet*> in_order_;
};

// What a command has found. Views into pages: valid until something is changed.
struct Found {
  std::vector<std::string_view> members;
  SetEncoding encoding = SetEncoding::kIntset;
};

// A set of views that remembers the order of their arrival.
class ViewSet {
 public:
  ViewSet(const HashSecret& secret, uint64_t expected) : secret_(secret) { Reserve(expected); }

  bool Add(std::string_view member) {
    if ((members_.size() + 1) * 2 > buckets_.size()) Reserve(members_.size() * 2 + 2);
    uint32_t& bucket = buckets_[BucketOf(member)];
    if (bucket != kFree) return false;
    bucket = static_cast<uint32_t>(members_.size());
    members_.push_back(member);
    removed_.push_back(false);
    return true;
  }
  // The place of what is removed stays taken.
  bool Remove(std::string_view member) {
    const uint32_t bucket = buckets_[BucketOf(member)];
    if (bucket == kFree || removed_[bucket]) return false;
    removed_[bucket] = true;
    return true;
  }
  std::vector<std::string_view> Take() {
    size_t kept = 0;
    for (size_t i = 0; i < members_.size(); ++i) {
      if (!removed_[i]) members_[kept++] = members_[i];
    }
    members_.resize(kept);
    return std::move(members_);
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;

  void Reserve(uint64_t expected) {
    buckets_.assign(std::bit_ceil(expected * 2 + 2), kFree);
    for (size_t i = 0; i < members_.size(); ++i) {
      buckets_[BucketOf(members_[i])] = static_cast<uint32_t>(i);
    }
  }
  // That of the member, or the free one where it would be.
  size_t BucketOf(std::string_view member) const {
    size_t at = SipHash13(secret_, member) & (buckets_.size() - 1);
    while (buckets_[at] != kFree && members_[buckets_[at]] != member) {
      at = (at + 1) & (buckets_.size() - 1);
    }
    return at;
  }

  const HashSecret secret_;
  std::vector<uint32_t> buckets_;
  std::vector<std::string_view> members_;
  std::vector<bool> removed_;
};

// All members of a set that is in RAM.
std::vector<std::string_view> MembersOf(SetValue& value) {
  std::vector<std::string_view> members;
  members.reserve(value.count());
  value.ForEach([&](std::string_view member) { members.push_back(member); });
  return members;
}

// Keeps the members that all the sets have, or those that none of them has; stops at `limit` of
// them (0: no limit). False: pages are missing.
struct Filter {
  std::span<SetValue* const> sets;
  bool present = true;
  uint64_t limit = 0;
};
bool Keep(const Filter& filter, std::vector<std::string_view>* members) {
  uint64_t missing = 0;
  size_t kept = 0;
  for (std::string_view member : *members) {
    bool keep = true;
    for (SetValue* set : filter.sets) {
      SetValue::Place place;
      const bool resident = set->Find(member, &place);
      if (!resident) ++missing;
      keep = resident && place.found == filter.present;
      if (!keep) break;
    }
    if (missing >= kMaxMissing) return false;
    if (!keep) continue;
    (*members)[kept++] = member;
    if (filter.limit != 0 && kept == filter.limit) break;
  }
  members->resize(kept);
  return missing == 0;
}

std::vector<SetValue*> BySize(Operands& operands) {
  std::vector<SetValue*> sets;
  for (OpenSet& set : operands.distinct()) sets.push_back(&set.value());
  std::stable_sort(sets.begin(), sets.end(),
                   [](SetValue* a, SetValue* b) { return a->count() < b->count(); });
  return sets;
}

// Goes over the smallest set and looks its members up in the others. False: pages are missing.
bool Intersect(Operands& operands, uint64_t limit, Found* found) {
  std::vector<SetValue*> sets = BySize(operands);
  if (!sets[0]->exists()) return true;
  if (!sets[0]->WantAll()) return false;
  found->members = MembersOf(*sets[0]);
  std::span<SetValue* const> others = std::span(sets).subspan(1);
  return Keep({.sets = others, .limit = limit}, &found->members);
}

bool WantAllOf(Operands& operands) {
  bool all = true;
  for (OpenSet& set : operands.distinct()) all &= set.value().WantAll();
  return all;
}

// What Redis would show for members that were added one by one to an intset.
SetEncoding EncodingOf(std::span<const std::string_view> members, const SetLimits& limits) {
  SetEncodingTracker tracker(limits);
  for (std::string_view member : members) {
    tracker.Add(member);
    if (tracker.encoding() == SetEncoding::kHashtable) break;
  }
  return tracker.encoding();
}

// Of an intersection: packed first, and of numbers alone an intset in the end.
SetEncoding IntersectionEncoding(std::span<const std::string_view> members,
                                 const SetLimits& limits) {
  if (members.size() <= limits.max_intset_entries &&
      std::all_of(members.begin(), members.end(),
                  [](std::string_view member) { return IsInteger(member); })) {
    return SetEncoding::kIntset;
  }
  SetEncodingTracker tracker(limits, SetEncoding::kListpack);
  for (std::string_view member : members) tracker.Add(member);
  return tracker.encoding();
}

bool Unite(Operands& operands, const SetLimits& limits, Found* found) {
  if (!WantAllOf(operands)) return false;
  uint64_t largest = 0;
  for (OpenSet& set : operands.distinct()) largest = std::max(largest, set.value().count());
  ViewSet members(operands.distinct()[0].secret(), largest);
  for (OpenSet& set : operands.distinct()) {
    set.value().ForEach([&](std::string_view member) { members.Add(member); });
  }
  found->members = members.Take();
  found->encoding = EncodingOf(found->members, limits);
  return true;
}

// Whether looking the first set's members up in the others is less work than taking all members of
// the others away from it; Redis' measure.
bool LookingUpIsLess(std::span<OpenSet* const> sets) {
  uint64_t look_ups = 0;
  uint64_t removals = 0;
  for (OpenSet* set : sets) {
    if (!set->exists()) continue;
    look_ups += sets[0]->value().count();
    removals += set->value().count();
  }
  return look_ups / 2 <= removals;
}

// False: pages are missing.
bool Subtract(Operands& operands, const SetLimits& limits, Found* found) {
  std::span<OpenSet* const> sets = operands.in_order();
  OpenSet* first = sets[0];
  std::span<OpenSet* const> others = sets.subspan(1);
  if (!first->exists() || std::find(others.begin(), others.end(), first) != others.end()) {
    return true;
  }
  if (LookingUpIsLess(sets)) {
    if (!first->value().WantAll()) return false;
    found->members = MembersOf(first->value());
    // Those of many members first: they have more to take away.
    std::vector<SetValue*> by_size = BySize(operands);
    std::erase(by_size, &first->value());
    std::reverse(by_size.begin(), by_size.end());
    if (!Keep({.sets = by_size, .present = false}, &found->members)) {
      return false;
    }
    found->encoding = EncodingOf(found->members, limits);
    return true;
  }
  if (!WantAllOf(operands)) return false;
  std::vector<std::string_view> members = MembersOf(first->value());
  found->encoding = EncodingOf(members, limits);
  ViewSet left(first->secret(), members.size());
  for (std::string_view member : members) left.Add(member);
  for (OpenSet& set : operands.distinct()) {
    if (&set == first) continue;
    set.value().ForEach([&](std::string_view member) { left.Remove(member); });
  }
  found->members = left.Take();
  return true;
}

using Operation = SetOperation;

// A union has no fewer members than its largest set.
bool CheckUnionSize(CommandContext& context, Operands& operands) {
  for (OpenSet& set : operands.distinct()) {
    if (!CheckReplySize(context, {.members = set.value().count()})) return false;
  }
  return true;
}

// False: pages are missing, or an error was answered.
bool Compute(CommandContext& context, Operation operation, Operands& operands, Found* found) {
  const SetLimits limits = SetLimitsOf(context);
  switch (operation) {
    case Operation::kIntersect:
      if (!Intersect(operands, 0, found)) return false;
      found->encoding = IntersectionEncoding(found->members, limits);
      return true;
    case Operation::kUnite:
      // What the largest set alone makes too large need not be fetched.
      if (!CheckUnionSize(context, operands)) return false;
      return Unite(operands, limits, found);
    case Operation::kSubtract:
      return Subtract(operands, limits, found);
  }
  return true;
}

bool CheckSize(CommandContext& context, const Found& found) {
  ReplySize size{.members = found.members.size()};
  for (std::string_view member : found.members) size.bytes += member.size();
  return CheckReplySize(context, size);
}

// A difference from which the first set itself is taken is nothing.
bool IsWorthSlices(CommandContext& context, Operation operation, Operands& operands) {
  std::span<OpenSet* const> sets = operands.in_order();
  const bool itself = std::find(sets.begin() + 1, sets.end(), sets[0]) != sets.end();
  if (operation == Operation::kSubtract && itself) return false;
  std::vector<uint64_t> counts;
  for (OpenSet& set : operands.distinct()) counts.push_back(set.value().count());
  return SetMerge::IsWorthSlices(context, operation, counts);
}

// False if it is to be answered in slices instead.
bool ReplyAtOnce(CommandContext& context, Operation operation, bool whole) {
  Operands operands;
  if (!operands.OpenOr(context, context.keys)) return true;
  if (!whole && IsWorthSlices(context, operation, operands)) {
    return operation == Operation::kUnite && !CheckUnionSize(context, operands);
  }
  if (operation == Operation::kUnite && operands.distinct().size() == 1) {
    ReplyAllMembers(context, operands.distinct()[0].value());
    return true;
  }
  Found found;
  if (!Compute(context, operation, operands, &found) || !CheckSize(context, found)) return true;
  // As they come out of an intset. What an intersection goes over keeps its own order.
  const bool sorted = operation != Operation::kIntersect && found.encoding == SetEncoding::kIntset;
  if (sorted) SortIntegers(&found.members);
  context.reply.SetHeader(static_cast<int64_t>(found.members.size()));
  for (std::string_view member : found.members) context.reply.Bulk(member);
  return true;
}

template <Operation kOperation>
void ReplyResult(CommandContext& context) {
  if (ReplyAtOnce(context, kOperation, false)) return;
  ReplyInSlices(context,
                {.operation = kOperation,
                 .encoding = kOperation == Operation::kIntersect ? nullptr : EncodingOf,
                 .whole = [](CommandContext& context) { ReplyAtOnce(context, kOperation, true); }});
}

// Copies the members one behind the other, and points the views there.
void CopyMembers(Found* found, std::string* copy) {
  size_t size = 0;
  for (std::string_view member : found->members) size += member.size();
  copy->reserve(size);
  for (std::string_view& member : found->members) {
    const size_t at = copy->size();
    *copy += member;
    member = std::string_view(copy->data() + at, member.size());
  }
}

// False if it is to be stored in slices instead.
bool Store(CommandContext& context, const SetStore& store, bool whole) {
  Found found;
  std::string bytes;
  {
    Operands operands;
    if (!operands.OpenOr(context, context.keys.subspan(1))) return true;
    if (!whole && StoresInSlices(context) && IsWorthSlices(context, store.operation, operands)) {
      return false;
    }
    if (!Compute(context, store.operation, operands, &found) || !CheckSize(context, found)) {
      return true;
    }
    CopyMembers(&found, &bytes);
  }
  StoreSet(context, context.key(), {.members = found.members, .encoding = found.encoding},
           store.event);
  return true;
}

void StoreWhole(CommandContext& context, const SetStore& store) { Store(context, store, true); }

void StoreResult(CommandContext& context, Operation operation, std::string_view event) {
  const SetStore store = {
      .operation = operation,
      .event = event,
      .encoding = operation == Operation::kIntersect ? IntersectionEncoding : EncodingOf,
      .whole = StoreWhole};
  if (!Store(context, store, false)) StoreInSlices(context, store);
}

bool ParseLimitOr(CommandContext& context, size_t first_option, uint64_t* limit) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = first_option; i < args.size(); i += 2) {
    if (!EqualsIgnoreCase(args[i], "limit") || i + 1 == args.size()) {
      context.reply.Error(kSyntaxError);
      return false;
    }
    int64_t value;
    if (!ParseRangeOr(context, args[i + 1], {0, std::numeric_limits<int64_t>::max()}, &value,
                      "ERR LIMIT can't be negative")) {
      return false;
    }
    *limit = static_cast<uint64_t>(value);
  }
  return true;
}

// numkeys and LIMIT of SINTERCARD.
bool ParseCardOr(CommandContext& context, uint64_t* limit) {
  int64_t keys;
  if (!ParseRangeOr(context, context.args[1], {1, std::numeric_limits<int64_t>::max()}, &keys,
                    "ERR numkeys should be greater than 0")) {
    return false;
  }
  if (static_cast<uint64_t>(keys) > context.args.size() - 2) {
    context.reply.Error("ERR Number of keys can't be greater than number of args");
    return false;
  }
  return ParseLimitOr(context, 2 + static_cast<size_t>(keys), limit);
}

// False if they are to be counted in slices instead.
bool CountAtOnce(CommandContext& context, uint64_t limit, bool whole) {
  Operands operands;
  if (!operands.OpenOr(context, context.keys)) return true;
  if (!whole && IsWorthSlices(context, Operation::kIntersect, operands)) return false;
  Found found;
  if (!Intersect(operands, limit, &found)) return true;
  context.reply.Integer(static_cast<int64_t>(found.members.size()));
  return true;
}

void CountWhole(CommandContext& context) {
  uint64_t limit = 0;
  if (ParseCardOr(context, &limit)) CountAtOnce(context, limit, true);
}

}  // namespace

void SInterCommand(CommandContext& context) { ReplyResult<Operation::kIntersect>(context); }
void SUnionCommand(CommandContext& context) { ReplyResult<Operation::kUnite>(context); }
void SDiffCommand(CommandContext& context) { ReplyResult<Operation::kSubtract>(context); }

void SInterStoreCommand(CommandContext& context) {
  StoreResult(context, Operation::kIntersect, "sinterstore");
}
void SUnionStoreCommand(CommandContext& context) {
  StoreResult(context, Operation::kUnite, "sunionstore");
}
void SDiffStoreCommand(CommandContext& context) {
  StoreResult(context, Operation::kSubtract, "sdiffstore");
}

void SInterCardCommand(CommandContext& context) {
  uint64_t limit = 0;
  if (!ParseCardOr(context, &limit) || CountAtOnce(context, limit, false)) return;
  ReplyInSlices(context, {.operation = Operation::kIntersect,
                          .count_only = true,
                          .limit = limit,
                          .whole = CountWhole});
}

}  // namespace firn::server
