#include "tiering/compactor.h"

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/latency_timer.h"
#include "tiering/left_keys.h"
#include "tiering/log_archiver.h"
#include "tiering/map_bound.h"
#include "tiering/map_rebuild.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// Compaction takes all the time there is once the log is larger than its target by this share.
constexpr double kUrgentExcess = 0.25;
// A pause is cut off here: a slow disk must not make compaction stand still.
constexpr int64_t kMaxPauseMicros = 2'000'000;
constexpr uint64_t kChunkBytes = 2 << 20;
constexpr int64_t kPickEveryMicros = 50'000;

}  // namespace

SegmentPicker::Others Compactor::OthersThanSegments() const {
  SegmentPicker::Others others{.not_to_pick = unlinkable_,
                               .removed_as_of_lsns = removed_as_of_lsns_,
                               .rewriting = rewriting_};
  others.not_to_pick.insert(others.not_to_pick.end(), unreadable_.begin(), unreadable_.end());
  for (const ColdStream& stream : cold_streams_) {
    if (stream.file != nullptr) others.not_to_pick.push_back(stream.file->segment_id);
  }
  return others;
}

uint64_t Compactor::KeptDeleteBytes() const {
  return KeptDeletes(*store_.segments_, removed_as_of_lsns_).total_bytes();
}

// How long to rest after `worked_micros`, so that compaction takes its share of the time; the share
// grows to all of it as garbage gets the better of compaction.
int64_t Compactor::PauseAfter(int64_t worked_micros) const {
  if (store_.log_->short_of_space()) return 0;
  const double least = store_.options_.compaction_share_percent / 100.0;
  const double urgency = std::clamp(LogExcess(store_) / kUrgentExcess, 0.0, 1.0);
  const double share = least + (1 - least) * urgency;
  const double pause = static_cast<double>(worked_micros) * (1 - share) / share;
  return std::min(static_cast<int64_t>(pause), kMaxPauseMicros);
}

bool Compactor::Rewrite() {
  if (rewriting_) return false;
  rewriting_ = true;
  rewrite_begun_micros_ = store_.environment_.loop->NowMicros();
  return true;
}

void Compactor::Step() {
  if (failed_ || store_.closing_ || !store_.log_->poison().ok()) return;
  UnlinkReady();
  int64_t now = store_.environment_.loop->NowMicros();
  // A part of the cold map is to be left to the index, which must know of all moves first.
  if (store_.map_bound_->lowering()) return;
  if (paused_ && now >= resume_micros_) {
    paused_ = false;
    ReadChunk();
  }
  if (victim_ != 0 || job_running_ || !store_.map_rebuild_->complete()) return;
  if (now - last_pick_micros_ < kPickEveryMicros) return;
  last_pick_micros_ = now;
  const SegmentPicker::Pick pick = SegmentPicker(store_, OthersThanSegments()).Next();
  evicts_ = pick.evicts;
  if (pick.id != 0) {
    BeginVictim(pick.id);
  } else if (pick.needs_flush && !flush_asked_) {
    flush_asked_ = true;
    store_.indexer_->WhenIndexed({.lsn = store_.log_->appended_lsn(), .flushed = true},
                                 [this](Status) { flush_asked_ = false; });
  } else if (!pick.needs_flush && rewriting_ && unlinkable_.empty()) {
    rewriting_ = false;
    ++store_.stats_.rewrites;
    store_.stats_.last_rewrite_us = now - rewrite_begun_micros_;
  }
}

void Compactor::BeginVictim(uint64_t id) {
  log::Segment* segment = store_.segments_->ById(id);
  victim_ = id;
  ++segment->holds;
  saw_keyspace_names_ = segment->has_keyspace_names;
  tear_.clear();
  emptied_ = {};
  if (MayDropUnread(*segment)) {
    ++store_.stats_.segments_dropped_unread;
    FinishVictim();
    return;
  }
  log::LogReader::Options options{.direct = true};
  reader_ = std::make_shared<log::LogReader>(
      std::vector<log::ReadableSegment>{{id, segment->file, segment->end_offset}},
      log::kSegmentHeaderSize, options);
  ReadChunk();
}

// All that it holds has expired and is gone, and none of its deletes hides anything.
bool Compactor::MayDropUnread(const log::Segment& segment) const {
  return segment.live_bytes == 0 &&
         segment.max_expiry_ms < static_cast<uint64_t>(store_.expiry_clock_ms()) &&
         !KeepsDelete(segment.last_delete_lsn);
}

void Compactor::NextChunk() {
  const int64_t now = store_.environment_.loop->NowMicros();
  resume_micros_ = now + PauseAfter(now - chunk_begun_micros_);
  paused_ = resume_micros_ > now || store_.map_bound_->lowering();
  if (!paused_) ReadChunk();
}

void Compactor::ReadChunk() {
  chunk_begun_micros_ = store_.environment_.loop->NowMicros();
  auto chunk = std::make_shared<Chunk>();
  // To delete a key takes longer than to tell where its copy is.
  chunk->max_bytes =
      std::min(evicts_ ? kChunkBytes / 4 : kChunkBytes, store_.options_.segment_size_bytes / 4);
  job_running_ = true;
  store_.RunJob(
      io::WorkPriority::kBackground,
      [chunk, reader = reader_, secret = store_.identity_.secret] {
        chunk->Read(reader.get(), secret);
      },
      [this, chunk] { OnChunkRead(chunk); });
}

bool Compactor::IsLive(const log::RecordView& record, uint64_t hash,
                       log::PackedPosition position) const {
  Keyspace* keyspace = store_.KeyspaceById(record.keyspace);
  if (keyspace == nullptr) return false;
  Entry* entry = keyspace->table.Find({record.key, hash});
  if (entry != nullptr && entry->position() == position) return true;
  return keyspace->cold.Contains(hash, position);
}

// A delete must stay while a segment may hold an older record of its key.
bool Compactor::KeepsDelete(uint64_t lsn) const {
  if (store_.Has(PlantedBug::kDropDeletes)) return false;
  for (const auto& [id, segment] : store_.segments_->all()) {
    if (id != victim_ && segment->as_of_lsn < lsn) return true;
  }
  return std::any_of(removed_as_of_lsns_.begin(), removed_as_of_lsns_.end(),
                     [&](uint64_t as_of_lsn) { return as_of_lsn < lsn; });
}

void Compactor::OnChunkRead(std::shared_ptr<Chunk> chunk) {
  const LatencyTimer timer(&store_, StoreLatency::kCompaction);
  job_running_ = false;
  store_.stats_.compaction_read_bytes += chunk->read_bytes;
  if (!chunk->status.ok()) {
    Abandon(chunk->status);
    return;
  }
  bool ask_index = false;
  for (Chunk::Item& item : chunk->items) {
    item.record.key = chunk->KeyOf(item);
    if (item.record.kind == log::RecordKind::kImage) {
      item.keep = IsLive(item.record, item.hash, store_.segments_->Pack(item.from));
      item.ask_index = !item.keep && IsLeft(item);
      ask_index |= item.ask_index;
    } else if (item.record.kind == log::RecordKind::kDelete) {
      item.keep = KeepsDelete(item.record.lsn);
    } else if (item.record.kind == log::RecordKind::kKeyspaces) {
      saw_keyspace_names_ = true;
    }
  }
  if (!chunk->tear.empty()) tear_ = chunk->tear;
  if (ask_index) {
    AskIndex(chunk);
  } else {
    MoveLive(chunk);
  }
}

bool Compactor::IsLeft(const Chunk::Item& item) const {
  Keyspace* keyspace = store_.KeyspaceById(item.record.keyspace);
  return keyspace != nullptr && keyspace->IsLeft(item.hash) &&
         keyspace->table.Find({item.record.key, item.hash}) == nullptr;
}

void Compactor::AskIndex(std::shared_ptr<Chunk> chunk) {
  job_running_ = true;
  store_.RunJob(
      io::WorkPriority::kBackground, [chunk, index = store_.index_] { chunk->FindLeft(*index); },
      [this, chunk, reading = store_.left_keys_->BeginReading()] {
        job_running_ = false;
        const Departures departures = store_.left_keys_->EndReading(reading);
        if (!chunk->status.ok()) {
          Abandon(chunk->status);
          return;
        }
        for (Chunk::Item& item : chunk->items) {
          if (item.ask_index) TakeLeft(chunk.get(), &item, departures);
        }
        MoveLive(chunk);
      });
}

// What is to be moved of the keys left to the index comes into the table, and stays there until the
// index knows of the move: nothing leaves whose record is in the victim.
void Compactor::TakeLeft(Chunk* chunk, Chunk::Item* item, const Departures& departures) {
  const bool is_root = std::exchange(item->keep, false);
  Keyspace* keyspace = store_.KeyspaceById(item->record.keyspace);
  if (keyspace == nullptr) return;
  const HashedKey key{item->record.key, item->hash};
  const PackedPosition position = store_.segments_->Pack(item->from);
  Entry* entry = keyspace->table.Find(key);
  if (entry != nullptr || keyspace->IsMapped(item->hash)) {
    item->keep = IsLive(item->record, item->hash, position);
  } else if (is_root && !departures.Include(keyspace->id, item->hash)) {
    item->keep = true;
    const bool has_expiry = item->record.expiry_ms != log::kNoExpiry;
    const uint64_t logical =
        LogicalRecordSize(chunk->KeyOf(*item).size(), item->record.raw_payload_size, has_expiry);
    store_.InstallStub(*keyspace, key, position,
                       {.logical_size = static_cast<uint32_t>(logical),
                        .type = item->record.type,
                        .expiry_ms = item->record.expiry_ms});
  }
}

void Compactor::EvictLive(Chunk* chunk) {
  const LatencyTimer timer(&store_, StoreLatency::kEvictionCycle);
  for (Chunk::Item& item : chunk->items) {
    if (!item.keep || item.record.kind != log::RecordKind::kImage) continue;
    const uint64_t bytes = item.key_size + item.payload_size;
    item.record.key = chunk->KeyOf(item);
    item.keep =
        !store_.evictor_->EvictMet(item.record, item.hash, store_.segments_->Pack(item.from));
    (item.keep ? emptied_.kept_bytes : emptied_.evicted_bytes) += bytes;
  }
}

void Compactor::MoveLive(std::shared_ptr<Chunk> chunk) {
  if (evicts_) EvictLive(chunk.get());
  const bool any = std::ranges::any_of(chunk->items, &Chunk::Item::keep);
  if (any) {
    WriteChunk(chunk);
  } else if (chunk->at_end) {
    FinishVictim();
  } else {
    NextChunk();
  }
}

void Compactor::WriteChunk(std::shared_ptr<Chunk> chunk) {
  std::array<uint64_t, kCompactionFiles> most = {};
  for (const Chunk::Item& item : chunk->items) {
    if (!item.keep) continue;
    most[item.lifetime()] += item.key_size + item.payload_size + sizeof(log::RecordHeader) + 24;
  }
  for (int lifetime = 0; lifetime < kCompactionFiles; ++lifetime) {
    const std::shared_ptr<ColdFile>& file = cold_streams_[lifetime].file;
    chunk->targets[lifetime] = most[lifetime] > 0 ? file : nullptr;
    if (most[lifetime] == 0) continue;
    if (file == nullptr || file->end_offset + most[lifetime] > store_.options_.segment_size_bytes) {
      OpenColdFile(chunk, lifetime);
      return;
    }
  }
  chunk->compress = store_.options_.compress;
  chunk->compression_level = store_.options_.compression_level;
  job_running_ = true;
  store_.RunJob(
      io::WorkPriority::kBackground, [chunk] { chunk->Write(); },
      [this, chunk] { OnChunkWritten(chunk); });
}

// A segment has its name only once its header is synced: a start could not tell what it is, and
// whether anything is missing.
static Status MakeColdFile(io::FileSystem* files, const std::string& path,
                           const log::SegmentHeader& header, std::shared_ptr<io::File>* made) {
  std::string unfinished = path + std::string(kUnfinishedSuffix);
  auto file = files->Open(unfinished, {.create = true, .truncate = true});
  if (!file) return file.error();
  std::string block(log::kSegmentHeaderSize, '\0');
  log::EncodeSegmentHeader(header, block.data());
  FIRN_RETURN_IF_ERROR((*file)->WriteAt(0, block));
  FIRN_RETURN_IF_ERROR((*file)->Sync());
  FIRN_RETURN_IF_ERROR(files->Rename(unfinished, path));
  file = files->Open(path, {});
  if (!file) return file.error();
  *made = std::move(*file);
  return Status::Ok();
}

void Compactor::OpenColdFile(std::shared_ptr<Chunk> chunk, int lifetime) {
  ColdStream& stream = cold_streams_[lifetime];
  if (stream.file != nullptr) {
    if (log::Segment* old = store_.segments_->ById(stream.file->segment_id)) old->sealed = true;
    stream.previous_segment = stream.file->segment_id;
    stream.previous_crc = stream.file->previous_crc;
    stream.file = nullptr;
  }
  auto cold = std::make_shared<ColdFile>();
  cold->segment_id = store_.log_->AllocateSegmentId();
  cold->end_offset = log::kSegmentHeaderSize;
  cold->epoch = store_.log_->active()->epoch;
  cold->previous_crc = stream.previous_crc;
  log::SegmentHeader header{.segment_id = cold->segment_id,
                            .previous_id = stream.previous_segment,
                            .as_of_lsn = store_.log_->durable_lsn(),
                            .created_ms = static_cast<uint64_t>(store_.now_ms()),
                            .directory_id = store_.identity_.directory_id,
                            .epoch = cold->epoch,
                            .previous_crc = stream.previous_crc,
                            .capacity = store_.options_.segment_size_bytes,
                            .stream = static_cast<uint8_t>(log::Stream::kCold)};
  std::string directory = store_.options_.directory + "/log";
  auto status = std::make_shared<Status>();
  job_running_ = true;
  store_.RunJob(
      io::WorkPriority::kBackground,
      [cold, header, directory, status, files = store_.environment_.file_system] {
        std::string path = directory + "/" + log::SegmentFileName(cold->segment_id);
        *status = MakeColdFile(files, path, header, &cold->file);
        if (status->ok()) *status = files->SyncDirectory(directory);
      },
      [this, cold, status, chunk, lifetime, as_of = header.as_of_lsn] {
        job_running_ = false;
        if (!status->ok()) {
          Abandon(*status);
          return;
        }
        log::Segment* segment = store_.segments_->Add(cold->segment_id);
        if (segment == nullptr) {
          Abandon(Status(StatusCode::kNoSpace, "the log has too many segments"));
          return;
        }
        segment->stream = log::Stream::kCold;
        segment->epoch = cold->epoch;
        segment->as_of_lsn = as_of;
        segment->file = cold->file;
        segment->end_offset = segment->file_bytes = cold->end_offset;
        cold_streams_[lifetime].file = cold;
        WriteChunk(chunk);
      });
}

void Compactor::OnChunkWritten(std::shared_ptr<Chunk> chunk) {
  const LatencyTimer timer(&store_, StoreLatency::kCompaction);
  job_running_ = false;
  if (!chunk->status.ok()) {
    // What was written in vain stays as garbage behind a new segment's begin.
    for (ColdStream& stream : cold_streams_) {
      if (stream.file == nullptr) continue;
      if (log::Segment* old = store_.segments_->ById(stream.file->segment_id)) old->sealed = true;
      stream = {};
    }
    Abandon(chunk->status);
    return;
  }
  store_.stats_.compaction_written_bytes += chunk->written_bytes;
  for (const std::shared_ptr<ColdFile>& target : chunk->targets) {
    if (target == nullptr) continue;
    log::Segment* segment = store_.segments_->ById(target->segment_id);
    segment->end_offset = segment->file_bytes = target->end_offset;
    segment->synced_offset =
        (segment->end_offset + io::kDirectAlignment - 1) & ~(io::kDirectAlignment - 1);
  }
  for (const Chunk::Item& item : chunk->items) {
    if (!item.keep) continue;
    store_.segments_->ById(chunk->targets[item.lifetime()]->segment_id)
        ->NoteRecord({.kind = item.record.kind,
                      .lsn = item.record.lsn,
                      .expiry_ms = item.record.expiry_ms,
                      .padded_bytes = item.to_size});
  }
  if (ApplyMoves(chunk.get())) {
    AwaitMoves(chunk);
  } else {
    EndChunk(*chunk);
  }
}

void Compactor::EndChunk(const Chunk& chunk) {
  if (chunk.at_end) {
    FinishVictim();
  } else {
    NextChunk();
  }
}

// What this chunk brought into the table leaves before the next chunk is read.
void Compactor::AwaitMoves(std::shared_ptr<Chunk> chunk) {
  store_.indexer_->WhenIndexed({}, [this, chunk](Status) {
    for (const Chunk::Item& item : chunk->items) {
      if (!item.keep || item.record.kind != log::RecordKind::kImage) continue;
      Keyspace* keyspace = store_.KeyspaceById(item.record.keyspace);
      if (keyspace == nullptr || !keyspace->IsLeft(item.hash)) continue;
      const HashedKey key{chunk->KeyOf(item), item.hash};
      Entry* entry = keyspace->table.Find(key);
      if (entry == nullptr || entry->kind() != Entry::Kind::kStub) continue;
      if (store_.IsDemotable(*entry)) store_.Demote(*keyspace, key, entry);
    }
    EndChunk(*chunk);
  });
}

bool Compactor::ApplyMoves(Chunk* chunk) {
  std::vector<Indexer::Move> moves;
  bool any_left = false;
  for (const Chunk::Item& item : chunk->items) {
    if (!item.keep || item.record.kind != log::RecordKind::kImage) continue;
    Keyspace* keyspace = store_.KeyspaceById(item.record.keyspace);
    if (keyspace == nullptr) continue;
    PackedPosition from = store_.segments_->Pack(item.from);
    log::LogPosition to{chunk->targets[item.lifetime()]->segment_id, item.to_offset};
    PackedPosition packed_to = store_.segments_->Pack(to);
    HashedKey key{chunk->KeyOf(item), item.hash};
    Entry* entry = keyspace->table.Find(key);
    bool counted = true;
    any_left |= keyspace->IsLeft(item.hash);
    if (entry != nullptr && entry->position() == from) {
      entry->set_position(packed_to);
      counted = !entry->Has(Entry::kDirty);
    } else if (!keyspace->cold.Move(item.hash, from, {packed_to, SizeClassFor(item.to_size)})) {
      continue;  // overwritten meanwhile: the copy is garbage
    }
    // What a blind write replaced stays in the map until it is settled, but the index knows better.
    bool replaced = entry != nullptr && entry->position() != packed_to;
    int64_t logical = static_cast<int64_t>(LogicalRecordSize(
        item.key_size, item.record.raw_payload_size, item.record.expiry_ms != log::kNoExpiry));
    if (counted) {
      store_.AddLive(*keyspace, from, -logical);
      store_.AddLive(*keyspace, packed_to, logical);
    }
    if (replaced && !store_.Has(PlantedBug::kMoveOverNewer)) continue;
    moves.push_back({{item.record.keyspace, item.hash, std::string(key.bytes)},
                     {.position = to,
                      .logical_size = static_cast<uint32_t>(logical),
                      .size = item.to_size,
                      .lsn = item.record.lsn,
                      .type = item.record.type,
                      .expiry_ms = item.record.expiry_ms}});
  }
  store_.indexer_->AddMoves(std::move(moves));
  return any_left;
}

void Compactor::FinishVictim() {
  const log::Segment& victim = *store_.segments_->ById(victim_);
  if (victim.live_bytes != 0) {
    GiveUpVictim(tear_.empty() ? "counts of live bytes are wrong" : tear_);
    return;
  }
  if (saw_keyspace_names_) store_.LogKeyspaceNames();
  reader_ = nullptr;
  if (evicts_) store_.evictor_->OnEmptied(emptied_);
  uint64_t id = victim_;
  ++store_.stats_.compactions;
  bool flushed = !store_.Has(PlantedBug::kUnlinkBeforeFlush);
  store_.indexer_->WhenIndexed({.lsn = store_.log_->appended_lsn(), .flushed = flushed},
                               [this, id](Status status) {
                                 log::Segment* segment = store_.segments_->ById(id);
                                 CHECK(segment != nullptr);
                                 --segment->holds;
                                 victim_ = 0;
                                 if (status.ok()) unlinkable_.push_back(id);
                               });
}

void Compactor::UnlinkReady() {
  if (store_.segments_->keeps_all()) return;
  std::erase_if(unlinkable_, [&](uint64_t id) {
    log::Segment* segment = store_.segments_->ById(id);
    if (segment->holds > 0 || !store_.archiver_->MayUnlink(*segment)) return false;
    std::string path = segment->file->path();
    uint64_t as_of_lsn = segment->as_of_lsn;
    removed_as_of_lsns_.push_back(as_of_lsn);
    store_.ForgetLive(*segment);
    store_.segments_->Remove(segment);
    auto gone = std::make_shared<bool>(false);
    // Freeing the blocks of a large file may block.
    store_.RunJob(
        io::WorkPriority::kBackground,
        [files = store_.environment_.file_system, path, gone,
         directory = store_.options_.directory + "/log"] {
          // A file that stays is met again by the next start, and is garbage then as well.
          *gone = files->Remove(path).ok() && files->SyncDirectory(directory).ok();
        },
        [this, gone, as_of_lsn] {
          if (*gone) {
            auto it = std::find(removed_as_of_lsns_.begin(), removed_as_of_lsns_.end(), as_of_lsn);
            removed_as_of_lsns_.erase(it);
          }
          store_.log_->OnSpaceFreed();
        });
    return true;
  });
}

// Something in it can't be read, and its keys may need it: it stays.
void Compactor::GiveUpVictim(const std::string& why) {
  log::Segment* segment = store_.segments_->ById(victim_);
  store_.Log(3, segment->file->path() + " can't be compacted: " + why);
  unreadable_.push_back(victim_);
  --segment->holds;
  reader_ = nullptr;
  victim_ = 0;
}

void Compactor::Abandon(const Status& status) {
  // Without room there is a next time; a damaged or unreadable segment stays as it is.
  failed_ = status.code() != StatusCode::kNoSpace;
  store_.Log(3, "Compaction stopped: " + status.message());
  if (log::Segment* segment = store_.segments_->ById(victim_)) --segment->holds;
  reader_ = nullptr;
  victim_ = 0;
  last_pick_micros_ = store_.environment_.loop->NowMicros() + 1'000'000;
}

}  // namespace firn
