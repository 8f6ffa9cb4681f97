// Table: the keys of one keyspace that are in RAM, in the order of their hashes.
//
//   directory, indexed by the top d bits of the hash        partition (about 16 to 32 entries)
//   +----+----+----+----+ ...                               +---------------------------------+
//   | p0 | p1 | p2 | p3 |            each  ------------->   | tag 16 | Entry* 48 | tag | ... |
//   +----+----+----+----+                                   +---------------------------------+
//
// A tag is the 16 hash bits after the top d. A look-up scans one partition's tags and compares keys
// only where a tag matches. Growing (above 32 entries a partition) doubles the directory:
// partitions of the old one are split into the new one a few at a time, by every insertion and by
// Step; shrinking (below 8) merges likewise, by every removal and by Step. Order is kept: partition
// i becomes 2i and 2i + 1. Memory: 8 bytes an entry at a fill of at least 0.8, plus at most half a
// byte of directory.
//
// Executor thread only. The table owns its entries.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "engine/base/siphash.h"
#include "engine/keyspace/entry.h"
#include "engine/keyspace/slot_array.h"

namespace firn {

struct HashedKey {
  std::string_view bytes;
  uint64_t hash = 0;
};

class Table {
 public:
  explicit Table(HashSecret secret);
  ~Table();  // frees all entries
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  Entry* Find(const HashedKey& key) const;
  // Ask the processor for what Find will read: first the partition, and once that has come, the
  // entry. For callers with other work to do in between, such as the next keys of a pipeline.
  void Prefetch(uint64_t hash) const;
  void PrefetchEntry(uint64_t hash) const;
  // REQUIRES: absent.
  void Insert(const HashedKey& key, Entry* entry);
  // Puts `entry` in the place of `old`, which is returned to the caller's ownership by staying
  // valid. REQUIRES: `old` is in the table under `key`.
  void Replace(const HashedKey& key, Entry* old, Entry* entry);
  // Takes the entry out; the caller frees it. REQUIRES: it is in the table under `key`.
  void Remove(const HashedKey& key, Entry* entry);

  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // Directory and partitions, not the entries.
  uint64_t MemoryBytes() const { return memory_bytes_; }

  // Walks the entries in the order of their hash prefixes, beginning with the partition that
  // contains `hash`, for at least one partition and until `visit` has been given `max_entries` or
  // more. Whole partitions are visited. Returns the first hash not covered (0 when the end was
  // reached: wrapped). `visit` may not change the table.
  uint64_t Walk(uint64_t hash, uint64_t max_entries,
                const std::function<void(Entry* entry)>& visit) const;
  // As Walk over exactly the entries with first <= hash <= last.
  void WalkRange(uint64_t first, uint64_t last,
                 const std::function<void(Entry* entry)>& visit) const;

  // Visits the arrays of partitions that are not empty, `max_partitions` partitions from `from` on.
  // Returns where to go on, 0 at the end. A visitor may move an array's block.
  uint64_t WalkArrays(uint64_t from, uint64_t max_partitions,
                      const std::function<void(SlotArray* array)>& visit);

  // Some entry near a random place, each about equally likely; null if empty.
  Entry* Sample(uint64_t random) const;

  // Moves a bounded part of a growth or shrinking on; true while more remains.
  bool Step();
  // Frees at most `entries` entries, or one partition's; false when nothing is left. For dropping a
  // table in slices: nothing but this and the destructor may be called after the first call.
  bool FreeSome(uint64_t entries);
  uint64_t HashOf(std::string_view key) const { return SipHash13(secret_, key); }

  // For tests: every entry is where its hash says, counts and bytes agree.
  void CheckInvariants() const;

 private:
  using Slot = uint64_t;  // tag in the top 16 bits, Entry* in the low 48
  struct Directory {
    SlotArray* partitions = nullptr;
    int depth = 0;

    uint64_t size() const { return uint64_t{1} << depth; }
    uint64_t IndexOf(uint64_t hash) const { return hash >> 1 >> (63 - depth); }
    uint64_t TagOf(uint64_t hash) const { return hash << depth >> 48; }
  };

  // Where PrefetchEntry has just found a tag: Find looks there first, and searches if it is not so.
  struct Place {
    uint64_t hash = 0;
    uint32_t slot = 0;
  };
  static constexpr size_t kPlaces = 64;  // a pipeline asks for half as many

  bool resizing() const { return next_.partitions != nullptr; }
  // The directory in which the entries with this hash are.
  const Directory& DirectoryOf(uint64_t hash) const {
    return current_.IndexOf(hash) < moved_ ? next_ : current_;
  }
  Directory NewDirectory(int depth);
  void FreeDirectory(Directory* directory);
  void MaybeBeginResize();
  void AdvanceResize();
  void SplitNext();
  void MergeNext();
  uint64_t SlotIndex(const Directory& directory, uint64_t hash, const Entry* entry) const;

  const HashSecret secret_;
  Directory current_;
  Directory next_;      // while resizing
  uint64_t moved_ = 0;  // partitions of current_ that have been moved into next_; else 0
  uint64_t size_ = 0;
  uint64_t memory_bytes_ = 0;
  uint64_t freed_ = 0;  // partitions that FreeSome is done with
  mutable std::unique_ptr<std::array<Place, kPlaces>> places_;  // from the first PrefetchEntry on
};

}  // namespace firn
