#include "tiering/io/loop_base.h"

#include <time.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/base/check.h"

namespace firn::io {
namespace {

int64_t ClockNanos(clockid_t clock) {
  timespec time;
  CHECK(::clock_gettime(clock, &time) == 0);
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// A delay beyond it (centuries) is cut, so that sums don't overflow.
constexpr int64_t kDelayMicrosMax = int64_t{1} << 55;

}  // namespace

LoopBase::LoopBase(int workers) : workers_(std::make_unique<Workers>(workers, &mailbox_)) {
  SampleClocks();
}

void LoopBase::RunOnWorker(WorkPriority priority, std::move_only_function<void()> job,
                           std::move_only_function<void()> done) {
  CHECK(job != nullptr);
  workers_->Run(priority, std::move(job), std::move(done));
}

void LoopBase::Post(std::move_only_function<void()> task) {
  CHECK(task != nullptr);
  mailbox_.Post(std::move(task));
}

TimerId LoopBase::AddTimer(int64_t delay_micros, std::move_only_function<void()> task) {
  CHECK(task != nullptr);
  // From the true time, not the iteration's: counted from that, the timer would fire early.
  // Rounded up, as the sample that it is compared with is rounded down.
  const int64_t now = TrueMicros() + 1;
  return timers_.Add(now + std::clamp<int64_t>(delay_micros, 0, kDelayMicrosMax), std::move(task));
}

void LoopBase::CancelTimer(TimerId id) { timers_.Cancel(id); }

void LoopBase::Wake() { mailbox_.Wake(); }

int64_t LoopBase::TrueMicros() { return ClockNanos(CLOCK_MONOTONIC) / 1000; }

void LoopBase::SampleClocks() {
  now_micros_ = TrueMicros();
  wall_millis_ = ClockNanos(CLOCK_REALTIME) / 1'000'000;
}

int64_t LoopBase::WaitUntilTimer(int64_t max_wait_micros) const {
  if (timers_.empty()) return max_wait_micros;
  const int64_t until_timer = std::max<int64_t>(timers_.NextDeadline() - now_micros_, 0);
  return max_wait_micros < 0 ? until_timer : std::min(until_timer, max_wait_micros);
}

void LoopBase::RunTimersAndTasks() {
  timers_.RunDue(now_micros_);
  mailbox_.RunTasks();
}

}  // namespace firn::io
