#include "tiering/recovery.h"

#include <algorithm>
#include <bit>

#include "engine/base/check.h"
#include "tiering/compactor.h"
#include "tiering/index_rebuild.h"
#include "tiering/indexer.h"
#include "tiering/log_archiver.h"
#include "tiering/map_rebuild.h"
#include "tiering/memory_shares.h"

namespace firn {
namespace {

constexpr uint64_t kProgressEvery = 1 << 16;

// Removes the cold tier that a server without durability left behind.
Status WipeVolatileData(io::FileSystem* files, const std::string& directory) {
  for (const char* part : {"/log", "/index"}) {
    std::string folder = directory + part;
    if (!files->Exists(folder)) continue;
    auto names = files->List(folder);
    if (!names) return names.error();
    for (const std::string& name : *names) {
      FIRN_RETURN_IF_ERROR(files->Remove(folder + "/" + name));
    }
    // Before anything can say that what is found here is durable data.
    FIRN_RETURN_IF_ERROR(files->SyncDirectory(folder));
  }
  return Status::Ok();
}

}  // namespace

Status Recovery::Run() {
  int64_t begin = store_.environment_.loop->NowMicros();
  log_directory_ = store_.options_.directory + "/log";
  FIRN_RETURN_IF_ERROR(LoadIdentity());
  FIRN_RETURN_IF_ERROR(OpenSegments());
  FIRN_RETURN_IF_ERROR(OpenIndex());
  FIRN_RETURN_IF_ERROR(Replay());
  FIRN_RETURN_IF_ERROR(StartLog());
  // The log alone must tell which keyspace a database is.
  if (names_changed_ || !has_meta_) store_.LogKeyspaceNames();
  store_.environment_.loop->RunOnce(0);
  int64_t micros = store_.environment_.loop->NowMicros() - begin;
  store_.stats_.replay_us = static_cast<uint64_t>(micros);
  store_.Log(2, "Log replayed: " + std::to_string(store_.stats_.replayed_records) + " records, " +
                    std::to_string(store_.stats_.replayed_bytes) + " bytes in " +
                    std::to_string(micros / 1000) + " ms");
  return Status::Ok();
}

Status Recovery::LoadIdentity() {
  io::FileSystem& files = *store_.environment_.file_system;
  const std::string& directory = store_.options_.directory;
  FIRN_RETURN_IF_ERROR(files.CreateDirectories(log_directory_));
  auto identity = ReadIdentity(&files, directory);
  if (identity) {
    store_.identity_ = *identity;
    if (store_.identity_.durable && !store_.options_.durable) {
      return Status::Invalid(directory +
                             " holds durable data, which appendonly no would leave behind: start "
                             "with appendonly yes, or with another dir");
    }
  } else if (identity.error().code() == StatusCode::kNotFound) {
    auto names = files.List(log_directory_);
    if (!names) return names.error();
    for (const std::string& name : *names) {
      uint64_t id;
      if (log::ParseSegmentFileName(name, &id)) {
        return Status::Corruption(directory + "/IDENTITY is missing, but " + log_directory_ +
                                  " holds segments of a log");
      }
    }
    store_.identity_.directory_id = store_.random_.Next();
    store_.identity_.secret = {store_.random_.Next(), store_.random_.Next()};
    store_.identity_.durable = store_.options_.durable;
    store_.identity_.segment_size_log2 =
        static_cast<uint8_t>(std::bit_width(store_.options_.segment_size_bytes) - 1);
    FIRN_RETURN_IF_ERROR(WriteIdentity(&files, directory, store_.identity_));
    FIRN_RETURN_IF_ERROR(files.SyncDirectory(directory));
  } else {
    return identity.error();
  }
  if (!store_.identity_.durable) {
    // The log of a volatile server is only its cold tier: it begins empty.
    FIRN_RETURN_IF_ERROR(WipeVolatileData(&files, directory));
    if (store_.options_.durable) {
      store_.identity_.durable = true;
      FIRN_RETURN_IF_ERROR(WriteIdentity(&files, directory, store_.identity_));
    }
  }
  if (store_.identity_.may_be_left) {
    store_.identity_.may_be_left = false;
    FIRN_RETURN_IF_ERROR(WriteIdentity(&files, directory, store_.identity_));
  }
  uint64_t width = std::max<uint64_t>(1ull << store_.identity_.segment_size_log2,
                                      store_.options_.segment_size_bytes);
  if (width > 1ull << store_.identity_.segment_size_log2) {
    store_.identity_.segment_size_log2 = static_cast<uint8_t>(std::bit_width(width) - 1);
    FIRN_RETURN_IF_ERROR(WriteIdentity(&files, directory, store_.identity_));
  }
  store_.segments_ = std::make_unique<log::SegmentTable>(width);
  return Status::Ok();
}

Status Recovery::OpenSegments() {
  auto names = store_.environment_.file_system->List(log_directory_);
  if (!names) return names.error();
  std::vector<uint64_t> ids;
  for (const std::string& name : *names) {
    uint64_t id;
    if (log::ParseSegmentFileName(name, &id)) ids.push_back(id);
    // A cold segment that was being made.
    if (name.ends_with(kUnfinishedSuffix)) {
      FIRN_RETURN_IF_ERROR(store_.environment_.file_system->Remove(log_directory_ + "/" + name));
    }
  }
  std::sort(ids.begin(), ids.end());
  for (uint64_t id : ids) FIRN_RETURN_IF_ERROR(OpenSegment(id));
  return Status::Ok();
}

Status Recovery::OpenSegment(uint64_t id) {
  io::FileSystem& files = *store_.environment_.file_system;
  std::string path = log_directory_ + "/" + log::SegmentFileName(id);
  max_segment_id_ = std::max(max_segment_id_, id);
  auto opened = files.Open(path, {});
  if (!opened) return opened.error();
  std::shared_ptr<io::File> file = std::move(*opened);
  std::string block(log::kSegmentHeaderSize, '\0');
  auto size = file->ReadAt(0, block);
  if (!size) return size.error();
  block.resize(*size);
  auto file_size = file->Size();
  if (!file_size) return file_size.error();
  bool is_spare = *size < log::kSegmentHeaderSize;
  Result<log::SegmentHeader> header = std::unexpected(Status());
  if (!is_spare) {
    header = log::DecodeSegmentHeader(block, path);
    if (!header && header.error().code() == StatusCode::kNotFound) is_spare = true;
  }
  if (is_spare) {
    file.reset();
    return files.Remove(path);
  }
  if (!header && header.error().code() != StatusCode::kCorruption) return header.error();
  if (header && header->directory_id != store_.identity_.directory_id) {
    return Status::Corruption(path + " belongs to another log");
  }
  if (!header || header->segment_id != id) {
    // Damage, or a header that a power cut has torn. The replay meets it in its place and tells.
    header =
        log::SegmentHeader{.segment_id = id, .stream = static_cast<uint8_t>(log::Stream::kFresh)};
    broken_headers_.insert(id);
  }
  log::Segment* segment = store_.segments_->Add(id);
  if (segment == nullptr) return Status(StatusCode::kNoSpace, "the log has too many segments");
  segment->stream = static_cast<log::Stream>(header->stream);
  segment->epoch = header->epoch;
  segment->as_of_lsn = header->as_of_lsn;
  segment->max_expiry_ms = UINT64_MAX;
  segment->file = std::move(file);
  segment->end_offset = *file_size;
  segment->file_bytes = *file_size;
  segment->synced_offset = (*file_size + io::kDirectAlignment - 1) & ~(io::kDirectAlignment - 1);
  segment->sealed = true;
  last_epoch_ = std::max(last_epoch_, header->epoch);
  if (segment->stream == log::Stream::kFresh) last_fresh_segment_ = id;
  headers_[id] = *header;
  return Status::Ok();
}

std::vector<log::ReadableSegment> Recovery::Readable(log::Stream stream, uint64_t from_id) const {
  std::vector<log::ReadableSegment> readable;
  for (const auto& [id, segment] : store_.segments_->all()) {
    if (segment->stream == stream && id >= from_id) {
      readable.push_back({id, segment->file, segment->end_offset});
    }
  }
  return readable;
}

Status Recovery::OpenIndex() {
  Index::Options options{.directory = store_.options_.directory + "/index",
                         .env = store_.environment_.index_env,
                         .memory = IndexMemoryOf(store_.options_),
                         .background_compaction = store_.environment_.index_env == nullptr};
  auto index = Index::Open(options);
  bool unusable = !index && (index.error().code() == StatusCode::kNotFound ||
                             index.error().code() == StatusCode::kCorruption);
  if (unusable) {
    // Damaged, or caught by a power cut while its first files got their names.
    store_.Log(3, index.error().message() + ": the index is made anew");
    FIRN_RETURN_IF_ERROR(Index::Destroy(options));
    index = Index::Open(options);
  }
  if (!index) {
    return Status(index.error().code(),
                  index.error().message() + " (firn-log rebuild-index makes it anew from the log)");
  }
  store_.index_ = std::move(*index);
  FIRN_RETURN_IF_ERROR(store_.environment_.file_system->SyncDirectory(store_.options_.directory));
  auto bytes = store_.index_->ReadMeta();
  if (!bytes) return bytes.error();
  if (bytes->empty()) FIRN_RETURN_IF_ERROR(CutAtUnprovenGap());
  if (bytes->empty() && !Readable(log::Stream::kFresh, 0).empty()) {
    store_.Log(2, "The index is empty: making it from the log");
    // The index may reach the disk before what a dead process left in the page cache.
    for (const log::ReadableSegment& segment : Readable(log::Stream::kFresh, 0)) {
      FIRN_RETURN_IF_ERROR(segment.file->Sync());
    }
    FIRN_RETURN_IF_ERROR(
        RebuildIndex(store_.index_.get(), store_.identity_.secret,
                     {Readable(log::Stream::kCold, 0), Readable(log::Stream::kFresh, 0)},
                     store_.options_.databases));
    bytes = store_.index_->ReadMeta();
    if (!bytes) return bytes.error();
  }
  if (!bytes->empty()) {
    auto meta = DecodeIndexMeta(*bytes);
    if (!meta) return meta.error();
    meta_ = std::move(*meta);
    has_meta_ = true;
  } else {
    for (uint32_t db = 0; db < store_.options_.databases; ++db) {
      meta_.keyspaces.push_back({.id = db + 1, .db = db});
    }
    meta_.next_keyspace_id = store_.options_.databases + 1;
    meta_.replay_lsn = 1;
  }
  AdoptKeyspaces(meta_);
  return has_meta_ && !broken_headers_.empty() ? CheckBrokenHeaders() : Status::Ok();
}

// The index holds only what was synced: a header of a segment that it points into is no torn one.
// Nobody else would miss such a segment before one of its keys is asked for.
Status Recovery::CheckBrokenHeaders() {
  Status damage;
  for (const Keyspace* keyspace : store_.slots_) {
    const Status status = store_.index_->Visit(keyspace->id, 0, [&](const Index::Visited& visited) {
      const uint64_t id = visited.root.position.segment_id;
      if (!broken_headers_.contains(id)) return true;
      damage =
          Status::Corruption(log_directory_ + "/" + log::SegmentFileName(id) +
                             ": the header at offset 0 is damaged. firn-log verify tells more");
      return false;
    });
    FIRN_RETURN_IF_ERROR(status);
    if (!damage.ok()) break;
  }
  if (damage.ok() || !store_.options_.skip_damage) return damage;
  store_.Log(3, damage.message());
  return Status::Ok();
}

// Without an index nothing says which segments compaction has removed. One that is missing had been
// synced, and a record behind it says so; else a power cut has taken its name before it was durable
// and kept that of a later one.
Status Recovery::CutAtUnprovenGap() {
  std::vector<log::ReadableSegment> left = Readable(log::Stream::kFresh, 0);
  log::LogPosition end;
  while (!left.empty()) {
    const log::ReadableSegment front = left.front();
    const bool is_broken = broken_headers_.contains(front.id);
    if (!is_broken && headers_[front.id].previous_id != end.segment_id && !IsProven(left)) {
      return Cut(end);
    }
    end = {front.id, static_cast<uint32_t>(front.end_offset)};
    left.erase(left.begin());
  }
  return Status::Ok();
}

// Whether what lies before the first of these segments is known to have been durable.
bool Recovery::IsProven(const std::vector<log::ReadableSegment>& segments) {
  log::LogReader reader(segments, log::kSegmentHeaderSize, {.allow_gaps = true});
  log::RecordView record;
  uint64_t first_lsn = 0;
  while (reader.Next(&record) == log::LogReader::Outcome::kRecord) {
    if (first_lsn == 0) first_lsn = record.lsn;
    if (record.durable_lsn + 1 >= first_lsn) return true;
  }
  return first_lsn != 0 && reader.FindProofOfDamage(first_lsn - 1).has_value();
}

void Recovery::AdoptKeyspaces(const IndexMeta& meta) {
  store_.next_keyspace_id_ = meta.next_keyspace_id;
  uint32_t databases = store_.options_.databases;
  for (const KeyspaceMeta& keyspace : meta.keyspaces) {
    databases = std::max(databases, keyspace.db + 1);
  }
  // Databases that hold data stay, even if fewer are configured now.
  store_.slots_.assign(databases, nullptr);
  for (const KeyspaceMeta& remembered : meta.keyspaces) {
    Keyspace* keyspace = store_.MakeKeyspace(remembered.id, remembered.db);
    keyspace->keys = remembered.keys;
    keyspace->expiring = remembered.expiring;
    keyspace->counts_exact = meta.counts_exact;
  }
  for (uint32_t db = 0; db < databases; ++db) {
    if (store_.slots_[db] != nullptr) continue;
    store_.MakeKeyspace(store_.next_keyspace_id_++, db);
    names_changed_ = true;
  }
  store_.LinkPages();
  if (has_meta_) {
    store_.map_rebuild_->Begin();
  }
}

void Recovery::ReportProgress() {
  if (store_.stats_.replayed_records % kProgressEvery == 0 && progress_) progress_();
}

Status Recovery::Replay() {
  auto segments = Readable(log::Stream::kFresh, meta_.replay_position.segment_id);
  end_ = meta_.replay_position;
  last_wall_ms_ = meta_.wall_ms;
  last_lsn_ = meta_.replay_lsn > 0 ? meta_.replay_lsn - 1 : 0;
  uint64_t offset = meta_.replay_position.offset;
  if (segments.empty() || segments.front().id != meta_.replay_position.segment_id) {
    // A segment that was never written to is removed by a clean stop.
    bool unused = segments.empty() && meta_.replay_position.offset == log::kSegmentHeaderSize;
    if (meta_.replay_position.segment_id != 0 && !unused) {
      return Status::Corruption(log_directory_ + "/" +
                                log::SegmentFileName(meta_.replay_position.segment_id) +
                                " is missing: the index expects the log to go on there");
    }
    offset = log::kSegmentHeaderSize;
  }
  if (segments.empty()) return Status::Ok();
  if (offset > log::kSegmentHeaderSize && broken_headers_.contains(segments.front().id)) {
    return Status::Corruption(segments.front().file->path() +
                              ": the header at offset 0 is damaged");
  }
  // What was synced last may have lost all that came after it, but for a later segment.
  log::LogReader reader(
      segments, offset,
      {.check_first_link = meta_.replay_crc != 0, .previous_crc = meta_.replay_crc});
  log::RecordView record;
  log::LogReader::Outcome outcome;
  while ((outcome = reader.Next(&record)) == log::LogReader::Outcome::kRecord) {
    log::LogPosition position = reader.position();
    last_lsn_ = record.lsn;
    ++store_.stats_.replayed_records;
    store_.stats_.replayed_bytes += log::PaddedSize(record.size);
    ReportProgress();
    FIRN_RETURN_IF_ERROR(TakeRecord(record, position));
    last_wall_ms_ = std::max(last_wall_ms_, record.wall_ms);
    end_ = {position.segment_id,
            position.offset + static_cast<uint32_t>(log::PaddedSize(record.size))};
  }
  last_crc_ = reader.last_crc();
  return StopAt(&reader, outcome);
}

// Applies a record, or keeps it until its group's commit is there.
Status Recovery::TakeRecord(const log::RecordView& record, const log::LogPosition& position) {
  if (record.kind == log::RecordKind::kGroupBegin) {
    in_group_ = true;
    group_begin_ = position;
    group_begin_previous_crc_ = record.previous_crc;
    group_begin_lsn_ = record.lsn;
    group_begin_wall_ms_ = last_wall_ms_;
    group_digest_ = {};
    group_.clear();
    return Status::Ok();
  }
  if (!in_group_) return ApplyRecord(record, position);
  if (record.kind == log::RecordKind::kGroupCommit) {
    in_group_ = false;
    if (!group_digest_.Matches(record.payload)) {
      return Status::Corruption("a group lacks records: " + log_directory_ + "/" +
                                log::SegmentFileName(position.segment_id) + " at offset " +
                                std::to_string(position.offset));
    }
    for (Held& held : group_) {
      held.record.key = held.key;
      held.record.payload = held.payload;
      FIRN_RETURN_IF_ERROR(ApplyRecord(held.record, held.position));
    }
    group_.clear();
    return Status::Ok();
  }
  if ((record.flags & log::kFlagInGroup) == 0) {
    // An append in the group had failed, and it was given up.
    in_group_ = false;
    group_.clear();
    return ApplyRecord(record, position);
  }
  group_digest_.Add(record.crc);
  group_.push_back({record, std::string(record.key), std::string(record.payload), position});
  return Status::Ok();
}

Status Recovery::StopAt(log::LogReader* reader, log::LogReader::Outcome outcome) {
  if (outcome == log::LogReader::Outcome::kError) return reader->status();
  // The index follows what was synced.
  const uint64_t least = std::max(store_.identity_.reaches_lsn, has_meta_ ? meta_.counts_lsn : 0);
  if (last_lsn_ < least || reader->FindProofOfDamage(last_lsn_ + 1)) {
    std::string where = log_directory_ + "/" + log::SegmentFileName(reader->position().segment_id) +
                        " at offset " + std::to_string(reader->position().offset);
    std::string why = reader->message().empty() ? "records are missing" : reader->message();
    if (!store_.options_.skip_damage) {
      return Status::Corruption("The log is damaged: " + where + ": " + why +
                                ". What was there had been synced. firn-log verify tells more, "
                                "firn-log mend cuts the log there");
    }
    store_.Log(3, "The log is damaged and was cut: " + where + ": " + why);
  }
  if (in_group_) {
    if (store_.Has(PlantedBug::kApplyOpenGroups)) {
      for (Held& held : group_) {
        held.record.key = held.key;
        held.record.payload = held.payload;
        FIRN_RETURN_IF_ERROR(ApplyRecord(held.record, held.position));
      }
      return Cut(end_);
    }
    // Its commit is not there: none of it happened.
    last_lsn_ = group_begin_lsn_ - 1;
    last_crc_ = group_begin_previous_crc_;
    last_wall_ms_ = group_begin_wall_ms_;
    end_ = group_begin_;
  }
  return Cut(end_);
}

// Makes the log end here: what lies behind was never acknowledged as durable.
Status Recovery::Cut(const log::LogPosition& position) {
  io::FileSystem& files = *store_.environment_.file_system;
  std::vector<log::Segment*> behind;
  for (const auto& [id, segment] : store_.segments_->all()) {
    if (segment->stream != log::Stream::kFresh) continue;
    bool unused = id == position.segment_id && position.offset <= log::kSegmentHeaderSize &&
                  broken_headers_.contains(id);
    if (unused || id > position.segment_id) behind.push_back(segment.get());
  }
  for (log::Segment* segment : behind) {
    uint64_t used = segment->end_offset;
    store_.stats_.torn_bytes += used > log::kSegmentHeaderSize ? used - log::kSegmentHeaderSize : 0;
    std::string path = segment->file->path();
    store_.segments_->Remove(segment);
    FIRN_RETURN_IF_ERROR(files.Remove(path));
  }
  log::Segment* last = store_.segments_->ById(position.segment_id);
  if (last != nullptr && last->end_offset > position.offset) {
    uint64_t tail = last->end_offset - position.offset;
    FIRN_RETURN_IF_ERROR(last->file->Truncate(position.offset));
    FIRN_RETURN_IF_ERROR(last->file->Sync());
    last->end_offset = position.offset;
    last->file_bytes = position.offset;
    last->synced_offset = position.offset & ~(io::kDirectAlignment - 1);
    store_.stats_.torn_bytes += tail;
  }
  last_fresh_segment_ = 0;
  for (const log::ReadableSegment& segment : Readable(log::Stream::kFresh, 0)) {
    last_fresh_segment_ = segment.id;
    if (segment.id != position.segment_id) {
      end_ = {segment.id, static_cast<uint32_t>(segment.end_offset)};
    }
  }
  // What a process left when it died may not have reached the disk; from now on it is relied upon.
  for (const log::ReadableSegment& segment :
       Readable(log::Stream::kFresh, meta_.replay_position.segment_id)) {
    if (store_.Has(PlantedBug::kTrustUnsyncedTail)) break;
    FIRN_RETURN_IF_ERROR(segment.file->Sync());
  }
  if (!behind.empty()) FIRN_RETURN_IF_ERROR(files.SyncDirectory(log_directory_));
  return Status::Ok();
}

// The crc that the next record links to, when nothing was replayed.
Status Recovery::FindLastCrc() {
  log::Segment* last = store_.segments_->ById(last_fresh_segment_);
  log::LogReader reader({{last->id, last->file, last->end_offset}}, log::kSegmentHeaderSize, {});
  log::RecordView record;
  while (reader.Next(&record) == log::LogReader::Outcome::kRecord) {
    last_wall_ms_ = std::max(last_wall_ms_, record.wall_ms);
  }
  last_crc_ = reader.last_crc();
  return reader.status();
}

Status Recovery::StartLog() {
  if (store_.stats_.torn_bytes > 0) {
    store_.Log(2, "The log was cut after " + std::to_string(last_lsn_) +
                      " records: " + std::to_string(store_.stats_.torn_bytes) +
                      " bytes behind were unused or torn");
  }
  if (last_crc_ == 0 && last_fresh_segment_ != 0) {
    FIRN_RETURN_IF_ERROR(FindLastCrc());
  }
  log::LogWriterOptions options{
      .directory = log_directory_,
      .segment_size_bytes = store_.options_.segment_size_bytes,
      .window_size_bytes = WindowBytesOf(store_.options_),
      .directory_id = store_.identity_.directory_id,
      .epoch = last_epoch_ + 1,
      .next_segment_id = max_segment_id_ + 1,
      .first_lsn = last_lsn_ + 1,
      .previous_segment_id = last_fresh_segment_,
      .previous_crc = last_crc_,
  };
  store_.log_ = std::make_unique<log::LogWriter>(
      store_.environment_.file_system, store_.environment_.loop, store_.segments_.get(), options);
  store_.log_->set_max_bytes(store_.options_.max_disk_bytes);
  store_.last_wall_ms_ = last_wall_ms_;
  if (store_.options_.durable) {
    FIRN_RETURN_IF_ERROR(store_.archiver_->Begin(store_.options_.archive_directory, last_lsn_));
  }
  FIRN_RETURN_IF_ERROR(store_.log_->Start());
  log::LogPosition indexed = meta_.replay_position;
  if (indexed.segment_id == 0) {
    // Nothing was ever indexed: the indexer begins with the first segment there is.
    auto segments = Readable(log::Stream::kFresh, 0);
    CHECK(!segments.empty());
    indexed = {segments.front().id, log::kSegmentHeaderSize};
  }
  store_.indexer_->Begin({.indexed = indexed,
                          .indexed_lsn = meta_.replay_lsn > 0 ? meta_.replay_lsn - 1 : 0,
                          .end = last_fresh_segment_ != 0 ? end_ : log::LogPosition{}});
  return Status::Ok();
}

}  // namespace firn
