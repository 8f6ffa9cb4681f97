// Checks a whole log directory: every header, checksum, link and group of both streams. Reads only.
// For tools. Blocking; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/segment_list.h"

namespace firn::log {

struct Finding {
  enum class Kind {
    kTornTail,  // what a power cut leaves: a start cuts it off
    kDamage,    // what is missing had been synced, or can't be read
  };
  Kind kind = Kind::kDamage;
  Stream stream = Stream::kFresh;
  LogPosition position;  // there the sound part ends
  std::string message;   // names file and offset
  // The first sound record behind the damage, if there is one.
  std::optional<LogPosition> next_sound;
};

struct LogReport {
  uint64_t segments = 0;  // without spares
  uint64_t spares = 0;
  uint64_t records = 0;
  uint64_t record_bytes = 0;
  uint64_t groups = 0;
  uint64_t last_lsn = 0;
  uint64_t gaps = 0;  // in the fresh stream: segments that compaction removed
  std::vector<Finding> findings;
  bool has_more = false;  // the check gave up after kMaxFindings

  bool IsClean() const { return findings.empty(); }
  bool HasDamage() const;
};
inline constexpr size_t kMaxFindings = 1000;

LogReport CheckLog(const std::vector<FoundSegment>& found);

}  // namespace firn::log
