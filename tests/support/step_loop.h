// A Loop for tests of what runs on one: everything queued runs, in order, on the calling thread,
// inside RunOnce; time stands still until it is moved. Works with any FileSystem.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "tiering/io/loop.h"

namespace firn::test {

class StepLoop : public io::Loop {
 public:
  int64_t NowMicros() const override { return now_micros_; }
  int64_t WallMillis() const override { return wall_ms_; }
  void Advance(int64_t micros) {
    now_micros_ += micros;
    wall_ms_ += micros / 1000;
  }

  void Read(io::File* file, uint64_t offset, char* into, uint32_t size,
            io::DiskRequest* request) override {
    queue_.push_back([=] {
      auto read = file->ReadDirectAt(offset, {into, size});
      request->done(request, read ? static_cast<int>(*read) : -read.error().error_number());
    });
  }
  void Sync(io::File* file, io::DiskRequest* request) override {
    queue_.push_back([=] {
      Status status = file->Sync();
      request->done(request, status.ok() ? 0 : -status.error_number());
    });
  }
  void RunOnWorker(io::WorkPriority, std::move_only_function<void()> job,
                   std::move_only_function<void()> done) override {
    ++jobs_started_;
    jobs_.emplace_back(std::move(job), std::move(done));
  }
  void Post(std::move_only_function<void()> task) override { queue_.push_back(std::move(task)); }
  io::TimerId AddTimer(int64_t delay_micros, std::move_only_function<void()> task) override {
    timers_.emplace(++last_timer_, Timer{now_micros_ + delay_micros, std::move(task)});
    return last_timer_;
  }
  void CancelTimer(io::TimerId id) override { timers_.erase(id); }
  void Wake() override {}

  void RunOnce(int64_t) override {
    auto queue = std::exchange(queue_, {});
    for (auto& task : queue) task();
    if (!jobs_held_) {
      auto jobs = std::exchange(jobs_, {});
      for (auto& [job, done] : jobs) {
        job();
        if (done) done();
      }
    }
    for (auto at = timers_.begin(); at != timers_.end();) {
      if (at->second.due > now_micros_) {
        ++at;
        continue;
      }
      auto task = std::move(at->second.task);
      at = timers_.erase(at);
      task();
    }
  }

  // Until nothing is left to do now.
  void RunAll() {
    while (!queue_.empty() || (!jobs_held_ && !jobs_.empty())) RunOnce(0);
  }
  // While held, jobs wait.
  void HoldJobs(bool held) { jobs_held_ = held; }
  uint64_t jobs_started() const { return jobs_started_; }

 private:
  struct Timer {
    int64_t due;
    std::move_only_function<void()> task;
  };
  int64_t now_micros_ = 1'000'000;
  int64_t wall_ms_ = 1'700'000'000'000;
  std::deque<std::move_only_function<void()>> queue_;
  std::deque<std::pair<std::move_only_function<void()>, std::move_only_function<void()>>> jobs_;
  bool jobs_held_ = false;
  uint64_t jobs_started_ = 0;
  std::map<io::TimerId, Timer> timers_;
  io::TimerId last_timer_ = 0;
};

}  // namespace firn::test
