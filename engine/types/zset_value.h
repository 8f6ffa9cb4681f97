// ZsetValue: a sorted set on the pages of a PageSpace. A small one is a single packed page, kZset,
// in the root, sorted by score and member. A larger one has two trees: tree 0 of kZset leaves in
// the same order, which also knows ranks, and tree 1, the member index, of kZsetIndex leaves sorted
// by the 64-bit keyed hash of the member. A row of the index has no member, only its score: the
// element is then found in tree 0 by score and member, which confirms it. Whoever changes something
// or asks for a rank confirms. A plain read of a score takes the word of an index that has a single
// row of the hash, unless the row of tree 0 is in RAM and says otherwise: so a cold read needs the
// pages of one tree, at the price of one wrong answer in 2^64 reads of absent members per element.
//
// Scores are never NaN. Zeros of both signs are equal, and keep their sign.
//
// Calls that need a page which is not in RAM answer with kMissing or false, and have changed
// nothing; the space knows which pages (page_space.h). REQUIRES of all that don't say otherwise:
// the value exists. The views that calls give out are valid until the next change of any page.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/siphash.h"
#include "engine/types/counted_tree.h"

namespace firn {

// When a sorted set is shown as a skiplist (zset-max-listpack-entries and -value).
struct ZsetLimits {
  uint64_t max_listpack_entries = 128;
  uint64_t max_listpack_value = 64;
};
// "listpack" or "skiplist".
const char* ZsetEncoding(std::string_view root);

struct ZsetElement {
  std::string_view member;
  double score = 0;
};

struct ScoreRange {
  double min = 0;
  double max = 0;
  bool min_open = false;
  bool max_open = false;
};

struct LexBound {
  enum class Kind : uint8_t { kLowest, kClosed, kOpen, kHighest };
  Kind kind = Kind::kLowest;
  std::string_view bytes = {};
};
struct LexRange {
  LexBound min;
  LexBound max;
};

// Ranks in [first, end).
struct RankRange {
  uint64_t first = 0;
  uint64_t end = 0;
  bool empty() const { return first >= end; }
  uint64_t size() const { return empty() ? 0 : end - first; }
};

class ZsetValue {
 public:
  using HashFunction = uint64_t (*)(HashSecret secret, std::string_view member);

  ZsetValue(PageSpace* space, HashSecret secret, HashFunction hash = SipHash13)
      : space_(*space), tree_(space, 0), index_(space, 1), secret_(secret), hash_(hash) {}

  enum class Lookup : uint8_t { kMissing, kAbsent, kPresent };

  // 0 if the value does not exist.
  uint64_t count() { return space_.exists() ? tree_.count() : 0; }

  // --- reading
  // Absent if the value does not exist. A row of the index that alone has the member's hash is
  // believed when the element's own page is not in RAM.
  Lookup Score(std::string_view member, double* score);
  struct Ranked {
    double score = 0;
    uint64_t rank = 0;
  };
  Lookup Rank(std::string_view member, Ranked* ranked);
  // The ranks of the elements within the bounds.
  bool Ranks(const ScoreRange& range, RankRange* ranks);
  // The elements whose members lie within the bounds, if members ascend with the ranks, as they do
  // where all scores are equal. In other sets some such range of ranks, found with more pages.
  bool Ranks(const LexRange& range, RankRange* ranks);
  // Wants the pages of these elements; true if all are in RAM.
  bool Want(RankRange ranks);
  // Visits elements that Want has found in RAM, as visit(const ZsetElement&).
  template <typename Visitor>
  void ForEach(RankRange ranks, Visitor visit);
  template <typename Visitor>
  void ForEachReversed(RankRange ranks, Visitor visit);
  // REQUIRES: Want has found it in RAM.
  ZsetElement At(uint64_t rank);

  // Elements by ascending hash of their members, so a change of scores moves nothing: what is
  // there during the whole scan is given. The cursor is the upper 52 bits of a hash; elements
  // that agree in them come in one batch. The members are looked for among all elements of the
  // same score; where those are many, a batch gives more than `count`, so that a scan as a whole
  // passes over them a limited number of times. What is small, or shown as a listpack, comes as
  // one batch.
  static constexpr uint64_t kMaxCursor = (1ull << 52) - 1;
  struct ScanBatch {
    std::vector<ZsetElement> elements;
    uint64_t next = 0;  // 0 at the end
  };
  bool Scan(uint64_t cursor, uint64_t count, ScanBatch* batch);

  // --- changing
  struct AddOptions {
    bool only_new = false;       // NX
    bool only_existing = false;  // XX
    bool only_greater = false;   // GT
    bool only_less = false;      // LT
    bool increment = false;      // `score` is added to the present one
  };
  enum class AddResult : uint8_t {
    kMissing,
    kRefused,  // by the options
    kNotANumber,
    kAdded,
    kChanged,
    kSame,
  };
  // Sets a member's score, in a value that needn't exist yet. `new_score`, if not null: what it is
  // afterwards.
  AddResult Add(const ZsetElement& element, const AddOptions& options, const ZsetLimits& limits,
                double* new_score = nullptr);
  // Between the two, several elements are added or removed, for all of which WantAdd or WantRemove
  // has said true: no page is missing then. Leaves that become empty stay until the end, so that
  // what belonged there doesn't get to a neighbour that may not be in RAM.
  void BeginBatch() { batch_ = true; }
  void EndBatch();
  // Wants the pages of an Add.
  bool WantAdd(const ZsetElement& element, const AddOptions& options);
  // The value may be gone afterwards.
  Lookup Remove(std::string_view member);
  // Wants the pages of a Remove.
  bool WantRemove(std::string_view member);

  // Where an element is, or would be in the index.
  struct Spot {
    bool ranked = false;  // whether the leaf's first_rank is wanted
    uint64_t hash = 0;
    CountedTree::Leaf index_leaf;
    uint32_t index_row = 0;
    CountedTree::Leaf leaf;
    uint32_t row = 0;
    double score = 0;
  };
  struct IndexEntry {
    uint64_t hash = 0;
    double score = 0;
  };
  struct Removal {
    RankRange ranks;
    Spot spot;                        // of a single element
    std::vector<IndexEntry> entries;  // sorted; none if everything goes
  };
  // Prepares the removal of some elements and wants the pages that it takes.
  bool PlanRemoval(RankRange ranks, Removal* removal);
  // Carries out what PlanRemoval has agreed to. The value may be gone afterwards.
  void Remove(const Removal& removal);

  // Makes a value of elements, which are sorted first. Members are distinct and lie in no page.
  // REQUIRES: the value does not exist; at least one element.
  void Build(std::span<ZsetElement> elements, const ZsetLimits& limits);

 private:
  using Leaf = CountedTree::Leaf;

  bool small() { return RootView(space_.Root()).small(); }
  PackedPage SmallPage() { return PackedPage(RootView(space_.Root()).packed()); }
  Lookup Find(std::string_view member, Spot* spot);
  Lookup FindSmall(std::string_view member, Spot* spot);
  bool FindPlace(const ZsetElement& element, Leaf* leaf);
  Lookup ScoreFromTree(std::string_view member, double* score);
  bool RankOf(uint64_t ordered_score, bool above, double score, uint64_t* rank);
  // The score that all elements have; nothing if they differ.
  bool CommonScore(std::optional<double>* score);
  bool RankOf(const LexBound& bound, std::optional<double> score, uint64_t* rank);
  bool RankOfMember(std::string_view member, bool above, uint64_t* rank);

  bool WalkIndex(uint64_t first_hash, uint64_t count, std::vector<IndexEntry>* entries,
                 bool* ended);
  bool GroupByScore(std::span<const IndexEntry> entries, std::vector<RankRange>* groups);
  bool ScanWhole(ScanBatch* batch);

  void CreateEmpty(uint8_t flags);
  bool StaysListpack(std::string_view member, bool present, const ZsetLimits& limits);
  void BecomeSkiplist();
  bool InsertRow(const Leaf& leaf, const ZsetElement& element);
  void RemoveRow(CountedTree* tree, const Leaf& leaf, uint32_t row);
  void RemoveEmptied(CountedTree* tree, std::vector<std::string>* keys);
  void MoveElement(const Spot& spot, const Leaf& target, const ZsetElement& element);
  void InsertIndexRow(const Spot& spot, double score);
  bool FindSpot(uint64_t rank, Spot* spot);
  void RemoveSpot(const Spot& spot);
  void RemoveFromTree(RankRange ranks);
  void RemoveFromIndex(std::span<const IndexEntry> entries);
  void Grow();
  void AppendLeaves(CountedTree* tree, std::span<const CountedTree::NewLeaf> leaves);
  std::vector<CountedTree::NewLeaf> IndexLeaves(std::vector<IndexEntry>* entries);
  uint64_t HashOnce(std::string_view member) {
    uint64_t hash;
    return space_.KnownHash(member, &hash) ? hash : hash_(secret_, member);
  }
  uint32_t RowAt(const Leaf& leaf, uint64_t rank) {
    return static_cast<uint32_t>(rank - leaf.first_rank);
  }

  PageSpace& space_;
  CountedTree tree_;
  CountedTree index_;
  const HashSecret secret_;
  const HashFunction hash_;
  bool batch_ = false;
  // Keys that lead to leaves which became empty in a batch.
  std::vector<std::string> emptied_elements_;
  std::vector<std::string> emptied_index_;
};

template <typename Visitor>
void ZsetValue::ForEach(RankRange ranks, Visitor visit) {
  if (ranks.empty()) return;
  Leaf leaf;
  CHECK(tree_.FindRank(ranks.first, &leaf));
  uint64_t left = ranks.size();
  for (uint32_t row = RowAt(leaf, ranks.first);; row = 0) {
    for (PackedPage::Cursor cursor(tree_.Page(leaf), row); cursor.valid(); cursor.Next()) {
      visit(ZsetElement{cursor.row().bytes, cursor.row().score});
      if (--left == 0) return;
    }
    CHECK(tree_.Next(&leaf) == CountedTree::Moved::kYes);
  }
}

template <typename Visitor>
void ZsetValue::ForEachReversed(RankRange ranks, Visitor visit) {
  if (ranks.empty()) return;
  Leaf leaf;
  CHECK(tree_.FindRank(ranks.end - 1, &leaf));
  uint64_t left = ranks.size();
  for (uint32_t end = RowAt(leaf, ranks.end - 1) + 1;;) {
    PackedPage page = tree_.Page(leaf);
    while (end > 0) {
      PackedRow row = page.Row(--end);
      visit(ZsetElement{row.bytes, row.score});
      if (--left == 0) return;
    }
    CHECK(tree_.Previous(&leaf) == CountedTree::Moved::kYes);
    end = tree_.Page(leaf).rows();
  }
}

}  // namespace firn
