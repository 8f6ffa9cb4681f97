// Scanner: walks over all tiers at once: SCAN and KEYS, RANDOMKEY, the exact key count. RAM is
// walked by the executor, the index by a worker; what RAM says is newer. Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tiering/store.h"

namespace firn {

struct IndexRoot;
struct Keyspace;
class Departures;
class StoreImpl;

class Scanner {
 public:
  explicit Scanner(StoreImpl* store) : store_(*store) {}

  void Scan(uint32_t db, uint64_t cursor, uint64_t count, Store::ScanCallback done);
  void RandomKey(uint32_t db, std::move_only_function<void(std::optional<std::string>)> done);
  void CountKeys(uint32_t db, std::move_only_function<void(uint64_t)> done);

 private:
  struct ColdSlice;
  using RandomDone = std::move_only_function<void(std::optional<std::string>)>;
  void AppendResident(Keyspace& keyspace, uint64_t first, uint64_t last, Store::ScanResult* out);
  void ExpireCold(Keyspace& keyspace, const HashedKey& key, const IndexRoot& root,
                  const Departures& departures);
  void OnColdSlice(std::shared_ptr<ColdSlice> slice);
  void ReadLongKeys(std::shared_ptr<ColdSlice> slice, size_t next);
  void AppendCold(Keyspace& keyspace, ColdSlice* slice, Store::ScanResult* out);
  void FinishScan(std::shared_ptr<ColdSlice> slice);
  void TryRandom(uint32_t db, int tries, RandomDone done);
  // One of the keys left to the index.
  void TryRandomLeft(uint32_t db, int tries, RandomDone done);

  StoreImpl& store_;
};

}  // namespace firn
