#include "tiering/value_build.h"

#include "engine/base/check.h"
#include "tiering/fetcher.h"
#include "tiering/reaper.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// The note covers more than there is if nobody knows the size beforehand.
constexpr PageNumber kSpareNumbers = 1 << 16;

}  // namespace

ValueBuild::ValueBuild(Database& database)
    : store_(database.impl_->alive()),
      keyspace_(database.impl_->KeyspaceOf(database.number_).pages->id),
      id_(database.impl_->NewValueId()) {}

ValueBuild::~ValueBuild() {
  auto store = store_.lock();
  if (store == nullptr) return;
  (*store)->fetcher_->Release(&ticket_);
  Keyspace* pages = (*store)->KeyspaceById(keyspace_);
  if (noted_end_ != 0 && pages != nullptr) (*store)->reaper_->Reap(*pages, id_, noted_end_);
}

bool ValueBuild::lost() const {
  auto store = store_.lock();
  return store == nullptr || (*store)->closing_ || (*store)->KeyspaceById(keyspace_) == nullptr;
}

ValueBuild::Room ValueBuild::CheckRoom(uint64_t bytes) {
  StoreImpl& store = **store_.lock();
  if (store.LogsChanges() && !store.log_->IsPopulated(bytes)) return Room::kLater;
  const Store::WriteGate gate = store.fetcher_->CheckWrite(bytes, false, &ticket_);
  if (gate == Store::WriteGate::kOk) return Room::kReady;
  // Asked again soon: it doesn't stand in the queue meanwhile.
  store.fetcher_->Release(&ticket_);
  return gate == Store::WriteGate::kWait ? Room::kLater : Room::kFailed;
}

void ValueBuild::WritePage(PageNumber page, std::string_view bytes) {
  StoreImpl& store = **store_.lock();
  Keyspace& pages = *store.KeyspaceById(keyspace_);
  if (page >= noted_end_) {
    noted_end_ = page < expected_end_ ? expected_end_ : page + kSpareNumbers;
    store.reaper_->WriteNote(pages, id_, noted_end_);
  }
  const PageKey key(id_, page);
  store.WriteValue(pages, {key.view(), key.HashIn(pages.table)},
                   {.type = ValueType::kPage, .bytes = bytes, .known_new = true});
}

bool Database::HasBuilt(const ValueBuild& build) const {
  return !build.lost() && build.keyspace_ == impl_->KeyspaceOf(number_).pages->id;
}

void Database::SetBuilt(const HashedKey& key, ValueType type, std::string_view root,
                        ValueBuild* build) {
  CHECK(HasBuilt(*build));
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  impl_->BeginGroup();
  Delete(key);
  impl_->reaper_->EraseNote(*keyspace.pages, build->id_);
  build->noted_end_ = 0;
  impl_->WriteValue(keyspace, key, {.type = type, .bytes = root});
  impl_->EndGroup();
}

}  // namespace firn
