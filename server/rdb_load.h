// Loading a dump of Redis into the store, before it serves clients: blocking, on the executor
// thread. Values leave RAM meanwhile as they do under clients, so a dump may be larger than
// maxmemory.
//
//   RdbLoader loader({.store = &store, .loop = &loop, .limits = limits});
//   Status status = LoadRdbFile(&files, "dump.rdb", &loader);
//
// After a failure the store holds a part of the dump.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/rdb/rdb_reader.h"
#include "server/restored_value.h"
#include "tiering/io/file.h"
#include "tiering/io/loop.h"
#include "tiering/store.h"

namespace firn::server {

// What a dump that is read has its values made with. It may serve several dumps.
class RdbLoader final : public ElementBuilder {
 public:
  struct Options {
    Store* store = nullptr;
    io::Loop* loop = nullptr;
    ValueLimits limits;
    bool lfu = false;  // maxmemory-policy is one of the LFU ones
    bool checksum = true;
    bool replace = false;  // keys that are there; else they are an error
    // Takes the code of a library of functions. Null: dumps with functions are refused.
    std::function<Status(std::string_view code)> function = {};
    int64_t key_delay_us = 0;  // key-load-delay: a pause after each key, for tests
    // Called now and then; true gives the loading up.
    std::function<bool()> stopped = {};
    // Told how many bytes of the file were read since it was told last.
    std::function<void(uint64_t bytes)> read = {};
    // For what is strange, but no reason to give up.
    std::function<void(const std::string& line)> log = {};
  };
  explicit RdbLoader(Options options) : options_(std::move(options)), store_(*options_.store) {}

  struct Report {
    uint64_t keys = 0;
    uint64_t expired = 0;  // left out
    uint64_t empty = 0;    // left out
  };
  const Report& report() const { return report_; }
  const Options& options() const { return options_; }

  Status SelectDb(uint64_t db) override;
  Status Function(std::string_view code) override;
  Status BeginKey(const RdbKey& key) override;
  Status Stream(const StreamPiece& piece) override;
  Status EndKey() override;
  Status SkipEmptyKey() override;

 private:
  Status Add(const RestoredValue::Element& element) override;
  Status Create();
  Status AddPart();
  Status Complete();
  void SetDetails();
  // Runs `step` with the key planned, and again when pages were missing, until it says true.
  Status Run(Access access, uint64_t bytes, const std::function<bool()>& step);
  Status Wait(const bool& ready);
  Status Breathe(int64_t max_wait_micros);
  Status Delay();
  Status Twice() const;

  const Options options_;
  Store& store_;
  Report report_;
  uint32_t db_ = 0;
  std::string key_;
  std::optional<int64_t> expiry_ms_;
  std::optional<uint32_t> access_;
  bool skipped_ = false;       // the present key has expired
  bool partial_ = false;       // a part of it is in the store
  uint64_t since_breath_ = 0;  // bytes
  RestoredValue value_;
};

// Reads a file, up to the dump's end; `end`, if not null, becomes its offset. Errors name the file
// and the offset.
Status LoadRdbFile(io::FileSystem* files, const std::string& path, RdbLoader* loader,
                   uint64_t* end = nullptr);

}  // namespace firn::server
