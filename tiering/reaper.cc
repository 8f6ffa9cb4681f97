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
// The notes' keys are told from those of pages by their length.
constexpr char kNotePrefix = 'R';
constexpr size_t kNoteKeySize = 9;

std::string NoteKey(uint64_t value_id) {
  std::string key(kNoteKeySize, kNotePrefix);
  StoreBig64(key.data() + 1, value_id);
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
  if (!RootView::Validate(root_bytes)) return;
  RootView root(root_bytes);
  if (root.small() || keyspace.pages == nullptr) return;
  Job job{.keyspace = keyspace.pages->id,
          .note = NoteKey(root.value_id()),
          .value_id = root.value_id(),
          .next = kRootPage + 1,
          .end = root.next_page()};
  store_.page_watchers_.OnValueGone(job.value_id);
  char end[4];
  StoreFixed(end, job.end);
  HashedKey key{job.note, keyspace.pages->table.HashOf(job.note)};
  store_.WriteValue(*keyspace.pages, key,
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
  log::Segment* segment = store_.segments_->Of(position);
  if (segment == nullptr) return;
  ++segment->holds;
  ++reads_;
  StartRecordFetch(&store_, {.position = position, .size_guess_bytes = 4096},
                   [this, id = keyspace.id, segment_id = segment->id](Result<FetchedRecord> read) {
                     --reads_;
                     if (log::Segment* held = store_.segments_->ById(segment_id)) --held->holds;
                     Keyspace* keyspace = store_.KeyspaceById(id);
                     if (keyspace == nullptr) return;
                     if (!read) {
                       store_.Log(3, "The pages of a deleted key stay: its root can't be read: " +
                                         read.error().message());
                       return;
                     }
                     auto root = log::UncompressPayload(read->record);
                     if (root) AddRoot(*keyspace, *root);
                   });
}

void Reaper::NoteFound(uint32_t pages_keyspace, std::string_view key) {
  if (key.size() != kNoteKeySize || key[0] != kNotePrefix) return;
  if (store_.Has(PlantedBug::kForgetReapNotes)) return;
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
  if (jobs_.empty() || waiting_ || store_.closing_ || !store_.map_rebuild_->complete()) {
    return false;
  }
  auto room = store_.log_->CheckRoom(kPagesAtOnce * kDeleteRecordBytes,
                                     log::LogWriter::Urgency::kFreesSpace);
  if (room != log::LogWriter::Room::kReady) return false;
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
