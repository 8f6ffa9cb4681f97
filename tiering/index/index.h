// Index: RocksDB behind one class: where the newest root of every key lies in the log, in the order
// of the keys. The log is its write-ahead log: it can be rebuilt from it, and lags behind it by
// what recovery replays.
//
// One column family, a leading byte for each kind, so that memtables flush in order and a crash
// leaves a prefix of the batches:
//   'R' keyspace(4) hash(8) 0 key       -> root; a key of at most kMaxInlineKeySize bytes
//   'R' keyspace(4) hash(8) 1 hash(16)  -> root; a longer key: its bytes are only in the log
//   'E' expiry(8) keyspace(4) hash(8)   -> nothing; a hint, checked against the root when due
//   'M'                                 -> meta, opaque to this class
// Numbers are big-endian. Executor thread: none of the calls, all may read the disk.
// Apply and Flush: one thread at a time. The others: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "tiering/log/segment.h"

namespace rocksdb {
class Cache;
class DB;
class Env;
class Snapshot;
class Status;
class WriteBufferManager;
struct Options;
}  // namespace rocksdb

namespace firn {

struct IndexRoot {
  log::LogPosition position;
  uint32_t logical_size = 0;  // padded bytes of the record, as if it weren't compressed
  uint32_t size = 0;          // padded bytes of the record
  uint64_t lsn = 0;
  uint8_t type = 0;  // on disk
  int64_t expiry_ms = -1;
};

// What is said of a root whose segment is not among the log's: the index has lost what it knew last
// (a MANIFEST with a wrong length ends there, for RocksDB), or the log has lost a segment.
Status PointsNowhere(const log::LogPosition& position);

struct IndexKey {
  uint32_t keyspace = 0;
  uint64_t hash = 0;
  std::string key;
};

struct IndexBatch {
  struct Change {
    IndexKey key;
    std::optional<IndexRoot> root;  // nothing: the key is gone
  };
  std::vector<Change> changes;  // in any order; of one key the last one counts
  struct Hint {
    uint64_t expiry_ms = 0;
    uint32_t keyspace = 0;
    uint64_t hash = 0;
  };
  std::vector<Hint> spent_hints;
  // Their numbers are never used again: what they held may be read until it is compacted away.
  std::vector<uint32_t> dropped_keyspaces;
  std::string meta;  // empty: unchanged
};

class Index {
 public:
  struct Memory {
    uint64_t memtable_bytes = 4 << 20;
    uint64_t cache_bytes = 8 << 20;
    bool operator==(const Memory&) const = default;
  };
  struct Options {
    std::string directory;
    rocksdb::Env* env = nullptr;  // null: RocksDB's own
    Memory memory;
    bool background_compaction = true;  // off in simulated runs, to keep them deterministic
  };
  static Result<std::unique_ptr<Index>> Open(const Options& options);
  static Status Destroy(const Options& options);
  ~Index();

  // Other limits than those that it was opened with. Blocking.
  Status SetMemory(const Memory& memory);

  // Not durable before Flush. A batch is atomic.
  Status Apply(const IndexBatch& batch);
  Status Flush();

  // Makes a copy of the index as of now, flushed, in a directory that must not exist; with hard
  // links where the file system has them. Blocking.
  Status Checkpoint(const std::string& directory) const;

  // Empty if there is none yet.
  Result<std::string> ReadMeta() const { return ReadMetaAt(nullptr); }
  Result<std::optional<IndexRoot>> Find(const IndexKey& key) const { return FindAt(key, nullptr); }

  // Visits roots of a keyspace in the order of their hashes, from `first_hash` on, until `visit`
  // returns false. `key` is empty and `is_long` set for a key whose bytes are only in the log. The
  // view is a snapshot as of the call.
  struct Visited {
    uint64_t hash = 0;
    std::string_view key;
    bool is_long = false;
    IndexRoot root;
  };
  Status Visit(uint32_t keyspace, uint64_t first_hash,
               const std::function<bool(const Visited&)>& visit) const {
    return VisitAt(keyspace, first_hash, visit, nullptr);
  }
  // All roots that have this hash (almost always one or none).
  Result<std::vector<std::pair<std::string, IndexRoot>>> FindByHash(uint32_t keyspace,
                                                                    uint64_t hash) const;
  // Hints due at or before `now_ms`, oldest first, at most `limit`.
  Result<std::vector<IndexBatch::Hint>> DueHints(uint64_t now_ms, size_t limit) const;

  // Memtables and cached blocks.
  uint64_t MemoryBytes() const;

  static constexpr size_t kMaxInlineKeySize = 128;

 private:
  friend class IndexView;
  Index() = default;
  // As of a snapshot; null: of now.
  Result<std::string> ReadMetaAt(const rocksdb::Snapshot* snapshot) const;
  Result<std::optional<IndexRoot>> FindAt(const IndexKey& key,
                                          const rocksdb::Snapshot* snapshot) const;
  Status VisitAt(uint32_t keyspace, uint64_t first_hash,
                 const std::function<bool(const Visited&)>& visit,
                 const rocksdb::Snapshot* snapshot) const;

  Status ReadFailure(const rocksdb::Status& status, const char* what) const;
  std::string FindDamagedTables() const;

  std::unique_ptr<rocksdb::Options> table_options_;
  // The paths of damaged tables, once they were looked for.
  mutable std::mutex damaged_mutex_;
  mutable std::string damaged_tables_;
  std::shared_ptr<rocksdb::Cache> cache_;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers_;
  std::unique_ptr<rocksdb::DB> db_;
};

// The index as it was when the view was made: between two batches. Keeps the index open. Any
// thread.
class IndexView {
 public:
  explicit IndexView(std::shared_ptr<const Index> index);
  ~IndexView();
  IndexView(const IndexView&) = delete;
  IndexView& operator=(const IndexView&) = delete;

  // As the methods of Index.
  Result<std::string> ReadMeta() const { return index_->ReadMetaAt(snapshot_); }
  Result<std::optional<IndexRoot>> Find(const IndexKey& key) const {
    return index_->FindAt(key, snapshot_);
  }
  Status Visit(uint32_t keyspace, uint64_t first_hash,
               const std::function<bool(const Index::Visited&)>& visit) const {
    return index_->VisitAt(keyspace, first_hash, visit, snapshot_);
  }

 private:
  const std::shared_ptr<const Index> index_;
  const rocksdb::Snapshot* const snapshot_;
};

}  // namespace firn
