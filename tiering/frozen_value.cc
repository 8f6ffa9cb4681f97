#include "tiering/frozen_value.h"

#include "engine/base/check.h"
#include "engine/types/root_format.h"
#include "tiering/keyspace_state.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

std::string_view RootOf(StoreImpl& store, uint32_t db, const HashedKey& key) {
  Entry* entry = store.FindEntry(store.KeyspaceOf(db), key);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot && HasRoot(entry->type()));
  return entry->value();
}

// No value has this id.
constexpr uint64_t kNoPages = 0;

// A reader who is slow, while all of the value changes, must not cost its size again.
uint64_t MostToKeep(uint64_t max_memory_bytes) {
  constexpr uint64_t kShare = 8;
  constexpr uint64_t kUnlimited = 256 << 20;
  return max_memory_bytes == 0 ? kUnlimited : max_memory_bytes / kShare;
}

[[noreturn]] void RefuseChange() {
  CHECK_MSG(false, "a frozen value can't be changed");
  __builtin_unreachable();
}

}  // namespace

FrozenValue::FrozenValue(Database& database, const HashedKey& key)
    : store_(database.impl_->alive()),
      keyspace_(database.impl_->KeyspaceOf(database.number_).pages->id),
      root_(RootOf(*database.impl_, database.number_, key)),
      value_id_(RootView(root_).small() ? kNoPages : RootView(root_).value_id()),
      max_kept_bytes_(MostToKeep(database.impl_->options_.max_memory_bytes)) {
  database.impl_->page_watchers_.Add(this);
}

FrozenValue::~FrozenValue() {
  if (auto store = store_.lock()) (*store)->page_watchers_.Remove(this);
}

bool FrozenValue::lost() const {
  auto store = store_.lock();
  return overflown_ || store == nullptr || (*store)->KeyspaceById(keyspace_) == nullptr;
}

std::string_view FrozenValue::Peek(PageNumber page) {
  if (auto kept = kept_.find(page); kept != kept_.end()) return kept->second;
  auto store = store_.lock();
  Keyspace* keyspace = store != nullptr ? (*store)->KeyspaceById(keyspace_) : nullptr;
  CHECK_MSG(keyspace != nullptr, "a frozen value was read that is lost");
  PageKey name(value_id_, page);
  Entry* entry = keyspace->table.Find({name.view(), keyspace->table.HashOf(name.view())});
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return {};
  entry->set_referenced(true);
  return entry->value();
}

std::string_view FrozenValue::Read(PageNumber page) {
  std::string_view bytes = Peek(page);
  if (!bytes.empty()) return bytes;
  StoreImpl& store = **store_.lock();
  Keyspace& keyspace = *store.KeyspaceById(keyspace_);
  PageKey name(value_id_, page);
  store.missing_.push_back({keyspace.db(), name, keyspace.table.HashOf(name.view())});
  return {};
}

void FrozenValue::BeforeChange(PageNumber page, std::string_view bytes) {
  changed_ = true;
  // What has been kept is older; what is only made now is no part of the value.
  if (overflown_ || page >= RootView(root_).next_page()) return;
  if (!kept_.try_emplace(page, bytes).second) return;
  kept_bytes_ += bytes.size();
  overflown_ = kept_bytes_ > max_kept_bytes_;
  if (overflown_) kept_.clear();
}

void FrozenValue::CreateRoot(std::string_view) { RefuseChange(); }
void FrozenValue::ReplaceRoot(std::string_view) { RefuseChange(); }
void FrozenValue::Edit(PageNumber, const PageEdit&) { RefuseChange(); }
void FrozenValue::Create(PageNumber, std::string_view) { RefuseChange(); }
void FrozenValue::Drop(PageNumber) { RefuseChange(); }
void FrozenValue::DeleteValue() { RefuseChange(); }
uint64_t FrozenValue::NewValueId() { RefuseChange(); }

}  // namespace firn
