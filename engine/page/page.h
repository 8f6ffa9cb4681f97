// Page: a contiguous, position-independent, reference-counted block of bytes: the unit of
// residency, copy-on-write and lazy freeing. Immutable while shared: a writer asks MakeUnique
// first.
//
// The reference count is atomic because a worker may hold the last reference (compression, freeing
// of a big value); everything else belongs to the executor.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace firn {

class Page {
 public:
  // A page of `size` bytes with room for `capacity` (>= size), uninitialised, one reference.
  static Page* Create(uint64_t size, uint64_t capacity);
  static Page* CopyOf(std::string_view bytes, uint64_t capacity);

  void Acquire() { references_.fetch_add(1, std::memory_order_relaxed); }
  // Frees the page with the last reference.
  void Release();
  bool IsShared() const { return references_.load(std::memory_order_acquire) > 1; }

  char* data() { return reinterpret_cast<char*>(this + 1); }
  std::string_view bytes() const { return {reinterpret_cast<const char*>(this + 1), size_}; }
  uint64_t size() const { return size_; }
  // REQUIRES: not shared, size <= capacity().
  void set_size(uint64_t size) { size_ = size; }
  uint64_t capacity() const { return capacity_; }
  // Bytes taken from the allocator.
  uint64_t MemoryBytes() const;

  // Returns a page with the same bytes, room for `capacity`, and no other holder: this page itself
  // if it is unshared and large enough, else a copy; the caller's reference moves to the result.
  // `size` becomes the new size; bytes beyond the old one are zero.
  static Page* MakeUnique(Page* page, uint64_t size, uint64_t capacity);

 private:
  explicit Page(uint64_t size, uint64_t capacity) : size_(size), capacity_(capacity) {}
  std::atomic<uint32_t> references_{1};
  uint64_t size_;
  uint64_t capacity_;
};

}  // namespace firn
