// The simplest data type on a CountedTree, a set of strings in order, for tests of what lies under
// all of them: pages and their store.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "engine/types/counted_tree.h"
#include "engine/types/page_space.h"

namespace firn::test {

inline std::string KeyOfRow(const PackedPage& page, uint32_t row) {
  return std::string(page.Row(row).bytes);
}

inline uint32_t LowerBound(const PackedPage& page, std::string_view text) {
  PackedPage::Cursor cursor(page, 0);
  while (cursor.valid() && cursor.row().bytes < text) cursor.Next();
  return cursor.index();
}

// All three: false if pages are missing; nothing is changed then.
inline bool InsertString(PageSpace* pages, const std::string& text) {
  if (!pages->exists()) {
    std::string root{static_cast<char>(RootForm::kSmall), 0};
    pages->CreateRoot(root + PackedPage::Empty(PackedKind::kList));
  }
  CountedTree tree(pages);
  CountedTree::Leaf leaf;
  if (!tree.FindKey(text, &leaf)) return false;
  uint32_t at = LowerBound(tree.Page(leaf), text);
  if (at < tree.Page(leaf).rows() && tree.Page(leaf).Row(at).bytes == text) return true;
  PageEdit edit;
  tree.Page(leaf).Insert(at, {.bytes = text}, &edit);
  tree.EditLeaf(leaf, &edit, 1);
  PackedPage page = tree.Page(leaf);
  if (page.size() > kMaxLeafBytes) tree.SplitLeaf(leaf, page.rows() / 2, KeyOfRow);
  return true;
}

inline bool EraseString(PageSpace* pages, const std::string& text) {
  if (!pages->exists()) return true;
  CountedTree tree(pages);
  CountedTree::Leaf leaf;
  if (!tree.FindKey(text, &leaf)) return false;
  PackedPage page = tree.Page(leaf);
  uint32_t at = LowerBound(page, text);
  if (at == page.rows() || page.Row(at).bytes != text) return true;
  if (tree.count() == 1) {
    pages->DeleteValue();
  } else if (page.rows() == 1) {
    tree.RemoveLeaf(leaf);
  } else {
    PageEdit edit;
    page.Remove(at, 1, &edit);
    tree.EditLeaf(leaf, &edit, -1);
    tree.MergeLeaf(leaf);
  }
  return true;
}

// Wants what a change of this string needs; false if some of it is missing.
inline bool WantString(PageSpace* pages, const std::string& text) {
  if (!pages->exists()) return true;
  CountedTree::Leaf leaf;
  return CountedTree(pages).FindKey(text, &leaf);
}

// visit(text) for each string, in order.
template <typename Visit>
bool VisitStrings(PageSpace* pages, Visit visit) {
  if (!pages->exists()) return true;
  CountedTree tree(pages);
  if (!tree.WantAll()) return false;
  CountedTree::Leaf leaf;
  if (!tree.FindRank(0, &leaf)) return false;
  do {
    PackedPage page = tree.Page(leaf);
    for (PackedPage::Cursor cursor(page, 0); cursor.valid(); cursor.Next()) {
      visit(cursor.row().bytes);
    }
  } while (tree.Next(&leaf) == CountedTree::Moved::kYes);
  return true;
}

inline bool ReadStrings(PageSpace* pages, std::set<std::string>* out) {
  out->clear();
  return VisitStrings(pages, [&](std::string_view text) { out->emplace(text); });
}

}  // namespace firn::test
