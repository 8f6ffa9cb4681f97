// GroupFilter: passes on the records of a stream that took effect: those of a group once its commit
// is there, and none of a group that was abandoned or is still open at the end. Marks stop here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn::log {

class GroupFilter {
 public:
  using Apply = std::function<Status(const RecordView&, const LogPosition&)>;
  explicit GroupFilter(Apply apply) : apply_(std::move(apply)) {}

  // The next record of the stream. Fails as `apply` does, or if a committed group lacks records.
  Status Take(const RecordView& record, const LogPosition& position);

  // A group has begun and neither been committed nor abandoned: it did not happen.
  bool open() const { return open_; }
  // REQUIRES: open(). Where it began, and the begin mark without its views.
  const LogPosition& begin() const { return begin_; }
  const RecordView& begin_mark() const { return begin_mark_; }
  // Passes on an open group as if it were committed.
  Status Flush();

 private:
  struct Held {
    RecordView record;
    std::string key;
    std::string payload;
    LogPosition position;
  };

  const Apply apply_;
  std::vector<Held> held_;
  bool open_ = false;
  LogPosition begin_;
  RecordView begin_mark_{};
  GroupDigest digest_;
};

}  // namespace firn::log
