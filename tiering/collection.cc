#include "tiering/collection.h"

#include "engine/base/check.h"
#include "engine/types/root_format.h"
#include "tiering/keyspace_state.h"
#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {

Collection::Collection(Database& database, const HashedKey& key, ValueType type, Options options)
    : store_(*database.impl_),
      keyspace_(store_.KeyspaceOf(database.number_)),
      key_(key),
      type_(type) {
  Database::KeyInfo info =
      database.Lookup(key, {.touch = options.touch, .count_hit = options.count_hit});
  expiry_ms_ = info.expiry_ms;
  exists_ = info.is_long ? type == ValueType::kLongString : info.type == type;
  wrong_type_ = info.exists() && !exists_;
  if (exists_) root_ = store_.FindEntry(keyspace_, key_);
}

Collection::~Collection() { Commit(); }

const HashSecret& Collection::secret() const { return store_.identity_.secret; }
int64_t Collection::now_ms() const { return store_.now_ms(); }

uint64_t Collection::NewValueId() { return store_.NewValueId(); }

std::string_view Collection::Root() {
  CHECK(exists_);
  CHECK_MSG(root_->kind() == Entry::Kind::kHot, "a collection was used that had not been planned");
  return root_->value();
}

// --- pages

const LeafHint* Collection::Hint() {
  const ElementHint* hint = store_.element_hint_;
  if (hint == nullptr || hint->shapes != store_.tree_shapes_) return nullptr;
  const RootView root(Root());
  return !root.small() && root.value_id() == hint->value_id ? &hint->leaf : nullptr;
}

Collection::Cached* Collection::Find(PageNumber page) {
  Cached& cached = cache_[page % cache_.size()];
  if (cached.entry != nullptr && cached.page == page) return &cached;
  const uint64_t value_id = RootView(Root()).value_id();
  PageKey key(value_id, page);
  const ElementHint* hint = store_.element_hint_;
  const bool hinted = hint != nullptr && hint->page == page && hint->value_id == value_id;
  uint64_t hash = hinted ? hint->hash : keyspace_.pages->table.HashOf(key.view());
  Entry* entry = hinted ? store_.HintedPage(value_id, page) : nullptr;
  if (entry == nullptr) entry = keyspace_.pages->table.Find({key.view(), hash});
  if (entry == nullptr || entry->kind() != Entry::Kind::kHot) {
    CHECK(entry == nullptr || entry->kind() == Entry::Kind::kStub);
    return nullptr;
  }
  entry->set_referenced(true);
  cached = {.page = page, .hash = hash, .entry = entry};
  return &cached;
}

std::string_view Collection::Read(PageNumber page) {
  if (Cached* cached = Find(page)) return cached->entry->value();
  PageKey key(RootView(Root()).value_id(), page);
  store_.missing_.push_back({keyspace_.db(), key, keyspace_.pages->table.HashOf(key.view())});
  return {};
}

std::string_view Collection::Peek(PageNumber page) {
  Cached* cached = Find(page);
  return cached != nullptr ? cached->entry->value() : std::string_view();
}

// --- changes

void Collection::BeginGroup() {
  if (store_.Has(PlantedBug::kPartsOfSplits)) return;
  if (std::exchange(in_group_, true)) return;
  store_.BeginGroup();
}

void Collection::CreateRoot(std::string_view bytes) {
  CHECK(!exists_);
  root_flags_ =
      store_.WriteValue(keyspace_, key_, {.type = type_, .bytes = bytes, .unlogged = true});
  root_ = store_.FindEntry(keyspace_, key_);
  exists_ = true;
  wrong_type_ = false;
  expiry_ms_ = -1;
  root_image_ = true;
  dirty_ = true;
  if (store_.LogsChanges()) root_->Set(Entry::kDirty);
}

void Collection::ReplaceRoot(std::string_view bytes) {
  firn::Splice splice{0, static_cast<uint32_t>(Root().size()), bytes};
  ChangeRoot({&splice, 1});
  root_image_ = true;
}

void Collection::ChangeRoot(std::span<const firn::Splice> splices) {
  uint64_t new_size = 0;
  CHECK(CheckSplices(splices, Root().size(), &new_size));
  // A root that is new here has its image still to come.
  if (!root_image_ && !store_.EnsureImage(keyspace_, key_, root_)) return;
  if (store_.BeginDirty(keyspace_, root_)) root_was_clean_ = true;
  root_ = store_.Splice(keyspace_, key_, root_, splices, new_size);
  dirty_ = true;
}

void Collection::Edit(PageNumber page, const PageEdit& edit) {
  if (page == kRootPage) {
    ChangeRoot(edit.splices());
    if (!root_image_) AddPart(page, edit.splices(), &root_parts_);
    return;
  }
  Cached* cached = Find(page);
  CHECK_MSG(cached != nullptr, "a page was changed that is not in RAM");
  uint64_t new_size = 0;
  CHECK(CheckSplices(edit.splices(), cached->entry->value().size(), &new_size));
  TellWatchers(page, cached->entry);
  Keyspace& pages = *keyspace_.pages;
  PageKey key(value_id(), page);
  if (!store_.EnsureImage(pages, {key.view(), cached->hash}, cached->entry)) return;
  if (store_.BeginDirty(pages, cached->entry)) touched_.push_back(page);
  cached->entry =
      store_.Splice(pages, {key.view(), cached->hash}, cached->entry, edit.splices(), new_size);
  AddPart(page, edit.splices(), &page_parts_);
  dirty_ = true;
}

void Collection::AddPart(PageNumber page, std::span<const firn::Splice> splices,
                         std::string* parts) {
  if (!store_.LogsChanges()) return;
  log::AppendSplicePart(page, splices, parts);
}

void Collection::TellWatchers(PageNumber page, const Entry* entry) {
  if (!store_.page_watchers_.any()) [[likely]]
    return;
  const std::string_view bytes = entry != nullptr ? entry->value() : std::string_view();
  store_.page_watchers_.BeforeChange(value_id(), page, bytes);
}

uint64_t Collection::value_id() { return RootView(Root()).value_id(); }

void Collection::Create(PageNumber page, std::string_view bytes) {
  BeginGroup();
  ++store_.tree_shapes_;
  PageKey key(value_id(), page);
  uint64_t hash = keyspace_.pages->table.HashOf(key.view());
  store_.WriteValue(*keyspace_.pages, {key.view(), hash},
                    {.type = ValueType::kPage, .bytes = bytes, .known_new = true});
  TellWatchers(page, nullptr);
  cache_[page % cache_.size()] = {};
  dirty_ = true;
}

void Collection::Drop(PageNumber page) {
  BeginGroup();
  ++store_.tree_shapes_;
  PageKey key(value_id(), page);
  uint64_t hash = keyspace_.pages->table.HashOf(key.view());
  if (store_.page_watchers_.any()) {
    Cached* cached = Find(page);
    TellWatchers(page, cached != nullptr ? cached->entry : nullptr);
  }
  cache_[page % cache_.size()] = {};
  CHECK(store_.DeleteKey(*keyspace_.pages, {key.view(), hash}) || !store_.run_error_.ok());
  std::erase(touched_, page);
  dirty_ = true;
}

void Collection::DeleteValue() {
  CHECK(exists_);
  // What was changed before counts first: the pages that are to be freed are those of the root.
  Commit();
  store_.DeleteKey(keyspace_, key_);
  exists_ = false;
  root_ = nullptr;
  cache_ = {};
}

void Collection::Commit() {
  if (!std::exchange(dirty_, false)) return;
  if (store_.LogsChanges() && exists_) LogChanges();
  root_parts_.clear();
  page_parts_.clear();
  touched_.clear();
  root_image_ = root_was_clean_ = false;
  root_flags_ = 0;
  if (std::exchange(in_group_, false)) store_.EndGroup();
  cache_ = {};
}

void Collection::LogChanges() {
  bool root_changed = root_image_ || !root_parts_.empty();
  // The root of a tree is small only while the tree is; its changes are smaller still.
  bool as_image =
      root_image_ || (root_changed && RootView(Root()).small() && Root().size() <= kSmallRootBytes);
  if (as_image && !page_parts_.empty()) BeginGroup();
  if (as_image) {
    uint8_t flags = root_flags_;
    if (!root_image_ && root_->Has(Entry::kHasExpiry)) flags |= log::kFlagSupersededExpiring;
    if (!store_.LogImage(keyspace_, key_, root_, flags)) return;
    root_parts_.clear();
    root_was_clean_ = false;
  }
  if (root_parts_.empty() && page_parts_.empty()) return;
  std::string head(1, static_cast<char>(log::EffectCode::kSplices));
  AppendFixed(&head, RootView(Root()).small() ? uint64_t{0} : value_id());
  head += root_parts_;
  auto appended = store_.Append({.kind = log::RecordKind::kEffect,
                                 .type = static_cast<uint8_t>(type_),
                                 .keyspace = keyspace_.id,
                                 .key = key_.bytes,
                                 .payload_prefix = head,
                                 .payload = page_parts_});
  if (!appended) return;
  if (root_was_clean_) store_.NoteDirty(keyspace_, key_, root_, *appended);
  for (PageNumber page : touched_) {
    PageKey key(value_id(), page);
    HashedKey hashed{key.view(), keyspace_.pages->table.HashOf(key.view())};
    Entry* entry = keyspace_.pages->table.Find(hashed);
    CHECK(entry != nullptr);
    store_.NoteDirty(*keyspace_.pages, hashed, entry, *appended);
  }
}

}  // namespace firn
