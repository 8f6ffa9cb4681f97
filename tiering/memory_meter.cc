#include "tiering/memory_meter.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "engine/base/fine_blocks.h"

#ifdef FIRN_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

namespace firn {
namespace {

#ifdef FIRN_JEMALLOC
// As the names of statistics of all arenas have it.
static_assert(MALLCTL_ARENAS_ALL == 4096);
#endif

// The resident size costs a system call: once in this many samples is enough for INFO.
constexpr uint32_t kSamplesPerResident = 16;

uint64_t ReadResident() {
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[128] = {};
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  unsigned long long total = 0, resident = 0;
  if (size <= 0 || std::sscanf(text, "%llu %llu", &total, &resident) != 2) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

void MemoryMeter::Sample(uint64_t window_bytes) {
  const bool reads_resident = of_process_ && samples_++ % kSamplesPerResident == 0;
  if (reads_resident) resident_ = ReadResident();
#ifdef FIRN_JEMALLOC
  if (!of_process_) return;
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  mallctl("epoch", &epoch, &size, &epoch, size);
  auto read = [](const char* name) {
    size_t value = 0, value_size = sizeof value;
    return mallctl(name, &value, &value_size, nullptr, 0) == 0 ? value : 0;
  };
  metadata_ = read("stats.metadata");
  active_ = read("stats.active") + metadata_;
  allocated_ = read("stats.allocated") - FineBlocks::Shared().free_bytes();
  cached_ = read("stats.arenas.4096.tcache_bytes");
  since_sample_ = 0;
  uint64_t allocator_resident = read("stats.resident");
  unused_ = allocator_resident > active_ ? allocator_resident - active_ : 0;
  uint64_t known = allocator_resident + window_bytes;
  // Only figures of one moment can be compared.
  if (reads_resident) other_ = resident_ > known ? resident_ - known : 0;
#else
  static_cast<void>(window_bytes);
  static_cast<void>(reads_resident);
#endif
}

void MemoryMeter::LimitUnusedPages(uint64_t max_bytes) {
#ifdef FIRN_JEMALLOC
  if (unused_ <= max_bytes) return;
  mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
  unused_ = 0;
#else
  static_cast<void>(max_bytes);
#endif
}

uint64_t MemoryMeter::InUse() const {
  int64_t bytes = entries_;
#ifdef FIRN_JEMALLOC
  if (of_process_) bytes = static_cast<int64_t>(active_ + other_) + since_sample_;
#endif
  return bytes > 0 ? static_cast<uint64_t>(bytes) : 0;
}

uint64_t MemoryMeter::AllocatedAndOther() const { return Allocated() + other_ + metadata_; }

uint64_t MemoryMeter::Wasted() const {
  uint64_t pages = active_ > metadata_ ? active_ - metadata_ : 0;
  return pages > allocated_ ? pages - allocated_ : 0;
}

uint64_t MemoryMeter::Allocated() const {
  int64_t bytes = entries_;
#ifdef FIRN_JEMALLOC
  if (of_process_) {
    bytes = static_cast<int64_t>(allocated_) - static_cast<int64_t>(cached_) + since_sample_;
  }
#endif
  return bytes > 0 ? static_cast<uint64_t>(bytes) : 0;
}

}  // namespace firn
