// LoopStatistics: how often the loop goes round, and where its time goes, for INFO's eventloop_*
// fields. Time spent waiting doesn't count. Executor thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace firn::server {

class LoopStatistics {
 public:
  // One iteration, in microseconds.
  struct Iteration {
    uint64_t duration_us = 0;
    uint64_t log_us = 0;  // publishing records, and the store's background work
    uint64_t commands = 0;
  };
  struct Totals {
    uint64_t cycles = 0;
    uint64_t duration_us = 0;
    uint64_t log_us = 0;
    uint64_t cron_us = 0;
    uint64_t longest_us = 0;
    uint64_t most_commands = 0;  // in one iteration
    // Over the last samples; 0 until the first.
    uint64_t cycles_per_second = 0;
    uint64_t mean_duration_us = 0;
  };

  void Add(const Iteration& iteration) {
    ++totals_.cycles;
    totals_.duration_us += iteration.duration_us;
    totals_.log_us += iteration.log_us;
    if (iteration.duration_us > totals_.longest_us) totals_.longest_us = iteration.duration_us;
    if (iteration.commands > totals_.most_commands) totals_.most_commands = iteration.commands;
  }
  void AddCron(uint64_t micros) { totals_.cron_us += micros; }
  // To be called about ten times a second.
  void Sample(int64_t now_us);
  const Totals& totals() const { return totals_; }
  void Reset();

 private:
  static constexpr size_t kSamples = 16;
  struct Moment {
    int64_t time_us = 0;
    uint64_t cycles = 0;
    uint64_t duration_us = 0;
  };

  Totals totals_;
  std::array<Moment, kSamples> samples_ = {};
  size_t next_ = 0;
};

}  // namespace firn::server
