// Store: the front door of the storage engine. It holds the keyspaces of one data directory, knows
// in which tier every value is, and makes changes durable.
//
// How a command uses it (all on the executor thread):
//
//   1. Plan       name the keys and what is wanted of them. If all that is wanted is resident, run
//   at once; else
//                 the store issues the reads together and calls the ticket's waiter; then plan
//                 again.
//   2. run        look values up and change them through Database: ordinary synchronous calls. Each
//                 change appends its log record before it returns.
//   3. Release    the ticket: values that the plan brought are admitted to the hot tier or go back.
//   4. EndIteration, once for all commands of a loop iteration; then replies may leave as MayReply
//   says.
//
// Nothing here blocks on the disk but Open and Close.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "engine/keyspace/table.h"
#include "engine/page/page_edit.h"
#include "engine/types/long_string.h"
#include "tiering/io/loop.h"
#include "tiering/planted_bug.h"
#include "tiering/store_stats.h"

namespace rocksdb {
class Env;
}

namespace firn {

class AccessSurvey;
class Database;
struct ElementHint;
class Store;
class StoreBackup;
class StoreImpl;
class ValueBuild;
class ValueCopy;
// Makes a part of a new string, of `to.size()` bytes, of the parts of its sources. None is longer;
// shorter ones go on with zeros.
using PartMixer = std::function<void(std::span<const std::string_view> parts, std::span<char> to)>;
struct SnapshotSource;

enum class SyncPolicy : uint8_t { kNo, kEverySecond, kAlways };

// What happens at max_memory_bytes when values can't leave RAM (tiering off).
enum class EvictionPolicy : uint8_t {
  kNone,
  kAllKeysLru,
  kAllKeysLfu,
  kAllKeysRandom,
  kVolatileLru,
  kVolatileLfu,
  kVolatileRandom,
  kVolatileTtl,
};

// What a command wants of a key, from its row in the command table.
enum class Access : uint8_t {
  kMetadata,   // existence, type, expiry: the value may stay where it is
  kRead,       // the value
  kUpdate,     // the value, to change it
  kOverwrite,  // nothing: the reply does not depend on what was there
  kReplace,    // existence and expiry matter (NX, XX, KEEPTTL, DEL), the value doesn't
};

struct KeyAccess {
  uint32_t db = 0;
  HashedKey key;
  Access access = Access::kRead;
  bool pages = false;  // a page of a collection: not for commands
};

enum class PlanResult : uint8_t {
  kReady,      // run now
  kWaiting,    // the ticket's waiter will be called; plan again then
  kReadError,  // a key's record could not be read or is damaged: see Ticket::error()
};

// Belongs to one command of one client; holds what its plan brought in place until Release. Not
// copied or moved while waiting.
class Ticket {
 public:
  Ticket() = default;
  ~Ticket();  // REQUIRES: released
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  // Called (from the loop, never from inside Plan) when a kWaiting plan is worth trying again.
  std::function<void()> on_ready;

  bool waiting() const { return reads_in_flight_ > 0 || queued_; }
  const Status& error() const { return error_; }

 private:
  friend class Fetcher;
  friend class Store;
  struct Pin {
    uint32_t keyspace;
    uint64_t hash;
    std::string key;
  };
  // A candidate that turned out to be another key's record (position 0: the index doesn't know the
  // key).
  struct Rejected {
    uint32_t keyspace;
    uint64_t hash;
    uint64_t position;
    uint32_t lowerings = 0;  // of the keyspace, when the index was asked
  };
  std::vector<Pin> pins_;
  std::unique_ptr<std::unordered_map<uint64_t, uint32_t>> pin_index_;  // of many pins
  std::vector<Rejected> rejected_;
  uint32_t reads_in_flight_ = 0;
  uint64_t serial_ = 0;  // identifies the ticket to reads that outlive it
  bool queued_ = false;
  int64_t queued_micros_ = 0;
  uint64_t pages_wanted_ = 0;  // by PlanMissing
  Status error_;
};

struct StoreOptions {
  std::string directory;
  bool durable = true;  // appendonly: every change is logged before its reply
  bool tiering = true;  // values may leave RAM
  SyncPolicy sync_policy = SyncPolicy::kEverySecond;
  uint64_t max_memory_bytes = 0;  // 0: no limit
  uint64_t max_disk_bytes = 0;    // 0: see LogWriter::set_max_bytes
  uint64_t segment_size_bytes = 64 << 20;
  uint64_t warm_memory_bytes = 0;   // 0: chosen from max_memory_bytes
  uint64_t index_memory_bytes = 0;  // of the cold maps; 0: no limit
  bool compress = false;
  int compression_level = 3;
  int compaction_target_percent = 140;  // of the bytes alive that the log may take
  int compaction_share_percent = 50;    // of the time; more when garbage gets the better of it
  uint64_t min_value_bytes = 0;         // smaller values are not demoted
  uint32_t databases = 16;
  EvictionPolicy eviction = EvictionPolicy::kNone;
  int eviction_samples = 5;  // maxmemory-samples
  int lfu_log_factor = 10;
  int lfu_decay_time = 1;
  bool skip_damage = false;  // start although the log is damaged, leaving out what is
  uint64_t replay_limit_bytes = 256 << 20;
  uint64_t replay_limit_records = 300'000;
  // Where full segments of the log are kept (log_archiver.h); empty: nowhere.
  std::string archive_directory = {};
  bool keep_hot_set = false;  // what was hot comes back after a start (hot_set.h)
  uint64_t random_seed = 0;   // 0: from the system; anything else makes a run repeatable
};

// The environment: real, or simulated.
struct StoreEnvironment {
  io::FileSystem* file_system = nullptr;
  io::Loop* loop = nullptr;
  rocksdb::Env* index_env = nullptr;  // null: RocksDB's own
  // Used memory is the whole process's. If not, the engine's own count alone, which repeats from
  // run to run.
  bool meter_process_memory = true;
  PlantedBug planted_bug = PlantedBug::kNone;
  std::function<void(int level, const std::string& line)> log;  // levels as server/logger.h
};

// What took time in the store, for LATENCY.
enum class StoreLatency : uint8_t {
  kFetch,          // a value was brought from disk
  kDemotionWait,   // a write was held back until there was room
  kLogSync,        // the log was synced
  kCompaction,     // one slice of compaction, on the executor
  kExpireCycle,    // one look for expired keys
  kEvictionCycle,  // keys were evicted before a write
};

// A key's value has left RAM, or has come back to stay.
enum class TierMove : uint8_t { kDemoted, kPromoted };

// Told of what the store does by itself. Executor thread; must not call back into the store.
class StoreListener {
 public:
  virtual ~StoreListener() = default;
  virtual void OnExpired(uint32_t db, std::string_view key) = 0;
  virtual void OnEvicted(uint32_t db, std::string_view key) = 0;
  virtual void OnLatency(StoreLatency, int64_t /*micros*/) {}
  // Only while Store::SetTellMoves is on.
  virtual void OnMoved(uint32_t /*db*/, std::string_view /*key*/, TierMove) {}
};

// Where a key's value is.
enum class Tier : uint8_t { kNone, kHot, kWarm, kCold };

class Store {
 public:
  // Blocking: opens the index, replays the log's tail. `progress` is called now and then during a
  // long replay.
  static Result<std::unique_ptr<Store>> Open(const StoreOptions& options,
                                             const StoreEnvironment& environment,
                                             std::function<void()> progress = {});
  // Blocking: clean stop. The destructor without Close abandons everything as a crash would.
  Status Close();
  ~Store();

  // --- plan

  uint64_t Hash(std::string_view key) const;
  HashedKey Key(std::string_view key) const { return {key, Hash(key)}; }
  // Hints that a key will be planned soon, for callers with other work to do in between, such as
  // the next requests of a pipeline: the first asks the processor for what leads to the key's
  // entry, the second, some time later, for the entry.
  void Prefetch(uint32_t db, uint64_t hash) const;
  void PrefetchEntry(uint32_t db, uint64_t hash) const;
  PlanResult Plan(std::span<const KeyAccess> keys, Ticket* ticket);
  // What was counted and changed before a run of a command.
  struct RunMark {
    uint64_t hits = 0;
    uint64_t misses = 0;
    uint64_t hot_hits = 0;
    uint64_t expired = 0;  // keys that had expired when they were met
    uint64_t records = 0;  // of changes other than that
  };
  RunMark MarkRun() const;
  // After a run that is to be repeated: its look-ups are not counted twice. REQUIRES: it has
  // changed nothing.
  void TakeBack(const RunMark& mark);
  // Whether the command that has just run met pages of a collection that are not in RAM: it has
  // then changed nothing and replied nothing, and must run again once PlanMissing says kReady.
  // `keys` are the command's, as for Plan. kReadError also when it wants more pages than maxmemory
  // allows for one command.
  bool pages_missing() const;
  // What is known of the element that the next command looks up first; null when it has run. The
  // hint must live so long.
  void UseHint(const ElementHint* hint);
  PlanResult PlanMissing(std::span<const KeyAccess> keys, Ticket* ticket);
  // Whether there is room to plan commands whose turn hasn't come.
  bool MayLookAhead() const;
  // Ends a ticket's use, run or not. A waiter is not called any more.
  void Release(Ticket* ticket);

  enum class WriteGate : uint8_t { kOk, kOutOfMemory, kOutOfSpace, kDiskFull, kLogFailed, kWait };
  // Whether a command that may write `bytes` can run. kWait: the ticket's waiter will be called (a
  // segment is being made, or writers are being slowed). kFreesSpace commands (DEL, EXPIRE, FLUSH)
  // pass where others are refused. kOutOfMemory: there is nothing to evict (tiering is off), or
  // what can't be demoted exceeds the limit. kOutOfSpace: `maxdisk`; kDiskFull: the file system.
  WriteGate CheckWrite(uint64_t bytes, bool frees_space, Ticket* ticket);
  const Status& log_failure() const;  // why writes fail, for kLogFailed and kDiskFull

  // --- run

  Database& database(uint32_t db);
  uint32_t databases() const;
  // Milliseconds since 1970, the same during an iteration and never falling.
  int64_t now_ms() const;
  // What is to expire by then has expired: now_ms(), or 0 while HoldExpiry is on.
  int64_t expiry_clock_ms() const;

  // Changes between the two are whole or absent after a crash. Groups may nest: the outermost
  // counts.
  void BeginGroup();
  void EndGroup();
  // Why a change of the last command was not made (its record could not be appended), ok if all
  // were. Resets it.
  Status TakeRunError();

  void SwapDatabases(uint32_t a, uint32_t b);
  // Empties a database; the memory is freed in slices.
  void FlushDatabase(uint32_t db);

  // --- reply

  // What the replies to the commands of this iteration wait for, to be asked after EndIteration.
  uint64_t executed_lsn() const;
  // Whether replies to commands up to `lsn` may be sent now. When not, `on_may_reply` is called
  // when that has changed.
  bool MayReply(uint64_t lsn) const;
  void set_on_may_reply(std::function<void()> callback);
  // The log has failed: replies that MayReply holds back will never be allowed; their clients must
  // be disconnected.
  bool LogFailed() const;
  // Publishes this iteration's records, starts syncs, advances background work by a bounded slice.
  // Returns in how many microseconds it wants to be called again (0: at once, work is left).
  int64_t EndIteration();

  // --- keys over all tiers; the callbacks come from the loop

  struct ScanKey {
    std::string key;
    ValueType type;
  };
  // Collects at least `count` keys from `cursor` (0 begins; at most 52 bits) on; `next` is 0 at the
  // end. Keys that expired are deleted. Answers at once if nothing is cold.
  struct ScanResult {
    uint64_t next = 0;
    std::vector<ScanKey> keys;
    Status status;
  };
  using ScanCallback = std::move_only_function<void(ScanResult)>;
  void Scan(uint32_t db, uint64_t cursor, uint64_t count, ScanCallback done);
  // A key about equally likely to be any; nothing if empty.
  void RandomKey(uint32_t db, std::move_only_function<void(std::optional<std::string>)> done);
  // The exact number of keys, once every blind write has been settled.
  void CountKeys(uint32_t db, std::move_only_function<void(uint64_t)> done);
  // The number as known now: may count a blindly overwritten cold key twice.
  uint64_t EstimateKeys(uint32_t db) const;
  // Keys with an expiry, and the mean time to live of those sampled, for INFO.
  uint64_t EstimateExpiring(uint32_t db) const;

  // --- tiers by hand

  // REQUIRES: planned with kMetadata.
  Tier Where(uint32_t db, const HashedKey& key);
  // Moves values to disk, out of the warm window too; answers how many are there that weren't.
  void Demote(uint32_t db, std::vector<std::string> keys,
              std::move_only_function<void(int64_t)> done);
  // Of a value in pages, every `step`-th one from `first` on, of which 0 is the root; answers how
  // many have gone. For tests: the hand leaves values so.
  struct PageChoice {
    uint32_t first = 0;
    uint32_t step = 1;
  };
  void DemotePages(uint32_t db, std::string key, PageChoice pages,
                   std::move_only_function<void(int64_t)> done);
  // REQUIRES: planned with kRead. Keeps the value in the hot tier; false if it was there or is
  // absent.
  bool Promote(uint32_t db, const HashedKey& key);

  // Syncs, and calls back when everything appended before is durable (or failed).
  void SyncNow(std::move_only_function<void(Status)> done);

  // --- snapshots
  // Without durability RAM may know more than the log: then that is brought there first, in slices.
  // `done` is called when it is, at once in a durable store; a snapshot can be taken until it
  // returns. REQUIRES: no group is open.
  void PrepareSnapshot(std::move_only_function<void(Status)> done);
  // The state after the last command, to be read by another thread (tiering/snapshot). REQUIRES: no
  // group is open; prepared. Must be gone before the store is opened again.
  Result<std::unique_ptr<SnapshotSource>> TakeSnapshot();
  // Notes how much the keys in RAM are used (tiering/snapshot/access_survey.h), some at a time.
  // True if there is more to do.
  bool SurveyAccess(AccessSurvey* survey, uint64_t max_entries);
  // A copy of the data directory (tiering/snapshot/backup.h) in `directory`, which must exist and
  // be empty. kUnsupported without durability.
  Result<std::unique_ptr<StoreBackup>> BeginBackup(std::string directory);

  // --- durability that changes at run time
  // Whether every change is logged before its reply.
  bool durable() const;
  // Makes all data durable, and every change from then on (tiering/snapshot/durability_switch.h).
  // `done` is called when a crash would lose nothing any more. REQUIRES: no group is open;
  // not under way.
  void MakeDurable(std::move_only_function<void(Status)> done);
  bool making_durable() const;
  // Whether a start without durability may leave the directory's data behind: for those who know
  // that they do. Blocking: it is on the disk when it returns.
  Status LetDataBeLeft(bool allowed);

  // --- settings that change at run time

  void SetMaxMemory(uint64_t bytes);
  void SetMaxDisk(uint64_t bytes);
  void SetSyncPolicy(SyncPolicy policy);
  void SetWarmMemory(uint64_t bytes);
  void SetIndexMemory(uint64_t bytes);
  void SetCompression(bool on, int level);
  struct CompactionPace {
    int target_percent = 0;
    int share_percent = 0;
  };
  void SetCompactionPace(const CompactionPace& pace);
  void SetMinValue(uint64_t bytes);
  void SetActiveExpire(bool on);
  // While set nothing expires, and no time to expire lies in the past. For a load of requests that
  // were made when what has expired by now was still there: they add to it, instead of to nothing.
  void HoldExpiry(bool hold);
  // While set, nothing expires or is evicted unasked. Begins with KeepExpired(true).
  void SetPaused(bool paused);
  // While the store is paused: whether look-ups only hide expired keys, for commands that read,
  // or delete them, for those that write.
  void KeepExpired(bool keep);
  // Also gives the access clock its meaning: LFU for the *Lfu policies, else LRU.
  void SetEviction(EvictionPolicy policy, int lfu_log_factor, int lfu_decay_time);
  void SetEvictionSamples(int samples);
  // Bytes outside the store that are no reason to evict without tiering, though the process has
  // them.
  void SetSparedMemory(uint64_t bytes);
  void set_listener(StoreListener* listener);
  void SetTellMoves(bool on);

  // Begins to collect all garbage of the log in the background, not just what exceeds the target;
  // false if that is under way.
  bool Compact();
  LogSize SizeOfLog() const;

  StoreStats Stats() const;
  uint64_t UsedMemory() const;  // as INFO's used_memory

  // A scrub: reads the index and the whole log, and says what in them, or in RAM, does not fit
  // together. kBusy while background work is under way. Blocks for long.
  Status CheckConsistency();

 private:
  friend class Database;
  explicit Store(std::unique_ptr<StoreImpl> impl);
  std::unique_ptr<StoreImpl> impl_;
};

// A string value for reading: bytes that stay valid until the next change of the keyspace.
class StringValue {
 public:
  std::string_view bytes() const { return is_integer_ ? std::string_view(digits_, size_) : view_; }
  bool is_integer() const { return is_integer_; }
  int64_t integer() const { return integer_; }
  // The page that holds the bytes, to share with a reply; null for short values.
  Page* page() const { return page_; }

 private:
  friend class Database;
  std::string_view view_;
  Page* page_ = nullptr;
  int64_t integer_ = 0;
  uint8_t size_ = 0;
  bool is_integer_ = false;
  char digits_[24];
};

// One numbered database. Keys are planned before they are looked up here: a look-up of a key that
// isn't resident as wanted is a programmer's error and ends the process. Expired keys are deleted,
// by a record, when they are met.
class Database {
 public:
  struct LookupOptions {
    bool touch = true;      // counts as an access
    bool count_hit = true;  // keyspace_hits and keyspace_misses
  };
  // What is known of a key without its value.
  struct KeyInfo {
    ValueType type = ValueType::kNone;  // kNone: absent
    int64_t expiry_ms = -1;
    bool is_long = false;  // a string in pages: GetString doesn't give it
    bool exists() const { return type != ValueType::kNone; }
  };
  KeyInfo Lookup(const HashedKey& key, LookupOptions options);
  KeyInfo Lookup(const HashedKey& key) { return Lookup(key, LookupOptions()); }

  // The value of a string key. REQUIRES: Lookup said kString, and not is_long, and planned with
  // kRead or kUpdate.
  StringValue GetString(const HashedKey& key);

  // --- strings

  // These serve strings of all lengths. REQUIRES: Lookup said kString, and planned with kRead or
  // kUpdate.
  uint64_t StringLength(const HashedKey& key);
  // Whether a part of a string, or what it takes to write there, is in RAM; if not it is wanted now
  // (Store::pages_missing).
  bool WantString(const HashedKey& key, StringRange range);
  // Calls `visit` for the pieces of a part, in order, until it says false. The views are valid
  // until the next change of the keyspace. REQUIRES: WantString(range).
  using StringVisitor = std::function<bool(std::string_view piece)>;
  void VisitString(const HashedKey& key, StringRange range, const StringVisitor& visit);
  // Some bytes of a string that is_long, as one piece, if they are stored as such and in RAM: for
  // those who read little. If not, WantString and VisitString give them. The view is valid until
  // the next change of the keyspace. REQUIRES: a range that ends, and begins before its end.
  std::optional<std::string_view> ReadLong(const HashedKey& key, StringRange range);
  // Single bytes of a string that is_long, for runs of commands; zeros where it has none. False if
  // pages are missing: all of them are wanted.
  bool ReadBytes(const HashedKey& key, std::span<const uint64_t> offsets, std::span<char> bytes);
  // A copy. REQUIRES: WantString(range).
  std::string ReadString(const HashedKey& key, StringRange range);

  enum class ExpiryChange : uint8_t { kRemove, kKeep, kSet };
  struct SetOptions {
    ExpiryChange expiry = ExpiryChange::kRemove;
    int64_t expiry_ms = -1;  // with kSet; may lie in the past: the key is then deleted
    bool raw = false;        // made by growing in place: OBJECT ENCODING raw
  };
  // Makes the key a string, whatever it was. With kRemove and kSet the key needn't be resident
  // (blind).
  void SetString(const HashedKey& key, std::string_view value, SetOptions options);
  void SetInteger(const HashedKey& key, int64_t value, SetOptions options);
  // Both return the new length. An absent key counts as empty. REQUIRES: planned with kUpdate,
  // string or absent; WantString of the part that is written.
  uint64_t AppendString(const HashedKey& key, std::string_view bytes);
  uint64_t SetRange(const HashedKey& key, uint64_t offset, std::string_view bytes);
  // Writes into a string that is_long, and makes it longer if it has to; false, with nothing
  // changed, if pages are missing, as WantString. REQUIRES: planned with kUpdate.
  bool WriteLong(const HashedKey& key, uint64_t offset, std::string_view bytes);
  // Writes single bytes into a string that is_long, one after the other, as one change. False, with
  // nothing changed, unless each lies in a page that is in RAM. REQUIRES: planned with kUpdate.
  struct NewByte {
    uint64_t offset = 0;
    char byte = 0;
  };
  bool WriteBytes(const HashedKey& key, std::span<const NewByte> bytes);
  // Replaces parts of a string, ascending and within it; logs the parts alone unless the string is
  // short. REQUIRES: planned with kUpdate; a string that is no integer, and not is_long.
  void SpliceString(const HashedKey& key, std::span<const Splice> splices);

  // --- keys of any type; planned with kReplace or more

  bool Delete(const HashedKey& key);  // false if absent
  // kNoExpiry removes it. REQUIRES: the key exists.
  void SetExpiry(const HashedKey& key, int64_t expiry_ms);
  // Whether all pages of a collection are in RAM, as Copy, and Rename into another database, need;
  // if not they are wanted now (Store::pages_missing). REQUIRES: planned with kRead.
  bool WantAllPages(const HashedKey& key);
  // A big collection is copied in slices, while others go on: true if there is nothing to wait for,
  // since the value isn't big, or `*copy` is complete. If not, a copy is under way (in `*copy`,
  // begun unless it is there); ValueCopy::Await tells when to ask again, and ValueCopy::status
  // whether there is hope. REQUIRES: planned with kRead; the key exists.
  bool PrepareCopy(const HashedKey& from, Database& target, std::shared_ptr<ValueCopy>* copy);
  // The value with its expiry goes to another key, possibly of another database; whatever that was
  // is replaced. REQUIRES: source planned with kUpdate, target with kReplace; the source exists,
  // and WantAllPages, or `copy` is one that PrepareCopy has just called complete. A Rename within
  // the database needs neither.
  void Rename(const HashedKey& from, Database& target, const HashedKey& to,
              ValueCopy* copy = nullptr);
  void Copy(const HashedKey& from, Database& target, const HashedKey& to,
            ValueCopy* copy = nullptr);
  // A long string that is mixed of others, as long as the longest of them, is made in slices, too:
  // as PrepareCopy, but that there is always one to wait for. Sources that are short must not
  // change too often: then it is never complete. REQUIRES: all planned with kRead, strings or
  // absent, one of them is_long.
  bool PrepareMix(std::span<const HashedKey> sources, const PartMixer& mixer,
                  std::shared_ptr<ValueCopy>* copy);
  // The key becomes that string, without an expiry; returns its length. REQUIRES: planned with
  // kReplace; PrepareMix has just called the copy complete.
  uint64_t SetMixed(const HashedKey& key, ValueCopy* copy);

  // Whether a value that was built (value_build.h) can get a key here: it was begun for this
  // database, and the database has not been emptied or swapped since.
  bool HasBuilt(const ValueBuild& build) const;
  // The key becomes that collection, without an expiry. REQUIRES: HasBuilt; at least one page;
  // planned with kReplace.
  void SetBuilt(const HashedKey& key, ValueType type, std::string_view root, ValueBuild* build);

  // --- for OBJECT, MEMORY, DEBUG

  struct ObjectInfo {
    ValueType type = ValueType::kNone;
    const char* encoding = "";  // of a string, as OBJECT ENCODING names it
    std::string_view root;  // of a collection, if it is in RAM: its type's code names the encoding
    uint64_t memory_bytes = 0;  // of a cold value: what its record takes
    uint32_t access = 0;
    uint64_t serialized_bytes = 0;
    uint64_t log_lsn = 0;
  };
  ObjectInfo Inspect(const HashedKey& key);
  void SetAccess(const HashedKey& key, uint32_t access);

  uint32_t number() const { return number_; }

 private:
  friend class Collection;
  friend class FrozenValue;
  friend class ValueBuild;
  friend class StoreImpl;
  bool IsLongString(const HashedKey& key);
  // The key becomes one. REQUIRES: as SetString.
  void WriteLongString(const HashedKey& key, std::string_view bytes, int64_t expiry_ms);
  // Whether a string that is to have so many bytes is a long one; then it, or the key if it is
  // absent, is made one, with the bytes that it has.
  bool BecomesLong(const HashedKey& key, uint64_t bytes);
  void WriteToLongString(const HashedKey& key, uint64_t offset, std::string_view bytes);
  // WriteLong for the most frequent changes; kNo: it is none of them.
  enum class Patched : uint8_t { kNo, kMissing, kYes };
  Patched PatchLongString(const HashedKey& key, uint64_t offset, std::string_view bytes);
  void CopyCollection(const HashedKey& from, Database& target, const HashedKey& to);
  void NameCopy(const HashedKey& from, Database& target, const HashedKey& to, ValueCopy* copy);
  StoreImpl* impl_ = nullptr;
  uint32_t number_ = 0;
};

}  // namespace firn
