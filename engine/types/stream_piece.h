// StreamPiece: a part of a stream on its way out of a dump into a value. A stream comes as its
// nodes, then its state, then group by group: the group, its consumers, its pending entries.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/types/stream_value.h"

namespace firn {

struct StreamPiece {
  enum class Kind : uint8_t { kNode, kState, kGroup, kConsumer, kPending } kind = Kind::kNode;
  // kNode: a StreamPage with entries, or that has had some; else the group's or consumer's name.
  std::string_view bytes = {};
  // Counted from 0 in the order in which they come; consumers within the group.
  uint32_t group = 0;
  uint32_t consumer = 0;  // also the owner of a pending entry
  // kState, kGroup: the last id; kPending: the entry's.
  StreamId id = {};
  StreamId first_id = {};        // kState: 0-0 without entries
  StreamId max_deleted_id = {};  // kState
  uint64_t entries_added = 0;    // kState
  int64_t entries_read = 0;      // kGroup
  uint64_t pending = 0;          // kGroup, kConsumer: how many pending entries follow
  uint32_t consumers = 0;        // kGroup
  int64_t seen_ms = 0;           // kConsumer; kPending: the time of the delivery
  int64_t active_ms = 0;         // kConsumer
  uint64_t deliveries = 0;       // kPending
};

// Adds the next piece to a stream, which the first one makes. False if a page is missing: nothing
// has been changed then. REQUIRES: the pieces come in order; nodes with ascending ids.
bool AddStreamPiece(PageSpace* space, const StreamPiece& piece);

}  // namespace firn
