// LogWriter: the fresh stream. Appending is a memory copy into the mapped window, which is the
// newest part of the log: mapped, populated ahead of the tail, locked if allowed.
//
//      segment n - 1            segment n (active)                     spare segments
//   +----------------+   +------------------------------------+    +---------+  +---------+
//   | ...     |######|   |##############################|popul|    |         |  |         |
//   +----------------+   +------------------------------------+    +---------+  +---------+
//             ^ window start                            ^ tail
//
// What Append returned for has reached the kernel: it survives the death of the process. It
// survives the power once durable_lsn() has reached it.
//
// Segments are made ahead by workers: created, allocated, mapped, their directory entry synced. The
// header is written when the segment becomes active, so that a file with a zero header is a spare
// that was never used.
//
// A failed sync poisons the log: Append and Sync fail from then on, until a restart.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "tiering/io/loop.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn::log {

struct LogWriterOptions {
  std::string directory;  // DIR/log
  uint64_t segment_size_bytes = 64 << 20;
  uint64_t window_size_bytes = 8 << 20;  // of readable warm bytes; moves in steps of 1 MiB
  uint64_t directory_id = 0;
  uint32_t epoch = 0;
  uint64_t next_segment_id = 1;  // shared with the cold stream: see AllocateSegmentId
  uint64_t first_lsn = 1;        // the LSN of the first record to append
  uint64_t previous_segment_id = 0;
  uint32_t previous_crc = 0;
  bool lock_in_ram = true;
};

class LogWriter {
 public:
  LogWriter(io::FileSystem* file_system, io::Loop* loop, SegmentTable* segments,
            LogWriterOptions options);
  ~LogWriter();  // REQUIRES: Stop has finished

  // Blocking: makes the first segment and the spares. For the start.
  Status Start();
  // Blocking: syncs, writes a stamp if anything was appended since the last, syncs that, unmaps,
  // removes the spares.
  Status Stop();

  // --- appending

  enum class Room { kReady, kWait, kNoSpace, kPoisoned };
  enum class Urgency { kNormal, kFreesSpace };  // deletes may use the spares that are kept back
  // Whether `bytes` of records can be appended now without waiting for a segment. After kWait a
  // segment is being made, and `room_changed` will be called.
  Room CheckRoom(uint64_t bytes, Urgency urgency);
  void set_room_changed(std::function<void()> callback);

  // Appends one record. `wall_ms` must not fall below that of the record before (the caller's clock
  // is clamped). A record for which CheckRoom wasn't asked, or which is longer than what was asked
  // for, may have to make a segment on the spot. Fails with kNoSpace or the poison; then nothing
  // was appended.
  struct Appended {
    PackedPosition position = 0;
    uint64_t lsn = 0;
    uint32_t size = 0;  // without the padding
  };
  Result<Appended> Append(const RecordSpec& spec, int64_t wall_ms);
  // The records appended between the two are one group (kGroupBegin ... kGroupCommit around them
  // and kFlagInGroup in each). Groups don't nest. EndGroup of an empty group writes a begin and a
  // commit all the same.
  Status BeginGroup(int64_t wall_ms);
  Status EndGroup(int64_t wall_ms);

  // --- durability

  uint64_t appended_lsn() const { return next_lsn_ - 1; }
  uint64_t durable_lsn() const { return durable_lsn_; }
  // Starts a sync of all that was appended, unless one that covers it is already on its way or
  // queued: at most one is in flight, one more is remembered. `synced` is called after each.
  void Sync();
  bool sync_in_flight() const;
  void set_synced(std::function<void()> callback);
  // Appends a stamp (and syncs it) if the last record is no stamp and all is durable. For idle
  // times.
  void StampIfIdle(int64_t wall_ms);
  const Status& poison() const { return poison_; }  // ok while the log is well
  uint64_t unsynced_bytes() const;

  // --- the window

  // The record's bytes, up to the end of what was appended in its segment, if it lies in the mapped
  // window; empty otherwise. Valid until the next call that advances the window (Append,
  // AdvanceWindow).
  std::string_view Warm(PackedPosition position) const;
  // Lets the window's start follow the tail; never past what is synced. Called once an iteration.
  void AdvanceWindow();
  uint64_t window_bytes() const;  // mapped and populated: counts in maxmemory
  void set_window_size(uint64_t bytes);

  // --- the end of the log, for the indexer

  LogPosition tail() const;
  Segment* active() const { return active_; }
  // Ids are shared by both streams.
  uint64_t AllocateSegmentId() { return next_segment_id_++; }

  // True once the file system has refused room and not granted any since.
  bool out_of_space() const { return out_of_space_; }
  // The log may not grow beyond this many bytes of segments (`maxdisk`); 0 is no limit, then the
  // file system is left 5 % or 1 GiB, the larger of the two but at most a quarter of it.
  void set_max_bytes(uint64_t bytes);

 private:
  io::FileSystem* const file_system_;
  io::Loop* const loop_;
  SegmentTable* const segments_;
  LogWriterOptions options_;
  Segment* active_ = nullptr;
  uint64_t next_lsn_ = 1;
  uint64_t durable_lsn_ = 0;
  uint64_t next_segment_id_ = 1;
  bool out_of_space_ = false;
  Status poison_;
};

}  // namespace firn::log
