#include "engine/types/hashed_tree.h"

#include <algorithm>
#include <string>
#include <utility>

namespace firn {
namespace {

// Rows of a leaf, sorted by hash.
struct SortedRow {
  uint64_t hash = 0;
  uint32_t row = 0;
  uint32_t size = 0;  // of the row in the page
};
struct Group {
  size_t begin = 0;
  size_t end = 0;
};

// Parts sorted rows into groups that fit a leaf, as evenly as rows of one hash, which stay
// together, allow.
void Partition(std::span<const SortedRow> rows, Group whole, std::vector<Group>* groups) {
  uint64_t total = 0;
  for (size_t i = whole.begin; i < whole.end; ++i) total += rows[i].size;
  size_t best = 0;
  if (total + PackedPage::kHeaderSize > kMaxLeafBytes) {
    uint64_t before = 0;
    uint64_t best_distance = UINT64_MAX;
    for (size_t i = whole.begin + 1; i < whole.end; ++i) {
      before += rows[i - 1].size;
      if (rows[i - 1].hash == rows[i].hash) continue;
      uint64_t distance = before * 2 > total ? before * 2 - total : total - before * 2;
      if (distance >= best_distance) break;
      best_distance = distance;
      best = i;
    }
  }
  if (best == 0) {
    groups->push_back(whole);
    return;
  }
  Partition(rows, {whole.begin, best}, groups);
  Partition(rows, {best, whole.end}, groups);
}

std::string KeyOf(uint64_t hash) {
  std::string key(8, '\0');
  StoreBig64(key.data(), hash);
  return key;
}

// A separator of up to 8 bytes as the least hash that is not before it.
uint64_t HashOfSeparator(std::string_view separator) {
  char key[8] = {};
  std::memcpy(key, separator.data(), std::min(separator.size(), sizeof key));
  return LoadBig64(key);
}

void ReplacePage(CountedTree* tree, const CountedTree::Leaf& leaf, std::string_view packed) {
  PackedPage old = tree->Page(leaf);
  int64_t change = int64_t{PackedPage(packed).rows()} - int64_t{old.rows()};
  PageEdit edit;
  edit.Add(0, static_cast<uint32_t>(old.size()), packed);
  tree->EditLeaf(leaf, &edit, change);
}

}  // namespace

void HashedTree::SetFlags(uint8_t flags) {
  if (this->flags() == flags) return;
  PageEdit edit;
  edit.Overwrite(1, flags);
  space_.Edit(kRootPage, edit);
}

// --- finding

bool HashedTree::has_few() {
  if (!exists()) return kind_ == PackedKind::kHashFew;
  const RootView root(space_.Root());
  return root.small() && PackedPage(root.packed()).kind() == PackedKind::kHashFew;
}

bool HashedTree::Find(std::string_view bytes, Place* place) {
  const bool few = has_few();
  if (!few) place->hash = HashOnce(bytes);
  place->found = false;
  if (!exists() || few) place->leaf = {};
  if (!exists()) {
    place->row = 0;
    return true;
  }
  if (few) {
    FindInLeaf(bytes, place);
    return true;
  }
  char key[8];
  StoreBig64(key, place->hash);
  if (!tree_.FindKeyUnranked({key, sizeof key}, &place->leaf)) return false;
  FindInLeaf(bytes, place);
  return true;
}

void HashedTree::FindAgain(std::string_view bytes, Place* place) {
  place->found = place->resident = false;
  if (!exists()) return;
  if (has_few()) {
    place->leaf = {};
    return FindInLeaf(bytes, place);
  }
  place->hash = HashOnce(bytes);
  char key[8];
  StoreBig64(key, place->hash);
  place->resident = tree_.FindResidentKey({key, sizeof key}, &place->leaf);
  if (place->resident) FindInLeaf(bytes, place);
}

void HashedTree::FindInLeaf(std::string_view bytes, Place* place) {
  PackedPage page = tree_.Page(place->leaf);
  place->resident = true;
  place->row = page.FindTagged(place->tag(), bytes);
  place->found = place->row < page.rows();
}

bool HashedTree::FindRank(uint64_t rank, Place* place) {
  if (!tree_.FindRank(rank, &place->leaf)) return false;
  place->row = static_cast<uint32_t>(rank - place->leaf.first_rank);
  place->found = place->resident = true;
  return true;
}

bool HashedTree::WantRanks(std::span<const uint64_t> ranks) {
  Leaf leaf;
  bool all = true;
  for (uint64_t rank : ranks) all &= tree_.FindRank(rank, &leaf);
  return all;
}

bool HashedTree::Scan(uint64_t cursor, uint64_t count, ScanBatch* batch) {
  batch->rows.clear();
  batch->next = 0;
  if (!exists()) return true;
  if (small()) {
    ForEach([&](const PackedRow& row) { batch->rows.push_back(row); });
    return true;
  }
  constexpr int kShift = 64 - kCursorBits;
  if (cursor >> kCursorBits != 0) return true;  // past the end
  const uint64_t first_hash = cursor << kShift;
  char key[8];
  StoreBig64(key, first_hash);
  Leaf leaf;
  if (!tree_.FindKey({key, sizeof key}, &leaf)) return false;
  uint64_t last_rank = leaf.first_rank + std::min<uint64_t>(count, tree_.count());
  if (!tree_.WantRanks(leaf.first_rank, last_rank)) return false;
  for (bool first = true;; first = false) {
    for (PackedPage::Cursor row(tree_.Page(leaf), 0); row.valid(); row.Next()) {
      // Only the leaf that the cursor points into can have rows from before it.
      if (first && cursor != 0 && Hash(row.row().bytes) < first_hash) continue;
      batch->rows.push_back(row.row());
    }
    std::string separator = tree_.UpperBound(leaf);
    if (separator.empty()) return true;
    // A leaf that ends amid a prefix is no place to stop.
    uint64_t bound = HashOfSeparator(separator);
    bool whole_prefix = (bound & ((uint64_t{1} << kShift) - 1)) == 0;
    if (batch->rows.size() >= count && whole_prefix) {
      batch->next = bound >> kShift;
      return true;
    }
    if (tree_.Next(&leaf) != CountedTree::Moved::kYes) return false;
  }
}

// --- changing

void HashedTree::Create() {
  std::string root{static_cast<char>(RootForm::kSmall), 0};
  root += PackedPage::Empty(kind_);
  space_.CreateRoot(root);
}

void HashedTree::Insert(const Place& place, PackedRow row) {
  if (!exists()) Create();
  const bool few = has_few();
  if (row.expiry_ms != -1) {
    ConvertToTtl(place.leaf);
  } else if (few && !tree_.Page(place.leaf).TakesRow(row)) {
    Convert(place.leaf, PackedKind::kHash);
  }
  PackedPage page = tree_.Page(place.leaf);
  if (page.kind() != PackedKind::kHashFew) {
    row.tag = few ? static_cast<uint8_t>(Hash(row.bytes)) : place.tag();
  }
  PageEdit edit;
  page.Insert(page.rows(), row, &edit);
  tree_.EditLeaf(place.leaf, &edit, 1);
  SplitIfLarge(place.leaf);
}

void HashedTree::Remove(const Place& place) {
  PackedPage page = tree_.Page(place.leaf);
  if (page.rows() == 1) {
    if (tree_.count() == 1) {
      space_.DeleteValue();
    } else {
      tree_.RemoveLeaf(place.leaf);
    }
    return;
  }
  PageEdit edit;
  page.Remove(place.row, 1, &edit);
  tree_.EditLeaf(place.leaf, &edit, -1);
  tree_.MergeLeaf(place.leaf);
}

void HashedTree::SetValue(const Place& place, std::string_view value) {
  if (!tree_.Page(place.leaf).TakesValue(value)) Convert(place.leaf, PackedKind::kHash);
  PageEdit edit;
  tree_.Page(place.leaf).SetValue(place.row, value, &edit);
  if (edit.empty()) return;
  int64_t change = edit.SizeChange();
  tree_.EditLeaf(place.leaf, &edit, 0);
  if (change > 0) {
    SplitIfLarge(place.leaf);
  } else if (change < 0) {
    tree_.MergeLeaf(place.leaf);
  }
}

void HashedTree::SetExpiry(const Place& place, int64_t expiry_ms) {
  if (expiry_ms == -1 && Page(place).kind() != PackedKind::kHashTtl) return;
  ConvertToTtl(place.leaf);
  PageEdit edit;
  Page(place).SetExpiry(place.row, expiry_ms, &edit);
  tree_.EditLeaf(place.leaf, &edit, 0);
  SplitIfLarge(place.leaf);
}

void HashedTree::ConvertToTtl(const Leaf& leaf) {
  if (tree_.Page(leaf).kind() != PackedKind::kHashTtl) Convert(leaf, PackedKind::kHashTtl);
}

void HashedTree::Convert(const Leaf& leaf, PackedKind kind) {
  PackedPage page = tree_.Page(leaf);
  const bool few = page.kind() == PackedKind::kHashFew;
  PackedBuilder builder(kind);
  for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
    PackedRow row = cursor.row();
    if (few) row.tag = static_cast<uint8_t>(Hash(row.bytes));
    builder.Add(row);
  }
  ReplacePage(&tree_, leaf, builder.Finish());
}

void HashedTree::SplitIfLarge(const Leaf& leaf) {
  PackedPage page = tree_.Page(leaf);
  if (page.size() <= kMaxLeafBytes || page.rows() == 1) return;
  if (page.kind() == PackedKind::kHashFew) {
    Convert(leaf, PackedKind::kHash);
    page = tree_.Page(leaf);
  }
  std::vector<SortedRow> rows;
  rows.reserve(page.rows());
  const uint32_t fixed_size = PackedPage::FixedSize(page.kind());
  const std::vector<uint32_t> offsets = page.RowOffsets();
  for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
    const uint32_t i = cursor.index();
    rows.push_back({Hash(cursor.row().bytes), i, offsets[i + 1] - offsets[i] + fixed_size});
  }
  std::sort(rows.begin(), rows.end(),
            [](const SortedRow& a, const SortedRow& b) { return a.hash < b.hash; });
  std::vector<Group> groups;
  Partition(rows, {0, rows.size()}, &groups);
  if (groups.size() == 1) return;
  std::vector<CountedTree::NewLeaf> leaves;
  for (const Group& group : groups) {
    PackedBuilder builder(page.kind());
    std::vector<uint32_t> picked;
    picked.reserve(group.end - group.begin);
    for (size_t i = group.begin; i < group.end; ++i) picked.push_back(rows[i].row);
    builder.PickRows(page, picked);
    std::string separator;
    if (group.begin > 0) {
      separator =
          CountedTree::Separator(KeyOf(rows[group.begin - 1].hash), KeyOf(rows[group.begin].hash));
    }
    leaves.push_back({builder.Finish(), std::move(separator)});
  }
  if (leaf.depth == 0) {
    CountedTree::Grow(&space_, leaves);
    return;
  }
  // The rows lie in the page that is about to change; what is needed of them has been copied.
  std::string key = KeyOf(rows[0].hash);
  ReplacePage(&tree_, leaf, leaves[0].packed);
  for (size_t i = leaves.size(); i-- > 1;) {
    Leaf left;
    CHECK(tree_.FindKey(key, &left));
    tree_.AddLeafAfter(left, leaves[i].packed, leaves[i].separator);
  }
}

void HashedTree::RemoveMarked(const Leaf& leaf, const std::vector<bool>& removed, uint32_t count) {
  PackedPage page = tree_.Page(leaf);
  if (count == page.rows()) {
    if (tree_.count() == count) {
      space_.DeleteValue();
    } else {
      tree_.RemoveLeaf(leaf);
    }
    return;
  }
  if (page.kind() == PackedKind::kHashFew) {
    Convert(leaf, PackedKind::kHash);
    page = tree_.Page(leaf);
  }
  PackedBuilder builder(page.kind());
  for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
    if (!removed[cursor.index()]) builder.Add(cursor.row());
  }
  ReplacePage(&tree_, leaf, builder.Finish());
  tree_.MergeLeaf(leaf);
}

}  // namespace firn
