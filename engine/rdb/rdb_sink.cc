#include "engine/rdb/rdb_sink.h"

#include "engine/base/check.h"
#include "engine/rdb/crc64.h"

namespace firn {
namespace {

constexpr size_t kBlockBytes = 64 << 10;

}  // namespace

void RdbSink::Append(std::string_view bytes) {
  if (buffer_.size() + bytes.size() <= kBlockBytes) {
    buffer_.append(bytes);
    return;
  }
  Flush();
  if (bytes.size() <= kBlockBytes) {
    buffer_.append(bytes);
  } else {
    WriteNow(bytes);
  }
}

void RdbSink::Flush() {
  if (buffer_.empty()) return;
  WriteNow(buffer_);
  buffer_.clear();
}

void RdbSink::WriteNow(std::string_view bytes) {
  crc_ = Crc64(crc_, bytes);
  flushed_ += bytes.size();
  if (status_.ok()) status_ = Write(bytes);
}

uint64_t RdbSink::crc() const { return Crc64(crc_, buffer_); }

void RdbSink::Amend(const Change& change) {
  CHECK(change.was.size() == change.becomes.size());
  Flush();
  const uint64_t end = change.offset + change.was.size();
  CHECK(end <= flushed_);
  std::string difference(change.was);
  for (size_t i = 0; i < difference.size(); ++i) {
    difference[i] = static_cast<char>(difference[i] ^ change.becomes[i]);
  }
  crc_ ^= Crc64Zeros(Crc64(0, difference), flushed_ - end);
  if (status_.ok()) status_ = Overwrite(change.offset, change.becomes);
}

Status RdbSink::Overwrite(uint64_t, std::string_view) {
  return {StatusCode::kUnsupported, "what has been written can't be changed"};
}

}  // namespace firn
