// Builds the bytes of a stream's segments by hand, sound or not, and reads them back.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/memory_file.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn::log {

inline constexpr uint64_t kTestDirectoryId = 0x6e726946;

class StreamBuilder {
 public:
  struct Written {
    uint64_t segment_id;
    uint32_t offset;
    uint32_t size;
    uint64_t lsn;
    std::string key;
    std::string payload;
  };

  // Begins a segment with the next id.
  StreamBuilder& Segment(uint32_t epoch = 1) {
    epoch_ = epoch;
    SegmentHeader header = {};
    header.segment_id = ++last_id_;
    header.previous_id = files_.empty() ? 0 : last_id_ - 1;
    header.as_of_lsn = next_lsn_;
    header.directory_id = kTestDirectoryId;
    header.epoch = epoch;
    header.previous_crc = previous_crc_;
    header.stream = static_cast<uint8_t>(Stream::kFresh);
    std::string block(kSegmentHeaderSize, '\0');
    EncodeSegmentHeader(header, block.data());
    files_.push_back(std::make_shared<test::MemoryFile>(
        std::move(block), "log/" + SegmentFileName(header.segment_id)));
    return *this;
  }
  StreamBuilder& Record(const RecordSpec& spec) {
    std::string& bytes = files_.back()->bytes();
    size_t at = bytes.size();
    bytes.resize(at + PaddedSize(EncodedSize(spec)));
    previous_crc_ = EncodeRecord(spec,
                                 {.previous_crc = previous_crc_,
                                  .epoch = epoch_,
                                  .lsn = next_lsn_,
                                  .durable_lsn = durable_lsn_,
                                  .wall_ms = 1'700'000'000'000},
                                 bytes.data() + at);
    written_.push_back({last_id_, static_cast<uint32_t>(at), EncodedSize(spec), next_lsn_,
                        std::string(spec.key), std::string(spec.payload)});
    ++next_lsn_;
    return *this;
  }
  StreamBuilder& Set(std::string_view key, std::string_view value) {
    return Record({.kind = RecordKind::kImage, .type = kDiskString, .key = key, .payload = value});
  }
  // As after a sync: what is written from now on says so.
  StreamBuilder& Synced() {
    durable_lsn_ = next_lsn_ - 1;
    return *this;
  }
  StreamBuilder& Zeros(size_t size) {
    files_.back()->bytes().append(size, '\0');
    return *this;
  }

  std::string& bytes(size_t segment) { return files_[segment]->bytes(); }
  test::MemoryFile& file(size_t segment) { return *files_[segment]; }
  const std::vector<Written>& written() const { return written_; }
  uint32_t previous_crc() const { return previous_crc_; }

  std::vector<ReadableSegment> Readable() const {
    std::vector<ReadableSegment> segments;
    for (size_t i = 0; i < files_.size(); ++i) {
      segments.push_back({.id = i + 1, .file = files_[i], .end_offset = files_[i]->bytes().size()});
    }
    return segments;
  }
  LogReader Reader(LogReader::Options options = {}) const {
    return LogReader(Readable(), kSegmentHeaderSize, options);
  }

 private:
  std::vector<std::shared_ptr<test::MemoryFile>> files_;
  std::vector<Written> written_;
  uint64_t last_id_ = 0;
  uint32_t epoch_ = 1;
  uint64_t next_lsn_ = 1;
  uint64_t durable_lsn_ = 0;
  uint32_t previous_crc_ = 0;
};

// Reads to the end. The records read must be the first of those written, whole and in order.
struct ReadBack {
  LogReader::Outcome outcome;
  size_t records = 0;
  bool all_right = true;
};
inline ReadBack ReadAll(LogReader* reader, const std::vector<StreamBuilder::Written>& written) {
  ReadBack read = {};
  RecordView record;
  while ((read.outcome = reader->Next(&record)) == LogReader::Outcome::kRecord) {
    if (read.records >= written.size()) {
      read.all_right = false;
      break;
    }
    const StreamBuilder::Written& expected = written[read.records++];
    read.all_right = read.all_right && record.key == expected.key &&
                     record.payload == expected.payload && record.lsn == expected.lsn &&
                     record.size == expected.size &&
                     reader->position() == LogPosition{expected.segment_id, expected.offset};
  }
  return read;
}

}  // namespace firn::log
