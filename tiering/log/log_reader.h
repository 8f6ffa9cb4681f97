// LogReader: reads a stream's records in order, across segments, from any position, checking the
// chain: every record's checksum, the previous record's checksum in it, rising LSNs, the link from
// segment to segment. For recovery, the indexer, compaction and tools. Any thread; blocking reads
// through the page cache, or past it with `direct`.
#pragma once

#include <cstdint>
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

class LogReader {
 public:
  struct Options {
    uint32_t chunk_size_bytes = 1 << 20;
    bool direct = false;
    // Known crc of the record before the first one read; unchecked when `check_chain` is false for
    // the first record (a reader that starts in the middle learns it from that record).
    bool check_first_link = false;
    uint32_t previous_crc = 0;
  };
  // Reads `segments` in the order given, the first from `first_offset`.
  LogReader(std::vector<ReadableSegment> segments, uint64_t first_offset, Options options);

  enum class Outcome {
    kRecord,
    kEnd,      // the last segment is exhausted, or zeros begin
    kInvalid,  // a record that fails its checks: see position() and message()
    kError,    // the file could not be read: see status()
  };
  // The record's views stay valid until the next call.
  Outcome Next(RecordView* record);

  // Of the record that Next returned, or of the place where it stopped.
  LogPosition position() const { return position_; }
  const std::string& message() const { return message_; }
  const Status& status() const { return status_; }

  // After kInvalid or kEnd: looks behind the stop, in the rest of these segments, for a record of
  // the same directory whose "durable up to" lies at or above `lsn`: proof that what is missing had
  // been synced, that is, damage and no torn tail. Returns its position, or nothing.
  std::optional<LogPosition> FindProofOfDamage(uint64_t lsn);

 private:
  bool Refill(uint64_t needed);
  std::vector<ReadableSegment> segments_;
  Options options_;
  size_t current_ = 0;
  uint64_t offset_ = 0;
  uint64_t last_lsn_ = 0;
  uint32_t previous_crc_ = 0;
  bool link_known_ = false;
  std::string buffer_;
  uint64_t buffer_offset_ = 0;
  LogPosition position_;
  std::string message_;
  Status status_;
};

}  // namespace firn::log
