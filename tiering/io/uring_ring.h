// The io_uring instance of UringLoop: its set-up, entering the kernel, and the buffers that
// it shares with the kernel. Knows nothing of what the entries mean.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/uring_buffers.h"

namespace firn::io {

// Belongs to the thread that creates it.
class UringRing {
 public:
  struct Options {
    uint32_t buffer_size_bytes = 0;
    uint32_t buffers = 0;  // power of two
  };
  // Of the second group of buffers, which bulk can't use up.
  static constexpr uint32_t kShortBufferBytes = 512;

  // Fails with kUnsupported and a reason where the kernel (6.0 at least is needed), a container or
  // a limit refuses what is used here.
  static Result<std::unique_ptr<UringRing>> Create(const Options& options);
  ~UringRing();
  UringRing(const UringRing&) = delete;
  UringRing& operator=(const UringRing&) = delete;

  // An entry for the next Enter, to be prepared at once. If the queue is full, what is in it is
  // submitted first.
  io_uring_sqe* NextEntry();
  // Submits everything and waits for a completion, at most so long; negative: for ever, 0: not at
  // all. One system call in all but rare cases.
  void Enter(int64_t wait_micros);

  // How many completions can be taken without entering the kernel.
  uint32_t CompletionsReady() const { return io_uring_cq_ready(&ring_); }
  struct Completion {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
  };
  // REQUIRES: CompletionsReady() > 0.
  Completion TakeCompletion();
  // The one that would be taken after `skipped` others. REQUIRES: skipped < CompletionsReady().
  Completion PeekCompletion(uint32_t skipped) const;
  // Once it has been dealt with out of its turn: what is taken in its place has this user_data.
  void ReplaceCompletion(uint32_t skipped, uint64_t user_data);

  // Buffers for reads from files, in memory that the kernel knows already: it need not look up
  // their pages each time. Null if `size_bytes` is too large for one or none is free.
  char* TakeReadBuffer(uint32_t size_bytes);
  // False, and nothing else, if it is no such buffer.
  bool GiveBackReadBuffer(char* buffer);
  // Into such a buffer, or any other memory.
  void PrepareRead(io_uring_sqe* entry, int fd, std::span<char> into, uint64_t offset);

  // Cancels a submitted operation; when it returns, the kernel no longer reads or writes its
  // memory. Its completion still comes (if it hasn't).
  void CancelNow(uint64_t user_data);
  // The same for everything. For the end: gives up on what can't be cancelled in a second.
  void CancelAllNow();

  // What receives take their buffers from: the size asked for, and kShortBufferBytes.
  UringBuffers& buffers() { return buffers_; }
  UringBuffers& short_buffers() { return short_buffers_; }
  // Gives the kernel all buffers that were given back.
  void PublishBuffers();

 private:
  UringRing() = default;
  Status SetUp(const Options& options);
  void SetUpReadBuffers();
  io_uring_cqe* CompletionAt(uint32_t skipped) const;
  bool IsReadBuffer(const char* buffer) const;
  Status TryOut();
  void SubmitAll();

  UringBuffers buffers_;
  UringBuffers short_buffers_;
  // Constant after Create.
  io_uring ring_ = {};
  bool has_ring_ = false;

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> read_area_;  // null if the kernel didn't want it
  std::vector<char*> free_read_buffers_;
};

}  // namespace firn::io
