#include "tiering/log/segment_list.h"

#include <algorithm>
#include <utility>

namespace firn::log {

Result<std::vector<FoundSegment>> ListSegments(io::FileSystem* file_system,
                                               const std::string& directory, ListOptions options) {
  auto names = file_system->List(directory);
  if (!names) return std::unexpected(names.error());
  std::vector<FoundSegment> found;
  for (const std::string& name : *names) {
    FoundSegment segment;
    if (!ParseSegmentFileName(name, &segment.id)) continue;
    std::string path = directory + "/" + name;
    auto file = file_system->Open(path, {.writable = options.writable});
    if (!file) return std::unexpected(file.error());
    segment.file = std::move(*file);
    auto size = segment.file->Size();
    if (!size) return std::unexpected(size.error());
    segment.size_bytes = *size;

    std::string block(kSegmentHeaderSize, '\0');
    auto read = segment.file->ReadAt(0, block);
    if (!read) return std::unexpected(read.error());
    block.resize(*read);
    segment.header = DecodeSegmentHeader(block, path);
    if (segment.header && segment.header->segment_id != segment.id) {
      segment.header =
          std::unexpected(Status::Corruption(path + ": the header at offset 0 is that of segment " +
                                             std::to_string(segment.header->segment_id)));
    }
    found.push_back(std::move(segment));
  }
  std::sort(found.begin(), found.end(),
            [](const FoundSegment& a, const FoundSegment& b) { return a.id < b.id; });
  return found;
}

std::vector<ReadableSegment> SegmentsOf(Stream stream, const std::vector<FoundSegment>& found) {
  std::vector<ReadableSegment> segments;
  for (const FoundSegment& segment : found) {
    Stream its_stream =
        segment.header ? static_cast<Stream>(segment.header->stream) : Stream::kFresh;
    if (its_stream != stream) continue;
    segments.push_back({.id = segment.id, .file = segment.file, .end_offset = segment.size_bytes});
  }
  return segments;
}

}  // namespace firn::log
