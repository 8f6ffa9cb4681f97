// Settler: finds out what a blind write replaced. A SET of a key that the cold map may know needs
// nothing of the old value for its reply, but the key count, the live bytes of the old segment and
// the map itself must learn of it: the old record's head is read and compared, many at a time,
// after the reply has gone.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/keyspace/table.h"
#include "tiering/keyspace_state.h"
#include "tiering/log/record.h"

namespace firn {

class StoreImpl;

class Settler {
 public:
  explicit Settler(StoreImpl* store) : store_(*store) {}

  void Add(Keyspace& keyspace, const HashedKey& key);
  // Starts reads, a bounded number at a time.
  void Step();
  // Of writes into this keyspace some are set aside, since a record can't be read.
  bool HasPostponed(uint32_t keyspace) const;
  bool busy() const { return !queue_.empty() || in_flight_ > 0; }
  // So many wait that writers should, too.
  bool overloaded() const;
  // Calls back, from the loop, when nothing is unsettled that is now.
  void WhenSettled(std::move_only_function<void()> done);
  uint64_t pending() const { return queue_.size() + in_flight_; }

 private:
  struct Item {
    uint32_t keyspace;
    uint64_t hash;
    std::string key;
    std::vector<PackedPosition> tried = {};  // candidates that are other keys'
  };
  void Begin(Item item);
  void Examine(Item item, PackedPosition position, const log::RecordView& head);
  void Finish(Keyspace& keyspace, const HashedKey& key);
  // The record can't be read: the entry stays blind, so that nothing takes the old record for the
  // key's; nobody waits for it, and it is tried again some time.
  void Postpone(Item item);
  void RetryPostponed();
  void AnswerWaiters();

  StoreImpl& store_;
  std::deque<Item> queue_;
  std::vector<Item> postponed_;
  int64_t last_retry_micros_ = 0;
  uint64_t in_flight_ = 0;
  std::vector<std::move_only_function<void()>> waiters_;
};

}  // namespace firn
