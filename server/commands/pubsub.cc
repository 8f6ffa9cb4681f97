// SUBSCRIBE, PUBLISH, PUBSUB and their kin.
#include "server/pubsub.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/glob.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {
namespace {

// The words of a kind's confirmations.
struct Words {
  std::string_view subscribe;
  std::string_view unsubscribe;
};

Words WordsOf(TopicKind kind) {
  switch (kind) {
    case TopicKind::kChannel:
      return {"subscribe", "unsubscribe"};
    case TopicKind::kPattern:
      return {"psubscribe", "punsubscribe"};
    case TopicKind::kShardChannel:
      return {"ssubscribe", "sunsubscribe"};
  }
  return {};
}

// CLIENT REPLY OFF and SKIP hold confirmations back no more than messages.
class Unmuted {
 public:
  explicit Unmuted(Client* client) : client_(*client) { client_.reply().set_muted(false); }
  ~Unmuted() { client_.set_reply_mode(client_.reply_mode()); }
  Unmuted(const Unmuted&) = delete;
  Unmuted& operator=(const Unmuted&) = delete;

 private:
  Client& client_;
};

void Confirm(CommandContext& context, TopicKind kind, std::string_view word,
             std::optional<std::string_view> name) {
  Unmuted unmuted(&context.client);
  const Subscriptions& own = context.client.subscriptions();
  context.reply.PushHeader(3);
  context.reply.Bulk(word);
  if (name) {
    context.reply.Bulk(*name);
  } else {
    context.reply.Null();
  }
  const bool shard = kind == TopicKind::kShardChannel;
  context.reply.Integer(static_cast<int64_t>(shard ? own.topics(kind) : own.count()));
}

void SubscribeTo(CommandContext& context, TopicKind kind) {
  for (std::string_view name : context.args.subspan(1)) {
    context.server.pubsub().Subscribe(&context.client, kind, name);
    Confirm(context, kind, WordsOf(kind).subscribe, name);
  }
}

void UnsubscribeFrom(CommandContext& context, TopicKind kind) {
  auto leave = [&](std::string_view name) {
    context.server.pubsub().Unsubscribe(&context.client, kind, name);
    Confirm(context, kind, WordsOf(kind).unsubscribe, name);
  };
  if (context.args.size() > 1) {
    for (std::string_view name : context.args.subspan(1)) leave(name);
    return;
  }
  const std::vector<std::string> names = context.client.subscriptions().Names(kind);
  for (const std::string& name : names) leave(name);
  if (names.empty()) Confirm(context, kind, WordsOf(kind).unsubscribe, std::nullopt);
}

void Subscribe(CommandContext& context) { SubscribeTo(context, TopicKind::kChannel); }
void PatternSubscribe(CommandContext& context) { SubscribeTo(context, TopicKind::kPattern); }
void ShardSubscribe(CommandContext& context) {
  if (context.client.transaction().running) {
    context.reply.Error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    return;
  }
  SubscribeTo(context, TopicKind::kShardChannel);
}
void Unsubscribe(CommandContext& context) { UnsubscribeFrom(context, TopicKind::kChannel); }
void PatternUnsubscribe(CommandContext& context) { UnsubscribeFrom(context, TopicKind::kPattern); }
void ShardUnsubscribe(CommandContext& context) {
  UnsubscribeFrom(context, TopicKind::kShardChannel);
}

void PublishTo(CommandContext& context, TopicKind kind) {
  const size_t receivers = context.server.pubsub().Publish(kind, context.args[1], context.args[2]);
  context.reply.Integer(static_cast<int64_t>(receivers));
}
void Publish(CommandContext& context) { PublishTo(context, TopicKind::kChannel); }
void ShardPublish(CommandContext& context) { PublishTo(context, TopicKind::kShardChannel); }

// --- PUBSUB

void ListTopics(CommandContext& context, TopicKind kind) {
  if (context.args.size() > 3) return SubcommandError(context);
  std::vector<std::string_view> names;
  context.server.pubsub().ForEachTopic(kind, [&](const Topic& topic) {
    if (context.args.size() == 3 && !GlobMatch(context.args[2], topic.name)) return;
    names.push_back(topic.name);
  });
  context.reply.ArrayHeader(static_cast<int64_t>(names.size()));
  for (std::string_view name : names) context.reply.Bulk(name);
}

void CountSubscribers(CommandContext& context, TopicKind kind) {
  const auto names = context.args.subspan(2);
  context.reply.ArrayHeader(static_cast<int64_t>(2 * names.size()));
  for (std::string_view name : names) {
    context.reply.Bulk(name);
    context.reply.Integer(static_cast<int64_t>(context.server.pubsub().subscribers(kind, name)));
  }
}

void PubSubChannels(CommandContext& context) { ListTopics(context, TopicKind::kChannel); }
void PubSubNumSub(CommandContext& context) { CountSubscribers(context, TopicKind::kChannel); }
void PubSubNumPat(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.server.pubsub().topics(TopicKind::kPattern)));
}
void PubSubShardChannels(CommandContext& context) { ListTopics(context, TopicKind::kShardChannel); }
void PubSubShardNumSub(CommandContext& context) {
  CountSubscribers(context, TopicKind::kShardChannel);
}

void PubSubHelp(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"CHANNELS [<pattern>]", "Lists the channels with subscribers, those that match <pattern>."},
      {"NUMPAT", "Counts the patterns with subscribers."},
      {"NUMSUB [<channel> ...]", "Counts each channel's subscribers, without those by pattern."},
      {"SHARDCHANNELS [<pattern>]", "As CHANNELS, of shard channels."},
      {"SHARDNUMSUB [<shardchannel> ...]", "As NUMSUB, of shard channels."}};
  ReplyHelp(context, "PUBSUB", kLines);
}

// --- rows

using Argument = CommandArgument;
using Type = CommandArgument::Type;

constexpr uint64_t kListens = kPubsub | kNoscript | kLoading | kStale | kRunsInPlace;
constexpr uint64_t kPublishes = kPubsub | kLoading | kStale | kFast | kMayReplicate | kRunsInPlace;
constexpr uint64_t kInspects = kPubsub | kLoading | kStale | kRunsInPlace;

constexpr KeySpec kShardChannels[] = {
    {.flags = kKeyNotKey, .access = Access::kMetadata, .begin_index = 1, .last = -1}};
constexpr KeySpec kShardChannel[] = {
    {.flags = kKeyNotKey, .access = Access::kMetadata, .begin_index = 1}};

constexpr Argument kChannelArguments[] = {{.name = "channel", .flags = Argument::kMultiple}};
constexpr Argument kPatternArguments[] = {
    {.name = "pattern", .type = Type::kPattern, .flags = Argument::kMultiple}};
constexpr Argument kShardArguments[] = {{.name = "shardchannel", .flags = Argument::kMultiple}};
constexpr Argument kOptionalChannels[] = {
    {.name = "channel", .flags = Argument::kOptional | Argument::kMultiple}};
constexpr Argument kOptionalPatterns[] = {{.name = "pattern",
                                           .type = Type::kPattern,
                                           .flags = Argument::kOptional | Argument::kMultiple}};
constexpr Argument kOptionalShards[] = {
    {.name = "shardchannel", .flags = Argument::kOptional | Argument::kMultiple}};
constexpr Argument kOnePattern[] = {
    {.name = "pattern", .type = Type::kPattern, .flags = Argument::kOptional}};
constexpr Argument kPublishArguments[] = {{.name = "channel"}, {.name = "message"}};
constexpr Argument kShardPublishArguments[] = {{.name = "shardchannel"}, {.name = "message"}};

// What the rows have in common.
constexpr Command Row(Command command) {
  command.group = "pubsub";
  return command;
}

constexpr Command kPubSubSubcommands[] = {
    Row({.name = "channels",
         .arity = -2,
         .flags = kInspects,
         .acl_categories = 0,
         .function = PubSubChannels,
         .since = "2.8.0",
         .complexity = "O(N), N: the number of channels",
         .summary = "Lists the channels with subscribers.",
         .arguments = kOnePattern}),
    Row({.name = "help",
         .arity = 2,
         .flags = kLoading | kStale,
         .acl_categories = 0,
         .function = PubSubHelp,
         .since = "6.2.0",
         .complexity = "O(1)",
         .summary = "Describes the subcommands."}),
    Row({.name = "numpat",
         .arity = 2,
         .flags = kInspects,
         .acl_categories = 0,
         .function = PubSubNumPat,
         .since = "2.8.0",
         .complexity = "O(1)",
         .summary = "Counts the patterns with subscribers."}),
    Row({.name = "numsub",
         .arity = -2,
         .flags = kInspects,
         .acl_categories = 0,
         .function = PubSubNumSub,
         .since = "2.8.0",
         .complexity = "O(N), N: the number of channels given",
         .summary = "Counts the subscribers of channels.",
         .arguments = kOptionalChannels}),
    Row({.name = "shardchannels",
         .arity = -2,
         .flags = kInspects,
         .acl_categories = 0,
         .function = PubSubShardChannels,
         .since = "7.0.0",
         .complexity = "O(N), N: the number of shard channels",
         .summary = "Lists the shard channels with subscribers.",
         .arguments = kOnePattern}),
    Row({.name = "shardnumsub",
         .arity = -2,
         .flags = kInspects,
         .acl_categories = 0,
         .function = PubSubShardNumSub,
         .since = "7.0.0",
         .complexity = "O(N), N: the number of shard channels given",
         .summary = "Counts the subscribers of shard channels.",
         .arguments = kOptionalShards})};

constexpr Command kRows[] = {
    Row({.name = "psubscribe",
         .arity = -2,
         .flags = kListens,
         .acl_categories = 0,
         .function = PatternSubscribe,
         .since = "2.0.0",
         .complexity = "O(N), N: the number of patterns",
         .summary = "Listens to the channels that match patterns.",
         .arguments = kPatternArguments}),
    Row({.name = "publish",
         .arity = 3,
         .flags = kPublishes,
         .acl_categories = 0,
         .function = Publish,
         .since = "2.0.0",
         .complexity = "O(N+M), N: the channel's subscribers, M: the patterns of all clients",
         .summary = "Sends a message to a channel.",
         .arguments = kPublishArguments}),
    Row({.name = "pubsub",
         .arity = -2,
         .flags = 0,
         .acl_categories = 0,
         .subcommands = kPubSubSubcommands,
         .since = "2.8.0",
         .complexity = "As the subcommand says.",
         .summary = "Groups the commands that tell about subscriptions."}),
    Row({.name = "punsubscribe",
         .arity = -1,
         .flags = kListens,
         .acl_categories = 0,
         .function = PatternUnsubscribe,
         .since = "2.0.0",
         .complexity = "O(N), N: the number of patterns",
         .summary = "Stops listening to patterns, or to all of them.",
         .arguments = kOptionalPatterns}),
    Row({.name = "spublish",
         .arity = 3,
         .flags = kPublishes,
         .acl_categories = 0,
         .function = ShardPublish,
         .key_specs = kShardChannel,
         .since = "7.0.0",
         .complexity = "O(N), N: the channel's subscribers",
         .summary = "Sends a message to a shard channel.",
         .arguments = kShardPublishArguments}),
    Row({.name = "ssubscribe",
         .arity = -2,
         .flags = kListens,
         .acl_categories = 0,
         .function = ShardSubscribe,
         .key_specs = kShardChannels,
         .since = "7.0.0",
         .complexity = "O(N), N: the number of shard channels",
         .summary = "Listens to shard channels.",
         .arguments = kShardArguments}),
    Row({.name = "subscribe",
         .arity = -2,
         .flags = kListens,
         .acl_categories = 0,
         .function = Subscribe,
         .since = "2.0.0",
         .complexity = "O(N), N: the number of channels",
         .summary = "Listens to channels.",
         .arguments = kChannelArguments}),
    Row({.name = "sunsubscribe",
         .arity = -1,
         .flags = kListens,
         .acl_categories = 0,
         .function = ShardUnsubscribe,
         .key_specs = kShardChannels,
         .since = "7.0.0",
         .complexity = "O(N), N: the number of shard channels",
         .summary = "Stops listening to shard channels, or to all of them.",
         .arguments = kOptionalShards}),
    Row({.name = "unsubscribe",
         .arity = -1,
         .flags = kListens,
         .acl_categories = 0,
         .function = Unsubscribe,
         .since = "2.0.0",
         .complexity = "O(N), N: the number of channels",
         .summary = "Stops listening to channels, or to all of them.",
         .arguments = kOptionalChannels}),
};

}  // namespace

std::span<const Command> PubSubCommands() { return kRows; }

}  // namespace firn::server
