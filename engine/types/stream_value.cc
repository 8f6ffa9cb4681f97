#include "engine/types/stream_value.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace firn {
namespace {

// Pages wanted at once where a walk meets a missing one.
constexpr uint64_t kMaxAhead = 1024;
constexpr size_t kIdSize = 16;
// Pages removed in one slice of a trim, and wanted for one where they are missing.
constexpr uint32_t kSlicePages = 128;

size_t CommonPrefix(std::string_view a, std::string_view b) {
  size_t common = 0;
  while (common < kIdSize && a[common] == b[common]) ++common;
  return common;
}

// Counts the nodes of a radix tree to which sorted keys of 16 bytes are added one by one. A key is
// one node; a place where keys part is one; and what lies between two of these is one, if it is
// anything. Only the places along the way to the latest key matter.
class RadixCounter {
 public:
  void Add(std::string_view key) {
    if (last_.empty()) {
      nodes_ = 2;
      last_ = key;
      return;
    }
    const size_t parting = CommonPrefix(last_, key);
    size_t below = kIdSize;  // the next place on the way to the last key
    while (!partings_.empty() && partings_.back() > parting) {
      below = partings_.back();
      partings_.pop_back();
    }
    if (partings_.empty() || partings_.back() != parting) {
      // What lay between two places is parted in two, with a node in the middle.
      const size_t from = partings_.empty() ? 0 : partings_.back() + 1;
      nodes_ += (parting > from ? 1 : 0) + (below > parting + 1 ? 1 : 0);
      partings_.push_back(parting);
    }
    nodes_ += kIdSize > parting + 1 ? 2 : 1;
    last_ = key;
  }
  uint64_t nodes() const { return nodes_; }

 private:
  uint64_t nodes_ = 1;
  std::string last_;
  std::vector<size_t> partings_;  // depths, ascending
};

}  // namespace

uint64_t StreamValue::nodes() {
  const uint64_t pages = tree_.count();
  if (pages > 1 || length() > 0) return pages;
  // The only page, if it is not void, has had entries that were trimmed one by one. It is in RAM
  // whenever that could be: RadixNodes, which comes first, has asked for it.
  PackedPage page;
  const bool known = tree_.PeekBelowTop(0, &page);
  return known && StreamPage(page.bytes()).is_void() ? 0 : 1;
}

bool StreamValue::RadixNodes(uint64_t* count) {
  if (length() == 0) {
    Leaf leaf;
    if (!tree_.FindFirst(&leaf)) return false;
    if (Page(leaf).is_void()) {
      *count = 1;
      return true;
    }
  }
  RadixCounter counter;
  bool all = tree_.ForEachSeparator([&](std::string_view separator) { counter.Add(separator); });
  *count = counter.nodes();
  return all;
}

bool StreamValue::FirstId(StreamId* id) {
  if ((RootView(space_.Root()).flags() & kFirstUnknown) == 0) {
    *id = LoadId(kFirstIdAt);
    return true;
  }
  return Walk({.limit = 1}, [&](const StreamPage::Cursor& cursor) { *id = cursor.id(); });
}

// --- reading

// Wants what a walk that has come to `id` and has so many entries to go is likely to need.
void StreamValue::WantAhead(StreamId id, uint64_t entries, bool backward) {
  const uint64_t per_page = std::max<uint64_t>(length() / std::max<uint64_t>(tree_.count(), 1), 1);
  const uint64_t pages = std::min(entries / per_page, kMaxAhead);
  if (pages < 2) return;
  Leaf leaf;
  // The leaf's place is known if just the leaf itself is missing.
  if (!tree_.FindKey(IdKey(id).view(), &leaf) && leaf.page == kRootPage) return;
  const uint64_t rank = leaf.first_rank;
  if (backward) {
    tree_.WantRanks(rank > pages ? rank - pages : 0, rank);
  } else {
    tree_.WantRanks(rank, rank + pages);
  }
}

bool StreamValue::Want(const StreamRange& range) {
  return Walk(range, [](const StreamPage::Cursor&) {});
}

StreamValue::Lookup StreamValue::Find(StreamId id) {
  Leaf leaf;
  if (id > last_id() || length() == 0) return Lookup::kAbsent;
  if (!tree_.FindKeyUnranked(IdKey(id).view(), &leaf)) return Lookup::kMissing;
  StreamPage::Extent extent;
  return FindExtent(id, leaf, &extent) ? Lookup::kPresent : Lookup::kAbsent;
}

bool StreamValue::FindExtent(StreamId id, const Leaf& leaf, StreamPage::Extent* extent) {
  for (StreamPage::Cursor cursor = Page(leaf).begin(); cursor.valid(); cursor.Next()) {
    if (cursor.id() < id) continue;
    *extent = {.begin = cursor.offset(), .end = cursor.end_offset(), .count = 1};
    return cursor.id() == id;
  }
  return false;
}

// --- changing

std::string StreamValue::NewBlock() { return std::string(kRootBlockSize, '\0'); }

void StreamValue::Create() {
  CountedTree::CreateTree(
      &space_, {.leaf = {.packed = StreamPage::Void(), .separator = {}}, .block = NewBlock()});
}

bool StreamValue::WantAppend() {
  end_known_ = tree_.FindLast(&end_);
  return end_known_;
}

void StreamValue::Append(std::span<const StreamEntry> entries, const StreamLimits& limits) {
  CHECK(!entries.empty());
  for (auto left = entries; !left.empty();) left = left.subspan(AppendSome(left, limits));
  NoteAppended(entries);
}

// Adds those that belong into one page; returns how many.
size_t StreamValue::AppendSome(std::span<const StreamEntry> entries, const StreamLimits& limits) {
  const StreamEntry& first = entries.front();
  const IdKey key(first.id);
  if (!space_.exists()) {
    CountedTree::CreateTree(&space_, {.leaf = {.packed = StreamPage::First(first),
                                               .separator = std::string(key.view())},
                                      .block = NewBlock()});
    return 1;
  }
  if (!std::exchange(end_known_, false)) CHECK(tree_.FindLast(&end_));
  Leaf& leaf = end_;
  StreamPage page = Page(leaf);
  std::string scratch;
  PageEdit edit;
  if (const size_t added = page.Append(entries, limits, &scratch, &edit); added > 0) {
    space_.Edit(leaf.page, edit);
    return added;
  }
  const bool was_void = page.is_void();
  tree_.AddLeafAfter(leaf, StreamPage::First(first), key.view());
  if (was_void) {
    CHECK(tree_.FindFirst(&leaf));
    tree_.RemoveLeaf(leaf);
  }
  return 1;
}

void StreamValue::AppendPage(std::string_view page) {
  end_known_ = false;
  const std::string key(IdKey(StreamPage(page).master()).view());
  const uint32_t entries = StreamPage(page).count();
  if (!space_.exists()) {
    CountedTree::CreateTree(&space_, {.leaf = {.packed = std::string(page), .separator = key},
                                      .block = NewBlock(),
                                      .word = entries});
    return;
  }
  Leaf leaf;
  CHECK(tree_.FindLast(&leaf));
  tree_.AddLeafAfter(leaf, page, key);
  PageEdit edit;
  edit.Overwrite(kRootWordAt, length() + entries);
  space_.Edit(kRootPage, edit);
}

void StreamValue::SetState(const State& state) {
  char block[kNextGroupAt - kLastIdAt];
  StoreFixed(block, state.last_id.ms);
  StoreFixed(block + 8, state.last_id.seq);
  StoreFixed(block + 16, state.entries_added);
  StoreFixed(block + 24, state.first_id.ms);
  StoreFixed(block + 32, state.first_id.seq);
  StoreFixed(block + 40, state.max_deleted_id.ms);
  StoreFixed(block + 48, state.max_deleted_id.seq);
  PageEdit edit;
  edit.Add(kLastIdAt, sizeof block, {block, sizeof block});
  space_.Edit(kRootPage, edit);
}

void StreamValue::NoteAppended(std::span<const StreamEntry> entries) {
  const StreamId first = entries.front().id, last = entries.back().id;
  const bool only = length() == 0;
  char numbers[48];
  StoreFixed(numbers, length() + entries.size());
  StoreFixed(numbers + 8, last.ms);
  StoreFixed(numbers + 16, last.seq);
  StoreFixed(numbers + 24, entries_added() + entries.size());
  StoreFixed(numbers + 32, first.ms);
  StoreFixed(numbers + 40, first.seq);
  const uint32_t size = only ? sizeof numbers : 32;
  PageEdit edit;
  if (only) edit.Overwrite(1, uint8_t{0});
  edit.Add(kRootWordAt, size, {numbers, size});
  space_.Edit(kRootPage, edit);
}

void StreamValue::NoteRemoved(uint64_t entries, bool first_removed) {
  const uint64_t left = length() - entries;
  PageEdit edit;
  edit.Overwrite(kRootWordAt, left);
  space_.Edit(kRootPage, edit);
  if (!first_removed) return;
  StreamId first;
  bool known = left == 0;
  Leaf leaf;
  if (!known && tree_.FindResidentKey(IdKey(kMinStreamId).view(), &leaf)) {
    StreamPage::Cursor cursor = Page(leaf).begin();
    known = cursor.valid();
    if (known) first = cursor.id();
  }
  PageEdit change;
  change.Overwrite(1, uint8_t{known ? uint8_t{0} : kFirstUnknown});
  change.Overwrite(kFirstIdAt, first.ms);
  change.Overwrite(kFirstIdAt + 8, first.seq);
  space_.Edit(kRootPage, change);
}

void StreamValue::RemovePage(const Leaf& leaf) {
  if (tree_.count() > 1) return tree_.RemoveLeaf(leaf);
  PageEdit edit;
  const std::string empty = StreamPage::Void();
  edit.Add(0, static_cast<uint32_t>(Page(leaf).size()), empty);
  space_.Edit(leaf.page, edit);
}

bool StreamValue::Remove(StreamId id) {
  end_known_ = false;
  Leaf leaf;
  // A page that held no such entry may have been emptied since, and its neighbour not be in RAM.
  if (!tree_.FindResidentKey(IdKey(id).view(), &leaf)) return false;
  StreamPage::Extent extent;
  if (!FindExtent(id, leaf, &extent)) return false;
  const bool is_first =
      (RootView(space_.Root()).flags() & kFirstUnknown) != 0 || LoadId(kFirstIdAt) == id;
  if (Page(leaf).count() == 1) {
    RemovePage(leaf);
  } else {
    PageEdit edit;
    Page(leaf).Remove(extent, &edit);
    space_.Edit(leaf.page, edit);
  }
  NoteRemoved(1, is_first);
  return true;
}

bool StreamValue::MustRemovePage(const StreamTrim& trim, const StreamPage& page, uint64_t length) {
  if (trim.by == StreamTrim::By::kLength) {
    return length >= page.count() && length - page.count() >= trim.max_length;
  }
  return page.LastId() < trim.min_id;
}

// The entries at the page's beginning that go, where the page stays.
StreamPage::Extent StreamValue::TrimmedExtent(const StreamTrim& trim, const StreamPage& page,
                                              uint64_t length) {
  StreamPage::Cursor cursor = page.begin();
  StreamPage::Extent extent{.begin = cursor.offset(), .end = cursor.offset(), .count = 0};
  for (; cursor.valid(); cursor.Next()) {
    const bool stays = trim.by == StreamTrim::By::kLength ? length - extent.count <= trim.max_length
                                                          : cursor.id() >= trim.min_id;
    if (stays) break;
    ++extent.count;
    extent.end = cursor.end_offset();
  }
  return extent;
}

bool StreamValue::WantTrim(const StreamTrim& trim) {
  if (trim.by == StreamTrim::By::kNone || !exists()) return true;
  // An entry may come to the end before the trimming.
  uint64_t length = this->length() + 1;
  if (trim.by == StreamTrim::By::kLength && length <= trim.max_length) return true;
  uint64_t removed = 0;
  Leaf leaf;
  CountedTree::Moved moved =
      tree_.FindFirst(&leaf) ? CountedTree::Moved::kYes : CountedTree::Moved::kMissing;
  for (; moved == CountedTree::Moved::kYes; moved = tree_.Next(&leaf)) {
    StreamPage page = Page(leaf);
    if (page.is_void()) return true;
    if (trim.by == StreamTrim::By::kLength && length <= trim.max_length) return true;
    if (trim.limit != 0 && removed + page.count() > trim.limit) return true;
    if (!MustRemovePage(trim, page, length)) return true;
    length -= page.count();
    removed += page.count();
  }
  if (moved == CountedTree::Moved::kEnd) return true;
  uint64_t more = trim.by == StreamTrim::By::kLength ? length - trim.max_length : this->length();
  if (trim.limit != 0) more = std::min(more, trim.limit - std::min(trim.limit, removed));
  const uint64_t per_page =
      std::max<uint64_t>(this->length() / std::max<uint64_t>(tree_.count(), 1), 1);
  // A leaf that is missing has set nothing but its own place.
  const uint64_t rank = leaf.first_rank;
  if (trim.by == StreamTrim::By::kLength || trim.limit != 0) {
    tree_.WantRanks(rank, rank + std::min(more / per_page, kMaxAhead));
  }
  return false;
}

bool StreamValue::WantTrimSlice(const StreamTrim& trim) {
  if (trim.by == StreamTrim::By::kNone || !exists()) return true;
  if (trim.by == StreamTrim::By::kLength && length() + 1 <= trim.max_length) return true;
  Leaf leaf;
  if (tree_.FindResidentKey(IdKey(kMinStreamId).view(), &leaf) || tree_.FindFirst(&leaf)) {
    return true;
  }
  tree_.WantRanks(0, kSlicePages - 1);
  return false;
}

bool StreamValue::TakesSlices(const StreamTrim& trim, bool* several) {
  *several = false;
  if (trim.by == StreamTrim::By::kNone || !exists() || tree_.count() <= kSlicePages) return true;
  const uint64_t per_page = length() / tree_.count();
  const uint64_t few = per_page * kSlicePages;
  if (trim.limit != 0 && trim.limit <= few) return true;
  if (trim.by == StreamTrim::By::kLength) {
    *several = length() > trim.max_length && length() - trim.max_length > few;
    return true;
  }
  Leaf leaf;
  if (!tree_.FindKey(IdKey(trim.min_id).view(), &leaf)) return false;
  *several = leaf.first_rank > kSlicePages;
  return true;
}

// With `more` a slice, else all that there is to do.
uint64_t StreamValue::TrimPages(const StreamTrim& trim, bool* more) {
  end_known_ = false;
  if (more != nullptr) *more = false;
  if (trim.by == StreamTrim::By::kNone || !exists()) return 0;
  const uint64_t length = this->length();
  uint64_t removed = 0;
  for (uint32_t pages = 0;; ++pages) {
    if (trim.by == StreamTrim::By::kLength && length - removed <= trim.max_length) break;
    Leaf leaf;
    const bool found = tree_.FindResidentKey(IdKey(kMinStreamId).view(), &leaf);
    CHECK(found || (more != nullptr && pages > 0));
    if (!found || (more != nullptr && pages == kSlicePages)) {
      *more = true;
      break;
    }
    StreamPage page = Page(leaf);
    if (page.is_void()) break;
    if (trim.limit != 0 && removed + page.count() > trim.limit) break;
    if (MustRemovePage(trim, page, length - removed)) {
      removed += page.count();
      const bool was_only = tree_.count() == 1;
      RemovePage(leaf);
      if (was_only) break;
      continue;
    }
    if (trim.whole_pages) break;
    StreamPage::Extent extent = TrimmedExtent(trim, page, length - removed);
    if (extent.count == 0) break;
    PageEdit edit;
    page.Remove(extent, &edit);
    space_.Edit(leaf.page, edit);
    removed += extent.count;
    break;
  }
  if (removed > 0) NoteRemoved(removed, true);
  return removed;
}

void StreamValue::StoreId(uint32_t at, StreamId id) {
  PageEdit edit;
  edit.Overwrite(at, id.ms);
  edit.Overwrite(at + 8, id.seq);
  space_.Edit(kRootPage, edit);
}

void StreamValue::SetLastId(StreamId id) { StoreId(kLastIdAt, id); }
void StreamValue::SetMaxDeletedId(StreamId id) { StoreId(kMaxDeletedAt, id); }

void StreamValue::SetEntriesAdded(uint64_t entries_added) {
  PageEdit edit;
  edit.Overwrite(kEntriesAddedAt, entries_added);
  space_.Edit(kRootPage, edit);
}

}  // namespace firn
