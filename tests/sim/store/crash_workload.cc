#include "crash_workload.h"

#include <algorithm>
#include <span>

#include "engine/base/check.h"
#include "tiering/detached_value.h"

namespace firn::test {
namespace {

constexpr int64_t kMaxAckSpanMicros = 1'000'000;
constexpr int kTurnsForRoom = 20'000;
constexpr size_t kSetKeys = 4;     // the last ones
constexpr size_t kStreamKeys = 3;  // those before

bool EvictsOnlyExpiring(EvictionPolicy policy) {
  return policy == EvictionPolicy::kVolatileLru || policy == EvictionPolicy::kVolatileLfu ||
         policy == EvictionPolicy::kVolatileRandom || policy == EvictionPolicy::kVolatileTtl;
}

std::vector<std::string> KeyNames(uint32_t count) {
  std::vector<std::string> names{"", std::string(200, 'L') + "ong", std::string(129, 'k')};
  while (names.size() < count) names.push_back("key:" + std::to_string(names.size()));
  return names;
}

}  // namespace

CrashWorkload::CrashWorkload(WorkloadOptions options)
    : CrashWorkload(options, CrashModel(3, KeyNames(options.keys))) {}

CrashWorkload::CrashWorkload(WorkloadOptions options, CrashModel start)
    : options_(options),
      random_(options.seed),
      model_(std::move(start)),
      eviction_(options.eviction) {}

std::string CrashWorkload::Run(CrashWorld* world) {
  world_ = world;
  world->store().set_listener(this);
  for (uint32_t i = 0; i < options_.commands && wrong_.empty(); ++i) {
    Command();
    if (world->store().LogFailed()) break;
    Executed();
    // Several commands an iteration, as with pipelines.
    if (random_.Below(3) != 0) Turn(static_cast<int64_t>(random_.Below(1500)));
    if (random_.Below(12) == 0) Disturb();
  }
  for (int i = 0; i < 5; ++i) Turn(1000);
  world->store().set_listener(nullptr);
  return wrong_;
}

void CrashWorkload::Fail(const std::string& what) {
  if (wrong_.empty()) wrong_ = "at command " + std::to_string(model_.op()) + ": " + what;
}

// --- acknowledgements

void CrashWorkload::Executed() {
  pending_.push_back({world_->store().executed_lsn(), model_.op()});
  if (random_.Below(4) == 0) {
    world_->store().EndIteration();
    Poll();
  }
}

void CrashWorkload::Poll() {
  bool noted = false;
  while (!pending_.empty() && world_->store().MayReply(pending_.front().lsn)) {
    if (!noted) world_->disk().NoteMappedStores();
    noted = true;
    acks_.push_back(
        {world_->disk().event_count(), pending_.front().op, world_->driver().loop().NowMicros()});
    pending_.pop_front();
  }
}

void CrashWorkload::Turn(int64_t wait_micros) {
  world_->store().EndIteration();
  Poll();
  world_->driver().loop().RunOnce(wait_micros);
  Poll();
}

uint32_t CrashWorkload::MustHave(uint64_t event, SyncPolicy policy, bool power) const {
  uint32_t op = 0;
  for (const Ack& ack : synced_) {
    if (ack.event <= event) op = std::max(op, ack.op);
  }
  if (power && policy != SyncPolicy::kAlways) return op;
  for (const Ack& ack : acks_) {
    if (ack.event <= event) op = std::max(op, ack.op);
  }
  return op;
}

std::string CrashWorkload::CheckLoss(uint64_t event, uint32_t op) const {
  int64_t first = -1;
  for (const Ack& ack : acks_) {
    if (ack.event > event || ack.op <= op) continue;
    if (first < 0) first = ack.micros;
    if (ack.micros - first > kMaxAckSpanMicros) {
      return "acknowledgements of " + std::to_string(ack.micros - first) +
             " us are lost, from command " + std::to_string(op + 1) + " to " +
             std::to_string(ack.op);
    }
  }
  return "";
}

size_t CrashWorkload::SlotOf(uint32_t db, std::string_view key) const {
  const auto it = std::ranges::find(model_.keys(), key);
  CHECK(it != model_.keys().end());
  return model_.Slot(db, static_cast<size_t>(it - model_.keys().begin()));
}

void CrashWorkload::OnExpired(uint32_t db, std::string_view key) {
  const size_t slot = SlotOf(db, key);
  const auto& now = model_.now(slot);
  if (!now) return Fail("an absent key expired");
  if (now->expiry_ms < 0 || now->expiry_ms > world_->store().now_ms()) {
    return Fail("a key expired before its time");
  }
  Begin();
  model_.Set(slot, std::nullopt);
}

// An eviction is a command of its own: what comes after it is there only if it has happened.
void CrashWorkload::OnEvicted(uint32_t db, std::string_view key) {
  const size_t slot = SlotOf(db, key);
  const auto& now = model_.now(slot);
  if (in_group_) return Fail("a key was evicted in the middle of a group");
  if (!now) return Fail("an absent key was evicted");
  if (eviction_ == EvictionPolicy::kNone) return Fail("a key was evicted by no policy");
  if (EvictsOnlyExpiring(eviction_) && now->expiry_ms < 0) {
    return Fail("a key that lasts was evicted");
  }
  Begin();
  model_.Set(slot, std::nullopt);
}

// --- commands

void CrashWorkload::Begin() {
  if (!in_group_) model_.Begin();
}

std::optional<ModelValue> CrashWorkload::Current(uint32_t db, size_t key) {
  const auto& now = model_.now(model_.Slot(db, key));
  if (now && now->expiry_ms >= 0 && now->expiry_ms <= world_->store().now_ms()) return std::nullopt;
  return now;
}

size_t CrashWorkload::RandomKey() {
  size_t keys = model_.keys().size();
  if (options_.collections && random_.Below(3) == 0) {
    return keys - 1 - random_.Below(kSetKeys + (options_.streams ? kStreamKeys : 0));
  }
  return random_.Below(keys);
}

size_t CrashWorkload::RandomSetKey() { return model_.keys().size() - 1 - random_.Below(kSetKeys); }

bool CrashWorkload::IsSetKey(size_t key) const {
  return options_.collections && key + kSetKeys >= model_.keys().size();
}

bool CrashWorkload::IsStreamKey(size_t key) const {
  return options_.streams && !IsSetKey(key) && key + kSetKeys + kStreamKeys >= model_.keys().size();
}

bool CrashWorkload::HoldsStream(uint32_t db, size_t key) {
  std::optional<ModelValue> value = Current(db, key);
  return value ? value->stream != nullptr : IsStreamKey(key);
}

bool CrashWorkload::HoldsLongString(uint32_t db, size_t key) {
  // One that has expired is still there, perhaps.
  const auto& value = model_.now(model_.Slot(db, key));
  return value && value->bytes.size() > kLongStringBytes;
}

bool CrashWorkload::WantChange(uint32_t db, size_t key, uint64_t seed) {
  if (HoldsSet(db, key)) return WantSetChange(db, key, seed);
  if (HoldsStream(db, key)) return WantStreamChange(db, key, seed);
  Database& database = world_->store().database(db);
  return !database.Lookup(Name(key)).exists() || database.WantString(Name(key), {});
}

bool CrashWorkload::HoldsSet(uint32_t db, size_t key) {
  std::optional<ModelValue> value = Current(db, key);
  return value ? value->set != nullptr : IsSetKey(key);
}

std::string CrashWorkload::RandomBytes() {
  static constexpr uint64_t kMostLong = 150'000;
  static constexpr uint64_t kMost[] = {40, 40, 40, 300, 300, 2000, 9000, 24000, 40000};
  static constexpr uint64_t kMostEvicting[] = {2000, 24000, 40000, 60000, 60000, 60000};
  const auto most = Evicts() ? std::span<const uint64_t>(kMostEvicting) : std::span(kMost);
  uint64_t size = random_.Below(most[random_.Below(most.size())] + 1);
  if (options_.long_strings && random_.Below(3) == 0) size = random_.Below(kMostLong);
  // Every value is another: what is found tells which command wrote it.
  std::string bytes = std::to_string(model_.op()) + "." + std::to_string(random_.Below(1000)) + ":";
  Random filler(size + 1);
  bool dull = random_.Below(2) == 0;
  while (bytes.size() < size) {
    uint64_t word = dull ? 0x2020202020202020 : filler.Next();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  return bytes;
}

bool CrashWorkload::WaitForRoom(uint64_t bytes) {
  Ticket ticket;
  auto gate = world_->store().CheckWrite(bytes, false, &ticket);
  for (int i = 0; gate == Store::WriteGate::kWait && i < kTurnsForRoom; ++i) {
    Turn(1000);
    gate = world_->store().CheckWrite(bytes, false, &ticket);
  }
  world_->store().Release(&ticket);
  if (gate == Store::WriteGate::kWait) {
    StoreStats stats = world_->store().Stats();
    Fail("the store never has room for a write: " + std::to_string(stats.used_memory) +
         " bytes of entries, window of " + std::to_string(stats.window_bytes) + ", hot keys " +
         std::to_string(stats.hot.keys) + ", LSN " + std::to_string(stats.appended_lsn) +
         " appended, " + std::to_string(stats.durable_lsn) + " durable, " +
         std::to_string(stats.indexed_lsn) + " indexed, " + std::to_string(stats.unsettled_writes) +
         " unsettled\n" + world_->log() + world_->store().CheckConsistency().message());
  }
  return gate == Store::WriteGate::kOk;
}

void CrashWorkload::Command() {
  if (options_.builds && random_.Below(40) == 0) return BuildSet(RandomDb(), RandomSetKey());
  uint64_t kind = random_.Below(100);
  uint32_t db = RandomDb();
  size_t key = RandomKey();
  if (options_.overwrites && kind < 80) kind = 18 + kind / 3;
  if (kind < 18) return Read(db, key);
  if (!WaitForRoom((Evicts() ? 256 : 160) << 10)) return;
  Store& store = world_->store();
  // Few of these would grow large if all of these commands overwrote them.
  bool blind = (!HoldsSet(db, key) && !HoldsStream(db, key)) ||
               (!options_.reads_first && random_.Below(8) == 0);
  if (kind < 45 && blind) {
    const bool reads = options_.reads_first && HoldsLongString(db, key);
    KeyAccess access{
        .db = db, .key = Name(key), .access = reads ? Access::kUpdate : Access::kOverwrite};
    return Planned({access}, [&] { SetValue(db, key); });
  }
  if (kind < 80) {
    KeyAccess access{.db = db, .key = Name(key), .access = Access::kUpdate};
    uint64_t seed = DrawSeed();
    return Planned({access}, [&] { return Change(db, key, seed); });
  }
  if (kind < 90) return Group();
  if (kind < 97) return MoveKey();
  if (kind == 97) {
    if (Evicts() && random_.Below(20) != 0) return;  // the log has to fill
    Begin();
    model_.Flush(db);
    store.FlushDatabase(db);
  } else if (kind == 98) {
    uint32_t other = static_cast<uint32_t>(random_.Below(3));
    Begin();
    model_.Swap(db, other);
    store.SwapDatabases(db, other);
  }
}

template <typename Body>
void CrashWorkload::Planned(std::vector<KeyAccess> accesses, Body&& body) {
  Status status = world_->driver().Run(std::move(accesses), body);
  // Nothing was run: it needs more pages than one command may have in little memory.
  if (status.code() == StatusCode::kNoMemory && (options_.collections || options_.long_strings)) {
    return;
  }
  if (!status.ok() && options_.faults) return;  // nothing was run
  if (status.ok()) status = world_->store().TakeRunError();
  // The log failed while the command waited: it is the last, and not acknowledged.
  if (!status.ok() && options_.faults && world_->store().LogFailed()) return;
  if (!status.ok()) Fail(status.message());
}

void CrashWorkload::Read(uint32_t db, size_t key) {
  KeyAccess access{.db = db, .key = Name(key), .access = Access::kRead};
  Planned({access}, [&] {
    Database& database = world_->store().database(db);
    Database::KeyInfo info = database.Lookup(access.key);
    std::optional<ModelValue> expected = Current(db, key);
    if (info.exists() != expected.has_value()) {
      Fail("a key is " + std::string(info.exists() ? "there" : "absent") +
           " that should not be, key " + std::to_string(key) + " db " + std::to_string(db));
      return true;
    }
    if (!expected) return true;
    if (info.expiry_ms != expected->expiry_ms) Fail("a wrong expiry was read");
    if ((info.type == ValueType::kSet) != (expected->set != nullptr) ||
        (info.type == ValueType::kStream) != (expected->stream != nullptr)) {
      Fail("a value of another type was read");
    } else if (expected->set) {
      return ReadSet(db, key, *expected->set);
    } else if (expected->stream) {
      return ReadStream(db, key, *expected->stream);
    } else if (!database.WantString(access.key, {})) {
      return false;
    } else if (database.ReadString(access.key, {}) != expected->bytes) {
      Fail("a wrong value was read");
    }
    return true;
  });
}

// A set is made beside the others, a slice a turn, and takes the place of what the key holds, or of
// nothing, if nobody wants it any more.
void CrashWorkload::BuildSet(uint32_t db, size_t key) {
  Store& store = world_->store();
  DetachedValue value(store.database(db));
  const std::shared_ptr<ModelSet> set = MakeSet(&value.pages());
  constexpr uint64_t kSlice = 8 << 10;
  for (auto written = DetachedValue::Written::kMore; written != DetachedValue::Written::kAll;) {
    written = value.WriteSlice(kSlice);
    if (written == DetachedValue::Written::kFailed || random_.Below(60) == 0) return;
    Turn(static_cast<int64_t>(random_.Below(1000)));
    if (random_.Below(20) == 0) Disturb();
  }
  if (!WaitForRoom(16 << 10)) return;
  Planned({{.db = db, .key = Name(key), .access = Access::kUpdate}}, [&] {
    Database& database = store.database(db);
    database.Lookup(Name(key));
    Begin();
    store.BeginGroup();
    value.Install(database, Name(key), ValueType::kSet);
    store.EndGroup();
    model_.Set(model_.Slot(db, key), ModelValue{.set = set});
  });
}

void CrashWorkload::SetValue(uint32_t db, size_t key) {
  Database& database = world_->store().database(db);
  Begin();
  Database::SetOptions options;
  ModelValue value{.bytes = RandomBytes()};
  static constexpr int64_t kDelays[] = {-5, 40, 100'000'000};
  uint64_t expiry = random_.Below(10);
  if (Evicts() && expiry < 8) expiry = std::min<uint64_t>(expiry, 2);
  if (expiry < std::size(kDelays)) {
    options.expiry = Database::ExpiryChange::kSet;
    options.expiry_ms = value.expiry_ms = world_->store().now_ms() + kDelays[expiry];
  }
  if (random_.Below(5) == 0) {
    int64_t number = static_cast<int64_t>(random_.Next());
    value.bytes = std::to_string(number);
    database.SetInteger(Name(key), number, options);
  } else {
    database.SetString(Name(key), value.bytes, options);
  }
  bool past = options.expiry == Database::ExpiryChange::kSet &&
              options.expiry_ms <= world_->store().now_ms();
  model_.Set(model_.Slot(db, key), past ? std::nullopt : std::optional(std::move(value)));
}

namespace {

// As a run of commands does. False if it isn't done this way.
bool WriteBytes(Database& database, const HashedKey& key, uint64_t offset, std::string_view bytes) {
  if (!database.Lookup(key).is_long || bytes.size() > 16) return false;
  std::vector<Database::NewByte> places;
  for (char byte : bytes) places.push_back({offset++, byte});
  return database.WriteBytes(key, places);
}

}  // namespace

// REQUIRES: planned with kUpdate.
bool CrashWorkload::Change(uint32_t db, size_t key, uint64_t seed) {
  Database& database = world_->store().database(db);
  HashedKey name = Name(key);
  bool exists = database.Lookup(name).exists();
  std::optional<ModelValue> value = Current(db, key);
  if (exists != value.has_value()) {
    Fail("a key to change is not as expected");
    return true;
  }
  if (HoldsSet(db, key)) return ChangeSet(db, key, seed);
  if (HoldsStream(db, key)) return ChangeStream(db, key, seed);
  if (exists && !database.WantString(name, {})) return false;
  uint64_t kind = random_.Below(10);
  if (kind < 4) {
    Begin();
    std::string more = random_.Below(8) == 0 ? RandomBytes() : "+" + std::to_string(model_.op());
    ModelValue grown = value.value_or(ModelValue{});
    if (kind < 2) {
      grown.bytes += more;
      database.AppendString(name, more);
    } else {
      const size_t most = options_.long_strings ? 120'000 : 30'000;
      uint64_t offset = random_.Below(std::min(grown.bytes.size(), most) + 10);
      if (grown.bytes.size() < offset + more.size()) grown.bytes.resize(offset + more.size());
      grown.bytes.replace(offset, more.size(), more);
      if (!WriteBytes(database, name, offset, more)) database.SetRange(name, offset, more);
    }
    model_.Set(model_.Slot(db, key), std::move(grown));
  } else if (kind < 6 && exists) {
    static constexpr int64_t kDelays[] = {30, 400, 100'000'000};
    uint64_t choice = random_.Below(4);
    Begin();
    value->expiry_ms = choice == 3 ? -1 : world_->store().now_ms() + kDelays[choice];
    database.SetExpiry(name, value->expiry_ms);
    model_.Set(model_.Slot(db, key), std::move(value));
  } else if (kind < 8) {
    Begin();
    if (database.Delete(name) != exists) Fail("a delete's answer is wrong");
    model_.Set(model_.Slot(db, key), std::nullopt);
  } else {
    SetValue(db, key);
  }
  return true;
}

void CrashWorkload::Group() {
  std::vector<std::pair<uint32_t, size_t>> places;
  std::vector<KeyAccess> accesses;
  for (uint64_t count = random_.Below(4); count > 0; --count) {
    places.emplace_back(RandomDb(), RandomKey());
    accesses.push_back(
        {.db = places.back().first, .key = Name(places.back().second), .access = Access::kUpdate});
  }
  // One change of a set may bring the next one of the same set to a page that is missing.
  if (options_.collections) {
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
  }
  uint64_t seed = DrawSeed();
  Planned(std::move(accesses), [&] {
    bool complete = true;
    for (auto [db, key] : places) {
      world_->store().database(db).Lookup(Name(key));
      complete &= WantChange(db, key, seed);
    }
    if (!complete) return false;
    Begin();
    in_group_ = true;
    world_->store().BeginGroup();
    for (auto [db, key] : places) {
      if (!Change(db, key, seed)) Fail("a page is missing in the middle of a group");
    }
    world_->store().EndGroup();
    in_group_ = false;
    return true;
  });
}

void CrashWorkload::MoveKey() {
  uint32_t db = RandomDb(), target_db = RandomDb();
  size_t from = RandomKey(), to = RandomKey();
  if (db == target_db && from == to) return;
  KeyAccess source{.db = db, .key = Name(from), .access = Access::kUpdate};
  KeyAccess target{.db = target_db,
                   .key = Name(to),
                   .access = options_.reads_first ? Access::kUpdate : Access::kReplace};
  Planned({source, target}, [&] {
    Database& database = world_->store().database(db);
    Database& other = world_->store().database(target_db);
    if (!database.Lookup(source.key).exists()) return true;
    if (!database.WantAllPages(source.key)) return false;
    other.Lookup(target.key);
    Begin();
    std::optional<ModelValue> value = Current(db, from);
    if (value->set) value->set = std::make_shared<ModelSet>(*value->set);
    model_.Set(model_.Slot(target_db, to), value);
    if (random_.Below(2) == 0) {
      database.Copy(source.key, other, target.key);
    } else {
      database.Rename(source.key, other, target.key);
      model_.Set(model_.Slot(db, from), std::nullopt);
    }
    return true;
  });
}

// --- what happens beside commands

void CrashWorkload::Disturb() {
  Store& store = world_->store();
  if (options_.small_maps && random_.Below(4) == 0) LimitMaps();
  if (Evicts() && random_.Below(6) == 0) ChangeEviction();
  switch (random_.Below(8)) {
    case 0:
    case 1: {
      // Time passes: lazy batches, syncs, expiry.
      for (int i = 0; i < 6; ++i) Turn(static_cast<int64_t>(random_.Below(120'000)));
      break;
    }
    case 2: {
      uint32_t op = model_.op();
      store.SyncNow([this, op](Status status) {
        if (!status.ok()) return;
        world_->disk().NoteMappedStores();
        synced_.push_back({world_->disk().event_count(), op, world_->driver().loop().NowMicros()});
      });
      break;
    }
    case 3:
    case 4: {
      std::vector<std::string> keys;
      for (const std::string& key : model_.keys()) {
        if (random_.Below(2) == 0) keys.push_back(key);
      }
      store.Demote(RandomDb(), std::move(keys), [](int64_t) {});
      break;
    }
    case 5:
      store.Scan(RandomDb(), 0, 5, [this](Store::ScanResult result) {
        // The name of a long key may have to be read from a disk that fails.
        if (!result.status.ok() && !options_.faults) Fail("scan: " + result.status.message());
      });
      break;
    case 6:
      store.RandomKey(RandomDb(), [](std::optional<std::string>) {});
      break;
    case 7:
      LimitMemory();
      break;
  }
}

void CrashWorkload::LimitMaps() {
  static constexpr uint64_t kLimits[] = {1, 20'000, 60'000, 200'000, 0};
  world_->store().SetIndexMemory(kLimits[random_.Below(std::size(kLimits))]);
}

// Mostly what it was at the start.
void CrashWorkload::ChangeEviction() {
  static constexpr EvictionPolicy kOthers[] = {
      EvictionPolicy::kNone, EvictionPolicy::kAllKeysRandom, EvictionPolicy::kVolatileLru};
  eviction_ =
      random_.Below(3) == 0 ? kOthers[random_.Below(std::size(kOthers))] : options_.eviction;
  world_->SetEviction(eviction_);
}

void CrashWorkload::LimitMemory() {
  if (options_.faults) return;  // what can't be indexed can't be demoted
  StoreStats stats = world_->store().Stats();
  uint64_t limit = 64 << 20;
  if (random_.Below(3) != 0) {
    limit = stats.window_bytes + stats.used_memory * (50 + random_.Below(80)) / 100 + (128 << 10);
  }
  world_->store().SetMaxMemory(limit);
}

}  // namespace firn::test
