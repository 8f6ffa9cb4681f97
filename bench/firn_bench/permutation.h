// A pseudo-random permutation of 0 .. n-1 in O(1) memory: a Feistel network over the smallest power
// of two that holds n, walked along its cycle until the result is below n (less than two steps on
// average). It orders "each key exactly once, at random" and scatters the ranks of skewed choices.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "bench/firn_bench/mix.h"

namespace firn::bench {

class Permutation {
 public:
  // REQUIRES: n > 0.
  Permutation(uint64_t n, uint64_t seed) : n_(n), seed_(seed) {
    int bits = std::max(2, static_cast<int>(std::bit_width(n - 1)));
    low_bits_ = bits / 2;
    high_bits_ = bits - low_bits_;
  }

  // REQUIRES: index < n.
  uint64_t At(uint64_t index) const {
    do {
      index = Encrypt(index);
    } while (index >= n_);
    return index;
  }

 private:
  static constexpr uint64_t kRounds = 6;

  uint64_t Encrypt(uint64_t x) const {
    uint64_t low_mask = (uint64_t{1} << low_bits_) - 1;
    uint64_t high_mask = (uint64_t{1} << high_bits_) - 1;
    uint64_t low = x & low_mask;
    uint64_t high = x >> low_bits_;
    for (uint64_t round = 0; round < kRounds; round += 2) {
      high ^= Mix(low + seed_ + (round << 56)) & high_mask;
      low ^= Mix(high + seed_ + ((round + 1) << 56)) & low_mask;
    }
    return (high << low_bits_) | low;
  }

  uint64_t n_;
  uint64_t seed_;
  int low_bits_;
  int high_bits_;
};

}  // namespace firn::bench
