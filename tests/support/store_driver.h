// StoreDriver: runs a Store as the server does, one command at a time, on any environment: real
// files or the simulated disk. Every verb runs the loop until its answer is there.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "tiering/store.h"

namespace firn::test {

// How long a test waits: so many turns. Where other threads and a disk are waited for, turns may
// pass in vain on a busy machine: there it is so much time at least.
class Patience {
 public:
  explicit Patience(bool with_threads, int turns) : turns_(turns) {
    if (with_threads) until_ = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  }

  // To be asked once a turn.
  bool Left() { return turns_-- > 0 || std::chrono::steady_clock::now() < until_; }

 private:
  int turns_;
  std::chrono::steady_clock::time_point until_ = {};
};

class StoreDriver {
 public:
  StoreDriver(StoreOptions options, StoreEnvironment environment)
      : options_(std::move(options)), environment_(std::move(environment)) {}

  Status Open() {
    auto store = Store::Open(options_, environment_);
    if (!store) return store.error();
    store_ = std::move(*store);
    return Status::Ok();
  }
  Status Close() {
    Status status = store_->Close();
    store_.reset();
    return status;
  }
  // As the death of the process: nothing is finished.
  void Abandon() {
    // Reads under way end: nobody frees what they read into once the loop is gone.
    Patience patience = NewPatience();
    while (store_ != nullptr && store_->Stats().fetch_bytes > 0 && patience.Left()) {
      environment_.loop->RunOnce(100);
    }
    store_.reset();
  }

  // The simulated disk, which is in one thread with the store, has an index of its own.
  Patience NewPatience(int turns = 20'000) const {
    return Patience(environment_.index_env == nullptr, turns);
  }

  Store& store() { return *store_; }
  StoreOptions& options() { return options_; }
  io::Loop& loop() { return *environment_.loop; }

  void Turn(int64_t wait_micros = 1000) {
    store_->EndIteration();
    environment_.loop->RunOnce(wait_micros);
  }
  template <typename Condition>
  bool RunUntil(Condition&& condition, int turns = 20'000) {
    for (Patience patience = NewPatience(turns); patience.Left(); Turn()) {
      if (condition()) return true;
    }
    return condition();
  }

  // Plans, waits, runs `body`, releases. The plan's error if a record could not be read. A body
  // that returns false has met pages that are missing: it runs again once they are there.
  template <typename Body>
  Status Run(std::vector<KeyAccess> keys, Body&& body) {
    Ticket ticket;
    PlanResult result = store_->Plan(keys, &ticket);
    for (Patience patience = NewPatience(100'000);
         result != PlanResult::kReadError && patience.Left();) {
      if (result == PlanResult::kReady) {
        if (RunBody(body)) break;
        result = store_->PlanMissing(keys, &ticket);
      } else {
        Turn();
        if (!ticket.waiting()) result = store_->Plan(keys, &ticket);
      }
    }
    Status status = ticket.error();
    if (result == PlanResult::kWaiting) status = Status::Invalid("the plan never became ready");
    store_->Release(&ticket);
    return status;
  }
  KeyAccess Wants(const std::string& key, Access access, uint32_t db = 0) {
    return {.db = db, .key = store_->Key(key), .access = access};
  }

  Store::WriteGate WaitForRoom(uint64_t bytes, bool frees_space = false) {
    Ticket ticket;
    Store::WriteGate gate = store_->CheckWrite(bytes, frees_space, &ticket);
    for (Patience patience = NewPatience(100'000);
         gate == Store::WriteGate::kWait && patience.Left();) {
      Turn();
      gate = store_->CheckWrite(bytes, frees_space, &ticket);
    }
    store_->Release(&ticket);
    return gate;
  }

  void Set(const std::string& key, const std::string& value, Database::SetOptions options = {},
           uint32_t db = 0) {
    WaitForRoom(key.size() + value.size() + 128);
    Access access =
        options.expiry == Database::ExpiryChange::kKeep ? Access::kReplace : Access::kOverwrite;
    ASSERT_TRUE(Run({Wants(key, access, db)}, [&] {
                  store_->database(db).SetString(store_->Key(key), value, options);
                }).ok());
  }
  void SetInteger(const std::string& key, int64_t value) {
    ASSERT_TRUE(Run({Wants(key, Access::kOverwrite)}, [&] {
                  store_->database(0).SetInteger(store_->Key(key), value, {});
                }).ok());
  }
  // Nothing if absent; "!" and the message if it can't be read.
  std::optional<std::string> Get(const std::string& key, uint32_t db = 0) {
    std::optional<std::string> value;
    Status status = Run({Wants(key, Access::kRead, db)}, [&] {
      HashedKey hashed = store_->Key(key);
      Database& database = store_->database(db);
      if (!database.Lookup(hashed).exists()) return true;
      if (!database.WantString(hashed, {})) return false;
      value = database.ReadString(hashed, {});
      return true;
    });
    if (!status.ok()) return "!" + status.message();
    return value;
  }
  uint64_t Append(const std::string& key, const std::string& bytes) {
    uint64_t size = 0;
    WaitForRoom(bytes.size() + 128);
    EXPECT_TRUE(Run({Wants(key, Access::kUpdate)}, [&] {
                  HashedKey hashed = store_->Key(key);
                  const bool exists = store_->database(0).Lookup(hashed).exists();
                  if (exists && !store_->database(0).WantString(hashed, {})) return false;
                  size = store_->database(0).AppendString(hashed, bytes);
                  return true;
                }).ok());
    return size;
  }
  bool Delete(const std::string& key, uint32_t db = 0) {
    bool deleted = false;
    EXPECT_TRUE(Run({Wants(key, Access::kReplace, db)}, [&] {
                  HashedKey hashed = store_->Key(key);
                  store_->database(db).Lookup(hashed);
                  deleted = store_->database(db).Delete(hashed);
                }).ok());
    return deleted;
  }
  int64_t Demote(std::vector<std::string> keys, uint32_t db = 0) {
    int64_t moved = -1;
    store_->Demote(db, std::move(keys), [&](int64_t count) { moved = count; });
    EXPECT_TRUE(RunUntil([&] { return moved >= 0; }));
    return moved;
  }
  uint64_t Count(uint32_t db = 0) {
    std::optional<uint64_t> count;
    store_->CountKeys(db, [&](uint64_t keys) { count = keys; });
    EXPECT_TRUE(RunUntil([&] { return count.has_value(); }));
    return count.value_or(0);
  }
  std::vector<std::string> ScanAll(uint64_t batch, uint32_t db = 0) {
    std::vector<std::string> keys;
    uint64_t cursor = 0;
    do {
      std::optional<Store::ScanResult> result;
      store_->Scan(db, cursor, batch, [&](Store::ScanResult r) { result = std::move(r); });
      EXPECT_TRUE(RunUntil([&] { return result.has_value(); }));
      EXPECT_TRUE(result->status.ok()) << result->status.message();
      for (auto& key : result->keys) keys.push_back(std::move(key.key));
      cursor = result->next;
    } while (cursor != 0);
    return keys;
  }
  Status Sync() {
    std::optional<Status> status;
    store_->SyncNow([&](Status s) { status = std::move(s); });
    RunUntil([&] { return status.has_value(); });
    return status.value_or(Status::Invalid("no sync"));
  }

 private:
  template <typename Body>
  static bool RunBody(Body& body) {
    if constexpr (std::is_same_v<decltype(body()), bool>) {
      return body();
    } else {
      body();
      return true;
    }
  }

  StoreOptions options_;
  StoreEnvironment environment_;
  std::unique_ptr<Store> store_;
};

}  // namespace firn::test
