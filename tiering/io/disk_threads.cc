#include "tiering/io/disk_threads.h"

#include <errno.h>
#include <unistd.h>

#include "tiering/io/workers.h"

namespace firn::io {
namespace {

// Enough to keep a solid-state disk busy; more costs more in switching than it brings.
constexpr size_t kThreadsMax = 16;

// Returns the bytes read or a negative errno.
int ReadFully(const DiskThreads::ReadArguments& arguments) {
  uint32_t done = 0;
  while (done < arguments.size) {
    const ssize_t count = ::pread(arguments.fd, arguments.into + done, arguments.size - done,
                                  static_cast<off_t>(arguments.offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    done += static_cast<uint32_t>(count);
    // Off the alignment is the end of the file: a direct read could not go on from there.
    if (count == 0 || done % kDirectAlignment != 0) break;
  }
  return static_cast<int>(done);
}

int SyncFully(int fd) {
  int result;
  do {
    result = ::fdatasync(fd);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : -errno;
}

}  // namespace

DiskThreads::~DiskThreads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  job_added_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void DiskThreads::Read(const ReadArguments& arguments, DiskRequest* request) {
  Enqueue({.arguments = arguments, .request = request});
}

void DiskThreads::Sync(int fd, DiskRequest* request) {
  Enqueue({.arguments = {.fd = fd}, .is_sync = true, .request = request});
}

void DiskThreads::Enqueue(const Job& job) {
  bool start_thread;
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(job);
    start_thread = jobs_.size() > idle_threads_ && threads_.size() < kThreadsMax;
  }
  if (start_thread) {
    // Clients wait for these threads: no lower priority.
    threads_.push_back(StartQuietThread(0, [this] { Serve(); }));
  }
  job_added_.notify_one();
}

void DiskThreads::Serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    while (!stopping_ && jobs_.empty()) {
      ++idle_threads_;
      job_added_.wait(lock);
      --idle_threads_;
    }
    if (jobs_.empty()) return;
    const Job job = jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    const int result = job.is_sync ? SyncFully(job.arguments.fd) : ReadFully(job.arguments);
    lock.lock();
    completions_.emplace_back(job.request, result);
    has_completions_.store(true, std::memory_order_release);
    mailbox_->Wake();
  }
}

void DiskThreads::RunCompletions() {
  if (!has_completions_.load(std::memory_order_acquire)) return;
  {
    const std::lock_guard lock(mutex_);
    running_.swap(completions_);
    has_completions_.store(false, std::memory_order_relaxed);
  }
  for (const auto& [request, result] : running_) request->done(request, result);
  running_.clear();
}

}  // namespace firn::io
