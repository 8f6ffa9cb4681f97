#include "tiering/identity.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/base/coding.h"
#include "engine/base/crc32c.h"
#include "support/crash_enumerator.h"
#include "tiering/io/sim_disk.h"

namespace firn {
namespace {

constexpr size_t kSize = 48;

class IdentityTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(disk_.CreateDirectories("/data").ok()); }
  void Write(const Identity& identity) {
    Status status = WriteIdentity(&disk_, "/data", identity);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  Result<Identity> Read() { return ReadIdentity(&disk_, "/data"); }
  std::string Bytes() {
    auto file = disk_.Open("/data/IDENTITY", {.writable = false});
    std::string bytes(1000, '\0');
    auto size = (*file)->ReadAt(0, bytes);
    bytes.resize(*size);
    return bytes;
  }
  void SetBytes(const std::string& bytes) {
    auto file = disk_.Open("/data/IDENTITY", {.create = true, .truncate = true});
    ASSERT_TRUE((*file)->WriteAt(0, bytes).ok());
  }
  // With the checksum that the bytes should have.
  void SetBytesAndChecksum(std::string bytes) {
    StoreFixed(bytes.data() + 12, Crc32c(std::string_view(bytes).substr(16)));
    SetBytes(bytes);
  }

  io::SimDisk disk_;
};

const Identity kSample = {.directory_id = 0x1122334455667788,
                          .secret = {.low = 3, .high = ~0ull},
                          .durable = false,
                          .segment_size_log2 = 20};

TEST_F(IdentityTest, ComesBackWithEveryField) {
  Write(kSample);
  auto identity = Read();
  ASSERT_TRUE(identity.has_value()) << identity.error().message();
  EXPECT_EQ(identity->directory_id, kSample.directory_id);
  EXPECT_EQ(identity->secret.low, kSample.secret.low);
  EXPECT_EQ(identity->secret.high, kSample.secret.high);
  EXPECT_EQ(identity->durable, kSample.durable);
  EXPECT_EQ(identity->segment_size_log2, kSample.segment_size_log2);
}

TEST_F(IdentityTest, IsReplacedAsAWhole) {
  Write(kSample);
  Identity other = kSample;
  other.durable = true;
  Write(other);
  EXPECT_TRUE(Read()->durable);
  EXPECT_EQ(*disk_.List("/data"), std::vector<std::string>{"IDENTITY"});
}

TEST_F(IdentityTest, ADirectoryWithoutOneIsNotFound) {
  auto identity = Read();
  ASSERT_FALSE(identity.has_value());
  EXPECT_EQ(identity.error().code(), StatusCode::kNotFound);
}

TEST_F(IdentityTest, AForeignFileIsNotTakenForOne) {
  for (const std::string& bytes : {std::string(), std::string("FIRNDATA"), std::string(kSize, '\0'),
                                   std::string("REDIS0011") + std::string(100, 'x')}) {
    SetBytes(bytes);
    auto identity = Read();
    ASSERT_FALSE(identity.has_value());
    EXPECT_EQ(identity.error().code(), StatusCode::kCorruption);
    EXPECT_NE(identity.error().message().find("not an identity file of Firn"), std::string::npos);
    EXPECT_NE(identity.error().message().find("/data/IDENTITY"), std::string::npos);
  }
}

TEST_F(IdentityTest, ANewerVersionIsRefusedByItsNumber) {
  Write(kSample);
  std::string bytes = Bytes();
  // The next version, in a form of its own: only magic and version are ever the same.
  StoreFixed(bytes.data() + 8, kDirectoryFormatVersion + 1);
  for (const std::string& newer : {bytes, bytes + "more", bytes.substr(0, 12)}) {
    SetBytes(newer);
    auto identity = Read();
    ASSERT_FALSE(identity.has_value());
    EXPECT_EQ(identity.error().code(), StatusCode::kUnsupported);
    const std::string& message = identity.error().message();
    EXPECT_NE(message.find("version " + std::to_string(kDirectoryFormatVersion + 1)),
              std::string::npos)
        << message;
    EXPECT_NE(message.find("knows version " + std::to_string(kDirectoryFormatVersion)),
              std::string::npos)
        << message;
  }
}

TEST_F(IdentityTest, EveryFlippedBitIsNoticed) {
  Write(kSample);
  const std::string bytes = Bytes();
  ASSERT_EQ(bytes.size(), kSize);
  for (size_t bit = 0; bit < 8 * kSize; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    SetBytes(flipped);
    EXPECT_FALSE(Read().has_value()) << "bit " << bit;
  }
}

TEST_F(IdentityTest, EveryTruncationIsNoticed) {
  Write(kSample);
  const std::string bytes = Bytes();
  for (size_t size = 0; size < kSize; ++size) {
    SetBytes(bytes.substr(0, size));
    auto identity = Read();
    ASSERT_FALSE(identity.has_value()) << size;
    EXPECT_EQ(identity.error().code(), StatusCode::kCorruption);
  }
}

TEST_F(IdentityTest, AnImpossibleSegmentSizeIsRefusedEvenWithItsChecksum) {
  Write(kSample);
  std::string bytes = Bytes();
  for (int log2 : {0, 19, 31, 63, 64, 255}) {
    bytes[41] = static_cast<char>(log2);
    SetBytesAndChecksum(bytes);
    auto identity = Read();
    ASSERT_FALSE(identity.has_value()) << log2;
    EXPECT_EQ(identity.error().code(), StatusCode::kCorruption);
  }
  for (int log2 : {20, 26, 30}) {
    bytes[41] = static_cast<char>(log2);
    SetBytesAndChecksum(bytes);
    EXPECT_TRUE(Read().has_value()) << log2;
  }
}

// The old one or the new one whatever the moment and the way of the crash; the new one once the
// call has returned.
TEST_F(IdentityTest, ACrashLeavesTheOldOrTheNew) {
  ASSERT_TRUE(disk_.SyncDirectory("/").ok());
  Write(kSample);
  const uint64_t begin = disk_.event_count();
  Identity other = kSample;
  other.directory_id = 99;
  Write(other);
  const uint64_t end = disk_.event_count();
  ASSERT_GT(end, begin);
  disk_.PowerOff();
  test::CrashEnumerator enumerator(&disk_, {.seed = 3, .points_max = 500, .first_event = begin});
  std::string failure = enumerator.Run([&](io::SimDisk* image, const test::CrashPoint& point) {
    auto identity = ReadIdentity(image, "/data");
    if (!identity) return identity.error().message();
    const uint64_t id = identity->directory_id;
    if (id != 99 && (id != kSample.directory_id || point.event == end)) {
      return "found " + std::to_string(id);
    }
    return std::string();
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace firn
