// What the record fuzzer does with one input, shared with the replay of the corpus in
// tests/tiering/log. The first byte chooses what the rest is taken for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/crc32c.h"
#include "support/memory_file.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn::log {

// A record that was taken must be one that the writer writes, bit by bit.
inline void CheckEncodesBack(const RecordView& record, std::string_view bytes) {
  RecordSpec spec = {.kind = record.kind,
                     .flags = record.flags,
                     .type = record.type,
                     .encoding = record.encoding,
                     .compression = record.compression,
                     .keyspace = record.keyspace,
                     .expiry_ms = record.expiry_ms,
                     .key = record.key,
                     .payload = record.payload,
                     .raw_payload_size = record.raw_payload_size};
  // Where a field doesn't say what it was made from.
  auto undurable = LoadFixed<uint32_t>(bytes.data() + 32);
  if (undurable == UINT32_MAX || undurable > record.lsn) return;
  if (record.raw_payload_size == 0 && !record.payload.empty()) return;
  std::string again(PaddedSize(EncodedSize(spec)), '\0');
  EncodeRecord(spec,
               {.previous_crc = record.previous_crc,
                .epoch = record.epoch,
                .lsn = record.lsn,
                .durable_lsn = record.durable_lsn,
                .wall_ms = record.wall_ms},
               again.data());
  CHECK(std::string_view(again).substr(0, record.size) == bytes.substr(0, record.size));
}

inline void FuzzDecode(std::string_view bytes) {
  RecordView record;
  uint64_t needed = 0;
  switch (DecodeRecord(bytes, &record, &needed)) {
    case DecodeOutcome::kOk:
      CHECK(record.size <= bytes.size());
      CheckEncodesBack(record, bytes);
      // Not those that promise hundreds of megabytes: the fuzzer counts memory.
      if (record.raw_payload_size < (1 << 20)) static_cast<void>(UncompressPayload(record));
      break;
    case DecodeOutcome::kNeedMore:
      CHECK(needed > bytes.size());
      break;
    case DecodeOutcome::kEnd:
    case DecodeOutcome::kInvalid:
      break;
  }
  static_cast<void>(DecodeRecordHead(bytes, &record, &needed));
}

// Puts the right checksum on what lies at `offset`, so that the fuzzer gets behind it. Returns the
// record's padded size, 0 if it reaches beyond the end.
inline uint64_t Reseal(std::string* bytes, uint64_t offset, uint32_t* previous_crc) {
  if (bytes->size() - offset < sizeof(RecordHeader)) return 0;
  char* at = bytes->data() + offset;
  auto size = LoadFixed<uint32_t>(at + 8);
  if (size < sizeof(RecordHeader) || size > bytes->size() - offset) return 0;
  StoreFixed(at + 4, *previous_crc);
  *previous_crc = Crc32c(0, at + 4, size - 4);
  StoreFixed(at, *previous_crc);
  return PaddedSize(size);
}

// The input as the records of two segments.
inline void FuzzReader(std::string_view input, bool reseal) {
  std::vector<ReadableSegment> segments;
  uint32_t previous_crc = 0;
  for (uint64_t id = 1; id <= 2; ++id) {
    std::string bytes(kSegmentHeaderSize, '\0');
    SegmentHeader header = {};
    header.segment_id = id;
    header.previous_id = id - 1;
    header.epoch = 1;
    header.previous_crc = previous_crc;
    header.stream = static_cast<uint8_t>(Stream::kFresh);
    EncodeSegmentHeader(header, bytes.data());
    bytes += id == 1 ? input.substr(0, input.size() / 2) : input.substr(input.size() / 2);
    for (uint64_t offset = kSegmentHeaderSize; reseal && offset < bytes.size();) {
      uint64_t size = Reseal(&bytes, offset, &previous_crc);
      if (size == 0) break;
      offset += size;
    }
    uint64_t size = bytes.size();
    segments.push_back({.id = id,
                        .file = std::make_shared<test::MemoryFile>(std::move(bytes)),
                        .end_offset = size});
  }
  LogReader reader(segments, kSegmentHeaderSize, {.chunk_size_bytes = 4096});
  RecordView record;
  uint64_t last_lsn = 0;
  LogReader::Outcome outcome;
  while ((outcome = reader.Next(&record)) == LogReader::Outcome::kRecord) {
    CHECK(record.lsn > last_lsn);
    last_lsn = record.lsn;
  }
  CHECK(outcome != LogReader::Outcome::kError);
  static_cast<void>(reader.FindProofOfDamage(last_lsn + 1));
}

inline void FuzzRecord(const uint8_t* data, size_t size) {
  if (size == 0) return;
  std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 5) {
    case 0:
      FuzzDecode(input);
      break;
    case 1: {
      std::string sealed(input);
      uint32_t previous_crc = 7;
      static_cast<void>(Reseal(&sealed, 0, &previous_crc));
      FuzzDecode(sealed);
      break;
    }
    case 2:
    case 3:
      FuzzReader(input, data[0] % 5 == 3);
      break;
    case 4: {
      std::string block(input);
      block.resize(kSegmentHeaderSize);
      static_cast<void>(DecodeSegmentHeader(block, "fuzz"));
      break;
    }
  }
}

}  // namespace firn::log
