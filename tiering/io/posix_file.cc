#include "tiering/io/posix_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <typeinfo>
#include <utility>

#include "engine/base/check.h"

namespace firn::io {
namespace {

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// More than this in one call is cut short by the kernel anyway.
constexpr size_t kMaxTransferBytes = 1u << 30;
constexpr mode_t kFileMode = 0644;
constexpr mode_t kDirectoryMode = 0755;

uint64_t PageSize() {
  static const auto size = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

template <typename Call>
auto RetryInterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

// Owns a descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

Descriptor OpenDescriptor(const std::string& path, int flags) {
  return Descriptor(
      RetryInterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, kFileMode); }));
}

bool IsAligned(uint64_t value, uint64_t alignment) { return value % alignment == 0; }

bool SameInode(int left, int right) {
  struct stat left_stat;
  struct stat right_stat;
  return ::fstat(left, &left_stat) == 0 && ::fstat(right, &right_stat) == 0 &&
         left_stat.st_dev == right_stat.st_dev && left_stat.st_ino == right_stat.st_ino;
}

class PosixFile final : public File {
 public:
  // `direct` is invalid where the file system has no direct I/O.
  PosixFile(std::string path, Descriptor buffered, Descriptor direct)
      : File(std::move(path)), buffered_(std::move(buffered)), direct_(std::move(direct)) {}

  PosixDescriptors descriptors() const {
    return {.buffered = buffered_.get(),
            .direct = direct_.valid() ? direct_.get() : buffered_.get()};
  }

  Result<size_t> ReadAt(uint64_t offset, std::span<char> into) override {
    return ReadLoop(buffered_.get(), offset, into);
  }

  Result<size_t> ReadDirectAt(uint64_t offset, std::span<char> into) override {
    CHECK(IsAligned(offset, kDirectAlignment));
    CHECK(IsAligned(into.size(), kDirectAlignment));
    CHECK(IsAligned(reinterpret_cast<uintptr_t>(into.data()), kDirectAlignment));
    return ReadLoop(descriptors().direct, offset, into);
  }

  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const size_t size = std::min(bytes.size(), kMaxTransferBytes);
      const ssize_t written = RetryInterrupted([&] {
        return ::pwrite(buffered_.get(), bytes.data(), size, static_cast<off_t>(offset));
      });
      if (written < 0) return Failure(errno, "write");
      if (written == 0) return Failure(ENOSPC, "write");
      offset += static_cast<uint64_t>(written);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return Status::Ok();
  }

  Status Sync() override {
    if (RetryInterrupted([&] { return ::fdatasync(buffered_.get()); }) != 0) {
      return Failure(errno, "sync");
    }
    return Status::Ok();
  }

  Status Truncate(uint64_t size) override {
    if (RetryInterrupted([&] { return ::ftruncate(buffered_.get(), static_cast<off_t>(size)); }) !=
        0) {
      return Failure(errno, "truncate");
    }
    return Status::Ok();
  }

  Status Allocate(uint64_t size) override;

  Result<uint64_t> Size() override {
    struct stat info;
    if (::fstat(buffered_.get(), &info) != 0) return std::unexpected(Failure(errno, "stat"));
    return static_cast<uint64_t>(info.st_size);
  }

  Result<char*> Map(uint64_t offset, uint64_t size) override {
    CHECK(size > 0);
    CHECK(IsAligned(offset, PageSize()));
    CHECK(IsAligned(size, PageSize()));
    const Result<uint64_t> file_size = Size();
    if (!file_size) return std::unexpected(file_size.error());
    if (offset > *file_size || size > *file_size - offset) {
      return std::unexpected(Status::Invalid("map " + path() + ": range is beyond its end"));
    }
    void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, buffered_.get(),
                           static_cast<off_t>(offset));
    if (address == MAP_FAILED) return std::unexpected(Failure(errno, "map"));
    // A page that is touched before it is written would bring as much as the device reads ahead (8
    // MiB on some), filled with zeros in one go: the processor was gone for 25 ms at a time. Advice
    // only: a refusal costs nothing but that.
    static_cast<void>(::madvise(address, size, MADV_RANDOM));
    return static_cast<char*>(address);
  }

  void Unmap(char* address, uint64_t size) override { CHECK(::munmap(address, size) == 0); }

  Status Populate(char* address, uint64_t offset, uint64_t size) override;

  bool LockInRam(char* address, uint64_t size) override { return ::mlock(address, size) == 0; }

  void DropCache(uint64_t offset, uint64_t size) override {
    // Advice only: a failure leaves the pages cached, which is harmless.
    static_cast<void>(::posix_fadvise(buffered_.get(), static_cast<off_t>(offset),
                                      static_cast<off_t>(size), POSIX_FADV_DONTNEED));
  }

 private:
  Status Failure(int error, const char* what) const {
    return Status::FromErrno(error, std::string(what) + " " + path());
  }

  Result<size_t> ReadLoop(int fd, uint64_t offset, std::span<char> into) const;

  const Descriptor buffered_;
  const Descriptor direct_;
};

Result<size_t> PosixFile::ReadLoop(int fd, uint64_t offset, std::span<char> into) const {
  const bool direct = direct_.valid() && fd == direct_.get();
  size_t done = 0;
  while (done < into.size()) {
    const size_t size = std::min(into.size() - done, kMaxTransferBytes);
    const ssize_t count = RetryInterrupted(
        [&] { return ::pread(fd, into.data() + done, size, static_cast<off_t>(offset + done)); });
    if (count < 0) return std::unexpected(Failure(errno, "read"));
    if (count == 0) break;
    done += static_cast<size_t>(count);
    // A direct read that stops off the alignment has met the end of the file, and could not go on
    // from there.
    if (direct && !IsAligned(done, kDirectAlignment)) break;
  }
  return done;
}

Status PosixFile::Allocate(uint64_t size) {
  if (size == 0) return Status::Ok();
  const Result<uint64_t> old_size = Size();
  if (!old_size) return old_size.error();
  if (RetryInterrupted(
          [&] { return ::fallocate(buffered_.get(), 0, 0, static_cast<off_t>(size)); }) == 0) {
    return Status::Ok();
  }
  if (errno != EOPNOTSUPP && errno != ENOSYS) return Failure(errno, "allocate");
  // The C library's emulation touches only one byte a block and can race with writers; writing
  // zeros behind the old end reserves the blocks everywhere that doesn't compress them away.
  constexpr size_t kChunkBytes = 256 * 1024;
  const std::string zeros(kChunkBytes, '\0');
  for (uint64_t at = *old_size; at < size;) {
    const uint64_t chunk = std::min<uint64_t>(size - at, kChunkBytes);
    if (Status status = WriteAt(at, std::string_view(zeros).substr(0, chunk)); !status.ok()) {
      // Gives the blocks back; the caller hears of the first failure.
      static_cast<void>(Truncate(*old_size).ok());
      return status;
    }
    at += chunk;
  }
  return Status::Ok();
}

Status PosixFile::Populate(char* address, uint64_t offset, uint64_t size) {
  // Written pages come several at a time and have their blocks: 1.3 us each. Faults alone, one by
  // one, take 4 to 5.
  static constexpr char kZeros[64 << 10] = {};
  for (uint64_t at = 0; at < size; at += sizeof kZeros) {
    const size_t part = std::min<uint64_t>(size - at, sizeof kZeros);
    FIRN_RETURN_IF_ERROR(WriteAt(offset + at, std::string_view(kZeros, part)));
  }
  int result;
  do {
    result = ::madvise(address, size, MADV_POPULATE_WRITE);
  } while (result != 0 && (errno == EINTR || errno == EAGAIN));
  if (result == 0) return Status::Ok();
  if (errno != EINVAL) return Failure(errno, "populate");
  // Kernels before 5.14.
  for (uint64_t at = 0; at < size; at += PageSize()) {
    *const_cast<volatile char*>(address + at) = 0;
  }
  return Status::Ok();
}

class PosixFileLock final : public FileLock {
 public:
  explicit PosixFileLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

 private:
  const Descriptor descriptor_;
};

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override;
  Result<std::vector<std::string>> List(const std::string& directory) override;
  Status CreateDirectories(const std::string& directory) override;
  Status SyncDirectory(const std::string& directory) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  Result<SpaceInfo> Space(const std::string& path) override;

  Status Remove(const std::string& path) override {
    return Checked(::unlink(path.c_str()), "remove " + path);
  }
  Status RemoveDirectory(const std::string& path) override {
    return Checked(::rmdir(path.c_str()), "remove directory " + path);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return Checked(::rename(from.c_str(), to.c_str()), "rename " + from + " to " + to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return Checked(::link(from.c_str(), to.c_str()), "link " + from + " to " + to);
  }
  bool Exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

 private:
  static Status Checked(int result, std::string what) {
    if (result == 0) return Status::Ok();
    return Status::FromErrno(errno, std::move(what));
  }
};

Result<std::unique_ptr<File>> PosixFileSystem::Open(const std::string& path, OpenOptions options) {
  int flags = options.writable ? O_RDWR : O_RDONLY;
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  if (options.truncate) flags |= O_TRUNC;
  Descriptor buffered = OpenDescriptor(path, flags);
  if (!buffered.valid()) {
    if (errno == EEXIST) {
      return std::unexpected(Status(StatusCode::kBusy, "open " + path + ": it exists", EEXIST));
    }
    return std::unexpected(Status::FromErrno(errno, "open " + path));
  }
  // Nobody wants to know when the log was read. Only a file's owner may ask for that.
  Descriptor direct = OpenDescriptor(path, O_RDONLY | O_DIRECT | O_NOATIME);
  if (!direct.valid() && errno == EPERM) direct = OpenDescriptor(path, O_RDONLY | O_DIRECT);
  if (!direct.valid() && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
    return std::unexpected(Status::FromErrno(errno, "open " + path));
  }
  // The name may have been given to another file between the two calls.
  if (direct.valid() && !SameInode(buffered.get(), direct.get())) direct = Descriptor();
  return std::make_unique<PosixFile>(path, std::move(buffered), std::move(direct));
}

Result<std::vector<std::string>> PosixFileSystem::List(const std::string& directory) {
  DIR* handle = ::opendir(directory.c_str());
  if (handle == nullptr) return std::unexpected(Status::FromErrno(errno, "list " + directory));
  std::vector<std::string> names;
  int error = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(handle);
    if (entry == nullptr) {
      error = errno;
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(handle);
  if (error != 0) return std::unexpected(Status::FromErrno(error, "list " + directory));
  return names;
}

Status PosixFileSystem::CreateDirectories(const std::string& directory) {
  for (size_t end = 0; end != std::string::npos;) {
    end = directory.find('/', end + 1);
    const std::string prefix = directory.substr(0, end);
    if (prefix.empty()) continue;
    if (::mkdir(prefix.c_str(), kDirectoryMode) == 0) continue;
    const int error = errno;
    struct stat info;
    // A parent that can't be written but exists (EACCES, EROFS) is fine as well.
    if (::stat(prefix.c_str(), &info) == 0) {
      if (S_ISDIR(info.st_mode)) continue;
      return Status::FromErrno(ENOTDIR, "create directory " + prefix);
    }
    return Status::FromErrno(error, "create directory " + prefix);
  }
  return Status::Ok();
}

Status PosixFileSystem::SyncDirectory(const std::string& directory) {
  const Descriptor descriptor = OpenDescriptor(directory, O_RDONLY | O_DIRECTORY);
  if (!descriptor.valid()) return Status::FromErrno(errno, "open directory " + directory);
  if (RetryInterrupted([&] { return ::fsync(descriptor.get()); }) != 0) {
    // Some file systems have no fsync for directories: their entries are as durable as they get.
    if (errno == EINVAL || errno == ENOTSUP) return Status::Ok();
    return Status::FromErrno(errno, "sync directory " + directory);
  }
  return Status::Ok();
}

Result<std::unique_ptr<FileLock>> PosixFileSystem::Lock(const std::string& path) {
  Descriptor descriptor = OpenDescriptor(path, O_RDWR | O_CREAT);
  if (!descriptor.valid()) return std::unexpected(Status::FromErrno(errno, "open " + path));
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  // The lock belongs to this open file, not to the process: another holder in the process is
  // kept out too, and closing some other descriptor of the file doesn't release it.
  if (::fcntl(descriptor.get(), F_OFD_SETLK, &range) != 0) {
    if (errno == EAGAIN || errno == EACCES) {
      return std::unexpected(
          Status(StatusCode::kBusy, "lock " + path + ": another process holds it", errno));
    }
    return std::unexpected(Status::FromErrno(errno, "lock " + path));
  }
  return std::make_unique<PosixFileLock>(std::move(descriptor));
}

Result<SpaceInfo> PosixFileSystem::Space(const std::string& path) {
  struct statvfs info;
  if (RetryInterrupted([&] { return ::statvfs(path.c_str(), &info); }) != 0) {
    return std::unexpected(Status::FromErrno(errno, "statvfs " + path));
  }
  return SpaceInfo{.total_bytes = static_cast<uint64_t>(info.f_blocks) * info.f_frsize,
                   .available_bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize};
}

}  // namespace

std::unique_ptr<FileSystem> CreatePosixFileSystem() { return std::make_unique<PosixFileSystem>(); }

PosixDescriptors DescriptorsOf(const File& file) {
  CHECK(typeid(file) == typeid(PosixFile));
  return static_cast<const PosixFile&>(file).descriptors();
}

}  // namespace firn::io
