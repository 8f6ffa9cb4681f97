#include "tiering/log/segment.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/crc32c.h"

namespace firn::log {
namespace {

constexpr int kPositionBits = 40;
constexpr uint64_t kSmallestSegment = 1 << 20;
constexpr uint64_t kLargestSegment = 1 << 30;
constexpr std::string_view kSuffix = ".seg";
constexpr size_t kDigits = 16;

uint32_t HeaderCrc(SegmentHeader header) {
  header.header_crc = 0;
  return Crc32c(0, &header, sizeof header);
}

bool IsZero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

void Segment::NoteRecord(const Noted& record) {
  if (record.kind == RecordKind::kImage) {
    // No expiry is -1, the greatest of all.
    max_expiry_ms = std::max(max_expiry_ms, static_cast<uint64_t>(record.expiry_ms));
  } else if (record.kind == RecordKind::kDelete) {
    last_delete_lsn = std::max(last_delete_lsn, record.lsn);
    delete_bytes += record.padded_bytes;
  } else if (record.kind == RecordKind::kKeyspaces) {
    has_keyspace_names = true;
  }
}

SegmentTable::SegmentTable(uint64_t segment_size_bytes) {
  CHECK(std::has_single_bit(segment_size_bytes));
  CHECK(segment_size_bytes >= kSmallestSegment && segment_size_bytes <= kLargestSegment);
  offset_bits_ = std::countr_zero(segment_size_bytes / kRecordAlignment);
  by_slot_.push_back(nullptr);
}

Segment* SegmentTable::Add(uint64_t id) {
  CHECK(id != 0);
  CHECK(!by_id_.contains(id));
  uint32_t slot = 0;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else {
    if (by_slot_.size() >= uint64_t{1} << (kPositionBits - offset_bits_)) return nullptr;
    slot = static_cast<uint32_t>(by_slot_.size());
    by_slot_.push_back(nullptr);
  }
  auto segment = std::make_unique<Segment>();
  segment->id = id;
  segment->slot = slot;
  by_slot_[slot] = segment.get();
  return by_id_.emplace(id, std::move(segment)).first->second.get();
}

void SegmentTable::Remove(Segment* segment) {
  CHECK(segment->holds == 0);
  CHECK(by_slot_[segment->slot] == segment);
  by_slot_[segment->slot] = nullptr;
  free_slots_.push_back(segment->slot);
  by_id_.erase(segment->id);
}

Segment* SegmentTable::ById(uint64_t id) const {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.get();
}

Segment* SegmentTable::BySlot(uint32_t slot) const {
  return slot < by_slot_.size() ? by_slot_[slot] : nullptr;
}

PackedPosition SegmentTable::Pack(const LogPosition& position) const {
  const Segment* segment = ById(position.segment_id);
  if (segment == nullptr) return 0;
  if (position.offset < kSegmentHeaderSize || position.offset % kRecordAlignment != 0 ||
      position.offset / kRecordAlignment >= uint64_t{1} << offset_bits_) {
    return 0;
  }
  return Pack(*segment, position.offset);
}

LogPosition SegmentTable::Unpack(PackedPosition position) const {
  const Segment* segment = Of(position);
  if (segment == nullptr) return {};
  return {.segment_id = segment->id, .offset = static_cast<uint32_t>(OffsetOf(position))};
}

uint64_t SegmentTable::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [id, segment] : by_id_) total += segment->file_bytes;
  return total;
}

uint64_t SegmentTable::live_bytes() const {
  uint64_t total = 0;
  for (const auto& [id, segment] : by_id_) {
    // After a start, until all that is alive has been counted, what was superseded may prevail.
    total += static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(segment->live_bytes)));
  }
  return total;
}

std::string SegmentFileName(uint64_t id) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string name(kDigits, '0');
  for (size_t i = kDigits; i-- > 0; id >>= 4) name[i] = kHex[id & 15];
  return name.append(kSuffix);
}

bool ParseSegmentFileName(std::string_view name, uint64_t* id) {
  if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) return false;
  uint64_t value = 0;
  for (char digit : name.substr(0, kDigits)) {
    if (digit >= '0' && digit <= '9') {
      value = value << 4 | static_cast<uint64_t>(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
      value = value << 4 | static_cast<uint64_t>(digit - 'a' + 10);
    } else {
      return false;
    }
  }
  *id = value;
  return value != 0;
}

void EncodeSegmentHeader(const SegmentHeader& header, char* block) {
  SegmentHeader complete = header;
  std::memcpy(complete.magic, kMagic, sizeof kMagic);
  complete.version = kFormatVersion;
  std::memset(complete.reserved, 0, sizeof complete.reserved);
  complete.header_crc = HeaderCrc(complete);
  std::memset(block, 0, kSegmentHeaderSize);
  StoreFixed(block, complete);
}

Result<SegmentHeader> DecodeSegmentHeader(std::string_view block, const std::string& path) {
  auto corrupt = [&](const std::string& what) {
    return std::unexpected(Status::Corruption(path + ": " + what));
  };
  if (IsZero(block)) {
    return std::unexpected(
        Status(StatusCode::kNotFound, path + ": the segment's header was never written"));
  }
  if (block.size() < kSegmentHeaderSize) return corrupt("shorter than a segment's header");
  auto header = LoadFixed<SegmentHeader>(block.data());
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return corrupt("no segment of a log: the magic number at offset 0 is wrong");
  }
  uint32_t crc = HeaderCrc(header);
  if (crc == header.header_crc && header.version > kFormatVersion) {
    return std::unexpected(Status(StatusCode::kUnsupported,
                                  path + ": format version " + std::to_string(header.version) +
                                      " is newer than this program's, which is " +
                                      std::to_string(kFormatVersion)));
  }
  if (crc != header.header_crc) {
    return corrupt("the header at offset 0 has checksum " + std::to_string(header.header_crc) +
                   " but should have " + std::to_string(crc));
  }
  if (header.version != kFormatVersion) {
    return corrupt("format version " + std::to_string(header.version) + " doesn't exist");
  }
  if (header.stream != static_cast<uint8_t>(Stream::kFresh) &&
      header.stream != static_cast<uint8_t>(Stream::kCold)) {
    return corrupt("the header names stream " + std::to_string(header.stream));
  }
  if (header.segment_id == 0) return corrupt("the header names segment 0");
  if (!IsZero(block.substr(sizeof header, kSegmentHeaderSize - sizeof header))) {
    return corrupt("the padding of the header is not zero");
  }
  return header;
}

}  // namespace firn::log
