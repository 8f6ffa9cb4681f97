// Appending, groups, syncing, start and stop. Room is in log_writer_room.cc, the window in
// log_writer_window.cc.
#include "tiering/log/log_writer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/base/check.h"
#include "tiering/log/log_writer_private.h"

namespace firn::log {
namespace {

constexpr int64_t kStopTickMicros = 100'000;
constexpr uint64_t kMarkSize = PaddedSize(sizeof(RecordHeader));

Status StatusOf(const Result<LogWriter::Appended>& appended) {
  return appended ? Status::Ok() : appended.error();
}

}  // namespace

LogWriter::LogWriter(io::FileSystem* file_system, io::Loop* loop, SegmentTable* segments,
                     LogWriterOptions options)
    : file_system_(file_system),
      loop_(loop),
      segments_(segments),
      options_(std::move(options)),
      next_lsn_(options_.first_lsn),
      previous_crc_(options_.previous_crc),
      previous_segment_id_(options_.previous_segment_id),
      durable_lsn_(options_.first_lsn - 1),
      wanted_lsn_(options_.first_lsn - 1),
      next_segment_id_(options_.next_segment_id),
      refused_room_bytes_(kNothingRefused) {
  CHECK(options_.first_lsn >= 1);
  CHECK(options_.next_segment_id >= 1);
  sync_.writer = this;
  sync_.done = [](io::DiskRequest* request, int result) {
    static_cast<SyncRequest*>(request)->writer->OnSynced(result);
  };
}

LogWriter::~LogWriter() {
  if (!stopped_) UnmapAll();
}

Status LogWriter::Start() {
  CHECK(stopped_ && active_ == nullptr);
  FIRN_RETURN_IF_ERROR(MakeNow(0, /*keep_reserve=*/false));
  ordinary_capacity_ = spares_.front()->capacity;
  if (Status status = Activate(spares_.front()); !status.ok()) {
    RemoveSpares();
    return status;
  }
  spares_.pop_front();
  stopped_ = false;
  while (spares_.size() < kSpares) {
    Status status = MakeNow(0, /*keep_reserve=*/true);
    if (status.code() == StatusCode::kNoSpace) break;
    if (!status.ok()) {
      stopped_ = true;
      RemoveSpares();
      UnmapAll();
      active_ = nullptr;
      return status;
    }
  }
  UpdatePopulation();
  return Status::Ok();
}

void LogWriter::WaitForJobs() {
  while (sync_.in_flight || jobs_in_flight_ > 0) loop_->RunOnce(kStopTickMicros);
}

Status LogWriter::Stop() {
  CHECK(!stopped_);
  stopped_ = true;  // nothing new is started from here on
  WaitForJobs();
  Status status = SyncAllNow();
  if (status.ok() && !last_is_stamp_ && !in_group_ && Fits(*window_.back(), tail_, kMarkSize)) {
    status = StatusOf(Append({.kind = RecordKind::kStamp}, last_wall_ms_));
    if (status.ok()) status = SyncAllNow();
  }
  bool unused = active_->end_offset == kSegmentHeaderSize;
  UnmapAll();
  if (status.ok() && !unused) {
    // The rest of the allocation goes back; the bytes that count end before it.
    uint64_t end = PageUp(active_->end_offset);
    status = active_->file->Truncate(end);
    if (status.ok()) status = active_->file->Sync();
    if (status.ok()) active_->file_bytes = end;
  }
  active_->sealed = true;
  if (unused && active_->holds == 0) {
    std::string path = active_->file->path();
    segments_->Remove(active_);
    Status removed = file_system_->Remove(path);
    if (status.ok()) status = removed;
  }
  active_ = nullptr;
  RemoveSpares();
  Status directory = file_system_->SyncDirectory(options_.directory);
  return status.ok() ? directory : status;
}

Result<LogWriter::Appended> LogWriter::Append(const RecordSpec& spec, int64_t wall_ms) {
  uint32_t size = EncodedSize(spec);
  uint64_t padded = PaddedSize(size);
  if (tail_ + padded > limit_) [[unlikely]] {
    if (Status status = MakeRoom(padded); !status.ok()) {
      if (in_group_) group_status_ = status;
      return std::unexpected(std::move(status));
    }
  }
  last_wall_ms_ = std::max(last_wall_ms_, wall_ms);
  RecordContext context = {.previous_crc = previous_crc_,
                           .epoch = options_.epoch,
                           .lsn = next_lsn_,
                           .durable_lsn = durable_lsn_,
                           .wall_ms = last_wall_ms_,
                           .flags = static_cast<uint8_t>(in_group_ ? kFlagInGroup : 0)};
  previous_crc_ = EncodeRecord(spec, context, base_ + tail_);
  if (in_group_) group_.Add(previous_crc_);
  Appended appended = {
      .position = segments_->Pack(*active_, tail_), .lsn = next_lsn_, .size = size};
  ++next_lsn_;
  tail_ += padded;
  appended_bytes_ += padded;
  active_->end_offset = tail_;
  active_->last_lsn = appended.lsn;
  last_is_stamp_ = spec.kind == RecordKind::kStamp;
  active_->NoteRecord({.kind = spec.kind,
                       .lsn = appended.lsn,
                       .expiry_ms = spec.expiry_ms,
                       .padded_bytes = padded});
  if (tail_ >= populate_at_) [[unlikely]]
    UpdatePopulation();
  return appended;
}

Status LogWriter::BeginGroup(int64_t wall_ms) {
  CHECK(!in_group_);
  group_status_ = StatusOf(Append({.kind = RecordKind::kGroupBegin}, wall_ms));
  in_group_ = true;
  group_ = {};
  return group_status_;
}

Status LogWriter::EndGroup(int64_t wall_ms) {
  CHECK(in_group_);
  in_group_ = false;
  if (!group_status_.ok()) return std::exchange(group_status_, Status::Ok());
  char digest[GroupDigest::kEncodedSize];
  group_.Encode(digest);
  RecordSpec commit = {.kind = RecordKind::kGroupCommit,
                       .payload = std::string_view(digest, sizeof digest)};
  return StatusOf(Append(commit, wall_ms));
}

void LogWriter::StampIfIdle(int64_t wall_ms) {
  if (stopped_ || !poison_.ok() || in_group_ || last_is_stamp_) return;
  if (durable_lsn_ != appended_lsn()) return;
  // Not worth a segment: the next one begins with a header that proves as much.
  if (!Fits(*window_.back(), tail_, kMarkSize)) return;
  if (Append({.kind = RecordKind::kStamp}, wall_ms)) Sync();
}

LogPosition LogWriter::tail() const {
  if (active_ == nullptr) return {};
  return {.segment_id = active_->id, .offset = static_cast<uint32_t>(tail_)};
}

void LogWriter::Sync() {
  if (stopped_ || !poison_.ok() || durable_lsn_ == appended_lsn()) return;
  wanted_lsn_ = appended_lsn();
  if (!sync_.in_flight) StartSync();
}

// One file at a time, the oldest first: so what is durable is always a prefix.
void LogWriter::StartSync() {
  Segment* segment = unsynced_sealed_.empty() ? active_ : unsynced_sealed_.front();
  sync_.in_flight = true;
  sync_.segment = segment;
  sync_.offset = segment->end_offset;
  sync_.lsn = segment->last_lsn;
  sync_.total_bytes = appended_bytes_;
  if (segment == active_) {
    bytes_between_syncs_ = appended_bytes_ - bytes_at_last_sync_;
    bytes_at_last_sync_ = appended_bytes_;
  }
  loop_->Sync(segment->file.get(), &sync_);
}

void LogWriter::OnSynced(int result) {
  sync_.in_flight = false;
  if (result < 0) {
    Poison(Status::FromErrno(-result, "sync of " + sync_.segment->file->path()));
  } else {
    MarkSynced(sync_.segment, sync_.offset, sync_.lsn);
    if (!stopped_ && poison_.ok() && durable_lsn_ < wanted_lsn_) StartSync();
  }
  if (synced_) synced_();
}

void LogWriter::MarkSynced(Segment* segment, uint64_t offset, uint64_t lsn) {
  durable_lsn_ = std::max(durable_lsn_, lsn);
  if (segment == active_) active_synced_offset_ = offset;
  bool whole = segment->sealed && offset == segment->end_offset;
  segment->synced_offset =
      std::max(segment->synced_offset, whole ? PageUp(offset) : PageDown(offset));
  if (whole && !unsynced_sealed_.empty() && unsynced_sealed_.front() == segment) {
    unsynced_sealed_.pop_front();
  }
  if (durable_lsn_ == appended_lsn()) {
    synced_bytes_ = appended_bytes_;
  } else if (segment == active_) {
    synced_bytes_ = std::max(synced_bytes_, sync_.total_bytes);
  }
}

// For the stop: blocking, nothing is in flight.
Status LogWriter::SyncAllNow() {
  while (poison_.ok() && !unsynced_sealed_.empty()) {
    Segment* segment = unsynced_sealed_.front();
    if (Status status = segment->file->Sync(); !status.ok()) {
      Poison(status);
    } else {
      MarkSynced(segment, segment->end_offset, segment->last_lsn);
    }
  }
  if (poison_.ok() && durable_lsn_ < appended_lsn()) {
    if (Status status = active_->file->Sync(); !status.ok()) {
      Poison(status);
    } else {
      MarkSynced(active_, active_->end_offset, active_->last_lsn);
    }
  }
  return poison_;
}

// What the kernel failed to write it may have dropped: nothing that isn't durable now ever will be.
void LogWriter::Poison(Status status) {
  if (!poison_.ok()) return;
  poison_ = std::move(status);
  limit_ = 0;
  populate_at_ = std::numeric_limits<uint64_t>::max();
}

}  // namespace firn::log
