// Keyspace: the state of one keyspace id: what is in RAM, and where the rest lies. Executor thread.
//
// A key is in exactly one of the two: in the table (hot, stub or tombstone), or in the cold map.
// While the cold map is being rebuilt after a start, it is complete for the hashes below
// mapped_until; beyond that the table and the index answer, and what leaves RAM stays in the table
// as a stub.
#pragma once

#include <cstdint>

#include "engine/keyspace/cold_map.h"
#include "engine/keyspace/table.h"

namespace firn {

struct Keyspace {
  static constexpr uint64_t kFullyMapped = UINT64_MAX;

  Keyspace(uint32_t keyspace_id, HashSecret secret, int cold_partition_bits)
      : id(keyspace_id), table(secret), cold(cold_partition_bits) {}

  bool IsMapped(uint64_t hash) const { return hash < mapped_until || mapped_until == kFullyMapped; }
  bool fully_mapped() const { return mapped_until == kFullyMapped; }

  const uint32_t id;
  uint32_t slot = 0;          // what names it: StoreImpl::KeyspaceOf
  Keyspace* pages = nullptr;  // where the pages of its collections are; null for such a one
  uint32_t db() const { return slot / 2; }
  bool holds_pages() const { return slot % 2 == 1; }
  Table table;
  ColdMap cold;
  uint64_t mapped_until = kFullyMapped;
  uint64_t keys =
      0;  // over all tiers; a blindly overwritten cold key counts twice until it is settled
  uint64_t expiring = 0;     // of them, those with an expiry
  uint64_t resident = 0;     // entries of the table that are keys: hot and stubs
  uint64_t unsettled = 0;    // blind writes whose predecessor is not known yet
  bool counts_exact = true;  // false after a start that replayed blind writes, until the rebuild
  uint64_t sweep_hash = 0;   // where the hand is
};

}  // namespace firn
