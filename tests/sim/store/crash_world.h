// CrashWorld: a store on a simulated disk, with all that belongs to it, and what a crash test looks
// at: the state of every key, counts, scans, and whether the store's parts fit together.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "crash_model.h"
#include "support/store_driver.h"
#include "tiering/index/sim_env.h"
#include "tiering/io/sim_disk.h"
#include "tiering/io/sim_loop.h"

namespace rocksdb {
class Env;
}

namespace firn::test {

inline constexpr const char* kDirectory = "/data";
// Only the log is mapped.
inline constexpr io::SimDiskOptions kCrashDisk = {.ascending_stores = true};

// Small limits, so that a short run sees batches, flushes, checkpoints, compaction and demotion.
StoreOptions SmallStore(SyncPolicy policy, uint64_t seed);

// Wrappers around what the store is given, for planted bugs; null: nothing is wrapped.
struct WorldWrappers {
  std::function<std::unique_ptr<io::FileSystem>(io::SimDisk*)> file_system;
  std::function<std::unique_ptr<io::Loop>(io::SimLoop*)> loop;
};

struct WorldOptions {
  uint64_t seed = 1;
  int64_t wall_start_ms = 1'700'000'000'000;
  PlantedBug bug = PlantedBug::kNone;
  bool repeatable = false;  // waits for RocksDB's threads after each job
  uint64_t note_mapped_interval = 4;
  int64_t read_micros_max = 300;
  const WorldWrappers* wrappers = nullptr;
};

class CrashWorld {
 public:
  // `disk` outlives the world.
  CrashWorld(io::SimDisk* disk, StoreOptions store, WorldOptions options);
  // Cuts the power first: nothing of the end reaches the disk.
  ~CrashWorld();

  Status Open() { return driver_->Open(); }
  StoreDriver& driver() { return *driver_; }
  Store& store() { return driver_->store(); }
  io::SimDisk& disk() { return *disk_; }
  io::SimLoop& loop() { return *loop_; }
  const std::string& log() const { return log_; }
  void SetEviction(EvictionPolicy policy);

  // Both say what is wrong, "" if nothing. While the state is read nothing expires or is evicted.
  std::string ReadState(const CrashModel& model, bool with_bytes, FoundState* found);
  // Of one key, without its bytes. Fails if it can't be read.
  Status ReadKey(const std::string& key, uint32_t db, FoundState::Value* value);
  // Key counts and scans against what ReadState found; then, when all is indexed, the parts of the
  // store against each other and the index against the log.
  std::string CheckWhole(const CrashModel& model);
  // Parts of it: one database's keys; all but the keys.
  std::string CheckKeys(const CrashModel& model, uint32_t db);
  std::string CheckParts();

 private:
  std::string ReadDatabase(const CrashModel& model, uint32_t db, bool with_bytes,
                           FoundState* found);
  // False if pages are missing.
  bool ReadValue(uint32_t db, const HashedKey& key, bool with_bytes, FoundState::Value* value);
  std::string FindPresent(const CrashModel& model, uint32_t db, std::set<std::string>* present);

  io::SimDisk* const disk_;
  std::unique_ptr<io::FileSystem> file_system_;
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<io::SimLoop> loop_;
  std::unique_ptr<io::Loop> outer_loop_;
  std::unique_ptr<StoreDriver> driver_;
  std::string log_;
};

}  // namespace firn::test
