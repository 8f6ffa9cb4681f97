// The parts of ZsetValue that work on many elements: removal of ranges, building, scanning.
#include <algorithm>
#include <tuple>

#include "engine/base/check.h"
#include "engine/types/zset_key.h"
#include "engine/types/zset_value.h"

namespace firn {
namespace {

using NewLeaf = CountedTree::NewLeaf;

// A scan passes freely over this many elements of one score to find one of them...
constexpr uint64_t kSmallGroup = 512;
// ... and over more of them this many times in all.
constexpr uint64_t kGroupPasses = 64;
constexpr int kCursorShift = 12;
// Leaves of a tree that is built at once are not quite full, as leaves are that grow.
constexpr uint64_t kBuiltLeafBytes = kMaxLeafBytes * 9 / 10;

bool HashLess(const ZsetValue::IndexEntry& a, const ZsetValue::IndexEntry& b) {
  return std::tie(a.hash, a.score) < std::tie(b.hash, b.score);
}

}  // namespace

// --- removal of ranges

// The row of an element in both trees, by its rank. Of rows in the index with equal hashes and
// scores any will do.
bool ZsetValue::FindSpot(uint64_t rank, Spot* spot) {
  bool found = rank == 0                   ? tree_.FindFirst(&spot->leaf)
               : rank == tree_.count() - 1 ? tree_.FindLast(&spot->leaf)
                                           : tree_.FindRank(rank, &spot->leaf);
  if (!found) return false;
  spot->row = RowAt(spot->leaf, rank);
  PackedRow element = tree_.Page(spot->leaf).Row(spot->row);
  spot->score = element.score;
  if (small()) return true;
  spot->hash = hash_(secret_, element.bytes);
  if (!index_.FindKeyUnranked(HashKey(spot->hash).view(), &spot->index_leaf)) return false;
  PackedPage page = index_.Page(spot->index_leaf);
  uint32_t row = page.LowerBoundHash(spot->hash);
  while (row < page.rows() && page.IndexedScore(row) != spot->score) ++row;
  CHECK_MSG(row < page.rows() && page.Hash(row) == spot->hash,
            "the member index disagrees with the elements");
  spot->index_row = row;
  return true;
}

bool ZsetValue::PlanRemoval(RankRange ranks, Removal* removal) {
  removal->ranks = ranks;
  removal->entries.clear();
  if (ranks.empty() || ranks.size() == tree_.count()) return true;
  if (ranks.size() == 1) return FindSpot(ranks.first, &removal->spot);
  if (small()) return true;
  if (!Want(ranks)) return false;
  removal->entries.reserve(ranks.size());
  ForEach(ranks, [&](const ZsetElement& element) {
    removal->entries.push_back({hash_(secret_, element.member), element.score});
  });
  std::sort(removal->entries.begin(), removal->entries.end(), HashLess);
  bool all = true;
  for (const IndexEntry& entry : removal->entries) {
    Leaf leaf;
    all &= index_.FindKeyUnranked(HashKey(entry.hash).view(), &leaf);
  }
  return all;
}

void ZsetValue::Remove(const Removal& removal) {
  if (removal.ranks.empty()) return;
  if (removal.ranks.size() == tree_.count()) return space_.DeleteValue();
  if (removal.ranks.size() == 1) return RemoveSpot(removal.spot);
  RemoveFromIndex(removal.entries);
  RemoveFromTree(removal.ranks);
}

void ZsetValue::RemoveFromTree(RankRange ranks) {
  for (uint64_t left = ranks.size(); left > 0;) {
    Leaf leaf;
    CHECK(tree_.FindRank(ranks.first, &leaf));
    PackedPage page = tree_.Page(leaf);
    uint32_t row = RowAt(leaf, ranks.first);
    auto removed = static_cast<uint32_t>(std::min<uint64_t>(left, page.rows() - row));
    left -= removed;
    if (removed == page.rows()) {
      tree_.RemoveLeaf(leaf);
      continue;
    }
    PageEdit edit;
    page.Remove(row, removed, &edit);
    tree_.EditLeaf(leaf, &edit, -static_cast<int64_t>(removed));
    tree_.MergeLeaf(leaf);
  }
}

// Leaf by leaf, so that one that loses many rows is written once.
void ZsetValue::RemoveFromIndex(std::span<const IndexEntry> entries) {
  std::vector<double> scores;  // of the elements with one hash that go
  while (!entries.empty()) {
    Leaf leaf;
    CHECK(index_.FindKeyUnranked(HashKey(entries[0].hash).view(), &leaf));
    PackedPage page = index_.Page(leaf);
    PackedBuilder kept(PackedKind::kZsetIndex);
    size_t used = 0;
    uint32_t removed_row = 0;
    for (uint32_t row = 0; row < page.rows(); ++row) {
      uint64_t hash = page.Hash(row);
      if (row == 0 || page.Hash(row - 1) != hash) {
        scores.clear();
        for (; used < entries.size() && entries[used].hash == hash; ++used) {
          scores.push_back(entries[used].score);
        }
      }
      auto found = std::find(scores.begin(), scores.end(), page.IndexedScore(row));
      if (found == scores.end()) {
        kept.Add(page.Row(row));
      } else {
        removed_row = row;
        scores.erase(found);
      }
    }
    uint32_t removed = page.rows() - kept.rows();
    CHECK_MSG(removed > 0 && removed == used, "the member index disagrees with the elements");
    entries = entries.subspan(used);
    if (kept.rows() == 0) {
      index_.RemoveLeaf(leaf);
      continue;
    }
    PageEdit edit;
    std::string packed;
    if (removed == 1) {
      page.Remove(removed_row, 1, &edit);
    } else {
      packed = kept.Finish();
      edit.Add(0, static_cast<uint32_t>(page.size()), packed);
    }
    index_.EditLeaf(leaf, &edit, -static_cast<int64_t>(removed));
    index_.MergeLeaf(leaf);
  }
}

// --- building

namespace {

// Cuts sorted rows into leaves: `row_of` and `key_of` give the row and the key of a number.
template <typename RowOf, typename KeyOf>
std::vector<NewLeaf> CutIntoLeaves(PackedKind kind, size_t rows, RowOf row_of, KeyOf key_of) {
  std::vector<NewLeaf> leaves;
  PackedBuilder builder(kind);
  std::string separator;
  for (size_t i = 0; i < rows; ++i) {
    PackedRow row = row_of(i);
    if (builder.rows() > 0 && builder.size() + PackedPage::RowSize(kind, row) > kBuiltLeafBytes) {
      std::string before(key_of(i - 1).view());
      std::string next = CountedTree::Separator(before, key_of(i).view());
      if (next > before) {
        leaves.push_back({builder.Finish(), std::move(separator)});
        separator = std::move(next);
        builder = PackedBuilder(kind);
      }
    }
    builder.Add(row);
  }
  leaves.push_back({builder.Finish(), std::move(separator)});
  return leaves;
}

}  // namespace

std::vector<NewLeaf> ZsetValue::IndexLeaves(std::vector<IndexEntry>* entries) {
  std::sort(entries->begin(), entries->end(), HashLess);
  auto row_of = [&](size_t i) {
    return PackedRow{.hash = (*entries)[i].hash, .score = (*entries)[i].score};
  };
  auto key_of = [&](size_t i) { return HashKey((*entries)[i].hash); };
  return CutIntoLeaves(PackedKind::kZsetIndex, entries->size(), row_of, key_of);
}

void ZsetValue::AppendLeaves(CountedTree* tree, std::span<const NewLeaf> leaves) {
  for (const NewLeaf& leaf : leaves) {
    Leaf last;
    CHECK(tree->FindRank(UINT64_MAX, &last));
    tree->AddLeafAfter(last, leaf.packed, leaf.separator);
  }
}

void ZsetValue::Build(std::span<ZsetElement> elements, const ZsetLimits& limits) {
  CHECK(!elements.empty());
  std::sort(elements.begin(), elements.end(), [](const ZsetElement& a, const ZsetElement& b) {
    return a.score < b.score || (a.score == b.score && a.member < b.member);
  });
  uint64_t longest = 0;
  for (const ZsetElement& element : elements) {
    longest = std::max<uint64_t>(longest, element.member.size());
  }
  bool listpack =
      elements.size() <= limits.max_listpack_entries && longest <= limits.max_listpack_value;
  for (ZsetElement& element : elements) {
    // As Redis' listpacks have it.
    if (listpack && element.score == 0) element.score = 0;
  }
  std::vector<NewLeaf> leaves = CutIntoLeaves(
      PackedKind::kZset, elements.size(),
      [&](size_t i) { return PackedRow{.bytes = elements[i].member, .score = elements[i].score}; },
      [&](size_t i) { return ElementKey(elements[i].score, elements[i].member); });
  if (leaves.size() == 1) {
    std::string root{static_cast<char>(RootForm::kSmall), static_cast<char>(listpack ? 0 : 1)};
    space_.CreateRoot(root + leaves[0].packed);
    return;
  }
  std::vector<IndexEntry> entries;
  entries.reserve(elements.size());
  for (const ZsetElement& element : elements) {
    entries.push_back({hash_(secret_, element.member), element.score});
  }
  std::vector<NewLeaf> index_leaves = IndexLeaves(&entries);
  CreateEmpty(listpack ? 0 : 1);
  // The first leaves make the trees; the others follow one by one.
  std::span<const NewLeaf> a(leaves);
  std::span<const NewLeaf> b(index_leaves);
  CountedTree::Grow(&space_, a.first(1), b.first(1));
  AppendLeaves(&tree_, a.subspan(1));
  AppendLeaves(&index_, b.subspan(1));
}

// --- scanning

bool ZsetValue::ScanWhole(ScanBatch* batch) {
  const RankRange all{.first = 0, .end = tree_.count()};
  if (!Want(all)) return false;
  ForEach(all, [&](const ZsetElement& element) { batch->elements.push_back(element); });
  return true;
}

// Adds entries from a hash on until there are `count`, and all that agree with the last in what a
// cursor shows.
bool ZsetValue::WalkIndex(uint64_t first_hash, uint64_t count, std::vector<IndexEntry>* entries,
                          bool* ended) {
  Leaf leaf;
  if (!index_.FindKeyUnranked(HashKey(first_hash).view(), &leaf)) return false;
  for (;;) {
    PackedPage page = index_.Page(leaf);
    for (uint32_t row = page.LowerBoundHash(first_hash); row < page.rows(); ++row) {
      uint64_t hash = page.Hash(row);
      if (entries->size() >= count &&
          hash >> kCursorShift != entries->back().hash >> kCursorShift) {
        return true;
      }
      entries->push_back({hash, page.IndexedScore(row)});
    }
    CountedTree::Moved moved = index_.Next(&leaf);
    if (moved == CountedTree::Moved::kMissing) return false;
    if (moved == CountedTree::Moved::kEnd) {
      *ended = true;
      return true;
    }
  }
}

// The ranks of all elements that have one of the scores.
bool ZsetValue::GroupByScore(std::span<const IndexEntry> entries, std::vector<RankRange>* groups) {
  std::vector<double> scores;
  scores.reserve(entries.size());
  for (const IndexEntry& entry : entries) scores.push_back(entry.score);
  std::sort(scores.begin(), scores.end());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  bool all = true;
  for (double score : scores) {
    RankRange ranks;
    all &= Ranks(ScoreRange{.min = score, .max = score}, &ranks);
    groups->push_back(ranks);
  }
  return all;
}

bool ZsetValue::Scan(uint64_t cursor, uint64_t count, ScanBatch* batch) {
  *batch = {};
  if (!space_.exists()) return true;
  if (small() || ZsetEncoding(space_.Root())[0] == 'l') return ScanWhole(batch);
  uint64_t first_hash = cursor << kCursorShift;
  std::vector<IndexEntry> entries;
  std::vector<RankRange> groups;
  bool ended = false;
  uint64_t wanted = std::max<uint64_t>(count, 1);
  for (;;) {
    uint64_t from =
        entries.empty() ? first_hash : ((entries.back().hash >> kCursorShift) + 1) << kCursorShift;
    if (!WalkIndex(from, wanted, &entries, &ended)) return false;
    groups.clear();
    if (!GroupByScore(entries, &groups)) return false;
    uint64_t passed = 0;
    for (const RankRange& ranks : groups) passed += ranks.size() > kSmallGroup ? ranks.size() : 0;
    wanted = passed / kGroupPasses;
    if (ended || wanted <= entries.size()) break;
  }
  if (entries.empty()) return true;
  bool all = true;
  for (const RankRange& ranks : groups) all &= Want(ranks);
  if (!all) return false;
  uint64_t last_hash = entries.back().hash;
  if (!ended) batch->next = (last_hash >> kCursorShift) + 1;
  batch->elements.reserve(entries.size());
  for (const RankRange& ranks : groups) {
    ForEach(ranks, [&](const ZsetElement& element) {
      uint64_t hash = hash_(secret_, element.member);
      if (hash >= first_hash && hash <= last_hash) batch->elements.push_back(element);
    });
  }
  return true;
}

}  // namespace firn
