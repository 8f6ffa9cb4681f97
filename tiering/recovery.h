// Recovery: the start. Reads the identity and the segments' headers, opens the index, replays the
// log's tail into the RAM overlay (positions of newest values, not the values), cuts a torn tail,
// and leaves the store ready to serve. Blocking. What it needs depends on the tail alone, not on
// the dataset.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/index_meta.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/record.h"
#include "tiering/store_impl.h"

namespace firn {

class Recovery {
 public:
  Recovery(StoreImpl* store, std::function<void()> progress)
      : store_(*store), progress_(std::move(progress)) {}

  Status Run();

 private:
  Status LoadIdentity();
  Status OpenSegments();
  Status OpenSegment(uint64_t id);
  Status OpenIndex();
  std::vector<log::ReadableSegment> Readable(log::Stream stream, uint64_t from_id) const;
  void AdoptKeyspaces(const IndexMeta& meta);
  Status Replay();
  Status TakeRecord(const log::RecordView& record, const log::LogPosition& position);
  Status ApplyRecord(const log::RecordView& record, const log::LogPosition& position);
  void ApplyImage(Keyspace& keyspace, const log::RecordView& record,
                  const log::LogPosition& position);
  void ApplyDelete(Keyspace& keyspace, const log::RecordView& record,
                   const log::LogPosition& position);
  Status ApplyEffect(Keyspace& keyspace, const log::RecordView& record,
                     const log::LogPosition& position);
  Status ApplySplices(Keyspace& keyspace, const log::RecordView& record,
                      const log::LogPosition& position);
  void NoteEffect(Keyspace& keyspace, const HashedKey& key, Entry* entry, uint64_t lsn,
                  const log::LogPosition& position);
  Status ApplyKeyspaces(const log::RecordView& record);
  Result<Entry*> LoadValue(Keyspace& keyspace, const HashedKey& key, uint64_t before_lsn);
  Status StopAt(log::LogReader* reader, log::LogReader::Outcome outcome);
  Status Cut(const log::LogPosition& position);
  Status CheckBrokenHeaders();
  Status CutAtUnprovenGap();
  static bool IsProven(const std::vector<log::ReadableSegment>& segments);
  Status StartLog();
  Status FindLastCrc();
  void ReportProgress();

  // A record that waits for its group's commit, with bytes of its own.
  struct Held {
    log::RecordView record;
    std::string key;
    std::string payload;
    log::LogPosition position;
  };

  StoreImpl& store_;
  std::function<void()> progress_;
  std::string log_directory_;
  IndexMeta meta_;
  bool has_meta_ = false;
  bool names_changed_ = false;  // databases that nothing on disk knows yet
  uint32_t last_epoch_ = 0;
  uint64_t last_lsn_ = 0;
  uint32_t last_crc_ = 0;
  int64_t last_wall_ms_ = 0;
  uint64_t last_fresh_segment_ = 0;
  uint64_t max_segment_id_ = 0;
  log::LogPosition end_;  // of what was replayed
  std::map<uint64_t, log::SegmentHeader> headers_;
  std::set<uint64_t> broken_headers_;  // of segments that are taken for the fresh stream's
  std::vector<Held> group_;
  bool in_group_ = false;
  log::LogPosition group_begin_;
  int64_t group_begin_wall_ms_ = 0;  // of the record before
  uint64_t group_begin_lsn_ = 0;
  uint32_t group_begin_previous_crc_ = 0;
  log::GroupDigest group_digest_;
};

}  // namespace firn
