#include "tiering/snapshot/snapshot_pages.h"

#include "engine/base/check.h"
#include "engine/types/root_format.h"

namespace firn {
namespace {

// Beyond kKeptPages, pages are kept up to so many bytes.
constexpr uint64_t kCacheBytes = 4 << 20;

}  // namespace

SnapshotPages::SnapshotPages(SnapshotView* view, uint32_t db, std::string_view root)
    : view_(*view), db_(db), root_(root) {}

std::string_view SnapshotPages::Read(PageNumber page) {
  if (auto it = by_number_.find(page); it != by_number_.end()) {
    recent_.splice(recent_.begin(), recent_, it->second);
    return recent_.front().bytes;
  }
  if (!status_.ok()) return {};
  uint64_t value_id = RootView(root_).value_id();
  auto bytes = view_.ReadPage(db_, value_id, page);
  if (!bytes) {
    status_ = bytes.error();
    return {};
  }
  if (!bytes->has_value()) {
    status_ = Status::Corruption("page " + std::to_string(page) + " of value " +
                                 std::to_string(value_id) + " is missing");
    return {};
  }
  bytes_ += (*bytes)->size();
  recent_.push_front({page, std::move(**bytes)});
  by_number_[page] = recent_.begin();
  while (recent_.size() > kKeptPages && bytes_ > kCacheBytes) {
    bytes_ -= recent_.back().bytes.size();
    by_number_.erase(recent_.back().page);
    recent_.pop_back();
  }
  return recent_.front().bytes;
}

void SnapshotPages::CreateRoot(std::string_view) { CHECK_MSG(false, "a snapshot is only read"); }
void SnapshotPages::ReplaceRoot(std::string_view) { CHECK_MSG(false, "a snapshot is only read"); }
void SnapshotPages::Edit(PageNumber, const PageEdit&) {
  CHECK_MSG(false, "a snapshot is only read");
}
void SnapshotPages::Create(PageNumber, std::string_view) {
  CHECK_MSG(false, "a snapshot is only read");
}
void SnapshotPages::Drop(PageNumber) { CHECK_MSG(false, "a snapshot is only read"); }
void SnapshotPages::DeleteValue() { CHECK_MSG(false, "a snapshot is only read"); }
uint64_t SnapshotPages::NewValueId() {
  CHECK_MSG(false, "a snapshot is only read");
  return 0;
}

}  // namespace firn
