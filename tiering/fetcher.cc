#include "tiering/fetcher.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "tiering/evictor.h"
#include "tiering/hot_set.h"
#include "tiering/left_keys.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"
#include "tiering/sweeper.h"

namespace firn {
namespace {

constexpr size_t kDoorkeeperBits = 1 << 20;
// Forgotten when an eighth is set: fuller, it takes strangers for acquaintances, and each that is
// admitted wrongly costs a demotion.
constexpr size_t kDoorkeeperFill = 8;
// With so much room below the level where demotion begins, everything that is asked for may stay.
constexpr int64_t kRoomyBytes = 4 << 20;
// Buffers of reads in flight may take this share of max_memory.
constexpr uint64_t kFetchShare = 16;
constexpr uint64_t kUnlimitedFetchBytes = 256 << 20;

uint64_t PinId(uint32_t keyspace, uint64_t hash) {
  return hash ^ (uint64_t{keyspace} * 0x9e3779b97f4a7c15ULL);
}

bool WantsValue(Access access) { return access == Access::kRead || access == Access::kUpdate; }

}  // namespace

Fetcher::Fetcher(StoreImpl* store) : store_(*store), seen_(kDoorkeeperBits / 64) {}

bool Fetcher::KnownAbsent(uint32_t keyspace, uint64_t hash) const {
  for (const auto& [id, absent] : known_absent_) {
    if (id == keyspace && absent == hash) return true;
  }
  return false;
}

// --- planning

PlanResult Fetcher::Plan(std::span<const KeyAccess> keys, Ticket* ticket) {
  known_absent_.clear();
  if (!ticket->error_.ok()) return PlanResult::kReadError;
  bool crowded = store_.fetch_memory_ > FetchBudget();
  bool complete = true;
  for (const KeyAccess& access : keys) {
    Keyspace& keyspace = store_.KeyspaceFor(access);
    switch (Judge(keyspace, access, ticket)) {
      case Verdict::kResident:
        break;
      case Verdict::kNeedsRead:
        complete = false;
        if (crowded) {
          // First come, first served: it goes on as the reads in flight come home.
          Queue(ticket, &readers_);
        } else {
          StartReads(keyspace, access, ticket);
        }
        break;
      case Verdict::kNeedsIndex:
        complete = false;
        StartIndexLookup(keyspace, access, ticket);
        break;
    }
  }
  if (complete) return PlanResult::kReady;
  // What is here already must still be here when the rest has come.
  for (const KeyAccess& access : keys) {
    Keyspace& keyspace = store_.KeyspaceFor(access);
    Entry* entry = store_.FindEntry(keyspace, access.key);
    if (entry != nullptr) Pin(keyspace, access.key, entry, ticket);
  }
  return PlanResult::kWaiting;
}

uint64_t Fetcher::FetchBudget() const {
  uint64_t limit = store_.options_.max_memory_bytes;
  return limit == 0 ? kUnlimitedFetchBytes : limit / kFetchShare;
}

bool Fetcher::MayLookAhead() const {
  return static_cast<int64_t>(store_.fetch_memory_) + store_.transient_memory_ <
         static_cast<int64_t>(FetchBudget());
}

Fetcher::Verdict Fetcher::Judge(Keyspace& keyspace, const KeyAccess& access, Ticket* ticket) {
  Entry* entry = store_.FindEntry(keyspace, access.key);
  if (entry != nullptr) {
    if (entry->kind() != Entry::Kind::kStub || !WantsValue(access.access)) {
      return Verdict::kResident;
    }
    bool warm = InstallWarm(keyspace, access, {.position = entry->position()}, ticket);
    return warm ? Verdict::kResident : Verdict::kNeedsRead;
  }
  auto is_rejected = [&](PackedPosition position) {
    for (const Ticket::Rejected& rejected : ticket->rejected_) {
      // What the index said is old if the key has been mapped and left to it again since.
      const bool is_old = position == 0 && rejected.lowerings != keyspace.lowerings;
      if (rejected.keyspace == keyspace.id && rejected.hash == access.key.hash &&
          rejected.position == position && !is_old) {
        return true;
      }
    }
    return false;
  };
  if (!keyspace.IsMapped(access.key.hash)) {
    return is_rejected(0) ? Verdict::kResident : Verdict::kNeedsIndex;
  }
  if (access.access == Access::kOverwrite && !keyspace.IsLowering(access.key.hash)) {
    return Verdict::kResident;
  }
  ColdMap::Candidates found;
  uint32_t count = keyspace.cold.Find(access.key.hash, &found);
  for (uint32_t i = 0; i < count; ++i) {
    if (is_rejected(found.slots[i].position)) continue;
    if (InstallWarm(keyspace, access, found.slots[i], ticket)) return Verdict::kResident;
    if (is_rejected(found.slots[i].position)) continue;
    return Verdict::kNeedsRead;
  }
  if (count > 0) known_absent_.emplace_back(keyspace.id, access.key.hash);
  return Verdict::kResident;
}

// Takes a value from the mapped window; false if the slot isn't there or is another key's.
bool Fetcher::InstallWarm(Keyspace& keyspace, const KeyAccess& access, ColdSlot slot,
                          Ticket* ticket) {
  std::string_view bytes = store_.log_->Warm(slot.position);
  if (bytes.empty()) return false;
  FetchedRecord fetched;
  uint64_t needed = 0;
  if (log::DecodeRecord(bytes, &fetched.record, &needed) != log::DecodeOutcome::kOk) return false;
  if (fetched.record.keyspace != keyspace.id || fetched.record.key != access.key.bytes) {
    ticket->rejected_.push_back({keyspace.id, access.key.hash, slot.position});
    return false;
  }
  if (fetched.record.compression != log::Compression::kNone) return false;
  Entry* entry = store_.InstallImage(keyspace, access.key,
                                     {.position = slot.position,
                                      .record = &fetched.record,
                                      .value = fetched.record.payload,
                                      .flags = Entry::kTransient});
  Pin(keyspace, access.key, entry, ticket);
  ++store_.stats_.warm.hits;
  return true;
}

void Fetcher::StartReads(Keyspace& keyspace, const KeyAccess& access, Ticket* ticket) {
  Entry* entry = store_.FindEntry(keyspace, access.key);
  if (entry != nullptr) {
    StartRead(keyspace, access, {entry->position(), SizeClassFor(entry->stub_size())}, ticket);
    return;
  }
  ColdMap::Candidates found;
  uint32_t count = keyspace.cold.Find(access.key.hash, &found);
  for (uint32_t i = 0; i < count; ++i) {
    bool rejected = false;
    for (const Ticket::Rejected& old : ticket->rejected_) {
      rejected |= old.position == found.slots[i].position && old.hash == access.key.hash;
    }
    if (!rejected) StartRead(keyspace, access, found.slots[i], ticket);
  }
}

void Fetcher::StartRead(Keyspace& keyspace, const KeyAccess& access, ColdSlot slot,
                        Ticket* ticket) {
  uint64_t serial = Register(ticket);
  bool head_only = !WantsValue(access.access);
  auto it = reads_.find(slot.position);
  if (it != reads_.end()) {
    for (uint64_t waiting : it->second.tickets) {
      if (waiting == serial) return;
    }
    ++ticket->reads_in_flight_;
    it->second.tickets.push_back(serial);
    return;
  }
  ++ticket->reads_in_flight_;
  reads_[slot.position] = {.keyspace = keyspace.id,
                           .hash = access.key.hash,
                           .key = std::string(access.key.bytes),
                           .head_only = head_only,
                           .begun_micros = store_.environment_.loop->NowMicros(),
                           .tickets = {serial}};
  ++store_.stats_.fetches;
  StartRecordFetch(&store_,
                   {.position = slot.position,
                    .size_guess_bytes = SizeClassBytes(slot.size_class),
                    .head_only = head_only},
                   [this, position = slot.position](Result<FetchedRecord> result) {
                     OnRead(position, std::move(result));
                   });
}

void Fetcher::OnRead(PackedPosition position, Result<FetchedRecord> result) {
  auto node = reads_.extract(position);
  CHECK(!node.empty());
  Read& read = node.mapped();
  const int64_t micros =
      std::max<int64_t>(0, store_.environment_.loop->NowMicros() - read.begun_micros);
  latency_.Add(static_cast<uint64_t>(micros));
  store_.NoteLatency(StoreLatency::kFetch, micros);
  Status error;
  PackedPosition rejected = 0;
  if (!result) {
    error = result.error();
  } else if (result->record.key != read.key || result->record.keyspace != read.keyspace) {
    rejected = position;
    ++store_.stats_.false_candidates;
  } else {
    InstallRead(read, position, *result, &error);
  }
  AnswerTickets(read.tickets, read, rejected, error);
}

void Fetcher::InstallRead(const Read& read, PackedPosition position, const FetchedRecord& fetched,
                          Status* error) {
  Keyspace* keyspace = store_.KeyspaceById(read.keyspace);
  if (keyspace == nullptr) return;
  HashedKey key{read.key, read.hash};
  Entry* entry = store_.FindEntry(*keyspace, key);
  // Only if the record is still the newest of its key.
  if (entry != nullptr) {
    if (entry->kind() != Entry::Kind::kStub || entry->position() != position) return;
  } else if (!keyspace->cold.Contains(read.hash, position)) {
    return;
  }
  StoreImpl::FetchedImage image{.position = position,
                                .record = &fetched.record,
                                .value = fetched.record.payload,
                                .head_only = !fetched.complete,
                                .flags = Entry::kTransient};
  std::string raw;
  if (fetched.complete && fetched.record.compression != log::Compression::kNone) {
    auto uncompressed = log::UncompressPayload(fetched.record);
    if (!uncompressed) {
      *error = uncompressed.error();
      return;
    }
    raw = std::move(*uncompressed);
    image.value = raw;
  }
  if (entry != nullptr && image.head_only) return;  // a stub has that already
  ++store_.stats_.cold.hits;
  store_.InstallImage(*keyspace, key, image);
}

void Fetcher::StartIndexLookup(Keyspace& keyspace, const KeyAccess& access, Ticket* ticket) {
  uint64_t serial = Register(ticket);
  std::string id(12, '\0');
  StoreFixed(id.data(), keyspace.id);
  StoreFixed(id.data() + 4, access.key.hash);
  id.append(access.key.bytes);
  auto it = lookups_.find(id);
  if (it != lookups_.end()) {
    for (uint64_t waiting : it->second.tickets) {
      if (waiting == serial) return;
    }
    ++ticket->reads_in_flight_;
    it->second.tickets.push_back(serial);
    return;
  }
  ++ticket->reads_in_flight_;
  lookups_[id] = {.keyspace = keyspace.id,
                  .hash = access.key.hash,
                  .key = std::string(access.key.bytes),
                  .head_only = true,
                  .begun_micros = store_.environment_.loop->NowMicros(),
                  .tickets = {serial},
                  .lowerings = keyspace.lowerings};
  store_.left_keys_->Hold(keyspace.id, access.key.hash);
  auto root = std::make_shared<Result<std::optional<IndexRoot>>>();
  IndexKey key{keyspace.id, access.key.hash, std::string(access.key.bytes)};
  store_.RunJob(
      io::WorkPriority::kUrgent,
      [index = store_.index_, key = std::move(key), root] { *root = index->Find(key); },
      [this, id, root] { OnIndexLookup(id, std::move(*root)); });
}

void Fetcher::OnIndexLookup(const std::string& id, Result<std::optional<IndexRoot>> root) {
  auto node = lookups_.extract(id);
  CHECK(!node.empty());
  Read& read = node.mapped();
  Status error;
  Keyspace* keyspace = store_.KeyspaceById(read.keyspace);
  if (!root) {
    error = root.error();
    ++store_.stats_.read_errors;
  } else if (keyspace != nullptr && !keyspace->IsMapped(read.hash) &&
             keyspace->lowerings == read.lowerings) {
    // Else the key's tickets plan again: it may have moved or changed since it was looked for.
    if (!root->has_value()) {
      NoteAbsent(read);
    } else if (store_.FindEntry(*keyspace, {read.key, read.hash}) == nullptr) {
      error = InstallRoot(*keyspace, read, **root);
    }
  }
  store_.left_keys_->Unhold(read.keyspace, read.hash);
  AnswerTickets(read.tickets, read, 0, error);
}

Status Fetcher::InstallRoot(Keyspace& keyspace, const Read& read, const IndexRoot& root) {
  const PackedPosition position = store_.segments_->Pack(root.position);
  if (position == kNoPosition) {
    ++store_.stats_.read_errors;
    return PointsNowhere(root.position);
  }
  store_.InstallStub(keyspace, {read.key, read.hash}, position, root);
  if (!keyspace.IsCounted(read.hash)) store_.AddLive(keyspace, position, root.logical_size);
  return Status::Ok();
}

void Fetcher::NoteAbsent(const Read& read) {
  for (uint64_t serial : read.tickets) {
    auto it = waiting_.find(serial);
    if (it == waiting_.end()) continue;
    it->second->rejected_.push_back({read.keyspace, read.hash, 0, read.lowerings});
    store_.left_keys_->Hold(read.keyspace, read.hash);
  }
}

// --- tickets

uint64_t Fetcher::Register(Ticket* ticket) {
  if (ticket->serial_ == 0) {
    ticket->serial_ = next_serial_++;
    waiting_[ticket->serial_] = ticket;
  }
  return ticket->serial_;
}

void Fetcher::AnswerTickets(const std::vector<uint64_t>& serials, const Read& read,
                            PackedPosition rejected, const Status& error) {
  Keyspace* keyspace = store_.KeyspaceById(read.keyspace);
  HashedKey key{read.key, read.hash};
  Entry* entry = keyspace != nullptr ? store_.FindEntry(*keyspace, key) : nullptr;
  bool pinned = false;
  for (uint64_t serial : serials) {
    auto it = waiting_.find(serial);
    if (it == waiting_.end()) continue;
    Ticket* ticket = it->second;
    if (rejected != 0) ticket->rejected_.push_back({read.keyspace, read.hash, rejected});
    if (!error.ok()) ticket->error_ = error;
    if (entry != nullptr) {
      Pin(*keyspace, key, entry, ticket);
      pinned = true;
    }
    CHECK(ticket->reads_in_flight_ > 0);
    --ticket->reads_in_flight_;
  }
  // Nobody waits any more: what was brought goes back.
  if (entry != nullptr && !pinned && !entry->Has(Entry::kPinned)) {
    const bool left_stub = entry->kind() == Entry::Kind::kStub && keyspace->IsLeft(read.hash);
    if (entry->Has(Entry::kTransient) || left_stub) Settle(*keyspace, key, entry);
  }
  for (uint64_t serial : serials) {
    auto it = waiting_.find(serial);
    if (it == waiting_.end() || it->second->reads_in_flight_ > 0) continue;
    if (it->second->on_ready) it->second->on_ready();
  }
}

// A command may have pinned very many pages: then they are found by their hashes.
bool Fetcher::HasPinned(Ticket* ticket, uint32_t keyspace, const HashedKey& key) {
  auto is_it = [&](const Ticket::Pin& pin) {
    return pin.keyspace == keyspace && pin.hash == key.hash && pin.key == key.bytes;
  };
  constexpr size_t kFewPins = 32;
  if (ticket->pins_.size() > kFewPins) {
    if (ticket->pin_index_ == nullptr) {
      ticket->pin_index_ = std::make_unique<std::unordered_map<uint64_t, uint32_t>>();
      for (uint32_t i = 0; i < ticket->pins_.size(); ++i) {
        const Ticket::Pin& pin = ticket->pins_[i];
        (*ticket->pin_index_)[PinId(pin.keyspace, pin.hash)] = i;
      }
    }
    auto it = ticket->pin_index_->find(PinId(keyspace, key.hash));
    if (it == ticket->pin_index_->end()) return false;
    if (is_it(ticket->pins_[it->second])) return true;
  }
  return std::ranges::any_of(ticket->pins_, is_it);
}

void Fetcher::Pin(Keyspace& keyspace, const HashedKey& key, Entry* entry, Ticket* ticket) {
  if (HasPinned(ticket, keyspace.id, key)) return;
  const uint64_t id = PinId(keyspace.id, key.hash);
  ticket->pins_.push_back({keyspace.id, key.hash, std::string(key.bytes)});
  if (ticket->pin_index_ != nullptr) {
    (*ticket->pin_index_)[id] = static_cast<uint32_t>(ticket->pins_.size() - 1);
  }
  Pinned& pinned = pins_[id];
  if (pinned.tickets++ == 0) {
    pinned.bytes = entry->MemoryBytes();
    pinned_bytes_ += pinned.bytes;
  }
  entry->Set(Entry::kPinned);
}

void Fetcher::Unpin(const Ticket::Pin& pin) {
  auto it = pins_.find(PinId(pin.keyspace, pin.hash));
  CHECK(it != pins_.end());
  if (--it->second.tickets > 0) return;
  pinned_bytes_ -= it->second.bytes;
  pins_.erase(it);
  Keyspace* keyspace = store_.KeyspaceById(pin.keyspace);
  if (keyspace == nullptr) return;
  HashedKey key{pin.key, pin.hash};
  Entry* entry = store_.FindEntry(*keyspace, key);
  if (entry == nullptr) return;
  entry->Clear(Entry::kPinned);
  Settle(*keyspace, key, entry);
}

// What becomes of an entry that nobody waits for any more.
void Fetcher::Settle(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  if (entry->kind() == Entry::Kind::kTombstone) {
    if (store_.left_keys_->MayForget(keyspace, key.hash, *entry)) {
      store_.left_keys_->Forget(keyspace, key, entry);
    }
    return;
  }
  if (!entry->Has(Entry::kTransient)) {
    const bool left_stub = entry->kind() == Entry::Kind::kStub && keyspace.IsLeft(key.hash);
    if (left_stub && store_.IsDemotable(*entry)) store_.Demote(keyspace, key, entry);
    return;
  }
  store_.EndTransient(entry);
  if (!store_.options_.tiering || !store_.IsDemotable(*entry)) return;
  if (entry->kind() == Entry::Kind::kHot && Admit(key.hash)) {
    ++store_.stats_.promotions;
    store_.TellMove(keyspace, key.bytes, TierMove::kPromoted);
    return;
  }
  if (entry->kind() == Entry::Kind::kHot) ++store_.stats_.admissions_refused;
  store_.Demote(keyspace, key, entry);
}

bool Fetcher::Admit(uint64_t hash) {
  // What was hot before the start has a better claim to the room.
  if (store_.MemoryPressure() < -kRoomyBytes && store_.hot_set_->left() == 0) return true;
  size_t bit = hash % kDoorkeeperBits;
  uint64_t mask = 1ull << (bit % 64);
  bool seen = seen_[bit / 64] & mask;
  if (!seen) {
    seen_[bit / 64] |= mask;
    if (++seen_count_ > kDoorkeeperBits / kDoorkeeperFill) {
      std::fill(seen_.begin(), seen_.end(), 0);
      seen_count_ = 0;
    }
  }
  return seen;
}

void Fetcher::Release(Ticket* ticket) {
  if (ticket->serial_ != 0) {
    waiting_.erase(ticket->serial_);
    ticket->serial_ = 0;
  }
  ticket->reads_in_flight_ = 0;
  ticket->queued_ = false;
  ticket->pages_wanted_ = 0;
  ticket->error_ = Status::Ok();
  for (const Ticket::Rejected& rejected : ticket->rejected_) {
    if (rejected.position == 0) store_.left_keys_->Unhold(rejected.keyspace, rejected.hash);
  }
  ticket->rejected_.clear();
  ticket->pin_index_.reset();
  for (const Ticket::Pin& pin : std::exchange(ticket->pins_, {})) Unpin(pin);
}

// --- writers

void Fetcher::Queue(Ticket* ticket, std::deque<uint64_t>* queue) {
  if (ticket->queued_) return;
  ticket->queued_ = true;
  ticket->queued_micros_ = store_.environment_.loop->NowMicros();
  ++store_.stats_.writers_delayed;
  queue->push_back(Register(ticket));
}

Store::WriteGate Fetcher::CheckWrite(uint64_t bytes, bool frees_space, Ticket* ticket) {
  using Gate = Store::WriteGate;
  if (!store_.log_->poison().ok()) return Gate::kLogFailed;
  if (store_.LogsChanges() || store_.options_.tiering) {
    auto urgency =
        frees_space ? log::LogWriter::Urgency::kFreesSpace : log::LogWriter::Urgency::kNormal;
    switch (store_.log_->CheckRoom(bytes, urgency)) {
      case log::LogWriter::Room::kReady:
        break;
      case log::LogWriter::Room::kWait:
        Queue(ticket, &writers_);
        return Gate::kWait;
      case log::LogWriter::Room::kNoSpace:
        // The file system's own word, or the limit that maxdisk sets.
        if (store_.options_.max_disk_bytes == 0 ||
            store_.log_->space_status().error_number() != 0) {
          return Gate::kDiskFull;
        }
        if (store_.options_.tiering && !frees_space && store_.evictor_->Begin()) {
          Queue(ticket, &writers_);
          return Gate::kWait;
        }
        return Gate::kOutOfSpace;
      case log::LogWriter::Room::kPoisoned:
        return Gate::kLogFailed;
    }
  }
  if (frees_space) return Gate::kOk;
  if (store_.settler_->overloaded()) {
    Queue(ticket, &writers_);
    return Gate::kWait;
  }
  switch (store_.sweeper_->CheckMemory(bytes)) {
    case Sweeper::MemoryGate::kOk:
      return Gate::kOk;
    case Sweeper::MemoryGate::kWait:
      Queue(ticket, &writers_);
      return Gate::kWait;
    case Sweeper::MemoryGate::kFull:
      return Gate::kOutOfMemory;
  }
  return Gate::kOk;
}

void Fetcher::WakeFirst(std::deque<uint64_t>* queue) {
  uint64_t serial = queue->front();
  queue->pop_front();
  auto it = waiting_.find(serial);
  if (it == waiting_.end() || !it->second->queued_) return;
  it->second->queued_ = false;
  const int64_t micros = store_.environment_.loop->NowMicros() - it->second->queued_micros_;
  store_.stats_.writers_delayed_us += static_cast<uint64_t>(micros);
  if (queue == &writers_) store_.NoteLatency(StoreLatency::kDemotionWait, micros);
  if (it->second->on_ready) it->second->on_ready();
}

void Fetcher::Step() {
  // Waiters that are refused again queue up anew: each is woken at most once a step.
  for (size_t left = readers_.size(); left > 0; --left) {
    if (store_.fetch_memory_ > FetchBudget()) break;
    WakeFirst(&readers_);
  }
  for (size_t left = writers_.size(); left > 0; --left) {
    if (store_.settler_->overloaded() || !store_.sweeper_->MayWrite()) break;
    if (store_.fetch_memory_ > FetchBudget()) break;
    WakeFirst(&writers_);
  }
}

}  // namespace firn
