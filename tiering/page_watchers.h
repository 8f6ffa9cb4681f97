// PageWatchers: who has to know when the pages of a value change, since it takes more than one turn
// of the loop to read them: copies in the making, and values that are read as they were.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/types/page_space.h"

namespace firn {

class PageWatcher {
 public:
  virtual ~PageWatcher() = default;
  // Whether it watches the pages of a value.
  virtual bool Watches(uint64_t value_id) const = 0;
  // A page is about to be changed, or to go; `bytes` are what it has now. Or it is about to be
  // made: then there are none. Roots are not reported. Must not change anything.
  virtual void BeforeChange(PageNumber page, std::string_view bytes) = 0;
  // The value has lost its key.
  virtual void OnValueGone() = 0;
  // Its pages must stay all the same.
  virtual bool HoldsPages() const = 0;
};

class PageWatchers {
 public:
  bool any() const { return !watchers_.empty(); }
  // The watcher must be removed before it goes.
  void Add(PageWatcher* watcher) { watchers_.push_back(watcher); }
  void Remove(PageWatcher* watcher) { std::erase(watchers_, watcher); }

  void BeforeChange(uint64_t value_id, PageNumber page, std::string_view bytes) {
    for (PageWatcher* watcher : watchers_) {
      if (watcher->Watches(value_id)) watcher->BeforeChange(page, bytes);
    }
  }
  void OnValueGone(uint64_t value_id) {
    for (PageWatcher* watcher : watchers_) {
      if (watcher->Watches(value_id)) watcher->OnValueGone();
    }
  }
  bool HoldPages(uint64_t value_id) const {
    for (const PageWatcher* watcher : watchers_) {
      if (watcher->Watches(value_id) && watcher->HoldsPages()) return true;
    }
    return false;
  }

 private:
  std::vector<PageWatcher*> watchers_;
};

}  // namespace firn
