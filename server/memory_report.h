// What INFO and MEMORY tell about memory: the store's own accounts beside what the allocator and
// the kernel say. Bytes, now.
#pragma once

#include <cstdint>
#include <vector>

namespace firn::server {

class Server;

struct DatabaseMemory {
  uint32_t number = 0;
  uint64_t table_bytes = 0;
};

struct MemoryReport {
  uint64_t used = 0;     // as maxmemory counts
  uint64_t peak = 0;     // of `used`
  uint64_t startup = 0;  // `used` with no data
  uint64_t clients = 0;
  uint64_t window = 0;
  uint64_t overhead = 0;  // of `used`, what is neither keys nor values
  uint64_t dataset = 0;   // the rest
  uint64_t keys = 0;      // over all tiers
  uint64_t bytes_per_key = 0;
  double dataset_percent = 0;
  double peak_percent = 0;
  uint64_t resident = 0;  // of the process
  uint64_t allocator_allocated = 0;
  uint64_t allocator_active = 0;
  uint64_t allocator_resident = 0;
  uint64_t system = 0;                    // of the machine
  std::vector<DatabaseMemory> databases;  // those with keys

  double fragmentation_ratio() const { return Ratio(allocator_active, allocator_allocated); }
  uint64_t fragmentation_bytes() const { return Over(allocator_active, allocator_allocated); }
  double allocator_rss_ratio() const { return Ratio(allocator_resident, allocator_active); }
  uint64_t allocator_rss_bytes() const { return Over(allocator_resident, allocator_active); }
  double rss_overhead_ratio() const { return Ratio(resident, allocator_resident); }
  uint64_t rss_overhead_bytes() const { return Over(resident, allocator_resident); }
  double total_ratio() const { return Ratio(resident, used); }
  uint64_t total_bytes() const { return Over(resident, used); }

 private:
  static double Ratio(uint64_t a, uint64_t b) {
    return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
  }
  static uint64_t Over(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }
};

MemoryReport ReportMemory(Server& server);

}  // namespace firn::server
