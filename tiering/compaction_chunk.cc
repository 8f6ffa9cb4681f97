#include "tiering/compaction_chunk.h"

#include <algorithm>

#include "engine/base/check.h"

namespace firn {
namespace {

// Payloads shorter than this don't pay for being uncompressed.
constexpr size_t kMinCompressBytes = 128;

}  // namespace

void CompactionChunk::Read(log::LogReader* reader, HashSecret secret) {
  log::RecordView record;
  while (bytes.size() < max_bytes) {
    auto outcome = reader->Next(&record);
    if (outcome == log::LogReader::Outcome::kEnd) {
      at_end = true;
      return;
    }
    if (outcome == log::LogReader::Outcome::kInvalid) {
      // The torn end of what was written when the power failed; or damage: then something lives on
      // behind it.
      tear = reader->message();
      at_end = true;
      return;
    }
    if (outcome == log::LogReader::Outcome::kError) {
      status = reader->status();
      return;
    }
    read_bytes += log::PaddedSize(record.size);
    Item item{.record = record, .hash = SipHash13(secret, record.key), .from = reader->position()};
    item.key_offset = bytes.size();
    item.key_size = record.key.size();
    bytes.append(record.key);
    item.payload_offset = bytes.size();
    item.payload_size = record.payload.size();
    bytes.append(record.payload);
    item.record.key = {};
    item.record.payload = {};
    items.push_back(item);
  }
}

void CompactionChunk::FindLeft(const Index& index) {
  // In the order of the index, whose blocks are read once then.
  std::vector<Item*> asked;
  for (Item& item : items) {
    if (item.ask_index) asked.push_back(&item);
  }
  std::ranges::sort(asked, {}, [](const Item* item) { return item->hash; });
  for (Item* item : asked) {
    auto root = index.Find({item->record.keyspace, item->hash, std::string(KeyOf(*item))});
    if (!root) {
      status = root.error();
      return;
    }
    item->keep = root->has_value() && (*root)->position == item->from;
  }
}

// Appends the copies of what is kept, and syncs them.
void CompactionChunk::Write() {
  for (int lifetime = 0; lifetime < kCompactionFiles && status.ok(); ++lifetime) {
    if (targets[lifetime] != nullptr) WriteTo(lifetime);
  }
}

void CompactionChunk::WriteTo(int lifetime) {
  std::string out;
  CompactionFile* target = targets[lifetime].get();
  uint64_t begin = target->end_offset;
  for (Item& item : items) {
    if (!item.keep || item.lifetime() != lifetime) continue;
    log::RecordSpec spec{
        .kind = item.record.kind,
        .flags = static_cast<uint8_t>(item.record.flags & ~log::kFlagInGroup),
        .type = item.record.type,
        .encoding = item.record.encoding,
        .compression = item.record.compression,
        .keyspace = item.record.keyspace,
        .expiry_ms = item.record.expiry_ms,
        .key = KeyOf(item),
        .payload = PayloadOf(item),
        .raw_payload_size = item.record.raw_payload_size,
    };
    std::string compressed;
    if (compress && spec.compression == log::Compression::kNone &&
        spec.encoding == log::PayloadEncoding::kBytes && spec.payload.size() >= kMinCompressBytes) {
      compressed = log::CompressPayload(spec.payload, compression_level);
      if (!compressed.empty()) {
        spec.compression = log::Compression::kZstd;
        spec.payload = compressed;
      }
    }
    uint32_t size = log::EncodedSize(spec);
    item.to_offset = static_cast<uint32_t>(begin + out.size());
    item.to_size = static_cast<uint32_t>(log::PaddedSize(size));
    out.resize(out.size() + item.to_size);
    target->previous_crc = log::EncodeRecord(spec,
                                             {.previous_crc = target->previous_crc,
                                              .epoch = target->epoch,
                                              .lsn = item.record.lsn,
                                              .durable_lsn = item.record.lsn,
                                              .wall_ms = item.record.wall_ms},
                                             out.data() + out.size() - item.to_size);
  }
  if (out.empty()) return;
  status = target->file->WriteAt(begin, out);
  if (status.ok()) status = target->file->Sync();
  if (!status.ok()) return;
  target->end_offset += out.size();
  written_bytes += out.size();
}

}  // namespace firn
