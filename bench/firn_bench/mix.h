// A bijection of 64-bit words (SplitMix64's finalizer) and its inverse.
#pragma once

#include <cstdint>

namespace firn::bench {

inline uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

inline uint64_t Unmix(uint64_t z) {
  z = (z ^ (z >> 31) ^ (z >> 62)) * 0x319642b2d24d8ec3ULL;
  z = (z ^ (z >> 27) ^ (z >> 54)) * 0x96de1b173f119089ULL;
  return z ^ (z >> 30) ^ (z >> 60);
}

}  // namespace firn::bench
