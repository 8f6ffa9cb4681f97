// SimDisk: a disk in memory that can lose power. It records what happens to it, so that one run of
// a workload yields any number of crash images:
//
//   SimDisk disk;
//   ... run a workload on it; remember event_count() at each acknowledgement ...
//   disk.PowerOff();                                   // its objects can be destroyed in peace
//   for (uint64_t event = 0; event <= disk.event_count(); ++event) {
//     auto image = disk.CrashImage(event, {.kind = CrashPolicy::Kind::kRandomSectors}, seed);
//     ... recover on *image: what was acknowledged up to `event` must be there ...
//   }
//
// An image is a disk of its own: nothing done to it, or to the disk it came from, is seen by the
// other. Going through the events in rising order is cheapest.
//
// What is certain after a power cut: data and size of a file up to its last Sync; names up to the
// last SyncDirectory of their parent. Everything else may or may not be there (CrashPolicy). A
// failed Sync settles by chance which of the file's unsynced sectors are on the disk; the next Sync
// succeeds and does not write them again, as Linux does it.
//
// Stores into a mapping are not seen as they happen: they are found, and recorded as writes, at
// every call that concerns the file and by NoteMappedStores. Call that before event_count() is
// taken as the position of an acknowledgement.
//
// Thread-safe, but for stores into mappings, which no other call may overlap.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tiering/io/file.h"
#include "tiering/io/sim_history.h"

namespace firn::io {

struct SimDiskOptions {
  uint64_t capacity_bytes = 1ull << 40;
  // As ext4: the sync of a new file makes its name durable too.
  bool sync_persists_name = false;
  // As ext4 (data=ordered) and XFS: a file is found longer only if what was appended is on the
  // disk. Blocks inside its size, such as allocated ones, are free of this.
  bool sizes_wait_for_data = true;
  // A direct read of bytes that are not synced ends the process; it is counted in any case.
  bool check_direct_reads = false;
  // Stores into a mapping follow one another from its begin, as a log's do, and at most 64 KiB on
  // end of what they store was there already. So they are looked for only where the last ones were
  // found; Unmap ends the process if there are others.
  bool ascending_stores = false;
  uint64_t seed = 1;  // for failed syncs
};

// Makes calls fail: those of one kind whose path contains `path_part`, after the first `skip`.
struct SimFault {
  enum class Call : uint8_t {
    kRead,
    kWrite,  // and Truncate
    kSync,
    kAllocate,
    kNames,  // create, rename, link, remove
    kSyncDirectory,
  };
  Call call = Call::kRead;
  uint64_t skip = 0;
  bool repeats = false;  // every call from then on; else one
  int error = 5;         // errno; EIO
  std::string path_part = {};
};

struct SimDiskStats {
  uint64_t reads = 0;
  uint64_t direct_reads = 0;
  uint64_t direct_reads_of_unsynced = 0;
  uint64_t syncs = 0;
  uint64_t written_bytes = 0;
  uint64_t sparse_mapped_stores = 0;  // into blocks that no Allocate holds: a full disk would fault
  uint64_t faults = 0;                // calls that failed by a SimFault
};

struct SimDiskState;

class SimDisk : public FileSystem {
 public:
  explicit SimDisk(SimDiskOptions options = {});
  ~SimDisk() override;  // its files and locks stay usable

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override;
  Result<std::vector<std::string>> List(const std::string& directory) override;
  Status CreateDirectories(const std::string& directory) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  bool Exists(const std::string& path) override;
  Status SyncDirectory(const std::string& directory) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  Result<SpaceInfo> Space(const std::string& path) override;

  // --- the record

  // Events so far. Crash points are 0 (before all) to event_count() (after all).
  uint64_t event_count() const;
  // Below this are the unsynced events that an image of a process death began with.
  uint64_t inherited_events() const;
  std::string DescribeEvent(uint64_t event) const;
  // Records what was stored through mappings since it was last looked at.
  void NoteMappedStores();

  // --- images. REQUIRES: event <= event_count()

  // A disk as found after a power cut that came after `event` events. Equal arguments give equal
  // images. Its own record is empty.
  std::unique_ptr<SimDisk> CrashImage(uint64_t event, const CrashPolicy& policy,
                                      uint64_t seed) const;
  // Number of events that a power cut there may lose: a kEpoch is 0 to this.
  uint64_t UnsyncedEvents(uint64_t event) const;
  // A disk as the next process finds it when only the process died: everything written is there,
  // not all of it synced, so that a power cut may still lose it. If several mapped stores were
  // found at once, the point moves behind the last of them.
  std::unique_ptr<SimDisk> ProcessDeathImage(uint64_t event) const;

  // From now on every call, of files and locks opened before too, fails with EIO and changes
  // nothing. Stores into mappings are ignored.
  void PowerOff();

  // --- faults

  void Inject(SimFault fault);
  void ClearFaults();
  // The disk is full when this many bytes of blocks are in use.
  void SetCapacity(uint64_t bytes);
  uint64_t used_bytes() const;
  // Change the medium (and the page cache) without a trace in any size or sync state.
  Status FlipBit(const std::string& path, uint64_t offset, int bit);
  Status Damage(const std::string& path, uint64_t offset, std::string_view bytes);

  // --- a sync that takes time, for SimLoop: what was stored before BeginSync is covered; power may
  // fail before FinishSync.
  uint64_t BeginSync(File* file);
  Status FinishSync(File* file, uint64_t begun);

  SimDiskStats stats() const;
  // Of all names and bytes, for comparing images.
  uint64_t Digest() const;

 private:
  explicit SimDisk(std::shared_ptr<SimDiskState> state) : state_(std::move(state)) {}

  std::shared_ptr<SimDiskState> state_;
};

}  // namespace firn::io
