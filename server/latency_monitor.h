// LatencyMonitor: the latency spikes of each event, for LATENCY: the worst of each second in which
// there was one, and of all time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace firn::server {

class LatencyMonitor {
 public:
  static constexpr size_t kSamples = 160;  // of one event

  struct Sample {
    int64_t time_seconds = 0;  // since 1970
    uint64_t millis = 0;
  };
  class Series {
   public:
    // The oldest first.
    std::vector<Sample> samples() const;
    const Sample& latest() const { return ring_[(next_ + kSamples - 1) % kSamples]; }
    uint64_t worst_millis() const { return worst_millis_; }

   private:
    friend class LatencyMonitor;
    std::array<Sample, kSamples> ring_;
    size_t next_ = 0;
    uint64_t worst_millis_ = 0;
  };

  void Add(std::string_view event, Sample sample);
  const std::map<std::string, Series, std::less<>>& events() const { return events_; }
  // Answers how many events were forgotten. The name's case doesn't matter.
  int64_t Reset(std::string_view event);
  int64_t ResetAll();

 private:
  std::map<std::string, Series, std::less<>> events_;
};

}  // namespace firn::server
