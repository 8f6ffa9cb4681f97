#include "tiering/index/index.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>

#include "engine/base/coding.h"
#include "engine/base/siphash.h"
#include "tiering/io/workers.h"

namespace firn {
namespace {

constexpr char kRootKind = 'R';
constexpr char kHintKind = 'E';
constexpr char kMetaKind = 'M';
constexpr char kInlineKey = 0;
constexpr char kHashedKey = 1;
constexpr size_t kKeyspacePrefixSize = 1 + 4;
constexpr size_t kRootPrefixSize = kKeyspacePrefixSize + 8;
constexpr size_t kHintSize = 1 + 8 + 4 + 8;
// What room for a change is set aside in a batch: a short key, a root, and what frames them.
constexpr size_t kUsualChangeBytes = 64;

// Long keys are told apart by 128 more bits; a fixed secret is enough, since the 64 keyed bits
// before them can't be aimed.
constexpr HashSecret kLongKeyLow{0x4c4f4e474b455931, 0x6669726e2d6c6f77};
constexpr HashSecret kLongKeyHigh{0x4c4f4e474b455932, 0x6669726e2d686967};

Status FromRocks(const rocksdb::Status& status, const char* what) {
  if (status.ok()) return Status::Ok();
  StatusCode code = StatusCode::kIoError;
  if (status.IsNoSpace()) code = StatusCode::kNoSpace;
  if (status.IsNotFound() || status.IsPathNotFound()) code = StatusCode::kNotFound;
  if (status.IsCorruption()) code = StatusCode::kCorruption;
  return {code, std::string("index: ") + what + ": " + status.ToString()};
}

// The numbers of keyspaces are never used again, so that what a dropped one has left disturbs
// nobody until it is compacted away. RocksDB 7.8, for its part, dies of damaged tables when it
// merges their range deletions into what it reads.
rocksdb::ReadOptions AnyRead() {
  rocksdb::ReadOptions read;
  read.ignore_range_deletions = true;
  return read;
}

// The Assign functions replace what is in `out` and reuse its memory: a batch has tens of thousands
// of keys.
void AssignRootPrefix(uint32_t keyspace, uint64_t hash, std::string* out) {
  out->resize(kRootPrefixSize);
  out->front() = kRootKind;
  StoreBig32(out->data() + 1, keyspace);
  StoreBig64(out->data() + 5, hash);
}

std::string RootPrefix(uint32_t keyspace, uint64_t hash) {
  std::string out;
  AssignRootPrefix(keyspace, hash, &out);
  return out;
}

void AssignKey(const IndexKey& key, std::string* out) {
  AssignRootPrefix(key.keyspace, key.hash, out);
  if (key.key.size() <= Index::kMaxInlineKeySize) {
    out->push_back(kInlineKey);
    out->append(key.key);
  } else {
    out->push_back(kHashedKey);
    AppendFixed(out, SipHash13(kLongKeyLow, key.key));
    AppendFixed(out, SipHash13(kLongKeyHigh, key.key));
  }
}

std::string EncodeHint(const IndexBatch::Hint& hint) {
  std::string out(kHintSize, '\0');
  out[0] = kHintKind;
  StoreBig64(out.data() + 1, hint.expiry_ms);
  StoreBig32(out.data() + 9, hint.keyspace);
  StoreBig64(out.data() + 13, hint.hash);
  return out;
}

// Varints: most of what a load writes besides its values is written here, several times over.
void AssignRoot(const IndexRoot& root, std::string* out) {
  out->clear();
  AppendVarint(out, root.position.segment_id);
  AppendVarint(out, root.position.offset / log::kRecordAlignment);
  AppendVarint(out, root.size / log::kRecordAlignment);
  // Both sizes are padded and, but for compressed records, the same.
  AppendVarint(out, root.logical_size == root.size ? 0 : root.logical_size / log::kRecordAlignment);
  AppendVarint(out, root.lsn);
  out->push_back(static_cast<char>(root.type));
  if (root.expiry_ms >= 0) AppendVarint(out, static_cast<uint64_t>(root.expiry_ms));
}

bool DecodeRoot(std::string_view bytes, IndexRoot* root) {
  ByteReader reader(bytes);
  constexpr uint64_t kMostUnits = UINT32_MAX / log::kRecordAlignment;
  root->position.segment_id = reader.Varint();
  uint64_t offset = reader.Varint();
  uint64_t size = reader.Varint();
  uint64_t logical_size = reader.Varint();
  root->lsn = reader.Varint();
  root->type = reader.Fixed<uint8_t>();
  root->expiry_ms = -1;
  if (reader.ok() && reader.remaining() > 0) {
    uint64_t expiry_ms = reader.Varint();
    if (expiry_ms > INT64_MAX) return false;
    root->expiry_ms = static_cast<int64_t>(expiry_ms);
  }
  if (offset > kMostUnits || size > kMostUnits || logical_size > kMostUnits) return false;
  root->position.offset = static_cast<uint32_t>(offset) * log::kRecordAlignment;
  root->size = static_cast<uint32_t>(size) * log::kRecordAlignment;
  root->logical_size =
      logical_size == 0 ? root->size : static_cast<uint32_t>(logical_size) * log::kRecordAlignment;
  return reader.ok() && reader.remaining() == 0;
}

size_t WriteBufferBytes(const Index::Memory& memory) {
  return std::max<uint64_t>(memory.memtable_bytes / 2, 256 << 10);
}

// For this thread. What RocksDB counts for nobody takes a tenth of the time of an insertion.
void StopCounting() { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable); }

// Of the keys for which the place of the one before in a batch is a hint: roots, by keyspace. Not
// those at which the deletion of a keyspace begins: RocksDB 7.8 would mistake the hint for one into
// its list of range deletions.
class RootsOfKeyspace : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "firn.RootsOfKeyspace"; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
    return {key.data(), kKeyspacePrefixSize};
  }
  bool InDomain(const rocksdb::Slice& key) const override {
    return key.size() > kRootPrefixSize && key[0] == kRootKind;
  }
};

// RocksDB's threads are as nice as the workers: where there are few processors they would take
// their full share from the executor. The lowest priority, which RocksDB could give them by itself,
// starves compaction until writes stall.
class QuietThreads : public rocksdb::EventListener {
 public:
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    io::LowerPriority();
    StopCounting();
  }
  void OnCompactionBegin(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    io::LowerPriority();
    StopCounting();
  }
};

rocksdb::Options RocksOptions(const Index::Options& options) {
  rocksdb::Options rocks;
  if (options.env != nullptr) rocks.env = options.env;
  rocks.create_if_missing = true;
  rocks.write_buffer_size = WriteBufferBytes(options.memory);
  // Taken a block at a time: the default of 1 MiB would be a leap of the memory in use.
  rocks.arena_block_size = 64 << 10;
  // Batches are sorted: the place of a key is looked for from that of the one before. Only one
  // thread writes.
  rocks.memtable_insert_with_hint_prefix_extractor.reset(new RootsOfKeyspace());
  rocks.allow_concurrent_memtable_write = false;
  rocks.max_write_buffer_number = 4;
  rocks.min_write_buffer_number_to_merge = 1;
  rocks.max_open_files = 256;
  rocks.disable_auto_compactions = !options.background_compaction;
  rocks.max_background_jobs = 2;
  // Keys come in the order of a hash: every merge into a sorted level would rewrite all of it.
  // Merging runs of about one size writes each key a logarithmic number of times.
  rocks.compaction_style = rocksdb::kCompactionStyleUniversal;
  // Wide merges, since each costs 1.5 us of CPU a key: the filters of small runs stay in the cache,
  // so that a few more of them cost a look-up no reads.
  rocks.compaction_options_universal.size_ratio = 20;
  rocks.compaction_options_universal.min_merge_width = 8;
  rocks.compaction_options_universal.max_size_amplification_percent = 200;
  rocks.level0_file_num_compaction_trigger = 12;
  rocks.level0_slowdown_writes_trigger = 32;
  rocks.level0_stop_writes_trigger = 48;
  // Names of keys shrink by half. What is young will be merged soon and isn't worth the work.
  rocks.compression = rocksdb::kZSTD;
  rocks.compression_opts.level = 1;
  rocks.compaction_options_universal.compression_size_percent = 60;
  rocks.max_log_file_size = 1 << 20;
  rocks.keep_log_file_num = 2;
  rocks.info_log_level = rocksdb::WARN_LEVEL;
  rocks.stats_dump_period_sec = 0;
  rocks.stats_persist_period_sec = 0;
  rocks.paranoid_checks = true;
  rocks.avoid_flush_during_shutdown = true;
  if (options.env != nullptr) rocks.max_file_opening_threads = 1;
  if (options.env == nullptr) {
    rocks.use_direct_reads = true;
    rocks.use_direct_io_for_flush_and_compaction = true;
    // Of each input file, when there are many.
    rocks.compaction_readahead_size = 256 << 10;
    rocks.bytes_per_sync = 1 << 20;
    rocks.listeners.push_back(std::make_shared<QuietThreads>());
  }
  return rocks;
}

rocksdb::BlockBasedTableOptions TableOptions(std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.block_size = 4096;
  // Partitioned, so that a look-up never reads megabytes of filter.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.metadata_block_size = 4096;
  table.filter_policy.reset(rocksdb::NewRibbonFilterPolicy(10));
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_top_level_index_and_filter = true;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  return table;
}

}  // namespace

Status PointsNowhere(const log::LogPosition& position) {
  return Status::Corruption("the index points into " + log::SegmentFileName(position.segment_id) +
                            " at offset " + std::to_string(position.offset) +
                            ", which is not there, or has a damaged header");
}

Result<std::unique_ptr<Index>> Index::Open(const Options& options) {
  auto index = std::unique_ptr<Index>(new Index());
  rocksdb::LRUCacheOptions cache_options;
  cache_options.capacity = options.memory.cache_bytes + options.memory.memtable_bytes;
  cache_options.num_shard_bits = 2;
  cache_options.high_pri_pool_ratio = 0.5;
  index->cache_ = rocksdb::NewLRUCache(cache_options);
  // The memtables are charged to the cache, so that one number bounds both.
  index->write_buffers_ =
      std::make_shared<rocksdb::WriteBufferManager>(options.memory.memtable_bytes, index->cache_);

  rocksdb::Options rocks = RocksOptions(options);
  rocks.write_buffer_manager = index->write_buffers_;
  rocks.table_factory.reset(rocksdb::NewBlockBasedTableFactory(TableOptions(index->cache_)));
  index->table_options_ = std::make_unique<rocksdb::Options>(rocks);
  rocksdb::DB* db = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(rocks, options.directory, &db);
  if (!status.ok() && rocks.use_direct_reads) {
    // Some file systems (tmpfs of older kernels) know no direct I/O.
    rocks.use_direct_reads = false;
    rocks.use_direct_io_for_flush_and_compaction = false;
    status = rocksdb::DB::Open(rocks, options.directory, &db);
  }
  if (!status.ok()) return std::unexpected(FromRocks(status, "open"));
  index->db_.reset(db);
  return index;
}

Status Index::Destroy(const Options& options) {
  return FromRocks(rocksdb::DestroyDB(options.directory, RocksOptions(options)), "destroy");
}

Index::~Index() {
  if (db_ != nullptr) rocksdb::CancelAllBackgroundWork(db_.get(), true);
}

Status Index::SetMemory(const Memory& memory) {
  write_buffers_->SetBufferSize(memory.memtable_bytes);
  cache_->SetCapacity(memory.cache_bytes + memory.memtable_bytes);
  return FromRocks(
      db_->SetOptions({{"write_buffer_size", std::to_string(WriteBufferBytes(memory))}}), "limit");
}

namespace {

// The last change of each key, in the order of the index, which makes putting them cheap. What is
// sorted is small; names are compared only where hashes are the same.
std::vector<const IndexBatch::Change*> LastChanges(const std::vector<IndexBatch::Change>& changes) {
  struct Place {
    uint64_t hash;
    uint32_t keyspace;
    uint32_t at;
  };
  std::vector<Place> places;
  places.reserve(changes.size());
  for (const IndexBatch::Change& change : changes) {
    places.push_back({change.key.hash, change.key.keyspace, static_cast<uint32_t>(places.size())});
  }
  const auto name_of = [&](const Place& place) -> const std::string& {
    return changes[place.at].key.key;
  };
  std::ranges::sort(places, [&](const Place& a, const Place& b) {
    if (a.keyspace != b.keyspace) return a.keyspace < b.keyspace;
    if (a.hash != b.hash) return a.hash < b.hash;
    const int names = name_of(a).compare(name_of(b));
    return names != 0 ? names < 0 : a.at < b.at;
  });
  std::vector<const IndexBatch::Change*> last;
  last.reserve(places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    const Place* next = i + 1 < places.size() ? &places[i + 1] : nullptr;
    const bool is_last = next == nullptr || next->keyspace != places[i].keyspace ||
                         next->hash != places[i].hash || name_of(*next) != name_of(places[i]);
    if (is_last) last.push_back(&changes[places[i].at]);
  }
  return last;
}

}  // namespace

Status Index::Apply(const IndexBatch& batch) {
  StopCounting();
  rocksdb::WriteBatch rocks_batch(batch.changes.size() * kUsualChangeBytes);
  rocksdb::Status status;
  for (uint32_t keyspace : batch.dropped_keyspaces) {
    status = rocks_batch.DeleteRange(RootPrefix(keyspace, 0), RootPrefix(keyspace + 1, 0));
    if (!status.ok()) return FromRocks(status, "drop keyspace");
  }
  for (const IndexBatch::Hint& hint : batch.spent_hints) {
    status = rocks_batch.Delete(EncodeHint(hint));
    if (!status.ok()) return FromRocks(status, "delete hint");
  }
  std::string key;
  std::string root;
  for (const IndexBatch::Change* change : LastChanges(batch.changes)) {
    AssignKey(change->key, &key);
    if (!change->root.has_value()) {
      status = rocks_batch.Delete(key);
    } else {
      AssignRoot(*change->root, &root);
      status = rocks_batch.Put(key, root);
      if (status.ok() && change->root->expiry_ms >= 0) {
        IndexBatch::Hint hint{.expiry_ms = static_cast<uint64_t>(change->root->expiry_ms),
                              .keyspace = change->key.keyspace,
                              .hash = change->key.hash};
        status = rocks_batch.Put(EncodeHint(hint), rocksdb::Slice());
      }
    }
    if (!status.ok()) return FromRocks(status, "batch");
  }
  if (!batch.meta.empty()) {
    status = rocks_batch.Put(std::string(1, kMetaKind), batch.meta);
    if (!status.ok()) return FromRocks(status, "meta");
  }
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  return FromRocks(db_->Write(write, &rocks_batch), "write");
}

Status Index::Flush() {
  rocksdb::FlushOptions flush;
  flush.wait = true;
  flush.allow_write_stall = true;
  return FromRocks(db_->Flush(flush), "flush");
}

Status Index::Checkpoint(const std::string& directory) const {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(db_.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(directory);
  return FromRocks(status, "checkpoint");
}

// RocksDB doesn't always say which table is damaged.
Status Index::ReadFailure(const rocksdb::Status& status, const char* what) const {
  const Status failure = FromRocks(status, what);
  if (failure.code() != StatusCode::kCorruption || failure.message().contains(".sst")) {
    return failure;
  }
  std::lock_guard lock(damaged_mutex_);
  if (damaged_tables_.empty()) damaged_tables_ = FindDamagedTables();
  return {failure.code(), failure.message() + damaged_tables_};
}

std::string Index::FindDamagedTables() const {
  std::vector<rocksdb::LiveFileMetaData> tables;
  db_->GetLiveFilesMetaData(&tables);
  std::string found;
  for (const rocksdb::LiveFileMetaData& table : tables) {
    const std::string path = table.db_path + table.name;
    rocksdb::SstFileReader reader(*table_options_);
    rocksdb::Status status = reader.Open(path);
    if (status.ok()) status = reader.VerifyChecksum();
    if (!status.ok()) found += (found.empty() ? ": " : ", ") + path;
  }
  return found;
}

Result<std::string> Index::ReadMetaAt(const rocksdb::Snapshot* snapshot) const {
  std::string meta;
  rocksdb::ReadOptions read = AnyRead();
  read.snapshot = snapshot;
  rocksdb::Status status = db_->Get(read, std::string(1, kMetaKind), &meta);
  if (status.IsNotFound()) return std::string();
  if (!status.ok()) return std::unexpected(ReadFailure(status, "read meta"));
  return meta;
}

Result<std::optional<IndexRoot>> Index::FindAt(const IndexKey& key,
                                               const rocksdb::Snapshot* snapshot) const {
  std::string value;
  rocksdb::ReadOptions read = AnyRead();
  read.snapshot = snapshot;
  std::string name;
  AssignKey(key, &name);
  rocksdb::Status status = db_->Get(read, name, &value);
  if (status.IsNotFound()) return std::optional<IndexRoot>();
  if (!status.ok()) return std::unexpected(ReadFailure(status, "read root"));
  IndexRoot root;
  if (!DecodeRoot(value, &root)) {
    return std::unexpected(Status::Corruption("index: a root has a wrong length"));
  }
  return std::optional<IndexRoot>(root);
}

Status Index::VisitAt(uint32_t keyspace, uint64_t first_hash,
                      const std::function<bool(const Visited&)>& visit,
                      const rocksdb::Snapshot* snapshot) const {
  rocksdb::ReadOptions read = AnyRead();
  read.snapshot = snapshot;
  std::string upper = RootPrefix(keyspace + 1, 0);
  rocksdb::Slice upper_slice(upper);
  read.iterate_upper_bound = &upper_slice;
  read.fill_cache = false;
  read.readahead_size = 0;
  read.auto_prefix_mode = false;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  for (it->Seek(RootPrefix(keyspace, first_hash)); it->Valid(); it->Next()) {
    std::string_view key(it->key().data(), it->key().size());
    Visited visited;
    if (key.size() <= kRootPrefixSize ||
        !DecodeRoot({it->value().data(), it->value().size()}, &visited.root)) {
      return Status::Corruption("index: a root has a wrong length");
    }
    visited.hash = LoadBig64(key.data() + 5);
    visited.is_long = key[kRootPrefixSize] == kHashedKey;
    if (!visited.is_long) visited.key = key.substr(kRootPrefixSize + 1);
    if (!visit(visited)) break;
  }
  return ReadFailure(it->status(), "iterate");
}

Result<std::vector<std::pair<std::string, IndexRoot>>> Index::FindByHash(uint32_t keyspace,
                                                                         uint64_t hash) const {
  std::vector<std::pair<std::string, IndexRoot>> found;
  Status status = Visit(keyspace, hash, [&](const Visited& visited) {
    if (visited.hash != hash) return false;
    found.emplace_back(visited.key, visited.root);
    return true;
  });
  if (!status.ok()) return std::unexpected(status);
  return found;
}

Result<std::vector<IndexBatch::Hint>> Index::DueHints(uint64_t now_ms, size_t limit) const {
  std::vector<IndexBatch::Hint> hints;
  rocksdb::ReadOptions read = AnyRead();
  std::string upper = EncodeHint({.expiry_ms = now_ms + 1});
  rocksdb::Slice upper_slice(upper);
  read.iterate_upper_bound = &upper_slice;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  for (it->Seek(std::string(1, kHintKind)); it->Valid() && hints.size() < limit; it->Next()) {
    if (it->key().size() != kHintSize) continue;
    const char* key = it->key().data();
    hints.push_back({.expiry_ms = LoadBig64(key + 1),
                     .keyspace = LoadBig32(key + 9),
                     .hash = LoadBig64(key + 13)});
  }
  if (!it->status().ok()) return std::unexpected(ReadFailure(it->status(), "iterate hints"));
  return hints;
}

uint64_t Index::MemoryBytes() const { return cache_->GetUsage(); }

IndexView::IndexView(std::shared_ptr<const Index> index)
    : index_(std::move(index)), snapshot_(index_->db_->GetSnapshot()) {}

IndexView::~IndexView() { index_->db_->ReleaseSnapshot(snapshot_); }

}  // namespace firn
