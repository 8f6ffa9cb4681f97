// What happened to a simulated disk, and what of it may be found after a power cut.
//
// A disk records every event that changes it. SimDurable replays such a history: it holds the tree
// that is certainly on the disk, and the events that may or may not have reached it:
//
//      event   0      1      2      3      4      5      6
//            write  create write  sync   write  write  truncate
//              a      b      b      a      b      a      b
//                                   |
//              +--------------------+ makes event 0 certain
//
//   at 7: certain {0}; pending {1, 2, 4, 5, 6}; every image is {0} plus some of the pending ones.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tiering/io/sim_content.h"

namespace firn::io {

using SimNodeId = uint64_t;  // 0: none; 1: the root
inline constexpr SimNodeId kSimRoot = 1;

struct SimNode {
  bool directory = false;
  uint32_t links = 0;  // names that lead here
  std::shared_ptr<SimContent> content = std::make_shared<SimContent>();
  std::shared_ptr<std::map<std::string, SimNodeId>> entries;  // of a directory, else null
};
using SimTree = std::map<SimNodeId, SimNode>;

SimNode MakeSimNode(bool directory);

// One directory entry set (or removed: node 0).
struct SimNameChange {
  SimNodeId directory = 0;
  std::string name;
  SimNodeId node = 0;
};

struct SimEvent {
  enum class Kind : uint8_t {
    kWrite,       // `bytes` at `offset`
    kTruncate,    // to `offset`
    kAllocate,    // [0, offset)
    kSync,        // of `node`: its events before `covers` are certain
    kFailedSync,  // of `node`: its events before `covers` are settled by chance, once
    kNames,       // `names`, all or none; the first creates `node` if it is not there yet
    kSyncNames,   // of directory `node`
    kDamage,      // as kWrite, but straight to the medium
  };
  Kind kind = Kind::kWrite;
  bool batched = false;    // one of several stores found at once: no process death before it
  bool directory = false;  // kNames: whether `node` is one
  SimNodeId node = 0;
  uint64_t offset = 0;
  uint64_t covers = 0;  // kFailedSync keeps the seed of its chance in `offset`
  std::shared_ptr<const std::string> bytes = {};
  std::shared_ptr<const std::vector<SimNameChange>> names = {};
  std::shared_ptr<const std::string> label = {};  // for people: the path, or old and new path
};
using SimHistory = std::vector<SimEvent>;

std::string DescribeSimEvent(const SimEvent& event);

// Which of the pending events an image has.
struct CrashPolicy {
  enum class Kind : uint8_t {
    kNone,
    kAll,
    kEpoch,          // the first `epoch` of them
    kRandomSectors,  // sectors, sizes and names each by chance; a later version of a sector
                     // includes the earlier ones, and a name its history
    kTornWrite,      // all before one of them, of which a part
    kGarbage,  // as kRandomSectors, but sizes don't wait for data, and bytes that nobody wrote
               // (random, or of other files) in sectors that are new and were never synced
  };
  Kind kind = Kind::kNone;
  uint64_t sector_size = kSimSectorSize;  // 512 or 4096: what is written whole or not at all
  std::optional<uint64_t> epoch = {};     // absent: by chance
};
const char* CrashPolicyName(CrashPolicy::Kind kind);

struct SimDurableOptions {
  // As ext4 does: syncing a new file makes its name durable too, with all earlier name changes.
  bool sync_persists_name = false;
  bool sizes_wait_for_data = true;  // see SimDiskOptions
};

class SimDurable {
 public:
  SimDurable(SimTree tree, SimDurableOptions options) : tree_(std::move(tree)), options_(options) {}

  // Takes history[position()] in.
  void Advance(const SimHistory& history);
  uint64_t position() const { return position_; }

  const SimTree& tree() const { return tree_; }
  // Indices of the events that are not certain, rising.
  std::vector<uint64_t> Pending() const;
  // A tree after a power cut now; only what the root leads to.
  SimTree Image(const SimHistory& history, const CrashPolicy& policy, Random* random) const;

 private:
  void DamageFile(const SimEvent& event);
  void SyncFile(const SimHistory& history, const SimEvent& event);
  void SyncNames(const SimHistory& history, SimNodeId directory);
  void CommitNames(const SimHistory& history, const std::vector<bool>& chosen);
  std::vector<bool> ChooseNames(const SimHistory& history, Random* random) const;
  SimTree ByChance(const SimHistory& history, const CrashPolicy& policy, Random* random) const;
  SimTree Torn(const SimHistory& history, const CrashPolicy& policy, Random* random) const;

  SimTree tree_;
  SimDurableOptions options_;
  std::map<SimNodeId, std::vector<uint64_t>> data_;  // pending events of files
  std::vector<uint64_t> names_;                      // pending kNames
  uint64_t position_ = 0;
};

// Applies one event to a tree as the kernel does at once: everything but syncs.
void ApplySimEvent(SimTree* tree, const SimEvent& event);
// Removes what the root doesn't lead to.
void PruneSimTree(SimTree* tree);

}  // namespace firn::io
