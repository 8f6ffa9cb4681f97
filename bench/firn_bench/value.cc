#include "bench/firn_bench/value.h"

#include <algorithm>
#include <cstring>

#include "bench/firn_bench/mix.h"

namespace firn::bench {

namespace {

constexpr size_t kHeaderBytes = 16;
constexpr size_t kChunkBytes = 64;
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

uint64_t Pack(const ValueTag& tag) {
  return tag.key | (uint64_t{tag.version} << 40) | (uint64_t{tag.compressible_percent} << 56);
}

ValueTag Unpack(uint64_t word) {
  return {.key = word & kMaxKeyIndex,
          .version = static_cast<uint32_t>((word >> 40) & kMaxVersion),
          .compressible_percent = static_cast<uint32_t>(word >> 56)};
}

uint64_t Checksum(uint64_t word, size_t size) { return Mix(word ^ Mix(size + kGolden)); }

void FillBody(uint64_t seed, char* out, size_t size) {
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t word = Mix(seed += kGolden);
    std::memcpy(out + at, &word, 8);
  }
  uint64_t word = Mix(seed + kGolden);
  std::memcpy(out + at, &word, size - at);
}

void MakeCompressible(uint32_t percent, char* out, size_t size) {
  size_t random_bytes = kChunkBytes * (100 - percent) / 100;
  for (size_t at = random_bytes; at < size; at += kChunkBytes) {
    std::memset(out + at, 'x', std::min(kChunkBytes - random_bytes, size - at));
  }
}

bool Accepts(const std::vector<VersionRange>& accepted, uint32_t version) {
  return std::ranges::any_of(accepted, [version](const VersionRange& range) {
    return version >= range.first && version <= range.last;
  });
}

// Too short to name its version: right when some accepted version would give these bytes.
CheckedValue CheckShort(uint64_t key, const std::vector<VersionRange>& accepted,
                        std::string_view value) {
  char expected[8];
  for (const VersionRange& range : accepted) {
    for (uint32_t version = range.first; version <= range.last; ++version) {
      FillValue({.key = key, .version = version}, expected, value.size());
      if (std::memcmp(expected, value.data(), value.size()) == 0) {
        return {.verdict = ValueVerdict::kRight, .tag = {}};
      }
    }
  }
  return {};
}

}  // namespace

void FillValue(const ValueTag& tag, char* out, size_t size) {
  ValueTag effective = tag;
  if (size <= kHeaderBytes) effective.compressible_percent = 0;
  uint64_t word = Pack(effective);
  uint64_t checksum = Checksum(word, size);
  if (size < 8) {
    std::memcpy(out, &checksum, size);
    return;
  }
  uint64_t mixed = Mix(word + kGolden);
  std::memcpy(out, &mixed, 8);
  std::memcpy(out + 8, &checksum, std::min<size_t>(8, size - 8));
  if (size <= kHeaderBytes) return;
  FillBody(checksum, out + kHeaderBytes, size - kHeaderBytes);
  if (effective.compressible_percent > 0) {
    MakeCompressible(effective.compressible_percent, out + kHeaderBytes, size - kHeaderBytes);
  }
}

const char* VerdictName(ValueVerdict verdict) {
  switch (verdict) {
    case ValueVerdict::kRight:
      return "right";
    case ValueVerdict::kForeign:
      return "another key's value";
    case ValueVerdict::kStale:
      return "a version that is not expected";
    case ValueVerdict::kDamaged:
      return "damaged";
  }
  return "?";
}

CheckedValue CheckValue(uint64_t key, const std::vector<VersionRange>& accepted,
                        std::string_view value, std::string& scratch) {
  if (value.size() < 8) return CheckShort(key, accepted, value);
  uint64_t mixed;
  std::memcpy(&mixed, value.data(), 8);
  ValueTag tag = Unpack(Unmix(mixed) - kGolden);
  if (tag.compressible_percent > 100) return {};
  if (scratch.size() < value.size()) scratch.resize(value.size());
  FillValue(tag, scratch.data(), value.size());
  if (std::memcmp(scratch.data(), value.data(), value.size()) != 0) return {};
  if (tag.key != key) return {.verdict = ValueVerdict::kForeign, .tag = tag};
  if (!Accepts(accepted, tag.version)) return {.verdict = ValueVerdict::kStale, .tag = tag};
  return {.verdict = ValueVerdict::kRight, .tag = tag};
}

size_t ValueSizes::SizeOf(uint64_t key, uint32_t version) const {
  const Range* range = &choices[0];
  if (choices.size() == 1 && range->first == range->last) return range->first;
  uint64_t hash = Mix(Mix(key + kGolden) + version);
  range = &choices[(hash >> 32) % choices.size()];
  return range->first + (hash & 0xffffffff) % (uint64_t{range->last} - range->first + 1);
}

size_t ValueSizes::Largest() const {
  size_t largest = 0;
  for (const Range& range : choices) largest = std::max<size_t>(largest, range.last);
  return largest;
}

}  // namespace firn::bench
