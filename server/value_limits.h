// What the options say of how values of dumps are kept and shown.
#pragma once

#include <cstdint>
#include <optional>

#include "server/options/options.h"
#include "server/restored_value.h"

namespace firn::server {

ValueLimits ValueLimitsOf(const OptionValues& options);
// The access clock of a key whose dump tells the counter of its accesses, or how long ago the last
// one was; nothing if that doesn't fit the present policy.
std::optional<uint32_t> RestoredAccess(bool lfu, std::optional<int64_t> frequency,
                                       std::optional<int64_t> idle_seconds, int64_t now_ms);

}  // namespace firn::server
