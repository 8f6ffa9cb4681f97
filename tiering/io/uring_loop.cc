// One iteration: turn what was asked for into entries (Flush), enter the kernel, then hand out the
// completions, held-back bytes, timers and posted tasks.
//
// An entry's user_data is the address of the object that it belongs to, and in the low three bits
// what it is for. So an object must live until its last completion: a closed socket or listener is
// kept until then, and its descriptor too, so that no entry can hit a successor. From there it goes
// to the graveyard, which the next Flush empties: until then a list, or a caller further up the
// stack, may still refer to it.
//
// A receive is armed once and then yields completions until it is cancelled, fails, or finds no
// buffer (it is armed again then). Pausing cancels it at the end of the iteration; what comes in
// before the kernel has seen that is held back, and delivered first after the resumption.
//
// Armed receives take up to 32 buffers each, so that a few busy sockets may leave none. Who found
// none asks next time before all others, for one buffer: nobody is left out twice in a row.
#include "tiering/io/uring_loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "tiering/io/loop_base.h"
#include "tiering/io/net_listen.h"
#include "tiering/io/posix_file.h"
#include "tiering/io/uring_ring.h"

namespace firn::io {
namespace {

enum class Tag : uint64_t { kIgnored, kReceive, kSend, kAccept, kDisk, kWake };
constexpr uint64_t kTagMask = 7;

// With 50 clients that each wait for one cold value, these gave a tenth more than submitting
// everything once an iteration.
constexpr uint32_t kReadsBeforeSends = 4;
constexpr uint32_t kReadsAtOnce = 16;

uint64_t UserData(const void* object, Tag tag) {
  const auto address = reinterpret_cast<uintptr_t>(object);
  CHECK((address & kTagMask) == 0);
  return address | static_cast<uint64_t>(tag);
}

template <typename T>
T* ObjectOf(uint64_t user_data) {
  return reinterpret_cast<T*>(user_data & ~kTagMask);
}

bool MeansTryAgain(int result) { return result == -EAGAIN || result == -EINTR; }

using Completion = UringRing::Completion;

class UringLoop;

// What may outlive its user: see the top of the file.
class Mortal {
 public:
  virtual ~Mortal() = default;
};

class UringSocket final : public Socket, public Mortal {
 public:
  UringSocket(UringLoop* loop, int fd, SocketAddress address)
      : loop_(loop), fd_(fd), address_(std::move(address)) {}
  ~UringSocket() override { ::close(fd_); }

  void Start(SocketHandler* handler) override;
  void PauseReceiving() override { SetPaused(true); }
  void ResumeReceiving() override { SetPaused(false); }
  void Send(std::span<const iovec> parts) override;
  void Close() override;
  int fd() const override { return fd_; }
  const SocketAddress& address() const override { return address_; }
  void SetKeepAlive(int interval_seconds) override { io::SetKeepAlive(fd_, interval_seconds); }

  // For the loop.
  void OnReceiveCompletion(const Completion& completion);
  void OnSendCompletion(int result);
  void SubmitSend();
  void UpdateReceiving();
  void DeliverKept();

  size_t position = 0;   // in the loop's list of sockets
  bool starved = false;  // its last receive found no buffer

 private:
  enum class Receiving { kIdle, kArmed, kCancelling };
  enum class Sending { kIdle, kQueued, kInFlight };

  void SetPaused(bool paused);
  void QueueUpdate();
  void QueueSend();
  void CancelReceiving();
  void OnEnd(int error);
  void Disconnect(int error);
  void BuryIfOver();

  UringLoop* const loop_;
  const int fd_;
  const SocketAddress address_;
  SocketHandler* handler_ = nullptr;

  Receiving receiving_ = Receiving::kIdle;
  Sending sending_ = Sending::kIdle;
  bool paused_ = false;
  bool ended_ = false;         // the end has come in and is not reported yet
  bool disconnected_ = false;  // the end has been reported
  bool receive_over_ = false;  // the end of what the peer sends has been reported
  bool closed_ = false;
  bool buried_ = false;
  bool update_queued_ = false;
  int end_error_ = 0;

  PendingSend pending_send_;
  msghdr message_ = {};
  std::string kept_;  // came in while receiving was paused
};

// The part of a listener that outlives its handle until the accept's last completion.
class ListenerState final : public Mortal {
 public:
  ListenerState(UringLoop* loop, int fd, ListenOptions options, NetLoop::AcceptCallback on_accept)
      : loop_(loop), fd_(fd), options_(std::move(options)), on_accept_(std::move(on_accept)) {}
  ~ListenerState() override { ::close(fd_); }

  void Accept();
  void OnCompletion(const Completion& completion);
  void Close();

 private:
  UringLoop* const loop_;
  const int fd_;
  const ListenOptions options_;
  NetLoop::AcceptCallback on_accept_;
  bool armed_ = false;
  bool closed_ = false;
  TimerId pause_timer_ = 0;
};

class ListenerHandle final : public Listener {
 public:
  explicit ListenerHandle(ListenerState* state) : state_(state) {}
  ~ListenerHandle() override { state_->Close(); }

 private:
  ListenerState* const state_;
};

// A read or sync under way; recycled.
struct DiskOperation {
  DiskRequest* request = nullptr;
  int fd = -1;
  bool is_sync = false;  // the rest is a read's
  uint64_t offset = 0;
  char* into = nullptr;
  uint32_t size = 0;
  uint32_t done = 0;
};

class UringLoop final : public LoopBase {
 public:
  const char* name() const override { return "io_uring"; }
  UringLoop(const NetLoopOptions& options, std::unique_ptr<UringRing> ring);
  ~UringLoop() override;

  void Read(File* file, uint64_t offset, char* into, uint32_t size, DiskRequest* request) override;
  void Sync(File* file, DiskRequest* request) override;
  void RunOnce(int64_t max_wait_micros) override;
  Result<std::unique_ptr<Listener>> Listen(const ListenOptions& options,
                                           AcceptCallback on_accept) override;

  Socket* Adopt(int fd, SocketAddress address) override;
  char* AllocateReadBuffer(uint32_t size_bytes) override {
    char* buffer = ring_->TakeReadBuffer(size_bytes);
    return buffer != nullptr ? buffer : Loop::AllocateReadBuffer(size_bytes);
  }
  void FreeReadBuffer(char* buffer) override {
    if (!ring_->GiveBackReadBuffer(buffer)) Loop::FreeReadBuffer(buffer);
  }

  // For sockets and listeners.
  UringRing& ring() { return *ring_; }
  void Adopt(int fd, const ListenOptions& options, NetLoop::AcceptCallback& on_accept);
  void QueueSend(UringSocket* socket) { sends_queued_.push_back(socket); }
  void QueueUpdate(UringSocket* socket) { updates_queued_.push_back(socket); }
  void QueueDelivery(UringSocket* socket) { deliveries_.push_back(socket); }
  void BurySocket(UringSocket* socket);
  void OnListenerClosed(ListenerState* listener);
  void BuryListener(ListenerState* listener);
  void Cancel(uint64_t user_data);

 private:
  void Flush();
  void Dispatch(const Completion& completion);
  DiskOperation* NewDiskOperation();
  void SubmitDisk(DiskOperation* operation);
  void OnDiskCompletion(DiskOperation* operation, int result);
  void WatchMailbox();
  void DrainDisk();

  const std::unique_ptr<UringRing> ring_;
  std::vector<UringSocket*> sockets_;             // until buried
  std::vector<ListenerState*> listeners_;         // open
  std::vector<ListenerState*> closed_listeners_;  // until buried

  std::vector<UringSocket*> sends_queued_;
  std::vector<UringSocket*> updates_queued_;
  std::vector<UringSocket*> deliveries_;
  std::vector<std::unique_ptr<Mortal>> graveyard_;

  std::vector<std::unique_ptr<DiskOperation>> disk_operations_;  // all
  std::vector<DiskOperation*> free_disk_operations_;
  uint32_t reads_queued_ = 0;  // since the last submission
};

void UringSocket::Start(SocketHandler* handler) {
  CHECK(handler_ == nullptr);
  CHECK(handler != nullptr);
  handler_ = handler;
  QueueUpdate();
}

void UringSocket::SetPaused(bool paused) {
  paused_ = paused;
  QueueUpdate();
}

void UringSocket::QueueUpdate() {
  if (!std::exchange(update_queued_, true)) loop_->QueueUpdate(this);
}

void UringSocket::QueueSend() {
  sending_ = Sending::kQueued;
  loop_->QueueSend(this);
}

void UringSocket::Send(std::span<const iovec> parts) {
  if (disconnected_) return;
  CHECK(sending_ == Sending::kIdle);
  pending_send_.Assign(parts);
  QueueSend();
}

void UringSocket::SubmitSend() {
  if (closed_ || disconnected_) return;
  CHECK(sending_ == Sending::kQueued);
  sending_ = Sending::kInFlight;
  io_uring_sqe* entry = loop_->ring().NextEntry();
  const std::span<iovec> parts = pending_send_.Parts();
  if (parts.size() <= 1) {
    // One part needs no message header for the kernel to read.
    const iovec part = parts.empty() ? iovec{} : parts[0];
    io_uring_prep_send(entry, fd_, part.iov_base, part.iov_len, MSG_NOSIGNAL);
  } else {
    message_.msg_iov = parts.data();
    message_.msg_iovlen = parts.size();
    io_uring_prep_sendmsg(entry, fd_, &message_, MSG_NOSIGNAL);
  }
  io_uring_sqe_set_data64(entry, UserData(this, Tag::kSend));
}

void UringSocket::OnSendCompletion(int result) {
  CHECK(sending_ == Sending::kInFlight);
  sending_ = Sending::kIdle;
  if (closed_) return BuryIfOver();
  if (disconnected_) return;
  if (result < 0 && !MeansTryAgain(result)) return Disconnect(-result);
  if (result > 0) pending_send_.Advance(static_cast<size_t>(result));
  if (!pending_send_.done()) return QueueSend();
  handler_->OnSent();
}

void UringSocket::CancelReceiving() {
  CHECK(receiving_ == Receiving::kArmed);
  receiving_ = Receiving::kCancelling;
  loop_->Cancel(UserData(this, Tag::kReceive));
}

void UringSocket::UpdateReceiving() {
  update_queued_ = false;
  if (closed_ || disconnected_ || receive_over_ || handler_ == nullptr) return;
  if (paused_) {
    if (receiving_ == Receiving::kArmed) CancelReceiving();
    return;
  }
  if (!kept_.empty() || ended_) loop_->QueueDelivery(this);
  if (ended_ || receiving_ != Receiving::kIdle) return;
  receiving_ = Receiving::kArmed;
  io_uring_sqe* entry = loop_->ring().NextEntry();
  if (std::exchange(starved, false)) {
    io_uring_prep_recv(entry, fd_, nullptr, 0, 0);
  } else {
    io_uring_prep_recv_multishot(entry, fd_, nullptr, 0, 0);
  }
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = UringRing::kBufferGroup;
  io_uring_sqe_set_data64(entry, UserData(this, Tag::kReceive));
}

void UringSocket::OnReceiveCompletion(const Completion& completion) {
  const int result = completion.result;
  if ((completion.flags & IORING_CQE_F_MORE) == 0) receiving_ = Receiving::kIdle;
  if (result == -ENOBUFS) starved = true;
  if (!closed_ && !disconnected_ && !receive_over_ && !ended_) {
    if (result > 0) {
      const std::string_view bytes = loop_->ring().BufferBytes(completion);
      // Bytes must not overtake those that wait for their delivery.
      if (paused_ || !kept_.empty()) {
        kept_ += bytes;
      } else {
        handler_->OnReceived(bytes);
      }
    } else if (result == 0) {
      OnEnd(0);
    } else if (!MeansTryAgain(result) && result != -ENOBUFS && result != -ECANCELED) {
      OnEnd(-result);
    }
  }
  if ((completion.flags & IORING_CQE_F_BUFFER) != 0) loop_->ring().GiveBackBuffer(completion);
  if (receiving_ != Receiving::kIdle) return;
  if (closed_) {
    BuryIfOver();
  } else if (!ended_ && !disconnected_ && !receive_over_) {
    QueueUpdate();
  }
}

void UringSocket::OnEnd(int error) {
  if (!paused_ && kept_.empty()) return Disconnect(error);
  ended_ = true;
  end_error_ = error;
  QueueUpdate();
}

void UringSocket::DeliverKept() {
  if (closed_ || disconnected_ || receive_over_ || paused_) return;
  if (!kept_.empty()) {
    const std::string bytes = std::exchange(kept_, {});
    handler_->OnReceived(bytes);
  }
  // Once it is resumed, UpdateReceiving sends it here again.
  if (ended_ && !closed_ && !disconnected_ && !paused_) Disconnect(end_error_);
}

void UringSocket::Disconnect(int error) {
  kept_.clear();
  if (error == 0) {
    receive_over_ = true;
    handler_->OnEnded();
    return;
  }
  disconnected_ = true;
  if (sending_ != Sending::kInFlight) pending_send_.Clear();
  handler_->OnDisconnected(error);
}

void UringSocket::Close() {
  CHECK(!closed_);
  closed_ = true;
  handler_ = nullptr;
  kept_ = {};
  if (sending_ == Sending::kInFlight) loop_->ring().CancelNow(UserData(this, Tag::kSend));
  if (receiving_ == Receiving::kArmed) CancelReceiving();
  BuryIfOver();
}

void UringSocket::BuryIfOver() {
  if (receiving_ != Receiving::kIdle || sending_ == Sending::kInFlight) return;
  if (!std::exchange(buried_, true)) loop_->BurySocket(this);
}

void ListenerState::Accept() {
  armed_ = true;
  io_uring_sqe* entry = loop_->ring().NextEntry();
  io_uring_prep_multishot_accept(entry, fd_, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(entry, UserData(this, Tag::kAccept));
}

void ListenerState::OnCompletion(const Completion& completion) {
  const int result = completion.result;
  if ((completion.flags & IORING_CQE_F_MORE) == 0) armed_ = false;
  if (closed_) {
    if (result >= 0) ::close(result);
    if (!armed_) loop_->BuryListener(this);
    return;
  }
  if (result >= 0) {
    loop_->Adopt(result, options_, on_accept_);
    // The callback may have closed the listener.
    if (!armed_ && !closed_) Accept();
    return;
  }
  if (armed_) return;
  if (IsTransientAcceptError(-result)) return Accept();
  pause_timer_ = loop_->AddTimer(kAcceptPauseMicros, [this] {
    pause_timer_ = 0;
    Accept();
  });
  on_accept_(nullptr, -result);
}

void ListenerState::Close() {
  closed_ = true;
  if (pause_timer_ != 0) loop_->CancelTimer(pause_timer_);
  StopListening(fd_, options_);
  loop_->OnListenerClosed(this);
  if (armed_) {
    loop_->Cancel(UserData(this, Tag::kAccept));
  } else {
    loop_->BuryListener(this);
  }
}

UringLoop::UringLoop(const NetLoopOptions& options, std::unique_ptr<UringRing> ring)
    : LoopBase(options.workers), ring_(std::move(ring)) {
  WatchMailbox();
}

UringLoop::~UringLoop() {
  StopWorkers();
  CHECK_MSG(listeners_.empty(), "a listener outlives its loop");
  DrainDisk();
  ring_->CancelAllNow();
  for (UringSocket* socket : sockets_) delete socket;
  for (ListenerState* listener : closed_listeners_) delete listener;
}

void UringLoop::DrainDisk() {
  while (free_disk_operations_.size() < disk_operations_.size()) {
    ring_->Enter(-1);
    while (ring_->CompletionsReady() > 0) {
      const Completion completion = ring_->TakeCompletion();
      const auto tag = static_cast<Tag>(completion.user_data & kTagMask);
      if (tag == Tag::kDisk) {
        free_disk_operations_.push_back(ObjectOf<DiskOperation>(completion.user_data));
      } else if (tag == Tag::kAccept && completion.result >= 0) {
        ::close(completion.result);
      }
    }
  }
}

void UringLoop::WatchMailbox() {
  io_uring_sqe* entry = ring_->NextEntry();
  // It reports each signal once, and nobody has to read the counter.
  io_uring_prep_poll_multishot(entry, mailbox().fd(), POLLIN);
  io_uring_sqe_set_data64(entry, UserData(nullptr, Tag::kWake));
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
  SubmitDisk(operation);
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
    ++reads_queued_;
    char* into = operation->into + operation->done;
    const uint32_t size = operation->size - operation->done;
    const uint64_t offset = operation->offset + operation->done;
    ring_->PrepareRead(entry, operation->fd, {into, size}, offset);
  }
  io_uring_sqe_set_data64(entry, UserData(operation, Tag::kDisk));
}

void UringLoop::OnDiskCompletion(DiskOperation* operation, int result) {
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

Result<std::unique_ptr<Listener>> UringLoop::Listen(const ListenOptions& options,
                                                    AcceptCallback on_accept) {
  const Result<int> fd = OpenListeningSocket(options);
  if (!fd) return std::unexpected(fd.error());
  auto* listener = new ListenerState(this, *fd, options, std::move(on_accept));
  listeners_.push_back(listener);
  listener->Accept();
  return std::make_unique<ListenerHandle>(listener);
}

void UringLoop::Adopt(int fd, const ListenOptions& options, AcceptCallback& on_accept) {
  TuneConnection(fd);
  on_accept(Adopt(fd, DescribeConnection(fd, options)), 0);
}

Socket* UringLoop::Adopt(int fd, SocketAddress address) {
  auto* socket = new UringSocket(this, fd, std::move(address));
  socket->position = sockets_.size();
  sockets_.push_back(socket);
  return socket;
}

void UringLoop::BurySocket(UringSocket* socket) {
  sockets_.back()->position = socket->position;
  sockets_[socket->position] = sockets_.back();
  sockets_.pop_back();
  graveyard_.emplace_back(socket);
}

void UringLoop::OnListenerClosed(ListenerState* listener) {
  CHECK(std::erase(listeners_, listener) == 1);
  closed_listeners_.push_back(listener);
}

void UringLoop::BuryListener(ListenerState* listener) {
  CHECK(std::erase(closed_listeners_, listener) == 1);
  graveyard_.emplace_back(listener);
}

void UringLoop::Cancel(uint64_t user_data) {
  io_uring_sqe* entry = ring_->NextEntry();
  io_uring_prep_cancel64(entry, user_data, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, UserData(nullptr, Tag::kIgnored));
}

void UringLoop::Flush() {
  for (UringSocket* socket : sends_queued_) socket->SubmitSend();
  sends_queued_.clear();
  std::stable_partition(updates_queued_.begin(), updates_queued_.end(),
                        [](const UringSocket* socket) { return socket->starved; });
  for (UringSocket* socket : updates_queued_) socket->UpdateReceiving();
  updates_queued_.clear();
  // What a callback object holds may close more sockets as it dies.
  const std::vector<std::unique_ptr<Mortal>> dead = std::exchange(graveyard_, {});
}

void UringLoop::Dispatch(const Completion& completion) {
  switch (static_cast<Tag>(completion.user_data & kTagMask)) {
    case Tag::kReceive:
      return ObjectOf<UringSocket>(completion.user_data)->OnReceiveCompletion(completion);
    case Tag::kSend:
      return ObjectOf<UringSocket>(completion.user_data)->OnSendCompletion(completion.result);
    case Tag::kDisk:
      return OnDiskCompletion(ObjectOf<DiskOperation>(completion.user_data), completion.result);
    case Tag::kAccept:
      return ObjectOf<ListenerState>(completion.user_data)->OnCompletion(completion);
    case Tag::kWake:
      if ((completion.flags & IORING_CQE_F_MORE) == 0) WatchMailbox();
      return;
    case Tag::kIgnored:
      return;
  }
}

void UringLoop::RunOnce(int64_t max_wait_micros) {
  // The kernel holds reads back until it has seen all that is submitted with them: many sends.
  if (reads_queued_ >= kReadsBeforeSends && !sends_queued_.empty()) ring_->Enter(0);
  reads_queued_ = 0;
  Flush();
  int64_t wait_micros =
      deliveries_.empty() && ring_->CompletionsReady() == 0 ? WaitUntilTimer(max_wait_micros) : 0;
  if (wait_micros != 0 && !mailbox().PrepareToSleep()) wait_micros = 0;
  ring_->Enter(wait_micros);
  mailbox().AwakeNow();
  SampleClocks();

  // Those that callbacks cause meanwhile are for the next iteration, and so is the rest when enough
  // reads wait to be submitted: the device should work meanwhile.
  for (uint32_t left = ring_->CompletionsReady(); left > 0 && reads_queued_ < kReadsAtOnce;
       --left) {
    Dispatch(ring_->TakeCompletion());
  }
  ring_->PublishBuffers();
  for (UringSocket* socket : deliveries_) socket->DeliverKept();
  deliveries_.clear();
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
