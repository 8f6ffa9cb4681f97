// Database: strings of any length, and how they get pages (docs/decisions/0011).
#include <algorithm>
#include <optional>
#include <string>

#include "engine/base/check.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "tiering/collection.h"
#include "tiering/copier.h"
#include "tiering/keyspace_state.h"
#include "tiering/reaper.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr Collection::Options kUnseen = {.touch = false, .count_hit = false};

[[noreturn]] void RefuseChange() {
  CHECK_MSG(false, "a string that is read was changed");
  __builtin_unreachable();
}

// One page of a long string.
class StringPage {
 public:
  StringPage(StoreImpl& store, Keyspace& keyspace, uint64_t value_id, PageNumber page)
      : store_(store), keyspace_(keyspace), name_(value_id, page) {
    const FoundPages::Found* found = store.FindPage(*keyspace.pages, value_id, page);
    if (found == nullptr) return;
    entry_ = found->entry;
    hash_ = found->hash;
    if (!entry_->referenced()) entry_->set_referenced(true);
  }
  // Null if it isn't in RAM.
  Entry* entry() const { return entry_; }
  HashedKey key() const {
    if (!hash_) hash_ = keyspace_.pages->table.HashOf(name_.view());
    return {name_.view(), *hash_};
  }
  void Want() const { store_.missing_.push_back({keyspace_.db(), name_, key().hash}); }

 private:
  StoreImpl& store_;
  Keyspace& keyspace_;
  const PageKey name_;
  mutable std::optional<uint64_t> hash_;  // once it has been asked for
  Entry* entry_ = nullptr;
};

// The pages of a long string, for those who only read it: all that a Collection does beside would
// take longer than the reading.
class StringPages final : public PageSpace {
 public:
  StringPages(StoreImpl* store, Keyspace* keyspace, Entry* root)
      : store_(*store), keyspace_(*keyspace), root_(root->value()) {}

  bool exists() const override { return true; }
  std::string_view Root() override { return root_; }
  std::string_view Read(PageNumber page) override {
    const StringPage found(store_, keyspace_, RootView(root_).value_id(), page);
    if (found.entry() != nullptr) return found.entry()->value();
    found.Want();
    return {};
  }
  std::string_view Peek(PageNumber page) override {
    const StringPage found(store_, keyspace_, RootView(root_).value_id(), page);
    return found.entry() != nullptr ? found.entry()->value() : std::string_view();
  }
  void CreateRoot(std::string_view) override { RefuseChange(); }
  void ReplaceRoot(std::string_view) override { RefuseChange(); }
  void Edit(PageNumber, const PageEdit&) override { RefuseChange(); }
  void Create(PageNumber, std::string_view) override { RefuseChange(); }
  void Drop(PageNumber) override { RefuseChange(); }
  void DeleteValue() override { RefuseChange(); }
  uint64_t NewValueId() override { RefuseChange(); }

 private:
  StoreImpl& store_;
  Keyspace& keyspace_;
  const std::string_view root_;
};

std::string_view Clipped(std::string_view bytes, StringRange range) {
  const uint64_t end = std::min<uint64_t>(range.end, bytes.size());
  return range.begin < end ? bytes.substr(range.begin, end - range.begin) : std::string_view();
}

}  // namespace

bool Database::IsLongString(const HashedKey& key) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  return entry != nullptr && entry->kind() == Entry::Kind::kHot &&
         entry->type() == ValueType::kLongString;
}

uint64_t Database::StringLength(const HashedKey& key) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot);
  if (entry->type() == ValueType::kLongString) return RootView(entry->value()).count();
  return entry->StringLength();
}

bool Database::WantString(const HashedKey& key, StringRange range) {
  if (!IsLongString(key)) return true;
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  StringPages pages(impl_, &keyspace, impl_->FindEntry(keyspace, key));
  return LongString(&pages).Want(range);
}

void Database::VisitString(const HashedKey& key, StringRange range, const StringVisitor& visit) {
  if (!IsLongString(key)) {
    const StringValue value = GetString(key);
    const std::string_view piece = Clipped(value.bytes(), range);
    if (!piece.empty()) visit(piece);
    return;
  }
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  StringPages pages(impl_, &keyspace, impl_->FindEntry(keyspace, key));
  LongString(&pages).ForEach(range, visit);
}

std::string Database::ReadString(const HashedKey& key, StringRange range) {
  if (!IsLongString(key)) return std::string(Clipped(GetString(key).bytes(), range));
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  StringPages pages(impl_, &keyspace, impl_->FindEntry(keyspace, key));
  std::string bytes;
  LongString(&pages).Read(range, &bytes);
  return bytes;
}

bool Database::BecomesLong(const HashedKey& key, uint64_t bytes) {
  if (IsLongString(key)) return true;
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  const bool exists = entry != nullptr && entry->kind() != Entry::Kind::kTombstone;
  const uint64_t length = exists ? StringLength(key) : 0;
  if (std::max(length, bytes) <= kLongStringBytes) return false;
  if (!exists) {
    WriteLongString(key, {}, Entry::kNoExpiry);
  } else {
    WriteLongString(key, GetString(key).bytes(), entry->expiry_ms());
  }
  return true;
}

std::optional<std::string_view> Database::ReadLong(const HashedKey& key, StringRange range) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* root = impl_->FindEntry(keyspace, key);
  CHECK(root != nullptr && root->type() == ValueType::kLongString);
  const uint64_t part = range.begin / LongString::kPageBytes;
  if (!LongString::HasPage(root->value(), part)) return std::nullopt;
  const uint64_t at = range.begin % LongString::kPageBytes;
  const StringPage page(*impl_, keyspace, RootView(root->value()).value_id(),
                        LongString::PageOf(part));
  if (page.entry() == nullptr) return std::nullopt;
  const std::string_view stored = page.entry()->value();
  const uint64_t size = range.end - range.begin;
  if (size > stored.size() || at > stored.size() - size) return std::nullopt;
  return stored.substr(at, size);
}

namespace {

// A change of one page of a long string, and of the string's length if it grows.
struct Patch {
  uint64_t value_id = 0;
  PageNumber page = 0;
  firn::Splice splice;
  bool grows = false;
  firn::Splice length;  // in the root
};

constexpr size_t kPatchHeadBytes = 96;

char* PutSpliceHead(char* to, PageNumber page, const firn::Splice& splice) {
  auto put = [&](uint64_t number) { to += StoreVarint(reinterpret_cast<uint8_t*>(to), number); };
  put(page);
  put(1);
  put(splice.offset);
  put(splice.removed);
  put(splice.inserted.size());
  return to;
}

// What comes before the patch's own bytes in its record: a collection's effect (log_format.h).
std::string_view PatchHead(const Patch& patch, char (&head)[kPatchHeadBytes]) {
  char* to = head;
  *to++ = static_cast<char>(log::EffectCode::kSplices);
  StoreFixed(to, patch.value_id);
  to += sizeof patch.value_id;
  if (patch.grows) {
    to = PutSpliceHead(to, kRootPage, patch.length);
    to = std::ranges::copy(patch.length.inserted, to).out;
  }
  to = PutSpliceHead(to, patch.page, patch.splice);
  return {head, to};
}

}  // namespace

// Of a part that has a page, without a gap before it. What a Collection does for any change would
// take several times as long.
Database::Patched Database::PatchLongString(const HashedKey& key, uint64_t offset,
                                            std::string_view bytes) {
  StoreImpl& store = *impl_;
  Keyspace& keyspace = store.KeyspaceOf(number_);
  Keyspace& pages = *keyspace.pages;
  Entry* root = store.FindEntry(keyspace, key);
  const uint64_t part = offset / LongString::kPageBytes;
  const uint64_t at = offset % LongString::kPageBytes;
  if (bytes.empty() || at + bytes.size() > LongString::kPageBytes) return Patched::kNo;
  if (!LongString::HasPage(root->value(), part)) return Patched::kNo;
  const RootView view(root->value());
  Patch patch{.value_id = view.value_id(),
              .page = LongString::PageOf(part),
              .splice = {},
              .grows = offset + bytes.size() > view.count(),
              .length = {}};
  const StringPage place(store, keyspace, patch.value_id, patch.page);
  Entry* page = place.entry();
  if (page == nullptr) {
    place.Want();
    return Patched::kMissing;
  }
  const uint64_t stored = page->value().size();
  if (at > stored) return Patched::kNo;
  const auto replaced = static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), stored - at));
  patch.splice = {static_cast<uint32_t>(at), replaced, bytes};
  char length[8];
  StoreFixed(length, offset + bytes.size());
  patch.length = {kRootCountAt, sizeof length, {length, sizeof length}};
  if (store.page_watchers_.any()) {
    store.page_watchers_.BeforeChange(patch.value_id, patch.page, page->value());
  }
  log::LogWriter::Appended appended;
  if (store.LogsChanges()) {
    if (!store.EnsureImage(pages, place.key(), page)) return Patched::kYes;
    if (patch.grows && !store.EnsureImage(keyspace, key, root)) return Patched::kYes;
    char head[kPatchHeadBytes];
    auto logged = store.Append({.kind = log::RecordKind::kEffect,
                                .type = static_cast<uint8_t>(ValueType::kLongString),
                                .keyspace = keyspace.id,
                                .key = key.bytes,
                                .payload_prefix = PatchHead(patch, head),
                                .payload = bytes});
    if (!logged) return Patched::kYes;
    appended = *logged;
  }
  // The page's name is hashed only where it is asked for.
  const uint64_t size = stored - replaced + bytes.size();
  const bool page_was_clean = store.BeginDirty(pages, page);
  if (page_was_clean && store.LogsChanges()) store.NoteDirty(pages, place.key(), page, appended);
  if (size == stored && !page->Has(Entry::kTransient)) {
    page->SpliceInPlace({&patch.splice, 1}, size);
  } else {
    store.Splice(pages, place.key(), page, {&patch.splice, 1}, size);
  }
  if (!patch.grows) return Patched::kYes;
  const bool root_was_clean = store.BeginDirty(keyspace, root);
  if (root_was_clean && store.LogsChanges()) store.NoteDirty(keyspace, key, root, appended);
  store.Splice(keyspace, key, root, {&patch.length, 1}, root->value().size());
  return Patched::kYes;
}

bool Database::WriteLong(const HashedKey& key, uint64_t offset, std::string_view bytes) {
  switch (PatchLongString(key, offset, bytes)) {
    case Patched::kYes:
      return true;
    case Patched::kMissing:
      return false;
    case Patched::kNo:
      break;
  }
  if (!WantString(key, {offset, offset + bytes.size()})) return false;
  Collection pages(*this, key, ValueType::kLongString, kUnseen);
  LongString(&pages).Write(offset, bytes);
  return true;
}

void Database::WriteToLongString(const HashedKey& key, uint64_t offset, std::string_view bytes) {
  CHECK_MSG(WriteLong(key, offset, bytes), "a page was changed that is not in RAM");
}

// The pages come first, under a note of the reaper's, as those of a copy do: a crash leaves none
// behind, and no replay has to hold all of them until it knows that the group was committed.
void Database::WriteLongString(const HashedKey& key, std::string_view bytes, int64_t expiry_ms) {
  StoreImpl& store = *impl_;
  Keyspace& keyspace = store.KeyspaceOf(number_);
  Keyspace& pages = *keyspace.pages;
  const uint64_t value_id = store.NewValueId();
  const uint64_t parts = LongString::PartsOf(bytes.size());
  store.reaper_->WriteNote(pages, value_id, LongString::PageOf(parts));
  for (uint64_t i = 0; i < parts && store.run_error_.ok(); ++i) {
    const std::string_view part = LongString::Part(bytes, i);
    if (LongString::IsZero(part)) continue;
    const PageKey name(value_id, LongString::PageOf(i));
    store.WriteValue(pages, {name.view(), pages.table.HashOf(name.view())},
                     {.type = ValueType::kPage, .bytes = part, .known_new = true});
  }
  if (!store.run_error_.ok()) {
    return store.reaper_->Reap(pages, value_id, LongString::PageOf(parts));
  }
  const std::string root = LongString::MakeRoot(bytes, value_id);
  store.BeginGroup();
  store.reaper_->EraseNote(pages, value_id);
  store.WriteValue(keyspace, key,
                   {.type = ValueType::kLongString, .bytes = root, .expiry_ms = expiry_ms});
  store.EndGroup();
}

bool Database::PrepareMix(std::span<const HashedKey> sources, const PartMixer& mixer,
                          std::shared_ptr<ValueCopy>* copy) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  StringMix mix{.sources = {}, .mixer = mixer, .size_bytes = 0, .parts = {}};
  for (const HashedKey& key : sources) {
    StringMix::Source& source = mix.sources.emplace_back();
    Entry* entry = impl_->FindEntry(keyspace, key);
    if (entry == nullptr || entry->kind() == Entry::Kind::kTombstone) continue;
    mix.size_bytes = std::max(mix.size_bytes, StringLength(key));
    if (entry->type() == ValueType::kLongString) {
      source.value_id = RootView(entry->value()).value_id();
    } else {
      source.bytes = GetString(key).bytes();
    }
  }
  if (*copy == nullptr || !impl_->copier_->UpdateMix(copy->get(), keyspace, mix)) {
    *copy = impl_->copier_->BeginMix(keyspace, std::move(mix));
  }
  return Copier::IsComplete(**copy);
}

uint64_t Database::SetMixed(const HashedKey& key, ValueCopy* copy) {
  impl_->BeginGroup();
  const std::string root = impl_->copier_->FinishMix(copy);
  impl_->WriteValue(impl_->KeyspaceOf(number_), key,
                    {.type = ValueType::kLongString, .bytes = root});
  impl_->EndGroup();
  return RootView(root).count();
}

}  // namespace firn
