#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "server/client.h"
#include "server/commands/streams.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr size_t kMaxIdText = 127;
constexpr size_t kIdTextRoom = 48;

std::string_view PutStreamId(StreamId id, char (&text)[kIdTextRoom]) {
  char* at = std::to_chars(text, text + sizeof text, id.ms).ptr;
  *at++ = '-';
  at = std::to_chars(at, text + sizeof text, id.seq).ptr;
  return {text, at};
}

// A number as Redis takes it: what strtoull understands, but nothing negative.
bool ParseUnsigned(const char* text, uint64_t* value) {
  const char* end = text + std::char_traits<char>::length(text);
  auto [at, error] = std::from_chars(text, end, *value);
  if (error == std::errc() && at == end && end != text) return true;
  if (*text == '\0') return false;
  char* rest = nullptr;
  errno = 0;
  *value = std::strtoull(text, &rest, 10);
  return errno == 0 && rest != text && *rest == '\0';
}

// "<ms>-<seq>" in digits alone, as nearly all ids are given.
bool ParsePlainId(std::string_view text, StreamId* id) {
  const char* end = text.data() + text.size();
  const auto [dash, ms_error] = std::from_chars(text.data(), end, id->ms);
  if (ms_error != std::errc() || dash == end || *dash != '-') return false;
  const auto [at, seq_error] = std::from_chars(dash + 1, end, id->seq);
  return seq_error == std::errc() && at == end;
}

bool ParseRangeId(CommandContext& context, std::string_view text, uint64_t missing_seq, bool* open,
                  StreamId* id) {
  *open = text.size() > 1 && text[0] == '(';
  ParsedStreamId parsed;
  if (!ParseStreamId(text.substr(*open ? 1 : 0), {.missing_seq = missing_seq, .strict = *open},
                     &parsed)) {
    context.reply.Error(kInvalidStreamId);
    return false;
  }
  *id = parsed.id;
  return true;
}

}  // namespace

OpenStream::OpenStream(CommandContext& context, const HashedKey& key, Use use)
    : context_(context),
      key_(key),
      pages_(context.db(), key, ValueType::kStream,
             {.touch = !context.client.no_touch(), .count_hit = use == Use::kRead}),
      value_(&pages_) {
  if (!ok()) {
    context.reply.Error(kWrongTypeError);
  } else if (use == Use::kRead && !exists()) {
    context.Notify('m', "keymiss", key.bytes);
  }
}

void OpenStream::Changed(std::string_view event) {
  context_.Modified(key_);
  context_.Notify('t', event, key_.bytes);
}

StreamLimits StreamLimitsOf(const CommandContext& context) {
  const OptionValues& options = context.server.options().values();
  return {.node_max_bytes = static_cast<uint64_t>(options.stream_node_max_bytes),
          .node_max_entries =
              static_cast<uint64_t>(std::max<int64_t>(options.stream_node_max_entries, 0))};
}

void NoteGroupChange(CommandContext& context, uint64_t changes) {
  context.server.stats().changes += changes;
}

// --- ids

bool ParseStreamId(std::string_view text, const StreamIdSyntax& syntax, ParsedStreamId* parsed) {
  if (text.size() > kMaxIdText) return false;
  if (ParsePlainId(text, &parsed->id)) {
    parsed->automatic_seq = false;
    return true;
  }
  char buffer[kMaxIdText + 1];
  buffer[text.copy(buffer, kMaxIdText)] = '\0';
  const std::string_view shown(buffer);
  parsed->automatic_seq = false;
  if (shown == "-" || shown == "+") {
    parsed->id = shown == "-" ? kMinStreamId : kMaxStreamId;
    return !syntax.strict;
  }
  const size_t dash = shown.find('-');
  if (dash != std::string_view::npos) buffer[dash] = '\0';
  if (!ParseUnsigned(buffer, &parsed->id.ms)) return false;
  parsed->id.seq = syntax.missing_seq;
  if (dash == std::string_view::npos) return true;
  const char* seq = buffer + dash + 1;
  if (syntax.allow_automatic && seq[0] == '*' && seq[1] == '\0') {
    parsed->id.seq = 0;
    parsed->automatic_seq = true;
    return true;
  }
  return std::string_view(seq).find('-') == std::string_view::npos &&
         ParseUnsigned(seq, &parsed->id.seq);
}

bool ParseStreamIdOr(CommandContext& context, std::string_view text, StreamId* id) {
  ParsedStreamId parsed;
  if (!ParseStreamId(text, {}, &parsed)) {
    context.reply.Error(kInvalidStreamId);
    return false;
  }
  *id = parsed.id;
  return true;
}

bool ParseStreamIdsOr(CommandContext& context, size_t first, std::vector<StreamId>* ids) {
  for (std::string_view text : context.args.subspan(first)) {
    if (!ParseStreamIdOr(context, text, &ids->emplace_back())) return false;
  }
  return true;
}

std::optional<StreamId> NextStreamId(StreamId id) {
  if (id == kMaxStreamId) return std::nullopt;
  if (id.seq == UINT64_MAX) return StreamId{id.ms + 1, 0};
  return StreamId{id.ms, id.seq + 1};
}

bool ParseRangeStartOr(CommandContext& context, std::string_view text, StreamId* id) {
  bool open;
  if (!ParseRangeId(context, text, 0, &open, id)) return false;
  if (!open) return true;
  std::optional<StreamId> next = NextStreamId(*id);
  if (!next) {
    context.reply.Error("ERR invalid start ID for the interval");
    return false;
  }
  *id = *next;
  return true;
}

bool ParseRangeEndOr(CommandContext& context, std::string_view text, StreamId* id) {
  bool open;
  if (!ParseRangeId(context, text, UINT64_MAX, &open, id)) return false;
  if (!open) return true;
  if (*id == kMinStreamId) {
    context.reply.Error("ERR invalid end ID for the interval");
    return false;
  }
  *id = id->seq == 0 ? StreamId{id->ms - 1, UINT64_MAX} : StreamId{id->ms, id->seq - 1};
  return true;
}

std::string StreamIdText(StreamId id) {
  char text[kIdTextRoom];
  return std::string(PutStreamId(id, text));
}

void ReplyStreamId(Reply& reply, StreamId id) {
  char text[kIdTextRoom];
  reply.Bulk(PutStreamId(id, text));
}

void ReplyStreamEntry(Reply& reply, const StreamPage::Cursor& entry) {
  reply.ArrayHeader(2);
  ReplyStreamId(reply, entry.id());
  reply.ArrayHeader(static_cast<int64_t>(2 * entry.fields()));
  entry.ForEachField([&](std::string_view name, std::string_view value) {
    reply.Bulk(name);
    reply.Bulk(value);
  });
}

bool WantEntries(CommandContext& context, StreamValue& stream, const StreamRange& range) {
  const uint64_t limit = MaxReplyBytes(context);
  uint64_t bytes = 0;
  // What comes behind is not even asked for.
  const bool all = stream.Walk(range, [&](const StreamPage::Cursor& entry) {
    bytes += StreamEntryReplyBytes(entry);
    return bytes <= limit;
  });
  if (!all || bytes <= limit) return all;
  context.reply.Error(kOutOfMemoryError);
  return false;
}

void RunInSlices(CommandContext& context, SliceStep step) {
  if (step(context)) RunLater(context, std::move(step));
}

void RunLater(CommandContext& context, SliceStep step) {
  SuspendedCommand suspended = context.Suspend();
  const HashedKey key = context.key();  // the arguments live as long as the command
  context.server.loop().Post([suspended, key, step = std::move(step)] {
    suspended.Resume([key, step](CommandContext& context) {
      RunWithKeys(context, {{context.db().number(), key, Access::kUpdate}},
                  [step](CommandContext& context) { RunInSlices(context, step); });
    });
  });
}

// --- how many entries a group has read

bool StreamCounters::Read(StreamValue& stream, StreamCounters* counters) {
  *counters = {.length = stream.length(),
               .entries_added = stream.entries_added(),
               .first_id = {},
               .last_id = stream.last_id(),
               .max_deleted_id = stream.max_deleted_id()};
  return stream.FirstId(&counters->first_id);
}

bool StreamCounters::HasTombstones(StreamId start) const {
  if (length == 0 || max_deleted_id == kMinStreamId || first_id > max_deleted_id) return false;
  return start <= max_deleted_id;
}

int64_t StreamCounters::EstimateReads(StreamId id) const {
  const auto added = static_cast<int64_t>(entries_added);
  if (added == 0) return 0;
  if (length == 0 && id <= last_id) return added;
  if (id == last_id) return added;
  if (id > last_id) return StreamGroups::kUnknownReads;
  if (max_deleted_id == kMinStreamId || max_deleted_id < first_id) {
    const int64_t before_first = added - static_cast<int64_t>(length);
    if (id < first_id) return before_first;
    if (id == first_id) return before_first + 1;
  }
  return StreamGroups::kUnknownReads;
}

}  // namespace firn::server
