// RecordFetch: one asynchronous read of a log record, past the page cache: the aligned blocks that
// hold it, again with the right length if the size was only guessed, checked in full. Executor
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/base/status.h"
#include "tiering/io/loop.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn {

class StoreImpl;

struct RecordFetchRequest {
  log::PackedPosition position = 0;
  uint64_t size_guess_bytes = 0;
  bool head_only =
      false;  // stops at the key: the record's payload may be missing and is not checked
};

// `record` and what it points to live during the callback only. `complete` tells that the whole
// record is there and its checksum is right; it is always so unless head_only was asked for.
struct FetchedRecord {
  log::RecordView record;
  bool complete = false;
  uint64_t bytes_read = 0;
};
using RecordFetchDone = std::move_only_function<void(Result<FetchedRecord>)>;

// Holds the segment until done. `done` is called from the loop, or not at all if the store has
// gone. A position whose segment is unknown is a kCorruption.
void StartRecordFetch(StoreImpl* store, const RecordFetchRequest& request, RecordFetchDone done);

}  // namespace firn
