#include "server/rdb_save.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "engine/base/check.h"
#include "server/rdb_file.h"
#include "server/scripting/scripting.h"
#include "server/server.h"
#include "tiering/io/workers.h"

namespace firn::server {
namespace {

// Behind everything else: a save has time.
constexpr int kNice = 10;
// Keys whose use is noted at a time, before the moment that is saved.
constexpr uint64_t kSurveyKeys = 16'384;
// After a failure a rule waits so long before it tries again.
constexpr int64_t kRetrySeconds = 5;
// Threads of abandoned saves that may still be ending; more are waited for.
constexpr size_t kMostAbandoned = 4;

}  // namespace

struct RdbSaver::Job {
  uint64_t serial = 0;
  Done done;                             // none: in the background
  std::shared_ptr<AccessSurvey> access;  // null: nobody wants to know
  std::unique_ptr<SnapshotView> view;    // once it is prepared
  std::optional<DumpFile> file;          // once it is to be written
  RdbFileOptions options;
  uint64_t changes = 0;  // at the moment that is saved
  uint64_t keys_total = 0;
  int64_t begin_seconds = 0;
  std::atomic<uint64_t> keys_done{0};
  Status status;       // of the thread, once it has ended
  std::thread thread;  // none for SAVE
};

RdbSaver::RdbSaver(Server* server) : server_(*server), last_save_seconds_(NowSeconds()) {
  Status status = RemoveTemporaryDumps(&server_.files(), server_.options()->dir);
  if (!status.ok()) server_.Log(kLogWarning, "Removing old temporary dumps: " + status.message());
}

RdbSaver::~RdbSaver() { Stop(); }

int64_t RdbSaver::NowSeconds() const { return server_.loop().WallMillis() / 1000; }

void RdbSaver::MakeJob(Done done) {
  CHECK(!in_progress());
  scheduled_ = false;
  ++saves_;
  job_ = std::make_unique<Job>();
  job_->serial = ++last_serial_;
  job_->done = std::move(done);
  job_->begin_seconds = NowSeconds();
  const MaxmemoryPolicy policy = server_.options()->maxmemory_policy;
  // As Redis does, which doesn't say how keys are used where nobody asks for it.
  const bool tells_use =
      policy == MaxmemoryPolicy::kAllkeysLru || policy == MaxmemoryPolicy::kVolatileLru ||
      policy == MaxmemoryPolicy::kAllkeysLfu || policy == MaxmemoryPolicy::kVolatileLfu;
  if (tells_use) job_->access = std::make_shared<AccessSurvey>();
  Survey(job_->serial);
}

// In slices where the save is in the background.
void RdbSaver::Survey(uint64_t serial) {
  if (job_ == nullptr || job_->serial != serial) return;  // it was abandoned
  if (job_->access != nullptr) {
    const bool in_transaction = !job_->done && server_.dispatcher().in_transaction();
    bool more = true;
    while (!in_transaction && more) {
      more = server_.store().SurveyAccess(job_->access.get(), kSurveyKeys);
      if (!job_->done) break;
    }
    if (in_transaction || more) {
      constexpr int64_t kPauseMicros = 200;
      server_.loop().AddTimer(kPauseMicros, [this, serial] { Survey(serial); });
      return;
    }
  }
  server_.store().PrepareSnapshot(
      [this, serial](Status status) { OnPrepared(serial, std::move(status)); });
}

Status RdbSaver::Begin() {
  last_try_seconds_ = NowSeconds();
  begin_status_ = Status::Ok();
  MakeJob({});
  if (in_progress()) server_.Log(kLogNotice, "Background saving started");
  return begin_status_;
}

void RdbSaver::Save(Done done) { MakeJob(std::move(done)); }

void RdbSaver::OnPrepared(uint64_t serial, Status status) {
  if (job_ == nullptr || job_->serial != serial) return;  // it was abandoned
  if (status.ok()) {
    auto source = server_.store().TakeSnapshot();
    if (source) {
      for (const SnapshotSource::Database& database : (*source)->databases) {
        job_->keys_total += database.keys;
      }
      job_->view = std::make_unique<SnapshotView>(std::move(*source));
    } else {
      status = source.error();
    }
  }
  if (!status.ok()) {
    begin_status_ = status;
    return Finish(std::move(status));
  }
  StartWriting();
}

void RdbSaver::StartWriting() {
  const OptionValues& options = *server_.options().operator->();
  Job* job = job_.get();
  job->file.emplace(&server_.files(), options.dir, options.dbfilename);
  job->options = {.compress = options.rdb_compression,
                  .checksum = options.rdb_checksum,
                  .incremental_sync = options.rdb_save_incremental_fsync,
                  .key_delay_us = options.rdb_key_save_delay_us,
                  .functions = server_.scripting().functions().LibrariesAsCode(),
                  .used_memory = server_.store().UsedMemory(),
                  .access = job->access};
  job->changes = server_.stats().changes;
  if (job->done) {
    if (job->access != nullptr) job->access->Finish();
    auto replaced = job->file->OpenReplaced();
    Status status = WriteRdbFile(&*job->file, job->view.get(), job->options, &job->keys_done);
    server_.loop().RunOnWorker(io::WorkPriority::kBackground,
                               [file = std::move(replaced)]() mutable { file.reset(); }, {});
    return Finish(std::move(status));
  }
  job->thread =
      io::StartQuietThread(kNice, [this, job, loop = &server_.loop(), serial = job->serial] {
        if (job->access != nullptr) job->access->Finish();
        job->status = WriteRdbFile(&*job->file, job->view.get(), job->options, &job->keys_done);
        job->view->Release();
        loop->Post([this, serial] { OnWritten(serial); });
      });
}

// The thread's last word. It finds nobody if that was waited for: a saver lives as long as the
// server's loop.
void RdbSaver::OnWritten(uint64_t serial) {
  if (job_ != nullptr && job_->serial == serial) {
    job_->thread.join();
    return Finish(job_->status);
  }
  auto it = std::ranges::find_if(
      abandoned_, [&](const std::unique_ptr<Job>& job) { return job->serial == serial; });
  if (it == abandoned_.end()) return;
  (*it)->thread.join();
  abandoned_.erase(it);
}

void RdbSaver::Finish(Status status) {
  std::unique_ptr<Job> job = std::move(job_);
  const bool background = !job->done;
  if (background) {
    last_duration_seconds_ = NowSeconds() - job->begin_seconds;
    last_ok_ = status.ok();
  }
  if (status.ok()) {
    server_.Log(kLogNotice, "DB saved on disk");
    if (background) server_.Log(kLogNotice, "Background saving terminated with success");
    last_ok_ = true;
    last_save_seconds_ = NowSeconds();
    uint64_t& changes = server_.stats().changes;
    changes -= std::min(changes, job->changes);
  } else {
    server_.Log(kLogWarning,
                (background ? "Background saving error: " : "Error saving DB on disk: ") +
                    status.message());
  }
  if (!background) job->done(std::move(status));
}

void RdbSaver::Abandon() {
  if (job_ == nullptr) return;
  std::unique_ptr<Job> job = std::move(job_);
  if (!job->thread.joinable()) return;
  job->file->Abandon();
  job->view->Cancel();
  abandoned_.push_back(std::move(job));
  if (abandoned_.size() > kMostAbandoned) JoinOldest();
}

void RdbSaver::JoinOldest() {
  abandoned_.front()->thread.join();
  abandoned_.pop_front();
}

void RdbSaver::Stop() {
  Abandon();
  while (!abandoned_.empty()) JoinOldest();
}

void RdbSaver::SaveEmpty(Done done) {
  if (job_ != nullptr && !job_->done) Abandon();
  if (server_.options()->save.empty()) return done(Status::Ok());
  const bool atomic =
      server_.dispatcher().in_transaction() || server_.scripting().runner().running();
  if (!in_progress() && !atomic) return Save(std::move(done));
  Schedule();
  done(Status::Ok());
}

void RdbSaver::Step() {
  if (in_progress()) return;
  if (scheduled_) {
    // A failure is in the log; the client was answered long ago.
    static_cast<void>(Begin());
    scheduled_ = false;
    return;
  }
  int64_t now = NowSeconds();
  if (!last_ok_ && now - last_try_seconds_ <= kRetrySeconds) return;
  uint64_t changes = server_.stats().changes;
  for (const SaveRule& rule : server_.options()->save) {
    if (changes < static_cast<uint64_t>(rule.changes) || now - last_save_seconds_ <= rule.seconds) {
      continue;
    }
    server_.Log(kLogNotice, std::to_string(rule.changes) + " changes in " +
                                std::to_string(rule.seconds) + " seconds. Saving...");
    static_cast<void>(Begin());
    return;
  }
}

bool RdbSaver::StopsOnError() const {
  return server_.options()->stop_writes_on_bgsave_error && !server_.options()->save.empty();
}

void RdbSaver::NoteLoaded() {
  last_save_seconds_ = NowSeconds();
  server_.stats().changes = 0;
}

RdbSaver::State RdbSaver::state() const {
  State state{.last_save_seconds = last_save_seconds_,
              .last_ok = last_ok_,
              .last_duration_seconds = last_duration_seconds_,
              .saves = saves_,
              .in_progress = in_progress(),
              .scheduled = scheduled_};
  if (job_ != nullptr) {
    state.current_duration_seconds = NowSeconds() - job_->begin_seconds;
    state.keys_done = job_->keys_done.load(std::memory_order_relaxed);
    state.keys_total = job_->keys_total;
  }
  return state;
}

}  // namespace firn::server
