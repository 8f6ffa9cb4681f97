// XINFO: what is known of a stream, its groups and their consumers.
#include <algorithm>

#include "server/client.h"
#include "server/commands/streams.h"

namespace firn::server {
namespace {

using Group = StreamGroups::Group;
using Consumer = StreamGroups::Consumer;
using Pending = StreamGroups::Pending;
using Lookup = StreamGroups::Lookup;

struct NamedConsumer {
  std::string name;
  Consumer consumer;
  std::vector<Pending> pending;  // as far as they are shown
};
struct NamedGroup {
  std::string name;
  Group group;
  std::vector<Pending> pending;
  std::vector<NamedConsumer> consumers;
};

void ReplyReads(Reply& reply, const Group& group) {
  if (group.entries_read == StreamGroups::kUnknownReads) {
    reply.Null();
  } else {
    reply.Integer(group.entries_read);
  }
}

// How many entries of the stream the group has not read.
void ReplyLag(Reply& reply, const StreamCounters& counters, const Group& group) {
  int64_t reads = group.entries_read;
  if (counters.entries_added == 0) {
    reads = 0;
  } else if (reads == StreamGroups::kUnknownReads || counters.HasTombstones(group.last_id)) {
    reads = counters.EstimateReads(group.last_id);
  }
  if (reads == StreamGroups::kUnknownReads) return reply.Null();
  reply.Integer(static_cast<int64_t>(counters.entries_added) - reads);
}

// False if pages are missing.
bool ListGroups(StreamGroups& groups, std::vector<NamedGroup>* list) {
  return groups.ForEachGroup([&](std::string_view name, const Group& group) {
    list->push_back({.name = std::string(name), .group = group, .pending = {}, .consumers = {}});
    return true;
  });
}

bool ListConsumers(StreamGroups& groups, const Group& group, std::vector<NamedConsumer>* list) {
  return groups.ForEachConsumer(group, [&](std::string_view name, const Consumer& consumer) {
    list->push_back({.name = std::string(name), .consumer = consumer, .pending = {}});
    return true;
  });
}

// Consumers and pending entries, of either at most `limit`; 0: all.
bool ListDetails(StreamGroups& groups, uint64_t limit, NamedGroup* entry) {
  bool all = ListConsumers(groups, entry->group, &entry->consumers);
  all &= groups.ForEachPending(entry->group, kMinStreamId, [&](const Pending& pending) {
    entry->pending.push_back(pending);
    return entry->pending.size() != limit;
  });
  for (NamedConsumer& named : entry->consumers) {
    all &= groups.ForEachPendingOf(
        entry->group, named.consumer.number, kMinStreamId, [&](StreamId id) {
          Pending pending;
          all &= groups.FindPending(entry->group, id, &pending) != Lookup::kMissing;
          named.pending.push_back(pending);
          return named.pending.size() != limit;
        });
  }
  return all;
}

struct StreamFacts {
  StreamCounters counters;
  uint64_t radix_nodes = 0;
};

// False if pages are missing.
bool ReadFacts(StreamValue& stream, StreamFacts* facts) {
  const bool counted = stream.RadixNodes(&facts->radix_nodes);
  return StreamCounters::Read(stream, &facts->counters) && counted;
}

void ReplyFacts(Reply& reply, StreamValue& stream, const StreamFacts& facts) {
  reply.Bulk("length");
  reply.Integer(static_cast<int64_t>(stream.length()));
  reply.Bulk("radix-tree-keys");
  reply.Integer(static_cast<int64_t>(stream.nodes()));
  reply.Bulk("radix-tree-nodes");
  reply.Integer(static_cast<int64_t>(facts.radix_nodes));
  reply.Bulk("last-generated-id");
  ReplyStreamId(reply, stream.last_id());
  reply.Bulk("max-deleted-entry-id");
  ReplyStreamId(reply, stream.max_deleted_id());
  reply.Bulk("entries-added");
  reply.Integer(static_cast<int64_t>(stream.entries_added()));
  reply.Bulk("recorded-first-entry-id");
  ReplyStreamId(reply, facts.counters.first_id);
}

void ReplyShort(CommandContext& context, StreamValue& stream) {
  const StreamRange first{.limit = 1};
  const StreamRange last{.backward = true, .limit = 1};
  StreamFacts facts;
  bool all = ReadFacts(stream, &facts);
  all &= stream.Want(first);
  all &= stream.Want(last);
  if (!all) return;
  Reply& reply = context.reply;
  reply.MapHeader(10);
  ReplyFacts(reply, stream, facts);
  reply.Bulk("groups");
  reply.Integer(stream.groups());
  for (const StreamRange& range : {first, last}) {
    reply.Bulk(range.backward ? "last-entry" : "first-entry");
    bool found = false;
    stream.ForEach(range, [&](const StreamPage::Cursor& entry) {
      ReplyStreamEntry(reply, entry);
      found = true;
    });
    if (!found) reply.Null();
  }
}

void ReplyConsumerDetails(Reply& reply, const NamedConsumer& named) {
  reply.MapHeader(5);
  reply.Bulk("name");
  reply.Bulk(named.name);
  reply.Bulk("seen-time");
  reply.Integer(named.consumer.seen_ms);
  reply.Bulk("active-time");
  reply.Integer(named.consumer.active_ms);
  reply.Bulk("pel-count");
  reply.Integer(static_cast<int64_t>(named.consumer.pending));
  reply.Bulk("pending");
  reply.ArrayHeader(static_cast<int64_t>(named.pending.size()));
  for (const Pending& pending : named.pending) {
    reply.ArrayHeader(3);
    ReplyStreamId(reply, pending.id);
    reply.Integer(pending.delivered_ms);
    reply.Integer(static_cast<int64_t>(pending.deliveries));
  }
}

void ReplyGroupDetails(Reply& reply, const StreamCounters& counters, const NamedGroup& entry) {
  reply.MapHeader(7);
  reply.Bulk("name");
  reply.Bulk(entry.name);
  reply.Bulk("last-delivered-id");
  ReplyStreamId(reply, entry.group.last_id);
  reply.Bulk("entries-read");
  ReplyReads(reply, entry.group);
  reply.Bulk("lag");
  ReplyLag(reply, counters, entry.group);
  reply.Bulk("pel-count");
  reply.Integer(static_cast<int64_t>(entry.group.pending));
  reply.Bulk("pending");
  reply.ArrayHeader(static_cast<int64_t>(entry.pending.size()));
  for (const Pending& pending : entry.pending) {
    reply.ArrayHeader(4);
    ReplyStreamId(reply, pending.id);
    auto owner = std::find_if(
        entry.consumers.begin(), entry.consumers.end(),
        [&](const NamedConsumer& named) { return named.consumer.number == pending.consumer; });
    reply.Bulk(owner == entry.consumers.end() ? std::string_view() : owner->name);
    reply.Integer(pending.delivered_ms);
    reply.Integer(static_cast<int64_t>(pending.deliveries));
  }
  reply.Bulk("consumers");
  reply.ArrayHeader(static_cast<int64_t>(entry.consumers.size()));
  for (const NamedConsumer& named : entry.consumers) ReplyConsumerDetails(reply, named);
}

void ReplyFull(CommandContext& context, OpenStream& open, uint64_t limit) {
  StreamValue& stream = open.value();
  StreamGroups groups(open.pages());
  const StreamRange range{.limit = limit == 0 ? UINT64_MAX : limit};
  StreamFacts facts;
  if (!ReadFacts(stream, &facts) || !WantEntries(context, stream, range)) return;
  std::vector<NamedGroup> list;
  bool all = ListGroups(groups, &list);
  for (NamedGroup& entry : list) all &= ListDetails(groups, limit, &entry);
  if (!all) return;
  Reply& reply = context.reply;
  reply.MapHeader(9);
  ReplyFacts(reply, stream, facts);
  reply.Bulk("entries");
  const uint64_t mark = reply.DeferHeader();
  int64_t entries = 0;
  stream.ForEach(range, [&](const StreamPage::Cursor& entry) {
    ReplyStreamEntry(reply, entry);
    ++entries;
  });
  reply.ResolveHeader(mark, Reply::Collection::kArray, entries);
  reply.Bulk("groups");
  reply.ArrayHeader(static_cast<int64_t>(list.size()));
  for (const NamedGroup& entry : list) ReplyGroupDetails(reply, facts.counters, entry);
}

// The stream args[2]; answers if there is none.
bool CheckStreamOr(CommandContext& context, const OpenStream& stream) {
  if (stream.ok() && !stream.exists()) context.reply.Error(kNoSuchKeyError);
  return stream.ok() && stream.exists();
}

}  // namespace

void XInfoStreamCommand(CommandContext& context) {
  const auto options = context.args.subspan(3);
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!CheckStreamOr(context, stream)) return;
  if (options.empty()) return ReplyShort(context, stream.value());
  if ((options.size() != 1 && options.size() != 3) || !EqualsIgnoreCase(options[0], "full")) {
    return SubcommandError(context);
  }
  int64_t count = 10;
  if (options.size() == 3) {
    if (!EqualsIgnoreCase(options[1], "count")) return SubcommandError(context);
    if (!ParseIntegerOr(context, options[2], &count)) return;
    if (count < 0) count = 10;
  }
  ReplyFull(context, stream, static_cast<uint64_t>(count));
}

void XInfoGroupsCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!CheckStreamOr(context, stream)) return;
  StreamGroups groups(stream.pages());
  StreamCounters counters;
  std::vector<NamedGroup> list;
  const bool counted = StreamCounters::Read(stream.value(), &counters);
  if (!ListGroups(groups, &list) || !counted) return;
  Reply& reply = context.reply;
  reply.ArrayHeader(static_cast<int64_t>(list.size()));
  for (const NamedGroup& entry : list) {
    reply.MapHeader(6);
    reply.Bulk("name");
    reply.Bulk(entry.name);
    reply.Bulk("consumers");
    reply.Integer(entry.group.consumers);
    reply.Bulk("pending");
    reply.Integer(static_cast<int64_t>(entry.group.pending));
    reply.Bulk("last-delivered-id");
    ReplyStreamId(reply, entry.group.last_id);
    reply.Bulk("entries-read");
    ReplyReads(reply, entry.group);
    reply.Bulk("lag");
    ReplyLag(reply, counters, entry.group);
  }
}

void XInfoConsumersCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!CheckStreamOr(context, stream)) return;
  StreamGroups groups(stream.pages());
  Group group;
  const Lookup lookup = groups.FindGroup(context.args[3], &group);
  if (lookup == Lookup::kAbsent) {
    context.reply.Error("NOGROUP No such consumer group '" + std::string(UpToNul(context.args[3])) +
                        "' for key name '" + std::string(UpToNul(context.args[2])) + "'");
  }
  if (lookup != Lookup::kPresent) return;
  std::vector<NamedConsumer> list;
  if (!ListConsumers(groups, group, &list)) return;
  const int64_t now = context.now_ms();
  Reply& reply = context.reply;
  reply.ArrayHeader(static_cast<int64_t>(list.size()));
  for (const NamedConsumer& named : list) {
    const Consumer& consumer = named.consumer;
    reply.MapHeader(4);
    reply.Bulk("name");
    reply.Bulk(named.name);
    reply.Bulk("pending");
    reply.Integer(static_cast<int64_t>(consumer.pending));
    reply.Bulk("idle");
    reply.Integer(std::max<int64_t>(now - consumer.seen_ms, 0));
    reply.Bulk("inactive");
    reply.Integer(consumer.active_ms == -1 ? -1 : now - consumer.active_ms);
  }
}

void XInfoHelpCommand(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"CONSUMERS <key> <groupname>", "List the consumers of a group."},
      {"GROUPS <key>", "List the consumer groups of a stream."},
      {"STREAM <key> [FULL [COUNT <count>]]", "Tell what is known of a stream."}};
  ReplyHelp(context, "XINFO", kLines);
}

}  // namespace firn::server
