#include "engine/types/counted_tree.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/types/counted_tree_node.h"

namespace firn {

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
  if (const LeafHint* hint = space_.FindHint({.tree = tree_, .key = key, .ranked = kRank})) {
    leaf->page = hint->page;
    leaf->first_rank = hint->first_rank;
    leaf->depth = hint->depth;
    std::copy_n(hint->path.begin(), LeafHint::kMaxDepth, leaf->path.begin());
    return !(kWant ? space_.Read(leaf->page) : space_.Peek(leaf->page)).empty();
  }
  *leaf = {};
  if (RootView(space_.Root()).small()) return true;
  PageNumber page = kRootPage;
  Bounds bounds;
  for (;;) {
    std::string_view bytes = kWant ? NodeBytes(page) : PeekNode(page);
    if (bytes.empty()) return false;
    Node node(bytes);
    uint32_t child = node.Find(key, &bounds);
    if (kRank) leaf->first_rank += node.RowsBefore(child);
    CHECK(leaf->depth < kMaxDepth);
    leaf->path[leaf->depth++] = {page, child};
    page = node.page(child);
    if (node.level() > 1) continue;
    leaf->page = page;
    return !(kWant ? space_.Read(page) : space_.Peek(page)).empty();
  }
}

CountedTree::Child CountedTree::ChildFor(std::string_view bytes, std::string_view key,
                                         Bounds* bounds) {
  Node node(bytes);
  const uint32_t child = node.Find(key, bounds);
  return {.page = node.page(child), .number = child, .is_leaf = node.level() == 1};
}

uint64_t CountedTree::RowsBefore(std::string_view node, uint32_t child) {
  return Node(node).RowsBefore(child);
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

void CountedTree::ReadAhead(const Leaf& leaf, uint64_t rows) {
  if (leaf.depth == 0) return;
  const Step& step = leaf.path[leaf.depth - 1];
  const Node node(NodeBytes(step.page));
  const bool forward = step.child == 0;
  if (!forward && step.child + 1 != node.children()) return;
  const uint64_t rows_of_leaf = std::max<uint64_t>(node.total() / node.children(), 1);
  ReadBeside(step, forward, rows / rows_of_leaf);
}

void CountedTree::ReadOn(const Leaf& leaf) {
  if (leaf.depth > 0) ReadBeside(leaf.path[leaf.depth - 1], true, 0);
}

// The leaves on one side, of which the nearest will be taken at once, as far as they are under the
// same node.
void CountedTree::ReadBeside(const Step& step, bool forward, uint64_t at_once) {
  constexpr uint32_t kFewest = 16;
  constexpr uint32_t kMost = 128;
  const Node node(NodeBytes(step.page));
  const auto near = static_cast<uint32_t>(std::min<uint64_t>(at_once, kMost / 2));
  const uint32_t ahead = near + std::max(near, kFewest);
  const uint32_t there = forward ? node.children() - 1 - step.child : step.child;
  const uint32_t count = std::min(ahead, there);
  std::array<PageNumber, kMost> pages;
  for (uint32_t i = 0; i < count; ++i) {
    pages[i] = node.page(forward ? step.child + 1 + i : step.child - 1 - i);
  }
  space_.ReadAhead({pages.data(), count}, near);
}

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

}  // namespace firn
