#include "engine/types/hash_value.h"

#include <algorithm>
#include <limits>

namespace firn {

const char* HashEncoding(std::string_view root) {
  uint8_t flags = RootView(root).flags();
  if ((flags & HashValue::kHashtable) != 0) return "hashtable";
  return (flags & HashValue::kFieldsExpire) != 0 ? "listpackex" : "listpack";
}

bool FieldsMayExpire(std::string_view root) {
  return (RootView(root).flags() & HashValue::kFieldsExpire) != 0;
}

bool AllFieldsExpired(std::string_view root, int64_t now_ms) {
  RootView view(root);
  if ((view.flags() & HashValue::kFieldsExpire) == 0 || !view.small()) return false;
  PackedPage page(view.packed());
  if (page.kind() != PackedKind::kHashTtl) return false;
  for (PackedPage::Cursor row(page, 0); row.valid(); row.Next()) {
    int64_t expiry_ms = row.row().expiry_ms;
    if (expiry_ms == HashValue::kNoExpiry || expiry_ms > now_ms) return false;
  }
  return true;
}

// --- fields that have expired

bool HashValue::MayHaveExpired() {
  if (!exists() || (tree_.flags() & kFieldsExpire) == 0) return false;
  return tree_.small() || RootView(tree_.space().Root()).word() <= now_ms_;
}

uint64_t HashValue::DropFromLeaf(const CountedTree::Leaf& leaf) {
  if (tree_.tree().Page(leaf).kind() != PackedKind::kHashTtl) return 0;
  return tree_.RemoveIf(leaf, [this](const PackedRow& row) { return !IsLive(row); });
}

bool HashValue::DropExpired(uint64_t* dropped) {
  *dropped = 0;
  if (!MayHaveExpired()) return true;
  if (!tree_.WantAll()) return false;
  if (tree_.small()) {
    *dropped = DropFromLeaf({});
    return true;
  }
  // Leaves go and join meanwhile, so the walk is by rank: what stays is passed over.
  int64_t earliest = std::numeric_limits<int64_t>::max();
  for (uint64_t rank = 0; rank < tree_.count();) {
    HashedTree::Place place;
    CHECK(tree_.FindRank(rank, &place));
    PackedPage page = tree_.Page(place);
    uint64_t end = place.leaf.first_rank + page.rows();
    if (page.kind() == PackedKind::kHashTtl) {
      for (PackedPage::Cursor row(page, 0); row.valid(); row.Next()) {
        if (row.row().expiry_ms != kNoExpiry && IsLive(row.row())) {
          earliest = std::min(earliest, row.row().expiry_ms);
        }
      }
      uint64_t gone = DropFromLeaf(place.leaf);
      *dropped += gone;
      end -= gone;
    }
    if (!exists()) return true;
    rank = end;
  }
  if (earliest == std::numeric_limits<int64_t>::max()) {
    tree_.SetFlags(tree_.flags() & static_cast<uint8_t>(~kFieldsExpire));
  } else {
    SetWord(earliest);
  }
  return true;
}

uint64_t HashValue::DropExpiredNear(std::string_view name) {
  if (!exists() || tree_.small() || !MayHaveExpired()) return 0;
  HashedTree::Place place;
  tree_.FindAgain(name, &place);
  return place.leaf.depth > 0 && place.resident ? DropFromLeaf(place.leaf) : 0;
}

void HashValue::SetWord(int64_t word) {
  if (tree_.small() || RootView(tree_.space().Root()).word() == word) return;
  PageEdit edit;
  edit.Overwrite(kRootWordAt, word);
  tree_.space().Edit(kRootPage, edit);
}

void HashValue::NoteExpiry(int64_t expiry_ms) {
  bool first = (tree_.flags() & kFieldsExpire) == 0;
  if (first) tree_.SetFlags(tree_.flags() | kFieldsExpire);
  if (tree_.small()) return;
  int64_t word = RootView(tree_.space().Root()).word();
  SetWord(first ? expiry_ms : std::min(word, expiry_ms));
}

// --- fields

HashValue::Lookup HashValue::Find(std::string_view name, Field* field) {
  field->live = false;
  if (!tree_.Find(name, &field->place)) return Lookup::kMissing;
  if (!field->place.found) return Lookup::kAbsent;
  field->row = tree_.Row(field->place);
  field->live = IsLive(field->row);
  return field->live ? Lookup::kPresent : Lookup::kAbsent;
}

bool HashValue::FindAgain(std::string_view name, Field* field) {
  tree_.FindAgain(name, &field->place);
  field->live = false;
  if (!field->place.found) return false;
  field->row = tree_.Row(field->place);
  field->live = IsLive(field->row);
  return field->live;
}

void HashValue::Set(const Field& field, const Update& update, const HashLimits& limits) {
  const HashedTree::Place& place = field.place;
  if (!place.found) {
    tree_.Insert(place,
                 {.bytes = update.name, .value = update.value, .expiry_ms = update.expiry_ms});
  } else {
    // The expiry first: a new value may move the row to another page.
    bool keep = update.keep_expiry && field.live;
    if (!keep && field.row.expiry_ms != update.expiry_ms) {
      HashedTree::Place moved = place;
      tree_.SetExpiry(place, update.expiry_ms);
      tree_.FindAgain(update.name, &moved);
      tree_.SetValue(moved, update.value);
    } else {
      tree_.SetValue(place, update.value);
    }
  }
  if (update.expiry_ms != kNoExpiry && !(update.keep_expiry && field.live)) {
    NoteExpiry(update.expiry_ms);
  }
  uint8_t flags = tree_.flags();
  if ((flags & kHashtable) == 0 && (update.name.size() > limits.max_listpack_value ||
                                    update.value.size() > limits.max_listpack_value ||
                                    tree_.count() > limits.max_listpack_entries)) {
    tree_.SetFlags(flags | kHashtable);
  }
}

void HashValue::SetExpiry(const Field& field, int64_t expiry_ms) {
  tree_.SetExpiry(field.place, expiry_ms);
  if (expiry_ms != kNoExpiry) NoteExpiry(expiry_ms);
}

void HashValue::NoteFields(uint64_t fields, const HashLimits& limits) {
  if (fields > limits.max_listpack_entries) tree_.SetFlags(tree_.flags() | kHashtable);
}

bool HashValue::Scan(uint64_t cursor, uint64_t count, HashedTree::ScanBatch* batch) {
  // What is no hashtable comes at once, as in Redis.
  bool at_once = exists() && (tree_.flags() & kHashtable) == 0;
  if (!tree_.Scan(at_once ? 0 : cursor, at_once ? tree_.count() : count, batch)) return false;
  std::erase_if(batch->rows, [this](const PackedRow& row) { return !IsLive(row); });
  return true;
}

}  // namespace firn
