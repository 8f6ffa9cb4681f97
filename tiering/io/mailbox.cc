#include "tiering/io/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "engine/base/check.h"

namespace firn::io {

Mailbox::Mailbox() : event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK_MSG(event_fd_ >= 0, "no descriptor left for an eventfd");
}

Mailbox::~Mailbox() { ::close(event_fd_); }

void Mailbox::Post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  Wake();
}

void Mailbox::Wake() {
  // The loop stores sleeping_ and then loads pending_, here it is the other way round, all
  // sequentially consistent: one of the two sees the other.
  pending_.store(true);
  if (!sleeping_.exchange(false)) return;
  const int saved_errno = errno;
  const uint64_t one = 1;
  // Nobody reads the counter; to fill it would take 2^64 sleeps.
  static_cast<void>(!::write(event_fd_, &one, sizeof one));
  errno = saved_errno;
}

bool Mailbox::PrepareToSleep() {
  sleeping_.store(true);
  return !pending_.load();
}

void Mailbox::RunTasks() {
  if (!pending_.load(std::memory_order_relaxed)) return;
  // A Wake is consumed here too: the iteration that it asked for is under way.
  pending_.exchange(false);
  {
    const std::lock_guard lock(mutex_);
    running_.swap(tasks_);
  }
  for (Task& task : running_) task();
  running_.clear();
}

}  // namespace firn::io
