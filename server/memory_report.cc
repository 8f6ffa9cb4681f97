#include "server/memory_report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#ifdef FIRN_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "engine/base/fine_blocks.h"
#include "server/server.h"

namespace firn::server {
namespace {

uint64_t ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  unsigned long long pages = 0;
  if (std::fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
  std::fclose(file);
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

#ifdef FIRN_JEMALLOC
uint64_t AllocatorNumber(const char* name) {
  size_t value = 0;
  size_t size = sizeof value;
  return mallctl(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}
#endif

void AskAllocator(MemoryReport* report) {
#ifdef FIRN_JEMALLOC
  // The numbers are those of the last epoch.
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  mallctl("epoch", &epoch, &size, &epoch, size);
  report->allocator_allocated =
      AllocatorNumber("stats.allocated") - FineBlocks::Shared().free_bytes();
  report->allocator_active = AllocatorNumber("stats.active");
  report->allocator_resident = AllocatorNumber("stats.resident");
#else
  report->allocator_allocated = report->used;
  report->allocator_active = report->used;
  report->allocator_resident = report->resident;
#endif
}

double Percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

MemoryReport ReportMemory(Server& server) {
  Store& store = server.store();
  const StoreStats stats = store.Stats();
  MemoryReport report;
  report.used = store.UsedMemory();
  report.peak = std::max(stats.peak_memory, report.used);
  report.startup = std::min(server.startup_memory(), report.used);
  report.clients = server.clients_memory();
  report.window = stats.window_bytes;
  const uint64_t parts = report.clients + stats.table_bytes + stats.cold_map_bytes +
                         stats.index_bytes + stats.fetch_bytes + stats.window_bytes;
  report.overhead = std::min(std::max(parts, report.startup), report.used);
  report.dataset = report.used - report.overhead;
  for (uint32_t db = 0; db < store.databases(); ++db) {
    const uint64_t keys = store.EstimateKeys(db);
    if (keys == 0) continue;
    report.keys += keys;
    report.databases.push_back({db, 0});
  }
  // The store counts its table as a whole: each database has the share of its keys.
  for (DatabaseMemory& database : report.databases) {
    const double share =
        static_cast<double>(store.EstimateKeys(database.number)) / static_cast<double>(report.keys);
    database.table_bytes = static_cast<uint64_t>(share * static_cast<double>(stats.table_bytes));
  }
  const uint64_t net = report.used - report.startup;
  report.bytes_per_key = report.keys == 0 ? 0 : net / report.keys;
  report.dataset_percent = std::min(Percent(report.dataset, net), 100.0);
  report.peak_percent = Percent(report.used, report.peak);
  report.resident = ResidentBytes();
  report.system =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  AskAllocator(&report);
  return report;
}

}  // namespace firn::server
