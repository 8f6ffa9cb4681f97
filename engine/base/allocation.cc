#include "engine/base/allocation.h"

#include <sys/mman.h>

namespace firn {

void* AllocateZeroedArray(size_t bytes) {
  if (bytes < kMappedArrayBytes) {
    void* array = std::calloc(1, bytes);
    CHECK(array != nullptr);
    return array;
  }
  void* array = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(array != MAP_FAILED);
  // With huge pages one touched cell would take 2 MiB. It's a hint: an old kernel may refuse it.
  (void)madvise(array, bytes, MADV_NOHUGEPAGE);
  return array;
}

void FreeZeroedArray(void* array, size_t bytes) {
  if (bytes < kMappedArrayBytes) {
    FreeBlock(array, bytes);
  } else {
    CHECK(munmap(array, bytes) == 0);
  }
}

void ForgetZeroedPage(void* page) { CHECK(madvise(page, kPageBytes, MADV_DONTNEED) == 0); }

bool QuerySlabs([[maybe_unused]] std::span<const void* const> blocks,
                [[maybe_unused]] std::vector<SlabUse>* slabs) {
#ifdef FIRN_JEMALLOC
  struct Answer {
    size_t free_regions;
    size_t regions;
    size_t bytes;
  };
  std::vector<Answer> answers(blocks.size());
  size_t size = answers.size() * sizeof(Answer);
  int error = mallctl("experimental.utilization.batch_query", answers.data(), &size,
                      const_cast<void*>(static_cast<const void*>(blocks.data())), blocks.size_bytes());
  if (error != 0 || size != answers.size() * sizeof(Answer)) return false;
  slabs->clear();
  for (const Answer& answer : answers) {
    bool known = answer.regions > 0 && answer.free_regions < answer.regions;
    slabs->push_back(known ? SlabUse{.used = answer.regions - answer.free_regions,
                                     .regions = answer.regions,
                                     .region_bytes = answer.bytes / answer.regions}
                           : SlabUse{});
  }
  return true;
#else
  return false;
#endif
}

}  // namespace firn
