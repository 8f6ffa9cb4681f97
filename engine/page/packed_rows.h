// How the bytes of rows lie in a packed page: for the files that read and build these.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/coding.h"
#include "engine/page/packed_page.h"

namespace firn {

constexpr uint8_t kLong = 255;
constexpr uint32_t kLongPrefix = 4;

inline uint8_t LengthByte(std::string_view bytes) {
  return bytes.size() < kLong ? static_cast<uint8_t>(bytes.size()) : kLong;
}
inline bool IsLong(std::string_view bytes) { return bytes.size() >= kLong; }
inline uint64_t StoredSize(std::string_view bytes) {
  return bytes.size() + (IsLong(bytes) ? kLongPrefix : 0);
}

// Reads bytes whose length byte is `length` at `at`, and steps over them.
inline std::string_view TakeBytes(uint8_t length, const char** at) {
  uint32_t size = length;
  if (length == kLong) {
    size = LoadFixed<uint32_t>(*at);
    *at += kLongPrefix;
  }
  std::string_view bytes(*at, size);
  *at += size;
  return bytes;
}

inline void AppendBytes(std::string* out, std::string_view bytes) {
  if (IsLong(bytes)) AppendFixed(out, static_cast<uint32_t>(bytes.size()));
  out->append(bytes);
}

inline bool IsHash(PackedKind kind) {
  return kind == PackedKind::kHash || kind == PackedKind::kHashTtl;
}
inline bool HasTag(PackedKind kind) { return kind == PackedKind::kSet || IsHash(kind); }

}  // namespace firn
