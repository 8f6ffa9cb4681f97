// StoreBackup: a copy of a store's data directory that a server can be started on, as of one
// moment, while the store goes on. Sealed segments and the index' tables never change: they are
// shared by hard links where the file system has them, so that a backup costs little but the log's
// last segment. Between the steps, which are the caller's:
//
//   backup = store.BeginBackup(dir)   executor; from here on no segment of the log is removed
//   backup->CopyIndex()               another thread; blocking
//   backup->TakeLog()                 executor: this is the moment. REQUIRES: no group is open
//   backup->CopyLog()                 another thread; blocking
//   backup.reset()                    executor
//
// The identity is written last: a server refuses a directory that was not finished.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/identity.h"
#include "tiering/io/file.h"

namespace firn {

class Index;
class StoreImpl;

class StoreBackup {
 public:
  StoreBackup(StoreImpl* store, std::string directory);
  // The store may be gone by then.
  ~StoreBackup();
  StoreBackup(const StoreBackup&) = delete;
  StoreBackup& operator=(const StoreBackup&) = delete;

  Status CopyIndex();
  void TakeLog();
  Status CopyLog();

 private:
  struct Part {
    uint64_t id = 0;
    std::shared_ptr<io::File> file;
    uint64_t bytes = 0;
    bool is_final = false;  // nothing is written to it any more
  };
  Status CopyPart(const Part& part) const;

  const std::weak_ptr<StoreImpl*> store_;
  io::FileSystem& files_;
  const std::string source_;
  const std::string directory_;
  const Identity identity_;
  std::shared_ptr<const Index> index_;
  std::vector<Part> parts_;
  uint64_t last_lsn_ = 0;
};

// A hard link, or a copy where there can be none; durable but for the directory's entry. REQUIRES:
// nothing is written to `from` any more.
Status LinkOrCopy(io::FileSystem* files, const std::string& from, const std::string& to);

}  // namespace firn
