// What a replayed record does to the RAM overlay.

#include "engine/base/check.h"
#include "tiering/indexer.h"
#include "tiering/log/splice_effect.h"
#include "tiering/reaper.h"
#include "tiering/recovery.h"

namespace firn {

Status Recovery::ApplyRecord(const log::RecordView& record, const log::LogPosition& position) {
  if (record.kind == log::RecordKind::kKeyspaces) return ApplyKeyspaces(record);
  Keyspace* keyspace = store_.KeyspaceById(record.keyspace);
  if (keyspace == nullptr) return Status::Ok();  // of a keyspace that was dropped later
  switch (record.kind) {
    case log::RecordKind::kImage:
      ApplyImage(*keyspace, record, position);
      break;
    case log::RecordKind::kDelete:
      ApplyDelete(*keyspace, record, position);
      break;
    case log::RecordKind::kEffect:
      if (store_.Has(PlantedBug::kReplayEffectsTwice)) {
        FIRN_RETURN_IF_ERROR(ApplyEffect(*keyspace, record, position));
      }
      return ApplyEffect(*keyspace, record, position);
    default:
      break;
  }
  return Status::Ok();
}

void Recovery::ApplyImage(Keyspace& keyspace, const log::RecordView& record,
                          const log::LogPosition& position) {
  HashedKey key{record.key, keyspace.table.HashOf(record.key)};
  if (record.type == static_cast<uint8_t>(ValueType::kReapNote)) {
    store_.reaper_->NoteFound(keyspace.id, record.key);
  }
  bool has_expiry = record.expiry_ms != log::kNoExpiry;
  uint64_t logical = LogicalRecordSize(record.key.size(), record.raw_payload_size, has_expiry);
  PackedPosition packed = store_.segments_->Pack(position);
  Entry* stub = Entry::Create(
      {.kind = Entry::Kind::kStub,
       .type = static_cast<ValueType>(record.type),
       .key = record.key,
       .expiry_ms = record.expiry_ms,
       .position = packed,
       .flags = record.flags & log::kFlagRawString ? uint8_t{Entry::kRaw} : uint8_t{0},
       .stub_size = static_cast<uint32_t>(logical)});
  if (record.lsn > meta_.counts_lsn) {
    if (record.flags & log::kFlagNewKey) ++keyspace.keys;
    if (record.flags & log::kFlagBlind) keyspace.counts_exact = false;
    if (has_expiry) ++keyspace.expiring;
    if ((record.flags & log::kFlagSupersededExpiring) && keyspace.expiring > 0) --keyspace.expiring;
  }
  Entry* old = store_.FindEntry(keyspace, key);
  if (old != nullptr) {
    if (old->kind() != Entry::Kind::kTombstone && !old->Has(Entry::kDirty)) {
      store_.AddLive(keyspace, old->position(), -static_cast<int64_t>(store_.LogicalSizeOf(*old)));
    }
    store_.Exchange(keyspace, key, old, stub);
  } else {
    store_.Install(keyspace, key, stub);
  }
  store_.AddLive(keyspace, packed, static_cast<int64_t>(logical));
}

void Recovery::ApplyDelete(Keyspace& keyspace, const log::RecordView& record,
                           const log::LogPosition& position) {
  HashedKey key{record.key, keyspace.table.HashOf(record.key)};
  if (record.lsn > meta_.counts_lsn) {
    if (keyspace.keys > 0) --keyspace.keys;
    if ((record.flags & log::kFlagSupersededExpiring) && keyspace.expiring > 0) --keyspace.expiring;
  }
  Entry* tombstone = Entry::Create({.kind = Entry::Kind::kTombstone,
                                    .key = record.key,
                                    .position = store_.segments_->Pack(position)});
  Entry* old = store_.FindEntry(keyspace, key);
  if (old == nullptr) {
    store_.Install(keyspace, key, tombstone);
    return;
  }
  if (old->kind() != Entry::Kind::kTombstone && !old->Has(Entry::kDirty)) {
    store_.AddLive(keyspace, old->position(), -static_cast<int64_t>(store_.LogicalSizeOf(*old)));
  }
  store_.Exchange(keyspace, key, old, tombstone);
}

// Brings the value that an effect changes into RAM. Null if the key does not exist, or if what the
// log holds already includes the effect.
Result<Entry*> Recovery::LoadValue(Keyspace& keyspace, const HashedKey& key, uint64_t before_lsn) {
  Entry* entry = store_.FindEntry(keyspace, key);
  if (entry != nullptr && entry->kind() == Entry::Kind::kTombstone) return nullptr;
  if (entry != nullptr && entry->kind() == Entry::Kind::kHot) return entry;
  log::LogPosition position;
  if (entry != nullptr) {
    position = store_.segments_->Unpack(entry->position());
  } else {
    auto root = store_.index_->Find({keyspace.id, key.hash, std::string(key.bytes)});
    if (!root) return std::unexpected(root.error());
    if (!root->has_value()) return nullptr;
    if ((*root)->lsn >= before_lsn) return nullptr;
    position = (*root)->position;
  }
  log::Segment* segment = store_.segments_->ById(position.segment_id);
  if (segment == nullptr) return std::unexpected(PointsNowhere(position));
  log::LogReader reader({{segment->id, segment->file, segment->end_offset}}, position.offset,
                        {.chunk_size_bytes = log::kOneRecordChunkBytes});
  log::RecordView record;
  if (reader.Next(&record) != log::LogReader::Outcome::kRecord ||
      record.kind != log::RecordKind::kImage || record.key != key.bytes ||
      record.keyspace != keyspace.id) {
    return std::unexpected(Status::Corruption(
        segment->file->path() + " at offset " + std::to_string(position.offset) +
        ": the image that an effect changes can't be read: " + reader.message()));
  }
  auto raw = log::UncompressPayload(record);
  if (!raw) return std::unexpected(raw.error());
  PackedPosition packed = store_.segments_->Pack(position);
  if (entry == nullptr) {
    store_.AddLive(keyspace, packed,
                   static_cast<int64_t>(LogicalRecordSize(key.bytes.size(), raw->size(),
                                                          record.expiry_ms != log::kNoExpiry)));
  }
  return store_.InstallImage(keyspace, key, {.position = packed, .record = &record, .value = *raw});
}

Status Recovery::ApplyEffect(Keyspace& keyspace, const log::RecordView& record,
                             const log::LogPosition& position) {
  ByteReader operands(record.payload);
  auto code = static_cast<log::EffectCode>(operands.Fixed<uint8_t>());
  if (code == log::EffectCode::kSplices) return ApplySplices(keyspace, record, position);
  std::string name(record.key);
  HashedKey key{name, keyspace.table.HashOf(name)};
  auto loaded = LoadValue(keyspace, key, record.lsn);
  if (!loaded) return loaded.error();
  Entry* entry = *loaded;
  if (entry == nullptr) return Status::Ok();
  if (code == log::EffectCode::kSetExpiry) {
    int64_t expiry_ms = operands.Fixed<int64_t>();
    if (!operands.ok()) return Status::Corruption("an effect with impossible operands");
    if (record.lsn > meta_.counts_lsn) {
      if (expiry_ms >= 0) ++keyspace.expiring;
      if (entry->Has(Entry::kHasExpiry) && keyspace.expiring > 0) --keyspace.expiring;
    }
    NoteEffect(keyspace, key, entry, record.lsn, position);
    store_.Exchange(keyspace, key, entry, entry->WithExpiry(expiry_ms));
    return Status::Ok();
  }
  if (entry->Has(Entry::kInteger)) return Status::Corruption("an effect on an integer value");
  uint64_t offset = entry->value().size();
  if (code == log::EffectCode::kSetRange) {
    offset = operands.Fixed<uint64_t>();
  } else if (code != log::EffectCode::kAppend) {
    return Status::Corruption("an effect of an unknown kind");
  }
  std::string_view bytes = operands.Bytes(operands.remaining());
  if (!operands.ok() || offset > log::kMaxPayloadSize ||
      offset + bytes.size() > log::kMaxPayloadSize) {
    return Status::Corruption("an effect with impossible operands");
  }
  NoteEffect(keyspace, key, entry, record.lsn, position);
  entry->Set(Entry::kRaw);
  std::string zeros(offset > entry->value().size() ? offset - entry->value().size() : 0, '\0');
  uint64_t size = entry->value().size();
  auto at = static_cast<uint32_t>(std::min<uint64_t>(offset, size));
  auto replaced = static_cast<uint32_t>(std::min<uint64_t>(size - at, bytes.size()));
  Splice splices[] = {{at, 0, zeros}, {at, replaced, bytes}};
  uint64_t new_size = 0;
  CHECK(CheckSplices(splices, size, &new_size));
  store_.Splice(keyspace, key, entry, splices, new_size);
  return Status::Ok();
}

// Before the change itself: from here on a replay has to change this entry again.
void Recovery::NoteEffect(Keyspace& keyspace, const HashedKey& key, Entry* entry, uint64_t lsn,
                          const log::LogPosition& position) {
  if (!store_.BeginDirty(keyspace, entry)) return;
  entry->Set(Entry::kDirty);
  store_.NoteDirty(keyspace, key, entry,
                   {.position = store_.segments_->Pack(position), .lsn = lsn});
}

// Changes of pages of a collection. Each page takes only what its image does not include yet.
Status Recovery::ApplySplices(Keyspace& keyspace, const log::RecordView& record,
                              const log::LogPosition& position) {
  log::SpliceEffectReader parts(record.payload);
  while (parts.Next()) {
    bool is_root = parts.page() == 0;
    Keyspace* place = is_root ? &keyspace : keyspace.pages;
    if (place == nullptr) return Status::Corruption("an effect on pages of a keyspace of pages");
    PageKey page_key(parts.value_id(), parts.page());
    std::string name(is_root ? record.key : page_key.view());
    HashedKey key{name, place->table.HashOf(name)};
    auto loaded = LoadValue(*place, key, record.lsn);
    if (!loaded) return loaded.error();
    Entry* entry = *loaded;
    if (entry == nullptr) continue;
    uint64_t new_size = 0;
    if (entry->Has(Entry::kInteger) ||
        !CheckSplices(parts.splices(), entry->value().size(), &new_size) ||
        new_size > log::kMaxPayloadSize) {
      return Status::Corruption("an effect (record " + std::to_string(record.lsn) +
                                ") that does not fit page " + std::to_string(parts.page()) +
                                " of value " + std::to_string(parts.value_id()) + " of " +
                                std::to_string(entry->value().size()) + " bytes");
    }
    NoteEffect(*place, key, entry, record.lsn, position);
    store_.Splice(*place, key, entry, parts.splices(), new_size);
  }
  return parts.ok() ? Status::Ok() : Status::Corruption("an effect with impossible operands");
}

Status Recovery::ApplyKeyspaces(const log::RecordView& record) {
  // The index was told later names; by these, keyspaces of now would count as dropped.
  bool old = record.lsn <= meta_.counts_lsn;
  if (old && !store_.Has(PlantedBug::kReplayOldNames)) return Status::Ok();
  auto names = DecodeKeyspaceNames(record.payload);
  if (!names) return names.error();
  if (names->id_of_db.size() > store_.slots_.size()) {
    store_.slots_.resize(names->id_of_db.size(), nullptr);
  }
  std::vector<Keyspace*> by_db(store_.slots_.size(), nullptr);
  store_.next_keyspace_id_ = std::max(store_.next_keyspace_id_, names->next_id);
  for (uint32_t db = 0; db < names->id_of_db.size(); ++db) {
    uint32_t id = names->id_of_db[db];
    Keyspace* keyspace = store_.KeyspaceById(id);
    if (keyspace == nullptr) {
      keyspace = store_.MakeKeyspace(id, db);
      // What the index holds of it, if anything, was indexed after the replay position.
      if (has_meta_) keyspace->ForgetCounts();
    }
    keyspace->slot = db;
    by_db[db] = keyspace;
  }
  for (auto it = store_.keyspaces_.begin(); it != store_.keyspaces_.end();) {
    bool named = std::find(by_db.begin(), by_db.end(), it->second.get()) != by_db.end();
    if (named) {
      ++it;
      continue;
    }
    store_.DropLiveShares(it->first);
    store_.dropped_ids_.push_back({it->first, record.lsn});
    store_.dropped_.push_back(std::move(it->second));
    it = store_.keyspaces_.erase(it);
  }
  store_.ForgetLastFound();
  store_.slots_ = std::move(by_db);
  for (uint32_t db = 0; db < store_.slots_.size(); ++db) {
    if (store_.slots_[db] == nullptr) store_.MakeKeyspace(store_.next_keyspace_id_++, db);
  }
  store_.LinkPages();
  return Status::Ok();
}

}  // namespace firn
