#include "tiering/hot_set.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/crc32c.h"
#include "tiering/fetcher.h"
#include "tiering/map_rebuild.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr char kMagic[] = "FIRNHOT\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderSize = 24;
constexpr size_t kNotedSize = 16;
constexpr size_t kChecksummedFrom = 16;

constexpr int64_t kWalkEveryMicros = 60'000'000;
constexpr uint64_t kWalkEntries = 2048;
// Each of them is looked for in what was noted.
constexpr uint64_t kStubsAtOnce = 512;
// Of maxmemory, what is noted may take so much.
constexpr uint64_t kNotedShare = 64;
constexpr uint64_t kLeastNoted = 64 << 10;
constexpr uint64_t kMostNoted = 64 << 20;
// Restoring ends where so much of maxmemory is left below the point at which values leave RAM.
constexpr uint64_t kFreeShare = 50;
constexpr size_t kFetchesAtOnce = 64;
constexpr size_t kStartsAtOnce = 256;

uint32_t HeatOf(bool lfu, uint32_t use) {
  if (lfu) return std::min<uint32_t>(use, kLfuMaxCounter);
  return kLfuMaxCounter - 10 * std::min<uint32_t>(std::bit_width(use), 25);
}

bool IsBefore(const HotSet::Noted& a, const HotSet::Noted& b) {
  return std::tie(a.keyspace, a.hash) < std::tie(b.keyspace, b.hash);
}

std::string Encode(const std::vector<HotSet::Noted>& noted, uint64_t directory_id) {
  std::string bytes(kHeaderSize, '\0');
  bytes.reserve(kHeaderSize + noted.size() * kNotedSize);
  std::memcpy(bytes.data(), kMagic, 8);
  StoreFixed(bytes.data() + 8, kVersion);
  StoreFixed(bytes.data() + 16, directory_id);
  for (const HotSet::Noted& item : noted) {
    AppendFixed(&bytes, item.keyspace);
    AppendFixed(&bytes, item.use);
    AppendFixed(&bytes, item.hash);
  }
  StoreFixed(bytes.data() + 12, Crc32c(std::string_view(bytes).substr(kChecksummedFrom)));
  return bytes;
}

// Nothing if it makes no sense.
std::vector<HotSet::Noted> Decode(std::string_view bytes, uint64_t directory_id) {
  std::vector<HotSet::Noted> noted;
  if (bytes.size() < kHeaderSize || (bytes.size() - kHeaderSize) % kNotedSize != 0 ||
      bytes.substr(0, 8) != kMagic || LoadFixed<uint32_t>(bytes.data() + 8) != kVersion ||
      LoadFixed<uint32_t>(bytes.data() + 12) != Crc32c(bytes.substr(kChecksummedFrom)) ||
      LoadFixed<uint64_t>(bytes.data() + 16) != directory_id) {
    return noted;
  }
  noted.reserve((bytes.size() - kHeaderSize) / kNotedSize);
  for (size_t at = kHeaderSize; at < bytes.size(); at += kNotedSize) {
    noted.push_back({.keyspace = LoadFixed<uint32_t>(bytes.data() + at),
                     .use = LoadFixed<uint32_t>(bytes.data() + at + 4),
                     .hash = LoadFixed<uint64_t>(bytes.data() + at + 8)});
  }
  return noted;
}

struct NoteFile {
  io::FileSystem* files = nullptr;
  std::string directory;
  uint64_t directory_id = 0;

  std::string path() const { return directory + "/HOT"; }
};

NoteFile NoteFileOf(const StoreImpl& store) {
  return {.files = store.environment_.file_system,
          .directory = store.options_.directory,
          .directory_id = store.identity_.directory_id};
}

std::vector<HotSet::Noted> ReadNoted(const NoteFile& note) {
  if (!note.files->Exists(note.path())) return {};
  auto file = note.files->Open(note.path(), {.writable = false});
  if (!file) return {};
  auto size = (*file)->Size();
  if (!size || *size > kHeaderSize + kMostNoted * kNotedSize) return {};
  std::string bytes(*size, '\0');
  auto read = (*file)->ReadAt(0, bytes);
  if (!read) return {};
  bytes.resize(*read);
  return Decode(bytes, note.directory_id);
}

// A hint may fail: the one of before stays.
void WriteNoted(const NoteFile& note, const std::vector<HotSet::Noted>& noted) {
  const std::string temporary = note.path() + ".new";
  auto file = note.files->Open(temporary, {.create = true, .truncate = true});
  if (!file) return;
  if (!(*file)->WriteAt(0, Encode(noted, note.directory_id)).ok() || !(*file)->Sync().ok()) return;
  if (!note.files->Rename(temporary, note.path()).ok()) return;
  static_cast<void>(note.files->SyncDirectory(note.directory));
}

}  // namespace

struct HotSet::Fetch {
  Found found;
  uint32_t db = 0;
  bool pages = false;
  Ticket ticket;
  std::list<Fetch>::iterator self;
};

HotSet::HotSet(StoreImpl* store) : store_(*store) {}
HotSet::~HotSet() { Stop(); }

bool HotSet::IsOn() const {
  return store_.options_.keep_hot_set && store_.options_.durable && store_.options_.tiering;
}

bool HotSet::Step() {
  ended_.clear();
  if (!IsOn() || store_.closing_) return false;
  switch (phase_) {
    case Phase::kStart:
      StartReading();
      return false;
    case Phase::kRestoring:
      return StepRestoring();
    case Phase::kIdle:
      if (store_.environment_.loop->NowMicros() < next_walk_micros_) return false;
      next_walk_micros_ = store_.environment_.loop->NowMicros() + kWalkEveryMicros;
      if (Activity() == seen_activity_) return false;
      BeginWalk();
      return true;
    case Phase::kWalking:
      if (WalkSome(kWalkEntries)) return true;
      StartWriting();
      return false;
    case Phase::kReading:
    case Phase::kWriting:
      break;
  }
  return false;
}

// --- restoring

void HotSet::StartReading() {
  phase_ = Phase::kReading;
  begun_micros_ = store_.environment_.loop->NowMicros();
  auto noted = std::make_shared<std::vector<Noted>>();
  store_.RunJob(
      io::WorkPriority::kBackground,
      [noted, note = NoteFileOf(store_)] {
        *noted = ReadNoted(note);
        std::sort(noted->begin(), noted->end(), IsBefore);
      },
      [this, noted] {
        remembered_ = std::move(*noted);
        remembered_count_ = remembered_.size();
        found_.resize(kLfuMaxCounter + 1);
        if (!remembered_.empty()) BeginTables();
        phase_ = Phase::kRestoring;
      });
}

uint64_t HotSet::left() const {
  if (phase_ != Phase::kRestoring) return 0;
  const uint64_t to_be_met = remembered_.size() - std::min(met_, remembered_.size());
  return to_be_met + found_count_ + fetches_.size();
}

bool HotSet::HasRoom() const {
  const uint64_t limit = store_.options_.max_memory_bytes;
  return limit == 0 || store_.MemoryPressure() < -static_cast<int64_t>(limit / kFreeShare);
}

bool HotSet::StepRestoring() {
  // What would come now would only drive out what clients use.
  if (!HasRoom()) Forget();
  const bool more_stubs = !remembered_.empty() && MeetStubs();
  if (!more_stubs && store_.map_rebuild_->complete()) remembered_ = {};
  // Many may be in RAM already: then nothing is under way that would end.
  size_t starts = 0;
  for (; found_count_ > 0 && fetches_.size() < kFetchesAtOnce && HasRoom(); ++starts) {
    if (starts == kStartsAtOnce) return true;
    StartFetch(TakeHottest());
  }
  if (remembered_.empty() && found_count_ == 0 && fetches_.empty()) {
    EndRestoring();
    return false;
  }
  return more_stubs;
}

// The tail of the log is in the tables, and not in what the rebuild reads. True if there is more.
bool HotSet::MeetStubs() {
  if (keyspaces_.empty()) return false;
  Keyspace* keyspace = store_.KeyspaceById(keyspaces_.back());
  if (keyspace != nullptr) {
    next_hash_ = keyspace->table.Walk(next_hash_, kStubsAtOnce, [&](Entry* entry) {
      if (entry->kind() != Entry::Kind::kStub) return;
      const Met stub{.hash = keyspace->table.HashOf(entry->key()), .key = entry->key()};
      Meet(keyspace->id, {&stub, 1});
    });
  } else {
    next_hash_ = 0;
  }
  if (next_hash_ == 0) keyspaces_.pop_back();
  return !keyspaces_.empty();
}

void HotSet::Meet(uint32_t keyspace, std::span<const Met> all) {
  if (remembered_.empty() || all.empty()) return;
  auto at = std::lower_bound(remembered_.begin(), remembered_.end(),
                             Noted{.keyspace = keyspace, .hash = all.front().hash}, IsBefore);
  for (const Met& met : all) {
    const Noted wanted{.keyspace = keyspace, .hash = met.hash};
    while (at != remembered_.end() && IsBefore(*at, wanted)) ++at;
    if (at == remembered_.end()) return;
    if (!met.key.empty() && !IsBefore(wanted, *at)) Find(*at, met.key);
  }
}

void HotSet::Find(const Noted& noted, std::string_view key) {
  found_[HeatOf(store_.access_clock_.lfu, noted.use)].push_back({noted, std::string(key)});
  ++found_count_;
  ++met_;
}

HotSet::Found HotSet::TakeHottest() {
  for (size_t heat = found_.size(); heat-- > 0;) {
    if (found_[heat].empty()) continue;
    Found found = std::move(found_[heat].front());
    found_[heat].pop_front();
    --found_count_;
    return found;
  }
  CHECK_MSG(false, "the found values were counted wrongly");
}

void HotSet::Forget() {
  remembered_ = {};
  keyspaces_.clear();
  for (std::deque<Found>& same_heat : found_) same_heat.clear();
  found_count_ = 0;
}

void HotSet::StartFetch(Found found) {
  Keyspace* keyspace = store_.KeyspaceById(found.noted.keyspace);
  if (keyspace == nullptr) return;
  Fetch& fetch = fetches_.emplace_back();
  fetch.self = std::prev(fetches_.end());
  fetch.found = std::move(found);
  fetch.db = keyspace->db();
  fetch.pages = keyspace->holds_pages();
  fetch.ticket.on_ready = [this, &fetch] { Continue(&fetch); };
  Continue(&fetch);
}

void HotSet::Continue(Fetch* fetch) {
  const Noted& noted = fetch->found.noted;
  Keyspace* keyspace = store_.KeyspaceById(noted.keyspace);
  if (keyspace == nullptr || store_.closing_) return EndFetch(fetch);
  const KeyAccess access{.db = keyspace->db(),
                         .key = {fetch->found.key, noted.hash},
                         .access = Access::kRead,
                         .pages = keyspace->holds_pages()};
  const PlanResult plan = store_.fetcher_->Plan({&access, 1}, &fetch->ticket);
  if (plan == PlanResult::kWaiting) return;
  Entry* entry = plan == PlanResult::kReady ? store_.FindEntry(*keyspace, access.key) : nullptr;
  if (entry != nullptr && entry->kind() == Entry::Kind::kHot && entry->Has(Entry::kTransient)) {
    store_.EndTransient(entry);
    const int64_t now = store_.now_ms();
    entry->set_access(store_.access_clock_.lfu
                          ? (LfuInit(now) & ~0xffu) | std::min(noted.use, kLfuMaxCounter)
                          : LruNow(now - static_cast<int64_t>(noted.use) * 1000));
    ++restored_;
  }
  EndFetch(fetch);
}

void HotSet::EndFetch(Fetch* fetch) {
  store_.fetcher_->Release(&fetch->ticket);
  // Its own waiter may be what runs now.
  ended_.splice(ended_.end(), fetches_, fetch->self);
}

void HotSet::EndRestoring() {
  if (remembered_count_ > 0) {
    const int64_t micros = store_.environment_.loop->NowMicros() - begun_micros_;
    store_.Log(2, "Hot set restored: " + std::to_string(restored_) + " of " +
                      std::to_string(remembered_count_) + " values in " +
                      std::to_string(micros / 1000) + " ms");
  }
  found_ = {};
  phase_ = Phase::kIdle;
  next_walk_micros_ = store_.environment_.loop->NowMicros() + kWalkEveryMicros;
}

void HotSet::Stop() {
  while (!fetches_.empty()) EndFetch(&fetches_.front());
  ended_.clear();
  Forget();
}

// --- noting

uint64_t HotSet::Activity() const {
  const StoreStats& stats = store_.stats_;
  return stats.keyspace_hits + stats.warm.hits + stats.cold.hits + store_.log_->appended_lsn();
}

// Of the heat at which all don't fit any more, some are noted.
void HotSet::SetThreshold() {
  const uint64_t limit = std::clamp(store_.options_.max_memory_bytes / kNotedShare / kNotedSize,
                                    kLeastNoted, kMostNoted);
  threshold_left_ = limit;
  for (threshold_ = kLfuMaxCounter; threshold_ > 0; --threshold_) {
    if (histogram_[threshold_] > threshold_left_) return;
    threshold_left_ -= histogram_[threshold_];
  }
}

void HotSet::BeginWalk() {
  phase_ = Phase::kWalking;
  seen_activity_ = Activity();
  noted_.clear();
  counting_ = true;
  histogram_.assign(kLfuMaxCounter + 1, 0);
  BeginTables();
}

void HotSet::BeginTables() {
  keyspaces_.clear();
  next_hash_ = 0;
  for (const Keyspace* keyspace : store_.slots_) keyspaces_.push_back(keyspace->id);
}

// Twice over all tables: the first time counts how many are how hot, the second notes those that
// are hot enough to fit. True if there is more to walk.
bool HotSet::WalkSome(uint64_t max_entries) {
  Keyspace* keyspace = keyspaces_.empty() ? nullptr : store_.KeyspaceById(keyspaces_.back());
  if (keyspace != nullptr) {
    next_hash_ = keyspace->table.Walk(next_hash_, max_entries, [&](Entry* entry) {
      if (entry->kind() != Entry::Kind::kHot || entry->Has(Entry::kTransient)) return;
      Note(keyspace->id, keyspace->table.HashOf(entry->key()), entry->access());
    });
  } else {
    next_hash_ = 0;
  }
  if (next_hash_ != 0) return true;
  if (!keyspaces_.empty()) keyspaces_.pop_back();
  if (!keyspaces_.empty()) return true;
  if (!std::exchange(counting_, false)) return false;
  SetThreshold();
  BeginTables();
  return true;
}

void HotSet::Note(uint32_t keyspace, uint64_t hash, uint32_t access) {
  const AccessPolicy& clock = store_.access_clock_;
  const int64_t now = store_.now_ms();
  const uint32_t use = clock.lfu
                           ? LfuDecayed(access, now, clock.parameters)
                           : static_cast<uint32_t>(std::max<int64_t>(IdleSeconds(access, now), 0));
  const uint32_t heat = HeatOf(clock.lfu, use);
  if (counting_) {
    ++histogram_[heat];
  } else if (heat >= threshold_ && noted_.size() < kMostNoted) {
    if (heat == threshold_ && threshold_left_ == 0) return;
    if (heat == threshold_) --threshold_left_;
    noted_.push_back({.keyspace = keyspace, .use = use, .hash = hash});
  }
}

void HotSet::StartWriting() {
  phase_ = Phase::kWriting;
  auto noted = std::make_shared<std::vector<Noted>>(std::exchange(noted_, {}));
  store_.RunJob(
      io::WorkPriority::kBackground,
      [noted, note = NoteFileOf(store_)] { WriteNoted(note, *noted); },
      [this] { phase_ = Phase::kIdle; });
}

void HotSet::Finish() {
  Stop();
  // What was not restored yet is still what is worth restoring.
  if (!IsOn() || phase_ == Phase::kStart || phase_ == Phase::kReading ||
      phase_ == Phase::kRestoring) {
    return;
  }
  BeginWalk();
  while (WalkSome(kWalkEntries)) continue;
  WriteNoted(NoteFileOf(store_), noted_);
}

}  // namespace firn
