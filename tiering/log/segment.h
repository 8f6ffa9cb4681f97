// Segments: the files of the log and the table of them. A position in RAM is 40 bits: a slot of
// this table and an offset in units of 16 bytes. Slots are reused after their segment is gone;
// segment ids never are.
//
// Executor thread, but for what is said to be for any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/file.h"
#include "tiering/log/log_format.h"

namespace firn::log {

using PackedPosition = uint64_t;  // 0: none

// A position as it is persisted.
struct LogPosition {
  uint64_t segment_id = 0;
  uint32_t offset = 0;  // bytes; a multiple of kRecordAlignment
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

struct Segment {
  uint64_t id = 0;
  uint32_t slot = 0;
  Stream stream = Stream::kFresh;
  uint32_t epoch = 0;
  uint64_t as_of_lsn = 0;
  uint64_t last_lsn = 0;  // fresh: of its last record
  // The latest expiry of its images, ~0 if one has none or that isn't known; the newest of its
  // deletes.
  uint64_t max_expiry_ms = 0;
  uint64_t last_delete_lsn = 0;
  uint64_t delete_bytes = 0;  // of its deletes, padded; those that a start has found don't count
  bool has_keyspace_names = false;
  std::shared_ptr<io::File> file;  // shared with the jobs that read it
  uint64_t end_offset = 0;         // bytes written, header included
  uint64_t file_bytes = 0;         // bytes of disk that it holds
  uint64_t live_bytes = 0;         // padded bytes of records that are still the newest
  // A multiple of 4096: O_DIRECT reads may touch the bytes below this. The block that holds the
  // tail of the active segment lies above it even when its records are synced: a direct read of it
  // would bring the right bytes, but wait for the kernel to write the block first.
  uint64_t synced_offset = 0;
  bool sealed = false;
  int holds = 0;  // fetches, jobs, snapshots, the writer's window: not unlinked while > 0

  // For what isn't told by the bytes alive. Effects don't matter there: checkpoints carry on what
  // they did.
  struct Noted {
    RecordKind kind;
    uint64_t lsn = 0;
    int64_t expiry_ms = 0;
    uint64_t padded_bytes = 0;
  };
  void NoteRecord(const Noted& record);
};

class SegmentTable {
 public:
  // `segment_size_bytes`: a power of two between 1 MiB and 1 GiB: gives the width of an offset. A
  // directory that was made with larger segments (found at open) keeps the larger width.
  explicit SegmentTable(uint64_t segment_size_bytes);

  // Adds a segment under a free slot; null if all slots are taken (16 TiB).
  Segment* Add(uint64_t id);
  // REQUIRES: holds == 0. Frees the slot; the file is closed, not removed.
  void Remove(Segment* segment);

  Segment* ById(uint64_t id) const;      // null if unknown
  Segment* BySlot(uint32_t slot) const;  // null if free
  Segment* Of(PackedPosition position) const { return BySlot(SlotOf(position)); }

  uint32_t SlotOf(PackedPosition position) const {
    return static_cast<uint32_t>(position >> offset_bits_);
  }
  uint64_t OffsetOf(PackedPosition position) const {
    return (position & ((1ull << offset_bits_) - 1)) * kRecordAlignment;
  }
  // The end of a full segment is where the next slot begins: behind all of its positions.
  PackedPosition Pack(const Segment& segment, uint64_t offset) const {
    return (static_cast<uint64_t>(segment.slot) << offset_bits_) + offset / kRecordAlignment;
  }
  // 0 if the segment is unknown or the offset impossible.
  PackedPosition Pack(const LogPosition& position) const;
  LogPosition Unpack(PackedPosition position) const;

  // In the order of their ids.
  const std::map<uint64_t, std::unique_ptr<Segment>>& all() const { return by_id_; }
  uint64_t total_bytes() const;
  uint64_t live_bytes() const;

  // While somebody keeps all, no segment is removed, as if each were held, those of the future too.
  void KeepAll() { ++keepers_; }
  void EndKeepAll() { --keepers_; }
  bool keeps_all() const { return keepers_ > 0; }

 private:
  int offset_bits_;
  std::map<uint64_t, std::unique_ptr<Segment>> by_id_;
  std::vector<Segment*> by_slot_;  // slot 0 is never used: position 0 means none
  std::vector<uint32_t> free_slots_;
  int keepers_ = 0;
};

std::string SegmentFileName(uint64_t id);  // "0000000000000001.seg"
bool ParseSegmentFileName(std::string_view name, uint64_t* id);

// Any thread. Fills the header block (kSegmentHeaderSize bytes) or checks one.
void EncodeSegmentHeader(const SegmentHeader& header, char* block);
// kNotFound for an all-zero block (a spare that was never used), kUnsupported for another version
// (named), kCorruption otherwise.
Result<SegmentHeader> DecodeSegmentHeader(std::string_view block, const std::string& path);

}  // namespace firn::log
