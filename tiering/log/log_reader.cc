#include "tiering/log/log_reader.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "engine/base/check.h"

namespace firn::log {
namespace {

// How many bytes a search for proof may check in vain. Payloads may be made to look like records,
// so that without a limit the search could take hours.
constexpr uint64_t kProofBudgetBytes = 1 << 30;

uint64_t AlignDown(uint64_t offset) { return offset & ~(io::kDirectAlignment - 1); }
uint64_t AlignUp(uint64_t offset) { return AlignDown(offset + io::kDirectAlignment - 1); }

std::string Hex(uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

bool SameEpoch(const RecordView& record, uint32_t epoch) {
  return record.epoch == static_cast<uint16_t>(epoch);
}
bool IsFresh(const SegmentHeader& header) {
  return header.stream == static_cast<uint8_t>(Stream::kFresh);
}

// How many zeros the bytes begin with.
uint64_t LeadingZeros(std::string_view bytes) {
  constexpr uint64_t kBlock = 64;
  static constexpr char kZeros[kBlock] = {};
  uint64_t count = 0;
  while (count + kBlock <= bytes.size() && std::memcmp(bytes.data() + count, kZeros, kBlock) == 0) {
    count += kBlock;
  }
  while (count < bytes.size() && bytes[count] == 0) ++count;
  return count;
}

std::string Place(const ReadableSegment& segment, uint64_t offset) {
  return segment.file->path() + " at offset " + std::to_string(offset);
}

}  // namespace

LogReader::LogReader(std::vector<ReadableSegment> segments, uint64_t first_offset, Options options)
    : segments_(std::move(segments)),
      options_(options),
      offset_(std::max<uint64_t>(first_offset, kSegmentHeaderSize)) {
  CHECK(offset_ % kRecordAlignment == 0);
  CHECK(options_.chunk_size_bytes >= io::kDirectAlignment);
  if (!segments_.empty()) position_ = {segments_[0].id, static_cast<uint32_t>(offset_)};
}

LogReader::Outcome LogReader::Next(RecordView* record) {
  if (stopped_) return *stopped_;
  for (; current_ < segments_.size(); ++current_, entered_ = false) {
    const ReadableSegment& segment = segments_[current_];
    if (!entered_) {
      Entry entry = Enter(segment);
      if (entry == Entry::kError) return StopError(status_);
      if (entry == Entry::kSkipped) continue;
      if (entry == Entry::kBroken) {
        stopped_ = Outcome::kInvalid;
        return *stopped_;
      }
      position_index_ = current_;
    }
    Outcome outcome = NextInSegment(segment, record);
    if (outcome != Outcome::kEnd) return outcome;
  }
  return StopEnd();
}

// Reads and checks a segment's header. When it breaks the chain, position_ stays at the end of the
// segment before: there the log ends.
LogReader::Entry LogReader::Enter(const ReadableSegment& segment) {
  const bool from_its_begin = any_entered_ || offset_ == kSegmentHeaderSize;
  // What lies between the header and a record further on is not read.
  if (!Load(segment, 0, kSegmentHeaderSize, from_its_begin ? options_.chunk_size_bytes : 0)) {
    return Entry::kError;
  }
  std::string_view block = Loaded(0).substr(0, kSegmentHeaderSize);
  auto decoded = DecodeSegmentHeader(block, segment.file->path());
  auto broken = [&](std::string message) {
    message_ = std::move(message);
    if (!any_entered_) position_ = {segment.id, 0}, position_index_ = current_;
    return Entry::kBroken;
  };
  if (!decoded) {
    if (decoded.error().code() == StatusCode::kNotFound) return Entry::kSkipped;
    return broken(decoded.error().message());
  }
  const SegmentHeader& header = *decoded;
  const std::string& path = segment.file->path();
  if (header.segment_id != segment.id) {
    return broken(path + ": the header is that of segment " + std::to_string(header.segment_id));
  }
  bool crc_known = link_known_;
  if (any_entered_) {
    if (header.directory_id != header_.directory_id) {
      return broken(path + ": the segment belongs to another data directory");
    }
    if (header.stream != header_.stream) return broken(path + ": the segment is of another stream");
    if (header.previous_id != header_.segment_id) {
      if (!options_.allow_gaps) {
        return broken(path + ": follows segment " + std::to_string(header.previous_id) +
                      ", not segment " + std::to_string(header_.segment_id) +
                      ": segments are missing");
      }
      crc_known = false;
    }
  } else {
    crc_known = options_.check_first_link;
    previous_crc_ = options_.previous_crc;
    link_known_ = crc_known;
  }
  if (from_its_begin) {
    if (crc_known && header.previous_crc != previous_crc_) {
      return broken(path + ": doesn't continue the record before it, whose checksum is " +
                    Hex(previous_crc_) + " and not " + Hex(header.previous_crc));
    }
    previous_crc_ = header.previous_crc;
    link_known_ = true;
  }
  if (any_entered_) offset_ = kSegmentHeaderSize;
  header_ = header;
  entered_ = any_entered_ = true;
  position_ = {segment.id, static_cast<uint32_t>(offset_)};
  return Entry::kEntered;
}

// kEnd: this segment has no more records.
LogReader::Outcome LogReader::NextInSegment(const ReadableSegment& segment, RecordView* record) {
  for (;;) {
    position_ = {segment.id, static_cast<uint32_t>(offset_)};
    if (!Load(segment, offset_, sizeof(RecordHeader))) return StopError(status_);
    uint64_t needed = 0;
    DecodeOutcome outcome = DecodeRecord(Loaded(offset_), record, &needed);
    if (outcome == DecodeOutcome::kNeedMore && offset_ + needed <= segment.end_offset) {
      if (!Load(segment, offset_, needed)) return StopError(status_);
      outcome = DecodeRecord(Loaded(offset_), record, &needed);
    }
    switch (outcome) {
      case DecodeOutcome::kEnd:
        return Outcome::kEnd;
      case DecodeOutcome::kNeedMore:
        return StopInvalid(segment, "the record reaches beyond the segment's end");
      case DecodeOutcome::kInvalid: {
        RecordView head;
        bool head_is_fine = DecodeRecordHead(Loaded(offset_), &head, &needed) == DecodeOutcome::kOk;
        return StopInvalid(
            segment, head_is_fine
                         ? "the record doesn't have the checksum that it names, " + Hex(head.crc)
                         : "no record's header");
      }
      case DecodeOutcome::kOk:
        break;
    }
    if (!CheckRecord(*record)) return StopInvalid(segment, message_);
    last_lsn_ = record->lsn;
    previous_crc_ = record->crc;
    link_known_ = true;
    offset_ += PaddedSize(record->size);
    if (record->kind != RecordKind::kFiller) return Outcome::kRecord;
  }
}

// What a record must have in common with what surrounds it.
bool LogReader::CheckRecord(const RecordView& record) {
  if (!SameEpoch(record, header_.epoch)) {
    message_ = "a record of epoch " + std::to_string(record.epoch) + " in a segment of epoch " +
               std::to_string(header_.epoch);
    return false;
  }
  if (link_known_ && record.previous_crc != previous_crc_) {
    message_ = "the record names " + Hex(record.previous_crc) +
               " as the checksum of the one before it, which is " + Hex(previous_crc_);
    return false;
  }
  if (record.lsn == 0) {
    message_ = "a record with LSN 0";
    return false;
  }
  if (IsFresh(header_) && record.lsn <= last_lsn_) {
    message_ = "LSN " + std::to_string(record.lsn) + " after LSN " + std::to_string(last_lsn_);
    return false;
  }
  if (IsFresh(header_) && record.lsn < header_.as_of_lsn) {
    message_ = "LSN " + std::to_string(record.lsn) + " in a segment that began with LSN " +
               std::to_string(header_.as_of_lsn);
    return false;
  }
  return true;
}

LogReader::Outcome LogReader::StopInvalid(const ReadableSegment& segment, std::string message) {
  message_ = Place(segment, offset_) + ": " + message;
  stopped_ = Outcome::kInvalid;
  return *stopped_;
}

LogReader::Outcome LogReader::StopEnd() {
  stopped_ = Outcome::kEnd;
  return *stopped_;
}

LogReader::Outcome LogReader::StopError(Status status) {
  status_ = std::move(status);
  message_ = status_.message();
  stopped_ = Outcome::kError;
  return *stopped_;
}

bool LogReader::Load(const ReadableSegment& segment, uint64_t offset, uint64_t needed) {
  return Load(segment, offset, needed, options_.chunk_size_bytes);
}

// Makes the buffer hold [offset, offset + needed), as far as the segment goes.
bool LogReader::Load(const ReadableSegment& segment, uint64_t offset, uint64_t needed,
                     uint64_t chunk_bytes) {
  uint64_t end = std::min(offset + needed, segment.end_offset);
  if (buffer_segment_ == &segment && offset >= buffer_offset_ && end <= buffer_end_) return true;
  uint64_t from = AlignDown(offset);
  uint64_t size = AlignUp(offset - from + needed);
  // A long record is read with a chunk to spare, so that what follows it is there too.
  size = needed > chunk_bytes ? size + chunk_bytes : std::max(size, chunk_bytes);
  size = std::min(AlignUp(size), AlignUp(std::max(segment.end_offset, from + 1) - from));
  if (size > buffer_capacity_) {
    buffer_.reset(static_cast<char*>(std::aligned_alloc(io::kDirectAlignment, size)));
    CHECK_MSG(buffer_ != nullptr, "out of memory");
    buffer_capacity_ = size;
  }
  std::span<char> into(buffer_.get(), size);
  auto read =
      options_.direct ? segment.file->ReadDirectAt(from, into) : segment.file->ReadAt(from, into);
  if (!read) {
    buffer_segment_ = nullptr;
    status_ = read.error();
    return false;
  }
  buffer_segment_ = &segment;
  buffer_offset_ = from;
  buffer_end_ = std::max(from, std::min(from + *read, segment.end_offset));
  return true;
}

std::string_view LogReader::Loaded(uint64_t offset) const {
  if (offset >= buffer_end_) return {};
  return {buffer_.get() + (offset - buffer_offset_), buffer_end_ - offset};
}

std::optional<LogPosition> LogReader::FindProofOfDamage(uint64_t lsn) {
  return Search({.above_lsn = lsn, .durable_lsn = lsn, .headers = true});
}

std::optional<LogPosition> LogReader::FindNextSound() {
  return Search({.above_lsn = any_entered_ && IsFresh(header_) ? last_lsn_ : 0});
}

std::optional<LogPosition> LogReader::Search(const Wanted& wanted) {
  CHECK(stopped_ && *stopped_ != Outcome::kError);
  proof_budget_bytes_ = kProofBudgetBytes;
  for (size_t i = position_index_; i < segments_.size(); ++i) {
    const ReadableSegment& segment = segments_[i];
    std::optional<uint32_t> epoch;
    uint64_t offset = kSegmentHeaderSize;
    if (i == position_index_ && any_entered_) {
      // The record at the stop itself proves nothing: it failed, or isn't there.
      offset = position_.offset + kRecordAlignment;
      epoch = header_.epoch;
    } else if (auto proof = ProofInHeader(segment, wanted, &epoch)) {
      return proof;
    }
    if (auto proof = ProofInRecords(segment, offset, epoch, wanted)) return proof;
  }
  return std::nullopt;
}

// A start writes a new epoch's first header only after all before it was synced. Sets `*epoch` to
// the segment's, if the header is sound.
std::optional<LogPosition> LogReader::ProofInHeader(const ReadableSegment& segment,
                                                    const Wanted& wanted,
                                                    std::optional<uint32_t>* epoch) {
  if (!Load(segment, 0, kSegmentHeaderSize)) return std::nullopt;
  auto header = DecodeSegmentHeader(Loaded(0).substr(0, kSegmentHeaderSize), segment.file->path());
  if (!header) return std::nullopt;
  if (any_entered_ && header->directory_id != header_.directory_id) return std::nullopt;
  *epoch = header->epoch;
  bool later_start = any_entered_ && header->epoch > header_.epoch && IsFresh(*header);
  if (!wanted.headers || !later_start || header->as_of_lsn <= wanted.above_lsn) return std::nullopt;
  return LogPosition{segment.id, 0};
}

std::optional<LogPosition> LogReader::ProofInRecords(const ReadableSegment& segment,
                                                     uint64_t offset, std::optional<uint32_t> epoch,
                                                     const Wanted& wanted) {
  while (offset + sizeof(RecordHeader) <= segment.end_offset) {
    if (!Load(segment, offset, sizeof(RecordHeader))) return std::nullopt;
    std::string_view bytes = Loaded(offset);
    if (bytes.size() < sizeof(RecordHeader)) return std::nullopt;
    // A header of zeros is none: on to where one would have another byte.
    if (const uint64_t zeros = LeadingZeros(bytes); zeros >= sizeof(RecordHeader)) {
      offset += PaddedSize(zeros - sizeof(RecordHeader) + 1);
      continue;
    }
    RecordView record;
    uint64_t needed = 0;
    uint64_t step = kRecordAlignment;
    DecodeOutcome head = DecodeRecordHead(bytes.substr(0, sizeof(RecordHeader)), &record, &needed);
    bool plausible = (head == DecodeOutcome::kOk || head == DecodeOutcome::kNeedMore) &&
                     (!epoch || SameEpoch(record, *epoch)) && record.lsn > wanted.above_lsn &&
                     offset + record.size <= segment.end_offset &&
                     record.size <= proof_budget_bytes_;
    if (plausible) {
      if (!Load(segment, offset, record.size)) return std::nullopt;
      if (DecodeRecord(Loaded(offset), &record, &needed) == DecodeOutcome::kOk) {
        if (record.durable_lsn >= wanted.durable_lsn)
          return LogPosition{segment.id, static_cast<uint32_t>(offset)};
        // What lies inside a sound record is its payload, whatever it looks like.
        step = PaddedSize(record.size);
      } else {
        proof_budget_bytes_ -= record.size;
      }
    }
    offset += step;
  }
  return std::nullopt;
}

}  // namespace firn::log
