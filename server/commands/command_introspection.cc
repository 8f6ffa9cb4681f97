// COMMAND: what clients learn of the rows of the command table. DOCS is in command_docs.cc.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/glob.h"
#include "server/commands/client_commands.h"
#include "server/commands/command_lookup.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {

uint64_t AclCategoriesOf(const Command& command) {
  uint64_t categories = command.acl_categories;
  if (command.flags & kWrite) categories |= kAclWrite;
  bool scripting = (categories & kAclScripting) != 0;
  if ((command.flags & kReadonly) && !scripting) categories |= kAclRead;
  if (command.flags & kAdmin) categories |= kAclAdmin | kAclDangerous;
  if (command.flags & kPubsub) categories |= kAclPubsub;
  if (command.flags & kBlocking) categories |= kAclBlocking;
  if (command.flags & kFast) categories |= kAclFast;
  if (!(categories & kAclFast)) categories |= kAclSlow;
  return categories;
}

namespace {

// Whether a BITFIELD writes; what can't be read counts as a write.
bool ReadsOnly(std::span<const std::string_view> args) {
  for (size_t i = 2; i < args.size(); ++i) {
    const size_t left = args.size() - i - 1;
    if (EqualsIgnoreCase(args[i], "get") && left >= 2) {
      i += 2;
    } else if (EqualsIgnoreCase(args[i], "overflow") && left >= 1) {
      i += 1;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

uint64_t KeyFlagsOfUse(const Command& command, std::span<const std::string_view> args,
                       const KeySpec& spec) {
  if ((spec.flags & kKeyVariableFlags) == 0) return spec.flags;
  constexpr uint64_t kChanges = kKeyAccess | kKeyReadWrite | kKeyUpdate;
  if (command.name == "set") {
    // Wherever the word stands: wrong arguments are refused later.
    for (size_t i = 3; i < args.size(); ++i) {
      if (EqualsIgnoreCase(args[i], "get")) return kChanges;
    }
    return kKeyOverwriteOnly | kKeyUpdate;
  }
  if (command.name == "bitfield") return ReadsOnly(args) ? kKeyAccess | kKeyReadOnly : kChanges;
  if (command.access == nullptr) return spec.flags;
  const Access access = command.access(args, spec);
  if (access != Access::kRead && access != Access::kUpdate) return kKeyOverwriteOnly | kKeyUpdate;
  // What a command that writes wants to read, it changes after that.
  return (command.flags & kWrite) != 0 ? kChanges : uint64_t{kKeyAccess | kKeyReadOnly};
}

namespace {

struct FlagName {
  uint64_t flag;
  std::string_view name;
};

// In the order of Redis. kMayReplicate and kProtected are not shown by Redis either.
constexpr FlagName kCommandFlagNames[] = {{kWrite, "write"},
                                          {kReadonly, "readonly"},
                                          {kDenyOom, "denyoom"},
                                          {kAdmin, "admin"},
                                          {kPubsub, "pubsub"},
                                          {kNoscript, "noscript"},
                                          {kBlocking, "blocking"},
                                          {kLoading, "loading"},
                                          {kStale, "stale"},
                                          {kSkipMonitor, "skip_monitor"},
                                          {kSkipSlowlog, "skip_slowlog"},
                                          {kAsking, "asking"},
                                          {kFast, "fast"},
                                          {kNoAuth, "no_auth"},
                                          {kNoMandatoryKeys, "no_mandatory_keys"},
                                          {kNoAsyncLoading, "no_async_loading"},
                                          {kNoMulti, "no_multi"},
                                          {kMovableKeys, "movablekeys"},
                                          {kAllowBusy, "allow_busy"}};

constexpr FlagName kCategoryNames[] = {{kAclKeyspace, "@keyspace"},
                                       {kAclRead, "@read"},
                                       {kAclWrite, "@write"},
                                       {kAclSet, "@set"},
                                       {kAclSortedset, "@sortedset"},
                                       {kAclList, "@list"},
                                       {kAclHash, "@hash"},
                                       {kAclString, "@string"},
                                       {kAclBitmap, "@bitmap"},
                                       {kAclHyperloglog, "@hyperloglog"},
                                       {kAclGeo, "@geo"},
                                       {kAclStream, "@stream"},
                                       {kAclPubsub, "@pubsub"},
                                       {kAclAdmin, "@admin"},
                                       {kAclFast, "@fast"},
                                       {kAclSlow, "@slow"},
                                       {kAclBlocking, "@blocking"},
                                       {kAclDangerous, "@dangerous"},
                                       {kAclConnection, "@connection"},
                                       {kAclTransaction, "@transaction"},
                                       {kAclScripting, "@scripting"}};

constexpr FlagName kKeyFlagNames[] = {{kKeyReadOnly, "RO"},
                                      {kKeyReadWrite, "RW"},
                                      {kKeyOverwriteOnly, "OW"},
                                      {kKeyRemove, "RM"},
                                      {kKeyAccess, "access"},
                                      {kKeyUpdate, "update"},
                                      {kKeyInsert, "insert"},
                                      {kKeyDelete, "delete"},
                                      {kKeyNotKey, "not_key"},
                                      {kKeyIncomplete, "incomplete"},
                                      {kKeyVariableFlags, "variable_flags"}};

void ReplyFlags(Reply& reply, uint64_t flags, std::span<const FlagName> names) {
  reply.SetHeader(std::ranges::count_if(names, [&](auto& n) { return (flags & n.flag) != 0; }));
  for (const FlagName& entry : names) {
    if ((flags & entry.flag) != 0) reply.SimpleString(entry.name);
  }
}

// How clients older than key specs find keys: one range. `movable` tells that this is not the whole
// truth.
struct KeyRange {
  int first = 0;
  int last = 0;  // negative: from the end
  int step = 0;
  bool movable = false;
};

KeyRange LegacyRange(std::span<const KeySpec> specs) {
  auto is_range = [](const KeySpec& spec) {
    return spec.begin == KeySpec::Begin::kIndex && spec.find == KeySpec::Find::kRange;
  };
  auto last_of = [](const KeySpec& spec) {
    return spec.last < 0 ? spec.last : spec.begin_index + spec.last;
  };
  KeyRange range;
  for (const KeySpec& spec : specs) {
    bool alone = specs.size() == 1;
    // Only ranges that follow each other without a gap make one; after a range to the end nothing
    // can follow.
    bool fits =
        alone || (spec.step == 1 && (range.first == 0 || range.last == spec.begin_index - 1));
    if (!is_range(spec) || !fits) {
      range.movable = true;
      continue;
    }
    if (spec.flags & kKeyIncomplete) range.movable = true;
    if (range.first == 0) range.first = spec.begin_index;
    range.last = last_of(spec);
    range.step = spec.step;
  }
  return range;
}

void ReplySearch(Reply& reply, std::string_view type, int64_t pairs) {
  reply.MapHeader(2);
  reply.Bulk(std::string_view("type"));
  reply.Bulk(type);
  reply.Bulk(std::string_view("spec"));
  reply.MapHeader(pairs);
}

void ReplyPair(Reply& reply, std::string_view name, int64_t value) {
  reply.Bulk(name);
  reply.Integer(value);
}

void ReplyBeginSearch(Reply& reply, const KeySpec& spec) {
  switch (spec.begin) {
    case KeySpec::Begin::kIndex:
      ReplySearch(reply, "index", 1);
      ReplyPair(reply, "index", spec.begin_index);
      return;
    case KeySpec::Begin::kKeyword:
      ReplySearch(reply, "keyword", 2);
      reply.Bulk(std::string_view("keyword"));
      reply.Bulk(spec.keyword);
      ReplyPair(reply, "startfrom", spec.begin_index);
      return;
    case KeySpec::Begin::kUnknown:
      ReplySearch(reply, "unknown", 0);
      return;
  }
}

void ReplyFindKeys(Reply& reply, const KeySpec& spec) {
  switch (spec.find) {
    case KeySpec::Find::kRange:
      ReplySearch(reply, "range", 3);
      ReplyPair(reply, "lastkey", spec.last);
      ReplyPair(reply, "keystep", spec.step);
      ReplyPair(reply, "limit", spec.limit);
      return;
    case KeySpec::Find::kKeynum:
      ReplySearch(reply, "keynum", 3);
      ReplyPair(reply, "keynumidx", spec.keynum_index);
      ReplyPair(reply, "firstkey", spec.first_key);
      ReplyPair(reply, "keystep", spec.step);
      return;
    case KeySpec::Find::kUnknown:
      ReplySearch(reply, "unknown", 0);
      return;
  }
}

void ReplyKeySpecs(Reply& reply, std::span<const KeySpec> specs) {
  reply.SetHeader(static_cast<int64_t>(specs.size()));
  for (const KeySpec& spec : specs) {
    reply.MapHeader(spec.notes.empty() ? 3 : 4);
    if (!spec.notes.empty()) {
      reply.Bulk(std::string_view("notes"));
      reply.Bulk(spec.notes);
    }
    reply.Bulk(std::string_view("flags"));
    ReplyFlags(reply, spec.flags, kKeyFlagNames);
    reply.Bulk(std::string_view("begin_search"));
    ReplyBeginSearch(reply, spec);
    reply.Bulk(std::string_view("find_keys"));
    ReplyFindKeys(reply, spec);
  }
}

void ReplyInfo(CommandContext& context, const Command& command) {
  Reply& reply = context.reply;
  KeyRange range = LegacyRange(command.key_specs);
  reply.ArrayHeader(10);
  reply.Bulk(std::string_view(context.server.commands().FullName(command)));
  reply.Integer(command.arity);
  ReplyFlags(reply, command.flags | (range.movable ? uint64_t{kMovableKeys} : 0),
             kCommandFlagNames);
  reply.Integer(range.first);
  reply.Integer(range.last);
  reply.Integer(range.step);
  ReplyFlags(reply, AclCategoriesOf(command), kCategoryNames);
  reply.SetHeader(static_cast<int64_t>(command.tips.size()));
  for (std::string_view tip : command.tips) reply.Bulk(tip);
  ReplyKeySpecs(reply, command.key_specs);
  if (command.subcommands.empty()) {
    reply.SetHeader(0);
    return;
  }
  reply.ArrayHeader(static_cast<int64_t>(command.subcommands.size()));
  for (const Command& sub : command.subcommands) ReplyInfo(context, sub);
}

void ReplyAll(CommandContext& context) {
  auto all = context.server.commands().all();
  context.reply.ArrayHeader(static_cast<int64_t>(all.size()));
  for (const Command* command : all) ReplyInfo(context, *command);
}

void CommandInfo(CommandContext& context) {
  auto names = context.args.subspan(2);
  if (names.empty()) {
    ReplyAll(context);
    return;
  }
  context.reply.ArrayHeader(static_cast<int64_t>(names.size()));
  for (std::string_view name : names) {
    const Command* command = FindCommandByFullName(context.server.commands(), name);
    if (command == nullptr) {
      context.reply.Null();
    } else {
      ReplyInfo(context, *command);
    }
  }
}

void CommandCount(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.server.commands().all().size()));
}

// --- LIST

struct ListFilter {
  enum class Kind : uint8_t { kNone, kModule, kCategory, kPattern } kind = Kind::kNone;
  std::string_view pattern = {};
  uint64_t category = 0;  // 0: unknown, nothing is in it
};

uint64_t CategoryByName(std::string_view name) {
  for (const FlagName& entry : kCategoryNames) {
    if (EqualsIgnoreCase(name, entry.name.substr(1))) return entry.flag;
  }
  return 0;
}

bool ParseListFilter(std::span<const std::string_view> args, ListFilter* filter) {
  if (args.empty()) return true;
  if (args.size() != 3 || !EqualsIgnoreCase(args[0], "filterby")) return false;
  if (EqualsIgnoreCase(args[1], "module")) {
    filter->kind = ListFilter::Kind::kModule;
  } else if (EqualsIgnoreCase(args[1], "aclcat")) {
    filter->kind = ListFilter::Kind::kCategory;
    filter->category = CategoryByName(args[2]);
  } else if (EqualsIgnoreCase(args[1], "pattern")) {
    filter->kind = ListFilter::Kind::kPattern;
    filter->pattern = args[2];
  } else {
    return false;
  }
  return true;
}

bool Passes(const ListFilter& filter, const Command& command, std::string_view full_name) {
  switch (filter.kind) {
    case ListFilter::Kind::kNone:
      return true;
    case ListFilter::Kind::kModule:  // there are no modules
      return false;
    case ListFilter::Kind::kCategory:
      return (AclCategoriesOf(command) & filter.category) != 0;
    case ListFilter::Kind::kPattern:
      return GlobMatch(filter.pattern, full_name, GlobCase::kIgnoreAscii);
  }
  return false;
}

void CommandList(CommandContext& context) {
  ListFilter filter;
  if (!ParseListFilter(context.args.subspan(2), &filter)) {
    context.reply.Error(kSyntaxError);
    return;
  }
  const CommandTable& table = context.server.commands();
  std::vector<std::string_view> names;
  auto add = [&](const Command& command) {
    const std::string& name = table.FullName(command);
    if (Passes(filter, command, name)) names.push_back(name);
  };
  for (const Command* command : table.all()) {
    add(*command);
    for (const Command& sub : command->subcommands) add(sub);
  }
  context.reply.ArrayHeader(static_cast<int64_t>(names.size()));
  for (std::string_view name : names) context.reply.Bulk(name);
}

// --- GETKEYS

bool FitsArity(const Command& command, size_t count) {
  int64_t have = static_cast<int64_t>(count);
  return command.arity >= 0 ? have == command.arity : have >= -command.arity;
}

// Null after an error reply. `args` are those of the command that is asked about.
const Command* CommandWithKeys(CommandContext& context, std::span<const std::string_view> args) {
  const CommandTable& table = context.server.commands();
  const Command* command = table.Find(args[0]);
  if (command != nullptr && !command->subcommands.empty() && args.size() > 1) {
    command = table.FindSub(*command, args[1]);
  }
  if (command == nullptr) {
    context.reply.Error("ERR Invalid command specified");
    return nullptr;
  }
  if (std::ranges::all_of(command->key_specs, [](auto& s) { return s.flags & kKeyNotKey; })) {
    context.reply.Error("ERR The command has no key arguments");
    return nullptr;
  }
  if (!FitsArity(*command, args.size())) {
    context.reply.Error("ERR Invalid number of arguments specified for command");
    return nullptr;
  }
  return command;
}

// One key of the reply.
using ReplyKey = void (*)(Reply& reply, std::string_view key, uint64_t flags);

void GetKeys(CommandContext& context, ReplyKey reply_key) {
  auto args = context.args.subspan(2);
  const Command* command = CommandWithKeys(context, args);
  if (command == nullptr) return;
  std::vector<FoundKey> keys;
  bool found = FindKeys(*command, args, &keys);
  std::erase_if(keys, [](const FoundKey& key) { return key.spec->flags & kKeyNotKey; });
  if ((!found || keys.empty()) && !(command->flags & kNoMandatoryKeys)) {
    context.reply.Error("ERR Invalid arguments specified for command");
    return;
  }
  context.reply.ArrayHeader(static_cast<int64_t>(keys.size()));
  for (const FoundKey& key : keys) {
    reply_key(context.reply, args[key.argument], KeyFlagsOfUse(*command, args, *key.spec));
  }
}

void CommandGetKeys(CommandContext& context) {
  GetKeys(context, [](Reply& reply, std::string_view key, uint64_t) { reply.Bulk(key); });
}

void CommandGetKeysAndFlags(CommandContext& context) {
  GetKeys(context, [](Reply& reply, std::string_view key, uint64_t flags) {
    reply.ArrayHeader(2);
    reply.Bulk(key);
    ReplyFlags(reply, flags, kKeyFlagNames);
  });
}

void CommandHelp(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"(no subcommand)", "Tells about all commands."},
      {"COUNT", "The number of commands."},
      {"LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
       "The names of all commands, or of those that the filter lets pass."},
      {"INFO [<command-name> ...]", "Tells about these commands; about all if none is named."},
      {"DOCS [<command-name> ...]", "Documents these commands; all of them if none is named."},
      {"GETKEYS <full-command>", "The keys among a command's arguments."},
      {"GETKEYSANDFLAGS <full-command>", "The keys, and what the command does to each."},
  };
  ReplyHelp(context, "COMMAND", kLines);
}

// --- rows

using Argument = CommandArgument;

constexpr uint64_t kFlags = kLoading | kStale;
constexpr std::string_view kUnordered[] = {"nondeterministic_output_order"};
constexpr std::string_view kPerName = "O(N) where N is the number of commands asked for";
constexpr CommandHistory kInfoHistory[] = {{"7.0.0", "Without names it tells about all commands."}};
constexpr Argument kNames[] = {
    {.name = "command-name", .flags = Argument::kOptional | Argument::kMultiple}};
constexpr Argument kFullCommand[] = {
    {.name = "command"}, {.name = "arg", .flags = Argument::kOptional | Argument::kMultiple}};
constexpr Argument kFilters[] = {
    {.name = "module-name", .token = "MODULE"},
    {.name = "category", .token = "ACLCAT"},
    {.name = "pattern", .type = Argument::Type::kPattern, .token = "PATTERN"}};
constexpr Argument kListArguments[] = {{.name = "filterby",
                                        .type = Argument::Type::kOneOf,
                                        .token = "FILTERBY",
                                        .flags = Argument::kOptional,
                                        .arguments = kFilters}};

constexpr Command kRows[] = {
    {.name = "count",
     .arity = 2,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandCount,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Tells the number of commands."},
    {.name = "docs",
     .arity = -2,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandDocs,
     .group = "server",
     .since = "7.0.0",
     .complexity = kPerName,
     .summary = "Documents one command, several or all.",
     .tips = kUnordered,
     .arguments = kNames},
    {.name = "getkeys",
     .arity = -3,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandGetKeys,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(N) where N is the number of the command's arguments",
     .summary = "Finds the keys among a command's arguments.",
     .arguments = kFullCommand},
    {.name = "getkeysandflags",
     .arity = -3,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandGetKeysAndFlags,
     .group = "server",
     .since = "7.0.0",
     .complexity = "O(N) where N is the number of the command's arguments",
     .summary = "Finds the keys among a command's arguments and tells how each is used.",
     .arguments = kFullCommand},
    {.name = "help",
     .arity = 2,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandHelp,
     .group = "server",
     .since = "5.0.0",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {.name = "info",
     .arity = -2,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandInfo,
     .group = "server",
     .since = "2.8.13",
     .complexity = kPerName,
     .summary = "Tells about one command, several or all.",
     .history = kInfoHistory,
     .tips = kUnordered,
     .arguments = kNames},
    {.name = "list",
     .arity = -2,
     .flags = kFlags,
     .acl_categories = kAclConnection,
     .function = CommandList,
     .group = "server",
     .since = "7.0.0",
     .complexity = "O(N) where N is the number of all commands",
     .summary = "Lists the names of commands.",
     .tips = kUnordered,
     .arguments = kListArguments},
};

}  // namespace

void CommandCommand(CommandContext& context) {
  if (context.args.size() == 1) {
    ReplyAll(context);
    return;
  }
  context.reply.Error("ERR unknown subcommand '" + std::string(context.args[1].substr(0, 128)) +
                      "'. Try COMMAND HELP.");
}

const Command* FindCommandByFullName(const CommandTable& table, std::string_view name) {
  size_t bar = name.find('|');
  const Command* command = table.Find(name.substr(0, bar));
  if (command == nullptr || bar == std::string_view::npos) return command;
  return table.FindSub(*command, name.substr(bar + 1));
}

std::span<const Command> CommandSubcommands() { return kRows; }

}  // namespace firn::server
