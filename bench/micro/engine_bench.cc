// The structures every command goes through: the table, the cold map and entries. Each benchmark of
// a structure reports the bytes it takes a key; times are a single operation's.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/keyspace/cold_map.h"
#include "engine/keyspace/entry.h"
#include "engine/keyspace/table.h"

namespace firn {
namespace {

constexpr HashSecret kSecret = {.low = 1, .high = 2};
constexpr int kValueSize = 64;

// 17 bytes, as the figures of memory a key suppose.
std::string Name(uint64_t i) {
  std::string digits = std::to_string(i);
  return "key:" + std::string(13 - digits.size(), '0') + digits;
}

std::unique_ptr<Table> FilledTable(uint64_t keys) {
  auto table = std::make_unique<Table>(kSecret);
  const std::string value(kValueSize, 'v');
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string name = Name(i);
    table->Insert({name, table->HashOf(name)}, Entry::Create({.key = name, .value = value}));
  }
  while (table->Step()) {
  }
  return table;
}

// Names in random order, so that nothing but the names is in a cache.
std::vector<std::string> RandomNames(uint64_t keys, uint64_t count) {
  Random random(1);
  std::vector<std::string> names;
  for (uint64_t i = 0; i < count; ++i) names.push_back(Name(random.Below(keys)));
  return names;
}

void ReportBytes(benchmark::State& state, uint64_t bytes, uint64_t keys) {
  state.counters["bytes/key"] = static_cast<double>(bytes) / static_cast<double>(keys);
}

constexpr uint64_t kNames = 1 << 16;

void BM_TableFind(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  auto table = FilledTable(keys);
  const auto names = RandomNames(keys, kNames);
  uint64_t i = 0;
  uint64_t found = 0;
  for (auto _ : state) {
    const std::string& name = names[i++ % kNames];
    found += table->Find({name, table->HashOf(name)}) != nullptr;
  }
  if (found != static_cast<uint64_t>(state.iterations())) state.SkipWithError("a key is missing");
  ReportBytes(state, table->MemoryBytes(), keys);
}
BENCHMARK(BM_TableFind)->Arg(1'000)->Arg(1'000'000);

void BM_TableFindAbsent(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  auto table = FilledTable(keys);
  Random random(2);
  for (auto _ : state) benchmark::DoNotOptimize(table->Find({"absent", random.Next()}));
}
BENCHMARK(BM_TableFindAbsent)->Arg(1'000)->Arg(1'000'000);

// As a pipeline of 16 does it: partitions, then entries, then the look-ups.
void BM_TableFindPrefetched(benchmark::State& state) {
  constexpr int kPipeline = 16;
  const auto keys = static_cast<uint64_t>(state.range(0));
  auto table = FilledTable(keys);
  const auto names = RandomNames(keys, kNames);
  uint64_t i = 0;
  HashedKey batch[kPipeline];
  while (state.KeepRunningBatch(kPipeline)) {
    for (HashedKey& key : batch) {
      key.bytes = names[i++ % kNames];
      key.hash = table->HashOf(key.bytes);
      table->Prefetch(key.hash);
    }
    for (const HashedKey& key : batch) table->PrefetchEntry(key.hash);
    for (const HashedKey& key : batch) benchmark::DoNotOptimize(table->Find(key));
  }
}
BENCHMARK(BM_TableFindPrefetched)->Arg(1'000)->Arg(1'000'000);

// From empty to so many keys, with the making of the entries and of the names.
void BM_TableFill(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  uint64_t bytes = 0;
  for (auto _ : state) {
    auto table = FilledTable(keys);
    bytes = table->MemoryBytes();
    state.PauseTiming();
    table.reset();
    state.ResumeTiming();
  }
  state.counters["insert"] =
      benchmark::Counter(static_cast<double>(keys) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  ReportBytes(state, bytes, keys);
}
BENCHMARK(BM_TableFill)->Arg(1'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

// One removal and one insertion of an existing key, entries kept.
void BM_TableRemoveInsert(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  auto table = FilledTable(keys);
  const auto names = RandomNames(keys, kNames);
  uint64_t i = 0;
  for (auto _ : state) {
    const std::string& name = names[i++ % kNames];
    const HashedKey key = {name, table->HashOf(name)};
    Entry* entry = table->Find(key);
    table->Remove(key, entry);
    table->Insert(key, entry);
  }
}
BENCHMARK(BM_TableRemoveInsert)->Arg(1'000)->Arg(1'000'000);

void BM_TableSample(benchmark::State& state) {
  auto table = FilledTable(static_cast<uint64_t>(state.range(0)));
  Random random(3);
  for (auto _ : state) benchmark::DoNotOptimize(table->Sample(random.Next()));
}
BENCHMARK(BM_TableSample)->Arg(1'000)->Arg(1'000'000);

std::unique_ptr<ColdMap> FilledColdMap(uint64_t keys) {
  Random random(4);
  auto map = std::make_unique<ColdMap>(ColdMap::PartitionBitsFor(keys));
  for (uint64_t i = 0; i < keys; ++i) map->Insert(random.Next(), {.position = i, .size_class = 9});
  return map;
}

void BM_ColdMapFind(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  auto map = FilledColdMap(keys);
  ColdMap::Candidates candidates;
  uint64_t found = 0;
  int64_t n = 0;
  Random random(4);
  for (auto _ : state) {
    if (n++ % state.range(0) == 0) random = Random(4);
    found += map->Find(random.Next(), &candidates);
  }
  if (found < static_cast<uint64_t>(n)) state.SkipWithError("a slot is missing");
  ReportBytes(state, map->MemoryBytes(), keys);
}
BENCHMARK(BM_ColdMapFind)->Arg(1'000)->Arg(1'000'000);

void BM_ColdMapFindAbsent(benchmark::State& state) {
  auto map = FilledColdMap(static_cast<uint64_t>(state.range(0)));
  Random random(5);
  for (auto _ : state) benchmark::DoNotOptimize(map->MayContain(random.Next()));
}
BENCHMARK(BM_ColdMapFindAbsent)->Arg(1'000)->Arg(1'000'000);

void BM_ColdMapFill(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(FilledColdMap(keys)->size());
  state.counters["insert"] =
      benchmark::Counter(static_cast<double>(keys) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_ColdMapFill)->Arg(1'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void BM_EntryCreateFree(benchmark::State& state) {
  const std::string key = Name(1);
  const std::string value(state.range(0), 'v');
  uint64_t bytes = 0;
  for (auto _ : state) {
    Entry* entry = Entry::Create({.key = key, .value = value});
    bytes = entry->MemoryBytes();
    benchmark::DoNotOptimize(entry);
    Entry::Free(entry);
  }
  ReportBytes(state, bytes, 1);
}
BENCHMARK(BM_EntryCreateFree)->Arg(16)->Arg(64)->Arg(1'024)->Arg(100'000);

}  // namespace
}  // namespace firn
