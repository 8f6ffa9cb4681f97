// DetachedValue: a collection that was made in RAM by another thread (DetachedPages), on its way
// into the store, a slice an iteration:
//
//   DetachedValue value(database);
//   ... ZsetValue(&value.pages(), secret).Build(elements, limits);       // any one thread
//   while (value.WriteSlice() ...) ...                                   // one an iteration
//   value.Install(database, key, ValueType::kZset);                      // the key becomes it
//
// Until then no key leads to its pages, and they go with this object, or after a crash
// (value_build.h).
//
// Executor thread, but for what pages() gives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/types/detached_pages.h"
#include "tiering/value_build.h"

namespace firn {

class DetachedValue {
 public:
  explicit DetachedValue(Database& database) : build_(database), pages_(build_.value_id()) {}

  // Complete when WriteSlice is called first.
  DetachedPages& pages() { return pages_; }
  const ValueBuild& build() const { return build_; }

  enum class Written : uint8_t {
    kAll,
    kMore,    // again in the next iteration
    kLater,   // nothing for now: there is no room
    kFailed,  // there will be none
  };
  // Writes about so many bytes of pages, and forgets them. REQUIRES: Database::HasBuilt(build()).
  Written WriteSlice(uint64_t bytes = kSliceBytes);
  // The key becomes this value, without an expiry: called within a group. REQUIRES: HasBuilt;
  // WriteSlice has said kAll; pages() has a root; planned with kReplace.
  void Install(Database& database, const HashedKey& key, ValueType type);

 private:
  // Well below a millisecond.
  static constexpr uint64_t kSliceBytes = 256 << 10;

  ValueBuild build_;
  DetachedPages pages_;
  size_t next_page_ = 0;
  bool has_pages_ = false;
};

}  // namespace firn
