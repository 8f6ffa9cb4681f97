#include "tiering/snapshot/snapshot_view.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/siphash.h"
#include "engine/page/page_edit.h"
#include "tiering/index_meta.h"
#include "tiering/log/group_filter.h"
#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// Records are read in one go while the gaps between them are this short,
constexpr uint64_t kMostGap = 64 << 10;
// up to this much at a time, so that fetches find their turn at the device.
constexpr uint64_t kRunBytes = 512 << 10;
// Read behind the last known record of a run: most end within.
constexpr uint64_t kLastRecordGuess = 4096;
// Bytes of memory for each key of a range: its offset, in a vector that may be half empty.
constexpr uint64_t kBytesPerPlace = 8;
constexpr uint64_t kCheckEvery = 4096;

}  // namespace

SnapshotView::SnapshotView(std::unique_ptr<SnapshotSource> source)
    : source_(std::move(source)), scan_(&source_->segments), single_(&source_->segments) {}

SnapshotView::~SnapshotView() = default;

void SnapshotView::Release() {
  for (SnapshotSource::Segment& segment : source_->segments) segment.readable.file.reset();
  source_->index.reset();
}

Status SnapshotView::CheckCancelled() const {
  if (!cancelled_.load(std::memory_order_relaxed)) return Status::Ok();
  return Status(StatusCode::kBusy, "the snapshot was cancelled");
}

SnapshotPlace SnapshotView::PlaceOf(const log::LogPosition& position) const {
  auto it = std::lower_bound(
      source_->segments.begin(), source_->segments.end(), position.segment_id,
      [](const SnapshotSource::Segment& segment, uint64_t id) { return segment.readable.id < id; });
  if (it == source_->segments.end() || it->readable.id != position.segment_id) return 0;
  return MakePlace(static_cast<uint32_t>(it - source_->segments.begin()) + 1, position.offset);
}

std::string SnapshotView::Where(SnapshotPlace place) const {
  return source_->segments[SegmentOf(place) - 1].readable.file->path() + " at offset " +
         std::to_string(OffsetOf(place));
}

Status SnapshotView::Open() {
  IndexMeta meta;
  meta.replay_lsn = 1;
  auto bytes = source_->index->ReadMeta();
  if (!bytes) return bytes.error();
  if (!bytes->empty()) {
    auto decoded = DecodeIndexMeta(*bytes);
    if (!decoded) return decoded.error();
    meta = std::move(*decoded);
  }
  for (const SnapshotSource::Database& database : source_->databases) {
    overlay_.AddDatabase(database.keys_id, database.pages_id);
  }
  std::vector<log::ReadableSegment> tail;
  for (const SnapshotSource::Segment& segment : source_->segments) {
    if (segment.stream != log::Stream::kFresh) continue;
    if (segment.readable.id < meta.replay_position.segment_id) continue;
    if (segment.readable.id <= source_->end.segment_id) tail.push_back(segment.readable);
  }
  uint64_t offset = meta.replay_position.offset;
  // A segment that was never written to is removed by a clean stop.
  bool is_there = !tail.empty() && tail.front().id == meta.replay_position.segment_id;
  if (!is_there) offset = log::kSegmentHeaderSize;
  log::GroupFilter groups([this](const log::RecordView& record, const log::LogPosition& position) {
    return overlay_.Take(record, PlaceOf(position));
  });
  log::LogReader reader(
      tail, offset, {.check_first_link = meta.replay_crc != 0, .previous_crc = meta.replay_crc});
  uint64_t last_lsn = meta.replay_lsn > 0 ? meta.replay_lsn - 1 : 0;
  uint64_t records = 0;
  log::RecordView record;
  log::LogReader::Outcome outcome;
  while ((outcome = reader.Next(&record)) == log::LogReader::Outcome::kRecord) {
    FIRN_RETURN_IF_ERROR(groups.Take(record, reader.position()));
    last_lsn = record.lsn;
    if (++records % kCheckEvery == 0) FIRN_RETURN_IF_ERROR(CheckCancelled());
  }
  if (outcome == log::LogReader::Outcome::kError) return reader.status();
  if (outcome == log::LogReader::Outcome::kInvalid || last_lsn != source_->lsn) {
    return Status::Corruption("the log's tail ends at record " + std::to_string(last_lsn) +
                              " and not at " + std::to_string(source_->lsn) + " " +
                              reader.message());
  }
  return Status::Ok();
}

// --- all keys

// Where the newest images may lie: a place that is not the newest any more is told apart when its
// record is read, and one may be named twice.
Status SnapshotView::ForPlaces(uint32_t keyspace, const std::function<void(SnapshotPlace)>& take) {
  Status failed;
  uint64_t visited_roots = 0;
  Status status = source_->index->Visit(keyspace, 0, [&](const Index::Visited& visited) {
    if (++visited_roots % kCheckEvery == 0) failed = CheckCancelled();
    const SnapshotOverlay::Change* change =
        visited.is_long ? nullptr : overlay_.Find(keyspace, visited.key);
    bool superseded = change != nullptr && (change->deleted || change->image != 0);
    bool expired = !visited.is_long && change == nullptr && visited.root.expiry_ms >= 0 &&
                   visited.root.expiry_ms <= source_->now_ms;
    if (superseded || expired) return failed.ok();
    SnapshotPlace place = PlaceOf(visited.root.position);
    if (place == 0 && source_->has_stale_roots) return failed.ok();
    if (place == 0) {
      failed = PointsNowhere(visited.root.position);
    } else {
      take(place);
    }
    return failed.ok();
  });
  FIRN_RETURN_IF_ERROR(failed);
  FIRN_RETURN_IF_ERROR(status);
  overlay_.ForImages(keyspace, take);
  return Status::Ok();
}

Status SnapshotView::VisitKeys(uint32_t db, const Visit& visit) {
  const SnapshotSource::Database& database = source_->databases[db];
  uint64_t most = std::max<uint64_t>(1, source_->memory_bytes / kBytesPerPlace);
  size_t end = source_->segments.size() + 1;
  std::vector<uint64_t> counts(end, 0);
  if (database.keys <= most) return VisitRange(database.keys_id, {1, end}, counts, visit);
  FIRN_RETURN_IF_ERROR(
      ForPlaces(database.keys_id, [&](SnapshotPlace place) { ++counts[SegmentOf(place)]; }));
  for (size_t first = 1; first < end;) {
    uint64_t keys = counts[first];
    size_t last = first + 1;
    while (last < end && keys + counts[last] <= most) keys += counts[last++];
    if (keys > 0) {
      FIRN_RETURN_IF_ERROR(VisitRange(database.keys_id, {first, last}, counts, visit));
    }
    first = last;
  }
  return Status::Ok();
}

Status SnapshotView::VisitRange(uint32_t keyspace, SegmentRange range,
                                const std::vector<uint64_t>& counts, const Visit& visit) {
  Places places(range.end - range.first);
  for (size_t i = range.first; i < range.end; ++i) places[i - range.first].reserve(counts[i]);
  FIRN_RETURN_IF_ERROR(ForPlaces(keyspace, [&](SnapshotPlace place) {
    uint32_t segment = SegmentOf(place);
    if (segment < range.first || segment >= range.end) return;
    places[segment - range.first].push_back(OffsetOf(place) / log::kRecordAlignment);
  }));
  for (size_t i = range.first; i < range.end; ++i) {
    std::vector<uint32_t> units = std::move(places[i - range.first]);
    FIRN_RETURN_IF_ERROR(VisitSegment(keyspace, static_cast<uint32_t>(i), &units, visit));
  }
  return Status::Ok();
}

Status SnapshotView::VisitSegment(uint32_t keyspace, uint32_t segment, std::vector<uint32_t>* units,
                                  const Visit& visit) {
  std::sort(units->begin(), units->end());
  units->erase(std::unique(units->begin(), units->end()), units->end());
  auto offset_of = [&](size_t i) { return uint64_t{(*units)[i]} * log::kRecordAlignment; };
  uint64_t ahead_to = 0;
  for (size_t i = 0; i < units->size(); ++i) {
    FIRN_RETURN_IF_ERROR(CheckCancelled());
    uint64_t offset = offset_of(i);
    if (offset >= ahead_to) {
      size_t last = i;
      while (last + 1 < units->size() && offset_of(last + 1) - offset_of(last) <= kMostGap &&
             offset_of(last + 1) - offset <= kRunBytes) {
        ++last;
      }
      ahead_to = offset_of(last) + kLastRecordGuess;
    }
    SnapshotPlace place = MakePlace(segment, static_cast<uint32_t>(offset));
    log::RecordView record;
    FIRN_RETURN_IF_ERROR(scan_.Read(place, ahead_to, &record));
    FIRN_RETURN_IF_ERROR(VisitRecord(keyspace, place, record, visit));
  }
  return Status::Ok();
}

Status SnapshotView::VisitRecord(uint32_t keyspace, SnapshotPlace place,
                                 const log::RecordView& record, const Visit& visit) {
  if (record.kind != log::RecordKind::kImage || record.keyspace != keyspace) {
    return Status::Corruption("not the record that was to be found: " + Where(place));
  }
  auto type = static_cast<ValueType>(record.type);
  if (type != ValueType::kString && !HasRoot(type)) return Status::Ok();
  const SnapshotOverlay::Change* change = overlay_.Find(keyspace, record.key);
  if (change != nullptr && (change->deleted || (change->image != 0 && change->image != place))) {
    return Status::Ok();
  }
  auto image = ImageOf(record, place);
  if (!image) return image.error();
  // The reader's next call may take the key's bytes away only after the visit: effects have a
  // reader of their own.
  if (change != nullptr && change->first_effect != 0) {
    FIRN_RETURN_IF_ERROR(ApplyEffects(*change, {.keyspace = keyspace, .key = record.key}, &*image));
  }
  if (image->expiry_ms >= 0 && image->expiry_ms <= source_->now_ms) return Status::Ok();
  return visit({.key = record.key,
                .type = image->type,
                .expiry_ms = image->expiry_ms,
                .is_integer = image->is_integer,
                .integer = image->integer,
                .bytes = image->bytes});
}

// --- single values

Result<SnapshotView::Image> SnapshotView::ImageOf(const log::RecordView& record,
                                                  SnapshotPlace place) const {
  Image image{.type = static_cast<ValueType>(record.type),
              .expiry_ms = record.expiry_ms,
              .is_integer = record.encoding == log::PayloadEncoding::kInteger,
              .lsn = record.lsn};
  auto raw = log::UncompressPayload(record);
  if (!raw) return std::unexpected(raw.error());
  if (image.is_integer) {
    if (raw->size() != sizeof(int64_t) || image.type != ValueType::kString) {
      return std::unexpected(Status::Corruption("an integer of a wrong size: " + Where(place)));
    }
    image.integer = LoadFixed<int64_t>(raw->data());
  } else {
    image.bytes = std::move(*raw);
  }
  return image;
}

Result<std::optional<std::string>> SnapshotView::ReadPage(uint32_t db, uint64_t value_id,
                                                          uint32_t page) {
  if (Status cancelled = CheckCancelled(); !cancelled.ok()) return std::unexpected(cancelled);
  uint32_t keyspace = source_->databases[db].pages_id;
  PageKey key(value_id, page);
  const SnapshotOverlay::Change* change = overlay_.Find(keyspace, key.view());
  if (change != nullptr && change->deleted) return std::nullopt;
  SnapshotPlace place = change != nullptr ? change->image : 0;
  uint64_t ahead = kLastRecordGuess + sizeof(log::RecordHeader);
  if (place == 0) {
    auto root = source_->index->Find(
        {keyspace, SipHash13(source_->secret, key.view()), std::string(key.view())});
    if (!root) return std::unexpected(root.error());
    if (!root->has_value()) return std::nullopt;
    place = PlaceOf((*root)->position);
    ahead = (*root)->size;
    if (place == 0 && source_->has_stale_roots) return std::nullopt;
    if (place == 0) {
      return std::unexpected(PointsNowhere((*root)->position));
    }
  }
  log::RecordView record;
  Status status = single_.Read(place, OffsetOf(place) + ahead, &record);
  if (!status.ok()) return std::unexpected(status);
  if (record.kind != log::RecordKind::kImage || record.keyspace != keyspace ||
      record.key != key.view()) {
    return std::unexpected(
        Status::Corruption("not the record that was to be found: " + Where(place)));
  }
  auto image = ImageOf(record, place);
  if (!image) return std::unexpected(image.error());
  if (change != nullptr && change->first_effect != 0) {
    status = ApplyEffects(*change, {.value_id = value_id, .page = page}, &*image);
    if (!status.ok()) return std::unexpected(status);
  }
  return std::move(image->bytes);
}

// --- effects

Status SnapshotView::ApplyEffects(const SnapshotOverlay::Change& change, const Target& target,
                                  Image* image) {
  uint32_t number = change.first_effect;
  while (number != 0) {
    const SnapshotOverlay::Effect& effect = overlay_.effect(number);
    number = effect.next;
    if (effect.lsn <= image->lsn) continue;
    std::string_view payload = effect.payload;
    if (payload.empty()) {
      log::RecordView record;
      FIRN_RETURN_IF_ERROR(
          single_.Read(effect.place, OffsetOf(effect.place) + kLastRecordGuess, &record));
      if (record.kind != log::RecordKind::kEffect || record.lsn != effect.lsn) {
        return Status::Corruption("not the record that was to be found: " + Where(effect.place));
      }
      payload = record.payload;
    }
    Status status = ApplyEffect(payload, target, image);
    if (!status.ok()) {
      return Status::Corruption(status.message() + ": " + Where(effect.place));
    }
  }
  return Status::Ok();
}

namespace {

// Fails if the splices don't fit.
Status SpliceString(std::span<const Splice> splices, std::string* bytes) {
  uint64_t new_size = 0;
  if (!CheckSplices(splices, bytes->size(), &new_size) || new_size > log::kMaxPayloadSize) {
    return Status::Corruption("an effect that does not fit its page");
  }
  uint64_t size = bytes->size();
  bytes->resize(std::max(size, new_size));
  ApplySplices(splices, bytes->data(), size);
  bytes->resize(new_size);
  return Status::Ok();
}

}  // namespace

Status SnapshotView::ApplyEffect(std::string_view payload, const Target& target, Image* image) {
  const Status impossible = Status::Corruption("an effect with impossible operands");
  ByteReader operands(payload);
  auto code = static_cast<log::EffectCode>(operands.Fixed<uint8_t>());
  if (code == log::EffectCode::kSplices) {
    if (image->is_integer) return impossible;
    log::SpliceEffectReader parts(payload);
    while (parts.Next()) {
      bool is_meant =
          parts.page() == target.page && (target.page == 0 || parts.value_id() == target.value_id);
      if (is_meant) FIRN_RETURN_IF_ERROR(SpliceString(parts.splices(), &image->bytes));
    }
    return parts.ok() ? Status::Ok() : impossible;
  }
  if (code == log::EffectCode::kSetExpiry) {
    image->expiry_ms = operands.Fixed<int64_t>();
    return operands.ok() ? Status::Ok() : impossible;
  }
  uint64_t offset = image->bytes.size();
  if (code == log::EffectCode::kSetRange) {
    offset = operands.Fixed<uint64_t>();
  } else if (code != log::EffectCode::kAppend) {
    return Status::Corruption("an effect of an unknown kind");
  }
  std::string_view bytes = operands.Bytes(operands.remaining());
  if (!operands.ok() || image->is_integer || offset > log::kMaxPayloadSize ||
      offset + bytes.size() > log::kMaxPayloadSize) {
    return impossible;
  }
  if (image->bytes.size() < offset + bytes.size()) image->bytes.resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), image->bytes.begin() + static_cast<ptrdiff_t>(offset));
  return Status::Ok();
}

}  // namespace firn
