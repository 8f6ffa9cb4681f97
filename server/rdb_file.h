// Writing a snapshot as a dump of Redis: to a temporary file, which takes the dump's name once it
// is whole and synced. On any failure the dump of before stays, and the temporary file goes.
//
// Any thread; blocking, but for DumpFile::Abandon.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/file.h"
#include "tiering/snapshot/access_survey.h"
#include "tiering/snapshot/snapshot_view.h"

namespace firn::server {

// The names that a dump's file has: a temporary one, which is the same for all dumps of this
// process in a directory, and that of the dump in the end. Whoever writes it may be told by another
// thread that it is of no use any more: from then on the writer changes nothing under either name,
// so that the next dump can be written while this one's writer still ends.
class DumpFile {
 public:
  // `files` must outlive this.
  DumpFile(io::FileSystem* files, const std::string& directory, const std::string& name);
  DumpFile(const DumpFile&) = delete;
  DumpFile& operator=(const DumpFile&) = delete;

  // What lies where the dump will; null if nothing does. The disk frees its blocks when the last
  // one who has it open closes it, after Commit, and that one waits for it.
  std::unique_ptr<io::File> OpenReplaced();

  // For the writer. kBusy after Abandon.
  Result<std::unique_ptr<io::File>> Create();
  // Gives the dump its name. REQUIRES: the file is whole and synced.
  Status Commit();
  // Removes the temporary file, if it is still there and this one's. The file is to be open, so
  // that its blocks are freed when the writer closes it.
  void Remove();

  // From any thread: as Remove, and nothing else happens to names. Waits at most for one change of
  // a name. What was committed before stays.
  void Abandon();

 private:
  void RemoveLocked();

  io::FileSystem& files_;
  const std::string directory_;
  const std::string temporary_;
  const std::string path_;
  // Held only while names change.
  std::mutex mutex_;
  bool is_temporary_ = false;  // guarded by mutex_: the temporary name is this one's
  bool abandoned_ = false;     // guarded by mutex_
};

struct RdbFileOptions {
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
// cancelled, or the file abandoned.
Status WriteRdbFile(DumpFile* dump, SnapshotView* view, const RdbFileOptions& options,
                    std::atomic<uint64_t>* keys);

// Removes the temporary files of processes that were killed amid a save.
Status RemoveTemporaryDumps(io::FileSystem* files, const std::string& directory);
// Removes that of this process, if it is in the current directory. For signal handlers.
void RemoveOwnTemporaryDump();

}  // namespace firn::server
