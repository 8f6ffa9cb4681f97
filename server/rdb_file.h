// Writing a snapshot as a dump of Redis: to a temporary file, which takes the dump's name once it
// is whole and synced. On any failure the dump of before stays, and the temporary file goes.
//
// Any thread; blocking.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/file.h"
#include "tiering/snapshot/access_survey.h"
#include "tiering/snapshot/snapshot_view.h"

namespace firn::server {

struct RdbFileOptions {
  std::string directory;
  std::string name;
  bool compress = true;
  bool checksum = true;
  bool incremental_sync = true;  // every few MiB, so that the end doesn't wait for all of it
  int64_t key_delay_us = 0;  // for tests: how long to wait after each key; negative: so many keys
                             // to a microsecond
  std::vector<std::string> functions;  // code of libraries
  uint64_t used_memory = 0;            // to be told in the file
  bool is_aof_base = false;            // of Redis' append-only files
  // How much keys are used; null: not told in the file.
  std::shared_ptr<const AccessSurvey> access = {};
};

// `keys` counts those that were written so far. The view must not be open yet; kBusy if it was
// cancelled.
Status WriteRdbFile(io::FileSystem* files, SnapshotView* view, const RdbFileOptions& options,
                    std::atomic<uint64_t>* keys);

// Removes the temporary files of processes that were killed amid a save.
Status RemoveTemporaryDumps(io::FileSystem* files, const std::string& directory);
// Removes that of this process, if it is in the current directory. For signal handlers.
void RemoveOwnTemporaryDump();

}  // namespace firn::server
