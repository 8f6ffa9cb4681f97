#include "server/process_title.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace firn::server {
namespace {

// Where clients reach the server first.
std::string ListenAddress(const OptionValues& options) {
  const int32_t port = options.port != 0 ? options.port : options.tls_port;
  if (port == 0) return options.unixsocket;
  const std::string host = options.bind.empty() ? "*" : options.bind[0];
  return host + ":" + std::to_string(port);
}

std::string VariableOf(const Options& options, std::string_view program, std::string name) {
  std::ranges::transform(name, name.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  if (name == "title") return std::string(program);
  if (name == "listen-addr") return ListenAddress(options.values());
  if (name == "port") return std::to_string(options->port);
  if (name == "tls-port") return std::to_string(options->tls_port);
  if (name == "unixsocket") return options->unixsocket;
  if (name == "config-file") return options.config_file();
  return {};  // server-mode: neither a node of a cluster nor a sentinel
}

}  // namespace

std::string FillProcessTitle(const Options& options, std::string_view program) {
  std::string_view rest = options->proc_title_template;
  std::string title;
  while (!rest.empty()) {
    const size_t brace = std::min(rest.find('{'), rest.size());
    title += rest.substr(0, brace);
    rest.remove_prefix(brace);
    if (rest.empty()) break;
    const size_t end = rest.find('}');
    if (rest.starts_with("{{") || end == std::string_view::npos) {
      title += '{';
      rest.remove_prefix(std::min<size_t>(2, rest.size()));
      continue;
    }
    title += VariableOf(options, program, std::string(rest.substr(1, end - 1)));
    rest.remove_prefix(end + 1);
  }
  title.erase(title.find_last_not_of(' ') + 1);
  return title;
}

ProcessTitle::ProcessTitle(std::span<char* const> arguments) {
  if (arguments.empty()) return;
  program_ = arguments[0];
  char* end = arguments[0];
  auto take = [&end](char* text) {
    if (text == end) end += std::strlen(text) + 1;
  };
  for (char* argument : arguments) take(argument);
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    take(*variable);
    const std::string_view text = *variable;
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string_view::npos) continue;
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  clearenv();
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  room_ = {arguments[0], end};
}

void ProcessTitle::Set(std::string_view title) {
  if (room_.empty()) return;
  title = title.substr(0, room_.size() - 1);
  std::fill(std::copy(title.begin(), title.end(), room_.begin()), room_.end(), '\0');
}

}  // namespace firn::server
