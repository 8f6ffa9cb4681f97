// Mends a damaged log: cuts it, or closes the gaps that damage left. What is taken out is kept in
// files named damaged-... beside the segments, never deleted. For tools, while no server has the
// directory. Blocking. Afterwards the index may name records that are gone: it has to be rebuilt.
#pragma once

#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/file.h"
#include "tiering/log/segment.h"

namespace firn::log {

// What was done, for people, a line each.
using MendLines = std::vector<std::string>;

// Ends the stream that `at` lies in there. The rest of its segment, and for the fresh stream all
// later segments, are set aside. An offset of 0 takes the whole segment. kInvalid if no record ends
// or begins there.
Result<MendLines> CutLog(io::FileSystem* file_system, const std::string& directory, LogPosition at);

// Closes every gap between sound records by a filler, and writes broken headers anew from what
// surrounds them. Records in the gaps are lost: their keys have what older records say. Damage with
// nothing sound behind it is left. Fails where a gap can't be closed, naming the cut that would
// mend it; what was done before stays.
Result<MendLines> SkipDamage(io::FileSystem* file_system, const std::string& directory);

// A filler of `size` bytes (at least 48, at most what a record may have), zero but for what makes
// its crc `crc`.
struct FillerSpec {
  uint32_t size = 0;
  uint32_t crc = 0;
  uint32_t previous_crc = 0;
  uint32_t epoch = 0;
  uint64_t lsn = 0;
  int64_t wall_ms = 0;
};
std::string MakeFiller(const FillerSpec& spec);

}  // namespace firn::log
