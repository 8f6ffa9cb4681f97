// The io_uring instance of UringLoop: its set-up, entering the kernel, and the receive buffers that
// it shares with the kernel. Knows nothing of what the entries mean.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace firn::io {

// Belongs to the thread that creates it.
class UringRing {
 public:
  struct Options {
    uint32_t buffer_size_bytes = 0;
    uint32_t buffers = 0;  // power of two
  };
  // The group that receives take their buffers from.
  static constexpr uint16_t kBufferGroup = 0;

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

  // The bytes of a receive's completion, which has a buffer. Valid until it is given back.
  std::string_view BufferBytes(const Completion& completion) const;
  // Gives the buffer back to the kernel at the next PublishBuffers.
  void GiveBackBuffer(const Completion& completion);
  void PublishBuffers();

 private:
  UringRing() = default;
  Status SetUp(const Options& options);
  Status SetUpBuffers(const Options& options);
  void SetUpReadBuffers();
  io_uring_cqe* CompletionAt(uint32_t skipped) const;
  bool IsReadBuffer(const char* buffer) const;
  Status TryOut();
  void SubmitAll();
  char* BufferAt(uint32_t id) const { return buffer_area_ + size_t{id} * buffer_stride_; }

  // Constant after Create.
  io_uring ring_ = {};
  bool has_ring_ = false;
  uint32_t buffer_size_bytes_ = 0;
  uint32_t buffer_stride_ = 0;
  uint32_t buffers_ = 0;
  char* buffer_area_ = nullptr;
  io_uring_buf_ring* buffer_ring_ = nullptr;

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> read_area_;  // null if the kernel didn't want it
  std::vector<char*> free_read_buffers_;

  uint32_t given_back_ = 0;  // since the last PublishBuffers
};

}  // namespace firn::io
