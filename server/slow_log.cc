#include "server/slow_log.h"

namespace firn::server {
namespace {

std::string Cut(std::string_view argument) {
  if (argument.size() <= SlowLog::kMaxArgumentSize) return std::string(argument);
  const size_t missing = argument.size() - SlowLog::kMaxArgumentSize;
  std::string text(argument.substr(0, SlowLog::kMaxArgumentSize));
  return text.append("... (").append(std::to_string(missing)).append(" more bytes)");
}

}  // namespace

void SlowLog::Add(const Command& command, size_t max_entries) {
  Entry entry;
  entry.id = next_id_++;
  entry.time_seconds = command.time_seconds;
  entry.duration_us = command.duration_us;
  entry.peer = command.peer;
  entry.client_name = command.client_name;
  const size_t count = command.arguments.size();
  const size_t kept = count <= kMaxArguments ? count : kMaxArguments - 1;
  for (size_t i = 0; i < kept; ++i) entry.arguments.push_back(Cut(command.arguments[i]));
  if (kept < count) {
    entry.arguments.push_back("... (" + std::to_string(count - kept) + " more arguments)");
  }
  entries_.push_front(std::move(entry));
  while (entries_.size() > max_entries) entries_.pop_back();
}

}  // namespace firn::server
