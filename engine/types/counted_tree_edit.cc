// CountedTree's changes, and what makes, copies and frees whole trees.

#include <algorithm>
#include <vector>

#include "engine/base/check.h"
#include "engine/types/counted_tree_node.h"

namespace firn {
namespace {

// Leaves below this are joined with a neighbour if both together stay below the second figure.
constexpr uint64_t kSparseLeafBytes = kMaxLeafBytes / 4;
constexpr uint64_t kJoinedLeafBytes = kMaxLeafBytes * 3 / 4;

}  // namespace

std::string CountedTree::BuildNode(uint8_t level, std::span<const ChildSpec> children) {
  return BuildTreeNode(level, children);
}

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
  AddLeafAt(leaf, leaf.path[leaf.depth - 1].child + 1, packed, separator);
}

void CountedTree::AddLeafBefore(const Leaf& leaf, std::string_view packed,
                                std::string_view separator) {
  CHECK(leaf.depth > 0);
  AddLeafAt(leaf, leaf.path[leaf.depth - 1].child, packed, separator);
}

void CountedTree::AddLeafAt(const Leaf& leaf, uint32_t child, std::string_view packed,
                            std::string_view separator) {
  PageNumber page = TakePageNumber();
  space_.Create(page, packed);
  int level = leaf.depth - 1;
  uint32_t rows = PackedPage(packed).rows();
  AdjustCounts(leaf, level, rows);
  InsertChild(leaf, level, child, {page, rows, separator});
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
