#include "tiering/store_impl.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/types/root_format.h"
#include "tiering/indexer.h"
#include "tiering/left_keys.h"
#include "tiering/reaper.h"
#include "tiering/settler.h"
#include "tiering/snapshot/capture.h"

namespace firn {
uint64_t LogicalRecordSize(uint64_t key_size, uint64_t payload_size, bool has_expiry) {
  return log::PaddedSize(sizeof(log::RecordHeader) + (has_expiry ? 8 : 0) + key_size +
                         payload_size);
}

// --- entries

void StoreImpl::Install(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  memo_ = {keyspace.id, key.hash, entry};
  keyspace.table.Insert(key, entry);
  memory_.Add(static_cast<int64_t>(entry->MemoryBytes()) + 9);
  if (entry->kind() != Entry::Kind::kTombstone) ++keyspace.resident;
}

void StoreImpl::EndTransient(Entry* entry) {
  if (!entry->Has(Entry::kTransient)) return;
  entry->Clear(Entry::kTransient);
  transient_memory_ -= static_cast<int64_t>(entry->MemoryBytes());
}

void StoreImpl::Exchange(Keyspace& keyspace, const HashedKey& key, Entry* old, Entry* entry) {
  EndTransient(old);
  if (old->Has(Entry::kPinned)) entry->Set(Entry::kPinned);
  if (old->Has(Entry::kBlind)) entry->Set(Entry::kBlind);
  memory_.Add(static_cast<int64_t>(entry->MemoryBytes()) -
              static_cast<int64_t>(old->MemoryBytes()));
  if (entry->kind() != Entry::Kind::kTombstone) ++keyspace.resident;
  if (old->kind() != Entry::Kind::kTombstone) --keyspace.resident;
  keyspace.table.Replace(key, old, entry);
  if (keyspace.holds_pages()) found_pages_.Replace(key.bytes, old, entry);
  memo_ = {keyspace.id, key.hash, entry};
  Entry::Free(old);
}

void StoreImpl::Discard(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  EndTransient(entry);
  memory_.Add(-static_cast<int64_t>(entry->MemoryBytes()) - 9);
  if (entry->kind() != Entry::Kind::kTombstone) --keyspace.resident;
  keyspace.table.Remove(key, entry);
  if (keyspace.holds_pages()) found_pages_.Replace(key.bytes, entry, nullptr);
  memo_ = {};
  Entry::Free(entry);
}

uint64_t StoreImpl::LogicalSizeOf(const Entry& entry) const {
  switch (entry.kind()) {
    case Entry::Kind::kTombstone:
      return 0;
    case Entry::Kind::kStub:
      return entry.stub_size();
    case Entry::Kind::kHot:
      break;
  }
  uint64_t payload = entry.Has(Entry::kInteger) ? 8 : entry.value().size();
  return LogicalRecordSize(entry.key().size(), payload, entry.Has(Entry::kHasExpiry));
}

void StoreImpl::AddLive(const Keyspace& keyspace, PackedPosition position, int64_t logical_bytes) {
  if (!IsLogPosition(position)) return;
  log::Segment* segment = segments_->Of(position);
  if (segment == nullptr) return;
  segment->live_bytes += static_cast<uint64_t>(logical_bytes);
  if (live_by_keyspace_.size() <= segment->slot) live_by_keyspace_.resize(segment->slot + 1);
  for (LiveShare& share : live_by_keyspace_[segment->slot]) {
    if (share.keyspace != keyspace.id) continue;
    share.bytes += logical_bytes;
    return;
  }
  live_by_keyspace_[segment->slot].push_back({keyspace.id, logical_bytes});
}

void StoreImpl::DropLiveShares(uint32_t keyspace_id) {
  for (const auto& [id, segment] : segments_->all()) {
    if (segment->slot >= live_by_keyspace_.size()) continue;
    std::erase_if(live_by_keyspace_[segment->slot], [&](const LiveShare& share) {
      if (share.keyspace != keyspace_id) return false;
      segment->live_bytes -= static_cast<uint64_t>(share.bytes);
      return true;
    });
  }
}

void StoreImpl::ForgetLive(const log::Segment& segment) {
  if (segment.slot < live_by_keyspace_.size()) live_by_keyspace_[segment.slot].clear();
}

// --- the log

std::optional<log::LogWriter::Appended> StoreImpl::Append(const log::RecordSpec& spec) {
  log::RecordSpec stamped = spec;
  if (group_depth_ > 0) {
    stamped.flags |= log::kFlagInGroup;
    if (LogsChanges() && !std::exchange(group_logged_, true)) {
      if (Status status = log_->BeginGroup(now_ms()); !status.ok()) run_error_ = status;
    }
  }
  auto appended = log_->Append(stamped, now_ms());
  if (!appended) {
    run_error_ = appended.error();
    stats_.last_write_ok = false;
    return std::nullopt;
  }
  stats_.last_write_ok = true;
  stats_.log_appended_bytes += log::PaddedSize(appended->size);
  return *appended;
}

bool StoreImpl::LogsChanges() const { return options_.durable || capture_->active(); }

// The log knows nothing of a group in which nothing changes: it begins with the first record.
void StoreImpl::BeginGroup() { ++group_depth_; }

void StoreImpl::EndGroup() {
  CHECK(group_depth_ > 0);
  if (--group_depth_ > 0 || !std::exchange(group_logged_, false)) return;
  if (Status status = log_->EndGroup(now_ms()); !status.ok()) run_error_ = status;
}

// --- changes

StoreImpl::Predecessor StoreImpl::FindPredecessor(Keyspace& keyspace, const HashedKey& key) {
  Predecessor found;
  found.entry = FindEntry(keyspace, key);
  if (found.entry != nullptr) {
    if (found.entry->kind() == Entry::Kind::kTombstone) return found;
    found.exists = true;
    found.has_expiry = found.entry->Has(Entry::kHasExpiry);
    found.position = found.entry->position();
    // A dirty value's size has changed since its image was counted; its segment is corrected by the
    // rebuild of counts.
    const bool counts = IsLogPosition(found.position) && !found.entry->Has(Entry::kDirty);
    found.logical_size = counts ? LogicalSizeOf(*found.entry) : 0;
    return found;
  }
  if (!keyspace.IsMapped(key.hash)) return found;  // the plan has looked: absent
  keyspace.cold.ForCandidates(key.hash, [&](ColdSlot slot) {
    if (found.exists) return;
    std::string_view bytes = log_->Warm(slot.position);
    if (bytes.empty()) {
      found.blind = true;
      return;
    }
    log::RecordView record;
    uint64_t needed = 0;
    if (log::DecodeRecordHead(bytes, &record, &needed) != log::DecodeOutcome::kOk) return;
    if (record.keyspace != keyspace.id || record.key != key.bytes) return;
    found.exists = true;
    found.has_expiry = record.expiry_ms != log::kNoExpiry;
    found.position = slot.position;
    found.logical_size = LogicalRecordSize(record.key.size(), record.raw_payload_size,
                                           record.expiry_ms != log::kNoExpiry);
    found.warm_slot = slot;
    found.warm_is_collection = HasRoot(static_cast<ValueType>(record.type));
  });
  if (found.exists) found.blind = false;
  return found;
}

// Takes the predecessor out of the counters and the cold map; the table is the caller's.
void StoreImpl::Supersede(Keyspace& keyspace, const HashedKey& key,
                          const Predecessor& predecessor) {
  if (predecessor.exists) {
    if (predecessor.entry != nullptr) FreePagesOf(keyspace, *predecessor.entry);
    if (predecessor.warm_is_collection) reaper_->AddRecord(keyspace, predecessor.position);
    AddLive(keyspace, predecessor.position, -static_cast<int64_t>(predecessor.logical_size));
    --keyspace.keys;
    if (predecessor.has_expiry) --keyspace.expiring;
    if (predecessor.warm_slot.position != 0) {
      CHECK(keyspace.cold.Remove(key.hash, predecessor.warm_slot.position));
    }
  }
}

uint8_t StoreImpl::WriteValue(Keyspace& keyspace, const HashedKey& key, const NewValue& value) {
  // Of what never was under this key there may still be a tombstone.
  const bool is_new = value.known_new && FindEntry(keyspace, key) == nullptr;
  const Predecessor predecessor = is_new ? Predecessor{} : FindPredecessor(keyspace, key);
  // A value goes together with the note that its pages are to go.
  const bool notes_pages = predecessor.exists && predecessor.entry != nullptr && !value.unlogged &&
                           HasRoot(predecessor.entry->type());
  if (notes_pages) BeginGroup();
  const uint8_t flags = WriteOver(keyspace, key, value, predecessor);
  if (notes_pages) EndGroup();
  return flags;
}

uint8_t StoreImpl::WriteOver(Keyspace& keyspace, const HashedKey& key, const NewValue& value,
                             const Predecessor& predecessor) {
  uint8_t integer_bytes[8];
  StoreFixed(integer_bytes, value.integer);
  std::string_view payload =
      value.is_integer ? std::string_view(reinterpret_cast<char*>(integer_bytes), 8) : value.bytes;
  bool has_expiry = value.expiry_ms != Entry::kNoExpiry;

  uint8_t flags = value.raw ? log::kFlagRawString : 0;
  if (predecessor.blind) {
    flags |= log::kFlagBlind;
  } else if (!predecessor.exists) {
    flags |= log::kFlagNewKey;
  }
  if (predecessor.has_expiry) flags |= log::kFlagSupersededExpiring;

  PackedPosition position = kNoPosition;
  if (LogsChanges() && !value.unlogged) {
    auto appended = Append({.kind = log::RecordKind::kImage,
                            .flags = flags,
                            .type = static_cast<uint8_t>(value.type),
                            .encoding = value.is_integer ? log::PayloadEncoding::kInteger
                                                         : log::PayloadEncoding::kBytes,
                            .keyspace = keyspace.id,
                            .expiry_ms = value.expiry_ms,
                            .key = key.bytes,
                            .payload = payload});
    if (!appended) return flags;
    position = appended->position;
    AddLive(keyspace, position,
            static_cast<int64_t>(LogicalRecordSize(key.bytes.size(), payload.size(), has_expiry)));
  } else if (!LogsChanges() && (predecessor.blind || predecessor.position != kNoPosition)) {
    position = kStalePosition;
  }

  const uint32_t old_access = predecessor.entry != nullptr ? predecessor.entry->access() : 0;
  const Entry::Spec spec{.type = value.type,
                         .key = key.bytes,
                         .value = value.bytes,
                         .is_integer = value.is_integer,
                         .integer = value.integer,
                         .expiry_ms = value.expiry_ms,
                         .access = access_clock_.OnWrite(old_access, now_ms()),
                         .position = position,
                         .flags = value.raw ? uint8_t{Entry::kRaw} : uint8_t{0}};
  if (OverwriteString(keyspace, spec, predecessor)) return flags;
  Entry* entry = Entry::Create(spec);
  Supersede(keyspace, key, predecessor);
  ++keyspace.keys;
  if (has_expiry) ++keyspace.expiring;
  if (predecessor.entry != nullptr) {
    Exchange(keyspace, key, predecessor.entry, entry);
  } else {
    Install(keyspace, key, entry);
  }
  if (predecessor.blind) {
    entry->Set(Entry::kBlind);
    settler_->Add(keyspace, key);
  }
  return flags;
}

// A string that is replaced by one of the same size, or a counter that moves on, keeps its block.
bool StoreImpl::OverwriteString(Keyspace& keyspace, const Entry::Spec& spec,
                                const Predecessor& predecessor) {
  Entry* entry = predecessor.entry;
  if (!predecessor.exists || entry == nullptr || spec.type != ValueType::kString) return false;
  const bool was_transient = entry->Has(Entry::kTransient);
  if (!entry->Overwrite(spec)) return false;
  if (was_transient) transient_memory_ -= static_cast<int64_t>(entry->MemoryBytes());
  AddLive(keyspace, predecessor.position, -static_cast<int64_t>(predecessor.logical_size));
  return true;
}

void StoreImpl::FreePagesOf(Keyspace& keyspace, const Entry& entry) {
  if (!HasRoot(entry.type()) || keyspace.holds_pages()) return;
  if (entry.kind() == Entry::Kind::kStub) {
    reaper_->AddRecord(keyspace, entry.position());
  } else if (entry.kind() == Entry::Kind::kHot) {
    reaper_->AddRoot(keyspace, entry.value());
  }
}

PackedPosition StoreImpl::LastPosition() const {
  log::LogPosition tail = log_->tail();
  tail.offset -= log::kRecordAlignment;
  return segments_->Pack(tail);
}

bool StoreImpl::DeleteKey(Keyspace& keyspace, const HashedKey& key, Pages pages) {
  Entry* entry = FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() == Entry::Kind::kTombstone) return false;
  bool has_pages = pages == Pages::kFree && HasRoot(entry->type());
  if (has_pages) BeginGroup();
  bool deleted = DeleteEntry(keyspace, key, entry, has_pages);
  if (has_pages) EndGroup();
  return deleted;
}

bool StoreImpl::DeleteEntry(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                            bool free_pages) {
  // Whatever the log says of the key lies before that.
  PackedPosition deleted_at = kNoPosition;
  if (LogsChanges() || entry->position() != kNoPosition) {
    uint8_t flags = entry->Has(Entry::kHasExpiry) ? log::kFlagSupersededExpiring : 0;
    auto appended = Append({.kind = log::RecordKind::kDelete,
                            .flags = flags,
                            .keyspace = keyspace.id,
                            .key = key.bytes});
    if (!appended) return false;
    deleted_at = appended->position;
  }
  if (free_pages) FreePagesOf(keyspace, *entry);
  if (!entry->Has(Entry::kDirty)) {
    AddLive(keyspace, entry->position(), -static_cast<int64_t>(LogicalSizeOf(*entry)));
  }
  --keyspace.keys;
  if (entry->Has(Entry::kHasExpiry)) --keyspace.expiring;
  // The index may still know the key, and nothing else says that it is gone; or a cold predecessor
  // waits to be taken out of the map.
  const bool answered_by_index = !keyspace.IsMapped(key.hash) || keyspace.IsLowering(key.hash);
  bool only_indexed = answered_by_index && !Has(PlantedBug::kForgetTombstones);
  bool needs_tombstone = only_indexed || entry->Has(Entry::kBlind) || entry->Has(Entry::kPinned);
  if (needs_tombstone) {
    // key.bytes may be the entry's own bytes; they are copied before the entry is freed.
    if (deleted_at == kNoPosition) deleted_at = LastPosition();
    Entry* tombstone =
        Entry::Create({.kind = Entry::Kind::kTombstone, .key = key.bytes, .position = deleted_at});
    Exchange(keyspace, key, entry, tombstone);
    if (only_indexed && keyspace.IsCounted(key.hash)) {
      left_keys_->Await(keyspace, key.hash, deleted_at);
    }
  } else {
    Discard(keyspace, key, entry);
  }
  return true;
}

void StoreImpl::Expire(Keyspace& keyspace, const HashedKey& key) {
  std::string name(key.bytes);
  const uint64_t before = log_->appended_lsn();
  const bool deleted = DeleteKey(keyspace, {name, key.hash});
  expiry_records_ += log_->appended_lsn() - before;
  if (!deleted) return;
  ++stats_.expired_keys;
  if (listener_ != nullptr) listener_->OnExpired(keyspace.db(), name);
}

void StoreImpl::Evict(Keyspace& keyspace, const HashedKey& key) {
  std::string name(key.bytes);
  if (!DeleteKey(keyspace, {name, key.hash})) return;
  ++stats_.evicted_keys;
  if (listener_ != nullptr) listener_->OnEvicted(keyspace.db(), name);
}

bool StoreImpl::EnsureImage(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  if (options_.durable || !LogsChanges() || IsLogPosition(entry->position())) return true;
  return LogImage(keyspace, key, entry, 0);
}

bool StoreImpl::BeginDirty(Keyspace& keyspace, Entry* entry) {
  if (entry->Has(Entry::kDirty)) {
    // Its effects of the last capture are no longer all.
    if (!LogsChanges()) {
      entry->Clear(Entry::kDirty);
      entry->set_position(kStalePosition);
    }
    return false;
  }
  if (IsLogPosition(entry->position())) {
    AddLive(keyspace, entry->position(), -static_cast<int64_t>(LogicalSizeOf(*entry)));
  }
  if (LogsChanges()) {
    entry->Set(Entry::kDirty);
  } else if (entry->position() != kNoPosition) {
    entry->set_position(kStalePosition);
  }
  return true;
}

void StoreImpl::NoteDirty(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                          const log::LogWriter::Appended& appended) {
  // Replay needs the root until an image that includes the effects has been indexed.
  log::Segment* root_segment = segments_->Of(entry->position());
  if (root_segment != nullptr) ++root_segment->holds;
  dirty_.push_back({.keyspace = keyspace.id,
                    .key = std::string(key.bytes),
                    .root_segment = root_segment != nullptr ? root_segment->id : 0,
                    .first_effect = segments_->Unpack(appended.position),
                    .first_lsn = appended.lsn});
}

Entry* StoreImpl::Splice(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                         std::span<const firn::Splice> splices, uint64_t new_size) {
  EndTransient(entry);
  if (entry->Has(Entry::kPaged)) {
    auto before = static_cast<int64_t>(entry->MemoryBytes());
    if (entry->SpliceInPlace(splices, new_size)) {
      memory_.Add(static_cast<int64_t>(entry->MemoryBytes()) - before);
      return entry;
    }
  } else if (entry->SpliceInPlace(splices, new_size)) {
    return entry;
  }
  Entry* spliced = entry->Spliced(splices, new_size);
  Exchange(keyspace, key, entry, spliced);
  return spliced;
}

void StoreImpl::ApplyEffect(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                            log::EffectCode code, uint64_t offset, std::string_view bytes) {
  CHECK(entry->Has(Entry::kPaged));
  if (LogsChanges()) {
    if (!EnsureImage(keyspace, key, entry)) return;
    std::string operands(1, static_cast<char>(code));
    if (code == log::EffectCode::kSetRange) AppendFixed(&operands, offset);
    auto appended = Append({.kind = log::RecordKind::kEffect,
                            .type = log::kDiskString,
                            .keyspace = keyspace.id,
                            .key = key.bytes,
                            .payload_prefix = operands,
                            .payload = bytes});
    if (!appended) return;
    if (BeginDirty(keyspace, entry)) NoteDirty(keyspace, key, entry, *appended);
  } else {
    BeginDirty(keyspace, entry);
  }
  EndTransient(entry);
  int64_t before = static_cast<int64_t>(entry->MemoryBytes());
  uint64_t size = std::max<uint64_t>(entry->value().size(), offset + bytes.size());
  Page* page = entry->page();
  // Growth by half, so that a value built by appends is copied a logarithmic number of times.
  uint64_t capacity = size > page->capacity() ? size + size / 2 : page->capacity();
  page = Page::MakeUnique(page, size, capacity);
  entry->exchange_page(page);
  std::memcpy(page->data() + offset, bytes.data(), bytes.size());
  entry->Set(Entry::kRaw);
  memory_.Add(static_cast<int64_t>(entry->MemoryBytes()) - before);
}

void StoreImpl::SetExpiry(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                          int64_t expiry_ms) {
  CHECK(entry->kind() == Entry::Kind::kHot);
  bool had = entry->Has(Entry::kHasExpiry);
  bool has = expiry_ms != Entry::kNoExpiry;
  // A long value is not written again for eight bytes.
  bool is_long = entry->Has(Entry::kPaged) ||
                 (entry->type() != ValueType::kString && entry->value().size() > kSmallRootBytes);
  if (is_long && LogsChanges()) {
    if (!EnsureImage(keyspace, key, entry)) return;
    std::string operands(1, static_cast<char>(log::EffectCode::kSetExpiry));
    AppendFixed(&operands, expiry_ms);
    auto appended = Append({.kind = log::RecordKind::kEffect,
                            .type = static_cast<uint8_t>(entry->type()),
                            .keyspace = keyspace.id,
                            .key = key.bytes,
                            .payload = operands});
    if (!appended) return;
    if (BeginDirty(keyspace, entry)) NoteDirty(keyspace, key, entry, *appended);
  }
  if (is_long || entry->type() != ValueType::kString) {
    BeginDirty(keyspace, entry);
    Entry* changed = entry->WithExpiry(expiry_ms);
    keyspace.expiring += (has ? 1 : 0) - (had ? 1 : 0);
    Exchange(keyspace, key, entry, changed);
    if (!is_long && LogsChanges()) {
      LogImage(keyspace, {changed->key(), key.hash}, changed,
               had ? uint8_t{log::kFlagSupersededExpiring} : uint8_t{0});
    }
    return;
  }
  std::string name(key.bytes);
  std::string bytes;
  if (!entry->Has(Entry::kInteger)) bytes = entry->value();
  WriteValue(keyspace, {name, key.hash},
             {.bytes = bytes,
              .is_integer = entry->Has(Entry::kInteger),
              .integer = entry->Has(Entry::kInteger) ? entry->integer() : 0,
              .raw = entry->Has(Entry::kRaw),
              .expiry_ms = expiry_ms});
}

bool StoreImpl::Checkpoint(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  CHECK(entry->kind() == Entry::Kind::kHot);
  if (IsLogPosition(entry->position()) && !entry->Has(Entry::kDirty)) return true;
  return LogImage(keyspace, key, entry, 0);
}

bool StoreImpl::LogImage(Keyspace& keyspace, const HashedKey& key, Entry* entry, uint8_t flags) {
  uint8_t integer_bytes[8];
  bool integer = entry->Has(Entry::kInteger);
  if (integer) StoreFixed(integer_bytes, entry->integer());
  if (entry->Has(Entry::kRaw)) flags |= log::kFlagRawString;
  std::string_view payload =
      integer ? std::string_view(reinterpret_cast<char*>(integer_bytes), 8) : entry->value();
  auto appended =
      Append({.kind = log::RecordKind::kImage,
              .flags = flags,
              .type = static_cast<uint8_t>(entry->type()),
              .encoding = integer ? log::PayloadEncoding::kInteger : log::PayloadEncoding::kBytes,
              .keyspace = keyspace.id,
              .expiry_ms = entry->expiry_ms(),
              .key = key.bytes,
              .payload = payload});
  if (!appended) return false;
  entry->set_position(appended->position);
  entry->Clear(Entry::kDirty);
  AddLive(keyspace, appended->position, static_cast<int64_t>(LogicalSizeOf(*entry)));
  return true;
}

}  // namespace firn
