#include "tiering/snapshot/record_reader.h"

#include <algorithm>

#include "engine/base/check.h"

namespace firn {
namespace {

// A buffer that a long record made longer than this is given back.
constexpr uint64_t kOrdinaryBuffer = 1 << 20;

uint64_t AlignDown(uint64_t offset) { return offset & ~(io::kDirectAlignment - 1); }
uint64_t AlignUp(uint64_t offset) { return AlignDown(offset + io::kDirectAlignment - 1); }

}  // namespace

Status RecordReader::Load(uint32_t segment, uint64_t begin, uint64_t end) {
  const SnapshotSource::Segment& from = segments_[segment - 1];
  uint64_t aligned = AlignDown(begin);
  uint64_t limit = from.readable.end_offset;
  uint64_t size = AlignUp(std::min(std::max(end, begin + sizeof(log::RecordHeader)), limit)) -
                  std::min(aligned, AlignUp(limit));
  loaded_ = 0;
  if (size > capacity_ || (capacity_ > kOrdinaryBuffer && size <= kOrdinaryBuffer)) {
    capacity_ = std::max(size, io::kDirectAlignment);
    buffer_.reset();
    buffer_.reset(static_cast<char*>(std::aligned_alloc(io::kDirectAlignment, capacity_)));
    CHECK_MSG(buffer_ != nullptr, "out of memory");
  }
  std::span<char> into(buffer_.get(), size);
  bool direct = aligned + size <= from.synced_offset;
  auto read = direct ? from.readable.file->ReadDirectAt(aligned, into)
                     : from.readable.file->ReadAt(aligned, into);
  if (!read) return read.error();
  bytes_read_ += *read;
  loaded_ = segment;
  begin_ = aligned;
  end_ = std::min(aligned + *read, limit);
  return Status::Ok();
}

Status RecordReader::Read(SnapshotPlace place, uint64_t ahead_to, log::RecordView* record) {
  uint32_t segment = SegmentOf(place);
  uint64_t offset = OffsetOf(place);
  CHECK(segment >= 1 && segment <= segments_.size());
  uint64_t needed = sizeof(log::RecordHeader);
  auto damaged = [&] {
    return Status::Corruption("damaged record in " + segments_[segment - 1].readable.file->path() +
                              " at offset " + std::to_string(offset));
  };
  // Once for the header, once for the rest.
  for (int i = 0; i < 3; ++i) {
    if (loaded_ != segment || offset < begin_ || offset + needed > end_) {
      FIRN_RETURN_IF_ERROR(Load(segment, offset, std::max(ahead_to, offset + needed)));
      if (offset + needed > end_) return damaged();
    }
    std::string_view bytes(buffer_.get() + (offset - begin_), end_ - offset);
    log::DecodeOutcome outcome = log::DecodeRecord(bytes, record, &needed);
    if (outcome == log::DecodeOutcome::kOk) return Status::Ok();
    if (outcome != log::DecodeOutcome::kNeedMore) return damaged();
  }
  return damaged();
}

}  // namespace firn
