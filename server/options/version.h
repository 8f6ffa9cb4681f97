// What this server calls itself.
#pragma once

#include <string_view>

namespace firn::server {

// Clients and tools choose features by the version of Redis whose behaviour they find.
inline constexpr std::string_view kRedisVersion = "7.2.4";
inline constexpr std::string_view kFirnVersion = "0.1.0";

}  // namespace firn::server
