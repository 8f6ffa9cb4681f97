// The moments that `recover-until` understands:
//
//   2026-11-21 10:15:00        local time; seconds may have a fraction, or be left out; T for the
//                              space
//   2026-11-21 10:15:00 Z      UTC, also as UTC or GMT; +01:00, -0330, +02: a zone
//   1795256100, 1795256100.25  UNIX time
//   lsn:81234                  a record's number (appended_lsn of INFO)
#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "tiering/point_in_time.h"

namespace firn::server {

// kInvalid with a text for people.
Result<RecoveryTarget> ParseMoment(std::string_view text);

}  // namespace firn::server
