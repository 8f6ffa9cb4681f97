#include "server/commands/sort_pattern.h"

#include <algorithm>

#include "engine/types/hash_value.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "tiering/collection.h"

namespace firn::server {

SortPattern::SortPattern(std::string_view text) : element_itself(text == "#") {
  const size_t star = text.find('*');
  constant = star == std::string_view::npos;
  if (constant) return;
  prefix = text.substr(0, star);
  suffix = text.substr(star + 1);
  const size_t arrow = suffix.find("->");
  if (arrow == std::string_view::npos || arrow + 2 == suffix.size()) return;
  field = suffix.substr(arrow + 2);
  suffix = suffix.substr(0, arrow);
}

void SortPattern::KeyFor(std::string_view element, std::string* key) const {
  key->assign(prefix);
  *key += element;
  *key += suffix;
}

void SortValueReader::NoteExpiry(int64_t expiry_ms) {
  if (expiry_ms >= 0) first_expiry_ms_ = std::min(first_expiry_ms_, expiry_ms);
}

SortValueReader::Got SortValueReader::Read(
    CommandContext& context, const SortPattern& pattern, std::string_view element,
    const std::function<void(std::string_view value)>& take) {
  if (pattern.element_itself) {
    take(element);
    return Got::kPresent;
  }
  if (pattern.constant) return Got::kAbsent;
  pattern.KeyFor(element, &key_);
  const HashedKey key = context.store.Key(key_);
  const Database::KeyInfo info = LookupForRead(context, key);
  NoteExpiry(info.expiry_ms);
  if (info.type != (pattern.field ? ValueType::kHash : ValueType::kString)) return Got::kAbsent;
  if (!pattern.field) {
    WholeString value;
    if (!value.Load(context.db(), key, info)) return Got::kMissing;
    take(value.bytes());
    return Got::kPresent;
  }
  Collection pages(context.db(), key, ValueType::kHash, {.touch = false, .count_hit = false});
  HashValue hash(&pages, pages.secret(), pages.now_ms());
  HashValue::Field field;
  switch (hash.Find(*pattern.field, &field)) {
    case HashValue::Lookup::kMissing:
      return Got::kMissing;
    case HashValue::Lookup::kAbsent:
      return Got::kAbsent;
    case HashValue::Lookup::kPresent:
      break;
  }
  NoteExpiry(field.row.expiry_ms);
  take(field.row.value);
  return Got::kPresent;
}

}  // namespace firn::server
