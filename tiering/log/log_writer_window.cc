// LogWriter: the mapped window. Populating ahead of the tail, reading, letting go of its begin.
#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/check.h"
#include "tiering/log/log_writer.h"
#include "tiering/log/log_writer_private.h"

namespace firn::log {
namespace {

// How far ahead of the tail pages are populated. The next sync writes all of them, used or not, so
// it is about what is appended between two syncs.
constexpr uint64_t kLeastStep = 128 << 10;
constexpr uint64_t kLargestStep = 256 << 10;
// Of what is populated on the spot.
constexpr uint64_t kSpotStep = 64 << 10;
constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

}  // namespace

// --- populating

uint64_t LogWriter::PopulateStep() const {
  uint64_t most = std::clamp(options_.window_size_bytes / 4, kLeastStep, kLargestStep);
  uint64_t recent = bytes_at_last_sync_ == 0 ? appended_bytes_ : bytes_between_syncs_;
  return PageUp(std::clamp(recent, kLeastStep, most));
}

// Keeps between one and two steps ahead of the tail populated: in the active segment, then at the
// begin of the spare that comes next.
void LogWriter::UpdatePopulation() {
  populate_at_ = kNever;
  if (stopped_ || !poison_.ok() || window_.empty()) return;
  const MappingPtr& active = window_.back();
  uint64_t usable = std::min(active->capacity, options_.segment_size_bytes);
  uint64_t step = PopulateStep();
  uint64_t ahead = active->populated > tail_ ? active->populated - tail_ : 0;
  bool whole = active->populated >= usable;
  const MappingPtr& next = whole && !spares_.empty() ? spares_.front() : active;
  if ((whole && (spares_.empty() || next->populated != 0)) || next->populating) return;
  if (ahead >= step) {
    populate_at_ = active->populated - step;
    return;
  }
  StartPopulating(
      next,
      whole ? step : std::min(std::max(active->populated, PageUp(tail_)) + step, PageUp(usable)));
}

void LogWriter::StartPopulating(const MappingPtr& mapping, uint64_t end) {
  CHECK(mapping->populating == nullptr);
  end = std::min(end, mapping->capacity);
  if (mapping->populated >= end) return;
  std::shared_ptr<PopulateJob> job = NewPopulateJob(*mapping, end);
  mapping->populating = job;
  ++jobs_in_flight_;
  loop_->RunOnWorker(
      io::WorkPriority::kUrgent, [job] { job->Run(); },
      [this, mapping] { OnWorkerPopulated(mapping); });
}

std::shared_ptr<LogWriter::PopulateJob> LogWriter::NewPopulateJob(const Mapping& mapping,
                                                                  uint64_t end) const {
  // What has been appended must not be filled with zeros.
  CHECK(mapping.segment != active_ || active_ == nullptr || mapping.populated >= tail_);
  auto job = std::make_shared<PopulateJob>();
  job->file = mapping.file;
  job->address = mapping.address;
  job->begin = mapping.populated;
  job->end = end;
  job->lock = options_.lock_in_ram && !lock_failed_;
  return job;
}

void LogWriter::PopulateJob::Run() {
  int queued = kQueued;
  if (!state_.compare_exchange_strong(queued, kRunning)) return;
  status = file->Populate(address + begin, begin, end - begin);
  if (lock) locked = file->LockInRam(address + begin, end - begin);
  state_ = kDone;
  state_.notify_all();
}

void LogWriter::PopulateJob::Finish() {
  Run();
  state_.wait(kRunning);
}

Status LogWriter::OnPopulated(Mapping* mapping, const PopulateJob& job) {
  if (!job.locked) lock_failed_ = true;
  if (!job.status.ok()) {
    Poison(job.status);
    return poison_;
  }
  mapping->populated = std::max(mapping->populated, job.end);
  return Status::Ok();
}

void LogWriter::OnWorkerPopulated(const MappingPtr& shared) {
  --jobs_in_flight_;
  Mapping& mapping = *shared;
  const std::shared_ptr<PopulateJob> job = std::exchange(mapping.populating, nullptr);
  static_cast<void>(OnPopulated(&mapping, *job).ok());
  if (mapping.discarded) Discard(shared);
  if (mapping.segment != nullptr && mapping.segment->sealed) {
    Trim(shared);
  } else if (mapping.segment == active_ && active_ != nullptr && poison_.ok()) {
    limit_ = std::min({mapping.populated, mapping.capacity, options_.segment_size_bytes});
  }
  UpdatePopulation();
  NotifyRoom();
}

// The tail has caught up with the worker: one call for a stretch, not a fault for each page.
Status LogWriter::PopulateNow(Mapping* mapping, uint64_t end) {
  if (mapping->populating != nullptr) {
    mapping->populating->Finish();
    FIRN_RETURN_IF_ERROR(OnPopulated(mapping, *mapping->populating));
  }
  if (end <= mapping->populated) return Status::Ok();
  end = std::min((end + kSpotStep - 1) / kSpotStep * kSpotStep, mapping->capacity);
  const std::shared_ptr<PopulateJob> job = NewPopulateJob(*mapping, end);
  job->Run();
  return OnPopulated(mapping, *job);
}

// --- reading

std::string_view LogWriter::Warm(PackedPosition position) const {
  if (lock_failed_) return {};
  const Segment* segment = segments_->Of(position);
  if (segment == nullptr || window_.empty()) return {};
  const Mapping* mapping = window_.back().get();
  if (segment != active_) {
    auto at = std::lower_bound(window_.begin(), window_.end(), segment->id,
                               [](const MappingPtr& m, uint64_t id) { return m->id < id; });
    if (at == window_.end() || (*at)->segment != segment) return {};
    mapping = at->get();
  }
  uint64_t offset = segments_->OffsetOf(position);
  if (segment->id < hidden_below_.segment_id ||
      (segment->id == hidden_below_.segment_id && offset < hidden_below_.offset)) {
    return {};
  }
  if (offset < mapping->start || offset >= segment->end_offset) return {};
  return {mapping->address + offset, segment->end_offset - offset};
}

std::vector<std::pair<PackedPosition, PackedPosition>> LogWriter::WarmRanges() const {
  std::vector<std::pair<PackedPosition, PackedPosition>> ranges;
  if (lock_failed_) return ranges;
  for (const MappingPtr& mapping : window_) {
    const Segment& segment = *mapping->segment;
    if (segment.id < hidden_below_.segment_id) continue;
    const uint64_t hidden = segment.id == hidden_below_.segment_id ? hidden_below_.offset : 0;
    const uint64_t begin = std::max(mapping->start, hidden);
    if (begin >= segment.end_offset) continue;
    ranges.emplace_back(segments_->Pack(segment, begin),
                        segments_->Pack(segment, segment.end_offset));
  }
  return ranges;
}

// --- the window's begin

uint64_t LogWriter::WarmBytes() const {
  uint64_t bytes = 0;
  for (const MappingPtr& mapping : window_) {
    uint64_t end = mapping->segment->end_offset;
    if (end > mapping->start) bytes += end - mapping->start;
  }
  return bytes;
}

uint64_t LogWriter::window_bytes() const {
  uint64_t bytes = 0;
  for (const MappingPtr& mapping : window_) bytes += mapping->PopulatedBytes();
  for (const MappingPtr& spare : spares_) bytes += spare->PopulatedBytes();
  return bytes;
}

void LogWriter::AdvanceWindow() {
  uint64_t keep = lock_failed_ ? 0 : options_.window_size_bytes;
  uint64_t warm = WarmBytes();
  while (!window_.empty()) {
    Mapping* front = window_.front().get();
    uint64_t end = front->segment->end_offset;
    uint64_t rest = end > front->start ? end - front->start : 0;
    uint64_t step = std::min(rest, kWindowStep);
    if (warm < keep + step || !UnmapStep(front)) break;
    warm -= step;
    if (front->start == front->end) {
      --front->segment->holds;
      window_.pop_front();
    }
  }
  RunDrops();
}

// Unmaps the front's next step, or all that is left of a sealed one. False if it must stay.
bool LogWriter::UnmapStep(Mapping* mapping) {
  Segment* segment = mapping->segment;
  if (mapping->populating) return false;
  uint64_t next = mapping->start + kWindowStep;
  if (segment->sealed && next >= segment->end_offset) {
    if (segment->synced_offset < segment->end_offset) return false;
    next = mapping->end;
  } else if (next > segment->synced_offset || next > segment->end_offset) {
    return false;
  }
  mapping->file->Unmap(mapping->address + mapping->start, next - mapping->start);
  PushDrop(*mapping, mapping->start, next);
  mapping->start = next;
  return true;
}

// Whatever a worker is still populating stays mapped: the process ends, or the loop never runs
// again.
void LogWriter::UnmapAll() {
  for (const MappingPtr& mapping : window_) {
    if (mapping->populating || mapping->start == mapping->end) continue;
    mapping->file->Unmap(mapping->address + mapping->start, mapping->end - mapping->start);
    mapping->start = mapping->end;
  }
  if (stopped_) {
    for (const MappingPtr& mapping : window_) --mapping->segment->holds;
  } else {
    for (const MappingPtr& spare : spares_) {
      if (!spare->populating) spare->file->Unmap(spare->address, spare->end);
    }
  }
  window_.clear();
  drops_.clear();
}

void LogWriter::set_drop_cache_below(LogPosition position) {
  drop_below_ = position;
  RunDrops();
}

void LogWriter::PushDrop(const Mapping& mapping, uint64_t begin, uint64_t end) {
  if (!drops_.empty() && drops_.back().segment_id == mapping.id && drops_.back().end == begin) {
    drops_.back().end = end;
    return;
  }
  drops_.push_back({mapping.file, mapping.id, begin, end});
}

void LogWriter::RunDrops() {
  while (!stopped_ && !drops_.empty()) {
    Drop& drop = drops_.front();
    uint64_t end = drop.end;
    if (drop.segment_id > drop_below_.segment_id) return;
    if (drop.segment_id == drop_below_.segment_id)
      end = std::min(end, PageDown(drop_below_.offset));
    bool all = end == drop.end;
    if (end <= drop.begin || (!all && end - drop.begin < kWindowStep)) return;
    if (auto file = drop.file.lock()) {
      loop_->RunOnWorker(io::WorkPriority::kBackground,
                         [file, begin = drop.begin, end] { file->DropCache(begin, end - begin); },
                         {});
    }
    drop.begin = end;
    if (all) drops_.pop_front();
  }
}

}  // namespace firn::log
