#include "tiering/index_meta.h"

#include "engine/base/coding.h"

namespace firn {
namespace {

constexpr uint8_t kMetaVersion = 1;
constexpr uint64_t kMaxKeyspaces = 1 << 20;

}  // namespace

std::string EncodeIndexMeta(const IndexMeta& meta) {
  std::string out;
  out.push_back(static_cast<char>(kMetaVersion));
  AppendFixed(&out, meta.replay_position.segment_id);
  AppendFixed(&out, meta.replay_position.offset);
  AppendFixed(&out, meta.replay_lsn);
  AppendFixed(&out, meta.replay_crc);
  AppendFixed(&out, meta.wall_ms);
  AppendFixed(&out, meta.counts_lsn);
  out.push_back(meta.counts_exact ? 1 : 0);
  AppendFixed(&out, meta.next_keyspace_id);
  AppendVarint(&out, meta.keyspaces.size());
  for (const KeyspaceMeta& keyspace : meta.keyspaces) {
    AppendFixed(&out, keyspace.id);
    AppendFixed(&out, keyspace.db);
    AppendFixed(&out, keyspace.keys);
    AppendFixed(&out, keyspace.expiring);
  }
  return out;
}

Result<IndexMeta> DecodeIndexMeta(std::string_view bytes) {
  ByteReader reader(bytes);
  IndexMeta meta;
  uint8_t version = reader.Fixed<uint8_t>();
  meta.replay_position.segment_id = reader.Fixed<uint64_t>();
  meta.replay_position.offset = reader.Fixed<uint32_t>();
  meta.replay_lsn = reader.Fixed<uint64_t>();
  meta.replay_crc = reader.Fixed<uint32_t>();
  meta.wall_ms = reader.Fixed<int64_t>();
  meta.counts_lsn = reader.Fixed<uint64_t>();
  meta.counts_exact = reader.Fixed<uint8_t>() != 0;
  meta.next_keyspace_id = reader.Fixed<uint32_t>();
  uint64_t count = reader.Varint();
  if (!reader.ok() || version != kMetaVersion || count > kMaxKeyspaces) {
    return std::unexpected(Status::Corruption("index: meta entry can't be read"));
  }
  for (uint64_t i = 0; i < count; ++i) {
    KeyspaceMeta keyspace;
    keyspace.id = reader.Fixed<uint32_t>();
    keyspace.db = reader.Fixed<uint32_t>();
    keyspace.keys = reader.Fixed<uint64_t>();
    keyspace.expiring = reader.Fixed<uint64_t>();
    meta.keyspaces.push_back(keyspace);
  }
  if (!reader.ok() || reader.remaining() != 0) {
    return std::unexpected(Status::Corruption("index: meta entry has a wrong length"));
  }
  return meta;
}

std::string EncodeKeyspaceNames(const KeyspaceNames& names) {
  std::string out;
  AppendFixed(&out, names.next_id);
  AppendVarint(&out, names.id_of_db.size());
  for (uint32_t id : names.id_of_db) AppendFixed(&out, id);
  return out;
}

Result<KeyspaceNames> DecodeKeyspaceNames(std::string_view bytes) {
  ByteReader reader(bytes);
  KeyspaceNames names;
  names.next_id = reader.Fixed<uint32_t>();
  uint64_t count = reader.Varint();
  if (!reader.ok() || count > kMaxKeyspaces) {
    return std::unexpected(Status::Corruption("log: keyspaces record can't be read"));
  }
  for (uint64_t i = 0; i < count; ++i) names.id_of_db.push_back(reader.Fixed<uint32_t>());
  if (!reader.ok() || reader.remaining() != 0) {
    return std::unexpected(Status::Corruption("log: keyspaces record has a wrong length"));
  }
  return names;
}

}  // namespace firn
