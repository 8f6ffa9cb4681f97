// RdbSink: where a dump is written to, with the checksum and the count of what was written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace firn {

// Collects small pieces into blocks. After the first failure everything more is dropped.
// One thread.
class RdbSink {
 public:
  virtual ~RdbSink() = default;
  RdbSink() = default;
  RdbSink(const RdbSink&) = delete;
  RdbSink& operator=(const RdbSink&) = delete;

  void Append(std::string_view bytes);
  // Writes what was collected.
  void Flush();
  // Appended so far.
  uint64_t bytes() const { return flushed_ + buffer_.size(); }
  // Of all bytes so far.
  uint64_t crc() const;
  // Replaces earlier bytes, which `was` repeats, and amends the checksum. REQUIRES: equally long.
  struct Change {
    uint64_t offset = 0;
    std::string_view was;
    std::string_view becomes;
  };
  void Amend(const Change& change);
  const Status& status() const { return status_; }

 protected:
  virtual Status Write(std::string_view bytes) = 0;
  // Called with everything flushed. A sink that can't go back refuses.
  virtual Status Overwrite(uint64_t offset, std::string_view bytes);

 private:
  void WriteNow(std::string_view bytes);

  std::string buffer_;
  uint64_t flushed_ = 0;
  uint64_t crc_ = 0;  // of what was flushed
  Status status_;
};

// A dump in RAM.
class RdbStringSink final : public RdbSink {
 public:
  // Flushes. The sink is not to be used any more.
  std::string Take() {
    Flush();
    return std::move(text_);
  }

 protected:
  Status Write(std::string_view bytes) override {
    text_.append(bytes);
    return {};
  }
  Status Overwrite(uint64_t offset, std::string_view bytes) override {
    text_.replace(offset, bytes.size(), bytes);
    return {};
  }

 private:
  std::string text_;
};

}  // namespace firn
