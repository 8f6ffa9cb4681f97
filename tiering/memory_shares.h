// What parts of max_memory are for other things than values.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tiering/index/index.h"
#include "tiering/store.h"

namespace firn {

inline Index::Memory IndexMemoryOf(const StoreOptions& options) {
  const uint64_t limit = options.max_memory_bytes;
  if (limit == 0) return {.memtable_bytes = 32 << 20, .cache_bytes = 64 << 20};
  return {.memtable_bytes = std::clamp<uint64_t>(limit / 16, 1 << 20, 64 << 20),
          .cache_bytes = std::clamp<uint64_t>(limit / 32, 2 << 20, 256 << 20)};
}

inline uint64_t WindowBytesOf(const StoreOptions& options) {
  if (options.warm_memory_bytes != 0) return options.warm_memory_bytes;
  if (options.max_memory_bytes == 0) return 64 << 20;
  return std::clamp<uint64_t>(options.max_memory_bytes / 16, 4 << 20, 256 << 20);
}

}  // namespace firn
