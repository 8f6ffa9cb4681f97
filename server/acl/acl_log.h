// AclLog: what ACL LOG shows: refused commands, keys, channels and passwords, the newest first.
// What repeats within a minute is one entry with a count. Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

namespace firn::server {

// Why something was refused. The order tells which of several reasons is reported.
enum class AclDenial : uint8_t { kNone, kCommand, kKey, kAuth, kChannel };
// Where.
enum class AclContext : uint8_t { kTopLevel, kMulti, kLua };

std::string_view AclDenialName(AclDenial denial);     // "command", "key" ...
std::string_view AclContextName(AclContext context);  // "toplevel" ...

class AclLog {
 public:
  struct Entry {
    AclDenial reason = AclDenial::kNone;
    AclContext context = AclContext::kTopLevel;
    std::string object;  // the command, key or channel
    std::string user;
    std::string client;  // as CLIENT LIST shows it; of the last time
    uint64_t count = 1;
    uint64_t id = 0;
    int64_t created_ms = 0;
    int64_t updated_ms = 0;
  };
  // Since the start or CONFIG RESETSTAT.
  struct Counters {
    uint64_t auth = 0, command = 0, key = 0, channel = 0;
  };

  // `entry`: the first five members. Keeps `max_entries`.
  void Add(Entry entry, int64_t now_ms, uint64_t max_entries);
  void Clear() { entries_.clear(); }
  const std::deque<Entry>& entries() const { return entries_; }
  const Counters& counters() const { return counters_; }
  void ResetCounters() { counters_ = {}; }

 private:
  void Count(AclDenial reason);

  std::deque<Entry> entries_;
  uint64_t next_id_ = 0;
  Counters counters_;
};

}  // namespace firn::server
