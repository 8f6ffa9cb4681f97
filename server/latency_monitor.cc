#include "server/latency_monitor.h"

#include <algorithm>

#include "server/commands/common.h"

namespace firn::server {

std::vector<LatencyMonitor::Sample> LatencyMonitor::Series::samples() const {
  std::vector<Sample> samples;
  for (size_t i = 0; i < kSamples; ++i) {
    const Sample& sample = ring_[(next_ + i) % kSamples];
    if (sample.time_seconds != 0) samples.push_back(sample);
  }
  return samples;
}

void LatencyMonitor::Add(std::string_view event, Sample sample) {
  auto it = events_.find(event);
  if (it == events_.end()) it = events_.emplace(std::string(event), Series()).first;
  Series& series = it->second;
  series.worst_millis_ = std::max(series.worst_millis_, sample.millis);
  Sample& latest = series.ring_[(series.next_ + kSamples - 1) % kSamples];
  if (latest.time_seconds == sample.time_seconds) {
    latest.millis = std::max(latest.millis, sample.millis);
    return;
  }
  series.ring_[series.next_] = sample;
  series.next_ = (series.next_ + 1) % kSamples;
}

int64_t LatencyMonitor::Reset(std::string_view event) {
  return static_cast<int64_t>(std::erase_if(
      events_, [&](const auto& item) { return EqualsIgnoreCase(item.first, event); }));
}

int64_t LatencyMonitor::ResetAll() {
  const int64_t count = static_cast<int64_t>(events_.size());
  events_.clear();
  return count;
}

}  // namespace firn::server
