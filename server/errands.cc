#include "server/errands.h"

#include "tiering/io/workers.h"

namespace firn::server {

Errands::~Errands() {
  stop_.store(true);
  for (auto& [id, thread] : threads_) thread.join();
}

void Errands::Start(int nice, Job job, std::move_only_function<void()> done) {
  const uint64_t id = ++last_id_;
  threads_[id] = io::StartQuietThread(
      nice, [this, id, job = std::move(job), done = std::move(done)]() mutable {
        job(&stop_);
        loop_.Post([this, id, done = std::move(done)]() mutable {
          threads_[id].join();
          threads_.erase(id);
          done();
        });
      });
}

}  // namespace firn::server
