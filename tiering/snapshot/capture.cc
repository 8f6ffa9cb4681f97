#include "tiering/snapshot/capture.h"

#include "engine/base/check.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kSliceEntries = 512;
constexpr uint64_t kSliceBytes = 1 << 20;
// More than this is not left to be synced: it would have to stay mapped.
constexpr uint64_t kMostUnsynced = 32 << 20;

}  // namespace

void Capture::Begin(Done done) {
  CHECK(store_.group_depth_ == 0);
  if (store_.options_.durable) {
    done(Status::Ok());
    return;
  }
  waiting_.push_back(std::move(done));
  if (std::exchange(active_, true)) return;
  keyspaces_.clear();
  for (const Keyspace* keyspace : store_.slots_) keyspaces_.push_back(keyspace->id);
  next_hash_ = 0;
}

bool Capture::Step() {
  if (!active_) return false;
  Status failure;
  Progress progress = Advance(&failure);
  if (progress != Progress::kDone) return progress == Progress::kMore;
  for (Done& done : std::exchange(waiting_, {})) done(failure);
  active_ = false;
  return false;
}

// A walk by hash meets every entry that was there when it began and still is; what came since was
// logged.
Capture::Progress Capture::Advance(Status* failure) {
  if (store_.log_->unsynced_bytes() > kMostUnsynced) return Progress::kWait;
  switch (store_.log_->CheckRoom(2 * kSliceBytes, log::LogWriter::Urgency::kNormal)) {
    case log::LogWriter::Room::kReady:
      break;
    case log::LogWriter::Room::kWait:
      return Progress::kWait;
    case log::LogWriter::Room::kNoSpace:
      *failure = store_.log_->space_status();
      if (failure->ok()) *failure = Status(StatusCode::kNoSpace, "the disk is full");
      return Progress::kDone;
    case log::LogWriter::Room::kPoisoned:
      *failure = store_.log_->poison();
      return Progress::kDone;
  }
  uint64_t begin_bytes = store_.stats_.log_appended_bytes;
  std::vector<Entry*> entries;
  while (!keyspaces_.empty()) {
    if (store_.stats_.log_appended_bytes - begin_bytes >= kSliceBytes) return Progress::kMore;
    Keyspace* keyspace = store_.KeyspaceById(keyspaces_.back());
    if (keyspace == nullptr || keyspace->table.empty()) {
      keyspaces_.pop_back();
      next_hash_ = 0;
      continue;
    }
    entries.clear();
    next_hash_ = keyspace->table.Walk(next_hash_, kSliceEntries,
                                      [&](Entry* entry) { entries.push_back(entry); });
    if (next_hash_ == 0) keyspaces_.pop_back();
    for (Entry* entry : entries) {
      if (entry->kind() != Entry::Kind::kHot) continue;
      HashedKey key{entry->key(), keyspace->table.HashOf(entry->key())};
      if (store_.Checkpoint(*keyspace, key, entry)) continue;
      *failure = std::exchange(store_.run_error_, Status::Ok());
      if (failure->ok()) *failure = Status(StatusCode::kIoError, "the log refused a record");
      return Progress::kDone;
    }
  }
  return Progress::kDone;
}

}  // namespace firn
