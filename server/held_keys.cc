#include "server/held_keys.h"

#include <algorithm>
#include <utility>

#include "server/server.h"

namespace firn::server {

HeldKeys::HeldKeys(Server* server) : server_(*server), alive_(std::make_shared<HeldKeys*>(this)) {}

HeldKeys::~HeldKeys() = default;

bool HeldKeys::HoldsBack(uint32_t db, std::string_view key) {
  const bool holds = std::ranges::any_of(
      holds_, [&](const KeyHold* hold) { return hold->db_ == db && hold->covers_(key); });
  awaited_ |= holds;
  return holds;
}

void HeldKeys::Break(uint32_t db, std::string_view key) {
  for (KeyHold* hold : holds_) hold->broken_ |= hold->db_ == db && hold->covers_(key);
}

void HeldKeys::TouchDatabase(uint32_t db) {
  for (KeyHold* hold : holds_) hold->broken_ |= hold->db_ == db;
}

KeyHold::KeyHold(Server& server, uint32_t db, Covers covers)
    : table_(server.held_keys().alive_), db_(db), covers_(std::move(covers)) {
  server.held_keys().holds_.push_back(this);
}

KeyHold::~KeyHold() {
  const auto table = table_.lock();
  if (table == nullptr) return;
  std::erase((*table)->holds_, this);
  if (!(*table)->any()) (*table)->awaited_ = false;
  (*table)->server_.NoteWaiting();
}

}  // namespace firn::server
