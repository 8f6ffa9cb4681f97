// What tests of collections on the real store share: a store that is crashed and restarted, and the
// simplest data type there is, a list of sorted strings, so that only the pages matter.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "support/store_on_files.h"
#include "support/string_set.h"
#include "tiering/collection.h"

namespace firn::test {

// Values under keys, and a model of what they must hold.
class CollectionTest : public StoreOnFiles {
 protected:
  using Model = std::map<std::string, std::set<std::string>>;

  // As the dispatcher runs a command: again after each fetch of what was missing.
  template <typename Body>
  void Run(const std::string& key, Body body, uint32_t db = 0, ValueType type = ValueType::kList) {
    Store& store = driver_->store();
    ASSERT_EQ(driver_->WaitForRoom(64 << 10), Store::WriteGate::kOk);
    Ticket ticket;
    std::vector<KeyAccess> keys = {driver_->Wants(key, Access::kUpdate, db)};
    PlanResult result = store.Plan(keys, &ticket);
    for (Patience patience = driver_->NewPatience(); patience.Left();) {
      if (result == PlanResult::kReady) {
        Collection pages(store.database(db), keys[0].key, type);
        bool through = body(&pages);
        ASSERT_EQ(through, !store.pages_missing());
        if (through) break;
        result = store.PlanMissing(keys, &ticket);
      } else {
        ASSERT_EQ(result, PlanResult::kWaiting) << ticket.error().message();
        driver_->Turn();
        if (!ticket.waiting()) result = store.Plan(keys, &ticket);
      }
    }
    store.Release(&ticket);
    Status status = store.TakeRunError();
    EXPECT_TRUE(status.ok()) << status.message();
  }
  void Insert(const std::string& key, const std::string& text) {
    Run(key, [&](Collection* pages) { return InsertString(pages, text); });
    model_[key].insert(text);
  }
  void Erase(const std::string& key, const std::string& text) {
    Run(key, [&](Collection* pages) { return EraseString(pages, text); });
    model_[key].erase(text);
  }
  void Check() {
    for (const auto& [key, strings] : model_) {
      std::set<std::string> found;
      Run(key, [&](Collection* pages) { return ReadStrings(pages, &found); });
      ASSERT_EQ(found.size(), strings.size()) << key;
      ASSERT_EQ(found, strings) << key;
    }
  }
  void Fill(const std::string& key, int count) {
    for (int i = 0; i < count; ++i) Insert(key, "string-" + std::to_string(i * 7919 % 1'000'003));
  }
  void Demote(const std::string& key) { driver_->Demote({key}); }
  bool Settled() {
    Status status = driver_->store().CheckConsistency();
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kBusy) << status.message();
    return status.code() != StatusCode::kBusy;
  }

  Model model_;
};

}  // namespace firn::test
