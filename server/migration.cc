#include "server/migration.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace firn::server {
namespace {

constexpr int64_t kPollMillis = 50;
// The answers to AUTH, SELECT and RESTORE are short.
constexpr size_t kMaxLine = 64 << 10;

int64_t NowMillis() {
  using std::chrono::steady_clock;
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Migration::~Migration() { Disconnect(); }

void Migration::Run(const std::atomic<bool>* stop) {
  stop_ = stop;
  bool ready = fd_ >= 0 && Introduce();
  if (!ready && error_.empty() && !timed_out_) {
    Disconnect();
    if (!Connect()) return;
    ready = Introduce();
  }
  if (ready && error_.empty()) ready = SendItems();
  if (ready) return;
  Disconnect();
  if (error_.empty()) error_ = "IOERR error or timeout talking to the target instance";
}

void Migration::Disconnect() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  input_.clear();
}

bool Migration::Connect() {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(target_.host.c_str(), target_.port.c_str(), &hints, &found);
  if (failure != 0) {
    error_ = std::string("ERR Can't connect to target node: ") + ::gai_strerror(failure);
    return false;
  }
  bool connected = false;
  for (const addrinfo* at = found; at != nullptr && !connected; at = at->ai_next) {
    connected = ConnectTo(at);
  }
  ::freeaddrinfo(found);
  if (!connected) error_ = "IOERR error or timeout connecting to the client";
  return connected;
}

bool Migration::ConnectTo(const addrinfo* address) {
  fd_ = ::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int failure = 0;
  if (::connect(fd_, address->ai_addr, address->ai_addrlen) != 0) failure = errno;
  if (failure == EINPROGRESS && WaitFor(POLLOUT)) {
    socklen_t size = sizeof failure;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &failure, &size);
  }
  if (failure == 0) return true;
  ::close(fd_);
  fd_ = -1;
  return false;
}

bool Migration::WaitFor(short events) {
  const int64_t deadline = NowMillis() + target_.timeout_ms;
  while (!stop_->load(std::memory_order_relaxed)) {
    const int64_t left = deadline - NowMillis();
    if (left <= 0) {
      timed_out_ = true;
      return false;
    }
    pollfd waiting = {.fd = fd_, .events = events, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(std::min(left, kPollMillis))) > 0) return true;
  }
  return false;
}

bool Migration::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!WaitFor(POLLOUT)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool Migration::SendRequest(const std::vector<std::string_view>& args) {
  std::string request = "*" + std::to_string(args.size()) + "\r\n";
  for (std::string_view arg : args) {
    request += "$" + std::to_string(arg.size()) + "\r\n";
    request += arg;
    request += "\r\n";
  }
  return Send(request);
}

bool Migration::ReadLine(std::string* line) {
  while (true) {
    const size_t end = input_.find("\r\n");
    if (end != std::string::npos) {
      *line = input_.substr(0, end);
      input_.erase(0, end + 2);
      return true;
    }
    if (input_.size() > kMaxLine || !WaitFor(POLLIN)) return false;
    char bytes[4096];
    const ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got > 0) input_.append(bytes, static_cast<size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  }
}

bool Migration::ReadReply(bool* ok) {
  std::string line;
  if (!ReadLine(&line)) return false;
  *ok = line.starts_with('+');
  if (!*ok && error_.empty()) {
    // Nothing else is an answer to what was sent.
    if (!line.starts_with('-')) return false;
    error_ = "ERR Target instance replied with error: " + line.substr(1);
  }
  return true;
}

bool Migration::Introduce() {
  bool ok = true;
  if (!target_.credentials.empty()) {
    std::vector<std::string_view> auth = {"AUTH"};
    auth.insert(auth.end(), target_.credentials.begin(), target_.credentials.end());
    if (!SendRequest(auth) || !ReadReply(&ok)) return false;
    if (!ok) return true;
  }
  const std::string db = std::to_string(target_.db);
  return SendRequest({"SELECT", db}) && ReadReply(&ok);
}

// One value at a time, so that a target that does not read can't hold more than that up.
bool Migration::SendItems() {
  for (Item& item : items_) {
    const std::string ttl = std::to_string(item.ttl_ms);
    std::vector<std::string_view> restore = {"RESTORE", item.key, ttl, item.payload};
    if (target_.replace) restore.push_back("REPLACE");
    if (!SendRequest(restore) || !ReadReply(&item.taken)) return false;
  }
  return true;
}

}  // namespace firn::server
