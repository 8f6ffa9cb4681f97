// Mistakes that a store makes on purpose, one at a time, to test the tests: each must be found by
// the crash tests. No server sets one.
#pragma once

#include <cstdint>

namespace firn {

enum class PlantedBug : uint8_t {
  kNone,
  kReplyBeforeSync,     // `always`: replies don't wait for the sync
  kIndexUnsynced,       // index batches hold records that are not synced yet
  kUnlinkBeforeFlush,   // a compacted segment goes before the moves out of it are flushed
  kApplyOpenGroups,     // a replay takes groups without their commits
  kDropDeletes,         // compaction drops deletes that hide older records
  kForgetTombstones,    // a delete leaves no tombstone for what only the index knows
  kReplayEffectsTwice,  // a replay takes every effect twice
  kForgetEffects,       // the replay position passes effects that no image includes
  kTrustUnsyncedTail,   // a start relies on what a dead process left unsynced
  kMoveOverNewer,       // compaction puts a record into the index over a newer one
  kReplayOldNames,      // a replay takes old names of databases for new ones
  kPartsOfSplits,  // the pages that a command splits are no group: some may be there after a crash
  kForgetReapNotes,  // a start doesn't take up the deleting of pages where it was broken off
};

}  // namespace firn
