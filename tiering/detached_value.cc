#include "tiering/detached_value.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "tiering/collection.h"

namespace firn {

DetachedValue::Written DetachedValue::WriteSlice(uint64_t bytes) {
  std::vector<std::string>& pages = pages_.pages();
  if (next_page_ == pages.size()) return Written::kAll;
  build_.ExpectEnd(static_cast<PageNumber>(pages.size()));
  switch (build_.CheckRoom(bytes)) {
    case ValueBuild::Room::kReady:
      break;
    case ValueBuild::Room::kLater:
      return Written::kLater;
    case ValueBuild::Room::kFailed:
      return Written::kFailed;
  }
  for (uint64_t written = 0; next_page_ < pages.size() && written < bytes; ++next_page_) {
    const std::string page = std::exchange(pages[next_page_], {});
    if (page.empty()) continue;
    build_.WritePage(static_cast<PageNumber>(next_page_), page);
    has_pages_ = true;
    written += page.size();
  }
  return next_page_ == pages.size() ? Written::kAll : Written::kMore;
}

void DetachedValue::Install(Database& database, const HashedKey& key, ValueType type) {
  CHECK(pages_.exists() && next_page_ == pages_.pages().size());
  if (has_pages_) return database.SetBuilt(key, type, pages_.root(), &build_);
  if (database.Lookup(key, {.touch = false, .count_hit = false}).exists()) database.Delete(key);
  Collection(database, key, type, {.touch = false, .count_hit = false}).CreateRoot(pages_.root());
}

}  // namespace firn
