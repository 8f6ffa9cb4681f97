// ColdMap: where in the log the wholly cold values of one keyspace lie: 8 bytes a key, in
// partitions of the key order.
//
//   slot: | tag, 18 bits | size class, 6 bits | position, 40 bits |
//
// The partition is given by the top hash bits (their number is fixed when the map is made, so that
// no slot ever needs more of a hash than it has), the tag by the 18 bits after them. It is a
// filter, never the truth: a look-up answers with candidates, and what a read brings is compared
// with the key. Keys that share a tag each have a slot. A slot changes only by a caller who knows
// the position in it, so a stale caller changes nothing.
//
// With 2^p partitions an absent key has a candidate with a probability of keys / 2^(p + 18).
// The directory takes memory where there are slots only. Executor thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/keyspace/entry.h"
#include "engine/keyspace/slot_array.h"

namespace firn {

// A size class says how much to read: the record lies within this many bytes of its position.
// Each class is at most 1.3 times the one before; they go from 64 bytes to over 600 MiB.
// REQUIRES: record_size_bytes <= SizeClassBytes(kSizeClasses - 1).
int SizeClassFor(uint64_t record_size_bytes);
uint64_t SizeClassBytes(int size_class);
inline constexpr int kSizeClasses = 64;

struct ColdSlot {
  PackedPosition position = 0;
  int size_class = 0;
};

class ColdMap {
 public:
  // `partition_bits` in [4, 26]. The directory takes 8 bytes a partition, by pages, once there is a
  // slot.
  explicit ColdMap(int partition_bits);
  ~ColdMap();
  ColdMap(const ColdMap&) = delete;
  ColdMap& operator=(const ColdMap&) = delete;

  // A partition count that suits about `keys` keys: some 16 to 32 a partition.
  static int PartitionBitsFor(uint64_t keys);

  // REQUIRES: no slot with this hash has this position. A partition takes at most 65535 slots: the
  // owner makes a bigger map long before.
  void Insert(uint64_t hash, ColdSlot slot);
  // Both answer false, and change nothing, if no slot with this hash has position `from`.
  bool Remove(uint64_t hash, PackedPosition from);
  bool Move(uint64_t hash, PackedPosition from, ColdSlot to);
  bool Contains(uint64_t hash, PackedPosition position) const;

  // Calls `visit` for each candidate; almost always none or one.
  template <typename Visitor>
  void ForCandidates(uint64_t hash, Visitor&& visit) const {
    Candidates found;
    uint32_t n = Find(hash, &found);
    for (uint32_t i = 0; i < n; ++i) visit(found.slots[i]);
  }
  // The first kMaxCandidates candidates; the number of them. (More than that share 2^-36 of the
  // hash space only by attack, and the hash is keyed.)
  static constexpr uint32_t kMaxCandidates = 8;
  struct Candidates {
    ColdSlot slots[kMaxCandidates];
  };
  uint32_t Find(uint64_t hash, Candidates* found) const;
  bool MayContain(uint64_t hash) const;

  // Some slot near a random place with the top bits of its hash (partition and tag, zeros below),
  // false if empty: for RANDOMKEY. There are slots for hashes before `end` only.
  bool Sample(uint64_t random, uint64_t end, ColdSlot* slot, uint64_t* hash_prefix) const;

  // Visits the arrays of partitions that are not empty, `max_partitions` partitions from `from` on.
  // Returns where to go on, 0 at the end. A visitor may move an array's block.
  uint64_t WalkArrays(uint64_t from, uint64_t max_partitions,
                      const std::function<void(SlotArray* array)>& visit);

  // The first hash of the partition of `hash`.
  uint64_t AlignDown(uint64_t hash) const { return IndexOf(hash) << (64 - partition_bits_); }
  // Forgets the partitions with hashes in [floor, end), from the last one on, and gives the memory
  // back; so many at most. Returns the first hash of those forgotten. REQUIRES: `floor` is the
  // first hash of a partition, and before `end`; no slot has a hash from `end` on (UINT64_MAX: to
  // the last).
  struct DropRequest {
    uint64_t floor = 0;
    uint64_t end = UINT64_MAX;
    uint64_t max_partitions = 0;
  };
  uint64_t DropTop(const DropRequest& request);

  uint64_t size() const { return size_; }
  // How many slots have positions in [begin, end), to kRegionPositions at each side.
  static constexpr uint64_t kRegionPositions = uint64_t{1} << 17;
  uint64_t CountIn(PackedPosition begin, PackedPosition end) const;
  uint64_t MemoryBytes() const { return memory_bytes_; }
  // Frees at most `partitions` partitions; false when nothing is left. For dropping a map in
  // slices: nothing but this and the destructor may be called after the first call.
  bool FreeSome(uint64_t partitions);
  void CheckInvariants() const;

 private:
  uint64_t IndexOf(uint64_t hash) const { return hash >> (64 - partition_bits_); }
  // At the top, where a slot has it.
  uint64_t TagOf(uint64_t hash) const { return hash << partition_bits_ & kTagMask; }
  uint64_t partition_count() const { return uint64_t{1} << partition_bits_; }
  // The index of the slot in its partition, or its size if there is none.
  uint32_t SlotIndex(uint64_t hash, PackedPosition position) const;
  uint32_t& RegionOf(PackedPosition position);
  // The directory is going to be written at `index`.
  void Touch(uint64_t index);
  // Nothing is left in the memory page of the directory that begins with partition `index`.
  void ForgetPage(uint64_t index);
  bool has_directory() const;

  static constexpr uint64_t kTagMask = ~uint64_t{0} << 46;
  const int partition_bits_;
  SlotArray* partitions_ = nullptr;
  uint64_t size_ = 0;
  uint64_t memory_bytes_ = 0;
  // Slots by the region of the log that they point into: so small that memory_bytes_ leaves it out.
  std::vector<uint32_t> by_region_;
  uint64_t freed_ = 0;
  // A bit for each memory page of the directory that has been written, if it is mapped.
  std::vector<bool> touched_pages_;
};

}  // namespace firn
