// Pending entries: XACK, XCLAIM, XAUTOCLAIM, XPENDING.
#include <algorithm>
#include <limits>
#include <map>

#include "server/client.h"
#include "server/commands/streams.h"
#include "server/dispatcher.h"

namespace firn::server {
namespace {

using Group = StreamGroups::Group;
using Consumer = StreamGroups::Consumer;
using Pending = StreamGroups::Pending;
using Lookup = StreamGroups::Lookup;

void NoGroupError(CommandContext& context) {
  context.reply.Error("NOGROUP No such key '" + std::string(UpToNul(context.args[1])) +
                      "' or consumer group '" + std::string(UpToNul(context.args[2])) + "'");
}

// The group args[2]; answers that there is none.
Lookup FindGroup(CommandContext& context, OpenStream& stream, Group* group) {
  Lookup lookup = Lookup::kAbsent;
  if (stream.exists()) lookup = StreamGroups(stream.pages()).FindGroup(context.args[2], group);
  if (lookup == Lookup::kAbsent) NoGroupError(context);
  return lookup;
}

// What XCLAIM and XAUTOCLAIM do: entries get another owner.
class Claim {
 public:
  struct Options {
    int64_t min_idle_ms = 0;
    int64_t delivered_ms = 0;
    int64_t deliveries = -1;  // -1: one more, unless just_id
    bool force = false;
    bool just_id = false;
  };
  Claim(CommandContext& context, OpenStream& stream, const Group& group, const Options& options)
      : context_(context),
        stream_(stream.value()),
        groups_(stream.pages()),
        group_(group),
        options_(options) {}

  StreamGroups& groups() { return groups_; }
  Group& group() { return group_; }
  // The consumer args[3]; false if pages are missing.
  bool LocateConsumer() {
    consumer_ = {.number = group_.next_consumer};
    const Lookup lookup = groups_.FindConsumer(group_, context_.args[3], &consumer_);
    is_new_ = lookup == Lookup::kAbsent;
    if (lookup == Lookup::kMissing) return false;
    return groups_.WantConsumer(group_, context_.args[3]);
  }
  bool Locate(StreamId id) {
    Pending old;
    const Lookup lookup = groups_.FindPending(group_, id, &old);
    bool all = lookup != Lookup::kMissing;
    all &= groups_.WantPending(group_, consumer_.number, id);
    if (lookup == Lookup::kPresent) {
      all &= groups_.WantPending(group_, old.consumer, id);
      all &= groups_.WantOwner(group_, old.consumer);
    }
    return all & stream_.Want({.first = id, .last = id});
  }
  void Begin() {
    if (is_new_) {
      consumer_ = {.seen_ms = context_.now_ms()};
      groups_.CreateConsumer(context_.args[3], &group_, &consumer_);
      NoteGroupChange(context_);
      context_.Notify('t', "xgroup-createconsumer", context_.key().bytes);
    }
    consumer_.seen_ms = context_.now_ms();
  }
  enum class Result : uint8_t { kNothing, kGone, kClaimed };
  // Gives an entry to the consumer, and answers with it.
  Result Take(StreamId id);
  void End() {
    for (const auto& [number, change] : changes_) {
      groups_.ChangePendingCount(group_, number, change);
    }
    groups_.Store(group_, context_.args[3], consumer_);
    groups_.Store(context_.args[2], group_);
  }

 private:
  void CountOwner(uint32_t number, int64_t change) {
    if (number == consumer_.number) {
      consumer_.pending += static_cast<uint64_t>(change);
    } else {
      changes_[number] += change;
    }
  }

  CommandContext& context_;
  StreamValue& stream_;
  StreamGroups groups_;
  Group group_;
  const Options options_;
  Consumer consumer_;
  bool is_new_ = false;
  std::map<uint32_t, int64_t> changes_;  // of the pending entries of others
};

Claim::Result Claim::Take(StreamId id) {
  Pending old;
  const bool had = groups_.FindPending(group_, id, &old) == Lookup::kPresent;
  if (stream_.Find(id) != StreamValue::Lookup::kPresent) {
    if (!had) return Result::kNothing;
    groups_.Remove(group_, old);
    CountOwner(old.consumer, -1);
    --group_.pending;
    NoteGroupChange(context_);
    return Result::kGone;
  }
  if (!had && !options_.force) return Result::kNothing;
  if (had && options_.min_idle_ms > 0 &&
      context_.now_ms() - old.delivered_ms < options_.min_idle_ms) {
    return Result::kNothing;
  }
  Pending pending = had ? old : Pending{.id = id, .deliveries = 1};
  pending.delivered_ms = options_.delivered_ms;
  pending.consumer = consumer_.number;
  if (options_.deliveries >= 0) {
    pending.deliveries = static_cast<uint64_t>(options_.deliveries);
  } else if (!options_.just_id) {
    ++pending.deliveries;
  }
  if (options_.just_id) {
    ReplyStreamId(context_.reply, id);
  } else {
    stream_.ForEach({.first = id, .last = id}, [&](const StreamPage::Cursor& entry) {
      ReplyStreamEntry(context_.reply, entry);
    });
  }
  groups_.Put(group_, pending, had ? &old : nullptr);
  if (had) {
    CountOwner(old.consumer, -1);
  } else {
    ++group_.pending;
  }
  CountOwner(consumer_.number, 1);
  consumer_.active_ms = context_.now_ms();
  NoteGroupChange(context_);
  return Result::kClaimed;
}

struct ClaimArguments {
  Claim::Options options;
  std::vector<StreamId> ids;
  StreamId last_id;
};

bool ParseClaimOptionsOr(CommandContext& context, size_t at, ClaimArguments* claim) {
  const auto args = context.args;
  Claim::Options& options = claim->options;
  int64_t delivered = -1;
  const int64_t now = context.now_ms();
  for (; at < args.size(); ++at) {
    const bool more = at + 1 < args.size();
    const std::string_view option = args[at];
    if (EqualsIgnoreCase(option, "force")) {
      options.force = true;
    } else if (EqualsIgnoreCase(option, "justid")) {
      options.just_id = true;
    } else if (more && EqualsIgnoreCase(option, "idle")) {
      if (!ParseIntegerOr(context, args[++at], &delivered,
                          "ERR Invalid IDLE option argument for XCLAIM")) {
        return false;
      }
      if (__builtin_sub_overflow(now, delivered, &delivered)) delivered = now;
    } else if (more && EqualsIgnoreCase(option, "time")) {
      if (!ParseIntegerOr(context, args[++at], &delivered,
                          "ERR Invalid TIME option argument for XCLAIM")) {
        return false;
      }
    } else if (more && EqualsIgnoreCase(option, "retrycount")) {
      if (!ParseIntegerOr(context, args[++at], &options.deliveries,
                          "ERR Invalid RETRYCOUNT option argument for XCLAIM")) {
        return false;
      }
    } else if (more && EqualsIgnoreCase(option, "lastid")) {
      if (!ParseStreamIdOr(context, args[++at], &claim->last_id)) return false;
    } else {
      context.reply.Error("ERR Unrecognized XCLAIM option '" + std::string(UpToNul(option)) + "'");
      return false;
    }
  }
  options.delivered_ms = delivered < 0 || delivered > now ? now : delivered;
  return true;
}

bool ParseClaimOr(CommandContext& context, ClaimArguments* claim) {
  const auto args = context.args;
  if (!ParseIntegerOr(context, args[4], &claim->options.min_idle_ms,
                      "ERR Invalid min-idle-time argument for XCLAIM")) {
    return false;
  }
  size_t at = 5;
  ParsedStreamId parsed;
  for (; at < args.size() && ParseStreamId(args[at], {}, &parsed); ++at) {
    claim->ids.push_back(parsed.id);
  }
  return ParseClaimOptionsOr(context, at, claim);
}

struct AutoClaimArguments {
  Claim::Options options;
  StreamId start;
  int64_t count = 100;
};

bool ParseAutoClaimOr(CommandContext& context, AutoClaimArguments* claim) {
  const auto args = context.args;
  if (!ParseIntegerOr(context, args[4], &claim->options.min_idle_ms,
                      "ERR Invalid min-idle-time argument for XAUTOCLAIM")) {
    return false;
  }
  claim->options.delivered_ms = context.now_ms();
  if (!ParseRangeStartOr(context, args[5], &claim->start)) return false;
  for (size_t i = 6; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "count") && i + 1 < args.size()) {
      if (!ParseRangeOr(context, args[++i], {1, INT64_MAX / 16}, &claim->count,
                        "ERR COUNT must be > 0")) {
        return false;
      }
    } else if (EqualsIgnoreCase(args[i], "justid")) {
      claim->options.just_id = true;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

struct PendingArguments {
  bool summary = false;
  int64_t min_idle_ms = 0;
  StreamId first;
  StreamId last;
  int64_t count = 0;
  std::optional<std::string_view> consumer;
};

bool ParsePendingOr(CommandContext& context, PendingArguments* parsed) {
  const auto args = context.args;
  parsed->summary = args.size() == 3;
  if (parsed->summary) return true;
  size_t at = 3;
  const bool with_idle = args.size() > 4 && EqualsIgnoreCase(args[3], "idle");
  if (args.size() < 6 || args.size() > 9) {
    context.reply.Error(kSyntaxError);
    return false;
  }
  if (with_idle) {
    if (!ParseIntegerOr(context, args[4], &parsed->min_idle_ms)) return false;
    if (args.size() < 8) {
      context.reply.Error(kSyntaxError);
      return false;
    }
    at += 2;
  }
  if (!ParseIntegerOr(context, args[at + 2], &parsed->count)) return false;
  if (!ParseRangeStartOr(context, args[at], &parsed->first)) return false;
  if (!ParseRangeEndOr(context, args[at + 1], &parsed->last)) return false;
  if (at + 3 < args.size()) parsed->consumer = args[at + 3];
  return true;
}

void ReplySummary(CommandContext& context, StreamGroups& groups, const Group& group) {
  Reply& reply = context.reply;
  if (group.pending == 0) {
    reply.ArrayHeader(4);
    reply.Integer(0);
    reply.Null();
    reply.Null();
    return reply.NullArray();
  }
  StreamId first;
  StreamId last;
  bool all = groups.ForEachPending(group, kMinStreamId, [&](const Pending& pending) {
    first = pending.id;
    return false;
  });
  all &= groups.FindLastPending(group, &last);
  std::vector<std::pair<std::string, uint64_t>> consumers;
  all &= groups.ForEachConsumer(group, [&](std::string_view name, const Consumer& consumer) {
    if (consumer.pending > 0) consumers.emplace_back(name, consumer.pending);
    return true;
  });
  if (!all) return;
  reply.ArrayHeader(4);
  reply.Integer(static_cast<int64_t>(group.pending));
  ReplyStreamId(reply, first);
  ReplyStreamId(reply, last);
  reply.ArrayHeader(static_cast<int64_t>(consumers.size()));
  for (const auto& [name, pending] : consumers) {
    reply.ArrayHeader(2);
    reply.Bulk(name);
    reply.BulkInteger(static_cast<int64_t>(pending));
  }
}

// The pending entries that XPENDING lists. False if pages are missing.
bool ListPending(CommandContext& context, StreamGroups& groups, const Group& group,
                 const PendingArguments& arguments, std::vector<Pending>* list) {
  if (arguments.count <= 0) return true;
  bool all = true;
  auto visit = [&](const Pending& pending) {
    if (pending.id > arguments.last) return false;
    if (context.now_ms() - pending.delivered_ms < arguments.min_idle_ms) return true;
    list->push_back(pending);
    return static_cast<int64_t>(list->size()) < arguments.count;
  };
  if (!arguments.consumer) return groups.ForEachPending(group, arguments.first, visit);
  Consumer consumer;
  const Lookup lookup = groups.FindConsumer(group, *arguments.consumer, &consumer);
  if (lookup != Lookup::kPresent) return lookup == Lookup::kAbsent;
  const bool walked =
      groups.ForEachPendingOf(group, consumer.number, arguments.first, [&](StreamId id) {
        if (id > arguments.last) return false;
        Pending pending;
        const Lookup found = groups.FindPending(group, id, &pending);
        all &= found != Lookup::kMissing;
        return found != Lookup::kPresent || visit(pending);
      });
  return walked && all;
}

// Entries that are pending no longer. Counts are written once per consumer; mostly there is one.
class Acknowledgement {
 public:
  Acknowledgement(StreamGroups& groups, const Group& group) : groups_(groups), group_(group) {}

  // False if pages are missing.
  bool Locate(const std::vector<StreamId>& ids) {
    bool all = true;
    pending_.reserve(ids.size());
    for (StreamId id : ids) {
      Pending pending;
      const Lookup found = groups_.FindPending(group_, id, &pending);
      all &= found != Lookup::kMissing;
      if (found != Lookup::kPresent) continue;
      all &= LocateOwner(pending);
      pending_.push_back(pending);
    }
    if (!all) return false;
    // An id may have been named twice. Neighbours are removed together.
    const auto less = [](const Pending& a, const Pending& b) { return a.id < b.id; };
    if (!std::is_sorted(pending_.begin(), pending_.end(), less)) {
      std::sort(pending_.begin(), pending_.end(), less);
    }
    const auto same = [](const Pending& a, const Pending& b) { return a.id == b.id; };
    pending_.erase(std::unique(pending_.begin(), pending_.end(), same), pending_.end());
    return true;
  }
  // Returns how many entries it has removed.
  uint64_t Run() {
    const std::span<const Pending> all(pending_);
    for (size_t begin = 0; begin < all.size();) {
      size_t end = begin + 1;
      while (end < all.size() && all[end].consumer == all[begin].consumer) ++end;
      groups_.Remove(group_, all.subspan(begin, end - begin));
      for (Owner& owner : owners_) {
        if (owner.number == all[begin].consumer) owner.consumer.pending -= end - begin;
      }
      begin = end;
    }
    for (const Owner& owner : owners_) groups_.Store(group_, owner.name, owner.consumer);
    return all.size();
  }
  // Whether it has removed an entry: the first time that it is asked about this one.
  bool Claim(StreamId id) {
    claimed_.resize(pending_.size());
    const auto less = [](const Pending& pending, StreamId id) { return pending.id < id; };
    const auto found = std::lower_bound(pending_.begin(), pending_.end(), id, less);
    if (found == pending_.end() || found->id != id) return false;
    return !std::exchange(claimed_[static_cast<size_t>(found - pending_.begin())], true);
  }

 private:
  struct Owner {
    uint32_t number = 0;
    std::string name;
    Consumer consumer;
  };
  bool LocateOwner(const Pending& pending) {
    if (!groups_.WantOwned(group_, pending)) return false;
    for (const Owner& owner : owners_) {
      if (owner.number == pending.consumer) return true;
    }
    Owner owner{.number = pending.consumer, .name = {}, .consumer = {}};
    Lookup lookup = groups_.FindConsumerName(group_, owner.number, &owner.name);
    if (lookup == Lookup::kPresent) {
      lookup = groups_.FindConsumer(group_, owner.name, &owner.consumer);
    }
    if (lookup == Lookup::kPresent) owners_.push_back(std::move(owner));
    return lookup != Lookup::kMissing;
  }

  StreamGroups& groups_;
  const Group& group_;
  std::vector<Pending> pending_;
  std::vector<char> claimed_;
  std::vector<Owner> owners_;
};

}  // namespace

void XAckCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!stream.ok()) return;
  if (!stream.exists()) return context.reply.Integer(0);
  StreamGroups groups(stream.pages());
  Group group;
  const Lookup lookup = groups.FindGroup(context.args[2], &group);
  if (lookup == Lookup::kMissing) return;
  if (lookup == Lookup::kAbsent) return context.reply.Integer(0);
  std::vector<StreamId> ids;
  if (!ParseStreamIdsOr(context, 3, &ids)) return;
  Acknowledgement acknowledgement(groups, group);
  if (!acknowledgement.Locate(ids)) return;
  const uint64_t acknowledged = acknowledgement.Run();
  context.reply.Integer(static_cast<int64_t>(acknowledged));
  if (acknowledged == 0) return;
  group.pending -= acknowledged;
  groups.Store(context.args[2], group);
  NoteGroupChange(context, acknowledged);
}

bool MergedXAck(CommandContext& context, std::span<const ParsedRequest> requests) {
  const std::string_view name = context.args[2];
  std::vector<StreamId> ids;
  ids.reserve(requests.size());
  for (const ParsedRequest& request : requests) {
    if (request.args[2] != name) return false;
    for (size_t i = 3; i < request.args.size(); ++i) {
      ParsedStreamId parsed;
      if (!ParseStreamId(request.args[i], {}, &parsed)) return false;
      ids.push_back(parsed.id);
    }
  }
  Database& db = context.db();
  constexpr Database::LookupOptions kUnseen = {.touch = false, .count_hit = false};
  if (db.Lookup(context.key(), kUnseen).type != ValueType::kStream) return false;
  OpenStream stream(context, OpenStream::Use::kWrite);
  StreamGroups groups(stream.pages());
  Group group;
  if (groups.FindGroup(name, &group) != Lookup::kPresent) return false;
  Acknowledgement acknowledgement(groups, group);
  if (!acknowledgement.Locate(ids)) return false;
  const uint64_t acknowledged = acknowledgement.Run();
  // Each counts a hit.
  for (size_t i = 0; i < requests.size(); ++i) LookupForRead(context, context.key());
  auto id = ids.begin();
  for (const ParsedRequest& request : requests) {
    int64_t count = 0;
    for (size_t i = 3; i < request.args.size(); ++i) count += acknowledgement.Claim(*id++) ? 1 : 0;
    context.reply.Integer(count);
  }
  if (acknowledged == 0) return true;
  group.pending -= acknowledged;
  groups.Store(name, group);
  NoteGroupChange(context, acknowledged);
  return true;
}

void XClaimCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!stream.ok()) return;
  Group group;
  if (FindGroup(context, stream, &group) != Lookup::kPresent) return;
  ClaimArguments arguments;
  if (!ParseClaimOr(context, &arguments)) return;
  Claim claim(context, stream, group, arguments.options);
  bool all = claim.LocateConsumer();
  for (StreamId id : arguments.ids) all &= claim.Locate(id);
  if (!all) return;
  if (arguments.last_id > group.last_id) {
    claim.group().last_id = arguments.last_id;
    NoteGroupChange(context);
  }
  claim.Begin();
  const uint64_t mark = context.reply.DeferHeader();
  int64_t claimed = 0;
  for (StreamId id : arguments.ids) claimed += claim.Take(id) == Claim::Result::kClaimed ? 1 : 0;
  context.reply.ResolveHeader(mark, Reply::Collection::kArray, claimed);
  claim.End();
}

void XAutoClaimCommand(CommandContext& context) {
  constexpr int64_t kAttemptsPerEntry = 10;
  AutoClaimArguments arguments;
  if (!ParseAutoClaimOr(context, &arguments)) return;
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!stream.ok()) return;
  Group group;
  if (FindGroup(context, stream, &group) != Lookup::kPresent) return;
  Claim claim(context, stream, group, arguments.options);
  bool all = claim.LocateConsumer();
  // What will be taken, and the entry behind it.
  std::vector<StreamId> ids;
  StreamId next;
  int64_t attempts = arguments.count * kAttemptsPerEntry;
  int64_t left = arguments.count;
  all &= claim.groups().ForEachPending(group, arguments.start, [&](const Pending& pending) {
    if (attempts-- == 0 || left == 0) {
      next = pending.id;
      return false;
    }
    const auto found = stream.value().Find(pending.id);
    all &= found != StreamValue::Lookup::kMissing;
    const bool young = context.now_ms() - pending.delivered_ms < arguments.options.min_idle_ms;
    if (found == StreamValue::Lookup::kPresent && young) return true;
    all &= claim.Locate(pending.id);
    ids.push_back(pending.id);
    --left;
    return true;
  });
  if (!all) return;
  claim.Begin();
  context.reply.ArrayHeader(3);
  ReplyStreamId(context.reply, next);
  const uint64_t mark = context.reply.DeferHeader();
  int64_t claimed = 0;
  std::vector<StreamId> gone;
  for (StreamId id : ids) {
    const Claim::Result result = claim.Take(id);
    claimed += result == Claim::Result::kClaimed ? 1 : 0;
    if (result == Claim::Result::kGone) gone.push_back(id);
  }
  context.reply.ResolveHeader(mark, Reply::Collection::kArray, claimed);
  context.reply.ArrayHeader(static_cast<int64_t>(gone.size()));
  for (StreamId id : gone) ReplyStreamId(context.reply, id);
  claim.End();
}

void XPendingCommand(CommandContext& context) {
  PendingArguments arguments;
  if (!ParsePendingOr(context, &arguments)) return;
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!stream.ok()) return;
  Group group;
  if (FindGroup(context, stream, &group) != Lookup::kPresent) return;
  StreamGroups groups(stream.pages());
  if (arguments.summary) return ReplySummary(context, groups, group);
  std::vector<Pending> list;
  if (!ListPending(context, groups, group, arguments, &list)) return;
  std::map<uint32_t, std::string> names;
  bool all = true;
  for (const Pending& pending : list) {
    auto [name, is_new] = names.try_emplace(pending.consumer);
    if (!is_new) continue;
    all &= groups.FindConsumerName(group, pending.consumer, &name->second) != Lookup::kMissing;
  }
  if (!all) return;
  Reply& reply = context.reply;
  reply.ArrayHeader(static_cast<int64_t>(list.size()));
  for (const Pending& pending : list) {
    reply.ArrayHeader(4);
    ReplyStreamId(reply, pending.id);
    reply.Bulk(names[pending.consumer]);
    reply.Integer(std::max<int64_t>(context.now_ms() - pending.delivered_ms, 0));
    reply.Integer(static_cast<int64_t>(pending.deliveries));
  }
}

}  // namespace firn::server
