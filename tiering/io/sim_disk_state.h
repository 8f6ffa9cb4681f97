// The inside of SimDisk, shared with its open files. Every member is guarded by `mutex`; functions
// expect it to be held.
#pragma once

#include <list>
#include <mutex>
#include <set>

#include "tiering/io/sim_disk.h"

namespace firn::io {

// What the running system knows of a node beside its bytes.
struct SimOpenNode {
  uint32_t handles = 0;
  std::shared_ptr<const std::string> label;
  std::vector<uint64_t> unsynced;  // indices of its kWrite events
  std::unique_ptr<SimArena> arena;
  std::vector<uint16_t> mapped;  // mappings by page of the file
  uint64_t last_store = 0;       // the last page where one was found, if they ascend
};

struct SimMapping {
  SimNodeId node = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct SimDiskState {
  explicit SimDiskState(SimDiskOptions disk_options);
  ~SimDiskState();

  // --- paths

  struct Place {
    SimNodeId directory = 0;  // 0: the parent does not exist or is no directory
    std::string name;         // empty: the root itself
    SimNodeId node = 0;       // 0: no such entry
  };
  Place Find(const std::string& path) const;
  SimNode* Directory(const std::string& path, SimNodeId* id);

  // --- events

  // Applies the event to the live tree and appends it to the history.
  void Record(SimEvent event);
  void RecordNames(SimNodeId node, bool directory, std::vector<SimNameChange> changes,
                   const std::string& label);
  void RecordWrite(SimNodeId node, uint64_t offset, std::string_view bytes, bool batched);
  // Looks at the mapped pages that overlap [offset, offset + size); if stores ascend, at those
  // where they may be.
  void NoteMapped(SimNodeId node, uint64_t offset, uint64_t size);
  // visit(page, its bytes, those of the file) for each mapped page where these differ: of those in
  // [begin, end), or of those where stores may be if they ascend.
  template <typename Visit>
  void VisitStores(SimNodeId id, SimOpenNode* node, uint64_t begin, uint64_t end, Visit visit);
  // Brings mapped pages up to date with the file.
  void ReloadMapped(SimNodeId node, uint64_t offset, uint64_t size);
  void LoadMapped(SimOpenNode* node, const SimContent& content, uint64_t page);
  // Forgets nodes that have neither name nor handle nor mapping.
  void Collect(SimNodeId node);

  // An injected error for this call, 0 if none.
  int Fault(SimFault::Call call, const std::string& path);
  Status Check(SimFault::Call call, const std::string& path);

  // --- files

  Status Write(SimNodeId node, uint64_t offset, std::string_view bytes, const std::string& path);
  Status Allocate(SimNodeId node, uint64_t size, const std::string& path);
  Result<char*> Map(SimNodeId node, uint64_t offset, uint64_t size, const std::string& path);
  void Unmap(char* address, uint64_t size);
  Status FinishSync(SimNodeId node, uint64_t covers, const std::string& path);
  void CountDirectRead(SimNodeId node, uint64_t offset, uint64_t size);
  uint64_t FreeBytes() const { return capacity - std::min(capacity, used); }

  // --- images

  const SimDurable& DurableAt(uint64_t event);

  mutable std::mutex mutex;
  SimDiskOptions options;
  std::shared_ptr<SimArenaPool> arenas = std::make_shared<SimArenaPool>();

  bool powered = true;
  SimTree live;
  std::map<SimNodeId, SimOpenNode> nodes;
  std::map<char*, std::vector<SimMapping>> mappings;
  SimNodeId next_node = kSimRoot + 1;
  SimHistory history;
  uint64_t inherited = 0;
  std::vector<SimDurable> checkpoints;  // every kCheckpointEvents, as far as was asked for
  std::optional<SimDurable> cursor;

  std::set<std::string> locked;
  std::list<SimFault> faults;
  uint64_t capacity = 0;
  uint64_t used = 0;
  Random random;
  SimDiskStats stats;
};

std::unique_ptr<File> MakeSimFile(std::shared_ptr<SimDiskState> state, SimNodeId node,
                                  std::string path, bool writable);
SimNodeId NodeOfSimFile(const File& file);

inline constexpr uint64_t kCheckpointEvents = 256;

}  // namespace firn::io
