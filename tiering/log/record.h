// Records: building them into a buffer and taking them apart, with every check that a reader of
// untrusted bytes owes. Pure functions on bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "tiering/log/log_format.h"

namespace firn::log {

inline constexpr int64_t kNoExpiry = -1;

// What to write. Views are copied by Encode.
struct RecordSpec {
  RecordKind kind = RecordKind::kImage;
  uint8_t flags = 0;  // of RecordFlag; kFlagHasExpiry is set from expiry_ms
  uint8_t type = 0;
  PayloadEncoding encoding = PayloadEncoding::kBytes;
  Compression compression = Compression::kNone;
  uint32_t keyspace = 0;
  int64_t expiry_ms = kNoExpiry;
  std::string_view key = {};
  std::string_view payload_prefix = {};  // payload = payload_prefix + payload
  std::string_view payload = {};
  uint32_t raw_payload_size = 0;  // 0: the payload's size
};

// The chain state that a stream's next record is written with.
struct RecordContext {
  uint32_t previous_crc = 0;
  uint32_t epoch = 0;
  uint64_t lsn = 0;
  uint64_t durable_lsn = 0;
  int64_t wall_ms = 0;
  uint8_t flags = 0;  // added to the spec's
};

// Size in bytes without and with the padding. REQUIRES: the limits of log_format.h.
uint32_t EncodedSize(const RecordSpec& spec);
constexpr uint64_t PaddedSize(uint64_t size) {
  return (size + kRecordAlignment - 1) & ~static_cast<uint64_t>(kRecordAlignment - 1);
}

// Writes the record and its padding at `to`, which has PaddedSize(EncodedSize(spec)) bytes. Returns
// its crc.
uint32_t EncodeRecord(const RecordSpec& spec, const RecordContext& context, char* to);

// A decoded record; views point into the bytes that were decoded.
struct RecordView {
  RecordKind kind;
  uint8_t flags = 0;
  uint8_t type = 0;
  PayloadEncoding encoding;
  Compression compression;
  uint32_t keyspace = 0;
  uint32_t epoch = 0;
  uint32_t crc = 0;
  uint32_t previous_crc = 0;
  uint32_t size = 0;  // without the padding
  uint64_t lsn = 0;
  uint64_t durable_lsn = 0;
  int64_t wall_ms = 0;
  int64_t expiry_ms = kNoExpiry;
  std::string_view key;
  std::string_view payload;  // still compressed
  uint32_t raw_payload_size = 0;
};

// The digest that a group's commit carries: how many records lie between the marks, and the CRC32C
// of their crcs, each as four little-endian bytes, in order.
struct GroupDigest {
  uint32_t count = 0;
  uint32_t crc = 0;

  static constexpr uint32_t kEncodedSize = 8;
  void Add(uint32_t record_crc);
  void Encode(char* to) const;                   // kEncodedSize bytes: the commit's payload
  bool Matches(std::string_view payload) const;  // of the commit
};

enum class DecodeOutcome {
  kOk,
  kNeedMore,  // the header is plausible, but the record is longer than the bytes given
  kEnd,       // zeros: nothing was ever written here
  kInvalid,   // a length, kind, flag or checksum is wrong
};
// Decodes the record at the begin of `bytes`. With kNeedMore, `*needed` is its size in bytes, or
// that of a header while not even that is there. Empty bytes are the end.
DecodeOutcome DecodeRecord(std::string_view bytes, RecordView* record, uint64_t* needed);
// Decodes header, expiry and key only, without the checksum (the payload isn't there). For look-ups
// of metadata in long records; the caller compares key and keyspace. kNeedMore if the key isn't
// within `bytes`.
DecodeOutcome DecodeRecordHead(std::string_view bytes, RecordView* record, uint64_t* needed);

// Uncompresses a payload (or copies it, if it isn't compressed). Checks the size against
// raw_payload_size before allocating.
Result<std::string> UncompressPayload(const RecordView& record);
// Compresses `raw` if that saves at least an eighth; empty otherwise.
std::string CompressPayload(std::string_view raw, int level);

}  // namespace firn::log
