// XREAD and XREADGROUP.
#include <algorithm>
#include <cstring>

#include "server/blocking.h"
#include "server/client.h"
#include "server/commands/streams.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

struct ReadArguments {
  bool with_group = false;
  std::string_view group;
  std::string_view consumer;
  bool group_given = false;
  bool no_ack = false;
  bool block = false;
  int64_t timeout_ms = 0;
  uint64_t limit = UINT64_MAX;
  size_t first_key = 0;  // its position
  size_t streams = 0;
};

bool ParseBlockMillisOr(CommandContext& context, std::string_view text, int64_t* timeout_ms) {
  if (!ParseIntegerOr(context, text, timeout_ms, "ERR timeout is not an integer or out of range")) {
    return false;
  }
  std::string_view error;
  if (*timeout_ms < 0) error = "ERR timeout is negative";
  if (*timeout_ms > INT64_MAX - context.server.loop().WallMillis()) {
    error = "ERR timeout is out of range";
  }
  if (error.empty()) return true;
  context.reply.Error(error);
  return false;
}

bool CheckStreamsOr(CommandContext& context, const ReadArguments& read) {
  if (read.first_key == 0) {
    context.reply.Error(kSyntaxError);
    return false;
  }
  if (read.with_group && !read.group_given) {
    context.reply.Error("ERR Missing GROUP option for XREADGROUP");
    return false;
  }
  return true;
}

bool ParseStreamsOr(CommandContext& context, size_t first, ReadArguments* read) {
  read->first_key = first;
  read->streams = context.args.size() - first;
  if (read->streams % 2 != 0) {
    context.reply.Error("ERR Unbalanced '" + FullName(context) +
                        "' list of streams: for each stream key an ID or '" +
                        (read->with_group ? ">" : "$") + "' must be specified.");
    return false;
  }
  read->streams /= 2;
  return CheckStreamsOr(context, *read);
}

bool ParseReadArgumentsOr(CommandContext& context, ReadArguments* read) {
  const auto args = context.args;
  for (size_t i = 1; i < args.size(); ++i) {
    const size_t more = args.size() - 1 - i;
    const std::string_view option = args[i];
    std::string_view error;
    if (more >= 1 && EqualsIgnoreCase(option, "block")) {
      if (context.server.scripting().runner().running()) {
        context.reply.Error("ERR " + std::string(context.command.name) +
                            " command is not allowed with BLOCK option from scripts");
        return false;
      }
      if (!ParseBlockMillisOr(context, args[++i], &read->timeout_ms)) return false;
      read->block = true;
    } else if (more >= 1 && EqualsIgnoreCase(option, "count")) {
      int64_t count;
      if (!ParseIntegerOr(context, args[++i], &count)) return false;
      read->limit = count <= 0 ? UINT64_MAX : static_cast<uint64_t>(count);
    } else if (more >= 1 && EqualsIgnoreCase(option, "streams")) {
      return ParseStreamsOr(context, i + 1, read);
    } else if (more >= 2 && EqualsIgnoreCase(option, "group")) {
      if (!read->with_group) {
        error = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
      }
      read->group = args[i + 1];
      read->consumer = args[i + 2];
      read->group_given = true;
      i += 2;
    } else if (EqualsIgnoreCase(option, "noack")) {
      if (!read->with_group) {
        error = "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
      }
      read->no_ack = true;
    } else {
      error = kSyntaxError;
    }
    if (!error.empty()) {
      context.reply.Error(error);
      return false;
    }
  }
  return CheckStreamsOr(context, *read);
}

// One of the streams, as the command wants to read it.
struct Source {
  std::string_view name;
  HashedKey key;
  StreamId after;       // entries with greater ids
  bool is_new = false;  // ">"
  bool exists = false;
  bool serve = false;
  uint64_t earlier = 0;  // how often the key has been named with ">" before
};

// The id of the last entry, 0-0 if there is none. False if pages are missing.
bool TopEntry(StreamValue& stream, StreamId* top) {
  const StreamRange range{.backward = true, .limit = 1};
  if (!stream.Want(range)) return false;
  stream.ForEach(range, [&](const StreamPage::Cursor& entry) { *top = entry.id(); });
  return true;
}

StreamRange RangeAfter(StreamId after, uint64_t limit) {
  // There is nothing after the greatest id; Redis then begins where it was told.
  return {.first = NextStreamId(after).value_or(kMinStreamId), .limit = limit};
}

class Reader {
 public:
  Reader(CommandContext& context, const ReadArguments& read) : context_(context), read_(read) {}

  void Run() {
    const std::string* state = context_.server.blocking().StateOf(context_.client.id());
    sources_.resize(read_.streams);
    for (size_t i = 0; i < sources_.size(); ++i) {
      // Nothing may be answered, not even an error, once a page was missing.
      if (!Locate(i, state)) return;
    }
    const auto served = std::count_if(sources_.begin(), sources_.end(),
                                      [](const Source& source) { return source.serve; });
    if (served > 0) {
      if (context_.reply.protocol() == 2) {
        context_.reply.ArrayHeader(served);
      } else {
        context_.reply.MapHeader(served);
      }
    }
    for (Source& source : sources_) {
      if (source.exists && (source.serve || read_.with_group)) Serve(source);
    }
    if (served > 0) return;
    if (!read_.block) return context_.reply.NullArray();
    Block();
  }

 private:
  // These answer false if pages are missing, or they have replied with an error.
  bool ParseSourceIdOr(size_t i, const std::string* state, OpenStream& stream, Source* source);
  bool Locate(size_t i, const std::string* state);
  bool LocateGroup(OpenStream& stream, Source* source);
  bool LocateNew(OpenStream& stream, StreamGroups& groups, const StreamGroups::Group& group,
                 uint32_t consumer, Source* source);
  bool LocateHistory(OpenStream& stream, StreamGroups& groups, const StreamGroups::Group& group,
                     uint32_t consumer, const Source& source);
  void Serve(const Source& source);
  void ServeGroup(OpenStream& stream, const Source& source);
  void ServeNew(OpenStream& stream, StreamGroups& groups, StreamGroups::Group* group,
                StreamGroups::Consumer* consumer);
  void ServeHistory(OpenStream& stream, StreamGroups& groups, const StreamGroups::Group& group,
                    const StreamGroups::Consumer& consumer, const Source& source);
  void ReplyName(const Source& source) {
    if (context_.reply.protocol() == 2) context_.reply.ArrayHeader(2);
    context_.reply.Bulk(source.name);
  }
  uint64_t ReplyEntries(StreamValue& stream, const StreamRange& range, std::vector<StreamId>* ids);
  void Block();

  CommandContext& context_;
  const ReadArguments& read_;
  std::vector<Source> sources_;
};

bool Reader::ParseSourceIdOr(size_t i, const std::string* state, OpenStream& stream,
                             Source* source) {
  const std::string_view text = context_.args[read_.first_key + read_.streams + i];
  if (text == "$") {
    if (read_.with_group) {
      context_.reply.Error(
          "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history "
          "of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ "
          "ID would just return an empty result set.");
      return false;
    }
    if (state != nullptr && state->size() >= (i + 1) * sizeof(StreamId)) {
      std::memcpy(&source->after, state->data() + i * sizeof(StreamId), sizeof(StreamId));
    } else if (stream.exists()) {
      source->after = stream.value().last_id();
    }
    return true;
  }
  if (text == ">") {
    if (!read_.with_group) {
      context_.reply.Error(
          "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
          "<consumer> option.");
      return false;
    }
    source->is_new = true;
    return true;
  }
  if (!ParseStreamIdOr(context_, text, &source->after)) return false;
  // As in Redis, the greatest id stands for ">".
  source->is_new = read_.with_group && source->after == kMaxStreamId;
  return true;
}

bool Reader::Locate(size_t i, const std::string* state) {
  Source& source = sources_[i];
  source.name = context_.args[read_.first_key + i];
  source.key = context_.key(i);
  for (size_t j = 0; j < i; ++j) {
    if (sources_[j].is_new && sources_[j].name == source.name) ++source.earlier;
  }
  OpenStream stream(context_, source.key, OpenStream::Use::kRead);
  if (!stream.ok()) return false;
  source.exists = stream.exists();
  if (read_.with_group) {
    StreamGroups::Group group;
    StreamGroups::Lookup lookup = StreamGroups::Lookup::kAbsent;
    if (stream.exists()) lookup = StreamGroups(stream.pages()).FindGroup(read_.group, &group);
    if (lookup == StreamGroups::Lookup::kMissing) return false;
    if (lookup == StreamGroups::Lookup::kAbsent) {
      context_.reply.Error("NOGROUP No such key '" + std::string(UpToNul(source.name)) +
                           "' or consumer group '" + std::string(UpToNul(read_.group)) +
                           "' in XREADGROUP with GROUP option");
      return false;
    }
  }
  if (!ParseSourceIdOr(i, state, stream, &source)) return false;
  if (!stream.exists()) return true;
  if (read_.with_group) return LocateGroup(stream, &source);
  StreamValue& value = stream.value();
  if (value.length() == 0 || value.last_id() <= source.after) return true;
  StreamId top;
  if (!TopEntry(value, &top)) return false;
  source.serve = top > source.after;
  if (!source.serve) return true;
  return WantEntries(context_, value, RangeAfter(source.after, read_.limit));
}

bool Reader::LocateGroup(OpenStream& stream, Source* source) {
  StreamGroups groups(stream.pages());
  StreamGroups::Group group;
  CHECK(groups.FindGroup(read_.group, &group) == StreamGroups::Lookup::kPresent);
  StreamGroups::Consumer consumer{.number = group.next_consumer};
  const auto lookup = groups.FindConsumer(group, read_.consumer, &consumer);
  if (lookup == StreamGroups::Lookup::kMissing) return false;
  if (lookup == StreamGroups::Lookup::kAbsent && !groups.WantConsumer(group, read_.consumer)) {
    return false;
  }
  if (source->is_new) return LocateNew(stream, groups, group, consumer.number, source);
  source->serve = true;
  return LocateHistory(stream, groups, group, consumer.number, *source);
}

bool Reader::LocateNew(OpenStream& stream, StreamGroups& groups, const StreamGroups::Group& group,
                       uint32_t consumer, Source* source) {
  StreamValue& value = stream.value();
  if (value.length() == 0 || value.last_id() <= group.last_id) return true;
  StreamId top;
  StreamCounters counters;
  const bool known = StreamCounters::Read(value, &counters);
  if (!TopEntry(value, &top) || !known) return false;
  source->after = group.last_id;
  source->serve = top > group.last_id;
  if (!source->serve) return true;
  // A key that is named again goes on where it was left, if that leaves any entries.
  const uint64_t times = source->earlier + 1;
  const bool all_at_once = read_.limit > UINT64_MAX / times;
  const StreamRange range =
      RangeAfter(group.last_id, all_at_once ? UINT64_MAX : read_.limit * times);
  if (!WantEntries(context_, value, range)) return false;
  if (source->earlier > 0) {
    uint64_t entries = 0;
    value.ForEach(range, [&](const StreamPage::Cursor&) { ++entries; });
    source->serve = !all_at_once && entries > read_.limit * source->earlier;
    if (!source->serve) return true;
  }
  if (read_.no_ack) return true;
  bool all = true;
  value.ForEach(range, [&](const StreamPage::Cursor& entry) {
    all &= groups.WantPending(group, consumer, entry.id());
    StreamGroups::Pending old;
    if (groups.FindPending(group, entry.id(), &old) == StreamGroups::Lookup::kPresent) {
      all &= groups.WantPending(group, old.consumer, entry.id());
      all &= groups.WantOwner(group, old.consumer);
    }
  });
  return all;
}

bool Reader::LocateHistory(OpenStream& stream, StreamGroups& groups,
                           const StreamGroups::Group& group, uint32_t consumer,
                           const Source& source) {
  uint64_t left = read_.limit;
  bool all = true;
  const StreamId first = RangeAfter(source.after, 0).first;
  const bool walked = groups.ForEachPendingOf(group, consumer, first, [&](StreamId id) {
    all &= groups.WantPending(group, consumer, id);
    all &= stream.value().Want({.first = id, .last = id});
    return --left > 0;
  });
  return walked && all;
}

uint64_t Reader::ReplyEntries(StreamValue& stream, const StreamRange& range,
                              std::vector<StreamId>* ids) {
  const uint64_t mark = context_.reply.DeferHeader();
  uint64_t count = 0;
  stream.ForEach(range, [&](const StreamPage::Cursor& entry) {
    ReplyStreamEntry(context_.reply, entry);
    if (ids != nullptr) ids->push_back(entry.id());
    ++count;
  });
  context_.reply.ResolveHeader(mark, Reply::Collection::kArray, static_cast<int64_t>(count));
  return count;
}

void Reader::Serve(const Source& source) {
  OpenStream stream(context_, source.key, OpenStream::Use::kWrite);
  if (read_.with_group) return ServeGroup(stream, source);
  ReplyName(source);
  ReplyEntries(stream.value(), RangeAfter(source.after, read_.limit), nullptr);
}

void Reader::ServeGroup(OpenStream& stream, const Source& source) {
  StreamGroups groups(stream.pages());
  StreamGroups::Group group;
  CHECK(groups.FindGroup(read_.group, &group) == StreamGroups::Lookup::kPresent);
  StreamGroups::Consumer consumer{.seen_ms = context_.now_ms()};
  if (groups.FindConsumer(group, read_.consumer, &consumer) != StreamGroups::Lookup::kPresent) {
    groups.CreateConsumer(read_.consumer, &group, &consumer);
    groups.Store(read_.group, group);
    NoteGroupChange(context_);
    context_.Notify('t', "xgroup-createconsumer", source.name);
  }
  consumer.seen_ms = context_.now_ms();
  if (source.serve) {
    ReplyName(source);
    if (source.is_new) {
      ServeNew(stream, groups, &group, &consumer);
    } else {
      ServeHistory(stream, groups, group, consumer, source);
    }
    NoteGroupChange(context_);
  }
  groups.Store(group, read_.consumer, consumer);
}

void Reader::ServeNew(OpenStream& stream, StreamGroups& groups, StreamGroups::Group* group,
                      StreamGroups::Consumer* consumer) {
  std::vector<StreamId> ids;
  ReplyEntries(stream.value(), RangeAfter(group->last_id, read_.limit), &ids);
  StreamCounters counters;
  CHECK(StreamCounters::Read(stream.value(), &counters));
  for (StreamId id : ids) {
    if (group->entries_read != StreamGroups::kUnknownReads && !counters.HasTombstones(id)) {
      ++group->entries_read;
    } else if (counters.entries_added > 0) {
      group->entries_read = counters.EstimateReads(id);
    }
    group->last_id = id;
    if (read_.no_ack) continue;
    StreamGroups::Pending old;
    const bool had = groups.FindPending(*group, id, &old) == StreamGroups::Lookup::kPresent;
    const StreamGroups::Pending pending{
        .id = id, .delivered_ms = context_.now_ms(), .deliveries = 1, .consumer = consumer->number};
    groups.Put(*group, pending, had ? &old : nullptr);
    consumer->active_ms = context_.now_ms();
    if (!had) ++group->pending;
    if (had && old.consumer == consumer->number) continue;
    ++consumer->pending;
    if (had) groups.ChangePendingCount(*group, old.consumer, -1);
  }
  groups.Store(read_.group, *group);
}

void Reader::ServeHistory(OpenStream& stream, StreamGroups& groups,
                          const StreamGroups::Group& group, const StreamGroups::Consumer& consumer,
                          const Source& source) {
  std::vector<StreamId> ids;
  const StreamId first = RangeAfter(source.after, 0).first;
  CHECK(groups.ForEachPendingOf(group, consumer.number, first, [&](StreamId id) {
    ids.push_back(id);
    return ids.size() < read_.limit;
  }));
  context_.reply.ArrayHeader(static_cast<int64_t>(ids.size()));
  for (StreamId id : ids) {
    bool found = false;
    stream.value().ForEach({.first = id, .last = id}, [&](const StreamPage::Cursor& entry) {
      ReplyStreamEntry(context_.reply, entry);
      found = true;
    });
    if (!found) {
      context_.reply.ArrayHeader(2);
      ReplyStreamId(context_.reply, id);
      context_.reply.NullArray();
      continue;
    }
    StreamGroups::Pending pending;
    CHECK(groups.FindPending(group, id, &pending) == StreamGroups::Lookup::kPresent);
    const StreamGroups::Pending old = pending;
    pending.delivered_ms = context_.now_ms();
    ++pending.deliveries;
    groups.Put(group, pending, &old);
  }
}

void Reader::Block() {
  std::string state;
  for (const Source& source : sources_) {
    state.append(reinterpret_cast<const char*>(&source.after), sizeof source.after);
  }
  BlockOnKeys(context_, {.type = ValueType::kStream,
                         .timeout_ms = read_.timeout_ms,
                         .wake_whatever_type = read_.with_group,
                         .state = std::move(state)});
}

}  // namespace

void XReadCommand(CommandContext& context) {
  ReadArguments read;
  if (ParseReadArgumentsOr(context, &read)) Reader(context, read).Run();
}

void XReadGroupCommand(CommandContext& context) {
  ReadArguments read;
  read.with_group = true;
  if (ParseReadArgumentsOr(context, &read)) Reader(context, read).Run();
}

}  // namespace firn::server
