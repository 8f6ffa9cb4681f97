// The first start of an instance whose directory holds append-only files or a dump.rdb of Redis:
// they are loaded before anybody is served, wholly or not at all. A mark in the directory, LOADING,
// says that a load has begun and not ended; who finds it throws away what the load has left, and
// begins again. As with Redis, append-only files have precedence where appendonly is on.
//
//   FirstLoad load(&files, {.directory = dir, .rdb_name = "dump.rdb"});
//   Prepare; open the store; if (load.due()) { load aof_paths() or rdb_path(); SyncNow; Finish; }
//   after a failure: close the store; Abandon
//
// A tool may name files that lie elsewhere (import_paths). Its mark then tells which, and a server
// that finds it refuses to start, since only the tool can begin again.
//
// Blocking calls, before the server serves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/file.h"

namespace firn::server {

// What a load has come to.
struct LoadTotals {
  uint64_t bytes = 0;     // read of the files
  uint64_t keys = 0;      // of dumps, those that are preambles too
  uint64_t expired = 0;   // of those: left out
  uint64_t empty = 0;     // of those: left out
  uint64_t requests = 0;  // of append-only files
};

class FirstLoad {
 public:
  struct Names {
    std::string directory;
    std::string rdb_name;
    std::string aof_folder = {};  // appenddirname
    std::string aof_name = {};    // empty: append-only files are not looked at
    // Instead of all these; in order, each a dump, an append-only file, or one with a dump before
    // it.
    std::vector<std::string> import_paths = {};
  };
  FirstLoad(io::FileSystem* files, Names names)
      : files_(*files),
        names_(std::move(names)),
        directory_(names_.directory),
        rdb_path_(directory_ + "/" + names_.rdb_name) {}

  // Before the store is opened: clears up after a load that was interrupted, and finds out whether
  // there is one to do: there is such a file, and the store has no data yet.
  Status Prepare();
  bool due() const { return due_; }
  bool is_import() const { return !names_.import_paths.empty(); }
  // In order; if there are none, the dump is to be loaded.
  const std::vector<std::string>& aof_paths() const { return aof_paths_; }
  const std::string& rdb_path() const { return rdb_path_; }
  // An append-only file that is not loaded, since there is data; empty if there is none.
  const std::string& passed_over() const { return passed_over_; }
  // Everything is loaded, and durable.
  Status Finish();
  // Removes what was loaded. REQUIRES: the store is closed.
  Status Abandon();

 private:
  std::string MarkPath() const { return directory_ + "/LOADING"; }
  Status CheckMark();
  Status WriteMark();
  Status Wipe();

  io::FileSystem& files_;
  const Names names_;
  const std::string directory_;
  const std::string rdb_path_;
  std::vector<std::string> aof_paths_;
  bool due_ = false;
  std::string passed_over_;
};

}  // namespace firn::server
