// Fixed-width little-endian and varint coding for packed blocks and on-disk formats.
// Decoders of untrusted bytes go through ByteReader, which never reads past its end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace firn {

static_assert(std::endian::native == std::endian::little,
              "fixed-width fields are stored as the host has them: little-endian");

template <typename T>
inline T LoadFixed(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
inline void StoreFixed(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// As a == b, which is a call of a function: for keys and names, which are short.
inline bool SameBytes(std::string_view a, std::string_view b) {
  constexpr size_t kShort = 32;
  const size_t size = a.size();
  if (size != b.size()) return false;
  if (size > kShort) return a == b;
  auto differ = [&]<typename T>(T, size_t at) {
    return LoadFixed<T>(a.data() + at) ^ LoadFixed<T>(b.data() + at);
  };
  if (size >= 8) {
    uint64_t difference = differ(uint64_t{}, size - 8);
    for (size_t at = 0; at + 8 < size; at += 8) difference |= differ(uint64_t{}, at);
    return difference == 0;
  }
  if (size >= 4) return (differ(uint32_t{}, 0) | differ(uint32_t{}, size - 4)) == 0;
  for (size_t at = 0; at < size; ++at) {
    if (a[at] != b[at]) return false;
  }
  return true;
}

// Big-endian, so that byte order is number order: keys of the index.
inline uint64_t LoadBig64(const void* from) { return __builtin_bswap64(LoadFixed<uint64_t>(from)); }
inline void StoreBig64(void* to, uint64_t value) { StoreFixed(to, __builtin_bswap64(value)); }
inline uint32_t LoadBig32(const void* from) { return __builtin_bswap32(LoadFixed<uint32_t>(from)); }
inline void StoreBig32(void* to, uint32_t value) { StoreFixed(to, __builtin_bswap32(value)); }

// 40-bit little-endian.
inline uint64_t Load40(const uint8_t* from) {
  return LoadFixed<uint32_t>(from) | static_cast<uint64_t>(from[4]) << 32;
}
inline void Store40(uint8_t* to, uint64_t value) {
  StoreFixed(to, static_cast<uint32_t>(value));
  to[4] = static_cast<uint8_t>(value >> 32);
}

inline constexpr int kMaxVarintBytes = 10;

// LEB128. Returns the number of bytes written, at most kMaxVarintBytes.
inline int StoreVarint(uint8_t* to, uint64_t value) {
  int n = 0;
  for (; value >= 0x80; value >>= 7) to[n++] = static_cast<uint8_t>(value | 0x80);
  to[n++] = static_cast<uint8_t>(value);
  return n;
}
inline int VarintSize(uint64_t value) {
  int n = 1;
  for (; value >= 0x80; value >>= 7) ++n;
  return n;
}
// For trusted bytes (blocks of our own in RAM). Returns the bytes read.
inline int LoadVarint(const uint8_t* from, uint64_t* value) {
  uint64_t result = 0;
  int n = 0;
  for (int shift = 0;; shift += 7) {
    uint8_t byte = from[n++];
    result |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  *value = result;
  return n;
}

template <typename T>
inline void AppendFixed(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void AppendVarint(std::string* out, uint64_t value) {
  uint8_t bytes[kMaxVarintBytes];
  out->append(reinterpret_cast<const char*>(bytes), StoreVarint(bytes, value));
}

// A cursor over untrusted bytes. After the first failure every read fails and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return rest_.size(); }

  template <typename T>
  T Fixed() {
    if (!Has(sizeof(T))) return T{};
    T value = LoadFixed<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  uint64_t Varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (!Has(1)) return 0;
      uint8_t byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;
      result |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return result;
    }
    ok_ = false;
    return 0;
  }
  std::string_view Bytes(uint64_t size) {
    if (!Has(size)) return {};
    std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

 private:
  bool Has(uint64_t size) {
    if (!ok_ || size > rest_.size()) ok_ = false;
    return ok_;
  }
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace firn
