#include "engine/base/fine_blocks.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace firn {

FineBlocks& FineBlocks::Shared() {
  // Never destroyed: what holds blocks may go later.
  static constinit FineBlocks shared;
  return shared;
}

FineBlocks::Slab* FineBlocks::Fullest(const Lists& lists) {
  for (uint8_t list = kFullnesses; list-- > 0;) {
    if (lists[list] != nullptr) return lists[list];
  }
  return nullptr;
}

void FineBlocks::Link(Lists* lists, Slab* slab) {
  Slab*& first = (*lists)[slab->list];
  slab->previous = nullptr;
  slab->next = first;
  if (first != nullptr) first->previous = slab;
  first = slab;
}

void FineBlocks::Unlink(Lists* lists, Slab* slab) {
  if (slab->next != nullptr) slab->next->previous = slab->previous;
  (slab->previous != nullptr ? slab->previous->next : (*lists)[slab->list]) = slab->next;
}

void FineBlocks::Relink(Lists* lists, Slab* slab) {
  const auto list = static_cast<uint8_t>(slab->used * kFullnesses / slab->regions);
  if (list == slab->list) return;
  if (slab->list < kFullnesses) Unlink(lists, slab);
  slab->list = list;
  if (list < kFullnesses) Link(lists, slab);
}

FineBlocks::Slab* FineBlocks::AddSlab(Lists* lists, size_t region_bytes) {
  auto* slab = static_cast<Slab*>(std::aligned_alloc(kSlabBytes, kSlabBytes));
  CHECK(slab != nullptr);
  *slab = {.first_free = kNoRegion,
           .regions = static_cast<uint16_t>((kSlabBytes - kHeaderBytes) / region_bytes)};
  Link(lists, slab);
  free_bytes_.fetch_add(kSlabBytes, std::memory_order_relaxed);
  return slab;
}

void* FineBlocks::Allocate(size_t bytes) {
  CHECK(Holds(bytes));
  const size_t region_bytes = RegionBytes(bytes);
  Lock();
  Lists& lists = classes_[ClassOf(bytes)];
  Slab* slab = Fullest(lists);
  if (slab == nullptr) slab = AddSlab(&lists, region_bytes);
  char* block;
  if (slab->first_free != kNoRegion) {
    block = Region(slab, region_bytes, slab->first_free);
    std::memcpy(&slab->first_free, block, sizeof slab->first_free);
  } else {
    block = Region(slab, region_bytes, slab->touched++);
  }
  ++slab->used;
  Relink(&lists, slab);
  free_bytes_.fetch_sub(region_bytes, std::memory_order_relaxed);
  Unlock();
  return block;
}

void FineBlocks::Free(void* block, size_t bytes) {
  CHECK(Holds(bytes));
  const size_t region_bytes = RegionBytes(bytes);
  Slab* slab = SlabOf(block);
  const auto offset = static_cast<size_t>(static_cast<char*>(block) - Region(slab, 0, 0));
  Lock();
  CHECK(slab->used > 0 && offset % region_bytes == 0);
  Lists& lists = classes_[ClassOf(bytes)];
  std::memcpy(block, &slab->first_free, sizeof slab->first_free);
  slab->first_free = static_cast<uint16_t>(offset / region_bytes);
  --slab->used;
  Relink(&lists, slab);
  free_bytes_.fetch_add(region_bytes, std::memory_order_relaxed);
  // One that is the last with room stays: the next block would ask for another.
  const bool goes = slab->used == 0 && (Fullest(lists) != slab || slab->next != nullptr);
  if (goes) {
    Unlink(&lists, slab);
    free_bytes_.fetch_sub(kSlabBytes, std::memory_order_relaxed);
  }
  Unlock();
  if (goes) std::free(slab);
}

void FineBlocks::FreeSpares() {
  Lock();
  for (Lists& lists : classes_) {
    for (Slab *slab = lists[0], *next; slab != nullptr; slab = next) {
      next = slab->next;
      if (slab->used > 0) continue;
      Unlink(&lists, slab);
      free_bytes_.fetch_sub(kSlabBytes, std::memory_order_relaxed);
      std::free(slab);
    }
  }
  Unlock();
}

SlabUse FineBlocks::UseOf(const void* block, size_t bytes) {
  CHECK(Holds(bytes));
  const Slab* slab = SlabOf(block);
  Lock();
  SlabUse use;
  if (slab != Fullest(classes_[ClassOf(bytes)])) {
    use = {.used = slab->used, .regions = slab->regions, .region_bytes = RegionBytes(bytes)};
  }
  Unlock();
  return use;
}

}  // namespace firn
