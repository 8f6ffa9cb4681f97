// SnapshotView: the keys and values of a store as they were when its SnapshotSource was taken,
// read from the log alone, in log order, in bounded memory, while the store goes on.
//
//   SnapshotView view(std::move(source));
//   view.Open();                                    replays the log's tail, from the index on
//   for each database: view.VisitKeys(db, ...)      every key that has not expired, once
//     SnapshotPages pages(&view, db, value.bytes)   the pages of a collection (snapshot_pages.h)
//
// Blocking; one thread at a time, any thread, but for Cancel.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/keyspace/entry.h"
#include "tiering/snapshot/record_reader.h"
#include "tiering/snapshot/snapshot_overlay.h"
#include "tiering/snapshot/snapshot_source.h"

namespace firn {

// A value; of a collection, its root.
struct SnapshotValue {
  std::string_view key;
  ValueType type = ValueType::kNone;
  int64_t expiry_ms = -1;
  bool is_integer = false;  // a string: `integer` instead of `bytes`
  int64_t integer = 0;
  std::string_view bytes;
};

class SnapshotView {
 public:
  explicit SnapshotView(std::unique_ptr<SnapshotSource> source);
  ~SnapshotView();
  SnapshotView(const SnapshotView&) = delete;
  SnapshotView& operator=(const SnapshotView&) = delete;

  // Before anything else. kCorruption if the log's tail can't be read to its end.
  Status Open();
  const SnapshotSource& source() const { return *source_; }

  // Calls `visit` for every key of a database, in no order to rely upon, until it fails. The
  // value's views are valid during the call.
  using Visit = std::function<Status(const SnapshotValue&)>;
  Status VisitKeys(uint32_t db, const Visit& visit);
  // The bytes of a page of a collection; nothing if there is no such page.
  Result<std::optional<std::string>> ReadPage(uint32_t db, uint64_t value_id, uint32_t page);

  // From any thread: what is under way fails with kBusy, soon.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  // The end: the disk gets back what the snapshot alone kept, which may take seconds. Only source()
  // may be asked afterwards, for what is not a file.
  void Release();
  uint64_t bytes_read() const { return scan_.bytes_read() + single_.bytes_read(); }

 private:
  // A value with bytes of its own, while effects are applied.
  struct Image {
    std::string bytes;
    ValueType type = ValueType::kNone;
    int64_t expiry_ms = -1;
    bool is_integer = false;
    int64_t integer = 0;
    uint64_t lsn = 0;
  };
  // Which value an effect is to change.
  struct Target {
    uint32_t keyspace = 0;
    std::string_view key;
    uint64_t value_id = 0;  // of a page
    uint32_t page = 0;      // 0: the value under the key
  };
  // Places of a keyspace's newest images by segment: offsets in units of kRecordAlignment.
  using Places = std::vector<std::vector<uint32_t>>;
  struct SegmentRange {
    size_t first = 0;  // numbers as in SnapshotPlace
    size_t end = 0;
  };

  Status CheckCancelled() const;
  SnapshotPlace PlaceOf(const log::LogPosition& position) const;
  std::string Where(SnapshotPlace place) const;
  Status ForPlaces(uint32_t keyspace, const std::function<void(SnapshotPlace)>& take);
  Status VisitRange(uint32_t keyspace, SegmentRange range, const std::vector<uint64_t>& counts,
                    const Visit& visit);
  Status VisitSegment(uint32_t keyspace, uint32_t segment, std::vector<uint32_t>* units,
                      const Visit& visit);
  Status VisitRecord(uint32_t keyspace, SnapshotPlace place, const log::RecordView& record,
                     const Visit& visit);
  Result<Image> ImageOf(const log::RecordView& record, SnapshotPlace place) const;
  Status ApplyEffects(const SnapshotOverlay::Change& change, const Target& target, Image* image);
  Status ApplyEffect(std::string_view payload, const Target& target, Image* image);

  const std::unique_ptr<SnapshotSource> source_;
  SnapshotOverlay overlay_;
  RecordReader scan_;    // of what is visited
  RecordReader single_;  // of pages and effects
  std::atomic<bool> cancelled_{false};
};

}  // namespace firn
