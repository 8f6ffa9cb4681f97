// What both production loops have in common: the clocks, timers, workers and the mailbox.
#pragma once

#include <cstdint>
#include <functional>

#include "tiering/io/mailbox.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/timer_heap.h"
#include "tiering/io/workers.h"

namespace firn::io {

class LoopBase : public NetLoop {
 public:
  int64_t NowMicros() const final { return now_micros_; }
  int64_t WallMillis() const final { return wall_millis_; }
  void RunOnWorker(WorkPriority priority, std::move_only_function<void()> job,
                   std::move_only_function<void()> done) final;
  void LowerWorkers() final { workers_->Lower(); }
  void Post(std::move_only_function<void()> task) final;
  TimerId AddTimer(int64_t delay_micros, std::move_only_function<void()> task) final;
  void CancelTimer(TimerId id) final;
  void Wake() final;
  // Reads the clocks, as each iteration does: for what blocks the thread in the middle of one.
  void SampleClocks();

 protected:
  explicit LoopBase(int workers);

  // Not the iteration's.
  static int64_t TrueMicros();
  Mailbox& mailbox() { return mailbox_; }
  // `max_wait_micros` of RunOnce, cut to the next timer. It counts from the last sample, so a wait
  // may end late by what the iteration took: that saves a clock call in each.
  int64_t WaitUntilTimer(int64_t max_wait_micros) const;
  // Runs due timers and posted tasks.
  void RunTimersAndTasks();
  // Joins the workers: for destructors, whose members the jobs may refer to.
  void StopWorkers() { workers_.reset(); }

 private:
  int64_t now_micros_ = 0;
  int64_t wall_millis_ = 0;
  TimerHeap timers_;
  Mailbox mailbox_;
  std::unique_ptr<Workers> workers_;  // uses mailbox_
};

}  // namespace firn::io
