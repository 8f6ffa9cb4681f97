#include "server/cycle_clock.h"

#include <chrono>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace firn::server {
namespace {

// How long the first measurement takes; Calibrate makes it better.
constexpr uint64_t kFirstMeasurementNanos = 500'000;

// Whether the counter runs at one rate whatever the processor does to save power.
bool CounterIsInvariant() {
#if defined(__x86_64__)
  constexpr unsigned kPowerLeaf = 0x80000007;
  constexpr unsigned kInvariantBit = 1u << 8;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(kPowerLeaf, &a, &b, &c, &d) != 0 && (d & kInvariantBit) != 0;
#else
  return false;
#endif
}

}  // namespace

CycleClock::CycleClock() {
  if (!CounterIsInvariant()) return;
  first_nanos_ = SteadyNanos();
  first_tick_ = Counter();
  while (SteadyNanos() - first_nanos_ < kFirstMeasurementNanos) {
  }
  uses_counter_ = true;
  Calibrate();
}

void CycleClock::Calibrate() {
  if (!uses_counter_) return;
  uint64_t ticks = Counter() - first_tick_;
  uint64_t nanos = SteadyNanos() - first_nanos_;
  if (ticks > 0) nanos_per_tick_ = static_cast<double>(nanos) / static_cast<double>(ticks);
}

uint64_t CycleClock::SteadyNanos() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace firn::server
