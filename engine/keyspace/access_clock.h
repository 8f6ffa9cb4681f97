// The access clock: 24 bits an entry that say when it was used last (LRU) or how often (LFU), as
// the maxmemory-policy wants. Pure functions; they agree with what Redis documents of OBJECT
// IDLETIME, OBJECT FREQ and its options lfu-log-factor and lfu-decay-time.
//
//   LRU: seconds, modulo 2^24 (194 days).
//   LFU: | minutes of the last access, modulo 2^16 | counter, 8 bits |
//
// The counter is logarithmic: an access raises it with a probability that falls with its height.
// Each decay time that passed since the last access lowers it by one. All times are milliseconds
// since 1970.
#pragma once

#include <cstdint>

#include "engine/base/random.h"

namespace firn {

inline constexpr int64_t kAccessClockMax = (1 << 24) - 1;
// New keys get a few accesses' credit, so that they live long enough to show what they are worth.
inline constexpr uint32_t kLfuInitialCounter = 5;
inline constexpr uint32_t kLfuMaxCounter = 255;

struct LfuParameters {
  int log_factor = 10;    // accesses that a full counter stands for
  int decay_minutes = 1;  // 0: counters never fall
};

uint32_t LruNow(int64_t now_ms);
// Between an access at LRU clock `access` and now; right for less than 194 days.
int64_t IdleSeconds(uint32_t access, int64_t now_ms);

uint32_t LfuInit(int64_t now_ms);
// The counter, 0 to 255, with the time since the last access taken into account.
uint32_t LfuDecayed(uint32_t access, int64_t now_ms, LfuParameters parameters);
// The clock after one more access.
uint32_t LfuTouch(uint32_t access, int64_t now_ms, LfuParameters parameters, Random* random);

}  // namespace firn
