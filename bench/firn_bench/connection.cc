#include "bench/firn_bench/connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace firn::bench {

namespace {

constexpr size_t kFirstBufferBytes = 16 << 10;

int ConnectUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int ConnectTcp(const Options& options) {
  addrinfo hints = {};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string port = std::to_string(options.port);
  if (getaddrinfo(options.host.c_str(), port.c_str(), &hints, &found) != 0) {
    errno = EHOSTUNREACH;
    return -1;
  }
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, found->ai_addr, found->ai_addrlen) == 0) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
  }
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

Connection::Connection(uint32_t capacity) : buffer_(kFirstBufferBytes), pending_(capacity) {}

Connection::~Connection() { Close(); }

std::string Connection::Connect(const Options& options) {
  fd_ = options.unix_path.empty() ? ConnectTcp(options) : ConnectUnix(options.unix_path);
  if (fd_ < 0) return std::string("cannot connect: ") + std::strerror(errno);
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  return "";
}

void Connection::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

bool Connection::Send() {
  while (sent_ < output_.size()) {
    ssize_t n = send(fd_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    sent_ += static_cast<size_t>(n);
  }
  output_.clear();
  sent_ = 0;
  return true;
}

bool Connection::Receive() {
  if (consumed_ == filled_) {
    consumed_ = filled_ = 0;
  } else if (filled_ == buffer_.size()) {
    // Part of a reply fills the buffer to its end: make room in front of it, or more room.
    if (consumed_ == 0) buffer_.resize(buffer_.size() * 2);
    std::memmove(buffer_.data(), buffer_.data() + consumed_, filled_ - consumed_);
    filled_ -= consumed_;
    consumed_ = 0;
  }
  ssize_t n;
  do {
    n = recv(fd_, buffer_.data() + filled_, buffer_.size() - filled_, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) {
    errno = 0;
    return false;
  }
  filled_ += static_cast<size_t>(n);
  return true;
}

void Connection::Push(const Pending& pending) {
  size_t at = head_ + in_flight_;
  if (at >= pending_.size()) at -= pending_.size();
  pending_[at] = pending;
  ++in_flight_;
}

void Connection::Pop() {
  if (++head_ == pending_.size()) head_ = 0;
  --in_flight_;
}

}  // namespace firn::bench
