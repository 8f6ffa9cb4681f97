// Hints to the processor about the page of an element (collection.h).
#include "engine/types/counted_tree.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "tiering/collection.h"
#include "tiering/keyspace_state.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// The columns of a leaf, which are searched first, are some lines behind its entry's beginning.
constexpr size_t kLineBytes = 64;
constexpr size_t kColumnLines = 7;
// Where a table of so few pages lies is in the processor's caches: there is nothing to wait for.
constexpr uint64_t kFewPages = 1 << 14;

void NotePage(const FoundPages::Found* found, ElementHint* hint) {
  if (found == nullptr) return;
  hint->entry = found->entry;
  if (hint->in_string) __builtin_prefetch(found->entry->value().data() + hint->offset);
}

}  // namespace

ElementHint Collection::Locate(const Database& database, const HashedKey& key,
                               std::string_view element) {
  StoreImpl& store = *database.impl_;
  Keyspace& keyspace = store.KeyspaceOf(database.number_);
  const Entry* entry = store.FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return {};
  const ValueType type = entry->type();
  if (type != ValueType::kHash && type != ValueType::kSet && type != ValueType::kZset) return {};
  const RootView root(entry->value());
  if (root.small()) return {};
  ElementHint hint = {
      .value_id = root.value_id(), .element = element, .shapes = store.tree_shapes_};
  hint.leaf.key = SipHash13(store.identity_.secret, element);
  hint.leaf.tree = type == ValueType::kZset ? 1 : 0;
  char element_key[8];
  StoreBig64(element_key, hint.leaf.key);
  const Keyspace& pages = *keyspace.pages;
  CountedTree::Leaf& leaf = hint.leaf.leaf;
  std::string_view node = root.node(hint.leaf.tree);
  for (PageNumber above = kRootPage; leaf.depth < CountedTree::kMaxDepth;) {
    CountedTree::Child child = CountedTree::ChildFor(node, {element_key, sizeof element_key});
    leaf.path[leaf.depth++] = {above, child.number};
    if (child.is_leaf) {
      hint.hash = PageKey(root.value_id(), child.page).HashIn(pages.table);
      pages.table.Prefetch(hint.hash);
      hint.page = leaf.page = child.page;
      return hint;
    }
    const FoundPages::Found* below = store.FindPage(pages, root.value_id(), child.page);
    if (below == nullptr) return {};
    above = child.page;
    node = below->entry->value();
  }
  return {};
}

ElementHint Collection::LocateByte(const Database& database, const HashedKey& key,
                                   uint64_t offset) {
  Keyspace& keyspace = database.impl_->KeyspaceOf(database.number_);
  const Entry* entry = database.impl_->FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return {};
  if (entry->type() != ValueType::kLongString) return {};
  const uint64_t part = offset / LongString::kPageBytes;
  if (!LongString::HasPage(entry->value(), part)) return {};
  const uint64_t value_id = RootView(entry->value()).value_id();
  const PageNumber page = LongString::PageOf(part);
  const Table& pages = keyspace.pages->table;
  const uint64_t hash = PageKey(value_id, page).HashIn(pages);
  ElementHint hint = {.value_id = value_id, .page = page, .hash = hash};
  hint.in_string = true;
  hint.offset = static_cast<uint32_t>(offset % LongString::kPageBytes);
  if (pages.size() > kFewPages) {
    pages.Prefetch(hash);
  } else {
    NotePage(database.impl_->SearchPage(*keyspace.pages, value_id, page, hash), &hint);
  }
  return hint;
}

void Collection::FetchEntry(const Database& database, const ElementHint& hint) {
  if (hint.entry != nullptr) return;
  const Keyspace& keyspace = database.impl_->KeyspaceOf(database.number_);
  keyspace.pages->table.PrefetchEntry(hint.hash);
}

void Collection::FetchRows(const Database& database, ElementHint* hint) {
  if (hint->entry != nullptr) return;
  const Keyspace& keyspace = database.impl_->KeyspaceOf(database.number_);
  const FoundPages::Found* found =
      database.impl_->SearchPage(*keyspace.pages, hint->value_id, hint->page, hint->hash);
  NotePage(found, hint);
  if (hint->entry == nullptr || hint->in_string) return;
  // The first two lines have come with the entry.
  for (size_t i = 2; i < kColumnLines; ++i) {
    __builtin_prefetch(reinterpret_cast<const char*>(hint->entry) + i * kLineBytes);
  }
}

void Collection::FetchElement(const ElementHint& hint) {
  // A sorted set's index has no tags, and a string no elements.
  if (hint.entry == nullptr || hint.leaf.tree != 0 || hint.in_string) return;
  const PackedPage page(hint.entry->value());
  const char* bytes = page.FirstTagged(static_cast<uint8_t>(hint.leaf.key));
  if (bytes == nullptr) return;
  __builtin_prefetch(bytes);
  __builtin_prefetch(bytes + kLineBytes);
}

}  // namespace firn
