// What a server finds in its directory when it starts for the first time: files of Redis.
#include <algorithm>
#include <chrono>
#include <thread>

#include "server/acl/acl.h"
#include "server/aof_load.h"
#include "server/first_load.h"
#include "server/rdb_load.h"
#include "server/rdb_save.h"
#include "server/recovery_moment.h"
#include "server/scripting/scripting.h"
#include "server/server.h"
#include "server/value_limits.h"
#include "tiering/point_in_time.h"

namespace firn::server {
namespace {

constexpr int64_t kMaxWaitMicros = 10'000;
// Requests of an append-only file that are on their way at a time.
constexpr size_t kFeedBytes = 256 << 10;

Status WithPrefix(const std::string& prefix, const Status& status) {
  return Status(status.code(), prefix + status.message(), status.error_number());
}

constexpr uint64_t kNoTransaction = UINT64_MAX;

// `begun` becomes where the transaction began that the file has not ended yet.
void FollowTransaction(std::string_view command, uint64_t offset, uint64_t* begun) {
  if (command == "multi") {
    *begun = std::min(*begun, offset);
  } else if (command == "exec" || command == "discard") {
    *begun = kNoTransaction;
  }
}

std::string SecondsText(int64_t unix_ms) {
  const std::string millis = std::to_string(1000 + unix_ms % 1000);
  return std::to_string(unix_ms / 1000) + "." + millis.substr(1);
}

// Of a request in a file; null, as in Redis, also if only the subcommand is unknown.
const Command* FindCommand(const CommandTable& commands, std::span<const std::string_view> args) {
  const Command* command = commands.Find(args[0]);
  if (command == nullptr || command->subcommands.empty()) return command;
  if (command->function != nullptr || args.size() < 2) return command;
  return commands.FindSub(*command, args[1]) == nullptr ? nullptr : command;
}

}  // namespace

// REQUIRES: the store and the dispatcher are there.
Status Server::LoadFirst(FirstLoad* load) {
  if (!load->passed_over().empty()) {
    Log(kLogNotice,
        load->passed_over() + " is not loaded: " + options_->dir +
            " has data of its own, and files of Redis are read at the first start only");
  }
  if (!load->due()) return Status::Ok();
  BeginFirstLoad(*load);
  Status status;
  if (load->is_import()) {
    status = LoadAof(*load);
  } else if (load->aof_paths().empty()) {
    status = WithPrefix("Can't load the RDB file: ", LoadRdb(load->rdb_path(), {}));
  } else {
    status = WithPrefix("Can't load the append-only file: ", LoadAof(*load));
  }
  if (status.ok()) status = SyncLoaded();
  if (status.ok()) return load->Finish();
  clients_.clear();
  by_id_.clear();
  // As a crash would leave it, and then nothing.
  store_.reset();
  if (Status gone = load->Abandon(); !gone.ok()) Log(kLogWarning, gone.message());
  return status;
}

void Server::BeginFirstLoad(const FirstLoad& load) {
  load_state_.begun_ms = loop_->WallMillis();
  std::vector<std::string> paths = load.aof_paths();
  if (paths.empty()) paths.push_back(load.rdb_path());
  for (const std::string& path : paths) {
    auto file = files_->Open(path, {.writable = false});
    if (!file) continue;  // the load tells
    auto size = (*file)->Size();
    if (size) load_state_.total_bytes += *size;
  }
  for (io::Socket* socket : std::exchange(early_sockets_, {})) OnAccept(socket, 0);
}

// Answers clients, as far as commands are not refused meanwhile.
void Server::ServeWhileLoading() {
  if (serving_) return;
  RunReady();
  FlushReplies();
  DeleteClosed();
  if (io_threads_ != nullptr) io_threads_->Flush();
}

Status Server::LoadRdb(const std::string& path, const RdbLoad& load) {
  Log(kLogNotice, "Loading RDB " + path);
  const MaxmemoryPolicy policy = options_->maxmemory_policy;
  const auto on_conflict = reloading_ && !load.replace ? Functions::OnConflict::kRefuse
                                                       : Functions::OnConflict::kReplace;
  RdbLoader loader(
      {.store = store_.get(),
       .loop = loop_.get(),
       .limits = ValueLimitsOf(options_.values()),
       .lfu = policy == MaxmemoryPolicy::kAllkeysLfu || policy == MaxmemoryPolicy::kVolatileLfu,
       .checksum = options_->rdb_checksum && !skips_checksums_,
       .replace = load.replace,
       .function =
           [this, on_conflict](std::string_view code) {
             return scripting_->LoadLibrary(code, on_conflict);
           },
       .key_delay_us = options_->key_load_delay_us,
       .stopped =
           [this, &load] {
             ServeWhileLoading();
             return load.stoppable && told_to_stop();
           },
       .read = [this](uint64_t bytes) { NoteLoadedBytes(bytes); },
       .log = [this](const std::string& line) { Log(kLogNotice, line); }});
  FIRN_RETURN_IF_ERROR(LoadRdbFile(files_.get(), path, &loader, load.end));
  const RdbLoader::Report& report = loader.report();
  load_state_.keys = report.keys;
  load_state_.expired = report.expired;
  load_totals_.keys += report.keys;
  load_totals_.expired += report.expired;
  load_totals_.empty += report.empty;
  Log(kLogNotice, "Done loading RDB, keys loaded: " + std::to_string(report.keys) +
                      ", keys expired: " + std::to_string(report.expired) +
                      ", empty keys skipped: " + std::to_string(report.empty) + ".");
  return Status::Ok();
}

void Server::NoteLoadedBytes(uint64_t bytes) {
  load_totals_.bytes += bytes;
  load_state_.loaded_bytes += bytes;
  if (import_.progress) import_.progress(load_totals_);
}

Status Server::LoadAof(const FirstLoad& load) {
  AofFeed feed;
  OnAccepted(&feed);
  Client* client = clients_.rbegin()->second.get();
  feed_client_ = client->id();
  // Whatever the default user may do here.
  client->LogIn(std::make_shared<AclUser>(acl_->rules().DefaultUser()));
  Status status;
  store_->HoldExpiry(true);
  for (size_t i = 0; i < load.aof_paths().size() && status.ok(); ++i) {
    status = LoadAofFile(load, i, &feed);
  }
  store_->HoldExpiry(false);
  while (!feed.closed()) {
    client->CloseSoon();
    DeleteClosed();
  }
  return status;
}

Status Server::LoadAofFile(const FirstLoad& load, size_t number, AofFeed* feed) {
  const std::string& path = load.aof_paths()[number];
  const bool is_last = number + 1 == load.aof_paths().size();
  Log(kLogNotice, "Loading the append-only file " + path);
  auto file = files_->Open(path, {.writable = false});
  if (!file) return file.error();
  char magic[5] = {};
  auto read = (*file)->ReadAt(0, magic);
  if (!read) return read.error();
  uint64_t begin = 0;
  if (RdbReader::IsDump({magic, *read})) {
    FIRN_RETURN_IF_ERROR(LoadBase(path, file->get(), load.aof_paths().size() == 1, &begin));
  }
  AofReader reader(file->get(), begin);
  std::string requests;
  uint64_t transaction = kNoTransaction;
  while (true) {
    auto outcome = reader.Next();
    if (outcome == AofReader::Outcome::kRequest) {
      const Command* command = FindCommand(commands_, reader.args());
      if (command == nullptr) {
        return Status::Corruption("Unknown command '" + std::string(reader.args()[0]) +
                                  "' reading the append only file " + path + " at offset " +
                                  std::to_string(reader.offset()));
      }
      FollowTransaction(command->name, reader.offset(), &transaction);
      requests.append(reader.bytes());
      ++load_totals_.requests;
      if (requests.size() < kFeedBytes && options_->key_load_delay_us <= 0) continue;
    }
    FIRN_RETURN_IF_ERROR(Feed(requests, feed));
    NoteLoadedBytes(requests.size());
    requests.clear();
    if (options_->key_load_delay_us > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(options_->key_load_delay_us));
      store_->EndIteration();
      loop_->RunOnce(0);
    }
    if (outcome == AofReader::Outcome::kRequest) continue;
    if (outcome == AofReader::Outcome::kError) return reader.status();
    if (transaction != kNoTransaction) {
      return AtCutEnd(path + " ends amid the transaction at offset " + std::to_string(transaction),
                      is_last);
    }
    if (outcome == AofReader::Outcome::kTruncated) {
      return AtCutEnd(path + " ends amid the request at offset " + std::to_string(reader.offset()),
                      is_last);
    }
    return Status::Ok();
  }
}

// A dump, and what may follow it in the file, from `end` on. If nothing does, and no file either,
// it is a dump like any other: what has expired is left out, and counted. Who reads the file's end
// can only guess that; if it was wrong, all begins again.
Status Server::LoadBase(const std::string& path, io::File* file, bool is_only, uint64_t* end) {
  auto size = file->Size();
  if (!size) return size.error();
  char last[2] = {};
  auto read = file->ReadAt(*size - std::min<uint64_t>(*size, sizeof last), last);
  if (!read) return read.error();
  if (!is_only || std::string_view(last, *read) == "\r\n") return LoadRdb(path, {.end = end});
  const LoadTotals before = load_totals_;
  store_->HoldExpiry(false);
  const Status status = LoadRdb(path, {.end = end});
  store_->HoldExpiry(true);
  if (!status.ok() || *end == *size) return status;
  Log(kLogNotice, path + " holds commands behind the dump: reading it again");
  FlushEverything();
  load_totals_ = before;
  return LoadRdb(path, {.end = end});
}

// What is cut off may be left out at the end of the last file only.
Status Server::AtCutEnd(const std::string& where, bool is_last) {
  if (!is_last || !options_->aof_load_truncated) {
    return Status::Corruption("Unexpected end of file reading the append only file: " + where);
  }
  Log(kLogWarning, where + ": it is left out, as aof-load-truncated says");
  return Status::Ok();
}

// Has the requests run, and waits for their replies.
Status Server::Feed(std::string_view requests, AofFeed* feed) {
  int64_t wait = 0;
  while (true) {
    if (told_to_stop()) return Status(StatusCode::kBusy, "the server was told to stop");
    if (feed->closed()) return Status::Corruption("the server refused what is in the file");
    if (!feed->paused() && !requests.empty()) feed->Receive(std::exchange(requests, {}));
    feed->FinishSend();
    ServeWhileLoading();
    const std::string& error = feed->replies().first_error();
    if (error.starts_with("OOM") || error.starts_with("MISCONF")) {
      return Status::Invalid("a command of the file was refused: " + error);
    }
    if (requests.empty() && feed->replies().replies() >= load_totals_.requests) return Status::Ok();
    wait = store_->EndIteration();
    loop_->RunOnce(ready_.empty() && active_.empty() ? std::min(wait, kMaxWaitMicros) : 0);
  }
}

// --- recover-until

Status Server::BringLogForward() {
  if (!options_->appendonly) return Status::Invalid("recover-until needs appendonly yes");
  if (options_->log_archive_dir.empty()) {
    return Status::Invalid("recover-until needs log-archive-dir: there lies the log that followed");
  }
  auto target = ParseMoment(options_->recover_until);
  if (!target) return target.error();
  Log(kLogNotice, "Recovering until " + options_->recover_until + " with the log in " +
                      options_->log_archive_dir);
  auto report = BringLogTo(
      files_.get(),
      {.directory = options_->dir, .archive = options_->log_archive_dir, .target = *target});
  if (!report) return WithPrefix("Can't recover: ", report.error());
  Log(kLogNotice, "Recovered: the last record is LSN " + std::to_string(report->lsn) +
                      ", of UNIX time " + SecondsText(report->unix_ms) + "; " +
                      std::to_string(report->bytes) + " bytes of log were added, in " +
                      std::to_string(report->segments) + " segments");
  if (!report->is_reached) {
    Log(kLogWarning, "The log in " + options_->log_archive_dir +
                         " ends there, before the moment that recover-until names");
  }
  Log(kLogWarning,
      "The log is not kept in log-archive-dir in this run. Start next time without recover-until "
      "and with another log-archive-dir, and make a backup");
  return Status::Ok();
}

// --- DEBUG RELOAD

// REQUIRES: no transaction is open. A signal waits: a last snapshot of half of the dump would take
// the dump's place.
Status Server::SaveAndLoad(const DumpReload& request) {
  if (request.save) {
    Status status;
    bool done = false;
    saver_->Abandon();
    saver_->Save([&](Status saved) {
      status = std::move(saved);
      done = true;
    });
    while (!done) {
      loop_->RunOnce(std::min(store_->EndIteration(), kMaxWaitMicros));
    }
    FIRN_RETURN_IF_ERROR(status);
  }
  if (request.flush) FlushEverything();
  FIRN_RETURN_IF_ERROR(LoadRdb(options_->dir + "/" + options_->dbfilename,
                               {.replace = request.merge, .stoppable = false}));
  return SyncLoaded();
}

void Server::FlushEverything() {
  store_->BeginGroup();
  for (uint32_t db = 0; db < store_->databases(); ++db) {
    NoteDatabaseChange(db);
    if (store_->EstimateKeys(db) > 0) store_->FlushDatabase(db);
  }
  store_->EndGroup();
  tracking_.InvalidateAll();
  scripting_->functions().Flush();
}

// Waits until all that was loaded is on the disk.
Status Server::SyncLoaded() {
  int waiting = 2;
  Status status;
  auto done = [&](Status synced) {
    if (!synced.ok()) status = std::move(synced);
    --waiting;
  };
  store_->SyncNow(done);
  scripting_->functions().Save(done);
  while (waiting > 0) {
    loop_->RunOnce(std::min(store_->EndIteration(), kMaxWaitMicros));
  }
  return status;
}

}  // namespace firn::server
