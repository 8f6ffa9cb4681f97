// Errands: threads of their own for what may wait long for something outside, such as another
// server, or compute for long: the loop's workers have better things to do.
//
// Executor thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "server/kept_connections.h"
#include "tiering/io/loop.h"

namespace firn::server {

class Errands {
 public:
  explicit Errands(io::Loop* loop) : loop_(*loop), connections_(loop) {}
  // Tells the jobs under way to stop, and waits until they have; none is answered.
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  // `job` runs on another thread and should end soon once `*stop` is true; `done` then runs on the
  // executor.
  using Job = std::move_only_function<void(const std::atomic<bool>* stop)>;
  void Run(Job job, std::move_only_function<void()> done) {
    Start(0, std::move(job), std::move(done));
  }
  // As Run, for what takes the processor, which the executor gets first.
  void Compute(Job job, std::move_only_function<void()> done) {
    Start(kComputingNice, std::move(job), std::move(done));
  }

  // For errands to come.
  KeptConnections& connections() { return connections_; }

 private:
  static constexpr int kComputingNice = 5;

  void Start(int nice, Job job, std::move_only_function<void()> done);

  io::Loop& loop_;
  KeptConnections connections_;
  std::atomic<bool> stop_{false};
  std::map<uint64_t, std::thread> threads_;
  uint64_t last_id_ = 0;
};

}  // namespace firn::server
