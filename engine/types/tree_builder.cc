#include "engine/types/tree_builder.h"

#include <span>
#include <utility>

#include "engine/base/check.h"
#include "engine/page/packed_page.h"
#include "engine/types/counted_tree_node.h"
#include "engine/types/root_format.h"

namespace firn {
namespace {

// Nodes are not filled to the brim: the value may grow later.
constexpr uint64_t kBuiltNodeBytes = kMaxNodeBytes * 3 / 4;

}  // namespace

void TreeBuilder::AddLeaf(std::string_view packed, std::string_view separator) {
  const uint32_t rows = PackedPage(packed).rows();
  CHECK(rows > 0);
  rows_ += rows;
  const PageNumber page = next_page_++;
  write_page_(page, packed);
  AddChild(0, {.page = page, .rows = rows, .separator = std::string(separator)});
}

void TreeBuilder::AddChild(size_t level, Child child) {
  if (level == levels_.size()) levels_.emplace_back();
  const uint64_t size = kChildSize + kEndSize + child.separator.size();
  if (kNodeHeader + levels_[level].bytes + size > kBuiltNodeBytes) Close(level);
  levels_[level].bytes += size;
  levels_[level].children.push_back(std::move(child));
}

void TreeBuilder::Close(size_t level) {
  std::vector<Child> children = std::exchange(levels_[level], {}).children;
  Child node = {.page = next_page_++, .separator = children.front().separator};
  for (const Child& child : children) node.rows += child.rows;
  const auto node_level = static_cast<uint8_t>(level + 1);
  write_page_(node.page, BuildTreeNode<Child>(node_level, children));
  AddChild(level + 1, std::move(node));
}

std::string TreeBuilder::Finish(const Root& root) {
  CHECK(!levels_.empty());
  for (size_t level = 0; level + 1 < levels_.size(); ++level) Close(level);
  const std::vector<Child>& children = levels_.back().children;
  const auto node_level = static_cast<uint8_t>(levels_.size());
  const std::string node = BuildTreeNode<Child>(node_level, children);
  std::string bytes{static_cast<char>(RootForm::kTree), static_cast<char>(root.flags)};
  AppendFixed(&bytes, static_cast<uint16_t>(node.size()));
  AppendFixed(&bytes, next_page_);
  AppendFixed(&bytes, root.value_id);
  AppendFixed(&bytes, rows_);
  AppendFixed(&bytes, int64_t{0});
  return bytes + node;
}

}  // namespace firn
