// XGROUP: making and removing consumer groups and consumers.
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
  if (!groups.WantDestroy(group)) return;
  groups.Destroy(context.args[3], group);
  context.reply.Integer(1);
  NoteGroupChange(context);
  context.Notify('t', "xgroup-destroy", context.key().bytes);
  // Who waits for entries of the group is told that it is gone.
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
