// Zipf's distribution over ranks 0 .. n-1 in constant time and memory, by rejection-inversion
// (Hörmann, Derflinger: "Rejection-inversion to generate variates from monotone discrete
// distributions", 1996).
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/base/random.h"

namespace firn::bench {

class Zipf {
 public:
  // REQUIRES: n > 0, 0 < exponent < 1.
  Zipf(uint64_t n, double exponent)
      : n_(static_cast<double>(n)),
        exponent_(exponent),
        area_first_(Area(1.5) - 1.0),
        area_last_(Area(n_ + 0.5)),
        sure_(2.0 - InverseArea(Area(2.5) - std::pow(2.0, -exponent))) {}

  // Rank 0 is the most frequent.
  uint64_t Next(Random& random) const {
    while (true) {
      double area = area_last_ + random.Fraction() * (area_first_ - area_last_);
      double x = InverseArea(area);
      double rank = std::floor(x + 0.5);
      if (rank < 1) rank = 1;
      if (rank > n_) rank = n_;
      if (rank - x <= sure_ || area >= Area(rank + 0.5) - std::pow(rank, -exponent_)) {
        return static_cast<uint64_t>(rank) - 1;
      }
    }
  }

 private:
  // The integral of x^-exponent, and its inverse.
  double Area(double x) const { return std::pow(x, 1 - exponent_) / (1 - exponent_); }
  double InverseArea(double area) const {
    return std::pow(area * (1 - exponent_), 1 / (1 - exponent_));
  }

  double n_;
  double exponent_;
  double area_first_;
  double area_last_;
  double sure_;
};

}  // namespace firn::bench
