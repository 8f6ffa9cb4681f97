// The bytes of the log on disk. docs/log-format.md is the reference; these constants are its twin.
// Numbers once written are never changed or reused; zero is no valid kind or type.
#pragma once

#include <cstddef>
#include <cstdint>

namespace firn::log {

inline constexpr char kMagic[8] = {'F', 'I', 'R', 'N', 'L', 'O', 'G', '\n'};
inline constexpr uint32_t kFormatVersion = 1;

// Records begin at multiples of this many bytes; a position in RAM counts in these units.
inline constexpr uint32_t kRecordAlignment = 16;
inline constexpr uint32_t kSegmentHeaderSize = 4096;

enum class Stream : uint8_t {
  kFresh = 1,  // the executor's appends, in LSN order: the AOF
  kCold = 2,   // compaction's copies; each keeps its LSN
};

// At offset 0 of every segment, zero-padded to kSegmentHeaderSize. Little-endian.
struct SegmentHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_crc;   // CRC32C of the bytes of this struct with header_crc = 0
  uint64_t segment_id;   // unique for ever within a data directory
  uint64_t previous_id;  // of the same stream, 0 for the first
  uint64_t as_of_lsn;    // fresh: LSN of its first record; cold: the LSN when copying began
  uint64_t created_ms;
  uint64_t directory_id;  // random per data directory
  uint32_t epoch;         // one more at every start
  uint32_t previous_crc;  // crc of the last record of the stream before this segment
  uint64_t capacity;      // bytes of the file while it was being written
  uint8_t stream;         // Stream
  uint8_t reserved[7];
};
static_assert(sizeof(SegmentHeader) == 80);

enum class RecordKind : uint8_t {
  kImage = 1,        // a root: key, type, expiry and the whole value
  kDelete = 2,       // the key is gone; no payload
  kEffect = 3,       // a change of one value: payload = EffectCode, then its operands
  kGroupBegin = 4,   // the records up to kGroupCommit take effect together or not at all
  kGroupCommit = 5,  // payload: u32 number of records since the begin, u32 crc of their crcs
  kStamp = 6,        // the log was durable up to the LSN before it; no payload
  kKeyspaces = 7,    // payload: the whole map of db numbers to keyspace ids (see keyspace_map.h)
  kFiller = 8,       // skipped; closes a gap
};

enum class EffectCode : uint8_t {
  kAppend = 1,     // bytes to append
  kSetRange = 2,   // u64 offset, bytes
  kSetExpiry = 3,  // i64 Unix milliseconds, -1 for none
  // u64 value id, then for each page that changed: varint page number (0: the root, under the
  // record's key), varint number of splices, each varint offset, varint bytes removed, varint bytes
  // inserted, the bytes. Offsets count in the page before the change; all splices of a page that
  // stand together are one change.
  kSplices = 4,
};

enum RecordFlag : uint8_t {
  kFlagNewKey = 1,  // the key did not exist before
  kFlagBlind = 2,   // whether it existed was not known
  kFlagInGroup = 4,
  kFlagHasExpiry = 8,            // 8 bytes of expiry precede the key
  kFlagSupersededExpiring = 16,  // it superseded a record that may still be on disk
  kFlagRawString = 32,           // OBJECT ENCODING raw whatever the size
};

// Encoding of an image's payload.
enum class PayloadEncoding : uint8_t { kBytes = 1, kInteger = 2 };
enum class Compression : uint8_t { kNone = 0, kZstd = 1 };

// At the begin of every record; then [expiry i64], key, payload, zero padding to kRecordAlignment.
struct RecordHeader {
  uint32_t crc;           // CRC32C of everything from previous_crc to the end of the payload
  uint32_t previous_crc;  // crc of the record before it in its stream
  uint32_t size;          // header, expiry, key and payload; without the padding
  uint16_t epoch;         // low bits of the segment's
  uint8_t kind;           // RecordKind
  uint8_t flags;          // RecordFlag
  uint64_t lsn;
  uint8_t wall_ms[6];  // Unix milliseconds
  uint8_t type;        // ValueType on disk, 0 where there is no value
  uint8_t encoding;    // low 4 bits PayloadEncoding, high 4 Compression
  uint32_t undurable;  // lsn - "durable up to" when it was written, saturated
  uint32_t keyspace;
  uint32_t key_size;
  uint32_t raw_payload_size;  // before compression
};
static_assert(sizeof(RecordHeader) == 48);

inline constexpr uint32_t kMaxKeySize = 512u << 20;
// The largest value, and room for the code and operands of an effect.
inline constexpr uint32_t kMaxPayloadSize = (512u << 20) + 64;
inline constexpr uint32_t kMaxRecordSize = kMaxKeySize + kMaxPayloadSize + 4096;

// Value types on disk.
inline constexpr uint8_t kDiskString = 1;
inline constexpr uint8_t kDiskList = 2;
inline constexpr uint8_t kDiskSet = 3;
inline constexpr uint8_t kDiskZset = 4;
inline constexpr uint8_t kDiskHash = 5;
inline constexpr uint8_t kDiskStream = 6;
inline constexpr uint8_t kDiskPage = 7;      // a page of a collection; its key: u64 value id, u32 number
inline constexpr uint8_t kDiskReapNote = 8;  // pages of a deleted collection are still to be deleted
inline constexpr uint8_t kDiskLongString = 9;  // the root of a string in pages
inline constexpr uint8_t kLastDiskType = kDiskLongString;

}  // namespace firn::log
