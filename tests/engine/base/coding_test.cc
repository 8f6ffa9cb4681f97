#include "engine/base/coding.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

std::vector<uint64_t> InterestingNumbers() {
  std::vector<uint64_t> numbers = {0, 1, std::numeric_limits<uint64_t>::max()};
  for (int bit = 1; bit < 64; ++bit) {
    numbers.push_back((uint64_t{1} << bit) - 1);
    numbers.push_back(uint64_t{1} << bit);
  }
  return numbers;
}

TEST(CodingTest, VarintsComeBack) {
  for (uint64_t number : InterestingNumbers()) {
    uint8_t bytes[kMaxVarintBytes];
    const int size = StoreVarint(bytes, number);
    ASSERT_EQ(size, VarintSize(number));
    uint64_t loaded;
    ASSERT_EQ(LoadVarint(bytes, &loaded), size);
    ASSERT_EQ(loaded, number);
    std::string out;
    AppendVarint(&out, number);
    ByteReader reader(out);
    ASSERT_EQ(reader.Varint(), number);
    ASSERT_TRUE(reader.ok());
    ASSERT_EQ(reader.remaining(), 0u);
  }
}

TEST(CodingTest, FortyBitNumbersLeaveTheirNeighboursAlone) {
  uint8_t bytes[7] = {0xaa, 0, 0, 0, 0, 0, 0xbb};
  for (uint64_t number : InterestingNumbers()) {
    number &= (uint64_t{1} << 40) - 1;
    Store40(bytes + 1, number);
    ASSERT_EQ(Load40(bytes + 1), number);
  }
  EXPECT_EQ(bytes[0], 0xaa);
  EXPECT_EQ(bytes[6], 0xbb);
}

TEST(CodingTest, BigEndianBytesOrderAsNumbersDo) {
  Random random(1);
  for (int i = 0; i < 1'000; ++i) {
    const uint64_t a = random.Next() >> random.Below(64);
    const uint64_t b = random.Next() >> random.Below(64);
    char left[8];
    char right[8];
    StoreBig64(left, a);
    StoreBig64(right, b);
    ASSERT_EQ(std::memcmp(left, right, 8) < 0, a < b);
    ASSERT_EQ(LoadBig64(left), a);
    StoreBig32(left, static_cast<uint32_t>(a));
    ASSERT_EQ(LoadBig32(left), static_cast<uint32_t>(a));
  }
}

TEST(ByteReaderTest, ReadsWhatWasWritten) {
  std::string bytes;
  AppendFixed(&bytes, uint32_t{0x12345678});
  AppendVarint(&bytes, 300);
  bytes += "rest";
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Fixed<uint32_t>(), 0x12345678u);
  EXPECT_EQ(reader.Varint(), 300u);
  EXPECT_EQ(reader.Bytes(4), "rest");
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(ByteReaderTest, FailsForEverAfterTheFirstFailure) {
  ByteReader reader("abcd");
  EXPECT_EQ(reader.Fixed<uint64_t>(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.Fixed<uint8_t>(), 0);
  EXPECT_EQ(reader.Bytes(1), "");
  EXPECT_EQ(reader.Bytes(0), "");
  EXPECT_EQ(reader.Varint(), 0u);
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReaderTest, RefusesSizesBeyondTheEnd) {
  ByteReader reader("abcd");
  EXPECT_EQ(reader.Bytes(std::numeric_limits<uint64_t>::max()), "");
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReaderTest, RefusesVarintsThatAreCutOrTooLong) {
  for (std::string bytes :
       {std::string(), std::string(1, '\x80'), std::string(9, '\xff'), std::string(10, '\xff'),
        std::string(11, '\x80'), std::string(9, '\x80') + '\x02'}) {
    ByteReader reader(bytes);
    reader.Varint();
    EXPECT_FALSE(reader.ok()) << bytes.size();
  }
  ByteReader biggest(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10));
  EXPECT_EQ(biggest.Varint(), std::numeric_limits<uint64_t>::max());
  EXPECT_TRUE(biggest.ok());
}

// Each input in a block of its own, so that a sanitizer sees a read past the end.
TEST(ByteReaderTest, NeverReadsPastTheEndOfRandomBytes) {
  Random random(2);
  for (int round = 0; round < 20'000; ++round) {
    const size_t size = random.Below(24);
    auto block = std::make_unique<char[]>(size);
    for (size_t i = 0; i < size; ++i) {
      block[i] = static_cast<char>(random.Next() | (random.Below(2) << 7));
    }
    ByteReader reader(std::string_view(block.get(), size));
    size_t left = size;
    uint64_t sum = 0;  // so that the bytes are read
    while (reader.ok() && left > 0) {
      switch (random.Below(5)) {
        case 0:
          reader.Fixed<uint8_t>();
          break;
        case 1:
          reader.Fixed<uint32_t>();
          break;
        case 2:
          reader.Fixed<uint64_t>();
          break;
        case 3:
          reader.Varint();
          break;
        default:
          for (char c : reader.Bytes(1 + random.Below(30))) sum += static_cast<unsigned>(c);
      }
      ASSERT_LE(reader.remaining(), left);
      left = reader.remaining();
    }
  }
}

}  // namespace
}  // namespace firn
