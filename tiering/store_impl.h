// StoreImpl: the state behind Store, and the elementary operations on it that keep its parts in
// step: the table, the cold map, the log, the counters. What is built from them lies beside it:
// planning and fetching (fetcher), settling blind writes (settler), index batches (indexer), the
// hand (sweeper), the rebuild of the cold map (map_rebuild), its bound (map_bound, left_keys),
// compaction (compactor), walks over all tiers (scanner), the start (recovery).
//
// Executor thread only, but for the jobs that it gives to workers; those touch shared_ptr'd files
// and the index alone.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/base/coding.h"
#include "engine/base/random.h"
#include "engine/keyspace/access_clock.h"
#include "tiering/found_pages.h"
#include "tiering/identity.h"
#include "tiering/index/index.h"
#include "tiering/index_meta.h"
#include "tiering/keyspace_state.h"
#include "tiering/log/log_writer.h"
#include "tiering/log/segment.h"
#include "tiering/memory_meter.h"
#include "tiering/page_watchers.h"
#include "tiering/store.h"

namespace firn {

class Capture;
class DurabilitySwitch;
class Compactor;
class Copier;
class Defragmenter;
class Demoter;
class Evictor;
class Fetcher;
class HotSet;
class Indexer;
class LeftKeys;
class LogArchiver;
class MapBound;
class MapRebuild;
class ReadAhead;
class Reaper;
class Scanner;
class Settler;
class Sweeper;

// The meaning of the access clock, from maxmemory-policy.
struct AccessPolicy {
  bool lfu = false;
  LfuParameters parameters;
  uint32_t Fresh(int64_t now_ms) const { return lfu ? LfuInit(now_ms) : LruNow(now_ms); }
  uint32_t OnWrite(uint32_t old, int64_t now_ms) const {
    return lfu && old != 0 ? old : Fresh(now_ms);
  }
  uint32_t OnAccess(uint32_t old, int64_t now_ms, Random* random) const {
    return lfu ? LfuTouch(old, now_ms, parameters, random) : LruNow(now_ms);
  }
};

// Positions that are no place in the log (slot 0 is never used).
inline constexpr PackedPosition kNoPosition = 0;
// The index holds an older root of this key, but no record has the present value.
inline constexpr PackedPosition kStalePosition = 1;
inline bool IsLogPosition(PackedPosition position) { return position > kStalePosition; }

// The key of a collection's page in the keyspace of pages: value id and page number, big-endian.
struct PageKey {
  char bytes[12];
  PageKey(uint64_t value_id, uint32_t page) {
    StoreBig64(bytes, value_id);
    StoreBig32(bytes + 8, page);
  }
  std::string_view view() const { return {bytes, sizeof bytes}; }
  uint64_t HashIn(const Table& table) const { return table.HashOf(view()); }
};

// Roots of collections up to this size are logged whole when they change, larger ones by what
// changed.
inline constexpr uint64_t kSmallRootBytes = 192;

// Padded bytes of an image record of these parts, uncompressed: what live bytes are counted in.
uint64_t LogicalRecordSize(uint64_t key_size, uint64_t payload_size, bool has_expiry);

// A new value for a key. Either bytes or an integer.
struct NewValue {
  ValueType type = ValueType::kString;
  std::string_view bytes;
  bool is_integer = false;
  int64_t integer = 0;
  bool raw = false;
  int64_t expiry_ms = Entry::kNoExpiry;
  bool known_new = false;  // nothing was ever written under this key: a new page of a collection
  bool unlogged = false;   // the caller logs the image itself, by LogImage with the flags returned
};

// A value changed by effects that no image includes yet.
struct DirtyValue {
  uint32_t keyspace = 0;
  std::string key;
  uint64_t root_segment = 0;  // held until then
  log::LogPosition first_effect;
  uint64_t first_lsn = 0;
  uint64_t clean_lsn = 0;  // once an image or a delete has been logged: the LSN that covers it
};

class StoreImpl {
 public:
  StoreImpl(const StoreOptions& options, const StoreEnvironment& environment);
  ~StoreImpl();

  Status Open(std::function<void()> progress);
  Status Close();
  void SetEviction(EvictionPolicy policy, int lfu_log_factor, int lfu_decay_time);

  // --- keyspaces
  // Each database has two keyspaces: slot 2 n for its keys, 2 n + 1 for the pages of its
  // collections. What the log and the index call a database is a slot.
  Keyspace& KeyspaceOf(uint32_t db) { return *slots_[2 * db]; }
  Keyspace& KeyspaceFor(const KeyAccess& access) {
    return *slots_[2 * access.db + (access.pages ? 1 : 0)];
  }
  uint64_t NewValueId();
  // Bytes that the pages of a collection take besides its root, from a sample of those in RAM.
  uint64_t EstimatePages(Keyspace& keyspace, std::string_view root);
  Keyspace* KeyspaceById(uint32_t id);  // null if it has been dropped
  Keyspace* MakeKeyspace(uint32_t id, uint32_t slot);
  // Tells each keyspace of keys where its pages are. After any change of the slots.
  void LinkPages();
  void SwapDatabases(uint32_t a, uint32_t b);
  void FlushDatabase(uint32_t db);
  // False if the log refuses. The change that made the names is then to be undone.
  bool LogKeyspaceNames();

  // --- entries: the table, memory and counters in step. `key` must be the entry's.
  void Install(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  // Frees `old`. Pins and an unsettled predecessor carry over.
  void Exchange(Keyspace& keyspace, const HashedKey& key, Entry* old, Entry* entry);
  void Discard(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  // The hot look-up of the command path, remembered until the next change of any table.
  Entry* FindEntry(Keyspace& keyspace, const HashedKey& key) {
    if (memo_.keyspace == keyspace.id && memo_.hash == key.hash && memo_.entry != nullptr &&
        SameBytes(memo_.entry->key(), key.bytes)) {
      return memo_.entry;
    }
    Entry* entry = keyspace.table.Find(key);
    memo_ = {keyspace.id, key.hash, entry};
    return entry;
  }
  // A page of a collection that was looked up a moment ago; null if that is not known.
  const FoundPages::Found* LastFound(const Keyspace& pages, uint64_t value_id, uint32_t page) {
    const FoundPages::Found& found = found_pages_.PlaceOf(value_id, page);
    return FoundPages::Holds(found, pages.id, value_id, page) ? &found : nullptr;
  }
  // Asks memory for what LastFound looks at.
  void PrefetchFound(uint64_t value_id, uint32_t page) const {
    __builtin_prefetch(&found_pages_.PlaceOf(value_id, page));
  }
  // A page of a collection, null if it is not in RAM. What is found is valid until the next call.
  const FoundPages::Found* FindPage(const Keyspace& pages, uint64_t value_id, uint32_t page) {
    const FoundPages::Found* found = LastFound(pages, value_id, page);
    if (found != nullptr) [[likely]]
      return found;
    return SearchPage(pages, value_id, page, PageKey(value_id, page).HashIn(pages.table));
  }
  // Without a look at what was found last; `hash` is that of the page's key.
  const FoundPages::Found* SearchPage(const Keyspace& pages, uint64_t value_id, uint32_t page,
                                      uint64_t hash);

  // --- changes of a key's value; each appends its record first and changes nothing if that fails
  // Returns the flags of the image's record.
  uint8_t WriteValue(Keyspace& keyspace, const HashedKey& key, const NewValue& value);
  // The pages of a collection that goes are freed in the background, unless another key has them
  // now.
  enum class Pages : uint8_t { kFree, kKeep };
  bool DeleteKey(Keyspace& keyspace, const HashedKey& key, Pages pages = Pages::kFree);
  void SetExpiry(Keyspace& keyspace, const HashedKey& key, Entry* entry, int64_t expiry_ms);
  // Changes the bytes of a long string in place and logs only the change. REQUIRES: hot, kPaged.
  void ApplyEffect(Keyspace& keyspace, const HashedKey& key, Entry* entry, log::EffectCode code,
                   uint64_t offset, std::string_view bytes);
  // Changes a value's bytes in RAM; what that means for the log is the caller's. Returns the entry,
  // which may be another one. REQUIRES: hot; checked splices.
  Entry* Splice(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                std::span<const firn::Splice> splices, uint64_t new_size);
  // While a store without durability is captured: an effect has to have an image that it changes.
  // False if the log refuses.
  bool EnsureImage(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  // Takes an entry out of the count of live bytes before its first change that its image does not
  // include; true if it was clean.
  bool BeginDirty(Keyspace& keyspace, Entry* entry);
  // Remembers from where on a replay must change the entry again.
  void NoteDirty(Keyspace& keyspace, const HashedKey& key, Entry* entry,
                 const log::LogWriter::Appended& appended);
  // Logs the whole value; false if the log refuses.
  bool LogImage(Keyspace& keyspace, const HashedKey& key, Entry* entry, uint8_t flags);
  // LogImage for a dirty or never logged entry.
  bool Checkpoint(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  // Deletes a key that has expired: by a record, with the listener told.
  void Expire(Keyspace& keyspace, const HashedKey& key);
  void Evict(Keyspace& keyspace, const HashedKey& key);
  void TellMove(const Keyspace& keyspace, std::string_view key, TierMove move) {
    if (!tell_moves_ || listener_ == nullptr || keyspace.holds_pages()) [[likely]]
      return;
    listener_->OnMoved(keyspace.db(), key, move);
  }
  void NoteLatency(StoreLatency event, int64_t micros) {
    if (listener_ != nullptr) listener_->OnLatency(event, micros);
  }

  // --- tiers
  bool IsIndexed(PackedPosition position) const;
  // Whether the entry could leave RAM now: clean, indexed, unpinned, settled.
  bool IsDemotable(const Entry& entry) const;
  // Moves the entry's value out of RAM, and the entry as well unless something needs it yet.
  // REQUIRES: IsDemotable.
  void Demote(Keyspace& keyspace, const HashedKey& key, Entry* entry);
  // Makes an entry of a fetched image; the cold slot, if it has one, goes.
  struct FetchedImage {
    PackedPosition position = 0;
    const log::RecordView* record = nullptr;
    std::string_view value;  // uncompressed; ignored for a head
    bool head_only = false;
    uint8_t flags = 0;  // of Entry::Flag
  };
  // The entry has been admitted, or is about to go: its bytes are no longer a fetch's.
  void EndTransient(Entry* entry);
  Entry* InstallImage(Keyspace& keyspace, const HashedKey& key, const FetchedImage& image);
  // Takes a cold key into the table as a stub. REQUIRES: its slot in the cold map has this
  // position, or its root in the index if it is left to that.
  Entry* InstallStub(Keyspace& keyspace, const HashedKey& key, PackedPosition position,
                     const IndexRoot& root);
  // The higher, the better a victim under the eviction policy.
  double EvictionScore(const Entry& entry, int64_t now_ms);
  bool IsWarm(PackedPosition position) const { return !log_->Warm(position).empty(); }

  // --- accounting
  void AddLive(const Keyspace& keyspace, PackedPosition position, int64_t logical_bytes);
  void DropLiveShares(uint32_t keyspace_id);
  // Forgets a segment that is about to be removed from the table of segments.
  void ForgetLive(const log::Segment& segment);
  uint64_t LogicalSizeOf(const Entry& entry) const;
  uint64_t UsedMemory() const;
  // What writers are measured by: as UsedMemory, but pages that are partly free count for less,
  // since new values go into them.
  uint64_t GateMemory() const;
  // Bytes over (positive) or under the level at which demotion begins.
  int64_t MemoryPressure() const;
  void SampleMemory();

  // --- time
  int64_t now_ms() {
    int64_t wall = environment_.loop->WallMillis();
    if (wall > last_wall_ms_) last_wall_ms_ = wall;
    return last_wall_ms_;
  }
  int64_t expiry_clock_ms() { return expiry_held_ ? 0 : now_ms(); }

  // --- the log
  // Appends, or remembers the failure for TakeRunError.
  std::optional<log::LogWriter::Appended> Append(const log::RecordSpec& spec);
  void BeginGroup();
  void EndGroup();
  int64_t EndIteration();
  bool MayReply(uint64_t lsn) const;
  void StartSync();
  void MarkAppended(int64_t now);
  // Under `always`: for how long the next sync waits for more commands.
  int64_t GatherMicros(int64_t now) const;
  void OnSynced();
  void SyncNow(std::move_only_function<void(Status)> done);

  uint64_t page_moves() const { return found_pages_.moves(); }
  // After entries have gone.
  void ForgetLastFound() {
    memo_ = {};
    found_pages_.Clear();
  }
  // `old` is about to be freed, and `entry` has its place in the table.
  void NoteMoved(const Keyspace& keyspace, const Entry* old, Entry* entry) {
    memo_ = {};
    if (keyspace.holds_pages()) found_pages_.Replace(old->key(), old, entry);
  }

  // --- work on other threads, answered while this object lives
  void RunJob(io::WorkPriority priority, std::move_only_function<void()> job,
              std::move_only_function<void()> done);
  // Wraps a callback so that it does nothing once this object is gone.
  std::weak_ptr<StoreImpl*> alive() const { return alive_; }

  // Every change is logged: always if durable, else while a snapshot is prepared.
  bool LogsChanges() const;
  bool Has(PlantedBug bug) const { return environment_.planted_bug == bug; }
  void Log(int level, const std::string& line) {
    if (environment_.log) environment_.log(level, line);
  }

  // Constant after Open.
  StoreOptions options_;
  StoreEnvironment environment_;
  Identity identity_;

  std::unique_ptr<log::SegmentTable> segments_;
  std::unique_ptr<log::LogWriter> log_;
  std::shared_ptr<Index> index_;

  std::unique_ptr<Fetcher> fetcher_;
  std::unique_ptr<Settler> settler_;
  std::unique_ptr<Indexer> indexer_;
  std::unique_ptr<Sweeper> sweeper_;
  std::unique_ptr<Defragmenter> defragmenter_;
  std::unique_ptr<LeftKeys> left_keys_;
  std::unique_ptr<MapBound> map_bound_;
  std::unique_ptr<MapRebuild> map_rebuild_;
  std::unique_ptr<Compactor> compactor_;
  std::unique_ptr<Scanner> scanner_;
  std::unique_ptr<Reaper> reaper_;
  std::unique_ptr<Demoter> demoter_;
  std::unique_ptr<Evictor> evictor_;
  std::unique_ptr<Copier> copier_;
  std::unique_ptr<ReadAhead> read_ahead_;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<LogArchiver> archiver_;
  std::unique_ptr<HotSet> hot_set_;
  std::unique_ptr<DurabilitySwitch> durability_switch_;

  PageWatchers page_watchers_;
  std::vector<Keyspace*> slots_;
  std::map<uint32_t, std::unique_ptr<Keyspace>> keyspaces_;
  uint32_t next_keyspace_id_ = 1;
  std::vector<Database> databases_;

  // Oldest first: they hold the replay position back.
  std::deque<DirtyValue> dirty_;
  size_t clean_prefix_ = 0;  // so many at the front are clean

  // Pages that the running command found missing.
  struct MissingPage {
    uint32_t db;
    PageKey key;
    uint64_t hash;
  };
  std::vector<MissingPage> missing_;
  const ElementHint* element_hint_ = nullptr;  // for the command that runs
  uint64_t expiry_records_ = 0;                // in the log, of keys that had expired
  uint64_t tree_shapes_ = 0;                   // grows when a page of any tree comes or goes
  uint64_t tree_changes_ = 0;                  // grows when one changes
  uint64_t last_value_id_ = 0;

  AccessPolicy access_clock_;
  MemoryMeter memory_;
  Random random_;
  StoreStats stats_;
  StoreListener* listener_ = nullptr;
  bool tell_moves_ = false;
  int64_t sync_began_micros_ = 0;  // 0: none is under way
  // Of the last one: when it ended, how long it took, and for how many records.
  int64_t sync_ended_micros_ = 0;
  int64_t last_sync_micros_ = 0;
  uint64_t last_sync_records_ = 0;
  // So many wait once everybody whom it has answered has written again.
  uint64_t expected_records_ = 0;
  // Calls of EndIteration since the log has failed; it counts to 2.
  int iterations_since_failure_ = 0;
  Status run_error_;
  uint64_t spared_memory_ = 0;
  int64_t transient_memory_ = 0;  // of entries that fetches brought and nobody has admitted yet
  int64_t page_relief_bytes_ =
      0;                       // to be demoted until the next sample, since pages in use are many
  uint64_t fetch_memory_ = 0;  // reserved by fetches in flight
  bool active_expire_ = true;
  bool paused_ = false;  // nothing expires or is evicted unasked
  bool expiry_held_ = false;
  bool keep_expired_ = false;  // look-ups only hide what has expired
  bool closing_ = false;
  int group_depth_ = 0;
  bool group_logged_ = false;  // the log has its begin
  uint64_t jobs_in_flight_ = 0;
  std::function<void()> on_may_reply_;

  std::deque<std::unique_ptr<Keyspace>> dropped_;  // being freed in slices
  struct DroppedId {
    uint32_t id;
    uint64_t lsn;  // of the record that says so
  };
  std::vector<DroppedId> dropped_ids_;  // to be told to the index
  // Live bytes of each segment, by slot, of each keyspace: a dropped keyspace's die at once.
  struct LiveShare {
    uint32_t keyspace;
    int64_t bytes;
  };
  std::vector<std::vector<LiveShare>> live_by_keyspace_;

 private:
  friend class Recovery;
  struct Memo {
    uint32_t keyspace = 0;
    uint64_t hash = 0;
    Entry* entry = nullptr;
  };
  struct UnsyncedMark {
    uint64_t lsn;
    int64_t appended_micros;
  };
  struct SyncWaiter {
    uint64_t lsn;
    std::move_only_function<void(Status)> done;
  };
  // What is known of the key that a write replaces.
  struct Predecessor {
    Entry* entry = nullptr;
    bool exists = false;
    bool blind = false;
    bool has_expiry = false;
    PackedPosition position = 0;
    uint64_t logical_size = 0;
    ColdSlot warm_slot;
    bool warm_is_collection = false;
  };
  Predecessor FindPredecessor(Keyspace& keyspace, const HashedKey& key);
  uint8_t WriteOver(Keyspace& keyspace, const HashedKey& key, const NewValue& value,
                    const Predecessor& predecessor);
  bool OverwriteString(Keyspace& keyspace, const Entry::Spec& spec, const Predecessor& predecessor);
  void Supersede(Keyspace& keyspace, const HashedKey& key, const Predecessor& predecessor);
  bool DeleteEntry(Keyspace& keyspace, const HashedKey& key, Entry* entry, bool free_pages);
  // Some place in the log behind which there is nothing yet.
  PackedPosition LastPosition() const;
  // The pages of a value that is about to go.
  void FreePagesOf(Keyspace& keyspace, const Entry& entry);
  void AnswerSyncWaiters();

  Memo memo_;
  FoundPages found_pages_;
  int64_t last_wall_ms_ = 0;
  uint64_t published_lsn_ = 0;
  std::deque<UnsyncedMark> unsynced_;
  uint64_t delayed_lsn_ = 0;  // up to here a wait for a late sync has been counted
  std::deque<SyncWaiter> sync_waiters_;
  int64_t last_memory_sample_micros_ = 0;
  bool told_of_lock_ = false;  // that the log's window isn't locked
  std::shared_ptr<StoreImpl*> alive_;
};

}  // namespace firn
