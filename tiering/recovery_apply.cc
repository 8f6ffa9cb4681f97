// What a replayed record does to the RAM overlay.

#include "engine/base/check.h"
#include "tiering/indexer.h"
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
      ApplyDelete(*keyspace, record);
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

void Recovery::ApplyDelete(Keyspace& keyspace, const log::RecordView& record) {
  HashedKey key{record.key, keyspace.table.HashOf(record.key)};
  if (record.lsn > meta_.counts_lsn) {
    if (keyspace.keys > 0) --keyspace.keys;
    if ((record.flags & log::kFlagSupersededExpiring) && keyspace.expiring > 0) --keyspace.expiring;
  }
  Entry* tombstone = Entry::Create({.kind = Entry::Kind::kTombstone, .key = record.key});
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
  if (segment == nullptr) {
    return std::unexpected(Status::Corruption("the index points into segment " +
                                              std::to_string(position.segment_id) +
                                              ", which is not there"));
  }
  log::LogReader reader({{segment->id, segment->file, segment->end_offset}}, position.offset, {});
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
  std::string name(record.key);
  HashedKey key{name, keyspace.table.HashOf(name)};
  auto loaded = LoadValue(keyspace, key, record.lsn);
  if (!loaded) return loaded.error();
  Entry* entry = *loaded;
  if (entry == nullptr) return Status::Ok();
  ByteReader operands(record.payload);
  auto code = static_cast<log::EffectCode>(operands.Fixed<uint8_t>());
  std::string value;
  if (entry->Has(Entry::kInteger)) return Status::Corruption("an effect on an integer value");
  value = entry->value();
  int64_t expiry_ms = entry->expiry_ms();
  switch (code) {
    case log::EffectCode::kAppend:
      value.append(operands.Bytes(operands.remaining()));
      break;
    case log::EffectCode::kSetRange: {
      uint64_t offset = operands.Fixed<uint64_t>();
      std::string_view bytes = operands.Bytes(operands.remaining());
      if (!operands.ok() || offset > log::kMaxPayloadSize ||
          offset + bytes.size() > log::kMaxPayloadSize) {
        return Status::Corruption("an effect with impossible operands");
      }
      if (value.size() < offset + bytes.size()) value.resize(offset + bytes.size());
      std::memcpy(value.data() + offset, bytes.data(), bytes.size());
      break;
    }
    case log::EffectCode::kSetExpiry:
      expiry_ms = operands.Fixed<int64_t>();
      if (record.lsn > meta_.counts_lsn) {
        if (expiry_ms >= 0) ++keyspace.expiring;
        if (entry->Has(Entry::kHasExpiry) && keyspace.expiring > 0) --keyspace.expiring;
      }
      break;
    default:
      return Status::Corruption("an effect of an unknown kind");
  }
  if (!operands.ok()) return Status::Corruption("an effect with impossible operands");
  bool was_dirty = entry->Has(Entry::kDirty);
  Entry* changed = Entry::Create(
      {.key = name,
       .value = value,
       .expiry_ms = expiry_ms,
       .access = entry->access(),
       .position = entry->position(),
       .flags = static_cast<uint8_t>((entry->flags() & Entry::kDirty) | Entry::kRaw)});
  uint64_t root_logical = store_.LogicalSizeOf(*entry);
  PackedPosition root = entry->position();
  store_.Exchange(keyspace, key, entry, changed);
  if (!was_dirty) {
    store_.AddLive(keyspace, root, -static_cast<int64_t>(root_logical));
    changed->Set(Entry::kDirty);
    log::Segment* segment = store_.segments_->Of(root);
    if (segment != nullptr) ++segment->holds;
    store_.dirty_.push_back({.keyspace = keyspace.id,
                             .key = name,
                             .root_segment = segment != nullptr ? segment->id : 0,
                             .first_effect = position,
                             .first_lsn = record.lsn});
  }
  return Status::Ok();
}

Status Recovery::ApplyKeyspaces(const log::RecordView& record) {
  // The index was told later names; by these, keyspaces of now would count as dropped.
  bool old = record.lsn <= meta_.counts_lsn;
  if (old && !store_.Has(PlantedBug::kReplayOldNames)) return Status::Ok();
  auto names = DecodeKeyspaceNames(record.payload);
  if (!names) return names.error();
  if (names->id_of_db.size() > store_.by_db_.size()) {
    store_.by_db_.resize(names->id_of_db.size(), nullptr);
  }
  std::vector<Keyspace*> by_db(store_.by_db_.size(), nullptr);
  store_.next_keyspace_id_ = std::max(store_.next_keyspace_id_, names->next_id);
  for (uint32_t db = 0; db < names->id_of_db.size(); ++db) {
    uint32_t id = names->id_of_db[db];
    Keyspace* keyspace = store_.KeyspaceById(id);
    if (keyspace == nullptr) {
      keyspace = store_.MakeKeyspace(id, db);
      // What the index holds of it, if anything, was indexed after the replay position.
      if (has_meta_) keyspace->mapped_until = 0;
    }
    keyspace->db = db;
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
  store_.memo_ = {};
  store_.by_db_ = std::move(by_db);
  for (uint32_t db = 0; db < store_.by_db_.size(); ++db) {
    if (store_.by_db_[db] == nullptr) store_.MakeKeyspace(store_.next_keyspace_id_++, db);
  }
  return Status::Ok();
}

}  // namespace firn
