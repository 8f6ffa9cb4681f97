#include "engine/types/detached_pages.h"

#include <algorithm>

#include "engine/base/check.h"

namespace firn {

std::string& DetachedPages::PageAt(PageNumber page) {
  if (page == kRootPage) return root_;
  CHECK(page < pages_.size() && !pages_[page].empty());
  return pages_[page];
}

void DetachedPages::CreateRoot(std::string_view bytes) {
  CHECK(!exists());
  root_ = std::string(bytes);
}

void DetachedPages::Edit(PageNumber page, const PageEdit& edit) {
  std::string& bytes = PageAt(page);
  const uint64_t old_size = bytes.size();
  const uint64_t size = old_size + static_cast<uint64_t>(edit.SizeChange());
  bytes.resize(std::max(size, old_size));
  ApplySplices(edit.splices(), bytes.data(), old_size);
  bytes.resize(size);
}

void DetachedPages::Create(PageNumber page, std::string_view bytes) {
  CHECK(page != kRootPage && !bytes.empty());
  if (page >= pages_.size()) pages_.resize(page + 1);
  CHECK(pages_[page].empty());
  pages_[page] = std::string(bytes);
}

void DetachedPages::Drop(PageNumber page) {
  PageAt(page);
  pages_[page] = std::string();
}

void DetachedPages::DeleteValue() {
  root_.clear();
  pages_.clear();
}

}  // namespace firn
