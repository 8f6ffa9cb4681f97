// One iteration: turn what was asked for into entries (Flush), enter the kernel, then hand out the
// completions, held-back bytes, timers and posted tasks.
#include "tiering/io/uring_loop.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "tiering/io/loop_base.h"
#include "tiering/io/posix_file.h"
#include "tiering/io/read_buffers.h"
#include "tiering/io/uring_ring.h"
#include "tiering/io/uring_sockets.h"

namespace firn::io {
namespace {

// With 50 clients that each wait for one cold value, these gave a tenth more than submitting
// everything once an iteration.
constexpr uint32_t kReadsBeforeSends = 4;
constexpr uint32_t kReadsAtOnce = 16;
// A device that has so many reads to do is busy. (Decision 0017.)
constexpr size_t kFullBatch = 8;

// Of long reads no more are submitted at once than take a millisecond or two.
constexpr uint64_t kBatchBytes = 2 << 20;
constexpr uint32_t kLongReadBytes = 12 * 1024;

// From so many on some may be long.
constexpr uint32_t kManyCompletions = 16;
constexpr int64_t kDispatchMicros = 3000;

bool MeansTryAgain(int result) { return result == -EAGAIN || result == -EINTR; }

// A read or sync under way; recycled.
struct DiskOperation {
  DiskRequest* request = nullptr;
  int fd = -1;
  bool is_sync = false;  // the rest is a read's
  uint64_t offset = 0;
  char* into = nullptr;
  uint32_t size = 0;
  uint32_t done = 0;
  uint64_t batch = 0;
};

using Completion = UringRing::Completion;

class UringLoop final : public LoopBase {
 public:
  const char* name() const override { return "io_uring"; }
  UringLoop(const NetLoopOptions& options, std::unique_ptr<UringRing> ring);
  ~UringLoop() override;

  void Read(File* file, uint64_t offset, char* into, uint32_t size, DiskRequest* request) override;
  void Sync(File* file, DiskRequest* request) override;
  void RunOnce(int64_t max_wait_micros) override;
  Result<std::unique_ptr<Listener>> Listen(const ListenOptions& options,
                                           AcceptCallback on_accept) override {
    return sockets_.Listen(options, std::move(on_accept));
  }
  Socket* Adopt(int fd, SocketAddress address) override {
    return sockets_.Adopt(fd, std::move(address));
  }
  char* AllocateReadBuffer(uint32_t size_bytes) override {
    if (size_bytes >= kLongReadBytes) return long_buffers_.Take(kDirectAlignment, size_bytes);
    char* buffer = ring_->TakeReadBuffer(size_bytes);
    return buffer != nullptr ? buffer : Loop::AllocateReadBuffer(size_bytes);
  }
  void FreeReadBuffer(char* buffer) override {
    if (!ring_->GiveBackReadBuffer(buffer)) long_buffers_.GiveBack(buffer);
  }

 private:
  void DispatchShortRequests();
  void DispatchInTurn();
  void Dispatch(const Completion& completion);
  DiskOperation* NewDiskOperation();
  void SubmitDisk(DiskOperation* operation);
  bool MayStartBatch() const;
  void StartBatch();
  void FollowAnsweredBatch();
  bool DeviceShouldStart() const { return held_reads_.size() >= kReadsAtOnce && MayStartBatch(); }
  void OnDiskCompletion(DiskOperation* operation, int result);
  void WatchMailbox();
  void DrainDisk();

  const std::unique_ptr<UringRing> ring_;
  UringSockets sockets_{ring_.get(), this};

  std::vector<std::unique_ptr<DiskOperation>> disk_operations_;  // all
  std::vector<DiskOperation*> free_disk_operations_;

  std::vector<DiskOperation*> held_reads_;  // not submitted yet
  uint64_t batch_ = 0;                      // the latest
  size_t batch_size_ = 0;
  bool batch_answered_ = true;  // one of its reads is done
  ReadBuffers long_buffers_;
};

UringLoop::UringLoop(const NetLoopOptions& options, std::unique_ptr<UringRing> ring)
    : LoopBase(options.workers), ring_(std::move(ring)) {
  WatchMailbox();
}

UringLoop::~UringLoop() {
  StopWorkers();
  CHECK_MSG(!sockets_.has_listeners(), "a listener outlives its loop");
  DrainDisk();
  ring_->CancelAllNow();
}

void UringLoop::DrainDisk() {
  for (DiskOperation* operation : std::exchange(held_reads_, {})) {
    free_disk_operations_.push_back(operation);
  }
  while (free_disk_operations_.size() < disk_operations_.size()) {
    ring_->Enter(-1);
    while (ring_->CompletionsReady() > 0) {
      const Completion completion = ring_->TakeCompletion();
      const UringTag tag = TagOf(completion.user_data);
      if (tag == UringTag::kDisk) {
        free_disk_operations_.push_back(ObjectOf<DiskOperation>(completion.user_data));
      } else if (tag == UringTag::kAccept && completion.result >= 0) {
        ::close(completion.result);
      }
    }
  }
}

void UringLoop::WatchMailbox() {
  io_uring_sqe* entry = ring_->NextEntry();
  // It reports each signal once, and nobody has to read the counter.
  io_uring_prep_poll_multishot(entry, mailbox().fd(), POLLIN);
  io_uring_sqe_set_data64(entry, UserData(nullptr, UringTag::kWake));
}

DiskOperation* UringLoop::NewDiskOperation() {
  if (free_disk_operations_.empty()) {
    disk_operations_.push_back(std::make_unique<DiskOperation>());
    return disk_operations_.back().get();
  }
  DiskOperation* operation = free_disk_operations_.back();
  free_disk_operations_.pop_back();
  return operation;
}

void UringLoop::Read(File* file, uint64_t offset, char* into, uint32_t size, DiskRequest* request) {
  CHECK(offset % kDirectAlignment == 0);
  CHECK(size % kDirectAlignment == 0);
  CHECK(reinterpret_cast<uintptr_t>(into) % kDirectAlignment == 0);
  CHECK(size <= INT32_MAX);
  DiskOperation* operation = NewDiskOperation();
  *operation = {.request = request,
                .fd = DescriptorsOf(*file).direct,
                .offset = offset,
                .into = into,
                .size = size};
  held_reads_.push_back(operation);
}

// Virtual disks are known to say that reads are done when they have no others left to do. A read
// that joined a full batch would keep all of it from being handled meanwhile; a second batch gives
// the device something to do while the first is handled.
bool UringLoop::MayStartBatch() const { return batch_answered_ || batch_size_ < kFullBatch; }

void UringLoop::StartBatch() {
  ++batch_;
  batch_size_ = 0;
  batch_answered_ = false;
  uint64_t bytes = 0;
  while (batch_size_ < held_reads_.size() && bytes < kBatchBytes) {
    DiskOperation* operation = held_reads_[batch_size_++];
    operation->batch = batch_;
    bytes += operation->size;
    SubmitDisk(operation);
  }
  held_reads_.erase(held_reads_.begin(), held_reads_.begin() + static_cast<ptrdiff_t>(batch_size_));
}

// The device goes on before what it brought is handled.
void UringLoop::FollowAnsweredBatch() {
  if (held_reads_.empty() || MayStartBatch()) return;
  const uint32_t ready = ring_->CompletionsReady();
  for (uint32_t i = 0; i < ready; ++i) {
    const uint64_t user_data = ring_->PeekCompletion(i).user_data;
    if (TagOf(user_data) != UringTag::kDisk) continue;
    if (ObjectOf<DiskOperation>(user_data)->batch != batch_) continue;
    StartBatch();
    return ring_->Enter(0);
  }
}

void UringLoop::Sync(File* file, DiskRequest* request) {
  DiskOperation* operation = NewDiskOperation();
  *operation = {.request = request, .fd = DescriptorsOf(*file).buffered, .is_sync = true};
  SubmitDisk(operation);
}

void UringLoop::SubmitDisk(DiskOperation* operation) {
  io_uring_sqe* entry = ring_->NextEntry();
  if (operation->is_sync) {
    io_uring_prep_fsync(entry, operation->fd, IORING_FSYNC_DATASYNC);
  } else {
    char* into = operation->into + operation->done;
    const uint32_t size = operation->size - operation->done;
    const uint64_t offset = operation->offset + operation->done;
    ring_->PrepareRead(entry, operation->fd, {into, size}, offset);
  }
  io_uring_sqe_set_data64(entry, UserData(operation, UringTag::kDisk));
}

void UringLoop::OnDiskCompletion(DiskOperation* operation, int result) {
  if (!operation->is_sync && operation->batch == batch_) batch_answered_ = true;
  if (MeansTryAgain(result)) return SubmitDisk(operation);
  if (result > 0) {
    operation->done += static_cast<uint32_t>(result);
    // Off the alignment is the end of the file: a direct read could not go on from there.
    if (operation->done < operation->size && operation->done % kDirectAlignment == 0) {
      return SubmitDisk(operation);
    }
  }
  if (result >= 0) result = static_cast<int>(operation->done);
  DiskRequest* request = operation->request;
  free_disk_operations_.push_back(operation);
  request->done(request, result);
}

void UringLoop::Dispatch(const Completion& completion) {
  switch (TagOf(completion.user_data)) {
    case UringTag::kDisk:
      return OnDiskCompletion(ObjectOf<DiskOperation>(completion.user_data), completion.result);
    case UringTag::kWake:
      if ((completion.flags & IORING_CQE_F_MORE) == 0) WatchMailbox();
      return;
    case UringTag::kIgnored:
      return;
    default:
      return sockets_.Dispatch(completion);
  }
}

// While many requests have come in, those who have sent little needn't wait for the others.
void UringLoop::DispatchShortRequests() {
  const uint32_t ready = ring_->CompletionsReady();
  if (ready < kManyCompletions) return;
  sockets_.StartLook();
  for (uint32_t i = 0; i < ready && !DeviceShouldStart(); ++i) {
    const Completion completion = ring_->PeekCompletion(i);
    if (!sockets_.IsShortAndFirst(completion)) continue;
    ring_->ReplaceCompletion(i, UserData(nullptr, UringTag::kIgnored));
    Dispatch(completion);
  }
}

// Those that callbacks cause meanwhile are for the next iteration. So is the rest when enough reads
// wait to be submitted, as the device should work meanwhile, or when this has taken long: short
// requests that have come in since are looked for then.
void UringLoop::DispatchInTurn() {
  const int64_t until = TrueMicros() + kDispatchMicros;
  for (uint32_t left = ring_->CompletionsReady(); left > 0 && !DeviceShouldStart(); --left) {
    Dispatch(ring_->TakeCompletion());
    if (TrueMicros() > until) break;
  }
}

void UringLoop::RunOnce(int64_t max_wait_micros) {
  if (!held_reads_.empty() && MayStartBatch()) {
    StartBatch();
    // The kernel holds reads back until it has seen all that is submitted with them: many sends.
    if (batch_size_ >= kReadsBeforeSends && sockets_.has_sends()) ring_->Enter(0);
  }
  sockets_.Flush();
  const bool idle = !sockets_.has_deliveries() && ring_->CompletionsReady() == 0;
  if (idle && free_disk_operations_.size() == disk_operations_.size()) long_buffers_.Clear();
  int64_t wait_micros = idle ? WaitUntilTimer(max_wait_micros) : 0;
  if (wait_micros != 0 && !mailbox().PrepareToSleep()) wait_micros = 0;
  ring_->Enter(wait_micros);
  mailbox().AwakeNow();
  SampleClocks();

  FollowAnsweredBatch();
  DispatchShortRequests();
  DispatchInTurn();
  ring_->PublishBuffers();
  sockets_.DeliverKept();
  RunTimersAndTasks();
}

}  // namespace

Result<std::unique_ptr<NetLoop>> CreateUringLoop(const NetLoopOptions& options) {
  Result<std::unique_ptr<UringRing>> ring = UringRing::Create(
      {.buffer_size_bytes = options.receive_buffer_size_bytes, .buffers = options.receive_buffers});
  if (!ring) return std::unexpected(ring.error());
  return std::make_unique<UringLoop>(options, std::move(*ring));
}

}  // namespace firn::io
