#include "tiering/io/uring_ring.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "engine/base/check.h"

namespace firn::io {
namespace {

constexpr unsigned kEntriesMax = 2048;
constexpr unsigned kEntriesMin = 64;
constexpr unsigned kCompletionsPerEntry = 4;
constexpr uint32_t kBuffersMax = 32768;

// Enough for values of usual sizes and for what a disk can do at once.
constexpr size_t kReadBufferBytes = 8192;
constexpr size_t kReadAreaBytes = 128 * kReadBufferBytes;

Status Unsupported(int error, const char* what) {
  Status status = Status::FromErrno(error, what);
  return {StatusCode::kUnsupported, status.message(), error};
}

// Returns 0 or an errno.
int InitialiseRing(io_uring* ring, unsigned entries, unsigned flags, unsigned* features) {
  io_uring_params params = {};
  params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = entries * kCompletionsPerEntry;
  const int result = io_uring_queue_init_params(entries, ring, &params);
  *features = params.features;
  return -result;
}

// Tries the best set of flags first, and smaller rings where memory is short.
int InitialiseBestRing(io_uring* ring, unsigned* features) {
  // Completions are worked off inside our own io_uring_enter calls only: no interruptions, and all
  // that an operation does in process context happens on this thread. Kernel 6.1 has the first.
  constexpr unsigned kFlagSets[] = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      0,
  };
  int error = 0;
  for (const unsigned flags : kFlagSets) {
    for (unsigned entries = kEntriesMax; entries >= kEntriesMin; entries /= 4) {
      error = InitialiseRing(ring, entries, flags, features);
      if (error == 0) return 0;
      if (error != ENOMEM) break;
    }
    if (error != EINVAL) break;
  }
  return error;
}

Status CheckOperations(io_uring* ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(ring);
  if (probe == nullptr) return Unsupported(ENOSYS, "probe io_uring");
  // The last one isn't used: it came with the multishot receives of 6.0, which have no probe.
  constexpr int kOperations[] = {IORING_OP_ACCEPT, IORING_OP_RECV,     IORING_OP_SEND,
                                 IORING_OP_READ,   IORING_OP_SENDMSG,  IORING_OP_FSYNC,
                                 IORING_OP_NOP,    IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
                                 IORING_OP_SEND_ZC};
  bool all = true;
  for (const int operation : kOperations) {
    all = all && io_uring_opcode_supported(probe, operation) != 0;
  }
  io_uring_free_probe(probe);
  if (!all) return {StatusCode::kUnsupported, "the kernel's io_uring is older than 6.0"};
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<UringRing>> UringRing::Create(const Options& options) {
  CHECK(options.buffer_size_bytes > 0);
  CHECK(std::has_single_bit(options.buffers));
  CHECK(options.buffers <= kBuffersMax);
  std::unique_ptr<UringRing> ring(new UringRing());
  if (Status status = ring->SetUp(options); !status.ok()) return std::unexpected(status);
  return ring;
}

Status UringRing::SetUp(const Options& options) {
  unsigned features = 0;
  if (const int error = InitialiseBestRing(&ring_, &features); error != 0) {
    return Unsupported(error, "set up io_uring");
  }
  has_ring_ = true;
  constexpr unsigned kFeatures = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                                 IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
  if ((features & kFeatures) != kFeatures) {
    return {StatusCode::kUnsupported, "the kernel's io_uring lacks features"};
  }
  FIRN_RETURN_IF_ERROR(CheckOperations(&ring_));
  Status status = buffers_.Register(
      &ring_, {.group = 0, .size_bytes = options.buffer_size_bytes, .count = options.buffers});
  if (status.ok()) {
    status = short_buffers_.Register(
        &ring_, {.group = 1, .size_bytes = kShortBufferBytes, .count = options.buffers});
  }
  if (!status.ok()) return {StatusCode::kUnsupported, status.message(), status.error_number()};
  SetUpReadBuffers();
  // Saves a look-up of the descriptor in each call; not having it costs nothing else.
  static_cast<void>(io_uring_register_ring_fd(&ring_));
  return TryOut();
}

// A filter on system calls may let the ring be created and refuse its use.
Status UringRing::TryOut() {
  io_uring_prep_nop(NextEntry());
  if (const int result = io_uring_submit_and_wait(&ring_, 1); result < 0) {
    return Unsupported(-result, "use io_uring");
  }
  CHECK(CompletionsReady() == 1);
  TakeCompletion();
  io_uring_sync_cancel_reg nothing = {};
  nothing.addr = 1;
  if (const int result = io_uring_register_sync_cancel(&ring_, &nothing); result != -ENOENT) {
    return Unsupported(-result, "cancel with io_uring");
  }
  return Status::Ok();
}

// Without them reads work as well, only a little slower: a limit on locked memory may be too low.
void UringRing::SetUpReadBuffers() {
  read_area_.reset(static_cast<char*>(std::aligned_alloc(kReadBufferBytes, kReadAreaBytes)));
  const iovec area = {.iov_base = read_area_.get(), .iov_len = kReadAreaBytes};
  if (read_area_ == nullptr || io_uring_register_buffers(&ring_, &area, 1) != 0) {
    read_area_ = nullptr;
    return;
  }
  // The first on top.
  for (size_t at = kReadAreaBytes; at > 0; at -= kReadBufferBytes) {
    free_read_buffers_.push_back(read_area_.get() + at - kReadBufferBytes);
  }
}

bool UringRing::IsReadBuffer(const char* buffer) const {
  const char* area = read_area_.get();
  return area != nullptr && buffer >= area && buffer < area + kReadAreaBytes;
}

char* UringRing::TakeReadBuffer(uint32_t size_bytes) {
  if (size_bytes > kReadBufferBytes || free_read_buffers_.empty()) return nullptr;
  char* buffer = free_read_buffers_.back();
  free_read_buffers_.pop_back();
  return buffer;
}

bool UringRing::GiveBackReadBuffer(char* buffer) {
  if (!IsReadBuffer(buffer)) return false;
  free_read_buffers_.push_back(buffer);
  return true;
}

void UringRing::PrepareRead(io_uring_sqe* entry, int fd, std::span<char> into, uint64_t offset) {
  const auto size = static_cast<unsigned>(into.size());
  if (IsReadBuffer(into.data())) {
    io_uring_prep_read_fixed(entry, fd, into.data(), size, offset, 0);
  } else {
    io_uring_prep_read(entry, fd, into.data(), size, offset);
  }
}

UringRing::~UringRing() {
  if (has_ring_) io_uring_queue_exit(&ring_);
}

io_uring_sqe* UringRing::NextEntry() {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    SubmitAll();
    entry = io_uring_get_sqe(&ring_);
    CHECK(entry != nullptr);
  }
  return entry;
}

void UringRing::SubmitAll() {
  // Only a kernel that is out of memory takes less than all of it, for a while.
  for (int i = 0; io_uring_sq_ready(&ring_) > 0; ++i) {
    const int result = io_uring_submit(&ring_);
    CHECK_MSG(result >= 0 || result == -EAGAIN || result == -EINTR || result == -EBUSY ||
                  result == -ENOMEM,
              strerror(-result));
    CHECK_MSG(i < 10'000'000, "the kernel takes no more io_uring entries");
  }
}

void UringRing::Enter(int64_t wait_micros) {
  int result;
  if (wait_micros == 0) {
    result = io_uring_submit_and_get_events(&ring_);
  } else if (wait_micros < 0) {
    result = io_uring_submit_and_wait(&ring_, 1);
  } else {
    __kernel_timespec timeout = {.tv_sec = wait_micros / 1'000'000,
                                 .tv_nsec = wait_micros % 1'000'000 * 1000};
    io_uring_cqe* completion = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &completion, 1, &timeout, nullptr);
  }
  CHECK_MSG(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
                result == -EBUSY || result == -ENOMEM,
            strerror(-result));
  // An entry that stayed behind would be submitted later, when its memory may be gone.
  if (io_uring_sq_ready(&ring_) > 0) SubmitAll();
}

UringRing::Completion UringRing::TakeCompletion() {
  const Completion completion = PeekCompletion(0);
  io_uring_cq_advance(&ring_, 1);
  return completion;
}

io_uring_cqe* UringRing::CompletionAt(uint32_t skipped) const {
  // As io_uring_for_each_cqe does it.
  const unsigned head = *ring_.cq.khead;
  return &ring_.cq.cqes[(head + skipped) & *ring_.cq.kring_mask];
}

UringRing::Completion UringRing::PeekCompletion(uint32_t skipped) const {
  const io_uring_cqe& entry = *CompletionAt(skipped);
  return {.user_data = entry.user_data, .result = entry.res, .flags = entry.flags};
}

void UringRing::ReplaceCompletion(uint32_t skipped, uint64_t user_data) {
  CompletionAt(skipped)->user_data = user_data;
}

void UringRing::CancelNow(uint64_t user_data) {
  io_uring_sync_cancel_reg request = {};
  request.addr = user_data;
  request.fd = -1;
  request.timeout = {.tv_sec = -1, .tv_nsec = -1};
  int result;
  do {
    result = io_uring_register_sync_cancel(&ring_, &request);
  } while (result == -EINTR);
  CHECK_MSG(result >= 0 || result == -ENOENT || result == -EALREADY, strerror(-result));
}

void UringRing::CancelAllNow() {
  io_uring_sync_cancel_reg request = {};
  request.fd = -1;
  request.flags = IORING_ASYNC_CANCEL_ANY;
  request.timeout = {.tv_sec = 1, .tv_nsec = 0};
  static_cast<void>(io_uring_register_sync_cancel(&ring_, &request));
}

void UringRing::PublishBuffers() {
  buffers_.Publish();
  short_buffers_.Publish();
}

}  // namespace firn::io
