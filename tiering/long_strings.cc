// Database: strings of any length, and how they get pages (docs/decisions/0011).
#include <algorithm>
#include <string>

#include "engine/base/check.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "tiering/collection.h"
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

// The pages of a long string, for those who only read it: all that a Collection does beside would
// take longer than the reading.
class StringPages final : public PageSpace {
 public:
  StringPages(StoreImpl* store, Keyspace* keyspace, Entry* root)
      : store_(*store), keyspace_(*keyspace), root_(root->value()) {}

  bool exists() const override { return true; }
  std::string_view Root() override { return root_; }
  std::string_view Read(PageNumber page) override {
    const PageKey name(RootView(root_).value_id(), page);
    const HashedKey key{name.view(), keyspace_.pages->table.HashOf(name.view())};
    if (Entry* entry = Find(key)) return entry->value();
    store_.missing_.push_back({keyspace_.db(), name, key.hash});
    return {};
  }
  std::string_view Peek(PageNumber page) override {
    const PageKey name(RootView(root_).value_id(), page);
    Entry* entry = Find({name.view(), keyspace_.pages->table.HashOf(name.view())});
    return entry != nullptr ? entry->value() : std::string_view();
  }
  void CreateRoot(std::string_view) override { RefuseChange(); }
  void ReplaceRoot(std::string_view) override { RefuseChange(); }
  void Edit(PageNumber, const PageEdit&) override { RefuseChange(); }
  void Create(PageNumber, std::string_view) override { RefuseChange(); }
  void Drop(PageNumber) override { RefuseChange(); }
  void DeleteValue() override { RefuseChange(); }
  uint64_t NewValueId() override { RefuseChange(); }

 private:
  Entry* Find(const HashedKey& key) {
    Entry* entry = keyspace_.pages->table.Find(key);
    if (entry == nullptr || entry->kind() != Entry::Kind::kHot) return nullptr;
    entry->set_referenced(true);
    return entry;
  }

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

void Database::WriteToLongString(const HashedKey& key, uint64_t offset, std::string_view bytes) {
  Collection pages(*this, key, ValueType::kLongString, kUnseen);
  LongString(&pages).Write(offset, bytes);
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

}  // namespace firn
