// The timers of one loop: a binary heap by deadline, with constant-time look-up by id. Belongs to
// the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tiering/io/loop.h"

namespace firn::io {

class TimerHeap {
 public:
  using Task = std::move_only_function<void()>;

  // `deadline_micros` is on the clock that RunDue is given. Never returns 0.
  TimerId Add(int64_t deadline_micros, Task task);
  // An id that has fired or is unknown is ignored.
  void Cancel(TimerId id);

  bool empty() const { return heap_.empty(); }
  // REQUIRES: not empty.
  int64_t NextDeadline() const { return heap_.front().deadline_micros; }
  // Runs what is due at `now_micros`, by deadline, equal ones in order of Add. A timer that is
  // added meanwhile waits for the next call, so that a task which re-adds itself can't hold up
  // the loop.
  void RunDue(int64_t now_micros);

 private:
  struct Entry {
    int64_t deadline_micros;
    uint64_t sequence;
    uint32_t slot;
    bool operator<(const Entry& other) const {
      return deadline_micros != other.deadline_micros ? deadline_micros < other.deadline_micros
                                                      : sequence < other.sequence;
    }
  };
  // An id is a slot and its generation, so that a stale one finds nothing.
  struct Slot {
    Task task;
    uint32_t generation = 1;
    uint32_t position = kFree;  // in heap_
  };
  static constexpr uint32_t kFree = UINT32_MAX;

  void Place(uint32_t position, const Entry& entry);
  void SiftUp(uint32_t position, const Entry& entry);
  void SiftDown(uint32_t position, const Entry& entry);
  Task RemoveAt(uint32_t position);

  std::vector<Entry> heap_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  uint64_t next_sequence_ = 0;
};

}  // namespace firn::io
