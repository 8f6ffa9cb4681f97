#include "tiering/found_pages.h"

#include "tiering/store_impl.h"

namespace firn {

const FoundPages::Found* StoreImpl::SearchPage(const Keyspace& pages, uint64_t value_id,
                                               uint32_t page, uint64_t hash) {
  PageKey key(value_id, page);
  Entry* entry = pages.table.Find({key.view(), hash});
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return nullptr;
  return &found_pages_.Remember(
      {.value_id = value_id, .page = page, .keyspace = pages.id, .hash = hash, .entry = entry});
}

}  // namespace firn
