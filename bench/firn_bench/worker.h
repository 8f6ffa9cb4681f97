// One thread of a run: its connections on one epoll.
//
// Closed loop: a connection sends `pipeline` operations, awaits all replies, and sends the next.
// Open loop (--rate): operations fall due at fixed times; one that finds no free connection waits,
// and its latency counts from when it was due, so that a stalled server cannot hide its stall
// (no coordinated omission).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/firn_bench/connection.h"
#include "bench/firn_bench/key_source.h"
#include "bench/firn_bench/reply.h"
#include "bench/firn_bench/results.h"

namespace firn::bench {

uint64_t NowNs();

// Shared by the threads of a run.
struct RunState {
  explicit RunState(const Options& run_options) : options(run_options) {}

  const Options& options;
  FailureLog failures;
  std::atomic<uint64_t> key_cursor{0};
  std::atomic<bool> stop{false};
  uint64_t start_ns = 0;
  // Operations that start before this are not counted.
  uint64_t measure_ns = 0;
  // None starts after this.
  uint64_t deadline_ns = 0;
};

class Worker {
 public:
  Worker(RunState& run, uint32_t thread);
  ~Worker();

  // False: some connection failed; it has been printed.
  bool Connect();
  // Until the work or the time is over and each reply is there.
  void Run();

  const Results& results() const { return results_; }
  uint64_t end_ns() const { return end_ns_; }

 private:
  // Issuing.
  void Fill(Connection& connection, uint64_t now);
  void IssueDue(uint64_t now);
  Connection* FreeConnection();
  bool Issue(Connection& connection, uint64_t start_ns);
  Operation DrawOperation();
  bool MayIssue(uint64_t now);
  void Flush(Connection& connection);

  // Encoding.
  void AppendCommand(Connection& connection, const Pending& pending);
  void AppendKeyCommand(std::string& out, std::string_view head, uint64_t key, char first);
  void AppendSet(std::string& out, uint64_t key);
  void AppendScan(Connection& connection);

  // Replies.
  void Drain(Connection& connection);
  void HandleReply(Connection& connection, const Reply& reply, uint64_t now);
  void Judge(Connection& connection, const Pending& pending, const Reply& reply,
             OperationResult& result);
  void CountHit(const Pending& pending, bool present, OperationResult& result);
  void JudgeValue(const Pending& pending, const Reply& reply, OperationResult& result);
  void JudgePresence(const Pending& pending, const Reply& reply, OperationResult& result);
  void JudgeStored(const Pending& pending, const Reply& reply, OperationResult& result);
  void Lose(Connection& connection, const std::string& why);
  void FailCheck(const Pending& pending, const std::string& why, OperationResult& result);

  // The loop.
  void Wait(uint64_t now);
  void CheckStall(uint64_t now);
  void UpdateInterest(Connection& connection);

  // Constant after construction.
  RunState& run_;
  const Options& options_;
  uint32_t thread_;
  double interval_ns_ = 0;
  uint64_t budget_;
  std::string set_head_;
  std::vector<double> cumulative_;
  std::vector<Operation> operations_;

  KeySource keys_;
  std::vector<std::unique_ptr<Connection>> connections_;
  int epoll_fd_ = -1;
  Results results_;
  uint64_t issued_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t open_connections_ = 0;
  bool exhausted_ = false;
  uint64_t due_count_ = 0;
  size_t next_connection_ = 0;
  std::vector<Connection*> touched_;
  uint64_t last_reply_ns_ = 0;
  uint64_t end_ns_ = 0;
  std::string scratch_;
};

}  // namespace firn::bench
