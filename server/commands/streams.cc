#include "server/commands/streams.h"

#include <algorithm>

#include "server/client.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Redis refuses entries that are larger than a listpack may get.
constexpr uint64_t kMaxEntryBytes = 1ull << 30;

// What XADD and XTRIM have in common.
struct TrimArguments {
  StreamTrim trim;
  bool limit_given = false;
  bool make_stream = true;
  // Of XADD:
  std::optional<ParsedStreamId> id;  // nothing for "*"
  size_t id_at = 0;
};

// MAXLEN or MINID at args[*at], of which `*at` becomes the last argument.
bool ParseStrategyOr(CommandContext& context, size_t* at, StreamTrim* trim) {
  const auto args = context.args;
  const bool by_length = EqualsIgnoreCase(args[*at], "maxlen");
  if (trim->by != StreamTrim::By::kNone) {
    context.reply.Error(
        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
    return false;
  }
  const size_t more = args.size() - 1 - *at;
  ++*at;
  trim->whole_pages = false;
  if (more >= 2 && (args[*at] == "~" || args[*at] == "=")) {
    trim->whole_pages = args[*at] == "~";
    ++*at;
  }
  if (by_length) {
    int64_t length;
    if (!ParseIntegerOr(context, args[*at], &length)) return false;
    if (length < 0) {
      context.reply.Error("ERR The MAXLEN argument must be >= 0.");
      return false;
    }
    trim->max_length = static_cast<uint64_t>(length);
  } else if (!ParseStreamIdOr(context, args[*at], &trim->min_id)) {
    return false;
  }
  trim->by = by_length ? StreamTrim::By::kLength : StreamTrim::By::kId;
  return true;
}

bool ParseTrimLimitOr(CommandContext& context, std::string_view text, TrimArguments* parsed) {
  int64_t limit;
  if (!ParseIntegerOr(context, text, &limit)) return false;
  if (limit < 0) {
    context.reply.Error("ERR The LIMIT argument must be >= 0.");
    return false;
  }
  parsed->trim.limit = static_cast<uint64_t>(limit);
  parsed->limit_given = true;
  return true;
}

bool FinishTrimOr(CommandContext& context, bool is_add, TrimArguments* parsed) {
  StreamTrim& trim = parsed->trim;
  std::string_view error;
  if (trim.by == StreamTrim::By::kNone && trim.limit != 0) {
    error = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
  } else if (trim.by == StreamTrim::By::kNone && !is_add) {
    error = "ERR syntax error, XTRIM must be called with a trimming strategy";
  } else if (parsed->limit_given && !trim.whole_pages) {
    error = "ERR syntax error, LIMIT cannot be used without the special ~ option";
  }
  if (!error.empty()) {
    context.reply.Error(error);
    return false;
  }
  if (parsed->limit_given || !trim.whole_pages) return true;
  const uint64_t entries = StreamLimitsOf(context).node_max_entries;
  trim.limit = entries == 0 ? 10'000 : std::min<uint64_t>(entries, 10'000) * 100;
  return true;
}

// The id that XADD is given for its entry.
bool ParseNewId(std::string_view text, std::optional<ParsedStreamId>* id) {
  if (text == "*") {
    id->reset();
    return true;
  }
  return ParseStreamId(text, {.allow_automatic = true}, &id->emplace());
}

bool ParseTrimArgumentsOr(CommandContext& context, bool is_add, TrimArguments* parsed) {
  const auto args = context.args;
  for (size_t at = 2; at < args.size(); ++at) {
    const std::string_view option = args[at];
    const bool more = at + 1 < args.size();
    parsed->id_at = at;
    if (more && (EqualsIgnoreCase(option, "maxlen") || EqualsIgnoreCase(option, "minid"))) {
      if (!ParseStrategyOr(context, &at, &parsed->trim)) return false;
    } else if (more && EqualsIgnoreCase(option, "limit")) {
      if (!ParseTrimLimitOr(context, args[++at], parsed)) return false;
    } else if (is_add && EqualsIgnoreCase(option, "nomkstream")) {
      parsed->make_stream = false;
    } else if (is_add) {
      if (!ParseNewId(option, &parsed->id)) {
        context.reply.Error(kInvalidStreamId);
        return false;
      }
      break;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
    parsed->id_at = args.size();
  }
  return FinishTrimOr(context, is_add, parsed);
}

// The id of a new entry; nothing if it would not be greater than the last one.
std::optional<StreamId> ChooseId(const CommandContext& context,
                                 const std::optional<ParsedStreamId>& given, StreamId last) {
  if (!given) {
    const StreamId id{static_cast<uint64_t>(context.now_ms()), 0};
    return id.ms > last.ms ? id : NextStreamId(last);
  }
  StreamId id = given->id;
  if (given->automatic_seq && last.ms == id.ms) {
    if (last.seq == UINT64_MAX) return std::nullopt;
    id.seq = last.seq + 1;
  }
  if (id <= last) return std::nullopt;
  return id;
}

// The steps of XTRIM, or of what XADD does to what was there before `added`. Entries that others
// add meanwhile are as if they had been there before.
struct TrimSteps {
  StreamTrim trim;
  uint64_t removed = 0;
  std::optional<StreamId> added = {};

  bool operator()(CommandContext& context) {
    if (added && LookupForWrite(context, context.key()).type != ValueType::kStream) {
      // Somebody else has put something else in its place.
      ReplyStreamId(context.reply, *added);
      return false;
    }
    OpenStream stream(context, OpenStream::Use::kWrite);
    if (!stream.ok()) return false;
    const bool at_limit = trim.limit != 0 && removed >= trim.limit;
    bool more = false;
    if (stream.exists() && !at_limit) {
      StreamValue& value = stream.value();
      StreamTrim rest = trim;
      if (rest.limit != 0) rest.limit -= removed;
      const bool sliced = !RunsAtomically(context);
      if (sliced ? !value.WantTrimSlice(rest) : !value.WantTrim(rest)) return false;
      const uint64_t now = sliced ? value.TrimSlice(rest, &more) : value.Trim(rest);
      removed += now;
      if (now > 0) {
        context.Modified(context.key());
        NoteGroupChange(context, now - 1);
      }
    }
    if (more) return true;
    added ? ReplyStreamId(context.reply, *added)
          : context.reply.Integer(static_cast<int64_t>(removed));
    if (removed > 0) context.Notify('t', "xtrim", context.key().bytes);
    return false;
  }
};

void RangeCommand(CommandContext& context, bool backward) {
  const auto args = context.args;
  StreamRange range;
  range.backward = backward;
  if (!ParseRangeStartOr(context, args[backward ? 3 : 2], &range.first)) return;
  if (!ParseRangeEndOr(context, args[backward ? 2 : 3], &range.last)) return;
  bool nothing = false;
  for (size_t i = 4; i < args.size(); i += 2) {
    if (!EqualsIgnoreCase(args[i], "count") || i + 1 >= args.size()) {
      return context.reply.Error(kSyntaxError);
    }
    int64_t count;
    if (!ParseIntegerOr(context, args[i + 1], &count)) return;
    nothing = count <= 0;
    range.limit = nothing ? 0 : static_cast<uint64_t>(count);
  }
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!stream.ok()) return;
  if (!stream.exists()) return context.reply.EmptyArray();
  if (nothing) return context.reply.NullArray();
  if (!WantEntries(context, stream.value(), range)) return;
  const uint64_t mark = context.reply.DeferHeader();
  int64_t entries = 0;
  stream.value().ForEach(range, [&](const StreamPage::Cursor& entry) {
    ReplyStreamEntry(context.reply, entry);
    ++entries;
  });
  context.reply.ResolveHeader(mark, Reply::Collection::kArray, entries);
}

}  // namespace

void XAddCommand(CommandContext& context) {
  TrimArguments parsed;
  if (!ParseTrimArgumentsOr(context, true, &parsed)) return;
  const size_t first_field = parsed.id_at + 1;
  if (context.args.size() < first_field + 2 || (context.args.size() - first_field) % 2 != 0) {
    return ArityError(context);
  }
  const auto fields = context.args.subspan(first_field);
  if (parsed.id && !parsed.id->automatic_seq && parsed.id->id == kMinStreamId) {
    return context.reply.Error("ERR The ID specified in XADD must be greater than 0-0");
  }
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!stream.ok()) return;
  if (!stream.exists() && !parsed.make_stream) return context.reply.Null();
  const StreamId last = stream.exists() ? stream.value().last_id() : StreamId();
  if (last == kMaxStreamId) {
    return context.reply.Error(
        "ERR The stream has exhausted the last possible ID, unable to add more items");
  }
  const std::optional<StreamId> id = ChooseId(context, parsed.id, last);
  if (!id) {
    return context.reply.Error(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item");
  }
  uint64_t bytes = 0;
  for (std::string_view field : fields) bytes += field.size();
  if (bytes > kMaxEntryBytes) return context.reply.Error("ERR Elements are too large to be stored");
  bool in_slices = false;
  if (stream.exists()) {
    StreamValue& value = stream.value();
    if (!RunsAtomically(context) && !value.TakesSlices(parsed.trim, &in_slices)) return;
    if (in_slices && !context.LeavePlace()) return;
    const bool wanted = value.WantAppend();
    const bool trims = in_slices ? value.WantTrimSlice(parsed.trim) : value.WantTrim(parsed.trim);
    if (!trims || !wanted) return;
  }
  stream.value().Append(*id, fields, StreamLimitsOf(context));
  stream.Changed("xadd");
  if (in_slices) return RunLater(context, TrimSteps{.trim = parsed.trim, .added = *id});
  ReplyStreamId(context.reply, *id);
  if (stream.value().Trim(parsed.trim) > 0) {
    context.Notify('t', "xtrim", context.key().bytes);
  }
}

bool MergedXAdd(CommandContext& context, std::span<const ParsedRequest> requests) {
  // Copying more than this would take longer than it saves.
  constexpr uint64_t kMostBytes = 64 << 10;
  constexpr size_t kFirstField = 3;
  constexpr Database::LookupOptions kUnseen = {.touch = false, .count_hit = false};
  const Database::KeyInfo info = context.db().Lookup(context.key(), kUnseen);
  if (info.exists() && info.type != ValueType::kStream) return false;
  OpenStream stream(context, OpenStream::Use::kWrite);
  StreamId last = stream.exists() ? stream.value().last_id() : StreamId();
  std::vector<StreamEntry> entries;
  entries.reserve(requests.size());
  uint64_t bytes = 0;
  for (const ParsedRequest& request : requests) {
    std::optional<ParsedStreamId> given;
    // What stands there may be an option.
    if (!ParseNewId(request.args[kFirstField - 1], &given)) return false;
    const auto fields = std::span(request.args).subspan(kFirstField);
    const std::optional<StreamId> id = ChooseId(context, given, last);
    if (!id || fields.size() % 2 != 0) return false;
    for (std::string_view field : fields) bytes += field.size();
    entries.push_back({*id, fields});
    last = *id;
  }
  if (bytes > kMostBytes || (stream.exists() && !stream.value().WantAppend())) return false;
  stream.value().Append(entries, StreamLimitsOf(context));
  context.Modified(context.key());
  context.server.stats().changes += entries.size() - 1;
  for (const StreamEntry& entry : entries) ReplyStreamId(context.reply, entry.id);
  return true;
}

void XLenCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kRead);
  if (!stream.ok()) return;
  context.reply.Integer(stream.exists() ? static_cast<int64_t>(stream.value().length()) : 0);
}

void XRangeCommand(CommandContext& context) { RangeCommand(context, false); }
void XRevRangeCommand(CommandContext& context) { RangeCommand(context, true); }

void XDelCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!stream.ok()) return;
  if (!stream.exists()) return context.reply.Integer(0);
  std::vector<StreamId> ids;
  if (!ParseStreamIdsOr(context, 2, &ids)) return;
  StreamValue& value = stream.value();
  bool wanted = true;
  for (StreamId id : ids) wanted &= value.WantRemove(id);
  if (!wanted) return;
  uint64_t removed = 0;
  StreamId greatest = value.max_deleted_id();
  for (StreamId id : ids) {
    if (!value.Remove(id)) continue;
    greatest = std::max(greatest, id);
    ++removed;
  }
  context.reply.Integer(static_cast<int64_t>(removed));
  if (removed == 0) return;
  value.SetMaxDeletedId(greatest);
  stream.Changed("xdel");
  NoteGroupChange(context, removed - 1);
}

void XTrimCommand(CommandContext& context) {
  TrimArguments parsed;
  if (!ParseTrimArgumentsOr(context, false, &parsed)) return;
  RunInSlices(context, TrimSteps{.trim = parsed.trim});
}

void XSetIdCommand(CommandContext& context) {
  const auto args = context.args;
  StreamId id;
  if (!ParseStreamIdOr(context, args[2], &id)) return;
  int64_t added = -1;
  StreamId max_deleted;
  for (size_t i = 3; i < args.size(); i += 2) {
    const bool more = i + 1 < args.size();
    if (more && EqualsIgnoreCase(args[i], "entriesadded")) {
      if (!ParseIntegerOr(context, args[i + 1], &added)) return;
      if (added < 0) return context.reply.Error("ERR entries_added must be positive");
    } else if (more && EqualsIgnoreCase(args[i], "maxdeletedid")) {
      if (!ParseStreamIdOr(context, args[i + 1], &max_deleted)) return;
      if (id < max_deleted) {
        return context.reply.Error(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
      }
    } else {
      return context.reply.Error(kSyntaxError);
    }
  }
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!stream.ok()) return;
  if (!stream.exists()) return context.reply.Error(kNoSuchKeyError);
  StreamValue& value = stream.value();
  if (id < value.max_deleted_id()) {
    return context.reply.Error(
        "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
  }
  if (value.length() > 0) {
    StreamId top;
    const StreamRange range{.backward = true, .limit = 1};
    if (!value.Want(range)) return;
    value.ForEach(range, [&](const StreamPage::Cursor& entry) { top = entry.id(); });
    if (id < top) {
      return context.reply.Error(
          "ERR The ID specified in XSETID is smaller than the target stream top item");
    }
    if (added != -1 && value.length() > static_cast<uint64_t>(added)) {
      return context.reply.Error(
          "ERR The entries_added specified in XSETID is smaller than the target stream length");
    }
  }
  value.SetLastId(id);
  if (added != -1) value.SetEntriesAdded(static_cast<uint64_t>(added));
  if (max_deleted != kMinStreamId) value.SetMaxDeletedId(max_deleted);
  context.reply.Ok();
  NoteGroupChange(context);
  context.Notify('t', "xsetid", context.key().bytes);
}

}  // namespace firn::server
