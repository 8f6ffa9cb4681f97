// HotSet: what is hot comes back after a start. Once a minute a walk over the tables, in slices,
// notes the hashes of all values and pages in RAM and how much they are used; a worker writes them
// to DIR/HOT, those used most first. After a start they are fetched in that order, in the
// background, while commands run, until memory is nearly full.
//
//   offset size
//   0      8    magic "FIRNHOT\n"
//   8      4    format version
//   12     4    CRC32C of the bytes from 16 on
//   16     8    directory id
//   24     16*n for each: keyspace id (4), use (4), hash (8)
//
// The file is a hint: what is damaged, missing or of another version is left aside.
//
// Executor thread; Finish blocks.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/store.h"

namespace firn {

struct Entry;
class StoreImpl;

class HotSet {
 public:
  explicit HotSet(StoreImpl* store);
  ~HotSet();
  HotSet(const HotSet&) = delete;
  HotSet& operator=(const HotSet&) = delete;

  // Once an iteration. True if there is more to do now.
  bool Step();
  // Before the store is closed: notes what is hot now.
  void Finish();
  // Ends the fetches under way. Before the fetcher goes.
  void Stop();

  uint64_t restored() const { return restored_; }
  uint64_t left() const { return remembered_.size() - next_; }

  struct Noted {
    uint32_t keyspace = 0;
    uint32_t use = 0;  // LFU: the counter; LRU: seconds without use
    uint64_t hash = 0;
  };

 private:
  enum class Phase : uint8_t { kStart, kReading, kRestoring, kIdle, kWalking, kWriting };
  struct Found;
  struct Fetch;

  bool IsOn() const;
  // Restoring.
  void StartReading();
  bool StepRestoring();
  bool HasRoom() const;
  void LookUpMore();
  void StartFetch(Found found);
  void Continue(Fetch* fetch);
  void EndFetch(Fetch* fetch);
  void EndRestoring();
  // Noting.
  void BeginWalk();
  bool WalkSome(uint64_t max_entries);
  void Note(uint32_t keyspace, uint64_t hash, uint32_t access);
  void StartWriting();
  uint64_t Activity() const;
  uint32_t Threshold() const;

  StoreImpl& store_;
  Phase phase_ = Phase::kStart;

  std::vector<Noted> remembered_;  // the file's, those used most first
  size_t next_ = 0;
  bool looking_up_ = false;
  std::vector<Found> found_;  // to be fetched, the next at the back
  std::list<Fetch> fetches_;
  std::list<Fetch> ended_;  // freed outside of their callbacks
  uint64_t restored_ = 0;
  int64_t begun_micros_ = 0;

  std::vector<Noted> noted_;
  std::vector<uint32_t> keyspaces_;  // still to be walked
  uint64_t next_hash_ = 0;           // in the last of them
  std::vector<uint64_t> histogram_;  // by heat; while it is being made, nothing is noted
  bool counting_ = false;
  uint32_t threshold_ = 0;  // the least heat that is noted
  int64_t next_walk_micros_ = 0;
  uint64_t seen_activity_ = 0;
};

}  // namespace firn
