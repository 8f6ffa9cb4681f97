#include "engine/rdb/rdb_input.h"

#include <liblzf/lzf.h>

#include <cmath>
#include <limits>

#include "engine/rdb/crc64.h"
#include "engine/rdb/rdb_format.h"
#include "engine/types/string_ops.h"

namespace firn {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
// Longer than any string that the pages of a value can have.
constexpr uint64_t kMaxStringBytes = 0xffff0000;
// Where the size of the source is not known, memory grows with what really comes.
constexpr uint64_t kStep = 1 << 20;
// Three bytes of LZF give 264 bytes at most.
constexpr uint64_t kMaxExpansion = 88;

}  // namespace

RdbInput::RdbInput(RdbSource* source) : source_(*source), buffer_(kBufferBytes, '\0') {}

bool RdbInput::Fail(std::string_view reason) {
  if (status_.ok()) {
    status_ = Status::Corruption("offset " + std::to_string(offset()) + ": " + std::string(reason));
  }
  return false;
}

bool RdbInput::Fail(const Status& status) {
  if (status_.ok()) {
    status_ = Status(status.code(), "offset " + std::to_string(offset()) + ": " + status.message(),
                     status.error_number());
  }
  return false;
}

uint64_t RdbInput::remaining() const {
  const uint64_t size = source_.size();
  if (size == RdbSource::kUnknown) return size;
  return size > offset() ? size - offset() : 0;
}

void RdbInput::CountIn() {
  crc_ = Crc64(crc_, std::string_view(buffer_).substr(counted_, at_ - counted_));
  counted_ = at_;
}

uint64_t RdbInput::crc() {
  CountIn();
  return crc_;
}

// REQUIRES: the buffer has been read.
bool RdbInput::Fill() {
  CountIn();
  read_ += at_;
  at_ = counted_ = filled_ = 0;
  Result<size_t> got = source_.Read(buffer_.data(), buffer_.size());
  if (!got) return Fail(got.error());
  if (*got == 0) return Fail("the end comes too early");
  filled_ = *got;
  return true;
}

bool RdbInput::Bytes(char* to, size_t size) {
  while (ok() && size > 0) {
    if (at_ == filled_ && !Fill()) break;
    const size_t part = std::min(size, filled_ - at_);
    std::memcpy(to, buffer_.data() + at_, part);
    at_ += part;
    to += part;
    size -= part;
  }
  if (!ok() && size > 0) std::memset(to, 0, size);
  return ok();
}

uint8_t RdbInput::Byte() {
  if (at_ == filled_ || !ok()) return Fixed<uint8_t>();
  return static_cast<uint8_t>(buffer_[at_++]);
}

RdbInput::AnyLength RdbInput::ReadLength() {
  const uint8_t first = Byte();
  switch (first >> 6) {
    case kRdbLength6:
      return {.value = first & 63u};
    case kRdbLength14:
      return {.value = (first & 63u) << 8 | Byte()};
    case kRdbLengthSpecial:
      return {.value = first & 63u, .special = true};
    default:
      break;
  }
  if (first == kRdbLength32) return {.value = __builtin_bswap32(Fixed<uint32_t>())};
  if (first == kRdbLength64) return {.value = __builtin_bswap64(Fixed<uint64_t>())};
  Fail("a length of an unknown form");
  return {};
}

uint64_t RdbInput::Length() {
  const AnyLength length = ReadLength();
  if (!length.special) return length.value;
  Fail("a string where a length should be");
  return 0;
}

uint64_t RdbInput::Count(uint64_t bytes) {
  const uint64_t count = Length();
  if (!ok() || count <= remaining() / bytes) return ok() ? count : 0;
  Fail("a count of " + std::to_string(count) + ", but only " + std::to_string(remaining()) +
       " bytes are left");
  return 0;
}

bool RdbInput::Raw(uint64_t size, std::string* out) {
  out->clear();
  if (!ok()) return false;
  if (size > remaining() || size > kMaxStringBytes) {
    return Fail("a string of " + std::to_string(size) + " bytes, but only " +
                std::to_string(std::min(remaining(), kMaxStringBytes)) + " are left");
  }
  while (ok() && out->size() < size) {
    const uint64_t before = out->size();
    const uint64_t part =
        remaining() == RdbSource::kUnknown ? std::min(size - before, kStep) : size - before;
    out->resize(before + part);
    Bytes(out->data() + before, part);
  }
  return ok();
}

bool RdbInput::String(std::string* out) {
  const AnyLength length = ReadLength();
  if (!ok()) {
    out->clear();
    return false;
  }
  if (!length.special) return Raw(length.value, out);
  switch (static_cast<RdbStringForm>(length.value)) {
    case RdbStringForm::kInt8:
      *out = FormatInteger(Fixed<int8_t>());
      return ok();
    case RdbStringForm::kInt16:
      *out = FormatInteger(Fixed<int16_t>());
      return ok();
    case RdbStringForm::kInt32:
      *out = FormatInteger(Fixed<int32_t>());
      return ok();
    case RdbStringForm::kLzf:
      return Compressed(out);
  }
  out->clear();
  return Fail("a string of an unknown form");
}

bool RdbInput::Compressed(std::string* out) {
  const uint64_t size = Length();
  const uint64_t length = Length();
  out->clear();
  if (!ok()) return false;
  if (length == 0 || length > kMaxStringBytes || length > size * kMaxExpansion) {
    return Fail("a compressed string of " + std::to_string(size) + " bytes can't have " +
                std::to_string(length));
  }
  if (!Raw(size, &compressed_)) return false;
  out->resize(length);
  const unsigned got = lzf_decompress(compressed_.data(), static_cast<unsigned>(size), out->data(),
                                      static_cast<unsigned>(length));
  if (got != length) return Fail("a compressed string is damaged");
  return true;
}

double RdbInput::TextDouble() {
  constexpr uint8_t kNan = 253;
  constexpr uint8_t kInfinity = 254;
  constexpr uint8_t kMinusInfinity = 255;
  const uint8_t size = Byte();
  if (size == kInfinity) return std::numeric_limits<double>::infinity();
  if (size == kMinusInfinity) return -std::numeric_limits<double>::infinity();
  if (size == kNan) return std::numeric_limits<double>::quiet_NaN();
  char digits[256];
  if (!Bytes(digits, size)) return 0;
  double value = 0;
  if (!ParseDouble({digits, size}, &value)) Fail("a score that is no number");
  return value;
}

}  // namespace firn
