#include "tiering/reaper.h"

#include <algorithm>
#include <vector>

#include "engine/base/check.h"
#include "engine/types/page_space.h"
#include "engine/types/root_format.h"
#include "tiering/fetcher.h"
#include "tiering/map_rebuild.h"
#include "tiering/record_fetch.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint32_t kPagesAtOnce = 64;
constexpr uint32_t kFewPages = 4;
constexpr uint64_t kDeleteRecordBytes = 128;
// The notes' keys are told from those of pages by their length: a prefix with a value's id; another
// one with the segment and offset of a root's record.
constexpr char kNotePrefix = 'R';
constexpr size_t kNoteKeySize = 9;
constexpr char kRecordNotePrefix = 'Q';
constexpr size_t kRecordNoteKeySize = 17;
constexpr uint32_t kRootGuessBytes = 4096;

std::string NoteKey(uint64_t value_id) {
  std::string key(kNoteKeySize, kNotePrefix);
  StoreBig64(key.data() + 1, value_id);
  return key;
}

std::string RecordNoteKey(const log::LogPosition& position) {
  std::string key(kRecordNoteKeySize, kRecordNotePrefix);
  StoreBig64(key.data() + 1, position.segment_id);
  StoreBig64(key.data() + 9, position.offset);
  return key;
}

}  // namespace

Reaper::~Reaper() { Stop(); }

void Reaper::Stop() {
  if (store_.fetcher_ != nullptr) store_.fetcher_->Release(&ticket_);
  waiting_ = false;
}

void Reaper::AddJob(Job job) {
  for (const Job& known : jobs_) {
    if (known.keyspace == job.keyspace && known.note == job.note) return;
  }
  jobs_.push_back(std::move(job));
}

void Reaper::AddRoot(Keyspace& keyspace, std::string_view root_bytes) {
  if (keyspace.pages != nullptr) AddRootTo(*keyspace.pages, root_bytes);
}

void Reaper::AddRootTo(Keyspace& pages, std::string_view root_bytes) {
  if (!RootView::Validate(root_bytes)) return;
  RootView root(root_bytes);
  if (root.small()) return;
  Job job{.keyspace = pages.id,
          .note = NoteKey(root.value_id()),
          .value_id = root.value_id(),
          .next = kRootPage + 1,
          .end = root.next_page()};
  store_.page_watchers_.OnValueGone(job.value_id);
  char end[4];
  StoreFixed(end, job.end);
  HashedKey key{job.note, pages.table.HashOf(job.note)};
  store_.WriteValue(pages, key,
                    {.type = ValueType::kReapNote, .bytes = {end, 4}, .known_new = true});
  AddJob(std::move(job));
}

void Reaper::WriteNote(Keyspace& pages, uint64_t value_id, uint32_t end) {
  const std::string note = NoteKey(value_id);
  HashedKey key{note, pages.table.HashOf(note)};
  char bytes[4];
  StoreFixed(bytes, end);
  const bool is_new = store_.FindEntry(pages, key) == nullptr;
  store_.WriteValue(pages, key,
                    {.type = ValueType::kReapNote, .bytes = {bytes, 4}, .known_new = is_new});
  // EraseNote must find it.
  if (Entry* entry = store_.FindEntry(pages, key)) entry->Set(Entry::kPinned);
}

void Reaper::EraseNote(Keyspace& pages, uint64_t value_id) {
  const std::string note = NoteKey(value_id);
  HashedKey key{note, pages.table.HashOf(note)};
  Entry* entry = store_.FindEntry(pages, key);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot);
  entry->Clear(Entry::kPinned);
  store_.DeleteKey(pages, key);
}

void Reaper::Reap(Keyspace& pages, uint64_t value_id, uint32_t end) {
  Job job{.keyspace = pages.id,
          .note = NoteKey(value_id),
          .value_id = value_id,
          .next = kRootPage + 1,
          .end = end};
  Entry* entry = store_.FindEntry(pages, {job.note, pages.table.HashOf(job.note)});
  if (entry != nullptr) entry->Clear(Entry::kPinned);
  AddJob(std::move(job));
}

void Reaper::AddRecord(Keyspace& keyspace, PackedPosition position) {
  if (keyspace.pages == nullptr || store_.segments_->Of(position) == nullptr) return;
  Keyspace& pages = *keyspace.pages;
  log::RecordView record;
  uint64_t needed = 0;
  const std::string_view warm = store_.log_->Warm(position);
  if (!warm.empty() && log::DecodeRecord(warm, &record, &needed) == log::DecodeOutcome::kOk) {
    if (const auto root = log::UncompressPayload(record)) return AddRootTo(pages, *root);
  }
  const log::LogPosition at = store_.segments_->Unpack(position);
  std::string note = RecordNoteKey(at);
  const HashedKey key{note, pages.table.HashOf(note)};
  store_.WriteValue(pages, key, {.type = ValueType::kReapNote, .bytes = {}, .known_new = true});
  ReadRoot(pages.id, std::move(note), at);
}

// The segment stays until the root has been taken.
void Reaper::ReadRoot(uint32_t pages_keyspace, std::string note, const log::LogPosition& position) {
  log::Segment* segment = store_.segments_->ById(position.segment_id);
  if (segment == nullptr) {
    // What came of the note was durable.
    roots_.push_back({.keyspace = pages_keyspace, .note = std::move(note)});
    return;
  }
  ++segment->holds;
  ++reads_;
  StartRecordFetch(
      &store_,
      {.position = store_.segments_->Pack(*segment, position.offset),
       .size_guess_bytes = kRootGuessBytes},
      [this,
       root = Root{.keyspace = pages_keyspace, .note = std::move(note), .segment_id = segment->id}](
          Result<FetchedRecord> read) mutable {
        --reads_;
        const auto bytes = read ? log::UncompressPayload(read->record)
                                : Result<std::string>(std::unexpected(read.error()));
        if (!bytes) {
          // The note stays, for the next start.
          store_.Log(3, "The pages of a deleted key stay: its root can't be read: " +
                            bytes.error().message());
          return Unhold(root.segment_id);
        }
        root.bytes = *bytes;
        roots_.push_back(std::move(root));
      });
}

void Reaper::Unhold(uint64_t segment_id) {
  if (log::Segment* held = store_.segments_->ById(segment_id)) --held->holds;
}

void Reaper::EndHolds() {
  while (!holds_.empty() &&
         (!store_.LogsChanges() || store_.log_->durable_lsn() >= holds_.front().lsn)) {
    Unhold(holds_.front().segment_id);
    holds_.pop_front();
  }
}

bool Reaper::HasNote(Keyspace& pages, const HashedKey& note) {
  const KeyAccess access{pages.db(), note, Access::kReplace, true};
  if (!Plan({&access, 1})) return false;
  const Entry* entry = store_.FindEntry(pages, note);
  return entry != nullptr && entry->kind() != Entry::Kind::kTombstone;
}

// What a start has found may be done with: the log went on.
bool Reaper::StepFound() {
  if (found_.empty()) return false;
  Root& root = found_.front();
  if (Keyspace* pages = store_.KeyspaceById(root.keyspace)) {
    const bool is_there = HasNote(*pages, {root.note, pages->table.HashOf(root.note)});
    if (waiting_) return false;
    store_.fetcher_->Release(&ticket_);
    const log::LogPosition position{
        .segment_id = LoadBig64(root.note.data() + 1),
        .offset = static_cast<uint32_t>(LoadBig64(root.note.data() + 9))};
    if (is_there) ReadRoot(root.keyspace, root.note, position);
  }
  if (root.segment_id != 0) Unhold(root.segment_id);
  found_.pop_front();
  return !found_.empty();
}

bool Reaper::StepRoots() {
  if (roots_.empty()) return false;
  Root& root = roots_.front();
  if (Keyspace* pages = store_.KeyspaceById(root.keyspace)) {
    const HashedKey note{root.note, pages->table.HashOf(root.note)};
    const bool is_there = HasNote(*pages, note);
    if (waiting_) return false;
    if (is_there) {
      store_.BeginGroup();
      AddRootTo(*pages, root.bytes);
      store_.DeleteKey(*pages, note);
      store_.EndGroup();
    }
    store_.fetcher_->Release(&ticket_);
  }
  if (root.segment_id != 0) holds_.push_back({store_.log_->appended_lsn(), root.segment_id});
  roots_.pop_front();
  return !roots_.empty();
}

void Reaper::NoteFound(uint32_t pages_keyspace, std::string_view key) {
  if (store_.Has(PlantedBug::kForgetReapNotes)) return;
  if (key.size() == kRecordNoteKeySize && key[0] == kRecordNotePrefix) {
    for (const Root& known : found_) {
      if (known.keyspace == pages_keyspace && known.note == key) return;
    }
    Root root{.keyspace = pages_keyspace, .note = std::string(key)};
    if (log::Segment* segment = store_.segments_->ById(LoadBig64(key.data() + 1))) {
      ++segment->holds;
      root.segment_id = segment->id;
    }
    found_.push_back(std::move(root));
    return;
  }
  if (key.size() != kNoteKeySize || key[0] != kNotePrefix) return;
  AddJob({.keyspace = pages_keyspace,
          .note = std::string(key),
          .value_id = LoadBig64(key.data() + 1),
          .next = kRootPage + 1});
}

bool Reaper::Plan(std::span<const KeyAccess> keys) {
  ticket_.on_ready = [this] { waiting_ = false; };
  switch (store_.fetcher_->Plan(keys, &ticket_)) {
    case PlanResult::kReady:
      return true;
    case PlanResult::kWaiting:
      waiting_ = true;
      return false;
    case PlanResult::kReadError:
      store_.Log(3, "Pages of a deleted key stay: " + ticket_.error().message());
      store_.fetcher_->Release(&ticket_);
      return false;
  }
  return false;
}

bool Reaper::Step() {
  EndHolds();
  if (waiting_ || store_.closing_ || !store_.map_rebuild_->complete()) return false;
  auto room = store_.log_->CheckRoom(kPagesAtOnce * kDeleteRecordBytes,
                                     log::LogWriter::Urgency::kFreesSpace);
  if (room != log::LogWriter::Room::kReady) return false;
  if (StepFound()) return true;
  if (!waiting_ && StepRoots()) return true;
  return !waiting_ && StepJobs();
}

bool Reaper::StepJobs() {
  if (jobs_.empty()) return false;
  // Somebody may still read the pages of a value that has gone.
  size_t held = 0;
  while (held < jobs_.size() && store_.page_watchers_.HoldPages(jobs_.front().value_id)) {
    jobs_.push_back(std::move(jobs_.front()));
    jobs_.pop_front();
    ++held;
  }
  if (held == jobs_.size()) return false;
  Job& job = jobs_.front();
  const uint32_t pages_were = job.end;
  Keyspace* pages = store_.KeyspaceById(job.keyspace);
  bool goes_on =
      pages != nullptr && (job.end == 0 ? ReadNote(*pages, &job) : DeletePages(*pages, &job));
  if (waiting_ || goes_on) return goes_on;
  jobs_.pop_front();
  // As in Redis, where what is small goes with its key.
  if (pages_were > kFewPages) ++store_.stats_.reaped_values;
  return !jobs_.empty();
}

// Both: true if the job goes on.
bool Reaper::ReadNote(Keyspace& pages, Job* job) {
  KeyAccess access{pages.db(), {job->note, pages.table.HashOf(job->note)}, Access::kRead, true};
  if (!Plan({&access, 1})) return false;
  Entry* entry = store_.FindEntry(pages, access.key);
  bool sound = entry != nullptr && entry->kind() == Entry::Kind::kHot &&
               !entry->Has(Entry::kInteger) && entry->value().size() == 4;
  if (sound) job->end = LoadFixed<uint32_t>(entry->value().data());
  store_.fetcher_->Release(&ticket_);
  return sound;
}

bool Reaper::DeletePages(Keyspace& pages, Job* job) {
  uint32_t last = std::min(job->end, job->next + kPagesAtOnce);
  std::vector<PageKey> names;
  std::vector<KeyAccess> keys;
  names.reserve(kPagesAtOnce);
  for (uint32_t page = job->next; page < last; ++page) {
    const PageKey& name = names.emplace_back(job->value_id, page);
    keys.push_back(
        {pages.db(), {name.view(), pages.table.HashOf(name.view())}, Access::kReplace, true});
  }
  // The note may have gone to disk since it was read.
  if (last >= job->end) {
    keys.push_back(
        {pages.db(), {job->note, pages.table.HashOf(job->note)}, Access::kReplace, true});
  }
  if (!Plan(keys)) return false;
  for (const KeyAccess& access : keys) store_.DeleteKey(pages, access.key);
  store_.fetcher_->Release(&ticket_);
  job->next = last;
  return job->next < job->end;
}

}  // namespace firn
