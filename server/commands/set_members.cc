// Set commands on members that are named, and those that list all of them.
#include <string>

#include "server/commands/collection_common.h"
#include "server/commands/piecewise_reply.h"
#include "server/commands/set_common.h"
#include "server/commands/sets.h"

namespace firn::server {
namespace {

using Use = OpenSet::Use;

// The members that a command names, from its third word on.
std::span<const std::string_view> NamedMembers(const CommandContext& context) {
  return context.args.subspan(2);
}

bool WantMembers(SetValue& value, std::span<const std::string_view> members) {
  bool all = true;
  for (std::string_view member : members) all &= value.Want(member);
  return all;
}

void AddOne(CommandContext& context, SetValue& value) {
  const std::string_view member = context.args[2];
  SetValue::Place place;
  if (!value.Find(member, &place)) return;
  const SetLimits limits = SetLimitsOf(context);
  value.Announce({.first = member}, limits);
  if (place.found) return context.reply.Integer(0);
  value.Add(place, member, limits);
  NoteSetChange(context, context.key(), "sadd", false);
  context.reply.Integer(1);
}

enum class MoveOutcome : uint8_t { kNothing, kMoved, kMovedAndAdded };

// Answers the client, unless pages are missing. `source_gone` if the member was the last.
MoveOutcome MoveMember(CommandContext& context, bool* source_gone) {
  const std::string_view member = context.args[3];
  OpenSet source(context, context.key(0), Use::kWrite);
  if (!source.exists() && !source.wrong_type()) {
    context.reply.Integer(0);
    return MoveOutcome::kNothing;
  }
  if (!source.CheckType(context)) return MoveOutcome::kNothing;
  SetValue::Place place;
  if (context.key(0).bytes == context.key(1).bytes) {
    if (source.value().Find(member, &place)) context.reply.Integer(place.found ? 1 : 0);
    return MoveOutcome::kNothing;
  }
  OpenSet target(context, context.key(1), Use::kWrite);
  if (!target.CheckType(context)) return MoveOutcome::kNothing;
  SetValue::Place target_place;
  bool resident = source.value().Find(member, &place);
  resident &= target.value().Find(member, &target_place);
  if (!resident) return MoveOutcome::kNothing;
  context.reply.Integer(place.found ? 1 : 0);
  if (!place.found) return MoveOutcome::kNothing;
  source.value().Remove(place);
  *source_gone = !source.exists();
  if (target_place.found) return MoveOutcome::kMoved;
  const SetLimits limits = SetLimitsOf(context);
  if (!target.exists()) target.value().Announce({.first = member}, limits);
  target.value().Add(target_place, member, limits);
  return MoveOutcome::kMovedAndAdded;
}

// --- SSCAN

void ReplyScan(CommandContext& context, uint64_t next, std::span<const std::string_view> members) {
  context.reply.ArrayHeader(2);
  context.reply.Bulk(std::to_string(next));
  context.reply.ArrayHeader(static_cast<int64_t>(members.size()));
  for (std::string_view member : members) context.reply.Bulk(member);
}

}  // namespace

void SAddCommand(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kWrite);
  if (!set.CheckType(context)) return;
  SetValue& value = set.value();
  std::span<const std::string_view> members = NamedMembers(context);
  if (members.size() == 1) return AddOne(context, value);
  if (!WantMembers(value, members)) return;
  const SetLimits limits = SetLimitsOf(context);
  value.Announce({.first = members[0], .members = members.size()}, limits);
  int64_t added = 0;
  for (std::string_view member : members) {
    SetValue::Place place;
    CHECK(value.Find(member, &place));
    if (place.found) continue;
    value.Add(place, member, limits);
    ++added;
  }
  if (added > 0) NoteSetChange(context, context.key(), "sadd", false);
  context.reply.Integer(added);
}

void SRemCommand(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kWrite);
  if (!set.CheckType(context)) return;
  SetValue& value = set.value();
  std::span<const std::string_view> members = NamedMembers(context);
  int64_t removed = 0;
  if (members.size() == 1) {
    SetValue::Place place;
    if (!value.Find(members[0], &place)) return;
    if (place.found) {
      value.Remove(place);
      removed = 1;
    }
  } else {
    if (!WantMembers(value, members)) return;
    for (std::string_view member : members) {
      if (!value.exists()) break;
      SetValue::Place place;
      value.FindAgain(member, &place);
      if (!place.found) continue;
      value.Remove(place);
      ++removed;
    }
  }
  if (removed > 0) NoteSetChange(context, context.key(), "srem", !set.exists());
  context.reply.Integer(removed);
}

void SMoveCommand(CommandContext& context) {
  bool source_gone = false;
  context.store.BeginGroup();
  const MoveOutcome outcome = MoveMember(context, &source_gone);
  context.store.EndGroup();
  if (outcome == MoveOutcome::kNothing) return;
  NoteSetChange(context, context.key(0), "srem", source_gone);
  if (outcome == MoveOutcome::kMovedAndAdded) {
    NoteSetChange(context, context.key(1), "sadd", false);
  }
}

void SIsMemberCommand(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kRead);
  if (!set.CheckType(context)) return;
  SetValue::Place place;
  if (!set.value().Find(context.args[2], &place)) return;
  context.reply.Integer(place.found ? 1 : 0);
}

void SMIsMemberCommand(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kRead);
  if (!set.CheckType(context)) return;
  std::span<const std::string_view> members = NamedMembers(context);
  if (!WantMembers(set.value(), members)) return;
  context.reply.ArrayHeader(static_cast<int64_t>(members.size()));
  for (std::string_view member : members) {
    SetValue::Place place;
    CHECK(set.value().Find(member, &place));
    context.reply.Integer(place.found ? 1 : 0);
  }
}

void SCardCommand(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kRead);
  if (!set.CheckType(context)) return;
  context.reply.Integer(static_cast<int64_t>(set.value().count()));
}

void SMembersCommand(CommandContext& context) {
  OpenSet set(context, context.key(), Use::kRead);
  if (!set.CheckType(context)) return;
  if (set.exists() && set.value().encoding() != SetEncoding::kIntset &&
      RepliesInPieces(context, set.root(), set.value().count())) {
    const uint64_t count = set.value().count();
    return ReplyInPieces(
        context,
        {.key = context.key(),
         .count = count,
         .header = [count](CommandContext& to) { to.reply.SetHeader(static_cast<int64_t>(count)); },
         .row = [](CommandContext& to, const PackedRow& row) { to.reply.Bulk(row.bytes); }});
  }
  ReplyAllMembers(context, set.value());
}

void SScanCommand(CommandContext& context) {
  ElementScan scan;
  if (!ParseScanCursorOr(context, &scan)) return;
  OpenSet set(context, context.key(), Use::kRead);
  if (!set.CheckType(context)) return;
  if (!set.exists()) return ReplyScan(context, 0, {});
  if (!ParseScanOptionsOr(context, ScanOptions::kPlain, &scan)) return;
  SetValue::ScanBatch batch;
  if (!set.value().Scan(scan.cursor, scan.count, &batch)) return;
  std::erase_if(batch.members, [&](std::string_view member) { return !scan.Wants(member); });
  ReplySize size{.members = batch.members.size()};
  for (std::string_view member : batch.members) size.bytes += member.size();
  if (!CheckReplySize(context, size)) return;
  ReplyScan(context, batch.next, batch.members);
}

}  // namespace firn::server
