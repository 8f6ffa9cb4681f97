// A File that is a string: for tests that damage bytes by the thousand.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "tiering/io/file.h"

namespace firn::test {

class MemoryFile : public io::File {
 public:
  explicit MemoryFile(std::string bytes, std::string path = "memory")
      : io::File(std::move(path)), bytes_(std::move(bytes)) {}

  std::string& bytes() { return bytes_; }
  // From now on reads fail with EIO.
  void FailReads() { reads_fail_ = true; }

  Result<size_t> ReadAt(uint64_t offset, std::span<char> into) override {
    if (reads_fail_) return std::unexpected(Status::FromErrno(5, "read " + path()));
    if (offset >= bytes_.size()) return 0;
    size_t size = std::min<size_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, size);
    return size;
  }
  Result<size_t> ReadDirectAt(uint64_t offset, std::span<char> into) override {
    CHECK(offset % io::kDirectAlignment == 0);
    CHECK(into.size() % io::kDirectAlignment == 0);
    CHECK(reinterpret_cast<uintptr_t>(into.data()) % io::kDirectAlignment == 0);
    return ReadAt(offset, into);
  }
  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    if (bytes_.size() < offset + bytes.size()) bytes_.resize(offset + bytes.size());
    std::memcpy(bytes_.data() + offset, bytes.data(), bytes.size());
    return Status::Ok();
  }
  Status Sync() override { return Status::Ok(); }
  Status Truncate(uint64_t size) override {
    bytes_.resize(size);
    return Status::Ok();
  }
  Status Allocate(uint64_t size) override {
    if (bytes_.size() < size) bytes_.resize(size);
    return Status::Ok();
  }
  Result<uint64_t> Size() override { return bytes_.size(); }
  Result<char*> Map(uint64_t, uint64_t) override {
    return std::unexpected(Status(StatusCode::kUnsupported, "a memory file isn't mapped"));
  }
  void Unmap(char*, uint64_t) override {}
  Status Populate(char*, uint64_t, uint64_t) override { return Status::Ok(); }
  bool LockInRam(char*, uint64_t) override { return true; }
  void DropCache(uint64_t, uint64_t) override {}

 private:
  std::string bytes_;
  bool reads_fail_ = false;
};

}  // namespace firn::test
