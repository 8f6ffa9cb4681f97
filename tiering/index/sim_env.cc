#include "tiering/index/sim_env.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>

#include "engine/base/check.h"

namespace firn {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr int64_t kWallSeconds = 1'700'000'000;

IOStatus ToRocks(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return IOStatus::OK();
    case StatusCode::kNotFound:
      return IOStatus::PathNotFound(status.message());
    case StatusCode::kNoSpace:
      return IOStatus::NoSpace(status.message());
    case StatusCode::kBusy:
      return IOStatus::Busy(status.message());
    default:
      return IOStatus::IOError(status.message());
  }
}

// Reads whole or up to the end of the file into `scratch`.
IOStatus ReadInto(io::File* file, uint64_t offset, size_t size, bool direct, Slice* result,
                  char* scratch) {
  std::span<char> into(scratch, size);
  Result<size_t> count = direct ? file->ReadDirectAt(offset, into) : file->ReadAt(offset, into);
  *result = Slice(scratch, count.value_or(0));
  return count ? IOStatus::OK() : ToRocks(count.error());
}

class SequentialFile : public rocksdb::FSSequentialFile {
 public:
  SequentialFile(std::unique_ptr<io::File> file, bool direct)
      : file_(std::move(file)), direct_(direct) {}

  IOStatus Read(size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    IOStatus status = ReadInto(file_.get(), offset_, n, false, result, scratch);
    offset_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t n) override {
    offset_ += n;
    return IOStatus::OK();
  }
  IOStatus PositionedRead(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                          IODebugContext*) override {
    return ReadInto(file_.get(), offset, n, direct_, result, scratch);
  }
  bool use_direct_io() const override { return direct_; }

 private:
  const std::unique_ptr<io::File> file_;
  const bool direct_;
  uint64_t offset_ = 0;
};

class RandomAccessFile : public rocksdb::FSRandomAccessFile {
 public:
  RandomAccessFile(std::unique_ptr<io::File> file, bool direct)
      : file_(std::move(file)), direct_(direct) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return ReadInto(file_.get(), offset, n, direct_, result, scratch);
  }
  IOStatus Prefetch(uint64_t, size_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported();
  }
  bool use_direct_io() const override { return direct_; }

 private:
  const std::unique_ptr<io::File> file_;
  const bool direct_;
};

class WritableFile : public rocksdb::FSWritableFile {
 public:
  WritableFile(std::unique_ptr<io::File> file, uint64_t size)
      : file_(std::move(file)), size_(size) {}

  using rocksdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    Status status = file_->WriteAt(size_, {data.data(), data.size()});
    if (status.ok()) size_ += data.size();
    return ToRocks(status);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions&, IODebugContext*) override {
    Status status = file_->Truncate(size);
    if (status.ok()) size_ = size;
    return ToRocks(status);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override {
    file_.reset();
    return IOStatus::OK();
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return ToRocks(file_->Sync()); }
  bool IsSyncThreadSafe() const override { return true; }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return size_; }

 private:
  std::unique_ptr<io::File> file_;
  uint64_t size_;
};

class RandomRWFile : public rocksdb::FSRandomRWFile {
 public:
  explicit RandomRWFile(std::unique_ptr<io::File> file) : file_(std::move(file)) {}

  IOStatus Write(uint64_t offset, const Slice& data, const IOOptions&, IODebugContext*) override {
    return ToRocks(file_->WriteAt(offset, {data.data(), data.size()}));
  }
  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return ReadInto(file_.get(), offset, n, false, result, scratch);
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return ToRocks(file_->Sync()); }
  IOStatus Close(const IOOptions&, IODebugContext*) override {
    file_.reset();
    return IOStatus::OK();
  }

 private:
  std::unique_ptr<io::File> file_;
};

class Directory : public rocksdb::FSDirectory {
 public:
  Directory(io::FileSystem* file_system, std::string path)
      : file_system_(file_system), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return ToRocks(file_system_->SyncDirectory(path_));
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  io::FileSystem* const file_system_;
  const std::string path_;
};

class HeldLock : public rocksdb::FileLock {
 public:
  explicit HeldLock(std::unique_ptr<io::FileLock> lock) : lock_(std::move(lock)) {}

 private:
  const std::unique_ptr<io::FileLock> lock_;
};

class NullLogger : public rocksdb::Logger {
 public:
  NullLogger() : Logger(rocksdb::NUM_INFO_LOG_LEVELS) {}
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
  size_t GetLogFileSize() const override { return 0; }
};

class FileSystemAdapter : public rocksdb::FileSystem {
 public:
  explicit FileSystemAdapter(io::FileSystem* file_system) : file_system_(file_system) {}

  const char* Name() const override { return "firn"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext*) override {
    return OpenInto(path, {.writable = false}, [&](std::unique_ptr<io::File> file) {
      *result = std::make_unique<SequentialFile>(std::move(file), options.use_direct_reads);
    });
  }
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext*) override {
    return OpenInto(path, {.writable = false}, [&](std::unique_ptr<io::File> file) {
      *result = std::make_unique<RandomAccessFile>(std::move(file), options.use_direct_reads);
    });
  }
  IOStatus NewWritableFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext*) override {
    // Nobody reads the options that RocksDB writes and verifies at every open, which takes as long
    // as all the rest of it; a database opens without.
    if (path.find("/OPTIONS-") != std::string::npos) return IOStatus::NotSupported(path);
    return OpenInto(path, {.create = true, .truncate = true}, [&](std::unique_ptr<io::File> file) {
      *result = std::make_unique<WritableFile>(std::move(file), 0);
    });
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions&,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              IODebugContext*) override {
    Status size_status;
    IOStatus status = OpenInto(path, {.create = true}, [&](std::unique_ptr<io::File> file) {
      Result<uint64_t> size = file->Size();
      if (!size) {
        size_status = size.error();
        return;
      }
      *result = std::make_unique<WritableFile>(std::move(file), *size);
    });
    return status.ok() ? ToRocks(size_status) : status;
  }
  IOStatus NewRandomRWFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* result,
                           IODebugContext*) override {
    return OpenInto(path, {}, [&](std::unique_ptr<io::File> file) {
      *result = std::make_unique<RandomRWFile>(std::move(file));
    });
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext*) override {
    if (Result<std::vector<std::string>> names = file_system_->List(path); !names) {
      return ToRocks(names.error());
    }
    *result = std::make_unique<Directory>(file_system_, path);
    return IOStatus::OK();
  }

  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    return file_system_->Exists(path) ? IOStatus::OK() : IOStatus::NotFound();
  }
  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* result,
                       IODebugContext*) override {
    result->clear();
    Result<std::vector<std::string>> names = file_system_->List(path);
    if (!names) return ToRocks(names.error());
    *result = std::move(*names);
    return IOStatus::OK();
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToRocks(file_system_->Remove(path));
  }
  IOStatus Truncate(const std::string& path, size_t size, const IOOptions&,
                    IODebugContext*) override {
    Status truncated;
    IOStatus status = OpenInto(
        path, {}, [&](std::unique_ptr<io::File> file) { truncated = file->Truncate(size); });
    return status.ok() ? ToRocks(truncated) : status;
  }
  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    if (file_system_->Exists(path)) return IOStatus::IOError(path + " exists");
    return ToRocks(file_system_->CreateDirectories(path));
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToRocks(file_system_->CreateDirectories(path));
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToRocks(file_system_->RemoveDirectory(path));
  }
  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    Result<uint64_t> found = 0;
    IOStatus status = OpenInto(path, {.writable = false},
                               [&](std::unique_ptr<io::File> file) { found = file->Size(); });
    *size = found.value_or(0);
    return status.ok() && !found ? ToRocks(found.error()) : status;
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, uint64_t* time,
                                   IODebugContext*) override {
    *time = kWallSeconds;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    return ToRocks(file_system_->Rename(from, to));
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&,
                    IODebugContext*) override {
    return ToRocks(file_system_->Link(from, to));
  }
  IOStatus AreFilesSame(const std::string& first, const std::string& second, const IOOptions&,
                        bool* same, IODebugContext*) override {
    *same = first == second;
    return IOStatus::OK();
  }
  IOStatus LockFile(const std::string& path, const IOOptions&, rocksdb::FileLock** lock,
                    IODebugContext*) override {
    *lock = nullptr;
    Result<std::unique_ptr<io::FileLock>> held = file_system_->Lock(path);
    if (!held) return ToRocks(held.error());
    *lock = new HeldLock(std::move(*held));
    return IOStatus::OK();
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    delete static_cast<HeldLock*>(lock);
    return IOStatus::OK();
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) override {
    *path = "/test";
    return ToRocks(file_system_->CreateDirectories(*path));
  }
  IOStatus NewLogger(const std::string&, const IOOptions&, std::shared_ptr<rocksdb::Logger>* logger,
                     IODebugContext*) override {
    *logger = std::make_shared<NullLogger>();
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* absolute,
                           IODebugContext*) override {
    *absolute = path;
    return IOStatus::OK();
  }
  IOStatus GetFreeSpace(const std::string& path, const IOOptions&, uint64_t* free,
                        IODebugContext*) override {
    Result<io::SpaceInfo> space = file_system_->Space(path);
    if (!space) return ToRocks(space.error());
    *free = space->available_bytes;
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_directory,
                       IODebugContext*) override {
    if (!file_system_->Exists(path)) return IOStatus::PathNotFound(path);
    *is_directory = file_system_->List(path).has_value();
    return IOStatus::OK();
  }

 private:
  template <typename Use>
  IOStatus OpenInto(const std::string& path, io::OpenOptions options, Use use) {
    Result<std::unique_ptr<io::File>> file = file_system_->Open(path, options);
    if (!file) return ToRocks(file.error());
    use(std::move(*file));
    return IOStatus::OK();
  }

  io::FileSystem* const file_system_;
};

// Counts what runs in the background, which stays on the threads of the default Env.
class SimEnv : public rocksdb::EnvWrapper {
 public:
  explicit SimEnv(io::FileSystem* file_system)
      : EnvWrapper(rocksdb::NewCompositeEnv(std::make_shared<FileSystemAdapter>(file_system))) {
    // The base class forwards calls, but hands out its own pointer.
    file_system_ = target()->GetFileSystem();
  }
  ~SimEnv() override { WaitIdle(); }

  void Schedule(void (*function)(void*), void* argument, Priority priority, void* tag,
                void (*unschedule)(void*)) override {
    {
      std::lock_guard lock(mutex_);
      ++scheduled_;
    }
    auto* job = new Job{this, function, argument, unschedule};
    EnvWrapper::Schedule(&RunJob, job, priority, tag, &CancelJob);
  }

  rocksdb::Status GetCurrentTime(int64_t* seconds) override {
    *seconds = kWallSeconds;
    return rocksdb::Status::OK();
  }
  std::string GenerateUniqueId() override {
    char id[37];
    snprintf(id, sizeof id, "00000000-0000-4000-8000-%012llx",
             static_cast<unsigned long long>(next_id_.fetch_add(1)));
    return id;
  }

  void WaitIdle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return scheduled_ == 0; });
  }

 private:
  struct Job {
    SimEnv* env;
    void (*function)(void*);
    void* argument;
    void (*unschedule)(void*);
  };

  static void RunJob(void* argument) {
    std::unique_ptr<Job> job(static_cast<Job*>(argument));
    job->function(job->argument);
    job->env->JobEnded();
  }
  static void CancelJob(void* argument) {
    std::unique_ptr<Job> job(static_cast<Job*>(argument));
    if (job->unschedule != nullptr) job->unschedule(job->argument);
    job->env->JobEnded();
  }
  void JobEnded() {
    std::lock_guard lock(mutex_);
    --scheduled_;
    idle_.notify_all();  // under the lock: the waiter may destroy this
  }

  std::mutex mutex_;
  std::condition_variable idle_;
  int scheduled_ = 0;  // guarded by mutex_
  std::atomic<uint64_t> next_id_ = 1;
};

}  // namespace

std::unique_ptr<rocksdb::Env> CreateEnv(io::FileSystem* file_system) {
  return std::make_unique<SimEnv>(file_system);
}

void WaitForBackgroundWork(rocksdb::Env* env) { static_cast<SimEnv*>(env)->WaitIdle(); }

}  // namespace firn
