// Capture: for a store without durability, which logs only what leaves RAM. Brings all that RAM
// alone knows into the log, a slice at a time, while every change is logged; at its end the log
// holds the whole state of that moment, as it always does with durability.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/status.h"

namespace firn {

class StoreImpl;

class Capture {
 public:
  explicit Capture(StoreImpl* store) : store_(*store) {}

  // `done` is called once the log holds everything; in a durable store at once. Changes go on being
  // logged until it returns. REQUIRES: no group is open.
  using Done = std::move_only_function<void(Status)>;
  void Begin(Done done);
  // Changes have to be logged.
  bool active() const { return active_; }
  // Once an iteration, outside of groups; true if there is more to do now.
  bool Step();

 private:
  enum class Progress : uint8_t { kDone, kMore, kWait };
  Progress Advance(Status* failure);

  StoreImpl& store_;
  std::vector<Done> waiting_;
  bool active_ = false;
  std::vector<uint32_t> keyspaces_;  // still to be walked
  uint64_t next_hash_ = 0;           // in the last of them
};

}  // namespace firn
