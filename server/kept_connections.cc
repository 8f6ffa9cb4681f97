#include "server/kept_connections.h"

#include <unistd.h>

#include <algorithm>

namespace firn::server {

KeptConnections::~KeptConnections() {
  if (timer_ != 0) loop_.CancelTimer(timer_);
  for (const auto& [name, kept] : kept_) ::close(kept.fd);
}

int KeptConnections::Take(const std::string& name) {
  auto it = kept_.find(name);
  if (it == kept_.end()) return -1;
  const int fd = it->second.fd;
  kept_.erase(it);
  return fd;
}

void KeptConnections::Keep(const std::string& name, int fd) {
  const Kept kept = {.fd = fd, .until_micros = loop_.NowMicros() + kKeepMicros};
  auto [it, is_new] = kept_.try_emplace(name, kept);
  if (!is_new) {
    ::close(it->second.fd);
    it->second = kept;
  }
  if (kept_.size() > kMost) {
    auto oldest = std::min_element(kept_.begin(), kept_.end(), [](const auto& a, const auto& b) {
      return a.second.until_micros < b.second.until_micros;
    });
    ::close(oldest->second.fd);
    kept_.erase(oldest);
  }
  if (timer_ == 0) timer_ = loop_.AddTimer(kKeepMicros, [this] { CloseIdle(); });
}

void KeptConnections::CloseIdle() {
  timer_ = 0;
  const int64_t now = loop_.NowMicros();
  int64_t next = INT64_MAX;
  for (auto it = kept_.begin(); it != kept_.end();) {
    if (it->second.until_micros <= now) {
      ::close(it->second.fd);
      it = kept_.erase(it);
    } else {
      next = std::min(next, it->second.until_micros);
      ++it;
    }
  }
  if (!kept_.empty()) timer_ = loop_.AddTimer(next - now, [this] { CloseIdle(); });
}

}  // namespace firn::server
