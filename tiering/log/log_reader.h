// LogReader: reads a stream's records in order, across segments, from any position, checking the
// chain: every record's checksum, the previous record's checksum in it, its epoch, rising LSNs (of
// the fresh stream), the link from segment to segment. For recovery, the indexer, compaction and
// tools. Any thread, one at a time; blocking reads through the page cache, or past it with
// `direct`.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn::log {

// A segment to read: `end_offset` bounds it (the file's size for a recovery that does not know).
struct ReadableSegment {
  uint64_t id = 0;
  std::shared_ptr<io::File> file;
  uint64_t end_offset = 0;
};

// A chunk for those who read one record: the header's block, and most records, fit.
inline constexpr uint32_t kOneRecordChunkBytes = 8 << 10;

class LogReader {
 public:
  struct Options {
    uint32_t chunk_size_bytes = 1 << 20;
    bool direct = false;
    // Known crc of the record before the first one read; unchecked when `check_first_link` is false
    // (a reader that starts in the middle learns it from the first record).
    bool check_first_link = false;
    uint32_t previous_crc = 0;
    // Segments between those given may be missing, because compaction removed them. Otherwise a gap
    // is kInvalid.
    bool allow_gaps = false;
  };
  // Reads `segments` in the order given, the first from `first_offset`. Segments whose header was
  // never written (spares) are passed over.
  LogReader(std::vector<ReadableSegment> segments, uint64_t first_offset, Options options);

  enum class Outcome {
    kRecord,
    kEnd,      // the last segment is exhausted, or zeros begin
    kInvalid,  // a record or a header that fails its checks: see position() and message()
    kError,    // the file could not be read: see status()
  };
  // The record's views stay valid until the next call. Fillers are passed over. What is not
  // kRecord is final: every later call answers the same.
  Outcome Next(RecordView* record);

  // Of the record that Next returned, or of the place where it stopped: there the log may be cut.
  // A segment that doesn't continue the one before it is reported at the end of the one before.
  LogPosition position() const { return position_; }
  const std::string& message() const { return message_; }
  const Status& status() const { return status_; }
  // What the next record in the chain has to name as the checksum before it; fillers count. Known
  // once Next was called.
  uint32_t last_crc() const { return previous_crc_; }
  // Header of the segment that position() lies in. REQUIRES: Next was called, and that segment's
  // header was sound.
  const SegmentHeader& header() const { return header_; }

  // After kInvalid or kEnd: looks behind the stop, in the rest of these segments, for a record of
  // the same directory whose "durable up to" lies at or above `lsn` (the first LSN that is
  // missing), or for the header of a later epoch that began above it: proof that what is missing
  // had been synced, that is, damage and no torn tail. Returns its position, or nothing. Reads all
  // that is behind the stop.
  std::optional<LogPosition> FindProofOfDamage(uint64_t lsn);
  // After kInvalid or kEnd, for tools: the first sound record behind the stop whose LSN is above
  // the last one's (in the cold stream: the first sound record), whatever it says of durability.
  std::optional<LogPosition> FindNextSound();

 private:
  struct Free {
    void operator()(char* buffer) const { std::free(buffer); }
  };
  enum class Entry { kEntered, kSkipped, kBroken, kError };

  Entry Enter(const ReadableSegment& segment);
  Outcome NextInSegment(const ReadableSegment& segment, RecordView* record);
  bool CheckRecord(const RecordView& record);
  Outcome StopInvalid(const ReadableSegment& segment, std::string message);
  Outcome StopEnd();
  Outcome StopError(Status status);
  bool Load(const ReadableSegment& segment, uint64_t offset, uint64_t needed);
  // So many bytes at a time, or what is needed if that is more.
  bool Load(const ReadableSegment& segment, uint64_t offset, uint64_t needed, uint64_t chunk_bytes);
  std::string_view Loaded(uint64_t offset) const;
  // What to look for behind the stop.
  struct Wanted {
    uint64_t above_lsn = 0;
    uint64_t durable_lsn = 0;  // at least
    bool headers = false;      // those of later epochs count too
  };
  std::optional<LogPosition> Search(const Wanted& wanted);
  std::optional<LogPosition> ProofInHeader(const ReadableSegment& segment, const Wanted& wanted,
                                           std::optional<uint32_t>* epoch);
  std::optional<LogPosition> ProofInRecords(const ReadableSegment& segment, uint64_t offset,
                                            std::optional<uint32_t> epoch, const Wanted& wanted);

  // Constant after construction.
  const std::vector<ReadableSegment> segments_;
  const Options options_;

  // Where reading stands.
  size_t current_ = 0;
  bool entered_ = false;  // segments_[current_]: its header has been read
  bool any_entered_ = false;
  uint64_t offset_ = 0;  // of the next record
  uint64_t last_lsn_ = 0;
  uint32_t previous_crc_ = 0;
  bool link_known_ = false;
  SegmentHeader header_ = {};
  LogPosition position_;
  size_t position_index_ = 0;  // of the segment that position_ lies in

  // The bytes [buffer_offset_, buffer_end_) of segments_[buffer_segment_].
  std::unique_ptr<char, Free> buffer_;
  uint64_t buffer_capacity_ = 0;
  const ReadableSegment* buffer_segment_ = nullptr;
  uint64_t buffer_offset_ = 0;
  uint64_t buffer_end_ = 0;

  // How it ended.
  std::optional<Outcome> stopped_;
  std::string message_;
  Status status_;

  uint64_t proof_budget_bytes_ = 0;
};

}  // namespace firn::log
