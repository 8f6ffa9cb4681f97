// XREAD and XREADGROUP.
#include <algorithm>
#include <cstring>
#include <optional>

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
    opened_.reset();
    Block();
  }

 private:
  // A stream while it is located or served. A single one stays as it is in between.
  struct Opened {
    Opened(CommandContext& context, const HashedKey& key, OpenStream::Use use)
        : stream(context, key, use), groups(stream.pages()) {}
    OpenStream stream;
    StreamGroups groups;  // if the stream exists
    StreamGroups::Group group;
    StreamGroups::Consumer consumer;
    bool has_consumer = false;
    // What is to be answered, if `collected`; else it is walked over once more.
    bool collected = false;
    std::vector<StreamPage::Cursor> entries;
    bool some_pending = false;  // some of the entries are pending already
  };
  // So many entries are kept between locating and serving.
  static constexpr uint64_t kMostCollected = 1000;

  bool single() const { return read_.streams == 1; }
  // These answer false if pages are missing, or they have replied with an error.
  bool ParseSourceIdOr(size_t i, const std::string* state, OpenStream& stream, Source* source);
  bool Locate(size_t i, const std::string* state);
  bool LocateGroupOr(const Source& source);
  bool LocateReading(Source* source);
  bool LocateNew(Source* source);
  bool LocateEntries(const StreamRange& range, bool* any);
  bool LocatePending(const StreamRange& range);
  bool LocateHistory(const Source& source);
  // REQUIRES: opened_ is what Locate left, or FindAgain has been called.
  void FindAgain(const Source& source);
  void Serve(const Source& source);
  void ServeGroup(const Source& source);
  void DeliverPending(const std::vector<StreamId>& ids);
  void ServeHistory(const Source& source);
  void ReplyName(const Source& source) {
    if (context_.reply.protocol() == 2) context_.reply.ArrayHeader(2);
    context_.reply.Bulk(source.name);
  }
  void ReplyEntries(const StreamRange& range, std::vector<StreamId>* ids);
  void Block();

  CommandContext& context_;
  const ReadArguments& read_;
  std::vector<Source> sources_;
  std::optional<Opened> opened_;
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
  opened_.emplace(context_, source.key, OpenStream::Use::kRead);
  OpenStream& stream = opened_->stream;
  if (!stream.ok()) return false;
  source.exists = stream.exists();
  if (read_.with_group && !LocateGroupOr(source)) return false;
  if (!ParseSourceIdOr(i, state, stream, &source)) return false;
  if (!source.exists) return true;
  const bool located = LocateReading(&source);
  if (!single()) opened_.reset();
  return located;
}

bool Reader::LocateGroupOr(const Source& source) {
  StreamGroups::Lookup lookup = StreamGroups::Lookup::kAbsent;
  if (source.exists) lookup = opened_->groups.FindGroup(read_.group, &opened_->group);
  if (lookup == StreamGroups::Lookup::kAbsent) {
    context_.reply.Error("NOGROUP No such key '" + std::string(UpToNul(source.name)) +
                         "' or consumer group '" + std::string(UpToNul(read_.group)) +
                         "' in XREADGROUP with GROUP option");
  }
  return lookup == StreamGroups::Lookup::kPresent;
}

bool Reader::LocateReading(Source* source) {
  StreamValue& value = opened_->stream.value();
  if (!read_.with_group) {
    if (value.length() == 0 || value.last_id() <= source->after) return true;
    return LocateEntries(RangeAfter(source->after, read_.limit), &source->serve);
  }
  StreamGroups& groups = opened_->groups;
  StreamGroups::Consumer& consumer = opened_->consumer;
  consumer.number = opened_->group.next_consumer;
  const auto lookup = groups.FindConsumer(opened_->group, read_.consumer, &consumer);
  if (lookup == StreamGroups::Lookup::kMissing) return false;
  opened_->has_consumer = lookup == StreamGroups::Lookup::kPresent;
  if (!opened_->has_consumer && !groups.WantConsumer(opened_->group, read_.consumer)) return false;
  if (source->is_new) return LocateNew(source);
  source->serve = true;
  return LocateHistory(*source);
}

// Also tells whether there are any entries.
bool Reader::LocateEntries(const StreamRange& range, bool* any) {
  const uint64_t limit = MaxReplyBytes(context_);
  uint64_t bytes = 0;
  bool fits = true;
  opened_->collected = single() && range.limit <= kMostCollected;
  opened_->entries.clear();
  if (opened_->collected) opened_->entries.reserve(std::min<uint64_t>(range.limit, 16));
  *any = false;
  const bool all = opened_->stream.value().Walk(range, [&](const StreamPage::Cursor& entry) {
    *any = true;
    bytes += StreamEntryReplyBytes(entry);
    fits = bytes <= limit;
    if (opened_->collected) opened_->entries.push_back(entry);
    return fits;
  });
  if (!fits) context_.reply.Error(kOutOfMemoryError);
  return all && fits;
}

bool Reader::LocateNew(Source* source) {
  StreamValue& value = opened_->stream.value();
  const StreamId last = opened_->group.last_id;
  if (value.length() == 0 || value.last_id() <= last) return true;
  StreamCounters counters;
  if (!StreamCounters::Read(value, &counters)) return false;
  source->after = last;
  // A key that is named again goes on where it was left, if that leaves any entries.
  const uint64_t times = source->earlier + 1;
  const bool all_at_once = read_.limit > UINT64_MAX / times;
  StreamRange range = RangeAfter(last, all_at_once ? UINT64_MAX : read_.limit * times);
  range.goes_on = true;
  if (!LocateEntries(range, &source->serve)) return false;
  if (source->serve && source->earlier > 0) {
    uint64_t entries = 0;
    value.ForEach(range, [&](const StreamPage::Cursor&) { ++entries; });
    source->serve = !all_at_once && entries > read_.limit * source->earlier;
  }
  if (!source->serve || read_.no_ack) return true;
  return LocatePending(range);
}

bool Reader::LocatePending(const StreamRange& range) {
  StreamGroups& groups = opened_->groups;
  const StreamGroups::Group& group = opened_->group;
  const uint32_t consumer = opened_->consumer.number;
  std::vector<StreamGroups::Pending> wanted;
  auto note = [&](const StreamPage::Cursor& entry) { wanted.push_back({.id = entry.id()}); };
  if (opened_->collected) {
    wanted.reserve(opened_->entries.size());
    for (const StreamPage::Cursor& entry : opened_->entries) note(entry);
  } else {
    opened_->stream.value().ForEach(range, note);
  }
  const auto found = groups.WantNew(group, consumer, wanted);
  opened_->some_pending = found == StreamGroups::Lookup::kPresent;
  if (!opened_->some_pending) return found == StreamGroups::Lookup::kAbsent;
  bool all = true;
  for (const StreamGroups::Pending& entry : wanted) {
    StreamGroups::Pending old;
    if (groups.FindPending(group, entry.id, &old) != StreamGroups::Lookup::kPresent) continue;
    all &= groups.WantPending(group, old.consumer, entry.id);
    all &= groups.WantOwner(group, old.consumer);
  }
  return all;
}

bool Reader::LocateHistory(const Source& source) {
  StreamGroups& groups = opened_->groups;
  uint64_t left = read_.limit;
  bool all = true;
  const StreamId first = RangeAfter(source.after, 0).first;
  const uint32_t consumer = opened_->consumer.number;
  const bool walked = groups.ForEachPendingOf(opened_->group, consumer, first, [&](StreamId id) {
    all &= groups.WantPending(opened_->group, consumer, id);
    all &= opened_->stream.value().Want({.first = id, .last = id});
    return --left > 0;
  });
  return walked && all;
}

void Reader::ReplyEntries(const StreamRange& range, std::vector<StreamId>* ids) {
  const uint64_t mark = context_.reply.DeferHeader();
  int64_t count = 0;
  auto answer = [&](const StreamPage::Cursor& entry) {
    ReplyStreamEntry(context_.reply, entry);
    if (ids != nullptr) ids->push_back(entry.id());
    ++count;
  };
  if (opened_->collected) {
    for (const StreamPage::Cursor& entry : opened_->entries) answer(entry);
  } else {
    opened_->stream.value().ForEach(range, answer);
  }
  context_.reply.ResolveHeader(mark, Reply::Collection::kArray, count);
}

void Reader::FindAgain(const Source& source) {
  opened_.emplace(context_, source.key, OpenStream::Use::kWrite);
  if (!read_.with_group) return;
  using Lookup = StreamGroups::Lookup;
  StreamGroups& groups = opened_->groups;
  CHECK(groups.FindGroup(read_.group, &opened_->group) == Lookup::kPresent);
  opened_->has_consumer =
      groups.FindConsumer(opened_->group, read_.consumer, &opened_->consumer) == Lookup::kPresent;
  // Entries that another mention of the key has delivered are behind the group's last id by now.
  opened_->some_pending = true;
}

void Reader::Serve(const Source& source) {
  if (!single()) FindAgain(source);
  if (read_.with_group) {
    ServeGroup(source);
  } else {
    ReplyName(source);
    ReplyEntries(RangeAfter(source.after, read_.limit), nullptr);
  }
  if (!single()) opened_.reset();
}

void Reader::ServeGroup(const Source& source) {
  StreamGroups& groups = opened_->groups;
  StreamGroups::Consumer& consumer = opened_->consumer;
  // What is answered is in pages that the changes may move.
  std::vector<StreamId> ids;
  if (source.serve) ReplyName(source);
  if (source.serve && source.is_new) {
    ReplyEntries(RangeAfter(opened_->group.last_id, read_.limit), &ids);
  }
  if (!opened_->has_consumer) {
    consumer = {.seen_ms = context_.now_ms()};
    groups.CreateConsumer(read_.consumer, &opened_->group, &consumer);
    groups.Store(read_.group, opened_->group);
    NoteGroupChange(context_);
    context_.Notify('t', "xgroup-createconsumer", source.name);
  }
  consumer.seen_ms = context_.now_ms();
  if (source.serve) {
    if (source.is_new) {
      DeliverPending(ids);
    } else {
      ServeHistory(source);
    }
    NoteGroupChange(context_);
  }
  groups.Store(opened_->group, read_.consumer, consumer);
}

// Makes entries that the group has not read yet the consumer's.
void Reader::DeliverPending(const std::vector<StreamId>& ids) {
  StreamGroups& groups = opened_->groups;
  StreamGroups::Group& group = opened_->group;
  StreamGroups::Consumer& consumer = opened_->consumer;
  StreamCounters counters;
  CHECK(StreamCounters::Read(opened_->stream.value(), &counters));
  std::vector<StreamGroups::Pending> delivered;
  if (!read_.no_ack) delivered.reserve(ids.size());
  for (StreamId id : ids) {
    if (group.entries_read != StreamGroups::kUnknownReads && !counters.HasTombstones(id)) {
      ++group.entries_read;
    } else if (counters.entries_added > 0) {
      group.entries_read = counters.EstimateReads(id);
    }
    group.last_id = id;
    if (read_.no_ack) continue;
    delivered.push_back({.id = id,
                         .delivered_ms = context_.now_ms(),
                         .deliveries = 1,
                         .consumer = consumer.number});
  }
  if (!delivered.empty()) consumer.active_ms = context_.now_ms();
  if (!opened_->some_pending) {
    groups.PutNew(group, delivered);
    group.pending += delivered.size();
    consumer.pending += delivered.size();
    delivered.clear();
  }
  for (const StreamGroups::Pending& pending : delivered) {
    StreamGroups::Pending old;
    const bool had = groups.FindPending(group, pending.id, &old) == StreamGroups::Lookup::kPresent;
    groups.Put(group, pending, had ? &old : nullptr);
    if (!had) ++group.pending;
    if (had && old.consumer == consumer.number) continue;
    ++consumer.pending;
    if (had) groups.ChangePendingCount(group, old.consumer, -1);
  }
  groups.Store(read_.group, group);
}

void Reader::ServeHistory(const Source& source) {
  StreamGroups& groups = opened_->groups;
  const StreamGroups::Group& group = opened_->group;
  std::vector<StreamId> ids;
  const StreamId first = RangeAfter(source.after, 0).first;
  CHECK(groups.ForEachPendingOf(group, opened_->consumer.number, first, [&](StreamId id) {
    ids.push_back(id);
    return ids.size() < read_.limit;
  }));
  context_.reply.ArrayHeader(static_cast<int64_t>(ids.size()));
  for (StreamId id : ids) {
    bool found = false;
    opened_->stream.value().ForEach({.first = id, .last = id},
                                    [&](const StreamPage::Cursor& entry) {
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

void Run(CommandContext& context, ReadArguments* read) {
  if (!ParseReadArgumentsOr(context, read)) return;
  // It may have to wait, with its arguments.
  if (read->block && !RunsAtomically(context) && !context.LeavePlace()) return;
  Reader(context, *read).Run();
}

}  // namespace

void XReadCommand(CommandContext& context) {
  ReadArguments read;
  Run(context, &read);
}

void XReadGroupCommand(CommandContext& context) {
  ReadArguments read;
  read.with_group = true;
  Run(context, &read);
}

}  // namespace firn::server
