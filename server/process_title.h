// ProcessTitle: what ps and /proc/PID/cmdline show of the process, as proc-title-template words it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "server/options/options.h"

namespace firn::server {

// The template of the options, filled in. `program` is the name that the server was started by.
std::string FillProcessTitle(const Options& options, std::string_view program);

// The title takes the place of the arguments in memory, and of the environment, which lies behind
// them and moves elsewhere. One a process, made before there are threads.
class ProcessTitle {
 public:
  explicit ProcessTitle(std::span<char* const> arguments);
  ProcessTitle(const ProcessTitle&) = delete;
  ProcessTitle& operator=(const ProcessTitle&) = delete;

  // As much of it as there is room for.
  void Set(std::string_view title);
  const std::string& program() const { return program_; }

 private:
  std::span<char> room_;
  std::string program_;
};

}  // namespace firn::server
