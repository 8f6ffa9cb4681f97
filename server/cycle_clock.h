// CycleClock: durations of commands, for a few nanoseconds a reading: the processor's cycle counter
// where it runs at one rate, else the system's steady clock. Executor thread.
#pragma once

#include <cstdint>

namespace firn::server {

class CycleClock {
 public:
  CycleClock();

  // A point in time, in ticks of unknown length.
  uint64_t Now() const { return uses_counter_ ? Counter() : SteadyNanos(); }
  uint64_t ToNanos(uint64_t ticks) const {
    return static_cast<uint64_t>(static_cast<double>(ticks) * nanos_per_tick_);
  }
  // Measures the length of a tick over the time since the construction. Now and then.
  void Calibrate();

 private:
  static uint64_t Counter() {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return SteadyNanos();
#endif
  }
  static uint64_t SteadyNanos();

  bool uses_counter_ = false;
  double nanos_per_tick_ = 1;
  uint64_t first_tick_ = 0;
  uint64_t first_nanos_ = 0;
};

}  // namespace firn::server
