// Database: what commands do to the keys of one numbered database. Every call finds its key
// resident, as planned.

#include <algorithm>
#include <charconv>

#include "engine/base/check.h"
#include "engine/types/counted_tree.h"
#include "engine/types/hash_value.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "tiering/collection.h"
#include "tiering/copier.h"
#include "tiering/fetcher.h"
#include "tiering/log/splice_effect.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// Longer strings change by effects in the log; short ones are logged whole, so that counters and
// the like needn't be imaged again before the log can be cut.
bool UsesEffects(const Entry& entry) {
  return entry.kind() == Entry::Kind::kHot && !entry.Has(Entry::kInteger) &&
         (entry.Has(Entry::kPaged) || entry.value().size() > kSmallRootBytes);
}

// Of a small hash whose fields have all expired, too, if it is in RAM.
bool HasExpired(const Entry& entry, int64_t now_ms) {
  if (entry.Has(Entry::kHasExpiry) && entry.expiry_ms() <= now_ms) return true;
  return entry.type() == ValueType::kHash && entry.kind() == Entry::Kind::kHot &&
         AllFieldsExpired(entry.value(), now_ms);
}

}  // namespace

Database::KeyInfo Database::Lookup(const HashedKey& key, LookupOptions options) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* entry = impl_->FindEntry(keyspace, key);
  if (entry == nullptr) {
    bool planned = !keyspace.IsMapped(key.hash) || !keyspace.cold.MayContain(key.hash) ||
                   impl_->fetcher_->KnownAbsent(keyspace.id, key.hash);
    CHECK_MSG(planned, "a key was looked up that had not been planned");
  }
  if (entry != nullptr && HasExpired(*entry, impl_->expiry_clock_ms())) {
    if (!impl_->keep_expired_) impl_->Expire(keyspace, key);
    entry = nullptr;
  }
  if (entry == nullptr || entry->kind() == Entry::Kind::kTombstone) {
    if (options.count_hit) ++impl_->stats_.keyspace_misses;
    return {};
  }
  if (options.count_hit) {
    ++impl_->stats_.keyspace_hits;
    if (!entry->Has(Entry::kTransient)) ++impl_->stats_.hot.hits;
  }
  if (options.touch) {
    entry->set_access(
        impl_->access_clock_.OnAccess(entry->access(), impl_->now_ms(), &impl_->random_));
    entry->set_referenced(true);
  }
  return {.type = TypeForCommands(entry->type()),
          .expiry_ms = entry->expiry_ms(),
          .is_long = entry->type() == ValueType::kLongString};
}

StringValue Database::GetString(const HashedKey& key) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot);
  CHECK_MSG(entry->type() == ValueType::kString, "a string in pages was read as a whole");
  StringValue value;
  if (entry->Has(Entry::kInteger)) {
    value.is_integer_ = true;
    value.integer_ = entry->integer();
    auto [end, error] =
        std::to_chars(value.digits_, value.digits_ + sizeof value.digits_, value.integer_);
    value.size_ = static_cast<uint8_t>(end - value.digits_);
  } else {
    value.view_ = entry->value();
    if (entry->Has(Entry::kPaged)) value.page_ = entry->page();
  }
  return value;
}

namespace {

// The expiry that a write leaves on its key; false if the key is to vanish at once.
bool ResolveExpiry(StoreImpl* store, Keyspace& keyspace, const HashedKey& key,
                   const Database::SetOptions& options, int64_t* expiry_ms) {
  *expiry_ms = Entry::kNoExpiry;
  switch (options.expiry) {
    case Database::ExpiryChange::kRemove:
      return true;
    case Database::ExpiryChange::kKeep: {
      Entry* entry = store->FindEntry(keyspace, key);
      if (entry != nullptr && entry->kind() != Entry::Kind::kTombstone) {
        *expiry_ms = entry->expiry_ms();
      }
      return true;
    }
    case Database::ExpiryChange::kSet:
      *expiry_ms = options.expiry_ms;
      return options.expiry_ms > store->expiry_clock_ms();
  }
  return true;
}

}  // namespace

void Database::SetString(const HashedKey& key, std::string_view value, SetOptions options) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  int64_t expiry_ms;
  bool lives = ResolveExpiry(impl_, keyspace, key, options, &expiry_ms);
  if (value.size() > kLongStringBytes) {
    if (lives) return WriteLongString(key, value, expiry_ms);
    value = {};
  }
  impl_->WriteValue(keyspace, key, {.bytes = value, .raw = options.raw, .expiry_ms = expiry_ms});
  if (!lives) impl_->DeleteKey(keyspace, key);
}

void Database::SetInteger(const HashedKey& key, int64_t value, SetOptions options) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  int64_t expiry_ms;
  bool lives = ResolveExpiry(impl_, keyspace, key, options, &expiry_ms);
  impl_->WriteValue(keyspace, key, {.is_integer = true, .integer = value, .expiry_ms = expiry_ms});
  if (!lives) impl_->DeleteKey(keyspace, key);
}

uint64_t Database::AppendString(const HashedKey& key, std::string_view bytes) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* entry = impl_->FindEntry(keyspace, key);
  if (entry == nullptr || entry->kind() == Entry::Kind::kTombstone) {
    SetString(key, bytes, {});
    return bytes.size();
  }
  CHECK(entry->kind() == Entry::Kind::kHot);
  const uint64_t length = StringLength(key);
  if (BecomesLong(key, length + bytes.size())) {
    WriteToLongString(key, length, bytes);
    return length + bytes.size();
  }
  if (UsesEffects(*entry)) {
    const uint64_t old_size = entry->value().size();
    uint64_t size = old_size + bytes.size();
    if (!entry->Has(Entry::kPaged)) {
      const Splice splices[] = {{static_cast<uint32_t>(old_size), 0, bytes}};
      SpliceString(key, splices);
      return size;
    }
    impl_->ApplyEffect(keyspace, key, entry, log::EffectCode::kAppend, entry->value().size(),
                       bytes);
    return size;
  }
  std::string grown(GetString(key).bytes());
  grown.append(bytes);
  impl_->WriteValue(keyspace, key, {.bytes = grown, .raw = true, .expiry_ms = entry->expiry_ms()});
  return grown.size();
}

uint64_t Database::SetRange(const HashedKey& key, uint64_t offset, std::string_view bytes) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* entry = impl_->FindEntry(keyspace, key);
  bool exists = entry != nullptr && entry->kind() != Entry::Kind::kTombstone;
  // A string that comes into being comes with its bytes.
  const bool is_born_long = !exists && offset + bytes.size() > kLongStringBytes;
  if (is_born_long) impl_->BeginGroup();
  const bool is_long = BecomesLong(key, offset + bytes.size());
  if (is_long) WriteToLongString(key, offset, bytes);
  if (is_born_long) impl_->EndGroup();
  if (is_long) return StringLength(key);
  if (exists && UsesEffects(*entry)) {
    const uint64_t old_size = entry->value().size();
    uint64_t size = std::max<uint64_t>(old_size, offset + bytes.size());
    if (offset + bytes.size() <= old_size && !entry->Has(Entry::kPaged)) {
      const Splice splices[] = {
          {static_cast<uint32_t>(offset), static_cast<uint32_t>(bytes.size()), bytes}};
      SpliceString(key, splices);
      return size;
    }
    if (entry->Has(Entry::kPaged)) {
      impl_->ApplyEffect(keyspace, key, entry, log::EffectCode::kSetRange, offset, bytes);
      return size;
    }
  }
  std::string changed;
  int64_t expiry_ms = Entry::kNoExpiry;
  if (exists) {
    changed = GetString(key).bytes();
    expiry_ms = entry->expiry_ms();
  }
  if (changed.size() < offset + bytes.size()) changed.resize(offset + bytes.size());
  std::memcpy(changed.data() + offset, bytes.data(), bytes.size());
  impl_->WriteValue(keyspace, key, {.bytes = changed, .raw = true, .expiry_ms = expiry_ms});
  return changed.size();
}

void Database::SpliceString(const HashedKey& key, std::span<const Splice> splices) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* entry = impl_->FindEntry(keyspace, key);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot && !entry->Has(Entry::kInteger));
  const std::string_view old = entry->value();
  uint64_t new_size = 0;
  CHECK(CheckSplices(splices, old.size(), &new_size));
  if (!UsesEffects(*entry)) {
    std::string changed(new_size, '\0');
    CopySpliced(splices, old, changed.data());
    impl_->WriteValue(keyspace, key,
                      {.bytes = changed, .raw = true, .expiry_ms = entry->expiry_ms()});
    return;
  }
  if (impl_->LogsChanges()) {
    if (!impl_->EnsureImage(keyspace, key, entry)) return;
    // The layout of a collection's effect whose root alone has changed.
    std::string head(1, static_cast<char>(log::EffectCode::kSplices));
    AppendFixed(&head, uint64_t{0});
    std::string parts;
    log::AppendSplicePart(0, splices, &parts);
    auto appended = impl_->Append({.kind = log::RecordKind::kEffect,
                                   .type = log::kDiskString,
                                   .keyspace = keyspace.id,
                                   .key = key.bytes,
                                   .payload_prefix = head,
                                   .payload = parts});
    if (!appended) return;
    if (impl_->BeginDirty(keyspace, entry)) impl_->NoteDirty(keyspace, key, entry, *appended);
  } else {
    impl_->BeginDirty(keyspace, entry);
  }
  impl_->Splice(keyspace, key, entry, splices, new_size)->Set(Entry::kRaw);
}

bool Database::Delete(const HashedKey& key) {
  return impl_->DeleteKey(impl_->KeyspaceOf(number_), key);
}

void Database::SetExpiry(const HashedKey& key, int64_t expiry_ms) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* entry = impl_->FindEntry(keyspace, key);
  CHECK(entry != nullptr && entry->kind() != Entry::Kind::kTombstone);
  if (expiry_ms == entry->expiry_ms()) return;
  impl_->SetExpiry(keyspace, key, entry, expiry_ms);
}

bool Database::WantAllPages(const HashedKey& key) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  if (entry == nullptr || !HasRoot(entry->type())) return true;
  if (entry->type() == ValueType::kLongString) return WantString(key, {});
  Collection pages(*this, key, entry->type(), {.touch = false, .count_hit = false});
  return !pages.exists() || CountedTree::WantValue(&pages);
}

bool Database::PrepareCopy(const HashedKey& from, Database& target,
                           std::shared_ptr<ValueCopy>* copy) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Keyspace& target_keyspace = impl_->KeyspaceOf(target.number_);
  Entry* entry = impl_->FindEntry(keyspace, from);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot);
  if (!HasRoot(entry->type()) || !Copier::IsBig(entry->value())) {
    copy->reset();
    return true;
  }
  if (*copy == nullptr ||
      !impl_->copier_->IsCopyOf(**copy, keyspace, entry->value(), target_keyspace)) {
    *copy = impl_->copier_->Begin(keyspace, entry->value(), target_keyspace);
  }
  return Copier::IsComplete(**copy);
}

void Database::Copy(const HashedKey& from, Database& target, const HashedKey& to, ValueCopy* copy) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), from);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot);
  if (copy != nullptr) return NameCopy(from, target, to, copy);
  if (HasRoot(entry->type())) {
    CopyCollection(from, target, to);
    return;
  }
  NewValue value{.is_integer = entry->Has(Entry::kInteger),
                 .raw = entry->Has(Entry::kRaw),
                 .expiry_ms = entry->expiry_ms()};
  // The target may be the key's own entry's neighbour in memory: the bytes are kept until written.
  std::string bytes;
  if (value.is_integer) {
    value.integer = entry->integer();
  } else {
    bytes = entry->value();
    value.bytes = bytes;
  }
  impl_->WriteValue(impl_->KeyspaceOf(target.number_), to, value);
}

void Database::CopyCollection(const HashedKey& from, Database& target, const HashedKey& to) {
  ValueType type = impl_->FindEntry(impl_->KeyspaceOf(number_), from)->type();
  if (type == ValueType::kLongString) {
    const int64_t expiry_ms = impl_->FindEntry(impl_->KeyspaceOf(number_), from)->expiry_ms();
    return target.WriteLongString(to, ReadString(from, {}), expiry_ms);
  }
  impl_->BeginGroup();
  target.Delete(to);
  int64_t expiry_ms;
  {
    constexpr Collection::Options kUnseen = {.touch = false, .count_hit = false};
    Collection source(*this, from, type, kUnseen);
    expiry_ms = source.expiry_ms();
    Collection copy(target, to, type, kUnseen);
    CountedTree::CopyValue(&source, &copy);
  }
  if (expiry_ms >= 0) target.SetExpiry(to, expiry_ms);
  impl_->EndGroup();
}

void Database::NameCopy(const HashedKey& from, Database& target, const HashedKey& to,
                        ValueCopy* copy) {
  impl_->BeginGroup();
  target.Delete(to);
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), from);
  NewValue value{.type = entry->type(), .expiry_ms = entry->expiry_ms()};
  const std::string root = impl_->copier_->Finish(copy, entry->value());
  value.bytes = root;
  impl_->WriteValue(impl_->KeyspaceOf(target.number_), to, value);
  impl_->EndGroup();
}

void Database::Rename(const HashedKey& from, Database& target, const HashedKey& to,
                      ValueCopy* copy) {
  Keyspace& keyspace = impl_->KeyspaceOf(number_);
  Entry* entry = impl_->FindEntry(keyspace, from);
  CHECK(entry != nullptr && entry->kind() == Entry::Kind::kHot);
  impl_->BeginGroup();
  if (HasRoot(entry->type()) && &target == this) {
    // The pages belong to the value's id, not to its key.
    std::string root(entry->value());
    NewValue value{.type = entry->type(), .bytes = root, .expiry_ms = entry->expiry_ms()};
    impl_->DeleteKey(keyspace, from, StoreImpl::Pages::kKeep);
    impl_->WriteValue(keyspace, to, value);
  } else {
    Copy(from, target, to, copy);
    impl_->DeleteKey(keyspace, from);
  }
  impl_->EndGroup();
}

Database::ObjectInfo Database::Inspect(const HashedKey& key) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  ObjectInfo info;
  if (entry == nullptr || entry->kind() == Entry::Kind::kTombstone) return info;
  constexpr uint64_t kEmbeddedStringMax = 44;
  // Of a page of a long string, with its place in the table.
  constexpr uint64_t kLongPageMemory = 8192 + 9;
  info.type = TypeForCommands(entry->type());
  info.access = entry->access();
  info.memory_bytes = entry->MemoryBytes();
  uint64_t size = 0;
  if (entry->kind() == Entry::Kind::kStub) {
    info.memory_bytes = entry->stub_size();
    size = entry->stub_size();
  } else if (!entry->Has(Entry::kInteger)) {
    size = entry->value().size();
  }
  info.serialized_bytes = impl_->LogicalSizeOf(*entry);
  if (entry->type() == ValueType::kLongString) {
    info.encoding = "raw";
    if (entry->kind() != Entry::Kind::kHot) return info;
    const RootView root(entry->value());
    info.memory_bytes += static_cast<uint64_t>(root.word()) * kLongPageMemory;
    info.serialized_bytes += root.count();
  } else if (IsCollection(entry->type())) {
    if (entry->kind() == Entry::Kind::kHot) {
      info.root = entry->value();
      info.memory_bytes += impl_->EstimatePages(impl_->KeyspaceOf(number_), info.root);
    }
  } else if (entry->Has(Entry::kInteger)) {
    info.encoding = "int";
  } else {
    bool raw = entry->Has(Entry::kRaw) || size > kEmbeddedStringMax;
    info.encoding = raw ? "raw" : "embstr";
  }
  return info;
}

void Database::SetAccess(const HashedKey& key, uint32_t access) {
  Entry* entry = impl_->FindEntry(impl_->KeyspaceOf(number_), key);
  if (entry != nullptr) entry->set_access(access);
}

}  // namespace firn
