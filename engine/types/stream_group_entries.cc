// The pending entries of groups and consumers: leaves of PendingPages.
#include <algorithm>

#include "engine/base/check.h"
#include "engine/types/stream_groups.h"

namespace firn {
namespace {

// Pages with fewer rows than this are joined with a neighbour, if both then leave a quarter free.
constexpr uint32_t kSparseRows = 32;
// Pages dropped in one slice, and wanted for one where they are missing.
constexpr uint32_t kSlicePages = 128;

}  // namespace

bool StreamGroups::IsOf(const Leaf& leaf, Owner owner) {
  const std::string_view bytes = tree_.Page(leaf).bytes();
  return PendingPage::Is(bytes) && PendingPage(bytes).owner() == owner;
}

bool StreamGroups::LocateEntry(Owner owner, StreamId id, Leaf* leaf) {
  Remembered& last = entry_leaves_[owner.consumer != 0 ? 1 : 0];
  if (last.shape == shape_ && last.owner == owner) {
    bool same = last.id == id;
    if (!same && IsOf(last.leaf, owner)) {
      const PendingPage page = Entries(last.leaf);
      const uint32_t rows = page.rows();
      same = rows > 0 && page.Id(0) <= id && id <= page.Id(rows - 1);
    }
    if (same) {
      *leaf = last.leaf;
      return true;
    }
  }
  if (!HasTree()) return true;
  if (!tree_.FindKeyUnranked(EntryKey(owner, id), leaf)) return false;
  last = {.shape = shape_, .leaf = *leaf, .owner = owner, .id = id};
  return true;
}

StreamGroups::Lookup StreamGroups::WantNew(const Group& group, uint32_t consumer,
                                           std::span<const Pending> entries) {
  const Lookup found = FindAny({.group = group.number}, entries);
  const Lookup owned = FindAny({.group = group.number, .consumer = consumer}, entries);
  return owned == Lookup::kMissing ? owned : found;
}

// Whether any of the entries is there; wants the leaves of all.
StreamGroups::Lookup StreamGroups::FindAny(Owner owner, std::span<const Pending> entries) {
  bool any = false;
  bool all = true;
  while (!entries.empty() && HasTree()) {
    const StreamId id = entries.front().id;
    entries = entries.subspan(1);
    Leaf leaf;
    if (!LocateEntry(owner, id, &leaf)) {
      all = false;
      continue;
    }
    uint32_t at = 0;
    uint32_t rows = 0;
    if (IsOf(leaf, owner)) {
      rows = Entries(leaf).rows();
      at = Entries(leaf).LowerBound(id);
      any |= at < rows && Entries(leaf).Id(at) == id;
    }
    if (at < rows || entries.empty()) continue;
    // Those that belong behind all rows of this leaf are not there.
    const std::string bound = tree_.UpperBound(leaf);
    while (!entries.empty() &&
           (bound.empty() || EntryKey(owner, entries.front().id).view() < bound)) {
      entries = entries.subspan(1);
    }
  }
  if (!all) return Lookup::kMissing;
  return any ? Lookup::kPresent : Lookup::kAbsent;
}

bool StreamGroups::IsBehind(const Leaf& leaf, std::string_view key) {
  const std::string_view bytes = tree_.Page(leaf).bytes();
  return PendingPage::Is(bytes) && OwnerKey(PendingPage(bytes).owner()).view() >= key;
}

void StreamGroups::AddEntryPage(const Leaf& beside, const PendingPage::Spec& spec) {
  const ShortKey key =
      spec.is_first ? OwnerKey(spec.owner) : EntryKey(spec.owner, spec.rows.front().id);
  ++shape_;
  if (IsBehind(beside, key)) {
    tree_.AddLeafBefore(beside, PendingPage::Build(spec), key);
  } else {
    tree_.AddLeafAfter(beside, PendingPage::Build(spec), key);
  }
}

void StreamGroups::WriteEntries(Owner owner, std::span<const Pending> entries) {
  if (!HasTree()) tree_.Plant(PackedPage::Empty(PackedKind::kHash));
  while (!entries.empty()) {
    Leaf leaf;
    CHECK(LocateEntry(owner, entries.front().id, &leaf));
    if (!IsOf(leaf, owner)) {
      AddEntryPage(leaf, {.owner = owner, .is_first = true, .rows = entries.first(1)});
      entries = entries.subspan(1);
    } else {
      entries = entries.subspan(AddRun(owner, leaf, entries));
    }
  }
}

// How many of the entries, of which the first belongs to the leaf, go in at one place.
uint32_t StreamGroups::RunBefore(Owner owner, const Leaf& leaf, std::span<const Pending> entries) {
  if (entries.size() == 1) return 1;
  const PendingPage page = Entries(leaf);
  const uint32_t at = page.LowerBound(entries.front().id);
  // Ids of neighbouring leaves are compared by their keys.
  const std::string bound = tree_.UpperBound(leaf);
  uint32_t run = 1;
  while (run < entries.size()) {
    const StreamId id = entries[run].id;
    if (at < page.rows() && page.Id(at) <= id) break;
    if (!bound.empty() && EntryKey(owner, id).view() >= bound) break;
    if (!page.CanHold(entries[run])) break;
    ++run;
  }
  return run;
}

// Puts some of the entries into a leaf to which the first one belongs; returns how many, or 0 if
// the leaf had to be parted first.
uint32_t StreamGroups::AddRun(Owner owner, const Leaf& leaf, std::span<const Pending> entries) {
  const PendingPage page = Entries(leaf);
  const uint32_t rows = page.rows();
  const uint32_t at = page.LowerBound(entries.front().id);
  const bool present = at < rows && page.Id(at) == entries.front().id;
  const uint32_t capacity = page.Capacity(kMaxLeafBytes);
  std::string scratch;
  PageEdit edit;
  if (page.CanHold(entries.front())) {
    if (present) {
      page.Replace(at, entries.front(), &scratch, &edit);
      tree_.EditLeaf(leaf, &edit, 0);
      return 1;
    }
    if (rows < capacity) {
      const uint32_t run = std::min(RunBefore(owner, leaf, entries), capacity - rows);
      page.Insert(at, entries.first(run), &scratch, &edit);
      tree_.EditLeaf(leaf, &edit, 0);
      return run;
    }
    if (at == rows) {
      // Entries that come in order leave full pages behind.
      AddEntryPage(leaf, {.owner = owner, .rows = entries.first(1)});
      return 1;
    }
    SplitEntries(owner, leaf);
    return 0;
  }
  // The page's format changes, which may take more bytes by far.
  if (rows > capacity / 4) {
    SplitEntries(owner, leaf);
    return 0;
  }
  std::vector<Pending> all = page.Rows(0, rows);
  if (present) {
    all[at] = entries.front();
  } else {
    all.insert(all.begin() + at, entries.front());
  }
  scratch = PendingPage::Build({.owner = owner, .is_first = page.is_first(), .rows = all});
  edit.Add(0, static_cast<uint32_t>(page.size()), scratch);
  tree_.EditLeaf(leaf, &edit, 0);
  return 1;
}

void StreamGroups::SplitEntries(Owner owner, const Leaf& leaf) {
  const PendingPage page = Entries(leaf);
  const uint32_t middle = page.rows() / 2;
  const uint32_t moved = page.rows() - middle;
  CHECK(middle > 0);
  const std::vector<Pending> rows = page.Rows(middle, page.rows());
  PageEdit edit;
  page.Remove(middle, moved, &edit);
  tree_.EditLeaf(leaf, &edit, 0);
  AddEntryPage(leaf, {.owner = owner, .rows = rows});
}

void StreamGroups::EraseEntries(Owner owner, std::span<const Pending> entries) {
  while (!entries.empty() && HasTree()) {
    const StreamId id = entries.front().id;
    Leaf leaf;
    CHECK(LocateEntry(owner, id, &leaf));
    if (!IsOf(leaf, owner)) {
      entries = entries.subspan(1);
      continue;
    }
    const PendingPage page = Entries(leaf);
    const uint32_t rows = page.rows();
    const uint32_t at = page.LowerBound(id);
    uint32_t run = 0;
    while (run < entries.size() && at + run < rows && page.Id(at + run) == entries[run].id) ++run;
    entries = entries.subspan(std::max(run, 1u));
    if (run == 0) continue;
    PageEdit edit;
    page.Remove(at, run, &edit);
    tree_.EditLeaf(leaf, &edit, 0);
    const uint32_t left = rows - run;
    if (left == 0) {
      tree_.ReadOn(leaf);
      emptied_.emplace_back(EntryKey(owner, id).view());
    } else if (left < kSparseRows && (left & (left - 1)) == 0) {
      // Not each time: the neighbours may long be full.
      MergeEntries(owner, leaf);
    }
  }
}

void StreamGroups::MergeEntries(Owner owner, const Leaf& leaf) {
  for (const bool forward : {true, false}) {
    Leaf other;
    if (!tree_.PeekSibling(leaf, forward, &other) || !IsOf(other, owner)) continue;
    const Leaf& left = forward ? leaf : other;
    const Leaf& right = forward ? other : leaf;
    const PendingPage left_page = Entries(left);
    const PendingPage right_page = Entries(right);
    if (left_page.size() + right_page.size() > kMaxLeafBytes) continue;
    std::vector<Pending> rows = left_page.Rows(0, left_page.rows());
    const std::vector<Pending> more = right_page.Rows(0, right_page.rows());
    rows.insert(rows.end(), more.begin(), more.end());
    const std::string joined =
        PendingPage::Build({.owner = owner, .is_first = left_page.is_first(), .rows = rows});
    if (joined.size() > kMaxLeafBytes * 3 / 4) continue;
    PageEdit edit;
    edit.Add(0, static_cast<uint32_t>(left_page.size()), joined);
    tree_.EditLeaf(left, &edit, 0);
    RemoveLeaf(right);
    return;
  }
}

bool StreamGroups::IsEntryPage(const Leaf& leaf, Kind kind, uint32_t group) {
  const std::string_view bytes = tree_.Page(leaf).bytes();
  if (!PendingPage::Is(bytes)) return false;
  const Owner owner = PendingPage(bytes).owner();
  return owner.group == group && (owner.consumer == 0) == (kind == kPending);
}

// The pages of a group of this kind from a key on that are in RAM, at most as many as a slice may
// have: kEnd if these are all, kMissing if the next one is not in RAM, else kYes.
CountedTree::Moved StreamGroups::FindEntryPages(std::string_view first, Kind kind, uint32_t group,
                                                std::vector<std::string>* bounds) {
  using Moved = CountedTree::Moved;
  Leaf leaf;
  if (!HasTree()) return Moved::kEnd;
  if (!tree_.FindResidentKey(first, &leaf)) return Moved::kMissing;
  // The key may lead to the leaf before the first one.
  for (bool is_first = true;; is_first = false) {
    if (IsEntryPage(leaf, kind, group)) {
      if (bounds->size() == kSlicePages) return Moved::kYes;
      bounds->push_back(tree_.LowerBound(leaf));
    } else if (!is_first) {
      return Moved::kEnd;
    }
    if (const Moved moved = tree_.NextResident(&leaf); moved != Moved::kYes) return moved;
  }
}

void StreamGroups::DropPages(std::span<const std::string> bounds) {
  for (const std::string& bound : bounds) {
    Leaf leaf;
    CHECK(tree_.FindResidentKey(bound, &leaf) && PendingPage::Is(tree_.Page(leaf).bytes()));
    RemoveLeaf(leaf);
  }
}

// All pages of a group of this kind. They are in RAM: what isn't is somebody else's.
void StreamGroups::DropEntries(Kind kind, uint32_t group) {
  std::vector<std::string> bounds;
  CountedTree::Moved found;
  do {
    bounds.clear();
    found = FindEntryPages(Prefix(kind, group), kind, group, &bounds);
    DropPages(bounds);
  } while (found == CountedTree::Moved::kYes);
}

// As DropEntries, of one consumer.
void StreamGroups::DropOwned(Owner owner) {
  if (!HasTree()) return;
  std::vector<std::string> bounds;
  Leaf leaf;
  CHECK(tree_.FindKeyUnranked(OwnerKey(owner), &leaf));
  while (IsOf(leaf, owner)) {
    bounds.push_back(tree_.LowerBound(leaf));
    if (tree_.NextResident(&leaf) != CountedTree::Moved::kYes) break;
  }
  DropPages(bounds);
}

StreamGroups::Progress StreamGroups::DropSlice(const Group& group) {
  for (Kind kind : {kOwned, kPending}) {
    const std::string first = Prefix(kind, group.number);
    std::vector<std::string> bounds;
    const CountedTree::Moved found = FindEntryPages(first, kind, group.number, &bounds);
    DropPages(bounds);
    if (!bounds.empty()) return Progress::kMore;
    if (found == CountedTree::Moved::kEnd) continue;
    // Nothing has been changed: what comes first has to be fetched.
    Leaf leaf;
    if (tree_.FindKey(first, &leaf)) tree_.Next(&leaf);
    tree_.WantRanks(leaf.first_rank, leaf.first_rank + kSlicePages);
    return Progress::kMissing;
  }
  return Progress::kDone;
}

}  // namespace firn
