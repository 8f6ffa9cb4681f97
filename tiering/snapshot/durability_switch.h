// DurabilitySwitch: makes a store durable that was opened without durability, while commands go on.
// A capture brings what RAM alone knows into the log; from its end on every change is logged before
// its reply. Then the index is brought up to that moment, so that it has no root left that RAM alone
// had superseded, and only then does the identity say that the directory holds durable data. A crash
// before that leaves what it leaves without durability; after it, nothing is lost.
//
// Executor thread.
#pragma once

#include <functional>

#include "engine/base/status.h"

namespace firn {

class StoreImpl;

class DurabilitySwitch {
 public:
  explicit DurabilitySwitch(StoreImpl* store) : store_(*store) {}

  // `done` is called later, or at once if the directory's data is durable. After a failure, which
  // the log or the index has caused, it may be begun again. REQUIRES: no group is open; not running.
  using Done = std::move_only_function<void(Status)>;
  void Begin(Done done);
  bool running() const { return static_cast<bool>(done_); }

 private:
  void OnCaptured(const Status& status);
  void OnIndexed(const Status& status);
  void Finish(Status status);

  StoreImpl& store_;
  Done done_;
};

}  // namespace firn
