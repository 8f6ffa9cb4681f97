#include "tiering/snapshot/snapshot_overlay.h"

#include <cstring>

#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr size_t kBlockBytes = 64 << 10;
// Effects up to this size are kept, as long as all that are kept take no more than this.
constexpr size_t kShortEffect = 256;
constexpr uint64_t kMostPayloadBytes = 16 << 20;

}  // namespace

void SnapshotOverlay::AddDatabase(uint32_t keys_id, uint32_t pages_id) {
  keyspaces_[keys_id].pages_id = pages_id;
  keyspaces_[pages_id].pages_id = 0;
}

std::string_view SnapshotOverlay::Keep(std::string_view bytes) {
  if (bytes.size() > block_left_) {
    size_t size = std::max(kBlockBytes, bytes.size());
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    block_at_ = blocks_.back().get();
    block_left_ = size;
  }
  char* at = block_at_;
  std::memcpy(at, bytes.data(), bytes.size());
  block_at_ += bytes.size();
  block_left_ -= bytes.size();
  return {at, bytes.size()};
}

SnapshotOverlay::Change& SnapshotOverlay::ChangeOf(Keyspace& keyspace, std::string_view key) {
  auto it = keyspace.changes.find(key);
  if (it == keyspace.changes.end()) it = keyspace.changes.emplace(Keep(key), Change{}).first;
  return it->second;
}

const SnapshotOverlay::Change* SnapshotOverlay::Find(uint32_t keyspace,
                                                     std::string_view key) const {
  auto found = keyspaces_.find(keyspace);
  if (found == keyspaces_.end()) return nullptr;
  auto it = found->second.changes.find(key);
  return it == found->second.changes.end() ? nullptr : &it->second;
}

Status SnapshotOverlay::Take(const log::RecordView& record, SnapshotPlace place) {
  auto found = keyspaces_.find(record.keyspace);
  if (found == keyspaces_.end()) return Status::Ok();
  Keyspace& keyspace = found->second;
  switch (record.kind) {
    case log::RecordKind::kImage:
      ChangeOf(keyspace, record.key) = {.image = place};
      return Status::Ok();
    case log::RecordKind::kDelete:
      ChangeOf(keyspace, record.key) = {.deleted = true};
      return Status::Ok();
    case log::RecordKind::kEffect:
      return TakeEffect(keyspace, record, place);
    default:
      return Status::Ok();
  }
}

void SnapshotOverlay::AddEffect(Change& change, const Effect& effect) {
  if (change.deleted) return;
  if (effect.payload.empty() && change.last_effect != 0 &&
      effects_[change.last_effect - 1].lsn == effect.lsn) {
    return;  // the record holds all its parts
  }
  effects_.push_back(effect);
  auto number = static_cast<uint32_t>(effects_.size());
  if (change.last_effect != 0) {
    effects_[change.last_effect - 1].next = number;
  } else {
    change.first_effect = number;
  }
  change.last_effect = number;
}

Status SnapshotOverlay::TakeEffect(Keyspace& keyspace, const log::RecordView& record,
                                   SnapshotPlace place) {
  bool keep =
      record.payload.size() <= kShortEffect && payload_bytes_ + kShortEffect <= kMostPayloadBytes;
  auto add = [&](Change& change, std::string_view payload) {
    if (keep) payload_bytes_ += payload.size();
    AddEffect(
        change,
        {.lsn = record.lsn, .place = place, .payload = keep ? Keep(payload) : std::string_view()});
  };
  if (record.payload.empty()) return Status::Corruption("an effect without a code");
  if (record.payload[0] != static_cast<char>(log::EffectCode::kSplices)) {
    add(ChangeOf(keyspace, record.key), record.payload);
    return Status::Ok();
  }
  log::SpliceEffectReader parts(record.payload);
  while (parts.Next()) {
    bool is_root = parts.page() == 0;
    if (!is_root && keyspace.pages_id == 0) {
      return Status::Corruption("an effect on pages of a keyspace of pages");
    }
    PageKey page_key(parts.value_id(), parts.page());
    Change& change = is_root ? ChangeOf(keyspace, record.key)
                             : ChangeOf(keyspaces_[keyspace.pages_id], page_key.view());
    std::string payload;
    if (keep) {
      payload.push_back(record.payload[0]);
      AppendFixed(&payload, parts.value_id());
      log::AppendSplicePart(parts.page(), parts.splices(), &payload);
    }
    add(change, payload);
  }
  return parts.ok() ? Status::Ok() : Status::Corruption("an effect with impossible operands");
}

}  // namespace firn
