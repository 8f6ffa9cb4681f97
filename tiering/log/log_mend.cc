#include "tiering/log/log_mend.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/crc32c.h"
#include "tiering/log/log_check.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/record.h"

namespace firn::log {
namespace {

constexpr uint64_t kChunk = 1 << 20;
// More gaps than that are no accident.
constexpr int kMaxGaps = 1000;

std::string PositionText(LogPosition position) {
  std::string name = SegmentFileName(position.segment_id);
  return name.substr(0, name.size() - 4) + ":" + std::to_string(position.offset);
}

class Mender {
 public:
  Mender(io::FileSystem* file_system, std::string directory)
      : file_system_(file_system), directory_(std::move(directory)) {}

  Status Open() {
    auto found = ListSegments(file_system_, directory_, {.writable = true});
    if (!found) return found.error();
    found_ = std::move(*found);
    return Status::Ok();
  }
  const std::vector<FoundSegment>& found() const { return found_; }
  MendLines TakeLines() { return std::move(lines_); }

  Status Cut(LogPosition at);
  Status CloseGap(const Finding& finding);

 private:
  // The record before a place: what a filler there has to follow.
  struct Before {
    uint32_t crc = 0;
    uint64_t lsn = 0;
    int64_t wall_ms = 0;
  };

  const FoundSegment* Find(uint64_t id) const;
  static bool IsFresh(const FoundSegment& segment) {
    return !segment.header || segment.header->stream == static_cast<uint8_t>(Stream::kFresh);
  }
  Status CheckBoundary(const FoundSegment& segment, uint64_t offset);
  Result<Before> ReadUpTo(const FoundSegment& segment, uint64_t offset);
  Result<std::string> ReadRecord(const FoundSegment& segment, uint64_t offset, RecordView* record);
  Status SetAside(const FoundSegment& segment, uint64_t begin, uint64_t end);
  Status MoveAside(const FoundSegment& segment);
  Status FillBetween(const FoundSegment& segment, LogPosition stop, LogPosition next);
  Status FillToEnd(const FoundSegment& segment, LogPosition stop, const FoundSegment& after);
  Status WriteHeader(const FoundSegment& segment, LogPosition stop, LogPosition next);
  Status Write(const FoundSegment& segment, uint64_t offset, std::string_view bytes);
  void Say(std::string line) { lines_.push_back(std::move(line)); }

  io::FileSystem* const file_system_;
  const std::string directory_;
  std::vector<FoundSegment> found_;
  MendLines lines_;
};

const FoundSegment* Mender::Find(uint64_t id) const {
  auto at = std::find_if(found_.begin(), found_.end(),
                         [id](const FoundSegment& segment) { return segment.id == id; });
  return at == found_.end() ? nullptr : &*at;
}

// Copies a range to a file of its own, without the zeros at its end.
Status Mender::SetAside(const FoundSegment& segment, uint64_t begin, uint64_t end) {
  std::string path =
      directory_ + "/damaged-" + SegmentFileName(segment.id) + "-" + std::to_string(begin);
  for (int copy = 2; file_system_->Exists(path); ++copy) {
    path = directory_ + "/damaged-" + SegmentFileName(segment.id) + "-" + std::to_string(begin) +
           "-" + std::to_string(copy);
  }
  auto file = file_system_->Open(path, {.create = true, .exclusive = true});
  if (!file) return file.error();
  uint64_t size = 0;
  std::string chunk(kChunk, '\0');
  for (uint64_t at = begin; at < end;) {
    auto read = segment.file->ReadAt(at, std::span<char>(chunk).first(std::min(kChunk, end - at)));
    if (!read) return read.error();
    if (*read == 0) break;
    std::string_view bytes = std::string_view(chunk).substr(0, *read);
    if (size_t last = bytes.find_last_not_of('\0'); last != std::string_view::npos) {
      FIRN_RETURN_IF_ERROR((*file)->WriteAt(at - begin, bytes.substr(0, last + 1)));
      size = at - begin + last + 1;
    }
    at += *read;
  }
  FIRN_RETURN_IF_ERROR((*file)->Sync());
  FIRN_RETURN_IF_ERROR(file_system_->SyncDirectory(directory_));
  Say("set aside " + std::to_string(size) + " bytes from " +
      PositionText({segment.id, static_cast<uint32_t>(begin)}) + " in " + path);
  return Status::Ok();
}

Status Mender::MoveAside(const FoundSegment& segment) {
  std::string path = directory_ + "/damaged-" + SegmentFileName(segment.id);
  if (file_system_->Exists(path)) {
    return {StatusCode::kBusy, path + " exists already: move it elsewhere first"};
  }
  FIRN_RETURN_IF_ERROR(file_system_->Rename(segment.file->path(), path));
  Say("moved " + segment.file->path() + " to " + path);
  return Status::Ok();
}

Status Mender::Write(const FoundSegment& segment, uint64_t offset, std::string_view bytes) {
  FIRN_RETURN_IF_ERROR(segment.file->WriteAt(offset, bytes));
  return segment.file->Sync();
}

// --- cutting

Status Mender::CheckBoundary(const FoundSegment& segment, uint64_t offset) {
  if (offset == 0 || offset == kSegmentHeaderSize) return Status::Ok();
  if (offset < kSegmentHeaderSize || offset % kRecordAlignment != 0 ||
      offset > segment.size_bytes) {
    return Status::Invalid("no record can begin at offset " + std::to_string(offset) + " of " +
                           segment.file->path());
  }
  LogReader reader({{segment.id, segment.file, segment.size_bytes}}, kSegmentHeaderSize, {});
  RecordView record;
  while (reader.Next(&record) == LogReader::Outcome::kRecord) {
    uint64_t begin = reader.position().offset;
    if (begin == offset) return Status::Ok();
    if (begin + PaddedSize(record.size) > offset) {
      return Status::Invalid("a sound record begins at " + PositionText(reader.position()) +
                             " and reaches beyond offset " + std::to_string(offset));
    }
  }
  if (reader.position().offset == offset) return Status::Ok();
  return Status::Invalid("the sound part of " + segment.file->path() + " ends before, at offset " +
                         std::to_string(reader.position().offset) + ": cut there");
}

Status Mender::Cut(LogPosition at) {
  const FoundSegment* segment = Find(at.segment_id);
  if (segment == nullptr) {
    return Status::Invalid(directory_ + " has no segment " + SegmentFileName(at.segment_id));
  }
  FIRN_RETURN_IF_ERROR(CheckBoundary(*segment, at.offset));
  // The later ones first: what is left is a log that ends at one of them whenever this stops.
  if (IsFresh(*segment)) {
    for (auto later = found_.rbegin(); later != found_.rend() && later->id > segment->id; ++later) {
      if (!later->IsSpare() && IsFresh(*later)) FIRN_RETURN_IF_ERROR(MoveAside(*later));
    }
    FIRN_RETURN_IF_ERROR(file_system_->SyncDirectory(directory_));
  }
  if (at.offset == 0) {
    FIRN_RETURN_IF_ERROR(MoveAside(*segment));
    return file_system_->SyncDirectory(directory_);
  }
  if (at.offset >= segment->size_bytes) return Status::Ok();
  FIRN_RETURN_IF_ERROR(SetAside(*segment, at.offset, segment->size_bytes));
  FIRN_RETURN_IF_ERROR(segment->file->Truncate(at.offset));
  FIRN_RETURN_IF_ERROR(segment->file->Sync());
  Say("cut " + segment->file->path() + " at offset " + std::to_string(at.offset));
  return Status::Ok();
}

// --- skipping

Result<Mender::Before> Mender::ReadUpTo(const FoundSegment& segment, uint64_t offset) {
  Before before = {.crc = segment.header->previous_crc,
                   .lsn = segment.header->as_of_lsn - 1,
                   .wall_ms = static_cast<int64_t>(segment.header->created_ms)};
  LogReader reader({{segment.id, segment.file, offset}}, kSegmentHeaderSize, {});
  RecordView record;
  LogReader::Outcome outcome;
  while ((outcome = reader.Next(&record)) == LogReader::Outcome::kRecord) {
    before = {.crc = record.crc, .lsn = record.lsn, .wall_ms = record.wall_ms};
  }
  if (outcome == LogReader::Outcome::kError) return std::unexpected(reader.status());
  if (outcome != LogReader::Outcome::kEnd || reader.position().offset != offset) {
    return std::unexpected(Status::Corruption(reader.message()));
  }
  return before;
}

Result<std::string> Mender::ReadRecord(const FoundSegment& segment, uint64_t offset,
                                       RecordView* record) {
  std::string bytes(sizeof(RecordHeader), '\0');
  for (;;) {
    auto read = segment.file->ReadAt(offset, bytes);
    if (!read) return std::unexpected(read.error());
    uint64_t needed = 0;
    DecodeOutcome outcome = DecodeRecord(std::string_view(bytes).substr(0, *read), record, &needed);
    if (outcome == DecodeOutcome::kOk) return bytes;
    if (outcome != DecodeOutcome::kNeedMore || *read < bytes.size()) {
      return std::unexpected(Status::Corruption(
          "no sound record at " + PositionText({segment.id, static_cast<uint32_t>(offset)})));
    }
    bytes.resize(needed);
  }
}

Status Mender::FillBetween(const FoundSegment& segment, LogPosition stop, LogPosition next) {
  auto before = ReadUpTo(segment, stop.offset);
  if (!before) return before.error();
  RecordView record;
  auto bytes = ReadRecord(segment, next.offset, &record);
  if (!bytes) return bytes.error();
  uint32_t size = next.offset - stop.offset;
  // In the fresh stream at least one LSN is missing, and the filler takes the last of them.
  uint64_t lsn = IsFresh(segment) ? record.lsn - 1 : record.lsn;
  if (size < sizeof(RecordHeader) || size > kMaxPayloadSize ||
      (IsFresh(segment) && lsn <= before->lsn)) {
    return Status::Corruption("nothing is missing between " + PositionText(stop) + " and " +
                              PositionText(next) + " that could be left out");
  }
  FIRN_RETURN_IF_ERROR(SetAside(segment, stop.offset, next.offset));
  FIRN_RETURN_IF_ERROR(Write(segment, stop.offset,
                             MakeFiller({.size = size,
                                         .crc = record.previous_crc,
                                         .previous_crc = before->crc,
                                         .epoch = segment.header->epoch,
                                         .lsn = lsn,
                                         .wall_ms = before->wall_ms})));
  Say("left out " + std::to_string(size) + " bytes at " + PositionText(stop) + ", up to LSN " +
      std::to_string(lsn));
  return Status::Ok();
}

// What is damaged reaches to the end of its segment; `after` follows it.
Status Mender::FillToEnd(const FoundSegment& segment, LogPosition stop, const FoundSegment& after) {
  auto before = ReadUpTo(segment, stop.offset);
  if (!before) return before.error();
  uint64_t lsn = after.header->as_of_lsn - 1;
  if (lsn <= before->lsn) {
    return Status::Corruption("no record is missing before " + after.file->path() +
                              ", but it doesn't follow what is there");
  }
  FIRN_RETURN_IF_ERROR(SetAside(segment, stop.offset, segment.size_bytes));
  FIRN_RETURN_IF_ERROR(segment.file->Truncate(stop.offset));
  FIRN_RETURN_IF_ERROR(Write(segment, stop.offset,
                             MakeFiller({.size = sizeof(RecordHeader),
                                         .crc = after.header->previous_crc,
                                         .previous_crc = before->crc,
                                         .epoch = segment.header->epoch,
                                         .lsn = lsn,
                                         .wall_ms = before->wall_ms})));
  Say("left out what follows " + PositionText(stop) + " in its segment, up to LSN " +
      std::to_string(lsn));
  return Status::Ok();
}

// A segment whose header is broken and whose first record is sound, in the fresh stream.
Status Mender::WriteHeader(const FoundSegment& segment, LogPosition stop, LogPosition next) {
  RecordView record;
  auto bytes = ReadRecord(segment, next.offset, &record);
  if (!bytes) return bytes.error();
  const FoundSegment* neighbour = nullptr;
  for (const FoundSegment& other : found_) {
    if (!other.header || !IsFresh(other)) continue;
    if (neighbour == nullptr || other.id < segment.id) neighbour = &other;
  }
  const FoundSegment* before = stop.segment_id == segment.id ? nullptr : Find(stop.segment_id);
  if (neighbour == nullptr || next.offset != kSegmentHeaderSize) {
    return Status::Corruption(segment.file->path() +
                              ": too little is left to make its header from");
  }
  SegmentHeader header = {};
  header.segment_id = segment.id;
  header.previous_id = before == nullptr ? 0 : before->id;
  header.as_of_lsn = record.lsn;
  header.created_ms = static_cast<uint64_t>(record.wall_ms);
  header.directory_id = neighbour->header->directory_id;
  header.epoch = (neighbour->header->epoch & 0xffff0000) | record.epoch;
  header.previous_crc = record.previous_crc;
  header.capacity = segment.size_bytes;
  header.stream = static_cast<uint8_t>(Stream::kFresh);
  std::string block(kSegmentHeaderSize, '\0');
  EncodeSegmentHeader(header, block.data());
  FIRN_RETURN_IF_ERROR(SetAside(segment, 0, kSegmentHeaderSize));
  FIRN_RETURN_IF_ERROR(Write(segment, 0, block));
  Say("wrote the header of " + segment.file->path() + " anew");
  return Status::Ok();
}

Status Mender::CloseGap(const Finding& finding) {
  LogPosition stop = finding.position;
  LogPosition next = *finding.next_sound;
  const FoundSegment* segment = Find(stop.segment_id);
  const FoundSegment* target = Find(next.segment_id);
  CHECK(segment != nullptr && target != nullptr);
  if (!target->header) return WriteHeader(*target, stop, next);
  if (!segment->header) return Status::Corruption(segment->header.error().message());
  if (segment == target) return FillBetween(*segment, stop, next);
  if (target->header->previous_id == segment->id && next.offset == kSegmentHeaderSize) {
    return FillToEnd(*segment, stop, *target);
  }
  return Status::Corruption("the damage reaches from " + PositionText(stop) +
                            " over the begin of " + target->file->path());
}

// Everything but the keyspace, whose four bytes make the crc.
std::string FillerWithout(const FillerSpec& spec) {
  std::string payload(spec.size - sizeof(RecordHeader), '\0');
  std::string bytes(PaddedSize(spec.size), '\0');
  EncodeRecord({.kind = RecordKind::kFiller, .payload = payload},
               {.previous_crc = spec.previous_crc,
                .epoch = spec.epoch,
                .lsn = spec.lsn,
                .wall_ms = spec.wall_ms},
               bytes.data());
  return bytes;
}

}  // namespace

// A CRC is linear: each of the 32 bits of the keyspace turns a fixed set of bits of the crc. Which
// of them turn the crc into the one that is wanted comes out of Gaussian elimination.
std::string MakeFiller(const FillerSpec& spec) {
  CHECK(spec.size >= sizeof(RecordHeader));
  constexpr size_t kKeyspace = offsetof(RecordHeader, keyspace);
  std::string bytes = FillerWithout(spec);
  auto crc_with = [&](uint32_t keyspace) {
    StoreFixed(bytes.data() + kKeyspace, keyspace);
    return Crc32c(0, bytes.data() + 4, spec.size - 4);
  };
  const uint32_t base = crc_with(0);
  struct Row {
    uint32_t effect = 0;
    uint32_t bits = 0;
  };
  Row pivots[32];
  auto reduce = [&](Row row) {
    for (int bit = 31; bit >= 0; --bit) {
      if ((row.effect >> bit & 1) == 0 || pivots[bit].effect == 0) continue;
      row.effect ^= pivots[bit].effect;
      row.bits ^= pivots[bit].bits;
    }
    return row;
  };
  for (int i = 0; i < 32; ++i) {
    Row row = reduce({crc_with(1u << i) ^ base, 1u << i});
    CHECK(row.effect != 0);
    pivots[31 - __builtin_clz(row.effect)] = row;
  }
  Row solution = reduce({base ^ spec.crc, 0});
  CHECK(solution.effect == 0);
  CHECK(crc_with(solution.bits) == spec.crc);
  StoreFixed(bytes.data(), spec.crc);
  return bytes;
}

Result<MendLines> CutLog(io::FileSystem* file_system, const std::string& directory,
                         LogPosition at) {
  Mender mender(file_system, directory);
  if (Status status = mender.Open(); !status.ok()) return std::unexpected(status);
  if (Status status = mender.Cut(at); !status.ok()) return std::unexpected(status);
  return mender.TakeLines();
}

Result<MendLines> SkipDamage(io::FileSystem* file_system, const std::string& directory) {
  MendLines lines;
  for (int gaps = 0; gaps < kMaxGaps; ++gaps) {
    Mender mender(file_system, directory);
    if (Status status = mender.Open(); !status.ok()) return std::unexpected(status);
    LogReport report = CheckLog(mender.found());
    auto damage =
        std::find_if(report.findings.begin(), report.findings.end(), [](const Finding& finding) {
          return finding.kind == Finding::Kind::kDamage && finding.next_sound.has_value();
        });
    if (damage == report.findings.end()) return lines;
    if (Status status = mender.CloseGap(*damage); !status.ok()) {
      return std::unexpected(Status(
          status.code(),
          status.message() + "; this can be mended by --cut " + PositionText(damage->position)));
    }
    for (std::string& line : mender.TakeLines()) lines.push_back(std::move(line));
  }
  return std::unexpected(Status::Corruption(directory + ": more than " + std::to_string(kMaxGaps) +
                                            " gaps: restore a backup"));
}

}  // namespace firn::log
