#include "tiering/io/timer_heap.h"

#include <utility>

#include "engine/base/check.h"

namespace firn::io {

TimerId TimerHeap::Add(int64_t deadline_micros, Task task) {
  uint32_t index;
  if (free_slots_.empty()) {
    index = static_cast<uint32_t>(slots_.size());
    CHECK(index != kFree);
    slots_.emplace_back();
  } else {
    index = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.task = std::move(task);
  const Entry entry{deadline_micros, next_sequence_++, index};
  heap_.push_back(entry);
  SiftUp(static_cast<uint32_t>(heap_.size() - 1), entry);
  return static_cast<uint64_t>(slot.generation) << 32 | index;
}

void TimerHeap::Cancel(TimerId id) {
  const auto index = static_cast<uint32_t>(id);
  if (index >= slots_.size()) return;
  Slot& slot = slots_[index];
  if (slot.generation != id >> 32 || slot.position == kFree) return;
  // The task dies only after the heap is in order: its destructor may come back here.
  const Task task = RemoveAt(slot.position);
}

void TimerHeap::RunDue(int64_t now_micros) {
  const uint64_t sequence_end = next_sequence_;
  while (!heap_.empty()) {
    const Entry& first = heap_.front();
    if (first.deadline_micros > now_micros || first.sequence >= sequence_end) return;
    RemoveAt(0)();
  }
}

void TimerHeap::Place(uint32_t position, const Entry& entry) {
  heap_[position] = entry;
  slots_[entry.slot].position = position;
}

void TimerHeap::SiftUp(uint32_t position, const Entry& entry) {
  while (position > 0) {
    const uint32_t parent = (position - 1) / 2;
    if (!(entry < heap_[parent])) break;
    Place(position, heap_[parent]);
    position = parent;
  }
  Place(position, entry);
}

void TimerHeap::SiftDown(uint32_t position, const Entry& entry) {
  for (;;) {
    size_t child = 2 * static_cast<size_t>(position) + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
    if (!(heap_[child] < entry)) break;
    Place(position, heap_[child]);
    position = static_cast<uint32_t>(child);
  }
  Place(position, entry);
}

TimerHeap::Task TimerHeap::RemoveAt(uint32_t position) {
  const uint32_t index = heap_[position].slot;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (position < heap_.size()) {
    SiftUp(position, last);
    SiftDown(slots_[last.slot].position, last);
  }
  Slot& slot = slots_[index];
  slot.position = kFree;
  if (++slot.generation == 0) slot.generation = 1;
  free_slots_.push_back(index);
  return std::move(slot.task);
}

}  // namespace firn::io
