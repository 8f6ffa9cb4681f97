// CrashExplorer: runs one workload and recovers from crashes at its events.
#pragma once

#include <string>

#include "crash_workload.h"
#include "support/crash_enumerator.h"

namespace firn::test {

struct ExplorerOptions {
  uint64_t seed = 1;
  SyncPolicy policy = SyncPolicy::kAlways;
  uint32_t commands = 1000;
  uint64_t points = 500;
  WorldWrappers wrappers = {};
  PlantedBug bug = PlantedBug::kNone;
  // Of the disk, once the store is open, until the workload ends.
  std::vector<io::SimFault> faults = {};
  uint64_t capacity_bytes = 0;  // 0: never full
  // Mostly blind writes, on a disk on which much happens while a read is under way.
  bool overwrites = false;
  bool collections = false;  // also sets of many pages
  bool streams = false;      // with collections: also streams with groups
  bool builds = false;       // with collections: some are made beside the others
  bool long_strings = false;
  // Deletes leave no page behind, whatever happens (WorkloadOptions::reads_first): it is looked
  // for.
  bool count_pages = false;
  bool small_maps = false;  // WorkloadOptions::small_maps
  // By which keys go when the log has reached `maxdisk`, which it soon does then.
  EvictionPolicy eviction = EvictionPolicy::kNone;
};

class CrashExplorer {
 public:
  explicit CrashExplorer(ExplorerOptions options) : options_(std::move(options)) {}

  // The first failure, "" if there is none.
  std::string Run();

  uint64_t points() const { return points_; }
  uint64_t failed_calls() const { return disk_.stats().faults; }
  const StoreStats& stats() const { return stats_; }  // at the end of the workload

 private:
  std::string RunWorkload();
  std::string Check(io::SimDisk* image, const CrashPoint& point);
  // Stops a recovered store, and starts it once more.
  std::string CheckStop(CrashWorld* world, const CrashPoint& point, const FoundState& found);
  // Events of a recovered store's disk: those before `begun` happened before the crash.
  struct Life {
    uint64_t begun = 0;
    uint64_t opened = 0;
  };
  // Goes on with a recovered store, crashes it again, and looks at what is left then.
  std::string CheckAgain(CrashWorld* world, const CrashPoint& point, Life life, uint32_t least,
                         const FoundState& found);
  StoreOptions Options(uint64_t seed) const;
  // Of commands on a store of these options.
  WorkloadOptions Workload(uint64_t seed, uint32_t commands) const;

  const ExplorerOptions options_;
  io::SimDisk disk_{kCrashDisk};
  std::unique_ptr<CrashWorkload> workload_;
  uint64_t first_event_ = 0;
  uint64_t points_ = 0;
  StoreStats stats_;
};

}  // namespace firn::test
