// StreamGroups: the consumer groups of a stream: tree 1 of its pages, sorted by key:
//
//   1 | group name                         what Group has
//   2 | u32 group | consumer name          what Consumer has
//   3 | u32 group | u32 consumer           its name
//   4 | u32 group | id                     a pending entry: what PendingEntry has
//   5 | u32 group | u32 consumer | id      nothing: the consumer's pending entries
//
// with big-endian numbers in keys. Numbers of groups are never used again within a stream, nor
// those of consumers within a group. Rows of the first three kinds share leaves of kHash. Those of
// the others have PendingPages: each group's apart, and each consumer's. The separator of an
// owner's first page is the key without an id; that page, and the owner's last one, stay when they
// become empty, so that a queue that is empty again and again makes and drops no pages.
//
// Calls that look something up answer kMissing or false if a page on the way is not in RAM; see
// page_space.h. Changes REQUIRE that their pages have been wanted, and can't fail. Leaves that
// become empty stay until the object's end, so that what was wanted stays in RAM. REQUIRES of all:
// the stream exists.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/page/pending_page.h"
#include "engine/types/stream_value.h"

namespace firn {

class StreamGroups {
 public:
  static constexpr int64_t kUnknownReads = -1;

  struct Group {
    uint32_t number = 0;
    uint32_t next_consumer = 1;
    StreamId last_id = {};
    int64_t entries_read = kUnknownReads;
    uint64_t pending = 0;
    uint32_t consumers = 0;
  };
  struct Consumer {
    uint32_t number = 0;
    int64_t seen_ms = 0;
    int64_t active_ms = -1;  // -1: never
    uint64_t pending = 0;
  };
  using Pending = PendingEntry;
  enum class Lookup : uint8_t { kMissing, kAbsent, kPresent };

  explicit StreamGroups(PageSpace* space) : space_(*space), stream_(space), tree_(space, 1) {}
  ~StreamGroups() { DropEmptied(); }
  StreamGroups(const StreamGroups&) = delete;
  StreamGroups& operator=(const StreamGroups&) = delete;

  // --- looking up
  Lookup FindGroup(std::string_view name, Group* group);
  Lookup FindConsumer(const Group& group, std::string_view name, Consumer* consumer);
  Lookup FindConsumerName(const Group& group, uint32_t number, std::string* name);
  Lookup FindPending(const Group& group, StreamId id, Pending* pending);

  // --- walking in order of names or ids. visit returns false to stop. False if pages are missing;
  // what has been visited so far is to be forgotten then. Nothing may be changed meanwhile.
  template <typename Visit>  // visit(std::string_view name, const Group&)
  bool ForEachGroup(Visit visit);
  template <typename Visit>  // visit(std::string_view name, const Consumer&)
  bool ForEachConsumer(const Group& group, Visit visit);
  template <typename Visit>  // visit(const Pending&), from id `first` on
  bool ForEachPending(const Group& group, StreamId first, Visit visit);
  template <typename Visit>  // visit(StreamId), from id `first` on
  bool ForEachPendingOf(const Group& group, uint32_t consumer, StreamId first, Visit visit);
  // The greatest id that is pending; 0-0 if none is. False if pages are missing.
  bool FindLastPending(const Group& group, StreamId* id);
  // Wants all pages.
  bool WantAll() { return !HasTree() || tree_.WantAll(); }

  // --- changing. Wants come with a number or name that may be new.
  bool WantGroup(std::string_view name);
  bool WantConsumer(const Group& group, std::string_view name);
  // For all changes of a pending entry: with `consumer` its new owner.
  bool WantPending(const Group& group, uint32_t consumer, StreamId id);
  // For Remove, of an entry that FindPending has found.
  bool WantOwned(const Group& group, const Pending& pending) {
    Leaf leaf;
    return LocateEntry({.group = group.number, .consumer = pending.consumer}, pending.id, &leaf);
  }
  // For PutNew: kAbsent if it may be called, kPresent if some of the entries are pending already.
  // REQUIRES: ascending ids.
  Lookup WantNew(const Group& group, uint32_t consumer, std::span<const Pending> entries);
  // For ChangePendingCount.
  bool WantOwner(const Group& group, uint32_t consumer);
  bool WantDestroy(const Group& group);
  bool WantDelete(const Group& group, const Consumer& consumer);

  // REQUIRES: no such group; WantGroup.
  void CreateGroup(std::string_view name, Group* group);
  // Writes a group's fields back.
  void Store(std::string_view name, const Group& group);
  void Destroy(std::string_view name, const Group& group);
  // Makes a consumer and gives it a number; `group` is changed, for the caller to Store.
  // REQUIRES: no such consumer; WantConsumer of the name and of the number in its row 3, for which
  // WantPending of the number serves.
  void CreateConsumer(std::string_view name, Group* group, Consumer* consumer);
  void Store(const Group& group, std::string_view name, const Consumer& consumer);
  // Destroy of a group with many pending entries, so that nobody waits for long: Forget, then
  // DropSlice until it says kDone, then DropConsumers. What a crash in between leaves behind is
  // nobody's, and goes with the stream.
  void Forget(std::string_view name);
  enum class Progress : uint8_t { kMissing, kMore, kDone };
  // kMissing: nothing has been changed.
  Progress DropSlice(const Group& group);
  bool WantConsumers(const Group& group);
  void DropConsumers(const Group& group);
  // With its pending entries; changes `group` for the caller to Store. Returns how many these were.
  uint64_t Delete(std::string_view name, const Consumer& consumer, Group* group);
  // Takes the first entries of a consumer away, at most `limit`, and counts them in the group, for
  // the caller to Store; returns how many, or nothing if pages are missing, which it has wanted.
  std::optional<uint64_t> RemoveSome(const Consumer& consumer, Group* group, uint64_t limit);
  // Adds a pending entry, or changes it, possibly its owner. Counts nothing: `pending` of group and
  // consumers is for the caller. REQUIRES: WantPending.
  void Put(const Group& group, const Pending& pending, const Pending* old);
  // As Put for entries that are not pending yet, with ascending ids and of one consumer.
  void PutNew(const Group& group, std::span<const Pending> pending);
  void Remove(const Group& group, const Pending& pending) { Remove(group, {&pending, 1}); }
  // REQUIRES: of one consumer, all pending. Fastest where neighbours are neighbours.
  void Remove(const Group& group, std::span<const Pending> pending);
  // Adds to a consumer's count of pending entries.
  void ChangePendingCount(const Group& group, uint32_t consumer, int64_t change);

 private:
  using Leaf = CountedTree::Leaf;
  enum Kind : char { kGroup = 1, kConsumer = 2, kName = 3, kPending = 4, kOwned = 5 };

  // A key that ends with an id.
  class ShortKey {
   public:
    ShortKey(Kind kind, uint32_t group) : size_(1 + sizeof group) {
      bytes_[0] = kind;
      StoreBig32(bytes_ + 1, group);
    }
    void Add(uint32_t number) {
      StoreBig32(bytes_ + size_, number);
      size_ += sizeof number;
    }
    void Add(StreamId id) {
      StoreBig64(bytes_ + size_, id.ms);
      StoreBig64(bytes_ + size_ + sizeof id.ms, id.seq);
      size_ += sizeof id;
    }
    std::string_view view() const { return {bytes_, size_}; }
    operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)

   private:
    char bytes_[1 + 2 * sizeof(uint32_t) + sizeof(StreamId)];
    uint32_t size_;
  };

  struct Row {
    Leaf leaf;
    uint32_t row = 0;
  };

  using Owner = PendingPage::Owner;

  bool HasTree() { return !RootView(space_.Root()).node(1).empty(); }
  // --- leaves of rows
  Lookup Find(std::string_view key, Row* row, std::string_view* value);
  bool Want(std::string_view key);
  void Write(std::string_view key, std::string_view value);
  void Erase(std::string_view key);
  bool WantBetween(std::string_view first, std::string_view end);
  void EraseBetween(std::string_view first, std::string_view end);
  void DropEmptied();
  void RemoveLeaf(const Leaf& leaf) {
    ++shape_;
    tree_.RemoveLeaf(leaf);
  }
  // Whether keys with this prefix may lie behind the leaf.
  bool GoesOn(const Leaf& leaf, std::string_view prefix);
  template <typename Visit>  // visit(key, value)
  bool Walk(std::string_view first, std::string_view prefix, Visit visit);

  // --- leaves of pending entries
  static ShortKey OwnerKey(Owner owner);
  static ShortKey EntryKey(Owner owner, StreamId id);
  PendingPage Entries(const Leaf& leaf) { return PendingPage(tree_.Page(leaf).bytes()); }
  // The leaf to which an entry belongs; false if it is not in RAM. Most commands ask again for
  // where they have just been, which is remembered until leaves come or go.
  bool LocateEntry(Owner owner, StreamId id, Leaf* leaf);
  // Whether the leaf is one of the owner's.
  bool IsOf(const Leaf& leaf, Owner owner);
  Lookup FindAny(Owner owner, std::span<const Pending> entries);
  // Adds entries with ascending ids, or replaces one.
  void WriteEntries(Owner owner, std::span<const Pending> entries);
  uint32_t AddRun(Owner owner, const Leaf& leaf, std::span<const Pending> entries);
  uint32_t RunBefore(Owner owner, const Leaf& leaf, std::span<const Pending> entries);
  void AddEntryPage(const Leaf& beside, const PendingPage::Spec& spec);
  // Whether the leaf has the entries of an owner whose key is not less. A search may end there,
  // before the owner's first page, where pages that lay between have gone.
  bool IsBehind(const Leaf& leaf, std::string_view key);
  void SplitEntries(Owner owner, const Leaf& leaf);
  void EraseEntries(Owner owner, std::span<const Pending> entries);
  void MergeEntries(Owner owner, const Leaf& leaf);
  void DropEntries(Kind kind, uint32_t group);
  void DropOwned(Owner owner);
  bool IsEntryPage(const Leaf& leaf, Kind kind, uint32_t group);
  CountedTree::Moved FindEntryPages(std::string_view first, Kind kind, uint32_t group,
                                    std::vector<std::string>* bounds);
  void DropPages(std::span<const std::string> bounds);
  template <typename Visit>  // visit(const PendingEntry&)
  bool WalkEntries(Owner owner, StreamId first, Visit visit);

  static uint32_t LowerBound(const PackedPage& page, std::string_view key);
  static uint8_t TagOf(std::string_view key);

  static std::string Encode(const Group& group);
  static std::string Encode(const Consumer& consumer);
  static Group DecodeGroup(std::string_view value);
  static Consumer DecodeConsumer(std::string_view value);
  static std::string Prefix(Kind kind, uint32_t group);

  PageSpace& space_;
  StreamValue stream_;
  CountedTree tree_;
  std::vector<std::string> emptied_;  // keys that lead to leaves without rows

  struct Remembered {
    uint64_t shape = 0;
    Leaf leaf;
    Owner owner;
    StreamId id;
  };
  uint64_t shape_ = 1;          // grows when leaves come or go
  Remembered row_leaf_;         // of rows
  Remembered entry_leaves_[2];  // of a group, of a consumer
};

// --- implementation

template <typename Visit>
bool StreamGroups::Walk(std::string_view first, std::string_view prefix, Visit visit) {
  if (!HasTree()) return true;
  Leaf leaf;
  if (!tree_.FindKeyUnranked(first, &leaf)) return false;
  uint32_t row = LowerBound(tree_.Page(leaf), first);
  for (;;) {
    for (PackedPage::Cursor cursor(tree_.Page(leaf), row); cursor.valid(); cursor.Next()) {
      if (!cursor.row().bytes.starts_with(prefix)) return true;
      if (!visit(cursor.row().bytes, cursor.row().value)) return true;
    }
    if (!GoesOn(leaf, prefix)) return true;
    if (tree_.Next(&leaf) != CountedTree::Moved::kYes) return false;
    row = 0;
  }
}

template <typename Visit>
bool StreamGroups::WalkEntries(Owner owner, StreamId first, Visit visit) {
  if (!HasTree()) return true;
  Leaf leaf;
  if (!tree_.FindKeyUnranked(EntryKey(owner, first), &leaf)) return false;
  if (!IsOf(leaf, owner)) return true;
  const ShortKey prefix = OwnerKey(owner);
  for (uint32_t row = Entries(leaf).LowerBound(first);; row = 0) {
    const PendingPage page = Entries(leaf);
    const uint32_t rows = page.rows();
    for (; row < rows; ++row) {
      if (!visit(page.Row(row))) return true;
    }
    if (!GoesOn(leaf, prefix)) return true;
    if (tree_.Next(&leaf) != CountedTree::Moved::kYes) return false;
  }
}

template <typename Visit>
bool StreamGroups::ForEachGroup(Visit visit) {
  const std::string prefix(1, kGroup);
  return Walk(prefix, prefix, [&](std::string_view key, std::string_view value) {
    return visit(key.substr(1), DecodeGroup(value));
  });
}

template <typename Visit>
bool StreamGroups::ForEachConsumer(const Group& group, Visit visit) {
  const std::string prefix = Prefix(kConsumer, group.number);
  return Walk(prefix, prefix, [&](std::string_view key, std::string_view value) {
    return visit(key.substr(prefix.size()), DecodeConsumer(value));
  });
}

template <typename Visit>
bool StreamGroups::ForEachPending(const Group& group, StreamId first, Visit visit) {
  return WalkEntries({.group = group.number}, first, visit);
}

template <typename Visit>
bool StreamGroups::ForEachPendingOf(const Group& group, uint32_t consumer, StreamId first,
                                    Visit visit) {
  return WalkEntries({.group = group.number, .consumer = consumer}, first,
                     [&](const PendingEntry& entry) { return visit(entry.id); });
}

}  // namespace firn
