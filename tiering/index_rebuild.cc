#include "tiering/index_rebuild.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "engine/base/coding.h"
#include "tiering/index_meta.h"
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
    for (const log::ReadableSegment& segment : segments) {
      log::LogReader reader({segment}, log::kSegmentHeaderSize, {});
      FIRN_RETURN_IF_ERROR(ReadAll(&reader, {.is_cold = true}));
    }
    return WriteBatch();
  }

  Status ReadFresh(const std::vector<log::ReadableSegment>& segments) {
    if (!segments.empty()) {
      log::LogReader reader(segments, log::kSegmentHeaderSize, {.allow_gaps = true});
      end_ = {segments.front().id, log::kSegmentHeaderSize};
      FIRN_RETURN_IF_ERROR(ReadAll(&reader, {.is_cold = false}));
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
    for (const auto& [id, first] : effects_) {
      if (first.lsn < meta.replay_lsn) {
        meta.replay_position = first.position;
        meta.replay_lsn = first.lsn;
      }
    }
    meta.counts_lsn = last_lsn_;
    meta.next_keyspace_id = names_.next_id;
    std::map<uint32_t, bool> named;
    for (uint32_t db = 0; db < names_.id_of_db.size(); ++db) {
      meta.keyspaces.push_back({.id = names_.id_of_db[db], .db = db});
      named[names_.id_of_db[db]] = true;
    }
    for (uint32_t id : seen_keyspaces_) {
      if (!named.contains(id)) batch.dropped_keyspaces.push_back(id);
    }
    batch.meta = EncodeIndexMeta(meta);
    FIRN_RETURN_IF_ERROR(index_.Apply(batch));
    return index_.Flush();
  }

 private:
  struct Source {
    bool is_cold = false;
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

  Status ReadAll(log::LogReader* reader, Source source) {
    log::RecordView record;
    log::LogReader::Outcome outcome;
    std::vector<std::pair<log::RecordView, log::LogPosition>> none;
    while ((outcome = reader->Next(&record)) == log::LogReader::Outcome::kRecord) {
      FIRN_RETURN_IF_ERROR(Take(record, reader->position(), source));
      if (source.is_cold) continue;
      last_lsn_ = record.lsn;
      end_ = {reader->position().segment_id,
              reader->position().offset + static_cast<uint32_t>(log::PaddedSize(record.size))};
    }
    if (outcome == log::LogReader::Outcome::kError) return reader->status();
    if (outcome == log::LogReader::Outcome::kInvalid && source.is_cold) {
      return Status::Corruption(reader->message());
    }
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
      effects_.try_emplace(id, FirstEffect{position, record.lsn});
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
