// MIGRATE: values go to another server, and are deleted here once they are there.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/commands/common.h"
#include "server/commands/dump.h"
#include "server/errands.h"
#include "server/migration.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr int64_t kDefaultTimeoutMs = 1000;
constexpr std::string_view kChangedError =
    "IOERR a key was changed while it was sent: what the target instance has of it is older, and "
    "it was not deleted here";

struct MigrateRequest {
  Migration::Target target;
  bool copy = false;
  std::vector<std::string_view> keys;
};

bool ParseMigrateOr(CommandContext& context, MigrateRequest* request) {
  std::span<const std::string_view> args = context.args;
  Migration::Target& target = request->target;
  request->keys = {args[3]};
  for (size_t i = 6; i < args.size(); ++i) {
    const size_t left = args.size() - 1 - i;
    if (EqualsIgnoreCase(args[i], "copy")) {
      request->copy = true;
    } else if (EqualsIgnoreCase(args[i], "replace")) {
      target.replace = true;
    } else if (EqualsIgnoreCase(args[i], "auth") && left >= 1) {
      target.credentials = {std::string(args[i + 1])};
      i += 1;
    } else if (EqualsIgnoreCase(args[i], "auth2") && left >= 2) {
      target.credentials = {std::string(args[i + 1]), std::string(args[i + 2])};
      i += 2;
    } else if (EqualsIgnoreCase(args[i], "keys")) {
      if (!args[3].empty()) {
        context.reply.Error(
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
        return false;
      }
      request->keys.assign(args.begin() + static_cast<ptrdiff_t>(i) + 1, args.end());
      break;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  if (!ParseIntegerOr(context, args[5], &target.timeout_ms) ||
      !ParseIntegerOr(context, args[4], &target.db)) {
    return false;
  }
  if (target.timeout_ms <= 0) target.timeout_ms = kDefaultTimeoutMs;
  target.host = args[1];
  target.port = args[2];
  return true;
}

// Who has other credentials must not go on as who had these.
std::string ConnectionName(const Migration::Target& target) {
  std::string name;
  auto add = [&](const std::string& part) { name += std::to_string(part.size()) + ":" + part; };
  add(target.host);
  add(target.port);
  for (const std::string& part : target.credentials) add(part);
  return name;
}

int64_t TtlOf(const CommandContext& context, int64_t expiry_ms) {
  return expiry_ms < 0 ? 0 : std::max<int64_t>(1, expiry_ms - context.now_ms());
}

struct Moving {
  explicit Moving(Migration::Target target) : migration(std::move(target)) {}
  Migration migration;
  std::vector<int64_t> expiries;  // of the items
  bool copy = false;
};

// Deletes what has arrived, if it is still what was sent. Locates everything first.
void DeleteTaken(CommandContext& context, Moving& moving) {
  std::vector<HashedKey> gone;
  bool all_here = true;
  bool changed = false;
  std::vector<Migration::Item>& items = moving.migration.items();
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].taken) continue;
    const HashedKey key = context.store.Key(items[i].key);
    std::string payload;
    const Dumped dumped = DumpKey(context, key, &payload);
    all_here &= dumped != Dumped::kMissing;
    if (dumped != Dumped::kYes) continue;
    const Database::KeyInfo info = context.db().Lookup(key, {.touch = false, .count_hit = false});
    if (payload == items[i].payload && info.expiry_ms == moving.expiries[i]) {
      gone.push_back(key);
    } else {
      changed = true;
    }
  }
  if (!all_here) return;
  for (const HashedKey& key : gone) {
    if (!context.db().Delete(key)) continue;  // it was named twice
    context.Modified(key);
    context.Notify('g', "del", key.bytes);
  }
  if (!moving.migration.error().empty()) return context.reply.Error(moving.migration.error());
  changed ? context.reply.Error(kChangedError) : context.reply.Ok();
}

void OnMigrated(CommandContext& context, std::shared_ptr<Moving> moving) {
  if (moving->copy) {
    const std::string& error = moving->migration.error();
    return error.empty() ? context.reply.Ok() : context.reply.Error(error);
  }
  std::vector<KeyAccess> keys;
  for (const Migration::Item& item : moving->migration.items()) {
    if (!item.taken) continue;
    keys.push_back({context.db().number(), context.store.Key(item.key), Access::kUpdate});
  }
  RunWithKeys(context, std::move(keys),
              [moving](CommandContext& context) { DeleteTaken(context, *moving); });
}

}  // namespace

void MigrateCommand(CommandContext& context) {
  MigrateRequest request;
  if (!ParseMigrateOr(context, &request)) return;
  auto moving = std::make_shared<Moving>(std::move(request.target));
  moving->copy = request.copy;
  uint64_t bytes = 0;
  bool all_here = true;
  for (std::string_view name : request.keys) {
    const HashedKey key = context.store.Key(name);
    Migration::Item item{.key = std::string(name)};
    const Dumped dumped = DumpKey(context, key, &item.payload);
    all_here &= dumped != Dumped::kMissing;
    if (dumped != Dumped::kYes) continue;
    const Database::KeyInfo info = context.db().Lookup(key, {.touch = false, .count_hit = false});
    item.ttl_ms = TtlOf(context, info.expiry_ms);
    bytes += item.payload.size();
    if (bytes > MaxReplyBytes(context)) return context.reply.Error(kOutOfMemoryError);
    moving->migration.items().push_back(std::move(item));
    moving->expiries.push_back(info.expiry_ms);
  }
  if (!all_here) return;
  if (moving->migration.items().empty()) return context.reply.SimpleString("NOKEY");
  SuspendedCommand suspended = context.Suspend();
  Errands& errands = context.server.errands();
  const std::string name = ConnectionName(moving->migration.target());
  moving->migration.UseConnection(errands.connections().Take(name));
  errands.Run(
      [moving](const std::atomic<bool>* stop) { moving->migration.Run(stop); },
      [moving, suspended, name, &errands] {
        const int fd = moving->migration.TakeConnection();
        if (fd >= 0) errands.connections().Keep(name, fd);
        suspended.Resume([moving](CommandContext& context) { OnMigrated(context, moving); });
      });
}

}  // namespace firn::server
