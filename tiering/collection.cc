#include "tiering/collection.h"

#include "engine/base/check.h"
#include "tiering/keyspace_state.h"
#include "tiering/log/splice_effect.h"
#include "tiering/read_ahead.h"
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
  if (exists_) SetRoot(store_.FindEntry(keyspace_, key_));
}

Collection::~Collection() { Commit(); }

const HashSecret& Collection::secret() const { return store_.identity_.secret; }
int64_t Collection::now_ms() const { return store_.expiry_clock_ms(); }

uint64_t Collection::NewValueId() { return store_.NewValueId(); }

void Collection::SetRoot(Entry* root) {
  root_ = root;
  const bool readable = root != nullptr && root->kind() == Entry::Kind::kHot;
  root_bytes_ = readable ? root->value() : std::string_view();
}

// --- pages

void Collection::ReadAhead(std::span<const PageNumber> pages, size_t near) {
  if (!store_.options_.tiering || pages.size() <= near) return;
  // As long as half of them are there it is too early.
  const size_t farther = near + (pages.size() - near) / 2;
  const PageKey name(value_id(), pages[farther]);
  const HashedKey key = {name.view(), name.HashIn(keyspace_.pages->table)};
  const Entry* entry = keyspace_.pages->table.Find(key);
  if (entry != nullptr && entry->kind() == Entry::Kind::kHot) return;
  store_.read_ahead_->Want(keyspace_.pages->id, value_id(), pages.subspan(near));
}

const LeafHint* Collection::FindHint(const Sought& sought) {
  const ElementHint* hint = store_.element_hint_;
  if (hint == nullptr || hint->shapes != store_.tree_shapes_) return nullptr;
  const RootView root(Root());
  if (root.small() || root.value_id() != hint->value_id) return nullptr;
  if (sought.ranked && hint->changes != store_.tree_changes_) return nullptr;
  for (const ElementHint::Place& place : hint->places) {
    if (place.leaf.IsFor(sought)) return &place.leaf;
  }
  return nullptr;
}

bool Collection::KnownHash(std::string_view element, uint64_t* hash) {
  const ElementHint* hint = store_.element_hint_;
  if (hint == nullptr || !hint->hashed || hint->query.element.data() != element.data() ||
      hint->query.element.size() != element.size()) {
    return false;
  }
  *hash = hint->places[ElementHint::kFirst].leaf.key;
  return true;
}

Entry* Collection::Find(PageNumber page) {
  const FoundPages::Found* found = store_.FindPage(*keyspace_.pages, value_id(), page);
  if (found == nullptr) return nullptr;
  Entry* entry = found->entry;
  if (!entry->referenced()) entry->set_referenced(true);
  return entry;
}

// Nothing if the page is not in RAM.
std::string_view Collection::Bytes(PageNumber page) {
  ReadPage& read = read_[page % read_.size()];
  if (read_moves_ != store_.page_moves()) {
    read_moves_ = store_.page_moves();
    read_ = {};
  } else if (read.page == page) {
    return read.bytes;
  }
  const Entry* entry = Find(page);
  if (entry == nullptr) return {};
  read = {page, entry->value()};
  return read.bytes;
}

std::string_view Collection::Read(PageNumber page) {
  const std::string_view bytes = Bytes(page);
  if (!bytes.empty()) return bytes;
  const PageKey key(value_id(), page);
  store_.missing_.push_back({keyspace_.db(), key, key.HashIn(keyspace_.pages->table)});
  return {};
}

std::string_view Collection::Peek(PageNumber page) { return Bytes(page); }

// --- changes

void Collection::BeginGroup() {
  if (store_.Has(PlantedBug::kPartsOfSplits)) return;
  if (std::exchange(in_group_, true)) return;
  store_.BeginGroup();
}

void Collection::CreateRoot(std::string_view bytes) {
  CHECK(!exists_);
  read_ = {};
  root_flags_ =
      store_.WriteValue(keyspace_, key_, {.type = type_, .bytes = bytes, .unlogged = true});
  SetRoot(store_.FindEntry(keyspace_, key_));
  exists_ = true;
  wrong_type_ = false;
  expiry_ms_ = -1;
  root_image_ = true;
  dirty_ = true;
  if (store_.LogsChanges()) root_->Set(Entry::kDirty);
}

void Collection::ReplaceRoot(std::string_view bytes) {
  PageEdit edit;
  edit.Add(0, static_cast<uint32_t>(Root().size()), bytes);
  ChangeRoot(edit);
  read_ = {};
  root_image_ = true;
}

void Collection::ChangeRoot(const PageEdit& edit) {
  // A root that is new here has its image still to come.
  if (!root_image_ && !store_.EnsureImage(keyspace_, key_, root_)) return;
  if (store_.BeginDirty(keyspace_, root_)) root_was_clean_ = true;
  dirty_ = true;
  if (edit.keeps_size() && root_->Patch(edit.splices())) return store_.EndTransient(root_);
  uint64_t new_size = 0;
  CHECK(CheckSplices(edit.splices(), Root().size(), &new_size));
  SetRoot(store_.Splice(keyspace_, key_, root_, edit.splices(), new_size));
}

void Collection::Edit(PageNumber page, const PageEdit& edit) {
  ++store_.tree_changes_;
  if (page == kRootPage) {
    ChangeRoot(edit);
    if (!root_image_) AddPart(page, edit.splices(), &root_parts_);
    return;
  }
  Keyspace& pages = *keyspace_.pages;
  const FoundPages::Found* found = store_.FindPage(pages, value_id(), page);
  CHECK_MSG(found != nullptr, "a page was changed that is not in RAM");
  const PageKey name(value_id(), page);
  const HashedKey key = {name.view(), found->hash};
  Entry* entry = found->entry;
  TellWatchers(page, entry);
  if (!store_.EnsureImage(pages, key, entry)) return;
  if (store_.BeginDirty(pages, entry) && store_.LogsChanges()) touched_.push_back(page);
  if (edit.keeps_size() && entry->Patch(edit.splices())) {
    store_.EndTransient(entry);
  } else {
    uint64_t new_size = 0;
    CHECK(CheckSplices(edit.splices(), entry->value().size(), &new_size));
    store_.Splice(pages, key, entry, edit.splices(), new_size);
    read_[page % read_.size()] = {};
  }
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

void Collection::Create(PageNumber page, std::string_view bytes) {
  BeginGroup();
  ++store_.tree_shapes_;
  PageKey key(value_id(), page);
  uint64_t hash = keyspace_.pages->table.HashOf(key.view());
  store_.WriteValue(*keyspace_.pages, {key.view(), hash},
                    {.type = ValueType::kPage, .bytes = bytes, .known_new = true});
  TellWatchers(page, nullptr);
  dirty_ = true;
}

void Collection::Drop(PageNumber page) {
  BeginGroup();
  ++store_.tree_shapes_;
  PageKey key(value_id(), page);
  uint64_t hash = keyspace_.pages->table.HashOf(key.view());
  if (store_.page_watchers_.any()) {
    TellWatchers(page, Find(page));
  }
  CHECK(store_.DeleteKey(*keyspace_.pages, {key.view(), hash}) || !store_.run_error_.ok());
  std::erase(touched_, page);
  dirty_ = true;
}

void Collection::DeleteValue() {
  CHECK(exists_);
  // What was changed before counts first: the pages that are to be freed are those of the root. A
  // crash in between must not leave what no command made.
  const bool changed = dirty_;
  if (changed) store_.BeginGroup();
  Commit();
  store_.DeleteKey(keyspace_, key_);
  if (changed) store_.EndGroup();
  read_ = {};
  exists_ = false;
  SetRoot(nullptr);
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
