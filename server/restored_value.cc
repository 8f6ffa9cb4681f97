#include "server/restored_value.h"

#include <algorithm>
#include <span>

#include "engine/base/check.h"
#include "engine/types/string_ops.h"

namespace firn::server {
namespace {

constexpr Collection::Options kUnseen = {.touch = false, .count_hit = false};

SetEncoding EncodingOf(std::span<const std::string_view> members, const SetLimits& limits) {
  SetEncodingTracker tracker(limits);
  tracker.Begin(members.front(), members.size());
  for (std::string_view member : members) tracker.Add(member);
  return tracker.encoding();
}

void CreateString(Database& db, const HashedKey& key, std::string_view value) {
  int64_t integer;
  if (ParseInteger(value, &integer)) {
    db.SetInteger(key, integer, {});
  } else {
    db.SetString(key, value, {});
  }
}

}  // namespace

void RestoredValue::Begin(ValueType type) {
  type_ = type;
  Clear();
}

void RestoredValue::Clear() {
  elements_.clear();
  pieces_.clear();
  bytes_ = 0;
  blocks_.Clear();
}

void RestoredValue::Add(const Element& element) {
  elements_.push_back(element);
  elements_.back().name = blocks_.Copy(element.name);
  elements_.back().value = blocks_.Copy(element.value);
  bytes_ += sizeof(Element) + element.name.size() + element.value.size();
}

void RestoredValue::Add(const StreamPiece& piece) {
  pieces_.push_back(piece);
  pieces_.back().bytes = blocks_.Copy(piece.bytes);
  bytes_ += sizeof(StreamPiece) + piece.bytes.size();
}

bool RestoredValue::IsDistinct() const {
  if (type_ == ValueType::kString || type_ == ValueType::kList) return true;
  std::vector<std::string_view> names;
  names.reserve(elements_.size());
  for (const Element& element : elements_) names.push_back(element.name);
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) == names.end();
}

void RestoredValue::DropExpired(int64_t now_ms) {
  if (type_ != ValueType::kHash) return;
  std::erase_if(elements_, [now_ms](const Element& element) {
    return element.expiry_ms >= 0 && element.expiry_ms <= now_ms;
  });
}

// --- at once

void RestoredValue::Create(Database& db, const HashedKey& key, const ValueLimits& limits) const {
  CHECK(count() > 0);
  if (type_ == ValueType::kString) return CreateString(db, key, elements_.front().name);
  Collection pages(db, key, type_, kUnseen);
  CHECK(!pages.exists() && !pages.wrong_type());
  CreateIn(&pages, {.secret = pages.secret(), .now_ms = pages.now_ms(), .limits = limits});
}

void RestoredValue::CreateIn(PageSpace* pages, const Making& making) const {
  if (type_ == ValueType::kHash) return CreateHash(pages, making);
  if (type_ == ValueType::kStream) {
    for (const StreamPiece& piece : pieces_) CHECK(AddStreamPiece(pages, piece));
    return;
  }
  if (type_ == ValueType::kZset) {
    std::vector<ZsetElement> sorted;
    sorted.reserve(elements_.size());
    for (const Element& element : elements_) sorted.push_back({element.name, element.score});
    return ZsetValue(pages, making.secret).Build(sorted, making.limits.zset);
  }
  std::vector<std::string_view> names;
  names.reserve(elements_.size());
  for (const Element& element : elements_) names.push_back(element.name);
  if (type_ == ValueType::kList) {
    CHECK(ListValue(pages, making.limits.list).Push(ListEnd::kTail, names));
  } else {
    SetValue(pages, making.secret).Build(names, EncodingOf(names, making.limits.set));
  }
}

void RestoredValue::CreateHash(PageSpace* pages, const Making& making) const {
  HashValue hash(pages, making.secret, making.now_ms);
  for (const Element& element : elements_) {
    HashValue::Field field;
    CHECK(hash.Find(element.name, &field) != HashValue::Lookup::kMissing);
    hash.Set(field, {.name = element.name, .value = element.value, .expiry_ms = element.expiry_ms},
             making.limits.hash);
  }
}

// --- in parts

RestoredValue::Extended RestoredValue::Extend(Database& db, const HashedKey& key,
                                              const ValueLimits& limits, const Part& part) const {
  CHECK(part.end <= count());
  Collection pages(db, key, type_, kUnseen);
  CHECK(!pages.wrong_type());
  if (type_ == ValueType::kStream) {
    for (size_t& i = *part.first; i < part.end; ++i) {
      if (!AddStreamPiece(&pages, pieces_[i])) return Extended::kMissing;
    }
    return Extended::kAll;
  }
  ListValue list(&pages, limits.list);
  SetValue set(&pages, pages.secret());
  ZsetValue zset(&pages, pages.secret());
  // Fields that expire meanwhile are found all the same.
  HashValue hash(&pages, pages.secret(), 0);
  for (size_t& i = *part.first; i < part.end; ++i) {
    const Element& element = elements_[i];
    if (type_ == ValueType::kList) {
      if (!list.Push(ListEnd::kTail, {&element.name, 1})) return Extended::kMissing;
    } else if (type_ == ValueType::kSet) {
      SetValue::Place place;
      if (!set.Find(element.name, &place)) return Extended::kMissing;
      if (place.found) return Extended::kTwice;
      set.Announce({.first = element.name, .members = 1}, limits.set);
      // The announcement may have made the value.
      if (!set.Find(element.name, &place)) return Extended::kMissing;
      set.Add(place, element.name, limits.set);
    } else if (type_ == ValueType::kZset) {
      const ZsetValue::AddResult result =
          zset.Add({element.name, element.score}, {.only_new = true}, limits.zset);
      if (result == ZsetValue::AddResult::kMissing) return Extended::kMissing;
      if (result != ZsetValue::AddResult::kAdded) return Extended::kTwice;
    } else {
      HashValue::Field field;
      const HashValue::Lookup found = hash.Find(element.name, &field);
      if (found == HashValue::Lookup::kMissing) return Extended::kMissing;
      if (found == HashValue::Lookup::kPresent) return Extended::kTwice;
      hash.Set(field,
               {.name = element.name, .value = element.value, .expiry_ms = element.expiry_ms},
               limits.hash);
    }
  }
  return Extended::kAll;
}

}  // namespace firn::server
