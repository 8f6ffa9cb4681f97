// Making a segment's file: how large it may be, whether the disk and `maxdisk` have room for it,
// and the calls that create it. Blocking; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "tiering/io/file.h"

namespace firn::log {

struct SegmentOrder {
  std::string directory;
  uint64_t id = 0;
  uint64_t segment_size_bytes = 0;  // of an ordinary segment, where the disk isn't small
  uint64_t room_bytes = 0;          // at least so many bytes of records must fit; 0: ordinary
  uint64_t log_bytes = 0;           // what the log holds already
  uint64_t max_log_bytes = 0;       // `maxdisk`; 0: the file system's reserve holds instead
  bool keep_reserve = true;         // false: take the last bytes if need be
};

struct MadeSegment {
  uint64_t id = 0;
  std::shared_ptr<io::File> file;
  char* address = nullptr;  // the mapping of the whole file, for the owner to unmap
  uint64_t capacity = 0;
};

// Creates, allocates and maps the file, and makes its name durable. kNoSpace if a limit forbids it
// or the disk is full; nothing is left behind after a failure.
Result<MadeSegment> MakeSegment(io::FileSystem* file_system, const SegmentOrder& order);

// Size of an ordinary segment: smaller than usual where sixteen wouldn't fit.
struct DiskLimits {
  uint64_t max_log_bytes = 0;
  uint64_t disk_bytes = 0;  // of the file system; 0: unknown
};
uint64_t OrdinaryCapacity(uint64_t segment_size_bytes, DiskLimits limits);

// Of what `maxdisk` allows, all but a twentieth, which is kept back for compaction: it must write
// before it can remove.
inline uint64_t OrdinaryLimit(uint64_t max_log_bytes) { return max_log_bytes - max_log_bytes / 20; }

// What is kept free on a file system of so many bytes while there is no `maxdisk`: 5 % or 1 GiB,
// the larger, but at most a quarter.
uint64_t DiskReserve(uint64_t disk_bytes);

}  // namespace firn::log
