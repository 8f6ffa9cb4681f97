#include "tiering/log/record.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/crc32c.h"

namespace firn::log {
namespace {

constexpr uint8_t kKnownFlags = kFlagNewKey | kFlagBlind | kFlagInGroup | kFlagHasExpiry |
                                kFlagSupersededExpiring | kFlagRawString;
constexpr uint32_t kSaturated = std::numeric_limits<uint32_t>::max();
constexpr size_t kExpirySize = sizeof(int64_t);

bool HasExpiry(uint8_t flags) { return (flags & kFlagHasExpiry) != 0; }

void StoreWallTime(uint8_t* to, int64_t wall_ms) {
  uint64_t value = static_cast<uint64_t>(std::max<int64_t>(wall_ms, 0));
  std::memcpy(to, &value, 6);
}
int64_t LoadWallTime(const uint8_t* from) {
  uint64_t value = 0;
  std::memcpy(&value, from, 6);
  return static_cast<int64_t>(value);
}

bool AllZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == 0; });
}

// What each kind may carry, beyond the rules that hold for all.
bool KindAllows(const RecordHeader& header, uint32_t payload_size) {
  switch (static_cast<RecordKind>(header.kind)) {
    case RecordKind::kImage:
      return header.type >= kDiskString && header.type <= kLastDiskType;
    case RecordKind::kDelete:
      return payload_size == 0;
    case RecordKind::kEffect:
      return payload_size >= 1;
    case RecordKind::kGroupBegin:
    case RecordKind::kStamp:
      return header.flags == 0 && header.key_size == 0 && payload_size == 0;
    case RecordKind::kGroupCommit:
      return header.flags == 0 && header.key_size == 0 && payload_size == GroupDigest::kEncodedSize;
    case RecordKind::kKeyspaces:
      return header.key_size == 0;
    case RecordKind::kFiller:
      return true;
  }
  return false;
}

// The checks that need no byte beyond the header.
bool HeaderIsPlausible(const RecordHeader& header) {
  if ((header.flags & ~kKnownFlags) != 0 || header.type > kLastDiskType) return false;
  if (header.key_size > kMaxKeySize || header.size > kMaxRecordSize) return false;
  uint64_t fixed = sizeof(RecordHeader) + (HasExpiry(header.flags) ? kExpirySize : 0) +
                   uint64_t{header.key_size};
  if (header.size < fixed) return false;
  auto payload_size = static_cast<uint32_t>(header.size - fixed);
  if (payload_size > kMaxPayloadSize || header.raw_payload_size > kMaxPayloadSize) return false;
  uint8_t encoding = header.encoding & 0xf;
  if (encoding != static_cast<uint8_t>(PayloadEncoding::kBytes) &&
      encoding != static_cast<uint8_t>(PayloadEncoding::kInteger)) {
    return false;
  }
  uint8_t compression = header.encoding >> 4;
  if (compression == static_cast<uint8_t>(Compression::kNone)) {
    if (header.raw_payload_size != payload_size) return false;
  } else if (compression != static_cast<uint8_t>(Compression::kZstd)) {
    return false;
  }
  return KindAllows(header, payload_size);
}

void FillView(const RecordHeader& header, RecordView* record) {
  record->kind = static_cast<RecordKind>(header.kind);
  record->flags = header.flags;
  record->type = header.type;
  record->encoding = static_cast<PayloadEncoding>(header.encoding & 0xf);
  record->compression = static_cast<Compression>(header.encoding >> 4);
  record->keyspace = header.keyspace;
  record->epoch = header.epoch;
  record->crc = header.crc;
  record->previous_crc = header.previous_crc;
  record->size = header.size;
  record->lsn = header.lsn;
  // A saturated distance says only that it was far: as good as nothing known.
  record->durable_lsn = header.undurable == kSaturated || header.undurable > header.lsn
                            ? 0
                            : header.lsn - header.undurable;
  record->wall_ms = LoadWallTime(header.wall_ms);
  record->expiry_ms = kNoExpiry;
  record->key = {};
  record->payload = {};
  record->raw_payload_size = header.raw_payload_size;
}

// Everything up to the payload; kOk if it lies within `bytes` and is plausible.
DecodeOutcome DecodeHead(std::string_view bytes, RecordView* record, uint64_t* needed) {
  if (bytes.size() < sizeof(RecordHeader)) {
    if (AllZero(bytes)) return DecodeOutcome::kEnd;
    *needed = sizeof(RecordHeader);
    return DecodeOutcome::kNeedMore;
  }
  auto header = LoadFixed<RecordHeader>(bytes.data());
  if (header.size == 0) {
    return AllZero(bytes.substr(0, sizeof header)) ? DecodeOutcome::kEnd : DecodeOutcome::kInvalid;
  }
  if (!HeaderIsPlausible(header)) return DecodeOutcome::kInvalid;
  FillView(header, record);

  size_t key_offset = sizeof header + (HasExpiry(header.flags) ? kExpirySize : 0);
  size_t head_size = key_offset + header.key_size;
  if (bytes.size() < head_size) {
    *needed = head_size;
    return DecodeOutcome::kNeedMore;
  }
  if (HasExpiry(header.flags)) {
    record->expiry_ms = LoadFixed<int64_t>(bytes.data() + sizeof header);
    if (record->expiry_ms == kNoExpiry) return DecodeOutcome::kInvalid;
  }
  record->key = bytes.substr(key_offset, header.key_size);
  return DecodeOutcome::kOk;
}

char* CopyTo(char* to, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

}  // namespace

uint32_t EncodedSize(const RecordSpec& spec) {
  uint64_t payload_size = uint64_t{spec.payload_prefix.size()} + spec.payload.size();
  CHECK(spec.key.size() <= kMaxKeySize);
  CHECK(payload_size <= kMaxPayloadSize);
  return static_cast<uint32_t>(sizeof(RecordHeader) +
                               (spec.expiry_ms == kNoExpiry ? 0 : kExpirySize) + spec.key.size() +
                               payload_size);
}

uint32_t EncodeRecord(const RecordSpec& spec, const RecordContext& context, char* to) {
  RecordHeader header = {};
  auto payload_size = static_cast<uint32_t>(spec.payload_prefix.size() + spec.payload.size());
  header.previous_crc = context.previous_crc;
  header.size = EncodedSize(spec);
  header.epoch = static_cast<uint16_t>(context.epoch);
  header.kind = static_cast<uint8_t>(spec.kind);
  header.flags = static_cast<uint8_t>((spec.flags | context.flags) & ~kFlagHasExpiry);
  if (spec.expiry_ms != kNoExpiry) header.flags |= kFlagHasExpiry;
  header.lsn = context.lsn;
  StoreWallTime(header.wall_ms, context.wall_ms);
  header.type = spec.type;
  header.encoding = static_cast<uint8_t>(static_cast<uint8_t>(spec.encoding) |
                                         static_cast<uint8_t>(spec.compression) << 4);
  uint64_t undurable = context.lsn > context.durable_lsn ? context.lsn - context.durable_lsn : 0;
  header.undurable = static_cast<uint32_t>(std::min<uint64_t>(undurable, kSaturated));
  header.keyspace = spec.keyspace;
  header.key_size = static_cast<uint32_t>(spec.key.size());
  header.raw_payload_size = spec.raw_payload_size == 0 ? payload_size : spec.raw_payload_size;
  // What no reader would take must not be written.
  CHECK(HeaderIsPlausible(header));

  char* at = to + sizeof header;
  if (spec.expiry_ms != kNoExpiry) {
    StoreFixed(at, spec.expiry_ms);
    at += kExpirySize;
  }
  at = CopyTo(at, spec.key);
  at = CopyTo(at, spec.payload_prefix);
  at = CopyTo(at, spec.payload);
  std::memset(at, 0, static_cast<size_t>(to + PaddedSize(header.size) - at));

  StoreFixed(to, header);
  header.crc = Crc32c(0, to + sizeof header.crc, header.size - sizeof header.crc);
  StoreFixed(to, header.crc);
  return header.crc;
}

void GroupDigest::Add(uint32_t record_crc) {
  ++count;
  crc = Crc32c(crc, &record_crc, sizeof record_crc);
}

void GroupDigest::Encode(char* to) const {
  StoreFixed(to, count);
  StoreFixed(to + sizeof count, crc);
}

bool GroupDigest::Matches(std::string_view payload) const {
  return payload.size() == kEncodedSize && LoadFixed<uint32_t>(payload.data()) == count &&
         LoadFixed<uint32_t>(payload.data() + sizeof count) == crc;
}

DecodeOutcome DecodeRecord(std::string_view bytes, RecordView* record, uint64_t* needed) {
  DecodeOutcome outcome = DecodeHead(bytes, record, needed);
  if (outcome == DecodeOutcome::kNeedMore && bytes.size() >= sizeof(RecordHeader)) {
    *needed = record->size;
  }
  if (outcome != DecodeOutcome::kOk) return outcome;
  if (bytes.size() < record->size) {
    *needed = record->size;
    return DecodeOutcome::kNeedMore;
  }
  uint32_t crc = Crc32c(0, bytes.data() + sizeof(record->crc), record->size - sizeof(record->crc));
  if (crc != record->crc) return DecodeOutcome::kInvalid;
  size_t payload_offset =
      static_cast<size_t>(record->key.data() - bytes.data()) + record->key.size();
  record->payload = bytes.substr(payload_offset, record->size - payload_offset);
  return DecodeOutcome::kOk;
}

DecodeOutcome DecodeRecordHead(std::string_view bytes, RecordView* record, uint64_t* needed) {
  return DecodeHead(bytes, record, needed);
}

Result<std::string> UncompressPayload(const RecordView& record) {
  if (record.compression == Compression::kNone) return std::string(record.payload);
  uint64_t claimed = ZSTD_getFrameContentSize(record.payload.data(), record.payload.size());
  if (claimed != record.raw_payload_size || claimed > kMaxPayloadSize) {
    return std::unexpected(Status::Corruption(
        "a compressed payload's frame doesn't name the size that its record names, " +
        std::to_string(record.raw_payload_size) + " bytes"));
  }
  std::string raw;
  size_t result = 0;
  raw.resize_and_overwrite(claimed, [&](char* to, size_t size) {
    result = ZSTD_decompress(to, size, record.payload.data(), record.payload.size());
    return ZSTD_isError(result) ? 0 : result;
  });
  if (ZSTD_isError(result)) {
    return std::unexpected(Status::Corruption(std::string("a compressed payload is damaged: ") +
                                              ZSTD_getErrorName(result)));
  }
  if (result != claimed) {
    return std::unexpected(Status::Corruption("a compressed payload is shorter than it says"));
  }
  return raw;
}

std::string CompressPayload(std::string_view raw, int level) {
  // A context costs hundreds of KiB to set up; it is scratch space and carries nothing over.
  thread_local std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                          ZSTD_freeCCtx);
  CHECK(context != nullptr);
  size_t worth = raw.size() - raw.size() / 8;
  if (raw.size() < 16 || worth == raw.size()) return {};
  std::string compressed;
  // A destination of just the size that is worth it lets zstd give up by itself.
  compressed.resize_and_overwrite(worth, [&](char* to, size_t size) {
    size_t result = ZSTD_compressCCtx(context.get(), to, size, raw.data(), raw.size(), level);
    return ZSTD_isError(result) ? 0 : result;
  });
  compressed.shrink_to_fit();
  return compressed;
}

}  // namespace firn::log
