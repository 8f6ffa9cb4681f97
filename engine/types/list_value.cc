#include "engine/types/list_value.h"

#include <algorithm>
#include <limits>
#include <string>

#include "engine/base/check.h"
#include "engine/types/string_ops.h"

namespace firn {
namespace {

constexpr PackedKind kKind = PackedKind::kList;
// In the root's flags.
constexpr uint8_t kQuicklistFlag = 1;
constexpr uint32_t kFlagsAt = 1;
// What redis.conf says of list-max-listpack-size: sizes by level, and the bound on bytes that holds
// where the option counts elements.
constexpr uint64_t kListpackBytes[] = {4096, 8192, 16384, 32768, 65536};
constexpr uint64_t kCountedListpackBytes = 8192;
// A list with more leaves is no listpack, whatever the option.
constexpr uint32_t kMaxListpackLeaves = 48;
constexpr uint64_t kListpackOverhead = 7;

// What an element takes in a listpack
// (https://github.com/antirez/listpack/blob/master/listpack.md).
uint64_t ListpackEntrySize(std::string_view bytes) {
  int64_t number;
  uint64_t size;
  if (bytes.size() <= kMaxIntegerDigits && ParseInteger(bytes, &number)) {
    auto fits = [number](int bits) {
      return number >= -(int64_t{1} << (bits - 1)) && number < int64_t{1} << (bits - 1);
    };
    if (number >= 0 && number < 128) return 2;
    size = fits(13) ? 2 : fits(16) ? 3 : fits(24) ? 4 : fits(32) ? 5 : 9;
  } else {
    size = bytes.size() + (bytes.size() < 64 ? 1 : bytes.size() < 4096 ? 2 : 5);
  }
  int back = 1;
  for (uint64_t most = 127; size > most && back < 5; most = most << 7 | 127) ++back;
  return size + static_cast<uint64_t>(back);
}

uint64_t ListpackPageSize(const PackedPage& page) {
  uint64_t size = 0;
  for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
    size += ListpackEntrySize(cursor.row().bytes);
  }
  return size;
}

// Not less than ListpackPageSize, and sooner found.
uint64_t ListpackPageBound(const PackedPage& page) {
  uint8_t longest = page.LongestLength();
  uint64_t overhead = longest < 64 ? 1 : longest < 255 ? 3 : 5;
  return page.size() - PackedPage::kHeaderSize + page.rows() * overhead;
}

// Not less than that, from the header alone.
uint64_t ListpackPageRoughBound(const PackedPage& page) {
  return page.size() - PackedPage::kHeaderSize + page.rows() * 5;
}

uint64_t TotalBytes(std::span<const std::string_view> elements) {
  uint64_t bytes = 0;
  for (std::string_view element : elements) bytes += element.size();
  return bytes;
}

// How many of the elements go into a page that has `size` bytes.
size_t CountFitting(std::span<const std::string_view> elements, uint64_t size) {
  size_t count = 0;
  for (; count < elements.size(); ++count) {
    size += PackedPage::RowSize(kKind, {.bytes = elements[count]});
    if (size > kMaxLeafBytes) break;
  }
  return count;
}

// The page that pushing these elements makes.
std::string PackPushed(ListEnd end, std::span<const std::string_view> elements) {
  PackedBuilder builder(kKind);
  if (end == ListEnd::kTail) {
    for (std::string_view element : elements) builder.Add({.bytes = element});
  } else {
    for (size_t i = elements.size(); i > 0; --i) builder.Add({.bytes = elements[i - 1]});
  }
  return builder.Finish();
}

}  // namespace

const char* ListEncoding(std::string_view root) {
  return (RootView(root).flags() & kQuicklistFlag) != 0 ? "quicklist" : "listpack";
}

// --- looking up

bool ListValue::FindEnd(ListEnd end, Place* place) {
  if (end == ListEnd::kHead) {
    place->row = 0;
    return tree_.FindFirst(&place->leaf);
  }
  if (!tree_.FindLast(&place->leaf)) return false;
  place->row = tree_.Page(place->leaf).rows() - 1;
  return true;
}

bool ListValue::FindRank(uint64_t rank, Place* place) {
  if (!tree_.FindRank(rank, &place->leaf)) return false;
  place->row = static_cast<uint32_t>(rank - place->leaf.first_rank);
  return true;
}

uint64_t ListValue::BytesOf(Ranks ranks) {
  CountedTree::Leaf leaf;
  CHECK(tree_.FindRank(ranks.first, &leaf));
  uint64_t bytes = 0;
  for (;;) {
    PackedPage page = tree_.Page(leaf);
    bytes += page.size();
    if (leaf.first_rank + page.rows() > ranks.last) return bytes;
    CHECK(tree_.Next(&leaf) == CountedTree::Moved::kYes);
  }
}

// Calls visit(leaf, page) for one leaf after the other until it answers false. On a missing one it
// wants about as many as it has seen, so that a search of a cold list takes few rounds, and one
// that ends early few pages.
template <typename Visit>
bool ListValue::Scan(bool backward, Visit visit) {
  CountedTree::Leaf leaf;
  if (!(backward ? tree_.FindLast(&leaf) : tree_.FindFirst(&leaf))) return false;
  uint64_t rows_seen = 0;
  for (uint32_t leaves = 1;; ++leaves) {
    PackedPage page = tree_.Page(leaf);
    rows_seen += page.rows();
    if (!visit(leaf, page)) return true;
    CountedTree::Moved moved = backward ? tree_.Previous(&leaf) : tree_.Next(&leaf);
    if (moved == CountedTree::Moved::kEnd) return true;
    if (moved == CountedTree::Moved::kYes) continue;
    uint32_t window = std::clamp(leaves, 4u, 1024u);
    uint64_t rows = rows_seen / leaves * window;
    if (backward) {
      tree_.WantRanks(leaf.first_rank - std::min(rows, leaf.first_rank), leaf.first_rank - 1);
    } else {
      uint64_t next = leaf.first_rank + tree_.Page(leaf).rows();
      tree_.WantRanks(next, next + rows);
    }
    return false;
  }
}

bool ListValue::FindEqual(const Search& search, std::vector<uint64_t>* ranks) {
  ranks->clear();
  uint64_t skip = search.skip;
  uint64_t left =
      search.comparisons == 0 ? std::numeric_limits<uint64_t>::max() : search.comparisons;
  // False when the search is over.
  auto found = [&](uint64_t rank) {
    if (skip > 0) {
      --skip;
      return true;
    }
    ranks->push_back(rank);
    return search.matches == 0 || ranks->size() < search.matches;
  };
  return Scan(search.backward, [&](const CountedTree::Leaf& leaf, const PackedPage& page) {
    uint32_t rows = page.rows();
    auto compared = static_cast<uint32_t>(std::min<uint64_t>(rows, left));
    left -= compared;
    uint32_t first = search.backward ? rows - compared : 0;
    uint32_t end = first + compared;
    if (!search.backward) {
      for (uint32_t row = page.FindBytes(search.element, first); row < end;
           row = page.FindBytes(search.element, row + 1)) {
        if (!found(leaf.first_rank + row)) return false;
      }
      return left > 0;
    }
    std::vector<uint32_t> rows_found;
    for (uint32_t row = page.FindBytes(search.element, first); row < end;
         row = page.FindBytes(search.element, row + 1)) {
      rows_found.push_back(row);
    }
    for (size_t i = rows_found.size(); i > 0; --i) {
      if (!found(leaf.first_rank + rows_found[i - 1])) return false;
    }
    return left > 0;
  });
}

bool ListValue::FindPivot(std::string_view element, Place* place, bool* found) {
  *found = false;
  return Scan(false, [&](const CountedTree::Leaf& leaf, const PackedPage& page) {
    uint32_t row = page.FindBytes(element);
    if (row == page.rows()) return true;
    *place = {leaf, row};
    *found = true;
    return false;
  });
}

// --- adding

bool ListValue::FindEndLeaf(ListEnd end, CountedTree::Leaf* leaf) {
  return end == ListEnd::kHead ? tree_.FindFirst(leaf) : tree_.FindLast(leaf);
}

bool ListValue::WantPush(ListEnd end) {
  if (!space_.exists()) return true;
  CountedTree::Leaf leaf;
  bool found = FindEndLeaf(end, &leaf);
  return WantForGrowth() && found;
}

bool ListValue::Push(ListEnd end, std::span<const std::string_view> elements) {
  CHECK(!elements.empty());
  CountedTree::Leaf leaf;
  if (!space_.exists()) {
    elements = elements.subspan(CreateSmall(end, elements));
    if (elements.empty()) return true;
    CHECK(FindEndLeaf(end, &leaf));
  } else {
    bool found = FindEndLeaf(end, &leaf);
    if (!IsQuicklist()) {
      if (!WantForGrowth() || !found) return false;
      ConvertForGrowth({elements.size(), TotalBytes(elements)});
    }
    if (!found) return false;
  }
  for (;;) {
    elements = elements.subspan(PushSome(leaf, end, elements));
    if (elements.empty()) return true;
    CHECK(FindEndLeaf(end, &leaf));
  }
}

size_t ListValue::CreateSmall(ListEnd end, std::span<const std::string_view> elements) {
  size_t count = std::max<size_t>(CountFitting(elements, PackedPage::kHeaderSize), 1);
  Limit limit = ListpackLimit();
  // A new list is an empty listpack that all elements are about to be added to.
  bool quicklist =
      kListpackOverhead + TotalBytes(elements) > limit.bytes || elements.size() > limit.elements;
  std::string root{static_cast<char>(RootForm::kSmall),
                   static_cast<char>(quicklist ? kQuicklistFlag : 0)};
  root += PackPushed(end, elements.first(count));
  space_.CreateRoot(root);
  return count;
}

// Pushes as many elements as the leaf at this end takes, or as a new one does.
size_t ListValue::PushSome(const CountedTree::Leaf& leaf, ListEnd end,
                           std::span<const std::string_view> elements) {
  PackedPage page = tree_.Page(leaf);
  size_t count = CountFitting(elements, page.size());
  if (count == 0) {
    // The old leaf stays full.
    count = std::max<size_t>(CountFitting(elements, PackedPage::kHeaderSize), 1);
    AddLeaf(leaf, end, PackPushed(end, elements.first(count)));
    return count;
  }
  uint32_t row = end == ListEnd::kHead ? 0 : page.rows();
  PageEdit edit;
  if (count == 1) {
    page.Insert(row, {.bytes = elements[0]}, &edit);
    tree_.EditLeaf(leaf, &edit, 1);
    return 1;
  }
  std::string packed = PackPushed(end, elements.first(count));
  page.InsertPage(row, PackedPage(packed), &edit);
  tree_.EditLeaf(leaf, &edit, static_cast<int64_t>(count));
  return count;
}

// A new leaf before or behind another.
void ListValue::AddLeaf(const CountedTree::Leaf& leaf, ListEnd side, std::string_view packed) {
  if (leaf.depth > 0) {
    if (side == ListEnd::kHead) {
      tree_.AddLeafBefore(leaf, packed);
    } else {
      tree_.AddLeafAfter(leaf, packed, {});
    }
    return;
  }
  std::string old(tree_.Page(leaf).bytes());
  std::array<CountedTree::NewLeaf, 2> leaves;
  leaves[side == ListEnd::kHead ? 0 : 1].packed = packed;
  leaves[side == ListEnd::kHead ? 1 : 0].packed = std::move(old);
  CountedTree::Grow(&space_, leaves);
}

// A full leaf is split in halves until there is room, or right here for an element that would not
// find any.
void ListValue::InsertAt(CountedTree::Leaf leaf, uint32_t row, std::string_view element) {
  const uint64_t size = PackedPage::RowSize(kKind, {.bytes = element});
  for (;;) {
    PackedPage page = tree_.Page(leaf);
    uint32_t rows = page.rows();
    if (rows == 0 || page.size() + size <= kMaxLeafBytes) {
      PageEdit edit;
      page.Insert(row, {.bytes = element}, &edit);
      tree_.EditLeaf(leaf, &edit, 1);
      return;
    }
    if (row == 0 || row == rows) {
      PackedBuilder builder(kKind);
      builder.Add({.bytes = element});
      AddLeaf(leaf, row == 0 ? ListEnd::kHead : ListEnd::kTail, builder.Finish());
      return;
    }
    uint32_t middle = size > kMaxLeafBytes / 2 ? row : rows / 2;
    uint64_t first_rank = leaf.first_rank;
    CHECK(tree_.SplitLeaf(leaf, middle, nullptr));
    if (row > middle) {
      row -= middle;
      first_rank += middle;
    }
    CHECK(tree_.FindRank(first_rank, &leaf));
  }
}

void ListValue::InsertBeside(const Place& place, Side side, std::string_view element) {
  ConvertForGrowth({.elements = 1, .bytes = element.size()});
  InsertAt(place.leaf, place.row + (side == Side::kAfter ? 1 : 0), element);
}

void ListValue::Set(const Place& place, std::string_view element) {
  ConvertForGrowth({.elements = 1, .bytes = element.size()});
  PackedPage page = tree_.Page(place.leaf);
  const uint64_t old_size = PackedPage::RowSize(kKind, page.Row(place.row));
  const uint64_t new_size = page.size() - old_size + PackedPage::RowSize(kKind, {.bytes = element});
  PageEdit edit;
  if (new_size <= kMaxLeafBytes || new_size <= page.size() || page.rows() == 1) {
    page.SetBytes(place.row, element, &edit);
    tree_.EditLeaf(place.leaf, &edit, 0);
    if (new_size < page.size()) tree_.MergeLeaf(place.leaf);
  } else {
    page.Remove(place.row, 1, &edit);
    tree_.EditLeaf(place.leaf, &edit, -1);
    InsertAt(place.leaf, place.row, element);
  }
  ConvertAfterShrinking();
}

// --- removing

void ListValue::Remove(const Place& place) {
  PackedPage page = tree_.Page(place.leaf);
  if (page.rows() > 1) {
    PageEdit edit;
    page.Remove(place.row, 1, &edit);
    tree_.EditLeaf(place.leaf, &edit, -1);
  } else if (tree_.count() == 1) {
    space_.DeleteValue();
    return;
  } else {
    tree_.ReadAhead(place.leaf, 1);
    tree_.RemoveLeaf(place.leaf);
  }
  ConvertAfterShrinking();
}

// For a consumer at an end, when it uses up a leaf.
void ListValue::ReadAhead(Ranks ranks) {
  const bool head = ranks.first == 0;
  CountedTree::Leaf leaf;
  if (!head && ranks.last + 1 != tree_.count()) return;
  if (!(head ? tree_.FindFirst(&leaf) : tree_.FindLast(&leaf))) return;
  if (ranks.size() >= tree_.Page(leaf).rows()) tree_.ReadAhead(leaf, ranks.size());
}

void ListValue::RemoveRanks(Ranks ranks) {
  uint64_t left = ranks.size();
  if (left >= tree_.count()) {
    space_.DeleteValue();
    return;
  }
  ReadAhead(ranks);
  while (left > 0) {
    CountedTree::Leaf leaf;
    CHECK(tree_.FindRank(ranks.first, &leaf));
    PackedPage page = tree_.Page(leaf);
    auto row = static_cast<uint32_t>(ranks.first - leaf.first_rank);
    auto count = static_cast<uint32_t>(std::min<uint64_t>(page.rows() - row, left));
    left -= count;
    if (count == page.rows()) {
      tree_.RemoveLeaf(leaf);
      continue;
    }
    PageEdit edit;
    page.Remove(row, count, &edit);
    tree_.EditLeaf(leaf, &edit, -static_cast<int64_t>(count));
  }
  ConvertAfterShrinking();
}

// Takes some of a leaf's rows, in ascending order, but not all.
void ListValue::RemoveRows(const CountedTree::Leaf& leaf, std::span<const uint32_t> rows) {
  PackedPage page = tree_.Page(leaf);
  PageEdit edit;
  std::string packed;
  if (rows.size() == 1) {
    page.Remove(rows[0], 1, &edit);
  } else {
    PackedBuilder builder(kKind);
    uint32_t next = 0;
    for (uint32_t row : rows) {
      builder.AddRows(page, next, row - next);
      next = row + 1;
    }
    builder.AddRows(page, next, page.rows() - next);
    packed = builder.Finish();
    edit.Add(0, static_cast<uint32_t>(page.size()), packed);
  }
  tree_.EditLeaf(leaf, &edit, -static_cast<int64_t>(rows.size()));
  tree_.MergeLeaf(leaf);
}

bool ListValue::RemoveEqual(const Search& search, uint64_t* removed) {
  *removed = 0;
  std::vector<uint64_t> ranks;
  if (!FindEqual(search, &ranks)) return false;
  if (ranks.empty()) return true;
  *removed = ranks.size();
  if (ranks.size() == tree_.count()) {
    space_.DeleteValue();
    return true;
  }
  // From the tail on, so that the ranks that are still to go stay what they are.
  if (!search.backward) std::reverse(ranks.begin(), ranks.end());
  std::vector<uint32_t> rows;
  for (size_t i = 0; i < ranks.size();) {
    CountedTree::Leaf leaf;
    CHECK(tree_.FindRank(ranks[i], &leaf));
    rows.clear();
    for (; i < ranks.size() && ranks[i] >= leaf.first_rank; ++i) {
      rows.push_back(static_cast<uint32_t>(ranks[i] - leaf.first_rank));
    }
    std::reverse(rows.begin(), rows.end());
    if (rows.size() == tree_.Page(leaf).rows()) {
      tree_.RemoveLeaf(leaf);
    } else {
      RemoveRows(leaf, rows);
    }
  }
  ConvertAfterShrinking();
  return true;
}

// --- the encoding that Redis would have

bool ListValue::IsQuicklist() const {
  return (RootView(space_.Root()).flags() & kQuicklistFlag) != 0;
}

void ListValue::SetQuicklist(bool quicklist) {
  PageEdit edit;
  edit.Overwrite(kFlagsAt, static_cast<uint8_t>(quicklist ? kQuicklistFlag : 0));
  space_.Edit(kRootPage, edit);
}

ListValue::Limit ListValue::ListpackLimit() const {
  int64_t option = limits_.max_listpack_size;
  if (option >= 0) {
    return {kCountedListpackBytes, static_cast<uint64_t>(std::max<int64_t>(option, 1))};
  }
  int64_t level = std::min<int64_t>(-(option + 1), std::size(kListpackBytes) - 1);
  return {kListpackBytes[level], std::numeric_limits<uint64_t>::max()};
}

// Whether the list and what is about to be added keep to the limit, as far as leaves in RAM tell.
ListValue::Fits ListValue::FitsListpack(Limit limit, Addition addition) {
  if (const RootView root(space_.Root()); root.small()) {
    // Most often the header says it.
    const PackedPage page(root.packed());
    const uint64_t size = kListpackOverhead + addition.bytes + ListpackPageRoughBound(page);
    if (page.rows() + addition.elements <= limit.elements && size <= limit.bytes) return Fits::kYes;
  }
  uint64_t count = tree_.count() + addition.elements;
  // An element takes two bytes at least.
  if (count > limit.elements || (limit.bytes - kListpackOverhead) / 2 < tree_.count()) {
    return Fits::kNo;
  }
  if (limit.bytes == std::numeric_limits<uint64_t>::max()) return Fits::kYes;
  uint32_t leaves = tree_.LeavesBelowTop();
  if (leaves > kMaxListpackLeaves) return Fits::kNo;
  uint64_t bound = kListpackOverhead + addition.bytes;
  for (bool exact : {false, true}) {
    uint64_t size = bound;
    for (uint32_t i = 0; i < leaves; ++i) {
      PackedPage page;
      if (!tree_.PeekBelowTop(i, &page)) return Fits::kUnknown;
      size += exact ? ListpackPageSize(page) : ListpackPageBound(page);
    }
    if (size <= limit.bytes) return Fits::kYes;
  }
  return Fits::kNo;
}

bool ListValue::WantForGrowth() {
  if (IsQuicklist() || tree_.LeavesBelowTop() > kMaxListpackLeaves) return true;
  return tree_.WantAll();
}

void ListValue::ConvertForGrowth(Addition addition) {
  if (!IsQuicklist() && FitsListpack(ListpackLimit(), addition) == Fits::kNo) SetQuicklist(true);
}

// Redis goes back only at half the limit, so that it doesn't go to and fro.
void ListValue::ConvertAfterShrinking() {
  if (!IsQuicklist()) return;
  Limit limit = ListpackLimit();
  if (limits_.max_listpack_size >= 0) {
    limit = {std::numeric_limits<uint64_t>::max(), limit.elements / 2};
  } else {
    limit.bytes /= 2;
  }
  if (FitsListpack(limit, {}) == Fits::kYes) SetQuicklist(false);
}

}  // namespace firn
