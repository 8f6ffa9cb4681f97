#include "engine/types/stream_groups.h"

#include <algorithm>

#include "engine/base/check.h"

namespace firn {
namespace {

constexpr uint32_t kMaxLeafRows = 60'000;

void AppendBig32(std::string* out, uint32_t value) {
  char bytes[4];
  StoreBig32(bytes, value);
  out->append(bytes, sizeof bytes);
}

std::string KeyOf(const PackedPage& page, uint32_t row) { return std::string(page.Row(row).bytes); }

}  // namespace

// --- coding

std::string StreamGroups::Prefix(Kind kind, uint32_t group) {
  std::string key(1, kind);
  AppendBig32(&key, group);
  return key;
}

StreamGroups::ShortKey StreamGroups::OwnerKey(Owner owner) {
  ShortKey key(owner.consumer == 0 ? kPending : kOwned, owner.group);
  if (owner.consumer != 0) key.Add(owner.consumer);
  return key;
}

StreamGroups::ShortKey StreamGroups::EntryKey(Owner owner, StreamId id) {
  ShortKey key = OwnerKey(owner);
  key.Add(id);
  return key;
}

std::string StreamGroups::Encode(const Group& group) {
  std::string value;
  AppendFixed(&value, group.number);
  AppendFixed(&value, group.next_consumer);
  AppendFixed(&value, group.last_id.ms);
  AppendFixed(&value, group.last_id.seq);
  AppendFixed(&value, group.entries_read);
  AppendFixed(&value, group.pending);
  AppendFixed(&value, group.consumers);
  return value;
}

StreamGroups::Group StreamGroups::DecodeGroup(std::string_view value) {
  ByteReader reader(value);
  Group group;
  group.number = reader.Fixed<uint32_t>();
  group.next_consumer = reader.Fixed<uint32_t>();
  group.last_id.ms = reader.Fixed<uint64_t>();
  group.last_id.seq = reader.Fixed<uint64_t>();
  group.entries_read = reader.Fixed<int64_t>();
  group.pending = reader.Fixed<uint64_t>();
  group.consumers = reader.Fixed<uint32_t>();
  return group;
}

std::string StreamGroups::Encode(const Consumer& consumer) {
  std::string value;
  AppendFixed(&value, consumer.number);
  AppendFixed(&value, consumer.seen_ms);
  AppendFixed(&value, consumer.active_ms);
  AppendFixed(&value, consumer.pending);
  return value;
}

StreamGroups::Consumer StreamGroups::DecodeConsumer(std::string_view value) {
  ByteReader reader(value);
  Consumer consumer;
  consumer.number = reader.Fixed<uint32_t>();
  consumer.seen_ms = reader.Fixed<int64_t>();
  consumer.active_ms = reader.Fixed<int64_t>();
  consumer.pending = reader.Fixed<uint64_t>();
  return consumer;
}

// --- rows

uint8_t StreamGroups::TagOf(std::string_view key) {
  uint64_t hash = 0x9e3779b97f4a7c15;
  const size_t words = std::min<size_t>(key.size() / 8, 4);
  for (size_t i = 1; i <= words; ++i) {
    hash = (hash ^ LoadFixed<uint64_t>(key.data() + key.size() - 8 * i)) * 0x9e3779b97f4a7c15;
  }
  for (size_t i = 0; words == 0 && i < key.size(); ++i) {
    hash = (hash ^ static_cast<uint8_t>(key[i])) * 0x9e3779b97f4a7c15;
  }
  return static_cast<uint8_t>(hash >> 56);
}

uint32_t StreamGroups::LowerBound(const PackedPage& page, std::string_view key) {
  uint32_t low = 0;
  uint32_t high = page.rows();
  // New rows mostly come to the end.
  if (high > 0 && page.Row(high - 1).bytes < key) return high;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (page.Row(middle).bytes < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

StreamGroups::Lookup StreamGroups::Find(std::string_view key, Row* row, std::string_view* value) {
  if (!HasTree()) return Lookup::kAbsent;
  const uint8_t tag = TagOf(key);
  // The rows of a group and its consumers mostly lie together.
  for (const bool again : {true, false}) {
    if (again && row_leaf_.shape != shape_) continue;
    if (!again && !tree_.FindKeyUnranked(key, &row_leaf_.leaf)) {
      row_leaf_.shape = 0;
      return Lookup::kMissing;
    }
    row_leaf_.shape = shape_;
    row->leaf = row_leaf_.leaf;
    const PackedPage page = tree_.Page(row->leaf);
    row->row = page.FindTagged(tag, key);
    if (row->row == page.rows()) continue;
    *value = page.Row(row->row).value;
    return Lookup::kPresent;
  }
  return Lookup::kAbsent;
}

bool StreamGroups::Want(std::string_view key) {
  Leaf leaf;
  return !HasTree() || tree_.FindKeyUnranked(key, &leaf);
}

void StreamGroups::Write(std::string_view key, std::string_view value) {
  if (!HasTree()) tree_.Plant(PackedPage::Empty(PackedKind::kHash));
  Row found;
  std::string_view old;
  const Lookup lookup = Find(key, &found, &old);
  CHECK(lookup != Lookup::kMissing);
  PageEdit edit;
  if (lookup == Lookup::kPresent) {
    if (old == value) return;
    tree_.Page(found.leaf).SetValue(found.row, value, &edit);
    tree_.EditLeaf(found.leaf, &edit, 0);
    return;
  }
  // Where there is no such row, Find has been to the leaf that would have it.
  const Leaf leaf = found.leaf;
  PackedPage page = tree_.Page(leaf);
  const uint32_t row = LowerBound(page, key);
  page.Insert(row, {.bytes = key, .value = value, .tag = TagOf(key)}, &edit);
  tree_.EditLeaf(leaf, &edit, 1);
  page = tree_.Page(leaf);
  const uint32_t rows = page.rows();
  if (rows < 2 || (page.size() <= kMaxLeafBytes && rows <= kMaxLeafRows)) return;
  ++shape_;
  // Rows that come in order leave full leaves behind.
  tree_.SplitLeaf(leaf, row + 1 == rows ? row : rows / 2, KeyOf);
}

void StreamGroups::Erase(std::string_view key) {
  Row row;
  std::string_view value;
  if (Find(key, &row, &value) != Lookup::kPresent) return;
  PageEdit edit;
  tree_.Page(row.leaf).Remove(row.row, 1, &edit);
  tree_.EditLeaf(row.leaf, &edit, -1);
  if (tree_.Page(row.leaf).rows() == 0) {
    emptied_.emplace_back(key);
  } else {
    ++shape_;
    tree_.MergeLeaf(row.leaf);
  }
}

bool StreamGroups::WantBetween(std::string_view first, std::string_view end) {
  if (!HasTree()) return true;
  Leaf from;
  Leaf to;
  const bool found = tree_.FindKey(first, &from);
  if (!tree_.FindKey(end, &to) || !found) return false;
  return tree_.WantRanks(from.first_rank, to.first_rank);
}

// Rows with keys in [first, end).
void StreamGroups::EraseBetween(std::string_view first, std::string_view end) {
  if (!HasTree()) return;
  Leaf leaf;
  CHECK(tree_.FindKeyUnranked(first, &leaf));
  for (;;) {
    PackedPage page = tree_.Page(leaf);
    const uint32_t from = LowerBound(page, first);
    const uint32_t to = LowerBound(page, end);
    const bool ends = to < page.rows();
    if (from < to) {
      if (to - from == page.rows()) emptied_.emplace_back(page.Row(0).bytes);
      PageEdit edit;
      page.Remove(from, to - from, &edit);
      tree_.EditLeaf(leaf, &edit, -static_cast<int64_t>(to - from));
    }
    if (ends) return;
    std::string bound = tree_.UpperBound(leaf);
    if (bound.empty() || bound >= end) return;
    CHECK(tree_.Next(&leaf) == CountedTree::Moved::kYes);
  }
}

void StreamGroups::DropEmptied() {
  for (const std::string& key : emptied_) {
    Leaf leaf;
    if (!space_.exists() || !HasTree()) return;
    if (!tree_.FindResidentKey(key, &leaf)) continue;
    const std::string bound = tree_.UpperBound(leaf);
    if (PendingPage::Is(tree_.Page(leaf).bytes())) {
      const PendingPage page = Entries(leaf);
      if (page.rows() > 0 || page.is_first()) continue;
      if (!bound.starts_with(OwnerKey(page.owner()).view())) continue;  // the last one
      RemoveLeaf(leaf);
      continue;
    }
    if (tree_.Page(leaf).rows() > 0) continue;
    // Searches for rows must not end in pages of entries: the last leaf before those stays.
    if (!bound.empty() && bound[0] >= kPending) continue;
    if (!bound.empty() ||
        std::any_of(leaf.path.begin(), leaf.path.begin() + leaf.depth,
                    [](const CountedTree::Step& step) { return step.child > 0; })) {
      RemoveLeaf(leaf);
    }
  }
  emptied_.clear();
}

bool StreamGroups::GoesOn(const Leaf& leaf, std::string_view prefix) {
  const std::string bound = tree_.UpperBound(leaf);
  // A separator may be shorter than any key.
  return !bound.empty() && std::string_view(bound).substr(0, prefix.size()) <= prefix;
}

// --- looking up

StreamGroups::Lookup StreamGroups::FindGroup(std::string_view name, Group* group) {
  std::string key(1, kGroup);
  key += name;
  Row row;
  std::string_view value;
  const Lookup lookup = Find(key, &row, &value);
  if (lookup == Lookup::kPresent) *group = DecodeGroup(value);
  return lookup;
}

StreamGroups::Lookup StreamGroups::FindConsumer(const Group& group, std::string_view name,
                                                Consumer* consumer) {
  std::string key = Prefix(kConsumer, group.number);
  key += name;
  Row row;
  std::string_view value;
  const Lookup lookup = Find(key, &row, &value);
  if (lookup == Lookup::kPresent) *consumer = DecodeConsumer(value);
  return lookup;
}

StreamGroups::Lookup StreamGroups::FindConsumerName(const Group& group, uint32_t number,
                                                    std::string* name) {
  std::string key = Prefix(kName, group.number);
  AppendBig32(&key, number);
  Row row;
  std::string_view value;
  const Lookup lookup = Find(key, &row, &value);
  if (lookup == Lookup::kPresent) *name = value;
  return lookup;
}

StreamGroups::Lookup StreamGroups::FindPending(const Group& group, StreamId id, Pending* pending) {
  if (!HasTree()) return Lookup::kAbsent;
  const Owner owner{.group = group.number};
  Leaf leaf;
  if (!LocateEntry(owner, id, &leaf)) return Lookup::kMissing;
  if (!IsOf(leaf, owner)) return Lookup::kAbsent;
  const PendingPage page = Entries(leaf);
  const uint32_t row = page.LowerBound(id);
  if (row == page.rows() || page.Id(row) != id) return Lookup::kAbsent;
  *pending = page.Row(row);
  return Lookup::kPresent;
}

bool StreamGroups::FindLastPending(const Group& group, StreamId* id) {
  *id = {};
  if (!HasTree()) return true;
  const Owner owner{.group = group.number};
  Leaf leaf;
  if (!tree_.FindKeyUnranked(EntryKey(owner, kMaxStreamId), &leaf)) return false;
  while (IsOf(leaf, owner)) {
    const PendingPage page = Entries(leaf);
    if (page.rows() > 0) {
      *id = page.Id(page.rows() - 1);
      return true;
    }
    if (page.is_first()) return true;
    if (tree_.Previous(&leaf) != CountedTree::Moved::kYes) return false;
  }
  return true;
}

// --- changing

bool StreamGroups::WantGroup(std::string_view name) {
  std::string key(1, kGroup);
  key += name;
  return Want(key);
}

bool StreamGroups::WantConsumer(const Group& group, std::string_view name) {
  std::string key = Prefix(kConsumer, group.number);
  key += name;
  std::string number = Prefix(kName, group.number);
  AppendBig32(&number, group.next_consumer);
  const bool wanted = Want(key);
  return Want(number) && wanted;
}

bool StreamGroups::WantPending(const Group& group, uint32_t consumer, StreamId id) {
  const bool wanted = Want(EntryKey({.group = group.number}, id));
  return Want(EntryKey({.group = group.number, .consumer = consumer}, id)) && wanted;
}

bool StreamGroups::WantOwner(const Group& group, uint32_t consumer) {
  std::string name;
  const Lookup lookup = FindConsumerName(group, consumer, &name);
  if (lookup != Lookup::kPresent) return lookup == Lookup::kAbsent;
  return Want(Prefix(kConsumer, group.number) + name);
}

bool StreamGroups::WantDestroy(const Group& group) {
  bool all = WantConsumers(group);
  for (Kind kind : {kPending, kOwned}) {
    all &= WantBetween(Prefix(kind, group.number), Prefix(kind, group.number + 1));
  }
  return all;
}

bool StreamGroups::WantConsumers(const Group& group) {
  bool all = true;
  for (Kind kind : {kConsumer, kName}) {
    all &= WantBetween(Prefix(kind, group.number), Prefix(kind, group.number + 1));
  }
  return all;
}

bool StreamGroups::WantDelete(const Group& group, const Consumer& consumer) {
  std::string name = Prefix(kName, group.number);
  AppendBig32(&name, consumer.number);
  bool all = Want(name);
  const Owner owner{.group = group.number, .consumer = consumer.number};
  all &= WantBetween(OwnerKey(owner), EntryKey(owner, kMaxStreamId));
  if (!all) return false;
  return ForEachPendingOf(group, consumer.number, kMinStreamId,
                          [&](StreamId id) {
                            all &= Want(EntryKey({.group = group.number}, id));
                            return true;
                          }) &&
         all;
}

void StreamGroups::CreateGroup(std::string_view name, Group* group) {
  const char* root = space_.Root().data();
  group->number = LoadFixed<uint32_t>(root + StreamValue::kNextGroupAt);
  PageEdit edit;
  edit.Overwrite(StreamValue::kNextGroupAt, group->number + 1);
  edit.Overwrite(StreamValue::kGroupsAt, stream_.groups() + 1);
  space_.Edit(kRootPage, edit);
  Store(name, *group);
}

void StreamGroups::Store(std::string_view name, const Group& group) {
  std::string key(1, kGroup);
  key += name;
  Write(key, Encode(group));
}

void StreamGroups::Destroy(std::string_view name, const Group& group) {
  for (Kind kind : {kOwned, kPending}) DropEntries(kind, group.number);
  DropConsumers(group);
  Forget(name);
}

void StreamGroups::DropConsumers(const Group& group) {
  for (Kind kind : {kConsumer, kName}) {
    EraseBetween(Prefix(kind, group.number), Prefix(kind, group.number + 1));
  }
}

void StreamGroups::Forget(std::string_view name) {
  std::string key(1, kGroup);
  key += name;
  Erase(key);
  PageEdit edit;
  edit.Overwrite(StreamValue::kGroupsAt, stream_.groups() - 1);
  space_.Edit(kRootPage, edit);
}

void StreamGroups::CreateConsumer(std::string_view name, Group* group, Consumer* consumer) {
  consumer->number = group->next_consumer++;
  ++group->consumers;
  std::string key = Prefix(kName, group->number);
  AppendBig32(&key, consumer->number);
  Write(key, name);
  Store(*group, name, *consumer);
}

void StreamGroups::Store(const Group& group, std::string_view name, const Consumer& consumer) {
  std::string key = Prefix(kConsumer, group.number);
  key += name;
  Write(key, Encode(consumer));
}

uint64_t StreamGroups::Delete(std::string_view name, const Consumer& consumer, Group* group) {
  std::vector<Pending> pending;
  const Owner owner{.group = group->number, .consumer = consumer.number};
  CHECK(WalkEntries(owner, kMinStreamId, [&](const Pending& entry) {
    pending.push_back(entry);
    return true;
  }));
  EraseEntries({.group = group->number}, pending);
  DropOwned(owner);
  std::string key = Prefix(kName, group->number);
  AppendBig32(&key, consumer.number);
  Erase(key);
  key = Prefix(kConsumer, group->number);
  key += name;
  Erase(key);
  --group->consumers;
  group->pending -= pending.size();
  return pending.size();
}

std::optional<uint64_t> StreamGroups::RemoveSome(const Consumer& consumer, Group* group,
                                                 uint64_t limit) {
  std::vector<Pending> pending;
  const Owner owner{.group = group->number, .consumer = consumer.number};
  bool all = WalkEntries(owner, kMinStreamId, [&](const Pending& entry) {
    pending.push_back(entry);
    return pending.size() < limit;
  });
  for (const Pending& entry : pending) all &= Want(EntryKey({.group = group->number}, entry.id));
  if (!all) return std::nullopt;
  Remove(*group, pending);
  group->pending -= pending.size();
  return pending.size();
}

void StreamGroups::Put(const Group& group, const Pending& pending, const Pending* old) {
  WriteEntries({.group = group.number}, {&pending, 1});
  if (old != nullptr && old->consumer == pending.consumer) return;
  WriteEntries({.group = group.number, .consumer = pending.consumer}, {&pending, 1});
  if (old != nullptr) {
    EraseEntries({.group = group.number, .consumer = old->consumer}, {&pending, 1});
  }
}

void StreamGroups::PutNew(const Group& group, std::span<const Pending> pending) {
  if (pending.empty()) return;
  WriteEntries({.group = group.number}, pending);
  WriteEntries({.group = group.number, .consumer = pending[0].consumer}, pending);
}

void StreamGroups::Remove(const Group& group, std::span<const Pending> pending) {
  if (pending.empty()) return;
  EraseEntries({.group = group.number}, pending);
  EraseEntries({.group = group.number, .consumer = pending[0].consumer}, pending);
}

void StreamGroups::ChangePendingCount(const Group& group, uint32_t number, int64_t change) {
  std::string name;
  if (FindConsumerName(group, number, &name) != Lookup::kPresent) return;
  Consumer consumer;
  if (FindConsumer(group, name, &consumer) != Lookup::kPresent) return;
  consumer.pending += static_cast<uint64_t>(change);
  Store(group, name, consumer);
}

}  // namespace firn
