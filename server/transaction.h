// MULTI, EXEC, DISCARD, WATCH, UNWATCH: a client's transaction, and who watches which key.
//
// The keys of all queued commands are planned together when EXEC comes. Once they are here the
// commands run one after the other within one group of the log. Should one of them have to wait
// after all (SCAN, pages of a collection that only the command itself finds missing), the
// dispatcher runs nothing of other clients until EXEC has ended, and the client lives on that long
// even if its peer is gone: a transaction is never left half done.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace firn::server {

class Client;
class Server;
struct Request;

struct WatchedKey {
  uint32_t db = 0;
  std::string key;
  // As they were when WATCH came. A change of them is a change of the key.
  bool exists = false;
  int64_t expiry_ms = -1;
};

struct Transaction {
  Transaction();
  ~Transaction();        // REQUIRES: the tickets of the commands are released
  bool open = false;     // after MULTI
  bool failed = false;   // a command could not be queued: EXEC will refuse
  bool touched = false;  // a watched key has changed
  bool running = false;  // EXEC is under way
  bool writes = false;   // one of the commands does
  bool in_group = false;
  std::vector<std::unique_ptr<Request>> commands;
  uint64_t bytes = 0;  // memory of `commands`
  size_t next = 0;     // while running
  std::vector<WatchedKey> watched;
};

// The watched keys of all clients.
class WatchTable {
 public:
  explicit WatchTable(Server* server) : server_(*server) {}

  bool empty() const { return watchers_.empty(); }
  void Watch(Client* client, WatchedKey key);
  void Unwatch(Client* client);
  // The key was changed.
  void Touch(uint32_t db, std::string_view key) {
    if (!watchers_.empty()) [[unlikely]]
      TouchWatched(db, key);
  }
  // The database is about to be emptied, or to be replaced by another one.
  void TouchDatabase(uint32_t db, std::optional<uint32_t> replaced_by = {});

 private:
  using Key = std::pair<uint32_t, std::string>;
  void TouchWatched(uint32_t db, std::string_view key);
  bool MayExist(uint32_t db, std::string_view key);

  Server& server_;
  std::map<Key, std::set<Client*>> watchers_;
};

}  // namespace firn::server
