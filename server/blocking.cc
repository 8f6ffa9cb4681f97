#include "server/blocking.h"

#include <algorithm>
#include <cmath>

#include "server/client.h"
#include "server/commands/common.h"
#include "server/dispatcher.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

void AnswerTimeout(CommandContext& context, BlockOptions::OnTimeout answer) {
  if (answer == BlockOptions::OnTimeout::kNullArray) {
    context.reply.NullArray();
  } else {
    context.reply.Null();
  }
}

}  // namespace

bool ParseBlockTimeout(CommandContext& context, std::string_view text, int64_t* timeout_ms) {
  constexpr std::string_view kNotANumber = "ERR timeout is not a float or out of range";
  long double seconds = 0;
  char* end = nullptr;
  const std::string copy(text);
  if (!copy.empty() && !std::isspace(static_cast<unsigned char>(copy[0]))) {
    seconds = std::strtold(copy.c_str(), &end);
  }
  if (end == nullptr || end != copy.c_str() + copy.size() || std::isnan(seconds)) {
    context.reply.Error(kNotANumber);
    return false;
  }
  const long double millis = std::ceil(seconds * 1000);
  if (millis > static_cast<long double>(INT64_MAX)) {
    context.reply.Error("ERR timeout is out of range");
    return false;
  }
  if (millis < 0) {
    context.reply.Error("ERR timeout is negative");
    return false;
  }
  const int64_t now = context.server.loop().WallMillis();
  if (millis > static_cast<long double>(INT64_MAX - now)) {
    context.reply.Error("ERR timeout is out of range");
    return false;
  }
  *timeout_ms = static_cast<int64_t>(millis);
  return true;
}

void BlockOnKeys(CommandContext& context, const BlockOptions& options) {
  if (context.client.transaction().running || context.server.scripting().runner().running()) {
    return AnswerTimeout(context, options.on_timeout);
  }
  context.server.blocking().Block(context, options);
}

void SignalReady(CommandContext& context, uint32_t db, std::string_view key) {
  context.server.blocking().Signal(db, key);
}

void SignalReady(CommandContext& context, const HashedKey& key) {
  SignalReady(context, context.client.db(), key.bytes);
}

void Blocking::Block(CommandContext& context, const BlockOptions& options) {
  const uint64_t id = context.client.id();
  const int64_t now_ms = server_.loop().NowMicros() / 1000;
  auto [it, is_new] = waiters_.try_emplace(id);
  Waiter& waiter = it->second;
  if (!is_new) {
    // It ran again and found nothing. What waited for its turn goes on.
    waiter.running = false;
    std::vector<Key> keys = std::exchange(waiter.serve_after, {});
    for (const Key& key : keys) Signal(key.first, key.second);
    if (waiter.deadline_ms != 0 && now_ms >= waiter.deadline_ms) {
      Forget(id);
      return AnswerTimeout(context, options.on_timeout);
    }
    waiter.suspended = context.Suspend();
    return;
  }
  waiter.order = next_order_++;
  waiter.block_id = next_block_id_++;
  waiter.options = options;
  waiter.suspended = context.Suspend();
  const size_t first = std::min(options.first_key, context.keys.size());
  const size_t count = std::min(options.key_count, context.keys.size() - first);
  for (const KeyAccess& access : context.keys.subspan(first, count)) {
    Key key{access.db, std::string(access.key.bytes)};
    clients_of_key_[key].emplace(waiter.order, id);
    waiter.keys.push_back(std::move(key));
  }
  if (options.timeout_ms == 0) return;
  // No timer needs to be longer than a century.
  constexpr int64_t kLongestMs = 100LL * 365 * 24 * 3600 * 1000;
  const int64_t timeout_ms = std::min(options.timeout_ms, kLongestMs);
  waiter.deadline_ms = now_ms + timeout_ms;
  server_.loop().AddTimer(timeout_ms * 1000, [this, id, block_id = waiter.block_id] {
    auto found = waiters_.find(id);
    if (found == waiters_.end() || found->second.block_id != block_id) return;
    // One that runs looks at its deadline itself.
    if (!found->second.running) Unblock(id, Reason::kTimeout);
  });
}

Blocking::Counts Blocking::CountWaits() const {
  Counts counts{.keys = clients_of_key_.size()};
  std::set<Key> awake;
  for (const auto& [id, waiter] : waiters_) {
    if (waiter.deadline_ms != 0) ++counts.with_timeout;
    if (waiter.options.wake_whatever_type) awake.insert(waiter.keys.begin(), waiter.keys.end());
  }
  counts.keys_awake_on_nokey = awake.size();
  return counts;
}

void Blocking::Signal(uint32_t db, std::string_view key) {
  if (waiters_.empty()) return;
  Key ready{db, std::string(key)};
  if (!clients_of_key_.contains(ready) || !is_ready_.insert(ready).second) return;
  ready_.push_back(std::move(ready));
}

void Blocking::SignalDatabase(uint32_t db) {
  for (const auto& [key, clients] : clients_of_key_) {
    if (key.first == db && is_ready_.insert(key).second) ready_.push_back(key);
  }
}

void Blocking::ServeReady() {
  if (serving_) return;
  serving_ = true;
  while (!ready_.empty()) {
    Key key = std::move(ready_.front());
    ready_.pop_front();
    is_ready_.erase(key);
    ServeKey(key);
  }
  serving_ = false;
}

ValueType Blocking::TypeOf(const Key& key, ValueType unknown) {
  Store& store = server_.store();
  Ticket ticket;
  KeyAccess access{.db = key.first, .key = store.Key(key.second), .access = Access::kMetadata};
  ValueType type = unknown;
  if (store.Plan({&access, 1}, &ticket) == PlanResult::kReady) {
    Database& db = store.database(key.first);
    type = db.Lookup(access.key, {.touch = false, .count_hit = false}).type;
  }
  store.Release(&ticket);
  return type;
}

void Blocking::ServeKey(const Key& key) {
  auto found = clients_of_key_.find(key);
  if (found == clients_of_key_.end()) return;
  // Those that block from now on are not served by this signal.
  const std::vector<std::pair<uint64_t, uint64_t>> clients(found->second.begin(),
                                                           found->second.end());
  for (const auto& [order, id] : clients) {
    auto it = waiters_.find(id);
    if (it == waiters_.end() || it->second.order != order) continue;
    const Client* client = server_.FindClient(id);
    if (client == nullptr || client->closing()) continue;
    Waiter& waiter = it->second;
    const ValueType type = TypeOf(key, waiter.options.type);
    if (type != waiter.options.type && !waiter.options.wake_whatever_type) continue;
    if (!waiter.running) {
      waiter.running = true;
      server_.dispatcher().RunBlocked(id);
      it = waiters_.find(id);
      if (it == waiters_.end() || it->second.order != order || !it->second.running) continue;
    }
    // It waits for the disk; those behind it must not overtake it.
    it->second.serve_after.push_back(key);
    return;
  }
}

void Blocking::Forget(uint64_t client_id) {
  auto it = waiters_.find(client_id);
  if (it == waiters_.end()) return;
  Waiter waiter = std::move(it->second);
  waiters_.erase(it);
  for (const Key& key : waiter.keys) {
    auto found = clients_of_key_.find(key);
    if (found == clients_of_key_.end()) continue;
    found->second.erase(waiter.order);
    if (found->second.empty()) clients_of_key_.erase(found);
  }
  for (const Key& key : waiter.serve_after) Signal(key.first, key.second);
}

bool Blocking::Unblock(uint64_t client_id, Reason reason) {
  auto it = waiters_.find(client_id);
  if (it == waiters_.end() || it->second.running) return false;
  SuspendedCommand suspended = it->second.suspended;
  const BlockOptions::OnTimeout answer = it->second.options.on_timeout;
  Forget(client_id);
  // Not from inside another client's command.
  server_.loop().Post([suspended, reason, answer] {
    suspended.Resume([reason, answer](CommandContext& context) {
      if (reason == Reason::kTimeout) return AnswerTimeout(context, answer);
      context.reply.Error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    });
  });
  return true;
}

}  // namespace firn::server
