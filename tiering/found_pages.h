// FoundPages: where the pages of collections are in RAM that were looked up last. A command meets
// an inner node several times, and a leaf when it is asked for ahead of time and when it is used;
// found here, a page takes neither a keyed hash of its name nor a search of the table. There are
// enough places for all pages of a value of a million elements, so that the leaves of what is used
// much are found here, too.
//
// Keyspace ids are never used again, nor are page numbers within a value, so what is remembered is
// right until the entry itself goes or moves: whoever does that says so. Executor thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/allocation.h"
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

  FoundPages() : places_(Allocate()) {}
  ~FoundPages() { FreeZeroedArray(places_, kBytes); }
  FoundPages(const FoundPages&) = delete;
  FoundPages& operator=(const FoundPages&) = delete;

  // The place of a page; whether it is there is `Holds`.
  Found& PlaceOf(uint64_t value_id, uint32_t page) const {
    return places_[(page + value_id * kSpread) % kPlaces];
  }
  static bool Holds(const Found& found, uint32_t keyspace, uint64_t value_id, uint32_t page) {
    return found.entry != nullptr && found.page == page && found.value_id == value_id &&
           found.keyspace == keyspace;
  }
  // Grows whenever an entry that may be remembered goes or moves.
  uint64_t moves() const { return moves_; }
  // In the place of another page, perhaps.
  const Found& Remember(const Found& found) {
    is_empty_ = false;
    return PlaceOf(found.value_id, found.page) = found;
  }

  // `old` is about to be freed, and `entry`, if any, has its place. `key` is that of a page.
  void Replace(std::string_view key, const Entry* old, Entry* entry) {
    ++moves_;
    if (key.size() != kKeyBytes || is_empty_) return;
    Found& found = PlaceOf(LoadBig64(key.data()), LoadBig32(key.data() + 8));
    if (found.entry != old) return;
    found.entry = entry != nullptr && entry->kind() == Entry::Kind::kHot ? entry : nullptr;
  }
  void Clear() {
    ++moves_;
    if (is_empty_) return;
    FreeZeroedArray(places_, kBytes);
    places_ = Allocate();
    is_empty_ = true;
  }

 private:
  static constexpr size_t kKeyBytes = 12;
  static constexpr size_t kPlaces = 1 << 15;
  static constexpr size_t kBytes = kPlaces * sizeof(Found);
  // Values that follow one another share no places with their first pages.
  static constexpr uint64_t kSpread = 37;
  static Found* Allocate() { return static_cast<Found*>(AllocateZeroedArray(kBytes)); }

  Found* places_;  // zeros are an empty place; takes RAM as it fills
  bool is_empty_ = true;
  uint64_t moves_ = 0;
};

}  // namespace firn
