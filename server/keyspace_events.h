// KeyspaceEvents: publishes what happens to keys (notify-keyspace-events), to
// __keyspace@<db>__:<key> and __keyevent@<db>__:<event>
// (https://redis.io/docs/manual/keyspace-notifications). Executor thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/command.h"
#include "server/options/option_values.h"

namespace firn::server {

class Server;

class KeyspaceEvents {
 public:
  explicit KeyspaceEvents(Server* server) : server_(*server) {}

  // The class of an event by its letter in notify-keyspace-events. REQUIRES: one of them.
  static KeyspaceEvent ClassOf(char letter);

  // Whether anybody may get an event of the class. Cheap.
  bool Wanted(KeyspaceEvent event_class) const;
  void Notify(uint32_t db, KeyspaceEvent event_class, std::string_view event, std::string_view key);

  // Whether commands that write have to know if their keys exist: for "new".
  bool wants_new() const { return Wanted(kEventNew); }
  // Before a command runs, also if it runs again: `keys` are what it may change.
  void BeginCommand(const Command& command, std::span<const KeyAccess> keys);
  // Once it has run for good: misses are told only then, for what didn't finish runs again.
  void EndCommand() {
    if (!misses_.empty()) [[unlikely]]
      PublishMisses();
  }

 private:
  using Key = std::pair<uint32_t, std::string>;
  void Publish(uint32_t db, std::string_view event, std::string_view key);
  void PublishMisses();
  void PublishNew(uint32_t db, std::string_view event, std::string_view key);

  Server& server_;
  std::vector<Key> misses_;
  std::vector<Key> absent_;  // before the command that runs now
  std::string channel_;
};

}  // namespace firn::server
