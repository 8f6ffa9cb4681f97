#include "tiering/index_rebuild.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>

#include "engine/base/coding.h"
#include "tiering/compaction_chunk.h"
#include "tiering/index_meta.h"
#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr size_t kBatchChanges = 32 * 1024;

class Rebuilder {
 public:
  Rebuilder(Index* index, HashSecret secret, uint32_t databases) : index_(*index), secret_(secret) {
    for (uint32_t db = 0; db < databases; ++db) names_.id_of_db.push_back(db + 1);
    names_.next_id = databases + 1;
  }

  Status ReadCold(const std::vector<log::ReadableSegment>& segments) {
    std::vector<ColdSegment> read;
    for (const log::ReadableSegment& segment : segments) {
      log::LogReader reader({segment}, log::kSegmentHeaderSize, {});
      FIRN_RETURN_IF_ERROR(ReadColdSegment(&reader, &read.emplace_back()));
      read.back().epoch = reader.header().epoch;
    }
    for (size_t i = 0; i < read.size(); ++i) {
      if (!read[i].tear.empty() && !MayBeTorn(std::span(read).subspan(i))) {
        return Status::Corruption(read[i].tear);
      }
    }
    return WriteBatch();
  }

  Status ReadFresh(const std::vector<log::ReadableSegment>& segments) {
    if (!segments.empty()) {
      log::LogReader reader(segments, log::kSegmentHeaderSize, {.allow_gaps = true});
      FIRN_RETURN_IF_ERROR(ReadFreshStream(&reader));
    }
    return WriteBatch();
  }

  Status Finish() {
    // Deletes that compaction kept, of keys whose older images it has met as well.
    IndexBatch batch;
    for (const auto& [id, lsn] : cold_deletes_) {
      IndexKey key = KeyOf(id);
      auto root = index_.Find(key);
      if (!root) return root.error();
      if (root->has_value() && (*root)->lsn < lsn) batch.changes.push_back({key, std::nullopt});
    }
    IndexMeta meta;
    meta.counts_exact = false;
    meta.replay_position = end_;
    meta.replay_lsn = last_lsn_ + 1;
    meta.replay_crc = last_crc_;
    std::set<uint32_t> named;
    for (uint32_t db = 0; db < names_.id_of_db.size(); ++db) {
      meta.keyspaces.push_back({.id = names_.id_of_db[db], .db = db});
      named.insert(names_.id_of_db[db]);
    }
    for (const auto& [id, first] : effects_) {
      // What followed an effect in a database that was flushed may be gone, and the log have gaps.
      if (!named.contains(LoadFixed<uint32_t>(id.data()))) continue;
      auto deleted = cold_deletes_.find(id);
      if (deleted != cold_deletes_.end() && deleted->second > first.lsn) continue;
      if (first.lsn < meta.replay_lsn) {
        meta.replay_position = first.position;
        meta.replay_lsn = first.lsn;
        meta.replay_crc = 0;
      }
    }
    meta.wall_ms = last_wall_ms_;
    meta.counts_lsn = last_lsn_;
    meta.next_keyspace_id = names_.next_id;
    for (uint32_t id : seen_keyspaces_) {
      if (!named.contains(id)) batch.dropped_keyspaces.push_back(id);
    }
    batch.meta = EncodeIndexMeta(meta);
    FIRN_RETURN_IF_ERROR(index_.Apply(batch));
    return index_.Flush();
  }

 private:
  struct ColdSegment {
    uint32_t epoch = 0;
    std::optional<int> lifetime;  // of its records; none if none is sound
    std::string tear;             // where sound records end, if the segment doesn't end there
  };
  struct Source {
    bool is_cold = false;
  };
  struct Held {
    log::RecordView record;
    std::string key;
    std::string payload;
    log::LogPosition position;
  };
  struct FirstEffect {
    log::LogPosition position;
    uint64_t lsn = 0;
  };
  struct Pending {
    size_t place;
    uint64_t lsn;
  };

  std::string IdOf(uint32_t keyspace, std::string_view key) const {
    std::string id;
    AppendFixed(&id, keyspace);
    id.append(key);
    return id;
  }
  IndexKey KeyOf(const std::string& id) const {
    std::string key = id.substr(4);
    return {LoadFixed<uint32_t>(id.data()), SipHash13(secret_, key), key};
  }

  // The segments that were being written when the process died or the power failed may be torn: the
  // last of their epoch, one for each lifetime of records. What lies behind the tear was in no
  // index.
  static bool MayBeTorn(std::span<const ColdSegment> from) {
    std::array<bool, kCompactionFiles> later{};
    for (const ColdSegment& segment : from.subspan(1)) {
      if (segment.epoch == from[0].epoch && segment.lifetime) later[*segment.lifetime] = true;
    }
    if (from[0].lifetime) return !later[*from[0].lifetime];
    return std::find(later.begin(), later.end(), false) != later.end();
  }

  Status ReadColdSegment(log::LogReader* reader, ColdSegment* segment) {
    log::RecordView record;
    log::LogReader::Outcome outcome;
    while ((outcome = reader->Next(&record)) == log::LogReader::Outcome::kRecord) {
      if (!segment->lifetime) segment->lifetime = LifetimeOf(record);
      FIRN_RETURN_IF_ERROR(Take(record, reader->position(), {.is_cold = true}));
    }
    if (outcome == log::LogReader::Outcome::kError) return reader->status();
    if (outcome == log::LogReader::Outcome::kInvalid) segment->tear = reader->message();
    return Status::Ok();
  }

  Status ReadFreshStream(log::LogReader* reader) {
    log::RecordView record;
    log::LogReader::Outcome outcome;
    while ((outcome = reader->Next(&record)) == log::LogReader::Outcome::kRecord) {
      FIRN_RETURN_IF_ERROR(TakeFresh(record, reader->position()));
      last_lsn_ = record.lsn;
      last_wall_ms_ = std::max(last_wall_ms_, record.wall_ms);
      end_ = {reader->position().segment_id,
              reader->position().offset + static_cast<uint32_t>(log::PaddedSize(record.size))};
    }
    if (outcome == log::LogReader::Outcome::kError) return reader->status();
    last_crc_ = reader->last_crc();
    if (in_group_) {
      // Its commit is not there: the log ends before it.
      last_lsn_ = group_begin_lsn_ - 1;
      end_ = group_begin_;
      last_crc_ = group_begin_previous_crc_;
    }
    return Status::Ok();
  }

  // Keeps the records of a group until its commit is there.
  Status TakeFresh(const log::RecordView& record, const log::LogPosition& position) {
    // Compaction has removed what lay between, and it removes only what was long committed.
    bool gap = last_lsn_ != 0 && record.lsn != last_lsn_ + 1;
    bool commits = in_group_ && (gap || record.kind == log::RecordKind::kGroupCommit);
    if (commits) {
      for (Held& held : group_) {
        held.record.key = held.key;
        held.record.payload = held.payload;
        FIRN_RETURN_IF_ERROR(Take(held.record, held.position, {.is_cold = false}));
      }
    }
    bool is_member = in_group_ && (record.flags & log::kFlagInGroup) != 0;
    if (commits || !is_member) {
      in_group_ = false;
      group_.clear();
    }
    if (record.kind == log::RecordKind::kGroupBegin) {
      in_group_ = true;
      group_begin_ = position;
      group_begin_lsn_ = record.lsn;
      group_begin_previous_crc_ = record.previous_crc;
      return Status::Ok();
    }
    if (!in_group_) return Take(record, position, {.is_cold = false});
    group_.push_back({record, std::string(record.key), std::string(record.payload), position});
    return Status::Ok();
  }

  Status Take(const log::RecordView& record, const log::LogPosition& position, Source source) {
    if (record.kind == log::RecordKind::kKeyspaces) {
      auto names = DecodeKeyspaceNames(record.payload);
      if (!names) return names.error();
      names_ = std::move(*names);
      return Status::Ok();
    }
    std::string id = IdOf(record.keyspace, record.key);
    if (record.kind == log::RecordKind::kEffect) {
      if (record.payload.empty() ||
          record.payload[0] != static_cast<char>(log::EffectCode::kSplices)) {
        return TakeEffect(id, record.lsn, position);
      }
      log::SpliceEffectReader parts(record.payload);
      while (parts.Next()) {
        std::string page = id;
        if (parts.page() != 0) {
          auto at = std::find(names_.id_of_db.begin(), names_.id_of_db.end(), record.keyspace);
          if (at == names_.id_of_db.end() || at + 1 == names_.id_of_db.end()) break;
          page = IdOf(*(at + 1), PageKey(parts.value_id(), parts.page()).view());
        }
        FIRN_RETURN_IF_ERROR(TakeEffect(page, record.lsn, position));
      }
      return Status::Ok();
    }
    if (record.kind != log::RecordKind::kImage && record.kind != log::RecordKind::kDelete) {
      return Status::Ok();
    }
    if (std::find(seen_keyspaces_.begin(), seen_keyspaces_.end(), record.keyspace) ==
        seen_keyspaces_.end()) {
      seen_keyspaces_.push_back(record.keyspace);
    }
    effects_.erase(id);
    if (record.kind == log::RecordKind::kDelete && source.is_cold) {
      uint64_t& lsn = cold_deletes_[id];
      lsn = std::max(lsn, record.lsn);
      return Status::Ok();
    }
    auto newest = NewestLsn(id);
    if (!newest) return newest.error();
    if (*newest > record.lsn) return Status::Ok();
    IndexBatch::Change change{KeyOf(id), std::nullopt};
    if (record.kind == log::RecordKind::kImage) {
      bool has_expiry = record.expiry_ms != log::kNoExpiry;
      change.root = IndexRoot{.position = position,
                              .logical_size = static_cast<uint32_t>(LogicalRecordSize(
                                  record.key.size(), record.raw_payload_size, has_expiry)),
                              .size = static_cast<uint32_t>(log::PaddedSize(record.size)),
                              .lsn = record.lsn,
                              .type = record.type,
                              .expiry_ms = record.expiry_ms};
    }
    pending_[id] = {batch_.changes.size(), record.lsn};
    batch_.changes.push_back(std::move(change));
    return batch_.changes.size() >= kBatchChanges ? WriteBatch() : Status::Ok();
  }

  Status TakeEffect(const std::string& id, uint64_t lsn, const log::LogPosition& position) {
    // An image that compaction has copied may include it; the replay must not begin there then,
    // because the log may have gaps behind.
    auto newest = NewestLsn(id);
    if (!newest) return newest.error();
    if (*newest < lsn) effects_.try_emplace(id, FirstEffect{position, lsn});
    return Status::Ok();
  }

  Result<uint64_t> NewestLsn(const std::string& id) {
    auto it = pending_.find(id);
    if (it != pending_.end()) return it->second.lsn;
    auto root = index_.Find(KeyOf(id));
    if (!root) return std::unexpected(root.error());
    return root->has_value() ? (*root)->lsn : 0;
  }

  Status WriteBatch() {
    Status status = index_.Apply(batch_);
    batch_ = {};
    pending_.clear();
    return status;
  }

  Index& index_;
  const HashSecret secret_;
  KeyspaceNames names_;
  IndexBatch batch_;
  std::unordered_map<std::string, Pending> pending_;
  std::unordered_map<std::string, uint64_t> cold_deletes_;
  std::unordered_map<std::string, FirstEffect> effects_;
  std::vector<uint32_t> seen_keyspaces_;
  log::LogPosition end_;
  uint64_t last_lsn_ = 0;
  int64_t last_wall_ms_ = 0;
  uint32_t last_crc_ = 0;
  bool in_group_ = false;
  std::vector<Held> group_;
  log::LogPosition group_begin_;
  uint64_t group_begin_lsn_ = 0;
  uint32_t group_begin_previous_crc_ = 0;
};

}  // namespace

Status RebuildIndex(Index* index, HashSecret secret, const RebuildSources& sources,
                    uint32_t databases) {
  Rebuilder rebuilder(index, secret, databases);
  FIRN_RETURN_IF_ERROR(rebuilder.ReadCold(sources.cold));
  FIRN_RETURN_IF_ERROR(rebuilder.ReadFresh(sources.fresh));
  return rebuilder.Finish();
}

}  // namespace firn
