// The log of slow commands: the newest ones that took longer than slowlog-log-slower-than.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn::server {

class SlowLog {
 public:
  // Arguments beyond these are cut, with a note of how much is missing, so that an entry is small
  // whatever the command was.
  static constexpr size_t kMaxArguments = 32;
  static constexpr size_t kMaxArgumentSize = 128;

  struct Entry {
    uint64_t id = 0;
    int64_t time_seconds = 0;  // since 1970
    int64_t duration_us = 0;
    std::vector<std::string> arguments;
    std::string peer;
    std::string client_name;
  };
  struct Command {
    std::span<const std::string_view> arguments;
    int64_t time_seconds;
    int64_t duration_us;
    std::string_view peer;
    std::string_view client_name;
  };
  // Adds an entry and drops the oldest beyond `max_entries`.
  void Add(const Command& command, size_t max_entries);
  void Clear() { entries_.clear(); }
  // The newest first.
  const std::deque<Entry>& entries() const { return entries_; }

 private:
  std::deque<Entry> entries_;
  uint64_t next_id_ = 0;
};

}  // namespace firn::server
