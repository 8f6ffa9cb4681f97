// What the parts of Options share; nobody else includes this.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace firn::server {

// `path` as seen from the directory `base` ("" is the current one).
std::string PathFrom(const std::string& base, std::string_view path);

// The absolute path of the existing directory `path`, seen from `base`. kInvalid with the system's
// reason if there is none that can be entered.
Result<std::string> ResolveDirectory(std::string_view path, const std::string& base);

// The whole of an open file, which may be a pipe.
Result<std::string> ReadAll(int descriptor);

}  // namespace firn::server
