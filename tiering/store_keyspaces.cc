// StoreImpl: keyspaces, their names, and what databases they belong to.
#include <algorithm>

#include "engine/base/check.h"
#include "engine/types/root_format.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kVolatileValueIds = uint64_t{1} << 63;

uint64_t ColdKeysGuess(const StoreOptions& options) {
  // Sized for values of about 256 bytes on a disk some 16 times the memory.
  uint64_t memory = options.max_memory_bytes != 0 ? options.max_memory_bytes : 4ull << 30;
  return options.tiering ? memory / 64 : 1024;
}

}  // namespace

Keyspace* StoreImpl::KeyspaceById(uint32_t id) {
  auto it = keyspaces_.find(id);
  return it == keyspaces_.end() ? nullptr : it->second.get();
}

Keyspace* StoreImpl::MakeKeyspace(uint32_t id, uint32_t slot) {
  int bits = ColdMap::PartitionBitsFor(ColdKeysGuess(options_));
  // Databases other than the first are small as a rule; each directory takes 8 bytes a partition.
  if (slot != 0) bits = std::max(8, bits - 4);
  auto keyspace = std::make_unique<Keyspace>(id, identity_.secret, bits);
  keyspace->slot = slot;
  Keyspace* raw = keyspace.get();
  keyspaces_[id] = std::move(keyspace);
  slots_[slot] = raw;
  return raw;
}

// With durability an id is written only with records of later LSNs, so that the log's end is beyond
// every id that a crash has left. Without, ids outrun the log: they are of a range of their own, in
// case the store becomes durable.
uint64_t StoreImpl::NewValueId() {
  const uint64_t others = options_.durable ? log_->appended_lsn() : kVolatileValueIds;
  last_value_id_ = std::max(last_value_id_, others) + 1;
  return last_value_id_;
}

uint64_t StoreImpl::EstimatePages(Keyspace& keyspace, std::string_view root_bytes) {
  RootView root(root_bytes);
  if (root.small()) return 0;
  constexpr uint32_t kSamples = 64;
  constexpr uint64_t kPageBytesGuess = 3072;
  uint32_t pages = root.next_page() - 1;
  uint32_t step = std::max(1u, pages / kSamples);
  uint64_t sampled = 0;
  uint64_t bytes = 0;
  for (uint32_t page = 1; page <= pages; page += step) {
    PageKey name(root.value_id(), page);
    Entry* entry =
        keyspace.pages->table.Find({name.view(), keyspace.pages->table.HashOf(name.view())});
    if (entry == nullptr || entry->kind() != Entry::Kind::kHot) continue;
    ++sampled;
    bytes += entry->MemoryBytes();
  }
  return sampled == 0 ? pages * kPageBytesGuess : bytes * pages / sampled;
}

void StoreImpl::LinkPages() {
  for (size_t slot = 0; slot + 1 < slots_.size(); slot += 2) {
    slots_[slot]->pages = slots_[slot + 1];
    slots_[slot + 1]->pages = nullptr;
  }
}

bool StoreImpl::LogKeyspaceNames() {
  KeyspaceNames names;
  names.next_id = next_keyspace_id_;
  for (Keyspace* keyspace : slots_) names.id_of_db.push_back(keyspace->id);
  std::string payload = EncodeKeyspaceNames(names);
  return Append({.kind = log::RecordKind::kKeyspaces, .payload = payload}).has_value();
}

void StoreImpl::SwapDatabases(uint32_t a, uint32_t b) {
  if (a == b) return;
  auto swap = [&] {
    std::swap(slots_[2 * a], slots_[2 * b]);
    std::swap(slots_[2 * a + 1], slots_[2 * b + 1]);
  };
  swap();
  if (!LogKeyspaceNames()) swap();
  for (uint32_t db : {a, b}) {
    slots_[2 * db]->slot = 2 * db;
    slots_[2 * db + 1]->slot = 2 * db + 1;
  }
  LinkPages();
}

void StoreImpl::FlushDatabase(uint32_t db) {
  Keyspace* old[] = {slots_[2 * db], slots_[2 * db + 1]};
  auto is_empty = [](const Keyspace* keyspace) {
    return keyspace->keys == 0 && keyspace->table.empty() && keyspace->cold.size() == 0 &&
           keyspace->fully_mapped();
  };
  if (is_empty(old[0]) && is_empty(old[1])) return;
  ForgetLastFound();
  uint32_t empty_ids[] = {next_keyspace_id_, next_keyspace_id_ + 1};
  next_keyspace_id_ += 2;
  for (int i = 0; i < 2; ++i) MakeKeyspace(empty_ids[i], 2 * db + i);
  LinkPages();
  if (!LogKeyspaceNames()) {
    for (int i = 0; i < 2; ++i) {
      slots_[2 * db + i] = old[i];
      keyspaces_.erase(empty_ids[i]);
    }
    LinkPages();
    return;
  }
  for (Keyspace* keyspace : old) {
    uint32_t old_id = keyspace->id;
    auto it = keyspaces_.find(old_id);
    dropped_.push_back(std::move(it->second));
    keyspaces_.erase(it);
    DropLiveShares(old_id);
    dropped_ids_.push_back({old_id, log_->appended_lsn()});
  }
}

}  // namespace firn
