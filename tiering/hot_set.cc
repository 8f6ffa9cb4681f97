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
// Of maxmemory, what is noted may take so much.
constexpr uint64_t kNotedShare = 64;
constexpr uint64_t kLeastNoted = 64 << 10;
constexpr uint64_t kMostNoted = 64 << 20;
// Restoring ends where so much of maxmemory is left below the point at which values leave RAM.
constexpr uint64_t kFreeShare = 50;
constexpr size_t kFetchesAtOnce = 64;
// A worker is taken for some tens of milliseconds.
constexpr size_t kLookUpsAtOnce = 256;

uint32_t HeatOf(bool lfu, uint32_t use) {
  if (lfu) return std::min<uint32_t>(use, kLfuMaxCounter);
  return kLfuMaxCounter - 10 * std::min<uint32_t>(std::bit_width(use), 25);
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
void WriteNoted(const NoteFile& note, std::vector<HotSet::Noted>* noted, bool lfu) {
  std::sort(noted->begin(), noted->end(), [lfu](const HotSet::Noted& a, const HotSet::Noted& b) {
    return lfu ? a.use > b.use : a.use < b.use;
  });
  const std::string temporary = note.path() + ".new";
  auto file = note.files->Open(temporary, {.create = true, .truncate = true});
  if (!file) return;
  if (!(*file)->WriteAt(0, Encode(*noted, note.directory_id)).ok() || !(*file)->Sync().ok()) return;
  if (!note.files->Rename(temporary, note.path()).ok()) return;
  static_cast<void>(note.files->SyncDirectory(note.directory));
}

}  // namespace

struct HotSet::Found {
  Noted noted;
  std::string key;
};

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
      // Until then every miss asks the index, and these look-ups would be in its way.
      return store_.map_rebuild_->complete() && StepRestoring();
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
      [noted, note = NoteFileOf(store_)] { *noted = ReadNoted(note); },
      [this, noted] {
        remembered_ = std::move(*noted);
        phase_ = Phase::kRestoring;
      });
}

bool HotSet::HasRoom() const {
  const uint64_t limit = store_.options_.max_memory_bytes;
  return limit == 0 || store_.MemoryPressure() < -static_cast<int64_t>(limit / kFreeShare);
}

bool HotSet::StepRestoring() {
  if (next_ == remembered_.size() && found_.empty() && fetches_.empty() && !looking_up_) {
    EndRestoring();
    return false;
  }
  if (!HasRoom()) {
    // What would come now would only drive out what clients use.
    next_ = remembered_.size();
    found_.clear();
    return false;
  }
  if (!looking_up_ && found_.size() < kLookUpsAtOnce && next_ < remembered_.size()) LookUpMore();
  while (!found_.empty() && fetches_.size() < kFetchesAtOnce && HasRoom()) {
    Found found = std::move(found_.back());
    found_.pop_back();
    StartFetch(std::move(found));
  }
  return !found_.empty() && fetches_.empty();
}

// The file knows hashes; what leads to a value is its key.
void HotSet::LookUpMore() {
  looking_up_ = true;
  const size_t end = std::min(remembered_.size(), next_ + kLookUpsAtOnce);
  auto found = std::make_shared<std::vector<Found>>();
  auto wanted = std::make_shared<std::vector<Noted>>();
  for (; next_ < end; ++next_) {
    const Noted& noted = remembered_[next_];
    Keyspace* keyspace = store_.KeyspaceById(noted.keyspace);
    if (keyspace == nullptr) continue;
    bool is_known = false;
    keyspace->table.WalkRange(noted.hash, noted.hash, [&](Entry* entry) {
      is_known = true;
      if (entry->kind() == Entry::Kind::kStub) {
        found->push_back({noted, std::string(entry->key())});
      }
    });
    if (!is_known) wanted->push_back(noted);
  }
  store_.RunJob(
      io::WorkPriority::kBackground,
      [found, wanted, index = store_.index_] {
        // In the order of the index, where neighbours share blocks.
        std::sort(wanted->begin(), wanted->end(), [](const Noted& a, const Noted& b) {
          return std::tie(a.keyspace, a.hash) < std::tie(b.keyspace, b.hash);
        });
        for (const Noted& noted : *wanted) {
          auto roots = index->FindByHash(noted.keyspace, noted.hash);
          if (!roots) continue;
          for (auto& [key, root] : *roots) {
            // The bytes of a very long key are only in the log.
            if (!key.empty()) found->push_back({noted, std::move(key)});
          }
        }
        std::stable_sort(found->begin(), found->end(),
                         [](const Found& a, const Found& b) { return a.noted.use < b.noted.use; });
      },
      [this, found] {
        looking_up_ = false;
        // From the back, and before what came earlier only by a batch.
        if (!store_.access_clock_.lfu) std::reverse(found->begin(), found->end());
        found_.insert(found_.begin(), std::make_move_iterator(found->begin()),
                      std::make_move_iterator(found->end()));
      });
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
  if (!remembered_.empty()) {
    const int64_t micros = store_.environment_.loop->NowMicros() - begun_micros_;
    store_.Log(2, "Hot set restored: " + std::to_string(restored_) + " of " +
                      std::to_string(remembered_.size()) + " values in " +
                      std::to_string(micros / 1000) + " ms");
  }
  remembered_ = {};
  next_ = 0;
  phase_ = Phase::kIdle;
  next_walk_micros_ = store_.environment_.loop->NowMicros() + kWalkEveryMicros;
}

void HotSet::Stop() {
  while (!fetches_.empty()) EndFetch(&fetches_.front());
  ended_.clear();
  found_.clear();
}

// --- noting

uint64_t HotSet::Activity() const {
  const StoreStats& stats = store_.stats_;
  return stats.keyspace_hits + stats.warm.hits + stats.cold.hits + store_.log_->appended_lsn();
}

uint32_t HotSet::Threshold() const {
  const uint64_t limit = std::clamp(store_.options_.max_memory_bytes / kNotedShare / kNotedSize,
                                    kLeastNoted, kMostNoted);
  uint64_t count = 0;
  for (uint32_t heat = kLfuMaxCounter; heat > 0; --heat) {
    count += histogram_[heat];
    if (count > limit) return heat + 1;
  }
  return 0;
}

void HotSet::BeginWalk() {
  phase_ = Phase::kWalking;
  seen_activity_ = Activity();
  noted_.clear();
  keyspaces_.clear();
  next_hash_ = 0;
  counting_ = true;
  histogram_.assign(kLfuMaxCounter + 1, 0);
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
  threshold_ = Threshold();
  for (const Keyspace* slot : store_.slots_) keyspaces_.push_back(slot->id);
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
    noted_.push_back({.keyspace = keyspace, .use = use, .hash = hash});
  }
}

void HotSet::StartWriting() {
  phase_ = Phase::kWriting;
  auto noted = std::make_shared<std::vector<Noted>>(std::exchange(noted_, {}));
  store_.RunJob(
      io::WorkPriority::kBackground,
      [noted, note = NoteFileOf(store_), lfu = store_.access_clock_.lfu] {
        WriteNoted(note, noted.get(), lfu);
      },
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
  WriteNoted(NoteFileOf(store_), &noted_, store_.access_clock_.lfu);
}

}  // namespace firn
