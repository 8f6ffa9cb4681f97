// Demoter: moves values to disk because somebody asks for it by name. A big value is moved a
// bounded slice of its pages per iteration, so that only who asked waits for its size: first what
// only RAM knows is logged, then, once the index knows that too, page after page leaves.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tiering/store.h"

namespace firn {

class StoreImpl;
struct Keyspace;

class Demoter {
 public:
  explicit Demoter(StoreImpl* store) : store_(*store) {}

  // The first slice is done at once, so that small values wait for the index alone. `done` learns
  // how many of the keys' values are on disk now that weren't; what a command changes meanwhile may
  // stay in RAM. It is called from the loop, or at the latest while the store is destroyed.
  void Start(uint32_t db, std::vector<std::string> keys,
             std::move_only_function<void(int64_t)> done);
  // A part of one value's pages (Store::DemotePages).
  void StartPages(uint32_t db, std::string key, Store::PageChoice pages,
                  std::move_only_function<void(int64_t)> done);
  // Does a slice; true if it would go on at once.
  bool Step();
  // Something is left that waits for room in the log.
  bool busy() const { return !jobs_.empty(); }
  // Gives all jobs up, before the store is destroyed.
  void Stop();

 private:
  // What is moved together: a value's pages from `next` to `end`, then the value.
  struct Value {
    std::string key;
    uint64_t value_id = 0;
    uint32_t next = 1;
    uint32_t end = 1;
  };
  struct Job {
    uint32_t keyspace = 0;
    bool logged = false;     // the first pass is over
    size_t at = 0;           // the value that this pass has come to
    uint32_t next_page = 0;  // and the page of it; 0: it has yet to be looked at
    std::vector<Value> values;
    std::optional<Store::PageChoice> pages;  // of the only value; none: all of all values
    int64_t moved = 0;
    std::move_only_function<void(int64_t)> done;
  };
  enum class Progress : uint8_t { kMore, kWait, kDone };
  // What one slice may still do.
  struct Slice {
    int64_t entries;
    int64_t bytes;
    bool spent() const { return entries <= 0 || bytes <= 0; }
  };

  static bool Moves(const Job& job, uint32_t page);
  void Begin(std::shared_ptr<Job> job, uint32_t db, std::move_only_function<void(int64_t)> done);
  Progress LogSome(Job* job, Slice* slice);
  Progress LogEntry(Keyspace& keyspace, std::string_view name, Slice* slice);
  void MeasureValue(Keyspace& keyspace, Value* value);
  Progress MoveSome(Job* job, Slice* slice);
  bool Move(Keyspace& keyspace, std::string_view name, Slice* slice);
  void AwaitIndex(std::shared_ptr<Job> job);
  void Advance(std::shared_ptr<Job> job, Progress progress);
  void Answer(std::shared_ptr<Job> job);

  StoreImpl& store_;
  std::deque<std::shared_ptr<Job>> jobs_;  // what goes on in the next iteration
  std::vector<std::shared_ptr<Job>> all_;  // that have not been answered
};

}  // namespace firn
