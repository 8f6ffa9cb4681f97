// Disk reads and syncs for the loop without io_uring: threads that make the blocking calls. They
// are started as the load asks for them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tiering/io/loop.h"
#include "tiering/io/mailbox.h"

namespace firn::io {

class DiskThreads {
 public:
  // `mailbox` is woken by each completion and must outlive this.
  explicit DiskThreads(Mailbox* mailbox) : mailbox_(mailbox) {}
  // Waits for what is in flight (its buffers belong to others); `done` is not called for it.
  ~DiskThreads();
  DiskThreads(const DiskThreads&) = delete;
  DiskThreads& operator=(const DiskThreads&) = delete;

  // The rest is for the loop's thread.

  struct ReadArguments {
    int fd = -1;
    uint64_t offset = 0;
    char* into = nullptr;
    uint32_t size = 0;
  };
  void Read(const ReadArguments& arguments, DiskRequest* request);
  void Sync(int fd, DiskRequest* request);
  // Calls `done` of all that has completed.
  void RunCompletions();

 private:
  struct Job {
    ReadArguments arguments;
    bool is_sync = false;
    DiskRequest* request = nullptr;
  };
  using Completion = std::pair<DiskRequest*, int>;

  void Enqueue(const Job& job);
  void Serve();

  Mailbox* const mailbox_;

  // The loop's thread only.
  std::vector<std::thread> threads_;
  std::vector<Completion> running_;

  std::atomic<bool> has_completions_{false};
  std::mutex mutex_;
  std::condition_variable job_added_;
  std::deque<Job> jobs_;                 // guarded by mutex_
  std::vector<Completion> completions_;  // guarded by mutex_
  size_t idle_threads_ = 0;              // guarded by mutex_
  bool stopping_ = false;                // guarded by mutex_
};

}  // namespace firn::io
