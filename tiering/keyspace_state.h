// Keyspace: the state of one keyspace id: what is in RAM, and where the rest lies. Executor thread.
//
// A key is in exactly one of three: in the table (hot, stub or tombstone), in the cold map, or left
// to the index, whose root is then the newest word on it. By hashes:
//
//   [0, mapped_until)              what isn't in the table is in the cold map
//   [mapped_until, counted_until)  what isn't in the table is left to the index
//   [counted_until, the end)       as before, but not counted yet: the rebuild after a start is
//                                  still to come by; what leaves RAM stays in the table as a stub
//
// Keys are left to the index when the cold maps would take more memory than they may.
#pragma once

#include <cstdint>

#include "engine/keyspace/cold_map.h"
#include "engine/keyspace/table.h"

namespace firn {

struct Keyspace {
  static constexpr uint64_t kAllHashes = UINT64_MAX;

  Keyspace(uint32_t keyspace_id, HashSecret secret, int cold_partition_bits)
      : id(keyspace_id), table(secret), cold(cold_partition_bits) {}

  bool IsMapped(uint64_t hash) const { return hash < mapped_until || fully_mapped(); }
  bool IsCounted(uint64_t hash) const { return hash < counted_until || fully_counted(); }
  bool IsLeft(uint64_t hash) const { return !IsMapped(hash) && IsCounted(hash); }
  // Is mapped, but will be left to the index as soon as that is up to date. Until then deletes
  // leave tombstones, and nothing is overwritten blindly.
  bool IsLowering(uint64_t hash) const { return hash >= lowering_to && lowering_to != kAllHashes; }
  bool fully_mapped() const { return mapped_until == kAllHashes; }
  bool fully_counted() const { return counted_until == kAllHashes; }
  // After a start, before its rebuild.
  void ForgetCounts() { mapped_until = counted_until = 0; }

  const uint32_t id;
  uint32_t slot = 0;          // what names it: StoreImpl::KeyspaceOf
  Keyspace* pages = nullptr;  // where the pages of its collections are; null for such a one
  uint32_t db() const { return slot / 2; }
  bool holds_pages() const { return slot % 2 == 1; }
  Table table;
  ColdMap cold;
  uint64_t mapped_until = kAllHashes;
  uint64_t counted_until = kAllHashes;
  uint64_t lowering_to = kAllHashes;  // where mapped_until is about to go
  uint32_t lowerings = 0;             // how often it went
  uint64_t left = 0;                  // keys left to the index
  uint64_t keys =
      0;  // over all tiers; a blindly overwritten cold key counts twice until it is settled
  uint64_t expiring = 0;     // of them, those with an expiry
  uint64_t resident = 0;     // entries of the table that are keys: hot and stubs
  uint64_t unsettled = 0;    // blind writes whose predecessor is not known yet
  bool counts_exact = true;  // false after a start that replayed blind writes, until the rebuild
  uint64_t sweep_hash = 0;   // where the hand is
  uint32_t sweep_round = 0;  // of the hand
};

}  // namespace firn
