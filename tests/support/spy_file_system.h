// A FileSystem that passes everything on, notes what can't be seen from outside, and refuses what
// it is told to refuse.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tiering/io/file.h"

namespace firn::test {

struct Spy {
  struct Range {
    std::string path;
    uint64_t begin;
    uint64_t end;
  };
  std::atomic<bool> refuse_locks = false;
  std::atomic<bool> fail_populate = false;
  std::atomic<uint64_t> populated_bytes = 0;
  std::atomic<int64_t> mapped_bytes = 0;

  void NoteDrop(Range range) {
    std::lock_guard guard(mutex_);
    dropped_.push_back(std::move(range));
  }
  std::vector<Range> dropped() const {
    std::lock_guard guard(mutex_);
    return dropped_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Range> dropped_;
};

class SpyFile : public io::File {
 public:
  SpyFile(std::unique_ptr<io::File> file, std::shared_ptr<Spy> spy)
      : io::File(file->path()), file_(std::move(file)), spy_(std::move(spy)) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<char> into) override {
    return file_->ReadAt(offset, into);
  }
  Result<size_t> ReadDirectAt(uint64_t offset, std::span<char> into) override {
    return file_->ReadDirectAt(offset, into);
  }
  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    return file_->WriteAt(offset, bytes);
  }
  Status Sync() override { return file_->Sync(); }
  Status Truncate(uint64_t size) override { return file_->Truncate(size); }
  Status Allocate(uint64_t size) override { return file_->Allocate(size); }
  Result<uint64_t> Size() override { return file_->Size(); }
  Result<char*> Map(uint64_t offset, uint64_t size) override {
    auto address = file_->Map(offset, size);
    if (address) spy_->mapped_bytes += static_cast<int64_t>(size);
    return address;
  }
  void Unmap(char* address, uint64_t size) override {
    spy_->mapped_bytes -= static_cast<int64_t>(size);
    file_->Unmap(address, size);
  }
  Status Populate(char* address, uint64_t offset, uint64_t size) override {
    if (spy_->fail_populate) return Status::FromErrno(5, "populate " + path());
    spy_->populated_bytes += size;
    return file_->Populate(address, offset, size);
  }
  bool LockInRam(char* address, uint64_t size) override {
    return !spy_->refuse_locks && file_->LockInRam(address, size);
  }
  void DropCache(uint64_t offset, uint64_t size) override {
    spy_->NoteDrop({path(), offset, offset + size});
    file_->DropCache(offset, size);
  }

 private:
  std::unique_ptr<io::File> file_;
  std::shared_ptr<Spy> spy_;
};

class SpyFileSystem : public io::FileSystem {
 public:
  explicit SpyFileSystem(io::FileSystem* target) : target_(target) {}
  Spy& spy() { return *spy_; }

  Result<std::unique_ptr<io::File>> Open(const std::string& path,
                                         io::OpenOptions options) override {
    auto file = target_->Open(path, options);
    if (!file) return file;
    return std::make_unique<SpyFile>(std::move(*file), spy_);
  }
  Result<std::vector<std::string>> List(const std::string& directory) override {
    return target_->List(directory);
  }
  Status CreateDirectories(const std::string& d) override { return target_->CreateDirectories(d); }
  Status Remove(const std::string& path) override { return target_->Remove(path); }
  Status RemoveDirectory(const std::string& d) override { return target_->RemoveDirectory(d); }
  Status Rename(const std::string& from, const std::string& to) override {
    return target_->Rename(from, to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return target_->Link(from, to);
  }
  bool Exists(const std::string& path) override { return target_->Exists(path); }
  Status SyncDirectory(const std::string& d) override { return target_->SyncDirectory(d); }
  Result<std::unique_ptr<io::FileLock>> Lock(const std::string& path) override {
    return target_->Lock(path);
  }
  Result<io::SpaceInfo> Space(const std::string& path) override { return target_->Space(path); }

 private:
  io::FileSystem* const target_;
  std::shared_ptr<Spy> spy_ = std::make_shared<Spy>();
};

}  // namespace firn::test
