#include "crash_world.h"

#include <rocksdb/env.h>

#include <algorithm>
#include <set>

#include "support/string_set.h"
#include "tiering/collection.h"

namespace firn::test {

StoreOptions SmallStore(SyncPolicy policy, uint64_t seed) {
  StoreOptions options;
  options.directory = kDirectory;
  options.sync_policy = policy;
  options.segment_size_bytes = 1 << 20;
  options.warm_memory_bytes = 1 << 20;
  options.max_memory_bytes = 64 << 20;  // small maps; never reached
  options.databases = 3;
  options.replay_limit_bytes = 600 << 10;
  options.replay_limit_records = 400;
  options.random_seed = seed;
  return options;
}

CrashWorld::CrashWorld(io::SimDisk* disk, StoreOptions store, WorldOptions options) : disk_(disk) {
  io::FileSystem* files = disk;
  if (options.wrappers != nullptr && options.wrappers->file_system) {
    file_system_ = options.wrappers->file_system(disk);
    files = file_system_.get();
  }
  env_ = CreateEnv(files);
  io::SimLoopOptions loop_options{.seed = options.seed,
                                  .wall_start_ms = options.wall_start_ms,
                                  .read_micros_max = options.read_micros_max,
                                  .note_mapped_interval = options.note_mapped_interval};
  if (options.repeatable) {
    loop_options.after_job = [env = env_.get()] { WaitForBackgroundWork(env); };
  }
  loop_ = std::make_unique<io::SimLoop>(disk, loop_options);
  io::Loop* loop = loop_.get();
  if (options.wrappers != nullptr && options.wrappers->loop) {
    outer_loop_ = options.wrappers->loop(loop_.get());
    loop = outer_loop_.get();
  }
  driver_ = std::make_unique<StoreDriver>(
      std::move(store),
      StoreEnvironment{.file_system = files,
                       .loop = loop,
                       .index_env = env_.get(),
                       .meter_process_memory = false,
                       .planted_bug = options.bug,
                       .log = [this](int, const std::string& line) { log_ += line + "\n"; }});
}

CrashWorld::~CrashWorld() {
  disk_->PowerOff();
  driver_.reset();
}

void CrashWorld::SetEviction(EvictionPolicy policy) {
  const StoreOptions& options = driver_->options();
  store().SetEviction(policy, options.lfu_log_factor, options.lfu_decay_time);
}

namespace {

// False if pages are missing.
bool ReadSet(Database& database, const HashedKey& key, bool with_strings,
             FoundState::Value* value) {
  Collection pages(database, key, ValueType::kSet);
  SetFingerprint fingerprint;
  const auto set = with_strings ? std::make_shared<ModelSet>() : nullptr;
  const bool all = VisitStrings(&pages, [&](std::string_view text) {
    fingerprint.Add(text);
    if (set) set->Insert(std::string(text));
  });
  if (!all) return false;
  value->fingerprint = fingerprint.value();
  value->set = set;
  return true;
}

bool ReadStream(Database& database, const HashedKey& key, bool with_contents,
                FoundState::Value* value) {
  Collection pages(database, key, ValueType::kStream);
  auto stream = std::make_shared<ModelStream>();
  if (!ModelStream::Read(&pages, stream.get())) return false;
  value->fingerprint = stream->fingerprint();
  if (with_contents) value->stream = std::move(stream);
  return true;
}

}  // namespace

bool CrashWorld::ReadValue(uint32_t db, const HashedKey& key, bool with_bytes,
                           FoundState::Value* value) {
  Database& database = store().database(db);
  Database::KeyInfo info = database.Lookup(key);
  if (!info.exists()) return true;
  value->expiry_ms = info.expiry_ms;
  if (info.type == ValueType::kSet) return ReadSet(database, key, with_bytes, value);
  if (info.type == ValueType::kStream) return ReadStream(database, key, with_bytes, value);
  if (!database.WantString(key, {})) return false;
  const std::string bytes = database.ReadString(key, {});
  value->fingerprint = CrashModel::Fingerprint(bytes);
  if (with_bytes) value->bytes = bytes;
  return true;
}

Status CrashWorld::ReadKey(const std::string& key, uint32_t db, FoundState::Value* value) {
  return driver_->Run({driver_->Wants(key, Access::kRead, db)}, [&] {
    *value = {};
    return ReadValue(db, store().Key(key), false, value);
  });
}

std::string CrashWorld::ReadDatabase(const CrashModel& model, uint32_t db, bool with_bytes,
                                     FoundState* found) {
  std::vector<KeyAccess> accesses;
  for (const std::string& key : model.keys()) {
    accesses.push_back({.db = db, .key = store().Key(key), .access = Access::kRead});
  }
  std::vector<bool> read(accesses.size());
  Status status = driver_->Run(accesses, [&] {
    for (size_t key = 0; key < accesses.size(); ++key) {
      FoundState::Value& value = found->values[model.Slot(db, key)];
      if (!read[key]) read[key] = ReadValue(db, accesses[key].key, with_bytes, &value);
    }
    return std::find(read.begin(), read.end(), false) == read.end();
  });
  return status.ok() ? "" : "reading db " + std::to_string(db) + ": " + status.message();
}

std::string CrashWorld::ReadState(const CrashModel& model, bool with_bytes, FoundState* found) {
  store().SetMaxMemory(64 << 20);  // room for all of it
  *found = {};
  found->values.resize(model.databases() * model.keys().size());
  loop_->HoldWall(true);
  SetEviction(EvictionPolicy::kNone);
  found->now_ms = store().now_ms();
  std::string wrong;
  for (uint32_t db = 0; db < model.databases() && wrong.empty(); ++db) {
    wrong = ReadDatabase(model, db, with_bytes, found);
  }
  SetEviction(driver_->options().eviction);
  loop_->HoldWall(false);
  return wrong;
}

std::string CrashWorld::FindPresent(const CrashModel& model, uint32_t db,
                                    std::set<std::string>* present) {
  for (const std::string& key : model.keys()) {
    bool exists = false;
    Status status = driver_->Run({driver_->Wants(key, Access::kMetadata, db)}, [&] {
      exists = store().database(db).Lookup(store().Key(key)).exists();
    });
    if (!status.ok()) return "metadata: " + status.message();
    if (exists) present->insert(key);
  }
  return "";
}

std::string CrashWorld::CheckKeys(const CrashModel& model, uint32_t db) {
  // Time goes on: keys may expire, but none can appear.
  std::set<std::string> before, after;
  std::string wrong = FindPresent(model, db, &before);
  if (!wrong.empty()) return wrong;
  std::vector<std::string> scanned = driver_->ScanAll(7, db);
  uint64_t count = driver_->Count(db);
  wrong = FindPresent(model, db, &after);
  if (!wrong.empty()) return wrong;
  std::set<std::string> unique(scanned.begin(), scanned.end());
  if (unique.size() != scanned.size()) return "a scan returned a key twice";
  auto includes = [](const auto& all, const auto& some) {
    return std::includes(all.begin(), all.end(), some.begin(), some.end());
  };
  if (!includes(unique, after)) return "a scan does not return every key";
  if (!includes(before, unique)) return "a scan returned an absent key";
  if (count > before.size() || count < after.size()) {
    return "db " + std::to_string(db) + " counts " + std::to_string(count) + " keys, has " +
           std::to_string(after.size());
  }
  return "";
}

std::string CrashWorld::CheckParts() {
  // What is in flight (blind writes, moves of compaction, batches) comes to its end.
  Status status;
  for (int i = 0; i < 50; ++i) {
    if (!driver_->Sync().ok()) return "sync failed";
    if (driver_->Demote({}) != 0) return "nothing demoted is not nothing";
    status = store().CheckConsistency();
    if (status.code() != StatusCode::kBusy) return status.ok() ? "" : status.message();
    for (int turn = 0; turn < 20; ++turn) driver_->Turn(5000);
  }
  return "the store never comes to rest: " + status.message();
}

std::string CrashWorld::CheckWhole(const CrashModel& model) {
  for (uint32_t db = 0; db < model.databases(); ++db) {
    if (std::string wrong = CheckKeys(model, db); !wrong.empty()) return wrong;
  }
  if (!driver_->RunUntil([&] { return store().Stats().cold_map_complete; })) {
    return "the cold map is never complete";
  }
  return CheckParts();
}

}  // namespace firn::test
