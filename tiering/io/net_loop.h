// Sockets on the ring. A Socket belongs to the loop and reports to one SocketHandler; all on the
// executor thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "tiering/io/loop.h"

namespace firn::io {

class SocketHandler {
 public:
  virtual ~SocketHandler() = default;
  // `bytes` is valid during the call only. Not called while receiving is paused (bytes that were
  // already on the way when it was paused are delivered after ResumeReceiving).
  virtual void OnReceived(std::string_view bytes) = 0;
  // The Send in flight has finished with all its bytes.
  virtual void OnSent() = 0;
  // The peer sends nothing more, but may still read, as one that has sent its requests and closed
  // its half: sends go on and are reported. While receiving is paused this is not noticed.
  virtual void OnEnded() { OnDisconnected(0); }
  // The connection failed (an errno), or has ended (0) and OnEnded is not handled. The last call to
  // the handler unless it goes on sending after 0. The handler still has to Close. While receiving
  // is paused, only a Send notices that the peer is gone.
  virtual void OnDisconnected(int error) = 0;
};

struct SocketAddress {
  std::string peer;   // "127.0.0.1:50000", "[::1]:50000", or "PATH:0" for a unix socket
  std::string local;  // "127.0.0.1:6379" or "PATH:0"
  bool is_unix = false;
};

// One connection. Obtained from an accept callback; released by Close.
class Socket {
 public:
  virtual ~Socket() = default;
  // Starts receiving. REQUIRES: called once, before anything else.
  virtual void Start(SocketHandler* handler) = 0;
  virtual void PauseReceiving() = 0;
  virtual void ResumeReceiving() = 0;
  // Sends the bytes of `parts` in order. The array is copied, the bytes must stay until OnSent.
  // Queued until the end of the iteration, so that all sends go to the kernel in one call.
  // REQUIRES: no Send in flight.
  virtual void Send(std::span<const iovec> parts) = 0;
  // No handler call follows. A Send in flight is abandoned (its bytes are no longer read when
  // Close returns); the socket object is gone.
  virtual void Close() = 0;
  virtual int fd() const = 0;
  virtual const SocketAddress& address() const = 0;
  virtual void SetKeepAlive(int interval_seconds) = 0;  // 0 turns it off
};

struct ListenOptions {
  std::string host = {};  // empty for a unix socket
  uint16_t port = 0;
  std::string unix_path = {};
  uint32_t unix_permissions = 0;  // 0 leaves the umask's; set before anybody can connect
  int backlog = 511;
};

class Listener {
 public:
  // Stops accepting and closes; removes a unix socket's file. Comes before the loop's end.
  virtual ~Listener() = default;
};

class NetLoop : public Loop {
 public:
  // Called for each accepted connection; the callee must Start or Close it. `error` is 0, or the
  // errno of a failed accept (socket null): accepting then pauses for 100 ms and goes on.
  using AcceptCallback = std::move_only_function<void(Socket* socket, int error)>;
  virtual Result<std::unique_ptr<Listener>> Listen(const ListenOptions& options,
                                                   AcceptCallback on_accept) = 0;
  // Takes a connected socket over, as an accept callback gets one; closes the descriptor with it.
  // The socket does not block the loop.
  virtual Socket* Adopt(int fd, SocketAddress address) = 0;
  // What it waits with: "io_uring" or "epoll".
  virtual const char* name() const = 0;
};

enum class Backend { kAuto, kUring, kThreads };

struct NetLoopOptions {
  Backend backend = Backend::kAuto;
  int workers = 2;
  uint32_t receive_buffer_size_bytes = 8 * 1024;
  uint32_t receive_buffers = 128;  // shared by all connections (power of two)
};

// Creates the loop. With kAuto, a kernel or container that refuses io_uring gets the thread
// backend, and `*notice` says so in one line (else it is left empty). With kUring that is an error.
// REQUIRES: called by the thread that will run the loop. The loop's end waits for disk operations
// and jobs under way, answers none of them, and drops queued jobs, tasks and timers.
Result<std::unique_ptr<NetLoop>> CreateNetLoop(const NetLoopOptions& options, std::string* notice);

}  // namespace firn::io
