// ValueCopy: the copy of a big collection that is being made for a command, a slice of its pages an
// iteration, so that nobody but who asked for it waits for its size. The pages have a value id of
// their own and no key yet. What changes in the source meanwhile is copied again, so that the copy
// is that of the moment in which it gets its key (Database::Copy, Rename). Without one, its pages
// are deleted in the background when the last reference goes, and after a crash.
//
// Or a long string that is mixed of others, part by part (Database::PrepareMix, SetMixed).
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engine/base/status.h"
#include "engine/types/page_space.h"
#include "tiering/page_watchers.h"
#include "tiering/store.h"

namespace firn {

class Copier;

// What a long string is mixed of.
struct StringMix {
  struct Source {
    uint64_t value_id = 0;  // of a long string; 0: a short one, or none
    std::string bytes;      // of a short one
  };
  std::vector<Source> sources;
  PartMixer mixer;
  uint64_t size_bytes = 0;  // of the new string
  std::string parts;        // for each of its parts that have been mixed whether it has a page
};

class ValueCopy final : public PageWatcher {
 public:
  ~ValueCopy() override;
  ValueCopy(const ValueCopy&) = delete;
  ValueCopy& operator=(const ValueCopy&) = delete;

  // Why there will be no copy, as kNoMemory; ok as long as there may be one.
  const Status& status() const { return status_; }
  // `on_ready` is called from the loop, once, when Database::PrepareCopy is worth asking again, and
  // at the latest while the store is destroyed, which it must not use then. The copy makes progress
  // only while somebody waits for it.
  void Await(std::move_only_function<void()> on_ready) { on_ready_ = std::move(on_ready); }

  // --- PageWatcher
  bool Watches(uint64_t value_id) const override;
  void BeforeChange(PageNumber page, std::string_view bytes) override;
  void OnValueGone() override { source_gone_ = true; }
  bool HoldsPages() const override { return false; }

 private:
  friend class Copier;
  ValueCopy() = default;

  Copier* copier_ = nullptr;  // null: it has been used, or the store is gone
  uint32_t source_ = 0;       // the keyspaces of the pages
  uint32_t target_ = 0;
  uint64_t source_id_ = 0;  // unless it is mixed
  std::unique_ptr<StringMix> mix_;
  uint64_t id_ = 0;
  PageNumber next_ = kRootPage + 1;         // all below have been copied
  PageNumber end_ = 0;                      // of the source
  PageNumber noted_end_ = 0;                // what the reaper's note covers
  std::unordered_set<PageNumber> changed_;  // of those that have been copied
  size_t arrivals_ = 0;                     // of these, since the last slice
  size_t pages_at_once_ = 16;
  bool source_gone_ = false;
  bool planning_ = false;  // pages of a slice are pinned, others are on their way
  bool waiting_ = false;   // for reads, or for room
  Ticket ticket_;
  Status status_;
  std::move_only_function<void()> on_ready_;
};

}  // namespace firn
