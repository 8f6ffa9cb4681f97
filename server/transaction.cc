#include "server/transaction.h"

#include <algorithm>

#include "server/client.h"
#include "server/server.h"

namespace firn::server {

Transaction::Transaction() = default;
Transaction::~Transaction() = default;

void WatchTable::Watch(Client* client, WatchedKey key) {
  std::vector<WatchedKey>& watched = client->transaction().watched;
  bool known = std::any_of(watched.begin(), watched.end(), [&](const WatchedKey& other) {
    return other.db == key.db && other.key == key.key;
  });
  if (known) return;
  watchers_[{key.db, key.key}].insert(client);
  watched.push_back(std::move(key));
}

void WatchTable::Unwatch(Client* client) {
  Transaction& transaction = client->transaction();
  for (const WatchedKey& key : transaction.watched) {
    auto it = watchers_.find({key.db, key.key});
    if (it == watchers_.end()) continue;
    it->second.erase(client);
    if (it->second.empty()) watchers_.erase(it);
  }
  transaction.watched.clear();
  transaction.touched = false;
}

void WatchTable::TouchWatched(uint32_t db, std::string_view key) {
  auto it = watchers_.find({db, std::string(key)});
  if (it == watchers_.end()) return;
  for (Client* client : it->second) client->transaction().touched = true;
}

bool WatchTable::MayExist(uint32_t db, std::string_view key) {
  Store& store = server_.store();
  Ticket ticket;
  KeyAccess access{.db = db, .key = store.Key(key), .access = Access::kMetadata};
  bool exists = true;  // if only the disk could tell: an EXEC in vain is harmless
  if (store.Plan({&access, 1}, &ticket) == PlanResult::kReady) {
    exists = store.database(db).Lookup(access.key, {.touch = false, .count_hit = false}).exists();
  }
  store.Release(&ticket);
  return exists;
}

void WatchTable::TouchDatabase(uint32_t db, std::optional<uint32_t> replaced_by) {
  for (const auto& [key, clients] : watchers_) {
    if (key.first != db) continue;
    const bool arrives = replaced_by.has_value() && MayExist(*replaced_by, key.second);
    for (Client* client : clients) {
      Transaction& transaction = client->transaction();
      for (const WatchedKey& watched : transaction.watched) {
        if (watched.db != db || watched.key != key.second) continue;
        const bool expired =
            watched.expiry_ms >= 0 && watched.expiry_ms <= server_.store().expiry_clock_ms();
        if ((watched.exists && !expired) || arrives) transaction.touched = true;
      }
    }
  }
}

}  // namespace firn::server
