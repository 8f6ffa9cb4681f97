// RdbWriter: writes values as Redis' dumps have them, a whole file or the payload of DUMP. What it
// writes redis-server 7.0 loads; only hashes whose fields expire need Redis 7.4.
//
//   RdbWriter writer(&sink, {.now_ms = now});
//   writer.Header();
//   writer.SelectDb(0);
//   writer.StringKey({.key = "a"}, "value");
//   if (writer.CollectionKey({.key = "b"}, ValueType::kHash, &pages) == kMissing) ...
//   writer.End();
//   if (!sink.status().ok()) ...
//
// Collections are read page by page in order, each page once or, where the form of a value depends
// on all of it, twice; a view of a page is not used after the next Read. Memory does not grow with
// the size of a value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/keyspace/entry.h"
#include "engine/rdb/rdb_format.h"
#include "engine/rdb/rdb_sink.h"
#include "engine/types/page_space.h"

namespace firn {

class RdbPieces;

struct RdbWriteOptions {
  bool compress = true;  // strings of more than 20 bytes, where it helps
  bool checksum = true;  // at the end of a file
  int64_t now_ms = 0;    // fields that expire at this time or before are left out
};

class RdbWriter {
 public:
  RdbWriter(RdbSink* sink, const RdbWriteOptions& options);
  ~RdbWriter();

  // --- a file, in this order
  // A file that turns out to need a later version gets it by End, if the sink can go back
  // (RdbSink::Amend).
  void Header(int version = kRdbVersion);
  void Aux(std::string_view name, std::string_view value);
  // The code of a library of functions, with its first line.
  void Function(std::string_view code);
  void SelectDb(uint32_t db);
  struct Sizes {
    uint64_t keys = 0;
    uint64_t expiring = 0;
  };
  // Hints for the reader's tables.
  void ResizeDb(const Sizes& sizes);

  struct Key {
    std::string_view key;
    int64_t expiry_ms = -1;
    // At most one of these: the counter that the LFU policies keep, or the time since the last
    // access, of the LRU policies.
    std::optional<uint8_t> frequency = {};
    std::optional<uint64_t> idle_seconds = {};
  };
  void StringKey(const Key& key, std::string_view value);
  enum class Written : uint8_t {
    kYes,
    kMissing,  // a page is not in RAM: what was written is useless
    kEmpty,    // all fields have expired: nothing was written
  };
  // REQUIRES: a collection that exists.
  Written CollectionKey(const Key& key, ValueType type, PageSpace* pages);
  void End();

  // --- the payload of DUMP; the sink has nothing but this one
  void StringPayload(std::string_view value);
  Written CollectionPayload(ValueType type, PageSpace* pages);

 private:
  void KeyPrefix(const Key& key);
  void EndPayload();

  RdbSink& sink_;
  const RdbWriteOptions options_;
  const std::unique_ptr<RdbPieces> out_;
  int header_version_ = 0;
  int needed_version_ = kRdbVersion;
};

}  // namespace firn
