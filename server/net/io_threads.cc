#include "server/net/io_threads.h"

#include <unistd.h>

#include <atomic>
#include <future>
#include <semaphore>
#include <thread>
#include <unordered_set>
#include <utility>

#include "engine/base/check.h"
#include "server/resp/parser.h"
#include "tiering/io/net_listen.h"

namespace firn::server {
namespace {

// The beginning of a request that a thread keeps until the rest comes; longer ones go raw.
constexpr size_t kMostKeptBytes = 64 * 1024;
// What has been received and has not reached the client yet: a thread reads no more beyond it.
constexpr uint64_t kMostOnTheWay = 1 << 20;

class Line;

}  // namespace

// What both sides know of a connection.
struct ConnectionLink {
  // The executor's.
  io::SocketHandler* handler = nullptr;  // null once closed
  RequestHandler* requests = nullptr;
  bool sending = false;
  // The thread's.
  Line* line = nullptr;
  // Of both.
  std::atomic<uint64_t> bytes_on_the_way{0};
  std::atomic<bool> held{false};  // the thread has stopped reading because of them
};
using Link = std::shared_ptr<ConnectionLink>;

namespace {

struct Event {
  enum class Kind : uint8_t { kRaw, kRequests, kSent, kEnded, kDisconnected } kind;
  Link link;
  std::string bytes = {};
  std::unique_ptr<RequestChunk> chunk = {};
  uint64_t counted_bytes = 0;  // of ConnectionLink::bytes_on_the_way
  int error = 0;
};

struct Order {
  enum class Kind : uint8_t { kAdopt, kSend, kPause, kResume, kUnhold, kParse, kClose } kind;
  Link link;
  int fd = -1;
  io::SocketAddress address = {};
  std::vector<iovec> parts = {};
  uint64_t number = 0;
};

}  // namespace

class IoThread {
 public:
  IoThread(IoThreads* owner, const io::NetLoopOptions& options);
  ~IoThread();
  const Status& status() const { return status_; }

  // The executor's.
  void Give(Order order) { orders_.push_back(std::move(order)); }
  void Flush();
  // Returns once the thread has carried out everything up to now.
  void FlushAndWait();
  io::Socket* Take(int fd, const io::SocketAddress& address);

  // The thread's.
  void Tell(Event event) { events_.push_back(std::move(event)); }
  void Forget(Line* line) { lines_.erase(line); }

 private:
  void Run();
  void CarryOut(Order& order);
  static void Deliver(IoThreads* owner, IoThread* thread, std::vector<Event> events);

  IoThreads& owner_;
  Status status_;
  std::unique_ptr<io::NetLoop> loop_;  // made and used by the thread; Post and Wake by both
  std::atomic<bool> stop_{false};
  std::vector<Order> orders_;                                   // the executor's
  std::vector<Event> events_;                                   // the thread's
  std::unordered_set<Line*> lines_;                             // the thread's
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // the executor's
  std::thread thread_;
};

namespace {

// The thread's side of a connection.
class Line final : public io::SocketHandler {
 public:
  Line(IoThread* thread, io::Socket* socket, Link link)
      : thread_(*thread), socket_(socket), link_(std::move(link)) {
    link_->line = this;
    socket_->Start(this);
  }
  ~Line() override {
    socket_->Close();
    link_->line = nullptr;
  }

  void Send(std::span<const iovec> parts) { socket_->Send(parts); }
  void SetPaused(bool paused) {
    paused_ = paused;
    Update();
  }
  // The executor has taken what was on the way.
  void Unhold() {
    held_ = false;
    Update();
  }
  void ParseFrom(uint64_t received) {
    if (!raw_ || received != raw_bytes_) return;  // more is on the way: it will ask again
    raw_ = false;
    parser_.Restart();
    input_.clear();
  }

  void OnReceived(std::string_view bytes) override {
    if (raw_) {
      TellRaw(std::string(bytes));
    } else {
      Parse(bytes);
    }
  }
  void OnSent() override { thread_.Tell({.kind = Event::Kind::kSent, .link = link_}); }
  void OnEnded() override { thread_.Tell({.kind = Event::Kind::kEnded, .link = link_}); }
  void OnDisconnected(int error) override {
    thread_.Tell({.kind = Event::Kind::kDisconnected, .link = link_, .error = error});
  }

 private:
  void Parse(std::string_view bytes) {
    auto chunk = std::make_unique<RequestChunk>();
    chunk->bytes = std::exchange(input_, {});
    chunk->bytes.append(bytes);
    const std::string_view all = chunk->bytes;
    size_t used = 0;
    while (used < all.size() && !raw_) {
      const auto outcome = parser_.Parse(all.substr(used), {});
      if (outcome == RequestParser::Outcome::kNeedMore) {
        raw_ = parser_.needed() > kMostKeptBytes || all.size() - used > kMostKeptBytes;
        break;
      }
      raw_ = outcome != RequestParser::Outcome::kRequest || parser_.is_inline();
      if (raw_) break;
      used += parser_.consumed();
      if (parser_.args().empty()) continue;
      chunk->words.insert(chunk->words.end(), parser_.args().begin(), parser_.args().end());
      chunk->ends.push_back(static_cast<uint32_t>(chunk->words.size()));
    }
    std::string rest(all.substr(used));
    if (chunk->size() > 0) {
      Count(used);
      thread_.Tell({.kind = Event::Kind::kRequests,
                    .link = link_,
                    .chunk = std::move(chunk),
                    .counted_bytes = used});
    }
    if (!raw_) {
      input_ = std::move(rest);
      return;
    }
    parser_.Restart();
    TellRaw(std::move(rest));
  }

  void TellRaw(std::string bytes) {
    const uint64_t size = bytes.size();
    raw_bytes_ += size;
    Count(size);
    thread_.Tell({.kind = Event::Kind::kRaw,
                  .link = link_,
                  .bytes = std::move(bytes),
                  .counted_bytes = size});
  }

  void Count(uint64_t bytes) {
    if (link_->bytes_on_the_way.fetch_add(bytes) + bytes <= kMostOnTheWay || held_) return;
    link_->held.store(true);
    // The executor looks at `held` after it has subtracted: one of the two sees the other.
    if (link_->bytes_on_the_way.load() <= kMostOnTheWay && link_->held.exchange(false)) return;
    held_ = true;
    Update();
  }

  void Update() {
    const bool pause = paused_ || held_;
    if (pause == socket_paused_) return;
    socket_paused_ = pause;
    if (pause) {
      socket_->PauseReceiving();
    } else {
      socket_->ResumeReceiving();
    }
  }

  IoThread& thread_;
  io::Socket* const socket_;
  const Link link_;
  RequestParser parser_;
  std::string input_;       // the beginning of a request
  bool raw_ = true;         // the executor parses
  uint64_t raw_bytes_ = 0;  // told as raw, ever
  bool paused_ = false;
  bool held_ = false;
  bool socket_paused_ = false;
};

class Remote final : public ThreadedSocket {
 public:
  Remote(IoThread* thread, int fd, io::SocketAddress address)
      : thread_(*thread), fd_(fd), address_(std::move(address)) {}

  void Start(io::SocketHandler* handler) override {
    link_->handler = handler;
    link_->requests = dynamic_cast<RequestHandler*>(handler);
    thread_.Give({.kind = Order::Kind::kAdopt, .link = link_, .fd = fd_, .address = address_});
    started_ = true;
  }
  void PauseReceiving() override { thread_.Give({.kind = Order::Kind::kPause, .link = link_}); }
  void ResumeReceiving() override { thread_.Give({.kind = Order::Kind::kResume, .link = link_}); }
  void Send(std::span<const iovec> parts) override {
    CHECK(!link_->sending);
    link_->sending = true;
    thread_.Give({.kind = Order::Kind::kSend,
                  .link = link_,
                  .parts = std::vector<iovec>(parts.begin(), parts.end())});
  }
  void ParseFrom(uint64_t received) override {
    if (link_->requests == nullptr) return;
    thread_.Give({.kind = Order::Kind::kParse, .link = link_, .number = received});
  }
  void Close() override {
    link_->handler = nullptr;
    link_->requests = nullptr;
    if (started_) {
      thread_.Give({.kind = Order::Kind::kClose, .link = link_});
      // The bytes of a Send may go as soon as this returns.
      if (link_->sending) thread_.FlushAndWait();
    } else {
      ::close(fd_);
    }
    delete this;
  }
  int fd() const override { return fd_; }
  const io::SocketAddress& address() const override { return address_; }
  void SetKeepAlive(int interval_seconds) override { io::SetKeepAlive(fd_, interval_seconds); }

 private:
  IoThread& thread_;
  const int fd_;
  const io::SocketAddress address_;
  const Link link_ = std::make_shared<ConnectionLink>();
  bool started_ = false;
};

}  // namespace

// --- the thread

IoThread::IoThread(IoThreads* owner, const io::NetLoopOptions& options) : owner_(*owner) {
  std::promise<void> ready;
  std::future<void> is_ready = ready.get_future();
  thread_ = std::thread([this, options, &ready] {
    std::string notice;  // the executor's loop has told of it
    auto loop = io::CreateNetLoop(options, &notice);
    if (!loop) {
      status_ = loop.error();
      ready.set_value();
      return;
    }
    loop_ = std::move(*loop);
    ready.set_value();
    Run();
  });
  is_ready.wait();
}

IoThread::~IoThread() {
  *alive_ = false;
  if (loop_ != nullptr) {
    Flush();
    loop_->Post([this] { stop_.store(true); });
  }
  thread_.join();
}

void IoThread::Run() {
  while (!stop_.load(std::memory_order_relaxed)) {
    loop_->RunOnce(-1);
    if (events_.empty()) continue;
    owner_.executor_->Post([owner = &owner_, thread = this, alive = alive_,
                            events = std::exchange(events_, {})]() mutable {
      if (*alive) Deliver(owner, thread, std::move(events));
    });
  }
  for (Line* line : std::exchange(lines_, {})) delete line;
  loop_.reset();
}

void IoThread::CarryOut(Order& order) {
  if (order.kind == Order::Kind::kAdopt) {
    auto* line = new Line(this, loop_->Adopt(order.fd, std::move(order.address)), order.link);
    lines_.insert(line);
    return;
  }
  Line* line = order.link->line;
  if (line == nullptr) return;
  switch (order.kind) {
    case Order::Kind::kAdopt:
      break;
    case Order::Kind::kSend:
      return line->Send(order.parts);
    case Order::Kind::kPause:
    case Order::Kind::kResume:
      return line->SetPaused(order.kind == Order::Kind::kPause);
    case Order::Kind::kUnhold:
      return line->Unhold();
    case Order::Kind::kParse:
      return line->ParseFrom(order.number);
    case Order::Kind::kClose:
      lines_.erase(line);
      delete line;
      return;
  }
}

// --- the executor

void IoThread::Flush() {
  if (orders_.empty()) return;
  loop_->Post([this, orders = std::exchange(orders_, {})]() mutable {
    for (Order& order : orders) CarryOut(order);
  });
}

void IoThread::FlushAndWait() {
  Flush();
  std::binary_semaphore done(0);
  loop_->Post([&done] { done.release(); });
  done.acquire();
}

io::Socket* IoThread::Take(int fd, const io::SocketAddress& address) {
  return new Remote(this, fd, address);
}

void IoThread::Deliver(IoThreads* owner, IoThread* thread, std::vector<Event> events) {
  for (Event& event : events) {
    ConnectionLink& link = *event.link;
    const uint64_t bytes = event.counted_bytes;
    if (link.handler == nullptr) continue;
    switch (event.kind) {
      case Event::Kind::kRaw:
        ++owner->counters_.reads;
        link.handler->OnReceived(event.bytes);
        break;
      case Event::Kind::kRequests:
        ++owner->counters_.reads;
        link.requests->OnRequests(std::move(event.chunk));
        break;
      case Event::Kind::kSent:
        ++owner->counters_.writes;
        link.sending = false;
        link.handler->OnSent();
        break;
      case Event::Kind::kEnded:
        link.handler->OnEnded();
        break;
      case Event::Kind::kDisconnected:
        link.handler->OnDisconnected(event.error);
        break;
    }
    if (bytes == 0) continue;
    if (link.bytes_on_the_way.fetch_sub(bytes) - bytes > kMostOnTheWay) continue;
    if (link.held.exchange(false)) {
      thread->Give({.kind = Order::Kind::kUnhold, .link = event.link});
    }
  }
}

// --- all of them

Result<std::unique_ptr<IoThreads>> IoThreads::Create(io::NetLoop* executor, int threads,
                                                     const io::NetLoopOptions& options) {
  std::unique_ptr<IoThreads> all(new IoThreads());
  all->executor_ = executor;
  for (int i = 0; i < threads; ++i) {
    all->threads_.push_back(std::make_unique<IoThread>(all.get(), options));
    Status status = all->threads_.back()->status();
    if (!status.ok()) return std::unexpected(std::move(status));
  }
  return all;
}

IoThreads::~IoThreads() = default;

io::Socket* IoThreads::Take(io::Socket* socket) {
  // The same connection under another descriptor: the executor's loop closes its own.
  const int fd = ::dup(socket->fd());
  if (fd < 0) return socket;
  const io::SocketAddress address = socket->address();
  socket->Close();
  IoThread& thread = *threads_[next_++ % threads_.size()];
  return thread.Take(fd, address);
}

void IoThreads::Flush() {
  for (const auto& thread : threads_) thread->Flush();
}

}  // namespace firn::server
