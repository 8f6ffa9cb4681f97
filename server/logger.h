// Logger: the server's log in Redis' line form, "PID:M 21 Nov 2026 10:15:00.123 * text". The file
// is opened for each line, so that a log that was rotated away is left alone. Executor thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace firn::server {

enum LogSeverity : int { kLogDebug = 0, kLogVerbose = 1, kLogNotice = 2, kLogWarning = 3 };

class Logger {
 public:
  // Lines below `severity` are dropped. An empty path is standard output.
  void Configure(std::string path, int severity);
  void Write(int severity, std::string_view text);
  // From now on the system log gets every line, too. Once; `facility` as option_values.h has it.
  void OpenSyslog(std::string ident, int facility);
  const std::string& path() const { return path_; }

 private:
  std::string syslog_ident_;  // stays where it is: the C library keeps a pointer to it
  bool to_syslog_ = false;
  std::string path_;
  int severity_ = kLogNotice;
};

}  // namespace firn::server
