// MemoryMeter: what the process holds, as one number. Where jemalloc is the allocator, its count of
// pages in use (which includes what fragmentation wastes) is sampled every few milliseconds, and
// the bytes that the engine itself takes and gives back in between are added; elsewhere the
// engine's own count stands alone. Executor thread.
#pragma once

#include <cstdint>

namespace firn {

class MemoryMeter {
 public:
  // `of_process`: false lets the engine's own count stand alone in any case.
  explicit MemoryMeter(bool of_process) : of_process_(of_process) {}

  void Add(int64_t bytes) { since_sample_ += bytes, entries_ += bytes; }
  // `window_bytes` is the caller's file mapping, which it counts itself.
  void Sample(uint64_t window_bytes);

  // Gives pages that the allocator keeps after frees back to the kernel if they are more than this.
  void LimitUnusedPages(uint64_t max_bytes);

  // Pages that the allocator has in use, what else is resident (code, stacks, directories), and
  // what was taken since the sample. Not: pages that the allocator keeps for a moment after a free.
  uint64_t InUse() const;
  // Bytes that are allocated: without what fragmentation wastes and what threads keep for the next
  // allocation, which comes and goes.
  uint64_t Allocated() const;
  // What fragmentation wastes, as of the last Sample.
  uint64_t Wasted() const;
  // As InUse, with what is allocated instead of the pages that it lies in.
  uint64_t AllocatedAndOther() const;
  // What Add has counted since the last Sample.
  int64_t taken_since_sample() const { return since_sample_; }
  // What Add has counted in all.
  int64_t entries() const { return entries_; }
  // The process's resident size as of the last Sample, 0 if it can't be told.
  uint64_t resident() const { return resident_; }

 private:
  const bool of_process_;
  int64_t since_sample_ = 0;
  int64_t entries_ = 0;
  uint64_t active_ = 0;
  uint64_t metadata_ = 0;
  uint64_t unused_ = 0;  // freed, and still resident
  uint64_t other_ = 0;   // resident, and neither the allocator's nor the window
  uint64_t allocated_ = 0;
  uint64_t cached_ = 0;  // of them, free in the caches of threads
  uint64_t resident_ = 0;
  uint32_t samples_ = 0;
};

}  // namespace firn
