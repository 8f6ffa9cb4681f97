// XGROUP: making and removing consumer groups and consumers.
#include <optional>

#include "engine/types/root_format.h"
#include "server/blocking.h"
#include "server/client.h"
#include "server/commands/streams.h"

namespace firn::server {
namespace {

using Group = StreamGroups::Group;
using Consumer = StreamGroups::Consumer;
using Lookup = StreamGroups::Lookup;

struct GroupOptions {
  bool make_stream = false;
  int64_t entries_read = StreamGroups::kUnknownReads;
};

bool ParseGroupOptionsOr(CommandContext& context, bool is_create, GroupOptions* options) {
  const auto args = context.args;
  for (size_t i = 5; i < args.size(); ++i) {
    if (is_create && EqualsIgnoreCase(args[i], "mkstream")) {
      options->make_stream = true;
    } else if (EqualsIgnoreCase(args[i], "entriesread") && i + 1 < args.size()) {
      if (!ParseIntegerOr(context, args[++i], &options->entries_read)) return false;
      if (options->entries_read < StreamGroups::kUnknownReads) {
        context.reply.Error("ERR value for ENTRIESREAD must be positive or -1");
        return false;
      }
    } else {
      SubcommandError(context);
      return false;
    }
  }
  return true;
}

bool CheckKeyOr(CommandContext& context, const OpenStream& stream) {
  if (!stream.ok()) return false;
  if (stream.exists()) return true;
  context.reply.Error(
      "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to "
      "use the MKSTREAM option to create an empty stream automatically.");
  return false;
}

// The group named by the command; false if it answers with an error, or pages are missing.
bool FindGroupOr(CommandContext& context, StreamGroups& groups, Group* group) {
  const Lookup lookup = groups.FindGroup(context.args[3], group);
  if (lookup == Lookup::kAbsent) {
    context.reply.Error("NOGROUP No such consumer group '" + std::string(UpToNul(context.args[3])) +
                        "' for key name '" + std::string(UpToNul(context.args[2])) + "'");
  }
  return lookup == Lookup::kPresent;
}

// Groups and consumers with more pending entries than this are removed in slices.
constexpr uint64_t kManyPending = 5000;
constexpr uint64_t kPendingAtOnce = 1000;

// Whether the key still has the stream that the steps began with.
bool IsSame(OpenStream& stream, uint64_t value_id) {
  return stream.exists() && RootView(stream.pages()->Root()).value_id() == value_id;
}

void ReplyDestroyed(CommandContext& context) {
  context.reply.Integer(1);
  NoteGroupChange(context);
  context.Notify('t', "xgroup-destroy", context.key().bytes);
}

// The group has been forgotten; what it had goes page by page.
struct DestroySteps {
  Group group;
  uint64_t value_id = 0;

  bool operator()(CommandContext& context) const {
    OpenStream stream(context, OpenStream::Use::kWrite);
    if (!stream.ok()) return false;
    if (IsSame(stream, value_id)) {
      StreamGroups groups(stream.pages());
      const auto progress = groups.DropSlice(group);
      if (progress != StreamGroups::Progress::kDone) {
        return progress == StreamGroups::Progress::kMore;
      }
      if (!groups.WantConsumers(group)) return false;
      groups.DropConsumers(group);
    }
    ReplyDestroyed(context);
    return false;
  }
};

// Takes a consumer's pending entries away, some at a time, before the consumer itself.
struct DeleteConsumerSteps {
  uint64_t value_id = 0;
  uint64_t removed = 0;

  bool operator()(CommandContext& context) {
    OpenStream stream(context, OpenStream::Use::kWrite);
    if (!stream.ok()) return false;
    StreamGroups groups(stream.pages());
    Group group;
    Consumer consumer;
    Lookup lookup = Lookup::kAbsent;
    if (IsSame(stream, value_id)) {
      lookup = groups.FindGroup(context.args[3], &group);
      if (lookup == Lookup::kPresent) {
        lookup = groups.FindConsumer(group, context.args[4], &consumer);
      }
      if (lookup == Lookup::kMissing) return false;
    }
    if (lookup == Lookup::kPresent && consumer.pending > kPendingAtOnce) {
      const std::optional<uint64_t> some = groups.RemoveSome(consumer, &group, kPendingAtOnce);
      if (!some) return false;
      CHECK_MSG(*some > 0, "a consumer has fewer pending entries than it counts");
      consumer.pending -= *some;
      removed += *some;
      groups.Store(group, context.args[4], consumer);
      groups.Store(context.args[3], group);
      return true;
    }
    if (lookup == Lookup::kPresent) {
      if (!groups.WantDelete(group, consumer)) return false;
      removed += groups.Delete(context.args[4], consumer, &group);
      groups.Store(context.args[3], group);
    }
    context.reply.Integer(static_cast<int64_t>(removed));
    NoteGroupChange(context);
    context.Notify('t', "xgroup-delconsumer", context.key().bytes);
    return false;
  }
};

}  // namespace

void XGroupCreateCommand(CommandContext& context) {
  GroupOptions options;
  if (!ParseGroupOptionsOr(context, true, &options)) return;
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!stream.ok()) return;
  if (!options.make_stream && !CheckKeyOr(context, stream)) return;
  if (context.args.size() > 8) return SubcommandError(context);
  const std::string_view name = context.args[3];
  Group group;
  group.entries_read = options.entries_read;
  if (context.args[4] != "$") {
    if (!ParseStreamIdOr(context, context.args[4], &group.last_id)) return;
  } else if (stream.exists()) {
    group.last_id = stream.value().last_id();
  }
  if (stream.exists()) {
    Group old;
    const Lookup lookup = StreamGroups(stream.pages()).FindGroup(name, &old);
    if (lookup == Lookup::kMissing) return;
    if (lookup == Lookup::kPresent) {
      return context.reply.Error("BUSYGROUP Consumer Group name already exists");
    }
  } else {
    stream.value().Create();
    context.Modified(context.key());
  }
  StreamGroups(stream.pages()).CreateGroup(name, &group);
  context.reply.Ok();
  NoteGroupChange(context);
  context.Notify('t', "xgroup-create", context.key().bytes);
}

void XGroupSetIdCommand(CommandContext& context) {
  GroupOptions options;
  if (!ParseGroupOptionsOr(context, false, &options)) return;
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!CheckKeyOr(context, stream)) return;
  StreamGroups groups(stream.pages());
  Group group;
  if (!FindGroupOr(context, groups, &group)) return;
  if (context.args.size() != 5 && context.args.size() != 7) return SubcommandError(context);
  if (context.args[4] == "$") {
    group.last_id = stream.value().last_id();
  } else {
    ParsedStreamId parsed;
    if (!ParseStreamId(context.args[4], {.strict = false}, &parsed)) {
      return context.reply.Error(kInvalidStreamId);
    }
    group.last_id = parsed.id;
  }
  group.entries_read = options.entries_read;
  groups.Store(context.args[3], group);
  context.reply.Ok();
  NoteGroupChange(context);
  context.Notify('t', "xgroup-setid", context.key().bytes);
}

void XGroupDestroyCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!CheckKeyOr(context, stream)) return;
  StreamGroups groups(stream.pages());
  Group group;
  const Lookup lookup = groups.FindGroup(context.args[3], &group);
  if (lookup == Lookup::kMissing) return;
  if (lookup == Lookup::kAbsent) return context.reply.Integer(0);
  // Who waits for entries of the group is told that it is gone.
  if (group.pending > kManyPending && !RunsAtomically(context)) {
    groups.Forget(context.args[3]);
    SignalReady(context, context.key());
    const uint64_t value_id = RootView(stream.pages()->Root()).value_id();
    return RunLater(context, DestroySteps{.group = group, .value_id = value_id});
  }
  if (!groups.WantDestroy(group)) return;
  groups.Destroy(context.args[3], group);
  ReplyDestroyed(context);
  SignalReady(context, context.key());
}

void XGroupCreateConsumerCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!CheckKeyOr(context, stream)) return;
  StreamGroups groups(stream.pages());
  Group group;
  if (!FindGroupOr(context, groups, &group)) return;
  const std::string_view name = context.args[4];
  Consumer consumer{.seen_ms = context.now_ms()};
  const Lookup lookup = groups.FindConsumer(group, name, &consumer);
  if (lookup == Lookup::kMissing || !groups.WantConsumer(group, name)) return;
  if (lookup == Lookup::kPresent) return context.reply.Integer(0);
  groups.CreateConsumer(name, &group, &consumer);
  groups.Store(context.args[3], group);
  context.reply.Integer(1);
  NoteGroupChange(context);
  context.Notify('t', "xgroup-createconsumer", context.key().bytes);
}

void XGroupDelConsumerCommand(CommandContext& context) {
  OpenStream stream(context, OpenStream::Use::kWrite);
  if (!CheckKeyOr(context, stream)) return;
  StreamGroups groups(stream.pages());
  Group group;
  if (!FindGroupOr(context, groups, &group)) return;
  Consumer consumer;
  const Lookup lookup = groups.FindConsumer(group, context.args[4], &consumer);
  if (lookup == Lookup::kMissing) return;
  if (lookup == Lookup::kAbsent) return context.reply.Integer(0);
  if (consumer.pending > kManyPending && !RunsAtomically(context)) {
    const uint64_t value_id = RootView(stream.pages()->Root()).value_id();
    return RunLater(context, DeleteConsumerSteps{.value_id = value_id, .removed = 0});
  }
  if (!groups.WantDelete(group, consumer)) return;
  const uint64_t pending = groups.Delete(context.args[4], consumer, &group);
  groups.Store(context.args[3], group);
  context.reply.Integer(static_cast<int64_t>(pending));
  NoteGroupChange(context);
  context.Notify('t', "xgroup-delconsumer", context.key().bytes);
}

void XGroupHelpCommand(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"CREATE <key> <groupname> <id|$> [option]",
       "Make a consumer group that begins behind an entry. MKSTREAM makes the stream too;"},
      {"       ENTRIESREAD <entries_read>", "sets how many entries the group has read."},
      {"CREATECONSUMER <key> <groupname> <consumer>", "Make a consumer of a group."},
      {"DELCONSUMER <key> <groupname> <consumer>", "Remove a consumer, with its pending entries."},
      {"DESTROY <key> <groupname>", "Remove a group."},
      {"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
       "Set the last entry that a group has delivered."}};
  ReplyHelp(context, "XGROUP", kLines);
}

}  // namespace firn::server
