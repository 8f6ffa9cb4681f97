// HashedTree: what hashes and sets have in common. Rows (kSet, kHash, kHashTtl) are found by the
// keyed hash of their bytes: the 8 big-endian bytes of the hash are the key in the counted tree,
// and its low byte is the tag in the packed page. Within a leaf rows lie as they were added; only a
// split sorts them. A small value has all rows in its root, in the order of their arrival; a hash
// begins with a page that has no tags (kHashFew), until it has too many fields or a long one.
//
//   HashedTree tree(&pages, PackedKind::kSet, secret);
//   HashedTree::Place place;
//   if (!tree.Find(member, &place)) return false;   // a page is missing; nothing has changed
//   if (!place.found) tree.Insert(place, member);   // makes the value if there is none
//
// Calls that answer false need a page that is not in RAM: the space knows which (page_space.h), and
// nothing has changed. Changes can't fail: they only touch pages that the Find before them has met.
// A Place is good until the next change of the value. A command with several elements first finds
// them all, so that all missing pages are fetched together, then finds and changes one by one: with
// Find if it only adds, with FindAgain if it removes.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/siphash.h"
#include "engine/types/counted_tree.h"

namespace firn {

class HashedTree {
 public:
  using HashFunction = uint64_t (*)(HashSecret secret, std::string_view bytes);
  using Leaf = CountedTree::Leaf;

  // `kind`: of the first page of a value that is made, kSet or kHashFew.
  HashedTree(PageSpace* space, PackedKind kind, HashSecret secret, HashFunction hash = SipHash13)
      : space_(*space), tree_(space), kind_(kind), secret_(secret), hash_(hash) {}

  // --- the root
  bool exists() const { return space_.exists(); }
  // Rows; 0 if the value does not exist.
  uint64_t count() { return exists() ? tree_.count() : 0; }
  // REQUIRES of all three: the value exists.
  bool small() { return RootView(space_.Root()).small(); }
  uint8_t flags() { return RootView(space_.Root()).flags(); }
  void SetFlags(uint8_t flags);  // no change, no log record, if they are the same

  // --- finding
  struct Place {
    uint64_t hash = 0;  // where pages have tags, Find sets it; FindRank doesn't
    Leaf leaf;
    uint32_t row = 0;  // number of rows of the leaf if not found
    bool found = false;
    bool resident = false;  // the leaf is in RAM: always so but after FindAgain
    uint8_t tag() const { return static_cast<uint8_t>(hash); }
  };
  // The row with these bytes. Not found, and true, if the value does not exist.
  bool Find(std::string_view bytes, Place* place);
  // As Find in the second pass of a command, when its first changes have been made: what is not in
  // RAM now is not wanted and counts as not found. (A leaf that went with its last row may have
  // left its place to one that no Find has met.) Insert is not for such a place.
  void FindAgain(std::string_view bytes, Place* place);
  // The row of a rank, in the order of ForEach: for random elements. REQUIRES: rank < count().
  bool FindRank(uint64_t rank, Place* place);
  // As many FindRanks, so that all missing pages are wanted at once.
  bool WantRanks(std::span<const uint64_t> ranks);
  // Wants every page of the value; true if all are in RAM (also if there is no value).
  bool WantAll() { return !exists() || tree_.WantAll(); }
  // REQUIRES: the value exists, the place's leaf has been found.
  PackedPage Page(const Place& place) { return tree_.Page(place.leaf); }
  // REQUIRES: place.found.
  PackedRow Row(const Place& place) { return Page(place).Row(place.row); }

  // Visits all rows, as visit(const PackedRow&). The views are valid until the next change of any
  // page of any value. REQUIRES: WantAll was true.
  template <typename Visitor>
  void ForEach(Visitor visit);

  // Walks the rows by ascending hash prefix. The cursor is the upper 52 bits of a hash: all rows of
  // one prefix come in one batch, whole leaves at a time, so rows that stay are seen once however
  // leaves split and merge meanwhile. A small value is one batch. 0 begins, and is `next` at the
  // end. At least `count` rows if there are as many. Rows are valid until the next change.
  static constexpr int kCursorBits = 52;
  struct ScanBatch {
    std::vector<PackedRow> rows;
    uint64_t next = 0;
  };
  bool Scan(uint64_t cursor, uint64_t count, ScanBatch* batch);

  // --- changing. Bytes and values that are given must not lie in a page.
  // Adds a row that Find has not found; makes the value, with flags 0, if there is none. Of `row`,
  // `tag` is set here. An expiry turns the leaf into kHashTtl.
  void Insert(const Place& place, PackedRow row);
  void Insert(const Place& place, std::string_view bytes) { Insert(place, {.bytes = bytes}); }
  // REQUIRES of the rest: place.found.
  // Removes a row; the value is deleted with its last one.
  void Remove(const Place& place);
  // REQUIRES: a hash. The row keeps its expiry.
  void SetValue(const Place& place, std::string_view value);
  // REQUIRES: a hash. -1: none. Turns a leaf that knows no expiry into kHashTtl if need be.
  void SetExpiry(const Place& place, int64_t expiry_ms);
  // Removes the rows of a place's leaf for which remove(const PackedRow&) says so; the value is
  // deleted with its last row. How many rows are gone.
  template <typename Predicate>
  uint32_t RemoveIf(const Leaf& leaf, Predicate remove);

  CountedTree& tree() { return tree_; }
  PageSpace& space() { return space_; }
  uint64_t Hash(std::string_view bytes) const { return hash_(secret_, bytes); }

 private:
  uint64_t HashOnce(std::string_view bytes) {
    uint64_t hash;
    return space_.KnownHash(bytes, &hash) ? hash : Hash(bytes);
  }
  void Create();
  // No hash is needed to find a row: the value is a page without tags, or would begin as one.
  bool has_few();
  void FindInLeaf(std::string_view bytes, Place* place);
  void ConvertToTtl(const Leaf& leaf);
  // Makes the leaf one of another kind, with tags. Rows keep their numbers.
  void Convert(const Leaf& leaf, PackedKind kind);
  void SplitIfLarge(const Leaf& leaf);
  void RemoveMarked(const Leaf& leaf, const std::vector<bool>& removed, uint32_t count);

  PageSpace& space_;
  CountedTree tree_;
  const PackedKind kind_;
  const HashSecret secret_;
  const HashFunction hash_;
};

template <typename Visitor>
void HashedTree::ForEach(Visitor visit) {
  if (!exists()) return;
  Leaf leaf;
  CHECK(tree_.FindRank(0, &leaf));
  do {
    for (PackedPage::Cursor cursor(tree_.Page(leaf), 0); cursor.valid(); cursor.Next()) {
      visit(cursor.row());
    }
  } while (tree_.Next(&leaf) == CountedTree::Moved::kYes);
}

template <typename Predicate>
uint32_t HashedTree::RemoveIf(const Leaf& leaf, Predicate remove) {
  PackedPage page = tree_.Page(leaf);
  std::vector<bool> removed;
  uint32_t count = 0;
  for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
    if (!remove(cursor.row())) continue;
    removed.resize(page.rows());
    removed[cursor.index()] = true;
    ++count;
  }
  if (count > 0) RemoveMarked(leaf, removed, count);
  return count;
}

}  // namespace firn
