// Sweeper: the one hand that goes round the key order, a bounded slice at a time: it expires, ages
// (CLOCK), demotes what was not used since its last round, tidies up what a rebuild of the cold map
// left in the table, and logs whole values whose effects would otherwise hold the replay position
// back. Its pace is set by memory pressure. Also the gate that makes writers wait for it. Executor
// thread.
#pragma once

#include <cstdint>
#include <vector>

#include "tiering/index/index.h"
#include "tiering/keyspace_state.h"

namespace firn {

class Departures;
class StoreImpl;
struct DirtyValue;

class Sweeper {
 public:
  explicit Sweeper(StoreImpl* store) : store_(*store) {}

  // True if it wants to go on at once.
  bool Step();
  // Memory is short, and what could be demoted isn't in the index yet.
  bool waits_for_index() const { return waits_for_index_; }

  enum class MemoryGate : uint8_t { kOk, kWait, kFull };
  MemoryGate CheckMemory(uint64_t bytes);
  bool MayWrite() const;
  // Frees a slice of a dropped keyspace's table; true while something is left.
  bool FreeSome(Keyspace& keyspace);
  // All is counted after a start: stubs and tombstones have to be tidied up.
  void NoteMapComplete() { tidy_rounds_ = 2; }

 private:
  enum class Purpose : uint8_t { kDemote, kExpire };
  struct Slice {
    uint64_t visited = 0;
    uint64_t young = 0;  // not in the index yet
    uint64_t demoted = 0;
    uint64_t freed_bytes = 0;
  };
  // Moves the hand of one keyspace on by about `entries` entries.
  Slice Sweep(Keyspace& keyspace, Purpose purpose, uint64_t entries, uint64_t bytes_wanted);
  bool Relieve();
  void StepTables();
  bool WaitsForIndex(size_t keyspaces);
  bool SparesNode(const Keyspace& keyspace, const Entry& entry) const;
  void ExpireHot();
  void ExpireCold();
  void OnDueHints(std::vector<IndexBatch::Hint> hints,
                  std::vector<std::pair<IndexKey, IndexRoot>> roots, const Departures& departures);
  void TidyTombstone(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  void TidyLeftStub(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  void CheckpointOldest();
  bool CheckpointDirty(DirtyValue* value, int* checkpoints);
  // Without tiering. REQUIRES: BytesToEvict() > 0.
  MemoryGate EvictEnough();
  bool EvictOne();
  uint64_t BytesToEvict() const;
  bool EvictSome();
  bool MayExpire() const;
  bool CanNeverFit() const;
  bool HardlyAnyToDemote() const;

  StoreImpl& store_;
  std::vector<Entry*> visited_;
  uint32_t keyspace_turn_ = 0;
  bool resizing_ = false;        // some table
  uint32_t tables_skipped_ = 0;  // iterations in which none was looked at
  int64_t write_credit_bytes_ = 0;
  uint64_t fruitless_ = 0;  // entries passed since the hand last freed something
  // Keyspaces in a row in which a slice was young, with the index as of `young_at_lsn_`.
  size_t young_keyspaces_ = 0;
  uint64_t young_at_lsn_ = 0;
  bool waits_for_index_ = false;
  int64_t last_expire_micros_ = 0;
  int64_t last_hint_micros_ = 0;
  int64_t last_look_micros_ = 0;  // at the memory, before a write was refused
  bool hints_in_flight_ = false;
  bool hints_left_ = false;
  int tidy_rounds_ = 0;
};

}  // namespace firn
