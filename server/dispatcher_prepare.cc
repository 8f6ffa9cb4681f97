// What is known of requests before they run: their rows, and what their first keys lead to, which
// is asked of memory for all of a batch before the first of them runs.
#include "engine/types/string_ops.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

ElementHint HintFor(const Database& database, const HashedKey& key, Dispatcher::ElementPlace place,
                    std::string_view argument) {
  if (place.unit == Dispatcher::ElementPlace::Unit::kElement) {
    return Collection::Locate(database, key, argument);
  }
  int64_t number;
  if (!ParseInteger(argument, &number) || number < 0) return {};
  const auto offset = static_cast<uint64_t>(number);
  return Collection::LocateByte(
      database, key, place.unit == Dispatcher::ElementPlace::Unit::kBit ? offset >> 3 : offset);
}

}  // namespace

void Dispatcher::FindKeyPlaces() {
  auto find = [this](const Command& command) {
    // Shard channels are found like keys.
    if (command.key_specs.empty() || (command.flags & kPubsub) != 0) return;
    const KeySpec& spec = command.key_specs[0];
    if (spec.begin != KeySpec::Begin::kIndex || spec.find != KeySpec::Find::kRange) return;
    KeyPlaces& places = places_[server_.commands().IndexOf(command)];
    places.first_key = static_cast<uint8_t>(spec.begin_index);
    places.only_key =
        command.key_specs.size() == 1 && spec.last == 0 && command.more_keys == nullptr;
  };
  for (const Command* command : server_.commands().all()) {
    find(*command);
    for (const Command& sub : command->subcommands) find(sub);
  }
  // Commands whose element, found by its hash, is worth asking memory for ahead of time, or a place
  // in a long string.
  using Unit = ElementPlace::Unit;
  auto place = [&](ElementPlace where, std::initializer_list<std::string_view> names) {
    for (std::string_view name : names) {
      const Command* command = server_.commands().FindOriginal(name);
      if (command != nullptr) places_[server_.commands().IndexOf(*command)].element = where;
    }
  };
  place({2, Unit::kElement},
        {"hdel", "hexists", "hget", "hincrby", "hincrbyfloat", "hmget", "hset", "hsetnx", "hstrlen",
         "sadd", "sismember", "smismember", "srem", "zrank", "zrem", "zrevrank", "zscore"});
  place({3, Unit::kElement}, {"zadd", "zincrby"});
  place({2, Unit::kByte}, {"getrange", "setrange"});
  place({2, Unit::kBit}, {"getbit", "setbit"});
}

void Dispatcher::Prepare(const Client& client, std::span<ParsedRequest> requests) {
  ParsedRequest& request = requests.back();
  // Pipelines like to stay with one command, and with one key.
  const ParsedRequest* before = requests.size() > 1 ? &requests[requests.size() - 2] : nullptr;
  request.has_hash = false;
  request.same_key = false;
  request.element.page = 0;
  request.command = before != nullptr && before->args[0] == request.args[0]
                        ? before->command
                        : server_.commands().Find(request.args[0]);
  if (request.command == nullptr) return;
  const size_t at = places_[server_.commands().IndexOf(*request.command)].first_key;
  if (at == 0 || at >= request.args.size()) return;
  request.has_hash = true;
  const std::string_view key = request.args[at];
  if (before != nullptr && before->command == request.command && before->has_hash &&
      before->args[at] == key) {
    request.same_key = true;
    request.first_key_hash = before->first_key_hash;
    return;
  }
  request.first_key_hash = server_.store().Hash(key);
  server_.store().Prefetch(client.db(), request.first_key_hash);
}

void Dispatcher::PrefetchEntries(const Client& client, std::span<ParsedRequest> requests) {
  bool elements = false;
  for (const ParsedRequest& request : requests) {
    if (!request.has_hash) continue;
    if (!request.same_key) server_.store().PrefetchEntry(client.db(), request.first_key_hash);
    elements |= places_[server_.commands().IndexOf(*request.command)].element.argument > 0;
  }
  if (elements) PrefetchElements(client, requests);
}

void Dispatcher::PrefetchElements(const Client& client, std::span<ParsedRequest> requests) {
  const Database& database = server_.store().database(client.db());
  bool found = false;
  const ParsedRequest* before = nullptr;
  for (ParsedRequest& request : requests) {
    if (!request.has_hash) continue;
    const ElementPlace place = places_[server_.commands().IndexOf(*request.command)].element;
    if (place.argument == 0 || place.argument >= request.args.size()) continue;
    // Pipelines like to stay with one key; a small value has no page to ask for.
    const bool same = before != nullptr && before->first_key_hash == request.first_key_hash;
    if (same && before->element.page == 0) continue;
    const HashedKey key{request.args[1], request.first_key_hash};
    request.element = HintFor(database, key, place, request.args[place.argument]);
    found |= request.element.page != 0;
    before = &request;
  }
  if (!found) return;
  for (const ParsedRequest& request : requests) {
    if (request.element.page != 0) Collection::FetchEntry(database, request.element);
  }
  for (ParsedRequest& request : requests) {
    if (request.element.page != 0) Collection::FetchRows(database, &request.element);
  }
  for (const ParsedRequest& request : requests) {
    if (request.element.page != 0) Collection::FetchElement(request.element);
  }
}

}  // namespace firn::server
