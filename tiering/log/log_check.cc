#include "tiering/log/log_check.h"

#include <algorithm>
#include <utility>

#include "tiering/log/log_reader.h"

namespace firn::log {
namespace {

// Checks one chain: the fresh stream, or one cold segment. (A chain of cold segments may break
// where compaction was interrupted; nothing refers to what lies there.)
class ChainCheck {
 public:
  ChainCheck(Stream stream, std::vector<ReadableSegment> segments, LogReport* report)
      : stream_(stream), segments_(std::move(segments)), report_(report) {}

  void Run() {
    LogPosition from = {segments_.empty() ? 0 : segments_[0].id, kSegmentHeaderSize};
    for (std::optional<LogPosition> next = from; next;) {
      if (report_->findings.size() >= kMaxFindings) {
        report_->has_more = true;
        return;
      }
      next = ReadFrom(*next);
    }
  }

 private:
  // Reads up to the end or a finding. Returns where to go on behind the latter.
  std::optional<LogPosition> ReadFrom(LogPosition from) {
    size_t first = IndexOf(from.segment_id);
    std::vector<ReadableSegment> rest(segments_.begin() + static_cast<ptrdiff_t>(first),
                                      segments_.end());
    if (rest.empty()) return std::nullopt;
    LogReader reader(rest, from.offset, {.allow_gaps = true});
    RecordView record;
    LogReader::Outcome outcome;
    while ((outcome = reader.Next(&record)) == LogReader::Outcome::kRecord) {
      Note(record, reader.position());
    }
    if (outcome == LogReader::Outcome::kError) {
      Add(Finding::Kind::kDamage, reader.position(), reader.status().message(), {});
      return SegmentAfter(reader.position().segment_id);
    }
    return JudgeStop(&reader, outcome, from);
  }

  std::optional<LogPosition> JudgeStop(LogReader* reader, LogReader::Outcome outcome,
                                       LogPosition from) {
    bool fresh = stream_ == Stream::kFresh;
    auto next = reader->FindNextSound();
    bool damage = fresh ? reader->FindProofOfDamage(last_lsn_ + 1).has_value() : next.has_value();
    if (outcome == LogReader::Outcome::kEnd && !damage && !next) {
      if (in_group_) {
        Add(Finding::Kind::kTornTail, group_begin_,
            Place(group_begin_) + ": the group that begins here was never committed", {});
      }
      return std::nullopt;
    }
    std::string message = reader->message().empty()
                              ? Place(reader->position()) + ": zeros instead of records"
                              : reader->message();
    in_group_ = false;
    if (!damage) {
      Add(Finding::Kind::kTornTail, reader->position(), message, {});
      return std::nullopt;
    }
    Add(Finding::Kind::kDamage, reader->position(), message, next);
    // A segment whose header is broken can't be entered at its records.
    if (next && !HeaderIsSound(next->segment_id)) return SegmentAfter(next->segment_id);
    if (!next) return SegmentAfter(std::max(reader->position().segment_id, from.segment_id));
    return next;
  }

  void Note(const RecordView& record, LogPosition position) {
    ++report_->records;
    report_->record_bytes += PaddedSize(record.size);
    last_lsn_ = record.lsn;
    report_->last_lsn = std::max(report_->last_lsn, record.lsn);
    if (record.kind == RecordKind::kGroupBegin) {
      in_group_ = true;
      group_begin_ = position;
      digest_ = {};
    } else if (record.kind == RecordKind::kGroupCommit) {
      // Without its begin it lies behind a finding, which tells of it.
      if (in_group_ && !digest_.Matches(record.payload)) {
        Add(Finding::Kind::kDamage, position,
            Place(position) + ": the commit doesn't match the records of its group, which begins " +
                "at offset " + std::to_string(group_begin_.offset) + " of segment " +
                SegmentFileName(group_begin_.segment_id),
            {});
      }
      report_->groups += in_group_;
      in_group_ = false;
    } else if ((record.flags & kFlagInGroup) == 0) {
      in_group_ = false;  // abandoned
    } else if (in_group_) {
      digest_.Add(record.crc);
    }
  }

  void Add(Finding::Kind kind, LogPosition position, std::string message,
           std::optional<LogPosition> next) {
    report_->findings.push_back({kind, stream_, position, std::move(message), next});
  }

  std::string Place(LogPosition position) const {
    return segments_[IndexOf(position.segment_id)].file->path() + " at offset " +
           std::to_string(position.offset);
  }
  size_t IndexOf(uint64_t id) const {
    size_t index = 0;
    while (index < segments_.size() && segments_[index].id < id) ++index;
    return index;
  }
  std::optional<LogPosition> SegmentAfter(uint64_t id) const {
    size_t index = IndexOf(id + 1);
    if (index == segments_.size()) return std::nullopt;
    return LogPosition{segments_[index].id, kSegmentHeaderSize};
  }
  bool HeaderIsSound(uint64_t id) const {
    const ReadableSegment& segment = segments_[IndexOf(id)];
    std::string block(kSegmentHeaderSize, '\0');
    auto read = segment.file->ReadAt(0, block);
    return read && DecodeSegmentHeader(block, segment.file->path());
  }

  const Stream stream_;
  const std::vector<ReadableSegment> segments_;
  LogReport* const report_;
  uint64_t last_lsn_ = 0;
  bool in_group_ = false;
  LogPosition group_begin_;
  GroupDigest digest_;
};

uint64_t CountGaps(const std::vector<FoundSegment>& found) {
  uint64_t gaps = 0;
  uint64_t previous_id = 0;
  for (const FoundSegment& segment : found) {
    if (!segment.header || segment.header->stream != static_cast<uint8_t>(Stream::kFresh)) continue;
    gaps += segment.header->previous_id != previous_id;
    previous_id = segment.id;
  }
  return gaps;
}

}  // namespace

bool LogReport::HasDamage() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.kind == Finding::Kind::kDamage; });
}

LogReport CheckLog(const std::vector<FoundSegment>& found) {
  LogReport report;
  for (const FoundSegment& segment : found) (segment.IsSpare() ? report.spares : report.segments)++;
  report.gaps = CountGaps(found);
  ChainCheck(Stream::kFresh, SegmentsOf(Stream::kFresh, found), &report).Run();
  for (ReadableSegment& segment : SegmentsOf(Stream::kCold, found)) {
    ChainCheck(Stream::kCold, {std::move(segment)}, &report).Run();
  }
  return report;
}

}  // namespace firn::log
