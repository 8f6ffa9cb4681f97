// CrashWorkload: random commands on a store on a simulated disk, with a model that knows what each
// of them did and the disk's event at which each was acknowledged.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "crash_model.h"
#include "crash_world.h"
#include "engine/base/random.h"
#include "engine/types/page_space.h"

namespace firn::test {

struct WorkloadOptions {
  uint64_t seed = 1;
  uint32_t commands = 500;
  uint32_t keys = 24;  // in each of three databases
  // The disk fails: commands may be refused, and the store may end, but no answer may be wrong.
  bool faults = false;
  // Mostly blind writes: many are unsettled at any time.
  bool overwrites = false;
  // Some keys hold sets of strings, most of them in many pages.
  bool collections = false;
  // With collections: some keys hold streams with groups, too.
  bool streams = false;
  // With collections: sets are also made beside the others, in slices.
  bool builds = false;
  // Strings of more than 64 KiB, too.
  bool long_strings = false;
  // No value is deleted or replaced whose root isn't in RAM: a crash leaves no page behind then.
  bool reads_first = false;
  // The cold maps have hardly any memory, now more, now less.
  bool small_maps = false;
  // What the store evicts when its log has no room; then values are large, and many expire late.
  EvictionPolicy eviction = EvictionPolicy::kNone;
};

class CrashWorkload : public StoreListener {
 public:
  explicit CrashWorkload(WorkloadOptions options);
  // Goes on from the state that `start` has now.
  CrashWorkload(WorkloadOptions options, CrashModel start);

  // Runs commands; says what is wrong with the store's answers, "" if nothing.
  std::string Run(CrashWorld* world);

  const CrashModel& model() const { return model_; }
  // The last command that must be there after a crash at `event`; `power` if all that is not synced
  // may be lost.
  uint32_t MustHave(uint64_t event, SyncPolicy policy, bool power) const;
  // What a power cut may cost under everysec: "" if the acknowledgements of the commands after
  // `op` span at most a second.
  std::string CheckLoss(uint64_t event, uint32_t op) const;

  void OnExpired(uint32_t db, std::string_view key) override;
  void OnEvicted(uint32_t db, std::string_view key) override;

 private:
  struct Ack {
    uint64_t event;
    uint32_t op;
    int64_t micros;
  };
  struct Pending {
    uint64_t lsn;
    uint32_t op;
  };

  void Command();
  template <typename Body>
  void Planned(std::vector<KeyAccess> accesses, Body&& body);
  void Read(uint32_t db, size_t key);
  void Group();
  void MoveKey();
  // False: pages are missing, nothing is changed. `seed`: of what is chosen, so that running it
  // again chooses the same.
  bool Change(uint32_t db, size_t key, uint64_t seed);
  struct SetChange {
    enum class Kind : uint8_t { kInsert, kErase, kDelete, kExpire, kOverwrite };
    Kind kind = Kind::kInsert;
    std::vector<std::string> strings = {};
    int64_t delay_ms = -1;  // of an expiry, < 0: none
  };
  SetChange DrawSetChange(uint32_t db, size_t key, uint64_t seed);
  bool WantSetChange(uint32_t db, size_t key, uint64_t seed);
  bool ChangeSet(uint32_t db, size_t key, uint64_t seed);
  void BuildSet(uint32_t db, size_t key);
  std::shared_ptr<ModelSet> MakeSet(PageSpace* pages);
  bool ReadSet(uint32_t db, size_t key, const ModelSet& expected);
  bool WantStreamChange(uint32_t db, size_t key, uint64_t seed);
  bool ChangeStream(uint32_t db, size_t key, uint64_t seed);
  bool ReadStream(uint32_t db, size_t key, const ModelStream& expected);
  // Of sets and streams; true of what is neither.
  bool WantChange(uint32_t db, size_t key, uint64_t seed);
  void SetValue(uint32_t db, size_t key);
  void Disturb();
  void LimitMemory();
  void LimitMaps();
  void ChangeEviction();
  void Executed();
  void Poll();
  void Turn(int64_t wait_micros);
  bool WaitForRoom(uint64_t bytes);
  void Fail(const std::string& what);

  std::string RandomBytes();
  uint32_t RandomDb() { return static_cast<uint32_t>(random_.Below(8) < 6 ? 0 : random_.Below(3)); }
  size_t RandomKey();
  size_t RandomSetKey();
  // Whether a change of the key is one of a set.
  bool HoldsSet(uint32_t db, size_t key);
  bool HoldsLongString(uint32_t db, size_t key);
  bool HoldsStream(uint32_t db, size_t key);
  bool Evicts() const { return options_.eviction != EvictionPolicy::kNone; }
  // REQUIRES: a key of the model.
  size_t SlotOf(uint32_t db, std::string_view key) const;
  bool IsSetKey(size_t key) const;
  bool IsStreamKey(size_t key) const;
  uint64_t DrawSeed() { return options_.collections ? random_.Next() : 0; }
  HashedKey Name(size_t key) { return world_->store().Key(model_.keys()[key]); }
  // As the store has it now: nothing once it has expired.
  std::optional<ModelValue> Current(uint32_t db, size_t key);
  void Begin();

  const WorkloadOptions options_;
  Random random_;
  CrashModel model_;
  CrashWorld* world_ = nullptr;
  std::deque<Pending> pending_;
  std::vector<Ack> acks_;
  std::vector<Ack> synced_;
  bool in_group_ = false;
  EvictionPolicy eviction_;  // now
  std::string wrong_;
};

}  // namespace firn::test
