// StreamGroups: the consumer groups of a stream: tree 1 of its pages, leaves of kHash rows sorted
// by key. All groups share it, so small groups cost no pages of their own:
//
//   1 | group name                         what Group has
//   2 | u32 group | consumer name          what Consumer has
//   3 | u32 group | u32 consumer           its name
//   4 | u32 group | id                     a pending entry: what Pending has
//   5 | u32 group | u32 consumer | id      nothing: the consumer's pending entries
//
// with big-endian numbers in keys. Numbers of groups are never used again within a stream, nor
// those of consumers within a group.
//
// Calls that look something up answer kMissing or false if a page on the way is not in RAM; see
// page_space.h. Changes REQUIRE that their pages have been wanted, and can't fail. Leaves that
// become empty stay until the object's end, so that what was wanted stays in RAM. REQUIRES of all:
// the stream exists.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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
  struct Pending {
    StreamId id;
    int64_t delivered_ms = 0;
    uint64_t deliveries = 0;
    uint32_t consumer = 0;
  };
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
  // With its pending entries; changes `group` for the caller to Store. Returns how many these were.
  uint64_t Delete(std::string_view name, const Consumer& consumer, Group* group);
  // Adds a pending entry, or changes it, possibly its owner. Counts nothing: `pending` of group and
  // consumers is for the caller. REQUIRES: WantPending.
  void Put(const Group& group, const Pending& pending, const Pending* old);
  void Remove(const Group& group, const Pending& pending);
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

  bool HasTree() { return !RootView(space_.Root()).node(1).empty(); }
  Lookup Find(std::string_view key, Row* row, std::string_view* value);
  bool Want(std::string_view key);
  void Write(std::string_view key, std::string_view value);
  void Erase(std::string_view key);
  bool WantBetween(std::string_view first, std::string_view end);
  void EraseBetween(std::string_view first, std::string_view end);
  void DropEmptied();
  static uint32_t LowerBound(const PackedPage& page, std::string_view key);
  static uint8_t TagOf(std::string_view key);

  static std::string Encode(const Group& group);
  static std::string Encode(const Consumer& consumer);
  static std::string_view Encode(const Pending& pending, char* buffer);
  static Group DecodeGroup(std::string_view value);
  static Consumer DecodeConsumer(std::string_view value);
  static Pending DecodePending(std::string_view value);
  static StreamId DecodeId(std::string_view key);
  static std::string Prefix(Kind kind, uint32_t group);
  static ShortKey IdKey(Kind kind, uint32_t group, StreamId id);
  static ShortKey OwnedKey(uint32_t group, uint32_t consumer, StreamId id);
  template <typename Visit>  // visit(key, value)
  bool Walk(std::string_view first, std::string_view prefix, Visit visit);

  PageSpace& space_;
  StreamValue stream_;
  CountedTree tree_;
  std::vector<std::string> emptied_;  // keys that lead to leaves without rows
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
    CountedTree::Moved moved = tree_.Next(&leaf);
    if (moved != CountedTree::Moved::kYes) return moved == CountedTree::Moved::kEnd;
    row = 0;
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
  return Walk(IdKey(kPending, group.number, first), Prefix(kPending, group.number),
              [&](std::string_view key, std::string_view value) {
                Pending pending = DecodePending(value);
                pending.id = DecodeId(key);
                return visit(pending);
              });
}

template <typename Visit>
bool StreamGroups::ForEachPendingOf(const Group& group, uint32_t consumer, StreamId first,
                                    Visit visit) {
  const ShortKey key = OwnedKey(group.number, consumer, first);
  return Walk(key, key.view().substr(0, key.view().size() - sizeof(StreamId)),
              [&](std::string_view row, std::string_view) { return visit(DecodeId(row)); });
}

}  // namespace firn
