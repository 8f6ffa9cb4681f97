#include "server/tracking.h"

#include <algorithm>
#include <utility>

#include "server/client.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Keys that LimitKeys forgets at a time; more, the longer it fails to get below the limit.
constexpr uint64_t kForgetKeys = 100;
// Of one client's replies.
constexpr uint64_t kMostSparedBytes = 64 << 10;

std::string Header(char type, size_t count) { return type + std::to_string(count) + "\r\n"; }

void AppendBulk(std::string_view bytes, std::string* out) {
  out->append(Header('$', bytes.size())).append(bytes).append("\r\n");
}

}  // namespace

void Tracking::Enable(Client* client, const TrackingState& wanted) {
  std::unique_ptr<TrackingState>& state = client->tracking();
  if (state == nullptr) {
    ++clients_;
    state = std::make_unique<TrackingState>();
  }
  std::set<std::string> prefixes = std::exchange(state->prefixes, {});
  const std::set<std::string> added = wanted.prefixes;
  const uint64_t spared = state->spared_bytes;
  *state = wanted;
  state->spared_bytes = spared;
  state->prefixes = std::move(prefixes);
  for (const std::string& name : added) {
    if (!state->prefixes.insert(name).second) continue;
    auto [it, is_new] = prefixes_.try_emplace(name);
    if (is_new) ++prefix_lengths_[name.size()];
    it->second.clients.push_back(client);
  }
}

void Tracking::Disable(Client* client) {
  std::unique_ptr<TrackingState> state = std::move(client->tracking());
  if (state == nullptr) return;
  --clients_;
  spared_bytes_ -= state->spared_bytes;
  for (const std::string& name : state->prefixes) {
    auto it = prefixes_.find(name);
    if (it == prefixes_.end()) continue;
    std::erase(it->second.clients, client);
    if (!it->second.clients.empty()) continue;
    prefixes_.erase(it);
    auto length = prefix_lengths_.find(name.size());
    if (--length->second == 0) prefix_lengths_.erase(length);
  }
}

void Tracking::Account(Client* client) {
  TrackingState& state = *client->tracking();
  const uint64_t bytes = std::min(client->output().memory_bytes(), kMostSparedBytes);
  spared_bytes_ += bytes - std::exchange(state.spared_bytes, bytes);
}

void Tracking::RememberKeys(Client* client, const Command& command,
                            std::span<const std::string_view> args) {
  const TrackingState* state = client->tracking().get();
  if (state == nullptr || state->broadcast) return;
  if ((command.flags & kReadonly) == 0 || (command.flags & kPubsub) != 0) return;
  // A script's keys are those that it reads, not those that it declares.
  if ((command.acl_categories & kAclScripting) != 0) return;
  if ((state->opt_in && !state->caching) || (state->opt_out && state->caching)) return;
  std::vector<FoundKey> found;
  if (!FindKeys(command, args, &found)) return;
  for (const FoundKey& each : found) {
    const std::string_view key = args[each.argument];
    auto it = keys_.find(key);
    if (it == keys_.end()) it = keys_.emplace(std::string(key), std::vector<uint64_t>()).first;
    std::vector<uint64_t>& ids = it->second;
    auto place = std::lower_bound(ids.begin(), ids.end(), client->id());
    if (place != ids.end() && *place == client->id()) continue;
    ids.insert(place, client->id());
    ++items_;
  }
}

void Tracking::Invalidate(std::string_view key, const Client* client) {
  if (!prefixes_.empty()) RememberChange(key, client);
  if (keys_.empty()) return;
  auto it = keys_.find(key);
  if (it != keys_.end()) NotifyReaders(it, client);
}

void Tracking::NotifyReaders(Keys::iterator it, const Client* client) {
  std::string value = "*1\r\n";
  AppendBulk(it->first, &value);
  const std::vector<uint64_t> ids = std::move(it->second);
  items_ -= ids.size();
  keys_.erase(it);
  for (uint64_t id : ids) {
    Client* reader = server_.FindClient(id);
    if (reader == nullptr) continue;
    const TrackingState* state = reader->tracking().get();
    // It may have changed its mind since it read the key.
    if (state == nullptr || state->broadcast) continue;
    if (state->no_loop && reader == client) continue;
    Send(reader, value);
  }
}

void Tracking::RememberChange(std::string_view key, const Client* client) {
  for (const auto& [length, count] : prefix_lengths_) {
    if (length > key.size()) break;
    auto it = prefixes_.find(key.substr(0, length));
    if (it == prefixes_.end()) continue;
    it->second.changed[std::string(key)] = client == nullptr ? 0 : client->id();
    changed_ = true;
  }
}

std::string Tracking::EncodeKeys(const Prefix& prefix, std::optional<uint64_t> without_client) {
  std::string bulks;
  size_t count = 0;
  for (const auto& [key, changer] : prefix.changed) {
    if (changer == without_client) continue;
    AppendBulk(key, &bulks);
    ++count;
  }
  return count == 0 ? std::string() : Header('*', count) + bulks;
}

void Tracking::Broadcast() {
  if (!std::exchange(changed_, false)) return;
  for (auto& [name, prefix] : prefixes_) {
    if (prefix.changed.empty()) continue;
    const std::string all = EncodeKeys(prefix, std::nullopt);
    for (Client* client : prefix.clients) {
      const bool no_loop = client->tracking()->no_loop;
      const std::string own = no_loop ? EncodeKeys(prefix, client->id()) : std::string();
      if (!no_loop) Send(client, all);
      if (!own.empty()) Send(client, own);
    }
    prefix.changed.clear();
  }
}

void Tracking::InvalidateAll() {
  if (clients_ > 0) {
    for (const auto& [id, client] : server_.clients()) {
      if (client->tracking() == nullptr) continue;
      Send(client.get(), client->reply().protocol() < 3 ? "$-1\r\n" : "_\r\n");
    }
  }
  keys_.clear();
  items_ = 0;
}

void Tracking::Send(Client* client, std::string_view value) {
  TrackingState& state = *client->tracking();
  Client* receiver = client;
  if (state.redirect != 0) {
    receiver = server_.FindClient(state.redirect);
    if (receiver == nullptr || receiver->closing()) {
      state.broken_redirect = true;
      if (client->reply().protocol() >= 3) {
        client->Push(">2\r\n$21\r\ntracking-redir-broken\r\n:" + std::to_string(state.redirect) +
                     "\r\n");
      }
      return;
    }
  }
  std::string message;
  if (receiver->reply().protocol() >= 3) {
    message = ">2\r\n$10\r\ninvalidate\r\n";
  } else if (state.redirect != 0 && !receiver->subscriptions().empty()) {
    message = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
  } else {
    return;  // RESP2 has no way to say it on a connection with requests
  }
  receiver->Push(message.append(value));
}

void Tracking::LimitKeys() {
  const uint64_t limit = static_cast<uint64_t>(server_.options()->tracking_table_max_keys);
  if (limit == 0 || keys_.size() <= limit) {
    limit_rounds_ = 0;
    return;
  }
  uint64_t effort = kForgetKeys * (++limit_rounds_);
  for (; effort > 0 && keys_.size() > limit; --effort) NotifyReaders(keys_.begin(), nullptr);
}

}  // namespace firn::server
