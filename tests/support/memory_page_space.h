// A PageSpace in a map, for tests of the data types: pages can be made to be missing, and what a
// change would log is replayed on a second copy.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "engine/types/page_space.h"
#include "engine/types/root_format.h"

namespace firn::test {

class MemoryPageSpace : public PageSpace {
 public:
  bool exists() const override { return pages_.contains(kRootPage); }
  std::string_view Root() override { return pages_.at(kRootPage); }
  std::string_view Read(PageNumber page) override {
    if (missing_.contains(page)) {
      wanted_.insert(page);
      return {};
    }
    return pages_.at(page);
  }
  std::string_view Peek(PageNumber page) override {
    return missing_.contains(page) ? std::string_view() : std::string_view(pages_.at(page));
  }
  void CreateRoot(std::string_view bytes) override {
    ASSERT_FALSE(exists());
    pages_[kRootPage] = bytes;
  }
  void ReplaceRoot(std::string_view bytes) override { pages_.at(kRootPage) = std::string(bytes); }
  void Edit(PageNumber page, const PageEdit& edit) override {
    ASSERT_FALSE(missing_.contains(page));
    std::string& bytes = pages_.at(page);
    uint64_t size = 0;
    ASSERT_TRUE(CheckSplices(edit.splices(), bytes.size(), &size));
    // In a buffer of just the size that the contract names, for the sanitizers' sake.
    std::string buffer(std::max<uint64_t>(size, bytes.size()), '\0');
    bytes.copy(buffer.data(), bytes.size());
    ApplySplices(edit.splices(), buffer.data(), bytes.size());
    buffer.resize(size);
    bytes = buffer;
    ++edits_;
  }
  void Create(PageNumber page, std::string_view bytes) override {
    ASSERT_TRUE(pages_.emplace(page, bytes).second) << "page " << page << " is used again";
    ASSERT_TRUE(numbers_.insert(page).second) << "page " << page << " is used again";
  }
  void Drop(PageNumber page) override {
    ASSERT_FALSE(missing_.contains(page));
    ASSERT_EQ(pages_.erase(page), 1u);
  }
  void DeleteValue() override {
    pages_.clear();
    missing_.clear();
    numbers_.clear();
  }
  uint64_t NewValueId() override { return ++last_value_id_; }

  const std::map<PageNumber, std::string>& pages() const { return pages_; }
  // Takes every page but the root out of RAM.
  void DemoteAll() {
    for (const auto& [number, bytes] : pages_) {
      if (number != kRootPage) missing_.insert(number);
    }
  }
  void Demote(PageNumber page) { missing_.insert(page); }
  // Brings what was wanted; how many pages that were.
  size_t FetchWanted() {
    for (PageNumber page : wanted_) missing_.erase(page);
    size_t count = wanted_.size();
    wanted_.clear();
    return count;
  }
  uint64_t edits() const { return edits_; }

 private:
  std::map<PageNumber, std::string> pages_;
  std::set<PageNumber> missing_;
  std::set<PageNumber> wanted_;
  std::set<PageNumber> numbers_;
  uint64_t last_value_id_ = 0;
  uint64_t edits_ = 0;
};

// Runs `step`, which answers false when a page is missing, until it is through; returns how many
// rounds of fetching that took.
template <typename Step>
int RunFetching(MemoryPageSpace* space, Step step) {
  for (int rounds = 0;; ++rounds) {
    if (step()) return rounds;
    EXPECT_GT(space->FetchWanted(), 0u) << "nothing is missing, yet the step did not go through";
    if (rounds > 1000) {
      ADD_FAILURE() << "a step does not end";
      return rounds;
    }
  }
}

}  // namespace firn::test
