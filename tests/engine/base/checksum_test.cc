#include <gtest/gtest.h>

#include <string>

#include "engine/base/crc32c.h"
#include "engine/base/random.h"
#include "engine/base/siphash.h"

namespace firn {
namespace {

std::string Ascending(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}

// RFC 3720, appendix B.4.
TEST(Crc32cTest, GivesTheAnswersOfTheStandard) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  const std::string ascending = Ascending(32);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c(std::string(ascending.rbegin(), ascending.rend())), 0x113fdb5cu);
  // An iSCSI read command.
  const unsigned char command[48] = {0x01, 0xc0, 0,    0, 0, 0, 0, 0,    0, 0, 0,   0, 0,    0, 0,
                                     0,    0x14, 0,    0, 0, 0, 0, 0x04, 0, 0, 0,   0, 0x14, 0, 0,
                                     0,    0x18, 0x28, 0, 0, 0, 0, 0,    0, 0, 0x02};
  EXPECT_EQ(Crc32c(0, command, sizeof command), 0xd9963a56u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32cTest, ContinuesOverPieces) {
  Random random(1);
  std::string bytes(1'000, '\0');
  for (char& c : bytes) c = static_cast<char>(random.Next());
  const uint32_t whole = Crc32c(bytes);
  for (int i = 0; i < 200; ++i) {
    const size_t cut = random.Below(bytes.size() + 1);
    const uint32_t first = Crc32c(0, bytes.data(), cut);
    ASSERT_EQ(Crc32c(first, bytes.data() + cut, bytes.size() - cut), whole);
  }
}

TEST(Crc32cTest, EveryFlippedBitShows) {
  std::string bytes = Ascending(40);
  const uint32_t right = Crc32c(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    ASSERT_NE(Crc32c(bytes), right);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
  }
}

// Key 00..0f, message 00..: computed with a separate implementation that also gives the 2-4
// variant's published answer.
TEST(SipHashTest, GivesKnownAnswers) {
  const HashSecret secret = {.low = 0x0706050403020100, .high = 0x0f0e0d0c0b0a0908};
  struct Answer {
    size_t size;
    uint64_t hash;
  };
  const Answer answers[] = {
      {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {7, 0xd3927d989bb11140},
      {8, 0x369095118d299a8e},  {15, 0xd320d86d2a519956}, {16, 0xcc4fdd1a7d908b66},
      {63, 0x9d199062b7bbb3a8},
  };
  for (const Answer& answer : answers) {
    EXPECT_EQ(SipHash13(secret, Ascending(answer.size)), answer.hash) << answer.size;
  }
}

TEST(SipHashTest, DependsOnBothHalvesOfTheSecretAndOnTheLength) {
  const HashSecret secret = {.low = 1, .high = 2};
  const uint64_t hash = SipHash13(secret, "key");
  EXPECT_NE(SipHash13({.low = 3, .high = 2}, "key"), hash);
  EXPECT_NE(SipHash13({.low = 1, .high = 3}, "key"), hash);
  EXPECT_NE(SipHash13(secret, std::string_view("key\0", 4)), hash);
}

}  // namespace
}  // namespace firn
