// LatencyTimer: tells the store's listener how long a block took, on the executor.
#pragma once

#include <time.h>

#include <cstdint>

#include "tiering/store_impl.h"

namespace firn {

class LatencyTimer {
 public:
  LatencyTimer(StoreImpl* store, StoreLatency event)
      : store_(*store), event_(event), began_us_(NowMicros()) {}
  ~LatencyTimer() { store_.NoteLatency(event_, NowMicros() - began_us_); }
  LatencyTimer(const LatencyTimer&) = delete;
  LatencyTimer& operator=(const LatencyTimer&) = delete;

 private:
  // The loop's clock stands still during an iteration.
  static int64_t NowMicros() {
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  }

  StoreImpl& store_;
  const StoreLatency event_;
  const int64_t began_us_;
};

}  // namespace firn
