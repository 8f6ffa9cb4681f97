// StoreImpl's moves between the tiers, and the order in which values leave.

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/indexer.h"
#include "tiering/left_keys.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"

namespace firn {

bool StoreImpl::IsIndexed(PackedPosition position) const {
  if (!IsLogPosition(position)) return false;
  log::Segment* segment = segments_->Of(position);
  if (segment == nullptr) return false;
  if (segment->stream == log::Stream::kCold) return true;
  log::LogPosition end = indexer_->indexed_position();
  if (segment->id != end.segment_id) return segment->id < end.segment_id;
  return segments_->OffsetOf(position) < end.offset;
}

bool StoreImpl::IsDemotable(const Entry& entry) const {
  if (entry.flags() & (Entry::kDirty | Entry::kBlind | Entry::kPinned)) return false;
  return entry.kind() != Entry::Kind::kTombstone && IsIndexed(entry.position());
}

void StoreImpl::Demote(Keyspace& keyspace, const HashedKey& key, Entry* entry) {
  uint64_t logical = LogicalSizeOf(*entry);
  if (keyspace.IsMapped(key.hash)) {
    keyspace.cold.Insert(key.hash, {entry->position(), SizeClassFor(logical)});
    Discard(keyspace, key, entry);
    return;
  }
  if (left_keys_->MayLeave(keyspace, key.hash, *entry)) {
    left_keys_->Leave(keyspace, key, entry);
    return;
  }
  if (keyspace.IsCounted(key.hash)) left_keys_->Await(keyspace, key.hash, entry->position());
  if (entry->kind() == Entry::Kind::kStub) return;
  Entry* stub = Entry::Create({.kind = Entry::Kind::kStub,
                               .type = entry->type(),
                               .key = key.bytes,
                               .expiry_ms = entry->expiry_ms(),
                               .access = entry->access(),
                               .position = entry->position(),
                               .flags = static_cast<uint8_t>(entry->flags() & Entry::kRaw),
                               .stub_size = static_cast<uint32_t>(logical)});
  Exchange(keyspace, key, entry, stub);
}

Entry* StoreImpl::InstallImage(Keyspace& keyspace, const HashedKey& key,
                               const FetchedImage& image) {
  const log::RecordView& record = *image.record;
  bool has_expiry = record.expiry_ms != log::kNoExpiry;
  Entry::Spec spec{.kind = image.head_only ? Entry::Kind::kStub : Entry::Kind::kHot,
                   .type = static_cast<ValueType>(record.type),
                   .key = key.bytes,
                   .expiry_ms = record.expiry_ms,
                   .access = access_clock_.Fresh(now_ms()),
                   .position = image.position,
                   .flags = image.flags};
  if (record.flags & log::kFlagRawString) spec.flags |= Entry::kRaw;
  if (image.head_only) {
    spec.stub_size = static_cast<uint32_t>(
        LogicalRecordSize(key.bytes.size(), record.raw_payload_size, has_expiry));
  } else if (record.encoding == log::PayloadEncoding::kInteger) {
    spec.is_integer = true;
    spec.integer = LoadFixed<int64_t>(image.value.data());
  } else {
    spec.value = image.value;
  }
  Entry* old = keyspace.table.Find(key);
  Entry* entry = Entry::Create(spec);
  if (old != nullptr) {
    Exchange(keyspace, key, old, entry);
  } else {
    keyspace.cold.Remove(key.hash, image.position);
    Install(keyspace, key, entry);
  }
  if (entry->Has(Entry::kTransient)) {
    transient_memory_ += static_cast<int64_t>(entry->MemoryBytes());
  }
  return entry;
}

Entry* StoreImpl::InstallStub(Keyspace& keyspace, const HashedKey& key, PackedPosition position,
                              const IndexRoot& root) {
  if (keyspace.IsMapped(key.hash)) {
    keyspace.cold.Remove(key.hash, position);
  } else if (keyspace.IsCounted(key.hash)) {
    --keyspace.left;
  }
  Entry* stub = Entry::Create({.kind = Entry::Kind::kStub,
                               .type = static_cast<ValueType>(root.type),
                               .key = key.bytes,
                               .expiry_ms = root.expiry_ms,
                               .position = position,
                               .stub_size = root.logical_size});
  Install(keyspace, key, stub);
  return stub;
}

double StoreImpl::EvictionScore(const Entry& entry, int64_t now_ms) {
  switch (options_.eviction) {
    case EvictionPolicy::kAllKeysLru:
    case EvictionPolicy::kVolatileLru:
      return IdleSeconds(entry.access(), now_ms);
    case EvictionPolicy::kAllKeysLfu:
    case EvictionPolicy::kVolatileLfu:
      return 255.0 - LfuDecayed(entry.access(), now_ms, access_clock_.parameters);
    case EvictionPolicy::kVolatileTtl:
      return -static_cast<double>(entry.expiry_ms());
    default:
      return random_.Fraction();
  }
}

}  // namespace firn
