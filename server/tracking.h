// Tracking: client-side caching (https://redis.io/docs/manual/client-side-caching). It remembers
// which clients have read which keys, and tells them when such a key changes, expires or is
// flushed. Keys are known by name, whatever their database. Where a value lies, in RAM or on disk,
// is nothing that a client could cache: tier moves invalidate nothing.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/command.h"

namespace firn::server {

class Client;
class Server;

// CLIENT TRACKING of one connection, while it is on.
struct TrackingState {
  bool broadcast = false;
  bool opt_in = false;
  bool opt_out = false;
  bool no_loop = false;
  bool caching = false;            // CLIENT CACHING was just called
  bool broken_redirect = false;    // the client that messages go to is gone
  uint64_t redirect = 0;           // the id of that client; 0: none
  uint64_t spared_bytes = 0;       // as of the last Account
  std::set<std::string> prefixes;  // when broadcast
};

class Tracking {
 public:
  explicit Tracking(Server* server) : server_(*server) {}

  // Some client has tracking on.
  bool active() const { return clients_ > 0; }
  void Enable(Client* client, const TrackingState& wanted);
  void Disable(Client* client);

  // The client has run a command that only reads: remembers its keys, if it is to.
  void RememberKeys(Client* client, const Command& command, std::span<const std::string_view> args);
  // The key was changed, by `client` unless that is null.
  void Invalidate(std::string_view key, const Client* client);
  // All keys are gone.
  void InvalidateAll();
  // Sends what clients with broadcasting are to know. Once an iteration.
  void Broadcast();
  // The client, which has tracking on, was sent something, or some of that has left.
  void Account(Client* client);
  // What such clients' replies take, up to a limit for each. An eviction has to be told to them:
  // if that counted as memory at once, it would cause the next.
  uint64_t spared_bytes() const { return spared_bytes_; }
  // Forgets keys beyond tracking-table-max-keys, a bounded number of them.
  void LimitKeys();

  uint64_t clients() const { return clients_; }
  uint64_t keys() const { return keys_.size(); }
  uint64_t items() const { return items_; }  // pairs of a key and a client
  uint64_t prefixes() const { return prefixes_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  using Keys = std::unordered_map<std::string, std::vector<uint64_t>, Hash, std::equal_to<>>;
  struct Prefix {
    std::vector<Client*> clients;
    std::map<std::string, uint64_t> changed;  // with the id of the client that did it, else 0
  };

  void NotifyReaders(Keys::iterator it, const Client* client);
  void RememberChange(std::string_view key, const Client* client);
  // `value` is encoded: the array of keys, or null for all.
  void Send(Client* client, std::string_view value);
  static std::string EncodeKeys(const Prefix& prefix, std::optional<uint64_t> without_client);

  Server& server_;
  uint64_t clients_ = 0;
  uint64_t items_ = 0;
  uint64_t spared_bytes_ = 0;
  Keys keys_;  // the ids are in order
  std::map<std::string, Prefix, std::less<>> prefixes_;
  std::map<size_t, size_t> prefix_lengths_;  // how many prefixes have each
  bool changed_ = false;                     // some prefix has changed keys
  uint64_t limit_rounds_ = 0;                // in which the limit was not reached
};

}  // namespace firn::server
