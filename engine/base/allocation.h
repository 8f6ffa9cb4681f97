// Blocks of the process's allocator for owners that know the size of what they hold, so that
// freeing is cheap and what a block really takes can be counted without asking for its address.
// A failed allocation ends the process.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#ifdef FIRN_JEMALLOC
#include <jemalloc/jemalloc.h>
#else
#include <malloc.h>
#endif

#include "engine/base/check.h"

namespace firn {

// Uninitialised, aligned for everything. REQUIRES: bytes > 0.
inline void* AllocateBlock(size_t bytes) {
  void* block = std::malloc(bytes);
  CHECK(block != nullptr);
  return block;
}

// `block` may be null.
inline void* ReallocateBlock(void* block, size_t bytes) {
  void* moved = std::realloc(block, bytes);
  CHECK(moved != nullptr);
  return moved;
}

// `bytes` as the block was last allocated with.
inline void FreeBlock(void* block, [[maybe_unused]] size_t bytes) {
#ifdef FIRN_JEMALLOC
  sdallocx(block, bytes, 0);
#else
  std::free(block);
#endif
}

// What the allocator set aside for a block allocated with `bytes`.
inline size_t BlockMemoryBytes([[maybe_unused]] const void* block, [[maybe_unused]] size_t bytes) {
#ifdef FIRN_JEMALLOC
  return nallocx(bytes, 0);
#else
  return malloc_usable_size(const_cast<void*>(block));
#endif
}

// What the allocator sets aside for a block of so many bytes, or a size that a block may as well
// have where it counts exactly.
inline size_t BlockClassBytes(size_t bytes) {
#ifdef FIRN_JEMALLOC
  return nallocx(bytes, 0);
#else
  const size_t class_step = std::bit_floor(bytes - 1) / 4;
  return (bytes + class_step - 1) / class_step * class_step;
#endif
}

// Whether a block allocated with `bytes` may from now on count as one of `new_bytes`.
inline bool FitsBlock([[maybe_unused]] const void* block, [[maybe_unused]] size_t bytes,
                      size_t new_bytes) {
#ifdef FIRN_JEMALLOC
  // Whatever the allocator's quantum, there are four classes from one power of two to the next.
  const size_t class_step = bytes < 1024 ? 1 : std::bit_floor(bytes - 1) / 4;
  if ((bytes - 1) / class_step == (new_bytes - 1) / class_step) return true;
  return nallocx(bytes, 0) == nallocx(new_bytes, 0);
#else
  // Sanitizers watch the exact size.
  return new_bytes <= malloc_usable_size(const_cast<void*>(block)) && new_bytes + 64 > bytes;
#endif
}

// A block for something that moves out of a page with many holes: not one that was freed just now,
// which would lie in such a page again. And the way to free the block that it leaves.
inline void* AllocateBlockElsewhere(size_t bytes) {
#ifdef FIRN_JEMALLOC
  void* block = mallocx(bytes, MALLOCX_TCACHE_NONE);
#else
  void* block = std::malloc(bytes);
#endif
  CHECK(block != nullptr);
  return block;
}
inline void FreeLeftBlock(void* block, [[maybe_unused]] size_t bytes) {
#ifdef FIRN_JEMALLOC
  sdallocx(block, bytes, MALLOCX_TCACHE_NONE);
#else
  std::free(block);
#endif
}

// The run of equal regions that a block is one of; a large block is alone.
struct SlabUse {
  uint64_t used = 1;
  uint64_t regions = 1;
  uint64_t region_bytes = 0;
};
// For each block its slab. False if this allocator can't tell.
bool QuerySlabs(std::span<const void* const> blocks, std::vector<SlabUse>* slabs);

// Zeroed memory for big arrays that fill up slowly. From kMappedArrayBytes on it is mapped, and
// takes RAM page by page as it is written.
inline constexpr size_t kMappedArrayBytes = 64 * 1024;
inline constexpr size_t kPageBytes = 4096;
void* AllocateZeroedArray(size_t bytes);
void FreeZeroedArray(void* array, size_t bytes);
// Gives a memory page (kPageBytes, aligned so) of a mapped array back: it is zeroed again.
void ForgetZeroedPage(void* page);

}  // namespace firn
