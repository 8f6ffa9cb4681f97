#include "engine/types/bitmap.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/base/check.h"

namespace firn {
namespace {

const uint8_t* Bytes(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

uint64_t LoadWord(const uint8_t* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// --- counting

uint64_t CountPortable(const uint8_t* at, size_t size) {
  uint64_t count = 0;
  for (; size >= 8; at += 8, size -= 8) {
    count += static_cast<uint64_t>(std::popcount(LoadWord(at)));
  }
  for (; size > 0; ++at, --size) {
    count += static_cast<uint64_t>(std::popcount(*at));
  }
  return count;
}

#if defined(__x86_64__)
// Four sums, so that the additions don't wait for each other.
__attribute__((target("popcnt"))) uint64_t CountByWord(const uint8_t* at, size_t size) {
  uint64_t counts[4] = {};
  for (; size >= 32; at += 32, size -= 32) {
    for (int i = 0; i < 4; ++i) {
      counts[i] += static_cast<uint64_t>(__builtin_popcountll(LoadWord(at + 8 * i)));
    }
  }
  uint64_t count = counts[0] + counts[1] + counts[2] + counts[3];
  for (; size >= 8; at += 8, size -= 8) {
    count += static_cast<uint64_t>(__builtin_popcountll(LoadWord(at)));
  }
  uint64_t rest = 0;
  std::memcpy(&rest, at, size);
  return count + static_cast<uint64_t>(__builtin_popcountll(rest));
}

// The bits of each half byte are looked up in a table, and the counts of bytes are added up before
// they could overflow.
__attribute__((target("avx2,popcnt"))) uint64_t CountByVector(const uint8_t* at, size_t size) {
  constexpr int kUnrolled = 8;
  constexpr size_t kBlock = kUnrolled * 32;
  const __m256i bits_of = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low_half = _mm256_set1_epi8(0x0f);
  __m256i total = _mm256_setzero_si256();
  for (; size >= kBlock; at += kBlock, size -= kBlock) {
    __m256i counts = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int i = 0; i < kUnrolled; ++i) {
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32 * i));
      const __m256i low = _mm256_and_si256(bytes, low_half);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_half);
      counts = _mm256_add_epi8(counts, _mm256_add_epi8(_mm256_shuffle_epi8(bits_of, low),
                                                       _mm256_shuffle_epi8(bits_of, high)));
    }
    total = _mm256_add_epi64(total, _mm256_sad_epu8(counts, _mm256_setzero_si256()));
  }
  uint64_t sums[4];
  std::memcpy(sums, &total, sizeof sums);
  // GCC 12 takes the call below for one that does it, and it doesn't: all floating point of the
  // process would run at a quarter of its speed from here on.
  _mm256_zeroupper();
  return sums[0] + sums[1] + sums[2] + sums[3] + CountByWord(at, size);
}
#endif

using CountFunction = uint64_t (*)(const uint8_t* at, size_t size);

CountFunction ChooseCount() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) return CountByVector;
  if (__builtin_cpu_supports("popcnt")) return CountByWord;
#endif
  return CountPortable;
}

// --- combining

// Eight words at a time, which the compiler keeps in vector registers.
template <typename Combine>
inline __attribute__((always_inline)) void CombineInto(uint8_t* to, const uint8_t* from,
                                                       size_t size, Combine combine) {
  constexpr size_t kWords = 8;
  for (; size >= kWords * 8; to += kWords * 8, from += kWords * 8, size -= kWords * 8) {
    uint64_t a[kWords], b[kWords];
    std::memcpy(a, to, sizeof a);
    std::memcpy(b, from, sizeof b);
    for (size_t i = 0; i < kWords; ++i) a[i] = combine(a[i], b[i]);
    std::memcpy(to, a, sizeof a);
  }
  for (; size > 0; ++to, ++from, --size) {
    *to = static_cast<uint8_t>(combine(uint64_t{*to}, uint64_t{*from}));
  }
}

inline __attribute__((always_inline)) void CombineOne(BitOperation operation, uint8_t* to,
                                                      const uint8_t* from, size_t size) {
  switch (operation) {
    case BitOperation::kAnd:
      return CombineInto(to, from, size, [](uint64_t a, uint64_t b) { return a & b; });
    case BitOperation::kOr:
      return CombineInto(to, from, size, [](uint64_t a, uint64_t b) { return a | b; });
    case BitOperation::kXor:
      return CombineInto(to, from, size, [](uint64_t a, uint64_t b) { return a ^ b; });
    case BitOperation::kNot:
      return CombineInto(to, from, size, [](uint64_t, uint64_t b) { return ~b; });
  }
}

using CombineFunction = void (*)(BitOperation operation, uint8_t* to, const uint8_t* from,
                                 size_t size);

void CombinePortable(BitOperation operation, uint8_t* to, const uint8_t* from, size_t size) {
  CombineOne(operation, to, from, size);
}

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) void CombineByVector(BitOperation operation,
                                                                     uint8_t* to,
                                                                     const uint8_t* from,
                                                                     size_t size) {
  CombineOne(operation, to, from, size);
}
#endif

CombineFunction ChooseCombine() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return CombineByVector;
#endif
  return CombinePortable;
}

// One part of the result, small enough for the processor's cache.
void CombinePart(BitOperation operation, std::span<const std::string_view> sources, uint64_t offset,
                 uint8_t* to, size_t size) {
  static const CombineFunction combine = ChooseCombine();
  auto part = [&](size_t source) {
    std::string_view bytes = sources[source];
    return offset < bytes.size() ? bytes.substr(offset, size) : std::string_view();
  };
  std::string_view first = part(0);
  if (operation == BitOperation::kNot) return combine(operation, to, Bytes(first), first.size());
  std::copy(first.begin(), first.end(), to);
  std::memset(to + first.size(), 0, size - first.size());
  for (size_t i = 1; i < sources.size(); ++i) {
    std::string_view next = part(i);
    combine(operation, to, Bytes(next), next.size());
    if (operation == BitOperation::kAnd) {
      std::memset(to + next.size(), 0, size - next.size());
    }
  }
}

}  // namespace

uint64_t CountBits(std::string_view bytes) {
  static const CountFunction count = ChooseCount();
  return count(Bytes(bytes), bytes.size());
}

uint64_t CountBits(std::string_view bytes, BitRange range) {
  if (range.empty()) return 0;
  CHECK(range.end <= bytes.size() * 8);
  const uint64_t first = range.begin >> 3;
  const uint64_t last = (range.end - 1) >> 3;
  uint64_t count = CountBits(bytes.substr(first, last - first + 1));
  // Less what lies in the first and the last byte outside the range.
  const auto before = static_cast<uint8_t>(~(0xffu >> (range.begin & 7)));
  const auto after = static_cast<uint8_t>(0x7fu >> ((range.end - 1) & 7));
  count -= static_cast<uint64_t>(std::popcount<uint8_t>(Bytes(bytes)[first] & before));
  count -= static_cast<uint64_t>(std::popcount<uint8_t>(Bytes(bytes)[last] & after));
  return count;
}

uint64_t FindBit(std::string_view bytes, BitRange range, bool value) {
  if (range.empty()) return range.end;
  CHECK(range.end <= bytes.size() * 8);
  const uint8_t* data = Bytes(bytes);
  const uint64_t end_byte = (range.end + 7) >> 3;
  // What is looked for becomes a one.
  const uint64_t flip = value ? 0 : ~uint64_t{0};
  uint64_t at = range.begin >> 3;
  auto found_in = [&](uint8_t byte) {
    return std::min(at * 8 + static_cast<uint64_t>(std::countl_zero(byte)), range.end);
  };
  auto first = static_cast<uint8_t>((data[at] ^ flip) & (0xffu >> (range.begin & 7)));
  if (first != 0) return found_in(first);
  ++at;
  for (; at + 32 <= end_byte; at += 32) {
    uint64_t any = 0;
    for (uint64_t i = 0; i < 4; ++i) any |= LoadWord(data + at + 8 * i) ^ flip;
    if (any != 0) break;
  }
  for (; at < end_byte; ++at) {
    auto byte = static_cast<uint8_t>(data[at] ^ flip);
    if (byte != 0) return found_in(byte);
  }
  return range.end;
}

std::string CombineBits(BitOperation operation, std::span<const std::string_view> sources) {
  CHECK(!sources.empty() && (operation != BitOperation::kNot || sources.size() == 1));
  size_t size = 0;
  for (std::string_view source : sources) size = std::max(size, source.size());
  std::string result;
  result.resize_and_overwrite(size, [&](char* to, size_t) {
    constexpr size_t kPart = 8192;
    for (size_t at = 0; at < size; at += kPart) {
      CombinePart(operation, sources, at, reinterpret_cast<uint8_t*>(to) + at,
                  std::min(kPart, size - at));
    }
    return size;
  });
  return result;
}

void CombineBits(BitOperation operation, std::span<const std::string_view> sources,
                 std::span<char> to) {
  CHECK(!sources.empty() && (operation != BitOperation::kNot || sources.size() == 1));
  CombinePart(operation, sources, 0, reinterpret_cast<uint8_t*>(to.data()), to.size());
  if (operation == BitOperation::kNot) {
    const size_t given = sources[0].size();
    std::memset(to.data() + given, 0xff, to.size() - given);
  }
}

// --- bit fields

namespace {

using Wide = unsigned __int128;

uint64_t LowBits(uint8_t bits) { return ~uint64_t{0} >> (64 - bits); }

// The field's bytes as one number, the first byte on top; behind the end of the string are zeros.
Wide LoadField(std::string_view bytes, const BitField& field) {
  Wide wide = 0;
  for (uint64_t at = field.first_byte(); at < field.end_byte(); ++at) {
    wide = wide << 8 | (at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : 0);
  }
  return wide;
}

// By how much LoadField's number holds the field too far left.
uint32_t FieldShift(const BitField& field) {
  return static_cast<uint32_t>(field.end_byte() * 8 - field.offset - field.bits);
}

int64_t Extend(const BitField& field, uint64_t value) {
  value &= LowBits(field.bits);
  if (field.is_signed && (value >> (field.bits - 1) & 1) != 0) value |= ~LowBits(field.bits);
  return static_cast<int64_t>(value);
}

}  // namespace

int64_t ReadBitField(std::string_view bytes, const BitField& field) {
  return Extend(field, static_cast<uint64_t>(LoadField(bytes, field) >> FieldShift(field)));
}

uint32_t WriteBitField(std::string_view bytes, const BitField& field, int64_t value,
                       char (&changed)[BitField::kMaxBytes]) {
  const Wide mask = Wide{LowBits(field.bits)} << FieldShift(field);
  const Wide placed = Wide{static_cast<uint64_t>(value)} << FieldShift(field);
  Wide wide = (LoadField(bytes, field) & ~mask) | (placed & mask);
  const auto size = static_cast<uint32_t>(field.end_byte() - field.first_byte());
  for (uint32_t i = size; i > 0; --i, wide >>= 8) changed[i - 1] = static_cast<char>(wide);
  return size;
}

bool AddToBitField(const BitField& field, int64_t value, int64_t by, BitOverflow overflow,
                   int64_t* sum) {
  __int128 wide = field.is_signed ? __int128{value} : __int128{static_cast<uint64_t>(value)};
  wide += by;
  const auto max = static_cast<__int128>(LowBits(field.bits) >> (field.is_signed ? 1 : 0));
  const __int128 min = field.is_signed ? -max - 1 : __int128{0};
  if (wide >= min && wide <= max) {
    *sum = static_cast<int64_t>(wide);
    return true;
  }
  switch (overflow) {
    case BitOverflow::kWrap:
      *sum = Extend(field, static_cast<uint64_t>(wide));
      return true;
    case BitOverflow::kSaturate:
      // Redis takes the distance of a value far below from the maximum in 64 bits, where it
      // overflows, and saturates at the wrong end.
      wide = field.bits < 64 && max - value > std::numeric_limits<int64_t>::max() ? max + 1 : wide;
      *sum = static_cast<int64_t>(wide > max ? max : min);
      return true;
    case BitOverflow::kFail:
      return false;
  }
  return false;
}

}  // namespace firn
