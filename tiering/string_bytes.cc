// Database: single bytes of a string in pages, for commands of a pipeline that run as one.
#include <optional>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "tiering/keyspace_state.h"
#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

using Found = FoundPages::Found;

uint64_t PartOf(uint64_t offset) { return offset / LongString::kPageBytes; }
uint32_t PlaceIn(uint64_t offset) { return static_cast<uint32_t>(offset % LongString::kPageBytes); }

// A byte that is about to change, and its page.
struct Target {
  uint64_t hash = 0;  // of the page's key
  Entry* page = nullptr;
  PageNumber number = 0;
  uint32_t at = 0;
  char byte = 0;
  firn::Splice splice() const { return {at, 1, {&byte, 1}}; }
};

}  // namespace

bool Database::ReadBytes(const HashedKey& key, std::span<const uint64_t> offsets,
                         std::span<char> bytes) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Keyspace& pages = *keyspace.pages;
  const Entry* root = impl_->FindEntry(keyspace, key);
  CHECK(root != nullptr && root->type() == ValueType::kLongString);
  const std::string_view root_bytes = root->value();
  const uint64_t value_id = RootView(root_bytes).value_id();
  bool complete = true;
  for (size_t i = 0; i < offsets.size(); ++i) {
    bytes[i] = '\0';
    const uint64_t part = PartOf(offsets[i]);
    if (!LongString::HasPage(root_bytes, part)) continue;
    const PageNumber number = LongString::PageOf(part);
    const Found* found = impl_->FindPage(pages, value_id, number);
    if (found == nullptr) {
      const PageKey name(value_id, number);
      impl_->missing_.push_back({keyspace.db(), name, name.HashIn(pages.table)});
      complete = false;
      continue;
    }
    if (!found->entry->referenced()) found->entry->set_referenced(true);
    const std::string_view stored = found->entry->value();
    const uint32_t at = PlaceIn(offsets[i]);
    if (at < stored.size()) bytes[i] = stored[at];
  }
  return complete;
}

bool Database::WriteBytes(const HashedKey& key, std::span<const NewByte> bytes) {
  StoreImpl& store = *impl_;
  Keyspace& keyspace = store.KeyspaceOf(number_);
  Keyspace& pages = *keyspace.pages;
  const Entry* root = store.FindEntry(keyspace, key);
  const std::string_view root_bytes = root->value();
  const uint64_t value_id = RootView(root_bytes).value_id();
  std::vector<Target> targets;
  targets.reserve(bytes.size());
  for (const NewByte& each : bytes) {
    if (!LongString::HasPage(root_bytes, PartOf(each.offset))) return false;
    const PageNumber number = LongString::PageOf(PartOf(each.offset));
    const Found* found = store.FindPage(pages, value_id, number);
    if (found == nullptr || found->entry->Has(Entry::kPaged)) return false;
    if (PlaceIn(each.offset) >= found->entry->value().size()) return false;
    targets.push_back({found->hash, found->entry, number, PlaceIn(each.offset), each.byte});
  }
  std::optional<log::LogWriter::Appended> appended;
  if (store.LogsChanges()) {
    // A collection's effect (log_format.h).
    std::string head(1, static_cast<char>(log::EffectCode::kSplices));
    AppendFixed(&head, value_id);
    std::string parts;
    for (const Target& target : targets) {
      const PageKey name(value_id, target.number);
      if (!store.EnsureImage(pages, {name.view(), target.hash}, target.page)) return true;
      const firn::Splice splice = target.splice();
      log::AppendSplicePart(target.number, {&splice, 1}, &parts);
    }
    appended = store.Append({.kind = log::RecordKind::kEffect,
                             .type = static_cast<uint8_t>(ValueType::kLongString),
                             .keyspace = keyspace.id,
                             .key = key.bytes,
                             .payload_prefix = head,
                             .payload = parts});
    if (!appended) return true;
  }
  for (const Target& target : targets) {
    const PageKey name(value_id, target.number);
    if (store.page_watchers_.any()) {
      store.page_watchers_.BeforeChange(value_id, target.number, target.page->value());
    }
    if (store.BeginDirty(pages, target.page) && appended) {
      store.NoteDirty(pages, {name.view(), target.hash}, target.page, *appended);
    }
    const firn::Splice splice = target.splice();
    CHECK(target.page->Patch({&splice, 1}));
    store.EndTransient(target.page);
  }
  return true;
}

}  // namespace firn
