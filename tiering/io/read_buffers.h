// ReadBuffers: memory for long direct reads, some of which is kept for the next one. What comes and
// goes through the allocator at the rate of a disk has given its pages back to the kernel each
// time, which then makes them anew, page by page, when it pins them for a read: a third of what a
// read of 40 KiB costs. One thread.
#pragma once

#include <malloc.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace firn::io {

class ReadBuffers {
 public:
  ReadBuffers() = default;
  ~ReadBuffers() { Clear(); }
  ReadBuffers(const ReadBuffers&) = delete;
  ReadBuffers& operator=(const ReadBuffers&) = delete;

  // At least so many bytes, aligned to `alignment`, a divisor of kStep; null if there are none.
  char* Take(size_t alignment, uint32_t size_bytes) {
    const size_t steps = (size_bytes + kStep - 1) / kStep;
    if (steps >= free_.size()) return Allocate(alignment, size_bytes);
    if (free_[steps].empty()) return Allocate(alignment, steps * kStep);
    char* buffer = free_[steps].back();
    free_[steps].pop_back();
    kept_bytes_ -= steps * kStep;
    return buffer;
  }
  // Of Take, or of any other allocation with this alignment; null too.
  void GiveBack(char* buffer) {
    const size_t steps = buffer != nullptr ? malloc_usable_size(buffer) / kStep : 0;
    if (steps == 0 || steps >= free_.size() || kept_bytes_ + steps * kStep > kKeptBytesMax) {
      return std::free(buffer);
    }
    free_[steps].push_back(buffer);
    kept_bytes_ += steps * kStep;
  }
  uint64_t kept_bytes() const { return kept_bytes_; }
  void Clear() {
    for (std::vector<char*>& buffers : free_) {
      for (char* buffer : buffers) std::free(buffer);
      buffers.clear();
    }
    kept_bytes_ = 0;
  }

 private:
  static char* Allocate(size_t alignment, size_t bytes) {
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
    return static_cast<char*>(std::aligned_alloc(alignment, whole));
  }

  static constexpr size_t kStep = 16 * 1024;
  // About what is read at once, so that a batch finds the buffers of the one before.
  static constexpr size_t kKeptBytesMax = 4 << 20;

  std::array<std::vector<char*>, 9> free_;  // by their steps
  size_t kept_bytes_ = 0;
};

}  // namespace firn::io
