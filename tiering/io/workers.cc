#include "tiering/io/workers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace firn::io {
namespace {

constexpr int kNice = 5;
constexpr int kUrgentInARow = 8;

// Beyond that of the main thread, which the process may have been started with.
void AddNiceness(int nice) {
  constexpr int kNicest = 19;
  const int main_thread = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::getpid()));
  // Linux keeps it by thread. A refusal costs nothing but smoothness.
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()),
                                  std::min(main_thread + nice, kNicest)));
}

}  // namespace

void LowerPriority() { AddNiceness(kNice); }

std::thread StartQuietThread(int nice, std::move_only_function<void()> body) {
  // The thread inherits the mask: there is no moment in which it could take a signal.
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  CHECK(::pthread_sigmask(SIG_SETMASK, &all, &previous) == 0);
  std::thread thread([nice, body = std::move(body)]() mutable {
    if (nice != 0) AddNiceness(nice);
    body();
  });
  CHECK(::pthread_sigmask(SIG_SETMASK, &previous, nullptr) == 0);
  return thread;
}

Workers::Workers(int count, Mailbox* mailbox) : mailbox_(mailbox) {
  CHECK(count >= 1);
  for (int i = 0; i < count; ++i) {
    const bool takes_background = i > 0 || count == 1;
    threads_.push_back(StartQuietThread(0, [this, takes_background] { Serve(takes_background); }));
  }
}

Workers::~Workers() {
  std::deque<Work> dropped_urgent;
  std::deque<Work> dropped_background;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped_urgent.swap(urgent_);
    dropped_background.swap(background_);
  }
  urgent_added_.notify_all();
  anything_added_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::Run(WorkPriority priority, Task job, Task done) {
  std::condition_variable* wake = &anything_added_;
  {
    const std::lock_guard lock(mutex_);
    if (priority == WorkPriority::kUrgent) {
      urgent_.push_back({std::move(job), std::move(done)});
      // Each idle one is woken for one job; beyond that the others have to come.
      if (static_cast<size_t>(idle_urgent_only_) >= urgent_.size()) wake = &urgent_added_;
    } else {
      background_.push_back({std::move(job), std::move(done)});
    }
  }
  wake->notify_one();
}

void Workers::Lower() {
  const std::lock_guard lock(mutex_);
  lowered_ = true;
}

void Workers::Serve(bool takes_background) {
  int urgent_in_a_row = 0;
  bool is_low = false;
  std::unique_lock lock(mutex_);
  for (;;) {
    while (!stopping_ && urgent_.empty() && (!takes_background || background_.empty())) {
      if (takes_background) {
        anything_added_.wait(lock);
      } else {
        ++idle_urgent_only_;
        urgent_added_.wait(lock);
        --idle_urgent_only_;
      }
    }
    if (stopping_) return;
    // Urgent work goes first, but a stream of it must not keep background work away for ever: that
    // may be what would end the stream.
    bool turn = takes_background && !background_.empty() &&
                (urgent_.empty() || ++urgent_in_a_row >= kUrgentInARow);
    if (turn) urgent_in_a_row = 0;
    std::deque<Work>& queue = turn ? background_ : urgent_;
    Work work = std::move(queue.front());
    queue.pop_front();
    const bool lower = lowered_ && !std::exchange(is_low, lowered_);
    lock.unlock();
    if (lower) LowerPriority();
    work.job();
    // What the job holds is freed here, not on the executor.
    work.job = nullptr;
    if (work.done) mailbox_->Post(std::move(work.done));
    lock.lock();
  }
}

}  // namespace firn::io
