#include "engine/keyspace/cold_map.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "engine/base/allocation.h"
#include "engine/base/check.h"
#include "engine/base/random.h"

namespace firn {
namespace {

constexpr int kMinPartitionBits = 4;
constexpr int kMaxPartitionBits = 26;
constexpr int kPositionBits = 40;
constexpr uint64_t kPositionMask = (uint64_t{1} << kPositionBits) - 1;
constexpr int kSampleAttempts = 64;

constexpr std::array<uint64_t, kSizeClasses> kClassBytes = [] {
  std::array<uint64_t, kSizeClasses> bytes{};
  bytes[0] = 64;
  for (int i = 1; i < kSizeClasses; ++i) bytes[i] = bytes[i - 1] * 13 / 10;
  return bytes;
}();
static_assert(kClassBytes.back() > uint64_t{600} << 20);
static_assert(kSizeClasses == 1 << 6, "a slot has 6 bits for the class");

// What directories that need not be mapped are before their first slot; never written.
constexpr SlotArray kNoSlots[kMappedArrayBytes / sizeof(SlotArray)] = {};

ColdSlot Unpack(uint64_t slot) {
  return {.position = slot & kPositionMask,
          .size_class = static_cast<int>(slot >> kPositionBits & (kSizeClasses - 1))};
}

uint64_t Pack(uint64_t tag, ColdSlot slot) {
  CHECK(slot.position <= kPositionMask);
  CHECK(slot.size_class >= 0 && slot.size_class < kSizeClasses);
  return tag | static_cast<uint64_t>(slot.size_class) << kPositionBits | slot.position;
}

// Calls `visit` with the index of each slot whose top 18 bits are those of `tag`, until it answers
// true.
template <typename Visitor>
inline void ForTag(SlotArray partition, uint64_t tag, uint64_t tag_mask, Visitor visit) {
  const uint64_t* slots = partition.slots();
  const uint32_t count = partition.size();
#if defined(__SSE2__)
  static_assert(SlotArray::kSlotsAtOnce == 4);
  const __m128i wanted = _mm_set1_epi32(static_cast<int32_t>(tag >> 32));
  const __m128i mask = _mm_set1_epi32(static_cast<int32_t>(tag_mask >> 32));
  for (uint32_t i = 0; i < count; i += 4) {
    const auto* at = reinterpret_cast<const float*>(slots + i);
    // The upper halves of four slots side by side.
    const __m128i upper =
        _mm_castps_si128(_mm_shuffle_ps(_mm_loadu_ps(at), _mm_loadu_ps(at + 4), 0xdd));
    const __m128i equal = _mm_cmpeq_epi32(_mm_and_si128(upper, mask), wanted);
    uint32_t matches = _mm_movemask_ps(_mm_castsi128_ps(equal));
    if (count - i < 4) matches &= (1u << (count - i)) - 1;
    for (; matches != 0; matches &= matches - 1) {
      if (visit(i + std::countr_zero(matches))) return;
    }
  }
#else
  for (uint32_t i = 0; i < count; ++i) {
    if ((slots[i] & tag_mask) == tag && visit(i)) return;
  }
#endif
}

}  // namespace

int SizeClassFor(uint64_t record_size_bytes) {
  const auto* found = std::lower_bound(kClassBytes.begin(), kClassBytes.end(), record_size_bytes);
  CHECK(found != kClassBytes.end());
  return static_cast<int>(found - kClassBytes.begin());
}

uint64_t SizeClassBytes(int size_class) {
  CHECK(size_class >= 0 && size_class < kSizeClasses);
  return kClassBytes[size_class];
}

ColdMap::ColdMap(int partition_bits) : partition_bits_(partition_bits) {
  CHECK(partition_bits >= kMinPartitionBits && partition_bits <= kMaxPartitionBits);
  const uint64_t bytes = partition_count() * sizeof(SlotArray);
  if (bytes < kMappedArrayBytes) {
    partitions_ = const_cast<SlotArray*>(kNoSlots);
  } else {
    partitions_ = static_cast<SlotArray*>(AllocateZeroedArray(bytes));
    touched_pages_.resize(bytes / kPageBytes);
  }
}

bool ColdMap::has_directory() const { return partitions_ != kNoSlots; }

ColdMap::~ColdMap() {
  while (FreeSome(partition_count())) {
  }
  if (has_directory()) FreeZeroedArray(partitions_, partition_count() * sizeof(SlotArray));
}

int ColdMap::PartitionBitsFor(uint64_t keys) {
  const int bits = std::bit_width(keys / 16) - 1;
  return std::clamp(bits, kMinPartitionBits, kMaxPartitionBits);
}

void ColdMap::Touch(uint64_t index) {
  if (touched_pages_.empty()) {
    if (has_directory()) return;
    const uint64_t bytes = partition_count() * sizeof(SlotArray);
    partitions_ = static_cast<SlotArray*>(AllocateZeroedArray(bytes));
    memory_bytes_ += bytes;
    return;
  }
  const uint64_t page = index * sizeof(SlotArray) / kPageBytes;
  if (touched_pages_[page]) return;
  touched_pages_[page] = true;
  memory_bytes_ += kPageBytes;
}

void ColdMap::ForgetPage(uint64_t index) {
  if (touched_pages_.empty()) return;
  const uint64_t page = index * sizeof(SlotArray) / kPageBytes;
  if (!touched_pages_[page]) return;
  touched_pages_[page] = false;
  memory_bytes_ -= kPageBytes;
  ForgetZeroedPage(partitions_ + index);
}

uint32_t& ColdMap::RegionOf(PackedPosition position) {
  const uint64_t region = position / kRegionPositions;
  if (region >= by_region_.size()) by_region_.resize(region + 1);
  return by_region_[region];
}

uint64_t ColdMap::CountIn(PackedPosition begin, PackedPosition end) const {
  CHECK(begin <= end);
  const auto from_region = [&](PackedPosition position) {
    const uint64_t region = (position + kRegionPositions / 2) / kRegionPositions;
    return by_region_.begin() + static_cast<ptrdiff_t>(std::min(region, by_region_.size()));
  };
  return std::accumulate(from_region(begin), from_region(end), uint64_t{0});
}

uint64_t ColdMap::DropTop(const DropRequest& request) {
  constexpr uint64_t kPartitionsPerPage = kPageBytes / sizeof(SlotArray);
  CHECK(request.floor < request.end && AlignDown(request.floor) == request.floor);
  const uint64_t floor = IndexOf(request.floor);
  uint64_t next = IndexOf(request.end - 1) + 1;
  const uint64_t begin = next - std::min(next - floor, request.max_partitions);
  while (next > begin) {
    --next;
    if (const uint32_t size = partitions_[next].size(); size != 0) {
      const uint64_t* slots = partitions_[next].slots();
      for (uint32_t i = 0; i < size; ++i) --RegionOf(slots[i] & kPositionMask);
      size_ -= size;
      partitions_[next].Free(&memory_bytes_);
    }
    if (next % kPartitionsPerPage == 0) ForgetPage(next);
  }
  if (size_ == 0 && touched_pages_.empty() && has_directory()) {
    const uint64_t bytes = partition_count() * sizeof(SlotArray);
    FreeZeroedArray(partitions_, bytes);
    memory_bytes_ -= bytes;
    partitions_ = const_cast<SlotArray*>(kNoSlots);
  }
  return next << (64 - partition_bits_);
}

void ColdMap::Insert(uint64_t hash, ColdSlot slot) {
  if (partitions_[IndexOf(hash)].size() == 0) Touch(IndexOf(hash));
  partitions_[IndexOf(hash)].Append(Pack(TagOf(hash), slot), &memory_bytes_);
  ++RegionOf(slot.position);
  ++size_;
}

uint32_t ColdMap::SlotIndex(uint64_t hash, PackedPosition position) const {
  const SlotArray partition = partitions_[IndexOf(hash)];
  uint32_t found = partition.size();
  ForTag(partition, TagOf(hash), kTagMask, [&](uint32_t i) {
    if ((partition.slots()[i] & kPositionMask) != position) return false;
    found = i;
    return true;
  });
  return found;
}

bool ColdMap::Remove(uint64_t hash, PackedPosition from) {
  SlotArray& partition = partitions_[IndexOf(hash)];
  const uint32_t index = SlotIndex(hash, from);
  if (index == partition.size()) return false;
  partition.RemoveAt(index, &memory_bytes_);
  --RegionOf(from);
  --size_;
  return true;
}

bool ColdMap::Move(uint64_t hash, PackedPosition from, ColdSlot to) {
  const SlotArray partition = partitions_[IndexOf(hash)];
  const uint32_t index = SlotIndex(hash, from);
  if (index == partition.size()) return false;
  partition.slots()[index] = Pack(TagOf(hash), to);
  --RegionOf(from);
  ++RegionOf(to.position);
  return true;
}

bool ColdMap::Contains(uint64_t hash, PackedPosition position) const {
  return SlotIndex(hash, position) != partitions_[IndexOf(hash)].size();
}

uint32_t ColdMap::Find(uint64_t hash, Candidates* found) const {
  const SlotArray partition = partitions_[IndexOf(hash)];
  uint32_t n = 0;
  ForTag(partition, TagOf(hash), kTagMask, [&](uint32_t i) {
    found->slots[n++] = Unpack(partition.slots()[i]);
    return n == kMaxCandidates;
  });
  return n;
}

bool ColdMap::MayContain(uint64_t hash) const {
  bool any = false;
  ForTag(partitions_[IndexOf(hash)], TagOf(hash), kTagMask, [&](uint32_t) { return any = true; });
  return any;
}

bool ColdMap::Sample(uint64_t random, uint64_t end, ColdSlot* slot, uint64_t* hash_prefix) const {
  if (size_ == 0) return false;
  const uint64_t used = IndexOf(end - 1) + 1;  // partitions
  Random numbers(random);
  // A slot of the partition drawn is taken with 1 / limit, so that slots of full and of thin
  // partitions are equally likely; limit is more than nearly any partition holds.
  const uint64_t limit = 2 * size_ / used + 16;
  uint64_t index = 0;
  uint64_t place = 0;
  for (int i = 0; i < kSampleAttempts; ++i) {
    index = numbers.Below(used);
    place = numbers.Below(limit);
    if (place < partitions_[index].size()) break;
  }
  // A nearly empty map: the next slot after the last place drawn.
  if (place >= partitions_[index].size()) {
    place = 0;
    while (partitions_[index].size() == 0) index = index + 1 < used ? index + 1 : 0;
  }
  const uint64_t found = partitions_[index].slots()[place];
  *slot = Unpack(found);
  *hash_prefix = index << (64 - partition_bits_) | (found & kTagMask) >> partition_bits_;
  return true;
}

uint64_t ColdMap::WalkArrays(uint64_t from, uint64_t max_partitions,
                             const std::function<void(SlotArray* array)>& visit) {
  const uint64_t all = partition_count();
  const uint64_t end = from + std::min(max_partitions, all - std::min(from, all));
  for (uint64_t i = from; i < end; ++i) {
    if (partitions_[i].size() != 0) visit(&partitions_[i]);
  }
  return end >= all ? 0 : end;
}

bool ColdMap::FreeSome(uint64_t partitions) {
  const uint64_t end = freed_ + std::min(partitions, partition_count() - freed_);
  for (; freed_ < end && size_ > 0; ++freed_) {
    // Reading alone maps nothing; writing would.
    if (partitions_[freed_].size() == 0) continue;
    size_ -= partitions_[freed_].size();
    partitions_[freed_].Free(&memory_bytes_);
  }
  return size_ > 0 && freed_ < partition_count();
}

void ColdMap::CheckInvariants() const {
  uint64_t slots = 0;
  const bool small = touched_pages_.empty() && has_directory();
  uint64_t bytes = small ? partition_count() * sizeof(SlotArray) : 0;
  for (bool touched : touched_pages_) bytes += touched ? kPageBytes : 0;
  for (uint64_t i = 0; i < partition_count(); ++i) {
    slots += partitions_[i].size();
    bytes += partitions_[i].MemoryBytes();
    CHECK((partitions_[i].slots() == nullptr) == (partitions_[i].size() == 0));
  }
  CHECK(slots == size_);
  if (freed_ == 0)
    CHECK(std::accumulate(by_region_.begin(), by_region_.end(), uint64_t{0}) == slots);
  CHECK(bytes == memory_bytes_);
}

}  // namespace firn
