// What the executor takes of a store at one moment, so that another thread can read the state of
// that moment at leisure: the end of the log, the files of all segments, a view of the index, and
// which keyspaces the databases are. Taking it copies no data and costs microseconds; no command
// notices it while it lives.
//
// Files are shared: compaction goes on, and the bytes of a segment that it removes go back to the
// disk once the last snapshot that began before is gone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/siphash.h"
#include "tiering/index/index.h"
#include "tiering/log/log_format.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment.h"

namespace firn {

struct SnapshotSource {
  struct Segment {
    log::ReadableSegment readable;
    log::Stream stream = log::Stream::kFresh;
    uint64_t synced_offset = 0;  // as log::Segment
  };
  struct Database {
    uint32_t keys_id = 0;   // keyspace of its keys
    uint32_t pages_id = 0;  // keyspace of its collections' pages
    uint64_t keys = 0;      // about
    uint64_t expiring = 0;  // about
  };

  std::unique_ptr<IndexView> index;  // as of a batch at or before `lsn`
  HashSecret secret;
  std::vector<Segment> segments;  // in the order of their ids
  log::LogPosition end;           // behind the last record
  uint64_t lsn = 0;               // of the last record
  int64_t now_ms = 0;
  // Without durability the index may keep a root for what was overwritten or deleted in RAM alone;
  // its segment may be gone, since nothing in it was alive.
  bool has_stale_roots = false;
  std::vector<Database> databases;
  uint64_t memory_bytes = 0;  // what reading it may take, besides what depends on the log's tail
};

}  // namespace firn
