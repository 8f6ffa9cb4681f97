#include "engine/rdb/rdb_values.h"

#include <liblzf/lzf.h>

#include <algorithm>

#include "engine/base/coding.h"
#include "engine/types/string_ops.h"

namespace firn {
namespace {

constexpr size_t kMaxIntegerText = 11;  // "-2147483648"
constexpr size_t kMinCompressed = 21;
// Compressing takes as much memory again, so not what is longer.
constexpr size_t kMaxCompressed = 8 << 20;
// A result must be shorter by this much.
constexpr size_t kMinGain = 4;
// After so many that did not get shorter,
constexpr uint32_t kFailuresBeforeDoubt = 32;
// so many are left out between two that are tried.
constexpr uint32_t kLeftOutInDoubt = 15;

uint8_t Special(RdbStringForm form) {
  return static_cast<uint8_t>(kRdbLengthSpecial << 6 | static_cast<uint8_t>(form));
}

}  // namespace

void RdbPieces::Length(uint64_t length) {
  if (length < 64) return Byte(static_cast<uint8_t>(length));
  if (length < 16384) {
    Byte(static_cast<uint8_t>(kRdbLength14 << 6 | length >> 8));
    return Byte(static_cast<uint8_t>(length));
  }
  if (length <= UINT32_MAX) {
    Byte(kRdbLength32);
    return Fixed(__builtin_bswap32(static_cast<uint32_t>(length)));
  }
  Byte(kRdbLength64);
  Fixed(__builtin_bswap64(length));
}

void RdbPieces::String(std::string_view bytes) {
  if (IntegerString(bytes) || CompressedString(bytes)) return;
  Length(bytes.size());
  sink_.Append(bytes);
}

bool RdbPieces::IntegerString(std::string_view bytes) {
  int64_t value;
  if (bytes.size() > kMaxIntegerText || !ParseInteger(bytes, &value)) return false;
  if (value == static_cast<int8_t>(value)) {
    Byte(Special(RdbStringForm::kInt8));
    Fixed(static_cast<int8_t>(value));
  } else if (value == static_cast<int16_t>(value)) {
    Byte(Special(RdbStringForm::kInt16));
    Fixed(static_cast<int16_t>(value));
  } else if (value == static_cast<int32_t>(value)) {
    Byte(Special(RdbStringForm::kInt32));
    Fixed(static_cast<int32_t>(value));
  } else {
    return false;
  }
  return true;
}

bool RdbPieces::Compress(std::string_view bytes, size_t room, unsigned* size) {
  if (failures_ >= kFailuresBeforeDoubt && left_out_ < kLeftOutInDoubt) {
    ++left_out_;
    return false;
  }
  left_out_ = 0;
  *size = lzf_compress(bytes.data(), static_cast<unsigned>(bytes.size()), compressed_.data(),
                       static_cast<unsigned>(room));
  if (*size != 0) {
    failures_ = 0;
    return true;
  }
  failures_ = std::min(failures_ + 1, kFailuresBeforeDoubt);
  return false;
}

bool RdbPieces::CompressedString(std::string_view bytes) {
  if (!compress_ || bytes.size() < kMinCompressed || bytes.size() > kMaxCompressed) return false;
  const size_t room = bytes.size() - kMinGain;
  if (compressed_.size() < room) compressed_.resize(room);
  unsigned size = 0;
  if (!Compress(bytes, room, &size)) return false;
  Byte(Special(RdbStringForm::kLzf));
  Length(size);
  Length(bytes.size());
  sink_.Append({compressed_.data(), size});
  return true;
}

}  // namespace firn
