#include "engine/types/zset_value.h"

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"
#include "engine/types/zset_key.h"

namespace firn {
namespace {

// In the root's flags: the set has once been larger than a listpack may be.
constexpr uint8_t kSkiplist = 1;
// A page counts its rows in 16 bits.
constexpr uint32_t kMaxLeafRows = 60'000;

bool IsFirst(const CountedTree::Leaf& leaf) {
  return std::all_of(leaf.path.begin(), leaf.path.begin() + leaf.depth,
                     [](const CountedTree::Step& step) { return step.child == 0; });
}

bool Overfull(const PackedPage& page) {
  return (page.size() > kMaxLeafBytes || page.rows() > kMaxLeafRows) && page.rows() > 1;
}

}  // namespace

const char* ZsetEncoding(std::string_view root) {
  return (RootView(root).flags() & kSkiplist) != 0 ? "skiplist" : "listpack";
}

// --- finding

ZsetValue::Lookup ZsetValue::FindSmall(std::string_view member, Spot* spot) {
  spot->leaf = {};
  PackedPage page = SmallPage();
  spot->row = page.FindBytes(member);
  if (spot->row == page.rows()) return Lookup::kAbsent;
  spot->score = page.Score(spot->row);
  return Lookup::kPresent;
}

// Looks a member up and confirms it in tree 0.
ZsetValue::Lookup ZsetValue::Find(std::string_view member, Spot* spot) {
  if (small()) return FindSmall(member, spot);
  spot->hash = HashOnce(member);
  if (!index_.FindKeyUnranked(HashKey(spot->hash).view(), &spot->index_leaf))
    return Lookup::kMissing;
  PackedPage page = index_.Page(spot->index_leaf);
  uint32_t row = page.LowerBoundHash(spot->hash);
  spot->index_row = row;
  Lookup lookup = Lookup::kAbsent;
  // All rows of the hash are looked at: who runs again may not meet a page for the first time.
  for (; row < page.rows() && page.Hash(row) == spot->hash; ++row) {
    double score = page.IndexedScore(row);
    Leaf leaf;
    ElementKey key(score, member);
    if (!(spot->ranked ? tree_.FindKey(key.view(), &leaf)
                       : tree_.FindKeyUnranked(key.view(), &leaf))) {
      lookup = Lookup::kMissing;
      continue;
    }
    PackedPage elements = tree_.Page(leaf);
    uint32_t at = elements.FindScored(score, member);
    if (at == elements.rows()) continue;
    spot->index_row = row;
    spot->leaf = leaf;
    spot->row = at;
    spot->score = elements.Score(at);
    if (lookup == Lookup::kAbsent) lookup = Lookup::kPresent;
  }
  return lookup;
}

ZsetValue::Lookup ZsetValue::Score(std::string_view member, double* score) {
  if (!space_.exists()) return Lookup::kAbsent;
  if (!small()) return ScoreFromTree(member, score);
  Spot spot;
  Lookup lookup = FindSmall(member, &spot);
  *score = spot.score;
  return lookup;
}

ZsetValue::Lookup ZsetValue::ScoreFromTree(std::string_view member, double* score) {
  const uint64_t hash = HashOnce(member);
  Leaf leaf;
  if (!index_.FindKeyUnranked(HashKey(hash).view(), &leaf)) return Lookup::kMissing;
  PackedPage page = index_.Page(leaf);
  uint32_t row = page.LowerBoundHash(hash);
  if (row == page.rows() || page.Hash(row) != hash) return Lookup::kAbsent;
  if (row + 1 < page.rows() && page.Hash(row + 1) == hash) {
    Spot spot;
    Lookup lookup = Find(member, &spot);
    *score = spot.score;
    return lookup;
  }
  *score = page.IndexedScore(row);
  if (!tree_.FindResidentKey(ElementKey(*score, member).view(), &leaf)) return Lookup::kPresent;
  PackedPage elements = tree_.Page(leaf);
  const bool confirmed = elements.FindScored(*score, member) < elements.rows();
  return confirmed ? Lookup::kPresent : Lookup::kAbsent;
}

ZsetValue::Lookup ZsetValue::Rank(std::string_view member, Ranked* ranked) {
  if (!space_.exists()) return Lookup::kAbsent;
  Spot spot;
  spot.ranked = true;
  Lookup lookup = Find(member, &spot);
  if (lookup != Lookup::kPresent) return lookup;
  *ranked = {.score = spot.score, .rank = spot.leaf.first_rank + spot.row};
  return lookup;
}

// --- ranges

// How many elements have scores that are less, or not greater if `above`.
bool ZsetValue::RankOf(uint64_t ordered_score, bool above, double score, uint64_t* rank) {
  Leaf leaf;
  if (!tree_.FindKey(ElementKey(ordered_score + (above ? 1 : 0), {}).view(), &leaf)) return false;
  PackedPage page = tree_.Page(leaf);
  *rank = leaf.first_rank + (above ? page.UpperBoundScore(score) : page.LowerBoundScore(score));
  return true;
}

bool ZsetValue::Ranks(const ScoreRange& range, RankRange* ranks) {
  bool found = RankOf(OrderedScore(range.min), range.min_open, range.min, &ranks->first);
  return RankOf(OrderedScore(range.max), !range.max_open, range.max, &ranks->end) && found;
}

bool ZsetValue::CommonScore(std::optional<double>* score) {
  Leaf first;
  Leaf last;
  bool found = tree_.FindFirst(&first);
  if (!tree_.FindLast(&last) || !found) return false;
  double lowest = tree_.Page(first).Score(0);
  PackedPage page = tree_.Page(last);
  if (page.Score(page.rows() - 1) == lowest) *score = lowest;
  return true;
}

// How many elements are below the bound, for a minimum. `score` as CommonScore gives it.
bool ZsetValue::RankOf(const LexBound& bound, std::optional<double> score, uint64_t* rank) {
  if (bound.kind == LexBound::Kind::kLowest) {
    *rank = 0;
    return true;
  }
  if (bound.kind == LexBound::Kind::kHighest) {
    *rank = tree_.count();
    return true;
  }
  bool above = bound.kind == LexBound::Kind::kOpen;
  if (!score.has_value()) return RankOfMember(bound.bytes, above, rank);
  Leaf leaf;
  if (!tree_.FindKey(ElementKey(*score, bound.bytes).view(), &leaf)) return false;
  PackedPage page = tree_.Page(leaf);
  uint32_t row = page.LowerBound(*score, bound.bytes);
  *rank = leaf.first_rank + row;
  if (above && row < page.rows() && page.Row(row).bytes == bound.bytes) ++*rank;
  return true;
}

// By members alone, whatever the scores: the tree's separators don't help.
bool ZsetValue::RankOfMember(std::string_view member, bool above, uint64_t* rank) {
  uint64_t low = 0;
  uint64_t high = tree_.count();
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    Leaf leaf;
    if (!tree_.FindRank(middle, &leaf)) return false;
    PackedPage page = tree_.Page(leaf);
    std::string_view bytes = page.Row(RowAt(leaf, middle)).bytes;
    if (bytes < member || (above && bytes == member)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  *rank = low;
  return true;
}

bool ZsetValue::Ranks(const LexRange& range, RankRange* ranks) {
  std::optional<double> score;
  if (!CommonScore(&score)) return false;
  bool found = RankOf(range.min, score, &ranks->first);
  // What a maximum leaves out is what a minimum of the other openness leaves out.
  LexBound max = range.max;
  if (max.kind == LexBound::Kind::kClosed) {
    max.kind = LexBound::Kind::kOpen;
  } else if (max.kind == LexBound::Kind::kOpen) {
    max.kind = LexBound::Kind::kClosed;
  }
  return RankOf(max, score, &ranks->end) && found;
}

bool ZsetValue::Want(RankRange ranks) {
  return ranks.empty() || tree_.WantRanks(ranks.first, ranks.end - 1);
}

ZsetElement ZsetValue::At(uint64_t rank) {
  Leaf leaf;
  CHECK(tree_.FindRank(rank, &leaf));
  PackedRow row = tree_.Page(leaf).Row(RowAt(leaf, rank));
  return {row.bytes, row.score};
}

// --- adding

bool ZsetValue::FindPlace(const ZsetElement& element, Leaf* leaf) {
  return tree_.FindKeyUnranked(ElementKey(element.score, element.member).view(), leaf);
}

void ZsetValue::CreateEmpty(uint8_t flags) {
  char root[kSmallRootHeader + PackedPage::kHeaderSize] = {static_cast<char>(RootForm::kSmall),
                                                           static_cast<char>(flags),
                                                           static_cast<char>(PackedKind::kZset)};
  space_.CreateRoot({root, sizeof root});
}

// Whether the set is shown as a listpack once it has the element, too.
bool ZsetValue::StaysListpack(std::string_view member, bool present, const ZsetLimits& limits) {
  const uint64_t count = space_.exists() ? tree_.count() : 0;
  if (count > 0 && (RootView(space_.Root()).flags() & kSkiplist) != 0) return false;
  return present ||
         (count < limits.max_listpack_entries && member.size() <= limits.max_listpack_value);
}

// REQUIRES: the value exists.
void ZsetValue::BecomeSkiplist() {
  const uint8_t flags = RootView(space_.Root()).flags();
  if ((flags & kSkiplist) != 0) return;
  PageEdit edit;
  edit.Overwrite(1, static_cast<uint8_t>(flags | kSkiplist));
  space_.Edit(kRootPage, edit);
}

ZsetValue::AddResult ZsetValue::Add(const ZsetElement& element, const AddOptions& options,
                                    const ZsetLimits& limits, double* new_score) {
  Spot spot;
  Lookup lookup = Lookup::kAbsent;
  if (space_.exists()) lookup = Find(element.member, &spot);
  ZsetElement added = element;
  Leaf target;
  if (lookup == Lookup::kMissing) {
    if (!options.increment) FindPlace(added, &target);
    return AddResult::kMissing;
  }
  bool present = lookup == Lookup::kPresent;
  if (present) {
    if (options.only_new) return AddResult::kRefused;
    if (options.increment) added.score += spot.score;
    if (std::isnan(added.score)) return AddResult::kNotANumber;
    if (options.only_greater && added.score <= spot.score) return AddResult::kRefused;
    if (options.only_less && added.score >= spot.score) return AddResult::kRefused;
  } else if (options.only_existing) {
    return AddResult::kRefused;
  }
  if (new_score != nullptr) *new_score = added.score;
  if (present && added.score == spot.score) return AddResult::kSame;
  const bool listpack = StaysListpack(added.member, present, limits);
  // Redis' listpacks have the integer, without a sign.
  if (listpack && added.score == 0) added.score = 0;
  if (!space_.exists()) CreateEmpty(0);
  if (!FindPlace(added, &target)) return AddResult::kMissing;
  if (present) {
    MoveElement(spot, target, added);
    return AddResult::kChanged;
  }
  if (!listpack) BecomeSkiplist();
  bool indexed = !small();
  InsertRow(target, added);
  if (indexed) InsertIndexRow(spot, added.score);
  return AddResult::kAdded;
}

bool ZsetValue::WantAdd(const ZsetElement& element, const AddOptions& options) {
  if (!space_.exists() || small()) return true;
  Spot spot;
  Lookup lookup = Find(element.member, &spot);
  if (options.only_new && lookup == Lookup::kPresent) return true;
  if (options.only_existing && lookup == Lookup::kAbsent) return true;
  ZsetElement added = element;
  if (options.increment) {
    if (lookup == Lookup::kMissing) return false;
    if (lookup == Lookup::kPresent) added.score += spot.score;
    if (std::isnan(added.score)) return true;
  }
  Leaf target;
  return FindPlace(added, &target) && lookup != Lookup::kMissing;
}

// Whether the shape of the tree has changed.
bool ZsetValue::InsertRow(const Leaf& leaf, const ZsetElement& element) {
  PackedPage page = tree_.Page(leaf);
  uint32_t row = page.LowerBound(element.score, element.member);
  bool last = row == page.rows();
  PageEdit edit;
  page.Insert(row, {.bytes = element.member, .score = element.score}, &edit);
  tree_.EditLeaf(leaf, &edit, 1);
  page = tree_.Page(leaf);
  if (!Overfull(page)) return false;
  if (leaf.depth == 0) {
    Grow();
    return true;
  }
  uint32_t middle = page.rows() / 2;
  if (last && tree_.UpperBound(leaf).empty()) {
    middle = page.rows() - 1;
  } else if (row == 0 && IsFirst(leaf)) {
    middle = 1;
  }
  return tree_.SplitLeaf(leaf, middle, ElementKeyOf);
}

void ZsetValue::InsertIndexRow(const Spot& spot, double score) {
  PackedPage page = index_.Page(spot.index_leaf);
  PageEdit edit;
  page.Insert(spot.index_row, {.hash = spot.hash, .score = score}, &edit);
  index_.EditLeaf(spot.index_leaf, &edit, 1);
  page = index_.Page(spot.index_leaf);
  if (Overfull(page)) index_.SplitLeaf(spot.index_leaf, page.rows() / 2, HashKeyOf);
}

// Gives an element another score; `target` is the leaf where it then belongs.
void ZsetValue::MoveElement(const Spot& spot, const Leaf& target, const ZsetElement& element) {
  bool indexed = !small();
  if (target.page == spot.leaf.page) {
    PackedPage page = tree_.Page(target);
    uint32_t row = page.LowerBound(element.score, element.member);
    PageEdit edit;
    page.MoveScored(spot.row, row, element.score, element.member, &edit);
    tree_.EditLeaf(target, &edit, 0);
  } else {
    Leaf old = spot.leaf;
    if (InsertRow(target, element)) {
      CHECK(tree_.FindKeyUnranked(ElementKey(spot.score, element.member).view(), &old));
    }
    RemoveRow(&tree_, old, tree_.Page(old).LowerBound(spot.score, element.member));
  }
  if (!indexed) return;
  PageEdit edit;
  index_.Page(spot.index_leaf).SetIndexedScore(spot.index_row, element.score, &edit);
  index_.EditLeaf(spot.index_leaf, &edit, 0);
}

// --- removing

// REQUIRES: not the last row of its tree.
void ZsetValue::RemoveRow(CountedTree* tree, const Leaf& leaf, uint32_t row) {
  PackedPage page = tree->Page(leaf);
  bool last = page.rows() == 1;
  if (last && !batch_) return tree->RemoveLeaf(leaf);
  if (last && tree == &tree_) emptied_elements_.push_back(ElementKeyOf(page, row));
  if (last && tree == &index_) emptied_index_.push_back(HashKeyOf(page, row));
  PageEdit edit;
  page.Remove(row, 1, &edit);
  tree->EditLeaf(leaf, &edit, -1);
  if (!last) tree->MergeLeaf(leaf);
}

void ZsetValue::EndBatch() {
  batch_ = false;
  RemoveEmptied(&tree_, &emptied_elements_);
  RemoveEmptied(&index_, &emptied_index_);
}

void ZsetValue::RemoveEmptied(CountedTree* tree, std::vector<std::string>* keys) {
  for (const std::string& key : *keys) {
    Leaf leaf;
    bool is_there = space_.exists() && !small() && tree->FindResidentKey(key, &leaf);
    if (is_there && tree->Page(leaf).rows() == 0) tree->RemoveLeaf(leaf);
  }
  keys->clear();
}

void ZsetValue::RemoveSpot(const Spot& spot) {
  if (tree_.count() == 1) return space_.DeleteValue();
  bool indexed = !small();
  RemoveRow(&tree_, spot.leaf, spot.row);
  if (indexed) RemoveRow(&index_, spot.index_leaf, spot.index_row);
}

ZsetValue::Lookup ZsetValue::Remove(std::string_view member) {
  if (!space_.exists()) return Lookup::kAbsent;
  Spot spot;
  Lookup lookup = Find(member, &spot);
  if (lookup == Lookup::kPresent) RemoveSpot(spot);
  return lookup;
}

bool ZsetValue::WantRemove(std::string_view member) {
  if (!space_.exists()) return true;
  Spot spot;
  return Find(member, &spot) != Lookup::kMissing;
}

// --- growing

// The rows of a small value go to leaves of both trees. Where no two elements can be told apart by
// a separator, they share a leaf.
void ZsetValue::Grow() {
  PackedPage page = SmallPage();
  std::vector<IndexEntry> entries;
  entries.reserve(page.rows());
  for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
    entries.push_back({hash_(secret_, cursor.row().bytes), cursor.row().score});
  }
  std::vector<CountedTree::NewLeaf> leaves(1);
  std::string separator;
  uint32_t at = CountedTree::ChooseSplit(page, page.rows() / 2, ElementKeyOf, &separator);
  PackedBuilder left(PackedKind::kZset);
  left.AddRows(page, 0, at == 0 ? page.rows() : at);
  leaves[0].packed = left.Finish();
  if (at != 0) {
    PackedBuilder right(PackedKind::kZset);
    right.AddRows(page, at, page.rows() - at);
    leaves.push_back({right.Finish(), separator});
  }
  CountedTree::Grow(&space_, leaves, IndexLeaves(&entries));
}

}  // namespace firn
