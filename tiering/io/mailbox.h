// How other threads reach a loop: tasks posted from any thread, and a wake-up that a signal handler
// may use. A loop that is busy is reached by a flag alone; only one that sleeps costs a system
// call.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

namespace firn::io {

class Mailbox {
 public:
  using Task = std::move_only_function<void()>;

  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread: hands `task` to the loop and wakes it.
  void Post(Task task);
  // Any thread, async-signal-safe: the loop's sleep ends, or its next one doesn't begin.
  void Wake();

  // The rest is for the loop's thread.

  // Signalled when a sleeping loop is wanted. Watch it edge-triggered: it is never read.
  int fd() const { return event_fd_; }
  // Announces that the loop is about to wait on fd(). False: something is here, don't wait.
  // AwakeNow() must follow in both cases.
  bool PrepareToSleep();
  void AwakeNow() { sleeping_.store(false, std::memory_order_relaxed); }
  // Runs the tasks posted so far, in order.
  void RunTasks();

 private:
  const int event_fd_;
  std::vector<Task> running_;  // the loop's thread only

  // True from a Post or Wake until the loop looks.
  std::atomic<bool> pending_{false};
  // True while the loop waits, or is about to, and nobody has signalled event_fd_.
  std::atomic<bool> sleeping_{false};

  std::mutex mutex_;
  std::vector<Task> tasks_;  // guarded by mutex_
};

}  // namespace firn::io
