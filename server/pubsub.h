// PubSub: who listens to which channel or pattern, and the delivery of messages
// (https://redis.io/docs/interact/pubsub). A message is encoded once, whatever the number of its
// receivers and their protocols; a long one is shared by their output buffers.
//
// Executor thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace firn::server {

class Client;

// Shard channels are a name space of their own; patterns match channels only.
enum class TopicKind : uint8_t { kChannel, kPattern, kShardChannel };

// One channel or pattern with at least one subscriber.
struct Topic {
  TopicKind kind;
  std::string name;
  std::vector<Client*> subscribers;
};

// What one client is subscribed to. Only PubSub changes it.
class Subscriptions {
 public:
  // Channels and patterns: what replies to SUBSCRIBE and the like count.
  size_t count() const { return topics(TopicKind::kChannel) + topics(TopicKind::kPattern); }
  size_t topics(TopicKind kind) const { return topics_[static_cast<size_t>(kind)].size(); }
  bool empty() const { return count() + topics(TopicKind::kShardChannel) == 0; }
  std::vector<std::string> Names(TopicKind kind) const;
  uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  friend class PubSub;
  // With the client's place among the topic's subscribers.
  std::unordered_map<Topic*, size_t> topics_[3];
  uint64_t memory_bytes_ = 0;
};

class PubSub {
 public:
  // False if the client was subscribed already.
  bool Subscribe(Client* client, TopicKind kind, std::string_view name);
  // False if it was not.
  bool Unsubscribe(Client* client, TopicKind kind, std::string_view name);
  // From everything, without telling the client.
  void Forget(Client* client);

  // Sends the message to those who listen to the channel, and those with a pattern that matches it;
  // answers how many were sent. `kind` is kChannel or kShardChannel.
  size_t Publish(TopicKind kind, std::string_view channel, std::string_view message);
  // Nobody listens to channels or patterns.
  bool silent() const {
    return topics(TopicKind::kChannel) == 0 && topics(TopicKind::kPattern) == 0;
  }

  size_t topics(TopicKind kind) const { return topics_[static_cast<size_t>(kind)].size(); }
  size_t subscribers(TopicKind kind, std::string_view name) const;
  // With at least one subscriber.
  void ForEachTopic(TopicKind kind, const std::function<void(const Topic&)>& visit) const;
  // Clients with a subscription of any kind.
  size_t clients() const { return clients_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  using Topics = std::unordered_map<std::string, std::unique_ptr<Topic>, Hash, std::equal_to<>>;

  Topic* Find(TopicKind kind, std::string_view name) const;
  void Remove(Client* client, Topic* topic);
  void Deliver(const Topic& topic, std::string_view channel, std::string_view message);

  Topics topics_[3];
  size_t clients_ = 0;
  std::string encoded_;  // the message that is delivered now
};

}  // namespace firn::server
