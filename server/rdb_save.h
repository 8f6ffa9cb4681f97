// RdbSaver: when dump.rdb is written and what is known of it: SAVE, BGSAVE, the rules of `save`,
// the last save of a shutdown. The state that is saved is that of the moment when a save begins; a
// thread of its own reads it from the log and writes it (tiering/snapshot, rdb_file.h), while
// commands go on.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>

#include "engine/base/status.h"

namespace firn::server {

class Server;

inline constexpr std::string_view kSnapshotFailedError =
    "MISCONF The last snapshot (RDB) could not be written to the disk, so that commands that "
    "change "
    "data are refused, as stop-writes-on-bgsave-error asks. The server's log tells what went "
    "wrong.";

class RdbSaver {
 public:
  explicit RdbSaver(Server* server);
  // As Stop.
  ~RdbSaver();
  RdbSaver(const RdbSaver&) = delete;
  RdbSaver& operator=(const RdbSaver&) = delete;

  // All REQUIRE of those that begin a save: no group of the store is open, and none is in progress.
  bool in_progress() const { return job_ != nullptr; }
  // Begins in the background. Without durability (Store::PrepareSnapshot) the moment that is saved
  // comes a little later.
  Status Begin();
  // As soon as possible.
  void Schedule() { scheduled_ = true; }
  // Writes on this thread. `done` is called when it is on the disk; with durability before this
  // returns.
  using Done = std::move_only_function<void(Status)>;
  void Save(Done done);
  // Ends what is in progress, without a dump; nobody is told. It is not waited for: its thread
  // gives back what it holds, and is gone soon.
  void Abandon();
  // As Abandon, and waits until no thread is left. Before the store is closed.
  void Stop();

  // FLUSHALL: what is being saved in the background is of no use any more; with rules, an empty
  // dump takes its place. `done` is called when it has, or at once where it comes later: amid a
  // transaction or script, and while a save on this thread is under way.
  void SaveEmpty(Done done);

  // Ten times a second, between commands: begins what is due.
  void Step();
  // stop-writes-on-bgsave-error.
  bool RefusesWrites() const { return !last_ok_ && StopsOnError(); }
  // What was loaded is as in the dump: nothing has changed since.
  void NoteLoaded();

  struct State {
    int64_t last_save_seconds = 0;  // Unix time; the start's, if none was made
    bool last_ok = true;
    int64_t last_duration_seconds = -1;     // of one in the background; -1: none
    int64_t current_duration_seconds = -1;  // -1: none in progress
    uint64_t keys_done = 0;                 // of the one in progress
    uint64_t keys_total = 0;                // about
    uint64_t saves = 0;
    bool in_progress = false;
    bool scheduled = false;
  };
  State state() const;

 private:
  struct Job;
  bool StopsOnError() const;
  void MakeJob(Done done);
  void OnPrepared(uint64_t serial, Status status);
  void Survey(uint64_t serial);
  void StartWriting();
  void OnWritten(uint64_t serial);
  void Finish(Status status);
  void JoinOldest();
  int64_t NowSeconds() const;

  Server& server_;
  std::unique_ptr<Job> job_;
  std::deque<std::unique_ptr<Job>> abandoned_;  // with threads that still run; the oldest first
  uint64_t last_serial_ = 0;
  Status begin_status_;  // why the last Begin failed at once
  bool scheduled_ = false;
  bool last_ok_ = true;
  int64_t last_save_seconds_ = 0;
  int64_t last_try_seconds_ = 0;
  int64_t last_duration_seconds_ = -1;
  uint64_t saves_ = 0;
};

}  // namespace firn::server
