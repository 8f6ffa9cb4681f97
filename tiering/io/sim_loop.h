// SimLoop: io::Loop on a SimDisk, with virtual time, in one thread. Everything that another loop
// leaves to chance (how long a read, a sync, a worker takes, what finishes first) is drawn from the
// seed: equal seeds and equal calls give equal runs.
//
// A read looks at the file, and a sync takes effect, at a moment between its start and its
// completion. A worker's job runs whole, inside RunOnce, between callbacks. Time passes only in
// RunOnce and AdvanceTime.
//
// What is in flight when the loop is destroyed never happens, as in a crash. Files given to Read
// and Sync must be alive until their request is done, as for every loop.
#pragma once

#include <deque>
#include <map>
#include <mutex>

#include "engine/base/random.h"
#include "tiering/io/loop.h"
#include "tiering/io/sim_disk.h"

namespace firn::io {

struct SimLoopOptions {
  uint64_t seed = 1;
  int64_t wall_start_ms = 1'700'000'000'000;
  // Upper bounds of what is drawn; now and then an operation takes ten times as long.
  int64_t read_micros_max = 300;
  int64_t sync_micros_max = 3000;
  int64_t urgent_job_micros_max = 500;
  int64_t background_job_micros_max = 5000;
  int64_t iteration_micros_max = 20;  // what an iteration itself takes
  // Stores into mappings are looked for in one of so many iterations; 0: only by syncs and reads.
  uint64_t note_mapped_interval = 4;
  // Called after each job, on the same thread: for threads that the job left working.
  std::function<void()> after_job = {};
};

class SimLoop : public Loop {
 public:
  // `disk` outlives the loop.
  SimLoop(SimDisk* disk, SimLoopOptions options);
  ~SimLoop() override;

  int64_t NowMicros() const override { return now_micros_; }
  int64_t WallMillis() const override { return wall_micros_ / 1000; }
  void Read(File* file, uint64_t offset, char* into, uint32_t size, DiskRequest* request) override;
  void Sync(File* file, DiskRequest* request) override;
  void RunOnWorker(WorkPriority priority, std::move_only_function<void()> job,
                   std::move_only_function<void()> done) override;
  void Post(std::move_only_function<void()> task) override;
  TimerId AddTimer(int64_t delay_micros, std::move_only_function<void()> task) override;
  void CancelTimer(TimerId id) override;
  // Never sleeps: waiting moves the clock to the next thing that happens. A negative wait with
  // nothing under way returns.
  void RunOnce(int64_t max_wait_micros) override;
  void Wake() override { woken_ = true; }

  // --- for tests

  void AdvanceTime(int64_t micros);
  // Steps the wall clock alone; may be negative.
  void StepWall(int64_t millis) { wall_micros_ += millis * 1000; }
  // While it is held, time passes but the wall clock stands still: nothing expires.
  void HoldWall(bool held) { wall_held_ = held; }
  // Nothing in flight but timers.
  bool Idle() const;
  // Runs until `until` is true; false if `micros` of virtual time have passed first.
  bool RunUntil(const std::function<bool()>& until, int64_t micros);

 private:
  using Action = std::move_only_function<void()>;
  enum class Step : uint8_t {
    kWork,      // the disk's or a worker's: not on the executor
    kCallback,  // on the executor
  };
  struct Event {
    Step step;
    TimerId timer = 0;
    Action action;
  };

  int64_t Draw(int64_t bound);
  // `delay` from now; events of one moment happen in the order of their scheduling.
  void Schedule(int64_t at_micros, Event event);
  void Complete(DiskRequest* request, int result, int64_t delay);

  SimDisk* const disk_;
  const SimLoopOptions options_;
  Random random_;
  int64_t now_micros_ = 1'000'000;
  int64_t wall_micros_;
  bool wall_held_ = false;
  std::multimap<int64_t, Event> events_;
  size_t operations_ = 0;  // of events_, those that are no timers
  std::map<TimerId, std::multimap<int64_t, Event>::iterator> timers_;
  std::deque<Event> due_;  // callbacks of this iteration that are still to be called
  TimerId next_timer_ = 1;
  int64_t last_job_start_[2] = {};  // by WorkPriority: jobs of one start in order
  bool woken_ = false;

  mutable std::mutex posted_mutex_;
  std::deque<Action> posted_;  // guarded by posted_mutex_
};

}  // namespace firn::io
