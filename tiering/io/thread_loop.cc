// One iteration: send what is queued and update what epoll watches (Flush), wait, then hand out
// events, finished sends, disk completions, timers and posted tasks. Callbacks may close any socket
// or listener at any moment, so closed objects stay in the graveyard until the next Flush, when no
// list or batch of events can refer to them any more.
#include "tiering/io/thread_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "tiering/io/disk_threads.h"
#include "tiering/io/loop_base.h"
#include "tiering/io/net_listen.h"
#include "tiering/io/posix_file.h"

namespace firn::io {
namespace {

constexpr int kEventsMax = 512;       // taken in one iteration
constexpr int kAcceptsPerEvent = 64;  // so that a storm of connections can't hold up the others

class ThreadLoop;

// Something that epoll watches.
class Watched {
 public:
  virtual ~Watched() = default;
  virtual void OnEvents(uint32_t events) = 0;
};

class ThreadSocket final : public Socket, public Watched {
 public:
  ThreadSocket(ThreadLoop* loop, int fd, SocketAddress address)
      : loop_(loop), fd_(fd), address_(std::move(address)) {}
  ~ThreadSocket() override {
    if (fd_ >= 0) ::close(fd_);
  }

  void Start(SocketHandler* handler) override;
  void PauseReceiving() override;
  void ResumeReceiving() override;
  void Send(std::span<const iovec> parts) override;
  void Close() override;
  int fd() const override { return fd_; }
  const SocketAddress& address() const override { return address_; }
  void SetKeepAlive(int interval_seconds) override { io::SetKeepAlive(fd_, interval_seconds); }

  void OnEvents(uint32_t events) override;

  // For the loop's Flush and what follows it.
  void TrySend();
  void UpdateInterest();
  void FinishSend();
  bool closed() const { return fd_ < 0; }

  size_t position = 0;  // in the loop's list of open sockets

 private:
  enum class SendState { kIdle, kQueued, kBlocked, kFinished };

  void Receive();
  void Disconnect(int error);
  void QueueInterest();

  ThreadLoop* const loop_;
  int fd_;  // -1 once closed
  const SocketAddress address_;
  SocketHandler* handler_ = nullptr;
  PendingSend pending_send_;
  SendState send_state_ = SendState::kIdle;
  int send_error_ = 0;  // of a send that kFinished early
  bool paused_ = false;
  bool disconnected_ = false;
  bool receive_over_ = false;  // the end of what the peer sends has been reported
  bool interest_queued_ = false;
  uint32_t interest_ = 0;  // what epoll watches for now; 0: nothing, it doesn't know the socket
};

// The part of a listener that outlives its handle until the next Flush.
class ListenerState final : public Watched {
 public:
  ListenerState(ThreadLoop* loop, int fd, ListenOptions options, NetLoop::AcceptCallback on_accept)
      : loop_(loop), fd_(fd), options_(std::move(options)), on_accept_(std::move(on_accept)) {}

  void OnEvents(uint32_t events) override;
  void Watch();
  void Close();

 private:
  void PauseAccepting();

  ThreadLoop* const loop_;
  int fd_;  // -1 once closed
  const ListenOptions options_;
  NetLoop::AcceptCallback on_accept_;
  TimerId pause_timer_ = 0;
};

class ThreadLoop final : public LoopBase {
 public:
  const char* name() const override { return "epoll"; }
  ThreadLoop(const NetLoopOptions& options, int epoll_fd);
  ~ThreadLoop() override;

  void Read(File* file, uint64_t offset, char* into, uint32_t size, DiskRequest* request) override;
  void Sync(File* file, DiskRequest* request) override;
  void RunOnce(int64_t max_wait_micros) override;
  Result<std::unique_ptr<Listener>> Listen(const ListenOptions& options,
                                           AcceptCallback on_accept) override;

  Socket* Adopt(int fd, SocketAddress address) override;

  // For sockets and listeners.
  void Adopt(int fd, const ListenOptions& options, NetLoop::AcceptCallback& on_accept);
  void QueueSend(ThreadSocket* socket) { sends_queued_.push_back(socket); }
  void QueueFinishedSend(ThreadSocket* socket) { sends_finished_.push_back(socket); }
  void QueueInterest(ThreadSocket* socket) { interests_queued_.push_back(socket); }
  void BurySocket(ThreadSocket* socket);
  void BuryListener(ListenerState* listener);
  // epoll_ctl; adding may fail for want of kernel memory or watches: returns an errno.
  int Control(int operation, int fd, uint32_t events, Watched* watched);
  std::span<char> receive_buffer() { return receive_buffer_; }

 private:
  void Flush();
  int WaitForEvents(int64_t wait_micros);

  const int epoll_fd_;
  std::vector<char> receive_buffer_;
  std::vector<epoll_event> events_;
  bool has_precise_wait_ = true;

  std::vector<ThreadSocket*> sends_queued_;
  std::vector<ThreadSocket*> sends_finished_;
  std::vector<ThreadSocket*> finishing_;  // sends_finished_ while it is walked
  std::vector<ThreadSocket*> interests_queued_;
  std::vector<std::unique_ptr<Watched>> graveyard_;

  std::vector<ThreadSocket*> sockets_;     // open
  std::vector<ListenerState*> listeners_;  // open

  DiskThreads disk_;
};

void ThreadSocket::Start(SocketHandler* handler) {
  CHECK(handler_ == nullptr);
  CHECK(handler != nullptr);
  handler_ = handler;
  QueueInterest();
}

void ThreadSocket::PauseReceiving() {
  paused_ = true;
  QueueInterest();
}

void ThreadSocket::ResumeReceiving() {
  paused_ = false;
  QueueInterest();
}

void ThreadSocket::Send(std::span<const iovec> parts) {
  if (disconnected_) return;
  CHECK(send_state_ == SendState::kIdle);
  pending_send_.Assign(parts);
  send_state_ = SendState::kQueued;
  loop_->QueueSend(this);
}

void ThreadSocket::QueueInterest() {
  if (!std::exchange(interest_queued_, true)) loop_->QueueInterest(this);
}

void ThreadSocket::Close() {
  CHECK(!closed());
  handler_ = nullptr;
  // Closing the descriptor takes it out of epoll too.
  ::close(fd_);
  fd_ = -1;
  loop_->BurySocket(this);
}

void ThreadSocket::TrySend() {
  if (closed() || disconnected_) return;
  send_error_ = 0;
  while (!pending_send_.done()) {
    const std::span<iovec> parts = pending_send_.Parts();
    msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      pending_send_.Advance(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      send_state_ = SendState::kBlocked;
      QueueInterest();
      return;
    }
    send_error_ = errno;
    break;
  }
  send_state_ = SendState::kFinished;
  loop_->QueueFinishedSend(this);
}

void ThreadSocket::FinishSend() {
  if (closed() || disconnected_ || send_state_ != SendState::kFinished) return;
  if (send_error_ != 0) return Disconnect(send_error_);
  send_state_ = SendState::kIdle;
  handler_->OnSent();
}

void ThreadSocket::UpdateInterest() {
  interest_queued_ = false;
  if (closed()) return;
  uint32_t wanted = 0;
  if (!disconnected_ && handler_ != nullptr) {
    if (!paused_ && !receive_over_) wanted |= EPOLLIN;
    if (send_state_ == SendState::kBlocked) wanted |= EPOLLOUT;
  }
  if (wanted == interest_) return;
  // epoll reports a hang-up even to those who watch for nothing, so a paused socket leaves it.
  const int operation = interest_ == 0 ? EPOLL_CTL_ADD
                        : wanted == 0  ? EPOLL_CTL_DEL
                                       : EPOLL_CTL_MOD;
  if (const int error = loop_->Control(operation, fd_, wanted, this); error != 0) {
    // A connection that can't be watched is reported as failed, from where callbacks are called.
    send_error_ = error;
    send_state_ = SendState::kFinished;
    loop_->QueueFinishedSend(this);
    return;
  }
  interest_ = wanted;
}

void ThreadSocket::OnEvents(uint32_t events) {
  if (closed() || disconnected_) return;
  if (send_state_ == SendState::kBlocked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    TrySend();
    if (send_state_ != SendState::kBlocked) QueueInterest();
  }
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 && !paused_ && !receive_over_) {
    Receive();
  }
}

void ThreadSocket::Receive() {
  const std::span<char> buffer = loop_->receive_buffer();
  const ssize_t count = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count > 0) return handler_->OnReceived({buffer.data(), static_cast<size_t>(count)});
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  Disconnect(count == 0 ? 0 : errno);
}

void ThreadSocket::Disconnect(int error) {
  QueueInterest();
  if (error == 0) {
    receive_over_ = true;
    handler_->OnEnded();
    return;
  }
  disconnected_ = true;
  pending_send_.Clear();
  handler_->OnDisconnected(error);
}

void ListenerState::OnEvents(uint32_t) {
  for (int i = 0; i < kAcceptsPerEvent && fd_ >= 0; ++i) {
    const int accepted = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0) {
      loop_->Adopt(accepted, options_, on_accept_);
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) return;
    if (IsTransientAcceptError(error)) continue;
    PauseAccepting();
    on_accept_(nullptr, error);
    return;
  }
}

void ListenerState::PauseAccepting() {
  loop_->Control(EPOLL_CTL_DEL, fd_, 0, nullptr);
  pause_timer_ = loop_->AddTimer(kAcceptPauseMicros, [this] {
    pause_timer_ = 0;
    if (loop_->Control(EPOLL_CTL_ADD, fd_, EPOLLIN, this) != 0) PauseAccepting();
  });
}

void ListenerState::Close() {
  if (pause_timer_ != 0) loop_->CancelTimer(pause_timer_);
  StopListening(fd_, options_);
  ::close(std::exchange(fd_, -1));
  loop_->BuryListener(this);
}

class ThreadListener final : public Listener {
 public:
  explicit ThreadListener(ListenerState* state) : state_(state) {}
  ~ThreadListener() override { state_->Close(); }

 private:
  ListenerState* const state_;
};

ThreadLoop::ThreadLoop(const NetLoopOptions& options, int epoll_fd)
    : LoopBase(options.workers),
      epoll_fd_(epoll_fd),
      receive_buffer_(options.receive_buffer_size_bytes),
      events_(kEventsMax),
      disk_(&mailbox()) {
  // Edge-triggered: each wake-up is reported once, and nobody has to read the counter.
  CHECK(Control(EPOLL_CTL_ADD, mailbox().fd(), EPOLLIN | EPOLLET, nullptr) == 0);
}

ThreadLoop::~ThreadLoop() {
  StopWorkers();
  for (ThreadSocket* socket : sockets_) delete socket;
  CHECK_MSG(listeners_.empty(), "a listener outlives its loop");
  ::close(epoll_fd_);
}

int ThreadLoop::Control(int operation, int fd, uint32_t events, Watched* watched) {
  epoll_event event = {};
  event.events = events;
  event.data.ptr = watched;
  return ::epoll_ctl(epoll_fd_, operation, fd, &event) == 0 ? 0 : errno;
}

void ThreadLoop::Read(File* file, uint64_t offset, char* into, uint32_t size,
                      DiskRequest* request) {
  CHECK(offset % kDirectAlignment == 0);
  CHECK(size % kDirectAlignment == 0);
  CHECK(reinterpret_cast<uintptr_t>(into) % kDirectAlignment == 0);
  CHECK(size <= INT32_MAX);
  disk_.Read({.fd = DescriptorsOf(*file).direct, .offset = offset, .into = into, .size = size},
             request);
}

void ThreadLoop::Sync(File* file, DiskRequest* request) {
  disk_.Sync(DescriptorsOf(*file).buffered, request);
}

Result<std::unique_ptr<Listener>> ThreadLoop::Listen(const ListenOptions& options,
                                                     AcceptCallback on_accept) {
  const Result<int> fd = OpenListeningSocket(options);
  if (!fd) return std::unexpected(fd.error());
  int error = ::fcntl(*fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
  auto state = std::make_unique<ListenerState>(this, *fd, options, std::move(on_accept));
  if (error == 0) error = Control(EPOLL_CTL_ADD, *fd, EPOLLIN, state.get());
  if (error != 0) {
    StopListening(*fd, options);
    ::close(*fd);
    return std::unexpected(Status::FromErrno(error, "watch a listening socket"));
  }
  listeners_.push_back(state.get());
  return std::make_unique<ThreadListener>(state.release());
}

void ThreadLoop::Adopt(int fd, const ListenOptions& options, AcceptCallback& on_accept) {
  TuneConnection(fd);
  on_accept(Adopt(fd, DescribeConnection(fd, options)), 0);
}

Socket* ThreadLoop::Adopt(int fd, SocketAddress address) {
  auto* socket = new ThreadSocket(this, fd, std::move(address));
  socket->position = sockets_.size();
  sockets_.push_back(socket);
  return socket;
}

void ThreadLoop::BurySocket(ThreadSocket* socket) {
  sockets_.back()->position = socket->position;
  sockets_[socket->position] = sockets_.back();
  sockets_.pop_back();
  graveyard_.emplace_back(socket);
}

void ThreadLoop::BuryListener(ListenerState* listener) {
  CHECK(std::erase(listeners_, listener) == 1);
  graveyard_.emplace_back(listener);
}

void ThreadLoop::Flush() {
  // Sends first: what the kernel doesn't take at once has to be watched.
  for (ThreadSocket* socket : sends_queued_) socket->TrySend();
  sends_queued_.clear();
  for (ThreadSocket* socket : interests_queued_) socket->UpdateInterest();
  interests_queued_.clear();
  std::erase_if(sends_finished_, [](const ThreadSocket* socket) { return socket->closed(); });
  // What a callback object holds may close more sockets as it dies.
  const std::vector<std::unique_ptr<Watched>> dead = std::exchange(graveyard_, {});
}

int ThreadLoop::WaitForEvents(int64_t wait_micros) {
  if (has_precise_wait_) {
    const timespec timeout{.tv_sec = wait_micros / 1'000'000,
                           .tv_nsec = wait_micros % 1'000'000 * 1000};
    const int count = ::epoll_pwait2(epoll_fd_, events_.data(), kEventsMax,
                                     wait_micros < 0 ? nullptr : &timeout, nullptr);
    if (count >= 0) return count;
    if (errno == EINTR) return 0;
    // A kernel before 5.11, or a filter that doesn't know the call.
    CHECK(errno == ENOSYS || errno == EPERM);
    has_precise_wait_ = false;
  }
  // Rounded up: a timer must not be met early, over and over, in its last millisecond.
  const int64_t millis = wait_micros < 0 ? -1 : (wait_micros + 999) / 1000;
  const int count = ::epoll_wait(epoll_fd_, events_.data(), kEventsMax,
                                 static_cast<int>(std::min<int64_t>(millis, INT32_MAX)));
  if (count < 0) CHECK(errno == EINTR);
  return std::max(count, 0);
}

void ThreadLoop::RunOnce(int64_t max_wait_micros) {
  Flush();
  int64_t wait_micros = sends_finished_.empty() ? WaitUntilTimer(max_wait_micros) : 0;
  if (wait_micros != 0 && !mailbox().PrepareToSleep()) wait_micros = 0;
  const int count = WaitForEvents(wait_micros);
  mailbox().AwakeNow();
  SampleClocks();

  for (int i = 0; i < count; ++i) {
    auto* watched = static_cast<Watched*>(events_[static_cast<size_t>(i)].data.ptr);
    if (watched != nullptr) watched->OnEvents(events_[static_cast<size_t>(i)].events);
  }
  finishing_.swap(sends_finished_);
  for (ThreadSocket* socket : finishing_) socket->FinishSend();
  finishing_.clear();
  RunTimersAndTasks();
  // After the tasks, which consume wake-ups: a completion that comes in between would be left
  // lying, its wake-up gone.
  disk_.RunCompletions();
}

}  // namespace

Result<std::unique_ptr<NetLoop>> CreateThreadLoop(const NetLoopOptions& options) {
  CHECK(options.receive_buffer_size_bytes > 0);
  const int epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) return std::unexpected(Status::FromErrno(errno, "create an epoll descriptor"));
  return std::make_unique<ThreadLoop>(options, epoll_fd);
}

}  // namespace firn::io
