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
// that was never used. A sealed segment is synced before its successor; what it doesn't use of its
// file, if that is much, goes back to the disk.
//
// Segment ids rise along the stream. So when a record is too long for the spares that are ready,
// these are removed and made anew behind the longer segment.
//
// A failed sync poisons the log: Append and Sync fail from then on, until a restart.
//
// Executor thread. Callbacks come from the loop, never from inside a call.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "tiering/io/loop.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"
#include "tiering/log/segment_maker.h"

namespace firn::log {

struct LogWriterOptions {
  std::string directory;  // DIR/log
  uint64_t segment_size_bytes = 64 << 20;
  uint64_t window_size_bytes = 8 << 20;  // of readable warm bytes; moves in steps of 1 MiB
  uint64_t directory_id = 0;
  uint32_t epoch = 0;
  uint64_t next_segment_id = 1;  // shared with the cold stream: see AllocateSegmentId
  uint64_t first_lsn = 1;        // the LSN of the first record to append; all below it is durable
  uint64_t previous_segment_id = 0;
  uint32_t previous_crc = 0;
  bool lock_in_ram = true;
  uint64_t max_bytes = 0;  // see set_max_bytes
};

class LogWriter {
 public:
  LogWriter(io::FileSystem* file_system, io::Loop* loop, SegmentTable* segments,
            LogWriterOptions options);
  // REQUIRES: Stop has finished; or the loop never runs again (a simulated crash).
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Blocking: makes the first segment and the spares. For the start. On a full disk the first
  // segment takes what is left, down to 1 MiB, and there may be no spares: see CheckRoom.
  Status Start();
  // Blocking: waits for what is in flight (by running the loop), syncs, writes a stamp if anything
  // was appended since the last, syncs that, unmaps, removes the spares, and the active segment if
  // nothing was ever written to it. Returns the poison, if there is one; nothing is written then.
  Status Stop();

  // --- appending

  enum class Room { kReady, kWait, kNoSpace, kPoisoned };
  enum class Urgency { kNormal, kFreesSpace };  // deletes may use the spares that are kept back
  // Whether `bytes` of records (padded sizes) can be appended now without waiting for a segment or,
  // if they are many, for memory to be populated. After kWait that is being done, and
  // `room_changed` will be called. After kNoSpace, space is looked for again at most every 100 ms,
  // by this call.
  Room CheckRoom(uint64_t bytes, Urgency urgency);
  // Whether they can be appended now without populating memory on the spot, which takes its time.
  // If not, a worker is at it: for those who needn't append now.
  bool IsPopulated(uint64_t bytes);
  void set_room_changed(std::function<void()> callback) { room_changed_ = std::move(callback); }
  // Segments were removed, or the disk has otherwise more room: look for it at once.
  void OnSpaceFreed();

  // Appends one record. `wall_ms` must not fall below that of the record before (it is clamped). A
  // record for which CheckRoom wasn't asked, or which is longer than what was asked for, may have
  // to make a segment on the spot. Fails with kNoSpace or the poison; then nothing was appended.
  // Updates the segment's end_offset, last_lsn and max_expiry_ms, but not its live_bytes.
  struct Appended {
    PackedPosition position = 0;
    uint64_t lsn = 0;
    uint32_t size = 0;  // without the padding
  };
  Result<Appended> Append(const RecordSpec& spec, int64_t wall_ms);
  // The records appended between the two are one group (kGroupBegin ... kGroupCommit around them
  // and kFlagInGroup in each; all take an LSN). Groups don't nest. EndGroup of an empty group
  // writes a begin and a commit all the same. If an append between them failed, EndGroup fails the
  // same way and writes no commit: no recovery will see the group.
  Status BeginGroup(int64_t wall_ms);
  Status EndGroup(int64_t wall_ms);

  // --- durability

  uint64_t appended_lsn() const { return next_lsn_ - 1; }
  uint64_t durable_lsn() const { return durable_lsn_; }
  // Starts a sync of all that was appended, unless one that covers it is already on its way or
  // queued, or all is durable: at most one is in flight, one more is remembered. `synced` is called
  // after each, failed or not.
  void Sync();
  bool sync_in_flight() const { return sync_.in_flight; }
  void set_synced(std::function<void()> callback) { synced_ = std::move(callback); }
  // Appends a stamp (and syncs it) if the last record is no stamp and all is durable. For idle
  // times.
  void StampIfIdle(int64_t wall_ms);
  const Status& poison() const { return poison_; }  // ok while the log is well
  uint64_t unsynced_bytes() const { return appended_bytes_ - synced_bytes_; }

  // --- the window

  // The record's bytes, up to the end of what was appended in its segment, if it lies in the mapped
  // window; empty otherwise, and always after lock_failed(). Valid until the next AdvanceWindow or
  // Stop.
  std::string_view Warm(PackedPosition position) const;
  // The positions that Warm answers for, as ranges [begin, end).
  std::vector<std::pair<PackedPosition, PackedPosition>> WarmRanges() const;
  // From now on nothing that was appended so far is readable in the window: for tests and for
  // values that are to be cold at once.
  void HideWindow() { hidden_below_ = tail(); }
  // Lets the window's start follow the tail; never past what is synced. Called once an iteration.
  void AdvanceWindow();
  uint64_t window_bytes() const;  // mapped and populated: counts in maxmemory
  void set_window_size(uint64_t bytes) { options_.window_size_bytes = bytes; }
  // The limit on locked memory forbade it: nothing is readable in the window from then on, and it
  // holds only what isn't synced. For a line in the server's log.
  bool lock_failed() const { return lock_failed_; }
  // Nobody will read what lies before this position, in the fresh stream, through the page cache
  // again (the indexer has passed it). What also has left the window is dropped from the cache.
  void set_drop_cache_below(LogPosition position);

  // --- the end of the log, for the indexer

  LogPosition tail() const;
  Segment* active() const { return active_; }  // null before Start and after Stop
  // Crc of the last record.
  uint32_t last_crc() const { return previous_crc_; }
  // Ids are shared by both streams.
  uint64_t AllocateSegmentId() { return next_segment_id_++; }

  // True once the file system has refused room and not granted any since.
  bool out_of_space() const { return out_of_space_; }
  // Two more segments would be too many for `maxdisk`: a time to make room before somebody waits.
  bool short_of_space() const;
  // Why, or why a long record found no room; names the limit.
  const Status& space_status() const { return space_status_; }
  // The log may not grow beyond this many bytes of segments (`maxdisk`); 0 is no limit, then the
  // file system is left 5 % or 1 GiB, the larger of the two but at most a quarter of it. 5 % of it
  // are kept back for compaction.
  void set_max_bytes(uint64_t bytes);

 private:
  struct Mapping;
  struct MakeJob;
  struct PopulateJob;
  struct SyncRequest : io::DiskRequest {
    LogWriter* writer = nullptr;
    bool in_flight = false;
    Segment* segment = nullptr;
    uint64_t offset = 0;       // what it covers
    uint64_t lsn = 0;          // its last record, 0 if none
    uint64_t total_bytes = 0;  // appended_bytes_ up to there
  };
  // A range of a file that has left the window and still occupies the page cache.
  struct Drop {
    std::weak_ptr<io::File> file;  // not to keep a removed segment's bytes on the disk
    uint64_t segment_id = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  using MappingPtr = std::shared_ptr<Mapping>;

  // Room (log_writer_room.cc).
  SegmentOrder NewOrder(uint64_t room_bytes);
  Status MakeNow(uint64_t room_bytes, bool keep_reserve);
  void EnsureSpares();
  void StartMaking(uint64_t room_bytes);
  void OnMade(MakeJob* job);
  void Grant(MadeSegment made);
  void Refuse(const Status& status, uint64_t room_bytes);
  bool Fits(const Mapping& mapping, uint64_t at, uint64_t bytes) const;
  MappingPtr SpareFor(uint64_t bytes) const;
  Room RoomIn(const MappingPtr& mapping, uint64_t end);
  void NotifyRoom();
  Status MakeRoom(uint64_t bytes);
  Status SwitchSegment(uint64_t bytes);
  void TakeSpare(const MappingPtr& spare);
  void Discard(const MappingPtr& mapping);
  void Seal();
  void Trim(const MappingPtr& mapping);
  Status Activate(MappingPtr mapping);
  void RemoveSpares();

  // The window (log_writer_window.cc).
  uint64_t PopulateStep() const;
  void UpdatePopulation();
  void StartPopulating(const MappingPtr& mapping, uint64_t end);
  std::shared_ptr<PopulateJob> NewPopulateJob(const Mapping& mapping, uint64_t end) const;
  Status OnPopulated(Mapping* mapping, const PopulateJob& job);
  void OnWorkerPopulated(const MappingPtr& shared);
  Status PopulateNow(Mapping* mapping, uint64_t end);
  uint64_t WarmBytes() const;
  bool UnmapStep(Mapping* mapping);
  void UnmapAll();
  void PushDrop(const Mapping& mapping, uint64_t begin, uint64_t end);
  void RunDrops();

  // Syncing and failing.
  void StartSync();
  void OnSynced(int result);
  Status SyncAllNow();
  void MarkSynced(Segment* segment, uint64_t offset, uint64_t lsn);
  void Poison(Status status);
  void WaitForJobs();

  io::FileSystem* const file_system_;
  io::Loop* const loop_;
  SegmentTable* const segments_;
  LogWriterOptions options_;

  // Appending: the address of the active segment's offset 0, its tail, and the offset up to which
  // a record may reach without further ado.
  char* base_ = nullptr;
  uint64_t tail_ = 0;
  uint64_t limit_ = 0;
  uint64_t populate_at_ = 0;  // when the tail reaches this, UpdatePopulation has something to do
  Segment* active_ = nullptr;
  uint64_t next_lsn_ = 1;
  uint32_t previous_crc_ = 0;
  uint64_t previous_segment_id_ = 0;
  int64_t last_wall_ms_ = 0;
  uint64_t appended_bytes_ = 0;
  bool last_is_stamp_ = true;  // or nothing was appended in this run
  bool in_group_ = false;
  GroupDigest group_;
  Status group_status_;

  // Durability.
  uint64_t durable_lsn_ = 0;
  uint64_t synced_bytes_ = 0;
  uint64_t active_synced_offset_ = 0;     // in the active segment, to the byte
  uint64_t wanted_lsn_ = 0;               // the highest that a Sync was asked for
  std::deque<Segment*> unsynced_sealed_;  // to be synced before the active one, in order
  SyncRequest sync_;
  uint64_t bytes_at_last_sync_ = 0;
  uint64_t bytes_between_syncs_ = 0;
  Status poison_;
  std::function<void()> synced_;

  // The window: mappings in the order of the log, the active one at the back.
  std::deque<MappingPtr> window_;
  bool lock_failed_ = false;
  std::deque<Drop> drops_;
  LogPosition drop_below_;

  // Room.
  std::deque<MappingPtr> spares_;
  uint64_t next_segment_id_ = 1;
  uint64_t ordinary_capacity_ = 0;
  bool making_ = false;
  uint64_t wanted_room_bytes_ = 0;   // a longer segment that somebody waits for; 0: none
  uint64_t refused_room_bytes_ = 0;  // the least that was refused; UINT64_MAX: nothing
  int64_t next_try_micros_ = 0;
  bool out_of_space_ = false;
  LogPosition hidden_below_;
  Status space_status_;
  bool somebody_waits_ = false;
  std::function<void()> room_changed_;

  int jobs_in_flight_ = 0;
  bool stopped_ = true;
};

}  // namespace firn::log
