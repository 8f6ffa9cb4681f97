// The one ring: everything that the executor thread waits for is a completion on one Loop: disk
// reads, syncs, timers, the workers' answers and (NetLoop, net_loop.h) sockets.
//
// Implementations: UringLoop (io_uring), ThreadLoop (epoll and worker threads, where io_uring is
// refused), SimLoop (single-threaded, seeded, on the simulated disk).
//
// Threads: every call but Post belongs to the executor thread. Callbacks run on it, from RunOnce,
// never from inside the call that started the operation.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>

#include "tiering/io/file.h"

namespace firn::io {

// An operation in flight. It lives in its owner's memory and must stay there, with its buffer,
// until `done` has been called, exactly once. `result` is a count of bytes or a negative errno.
struct DiskRequest {
  void (*done)(DiskRequest* request, int result) = nullptr;
};

enum class WorkPriority {
  kUrgent,      // a client waits for it
  kBackground,  // compaction, index batches, freeing
};

using TimerId = uint64_t;

class Loop {
 public:
  virtual ~Loop() = default;

  // Monotonic, microseconds, sampled when an iteration begins.
  virtual int64_t NowMicros() const = 0;
  // The wall clock, milliseconds since 1970, sampled with NowMicros. It may step back.
  virtual int64_t WallMillis() const = 0;

  // Reads [offset, offset + size) of `file` past the page cache into `into`. REQUIRES: offset, size
  // and address are multiples of kDirectAlignment. A result below `size` means the end of the file.
  virtual void Read(File* file, uint64_t offset, char* into, uint32_t size,
                    DiskRequest* request) = 0;
  // Memory for a Read, aligned for it. A loop may keep some that the kernel knows already.
  virtual char* AllocateReadBuffer(uint32_t size_bytes) {
    return static_cast<char*>(std::aligned_alloc(kDirectAlignment, size_bytes));
  }
  // Null too.
  virtual void FreeReadBuffer(char* buffer) { std::free(buffer); }
  // As File::Sync. Covers everything stored or written before this call.
  virtual void Sync(File* file, DiskRequest* request) = 0;

  // Runs `job` on a worker thread, then `done` on the executor. `done` may be empty. Jobs of one
  // priority start in order; with several workers they overlap.
  virtual void RunOnWorker(WorkPriority priority, std::move_only_function<void()> job,
                           std::move_only_function<void()> done) = 0;
  // The workers begin with the executor's priority: after a start commands wait for what they do.
  // From its next job on each has a lower one. For good, since only root might raise it again.
  virtual void LowerWorkers() {}
  // From any thread: runs `task` on the executor in a later iteration.
  virtual void Post(std::move_only_function<void()> task) = 0;

  // One-shot, never early.
  virtual TimerId AddTimer(int64_t delay_micros, std::move_only_function<void()> task) = 0;
  // A timer that has fired or is unknown is ignored.
  virtual void CancelTimer(TimerId id) = 0;

  // Submits what was queued, waits until something completes (at most `max_wait_micros`; 0 polls;
  // negative waits for ever) and calls the callbacks of all that has completed.
  virtual void RunOnce(int64_t max_wait_micros) = 0;
  // Makes a RunOnce that is waiting in another thread, or in a signal handler's thread, return.
  // Async-signal-safe.
  virtual void Wake() = 0;
};

}  // namespace firn::io
