#include "engine/types/bitmap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace firn {
namespace {

std::string RandomBytes(Random* random, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random->Below(256));
  return bytes;
}

BitRange RandomRange(Random* random, size_t bytes) {
  uint64_t begin = random->Below(bytes * 8 + 1);
  uint64_t end = random->Below(bytes * 8 + 1);
  return {std::min(begin, end), std::max(begin, end)};
}

TEST(BitmapTest, ChangesOneBitOfAByte) {
  EXPECT_EQ(WithBit('\0', 0, true), '\x80');
  EXPECT_EQ(WithBit('\0', 15, true), '\x01');
  EXPECT_EQ(WithBit('\xff', 3, false), '\xef');
  EXPECT_TRUE(BitAt("\x80", 0));
  EXPECT_FALSE(BitAt("\x80", 1));
  EXPECT_FALSE(BitAt("\x80", 8)) << "behind the end";
}

TEST(BitmapTest, CountsWhatIsSetInAnyRange) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const std::string bytes = RandomBytes(&random, random.Below(round < 200 ? 80 : 3000));
    const BitRange range = RandomRange(&random, bytes.size());
    uint64_t expected = 0;
    for (uint64_t i = range.begin; i < range.end; ++i) expected += BitAt(bytes, i) ? 1 : 0;
    ASSERT_EQ(CountBits(bytes, range), expected) << range.begin << " " << range.end;
  }
  EXPECT_EQ(CountBits(std::string(1 << 20, '\xff')), 8u << 20);
}

TEST(BitmapTest, FindsTheFirstBitInAnyRange) {
  Random random(2);
  for (int round = 0; round < 600; ++round) {
    // Long runs of equal bits, with a few others.
    const bool value = random.Below(2) == 0;
    std::string bytes(1 + random.Below(round < 400 ? 40 : 2000), value ? '\0' : '\xff');
    for (uint64_t i = random.Below(4); i > 0; --i) {
      const uint64_t at = random.Below(bytes.size() * 8);
      bytes[at / 8] = WithBit(bytes[at / 8], at, value);
    }
    const BitRange range = RandomRange(&random, bytes.size());
    uint64_t expected = range.begin;
    while (expected < range.end && BitAt(bytes, expected) != value) ++expected;
    ASSERT_EQ(FindBit(bytes, range, value), expected);
  }
}

TEST(BitmapTest, CombinesStringsOfDifferentLengths) {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    const auto operation = static_cast<BitOperation>(random.Below(4));
    std::vector<std::string> strings(operation == BitOperation::kNot ? 1 : 1 + random.Below(4));
    size_t size = 0;
    for (std::string& bytes : strings) {
      bytes = RandomBytes(&random, random.Below(round < 150 ? 200 : 20'000));
      size = std::max(size, bytes.size());
    }
    std::string expected(size, '\0');
    for (size_t at = 0; at < size; ++at) {
      auto byte = [&](size_t i) { return at < strings[i].size() ? strings[i][at] : '\0'; };
      char result = byte(0);
      if (operation == BitOperation::kNot) result = static_cast<char>(~result);
      for (size_t i = 1; i < strings.size(); ++i) {
        const int other = byte(i);
        const int both = operation == BitOperation::kAnd  ? result & other
                         : operation == BitOperation::kOr ? result | other
                                                          : result ^ other;
        result = static_cast<char>(both);
      }
      expected[at] = result;
    }
    const std::vector<std::string_view> sources(strings.begin(), strings.end());
    ASSERT_EQ(CombineBits(operation, sources), expected);
    // Into more room than there are bytes.
    std::string more(size + 100, 'x');
    CombineBits(operation, sources, more);
    ASSERT_EQ(more, expected + std::string(100, operation == BitOperation::kNot ? '\xff' : '\0'));
  }
}

// Bit by bit.
uint64_t SlowField(std::string_view bytes, const BitField& field) {
  uint64_t value = 0;
  for (uint64_t i = 0; i < field.bits; ++i) value = value << 1 | BitAt(bytes, field.offset + i);
  return value;
}

TEST(BitFieldTest, ReadsAndWritesAnyBits) {
  Random random(4);
  for (int round = 0; round < 5000; ++round) {
    std::string bytes = RandomBytes(&random, 16);
    BitField field{.offset = random.Below(140), .is_signed = random.Below(2) == 0};
    field.bits = static_cast<uint8_t>(1 + random.Below(field.is_signed ? 64 : 63));
    const int64_t read = ReadBitField(bytes, field);
    const uint64_t mask = ~uint64_t{0} >> (64 - field.bits);
    ASSERT_EQ(static_cast<uint64_t>(read) & mask, SlowField(bytes, field));
    if (!field.is_signed) {
      ASSERT_GE(read, 0);
    } else if (field.bits < 64) {
      ASSERT_EQ(read < 0, BitAt(bytes, field.offset));
    }

    const auto value = static_cast<int64_t>(random.Next());
    char changed[BitField::kMaxBytes];
    const uint32_t size = WriteBitField(bytes, field, value, changed);
    std::string before = bytes;
    before.resize(std::max<size_t>(before.size(), field.first_byte() + size));
    std::string after = before;
    after.replace(field.first_byte(), size, changed, size);
    ASSERT_EQ(SlowField(after, field), static_cast<uint64_t>(value) & mask);
    for (uint64_t i = 0; i < after.size() * 8; ++i) {
      if (i < field.offset || i >= field.offset + field.bits) {
        ASSERT_EQ(BitAt(after, i), BitAt(before, i));
      }
    }
  }
}

struct Sum {
  bool fits = false;
  int64_t value = 0;
  bool operator==(const Sum&) const = default;
};
Sum Add(const BitField& field, int64_t value, int64_t by, BitOverflow overflow) {
  Sum sum;
  sum.fits = AddToBitField(field, value, by, overflow, &sum.value);
  return sum;
}

TEST(BitFieldTest, OverflowsAsAsked) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const BitField u8{.bits = 8};
  const BitField i8{.bits = 8, .is_signed = true};
  const BitField i1{.bits = 1, .is_signed = true};
  const BitField i64{.bits = 64, .is_signed = true};
  EXPECT_EQ(Add(u8, 250, 10, BitOverflow::kWrap), (Sum{true, 4}));
  EXPECT_EQ(Add(u8, 250, 10, BitOverflow::kSaturate), (Sum{true, 255}));
  EXPECT_FALSE(Add(u8, 250, 10, BitOverflow::kFail).fits);
  EXPECT_EQ(Add(u8, 5, -10, BitOverflow::kWrap), (Sum{true, 251}));
  EXPECT_EQ(Add(u8, 5, -10, BitOverflow::kSaturate), (Sum{true, 0}));
  EXPECT_EQ(Add(u8, -1, 0, BitOverflow::kSaturate), (Sum{true, 255})) << "a very large one";
  EXPECT_EQ(Add(i8, 127, 1, BitOverflow::kWrap), (Sum{true, -128}));
  EXPECT_EQ(Add(i8, -128, -1, BitOverflow::kSaturate), (Sum{true, -128}));
  EXPECT_EQ(Add(i8, 100, 27, BitOverflow::kFail), (Sum{true, 127}));
  EXPECT_EQ(Add(i1, 0, 1, BitOverflow::kWrap), (Sum{true, -1}));
  EXPECT_EQ(Add(i1, 1, 0, BitOverflow::kSaturate), (Sum{true, 0}));
  EXPECT_EQ(Add(i64, kMax, 1, BitOverflow::kWrap), (Sum{true, kMin}));
  EXPECT_EQ(Add(i64, kMin, -1, BitOverflow::kSaturate), (Sum{true, kMin}));
  EXPECT_FALSE(Add(i64, kMax, kMax, BitOverflow::kFail).fits);
  EXPECT_EQ(Add(i8, -200, 0, BitOverflow::kSaturate), (Sum{true, -128}));
  EXPECT_EQ(Add(i8, kMin, 0, BitOverflow::kSaturate), (Sum{true, 127})) << "as Redis does";
}

#if defined(__x86_64__)
// Whether the upper halves of the vector registers are in use (XINUSE, Intel SDM volume 1, 13.6),
// which makes each instruction of SSE wait for the one before.
__attribute__((target("xsave"))) bool UpperHalvesInUse() {
  constexpr uint64_t kAvxState = 1 << 2;
  return (_xgetbv(1) & kAvxState) != 0;
}

__attribute__((target("avx"))) void ClearUpperHalves() { _mm256_zeroupper(); }

bool CanTellUpperHalves() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__builtin_cpu_supports("avx2") || !__get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx)) {
    return false;
  }
  if ((eax & 4) == 0) return false;  // XGETBV with ECX = 1
  ClearUpperHalves();
  return !UpperHalvesInUse();
}

TEST(BitmapTest, LeavesTheVectorRegistersAsFloatingPointWantsThem) {
  if (!CanTellUpperHalves()) GTEST_SKIP() << "the processor doesn't tell";
  Random random(11);
  const std::string a = RandomBytes(&random, 10'000), b = RandomBytes(&random, 10'000);
  const std::vector<std::string_view> sources = {a, b};
  for (size_t size : {size_t{10}, size_t{512}, size_t{10'000}}) {
    ClearUpperHalves();
    CountBits(std::string_view(a).substr(0, size));
    EXPECT_FALSE(UpperHalvesInUse()) << "counted " << size;
  }
  for (BitOperation operation : {BitOperation::kAnd, BitOperation::kOr, BitOperation::kXor}) {
    std::string to(10'000, '\0');
    ClearUpperHalves();
    CombineBits(operation, sources, to);
    EXPECT_FALSE(UpperHalvesInUse()) << "combined by " << static_cast<int>(operation);
  }
}
#endif

}  // namespace
}  // namespace firn
