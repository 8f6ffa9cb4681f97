#include "tiering/io/uring_sockets.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "tiering/io/net_listen.h"

namespace firn::io {
namespace {

bool MeansTryAgain(int result) { return result == -EAGAIN || result == -EINTR; }

}  // namespace

class UringSocket final : public Socket, public UringSockets::Mortal {
 public:
  UringSocket(UringSockets* all, int fd, SocketAddress address)
      : all_(all), fd_(fd), address_(std::move(address)) {}
  ~UringSocket() override { ::close(fd_); }

  void Start(SocketHandler* handler) override;
  void PauseReceiving() override { SetPaused(true); }
  void ResumeReceiving() override { SetPaused(false); }
  void Send(std::span<const iovec> parts) override;
  void Close() override;
  int fd() const override { return fd_; }
  const SocketAddress& address() const override { return address_; }
  void SetKeepAlive(int interval_seconds) override { io::SetKeepAlive(fd_, interval_seconds); }

  // For UringSockets.
  void OnReceiveCompletion(const UringRing::Completion& completion);
  void OnSendCompletion(int result);
  void SubmitSend();
  void UpdateReceiving();
  void DeliverKept();

  size_t position = 0;   // in the list of sockets
  bool starved = false;  // its last receive found no buffer
  uint32_t seen_in = 0;  // the last look that has met a receive of it

 private:
  enum class Receiving { kIdle, kArmed, kCancelling };
  enum class Sending { kIdle, kQueued, kInFlight };

  void SetPaused(bool paused);
  void QueueUpdate();
  void QueueSend();
  void CancelReceiving();
  bool MeansBulk(int32_t received) const;
  void OnEnd(int error);
  void Disconnect(int error);
  void BuryIfOver();

  UringSockets* const all_;
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

  UringBuffers* buffers_ = nullptr;  // of the receive that is armed
  int32_t last_received_ = 0;

  PendingSend pending_send_;
  msghdr message_ = {};
  std::string kept_;  // came in while receiving was paused
};

// The part of a listener that outlives its handle until the accept's last completion.
class UringListener final : public UringSockets::Mortal {
 public:
  UringListener(UringSockets* all, int fd, ListenOptions options, NetLoop::AcceptCallback on_accept)
      : all_(all), fd_(fd), options_(std::move(options)), on_accept_(std::move(on_accept)) {}
  ~UringListener() override { ::close(fd_); }

  void Accept();
  void OnCompletion(const UringRing::Completion& completion);
  void Close();

 private:
  UringSockets* const all_;
  const int fd_;
  const ListenOptions options_;
  NetLoop::AcceptCallback on_accept_;
  bool armed_ = false;
  bool closed_ = false;
  TimerId pause_timer_ = 0;
};

namespace {

class ListenerHandle final : public Listener {
 public:
  explicit ListenerHandle(UringListener* state) : state_(state) {}
  ~ListenerHandle() override { state_->Close(); }

 private:
  UringListener* const state_;
};

}  // namespace

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
  if (!std::exchange(update_queued_, true)) all_->updates_queued_.push_back(this);
}

void UringSocket::QueueSend() {
  sending_ = Sending::kQueued;
  all_->sends_queued_.push_back(this);
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
  io_uring_sqe* entry = all_->ring_->NextEntry();
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
  io_uring_sqe_set_data64(entry, UserData(this, UringTag::kSend));
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
  all_->Cancel(UserData(this, UringTag::kReceive));
}

void UringSocket::UpdateReceiving() {
  update_queued_ = false;
  if (closed_ || disconnected_ || receive_over_ || handler_ == nullptr) return;
  if (paused_) {
    if (receiving_ == Receiving::kArmed) CancelReceiving();
    return;
  }
  if (!kept_.empty() || ended_) all_->deliveries_.push_back(this);
  if (ended_ || receiving_ != Receiving::kIdle) return;
  receiving_ = Receiving::kArmed;
  io_uring_sqe* entry = all_->ring_->NextEntry();
  const bool was_starved = std::exchange(starved, false);
  const bool sends_little = last_received_ < int32_t{UringRing::kShortBufferBytes};
  buffers_ = was_starved && sends_little ? &all_->ring_->short_buffers() : &all_->ring_->buffers();
  if (was_starved && !sends_little) {
    io_uring_prep_recv(entry, fd_, nullptr, 0, 0);
  } else {
    io_uring_prep_recv_multishot(entry, fd_, nullptr, 0, 0);
  }
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = buffers_->group();
  io_uring_sqe_set_data64(entry, UserData(this, UringTag::kReceive));
}

void UringSocket::OnReceiveCompletion(const UringRing::Completion& completion) {
  const int result = completion.result;
  if ((completion.flags & IORING_CQE_F_MORE) == 0) receiving_ = Receiving::kIdle;
  if (result == -ENOBUFS) starved = true;
  if (!closed_ && !disconnected_ && !receive_over_ && !ended_) {
    if (result > 0) {
      const std::string_view bytes = buffers_->Bytes(result, completion.flags);
      last_received_ = result;
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
  if ((completion.flags & IORING_CQE_F_BUFFER) != 0) buffers_->GiveBack(completion.flags);
  if (receiving_ == Receiving::kArmed && MeansBulk(result)) CancelReceiving();
  if (receiving_ != Receiving::kIdle) return;
  if (closed_) {
    BuryIfOver();
  } else if (!ended_ && !disconnected_ && !receive_over_) {
    QueueUpdate();
  }
}

// It fills the small buffers that are for those who send little.
bool UringSocket::MeansBulk(int32_t received) const {
  return buffers_ == &all_->ring_->short_buffers() &&
         received == int32_t{UringRing::kShortBufferBytes};
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
  if (sending_ == Sending::kInFlight) all_->ring_->CancelNow(UserData(this, UringTag::kSend));
  if (receiving_ == Receiving::kArmed) CancelReceiving();
  BuryIfOver();
}

void UringSocket::BuryIfOver() {
  if (receiving_ != Receiving::kIdle || sending_ == Sending::kInFlight) return;
  if (!std::exchange(buried_, true)) all_->BurySocket(this);
}

void UringListener::Accept() {
  armed_ = true;
  io_uring_sqe* entry = all_->ring_->NextEntry();
  io_uring_prep_multishot_accept(entry, fd_, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(entry, UserData(this, UringTag::kAccept));
}

void UringListener::OnCompletion(const UringRing::Completion& completion) {
  const int result = completion.result;
  if ((completion.flags & IORING_CQE_F_MORE) == 0) armed_ = false;
  if (closed_) {
    if (result >= 0) ::close(result);
    if (!armed_) all_->BuryListener(this);
    return;
  }
  if (result >= 0) {
    all_->AdoptAccepted(result, options_, on_accept_);
    // The callback may have closed the listener.
    if (!armed_ && !closed_) Accept();
    return;
  }
  if (armed_) return;
  if (IsTransientAcceptError(-result)) return Accept();
  pause_timer_ = all_->loop_->AddTimer(kAcceptPauseMicros, [this] {
    pause_timer_ = 0;
    Accept();
  });
  on_accept_(nullptr, -result);
}

void UringListener::Close() {
  closed_ = true;
  if (pause_timer_ != 0) all_->loop_->CancelTimer(pause_timer_);
  StopListening(fd_, options_);
  all_->OnListenerClosed(this);
  if (armed_) {
    all_->Cancel(UserData(this, UringTag::kAccept));
  } else {
    all_->BuryListener(this);
  }
}

UringSockets::~UringSockets() {
  CHECK_MSG(listeners_.empty(), "a listener outlives its loop");
  for (UringSocket* socket : sockets_) delete socket;
  for (UringListener* listener : closed_listeners_) delete listener;
}

Result<std::unique_ptr<Listener>> UringSockets::Listen(const ListenOptions& options,
                                                       NetLoop::AcceptCallback on_accept) {
  const Result<int> fd = OpenListeningSocket(options);
  if (!fd) return std::unexpected(fd.error());
  auto* listener = new UringListener(this, *fd, options, std::move(on_accept));
  listeners_.push_back(listener);
  listener->Accept();
  return std::make_unique<ListenerHandle>(listener);
}

void UringSockets::AdoptAccepted(int fd, const ListenOptions& options,
                                 NetLoop::AcceptCallback& on_accept) {
  TuneConnection(fd);
  on_accept(Adopt(fd, DescribeConnection(fd, options)), 0);
}

Socket* UringSockets::Adopt(int fd, SocketAddress address) {
  auto* socket = new UringSocket(this, fd, std::move(address));
  socket->position = sockets_.size();
  sockets_.push_back(socket);
  return socket;
}

void UringSockets::BurySocket(UringSocket* socket) {
  sockets_.back()->position = socket->position;
  sockets_[socket->position] = sockets_.back();
  sockets_.pop_back();
  graveyard_.emplace_back(socket);
}

void UringSockets::OnListenerClosed(UringListener* listener) {
  CHECK(std::erase(listeners_, listener) == 1);
  closed_listeners_.push_back(listener);
}

void UringSockets::BuryListener(UringListener* listener) {
  CHECK(std::erase(closed_listeners_, listener) == 1);
  graveyard_.emplace_back(listener);
}

void UringSockets::Cancel(uint64_t user_data) {
  io_uring_sqe* entry = ring_->NextEntry();
  io_uring_prep_cancel64(entry, user_data, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, UserData(nullptr, UringTag::kIgnored));
}

void UringSockets::Flush() {
  for (UringSocket* socket : sends_queued_) socket->SubmitSend();
  sends_queued_.clear();
  std::stable_partition(updates_queued_.begin(), updates_queued_.end(),
                        [](const UringSocket* socket) { return socket->starved; });
  for (UringSocket* socket : updates_queued_) socket->UpdateReceiving();
  updates_queued_.clear();
  // What a callback object holds may close more sockets as it dies.
  const std::vector<std::unique_ptr<Mortal>> dead = std::exchange(graveyard_, {});
}

void UringSockets::DeliverKept() {
  for (UringSocket* socket : deliveries_) socket->DeliverKept();
  deliveries_.clear();
}

bool UringSockets::IsShortAndFirst(const UringRing::Completion& completion) {
  if (TagOf(completion.user_data) != UringTag::kReceive) return false;
  auto* socket = ObjectOf<UringSocket>(completion.user_data);
  const bool first = std::exchange(socket->seen_in, look_) != look_;
  // The last of a receive says that it is over: it keeps its place.
  return first && completion.result > 0 &&
         completion.result <= int32_t{UringRing::kShortBufferBytes} &&
         (completion.flags & IORING_CQE_F_MORE) != 0;
}

void UringSockets::Dispatch(const UringRing::Completion& completion) {
  switch (TagOf(completion.user_data)) {
    case UringTag::kReceive:
      return ObjectOf<UringSocket>(completion.user_data)->OnReceiveCompletion(completion);
    case UringTag::kSend:
      return ObjectOf<UringSocket>(completion.user_data)->OnSendCompletion(completion.result);
    case UringTag::kAccept:
      return ObjectOf<UringListener>(completion.user_data)->OnCompletion(completion);
    default:
      CHECK_MSG(false, "no completion of a socket");
  }
}

}  // namespace firn::io
