// Backups: BACKUP TO: a copy of the data directory that a server can be started on, made while
// commands go on (tiering/snapshot/backup.h), with the libraries of functions. One at a time.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/base/status.h"

namespace firn::server {

class Server;

class Backups {
 public:
  explicit Backups(Server* server);
  // Abandons what is under way.
  ~Backups();
  Backups(const Backups&) = delete;
  Backups& operator=(const Backups&) = delete;

  bool in_progress() const { return job_ != nullptr; }
  // `directory` is made if need be, and must be empty; a path that isn't absolute begins in `dir`.
  // `done` is called later, when the copy is on the disk or has failed.
  // The state that is copied is one between this call and `done`. REQUIRES: none is in progress.
  using Done = std::move_only_function<void(Status)>;
  void Begin(std::string directory, Done done);
  // Waits for the step that runs, and fails. Before the store is closed.
  void Abandon();

 private:
  struct Job;
  Status Start(Job* job);
  void RunStep(std::function<Status()> step, void (Backups::*next)());
  void OnStepDone(uint64_t serial, void (Backups::*next)());
  void CopyIndex();
  void CopyLog();
  void Complete();
  void Finish(Status status);
  Status CopyFunctions(const std::string& path, const std::string& directory) const;
  void Clear(const std::string& directory) const;

  Server& server_;
  std::unique_ptr<Job> job_;
  uint64_t last_serial_ = 0;
};

}  // namespace firn::server
