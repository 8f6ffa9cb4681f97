// Hints to the processor about the page of an element (collection.h).
#include <algorithm>

#include "engine/types/counted_tree.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "engine/types/zset_key.h"
#include "tiering/collection.h"
#include "tiering/keyspace_state.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

using Place = ElementHint::Place;

constexpr uint32_t kLineBytes = 64;
// The columns of tagged rows, which are searched first, are some lines behind the beginning.
constexpr uint32_t kColumnLines = 7;

void FetchBytes(const char* from, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(from + at);
  __builtin_prefetch(from + bytes - 1);
}

void FetchTwoLines(const Entry* entry) {
  __builtin_prefetch(entry);
  __builtin_prefetch(reinterpret_cast<const char*>(entry) + kLineBytes);
}

// What has a place is found in steps, each with what the one before asked memory for.
class Finder {
 public:
  Finder(StoreImpl& store, const Keyspace& pages) : store_(store), pages_(pages) {}

  // The leaf of `key` in a tree whose top node is `top`; `place` stays empty if it can't be found.
  void FindLeaf(uint64_t value_id, std::string_view top, std::string_view key, Place* place) {
    LeafHint& leaf = place->leaf;
    std::string_view node = top;
    uint64_t rank = 0;
    CountedTree::Bounds bounds;
    for (PageNumber above = kRootPage; leaf.depth < LeafHint::kMaxDepth;) {
      const CountedTree::Child child = CountedTree::ChildFor(node, key, &bounds);
      if (leaf.ranked) rank += CountedTree::RowsBefore(node, child.number);
      leaf.path[leaf.depth++] = {above, child.number};
      if (child.is_leaf) {
        leaf.page = child.page;
        leaf.first_rank = rank;
        place->share = static_cast<float>(bounds.ShareOf(leaf.key));
        place->page = child.page;
        return store_.PrefetchFound(value_id, child.page);
      }
      const FoundPages::Found* below = store_.FindPage(pages_, value_id, child.page);
      if (below == nullptr) break;
      above = child.page;
      node = below->entry->value();
    }
    leaf.depth = 0;
  }

  bool FindKnown(uint64_t value_id, Place* place) {
    const FoundPages::Found* found = store_.LastFound(pages_, value_id, place->page);
    place->entry = found != nullptr ? found->entry : nullptr;
    return found != nullptr;
  }

  // Asks for the page's entry, or for what leads to it.
  void Expect(uint64_t value_id, Place* place) {
    if (place->page == 0) return;
    if (FindKnown(value_id, place)) [[likely]]
      return FetchTwoLines(place->entry);
    place->hash = PageKey(value_id, place->page).HashIn(pages_.table);
    pages_.table.Prefetch(place->hash);
  }

  // A place in a string, likewise; if the entry is known that is all.
  void ExpectByte(ElementHint* hint) {
    Place& place = hint->places[ElementHint::kFirst];
    hint->asked = FindKnown(hint->value_id, &place);
    if (hint->asked) [[likely]]
      return place.entry->PrefetchPageByte(hint->offset);
    Expect(hint->value_id, &place);
  }

  void FetchEntry(const Place& place) {
    if (place.page != 0 && place.entry == nullptr) [[unlikely]]
      pages_.table.PrefetchEntry(place.hash);
  }

  // The entry, null if it is not in RAM.
  const Entry* EntryOf(uint64_t value_id, Place* place) {
    if (place->page == 0 || place->entry != nullptr) return place->entry;
    const FoundPages::Found* found = store_.SearchPage(pages_, value_id, place->page, place->hash);
    if (found == nullptr) {
      place->page = place->leaf.depth = 0;
    } else {
      place->entry = found->entry;
    }
    return place->entry;
  }

 private:
  StoreImpl& store_;
  const Keyspace& pages_;
};

// Asks for what a leaf is searched by.
void FetchColumns(const Entry* entry, float share) {
  const PackedPage page(entry->value());
  switch (page.kind()) {
    case PackedKind::kZsetIndex:
    case PackedKind::kZset:
      return page.PrefetchSorted(share);
    default:
      // The first two lines have come with the entry.
      FetchBytes(reinterpret_cast<const char*>(entry) + 2 * kLineBytes,
                 (kColumnLines - 2) * kLineBytes);
  }
}

// Asks for a small page without tags, which is searched by the bytes of its rows; of one with long
// rows for as much as it takes to find out their lengths.
void FetchUntagged(const PackedPage& page) {
  constexpr uint64_t kMostBytes = 10 * kLineBytes;
  const std::string_view bytes = page.bytes();
  FetchBytes(bytes.data(), static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), kMostBytes)));
}

// Asks for the first bytes of the row that is likely to be the one.
void FetchTagged(const PackedPage& page, uint64_t hash) {
  const char* bytes = page.FirstTagged(static_cast<uint8_t>(hash));
  if (bytes == nullptr) return;
  __builtin_prefetch(bytes);
  __builtin_prefetch(bytes + kLineBytes);
}

void FetchScored(const Place& place, double score) {
  const PackedPage page(place.entry->value());
  const char* bytes = page.BytesFrom(page.LowerBoundScore(score));
  if (bytes != nullptr) __builtin_prefetch(bytes);
}

// The element's score in the index; null if it isn't there.
const char* FindScore(const Place& index) {
  const PackedPage page(index.entry->value());
  const uint32_t row = page.LowerBoundHash(index.leaf.key);
  if (row == page.rows() || page.Hash(row) != index.leaf.key) return nullptr;
  return page.IndexedScoreAt(row);
}

// In the order of the elements: the leaf of the hint's element with this score.
void FindScoredLeaf(Finder* finder, double score, ElementHint* hint, Place* place) {
  const ElementKey key(score, hint->query.element);
  const std::string_view bytes = key.view();
  place->leaf.key = LoadBig64(bytes.data());
  place->leaf.rest = hint->query.element.substr(0, bytes.size() - sizeof place->leaf.key);
  place->leaf.tree = 0;
  place->leaf.ranked = hint->query.ranked;
  finder->FindLeaf(hint->value_id, RootView(hint->root->value()).node(0), bytes, place);
}

// A sorted set's element is found by the score in the index.
void FetchByScores(Finder* finder, std::span<ElementHint* const> hints) {
  for (ElementHint* hint : hints) {
    const Place& index = hint->places[ElementHint::kFirst];
    hint->score = hint->in_zset && index.entry != nullptr ? FindScore(index) : nullptr;
    if (hint->score != nullptr) __builtin_prefetch(hint->score);
  }
  for (ElementHint* hint : hints) {
    if (hint->score == nullptr) continue;
    FindScoredLeaf(finder, LoadFixed<double>(hint->score), hint, &hint->places[ElementHint::kOwn]);
  }
  for (ElementHint* hint : hints) finder->Expect(hint->value_id, &hint->places[ElementHint::kOwn]);
  for (ElementHint* hint : hints) finder->FetchEntry(hint->places[ElementHint::kOwn]);
  for (ElementHint* hint : hints) {
    Place& own = hint->places[ElementHint::kOwn];
    const Entry* entry = finder->EntryOf(hint->value_id, &own);
    if (entry != nullptr) FetchColumns(entry, own.share);
  }
  for (ElementHint* hint : hints) {
    const Place& own = hint->places[ElementHint::kOwn];
    if (own.entry != nullptr) FetchScored(own, LoadFixed<double>(hint->score));
    const Place& target = hint->places[ElementHint::kTarget];
    if (target.entry != nullptr) FetchScored(target, hint->query.score);
  }
}

}  // namespace

void Collection::Locate(const Database& database, const HashedKey& key, const ElementQuery& query,
                        ElementHint* hint) {
  StoreImpl& store = *database.impl_;
  Keyspace& keyspace = store.KeyspaceOf(database.number_);
  const Entry* entry = store.FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return;
  const ValueType type = entry->type();
  if (type != ValueType::kHash && type != ValueType::kSet && type != ValueType::kZset) return;
  const RootView root(entry->value());
  Place& place = hint->places[ElementHint::kFirst];
  if (root.small()) {
    const PackedPage page(root.packed());
    if (type == ValueType::kZset || page.kind() == PackedKind::kHashFew) {
      return FetchUntagged(page);
    }
    hint->query.element = query.element;
    hint->in_string = false;
    hint->value_id = 0;
    place.leaf.key = SipHash13(store.identity_.secret, query.element);
    hint->hashed = true;
    return FetchTagged(page, place.leaf.key);
  }
  hint->value_id = root.value_id();
  hint->shapes = store.tree_shapes_;
  hint->changes = store.tree_changes_;
  hint->query = query;
  hint->root = entry;
  hint->in_string = hint->asked = false;
  hint->in_zset = type == ValueType::kZset;
  place.leaf.key = SipHash13(store.identity_.secret, query.element);
  hint->hashed = true;
  place.leaf.rest = {};
  place.leaf.tree = hint->in_zset ? 1 : 0;
  place.leaf.ranked = false;
  char element_key[8];
  StoreBig64(element_key, place.leaf.key);
  Finder finder(store, *keyspace.pages);
  finder.FindLeaf(hint->value_id, root.node(place.leaf.tree), {element_key, sizeof element_key},
                  &place);
  if (place.page == 0 || !hint->in_zset || !query.scored) return;
  FindScoredLeaf(&finder, query.score, hint, &hint->places[ElementHint::kTarget]);
}

void Collection::LocateByte(const Database& database, const HashedKey& key, uint64_t offset,
                            ElementHint* hint) {
  Keyspace& keyspace = database.impl_->KeyspaceOf(database.number_);
  const Entry* entry = database.impl_->FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return;
  if (entry->type() != ValueType::kLongString) return;
  const uint64_t part = offset / LongString::kPageBytes;
  if (!LongString::HasPage(entry->value(), part)) return;
  hint->value_id = RootView(entry->value()).value_id();
  hint->in_string = true;
  hint->in_zset = false;
  hint->offset = static_cast<uint32_t>(offset % LongString::kPageBytes);
  Place& place = hint->places[ElementHint::kFirst];
  place.page = LongString::PageOf(part);
  database.impl_->PrefetchFound(hint->value_id, place.page);
}

void Collection::FetchEnd(const Database& database, const HashedKey& key, End end) {
  Keyspace& keyspace = database.impl_->KeyspaceOf(database.number_);
  const Entry* entry = database.impl_->FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return;
  if (entry->type() != ValueType::kList || entry->Has(Entry::kPaged)) return;
  const std::string_view value = entry->value();
  if (!RootView(value).small()) return;
  // The lengths of the elements, and those at the head; what is pushed comes before all that.
  __builtin_prefetch(value.data());
  __builtin_prefetch(value.data() + kLineBytes);
  if (end == End::kHead) {
    __builtin_prefetch(value.data() - kLineBytes);
  } else {
    __builtin_prefetch(value.data() + value.size() - kLineBytes);
    __builtin_prefetch(value.data() + value.size());
  }
}

void Collection::FetchAhead(const Database& database, std::span<ElementHint* const> hints) {
  const Keyspace& keyspace = database.impl_->KeyspaceOf(database.number_);
  Finder finder(*database.impl_, *keyspace.pages);
  bool by_scores = false;
  for (ElementHint* hint : hints) {
    if (hint->in_string) {
      finder.ExpectByte(hint);
      continue;
    }
    finder.Expect(hint->value_id, &hint->places[ElementHint::kFirst]);
    finder.Expect(hint->value_id, &hint->places[ElementHint::kTarget]);
  }
  for (ElementHint* hint : hints) {
    if (hint->asked) continue;
    finder.FetchEntry(hint->places[ElementHint::kFirst]);
    finder.FetchEntry(hint->places[ElementHint::kTarget]);
    by_scores |= hint->in_zset;
  }
  for (ElementHint* hint : hints) {
    if (hint->asked) continue;
    for (ElementHint::Which which : {ElementHint::kFirst, ElementHint::kTarget}) {
      Place& place = hint->places[which];
      const Entry* entry = finder.EntryOf(hint->value_id, &place);
      if (entry == nullptr) continue;
      if (hint->in_string) {
        __builtin_prefetch(entry->value().data() + hint->offset);
      } else {
        FetchColumns(entry, place.share);
      }
    }
  }
  if (by_scores) FetchByScores(&finder, hints);
  for (ElementHint* hint : hints) {
    const Place& place = hint->places[ElementHint::kFirst];
    const bool tagged = !hint->in_string && !hint->in_zset;
    if (tagged && place.entry != nullptr) {
      FetchTagged(PackedPage(place.entry->value()), place.leaf.key);
    }
  }
}

}  // namespace firn
