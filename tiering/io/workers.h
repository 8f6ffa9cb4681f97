// A small pool of threads for what blocks or takes long. They take no signals, and once lowered run
// at a lower priority (nice +5), so that they don't take the processor from the executor.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "tiering/io/loop.h"
#include "tiering/io/mailbox.h"

namespace firn::io {

class Workers {
 public:
  using Task = std::move_only_function<void()>;

  // `mailbox` must outlive this. With two workers or more, one of them never takes background
  // work, so that an urgent job doesn't wait for a compaction. REQUIRES: count >= 1.
  Workers(int count, Mailbox* mailbox);
  // Waits for the jobs that run; drops the queued ones, and answers none of either.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Any thread: as Loop::RunOnWorker.
  void Run(WorkPriority priority, Task job, Task done);
  // Any thread: as Loop::LowerWorkers.
  void Lower();

 private:
  struct Work {
    Task job;
    Task done;
  };

  void Serve(bool takes_background);

  Mailbox* const mailbox_;

  std::mutex mutex_;
  std::condition_variable urgent_added_;    // for the worker that takes urgent work only
  std::condition_variable anything_added_;  // for the others
  std::deque<Work> urgent_;                 // guarded by mutex_
  std::deque<Work> background_;             // guarded by mutex_
  int idle_urgent_only_ = 0;                // guarded by mutex_
  bool lowered_ = false;                    // guarded by mutex_
  bool stopping_ = false;                   // guarded by mutex_

  std::vector<std::thread> threads_;
};

// Makes the calling thread as nice as the workers, if the system allows that.
void LowerPriority();

// Starts a thread that blocks all signals. `nice` is its niceness beyond that of
// the process, if the system allows that.
std::thread StartQuietThread(int nice, std::move_only_function<void()> body);

}  // namespace firn::io
