// HotSet: what is hot comes back after a start. Once a minute a walk over the tables, in slices,
// notes the hashes of all values and pages in RAM and how much they are used; a worker writes them
// to DIR/HOT, in no order. After a start they are fetched in the background, while
// commands run, until memory is nearly full: of those whose keys are known, the one used most
// first. The file has no keys. The rebuild of the cold maps comes by all of them, in the order of
// their hashes, and shows them; the tables show those of the log's tail. So no look-up is made for
// it.
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
#include <deque>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
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
  // False until the note has been read: what the rebuild comes by before that would be missed.
  bool MayMeet() const { return !IsOn() || phase_ > Phase::kReading; }
  // What the rebuild of the cold maps comes by, in the order of the hashes, once in the map.
  struct Met {
    uint64_t hash = 0;
    std::string_view key;  // empty: its bytes are only in the log
  };
  void Meet(uint32_t keyspace, std::span<const Met> all);
  // Before the store is closed: notes what is hot now.
  void Finish();
  // Ends the fetches under way. Before the fetcher goes.
  void Stop();

  uint64_t restored() const { return restored_; }
  // Still to be fetched, or to be met.
  uint64_t left() const;

  struct Noted {
    uint32_t keyspace = 0;
    uint32_t use = 0;  // LFU: the counter; LRU: seconds without use
    uint64_t hash = 0;
  };

 private:
  enum class Phase : uint8_t { kStart, kReading, kRestoring, kIdle, kWalking, kWriting };
  struct Found {
    Noted noted;
    std::string key;
  };
  struct Fetch;

  bool IsOn() const;
  // Restoring.
  void StartReading();
  bool StepRestoring();
  bool HasRoom() const;
  bool MeetStubs();
  void Find(const Noted& noted, std::string_view key);
  Found TakeHottest();
  void Forget();
  void StartFetch(Found found);
  void Continue(Fetch* fetch);
  void EndFetch(Fetch* fetch);
  void EndRestoring();
  // Noting.
  void BeginWalk();
  void BeginTables();
  bool WalkSome(uint64_t max_entries);
  void Note(uint32_t keyspace, uint64_t hash, uint32_t access);
  void StartWriting();
  uint64_t Activity() const;
  void SetThreshold();

  StoreImpl& store_;
  Phase phase_ = Phase::kStart;

  // The file's, by keyspace and hash, while there are keys to be met.
  std::vector<Noted> remembered_;
  uint64_t remembered_count_ = 0;
  uint64_t met_ = 0;
  // To be fetched, by heat.
  std::vector<std::deque<Found>> found_;
  uint64_t found_count_ = 0;
  std::list<Fetch> fetches_;
  std::list<Fetch> ended_;  // freed outside of their callbacks
  uint64_t restored_ = 0;
  int64_t begun_micros_ = 0;

  std::vector<Noted> noted_;
  // The walk over the tables: for what is to be noted, or for entries of Kind::kStub.
  std::vector<uint32_t> keyspaces_;  // still to be walked
  uint64_t next_hash_ = 0;           // in the last of them
  std::vector<uint64_t> histogram_;  // by heat; while it is being made, nothing is noted
  bool counting_ = false;
  uint32_t threshold_ = 0;       // the least heat that is noted
  uint64_t threshold_left_ = 0;  // so many of that heat still fit
  int64_t next_walk_micros_ = 0;
  uint64_t seen_activity_ = 0;
};

}  // namespace firn
