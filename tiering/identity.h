// DIR/IDENTITY: what a data directory is: its format, its random id and hash secret, and whether
// its log holds durable data. Written once, replaced as a whole when it changes. Blocking calls,
// for start and stop.
//
//   offset size
//   0      8    magic "FIRNDATA"
//   8      4    format version
//   12     4    CRC32C of the bytes from 16 on
//   16     8    directory id
//   24     16   hash secret (low, high)
//   40     1    durable: 1 if `appendonly` was on
//   41     1    log2 of the segment size
//   42     1    1 if `appendonly` was switched off since: a start without it may leave the data
//               behind
//   43     5    of a backup: the LSN that its log reaches, as nothing behind the end proves it;
//   else 0
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/siphash.h"
#include "engine/base/status.h"
#include "tiering/io/file.h"

namespace firn {

inline constexpr uint32_t kDirectoryFormatVersion = 1;

struct Identity {
  uint64_t directory_id = 0;
  HashSecret secret;
  bool durable = true;
  uint8_t segment_size_log2 = 26;
  bool may_be_left = false;  // for a start without durability
  uint64_t reaches_lsn = 0;  // a log that ends before is damaged; kept if less than 2^40
};

// kNotFound if there is none, kUnsupported for a newer format (named), kCorruption for damage.
Result<Identity> ReadIdentity(io::FileSystem* file_system, const std::string& directory);
// Atomic and durable when it returns ok.
Status WriteIdentity(io::FileSystem* file_system, const std::string& directory,
                     const Identity& identity);

}  // namespace firn
