// COMMAND DOCS.

#include <algorithm>
#include <string_view>
#include <vector>

#include "server/commands/command_lookup.h"
#include "server/server.h"

namespace firn::server {
namespace {

std::string_view TypeName(CommandArgument::Type type) {
  using Type = CommandArgument::Type;
  switch (type) {
    case Type::kString:
      return "string";
    case Type::kInteger:
      return "integer";
    case Type::kDouble:
      return "double";
    case Type::kKey:
      return "key";
    case Type::kPattern:
      return "pattern";
    case Type::kUnixTime:
      return "unix-time";
    case Type::kPureToken:
      return "pure-token";
    case Type::kOneOf:
      return "oneof";
    case Type::kBlock:
      return "block";
  }
  return {};
}

// Clients show an argument by its name, but for these.
std::string_view ShownName(std::string_view name) {
  constexpr struct {
    std::string_view name;
    std::string_view shown;
  } kOthers[] = {{"addr", "ip:port"},
                 {"laddr", "ip:port"},
                 {"old-format", "ip:port"},
                 {"storekey", "key"},
                 {"storedistkey", "key"},
                 {"by-pattern", "pattern"},
                 {"get-pattern", "pattern"},
                 {"auth", "password"},
                 {"keys", "key"},
                 {"entriesread", "entries-read"}};
  for (const auto& other : kOthers) {
    if (other.name == name) return other.shown;
  }
  return name;
}

// A text that is left out where a row has none.
struct TextPair {
  std::string_view key;
  std::string_view text;
};

int64_t CountPresent(std::span<const TextPair> pairs) {
  return std::ranges::count_if(pairs, [](const TextPair& pair) { return !pair.text.empty(); });
}

void ReplyPresent(Reply& reply, std::span<const TextPair> pairs) {
  for (const TextPair& pair : pairs) {
    if (pair.text.empty()) continue;
    reply.Bulk(pair.key);
    reply.Bulk(pair.text);
  }
}

void ReplyArgumentFlags(Reply& reply, uint8_t flags) {
  constexpr struct {
    uint8_t flag;
    std::string_view name;
  } kNames[] = {{CommandArgument::kOptional, "optional"},
                {CommandArgument::kMultiple, "multiple"},
                {CommandArgument::kMultipleToken, "multiple_token"}};
  int64_t count = 0;
  for (const auto& entry : kNames) count += (flags & entry.flag) != 0;
  reply.SetHeader(count);
  for (const auto& entry : kNames) {
    if (flags & entry.flag) reply.SimpleString(entry.name);
  }
}

void ReplyArguments(Reply& reply, std::span<const CommandArgument> arguments) {
  using Type = CommandArgument::Type;
  reply.ArrayHeader(static_cast<int64_t>(arguments.size()));
  for (const CommandArgument& argument : arguments) {
    bool nested = argument.type == Type::kOneOf || argument.type == Type::kBlock;
    bool has_spec = argument.key_spec_index >= 0;
    const TextPair before[] = {
        {"name", argument.name},
        {"type", TypeName(argument.type)},
        {"display_text", nested ? std::string_view() : ShownName(argument.name)}};
    const TextPair after[] = {
        {"token", argument.token}, {"summary", argument.summary}, {"since", argument.since}};
    reply.MapHeader(CountPresent(before) + CountPresent(after) + has_spec + (argument.flags != 0) +
                    nested);
    ReplyPresent(reply, before);
    if (has_spec) {
      reply.Bulk(std::string_view("key_spec_index"));
      reply.Integer(argument.key_spec_index);
    }
    ReplyPresent(reply, after);
    if (argument.flags != 0) {
      reply.Bulk(std::string_view("flags"));
      ReplyArgumentFlags(reply, argument.flags);
    }
    if (nested) {
      reply.Bulk(std::string_view("arguments"));
      ReplyArguments(reply, argument.arguments);
    }
  }
}

void ReplyHistory(Reply& reply, std::span<const CommandHistory> history) {
  reply.SetHeader(static_cast<int64_t>(history.size()));
  for (const CommandHistory& entry : history) {
    reply.ArrayHeader(2);
    reply.Bulk(entry.version);
    reply.Bulk(entry.change);
  }
}

// The name and the map about it.
void ReplyDocs(CommandContext& context, const Command& command) {
  Reply& reply = context.reply;
  reply.Bulk(std::string_view(context.server.commands().FullName(command)));
  bool deprecated = !command.deprecated_since.empty() || !command.replaced_by.empty();
  const TextPair before[] = {{"summary", command.summary},
                             {"since", command.since},
                             {"group", command.group},
                             {"complexity", command.complexity}};
  const TextPair after[] = {{"deprecated_since", command.deprecated_since},
                            {"replaced_by", command.replaced_by}};
  reply.MapHeader(CountPresent(before) + CountPresent(after) + deprecated +
                  !command.history.empty() + !command.arguments.empty() +
                  !command.subcommands.empty());
  ReplyPresent(reply, before);
  if (deprecated) {
    reply.Bulk(std::string_view("doc_flags"));
    reply.SetHeader(1);
    reply.SimpleString("deprecated");
  }
  ReplyPresent(reply, after);
  if (!command.history.empty()) {
    reply.Bulk(std::string_view("history"));
    ReplyHistory(reply, command.history);
  }
  if (!command.arguments.empty()) {
    reply.Bulk(std::string_view("arguments"));
    ReplyArguments(reply, command.arguments);
  }
  if (!command.subcommands.empty()) {
    reply.Bulk(std::string_view("subcommands"));
    reply.MapHeader(static_cast<int64_t>(command.subcommands.size()));
    for (const Command& sub : command.subcommands) ReplyDocs(context, sub);
  }
}

}  // namespace

void CommandDocs(CommandContext& context) {
  CommandTable& table = context.server.commands();
  auto names = context.args.subspan(2);
  if (names.empty()) {
    context.reply.MapHeader(static_cast<int64_t>(table.all().size()));
    for (const Command* command : table.all()) ReplyDocs(context, *command);
    return;
  }
  std::vector<const Command*> found;
  for (std::string_view name : names) {
    const Command* command = FindCommandByFullName(table, name);
    if (command != nullptr) found.push_back(command);
  }
  context.reply.MapHeader(static_cast<int64_t>(found.size()));
  for (const Command* command : found) ReplyDocs(context, *command);
}

}  // namespace firn::server
