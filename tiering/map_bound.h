// MapBound: keeps the memory of all cold maps within tier-index-memory. When they outgrow it, the
// last part of the biggest map is dropped, and its keys are left to the index (keyspace_state.h);
// when there is room again, MapRebuild maps them anew.
//
// Before a part is dropped the index must know all about it: moves of compaction, deletes that left
// no tombstone, blind writes that are not settled. So it is announced first
// (Keyspace::lowering_to), then the index is waited for. Between the level at which a part is
// dropped and that at which more is mapped there is some room, so that the end of a map doesn't go
// to and fro.
//
// Executor thread.
#pragma once

#include <cstdint>

namespace firn {

struct Keyspace;
class StoreImpl;

class MapBound {
 public:
  explicit MapBound(StoreImpl* store) : store_(*store) {}

  // True if there is more to do at once.
  bool Step();
  // A part of a map is to be dropped: compaction holds still, and no slice is read.
  bool lowering() const { return keyspace_id_ != 0; }
  // How many bytes may still be mapped by slices. At most, if there is no limit, UINT64_MAX.
  uint64_t Room() const;
  // Whether it is worth to map again what was left to the index.
  bool WantsMore();
  // Some keyspace is not mapped to its end.
  void NotePartial() { partial_ = true; }

 private:
  uint64_t Limit() const;  // 0: none
  uint64_t MapBytes() const;
  void Begin(uint64_t bytes);
  bool Drop();
  void End();

  StoreImpl& store_;
  uint32_t keyspace_id_ = 0;  // of the keyspace whose map is being lowered, 0: none
  uint64_t attempt_ = 0;      // tells the index' answers apart
  bool index_knows_ = false;
  bool partial_ = false;
  bool growing_ = false;  // until the maps are full
  // Not soon after a part was dropped, under the same limit: what a map takes goes by leaps, and
  // the two must not take turns.
  int64_t grow_after_micros_ = 0;
  uint64_t grow_limit_ = 0;
  uint32_t skipped_ = 0;
  int64_t not_before_micros_ = 0;  // after a failure
};

}  // namespace firn
