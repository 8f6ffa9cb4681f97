// FineBlocks: blocks of 257 to 512 bytes in steps of 16, where the process's allocator has steps of
// 64: an entry with a small hash takes what it needs, not up to a quarter more.
//
//   slab, 32 KiB, aligned so        a free region begins with the number of the next free one
//   +--------+--------+--------+--------+ ... +----------------+
//   | header | region | region | free   |     | not used yet   |
//   +--------+--------+--------+--------+ ... +----------------+
//
// All regions of a slab have one size. Slabs with room are listed by how full they are, and blocks
// come from the fullest: so the emptiest drain, and are given back. Which slab a block is in
// follows from its address, and its size from what its owner knows.
//
// A lock that hardly anybody contends for lets stores on several threads share what is one per
// process, as the allocator itself is.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "engine/base/allocation.h"

namespace firn {

class FineBlocks {
 public:
  static constexpr size_t kLeastBytes = 257;
  static constexpr size_t kMostBytes = 512;
  static constexpr size_t kStepBytes = 16;

  constexpr FineBlocks() = default;
  FineBlocks(const FineBlocks&) = delete;
  FineBlocks& operator=(const FineBlocks&) = delete;
  // That of the process.
  static FineBlocks& Shared();

  static constexpr bool Holds(size_t bytes) { return bytes >= kLeastBytes && bytes <= kMostBytes; }
  static constexpr size_t RegionBytes(size_t bytes) {
    return (bytes + kStepBytes - 1) / kStepBytes * kStepBytes;
  }
  // Uninitialised, aligned for everything. REQUIRES of all: Holds(bytes).
  void* Allocate(size_t bytes);
  // REQUIRES: from Allocate, with as many bytes, or others that RegionBytes rounds alike.
  void Free(void* block, size_t bytes);
  // Gives back the slabs that hold no block and stay for the next one.
  void FreeSpares();
  // The slab that a block lies in. One that the next block would come from counts as alone: there
  // is none to move its blocks to.
  SlabUse UseOf(const void* block, size_t bytes);
  // Of all slabs, what holds no block.
  uint64_t free_bytes() const { return free_bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kSlabBytes = 32 * 1024;
  static constexpr size_t kClasses = (kMostBytes - kLeastBytes) / kStepBytes + 1;
  static constexpr uint8_t kFullnesses = 4;  // quarters; what is full is in no list
  static constexpr uint16_t kNoRegion = 0xffff;

  struct Slab {
    Slab* previous;
    Slab* next;
    uint16_t used;     // regions with a block
    uint16_t touched;  // regions that have ever had one: the first of them
    uint16_t first_free;
    uint16_t regions;
    uint8_t list;  // kFullnesses: none
  };
  static constexpr size_t kHeaderBytes = 64;
  static_assert(sizeof(Slab) <= kHeaderBytes);
  using Lists = std::array<Slab*, kFullnesses>;

  static size_t ClassOf(size_t bytes) { return (bytes - kLeastBytes) / kStepBytes; }
  static Slab* SlabOf(const void* block) {
    return reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(block) & ~(kSlabBytes - 1));
  }
  static char* Region(Slab* slab, size_t region_bytes, size_t number) {
    return reinterpret_cast<char*>(slab) + kHeaderBytes + number * region_bytes;
  }
  static Slab* Fullest(const Lists& lists);
  static void Link(Lists* lists, Slab* slab);
  static void Unlink(Lists* lists, Slab* slab);
  // To the list that it belongs in.
  static void Relink(Lists* lists, Slab* slab);
  Slab* AddSlab(Lists* lists, size_t region_bytes);

  void Lock() {
    while (locked_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  void Unlock() { locked_.clear(std::memory_order_release); }

  std::atomic_flag locked_;
  std::array<Lists, kClasses> classes_{};  // GUARDED_BY(locked_)
  std::atomic<uint64_t> free_bytes_ = 0;   // written under locked_
};

// Sanitizers watch the exact size of a block, and have an allocator for that.
#ifdef FIRN_JEMALLOC
inline constexpr bool kHasFineBlocks = true;
#else
inline constexpr bool kHasFineBlocks = false;
#endif
constexpr bool IsFineBlock(size_t bytes) { return kHasFineBlocks && FineBlocks::Holds(bytes); }

// As the functions of allocation.h, with fine blocks where there are any.
inline void* AllocateFineBlock(size_t bytes) {
  return IsFineBlock(bytes) ? FineBlocks::Shared().Allocate(bytes) : AllocateBlock(bytes);
}
inline void FreeFineBlock(void* block, size_t bytes) {
  IsFineBlock(bytes) ? FineBlocks::Shared().Free(block, bytes) : FreeBlock(block, bytes);
}
inline size_t FineBlockMemoryBytes(const void* block, size_t bytes) {
  return IsFineBlock(bytes) ? FineBlocks::RegionBytes(bytes) : BlockMemoryBytes(block, bytes);
}
inline bool FitsFineBlock(const void* block, size_t bytes, size_t new_bytes) {
  if (!IsFineBlock(bytes) && !IsFineBlock(new_bytes)) return FitsBlock(block, bytes, new_bytes);
  return IsFineBlock(bytes) && IsFineBlock(new_bytes) &&
         FineBlocks::RegionBytes(bytes) == FineBlocks::RegionBytes(new_bytes);
}
inline void* AllocateFineBlockElsewhere(size_t bytes) {
  return IsFineBlock(bytes) ? FineBlocks::Shared().Allocate(bytes) : AllocateBlockElsewhere(bytes);
}
inline void FreeLeftFineBlock(void* block, size_t bytes) {
  IsFineBlock(bytes) ? FineBlocks::Shared().Free(block, bytes) : FreeLeftBlock(block, bytes);
}

}  // namespace firn
