// RdbInput: numbers, lengths and strings of a dump that nobody has checked, with the checksum of
// what was read. After the first failure every read gives zeros and ok() is false.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/rdb/rdb_source.h"

namespace firn {

class RdbInput {
 public:
  explicit RdbInput(RdbSource* source);

  bool ok() const { return status_.ok(); }
  // The first failure, with the offset where it was found.
  const Status& status() const { return status_; }
  // Always false.
  bool Fail(std::string_view reason);
  bool Fail(const Status& status);

  // Read so far.
  uint64_t offset() const { return read_ + at_; }
  // At most so many bytes can follow.
  uint64_t remaining() const;
  // Of what was read so far.
  uint64_t crc();

  uint8_t Byte();
  template <typename T>
  T Fixed() {
    T value{};
    Bytes(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  }
  bool Bytes(char* to, size_t size);
  // A length. One that stands for a special string is a failure.
  uint64_t Length();
  // A count of things that take at least `bytes` each.
  uint64_t Count(uint64_t bytes);
  // A string in any of its forms.
  bool String(std::string* out);
  // A double as the first sorted sets have it: in digits.
  double TextDouble();
  // `size` bytes as they are.
  bool Raw(uint64_t size, std::string* out);

 private:
  struct AnyLength {
    uint64_t value = 0;
    bool special = false;
  };
  AnyLength ReadLength();
  bool Compressed(std::string* out);
  bool Fill();
  void CountIn();

  RdbSource& source_;
  std::string buffer_;
  size_t at_ = 0;       // in the buffer
  size_t filled_ = 0;   // of the buffer
  size_t counted_ = 0;  // of the buffer: in crc_
  uint64_t read_ = 0;   // before the buffer
  uint64_t crc_ = 0;
  std::string compressed_;
  Status status_;
};

}  // namespace firn
