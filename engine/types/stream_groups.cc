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

StreamGroups::ShortKey StreamGroups::IdKey(Kind kind, uint32_t group, StreamId id) {
  ShortKey key(kind, group);
  key.Add(id);
  return key;
}

StreamGroups::ShortKey StreamGroups::OwnedKey(uint32_t group, uint32_t consumer, StreamId id) {
  ShortKey key(kOwned, group);
  key.Add(consumer);
  key.Add(id);
  return key;
}

StreamId StreamGroups::DecodeId(std::string_view key) {
  if (key.size() < sizeof(StreamId)) return {};
  const char* at = key.data() + key.size() - sizeof(StreamId);
  return {LoadBig64(at), LoadBig64(at + 8)};
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

std::string_view StreamGroups::Encode(const Pending& pending, char* buffer) {
  auto* at = reinterpret_cast<uint8_t*>(buffer);
  int size = StoreVarint(at, static_cast<uint64_t>(pending.delivered_ms));
  size += StoreVarint(at + size, pending.deliveries);
  size += StoreVarint(at + size, pending.consumer);
  return {buffer, static_cast<size_t>(size)};
}

StreamGroups::Pending StreamGroups::DecodePending(std::string_view value) {
  ByteReader reader(value);
  Pending pending;
  pending.delivered_ms = static_cast<int64_t>(reader.Varint());
  pending.deliveries = reader.Varint();
  pending.consumer = static_cast<uint32_t>(reader.Varint());
  return pending;
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
  if (!tree_.FindKeyUnranked(key, &row->leaf)) return Lookup::kMissing;
  PackedPage page = tree_.Page(row->leaf);
  row->row = page.FindTagged(TagOf(key), key);
  if (row->row == page.rows()) return Lookup::kAbsent;
  *value = page.Row(row->row).value;
  return Lookup::kPresent;
}

bool StreamGroups::Want(std::string_view key) {
  Leaf leaf;
  return !HasTree() || tree_.FindKeyUnranked(key, &leaf);
}

void StreamGroups::Write(std::string_view key, std::string_view value) {
  if (!HasTree()) tree_.Plant(PackedPage::Empty(PackedKind::kHash));
  Leaf leaf;
  CHECK(tree_.FindKeyUnranked(key, &leaf));
  PackedPage page = tree_.Page(leaf);
  const uint8_t tag = TagOf(key);
  uint32_t row = page.FindTagged(tag, key);
  PageEdit edit;
  if (row < page.rows()) {
    if (page.Row(row).value == value) return;
    page.SetValue(row, value, &edit);
    tree_.EditLeaf(leaf, &edit, 0);
    return;
  }
  row = LowerBound(page, key);
  page.Insert(row, {.bytes = key, .value = value, .tag = tag}, &edit);
  tree_.EditLeaf(leaf, &edit, 1);
  page = tree_.Page(leaf);
  const uint32_t rows = page.rows();
  if (rows < 2 || (page.size() <= kMaxLeafBytes && rows <= kMaxLeafRows)) return;
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
    if (!tree_.FindResidentKey(key, &leaf) || tree_.Page(leaf).rows() > 0) continue;
    if (!tree_.UpperBound(leaf).empty() ||
        std::any_of(leaf.path.begin(), leaf.path.begin() + leaf.depth,
                    [](const CountedTree::Step& step) { return step.child > 0; })) {
      tree_.RemoveLeaf(leaf);
    }
  }
  emptied_.clear();
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
  Row row;
  std::string_view value;
  const Lookup lookup = Find(IdKey(kPending, group.number, id), &row, &value);
  if (lookup != Lookup::kPresent) return lookup;
  *pending = DecodePending(value);
  pending->id = id;
  return lookup;
}

bool StreamGroups::FindLastPending(const Group& group, StreamId* id) {
  *id = {};
  if (!HasTree()) return true;
  Leaf leaf;
  const std::string end = Prefix(kPending, group.number + 1);
  if (!tree_.FindKeyUnranked(end, &leaf)) return false;
  uint32_t row = LowerBound(tree_.Page(leaf), end);
  while (row == 0) {
    const CountedTree::Moved moved = tree_.Previous(&leaf);
    if (moved != CountedTree::Moved::kYes) return moved == CountedTree::Moved::kEnd;
    row = tree_.Page(leaf).rows();
  }
  std::string_view key = tree_.Page(leaf).Row(row - 1).bytes;
  if (key.starts_with(Prefix(kPending, group.number))) *id = DecodeId(key);
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
  const bool wanted = Want(IdKey(kPending, group.number, id));
  return Want(OwnedKey(group.number, consumer, id)) && wanted;
}

bool StreamGroups::WantOwner(const Group& group, uint32_t consumer) {
  std::string name;
  const Lookup lookup = FindConsumerName(group, consumer, &name);
  if (lookup != Lookup::kPresent) return lookup == Lookup::kAbsent;
  return Want(Prefix(kConsumer, group.number) + name);
}

bool StreamGroups::WantDestroy(const Group& group) {
  bool all = true;
  for (Kind kind : {kConsumer, kName, kPending, kOwned}) {
    all &= WantBetween(Prefix(kind, group.number), Prefix(kind, group.number + 1));
  }
  return all;
}

bool StreamGroups::WantDelete(const Group& group, const Consumer& consumer) {
  std::string name = Prefix(kName, group.number);
  AppendBig32(&name, consumer.number);
  bool all = Want(name);
  all &= WantBetween(OwnedKey(group.number, consumer.number, kMinStreamId),
                     OwnedKey(group.number, consumer.number, kMaxStreamId));
  if (!all) return false;
  return ForEachPendingOf(group, consumer.number, kMinStreamId,
                          [&](StreamId id) {
                            all &= Want(IdKey(kPending, group.number, id));
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
  for (Kind kind : {kConsumer, kName, kPending, kOwned}) {
    EraseBetween(Prefix(kind, group.number), Prefix(kind, group.number + 1));
  }
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
  std::vector<StreamId> ids;
  CHECK(ForEachPendingOf(*group, consumer.number, kMinStreamId, [&](StreamId id) {
    ids.push_back(id);
    return true;
  }));
  for (StreamId id : ids) Erase(IdKey(kPending, group->number, id));
  for (StreamId id : ids) Erase(OwnedKey(group->number, consumer.number, id));
  std::string key = Prefix(kName, group->number);
  AppendBig32(&key, consumer.number);
  Erase(key);
  key = Prefix(kConsumer, group->number);
  key += name;
  Erase(key);
  --group->consumers;
  group->pending -= ids.size();
  return ids.size();
}

void StreamGroups::Put(const Group& group, const Pending& pending, const Pending* old) {
  char buffer[3 * kMaxVarintBytes];
  Write(IdKey(kPending, group.number, pending.id), Encode(pending, buffer));
  if (old != nullptr && old->consumer == pending.consumer) return;
  Write(OwnedKey(group.number, pending.consumer, pending.id), {});
  if (old != nullptr) Erase(OwnedKey(group.number, old->consumer, pending.id));
}

void StreamGroups::Remove(const Group& group, const Pending& pending) {
  Erase(IdKey(kPending, group.number, pending.id));
  Erase(OwnedKey(group.number, pending.consumer, pending.id));
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
