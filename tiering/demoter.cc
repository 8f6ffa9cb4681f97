#include "tiering/demoter.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/types/page_space.h"
#include "engine/types/root_format.h"
#include "tiering/indexer.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// A slice of either pass: about a millisecond.
constexpr int64_t kEntriesAtOnce = 512;
constexpr int64_t kBytesAtOnce = 1 << 20;

}  // namespace

void Demoter::Start(uint32_t db, std::vector<std::string> keys,
                    std::move_only_function<void(int64_t)> done) {
  auto job = std::make_shared<Job>();
  job->values.reserve(keys.size());
  for (std::string& key : keys) job->values.push_back({.key = std::move(key)});
  Begin(std::move(job), db, std::move(done));
}

void Demoter::StartPages(uint32_t db, std::string key, Store::PageChoice pages,
                         std::move_only_function<void(int64_t)> done) {
  CHECK(pages.step > 0);
  auto job = std::make_shared<Job>();
  job->values.push_back({.key = std::move(key)});
  job->pages = pages;
  Begin(std::move(job), db, std::move(done));
}

// Whether a page is among those that are to go; kRootPage is the value itself.
bool Demoter::Moves(const Job& job, uint32_t page) {
  if (!job.pages) return true;
  return page >= job.pages->first && (page - job.pages->first) % job.pages->step == 0;
}

void Demoter::Begin(std::shared_ptr<Job> job, uint32_t db,
                    std::move_only_function<void(int64_t)> done) {
  all_.push_back(job);
  job->keyspace = store_.KeyspaceOf(db).id;
  job->done = std::move(done);
  Slice slice{kEntriesAtOnce, kBytesAtOnce};
  Progress progress = LogSome(job.get(), &slice);
  Advance(std::move(job), progress);
}

void Demoter::Answer(std::shared_ptr<Job> job) {
  std::erase(all_, job);
  job->done(job->moved);
}

void Demoter::Stop() {
  jobs_.clear();
  while (!all_.empty()) Answer(all_.back());
}

bool Demoter::Step() {
  if (jobs_.empty() || store_.closing_) return false;
  auto job = std::move(jobs_.front());
  jobs_.pop_front();
  Slice slice{kEntriesAtOnce, kBytesAtOnce};
  Progress progress = job->logged ? MoveSome(job.get(), &slice) : LogSome(job.get(), &slice);
  Advance(std::move(job), progress);
  return progress == Progress::kMore || (progress == Progress::kDone && !jobs_.empty());
}

// Each job has its turn.
void Demoter::Advance(std::shared_ptr<Job> job, Progress progress) {
  if (progress != Progress::kDone) {
    jobs_.push_back(std::move(job));
  } else if (!job->logged) {
    AwaitIndex(std::move(job));
  } else {
    store_.log_->HideWindow();
    Answer(std::move(job));
  }
}

void Demoter::AwaitIndex(std::shared_ptr<Job> job) {
  job->logged = true;
  job->at = 0;
  store_.settler_->WhenSettled([this, job = std::move(job)]() mutable {
    store_.indexer_->WhenIndexed({.lsn = store_.log_->appended_lsn()},
                                 [this, job = std::move(job)](Status status) mutable {
                                   if (!status.ok()) return Answer(std::move(job));
                                   Slice slice{kEntriesAtOnce, kBytesAtOnce};
                                   Progress progress = MoveSome(job.get(), &slice);
                                   Advance(std::move(job), progress);
                                 });
  });
}

// --- the first pass

Demoter::Progress Demoter::LogSome(Job* job, Slice* slice) {
  Keyspace* keyspace = store_.KeyspaceById(job->keyspace);
  if (keyspace == nullptr) return Progress::kDone;
  for (; job->at < job->values.size(); ++job->at, job->next_page = 0) {
    Value& value = job->values[job->at];
    if (job->next_page == 0) {
      MeasureValue(*keyspace, &value);
      job->next_page = value.next;
    }
    for (; job->next_page < value.end; ++job->next_page) {
      if (slice->spent()) return Progress::kMore;
      Progress logged =
          LogEntry(*keyspace->pages, PageKey(value.value_id, job->next_page).view(), slice);
      if (logged != Progress::kMore) return logged;
    }
    if (slice->spent()) return Progress::kMore;
    Progress logged = LogEntry(*keyspace, value.key, slice);
    if (logged != Progress::kMore) return logged;
  }
  return Progress::kDone;
}

void Demoter::MeasureValue(Keyspace& keyspace, Value* value) {
  HashedKey key{value->key, keyspace.table.HashOf(value->key)};
  Entry* entry = store_.FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot || !HasRoot(entry->type())) return;
  RootView root(entry->value());
  if (root.small() || keyspace.pages == nullptr) return;
  value->value_id = root.value_id();
  value->next = kRootPage + 1;
  value->end = root.next_page();
}

// kDone: the log refuses, what is logged so far is all that can be moved.
Demoter::Progress Demoter::LogEntry(Keyspace& keyspace, std::string_view name, Slice* slice) {
  HashedKey key{name, keyspace.table.HashOf(name)};
  Entry* entry = store_.FindEntry(keyspace, key);
  --slice->entries;
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return Progress::kMore;
  if (IsLogPosition(entry->position()) && !entry->Has(Entry::kDirty)) return Progress::kMore;
  uint64_t bytes = log::PaddedSize(store_.LogicalSizeOf(*entry));
  if (!store_.log_->IsPopulated(bytes)) return Progress::kWait;
  switch (store_.log_->CheckRoom(bytes, log::LogWriter::Urgency::kNormal)) {
    case log::LogWriter::Room::kReady:
      break;
    case log::LogWriter::Room::kWait:
      return Progress::kWait;
    case log::LogWriter::Room::kNoSpace:
    case log::LogWriter::Room::kPoisoned:
      return Progress::kDone;
  }
  slice->bytes -= static_cast<int64_t>(bytes);
  return store_.Checkpoint(keyspace, key, entry) ? Progress::kMore : Progress::kDone;
}

// --- the second pass

Demoter::Progress Demoter::MoveSome(Job* job, Slice* slice) {
  Keyspace* keyspace = store_.KeyspaceById(job->keyspace);
  if (keyspace == nullptr) return Progress::kDone;
  for (; job->at < job->values.size(); ++job->at) {
    Value& value = job->values[job->at];
    for (; value.next < value.end; ++value.next) {
      if (slice->spent()) return Progress::kMore;
      if (!Moves(*job, value.next)) continue;
      const PageKey name(value.value_id, value.next);
      const bool moved = Move(*keyspace->pages, name.view(), slice);
      if (moved && job->pages) ++job->moved;
    }
    if (slice->spent()) return Progress::kMore;
    if (Moves(*job, kRootPage) && Move(*keyspace, value.key, slice)) ++job->moved;
  }
  return Progress::kDone;
}

bool Demoter::Move(Keyspace& keyspace, std::string_view name, Slice* slice) {
  HashedKey key{name, keyspace.table.HashOf(name)};
  Entry* entry = store_.FindEntry(keyspace, key);
  --slice->entries;
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot || !store_.IsDemotable(*entry)) {
    return false;
  }
  slice->bytes -= static_cast<int64_t>(entry->MemoryBytes());
  store_.TellMove(keyspace, name, TierMove::kDemoted);
  store_.Demote(keyspace, key, entry);
  ++store_.stats_.demotions;
  return true;
}

}  // namespace firn
