// CompactionChunk: a part of a segment on its way through compaction (compactor.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/siphash.h"
#include "tiering/index/index.h"
#include "tiering/io/file.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/record.h"

namespace firn {

// Copies go to files by what becomes of them: segments whose records all expire die as a whole.
inline constexpr int kLasting = 0;
inline constexpr int kExpiring = 1;
inline constexpr int kCompactionFiles = 2;
inline int LifetimeOf(const log::RecordView& record) {
  return record.expiry_ms == log::kNoExpiry ? kLasting : kExpiring;
}

// A file of the cold stream that is being filled.
struct CompactionFile {
  uint64_t segment_id = 0;
  std::shared_ptr<io::File> file;
  uint64_t end_offset = 0;
  uint32_t epoch = 0;
  uint32_t previous_crc = 0;
};

// What is read of a segment at once. Read, FindLeft and Write are for a worker.
struct CompactionChunk {
  struct Item {
    log::RecordView record;  // views into `bytes` are made by Views
    size_t key_offset = 0;
    size_t payload_offset = 0;
    size_t key_size = 0;
    size_t payload_size = 0;
    uint64_t hash = 0;
    log::LogPosition from;
    uint32_t to_offset = 0;
    uint32_t to_size = 0;
    bool keep = false;
    bool ask_index = false;  // whether the record is the newest of its key
    // What expires lies together, so that its segments die as a whole.
    int lifetime() const { return LifetimeOf(record); }
  };
  std::vector<Item> items;
  std::string bytes;
  uint64_t max_bytes = 0;
  bool at_end = false;
  std::string tear;  // where sound records end, if that is not where the segment ends
  uint64_t read_bytes = 0;
  uint64_t written_bytes = 0;
  uint64_t synced_offset = 0;
  std::array<std::shared_ptr<CompactionFile>, kCompactionFiles> targets;  // null: nothing for it
  bool compress = false;
  int compression_level = 3;
  Status status;

  std::string_view KeyOf(const Item& item) const {
    return std::string_view(bytes).substr(item.key_offset, item.key_size);
  }
  std::string_view PayloadOf(const Item& item) const {
    return std::string_view(bytes).substr(item.payload_offset, item.payload_size);
  }
  void Read(log::LogReader* reader, HashSecret secret);
  // Keeps of those to be asked for whose root is here.
  void FindLeft(const Index& index);
  void Write();

 private:
  void WriteTo(int lifetime);
};

}  // namespace firn
