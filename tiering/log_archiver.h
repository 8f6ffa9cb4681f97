// LogArchiver: keeps the fresh stream's segments in a directory of their own once they are sealed
// and synced, by hard links where both directories are on one file system, else as copies. With a
// backup from before, they make every later moment (tiering/point_in_time.h). Compaction removes no
// segment that is not kept yet.
//
// Executor thread; Begin and Finish block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "tiering/io/file.h"
#include "tiering/log/segment.h"

namespace firn {

class StoreImpl;

class LogArchiver {
 public:
  explicit LogArchiver(StoreImpl* store) : store_(*store) {}

  // At the start, before anything is appended. kInvalid if the archive belongs to another data
  // directory, or knows a later log than this one, whose last record is `last_lsn`: what follows
  // now would be mixed with it.
  Status Begin(std::string directory, uint64_t last_lsn);
  bool active() const { return !directory_.empty(); }
  // Once an iteration. What fails is tried again, and logged.
  void Step();
  bool MayUnlink(const log::Segment& segment) const {
    return !active() || segment.stream != log::Stream::kFresh || segment.id <= kept_up_to_;
  }
  // After the log was closed: what is left.
  Status Finish();

  uint64_t kept() const { return kept_; }
  bool failing() const { return failing_; }

 private:
  struct Job;
  log::Segment* NextSealed() const;
  void OnKept(uint64_t id, const Status& status);

  StoreImpl& store_;
  std::string directory_;     // empty: nothing is kept
  uint64_t kept_up_to_ = 0;   // id of the last fresh segment that is kept
  uint64_t seen_active_ = 0;  // nothing was sealed since this was the active segment
  uint64_t kept_ = 0;
  bool in_flight_ = false;
  bool failing_ = false;
  int64_t next_try_micros_ = 0;
};

// A hard link of `from` in `directory`, or a copy of its first `bytes`, under the name of a
// segment; whole or absent, durable. Any thread; blocking.
struct SegmentToKeep {
  std::shared_ptr<io::File> file;
  uint64_t id = 0;
  uint64_t bytes = 0;
  bool may_link = true;
};
Status KeepSegment(io::FileSystem* files, const SegmentToKeep& segment,
                   const std::string& directory);

}  // namespace firn
