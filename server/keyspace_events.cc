#include "server/keyspace_events.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "server/server.h"

namespace firn::server {
namespace {

// With these the key is always a new one: what was there before was deleted first.
constexpr std::string_view kMakeKeys[] = {"rename_to", "copy_to", "move_to", "restore"};

}  // namespace

KeyspaceEvent KeyspaceEvents::ClassOf(char letter) {
  switch (letter) {
    case 'g':
      return kEventGeneric;
    case '$':
      return kEventString;
    case 'l':
      return kEventList;
    case 's':
      return kEventSet;
    case 'h':
      return kEventHash;
    case 'z':
      return kEventZset;
    case 'x':
      return kEventExpired;
    case 'e':
      return kEventEvicted;
    case 't':
      return kEventStream;
    case 'm':
      return kEventKeyMiss;
    case 'd':
      return kEventModule;
    case 'n':
      return kEventNew;
    case 'F':
      return kEventTier;
  }
  CHECK_MSG(false, "an unknown class of keyspace events");
  return kEventGeneric;
}

bool KeyspaceEvents::Wanted(KeyspaceEvent event_class) const {
  const uint32_t wanted = server_.options()->notify_keyspace_events;
  return (wanted & event_class) != 0 && (wanted & (kEventKeyspace | kEventKeyevent)) != 0 &&
         !server_.pubsub().silent();
}

void KeyspaceEvents::Notify(uint32_t db, KeyspaceEvent event_class, std::string_view event,
                            std::string_view key) {
  if (event_class == kEventKeyMiss) {
    if (Wanted(event_class)) misses_.emplace_back(db, std::string(key));
    return;
  }
  EndCommand();
  if (wants_new()) PublishNew(db, event, key);
  if (Wanted(event_class)) Publish(db, event, key);
}

void KeyspaceEvents::Publish(uint32_t db, std::string_view event, std::string_view key) {
  const uint32_t wanted = server_.options()->notify_keyspace_events;
  auto publish = [&](std::string_view space, std::string_view name, std::string_view message) {
    channel_.assign(space).append(std::to_string(db)).append("__:").append(name);
    server_.pubsub().Publish(TopicKind::kChannel, channel_, message);
  };
  if ((wanted & kEventKeyspace) != 0) publish("__keyspace@", key, event);
  if ((wanted & kEventKeyevent) != 0) publish("__keyevent@", event, key);
}

void KeyspaceEvents::PublishMisses() {
  for (const Key& key : std::exchange(misses_, {})) Publish(key.first, "keymiss", key.second);
}

void KeyspaceEvents::PublishNew(uint32_t db, std::string_view event, std::string_view key) {
  auto it = std::find_if(absent_.begin(), absent_.end(), [&](const Key& absent) {
    return absent.first == db && absent.second == key;
  });
  const bool was_absent = it != absent_.end();
  if (was_absent) absent_.erase(it);
  const bool made =
      std::find(std::begin(kMakeKeys), std::end(kMakeKeys), event) != std::end(kMakeKeys);
  if (was_absent || made) Publish(db, "new", key);
}

void KeyspaceEvents::BeginCommand(const Command& command, std::span<const KeyAccess> keys) {
  misses_.clear();
  absent_.clear();
  if ((command.flags & kWrite) == 0 || !wants_new()) return;
  for (const KeyAccess& access : keys) {
    const Database::LookupOptions options{.touch = false, .count_hit = false};
    if (server_.store().database(access.db).Lookup(access.key, options).exists()) continue;
    absent_.emplace_back(access.db, std::string(access.key.bytes));
  }
}

}  // namespace firn::server
