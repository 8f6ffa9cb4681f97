// What is known of requests before they run: their rows, and what their first keys lead to, which
// is asked of memory for all of a batch before the first of them runs.
#include <charconv>
#include <cmath>

#include "engine/base/coding.h"
#include "engine/types/string_ops.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

bool ParseScore(std::string_view text, double* score) {
  if (int64_t integer; ParseInteger(text, &integer)) {
    *score = static_cast<double>(integer);
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *score);
  return error == std::errc() && end == text.data() + text.size() && !std::isnan(*score);
}

void FindHint(const Database& database, Dispatcher::ElementPlace place, ParsedRequest* request) {
  const HashedKey key{request->args[1], request->first_key_hash};
  const std::string_view argument = request->args[place.argument];
  using Unit = Dispatcher::ElementPlace::Unit;
  if (place.unit == Unit::kHead || place.unit == Unit::kTail) {
    using End = Collection::End;
    return Collection::FetchEnd(database, key, place.unit == Unit::kHead ? End::kHead : End::kTail);
  }
  if (place.unit == Unit::kByte || place.unit == Unit::kBit) {
    int64_t number;
    if (!ParseInteger(argument, &number) || number < 0) return;
    const auto offset = static_cast<uint64_t>(number);
    Collection::LocateByte(database, key, place.unit == Unit::kBit ? offset >> 3 : offset,
                           &request->element);
    return;
  }
  ElementQuery query = {.element = argument, .ranked = place.unit == Unit::kRanked};
  if (place.unit == Unit::kScored) {
    query.scored = ParseScore(request->args[place.argument - 1], &query.score);
  }
  Collection::Locate(database, key, query, &request->element);
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
  // in a long string, or an end of a list.
  using Unit = ElementPlace::Unit;
  auto place = [&](ElementPlace where, std::initializer_list<std::string_view> names) {
    for (std::string_view name : names) {
      const Command* command = server_.commands().FindOriginal(name);
      if (command != nullptr) places_[server_.commands().IndexOf(*command)].element = where;
    }
  };
  place({2, Unit::kElement},
        {"hdel", "hexists", "hget", "hincrby", "hincrbyfloat", "hmget", "hset", "hsetnx", "hstrlen",
         "sadd", "sismember", "smismember", "srem", "zrem", "zscore"});
  place({2, Unit::kRanked}, {"zrank", "zrevrank"});
  place({3, Unit::kScored}, {"zadd"});
  place({3, Unit::kElement}, {"zincrby"});
  place({4, Unit::kElement}, {"geoadd"});
  place({2, Unit::kByte}, {"getrange", "setrange"});
  place({2, Unit::kBit}, {"getbit", "setbit"});
  place({1, Unit::kHead}, {"lpop", "lpush", "lpushx"});
  place({1, Unit::kTail}, {"rpop", "rpoplpush", "rpush", "rpushx"});
}

void Dispatcher::Prepare(const Client& client, std::span<ParsedRequest> requests) {
  ParsedRequest& request = requests.back();
  // Pipelines like to stay with one command, and with one key.
  const ParsedRequest* before = requests.size() > 1 ? &requests[requests.size() - 2] : nullptr;
  request.has_hash = false;
  request.same_key = request.runs_alone = false;
  request.element.Clear();
  request.command = before != nullptr && SameBytes(before->args[0], request.args[0])
                        ? before->command
                        : server_.commands().Find(request.args[0]);
  if (request.command == nullptr) return;
  const size_t at = places_[server_.commands().IndexOf(*request.command)].first_key;
  if (at == 0 || at >= request.args.size()) return;
  request.has_hash = true;
  const std::string_view key = request.args[at];
  if (before != nullptr && before->command == request.command && before->has_hash &&
      SameBytes(before->args[at], key)) {
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
  std::array<ElementHint*, kBatch> hints;
  size_t found = 0;
  const ParsedRequest* before = nullptr;
  for (ParsedRequest& request : requests) {
    if (!request.has_hash) continue;
    const ElementPlace place = places_[server_.commands().IndexOf(*request.command)].element;
    if (place.argument == 0 || place.argument >= request.args.size()) continue;
    // Pipelines like to stay with one key; a small value has no page to ask for.
    const bool same = before != nullptr && before->first_key_hash == request.first_key_hash;
    if (same && !before->element.has_page()) continue;
    FindHint(database, place, &request);
    if (request.element.has_page()) hints[found++] = &request.element;
    before = &request;
  }
  if (found > 0) Collection::FetchAhead(database, {hints.data(), found});
}

}  // namespace firn::server
