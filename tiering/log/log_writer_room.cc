// LogWriter: where the next record goes. Spares, the limits of the disk, changing segments.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "tiering/log/log_writer.h"
#include "tiering/log/log_writer_private.h"

namespace firn::log {
namespace {

constexpr int64_t kRetryMicros = 100'000;
// A group's marks and a stamp may come on top of what was asked for.
constexpr uint64_t kMarksSize = 4 * PaddedSize(sizeof(RecordHeader));
// So many bytes are populated on the spot if need be; more are worth waiting for a worker.
// A page may take a tenth of a millisecond.
constexpr uint64_t kPopulateOnTheSpot = 128 << 10;
// A sealed segment gives back what it doesn't use, from here on.
constexpr uint64_t kWorthTrimming = 64 << 10;

}  // namespace

// --- spares

SegmentOrder LogWriter::NewOrder(uint64_t room_bytes) {
  SegmentOrder order = {.directory = options_.directory,
                        .id = AllocateSegmentId(),
                        .segment_size_bytes = options_.segment_size_bytes,
                        .room_bytes = room_bytes,
                        .log_bytes = segments_->total_bytes(),
                        .max_log_bytes = options_.max_bytes};
  for (const MappingPtr& spare : spares_) order.log_bytes += spare->capacity;
  return order;
}

Status LogWriter::MakeNow(uint64_t room_bytes, bool keep_reserve) {
  SegmentOrder order = NewOrder(room_bytes);
  order.keep_reserve = keep_reserve;
  auto made = MakeSegment(file_system_, order);
  if (!made) {
    Refuse(made.error(), room_bytes);
    return made.error();
  }
  Grant(std::move(*made));
  return Status::Ok();
}

// Keeps the spares complete, and makes the longer segment that somebody waits for. After a refusal
// not before the time to try again.
void LogWriter::EnsureSpares() {
  if (stopped_ || making_ || !poison_.ok()) return;
  if (refused_room_bytes_ != kNothingRefused && loop_->NowMicros() < next_try_micros_) return;
  if (wanted_room_bytes_ != 0 && SpareFor(wanted_room_bytes_) == nullptr) {
    StartMaking(wanted_room_bytes_);
  } else if (spares_.size() < kSpares) {
    StartMaking(0);
  }
  wanted_room_bytes_ = 0;
}

void LogWriter::StartMaking(uint64_t room_bytes) {
  making_ = true;
  ++jobs_in_flight_;
  auto job = std::make_shared<MakeJob>();
  job->order = NewOrder(room_bytes);
  loop_->RunOnWorker(
      io::WorkPriority::kUrgent,
      [file_system = file_system_, job] { job->result = MakeSegment(file_system, job->order); },
      [this, job] { OnMade(job.get()); });
}

void LogWriter::OnMade(MakeJob* job) {
  --jobs_in_flight_;
  making_ = false;
  if (job->result) {
    Grant(std::move(*job->result));
  } else {
    Refuse(job->result.error(), job->order.room_bytes);
  }
  EnsureSpares();
  UpdatePopulation();
  NotifyRoom();
}

void LogWriter::Grant(MadeSegment made) {
  auto mapping = std::make_shared<Mapping>();
  mapping->id = made.id;
  mapping->file = std::move(made.file);
  mapping->address = made.address;
  mapping->end = mapping->capacity = made.capacity;
  if (made.capacity - kSegmentHeaderSize >= refused_room_bytes_) {
    refused_room_bytes_ = kNothingRefused;
  }
  // A long segment is no smaller than an ordinary one: whatever was granted, there is room.
  out_of_space_ = false;
  if (!window_.empty() && mapping->id < window_.back()->id) {
    // It was under way when a later one had to be made at once, and can't follow that.
    Discard(mapping);
    return;
  }
  auto later = std::find_if(spares_.begin(), spares_.end(),
                            [&](const MappingPtr& spare) { return spare->id > mapping->id; });
  spares_.insert(later, std::move(mapping));
}

void LogWriter::Refuse(const Status& status, uint64_t room_bytes) {
  space_status_ = status;
  refused_room_bytes_ = std::min(refused_room_bytes_, room_bytes);
  if (room_bytes == 0) out_of_space_ = true;
  next_try_micros_ = loop_->NowMicros() + kRetryMicros;
}

void LogWriter::NotifyRoom() {
  if (!somebody_waits_ || !room_changed_) return;
  somebody_waits_ = false;
  room_changed_();
}

void LogWriter::OnSpaceFreed() {
  next_try_micros_ = 0;
  EnsureSpares();
}

bool LogWriter::short_of_space() const {
  if (out_of_space_) return true;
  if (options_.max_bytes == 0) return false;
  uint64_t bytes = segments_->total_bytes() + 2 * ordinary_capacity_;
  for (const MappingPtr& spare : spares_) bytes += spare->capacity;
  return bytes > OrdinaryLimit(options_.max_bytes);
}

void LogWriter::set_max_bytes(uint64_t bytes) {
  options_.max_bytes = bytes;
  OnSpaceFreed();
}

// --- room

// A record must also begin where a position can name it.
bool LogWriter::Fits(const Mapping& mapping, uint64_t at, uint64_t bytes) const {
  return at + bytes <= mapping.capacity && at < options_.segment_size_bytes;
}

// The oldest that is long enough: so a long one that nobody came for is used up in turn.
LogWriter::MappingPtr LogWriter::SpareFor(uint64_t bytes) const {
  for (const MappingPtr& spare : spares_) {
    if (Fits(*spare, kSegmentHeaderSize, bytes)) return spare;
  }
  return nullptr;
}

LogWriter::Room LogWriter::CheckRoom(uint64_t bytes, Urgency urgency) {
  CHECK(!stopped_);
  if (!poison_.ok()) return Room::kPoisoned;
  if (spares_.size() < kSpares) EnsureSpares();
  if (urgency == Urgency::kNormal && out_of_space_ && spares_.size() < kSpares) {
    somebody_waits_ = true;
    return Room::kNoSpace;
  }
  if (urgency == Urgency::kNormal && spares_.empty()) {
    // The rest of the last segment is for deletes, should there be no other.
    somebody_waits_ = true;
    return making_ ? Room::kWait : Room::kNoSpace;
  }
  uint64_t wanted = PaddedSize(bytes) + kMarksSize;
  if (Fits(*window_.back(), tail_, wanted)) return RoomIn(window_.back(), tail_ + wanted);
  if (MappingPtr spare = SpareFor(wanted)) return RoomIn(spare, kSegmentHeaderSize + wanted);

  bool ordinary = kSegmentHeaderSize + wanted <= ordinary_capacity_;
  bool refused = ordinary ? out_of_space_ : wanted >= refused_room_bytes_;
  somebody_waits_ = true;
  if (!ordinary) {
    wanted_room_bytes_ = std::max(wanted_room_bytes_, wanted);
    EnsureSpares();
    if (!making_) wanted_room_bytes_ = 0;
  }
  return refused || !making_ ? Room::kNoSpace : Room::kWait;
}

// Room up to `end` in a segment that has it, once it is populated.
LogWriter::Room LogWriter::RoomIn(const MappingPtr& mapping, uint64_t end) {
  if (end <= mapping->populated + kPopulateOnTheSpot) return Room::kReady;
  if (!mapping->populating) StartPopulating(mapping, PageUp(end));
  somebody_waits_ = true;
  return Room::kWait;
}

bool LogWriter::IsPopulated(uint64_t bytes) {
  if (tail_ + bytes <= limit_ || window_.empty()) return true;
  const MappingPtr& active = window_.back();
  const bool whole = active->populated >= std::min(active->capacity, options_.segment_size_bytes);
  if (!whole && !active->populating) UpdatePopulation();
  if (!whole) return !active->populating;
  return spares_.empty() || !spares_.front()->populating;
}

// The slow path of Append: makes [tail_, tail_ + bytes) usable.
Status LogWriter::MakeRoom(uint64_t bytes) {
  if (!poison_.ok()) return poison_;
  if (!Fits(*window_.back(), tail_, bytes)) FIRN_RETURN_IF_ERROR(SwitchSegment(bytes));
  Mapping* mapping = window_.back().get();
  if (tail_ + bytes > mapping->populated) {
    FIRN_RETURN_IF_ERROR(PopulateNow(mapping, tail_ + bytes));
  }
  limit_ = std::min({mapping->populated, mapping->capacity, options_.segment_size_bytes});
  return Status::Ok();
}

Status LogWriter::SwitchSegment(uint64_t bytes) {
  MappingPtr spare = SpareFor(bytes);
  if (spare == nullptr) {
    bool ordinary = kSegmentHeaderSize + bytes <= ordinary_capacity_;
    FIRN_RETURN_IF_ERROR(MakeNow(ordinary ? 0 : bytes, /*keep_reserve=*/true));
    spare = SpareFor(bytes);
    CHECK(spare != nullptr);
  }
  FIRN_RETURN_IF_ERROR(Activate(spare));
  TakeSpare(spare);
  EnsureSpares();
  UpdatePopulation();
  return Status::Ok();
}

// Takes a spare off the list, and those before it: their ids are lower, so they can't follow it.
void LogWriter::TakeSpare(const MappingPtr& spare) {
  for (;;) {
    MappingPtr front = std::move(spares_.front());
    spares_.pop_front();
    if (front == spare) return;
    front->discarded = true;
    if (!front->populating) Discard(front);
  }
}

void LogWriter::Discard(const MappingPtr& mapping) {
  mapping->file->Unmap(mapping->address, mapping->end);
  mapping->end = 0;
  ++jobs_in_flight_;
  // A file that stays is found by the next start, as a segment without a header.
  loop_->RunOnWorker(
      io::WorkPriority::kBackground,
      [file_system = file_system_, path = mapping->file->path()] {
        static_cast<void>(file_system->Remove(path).ok());
      },
      [this] { --jobs_in_flight_; });
}

// Ends the active segment, if there is one, and begins the next.
Status LogWriter::Activate(MappingPtr mapping) {
  FIRN_RETURN_IF_ERROR(PopulateNow(mapping.get(), kSegmentHeaderSize));
  Segment* segment = segments_->Add(mapping->id);
  if (segment == nullptr) {
    return {StatusCode::kNoSpace, options_.directory +
                                      ": the log has as many segments as its "
                                      "positions can name"};
  }
  if (active_ != nullptr) Seal();
  segment->stream = Stream::kFresh;
  segment->epoch = options_.epoch;
  segment->as_of_lsn = next_lsn_;
  segment->file = mapping->file;
  segment->end_offset = kSegmentHeaderSize;
  segment->file_bytes = mapping->capacity;
  ++segment->holds;  // the window's
  mapping->segment = segment;

  SegmentHeader header = {};
  header.segment_id = mapping->id;
  header.previous_id = previous_segment_id_;
  header.as_of_lsn = next_lsn_;
  header.created_ms = static_cast<uint64_t>(std::max<int64_t>(loop_->WallMillis(), 0));
  header.directory_id = options_.directory_id;
  header.epoch = options_.epoch;
  header.previous_crc = previous_crc_;
  header.capacity = mapping->capacity;
  header.stream = static_cast<uint8_t>(Stream::kFresh);
  EncodeSegmentHeader(header, mapping->address);

  previous_segment_id_ = mapping->id;
  active_ = segment;
  active_synced_offset_ = 0;
  base_ = mapping->address;
  tail_ = kSegmentHeaderSize;
  limit_ = 0;
  window_.push_back(std::move(mapping));
  return Status::Ok();
}

void LogWriter::Seal() {
  active_->sealed = true;
  if (active_synced_offset_ == active_->end_offset) {
    active_->synced_offset = PageUp(active_->end_offset);
  } else {
    unsynced_sealed_.push_back(active_);
  }
  if (!window_.back()->populating) Trim(window_.back());
}

// Gives back the end of a sealed segment's file that it doesn't use.
void LogWriter::Trim(const MappingPtr& mapping) {
  uint64_t end = PageUp(mapping->segment->end_offset);
  if (stopped_ || mapping->end - end < kWorthTrimming) return;
  mapping->file->Unmap(mapping->address + end, mapping->end - end);
  mapping->end = end;
  mapping->populated = std::min(mapping->populated, end);
  ++jobs_in_flight_;
  auto status = std::make_shared<Status>();
  loop_->RunOnWorker(
      io::WorkPriority::kBackground,
      [status, file = mapping->file, end] { *status = file->Truncate(end); },
      [this, status, id = mapping->id, end] {
        --jobs_in_flight_;
        // A failure costs room, no data.
        Segment* segment = segments_->ById(id);
        if (status->ok() && segment != nullptr) segment->file_bytes = end;
      });
}

void LogWriter::RemoveSpares() {
  for (const MappingPtr& spare : spares_) {
    spare->file->Unmap(spare->address, spare->end);
    // A spare that stays is found by the next start, as a segment without a header.
    static_cast<void>(file_system_->Remove(spare->file->path()).ok());
  }
  spares_.clear();
}

}  // namespace firn::log
