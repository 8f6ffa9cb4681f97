// FrozenValue: a big collection as it is at one moment, for a command that reads it piece by piece,
// turn by turn, while others change it:
//
//   FrozenValue frozen(database, key);            // the root is planned
//   CountedTree tree(&frozen);
//   if (!tree.WantRanks(first, last)) return;     // as with Collection: run again when they are
//   here
//
// A page that is about to change is kept as it was until the reader goes, and the pages of a value
// that is deleted meanwhile stay so long. Nothing else is held: what was read may go to disk.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "tiering/page_watchers.h"
#include "tiering/store.h"

namespace firn {

class FrozenValue final : public PageSpace, public PageWatcher {
 public:
  // REQUIRES: planned with kRead; the key holds a collection.
  FrozenValue(Database& database, const HashedKey& key);
  ~FrozenValue() override;
  FrozenValue(const FrozenValue&) = delete;
  FrozenValue& operator=(const FrozenValue&) = delete;

  // It can't be read any more: the database was emptied, the store closed, or more pages have
  // changed than may be kept.
  bool lost() const;
  // Some page has changed since, or the value was deleted. What is in the root alone (a small value
  // altogether) doesn't count.
  bool changed() const { return changed_; }

  // --- PageSpace; it only reads
  bool exists() const override { return true; }
  std::string_view Root() override { return root_; }
  std::string_view Read(PageNumber page) override;
  std::string_view Peek(PageNumber page) override;
  void CreateRoot(std::string_view bytes) override;
  void ReplaceRoot(std::string_view bytes) override;
  void Edit(PageNumber page, const PageEdit& edit) override;
  void Create(PageNumber page, std::string_view bytes) override;
  void Drop(PageNumber page) override;
  void DeleteValue() override;
  uint64_t NewValueId() override;

  // --- PageWatcher
  bool Watches(uint64_t value_id) const override { return value_id == value_id_; }
  void BeforeChange(PageNumber page, std::string_view bytes) override;
  void OnValueGone() override { changed_ = true; }
  bool HoldsPages() const override { return true; }

 private:
  std::weak_ptr<StoreImpl*> store_;
  const uint32_t keyspace_;  // of the pages
  const std::string root_;
  const uint64_t value_id_;
  std::unordered_map<PageNumber, std::string> kept_;
  uint64_t kept_bytes_ = 0;
  const uint64_t max_kept_bytes_;
  bool overflown_ = false;
  bool changed_ = false;
};

}  // namespace firn
