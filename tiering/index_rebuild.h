// Makes the index from the log alone: every segment of both streams is read, and of each key the
// record with the highest LSN counts. Blocking; for a start that finds no index, and for tools.
#pragma once

#include <string>
#include <vector>

#include "engine/base/siphash.h"
#include "engine/base/status.h"
#include "tiering/index/index.h"
#include "tiering/log/log_reader.h"

namespace firn {

struct RebuildSources {
  std::vector<log::ReadableSegment> cold;   // in any order
  std::vector<log::ReadableSegment> fresh;  // in the order of the stream
};
// `index` is empty. Damage in the middle of the log is reported, a torn tail is where the rebuild
// ends.
Status RebuildIndex(Index* index, HashSecret secret, const RebuildSources& sources,
                    uint32_t databases);

}  // namespace firn
