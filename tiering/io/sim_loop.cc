#include "tiering/io/sim_loop.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/base/check.h"

namespace firn::io {
namespace {

int ErrorOf(const Status& status) {
  return status.error_number() != 0 ? -status.error_number() : -EIO;
}

}  // namespace

SimLoop::SimLoop(SimDisk* disk, SimLoopOptions options)
    : disk_(disk),
      options_(std::move(options)),
      random_(options_.seed),
      wall_micros_(options_.wall_start_ms * 1000) {}

namespace {

// A read whose owner learns of its end in any case, also when the loop goes first.
class ReadInFlight {
 public:
  explicit ReadInFlight(DiskRequest* request) : request_(request) {}
  ReadInFlight(ReadInFlight&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
  ~ReadInFlight() { End(-ECANCELED); }

  void End(int result) {
    if (DiskRequest* request = std::exchange(request_, nullptr)) request->done(request, result);
  }

 private:
  DiskRequest* request_;
};

}  // namespace

SimLoop::~SimLoop() = default;

int64_t SimLoop::Draw(int64_t bound) {
  if (bound <= 0) return 0;
  int64_t drawn = static_cast<int64_t>(random_.Below(bound + 1));
  return random_.Below(50) == 0 ? drawn * 10 : drawn;
}

void SimLoop::Schedule(int64_t at_micros, Event event) {
  operations_ += event.timer == 0;
  TimerId timer = event.timer;
  auto position = events_.emplace(at_micros, std::move(event));
  if (timer != 0) timers_[timer] = position;
}

void SimLoop::Complete(DiskRequest* request, int result, int64_t delay) {
  Schedule(now_micros_ + delay,
           {.step = Step::kCallback, .action = [=] { request->done(request, result); }});
}

void SimLoop::Read(File* file, uint64_t offset, char* into, uint32_t size, DiskRequest* request) {
  CHECK(offset % kDirectAlignment == 0 && size % kDirectAlignment == 0);
  CHECK(reinterpret_cast<uintptr_t>(into) % kDirectAlignment == 0);
  int64_t total = Draw(options_.read_micros_max);
  int64_t before = static_cast<int64_t>(random_.Below(total + 1));
  auto work = [=, this, read = ReadInFlight(request)]() mutable {
    Result<size_t> count = file->ReadDirectAt(offset, {into, size});
    int result = count ? static_cast<int>(*count) : ErrorOf(count.error());
    auto end = [result, read = std::move(read)]() mutable { read.End(result); };
    Schedule(now_micros_ + total - before, {.step = Step::kCallback, .action = std::move(end)});
  };
  Schedule(now_micros_ + before, {.step = Step::kWork, .action = std::move(work)});
}

void SimLoop::Sync(File* file, DiskRequest* request) {
  uint64_t begun = disk_->BeginSync(file);
  int64_t total = Draw(options_.sync_micros_max);
  int64_t before = static_cast<int64_t>(random_.Below(total + 1));
  Schedule(now_micros_ + before, {.step = Step::kWork, .action = [=, this] {
                                    Status status = disk_->FinishSync(file, begun);
                                    Complete(request, status.ok() ? 0 : ErrorOf(status),
                                             total - before);
                                  }});
}

void SimLoop::RunOnWorker(WorkPriority priority, Action job, Action done) {
  bool urgent = priority == WorkPriority::kUrgent;
  int64_t bound = urgent ? options_.urgent_job_micros_max : options_.background_job_micros_max;
  int64_t& last = last_job_start_[static_cast<int>(priority)];
  last = std::max(last, now_micros_ + Draw(bound));
  int64_t after = Draw(bound);
  auto run = [this, after, job = std::move(job), done = std::move(done)]() mutable {
    job();
    job = nullptr;  // what it holds is released by the worker
    if (options_.after_job) options_.after_job();
    if (done) {
      Schedule(now_micros_ + after, {.step = Step::kCallback, .action = std::move(done)});
    }
  };
  Schedule(last, {.step = Step::kWork, .action = std::move(run)});
}

void SimLoop::Post(Action task) {
  std::lock_guard lock(posted_mutex_);
  posted_.push_back(std::move(task));
}

TimerId SimLoop::AddTimer(int64_t delay_micros, Action task) {
  TimerId id = next_timer_++;
  Schedule(now_micros_ + std::max<int64_t>(delay_micros, 0),
           {.step = Step::kCallback, .timer = id, .action = std::move(task)});
  return id;
}

void SimLoop::CancelTimer(TimerId id) {
  if (id == 0) return;
  std::erase_if(due_, [&](const Event& event) { return event.timer == id; });
  auto found = timers_.find(id);
  if (found == timers_.end()) return;
  events_.erase(found->second);
  timers_.erase(found);
}

void SimLoop::AdvanceTime(int64_t micros) {
  CHECK(micros >= 0);
  now_micros_ += micros;
  if (!wall_held_) wall_micros_ += micros;
}

bool SimLoop::Idle() const {
  std::lock_guard lock(posted_mutex_);
  return operations_ == 0 && posted_.empty();
}

void SimLoop::RunOnce(int64_t max_wait_micros) {
  if (options_.note_mapped_interval > 0 && random_.Below(options_.note_mapped_interval) == 0) {
    disk_->NoteMappedStores();
  }
  AdvanceTime(Draw(options_.iteration_micros_max));
  std::deque<Action> posted;
  {
    std::lock_guard lock(posted_mutex_);
    posted.swap(posted_);
  }
  bool called = woken_ || !posted.empty();
  woken_ = false;
  // Waiting: work that is not the executor's goes on; the first callback that is due ends the wait.
  int64_t deadline = max_wait_micros < 0 ? INT64_MAX : now_micros_ + max_wait_micros;
  if (called) deadline = now_micros_;
  while (!events_.empty()) {
    auto next = events_.begin();
    int64_t limit = due_.empty() ? deadline : now_micros_;
    if (next->first > limit) break;
    AdvanceTime(std::max<int64_t>(next->first - now_micros_, 0));
    Event event = std::move(next->second);
    events_.erase(next);
    if (event.timer == 0) --operations_;
    if (event.step == Step::kCallback) {
      timers_.erase(event.timer);
      due_.push_back(std::move(event));
    } else {
      event.action();
      std::lock_guard lock(posted_mutex_);
      if (!posted_.empty()) deadline = now_micros_;  // a job posted: the next iteration's
    }
  }
  if (due_.empty() && deadline != INT64_MAX) {
    AdvanceTime(std::max<int64_t>(deadline - now_micros_, 0));
  }
  for (Action& task : posted) task();
  while (!due_.empty()) {
    Action callback = std::move(due_.front().action);
    due_.pop_front();
    callback();
  }
}

bool SimLoop::RunUntil(const std::function<bool()>& until, int64_t micros) {
  int64_t deadline = now_micros_ + micros;
  while (!until()) {
    if (now_micros_ >= deadline) return false;
    RunOnce(std::min<int64_t>(deadline - now_micros_, 1000));
  }
  return true;
}

}  // namespace firn::io
