#include "server/backups.h"

#include <thread>
#include <utility>

#include "engine/base/check.h"
#include "server/server.h"
#include "tiering/io/durable_directories.h"
#include "tiering/io/workers.h"
#include "tiering/snapshot/backup.h"

namespace firn::server {
namespace {

// Behind everything else, as a save.
constexpr int kNice = 10;
constexpr int64_t kRetryMicros = 1000;
constexpr const char* kFunctions = "/FUNCTIONS";

}  // namespace

struct Backups::Job {
  uint64_t serial = 0;
  std::string directory;
  Done done;
  std::unique_ptr<StoreBackup> backup;
  bool begun = false;  // the directory is its own
  Status status;       // of the step, once its thread has ended
  std::thread thread;
};

Backups::Backups(Server* server) : server_(*server) {}

Backups::~Backups() { Abandon(); }

void Backups::Begin(std::string directory, Done done) {
  CHECK(!in_progress());
  if (!directory.starts_with('/')) directory = server_.options()->dir + "/" + directory;
  job_ = std::make_unique<Job>();
  job_->serial = ++last_serial_;
  job_->directory = std::move(directory);
  job_->done = std::move(done);
  RunStep([this, job = job_.get()] { return Start(job); }, &Backups::CopyIndex);
}

// Another thread.
Status Backups::Start(Job* job) {
  io::FileSystem& files = server_.files();
  FIRN_RETURN_IF_ERROR(io::CreateDurableDirectories(&files, job->directory));
  auto names = files.List(job->directory);
  if (!names) return names.error();
  if (!names->empty()) return Status::Invalid(job->directory + " is not empty");
  job->begun = true;
  return Status::Ok();
}

void Backups::RunStep(std::function<Status()> step, void (Backups::*next)()) {
  Job* job = job_.get();
  if (job->thread.joinable()) job->thread.join();
  job->thread = io::StartQuietThread(kNice, [this, job, next, step = std::move(step),
                                             loop = &server_.loop(), serial = job->serial] {
    job->status = step();
    loop->Post([this, serial, next] { OnStepDone(serial, next); });
  });
}

// A thread's last word. It finds nobody if the backup was abandoned.
void Backups::OnStepDone(uint64_t serial, void (Backups::*next)()) {
  if (job_ == nullptr || job_->serial != serial) return;
  job_->thread.join();
  if (!job_->status.ok()) return Finish(job_->status);
  (this->*next)();
}

void Backups::CopyIndex() {
  auto backup = server_.store().BeginBackup(job_->directory);
  if (!backup) return Finish(backup.error());
  job_->backup = std::move(*backup);
  RunStep([backup = job_->backup.get()] { return backup->CopyIndex(); }, &Backups::CopyLog);
}

void Backups::CopyLog() {
  if (server_.dispatcher().in_transaction()) {
    server_.loop().AddTimer(kRetryMicros, [this, serial = job_->serial] {
      if (job_ != nullptr && job_->serial == serial) CopyLog();
    });
    return;
  }
  job_->backup->TakeLog();
  RunStep(
      [this, job = job_.get(), functions = server_.options()->dir + kFunctions] {
        FIRN_RETURN_IF_ERROR(CopyFunctions(functions, job->directory));
        return job->backup->CopyLog();
      },
      &Backups::Complete);
}

// Another thread. The file is replaced as a whole when a function changes.
Status Backups::CopyFunctions(const std::string& path, const std::string& directory) const {
  if (!server_.files().Exists(path)) return Status::Ok();
  return LinkOrCopy(&server_.files(), path, directory + kFunctions);
}

void Backups::Complete() { Finish(Status::Ok()); }

void Backups::Finish(Status status) {
  std::unique_ptr<Job> job = std::move(job_);
  if (status.ok()) {
    server_.Log(kLogNotice, "Backup made in " + job->directory);
  } else {
    if (job->begun) Clear(job->directory);
    server_.Log(kLogWarning, "Backup failed: " + status.message());
  }
  job->backup.reset();
  job->done(std::move(status));
}

void Backups::Abandon() {
  if (job_ == nullptr) return;
  if (job_->thread.joinable()) job_->thread.join();
  Finish(Status(StatusCode::kBusy, "it was abandoned"));
}

// What can't be removed stays, without an identity: no server takes it for data.
void Backups::Clear(const std::string& directory) const {
  io::FileSystem& files = server_.files();
  for (const char* part : {"/IDENTITY", kFunctions}) {
    if (files.Exists(directory + part)) static_cast<void>(files.Remove(directory + part));
  }
  for (const char* part : {"/index", "/index.tmp", "/log"}) {
    const std::string folder = directory + part;
    auto names = files.List(folder);
    if (!names) continue;
    for (const std::string& name : *names) static_cast<void>(files.Remove(folder + "/" + name));
    static_cast<void>(files.RemoveDirectory(folder));
  }
}

}  // namespace firn::server
