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

}  // namespace firn
