#include "tiering/point_in_time.h"

#include <algorithm>
#include <vector>

#include "tiering/identity.h"
#include "tiering/index/index.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment_list.h"
#include "tiering/log_archiver.h"

namespace firn {
namespace {

bool IsMark(log::RecordKind kind) {
  return kind == log::RecordKind::kStamp || kind == log::RecordKind::kFiller;
}

// A record, and where it ends.
struct LogEnd {
  uint64_t segment_id = 0;  // 0: there is none
  uint64_t offset = 0;
  uint32_t crc = 0;
  uint64_t lsn = 0;
  int64_t unix_ms = 0;
};

class TimeTraveller {
 public:
  TimeTraveller(io::FileSystem* files, const PointInTimeOptions& options)
      : files_(*files), options_(options), log_directory_(options.directory + "/log") {}

  Result<PointInTimeReport> Run() {
    Status status = FindEnd();
    if (status.ok()) status = FindFollowing();
    if (status.ok()) status = FindCut();
    if (status.ok()) status = TakeSegments();
    if (!status.ok()) return std::unexpected(std::move(status));
    report_.lsn = last_.lsn;
    report_.unix_ms = last_.unix_ms;
    return report_;
  }

 private:
  // A segment that is read, and taken if it is the archive's.
  struct Source {
    log::ReadableSegment readable;
    bool is_archived = false;
  };

  bool IsBeyond(const LogEnd& record) const {
    if (options_.target.lsn) return record.lsn > *options_.target.lsn;
    return record.unix_ms > *options_.target.unix_ms;
  }

  static LogEnd EndOf(const log::RecordView& record, const log::LogPosition& position) {
    return {.segment_id = position.segment_id,
            .offset = position.offset + log::PaddedSize(record.size),
            .crc = record.crc,
            .lsn = record.lsn,
            .unix_ms = record.wall_ms};
  }

  // The end of the directory's own log.
  Status FindEnd() {
    auto identity = ReadIdentity(&files_, options_.directory);
    if (!identity && identity.error().code() == StatusCode::kNotFound) {
      return Status::Invalid(options_.directory +
                             " holds no data: recover-until begins with a backup");
    }
    if (!identity) return identity.error();
    if (!identity->durable) {
      return Status::Invalid(options_.directory + " was used with appendonly no");
    }
    identity_ = *identity;
    auto found = log::ListSegments(&files_, log_directory_, {.writable = false});
    if (!found) return found.error();
    for (auto segment = found->rbegin(); segment != found->rend(); ++segment) {
      if (segment->IsSpare()) continue;
      if (!segment->header) return segment->header.error();
      if (segment->header->stream != static_cast<uint8_t>(log::Stream::kFresh)) continue;
      const log::ReadableSegment readable{segment->id, segment->file, segment->size_bytes};
      if (own_.id == 0) own_ = readable;
      FIRN_RETURN_IF_ERROR(ReadEnd(readable));
      if (end_.segment_id != 0) break;
    }
    if (changed_.segment_id == 0 || !IsBeyond(changed_)) return {};
    return Status::Invalid(options_.directory +
                           " holds later changes than recover-until asks for already: begin with "
                           "a backup that was made before that moment");
  }

  Status ReadEnd(const log::ReadableSegment& segment) {
    log::LogReader reader({segment}, log::kSegmentHeaderSize, {});
    log::RecordView record;
    log::LogReader::Outcome outcome;
    while ((outcome = reader.Next(&record)) == log::LogReader::Outcome::kRecord) {
      end_ = EndOf(record, reader.position());
      if (!IsMark(record.kind)) changed_ = end_;
    }
    last_ = end_;
    return reader.status();
  }

  // The segments from the directory's last one on.
  Status FindFollowing() {
    auto names = files_.List(options_.archive);
    if (!names) return names.error();
    std::vector<uint64_t> ids;
    for (const std::string& name : *names) {
      uint64_t id;
      if (log::ParseSegmentFileName(name, &id) && id >= own_.id) ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end());
    if (own_.id != 0 && (ids.empty() || ids.front() != own_.id)) {
      sources_.push_back({.readable = own_});
    }
    for (uint64_t id : ids) FIRN_RETURN_IF_ERROR(AddArchived(id));
    return {};
  }

  Status AddArchived(uint64_t id) {
    const std::string path = options_.archive + "/" + log::SegmentFileName(id);
    auto file = files_.Open(path, {.writable = false});
    if (!file) return file.error();
    auto size = (*file)->Size();
    if (!size) return size.error();
    std::string block(log::kSegmentHeaderSize, '\0');
    auto read = (*file)->ReadAt(0, block);
    if (!read) return read.error();
    block.resize(*read);
    auto header = log::DecodeSegmentHeader(block, path);
    if (!header) {
      if (header.error().code() == StatusCode::kNotFound) return {};  // a spare
      return header.error();
    }
    if (header->directory_id != identity_.directory_id) {
      return Status::Invalid(path + " belongs to the log of another data directory");
    }
    // What compaction made is in the log of before.
    if (header->stream != static_cast<uint8_t>(log::Stream::kFresh)) return {};
    std::shared_ptr<io::File> shared = std::move(*file);
    sources_.push_back({.readable = {id, std::move(shared), *size}, .is_archived = true});
    return {};
  }

  // Reads up to the first record beyond the target.
  Status FindCut() {
    std::vector<log::ReadableSegment> segments;
    for (const Source& source : sources_) segments.push_back(source.readable);
    if (segments.empty()) return {};
    const bool begins_behind = end_.segment_id != own_.id && end_.segment_id != 0;
    log::LogReader reader(segments, log::kSegmentHeaderSize,
                          {.check_first_link = begins_behind, .previous_crc = end_.crc});
    log::RecordView record;
    log::LogReader::Outcome outcome;
    bool met_end = end_.segment_id != own_.id;
    bool in_group = false;
    LogEnd before_group;
    LogEnd previous;
    while ((outcome = reader.Next(&record)) == log::LogReader::Outcome::kRecord) {
      const LogEnd here = EndOf(record, reader.position());
      if (here.segment_id == end_.segment_id && here.offset == end_.offset) {
        met_end = true;
        if (here.crc != end_.crc) return OtherHistory();
      }
      if (IsBeyond(here)) {
        report_.is_reached = true;
        break;
      }
      if (record.kind == log::RecordKind::kGroupBegin) {
        in_group = true;
        before_group = previous;
      } else if (record.kind == log::RecordKind::kGroupCommit ||
                 (record.flags & log::kFlagInGroup) == 0) {
        in_group = false;
      }
      highest_offset_ = std::max<uint64_t>(highest_offset_, reader.position().offset);
      previous = here;
    }
    if (outcome == log::LogReader::Outcome::kError) return reader.status();
    const bool is_last = reader.position().segment_id == segments.back().id;
    if (outcome == log::LogReader::Outcome::kInvalid &&
        (!is_last || reader.FindProofOfDamage(previous.lsn + 1))) {
      return Status::Corruption("The log can't be followed to that moment: " + reader.message());
    }
    if (!met_end) return OtherHistory();
    cut_ = in_group ? before_group : previous;
    if (options_.target.lsn && previous.lsn >= *options_.target.lsn) report_.is_reached = true;
    return {};
  }

  Status OtherHistory() const {
    return Status::Invalid(sources_.front().readable.file->path() +
                           " does not continue the log of " + options_.directory);
  }

  // Segment by segment in the order of the log: what an interruption leaves is a shorter log.
  Status TakeSegments() {
    uint64_t added = 0;
    for (const Source& source : sources_) {
      if (source.is_archived && source.readable.id <= cut_.segment_id) {
        const uint64_t had = source.readable.id == own_.id ? end_.offset : 0;
        added += std::max(UsedOf(source), had) - had;
      }
    }
    report_.bytes = added;
    // The segments may have grown since.
    while (highest_offset_ >> identity_.segment_size_log2 != 0) ++identity_.segment_size_log2;
    FIRN_RETURN_IF_ERROR(WriteIdentity(&files_, options_.directory, identity_));
    if (added > options_.replay_limit_bytes) {
      FIRN_RETURN_IF_ERROR(Index::Destroy({.directory = options_.directory + "/index"}));
    }
    for (const Source& source : sources_) {
      const log::ReadableSegment& segment = source.readable;
      if (!source.is_archived || segment.id > cut_.segment_id) continue;
      // The last one will be cut and belongs to this directory alone.
      FIRN_RETURN_IF_ERROR(KeepSegment(&files_,
                                       {.file = segment.file,
                                        .id = segment.id,
                                        .bytes = UsedOf(source),
                                        .may_link = segment.id != cut_.segment_id},
                                       log_directory_));
      ++report_.segments;
    }
    if (report_.segments > 0 && cut_.lsn != 0) last_ = cut_;
    return {};
  }

  uint64_t UsedOf(const Source& source) const {
    return source.readable.id == cut_.segment_id ? cut_.offset : source.readable.end_offset;
  }

  io::FileSystem& files_;
  const PointInTimeOptions options_;
  const std::string log_directory_;
  Identity identity_;
  log::ReadableSegment own_;  // the directory's last one of the fresh stream
  LogEnd end_;                // of the directory's log
  LogEnd changed_;            // of its last change
  std::vector<Source> sources_;
  LogEnd cut_;
  uint64_t highest_offset_ = 0;  // at which a record begins
  LogEnd last_;
  PointInTimeReport report_;
};

}  // namespace

Result<PointInTimeReport> BringLogTo(io::FileSystem* files, const PointInTimeOptions& options) {
  return TimeTraveller(files, options).Run();
}

}  // namespace firn
