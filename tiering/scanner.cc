#include "tiering/scanner.h"

#include <deque>
#include <unordered_set>

#include "engine/base/check.h"
#include "tiering/left_keys.h"
#include "tiering/map_rebuild.h"
#include "tiering/record_fetch.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// A cursor is the top 52 bits of a hash: clients turn cursors into doubles.
constexpr int kCursorShift = 12;
constexpr int kRandomTries = 100;
constexpr size_t kRandomRoots = 32;
// To ask the index costs more than a look at the table.
constexpr int kTriesOfOneLook = 10;

bool HasExpired(const Entry& entry, int64_t now_ms) {
  return entry.Has(Entry::kHasExpiry) && entry.expiry_ms() <= now_ms;
}

bool IsLiveKey(const Entry& entry, int64_t now_ms) {
  return entry.kind() != Entry::Kind::kTombstone && !HasExpired(entry, now_ms);
}

}  // namespace

struct Scanner::ColdSlice {
  struct Item {
    uint64_t hash;
    bool is_long;
    std::string key;
    IndexRoot root;
  };
  uint32_t keyspace = 0;
  uint64_t first = 0;  // hashes, both included
  uint64_t last = 0;
  bool to_the_end = false;
  uint64_t reading = 0;  // of LeftKeys
  std::vector<Item> items;
  // What was in RAM when the index was asked: it may have left since, and the index not known it.
  Store::ScanResult before;
  Status status;
  Store::ScanCallback done;
};

// As a look-up would, deletes the keys that have expired.
void Scanner::AppendResident(Keyspace& keyspace, uint64_t first, uint64_t last,
                             Store::ScanResult* out) {
  int64_t now = store_.expiry_clock_ms();
  std::vector<std::string> expired;
  keyspace.table.WalkRange(first, last, [&](Entry* entry) {
    if (entry->kind() == Entry::Kind::kTombstone) return;
    if (!HasExpired(*entry, now)) {
      out->keys.push_back({std::string(entry->key()), TypeForCommands(entry->type())});
    } else if (!entry->Has(Entry::kPinned)) {
      expired.emplace_back(entry->key());
    }
  });
  for (const std::string& key : expired) {
    store_.Expire(keyspace, {key, keyspace.table.HashOf(key)});
  }
}

void Scanner::Scan(uint32_t db, uint64_t cursor, uint64_t count, Store::ScanCallback done) {
  Keyspace& keyspace = store_.KeyspaceOf(db);
  uint64_t first = cursor << kCursorShift;
  // How far RAM alone would go for so many keys.
  uint64_t seen = 0;
  uint64_t next = keyspace.table.Walk(first, count, [&](Entry*) { ++seen; });
  constexpr uint64_t kLow = (1ull << kCursorShift) - 1;
  // Keys that share a cursor come in one reply: the range ends on a cursor's boundary.
  uint64_t last = next == 0 ? UINT64_MAX : (next - 1) | kLow;
  if (keyspace.fully_mapped() && keyspace.cold.size() == 0) {
    Store::ScanResult result;
    AppendResident(keyspace, first, last, &result);
    result.next = last == UINT64_MAX ? 0 : (last >> kCursorShift) + 1;
    done(std::move(result));
    return;
  }
  auto slice = std::make_shared<ColdSlice>();
  slice->keyspace = keyspace.id;
  slice->first = first;
  slice->last = last;
  slice->done = std::move(done);
  AppendResident(keyspace, first, last, &slice->before);
  slice->reading = store_.left_keys_->BeginReading();
  store_.RunJob(
      io::WorkPriority::kUrgent,
      [slice, count, index = store_.index_] {
        slice->status =
            index->Visit(slice->keyspace, slice->first, [&](const Index::Visited& visited) {
              if (visited.hash > slice->last) return false;
              bool enough = slice->items.size() >= count;
              if (enough && (visited.hash | kLow) != (slice->items.back().hash | kLow)) {
                slice->last = slice->items.back().hash | kLow;
                return false;
              }
              slice->items.push_back(
                  {visited.hash, visited.is_long, std::string(visited.key), visited.root});
              return true;
            });
      },
      [this, slice] { OnColdSlice(slice); });
}

void Scanner::OnColdSlice(std::shared_ptr<ColdSlice> slice) {
  const Departures departures = store_.left_keys_->EndReading(slice->reading);
  Keyspace* keyspace = store_.KeyspaceById(slice->keyspace);
  if (keyspace == nullptr || !slice->status.ok()) {  // flushed meanwhile: nothing is left
    slice->done({.next = 0, .keys = {}, .status = slice->status});
    return;
  }
  int64_t now = store_.expiry_clock_ms();
  // A key too long for the index is deleted when it is next met by name.
  std::erase_if(slice->items, [&](const ColdSlice::Item& item) {
    // It may live longer by now.
    if (departures.Include(keyspace->id, item.hash)) return false;
    if (item.root.expiry_ms >= 0 && item.root.expiry_ms <= now) {
      if (!item.is_long) ExpireCold(*keyspace, {item.key, item.hash}, item.root, departures);
      return true;
    }
    // A key that was deleted since is in neither; one that compaction moved has another position.
    return keyspace->IsMapped(item.hash) && !keyspace->cold.MayContain(item.hash);
  });
  ReadLongKeys(slice, 0);
}

void Scanner::ExpireCold(Keyspace& keyspace, const HashedKey& key, const IndexRoot& root,
                         const Departures& departures) {
  PackedPosition position = store_.segments_->Pack(root.position);
  if (store_.FindEntry(keyspace, key) != nullptr ||
      !store_.left_keys_->IsCurrent(keyspace, key.hash, position, departures)) {
    return;
  }
  // Its record is the newest of the key, so that the root says all that a stub has to know.
  store_.InstallStub(keyspace, key, position, root);
  store_.Expire(keyspace, key);
}

// The bytes of keys that are too long for the index come from their records.
void Scanner::ReadLongKeys(std::shared_ptr<ColdSlice> slice, size_t next) {
  while (next < slice->items.size() && !slice->items[next].is_long) ++next;
  if (next == slice->items.size()) {
    FinishScan(slice);
    return;
  }
  ColdSlice::Item& item = slice->items[next];
  const PackedPosition position = store_.segments_->Pack(item.root.position);
  if (position == kNoPosition) {
    slice->status = PointsNowhere(item.root.position);
    slice->items.erase(slice->items.begin() + static_cast<ptrdiff_t>(next));
    return ReadLongKeys(slice, next);
  }
  StartRecordFetch(&store_,
                   {.position = position,
                    .size_guess_bytes = item.root.size,
                    .head_only = true},
                   [this, slice, next](Result<FetchedRecord> read) {
                     ColdSlice::Item& item = slice->items[next];
                     if (!read) {
                       slice->status = read.error();
                     } else {
                       item.key = std::string(read->record.key);
                     }
                     Keyspace* keyspace = store_.KeyspaceById(slice->keyspace);
                     // Present in RAM: the walk of the table names it.
                     if (keyspace == nullptr || item.key.empty() ||
                         keyspace->table.Find({item.key, item.hash}) != nullptr) {
                       slice->items.erase(slice->items.begin() + static_cast<ptrdiff_t>(next));
                     } else {
                       item.is_long = false;
                     }
                     ReadLongKeys(slice, next);
                   });
}

void Scanner::AppendCold(Keyspace& keyspace, ColdSlice* slice, Store::ScanResult* out) {
  std::unordered_set<std::string> named;
  // In RAM is what the walk of the table names; in neither is what was deleted meanwhile.
  auto append = [&](std::string key, uint64_t hash, ValueType type) {
    if (keyspace.table.Find({key, hash}) != nullptr) return;
    if (keyspace.IsMapped(hash) && !keyspace.cold.MayContain(hash)) return;
    if (!named.insert(key).second) return;
    out->keys.push_back({std::move(key), TypeForCommands(type)});
  };
  for (ColdSlice::Item& item : slice->items) {
    append(std::move(item.key), item.hash, static_cast<ValueType>(item.root.type));
  }
  for (Store::ScanKey& key : slice->before.keys) {
    uint64_t hash = keyspace.table.HashOf(key.key);
    if (hash <= slice->last && keyspace.IsCounted(hash)) append(std::move(key.key), hash, key.type);
  }
}

void Scanner::FinishScan(std::shared_ptr<ColdSlice> slice) {
  Store::ScanResult result;
  result.status = slice->status;
  Keyspace* keyspace = store_.KeyspaceById(slice->keyspace);
  if (keyspace != nullptr) {
    AppendResident(*keyspace, slice->first, slice->last, &result);
    AppendCold(*keyspace, slice.get(), &result);
    result.next = slice->last == UINT64_MAX ? 0 : (slice->last >> kCursorShift) + 1;
  }
  slice->done(std::move(result));
}

// --- RANDOMKEY

void Scanner::RandomKey(uint32_t db, RandomDone done) {
  TryRandom(db, kRandomTries, std::move(done));
}

void Scanner::TryRandom(uint32_t db, int tries, RandomDone done) {
  Keyspace& keyspace = store_.KeyspaceOf(db);
  int64_t now = store_.expiry_clock_ms();
  for (; tries > 0; --tries) {
    uint64_t total = keyspace.resident + keyspace.cold.size() + keyspace.left;
    if (total == 0) break;
    const uint64_t drawn = store_.random_.Below(total);
    if (drawn < keyspace.resident) {
      Entry* entry = keyspace.table.Sample(store_.random_.Next());
      if (entry != nullptr && IsLiveKey(*entry, now)) {
        done(std::string(entry->key()));
        return;
      }
      continue;
    }
    if (drawn >= keyspace.resident + keyspace.cold.size()) {
      return TryRandomLeft(db, tries, std::move(done));
    }
    ColdSlot slot;
    uint64_t prefix = 0;
    const uint64_t mapped_until = keyspace.mapped_until;
    if (!keyspace.cold.Sample(store_.random_.Next(), mapped_until, &slot, &prefix)) continue;
    StartRecordFetch(&store_,
                     {.position = slot.position,
                      .size_guess_bytes = SizeClassBytes(slot.size_class),
                      .head_only = true},
                     [this, db, tries, id = keyspace.id,
                      done = std::move(done)](Result<FetchedRecord> read) mutable {
                       bool live =
                           read && read->record.keyspace == id &&
                           (read->record.expiry_ms < 0 || read->record.expiry_ms > store_.expiry_clock_ms());
                       if (live) {
                         done(std::string(read->record.key));
                       } else {
                         TryRandom(db, tries - 1, std::move(done));
                       }
                     });
    return;
  }
  const uint64_t known = keyspace.resident + keyspace.cold.size() + keyspace.left;
  if (keyspace.fully_counted() && known == 0) {
    done(std::nullopt);
    return;
  }
  // All samples had expired, or the map is not complete: the first key from a random place on.
  uint64_t cursor = tries > 0 ? store_.random_.Next() >> kCursorShift : 0;
  Scan(db, cursor, 1, [this, db, cursor, done = std::move(done)](Store::ScanResult result) mutable {
    if (!result.keys.empty()) {
      done(std::move(result.keys[store_.random_.Below(result.keys.size())].key));
    } else if (cursor != 0) {
      TryRandom(db, 0, std::move(done));
    } else {
      done(std::nullopt);
    }
  });
}

// Of the first roots from a random hash on, so that keys after gaps have no better chance.
void Scanner::TryRandomLeft(uint32_t db, int tries, RandomDone done) {
  struct Found {
    std::vector<std::pair<HashedKey, IndexRoot>> roots;
    std::deque<std::string> names;
  };
  const Keyspace& keyspace = store_.KeyspaceOf(db);
  const uint64_t hashes = keyspace.counted_until - keyspace.mapped_until;
  const uint64_t first = keyspace.mapped_until + store_.random_.Below(hashes);
  const uint64_t reading = store_.left_keys_->BeginReading();
  auto found = std::make_shared<Found>();
  auto read = [found, first, long_ones = size_t{0}, id = keyspace.id,
               index = store_.index_]() mutable {
    // Without any, another place is tried.
    (void)index->Visit(id, first, [&](const Index::Visited& visited) {
      if (visited.is_long) return ++long_ones < kRandomRoots;
      const std::string& name = found->names.emplace_back(visited.key);
      found->roots.push_back({{name, visited.hash}, visited.root});
      return found->roots.size() < kRandomRoots;
    });
  };
  store_.RunJob(
      io::WorkPriority::kUrgent, std::move(read),
      [this, db, tries, reading, found, id = keyspace.id, done = std::move(done)]() mutable {
        const Departures departures = store_.left_keys_->EndReading(reading);
        Keyspace* keyspace = store_.KeyspaceById(id);
        const int64_t now = store_.now_ms();
        std::erase_if(found->roots, [&](const auto& item) {
          const auto& [key, root] = item;
          return keyspace == nullptr || store_.FindEntry(*keyspace, key) != nullptr ||
                 (root.expiry_ms >= 0 && root.expiry_ms <= now) ||
                 !store_.left_keys_->IsCurrent(*keyspace, key.hash,
                                               store_.segments_->Pack(root.position), departures);
        });
        if (found->roots.empty()) {
          return TryRandom(db, tries - kTriesOfOneLook, std::move(done));
        }
        const uint64_t one = store_.random_.Below(found->roots.size());
        done(std::string(found->roots[one].first.bytes));
      });
}

void Scanner::CountKeys(uint32_t db, std::move_only_function<void(uint64_t)> done) {
  Keyspace& keyspace = store_.KeyspaceOf(db);
  if (!keyspace.counts_exact) {
    store_.map_rebuild_->WhenComplete(
        [this, db, done = std::move(done)]() mutable { CountKeys(db, std::move(done)); });
    return;
  }
  if (keyspace.unsettled > 0) {
    store_.settler_->WhenSettled(
        [this, db, done = std::move(done)]() mutable { done(store_.KeyspaceOf(db).keys); });
    return;
  }
  done(keyspace.keys);
}

}  // namespace firn
