#include "server/logger.h"

#include <fcntl.h>
#include <sys/time.h>
#include <syslog.h>
#include <unistd.h>

#include <ctime>
#include <iterator>
#include <utility>

namespace firn::server {

void Logger::Configure(std::string path, int severity) {
  path_ = std::move(path);
  severity_ = severity;
}

void Logger::OpenSyslog(std::string ident, int facility) {
  constexpr int kFacilities[] = {LOG_USER,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
                                 LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7};
  syslog_ident_ = std::move(ident);
  openlog(syslog_ident_.c_str(), LOG_PID | LOG_NDELAY | LOG_NOWAIT,
          kFacilities[static_cast<size_t>(facility) % std::size(kFacilities)]);
  to_syslog_ = true;
}

void Logger::Write(int severity, std::string_view text) {
  if (severity < severity_) return;
  if (to_syslog_) {
    constexpr int kPriorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING};
    syslog(kPriorities[severity & 3], "%.*s", static_cast<int>(text.size()), text.data());
  }
  timeval now;
  gettimeofday(&now, nullptr);
  tm local;
  localtime_r(&now.tv_sec, &local);
  char date[64];
  std::strftime(date, sizeof date, "%d %b %Y %H:%M:%S", &local);
  char head[128];
  std::snprintf(head, sizeof head, "%d:M %s.%03d %c ", static_cast<int>(getpid()), date,
                static_cast<int>(now.tv_usec / 1000), ".-*#"[severity & 3]);
  std::string line = std::string(head) + std::string(text) + "\n";
  int fd = path_.empty() ? STDOUT_FILENO
                         : open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return;  // there is nowhere to say so
  ssize_t written = write(fd, line.data(), line.size());
  static_cast<void>(written);
  if (!path_.empty()) close(fd);
}

}  // namespace firn::server
