// LeftKeys: the keys that are left to the index (keyspace_state.h), and how they come to be.
//
// Nothing in RAM says that such a key exists, so that who reads the index on another thread may be
// told of a state that is over when the answer comes. Three things keep answers right:
//   - An entry leaves the table only once the index has just what it says.
//   - A hash that somebody holds does not leave: a look-up of one key holds it, and whoever was
//     told that a key is absent, until he is done.
//   - A reading of many keys is told which hashes have left since it began.
// Stubs and tombstones that may not leave yet are tried again, in the order in which the index gets
// to them.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/keyspace/table.h"

namespace firn {

struct Keyspace;
class StoreImpl;

// The hashes that have left since a reading began.
class Departures {
 public:
  struct Range {
    uint32_t keyspace = 0;
    uint64_t first = 0;  // both included
    uint64_t last = 0;
  };
  void Add(const Range& range);
  // To be called once, before any of the following.
  void Sort();
  bool Include(uint32_t keyspace, uint64_t hash) const;
  // The least of them from `first` on.
  std::optional<uint64_t> First(uint32_t keyspace, uint64_t first) const;

 private:
  std::vector<std::pair<uint32_t, uint64_t>> hashes_;
  std::vector<Range> ranges_;
};

class LeftKeys {
 public:
  explicit LeftKeys(StoreImpl* store) : store_(*store) {}

  // Whether the index alone may answer for the key of this entry from now on.
  bool MayLeave(const Keyspace& keyspace, uint64_t hash, const Entry& entry) const;
  // REQUIRES: MayLeave.
  void Leave(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  // Whether a tombstone has nothing to hide any more.
  bool MayForget(const Keyspace& keyspace, uint64_t hash, const Entry& tombstone) const;
  // REQUIRES: MayForget.
  void Forget(Keyspace& keyspace, const HashedKey& key, Entry* tombstone);
  // A stub or tombstone is to go as soon as it may: once its record is indexed, and more.
  void Await(const Keyspace& keyspace, uint64_t hash, PackedPosition position);
  void Step();

  void Hold(uint32_t keyspace, uint64_t hash);
  void Unhold(uint32_t keyspace, uint64_t hash);

  // Around a job that reads the index.
  uint64_t BeginReading();
  Departures Since(uint64_t reading) const;
  Departures EndReading(uint64_t reading);
  // A range of hashes is left to the index that was not.
  void NoteRange(const Departures::Range& range);
  // What a reading found is what the key is: no entry is in the table, and the root at `position`
  // is the newest.
  bool IsCurrent(const Keyspace& keyspace, uint64_t hash, PackedPosition position,
                 const Departures& departures) const;

 private:
  struct Waiting {
    uint32_t keyspace;
    uint64_t hash;
    PackedPosition position;
  };
  struct Departure {
    uint64_t serial;
    Departures::Range range;
  };
  // False if something of it has to stay.
  bool TryAgain(Keyspace& keyspace, uint64_t hash);

  StoreImpl& store_;
  std::deque<Waiting> waiting_;
  std::unordered_map<uint64_t, uint32_t> holds_;  // a collision holds a hash too many
  uint64_t last_serial_ = 0;
  std::multiset<uint64_t> readings_;  // the last serial when each began
  std::deque<Departure> departures_;  // since the oldest reading
};

}  // namespace firn
