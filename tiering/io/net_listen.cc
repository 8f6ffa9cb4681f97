#include "tiering/io/net_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace firn::io {
namespace {

std::string PathAddress(const std::string& path) { return path + ":0"; }

std::string FormatAddress(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(in.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(in6.sin6_port));
  }
  return "?:0";
}

void SetFlag(int fd, int level, int name, int value) {
  // None of the options set here is needed for correctness.
  static_cast<void>(::setsockopt(fd, level, name, &value, sizeof value));
}

// Returns the descriptor, or a negative errno.
int ListenOn(const addrinfo& address, int backlog) {
  const int fd =
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC, address.ai_protocol);
  if (fd < 0) return -errno;
  SetFlag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (address.ai_family == AF_INET6) SetFlag(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (::bind(fd, address.ai_addr, address.ai_addrlen) == 0 && ::listen(fd, backlog) == 0) {
    return fd;
  }
  const int error = errno;
  ::close(fd);
  return -error;
}

Result<int> ListenTcp(const ListenOptions& options) {
  const std::string where = options.host + ":" + std::to_string(options.port);
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* addresses = nullptr;
  const int failure =
      ::getaddrinfo(options.host.c_str(), std::to_string(options.port).c_str(), &hints, &addresses);
  if (failure == EAI_SYSTEM) return std::unexpected(Status::FromErrno(errno, "resolve " + where));
  if (failure != 0) {
    return std::unexpected(Status(
        StatusCode::kInvalid, "resolve " + where + ": " + ::gai_strerror(failure), EADDRNOTAVAIL));
  }
  int result = -EADDRNOTAVAIL;
  for (const addrinfo* address = addresses; address != nullptr && result < 0;
       address = address->ai_next) {
    result = ListenOn(*address, options.backlog);
  }
  ::freeaddrinfo(addresses);
  if (result < 0) return std::unexpected(Status::FromErrno(-result, "listen on " + where));
  return result;
}

// Makes the path free to bind if it holds a socket that nobody listens on. Returns an errno.
int RemoveStaleSocket(const sockaddr_un& address) {
  struct stat info;
  if (::lstat(address.sun_path, &info) != 0) return errno == ENOENT ? 0 : errno;
  if (!S_ISSOCK(info.st_mode)) return EADDRINUSE;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return errno;
  const int connected =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool refused = connected != 0 && errno == ECONNREFUSED;
  ::close(probe);
  if (!refused) return EADDRINUSE;
  if (::unlink(address.sun_path) != 0 && errno != ENOENT) return errno;
  return 0;
}

Result<int> ListenUnix(const ListenOptions& options) {
  const std::string& path = options.unix_path;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return std::unexpected(Status::FromErrno(ENAMETOOLONG, "listen on " + path));
  }
  memcpy(address.sun_path, path.data(), path.size());
  if (const int error = RemoveStaleSocket(address); error != 0) {
    return std::unexpected(Status::FromErrno(error, "listen on " + path));
  }
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(Status::FromErrno(errno, "listen on " + path));
  int error = 0;
  // The file begins with what these and the umask allow.
  if (options.unix_permissions != 0) {
    static_cast<void>(::fchmod(fd, static_cast<mode_t>(options.unix_permissions)));
  }
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    error = errno;
  } else {
    // Before listen() every connect is refused, so nobody slips in under other permissions.
    const bool permitted =
        options.unix_permissions == 0 || ::chmod(address.sun_path, options.unix_permissions) == 0;
    if (permitted && ::listen(fd, options.backlog) == 0) return fd;
    error = errno;
    ::unlink(address.sun_path);
  }
  ::close(fd);
  return std::unexpected(Status::FromErrno(error, "listen on " + path));
}

}  // namespace

Result<int> OpenListeningSocket(const ListenOptions& options) {
  if (!options.unix_path.empty()) return ListenUnix(options);
  if (options.host.empty()) return std::unexpected(Status::Invalid("listen: no address given"));
  return ListenTcp(options);
}

void StopListening(int fd, const ListenOptions& options) {
  static_cast<void>(::shutdown(fd, SHUT_RDWR));
  if (!options.unix_path.empty()) ::unlink(options.unix_path.c_str());
}

SocketAddress DescribeConnection(int fd, const ListenOptions& options) {
  if (!options.unix_path.empty()) {
    return {.peer = PathAddress(options.unix_path),
            .local = PathAddress(options.unix_path),
            .is_unix = true};
  }
  sockaddr_storage peer = {};
  sockaddr_storage local = {};
  socklen_t size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) peer.ss_family = AF_UNSPEC;
  size = sizeof local;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) {
    local.ss_family = AF_UNSPEC;
  }
  return {.peer = FormatAddress(peer), .local = FormatAddress(local)};
}

void TuneConnection(int fd) {
  sockaddr_storage peer = {};
  socklen_t size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return;
  bool is_loopback = false;
  if (peer.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(peer).sin_addr;
    is_loopback = ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
  } else if (peer.ss_family == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    is_loopback = IN6_IS_ADDR_LOOPBACK(&address);
  }
  // There is nothing to congest, but an algorithm that paces (bbr) arms a timer for every reply:
  // without it a server with small replies does a tenth more.
  constexpr std::string_view kUnpaced = "reno";
  if (is_loopback) {
    static_cast<void>(
        ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kUnpaced.data(), kUnpaced.size()));
  }
}

void SetKeepAlive(int fd, int interval_seconds) {
  SetFlag(fd, SOL_SOCKET, SO_KEEPALIVE, interval_seconds > 0 ? 1 : 0);
  if (interval_seconds <= 0) return;
  // A dead peer is noticed after the interval and three probes a third of it apart: twice the
  // interval, as Redis users know it.
  SetFlag(fd, IPPROTO_TCP, TCP_KEEPIDLE, interval_seconds);
  SetFlag(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(interval_seconds / 3, 1));
  SetFlag(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

bool IsTransientAcceptError(int error) {
  return error == EINTR || error == EAGAIN || error == ECONNABORTED || error == EPROTO;
}

void PendingSend::Assign(std::span<const iovec> parts) {
  CHECK(done());
  parts_.clear();
  first_ = 0;
  for (const iovec& part : parts) {
    if (part.iov_len == 0) continue;
    parts_.push_back(part);
    remaining_bytes_ += part.iov_len;
  }
}

void PendingSend::Clear() {
  parts_.clear();
  first_ = 0;
  remaining_bytes_ = 0;
}

void PendingSend::Advance(size_t size) {
  CHECK(size <= remaining_bytes_);
  remaining_bytes_ -= size;
  while (size > 0) {
    iovec& part = parts_[first_];
    if (size < part.iov_len) {
      part.iov_base = static_cast<char*>(part.iov_base) + size;
      part.iov_len -= size;
      return;
    }
    size -= part.iov_len;
    ++first_;
  }
}

std::span<iovec> PendingSend::Parts() {
  const std::span<iovec> rest = std::span(parts_).subspan(first_);
  return rest.first(std::min<size_t>(rest.size(), IOV_MAX));
}

}  // namespace firn::io
