// RecordReader: single records of a snapshot's segments by their places, with as much read ahead as
// the caller knows to be wanted. Past the page cache where the segment is synced, so that what
// serves clients stays there.
//
// One thread at a time; blocking.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/record.h"
#include "tiering/snapshot/snapshot_overlay.h"
#include "tiering/snapshot/snapshot_source.h"

namespace firn {

class RecordReader {
 public:
  explicit RecordReader(const std::vector<SnapshotSource::Segment>* segments)
      : segments_(*segments) {}

  // The record's views stay valid until the next call. `ahead_to`: the offset in its segment up to
  // which more will be asked for soon. kCorruption if there is no sound record.
  Status Read(SnapshotPlace place, uint64_t ahead_to, log::RecordView* record);
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  struct Free {
    void operator()(char* buffer) const { std::free(buffer); }
  };
  Status Load(uint32_t segment, uint64_t begin, uint64_t end);

  const std::vector<SnapshotSource::Segment>& segments_;
  // The bytes [begin_, end_) of segment `loaded_`.
  std::unique_ptr<char, Free> buffer_;
  uint64_t capacity_ = 0;
  uint32_t loaded_ = 0;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  uint64_t bytes_read_ = 0;
};

}  // namespace firn
