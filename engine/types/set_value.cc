#include "engine/types/set_value.h"

#include <string>
#include <utility>

#include "engine/base/check.h"

namespace firn {
namespace {

// Leaves of a set that is built at once are not quite full, as leaves are that grow.
constexpr uint64_t kBuiltLeafBytes = kMaxLeafBytes * 3 / 4;
// Sets with more members than this are scanned in batches whatever their encoding.
constexpr uint64_t kMaxOneBatch = 4096;

struct HashedMember {
  uint64_t hash = 0;
  std::string_view bytes;
};

std::string KeyOf(uint64_t hash) {
  std::string key(8, '\0');
  StoreBig64(key.data(), hash);
  return key;
}

PackedRow RowOf(const HashedMember& member) {
  return {.bytes = member.bytes, .tag = static_cast<uint8_t>(member.hash)};
}

bool LessInteger(std::string_view a, std::string_view b) {
  const bool negative = a[0] == '-';
  if (negative != (b[0] == '-')) return negative;
  if (a.size() != b.size()) return (a.size() < b.size()) != negative;
  return negative ? b < a : a < b;
}

}  // namespace

const char* SetEncodingName(std::string_view root) {
  switch (static_cast<SetEncoding>(RootView(root).flags())) {
    case SetEncoding::kIntset:
      return "intset";
    case SetEncoding::kListpack:
      return "listpack";
    default:
      return "hashtable";
  }
}

void SortIntegers(std::vector<std::string_view>* digits) {
  std::sort(digits->begin(), digits->end(), LessInteger);
}

// --- encoding

void SetEncodingTracker::Begin(std::string_view first_member, uint64_t expected) {
  if (expected <= limits_.max_intset_entries && IsInteger(first_member)) {
    encoding_ = SetEncoding::kIntset;
  } else {
    encoding_ =
        expected <= limits_.max_listpack_entries ? SetEncoding::kListpack : SetEncoding::kHashtable;
  }
}

void SetEncodingTracker::Expect(uint64_t members) {
  const bool listpack =
      encoding_ == SetEncoding::kListpack && members > limits_.max_listpack_entries;
  const bool intset = encoding_ == SetEncoding::kIntset && members > limits_.max_intset_entries;
  if (listpack || intset) encoding_ = SetEncoding::kHashtable;
}

void SetValue::Announce(const Announcement& announcement, const SetLimits& limits) {
  if (exists()) {
    SetEncodingTracker tracker(limits, encoding(), count());
    tracker.Expect(announcement.members);
    return tree_.SetFlags(static_cast<uint8_t>(tracker.encoding()));
  }
  SetEncodingTracker tracker(limits);
  tracker.Begin(announcement.first, announcement.members);
  std::string root{static_cast<char>(RootForm::kSmall), static_cast<char>(tracker.encoding())};
  root += PackedPage::Empty(PackedKind::kSet);
  tree_.space().CreateRoot(root);
}

void SetValue::Add(const Place& place, std::string_view member, const SetLimits& limits) {
  if (encoding() != SetEncoding::kHashtable) {
    SetEncodingTracker tracker(limits, encoding(), count());
    tracker.Add(member, [this] { return LongestMember(); });
    tree_.SetFlags(static_cast<uint8_t>(tracker.encoding()));
  }
  tree_.Insert(place, member);
}

// Of a large value, that of the pages in RAM.
uint64_t SetValue::LongestMember() {
  uint64_t longest = 0;
  const uint32_t leaves = tree_.tree().LeavesBelowTop();
  for (uint32_t i = 0; leaves != UINT32_MAX && i < leaves; ++i) {
    PackedPage page;
    if (!tree_.tree().PeekBelowTop(i, &page) || page.rows() == 0) continue;
    longest = std::max<uint64_t>(longest, page.LongestLength());
  }
  return longest;
}

void SetValue::ChooseEncodingAnew(const SetLimits& limits) {
  if (!exists() || encoding() != SetEncoding::kHashtable) return;
  SetEncodingTracker tracker(limits, SetEncoding::kListpack);
  tree_.ForEach([&](const PackedRow& row) { tracker.Add(row.bytes); });
  tree_.SetFlags(static_cast<uint8_t>(tracker.encoding()));
}

// --- ranks

std::string_view SetValue::At(uint64_t rank) {
  Place place;
  CHECK(tree_.FindRank(rank, &place));
  return tree_.Row(place).bytes;
}

// From the greatest rank down, so that the others stay what they are.
void SetValue::RemoveRanks(std::span<const uint64_t> ranks) {
  if (ranks.size() == count()) return tree_.space().DeleteValue();
  while (!ranks.empty()) {
    Place place;
    CHECK(tree_.FindRank(ranks.back(), &place));
    const uint64_t first_rank = place.leaf.first_rank;
    size_t first = ranks.size() - 1;
    while (first > 0 && ranks[first - 1] >= first_rank) --first;
    std::span<const uint64_t> here = ranks.subspan(first);
    ranks = ranks.first(first);
    if (here.size() == 1) {
      tree_.Remove(place);
      continue;
    }
    uint64_t rank = first_rank;
    tree_.RemoveIf(place.leaf, [&](const PackedRow&) {
      if (here.empty() || here.front() != rank++) return false;
      here = here.subspan(1);
      return true;
    });
  }
}

// --- all members

uint64_t SetValue::TotalBytes() {
  if (!exists()) return 0;
  CountedTree::Leaf leaf;
  CHECK(tree_.tree().FindFirst(&leaf));
  uint64_t total = 0;
  do {
    total += tree_.tree().Page(leaf).size();
  } while (tree_.tree().Next(&leaf) == CountedTree::Moved::kYes);
  return total;
}

bool SetValue::Scan(uint64_t cursor, uint64_t count, ScanBatch* batch) {
  batch->members.clear();
  batch->next = 0;
  if (!exists()) return true;
  if (encoding() != SetEncoding::kHashtable && this->count() <= kMaxOneBatch) {
    if (!WantAll()) return false;
    ForEach([&](std::string_view member) { batch->members.push_back(member); });
    return true;
  }
  HashedTree::ScanBatch rows;
  if (!tree_.Scan(cursor, count, &rows)) return false;
  batch->next = rows.next;
  batch->members.reserve(rows.rows.size());
  for (const PackedRow& row : rows.rows) batch->members.push_back(row.bytes);
  return true;
}

// --- building

void SetValue::Build(std::span<const std::string_view> members, SetEncoding encoding) {
  CHECK(!members.empty());
  std::string root{static_cast<char>(RootForm::kSmall), static_cast<char>(encoding)};
  std::vector<HashedMember> sorted;
  sorted.reserve(members.size());
  uint64_t size = PackedPage::kHeaderSize;
  for (std::string_view member : members) {
    sorted.push_back({tree_.Hash(member), member});
    size += PackedPage::RowSize(PackedKind::kSet, RowOf(sorted.back()));
  }
  PackedBuilder builder(PackedKind::kSet);
  if (size <= kMaxLeafBytes || sorted.size() == 1) {
    for (const HashedMember& member : sorted) builder.Add(RowOf(member));
    return tree_.space().CreateRoot(root + builder.Finish());
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const HashedMember& a, const HashedMember& b) { return a.hash < b.hash; });
  tree_.space().CreateRoot(root + PackedPage::Empty(PackedKind::kSet));
  bool grown = false;
  std::string separator;
  auto finish_leaf = [&](std::string next_separator) {
    std::string packed = builder.Finish();
    if (grown) {
      CountedTree::Leaf last;
      CHECK(tree_.tree().FindLast(&last));
      tree_.tree().AddLeafAfter(last, packed, separator);
    } else {
      CountedTree::NewLeaf leaf{std::move(packed), {}};
      CountedTree::Grow(&tree_.space(), {&leaf, 1});
      grown = true;
    }
    separator = std::move(next_separator);
    builder = PackedBuilder(PackedKind::kSet);
  };
  for (size_t i = 0; i < sorted.size(); ++i) {
    PackedRow row = RowOf(sorted[i]);
    const bool full = builder.size() + PackedPage::RowSize(PackedKind::kSet, row) > kBuiltLeafBytes;
    if (builder.rows() > 0 && full && sorted[i].hash != sorted[i - 1].hash) {
      finish_leaf(CountedTree::Separator(KeyOf(sorted[i - 1].hash), KeyOf(sorted[i].hash)));
    }
    builder.Add(row);
  }
  finish_leaf({});
}

}  // namespace firn
