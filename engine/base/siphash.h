// SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"; the 1-3 variant is the one
// that hash tables use): the keyed hash that orders keys. The secret is random per data directory,
// so that no client can aim collisions.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/coding.h"

namespace firn {

struct HashSecret {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const HashSecret&, const HashSecret&) = default;
};

inline uint64_t SipHash13(HashSecret secret, std::string_view bytes) {
  uint64_t v0 = secret.low ^ 0x736f6d6570736575ULL;
  uint64_t v1 = secret.high ^ 0x646f72616e646f6dULL;
  uint64_t v2 = secret.low ^ 0x6c7967656e657261ULL;
  uint64_t v3 = secret.high ^ 0x7465646279746573ULL;
  auto round = [&] {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  };
  const char* data = bytes.data();
  size_t size = bytes.size();
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word = LoadFixed<uint64_t>(data);
    v3 ^= word;
    round();
    v0 ^= word;
  }
  uint64_t last = 0;
  std::memcpy(&last, data, size);
  last |= static_cast<uint64_t>(bytes.size()) << 56;
  v3 ^= last;
  round();
  v0 ^= last;
  v2 ^= 0xff;
  round(), round(), round();
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace firn
