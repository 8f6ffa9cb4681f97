// FoundPages: where the pages of collections are in RAM that were looked up last. A command meets
// an inner node several times, and a leaf when it is asked for ahead of time and when it is used;
// found here, a page takes neither a keyed hash of its name nor a search of the table.
//
// Keyspace ids are never used again, nor are page numbers within a value, so what is remembered is
// right until the entry itself goes or moves: whoever does that says so. Executor thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/base/coding.h"
#include "engine/keyspace/entry.h"

namespace firn {

class FoundPages {
 public:
  struct Found {
    uint64_t value_id = 0;
    uint32_t page = 0;
    uint32_t keyspace = 0;
    uint64_t hash = 0;  // of the page's key
    Entry* entry = nullptr;
  };

  // The place of a page; whether it is there is `Holds`.
  Found& PlaceOf(uint64_t value_id, uint32_t page) {
    return places_[(page + value_id * kSpread) % places_.size()];
  }
  static bool Holds(const Found& found, uint32_t keyspace, uint64_t value_id, uint32_t page) {
    return found.entry != nullptr && found.page == page && found.value_id == value_id &&
           found.keyspace == keyspace;
  }

  // `old` is about to be freed, and `entry`, if any, has its place. `key` is that of a page.
  void Replace(std::string_view key, const Entry* old, Entry* entry) {
    if (key.size() != kKeyBytes) return;
    Found& found = PlaceOf(LoadBig64(key.data()), LoadBig32(key.data() + 8));
    if (found.entry != old) return;
    found.entry = entry != nullptr && entry->kind() == Entry::Kind::kHot ? entry : nullptr;
  }
  void Clear() { places_ = {}; }

 private:
  static constexpr size_t kKeyBytes = 12;
  // Values that follow one another share no places with their first pages.
  static constexpr uint64_t kSpread = 37;
  std::array<Found, 256> places_{};
};

}  // namespace firn
