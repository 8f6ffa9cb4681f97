// Values that describe themselves: every byte is a function of key, version, length and
// compressibility, and the first 16 bytes tell which, so that a reader finds a foreign, stale, torn
// or damaged value without a copy of what was written.
//
//   0   8  key (40 bits), version (16), compressible percent (8), mixed to look random
//   8   8  checksum of the word above and of the length; it seeds the body
//  16   n  body: random bytes; in each 64, the last `percent` per cent are 'x'
//
// A shorter value has as much of this as fits; under 8 bytes, as much of the checksum.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace firn::bench {

constexpr uint64_t kMaxKeyIndex = (uint64_t{1} << 40) - 1;
constexpr uint32_t kMaxVersion = (1 << 16) - 1;

struct ValueTag {
  uint64_t key = 0;
  uint32_t version = 0;
  uint32_t compressible_percent = 0;

  bool operator==(const ValueTag&) const = default;
};

// Writes `size` bytes at `out`. REQUIRES: key <= kMaxKeyIndex, version <= kMaxVersion,
// compressible_percent <= 100.
void FillValue(const ValueTag& tag, char* out, size_t size);

struct VersionRange {
  uint32_t first = 0;
  uint32_t last = 0;
};

enum class ValueVerdict {
  kRight,
  kForeign,  // whole, but another key's
  kStale,    // whole and this key's, but of a version that is not accepted
  kDamaged,
};
const char* VerdictName(ValueVerdict verdict);

struct CheckedValue {
  ValueVerdict verdict = ValueVerdict::kDamaged;
  // What the value says of itself, where it is whole; zeros in values under 8 bytes.
  ValueTag tag;
};

// `scratch` is the caller's, grown as needed, so that checks allocate nothing in the long run.
CheckedValue CheckValue(uint64_t key, const std::vector<VersionRange>& accepted,
                        std::string_view value, std::string& scratch);

// How long a version of a key is: fixed, uniform in a range, or one of a list; a function of key
// and version, so that any run repeats it.
struct ValueSizes {
  struct Range {
    uint32_t first = 0;
    uint32_t last = 0;
  };
  std::vector<Range> choices = {{1024, 1024}};  // each equally likely

  size_t SizeOf(uint64_t key, uint32_t version) const;
  size_t Largest() const;
};

}  // namespace firn::bench
