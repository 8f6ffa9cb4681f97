#include "tiering/log/group_filter.h"

namespace firn::log {

Status GroupFilter::Flush() {
  open_ = false;
  for (Held& held : held_) {
    held.record.key = held.key;
    held.record.payload = held.payload;
    FIRN_RETURN_IF_ERROR(apply_(held.record, held.position));
  }
  held_.clear();
  return Status::Ok();
}

Status GroupFilter::Take(const RecordView& record, const LogPosition& position) {
  if (record.kind == RecordKind::kGroupBegin) {
    open_ = true;
    begin_ = position;
    begin_mark_ = record;
    begin_mark_.key = begin_mark_.payload = {};
    digest_ = {};
    held_.clear();
    return Status::Ok();
  }
  if (!open_) return apply_(record, position);
  if (record.kind == RecordKind::kGroupCommit) {
    if (!digest_.Matches(record.payload)) {
      return Status::Corruption("a group lacks records: " + SegmentFileName(position.segment_id) +
                                " at offset " + std::to_string(position.offset));
    }
    return Flush();
  }
  if ((record.flags & kFlagInGroup) == 0) {
    // An append in the group had failed, and it was given up.
    open_ = false;
    held_.clear();
    return apply_(record, position);
  }
  digest_.Add(record.crc);
  held_.push_back({record, std::string(record.key), std::string(record.payload), position});
  return Status::Ok();
}

}  // namespace firn::log
