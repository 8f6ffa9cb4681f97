#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "tests/tiering/io/loop_fixture.h"

namespace firn::io {
namespace {

// A port that is free, below those that the kernel gives to connections: tests of several builds
// run side by side.
uint16_t FreePort() {
  constexpr int kFirst = 10'000;
  constexpr int kCount = 20'000;
  const int start = ::getpid() * 97 % kCount;
  for (int i = 0; i < kCount; ++i) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(kFirst + (start + i) % kCount));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool is_free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (is_free) return ntohs(address.sin_port);
  }
  return 0;
}

const uint16_t kPort = FreePort();

// The other end: a plain blocking socket.
class Client {
 public:
  explicit Client(uint16_t port = kPort) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { Close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void Shutdown() { ::shutdown(fd_, SHUT_RDWR); }
  void Reset() {
    const linger now = {.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    Close();
  }
  bool Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }
  // Up to `size` bytes, fewer if the server closes.
  std::string ReadAll(size_t size) {
    std::string all;
    std::vector<char> buffer(64 * 1024);
    while (all.size() < size) {
      const ssize_t count =
          ::recv(fd_, buffer.data(), std::min(buffer.size(), size - all.size()), 0);
      if (count <= 0) break;
      all.append(buffer.data(), static_cast<size_t>(count));
    }
    return all;
  }
  bool IsClosedByServer() {
    char byte;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
  }

 private:
  int fd_;
  bool connected_ = false;
};

// The server's end. What a test wants to happen hangs on the functions.
struct Connection : SocketHandler {
  explicit Connection(Socket* accepted) : socket(accepted) {}

  void OnReceived(std::string_view bytes) override {
    EXPECT_FALSE(paused);
    EXPECT_FALSE(disconnected || ended);
    received += bytes;
    if (on_received) on_received(bytes);
  }
  void OnSent() override {
    EXPECT_FALSE(disconnected);
    ++sent;
    if (on_sent) on_sent();
  }
  void OnEnded() override {
    EXPECT_FALSE(disconnected || ended);
    ended = true;
    if (on_ended) on_ended();
  }
  void OnDisconnected(int with_error) override {
    EXPECT_FALSE(disconnected);
    disconnected = true;
    error = with_error;
    if (on_disconnected) on_disconnected();
  }

  void Pause() {
    paused = true;
    socket->PauseReceiving();
  }
  void Resume() {
    paused = false;
    socket->ResumeReceiving();
  }
  void Send(std::string_view bytes) {
    const iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
    socket->Send(std::span(&part, 1));
  }
  void Close() { std::exchange(socket, nullptr)->Close(); }

  Socket* socket;
  std::string received;
  int sent = 0;
  bool paused = false;
  bool ended = false;
  bool disconnected = false;
  int error = 0;
  std::function<void(std::string_view)> on_received;
  std::function<void()> on_sent;
  std::function<void()> on_ended;
  std::function<void()> on_disconnected;
};

class SocketTest : public LoopFixture {
 protected:
  void TearDown() override {
    for (auto& connection : connections_) {
      if (connection->socket != nullptr) connection->Close();
    }
    listener_.reset();
    loop_.reset();
    LoopFixture::TearDown();
  }

  void Listen() { ListenOn({.host = "127.0.0.1", .port = kPort}); }
  void ListenOn(const ListenOptions& options) {
    Result<std::unique_ptr<Listener>> listener =
        loop_->Listen(options, [this](Socket* socket, int error) {
          if (socket == nullptr) {
            accept_errors_.push_back(error);
            return;
          }
          connections_.push_back(std::make_unique<Connection>(socket));
          Connection* connection = connections_.back().get();
          if (on_accepted_) on_accepted_(connection);
          if (connection->socket != nullptr) socket->Start(connection);
        });
    ASSERT_TRUE(listener.has_value()) << listener.error().message();
    listener_ = std::move(*listener);
  }
  // The server's end of the newest connection.
  Connection* Accepted(size_t count = 1) {
    EXPECT_TRUE(RunUntil([&] { return connections_.size() >= count; }));
    return connections_[count - 1].get();
  }
  // Gives what is under way time to arrive.
  void Settle() {
    for (int i = 0; i < 5; ++i) loop_->RunOnce(2'000);
  }

  std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<int> accept_errors_;
  std::function<void(Connection*)> on_accepted_;
};

TEST_P(SocketTest, AcceptedConnectionsKnowTheirAddresses) {
  Listen();
  Client client;
  ASSERT_TRUE(client.connected());
  Connection* connection = Accepted();
  sockaddr_in self = {};
  socklen_t size = sizeof self;
  ::getsockname(client.fd(), reinterpret_cast<sockaddr*>(&self), &size);
  const SocketAddress& address = connection->socket->address();
  EXPECT_EQ(address.peer, "127.0.0.1:" + std::to_string(ntohs(self.sin_port)));
  EXPECT_EQ(address.local, "127.0.0.1:" + std::to_string(kPort));
  EXPECT_FALSE(address.is_unix);
}

TEST_P(SocketTest, Ipv6AddressesAreBracketed) {
  Result<std::unique_ptr<Listener>> listener =
      loop_->Listen({.host = "::1", .port = kPort}, [this](Socket* socket, int) {
        connections_.push_back(std::make_unique<Connection>(socket));
      });
  if (!listener) GTEST_SKIP() << listener.error().message();
  const int fd = ::socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kPort);
  address.sin6_addr = in6addr_loopback;
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(Accepted()->socket->address().local, "[::1]:" + std::to_string(kPort));
  ::close(fd);
}

TEST_P(SocketTest, AcceptedConnectionsDelayNothing) {
  Listen();
  Client client;
  const int fd = Accepted()->socket->fd();
  int value = 0;
  socklen_t size = sizeof value;
  ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
  EXPECT_NE(value, 0);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

TEST_P(SocketTest, KeepAliveIsSetAndCleared) {
  Listen();
  Client client;
  Socket* socket = Accepted()->socket;
  const auto option = [&](int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(socket->fd(), level, name, &value, &size), 0);
    return value;
  };
  socket->SetKeepAlive(300);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 300);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPINTVL), 100);
  socket->SetKeepAlive(0);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 0);
}

TEST_P(SocketTest, BytesArriveAndRepliesReturn) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  ASSERT_TRUE(client.Write("ping"));
  ASSERT_TRUE(RunUntil([&] { return connection->received == "ping"; }));
  const std::string first = "po";
  const std::string second = "ng";
  const iovec parts[] = {
      {const_cast<char*>(first.data()), 2}, {nullptr, 0}, {const_cast<char*>(second.data()), 2}};
  connection->socket->Send(parts);
  EXPECT_EQ(connection->sent, 0);
  ASSERT_TRUE(RunUntil([&] { return connection->sent == 1; }));
  EXPECT_EQ(client.ReadAll(4), "pong");
}

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  uint32_t random = 7;
  for (char& byte : bytes) {
    random = random * 1664525 + 1013904223;
    byte = static_cast<char>(random >> 24);
  }
  return bytes;
}

TEST_P(SocketTest, MegabytesAreEchoedThroughPausesInOrder) {
  Listen();
  const std::string bytes = Pattern(8 << 20);
  Client client;
  Connection* connection = Accepted();
  std::string outgoing;
  std::string in_flight;
  const auto send_more = [&] {
    if (!in_flight.empty() || outgoing.empty()) return;
    in_flight.swap(outgoing);
    connection->Send(in_flight);
  };
  int received = 0;
  connection->on_received = [&](std::string_view chunk) {
    outgoing += chunk;
    send_more();
    // Pauses inside the callback, sometimes taken back at once, sometimes after some time.
    if (++received % 5 == 0) {
      connection->Pause();
      if (received % 10 == 0) {
        connection->Resume();
      } else {
        loop_->AddTimer(received % 3 * 200, [&] { connection->Resume(); });
      }
    }
  };
  connection->on_sent = [&] {
    in_flight.clear();
    send_more();
  };
  std::thread writer([&] { EXPECT_TRUE(client.Write(bytes)); });
  std::string echoed;
  std::atomic<bool> finished{false};
  std::thread reader([&] {
    echoed = client.ReadAll(bytes.size());
    finished = true;
    loop_->Wake();
  });
  EXPECT_TRUE(RunUntil([&] { return finished.load(); }));
  if (!finished) connection->Close();
  writer.join();
  reader.join();
  EXPECT_TRUE(echoed == bytes);
}

TEST_P(SocketTest, APausedConnectionKeepsBytesAndTheEndForLater) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  connection->Pause();
  Settle();
  ASSERT_TRUE(client.Write("late"));
  client.Close();
  Settle();
  EXPECT_EQ(connection->received, "");
  connection->Resume();
  ASSERT_TRUE(RunUntil([&] { return connection->ended; }));
  EXPECT_EQ(connection->received, "late");
}

TEST_P(SocketTest, APausedConnectionHoldsThePeerBack) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  connection->Pause();
  Settle();
  const int flags = ::fcntl(client.fd(), F_GETFL);
  ::fcntl(client.fd(), F_SETFL, flags | O_NONBLOCK);
  const std::string bytes = Pattern(1 << 20);
  size_t written = 0;
  for (int full = 0; full < 200;) {
    const ssize_t count = ::send(client.fd(), bytes.data() + written % bytes.size(),
                                 bytes.size() - written % bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      written += static_cast<size_t>(count);
    } else {
      ++full;
      loop_->RunOnce(100);
    }
  }
  // The kernel's buffers are full, ours hold nothing.
  EXPECT_LT(written, size_t{64} << 20);
  EXPECT_EQ(connection->received, "");
  connection->Resume();
  ASSERT_TRUE(RunUntil([&] { return connection->received.size() == written; }));
  EXPECT_TRUE(connection->received.compare(0, bytes.size(), bytes, 0, written) == 0 ||
              written > bytes.size());
}

TEST_P(SocketTest, ASlowReaderGetsAllOfALargeSend) {
  Listen();
  const std::string bytes = Pattern(16 << 20);
  Client client;
  Connection* connection = Accepted();
  std::vector<iovec> parts;
  for (size_t at = 0; at < bytes.size(); at += 5000) {
    parts.push_back(
        {const_cast<char*>(bytes.data()) + at, std::min<size_t>(5000, bytes.size() - at)});
  }
  connection->socket->Send(parts);
  // The array is the caller's again, only the bytes have to stay.
  parts.assign(parts.size(), iovec{});
  Settle();
  EXPECT_EQ(connection->sent, 0);
  std::string got;
  std::thread reader([&] { got = client.ReadAll(bytes.size()); });
  EXPECT_TRUE(RunUntil([&] { return connection->sent == 1; }));
  if (connection->sent == 0) connection->Close();
  reader.join();
  EXPECT_TRUE(got == bytes);
}

TEST_P(SocketTest, CloseAbandonsASendToAPeerThatNeverReads) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  auto bytes = std::make_unique<std::string>(Pattern(32 << 20));
  connection->Send(*bytes);
  Settle();
  connection->Close();
  // From here on nobody may look at them: a sanitizer, or the reader below, would see it.
  std::string pattern(*bytes, 0, 20 << 20);
  std::fill(bytes->begin(), bytes->end(), 'X');
  std::string got;
  std::atomic<bool> finished{false};
  std::thread reader([&] {
    got = client.ReadAll(32 << 20);
    finished = true;
    loop_->Wake();
  });
  EXPECT_TRUE(PollUntil([&] { return finished.load(); }));
  client.Shutdown();
  reader.join();
  bytes.reset();
  EXPECT_LT(got.size(), 20u << 20);
  EXPECT_TRUE(pattern.compare(0, got.size(), got) == 0);
  EXPECT_EQ(connection->sent, 0);
}

TEST_P(SocketTest, DisconnectionAndResetAreReportedOnce) {
  Listen();
  Client polite;
  Connection* first = Accepted(1);
  polite.Close();
  ASSERT_TRUE(RunUntil([&] { return first->ended; }));
  EXPECT_FALSE(first->disconnected);
  Client rude;
  Connection* second = Accepted(2);
  rude.Reset();
  ASSERT_TRUE(RunUntil([&] { return second->disconnected; }));
  EXPECT_EQ(second->error, ECONNRESET);
  Settle();
}

TEST_P(SocketTest, SendToAPeerThatIsGoneIsReportedAsADisconnection) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  connection->Pause();
  Settle();
  client.Reset();
  pollfd reset = {.fd = connection->socket->fd(), .events = 0, .revents = 0};
  ASSERT_EQ(::poll(&reset, 1, 60'000), 1);
  connection->Send("x");
  ASSERT_TRUE(RunUntil([&] { return connection->disconnected; }));
  EXPECT_NE(connection->error, 0);
  EXPECT_EQ(connection->sent, 0);
}

TEST_P(SocketTest, AHalfClosedPeerGetsTheReplyToWhatItSent) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  connection->on_received = [&](std::string_view) { connection->Send("reply"); };
  ASSERT_TRUE(client.Write("request"));
  ::shutdown(client.fd(), SHUT_WR);
  EXPECT_TRUE(RunUntil([&] { return connection->ended && connection->sent == 1; }));
  connection->Send(" and more");
  EXPECT_TRUE(RunUntil([&] { return connection->sent == 2; }));
  connection->Close();
  Settle();
  EXPECT_EQ(client.ReadAll(100), "reply and more");
}

TEST_P(SocketTest, SendToAPeerThatHasEndedAndIsGoneIsADisconnection) {
  Listen();
  Client client;
  Connection* connection = Accepted();
  client.Close();
  ASSERT_TRUE(RunUntil([&] { return connection->ended; }));
  connection->on_sent = [=] { connection->Send("more"); };
  connection->Send("first");
  EXPECT_TRUE(RunUntil([&] { return connection->disconnected; }));
  EXPECT_NE(connection->error, 0);
}

TEST_P(SocketTest, AConnectionMayBeClosedInAnyOfItsCallbacks) {
  Listen();
  on_accepted_ = [&](Connection* connection) {
    switch (connections_.size()) {
      case 1:
        connection->Close();  // before Start
        break;
      case 2:
        connection->on_received = [=](std::string_view) { connection->Close(); };
        break;
      case 3:
        connection->on_received = [=](std::string_view) { connection->Send("reply"); };
        connection->on_sent = [=] { connection->Close(); };
        break;
      default:
        connection->on_received = [=](std::string_view) {
          connection->Send("never sent");
          connection->Close();
        };
    }
  };
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Client>());
    ASSERT_TRUE(clients.back()->connected());
    ASSERT_TRUE(clients.back()->Write("request"));
    Accepted(i + 1);
  }
  EXPECT_TRUE(RunUntil([&] {
    return std::all_of(connections_.begin(), connections_.end(),
                       [](auto& connection) { return connection->socket == nullptr; });
  }));
  EXPECT_EQ(clients[2]->ReadAll(5), "reply");
  for (auto& client : clients) EXPECT_TRUE(PollUntil([&] { return client->IsClosedByServer(); }));
}

TEST_P(SocketTest, ACallbackMayCloseTheOtherConnections) {
  Listen();
  std::vector<std::unique_ptr<Client>> clients;
  int received = 0;
  on_accepted_ = [&](Connection* connection) {
    connection->on_received = [&, connection](std::string_view) {
      ++received;
      for (auto& other : connections_) {
        if (other.get() != connection && other->socket != nullptr) other->Close();
      }
    };
  };
  for (size_t i = 0; i < 8; ++i) clients.push_back(std::make_unique<Client>());
  Accepted(8);
  for (auto& client : clients) ASSERT_TRUE(client->Write("all at once"));
  ASSERT_TRUE(RunUntil([&] { return received > 0; }));
  Settle();
  EXPECT_EQ(received, 1);
}

TEST_P(SocketTest, ManyConnectionsComeAndGo) {
  Listen();
  on_accepted_ = [&](Connection* connection) {
    connection->on_received = [=](std::string_view) { connection->Send("reply"); };
    connection->on_ended = [=] { connection->Close(); };
    connection->on_disconnected = [=] { connection->Close(); };
  };
  for (int round = 0; round < 5; ++round) {
    connections_.clear();
    std::vector<std::unique_ptr<Client>> clients;
    for (size_t i = 0; i < 100; ++i) {
      clients.push_back(std::make_unique<Client>());
      ASSERT_TRUE(clients.back()->Write("request"));
    }
    Accepted(100);
    EXPECT_TRUE(RunUntil([&] {
      return std::all_of(connections_.begin(), connections_.end(),
                         [](auto& connection) { return connection->sent == 1; });
    }));
    for (size_t i = 0; i < 100; ++i) {
      EXPECT_EQ(clients[i]->ReadAll(5), "reply");
      if (i % 2 == 0) clients[i]->Reset();
    }
    clients.clear();
    EXPECT_TRUE(RunUntil([&] {
      return std::all_of(connections_.begin(), connections_.end(),
                         [](auto& connection) { return connection->socket == nullptr; });
    }));
  }
}

TEST_P(SocketTest, MoreSendersThanReceiveBuffersAllArrive) {
  CreateLoop({.receive_buffer_size_bytes = 512, .receive_buffers = 4});
  Listen();
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < 20; ++i) clients.push_back(std::make_unique<Client>());
  Accepted(20);
  const std::string bytes = Pattern(20'000);
  for (auto& client : clients) ASSERT_TRUE(client->Write(bytes));
  EXPECT_TRUE(RunUntil([&] {
    return std::all_of(connections_.begin(), connections_.end(),
                       [&](auto& connection) { return connection->received == bytes; });
  }));
}

TEST_P(SocketTest, ASenderOfLittleIsNotStarvedByManyOfMuch) {
  CreateLoop({.receive_buffer_size_bytes = 512, .receive_buffers = 4});
  Listen();
  constexpr size_t kCount = 40;
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < kCount; ++i) clients.push_back(std::make_unique<Client>());
  Connection* last = Accepted(kCount);
  const std::string bytes = Pattern(60'000);
  for (size_t i = 0; i + 1 < kCount; ++i) ASSERT_TRUE(clients[i]->Write(bytes));
  ASSERT_TRUE(clients[kCount - 1]->Write("little"));
  ASSERT_TRUE(RunUntil([&] { return last->received == "little"; }));
  size_t of_others = 0;
  for (size_t i = 0; i + 1 < kCount; ++i) of_others += connections_[i]->received.size();
  EXPECT_LT(of_others, kCount * bytes.size() / 10);
}

// Epoll takes sockets in turn: there is no order to be overtaken.
class UringSocketTest : public SocketTest {};

TEST_P(UringSocketTest, WhoSentLittleNeedNotWaitForWhoSentMuchBefore) {
  Listen();
  constexpr size_t kCount = 12;
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < kCount; ++i) clients.push_back(std::make_unique<Client>());
  Connection* last = Accepted(kCount);
  const std::string bytes = Pattern(30'000);
  size_t of_others = 0;
  size_t of_others_before = bytes.size();
  for (size_t i = 0; i + 1 < kCount; ++i) {
    connections_[i]->on_received = [&](std::string_view chunk) { of_others += chunk.size(); };
    ASSERT_TRUE(clients[i]->Write(bytes));
  }
  last->on_received = [&](std::string_view) { of_others_before = of_others; };
  ASSERT_TRUE(clients[kCount - 1]->Write("little"));
  ASSERT_TRUE(RunUntil([&] { return of_others == (kCount - 1) * bytes.size(); }));
  EXPECT_EQ(last->received, "little");
  EXPECT_EQ(of_others_before, 0u);
  for (size_t i = 0; i + 1 < kCount; ++i) EXPECT_EQ(connections_[i]->received, bytes);
}

TEST_P(SocketTest, MoreSendsThanTheRingHoldsAllGoOut) {
  rlimit files;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_cur < 4096) GTEST_SKIP() << "too few descriptors";
  Listen();
  constexpr size_t kCount = 1500;
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < kCount; ++i) {
    clients.push_back(std::make_unique<Client>());
    ASSERT_TRUE(clients.back()->connected());
    if (i % 100 == 99) Accepted(i + 1);
  }
  Accepted(kCount);
  for (auto& connection : connections_) connection->Send("hello");
  EXPECT_TRUE(RunUntil([&] {
    return std::all_of(connections_.begin(), connections_.end(),
                       [](auto& connection) { return connection->sent == 1; });
  }));
  for (auto& client : clients) ASSERT_EQ(client->ReadAll(5), "hello");
}

TEST_P(SocketTest, ABusyPortIsAnError) {
  Listen();
  Result<std::unique_ptr<Listener>> second =
      loop_->Listen({.host = "127.0.0.1", .port = kPort}, [](Socket*, int) {});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().error_number(), EADDRINUSE);
}

TEST_P(SocketTest, AnAddressThatIsNotOursIsAnError) {
  EXPECT_FALSE(loop_->Listen({.host = "192.0.2.1", .port = kPort}, [](Socket*, int) {}));
  EXPECT_FALSE(loop_->Listen({.host = "not an address", .port = kPort}, [](Socket*, int) {}));
}

TEST_P(SocketTest, AClosedListenerFreesItsPortAtOnce) {
  Listen();
  Client client;
  Accepted();
  for (int i = 0; i < 3; ++i) {
    listener_.reset();
    Listen();
    Settle();
  }
  Client again;
  EXPECT_TRUE(again.connected());
  Accepted(2);
  listener_.reset();
  EXPECT_TRUE(PollUntil([&] { return !Client().connected(); }));
}

TEST_P(SocketTest, AListenerMayBeClosedInItsCallback) {
  Listen();
  on_accepted_ = [&](Connection*) { listener_.reset(); };
  Client first;
  Client second;
  Accepted();
  EXPECT_TRUE(PollUntil([&] { return !Client().connected(); }));
}

TEST_P(SocketTest, RunningOutOfDescriptorsIsReportedAndSurvived) {
  Listen();
  Client client;
  rlimit saved;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &saved), 0);
  const rlimit tight = {.rlim_cur = 3, .rlim_max = saved.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const bool reported = RunUntil([&] { return !accept_errors_.empty(); });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &saved), 0);
  ASSERT_TRUE(reported);
  EXPECT_EQ(accept_errors_[0], EMFILE);
  EXPECT_EQ(accept_errors_.size(), 1u);
  Accepted();
}

TEST_P(SocketTest, UnixSocketsHaveTheirPermissionsAndVanish) {
  const std::string path = Path("socket");
  ListenOn({.unix_path = path, .unix_permissions = 0750});
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0750u);
  Client client(path);
  ASSERT_TRUE(client.connected());
  Connection* connection = Accepted();
  EXPECT_EQ(connection->socket->address().peer, path + ":0");
  EXPECT_TRUE(connection->socket->address().is_unix);
  ASSERT_TRUE(client.Write("hi"));
  EXPECT_TRUE(RunUntil([&] { return connection->received == "hi"; }));
  connection->Send("ho");
  EXPECT_TRUE(RunUntil([&] { return connection->sent == 1; }));
  EXPECT_EQ(client.ReadAll(2), "ho");
  listener_.reset();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST_P(SocketTest, AStaleUnixSocketIsReplacedALiveOneIsNot) {
  const std::string path = Path("socket");
  const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(stale);
  ListenOn({.unix_path = path});
  EXPECT_EQ(loop_->Listen({.unix_path = path}, [](Socket*, int) {}).error().error_number(),
            EADDRINUSE);
  ASSERT_TRUE(fs_->Open(Path("file"), {.create = true}).has_value());
  EXPECT_FALSE(loop_->Listen({.unix_path = Path("file")}, [](Socket*, int) {}));
  EXPECT_TRUE(fs_->Exists(Path("file")));
  EXPECT_FALSE(loop_->Listen({.unix_path = std::string(200, 'x')}, [](Socket*, int) {}));
}

FIRN_FOR_BOTH_LOOPS(SocketTest);
INSTANTIATE_TEST_SUITE_P(Backends, UringSocketTest, testing::Values(Backend::kUring), BackendName);

}  // namespace
}  // namespace firn::io
