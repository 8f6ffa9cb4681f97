// What the loops share about sockets: listening, addresses, options, and the state of a Send.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/net_loop.h"

namespace firn::io {

// Opens a listening socket (close-on-exec, blocking, TCP_NODELAY inherited by what it accepts). The
// caller owns the descriptor. A busy port or a live unix socket fails with error number EADDRINUSE.
// A unix socket's file is there with its permissions before anybody can connect; a stale one is
// replaced, a file of another kind is not. May block on name resolution if `host` is a name.
Result<int> OpenListeningSocket(const ListenOptions& options);

// Makes a listening socket refuse connections, and removes a unix socket's file. The address can be
// bound again at once, even if the descriptor is closed later.
void StopListening(int fd, const ListenOptions& options);

// Addresses of a connection accepted from a listener with `options`.
SocketAddress DescribeConnection(int fd, const ListenOptions& options);

// Sets what makes an accepted connection cheaper; never fails, since nothing depends on it.
void TuneConnection(int fd);

// As Socket::SetKeepAlive.
void SetKeepAlive(int fd, int interval_seconds);

// Whether an accept that failed so may simply be tried again.
bool IsTransientAcceptError(int error);

// How long accepting rests after another failure.
inline constexpr int64_t kAcceptPauseMicros = 100'000;

// What remains of the Send in flight. Refers to the sender's bytes.
class PendingSend {
 public:
  // REQUIRES: done().
  void Assign(std::span<const iovec> parts);
  bool done() const { return remaining_bytes_ == 0; }
  // Forgets the rest.
  void Clear();
  // The first `size` bytes have been taken. REQUIRES: no more than remain.
  void Advance(size_t size);
  // What remains, cut to what one system call takes. Valid until the next change.
  std::span<iovec> Parts();

 private:
  std::vector<iovec> parts_;
  size_t first_ = 0;  // of parts_ that is not wholly sent
  uint64_t remaining_bytes_ = 0;
};

}  // namespace firn::io
