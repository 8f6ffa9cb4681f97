// Bringing a backup's log forward to a moment: takes what followed from the directory where
// segments were kept (tiering/log_archiver.h), up to the last record of that moment. The store is
// opened on the directory afterwards, as at any start.
//
// Blocking; before the store is opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/base/status.h"
#include "tiering/io/file.h"

namespace firn {

// The last record that is to count. One of the two.
struct RecoveryTarget {
  std::optional<int64_t> unix_ms = std::nullopt;  // written then or before
  std::optional<uint64_t> lsn = std::nullopt;
};

struct PointInTimeOptions {
  std::string directory;  // a backup; REQUIRES: locked, and no store is open in it
  std::string archive;    // where the log that followed was kept
  RecoveryTarget target;
  // If more bytes of log than this are added, the index is removed, so that the start makes it anew
  // in bounded memory and doesn't replay them.
  uint64_t replay_limit_bytes = 256 << 20;
};

struct PointInTimeReport {
  uint64_t segments = 0;    // taken from the archive
  uint64_t bytes = 0;       // of log, added
  uint64_t lsn = 0;         // of the last record
  int64_t unix_ms = 0;      // when that was written; 0: there is none
  bool is_reached = false;  // else the archive ends before that moment
};

// kInvalid if the directory holds later changes than the target already; kCorruption if segments
// are missing in between, or damaged. An interrupted call can be made again.
Result<PointInTimeReport> BringLogTo(io::FileSystem* files, const PointInTimeOptions& options);

}  // namespace firn
