// Monitors: the clients in MONITOR mode, and the lines that they get. Executor thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/command.h"

namespace firn::server {

class Client;

// The arguments as logs may show them: secrets (passwords, sensitive settings) are replaced.
// `command` may be null. The views point into `args` and static text.
std::vector<std::string_view> RedactedArguments(const Command* command,
                                                std::span<const std::string_view> args);

class Monitors {
 public:
  bool any() const { return !clients_.empty(); }
  bool Has(const Client* client) const;
  void Add(Client* client);
  void Remove(Client* client);

  struct Line {
    const Command* command = nullptr;
    std::span<const std::string_view> args;
    uint32_t db = 0;
    int64_t time_micros = 0;  // since 1970
    std::string_view source;  // a peer's address, "unix:<path>" or "lua"
  };
  // Nothing for commands that monitors don't get: those of administrators.
  void Feed(const Line& line);

 private:
  std::vector<Client*> clients_;
};

}  // namespace firn::server
