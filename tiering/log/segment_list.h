// What a log directory holds, as found on disk: for recovery and tools. Blocking; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment.h"

namespace firn::log {

struct FoundSegment {
  uint64_t id = 0;  // from its name
  std::shared_ptr<io::File> file;
  uint64_t size_bytes = 0;
  // kNotFound: a spare that was never used; kUnsupported, kCorruption: unusable, and of what stream
  // nobody knows.
  Result<SegmentHeader> header = std::unexpected(Status());

  bool IsSpare() const { return !header && header.error().code() == StatusCode::kNotFound; }
};

struct ListOptions {
  bool writable = false;
};
// All segments in the order of their ids; files with other names are passed over. Fails if the
// directory or a file can't be read.
Result<std::vector<FoundSegment>> ListSegments(io::FileSystem* file_system,
                                               const std::string& directory, ListOptions options);

// Those of one stream, to read up to their files' ends. One without a sound header is taken for
// part of the fresh stream, so that the reader meets it in its place and tells of it.
std::vector<ReadableSegment> SegmentsOf(Stream stream, const std::vector<FoundSegment>& found);

}  // namespace firn::log
