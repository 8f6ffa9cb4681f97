// What the store tells INFO and TIER STATS. Counters since the start, unless said otherwise.
#pragma once

#include <cstdint>

namespace firn {

struct TierCounts {
  uint64_t keys = 0;
  uint64_t bytes = 0;
  uint64_t hits = 0;
};

struct LogSize {
  uint64_t bytes = 0;
  uint64_t rewrites = 0;  // that came to their end
  bool rewriting = false;
};

struct StoreStats {
  // Keyspace.
  uint64_t keyspace_hits = 0;
  uint64_t keyspace_misses = 0;
  uint64_t expired_keys = 0;
  uint64_t evicted_keys = 0;
  uint64_t reaped_values = 0;    // large collections that were deleted, whose pages are gone
  uint64_t unreaped_values = 0;  // whose pages are not, now

  // Tiers.
  TierCounts hot, warm, cold;
  uint64_t fetches = 0;
  uint64_t fetch_p50_us = 0, fetch_p99_us = 0, fetch_p999_us = 0;
  uint64_t disk_reads = 0;
  uint64_t disk_read_bytes = 0;
  uint64_t read_errors = 0;
  uint64_t demotions = 0;
  uint64_t promotions = 0;
  uint64_t admissions_refused = 0;
  uint64_t writers_delayed = 0;  // commands that waited for memory, or for a log segment
  uint64_t writers_delayed_us = 0;
  uint64_t false_candidates = 0;
  uint64_t unsettled_writes = 0;  // now

  // Log and index, now.
  uint64_t log_bytes = 0;
  uint64_t log_live_bytes = 0;
  uint64_t log_segments = 0;
  uint64_t log_appended_bytes = 0;  // since the start
  uint64_t compaction_read_bytes = 0;
  uint64_t compaction_written_bytes = 0;
  uint64_t compactions = 0;
  uint64_t segments_dropped_unread = 0;  // of compactions: all in them had expired
  uint64_t hot_set_restored = 0;         // values that came back after the start
  uint64_t hot_set_left = 0;             // that may still, now
  uint64_t archived_segments = 0;        // kept in the archive since the start
  bool archive_failing = false;
  uint64_t rewrites = 0;  // that Store::Compact began and that came to their end
  bool rewriting = false;
  int64_t last_rewrite_us = -1;  // none yet
  uint64_t appended_lsn = 0;
  uint64_t durable_lsn = 0;
  uint64_t indexed_lsn = 0;
  uint64_t replay_segment = 0;  // where a restart would begin to replay
  uint64_t replay_offset = 0;
  uint64_t replay_bytes = 0;
  uint64_t index_flushes = 0;
  uint64_t syncs = 0;
  uint64_t delayed_syncs = 0;  // under everysec: late ones, for which replies had to wait
  bool last_write_ok = true;
  bool cold_map_complete = true;

  // Memory, bytes, now.
  uint64_t used_memory = 0;
  uint64_t peak_memory = 0;
  uint64_t resident_bytes = 0;
  uint64_t table_bytes = 0;
  uint64_t cold_map_bytes = 0;
  uint64_t unmapped_keys = 0;  // that the maps have no room for, and the index answers for
  uint64_t window_bytes = 0;
  uint64_t index_bytes = 0;
  uint64_t fetch_bytes = 0;
  uint64_t wasted_bytes = 0;         // by fragmentation, as of the last sample
  uint64_t defragmented_blocks = 0;  // since the start

  // The last start.
  uint64_t replayed_records = 0;
  uint64_t replayed_bytes = 0;
  uint64_t replay_us = 0;
  uint64_t torn_bytes = 0;
};

}  // namespace firn
