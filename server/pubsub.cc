#include "server/pubsub.h"

#include <charconv>

#include "engine/base/check.h"
#include "engine/base/glob.h"
#include "engine/page/page.h"
#include "server/client.h"

namespace firn::server {
namespace {

// From this size on the receivers share the message's bytes; shorter ones are cheaper to copy.
constexpr size_t kSharedBytes = 16 * 1024;
// Of a subscription in the two tables, beside the name.
constexpr uint64_t kSubscriptionBytes = 64;

void AppendBulk(std::string_view bytes, std::string* out) {
  char digits[24];
  char* end = std::to_chars(digits, digits + sizeof digits, bytes.size()).ptr;
  out->push_back('$');
  out->append(digits, static_cast<size_t>(end - digits));
  out->append("\r\n").append(bytes).append("\r\n");
}

uint64_t SubscriptionBytes(const Topic& topic) { return kSubscriptionBytes + topic.name.size(); }

}  // namespace

std::vector<std::string> Subscriptions::Names(TopicKind kind) const {
  std::vector<std::string> names;
  for (const auto& [topic, place] : topics_[static_cast<size_t>(kind)]) {
    names.push_back(topic->name);
  }
  return names;
}

Topic* PubSub::Find(TopicKind kind, std::string_view name) const {
  const Topics& topics = topics_[static_cast<size_t>(kind)];
  auto it = topics.find(name);
  return it == topics.end() ? nullptr : it->second.get();
}

bool PubSub::Subscribe(Client* client, TopicKind kind, std::string_view name) {
  Topic* topic = Find(kind, name);
  if (topic == nullptr) {
    auto made = std::make_unique<Topic>(Topic{kind, std::string(name), {}});
    topic = made.get();
    topics_[static_cast<size_t>(kind)].emplace(std::string(name), std::move(made));
  }
  Subscriptions& own = client->subscriptions();
  auto& places = own.topics_[static_cast<size_t>(kind)];
  if (!places.emplace(topic, topic->subscribers.size()).second) return false;
  if (own.count() + own.topics(TopicKind::kShardChannel) == 1) ++clients_;
  topic->subscribers.push_back(client);
  own.memory_bytes_ += SubscriptionBytes(*topic);
  return true;
}

bool PubSub::Unsubscribe(Client* client, TopicKind kind, std::string_view name) {
  Topic* topic = Find(kind, name);
  if (topic == nullptr) return false;
  if (!client->subscriptions().topics_[static_cast<size_t>(kind)].contains(topic)) return false;
  Remove(client, topic);
  return true;
}

void PubSub::Remove(Client* client, Topic* topic) {
  Subscriptions& own = client->subscriptions();
  const size_t kind = static_cast<size_t>(topic->kind);
  auto it = own.topics_[kind].find(topic);
  CHECK(it != own.topics_[kind].end());
  const size_t place = it->second;
  own.topics_[kind].erase(it);
  own.memory_bytes_ -= SubscriptionBytes(*topic);
  if (own.empty()) --clients_;
  // The last subscriber takes the place that has become free.
  Client* last = topic->subscribers.back();
  topic->subscribers.pop_back();
  if (last != client) {
    topic->subscribers[place] = last;
    last->subscriptions().topics_[kind][topic] = place;
  }
  if (topic->subscribers.empty()) topics_[kind].erase(topics_[kind].find(topic->name));
}

void PubSub::Forget(Client* client) {
  for (auto& topics : client->subscriptions().topics_) {
    while (!topics.empty()) Remove(client, topics.begin()->first);
  }
}

size_t PubSub::Publish(TopicKind kind, std::string_view channel, std::string_view message) {
  size_t receivers = 0;
  if (const Topic* topic = Find(kind, channel)) {
    Deliver(*topic, channel, message);
    receivers += topic->subscribers.size();
  }
  if (kind == TopicKind::kShardChannel) return receivers;
  for (const auto& [pattern, topic] : topics_[static_cast<size_t>(TopicKind::kPattern)]) {
    if (!GlobMatch(pattern, channel)) continue;
    Deliver(*topic, channel, message);
    receivers += topic->subscribers.size();
  }
  return receivers;
}

void PubSub::Deliver(const Topic& topic, std::string_view channel, std::string_view message) {
  encoded_.clear();
  switch (topic.kind) {
    case TopicKind::kChannel:
      encoded_ = "*3\r\n$7\r\nmessage\r\n";
      break;
    case TopicKind::kShardChannel:
      encoded_ = "*3\r\n$8\r\nsmessage\r\n";
      break;
    case TopicKind::kPattern:
      encoded_ = "*4\r\n$8\r\npmessage\r\n";
      AppendBulk(topic.name, &encoded_);
      break;
  }
  AppendBulk(channel, &encoded_);
  AppendBulk(message, &encoded_);
  // The two protocols differ in the first byte alone.
  Page* shared = nullptr;
  if (encoded_.size() >= kSharedBytes && topic.subscribers.size() > 1) {
    shared = Page::CopyOf(std::string_view(encoded_).substr(1), encoded_.size() - 1);
  }
  for (Client* client : topic.subscribers) {
    encoded_[0] = client->reply().protocol() < 3 ? '*' : '>';
    if (shared != nullptr) {
      client->Push(std::string_view(encoded_).substr(0, 1), shared);
    } else {
      client->Push(encoded_);
    }
  }
  if (shared != nullptr) shared->Release();
  if (encoded_.capacity() > kSharedBytes) std::string().swap(encoded_);
}

size_t PubSub::subscribers(TopicKind kind, std::string_view name) const {
  const Topic* topic = Find(kind, name);
  return topic == nullptr ? 0 : topic->subscribers.size();
}

void PubSub::ForEachTopic(TopicKind kind, const std::function<void(const Topic&)>& visit) const {
  for (const auto& [name, topic] : topics_[static_cast<size_t>(kind)]) visit(*topic);
}

}  // namespace firn::server
