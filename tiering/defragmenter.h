// Defragmenter: moves entries and slot arrays out of memory pages that are mostly holes, so that
// the allocator can give those pages back. What a sweep frees lies scattered over all pages:
// without this a server at `maxmemory` would demote ever more of its hot set to get back whole
// pages.
//
// It works only where the allocator tells how full the page around a block is (jemalloc), only near
// max_memory, and only while much is wasted. The idea is that of Redis' active defragmentation; how
// full a class of sizes is in the mean is estimated from the blocks that are met.
//
// Executor thread, between commands.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/base/allocation.h"
#include "engine/keyspace/entry.h"
#include "engine/keyspace/slot_array.h"

namespace firn {

struct Keyspace;
class StoreImpl;

class Defragmenter {
 public:
  explicit Defragmenter(StoreImpl* store) : store_(*store) {}

  // A bounded piece of work, some tenths of a millisecond; true if it would go on at once.
  bool Step();
  uint64_t moved() const { return moved_; }
  // There are holes, and moving blocks still closes some.
  bool working() const { return active_; }

 private:
  enum class Part { kEntries, kTableArrays, kColdArrays, kEnd };
  // Pages of one size class, as seen through the blocks in them.
  struct ClassUse {
    // Mean of 1 / (share of a page that is used) over blocks met: its inverse is the mean share
    // over pages, since a page is met once for each block in it.
    double inverse_use = 1;
    bool WorthMoving(const SlabUse& slab) const;
    void Meet(const SlabUse& slab);
  };

  bool WantsWork();
  void BeginRound();
  // The keyspace's next part, or the next keyspace's first.
  void NextPart();
  void GatherEntries(Keyspace& keyspace);
  template <typename Map>
  void GatherArrays(Map& map);
  void MoveEntries(Keyspace& keyspace);
  void MoveArrays();
  ClassUse& ClassOf(const SlabUse& slab);
  // False if this allocator can't tell.
  bool QueryBlocks();

  StoreImpl& store_;
  bool active_ = false;
  int64_t rests_until_micros_ = 0;
  size_t slot_ = 0;
  Part part_ = Part::kEntries;
  uint64_t at_ = 0;  // in that part: a hash or a partition
  uint64_t round_visited_ = 0;
  uint64_t round_moved_ = 0;
  uint64_t moved_ = 0;
  std::array<ClassUse, 256> classes_;
  // Of the step under way.
  std::vector<Entry*> entries_;
  std::vector<SlotArray*> arrays_;
  std::vector<const void*> blocks_;
  std::vector<SlabUse> slabs_;
};

}  // namespace firn
