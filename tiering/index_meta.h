// What the index remembers beside the roots: where a replay begins, and the state of the keyspaces
// at the end of the last batch. Also the payload of a kKeyspaces record. Pure functions on bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/segment.h"

namespace firn {

struct KeyspaceMeta {
  uint32_t id = 0;
  uint32_t db = 0;  // the number that names it
  uint64_t keys = 0;
  uint64_t expiring = 0;
};

struct IndexMeta {
  log::LogPosition replay_position;  // the first record that a start replays
  uint64_t replay_lsn = 0;           // its LSN (or the next to be written)
  // Checksum of the record before it, that it continues; 0: not known, but the record is on the
  // disk.
  uint32_t replay_crc = 0;
  int64_t wall_ms = 0;       // the clock then, which never falls
  uint64_t counts_lsn = 0;   // the keyspaces below are as of this LSN
  bool counts_exact = true;  // false if blind writes were unsettled
  uint32_t next_keyspace_id = 1;
  std::vector<KeyspaceMeta> keyspaces;
};

std::string EncodeIndexMeta(const IndexMeta& meta);
Result<IndexMeta> DecodeIndexMeta(std::string_view bytes);

// The names alone, for the log: db number -> keyspace id, and the next id.
struct KeyspaceNames {
  uint32_t next_id = 1;
  std::vector<uint32_t> id_of_db;  // 0: not in use
};
std::string EncodeKeyspaceNames(const KeyspaceNames& names);
Result<KeyspaceNames> DecodeKeyspaceNames(std::string_view bytes);

}  // namespace firn
