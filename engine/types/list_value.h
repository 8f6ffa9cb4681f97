// ListValue: a Redis list on a PageSpace: packed leaves in order, found by rank. Both ends are
// reached without counting, so that a queue touches its end pages only, however long it is.
//
// Calls that look something up answer false if a page on the way is not in RAM; the space then
// knows which (page_space.h), nothing has been changed, and the command runs again. Calls that
// change take a place, or ranks, that were looked up before, and can't fail.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/types/counted_tree.h"

namespace firn {

enum class ListEnd : uint8_t { kHead, kTail };

// list-max-listpack-size: up to which size Redis keeps a list in one listpack. Only what
// OBJECT ENCODING says depends on it.
struct ListLimits {
  int64_t max_listpack_size = -2;  // elements; -1 to -5: 4, 8, 16, 32, 64 KiB
};

// As OBJECT ENCODING names it. REQUIRES: the root page of a list.
const char* ListEncoding(std::string_view root);

class ListValue {
 public:
  ListValue(PageSpace* space, ListLimits limits) : space_(*space), tree_(space), limits_(limits) {}

  // 0 if the key does not exist. All other calls but Push REQUIRE that it does.
  uint64_t length() { return space_.exists() ? tree_.count() : 0; }

  // --- looking up

  // An element. Good until the list changes.
  struct Place {
    CountedTree::Leaf leaf;
    uint32_t row = 0;
  };
  bool FindEnd(ListEnd end, Place* place);
  // REQUIRES: rank < length().
  bool FindRank(uint64_t rank, Place* place);
  std::string_view At(const Place& place) { return tree_.Page(place.leaf).Row(place.row).bytes; }

  // Elements by rank, inclusive.
  struct Ranks {
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t size() const { return last - first + 1; }
  };
  // Whether all these elements are in RAM; wants those that are not.
  bool Want(Ranks ranks) { return tree_.WantRanks(ranks.first, ranks.last); }
  // Calls visit(bytes) for each of them, from the first to the last. REQUIRES: Want.
  template <typename Visit>
  void ForEach(Ranks ranks, Visit visit);
  template <typename Visit>
  void ForEachBackward(Ranks ranks, Visit visit);
  // At least the bytes of these elements, page by page. REQUIRES: Want.
  uint64_t BytesOf(Ranks ranks);

  struct Search {
    std::string_view element;
    bool backward = false;
    uint64_t skip = 0;         // so many matches don't count
    uint64_t matches = 1;      // at most; 0: all
    uint64_t comparisons = 0;  // at most; 0: any number
  };
  // The ranks of equal elements, in the order of the search. Clears `ranks` first.
  bool FindEqual(const Search& search, std::vector<uint64_t>* ranks);
  // The first equal element from the head on; `found` says if there is one.
  bool FindPivot(std::string_view element, Place* place, bool* found);

  // --- changing. Elements must not lie in the list itself.

  // Whether a push at this end can go ahead. The key needn't exist.
  bool WantPush(ListEnd end);
  // Pushes one after the other. Makes the list if the key does not exist. False, and nothing is
  // changed, if the end is not in RAM.
  bool Push(ListEnd end, std::span<const std::string_view> elements);
  // The one change that looks up more than the place: a list that still counts as a listpack is
  // measured. Called before InsertBeside and Set; they REQUIRE it.
  bool WantForGrowth();
  enum class Side : uint8_t { kBefore, kAfter };
  void InsertBeside(const Place& place, Side side, std::string_view element);
  void Set(const Place& place, std::string_view element);
  // Removes an element; the key if it was the last one.
  void Remove(const Place& place);
  // Removes these elements; the key if there are no others. REQUIRES: Want.
  void RemoveRanks(Ranks ranks);
  // Removes equal elements, `matches` of them at most, from the end that the search begins at.
  // `skip` and `comparisons` must be 0.
  bool RemoveEqual(const Search& search, uint64_t* removed);

 private:
  template <typename Visit>
  bool Scan(bool backward, Visit visit);
  bool FindEndLeaf(ListEnd end, CountedTree::Leaf* leaf);
  size_t PushSome(const CountedTree::Leaf& leaf, ListEnd end,
                  std::span<const std::string_view> elements);
  void AddLeaf(const CountedTree::Leaf& leaf, ListEnd side, std::string_view packed);
  size_t CreateSmall(ListEnd end, std::span<const std::string_view> elements);
  void InsertAt(CountedTree::Leaf leaf, uint32_t row, std::string_view element);
  void ReadAhead(Ranks ranks);
  void RemoveRows(const CountedTree::Leaf& leaf, std::span<const uint32_t> rows);
  bool IsQuicklist() const;
  void SetQuicklist(bool quicklist);
  struct Addition {
    uint64_t elements = 0;
    uint64_t bytes = 0;
  };
  void ConvertForGrowth(Addition addition);
  void ConvertAfterShrinking();
  struct Limit {
    uint64_t bytes;
    uint64_t elements;
  };
  Limit ListpackLimit() const;
  enum class Fits : uint8_t { kYes, kNo, kUnknown };
  Fits FitsListpack(Limit limit, Addition addition);

  PageSpace& space_;
  CountedTree tree_;
  const ListLimits limits_;
};

template <typename Visit>
void ListValue::ForEach(Ranks ranks, Visit visit) {
  CountedTree::Leaf leaf;
  CHECK(tree_.FindRank(ranks.first, &leaf));
  uint64_t left = ranks.size();
  auto row = static_cast<uint32_t>(ranks.first - leaf.first_rank);
  for (;;) {
    PackedPage::Cursor cursor(tree_.Page(leaf), row);
    for (; cursor.valid() && left > 0; cursor.Next(), --left) visit(cursor.row().bytes);
    if (left == 0) return;
    CHECK(tree_.Next(&leaf) == CountedTree::Moved::kYes);
    row = 0;
  }
}

template <typename Visit>
void ListValue::ForEachBackward(Ranks ranks, Visit visit) {
  CountedTree::Leaf leaf;
  CHECK(tree_.FindRank(ranks.last, &leaf));
  uint64_t left = ranks.size();
  auto row = static_cast<uint32_t>(ranks.last - leaf.first_rank) + 1;
  for (;;) {
    PackedPage page = tree_.Page(leaf);
    for (; row > 0 && left > 0; --left) visit(page.Row(--row).bytes);
    if (left == 0) return;
    CHECK(tree_.Previous(&leaf) == CountedTree::Moved::kYes);
    row = tree_.Page(leaf).rows();
  }
}

}  // namespace firn
