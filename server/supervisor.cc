#include "server/supervisor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace firn::server {
namespace {

Status NotifySystemd(std::string_view path, std::string_view text) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // A path, or "@" and a name without one.
  if (path.size() < 2 || path.size() >= sizeof(address.sun_path) ||
      (path[0] != '/' && path[0] != '@')) {
    return Status::Invalid("NOTIFY_SOCKET is no address");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  const int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (file < 0) return Status::FromErrno(errno, "supervised systemd: socket");
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t sent = sendto(file, text.data(), text.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), size);
  const int error = errno;
  close(file);
  return sent < 0 ? Status::FromErrno(error, "supervised systemd: sendto") : Status::Ok();
}

}  // namespace

Status TellSupervisor(Supervision supervision, SupervisedState state) {
  const bool is_auto = supervision == Supervision::kAuto;
  const char* path = std::getenv("NOTIFY_SOCKET");
  if ((is_auto || supervision == Supervision::kSystemd) && path != nullptr) {
    return NotifySystemd(path, state == SupervisedState::kReady
                                   ? "READY=1\nSTATUS=Ready to accept connections\n"
                                   : "STOPPING=1\nSTATUS=Closing the store\n");
  }
  const bool is_upstart = supervision == Supervision::kUpstart || is_auto;
  if (is_upstart && state == SupervisedState::kReady && std::getenv("UPSTART_JOB") != nullptr) {
    unsetenv("UPSTART_JOB");
    raise(SIGSTOP);
  }
  return Status::Ok();
}

}  // namespace firn::server
