// KeptConnections: connections to other servers that are worth using again, each for ten seconds.
//
// Executor thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "tiering/io/loop.h"

namespace firn::server {

class KeptConnections {
 public:
  static constexpr int64_t kKeepMicros = 10'000'000;
  static constexpr size_t kMost = 64;

  explicit KeptConnections(io::Loop* loop) : loop_(*loop) {}
  ~KeptConnections();
  KeptConnections(const KeptConnections&) = delete;
  KeptConnections& operator=(const KeptConnections&) = delete;

  // The socket kept under that name, which is the caller's from then on; -1 if there is none.
  int Take(const std::string& name);
  // Takes `fd` over.
  void Keep(const std::string& name, int fd);
  size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    int fd = -1;
    int64_t until_micros = 0;
  };
  void CloseIdle();

  io::Loop& loop_;
  std::map<std::string, Kept> kept_;
  io::TimerId timer_ = 0;
};

}  // namespace firn::server
