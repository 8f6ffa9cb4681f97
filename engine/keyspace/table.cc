#include "engine/keyspace/table.h"

#include <algorithm>
#include <bit>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "engine/base/allocation.h"
#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/random.h"

namespace firn {
namespace {

constexpr uint64_t kMaxMeanPartition = 32;
constexpr uint64_t kMinMeanPartition = 8;
constexpr int kMaxDepth = 40;
constexpr int kPartitionsPerStep = 16;
constexpr int kSampleAttempts = 64;
constexpr uint64_t kCacheLineBytes = 64;

Entry* EntryOf(uint64_t slot) { return reinterpret_cast<Entry*>(slot & SlotArray::kPointerMask); }

uint64_t MakeSlot(uint64_t tag, const Entry* entry) {
  return tag << 48 | reinterpret_cast<uint64_t>(entry);
}

// Calls `visit` with the index of each slot that has this tag, until it answers true.
template <typename Visitor>
inline void ForTag(SlotArray partition, uint64_t tag, Visitor visit) {
  const uint64_t* slots = partition.slots();
  const uint32_t count = partition.size();
#if defined(__SSE2__)
  static_assert(SlotArray::kSlotsAtOnce == 4);
  const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(tag));
  for (uint32_t i = 0; i < count; i += 4) {
    const auto* at = reinterpret_cast<const __m128i*>(slots + i);
    const __m128i low = _mm_cmpeq_epi16(_mm_loadu_si128(at), wanted);
    const __m128i high = _mm_cmpeq_epi16(_mm_loadu_si128(at + 1), wanted);
    // Four 16-bit lanes a slot, of which the last is the tag, become four bits.
    uint32_t matches = _mm_movemask_epi8(_mm_packs_epi16(low, high)) & 0x8888;
    if (count - i < 4) matches &= (1u << 4 * (count - i)) - 1;
    for (; matches != 0; matches &= matches - 1) {
      if (visit(i + std::countr_zero(matches) / 4)) return;
    }
  }
#else
  for (uint32_t i = 0; i < count; ++i) {
    if (slots[i] >> 48 == tag && visit(i)) return;
  }
#endif
}

}  // namespace

Table::Table(HashSecret secret) : secret_(secret) { current_ = NewDirectory(0); }

Table::~Table() {
  while (FreeSome(~uint64_t{0})) {
  }
  if (resizing()) FreeDirectory(&next_);
  FreeDirectory(&current_);
  CHECK(memory_bytes_ == 0);
}

Table::Directory Table::NewDirectory(int depth) {
  CHECK(depth <= kMaxDepth);
  Directory directory = {.depth = depth};
  const uint64_t bytes = directory.size() * sizeof(SlotArray);
  directory.partitions = static_cast<SlotArray*>(AllocateZeroedArray(bytes));
  memory_bytes_ += bytes;
  return directory;
}

void Table::FreeDirectory(Directory* directory) {
  const uint64_t bytes = directory->size() * sizeof(SlotArray);
  FreeZeroedArray(directory->partitions, bytes);
  memory_bytes_ -= bytes;
  *directory = {};
}

Entry* Table::Find(const HashedKey& key) const {
  const Directory& directory = DirectoryOf(key.hash);
  const SlotArray partition = directory.partitions[directory.IndexOf(key.hash)];
  const uint64_t tag = directory.TagOf(key.hash);
  if (places_ != nullptr) [[likely]] {
    const Place& place = (*places_)[key.hash % kPlaces];
    if (place.hash == key.hash && place.slot < partition.size()) {
      const Slot slot = partition.slots()[place.slot];
      if (slot >> 48 == tag && SameBytes(EntryOf(slot)->key(), key.bytes)) return EntryOf(slot);
    }
  }
  Entry* found = nullptr;
  ForTag(partition, tag, [&](uint32_t i) {
    Entry* entry = EntryOf(partition.slots()[i]);
    // Most entries lie across two lines; the caller will want the second as well.
    __builtin_prefetch(reinterpret_cast<const char*>(entry) + kCacheLineBytes);
    if (!SameBytes(entry->key(), key.bytes)) return false;
    found = entry;
    return true;
  });
  return found;
}

void Table::Prefetch(uint64_t hash) const {
  const Directory& directory = DirectoryOf(hash);
  const SlotArray partition = directory.partitions[directory.IndexOf(hash)];
  const auto* slots = reinterpret_cast<const char*>(partition.slots());
  for (uint64_t at = 0; at < partition.size() * sizeof(Slot); at += kCacheLineBytes) {
    __builtin_prefetch(slots + at);
  }
}

void Table::PrefetchEntry(uint64_t hash) const {
  if (places_ == nullptr) [[unlikely]]
    places_ = std::make_unique<std::array<Place, kPlaces>>();
  const Directory& directory = DirectoryOf(hash);
  const SlotArray partition = directory.partitions[directory.IndexOf(hash)];
  ForTag(partition, directory.TagOf(hash), [&](uint32_t i) {
    (*places_)[hash % kPlaces] = {hash, i};
    const auto* entry = reinterpret_cast<const char*>(EntryOf(partition.slots()[i]));
    __builtin_prefetch(entry);
    __builtin_prefetch(entry + kCacheLineBytes);
    return false;
  });
}

uint64_t Table::SlotIndex(const Directory& directory, uint64_t hash, const Entry* entry) const {
  const SlotArray& partition = directory.partitions[directory.IndexOf(hash)];
  const Slot slot = MakeSlot(directory.TagOf(hash), entry);
  const Slot* end = partition.slots() + partition.size();
  const Slot* found = std::find(partition.slots(), const_cast<Slot*>(end), slot);
  CHECK_MSG(found != end, "the entry is not in the table under this key");
  return found - partition.slots();
}

void Table::Insert(const HashedKey& key, Entry* entry) {
  MaybeBeginResize();
  if (resizing()) AdvanceResize();
  CHECK((reinterpret_cast<uint64_t>(entry) & ~SlotArray::kPointerMask) == 0);
  const Directory& directory = DirectoryOf(key.hash);
  directory.partitions[directory.IndexOf(key.hash)].Append(
      MakeSlot(directory.TagOf(key.hash), entry), &memory_bytes_);
  ++size_;
}

void Table::Replace(const HashedKey& key, Entry* old, Entry* entry) {
  const Directory& directory = DirectoryOf(key.hash);
  const uint64_t index = SlotIndex(directory, key.hash, old);
  CHECK((reinterpret_cast<uint64_t>(entry) & ~SlotArray::kPointerMask) == 0);
  directory.partitions[directory.IndexOf(key.hash)].slots()[index] =
      MakeSlot(directory.TagOf(key.hash), entry);
}

void Table::Remove(const HashedKey& key, Entry* entry) {
  const Directory& directory = DirectoryOf(key.hash);
  const uint64_t index = SlotIndex(directory, key.hash, entry);
  directory.partitions[directory.IndexOf(key.hash)].RemoveAt(index, &memory_bytes_);
  --size_;
  MaybeBeginResize();
  if (resizing()) AdvanceResize();
}

uint64_t Table::WalkArrays(uint64_t from, uint64_t max_partitions,
                           const std::function<void(SlotArray* array)>& visit) {
  const uint64_t first = current_.size();
  const uint64_t all = first + (resizing() ? next_.size() : 0);
  const uint64_t end = from + std::min(max_partitions, all - std::min(from, all));
  for (uint64_t i = from; i < end; ++i) {
    SlotArray& array = i < first ? current_.partitions[i] : next_.partitions[i - first];
    if (array.size() != 0) visit(&array);
  }
  return end >= all ? 0 : end;
}

// --- resizing

void Table::MaybeBeginResize() {
  if (resizing()) return;
  if (size_ > kMaxMeanPartition << current_.depth) {
    next_ = NewDirectory(current_.depth + 1);
  } else if (current_.depth > 0 && size_ < kMinMeanPartition << current_.depth) {
    next_ = NewDirectory(current_.depth - 1);
  }
}

void Table::AdvanceResize() {
  if (next_.depth > current_.depth) {
    SplitNext();
  } else {
    MergeNext();
  }
  if (moved_ < current_.size()) return;
  FreeDirectory(&current_);
  current_ = next_;
  next_ = {};
  moved_ = 0;
}

void Table::SplitNext() {
  SlotArray& from = current_.partitions[moved_];
  SlotArray* to = next_.partitions + 2 * moved_;
  const uint32_t count = from.size();
  for (uint32_t i = 0; i < count; ++i) __builtin_prefetch(EntryOf(from.slots()[i]));
  // The new tag takes the old one's place; which half the entry goes to is kept in the pointer's
  // lowest bit, which the allocator's alignment leaves free.
  uint32_t counts[2] = {0, 0};
  for (uint32_t i = 0; i < count; ++i) {
    const Entry* entry = EntryOf(from.slots()[i]);
    const uint64_t hash = HashOf(entry->key());
    const uint64_t half = next_.IndexOf(hash) & 1;
    from.slots()[i] = MakeSlot(next_.TagOf(hash), entry) | half;
    ++counts[half];
  }
  to[0].Allocate(counts[0], &memory_bytes_);
  to[1].Allocate(counts[1], &memory_bytes_);
  Slot* out[2] = {to[0].slots(), to[1].slots()};
  for (uint32_t i = 0; i < count; ++i) {
    const Slot slot = from.slots()[i];
    *out[slot & 1]++ = slot & ~Slot{1};
  }
  from.Free(&memory_bytes_);
  ++moved_;
}

void Table::MergeNext() {
  SlotArray* from = current_.partitions + moved_;
  SlotArray& to = next_.partitions[moved_ / 2];
  to.Allocate(from[0].size() + from[1].size(), &memory_bytes_);
  Slot* out = to.slots();
  for (uint64_t half = 0; half < 2; ++half) {
    for (uint32_t i = 0; i < from[half].size(); ++i) {
      const Slot slot = from[half].slots()[i];
      *out++ = MakeSlot(half << 15 | slot >> 49, EntryOf(slot));
    }
    from[half].Free(&memory_bytes_);
  }
  moved_ += 2;
}

bool Table::Step() {
  MaybeBeginResize();
  for (int i = 0; i < kPartitionsPerStep && resizing(); ++i) AdvanceResize();
  return resizing();
}

// --- going over the entries

uint64_t Table::Walk(uint64_t hash, uint64_t max_entries,
                     const std::function<void(Entry* entry)>& visit) const {
  uint64_t visited = 0;
  do {
    const Directory& directory = DirectoryOf(hash);
    const uint64_t index = directory.IndexOf(hash);
    const SlotArray& partition = directory.partitions[index];
    for (uint32_t i = 0; i < partition.size(); ++i) visit(EntryOf(partition.slots()[i]));
    visited += partition.size();
    // The last partition's end is 2^64, which is 0: wrapped.
    hash = (index + 1) << 1 << (63 - directory.depth);
  } while (hash != 0 && visited < max_entries);
  return hash;
}

void Table::WalkRange(uint64_t first, uint64_t last,
                      const std::function<void(Entry* entry)>& visit) const {
  CHECK(first <= last);
  uint64_t hash = first;
  while (true) {
    const Directory& directory = DirectoryOf(hash);
    const uint64_t index = directory.IndexOf(hash);
    const uint64_t begin = index << 1 << (63 - directory.depth);
    const uint64_t end = begin + (~uint64_t{0} >> directory.depth);  // inclusive
    const bool whole = first <= begin && end <= last;
    const SlotArray& partition = directory.partitions[index];
    for (uint32_t i = 0; i < partition.size(); ++i) {
      Entry* entry = EntryOf(partition.slots()[i]);
      if (!whole) {
        const uint64_t entry_hash = HashOf(entry->key());
        if (entry_hash < first || entry_hash > last) continue;
      }
      visit(entry);
    }
    if (end >= last) return;
    hash = end + 1;
  }
}

Entry* Table::Sample(uint64_t random) const {
  if (size_ == 0) return nullptr;
  Random numbers(random);
  // A partition's chance to be met is its share of the hash space, and an entry in it is taken with
  // 1 / limit, where limit is in proportion to that share: so every entry is equally likely. The
  // limit is more than the entries of nearly any partition.
  const int max_depth = std::max(current_.depth, next_.depth);
  const uint64_t slack = current_.depth == 0 && !resizing() ? 0 : 16;
  uint64_t hash = 0;
  for (int i = 0; i < kSampleAttempts; ++i) {
    hash = numbers.Next();
    const Directory& directory = DirectoryOf(hash);
    const SlotArray& partition = directory.partitions[directory.IndexOf(hash)];
    const uint64_t limit =
        slack == 0 ? size_
                   : (2 * size_ >> directory.depth) + (slack << (max_depth - directory.depth));
    const uint64_t index = numbers.Below(limit);
    if (index < partition.size()) return EntryOf(partition.slots()[index]);
  }
  // So thin a table is rare: much was removed, and shrinking hasn't caught up.
  Entry* found = nullptr;
  uint64_t cursor = hash;
  while (found == nullptr) cursor = Walk(cursor, 1, [&](Entry* entry) { found = entry; });
  return found;
}

// --- the end

bool Table::FreeSome(uint64_t entries) {
  uint64_t done = 0;
  const uint64_t total = current_.size() + (resizing() ? next_.size() : 0);
  for (; freed_ < total && done < std::max<uint64_t>(entries, 1); ++freed_) {
    SlotArray& partition = freed_ < current_.size() ? current_.partitions[freed_]
                                                    : next_.partitions[freed_ - current_.size()];
    for (uint32_t i = 0; i < partition.size(); ++i) Entry::Free(EntryOf(partition.slots()[i]));
    done += std::max<uint64_t>(partition.size(), 1);
    size_ -= partition.size();
    partition.Free(&memory_bytes_);
  }
  return freed_ < total;
}

void Table::CheckInvariants() const {
  uint64_t bytes = 0;
  uint64_t entries = 0;
  auto check = [&](const Directory& directory) {
    bytes += directory.size() * sizeof(SlotArray);
    for (uint64_t index = 0; index < directory.size(); ++index) {
      const SlotArray& partition = directory.partitions[index];
      bytes += partition.MemoryBytes();
      entries += partition.size();
      for (uint32_t i = 0; i < partition.size(); ++i) {
        const Slot slot = partition.slots()[i];
        const uint64_t hash = HashOf(EntryOf(slot)->key());
        CHECK(slot == MakeSlot(directory.TagOf(hash), EntryOf(slot)));
        CHECK(directory.IndexOf(hash) == index);
        CHECK(&DirectoryOf(hash) == &directory);
      }
    }
  };
  check(current_);
  if (resizing()) check(next_);
  CHECK(resizing() || moved_ == 0);
  CHECK(bytes == memory_bytes_);
  CHECK(entries == size_);
}

}  // namespace firn
