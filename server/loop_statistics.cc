#include "server/loop_statistics.h"

namespace firn::server {

void LoopStatistics::Sample(int64_t now_us) {
  const Moment now{now_us, totals_.cycles, totals_.duration_us};
  // Until there is a full round, the first one is the oldest.
  const Moment& oldest = samples_[next_].time_us != 0 ? samples_[next_] : samples_[0];
  if (oldest.time_us != 0 && now_us > oldest.time_us && now.cycles > oldest.cycles) {
    const uint64_t cycles = now.cycles - oldest.cycles;
    totals_.cycles_per_second = cycles * 1'000'000 / static_cast<uint64_t>(now_us - oldest.time_us);
    totals_.mean_duration_us = (now.duration_us - oldest.duration_us) / cycles;
  }
  samples_[next_] = now;
  next_ = (next_ + 1) % kSamples;
}

void LoopStatistics::Reset() {
  totals_ = {};
  samples_ = {};
  next_ = 0;
}

}  // namespace firn::server
