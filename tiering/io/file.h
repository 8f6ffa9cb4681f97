// Files and directories as the storage engine sees them: blocking calls, for worker threads, for
// start and stop, and for the few calls that never wait (Map, Unmap). The executor's own reads and
// syncs go through io::Loop.
//
// Two implementations: PosixFileSystem (posix_file.h) and the simulated disk (sim_disk.h), which
// loses and tears what was not synced.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace firn::io {

struct OpenOptions {
  bool create = false;     // create if absent
  bool exclusive = false;  // with create: fail with kBusy if it exists
  bool writable = true;
  bool truncate = false;
};

// An open file. Thread-safe: positional calls may run at once on several threads.
// Destroying a File closes it; mappings outlive it.
class File {
 public:
  virtual ~File() = default;

  // Reads up to into.size() bytes; fewer only at the end of the file. Returns the number read.
  virtual Result<size_t> ReadAt(uint64_t offset, std::span<char> into) = 0;
  // As ReadAt, but not through the page cache, for background copying: offset, size and address
  // are multiples of kDirectAlignment. Where the file system knows no direct I/O, as ReadAt.
  virtual Result<size_t> ReadDirectAt(uint64_t offset, std::span<char> into) = 0;
  // Writes all of `bytes` or fails. Not durable before Sync.
  virtual Status WriteAt(uint64_t offset, std::string_view bytes) = 0;
  // fdatasync: everything written before the call, through WriteAt or a mapping, and the size,
  // survives a power cut. After a failure the unsynced data must be taken for lost.
  virtual Status Sync() = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // Reserves blocks for [0, size) and makes the file that long, so that stores into a mapping
  // can't meet a full disk.
  virtual Status Allocate(uint64_t size) = 0;
  virtual Result<uint64_t> Size() = 0;

  // Maps [offset, offset + size) shared and writable. REQUIRES: multiples of the page size, inside
  // the file. The caller unmaps. Bytes stored there belong to the kernel at once (they survive the
  // process) and to the disk after Sync.
  virtual Result<char*> Map(uint64_t offset, uint64_t size) = 0;
  // Any part of a mapping, in whole pages.
  virtual void Unmap(char* address, uint64_t size) = 0;
  // Faults in a range of a mapping, which begins at `offset` of the file, for writing; blocks, so
  // for workers. REQUIRES: whole pages, to which nothing was ever written and which nobody touches
  // meanwhile: they are filled with zeros.
  virtual Status Populate(char* address, uint64_t offset, uint64_t size) = 0;
  // Keeps the range in RAM; false if the limit on locked memory forbids it.
  virtual bool LockInRam(char* address, uint64_t size) = 0;
  // Tells the kernel that the synced range of the page cache is not needed again.
  virtual void DropCache(uint64_t offset, uint64_t size) = 0;

  const std::string& path() const { return path_; }

 protected:
  explicit File(std::string path) : path_(std::move(path)) {}

 private:
  std::string path_;
};

inline constexpr uint64_t kDirectAlignment = 4096;

struct SpaceInfo {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;  // to this process
};

// Holds an exclusive lock on a file until destroyed.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// Thread-safe. Paths are plain byte strings with '/'.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) = 0;
  // Names (not paths) in a directory, without "." and "..", in no order.
  virtual Result<std::vector<std::string>> List(const std::string& directory) = 0;
  // Creates missing parents too; an existing directory is fine.
  virtual Status CreateDirectories(const std::string& directory) = 0;
  virtual Status Remove(const std::string& path) = 0;
  // Removes an empty directory.
  virtual Status RemoveDirectory(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Link(const std::string& from, const std::string& to) = 0;
  virtual bool Exists(const std::string& path) = 0;
  // Makes creations, renames and removals in `directory` durable.
  virtual Status SyncDirectory(const std::string& directory) = 0;
  // Fails with kBusy if another process (or another holder in this one) has it.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  virtual Result<SpaceInfo> Space(const std::string& path) = 0;
};

}  // namespace firn::io
