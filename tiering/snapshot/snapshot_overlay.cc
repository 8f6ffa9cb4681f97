#include "tiering/snapshot/snapshot_overlay.h"

#include <cstring>

#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr size_t kBlockBytes = 64 << 10;
// Effects whose parts, one a page, have up to this size in the mean are kept, as long as all that
// are kept take no more than this.
constexpr size_t kShortEffect = 256;
constexpr uint64_t kMostPayloadBytes = 16 << 20;
// A longer effect is not taken apart.
constexpr size_t kMostParted = 1 << 20;

struct Part {
  uint64_t value_id;
  uint32_t page;
  std::string payload = {};
};

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

bool SnapshotOverlay::MayKeep(size_t parts, size_t bytes) const {
  return bytes <= kShortEffect * parts && payload_bytes_ + bytes <= kMostPayloadBytes;
}

void SnapshotOverlay::AddEffect(Change& change, const log::RecordView& record, SnapshotPlace place,
                                std::string_view payload) {
  if (change.deleted) return;
  if (payload.empty() && change.last_effect != 0 &&
      effects_[change.last_effect - 1].lsn == record.lsn) {
    return;  // the record holds all its parts
  }
  payload_bytes_ += payload.size();
  effects_.push_back(
      {.lsn = record.lsn, .place = place, .payload = payload.empty() ? payload : Keep(payload)});
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
  if (record.payload.empty()) return Status::Corruption("an effect without a code");
  if (record.payload[0] != static_cast<char>(log::EffectCode::kSplices)) {
    const bool keep = MayKeep(1, record.payload.size());
    AddEffect(ChangeOf(keyspace, record.key), record, place, keep ? record.payload : "");
    return Status::Ok();
  }
  std::vector<Part> parts;
  size_t bytes = 0;
  const bool may_be_short = record.payload.size() <= kMostParted;
  log::SpliceEffectReader reader(record.payload);
  while (reader.Next()) {
    if (reader.page() != 0 && keyspace.pages_id == 0) {
      return Status::Corruption("an effect on pages of a keyspace of pages");
    }
    Part& part = parts.emplace_back(reader.value_id(), reader.page());
    if (!may_be_short) continue;
    part.payload.push_back(record.payload[0]);
    AppendFixed(&part.payload, reader.value_id());
    log::AppendSplicePart(reader.page(), reader.splices(), &part.payload);
    bytes += part.payload.size();
  }
  if (!reader.ok()) return Status::Corruption("an effect with impossible operands");
  // All or none: who reads the record itself finds all parts of a page.
  const bool keep = may_be_short && MayKeep(parts.size(), bytes);
  for (const Part& part : parts) {
    PageKey page_key(part.value_id, part.page);
    Change& change = part.page == 0 ? ChangeOf(keyspace, record.key)
                                    : ChangeOf(keyspaces_[keyspace.pages_id], page_key.view());
    AddEffect(change, record, place, keep ? std::string_view(part.payload) : "");
  }
  return Status::Ok();
}

}  // namespace firn
