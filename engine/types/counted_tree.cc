#include "engine/types/counted_tree.h"

#include <algorithm>
#include <vector>

#include "engine/base/check.h"

namespace firn {
namespace {

constexpr char kNodeKind = 16;
constexpr uint32_t kNodeHeader = 4;
constexpr uint32_t kChildSize = 8;
constexpr uint32_t kEndSize = 2;
// Leaves below this are joined with a neighbour if both together stay below the second figure.
constexpr uint64_t kSparseLeafBytes = kMaxLeafBytes / 4;
constexpr uint64_t kJoinedLeafBytes = kMaxLeafBytes * 3 / 4;

struct ChildSpec {
  PageNumber page = 0;
  uint32_t rows = 0;
  std::string_view separator;
};

std::string BuildNode(uint8_t level, std::span<const ChildSpec> children) {
  std::string node{kNodeKind, static_cast<char>(level)};
  AppendFixed(&node, static_cast<uint16_t>(children.size()));
  for (const ChildSpec& child : children) {
    AppendFixed(&node, child.page);
    AppendFixed(&node, child.rows);
  }
  uint16_t end = 0;
  for (const ChildSpec& child : children) {
    end = static_cast<uint16_t>(end + child.separator.size());
    AppendFixed(&node, end);
  }
  for (const ChildSpec& child : children) node += child.separator;
  return node;
}

// The first eight bytes as a number that compares as they do; zeros stand for missing ones, so
// equal numbers decide nothing. Bytes up to `limit` may be read.
[[gnu::always_inline]] inline uint64_t PrefixOf(std::string_view bytes, const char* limit) {
  if (limit - bytes.data() >= 8) {
    uint64_t prefix = LoadBig64(bytes.data());
    if (bytes.size() >= 8) return prefix;
    return bytes.empty() ? 0 : prefix >> (64 - 8 * bytes.size()) << (64 - 8 * bytes.size());
  }
  char padded[8] = {};
  bytes.copy(padded, sizeof padded);
  return LoadBig64(padded);
}

}  // namespace

// A view of an inner node's bytes.
class CountedTree::Node {
 public:
  explicit Node(std::string_view bytes) : bytes_(bytes) {}
  uint8_t level() const { return static_cast<uint8_t>(bytes_[1]); }
  uint32_t children() const { return LoadFixed<uint16_t>(bytes_.data() + 2); }
  uint32_t child_offset(uint32_t i) const { return kNodeHeader + kChildSize * i; }
  PageNumber page(uint32_t i) const { return LoadFixed<uint32_t>(bytes_.data() + child_offset(i)); }
  uint32_t rows(uint32_t i) const {
    return LoadFixed<uint32_t>(bytes_.data() + child_offset(i) + 4);
  }
  uint32_t ends_offset() const { return kNodeHeader + kChildSize * children(); }
  uint32_t separators_offset() const { return ends_offset() + kEndSize * children(); }
  uint32_t end(uint32_t i) const {
    return LoadFixed<uint16_t>(bytes_.data() + ends_offset() + kEndSize * i);
  }
  uint32_t begin(uint32_t i) const { return i == 0 ? 0 : end(i - 1); }
  std::string_view separator(uint32_t i) const {
    return bytes_.substr(separators_offset() + begin(i), end(i) - begin(i));
  }
  uint64_t total() const {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < children(); ++i) sum += rows(i);
    return sum;
  }
  // The last child whose separator is not greater; the first of all for what is less than any.
  uint32_t Find(std::string_view key) const {
    const uint64_t prefix = PrefixOf(key, key.data() + key.size());
    const char* ends = bytes_.data() + ends_offset();
    const char* separators = bytes_.data() + separators_offset();
    const char* limit = bytes_.data() + bytes_.size();
    uint32_t low = 0;
    uint32_t high = children() - 1;
    while (low < high) {
      uint32_t middle = (low + high + 1) / 2;
      uint32_t from = LoadFixed<uint16_t>(ends + kEndSize * (middle - 1));
      uint32_t to = LoadFixed<uint16_t>(ends + kEndSize * middle);
      std::string_view separator(separators + from, to - from);
      uint64_t other = PrefixOf(separator, limit);
      bool greater = other != prefix ? other > prefix : IsGreater(separator, key);
      high = greater ? middle - 1 : high;
      low = greater ? low : middle;
    }
    return low;
  }
  std::vector<ChildSpec> Children(uint32_t first, uint32_t last) const {
    std::vector<ChildSpec> specs;
    for (uint32_t i = first; i < last; ++i) specs.push_back({page(i), rows(i), separator(i)});
    return specs;
  }
  uint64_t size() const { return bytes_.size(); }

 private:
  // Of keys with equal prefixes, as those of streams mostly are.
  static bool IsGreater(std::string_view separator, std::string_view key) {
    if (separator.size() >= 16 && key.size() >= 16) {
      const uint64_t a = LoadBig64(separator.data() + 8);
      const uint64_t b = LoadBig64(key.data() + 8);
      if (a != b) return a > b;
    }
    return separator > key;
  }
  std::string_view bytes_;
};

bool CountedTree::ValidateNode(std::string_view bytes) {
  if (bytes.size() < kNodeHeader || bytes[0] != kNodeKind || bytes[1] == 0) return false;
  Node node(bytes);
  if (node.children() == 0 || node.separators_offset() > bytes.size()) return false;
  uint32_t end = 0;
  for (uint32_t i = 0; i < node.children(); ++i) {
    if (node.end(i) < end) return false;
    end = node.end(i);
  }
  return node.separators_offset() + end == bytes.size();
}

std::string CountedTree::Separator(std::string_view less, std::string_view greater) {
  size_t common = 0;
  while (common < less.size() && common < greater.size() && less[common] == greater[common]) {
    ++common;
  }
  return std::string(greater.substr(0, std::min(common + 1, kMaxSeparatorBytes)));
}

// --- reading

std::string_view CountedTree::NodeBytes(PageNumber page) {
  return page == kRootPage ? RootView(space_.Root()).node(tree_) : space_.Read(page);
}

std::string_view CountedTree::PeekNode(PageNumber page) {
  return page == kRootPage ? RootView(space_.Root()).node(tree_) : space_.Peek(page);
}

uint64_t CountedTree::count() {
  RootView root(space_.Root());
  if (root.small()) return PackedPage(root.packed()).rows();
  return tree_ == 0 ? root.count() : Node(root.node(tree_)).total();
}

PackedPage CountedTree::Page(const Leaf& leaf) {
  if (leaf.depth == 0) return PackedPage(RootView(space_.Root()).packed());
  std::string_view bytes = space_.Read(leaf.page);
  CHECK_MSG(!bytes.empty(), "a leaf in use has left RAM");
  return PackedPage(bytes);
}

bool CountedTree::Descend(PageNumber leaf_page, Leaf* leaf) {
  leaf->page = leaf_page;
  return !space_.Read(leaf_page).empty();
}

template <bool kWant, bool kRank>
bool CountedTree::LocateKey(std::string_view key, Leaf* leaf) {
  *leaf = {};
  if (RootView(space_.Root()).small()) return true;
  PageNumber page = kRootPage;
  for (;;) {
    std::string_view bytes = kWant ? NodeBytes(page) : PeekNode(page);
    if (bytes.empty()) return false;
    Node node(bytes);
    uint32_t child = node.Find(key);
    for (uint32_t i = 0; kRank && i < child; ++i) leaf->first_rank += node.rows(i);
    CHECK(leaf->depth < kMaxDepth);
    leaf->path[leaf->depth++] = {page, child};
    page = node.page(child);
    if (node.level() > 1) continue;
    leaf->page = page;
    return !(kWant ? space_.Read(page) : space_.Peek(page)).empty();
  }
}

CountedTree::Child CountedTree::ChildFor(std::string_view bytes, std::string_view key) {
  Node node(bytes);
  return {.page = node.page(node.Find(key)), .is_leaf = node.level() == 1};
}

bool CountedTree::FindKey(std::string_view key, Leaf* leaf) {
  return LocateKey<true, true>(key, leaf);
}

bool CountedTree::FindKeyUnranked(std::string_view key, Leaf* leaf) {
  return LocateKey<true, false>(key, leaf);
}

bool CountedTree::FindResidentKey(std::string_view key, Leaf* leaf) {
  return LocateKey<false, false>(key, leaf);
}

bool CountedTree::FindRank(uint64_t rank, Leaf* leaf) {
  *leaf = {};
  if (RootView(space_.Root()).small()) return true;
  PageNumber page = kRootPage;
  for (;;) {
    std::string_view bytes = NodeBytes(page);
    if (bytes.empty()) return false;
    Node node(bytes);
    uint32_t child = 0;
    while (child + 1 < node.children() && leaf->first_rank + node.rows(child) <= rank) {
      leaf->first_rank += node.rows(child++);
    }
    CHECK(leaf->depth < kMaxDepth);
    leaf->path[leaf->depth++] = {page, child};
    page = node.page(child);
    if (node.level() == 1) return Descend(page, leaf);
  }
}

template <bool kLast>
bool CountedTree::FindOutermost(Leaf* leaf) {
  *leaf = {};
  if (RootView(space_.Root()).small()) return true;
  PageNumber page = kRootPage;
  for (;;) {
    std::string_view bytes = NodeBytes(page);
    if (bytes.empty()) return false;
    Node node(bytes);
    uint32_t child = kLast ? node.children() - 1 : 0;
    CHECK(leaf->depth < kMaxDepth);
    leaf->path[leaf->depth++] = {page, child};
    page = node.page(child);
    if (node.level() > 1) continue;
    if (!Descend(page, leaf)) return false;
    if (kLast) leaf->first_rank = count() - Page(*leaf).rows();
    return true;
  }
}

bool CountedTree::FindFirst(Leaf* leaf) { return FindOutermost<false>(leaf); }
bool CountedTree::FindLast(Leaf* leaf) { return FindOutermost<true>(leaf); }

uint32_t CountedTree::LeavesBelowTop() {
  RootView root(space_.Root());
  if (root.small()) return 1;
  Node top(root.node(tree_));
  return top.level() == 1 ? top.children() : UINT32_MAX;
}

bool CountedTree::PeekBelowTop(uint32_t i, PackedPage* page) {
  RootView root(space_.Root());
  std::string_view bytes =
      root.small() ? root.packed() : space_.Peek(Node(root.node(tree_)).page(i));
  if (bytes.empty()) return false;
  *page = PackedPage(bytes);
  return true;
}

template <bool kForward, bool kWant>
CountedTree::Moved CountedTree::Step1(Leaf* leaf) {
  int level = leaf->depth - 1;
  for (; level >= 0; --level) {
    Node node(NodeBytes(leaf->path[level].page));
    uint32_t child = leaf->path[level].child;
    if (kForward ? child + 1 < node.children() : child > 0) break;
  }
  if (level < 0) return Moved::kEnd;
  Leaf moved = *leaf;
  uint32_t passed = Page(*leaf).rows();
  Node top(NodeBytes(moved.path[level].page));
  moved.path[level].child += kForward ? 1 : -1;
  moved.depth = level + 1;
  PageNumber page = top.page(moved.path[level].child);
  for (int above = top.level(); above > 1; --above) {
    std::string_view bytes = kWant ? NodeBytes(page) : PeekNode(page);
    if (bytes.empty()) return Moved::kMissing;
    Node node(bytes);
    uint32_t child = kForward ? 0 : node.children() - 1;
    moved.path[moved.depth++] = {page, child};
    page = node.page(child);
  }
  moved.page = page;
  if ((kWant ? space_.Read(page) : space_.Peek(page)).empty()) return Moved::kMissing;
  if (kForward) {
    moved.first_rank += passed;
  } else {
    moved.first_rank -= Page(moved).rows();
  }
  *leaf = moved;
  return Moved::kYes;
}

CountedTree::Moved CountedTree::Next(Leaf* leaf) { return Step1<true>(leaf); }
CountedTree::Moved CountedTree::Previous(Leaf* leaf) { return Step1<false>(leaf); }
CountedTree::Moved CountedTree::NextResident(Leaf* leaf) { return Step1<true, false>(leaf); }

std::string CountedTree::LowerBound(const Leaf& leaf) {
  if (leaf.depth == 0) return {};
  const Step& step = leaf.path[leaf.depth - 1];
  return std::string(Node(NodeBytes(step.page)).separator(step.child));
}

std::string CountedTree::UpperBound(const Leaf& leaf) {
  for (int level = leaf.depth - 1; level >= 0; --level) {
    Node node(NodeBytes(leaf.path[level].page));
    uint32_t next = leaf.path[level].child + 1;
    if (next < node.children()) return std::string(node.separator(next));
  }
  return {};
}

bool CountedTree::SeparatorsBelow(PageNumber page,
                                  const std::function<void(std::string_view)>& visit) {
  std::string_view bytes = NodeBytes(page);
  if (bytes.empty()) return false;
  Node node(bytes);
  bool all = true;
  for (uint32_t i = 0; i < node.children(); ++i) {
    if (node.level() > 1) {
      all &= SeparatorsBelow(node.page(i), visit);
    } else if (!node.separator(i).empty()) {
      visit(node.separator(i));
    }
  }
  return all;
}

bool CountedTree::ForEachSeparator(const std::function<void(std::string_view)>& visit) {
  return RootView(space_.Root()).small() || SeparatorsBelow(kRootPage, visit);
}

bool CountedTree::WantBelow(PageNumber page, uint64_t first, uint64_t last, uint32_t* limit) {
  std::string_view bytes = NodeBytes(page);
  if (bytes.empty()) {
    --*limit;
    return false;
  }
  Node node(bytes);
  uint64_t rank = 0;
  bool all = true;
  for (uint32_t i = 0; i < node.children() && rank <= last && *limit > 0; ++i) {
    uint64_t end = rank + node.rows(i);
    // What has no rows is a part of the value too.
    if (end > first || (end == rank && rank >= first)) {
      if (node.level() > 1) {
        all &= WantBelow(node.page(i), first > rank ? first - rank : 0, last - rank, limit);
      } else if (space_.Read(node.page(i)).empty()) {
        --*limit;
        all = false;
      }
    }
    rank = end;
  }
  return all;
}

bool CountedTree::WantRanks(uint64_t first, uint64_t last, uint32_t limit) {
  if (RootView(space_.Root()).small()) return true;
  return WantBelow(kRootPage, first, last, &limit);
}

// --- changes

void CountedTree::EditNode(PageNumber page, std::span<const Splice> splices, int64_t total_change) {
  PageEdit edit;
  uint32_t base = 0;
  if (page == kRootPage) {
    RootView root(space_.Root());
    base = root.node_offset(tree_);
    int64_t size_change = 0;
    for (const Splice& splice : splices) {
      size_change += static_cast<int64_t>(splice.inserted.size()) - splice.removed;
    }
    if (tree_ == 0 && size_change != 0) {
      auto size = static_cast<int64_t>(root.node(0).size()) + size_change;
      edit.Overwrite(kRootNodeSizeAt, static_cast<uint16_t>(size));
    }
    if (tree_ == 0 && total_change != 0) {
      edit.Overwrite(kRootCountAt, root.count() + static_cast<uint64_t>(total_change));
    }
  }
  for (const Splice& splice : splices) {
    edit.Add(splice.offset + base, splice.removed, splice.inserted);
  }
  if (!edit.empty()) space_.Edit(page, edit);
}

// Adds `change` to the counts of the first `levels` nodes of the way, and to the total.
void CountedTree::AdjustCounts(const Leaf& leaf, int levels, int64_t change) {
  if (change == 0) return;
  if (levels == 0 && tree_ == 0) EditNode(kRootPage, {}, change);
  for (int level = levels - 1; level >= 0; --level) {
    const Step& step = leaf.path[level];
    Node node(NodeBytes(step.page));
    uint32_t offset = node.child_offset(step.child) + 4;
    PageEdit edit;
    if (step.page == kRootPage) {
      RootView root(space_.Root());
      offset += root.node_offset(tree_);
      if (tree_ == 0) edit.Overwrite(kRootCountAt, root.count() + static_cast<uint64_t>(change));
    }
    edit.Overwrite(offset, static_cast<uint32_t>(node.rows(step.child) + change));
    space_.Edit(step.page, edit);
  }
}

void CountedTree::EditLeaf(const Leaf& leaf, PageEdit* edit, int64_t rows_change) {
  if (leaf.depth == 0) {
    edit->Shift(kSmallRootHeader);
    space_.Edit(kRootPage, *edit);
    return;
  }
  space_.Edit(leaf.page, *edit);
  AdjustCounts(leaf, leaf.depth, rows_change);
}

PageNumber CountedTree::TakePageNumber() {
  uint32_t next = RootView(space_.Root()).next_page();
  CHECK_MSG(next != UINT32_MAX, "a collection has used up its page numbers");
  PageEdit edit;
  edit.Overwrite(kRootNextPageAt, next + 1);
  space_.Edit(kRootPage, edit);
  return next;
}

void CountedTree::AddLeafAfter(const Leaf& leaf, std::string_view packed,
                               std::string_view separator) {
  CHECK(leaf.depth > 0);
  PageNumber page = TakePageNumber();
  space_.Create(page, packed);
  int level = leaf.depth - 1;
  uint32_t rows = PackedPage(packed).rows();
  AdjustCounts(leaf, level, rows);
  InsertChild(leaf, level, leaf.path[level].child + 1, {page, rows, separator});
}

void CountedTree::AddLeafBefore(const Leaf& leaf, std::string_view packed,
                                std::string_view separator) {
  CHECK(leaf.depth > 0);
  PageNumber page = TakePageNumber();
  space_.Create(page, packed);
  int level = leaf.depth - 1;
  uint32_t rows = PackedPage(packed).rows();
  AdjustCounts(leaf, level, rows);
  InsertChild(leaf, level, leaf.path[level].child, {page, rows, separator});
}

uint32_t CountedTree::ChooseSplit(const PackedPage& page, uint32_t middle, KeyOf key_of,
                                  std::string* separator) {
  uint32_t rows = page.rows();
  for (uint32_t distance = 0; distance < rows; ++distance) {
    for (int side : {1, -1}) {
      int64_t at = int64_t{middle} + side * int64_t{distance};
      if (at <= 0 || at >= rows) continue;
      auto row = static_cast<uint32_t>(at);
      if (key_of == nullptr) return row;
      std::string before = key_of(page, row - 1);
      *separator = Separator(before, key_of(page, row));
      if (*separator > before) return row;
    }
  }
  return 0;
}

bool CountedTree::SplitLeaf(const Leaf& leaf, uint32_t middle, KeyOf key_of) {
  PackedPage page = Page(leaf);
  std::string separator;
  uint32_t at = ChooseSplit(page, middle, key_of, &separator);
  if (at == 0) return false;
  uint32_t moved = page.rows() - at;
  PackedBuilder right(page.kind());
  right.AddRows(page, at, moved);
  std::string packed = right.Finish();
  if (leaf.depth == 0) {
    PackedBuilder left(page.kind());
    left.AddRows(page, 0, at);
    NewLeaf leaves[] = {{left.Finish(), {}}, {packed, separator}};
    Grow(&space_, leaves);
    return true;
  }
  PageEdit edit;
  page.Remove(at, moved, &edit);
  EditLeaf(leaf, &edit, -static_cast<int64_t>(moved));
  AddLeafAfter(leaf, packed, separator);
  return true;
}

// Into the node at `level` of the way; the counts above it are right already.
void CountedTree::InsertChild(const Leaf& leaf, int level, uint32_t at, const NewChild& child) {
  PageNumber page = leaf.path[level].page;
  Node node(NodeBytes(page));
  char count[2];
  StoreFixed(count, static_cast<uint16_t>(node.children() + 1));
  char entry[kChildSize];
  StoreFixed(entry, child.page);
  StoreFixed(entry + 4, static_cast<uint32_t>(child.rows));
  std::string ends;
  uint32_t begin = at == 0 ? 0 : node.end(at - 1);
  AppendFixed(&ends, static_cast<uint16_t>(begin + child.separator.size()));
  for (uint32_t i = at; i < node.children(); ++i) {
    AppendFixed(&ends, static_cast<uint16_t>(node.end(i) + child.separator.size()));
  }
  // Ends behind the new one only change if it has a length.
  uint32_t replaced = child.separator.empty() ? 0 : kEndSize * (node.children() - at);
  std::string_view inserted_ends(ends.data(), kEndSize + replaced);
  std::vector<Splice> splices = {
      {2, 2, {count, sizeof count}},
      {node.child_offset(at), 0, {entry, sizeof entry}},
      {node.ends_offset() + kEndSize * at, replaced, inserted_ends},
  };
  if (!child.separator.empty()) {
    splices.push_back({node.separators_offset() + begin, 0, child.separator});
  }
  EditNode(page, splices, 0);
  SplitNode(leaf, level);
}

void CountedTree::SplitNode(const Leaf& leaf, int level) {
  PageNumber page = leaf.path[level].page;
  Node node(NodeBytes(page));
  if (node.size() <= kMaxNodeBytes || node.children() < 4) return;
  if (level == 0) {
    SplitRoot();
    return;
  }
  uint32_t middle = node.children() / 2;
  uint32_t children = node.children();
  std::string right = BuildNode(node.level(), node.Children(middle, children));
  std::string separator(node.separator(middle));
  uint64_t moved = Node(right).total();
  char count[2];
  StoreFixed(count, static_cast<uint16_t>(middle));
  uint32_t kept_end = node.begin(middle);
  Splice splices[] = {
      {2, 2, {count, sizeof count}},
      {node.child_offset(middle), kChildSize * (children - middle), {}},
      {node.ends_offset() + kEndSize * middle, kEndSize * (children - middle), {}},
      {node.separators_offset() + kept_end, node.end(children - 1) - kept_end, {}},
  };
  EditNode(page, splices, 0);
  PageNumber right_page = TakePageNumber();
  space_.Create(right_page, right);

  const Step& above = leaf.path[level - 1];
  Node parent(NodeBytes(above.page));
  char rows[4];
  StoreFixed(rows, static_cast<uint32_t>(parent.rows(above.child) - moved));
  Splice fewer{parent.child_offset(above.child) + 4, 4, {rows, sizeof rows}};
  EditNode(above.page, {&fewer, 1}, 0);
  InsertChild(leaf, level - 1, above.child + 1, {right_page, moved, separator});
}

// The root's node moves down into two pages; the tree is one level higher.
void CountedTree::SplitRoot() {
  std::string bytes(NodeBytes(kRootPage));
  Node node(bytes);
  uint32_t middle = node.children() / 2;
  std::string halves[] = {BuildNode(node.level(), node.Children(0, middle)),
                          BuildNode(node.level(), node.Children(middle, node.children()))};
  ChildSpec children[2];
  for (int i = 0; i < 2; ++i) {
    PageNumber page = TakePageNumber();
    space_.Create(page, halves[i]);
    children[i] = {page, static_cast<uint32_t>(Node(halves[i]).total()), {}};
  }
  children[1].separator = node.separator(middle);
  std::string top = BuildNode(static_cast<uint8_t>(node.level() + 1), children);
  Splice splice{0, static_cast<uint32_t>(bytes.size()), top};
  EditNode(kRootPage, {&splice, 1}, 0);
}

// A root with a single inner node below takes that node's place.
void CountedTree::PullUpRoot() {
  for (;;) {
    Node root(NodeBytes(kRootPage));
    if (root.children() > 1 || root.level() == 1) return;
    PageNumber page = root.page(0);
    std::string below(space_.Peek(page));
    if (below.empty()) return;
    Splice splice{0, static_cast<uint32_t>(root.size()), below};
    EditNode(kRootPage, {&splice, 1}, 0);
    space_.Drop(page);
  }
}

void CountedTree::RemoveChild(const Leaf& leaf, int level) {
  const Step& step = leaf.path[level];
  Node node(NodeBytes(step.page));
  if (node.children() == 1) {
    CHECK_MSG(level > 0, "the last leaf of a tree can't be removed");
    RemoveChild(leaf, level - 1);
    space_.Drop(step.page);
    return;
  }
  uint32_t at = step.child;
  char count[2];
  StoreFixed(count, static_cast<uint16_t>(node.children() - 1));
  uint32_t size = node.end(at) - node.begin(at);
  std::string ends;
  for (uint32_t i = at + 1; i < node.children(); ++i) {
    AppendFixed(&ends, static_cast<uint16_t>(node.end(i) - size));
  }
  uint32_t removed = static_cast<uint32_t>(ends.size()) + kEndSize;
  std::vector<Splice> splices = {
      {2, 2, {count, sizeof count}},
      {node.child_offset(at), kChildSize, {}},
      {node.ends_offset() + kEndSize * at, removed, ends},
  };
  if (size > 0) splices.push_back({node.separators_offset() + node.begin(at), size, {}});
  EditNode(step.page, splices, 0);
}

void CountedTree::RemoveLeaf(const Leaf& leaf) {
  CHECK(leaf.depth > 0);
  AdjustCounts(leaf, leaf.depth, -static_cast<int64_t>(Page(leaf).rows()));
  RemoveChild(leaf, leaf.depth - 1);
  space_.Drop(leaf.page);
  PullUpRoot();
}

bool CountedTree::PeekSibling(const Leaf& leaf, bool forward, Leaf* sibling) {
  if (leaf.depth == 0) return false;
  const int level = leaf.depth - 1;
  Node node(NodeBytes(leaf.path[level].page));
  const uint32_t child = leaf.path[level].child;
  if (forward ? child + 1 >= node.children() : child == 0) return false;
  *sibling = leaf;
  sibling->path[level].child += forward ? 1 : -1;
  sibling->page = node.page(sibling->path[level].child);
  return !space_.Peek(sibling->page).empty();
}

void CountedTree::MergeLeaf(const Leaf& leaf) {
  if (leaf.depth == 0) return;
  PackedPage page = Page(leaf);
  if (page.size() >= kSparseLeafBytes) return;
  int level = leaf.depth - 1;
  const Step& step = leaf.path[level];
  Node node(NodeBytes(step.page));
  for (bool forward : {true, false}) {
    if (forward ? step.child + 1 >= node.children() : step.child == 0) continue;
    Leaf other = leaf;
    other.path[level].child += forward ? 1 : -1;
    other.page = node.page(other.path[level].child);
    std::string_view bytes = space_.Peek(other.page);
    if (bytes.empty() || bytes.size() + page.size() > kJoinedLeafBytes) continue;
    // Some leaves of a stream are no packed pages (stream_groups.h).
    if (static_cast<uint8_t>(bytes[0]) > static_cast<uint8_t>(PackedKind::kZsetIndex)) continue;
    const Leaf& left = forward ? leaf : other;
    const Leaf& right = forward ? other : leaf;
    PackedPage left_page = Page(left);
    PackedPage right_page = Page(right);
    bool same_kind = left_page.kind() == right_page.kind();
    PackedBuilder joined(same_kind ? left_page.kind() : PackedKind::kHashTtl);
    joined.AddRows(left_page, 0, left_page.rows());
    joined.AddRows(right_page, 0, right_page.rows());
    std::string packed = joined.Finish();
    PageEdit edit;
    edit.Add(0, static_cast<uint32_t>(left_page.size()), packed);
    EditLeaf(left, &edit, right_page.rows());
    RemoveLeaf(right);
    return;
  }
}

bool CountedTree::WantValue(PageSpace* space) {
  if (RootView(space->Root()).small()) return true;
  bool all = CountedTree(space, 0).WantAll();
  if (!RootView(space->Root()).node(1).empty()) all &= CountedTree(space, 1).WantAll();
  return all;
}

void CountedTree::CopyBelow(std::string_view node_bytes, PageSpace* from, PageSpace* to) {
  // What is created may move what is read: the node is kept.
  std::string kept(node_bytes);
  Node node(kept);
  for (uint32_t i = 0; i < node.children(); ++i) {
    std::string bytes(from->Read(node.page(i)));
    to->Create(node.page(i), bytes);
    if (node.level() > 1) CopyBelow(bytes, from, to);
  }
}

void CountedTree::CopyValue(PageSpace* from, PageSpace* to) {
  std::string root(from->Root());
  if (!RootView(root).small()) {
    // Page numbers stay; they count within a value.
    StoreFixed(root.data() + kRootValueIdAt, to->NewValueId());
  }
  to->CreateRoot(root);
  RootView view(root);
  if (view.small()) return;
  for (int tree : {0, 1}) {
    if (!view.node(tree).empty()) CopyBelow(view.node(tree), from, to);
  }
}

void CountedTree::Grow(PageSpace* space, std::span<const NewLeaf> a, std::span<const NewLeaf> b) {
  RootView old(space->Root());
  CHECK(old.small() && !a.empty());
  uint8_t flags = old.flags();
  uint64_t value_id = space->NewValueId();
  PageNumber next = kRootPage + 1;
  uint64_t count = 0;
  auto build = [&](std::span<const NewLeaf> leaves) {
    std::vector<ChildSpec> children;
    for (const NewLeaf& leaf : leaves) {
      children.push_back({next++, PackedPage(leaf.packed).rows(), leaf.separator});
    }
    return children.empty() ? std::string() : BuildNode(1, children);
  };
  std::string node_a = build(a);
  for (const NewLeaf& leaf : a) count += PackedPage(leaf.packed).rows();
  std::string node_b = build(b);
  std::string root{static_cast<char>(RootForm::kTree), static_cast<char>(flags)};
  AppendFixed(&root, static_cast<uint16_t>(node_a.size()));
  AppendFixed(&root, next);
  AppendFixed(&root, value_id);
  AppendFixed(&root, count);
  AppendFixed(&root, int64_t{0});
  root += node_a;
  root += node_b;
  space->ReplaceRoot(root);
  PageNumber page = kRootPage + 1;
  for (const NewLeaf& leaf : a) space->Create(page++, leaf.packed);
  for (const NewLeaf& leaf : b) space->Create(page++, leaf.packed);
}

void CountedTree::CreateTree(PageSpace* space, const TreeSeed& seed) {
  CHECK(seed.block.size() == kRootBlockSize);
  ChildSpec child{kRootPage + 1, PackedPage(seed.leaf.packed).rows(), seed.leaf.separator};
  std::string node = BuildNode(1, {&child, 1});
  std::string root{static_cast<char>(RootForm::kTreeWithBlock), 0};
  AppendFixed(&root, static_cast<uint16_t>(node.size()));
  AppendFixed(&root, PageNumber{kRootPage + 2});
  AppendFixed(&root, space->NewValueId());
  AppendFixed(&root, uint64_t{child.rows});
  AppendFixed(&root, seed.word);
  root += seed.block;
  root += node;
  space->CreateRoot(root);
  space->Create(kRootPage + 1, seed.leaf.packed);
}

void CountedTree::Plant(std::string_view packed) {
  CHECK(tree_ == 1 && NodeBytes(kRootPage).empty());
  PageNumber page = TakePageNumber();
  ChildSpec child{page, PackedPage(packed).rows(), {}};
  std::string node = BuildNode(1, {&child, 1});
  PageEdit edit;
  edit.Add(static_cast<uint32_t>(space_.Root().size()), 0, node);
  space_.Edit(kRootPage, edit);
  space_.Create(page, packed);
}

}  // namespace firn
