// SnapshotOverlay: what the log's tail changed after the last batch of the index: for each key that
// it changed, where the newest image lies, or that the key is gone, and the effects since. It holds
// no values, but short effects, so that a page with many is not put together from as many reads.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/record.h"

namespace firn {

// A place in the log among a snapshot's segments: number of the segment (1 for the first) and
// offset. 0: none.
using SnapshotPlace = uint64_t;
inline constexpr uint32_t SegmentOf(SnapshotPlace place) {
  return static_cast<uint32_t>(place >> 32);
}
inline constexpr uint32_t OffsetOf(SnapshotPlace place) { return static_cast<uint32_t>(place); }
inline constexpr SnapshotPlace MakePlace(uint32_t segment, uint32_t offset) {
  return static_cast<uint64_t>(segment) << 32 | offset;
}

class SnapshotOverlay {
 public:
  // What happened to one key. Without `image` and `deleted`, the index tells what the effects
  // change.
  struct Change {
    SnapshotPlace image = 0;
    uint32_t first_effect = 0;  // numbers of effects; 0: none
    uint32_t last_effect = 0;
    bool deleted = false;
  };
  struct Effect {
    uint64_t lsn = 0;
    SnapshotPlace place = 0;   // of its record, unless
    std::string_view payload;  // its payload is here: as the record's, but of this key alone
    uint32_t next = 0;
  };

  // Keyspaces that are not named here are of no interest.
  void AddDatabase(uint32_t keys_id, uint32_t pages_id);
  // In the order of the log; records of groups only once they are committed.
  Status Take(const log::RecordView& record, SnapshotPlace place);

  // Null if nothing happened to the key.
  const Change* Find(uint32_t keyspace, std::string_view key) const;
  const Effect& effect(uint32_t number) const { return effects_[number - 1]; }
  // Where the images lie that the tail brought, of the keys of this keyspace.
  template <typename Visit>
  void ForImages(uint32_t keyspace, Visit&& visit) const {
    auto it = keyspaces_.find(keyspace);
    if (it == keyspaces_.end()) return;
    for (const auto& [key, change] : it->second.changes) {
      if (change.image != 0) visit(change.image);
    }
  }

 private:
  struct Keyspace {
    uint32_t pages_id = 0;  // 0: these are pages
    std::unordered_map<std::string_view, Change> changes;
  };

  Change& ChangeOf(Keyspace& keyspace, std::string_view key);
  std::string_view Keep(std::string_view bytes);
  bool MayKeep(size_t parts, size_t bytes) const;
  // `payload`: of this key alone; empty if it is not kept.
  void AddEffect(Change& change, const log::RecordView& record, SnapshotPlace place,
                 std::string_view payload);
  Status TakeEffect(Keyspace& keyspace, const log::RecordView& record, SnapshotPlace place);

  std::unordered_map<uint32_t, Keyspace> keyspaces_;
  std::vector<Effect> effects_;
  // Bytes of keys and effects.
  std::deque<std::unique_ptr<char[]>> blocks_;
  size_t block_left_ = 0;
  char* block_at_ = nullptr;
  uint64_t payload_bytes_ = 0;
};

}  // namespace firn
