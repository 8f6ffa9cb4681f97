// Parts of LogWriter that its source files share. For tiering/log/log_writer*.cc only.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>

#include "tiering/log/log_writer.h"

namespace firn::log {

inline constexpr uint64_t kWindowStep = 1 << 20;
inline constexpr size_t kSpares = 2;
inline constexpr uint64_t kNothingRefused = std::numeric_limits<uint64_t>::max();

inline uint64_t PageDown(uint64_t offset) { return offset & ~(io::kDirectAlignment - 1); }
inline uint64_t PageUp(uint64_t offset) { return PageDown(offset + io::kDirectAlignment - 1); }

// A mapped segment: a spare, the active one, or a sealed one that the window hasn't left.
struct LogWriter::Mapping {
  uint64_t id = 0;
  std::shared_ptr<io::File> file;
  char* address = nullptr;  // of offset 0; only [start, end) is still mapped
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t capacity = 0;
  uint64_t populated = 0;                   // [start, populated) is
  std::shared_ptr<PopulateJob> populating;  // by a worker: nothing may be unmapped
  bool discarded = false;      // a spare that was passed over: unmapped when no longer populated
  Segment* segment = nullptr;  // null: a spare

  uint64_t PopulatedBytes() const { return populated > start ? populated - start : 0; }
};

struct LogWriter::MakeJob {
  SegmentOrder order;
  Result<MadeSegment> result = MadeSegment();
};

// Populates [begin, end) of a mapping: on a worker, or, once the tail has come so far, on the
// executor.
struct LogWriter::PopulateJob {
  std::shared_ptr<io::File> file;
  char* address = nullptr;  // of offset 0
  uint64_t begin = 0;
  uint64_t end = 0;
  bool lock = false;
  // Once it is done:
  bool locked = true;
  Status status;

  // Any thread: does it unless another has begun.
  void Run();
  // Any thread: does it, or waits until the other is through. Nothing may be written to the range
  // before that.
  void Finish();

 private:
  enum State { kQueued, kRunning, kDone };
  std::atomic<int> state_ = kQueued;
};

}  // namespace firn::log
