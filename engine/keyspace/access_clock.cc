#include "engine/keyspace/access_clock.h"

#include <algorithm>

namespace firn {
namespace {

constexpr uint32_t kMinutesMax = 0xffff;

uint32_t Minutes(int64_t now_ms) { return static_cast<uint32_t>(now_ms / 60'000) & kMinutesMax; }

uint32_t Pack(uint32_t minutes, uint32_t counter) { return minutes << 8 | counter; }

}  // namespace

uint32_t LruNow(int64_t now_ms) {
  return static_cast<uint32_t>(now_ms / 1'000) & static_cast<uint32_t>(kAccessClockMax);
}

int64_t IdleSeconds(uint32_t access, int64_t now_ms) {
  const int64_t now = LruNow(now_ms);
  // Redis, too, counts a wrapped clock as one second short.
  return now >= access ? now - access : now + kAccessClockMax - access;
}

uint32_t LfuInit(int64_t now_ms) { return Pack(Minutes(now_ms), kLfuInitialCounter); }

uint32_t LfuDecayed(uint32_t access, int64_t now_ms, LfuParameters parameters) {
  const uint32_t counter = access & kLfuMaxCounter;
  if (parameters.decay_minutes <= 0) return counter;
  const uint32_t then = access >> 8;
  const uint32_t now = Minutes(now_ms);
  const uint32_t elapsed = now >= then ? now - then : now + kMinutesMax - then;
  return counter - std::min(counter, elapsed / static_cast<uint32_t>(parameters.decay_minutes));
}

uint32_t LfuTouch(uint32_t access, int64_t now_ms, LfuParameters parameters, Random* random) {
  uint32_t counter = LfuDecayed(access, now_ms, parameters);
  if (counter < kLfuMaxCounter) {
    const uint32_t above = counter - std::min(counter, kLfuInitialCounter);
    const double chance = 1.0 / (static_cast<double>(above) * parameters.log_factor + 1);
    if (random->Fraction() < chance) ++counter;
  }
  return Pack(Minutes(now_ms), counter);
}

}  // namespace firn
