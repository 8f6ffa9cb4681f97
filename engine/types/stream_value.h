// StreamValue: the entries of a stream on a PageSpace: tree 0, whose leaves are StreamPages sorted
// by id, every separator being the master id of its leaf, 16 bytes big-endian. Consumer groups are
// in tree 1 (stream_groups.h). The old end of a long stream is touched only by who reads or trims
// it.
//
// A stream may be empty; its only leaf is void then. The root has a block (root_format.h):
//
//   word   i64 entries
//   block  last id 16 | u64 entries added | first id 16 | greatest id deleted 16 |
//          u32 next group number | u32 groups
//
// Calls that look something up answer false if a page on the way is not in RAM; the space then
// knows which (page_space.h), nothing has been changed, and the command runs again. Calls that
// change REQUIRE that their Want has said true, and can't fail. REQUIRES of all that don't say
// otherwise: the value exists. Views are valid until the next change of any page.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/page/stream_page.h"
#include "engine/types/counted_tree.h"

namespace firn {

// Entries with ids in [first, last], at most `limit`, from the end if backward.
struct StreamRange {
  StreamId first = kMinStreamId;
  StreamId last = kMaxStreamId;
  bool backward = false;
  uint64_t limit = UINT64_MAX;
  bool goes_on = false;  // the reader will ask for what comes behind it (forward only)
};

struct StreamTrim {
  enum class By : uint8_t { kNone, kLength, kId } by = By::kNone;
  bool whole_pages = false;  // "~"
  uint64_t max_length = 0;
  StreamId min_id;
  uint64_t limit = 0;  // entries to remove at most; 0: any number
};

class StreamValue {
 public:
  explicit StreamValue(PageSpace* space) : space_(*space), tree_(space) {}

  bool exists() const { return space_.exists(); }

  // --- what the root knows
  uint64_t length() { return static_cast<uint64_t>(RootView(space_.Root()).word()); }
  StreamId last_id() { return LoadId(kLastIdAt); }
  StreamId max_deleted_id() { return LoadId(kMaxDeletedAt); }
  uint64_t entries_added() { return LoadFixed<uint64_t>(space_.Root().data() + kEntriesAddedAt); }
  uint32_t groups() { return LoadFixed<uint32_t>(space_.Root().data() + kGroupsAt); }
  // As Redis would have them: nodes of the radix tree that have a listpack.
  uint64_t nodes();
  // All nodes of that radix tree.
  bool RadixNodes(uint64_t* count);
  // The first entry's id; 0-0 without entries.
  bool FirstId(StreamId* id);

  // --- reading
  // Whether all pages of a range are in RAM.
  bool Want(const StreamRange& range);
  // Calls visit(const StreamPage::Cursor&) for each entry, until it returns false if it returns
  // anything. False if pages are missing; what has been visited so far is to be forgotten then.
  template <typename Visit>
  bool Walk(const StreamRange& range, Visit visit);
  // As Walk. REQUIRES: Want.
  template <typename Visit>
  void ForEach(const StreamRange& range, Visit visit);
  enum class Lookup : uint8_t { kMissing, kAbsent, kPresent };
  Lookup Find(StreamId id);
  // The leaves one by one, for dumps: visit(const StreamPage&). REQUIRES: CountedTree::WantValue.
  template <typename Visit>
  void ForEachPage(Visit visit);

  // --- changing
  // Makes a stream without entries. REQUIRES: the value does not exist.
  void Create();
  bool WantAppend();
  // Adds entries, in a stream that needn't exist yet; their fields lie in no page. REQUIRES: there
  // are some; their ids ascend and are greater than last_id(); WantAppend if the stream exists.
  void Append(std::span<const StreamEntry> entries, const StreamLimits& limits);
  void Append(StreamId id, std::span<const std::string_view> fields, const StreamLimits& limits) {
    const StreamEntry entry{id, fields};
    Append({&entry, 1}, limits);
  }
  // Adds a page behind all others, in a stream that needn't exist yet, and counts its entries; what
  // else the root knows is for SetState. REQUIRES: all ids are greater than those of the other
  // pages; WantAppend if the stream exists.
  void AppendPage(std::string_view page);
  struct State {
    StreamId last_id;
    StreamId first_id;  // 0-0 without entries
    StreamId max_deleted_id;
    uint64_t entries_added = 0;
  };
  void SetState(const State& state);
  bool WantTrim(const StreamTrim& trim);
  // Returns how many entries it has removed. REQUIRES: WantTrim; nothing has been changed since but
  // by Append.
  uint64_t Trim(const StreamTrim& trim) { return TrimPages(trim, nullptr); }
  // As these, but for so many pages at most that nobody waits for long, and just those in RAM:
  // `*more` tells whether there is more to do.
  bool WantTrimSlice(const StreamTrim& trim);
  // Whether a trimming takes several slices. False: pages are missing that tell.
  bool TakesSlices(const StreamTrim& trim, bool* several);
  uint64_t TrimSlice(const StreamTrim& trim, bool* more) { return TrimPages(trim, more); }
  bool WantRemove(StreamId id) { return Find(id) != Lookup::kMissing; }
  // False if there is no such entry. REQUIRES: WantRemove.
  bool Remove(StreamId id);
  void SetLastId(StreamId id);
  void SetMaxDeletedId(StreamId id);
  void SetEntriesAdded(uint64_t entries_added);

 private:
  friend class StreamGroups;
  using Leaf = CountedTree::Leaf;
  static constexpr uint32_t kLastIdAt = kRootBlockAt;
  static constexpr uint32_t kEntriesAddedAt = kRootBlockAt + 16;
  static constexpr uint32_t kFirstIdAt = kRootBlockAt + 24;
  static constexpr uint32_t kMaxDeletedAt = kRootBlockAt + 40;
  static constexpr uint32_t kNextGroupAt = kRootBlockAt + 56;
  static constexpr uint32_t kGroupsAt = kRootBlockAt + 60;
  // In the root's flags: the first id is to be looked up.
  static constexpr uint8_t kFirstUnknown = 1;

  struct IdKey {
    explicit IdKey(StreamId id) {
      StoreBig64(bytes, id.ms);
      StoreBig64(bytes + 8, id.seq);
    }
    std::string_view view() const { return {bytes, sizeof bytes}; }
    char bytes[16];
  };

  StreamId LoadId(uint32_t at) {
    const char* from = space_.Root().data() + at;
    return {LoadFixed<uint64_t>(from), LoadFixed<uint64_t>(from + 8)};
  }
  StreamPage Page(const Leaf& leaf) { return StreamPage(tree_.Page(leaf).bytes()); }
  static std::string NewBlock();
  // Whether to go on.
  template <typename Visit>
  static bool Show(Visit& visit, const StreamPage::Cursor& cursor) {
    if constexpr (std::is_void_v<decltype(visit(cursor))>) {
      visit(cursor);
      return true;
    } else {
      return visit(cursor);
    }
  }
  template <typename Visit>
  bool WalkBackward(const StreamRange& range, Visit visit);
  void WantAhead(StreamId id, uint64_t entries, bool backward);
  bool FindExtent(StreamId id, const Leaf& leaf, StreamPage::Extent* extent);
  uint64_t TrimPages(const StreamTrim& trim, bool* more);
  bool MustRemovePage(const StreamTrim& trim, const StreamPage& page, uint64_t length);
  StreamPage::Extent TrimmedExtent(const StreamTrim& trim, const StreamPage& page, uint64_t length);
  void RemovePage(const Leaf& leaf);
  void StoreId(uint32_t at, StreamId id);
  size_t AppendSome(std::span<const StreamEntry> entries, const StreamLimits& limits);
  void NoteAppended(std::span<const StreamEntry> entries);
  void NoteRemoved(uint64_t entries, bool first_removed);

  PageSpace& space_;
  CountedTree tree_;
  // Where WantAppend has found the end; nothing has been changed since.
  bool end_known_ = false;
  Leaf end_;
};

// --- implementation

template <typename Visit>
bool StreamValue::Walk(const StreamRange& range, Visit visit) {
  if (range.limit == 0 || range.first > range.last || range.first > last_id()) return true;
  if (range.backward) return WalkBackward(range, visit);
  Leaf leaf;
  if (!tree_.FindKeyUnranked(IdKey(range.first).view(), &leaf)) {
    WantAhead(range.first, range.limit, false);
    return false;
  }
  uint64_t left = range.limit;
  StreamId at = range.first;
  for (;;) {
    for (StreamPage::Cursor cursor = Page(leaf).begin(); cursor.valid(); cursor.Next()) {
      if (cursor.id() < range.first) continue;
      if (cursor.id() > range.last) return true;
      at = cursor.id();
      if (!Show(visit, cursor)) return true;
      if (--left > 0) continue;
      if (range.goes_on) {
        cursor.Next();
        if (!cursor.valid()) tree_.ReadOn(leaf);
      }
      return true;
    }
    // What the separator already tells to be out of the range needn't be read.
    std::string bound = tree_.UpperBound(leaf);
    if (bound.empty() || bound > IdKey(range.last).view()) return true;
    if (range.goes_on) tree_.ReadOn(leaf);
    CountedTree::Moved moved = tree_.Next(&leaf);
    if (moved == CountedTree::Moved::kEnd) return true;
    if (moved == CountedTree::Moved::kMissing) {
      WantAhead(at, left, false);
      return false;
    }
  }
}

template <typename Visit>
bool StreamValue::WalkBackward(const StreamRange& range, Visit visit) {
  Leaf leaf;
  if (!tree_.FindKeyUnranked(IdKey(range.last).view(), &leaf)) {
    WantAhead(range.last, range.limit, true);
    return false;
  }
  uint64_t left = range.limit;
  StreamId at = range.last;
  std::vector<StreamPage::Cursor> cursors;
  for (;;) {
    StreamPage page = Page(leaf);
    cursors.clear();
    for (StreamPage::Cursor cursor = page.begin(); cursor.valid(); cursor.Next()) {
      if (cursor.id() > range.last) break;
      if (cursor.id() >= range.first) cursors.push_back(cursor);
    }
    for (; !cursors.empty(); cursors.pop_back()) {
      at = cursors.back().id();
      if (!Show(visit, cursors.back()) || --left == 0) return true;
    }
    if (!page.is_void() && page.master() <= range.first) return true;
    CountedTree::Moved moved = tree_.Previous(&leaf);
    if (moved == CountedTree::Moved::kEnd) return true;
    if (moved == CountedTree::Moved::kMissing) {
      WantAhead(at, left, true);
      return false;
    }
  }
}

template <typename Visit>
void StreamValue::ForEach(const StreamRange& range, Visit visit) {
  CHECK(Walk(range, visit));
}

template <typename Visit>
void StreamValue::ForEachPage(Visit visit) {
  Leaf leaf;
  CHECK(tree_.FindFirst(&leaf));
  do {
    visit(Page(leaf));
  } while (tree_.Next(&leaf) == CountedTree::Moved::kYes);
}

}  // namespace firn
