// CountedTree: the pages of a collection as a B+tree whose inner nodes count the rows below each
// child, so that rows are found by key and by rank alike. A small value has no tree: its one packed
// page in the root is then the only leaf, and the calls here work on it just the same.
//
// The tree compares keys as byte strings; what a key is the data type says: nothing for lists
// (ranks alone), the hash of a member or field, score and member of a sorted set. A separator is
// the shortest string that is greater than every key of the leaf before it and not greater than
// those of its own. Inner nodes:
//
//   u8 16 | u8 level, 1 above leaves | u16 children | (u32 page, u32 rows below) ... |
//   u16 ends of the separators ... | separators ...
//
// Every call answers false, or kMissing, if a page on the way is not in RAM; the space then knows
// which. A call that changes something is made only with its leaf and the path to it resident, so
// it can't fail.
//
// Source of the idea: counted B-trees, S. Tatham, "Counted B-Trees" (2001).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "engine/page/packed_page.h"
#include "engine/types/page_space.h"
#include "engine/types/root_format.h"

namespace firn {

// A leaf is split when it exceeds this many bytes. A row larger than that has a leaf of its own.
inline constexpr uint64_t kMaxLeafBytes = 4000;
inline constexpr uint64_t kMaxNodeBytes = 4000;
inline constexpr size_t kMaxSeparatorBytes = 512;

// The first byte of an inner node; that of a leaf is its PackedKind.
inline constexpr char kNodeKind = 16;

class CountedTree {
 public:
  static constexpr int kMaxDepth = 12;

  // `tree`: 0 for the tree of the elements, 1 for a second one (root_format.h).
  explicit CountedTree(PageSpace* space, int tree = 0) : space_(*space), tree_(tree) {}

  // A place: the leaf, and the way to it from the root. Good until the tree's shape changes.
  struct Step {
    PageNumber page = 0;  // of the inner node
    uint32_t child = 0;
  };
  struct Leaf {
    PageNumber page = 0;
    uint64_t first_rank = 0;  // of its first row
    std::array<Step, kMaxDepth> path;
    int depth = 0;  // 0: the leaf is a small value's root
  };

  // Rows of the whole tree. REQUIRES of this and all below: the value exists.
  uint64_t count();
  PackedPage Page(const Leaf& leaf);

  // --- navigation
  // The leaf that has the key, or would.
  bool FindKey(std::string_view key, Leaf* leaf);
  // As FindKey, but without the leaf's first_rank, which takes adding up.
  bool FindKeyUnranked(std::string_view key, Leaf* leaf);
  // As FindKeyUnranked, but what is not in RAM is not wanted: for who can do without it, or has
  // begun to change things and has fetched before what it can need.
  bool FindResidentKey(std::string_view key, Leaf* leaf);
  // The leaf that has the row of this rank; the last one if there is none such.
  bool FindRank(uint64_t rank, Leaf* leaf);
  // The leaves at the ends, without adding up counts on the way.
  bool FindFirst(Leaf* leaf);
  bool FindLast(Leaf* leaf);
  // How many leaves there are if the top node is right above them, or there is just the small
  // value's; else UINT32_MAX. And one of these, if it is in RAM.
  uint32_t LeavesBelowTop();
  bool PeekBelowTop(uint32_t i, PackedPage* page);
  enum class Moved : uint8_t { kYes, kEnd, kMissing };
  Moved Next(Leaf* leaf);
  Moved Previous(Leaf* leaf);
  // As Next, but what is not in RAM is not wanted (see FindResidentKey).
  Moved NextResident(Leaf* leaf);
  // A key that leads to the leaf as long as it is there.
  std::string LowerBound(const Leaf& leaf);
  // The separator behind the leaf: every key of it is less. Empty for the last leaf.
  std::string UpperBound(const Leaf& leaf);
  // Calls visit(separator) for every leaf but one without any, in order; only inner nodes are read.
  // False if some are not in RAM.
  bool ForEachSeparator(const std::function<void(std::string_view separator)>& visit);
  // Wants all leaves with ranks in [first, last], at most `limit` missing ones at once; true if all
  // are in RAM.
  bool WantRanks(uint64_t first, uint64_t last, uint32_t limit = 1024);
  bool WantAll() { return WantRanks(0, UINT64_MAX); }

  // --- changes
  // Applies an edit of the leaf's packed page that changes its rows by `rows_change`.
  void EditLeaf(const Leaf& leaf, PageEdit* edit, int64_t rows_change);
  // Puts a new leaf behind or before another. REQUIRES: the value is a tree (see Grow).
  void AddLeafAfter(const Leaf& leaf, std::string_view packed, std::string_view separator);
  // Lists have no separators.
  void AddLeafBefore(const Leaf& leaf, std::string_view packed, std::string_view separator = {});
  // Drops a leaf with the rows that it has. REQUIRES: it is not the only one.
  void RemoveLeaf(const Leaf& leaf);
  // Splits a leaf whose rows are sorted: rows from about `middle` on go to a new leaf behind it
  // (for a small value: into the second of two leaves). False if no two neighbouring rows can be
  // told apart by a separator; the leaf then stays as it is. `key_of` gives a row's key, as FindKey
  // takes it; null for lists. REQUIRES: not a small value of a type with two trees.
  using KeyOf = std::string (*)(const PackedPage& page, uint32_t row);
  bool SplitLeaf(const Leaf& leaf, uint32_t middle, KeyOf key_of);
  // As SplitLeaf chooses: the row nearest to `middle` where the page can be parted, and the
  // separator; 0 if there is none.
  static uint32_t ChooseSplit(const PackedPage& page, uint32_t middle, KeyOf key_of,
                              std::string* separator);
  // Says that a leaf at an end of the tree is being used up, by a reader who takes so many rows at
  // once, so that the leaves that follow can be read ahead, as far as they are under one node.
  void ReadAhead(const Leaf& leaf, uint64_t rows);
  // Says that a reader who goes on from leaf to leaf, wherever he is, is done with this one.
  void ReadOn(const Leaf& leaf);
  // The leaf behind or before another, if it is under the same node and in RAM; its first_rank is
  // not set.
  bool PeekSibling(const Leaf& leaf, bool forward, Leaf* sibling);
  // If the leaf has become small, and a neighbour under the same node is in RAM and small as well,
  // joins the two. REQUIRES: the leaf has rows.
  void MergeLeaf(const Leaf& leaf);

  struct NewLeaf {
    std::string packed;
    std::string separator;  // empty for the first
  };
  // Makes a small value a tree of these leaves, `b` for the second tree if the type has one.
  // REQUIRES: small; few leaves.
  static void Grow(PageSpace* space, std::span<const NewLeaf> a, std::span<const NewLeaf> b = {});
  // Creates a value that is a tree from the beginning: of one leaf, with a block (root_format.h).
  struct TreeSeed {
    NewLeaf leaf;
    std::string_view block;  // kRootBlockSize bytes
    int64_t word = 0;
  };
  static void CreateTree(PageSpace* space, const TreeSeed& seed);
  // Gives a value without a second tree one of a single leaf. REQUIRES: this is the second tree;
  // not small; node B is empty.
  void Plant(std::string_view packed);
  // Wants every page of a value, of both trees; true if all are in RAM.
  static bool WantValue(PageSpace* space);
  // Makes `to`, which does not exist yet, a copy. REQUIRES: WantValue(from).
  static void CopyValue(PageSpace* from, PageSpace* to);
  // The shortest separator between two keys, or as much of it as kMaxSeparatorBytes allow: then it
  // is not greater than `less`, and the keys can't be parted. REQUIRES: less < greater.
  static std::string Separator(std::string_view less, std::string_view greater);
  static bool ValidateNode(std::string_view bytes);
  // Whether a page is an inner node and not a leaf. A part of a long string may look like one.
  static bool IsNode(std::string_view page) { return page.starts_with(kNodeKind); }
  // One step of FindKey, for those who look from outside where it leads.
  struct Child {
    PageNumber page = 0;
    uint32_t number = 0;  // among the node's children
    bool is_leaf = false;
  };
  // Between which numbers the first eight bytes of some keys are, if that is known.
  struct Bounds {
    uint64_t low = 0;
    uint64_t high = 0;
    bool known() const { return low < high; }
    // How far a number is from the one to the other, 0 to 1: a guess where the key belongs.
    double ShareOf(uint64_t number) const {
      if (number < low || number > high || !known()) return 0.5;
      return static_cast<double>(number - low) / static_cast<double>(high - low);
    }
  };
  // `bounds` begin as unknown, and are those of the child's keys afterwards.
  static Child ChildFor(std::string_view node, std::string_view key, Bounds* bounds);
  // Rows below the children before one.
  static uint64_t RowsBefore(std::string_view node, uint32_t child);

 private:
  class Node;
  struct ChildSpec;
  static std::string BuildNode(uint8_t level, std::span<const ChildSpec> children);
  std::string_view NodeBytes(PageNumber page);
  std::string_view PeekNode(PageNumber page);
  bool Descend(PageNumber leaf_page, Leaf* leaf);
  void ReadBeside(const Step& step, bool forward, uint64_t at_once);
  template <bool kWant, bool kRank>
  bool LocateKey(std::string_view key, Leaf* leaf);
  static void CopyBelow(std::string_view node_bytes, PageSpace* from, PageSpace* to);
  bool SeparatorsBelow(PageNumber page, const std::function<void(std::string_view)>& visit);
  bool WantBelow(PageNumber page, uint64_t first, uint64_t last, uint32_t* limit);
  void EditNode(PageNumber page, std::span<const Splice> splices, int64_t total_change);
  void AdjustCounts(const Leaf& leaf, int levels, int64_t change);
  PageNumber TakePageNumber();
  struct NewChild {
    PageNumber page = 0;
    uint64_t rows = 0;
    std::string_view separator;
  };
  void AddLeafAt(const Leaf& leaf, uint32_t child, std::string_view packed,
                 std::string_view separator);
  void InsertChild(const Leaf& leaf, int level, uint32_t at, const NewChild& child);
  void RemoveChild(const Leaf& leaf, int level);
  void SplitNode(const Leaf& leaf, int level);
  void SplitRoot();
  void PullUpRoot();
  template <bool kLast>
  bool FindOutermost(Leaf* leaf);
  template <bool kForward, bool kWant = true>
  Moved Step1(Leaf* leaf);

  PageSpace& space_;
  const int tree_;
};

// The leaf of a key of at least eight bytes (PageSpace::FindHint).
struct LeafHint {
  static constexpr int kMaxDepth = 4;  // deeper trees are not worth it

  uint64_t key = 0;       // its first eight bytes, as a big-endian number
  std::string_view rest;  // of the key
  uint8_t tree = 0;
  uint8_t depth = 0;  // 0: there is no hint
  bool ranked = false;
  PageNumber page = 0;
  std::array<CountedTree::Step, kMaxDepth> path;
  uint64_t first_rank = 0;  // if ranked

  bool IsFor(const PageSpace::Sought& sought) const {
    return depth > 0 && tree == sought.tree && sought.key.size() == sizeof key + rest.size() &&
           LoadBig64(sought.key.data()) == key && sought.key.substr(sizeof key) == rest &&
           (ranked || !sought.ranked);
  }
};

}  // namespace firn
