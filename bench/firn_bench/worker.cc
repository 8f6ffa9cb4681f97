#include "bench/firn_bench/worker.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace firn::bench {

namespace {
constexpr int kEvents = 256;
constexpr uint64_t kSecond = 1'000'000'000;
// How long the loop sleeps at most, so that a stop and a stall are seen.
constexpr uint64_t kLongestWaitNs = kSecond / 10;

uint64_t ShareOf(uint64_t total, uint32_t parts, uint32_t index) {
  return total / parts + (index < total % parts ? 1 : 0);
}
}  // namespace

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

Worker::Worker(RunState& run, uint32_t thread)
    : run_(run),
      options_(run.options),
      thread_(thread),
      budget_(options_.requests == 0 ? UINT64_MAX
                                     : ShareOf(options_.requests, options_.threads, thread)),
      set_head_("*3\r\n$3\r\nSET\r\n$" + std::to_string(options_.key_bytes) + "\r\n"),
      keys_(options_, thread, run.key_cursor) {
  if (options_.rate > 0) interval_ns_ = 1e9 * options_.threads / options_.rate;
  double sum = 0;
  for (const OperationRow& row : kOperationRows) {
    double weight = OperationMix(options_.mix)[row.operation];
    if (weight <= 0) continue;
    sum += weight;
    cumulative_.push_back(sum);
    operations_.push_back(row.operation);
  }
}

Worker::~Worker() {
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

bool Worker::Connect() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  uint64_t count = ShareOf(options_.clients, options_.threads, thread_);
  for (uint64_t i = 0; i < count; ++i) {
    connections_.push_back(std::make_unique<Connection>(options_.pipeline));
    Connection& connection = *connections_.back();
    std::string error = connection.Connect(options_);
    if (!error.empty()) {
      ++results_.connection_failures;
      run_.failures.Print(error);
      return false;
    }
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.ptr = &connection;
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, connection.fd(), &event);
    ++open_connections_;
  }
  return true;
}

void Worker::Run() {
  // Timers of the open loop are otherwise up to 50 us late.
  prctl(PR_SET_TIMERSLACK, 1);
  last_reply_ns_ = NowNs();
  if (interval_ns_ == 0) {
    for (auto& connection : connections_) Fill(*connection, NowNs());
  }
  while (open_connections_ > 0) {
    uint64_t now = NowNs();
    bool may_issue = MayIssue(now);
    if (may_issue && interval_ns_ > 0) IssueDue(now);
    if (!may_issue && in_flight_ == 0) break;
    CheckStall(now);
    Wait(now);
  }
  end_ns_ = NowNs();
  if (interval_ns_ > 0 && !exhausted_ && issued_ < budget_ && end_ns_ > run_.start_ns) {
    uint64_t end = std::min(end_ns_, run_.deadline_ns);
    auto due = static_cast<uint64_t>(static_cast<double>(end - run_.start_ns) / interval_ns_);
    // One more or less lies in the rounding of the end.
    if (due > due_count_ + 1) results_.never_sent += due - due_count_;
  }
}

bool Worker::MayIssue(uint64_t now) {
  return !exhausted_ && issued_ < budget_ && now < run_.deadline_ns &&
         !run_.stop.load(std::memory_order_relaxed);
}

void Worker::Fill(Connection& connection, uint64_t now) {
  if (!MayIssue(now)) return;
  while (!connection.full() && Issue(connection, now)) {
  }
  Flush(connection);
}

void Worker::IssueDue(uint64_t now) {
  touched_.clear();
  while (true) {
    auto due =
        run_.start_ns + static_cast<uint64_t>(static_cast<double>(due_count_) * interval_ns_);
    if (due > now) break;
    Connection* connection = FreeConnection();
    if (connection == nullptr || !Issue(*connection, due)) break;
    ++due_count_;
    touched_.push_back(connection);
  }
  for (Connection* connection : touched_) {
    if (connection->open() && connection->has_output()) Flush(*connection);
  }
}

Connection* Worker::FreeConnection() {
  for (size_t tried = 0; tried < connections_.size(); ++tried) {
    Connection& connection = *connections_[next_connection_];
    next_connection_ = (next_connection_ + 1) % connections_.size();
    if (connection.open() && !connection.full()) return &connection;
  }
  return nullptr;
}

Operation Worker::DrawOperation() {
  if (operations_.size() == 1) return operations_[0];
  double point = keys_.random().Fraction() * cumulative_.back();
  size_t i = 0;
  while (i + 1 < operations_.size() && point >= cumulative_[i]) ++i;
  return operations_[i];
}

// False: nothing is left to do.
bool Worker::Issue(Connection& connection, uint64_t start_ns) {
  if (issued_ >= budget_) return false;
  Operation operation = DrawOperation();
  Pending pending = {.key = 0,
                     .start_ns = start_ns,
                     .operation = operation,
                     .replies_left = RowOf(operation).replies};
  if (operation == Operation::kInsert) {
    pending.key = keys_.Insert();
  } else if (operation != Operation::kPing && operation != Operation::kScan) {
    auto key = keys_.Next();
    if (!key) {
      exhausted_ = true;
      return false;
    }
    pending.key = *key;
  }
  AppendCommand(connection, pending);
  connection.Push(pending);
  ++issued_;
  ++in_flight_;
  ++results_.issued;
  return true;
}

void Worker::Flush(Connection& connection) {
  size_t bytes = connection.output().size();
  if (bytes == 0) return;
  if (!connection.Send()) {
    Lose(connection, std::string("sending: ") + std::strerror(errno));
    return;
  }
  results_.bytes_sent += bytes;
  UpdateInterest(connection);
}

void Worker::UpdateInterest(Connection& connection) {
  if (connection.has_output() == connection.wants_write) return;
  connection.wants_write = connection.has_output();
  epoll_event event = {};
  event.events = EPOLLIN | (connection.wants_write ? uint32_t{EPOLLOUT} : 0);
  event.data.ptr = &connection;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection.fd(), &event);
}

void Worker::Wait(uint64_t now) {
  uint64_t wait_ns = kLongestWaitNs;
  if (interval_ns_ > 0 && MayIssue(now)) {
    auto due =
        run_.start_ns + static_cast<uint64_t>(static_cast<double>(due_count_) * interval_ns_);
    // Operations that are due and found no connection wait for a reply, not for the clock.
    if (due > now) wait_ns = std::min(wait_ns, due - now);
  }
  timespec timeout = {.tv_sec = 0, .tv_nsec = static_cast<long>(wait_ns)};
  epoll_event events[kEvents];
  int count = epoll_pwait2(epoll_fd_, events, kEvents, &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    auto& connection = *static_cast<Connection*>(events[i].data.ptr);
    if (!connection.open()) continue;
    if (events[i].events & EPOLLOUT) {
      if (!connection.Send()) {
        Lose(connection, std::string("sending: ") + std::strerror(errno));
        continue;
      }
      UpdateInterest(connection);
    }
    if (events[i].events & ~uint32_t{EPOLLOUT}) Drain(connection);
  }
}

void Worker::Drain(Connection& connection) {
  bool alive = connection.Receive();
  std::string why = errno == 0 ? "closed by the server" : std::strerror(errno);
  uint64_t now = NowNs();
  while (connection.in_flight() > 0) {
    Reply reply;
    Parsed parsed = ParseReply(connection.input(), &reply);
    if (parsed.state == ParseState::kIncomplete) break;
    if (parsed.state == ParseState::kGarbage) {
      Lose(connection, "a reply that is not RESP");
      return;
    }
    HandleReply(connection, reply, now);
    connection.Consume(parsed.bytes);
    results_.bytes_received += parsed.bytes;
  }
  if (!alive) {
    Lose(connection, why);
    return;
  }
  if (connection.in_flight() == 0 && !connection.input().empty()) {
    Lose(connection, "a reply to nothing");
    return;
  }
  if (interval_ns_ > 0) return;
  bool room = options_.sliding ? !connection.full() : connection.in_flight() == 0;
  if (room && !connection.has_output()) Fill(connection, now);
}

void Worker::Lose(Connection& connection, const std::string& why) {
  ++results_.connection_failures;
  results_.unanswered += connection.in_flight();
  run_.failures.Print("connection lost, " + std::to_string(connection.in_flight()) +
                      " operations in flight: " + why);
  in_flight_ -= connection.in_flight();
  while (connection.in_flight() > 0) connection.Pop();
  connection.Close();
  --open_connections_;
}

void Worker::CheckStall(uint64_t now) {
  if (in_flight_ == 0) {
    last_reply_ns_ = now;
    return;
  }
  auto limit = static_cast<uint64_t>(options_.reply_timeout_seconds * 1e9);
  if (now < last_reply_ns_ + limit) return;
  for (auto& connection : connections_) {
    if (connection->open() && connection->in_flight() > 0) Lose(*connection, "no reply in time");
  }
}

}  // namespace firn::bench
