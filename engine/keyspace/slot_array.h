// SlotArray: one partition of a table or a cold map: an unordered array of 8-byte slots, itself 8
// bytes. The meaning of a slot belongs to the owner.
//
// Room grows in the allocator's size classes and follows from the count alone, so it is stored
// nowhere: with 12 slots and more, at least 0.8 of it is used. It is a multiple of kSlotsAtOnce, so
// that a scan may always load that many.
//
// All zero bits are the empty array; it owns memory but has no destructor: the owner calls Free.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/base/allocation.h"
#include "engine/base/check.h"

namespace firn {

class SlotArray {
 public:
  static constexpr uint32_t kSlotsAtOnce = 4;
  static constexpr uint32_t kMaxSize = 0xffff;
  static constexpr uint64_t kPointerMask = (uint64_t{1} << 48) - 1;

  uint32_t size() const { return static_cast<uint32_t>(word_ >> 48); }
  uint64_t* slots() const { return reinterpret_cast<uint64_t*>(word_ & kPointerMask); }

  // Each keeps `*memory_bytes`, the owner's sum, up to date.
  void Append(uint64_t slot, uint64_t* memory_bytes) {
    const uint32_t count = size();
    CHECK_MSG(count < kMaxSize, "a partition is full: the map was made for far fewer keys");
    if (count == CapacityFor(count)) Resize(count + 1, memory_bytes);
    Set(slots(), count + 1);
    slots()[count] = slot;
  }
  // The last slot takes the place of the one removed.
  void RemoveAt(uint32_t index, uint64_t* memory_bytes) {
    const uint32_t count = size();
    CHECK(index < count);
    slots()[index] = slots()[count - 1];
    if (count - 1 == 0) return Free(memory_bytes);
    if (CapacityFor(count - 1) != CapacityFor(count)) Resize(count - 1, memory_bytes);
    Set(slots(), count - 1);
  }
  // Room for `count` slots, all of them there, uninitialised. REQUIRES: empty.
  void Allocate(uint32_t count, uint64_t* memory_bytes) {
    CHECK(word_ == 0);
    CHECK(count <= kMaxSize);
    if (count > 0) Resize(count, memory_bytes);
    Set(slots(), count);
  }
  void Free(uint64_t* memory_bytes) {
    if (word_ == 0) return;
    *memory_bytes -= MemoryBytes();
    FreeBlock(slots(), CapacityFor(size()) * sizeof(uint64_t));
    word_ = 0;
  }
  // The same slots in a block elsewhere. REQUIRES: not empty.
  void MoveBlock() {
    const uint64_t bytes = CapacityFor(size()) * sizeof(uint64_t);
    auto* moved = static_cast<uint64_t*>(AllocateBlockElsewhere(bytes));
    std::memcpy(moved, slots(), size() * sizeof(uint64_t));
    FreeLeftBlock(slots(), bytes);
    Set(moved, size());
  }
  uint64_t MemoryBytes() const {
    if (word_ == 0) return 0;
    return BlockMemoryBytes(slots(), CapacityFor(size()) * sizeof(uint64_t));
  }

  // Steps of a quarter of the power of two below: 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, ...
  static constexpr uint32_t CapacityFor(uint32_t count) {
    if (count == 0) return 0;
    uint32_t step = std::bit_floor(count - 1) / 4;
    if (step < kSlotsAtOnce) step = kSlotsAtOnce;
    return (count + step - 1) / step * step;
  }

 private:
  void Set(uint64_t* slots, uint32_t count) {
    word_ = reinterpret_cast<uint64_t>(slots) | static_cast<uint64_t>(count) << 48;
  }
  void Resize(uint32_t count, uint64_t* memory_bytes) {
    *memory_bytes -= MemoryBytes();
    const uint64_t bytes = CapacityFor(count) * sizeof(uint64_t);
    auto* slots = static_cast<uint64_t*>(ReallocateBlock(this->slots(), bytes));
    CHECK((reinterpret_cast<uint64_t>(slots) & ~kPointerMask) == 0);
    *memory_bytes += BlockMemoryBytes(slots, bytes);
    Set(slots, size());
  }

  uint64_t word_;  // slots in the low 48 bits, count in the top 16
};

// Directories are made of zeroed memory.
static_assert(std::is_trivial_v<SlotArray> && sizeof(SlotArray) == 8);

}  // namespace firn
