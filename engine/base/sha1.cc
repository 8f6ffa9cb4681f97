#include "engine/base/sha1.h"

#include <bit>
#include <cstring>

#include "engine/base/coding.h"

namespace firn {
namespace {

constexpr size_t kBlockSize = 64;
using State = std::array<uint32_t, 5>;

void Consume(State& state, const uint8_t* block) {
  uint32_t words[80];
  for (int i = 0; i < 16; ++i) words[i] = LoadBig32(block + 4 * i);
  for (int i = 16; i < 80; ++i) {
    words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
  }
  auto [a, b, c, d, e] = state;
  for (int i = 0; i < 80; ++i) {
    uint32_t mix, constant;
    if (i < 20) {
      mix = (b & c) | (~b & d), constant = 0x5a827999;
    } else if (i < 40) {
      mix = b ^ c ^ d, constant = 0x6ed9eba1;
    } else if (i < 60) {
      mix = (b & c) | (b & d) | (c & d), constant = 0x8f1bbcdc;
    } else {
      mix = b ^ c ^ d, constant = 0xca62c1d6;
    }
    uint32_t next = std::rotl(a, 5) + mix + e + words[i] + constant;
    e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

}  // namespace

Sha1Digest Sha1(std::string_view bytes) {
  State state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  const uint64_t bits = static_cast<uint64_t>(bytes.size()) * 8;
  while (bytes.size() >= kBlockSize) {
    Consume(state, reinterpret_cast<const uint8_t*>(bytes.data()));
    bytes.remove_prefix(kBlockSize);
  }
  // What is left, a one bit, zeros, and the length: one block or two.
  uint8_t tail[2 * kBlockSize] = {};
  if (!bytes.empty()) std::memcpy(tail, bytes.data(), bytes.size());
  tail[bytes.size()] = 0x80;
  const size_t tail_size = bytes.size() < kBlockSize - 8 ? kBlockSize : 2 * kBlockSize;
  StoreBig64(tail + tail_size - 8, bits);
  for (size_t offset = 0; offset < tail_size; offset += kBlockSize) Consume(state, tail + offset);
  Sha1Digest digest;
  for (size_t i = 0; i < state.size(); ++i) StoreBig32(digest.data() + 4 * i, state[i]);
  return digest;
}

}  // namespace firn
