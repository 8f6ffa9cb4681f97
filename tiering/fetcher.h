// Fetcher: plans commands, brings what they lack into RAM, and decides what stays there.
//
// A plan that lacks something registers its ticket and starts the reads; each completion installs
// what it brought as a transient, pinned entry. When the last read of a ticket is done its waiter
// is called, and the command is planned again: the world may have changed. Release unpins; a
// transient value that was asked for only once of late goes back to the cold tier, the second time
// it stays (the doorkeeper of TinyLFU: Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient
// Cache Admission Policy").
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "engine/keyspace/cold_map.h"
#include "tiering/index/index.h"
#include "tiering/latency_histogram.h"
#include "tiering/record_fetch.h"
#include "tiering/store.h"

namespace firn {

struct Keyspace;
class StoreImpl;

class Fetcher {
 public:
  explicit Fetcher(StoreImpl* store);

  PlanResult Plan(std::span<const KeyAccess> keys, Ticket* ticket);
  void Release(Ticket* ticket);
  Store::WriteGate CheckWrite(uint64_t bytes, bool frees_space, Ticket* ticket);
  // Whether reads for commands whose turn hasn't come may be started: what they bring stays pinned
  // until then.
  bool MayLookAhead() const;
  // Wakes tickets that waited for memory, a segment or the settler.
  void Step();
  void OnRoomChanged() { wake_writers_ = true; }
  // Whether a look-up of this key was planned, although nothing of it is in RAM and the cold map
  // has candidates.
  bool KnownAbsent(uint32_t keyspace, uint64_t hash) const;
  const LatencyHistogram& latency() const { return latency_; }
  // About what entries take that nobody may demote, since a command waits with them.
  uint64_t pinned_bytes() const { return pinned_bytes_; }
  bool idle() const { return reads_.empty() && lookups_.empty(); }

 private:
  struct Need;
  struct Read {
    uint32_t keyspace;
    uint64_t hash;
    std::string key;
    bool head_only;
    int64_t begun_micros;
    std::vector<uint64_t> tickets;  // serials
    uint32_t lowerings = 0;         // of the keyspace, when the index was asked
  };
  enum class Verdict : uint8_t { kResident, kNeedsRead, kNeedsIndex };
  Verdict Judge(Keyspace& keyspace, const KeyAccess& access, Ticket* ticket);
  uint64_t FetchBudget() const;
  bool InstallWarm(Keyspace& keyspace, const KeyAccess& access, ColdSlot slot, Ticket* ticket);
  void StartReads(Keyspace& keyspace, const KeyAccess& access, Ticket* ticket);
  void StartRead(Keyspace& keyspace, const KeyAccess& access, ColdSlot slot, Ticket* ticket);
  void StartIndexLookup(Keyspace& keyspace, const KeyAccess& access, Ticket* ticket);
  void OnRead(PackedPosition position, Result<FetchedRecord> result);
  void OnIndexLookup(const std::string& id, Result<std::optional<IndexRoot>> root);
  Status InstallRoot(Keyspace& keyspace, const Read& read, const IndexRoot& root);
  // Tells the tickets that wait for a look-up that the index doesn't know the key.
  void NoteAbsent(const Read& read);
  void InstallRead(const Read& read, PackedPosition position, const FetchedRecord& fetched,
                   Status* error);
  void AnswerTickets(const std::vector<uint64_t>& serials, const Read& read,
                     PackedPosition rejected, const Status& error);
  static bool HasPinned(Ticket* ticket, uint32_t keyspace, const HashedKey& key);
  void Pin(Keyspace& keyspace, const HashedKey& key, Entry* entry, Ticket* ticket);
  void Unpin(const Ticket::Pin& pin);
  void Settle(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  bool Admit(uint64_t hash);
  uint64_t Register(Ticket* ticket);
  void Queue(Ticket* ticket, std::deque<uint64_t>* queue);
  // Takes the first of a queue, and calls its waiter if it still waits.
  void WakeFirst(std::deque<uint64_t>* queue);

  StoreImpl& store_;
  std::unordered_map<PackedPosition, Read> reads_;
  std::unordered_map<std::string, Read> lookups_;
  std::unordered_map<uint64_t, Ticket*> waiting_;
  struct Pinned {
    uint32_t tickets = 0;
    uint64_t bytes = 0;  // when the first pinned it
  };
  std::unordered_map<uint64_t, Pinned> pins_;
  uint64_t pinned_bytes_ = 0;
  // Serials of tickets that wait: writers for room or memory, readers for reads in flight. What
  // holds writers up says nothing to readers, who may be all that keeps memory from being freed.
  std::deque<uint64_t> writers_;
  std::deque<uint64_t> readers_;
  std::vector<std::pair<uint32_t, uint64_t>> known_absent_;  // of the last plan
  uint64_t next_serial_ = 1;
  bool wake_writers_ = false;
  LatencyHistogram latency_;
  // The doorkeeper: one bit a hash, forgotten when half full.
  std::vector<uint64_t> seen_;
  uint64_t seen_count_ = 0;
};

}  // namespace firn
