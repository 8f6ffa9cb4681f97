#include "tiering/log/segment.h"

#include <gtest/gtest.h>

#include <string>

#include "tiering/log/segment_maker.h"

namespace firn::log {
namespace {

SegmentHeader Header() {
  SegmentHeader header = {};
  header.segment_id = 12;
  header.previous_id = 11;
  header.as_of_lsn = 345;
  header.created_ms = 1'700'000'000'000;
  header.directory_id = 0x1122334455667788;
  header.epoch = 3;
  header.previous_crc = 0xabcdef01;
  header.capacity = 64 << 20;
  header.stream = static_cast<uint8_t>(Stream::kFresh);
  return header;
}

std::string Block(const SegmentHeader& header) {
  std::string block(kSegmentHeaderSize, 'x');
  EncodeSegmentHeader(header, block.data());
  return block;
}

TEST(SegmentHeaderTest, ComesBackAsItWasWritten) {
  auto header = DecodeSegmentHeader(Block(Header()), "f");
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->segment_id, 12u);
  EXPECT_EQ(header->previous_id, 11u);
  EXPECT_EQ(header->as_of_lsn, 345u);
  EXPECT_EQ(header->directory_id, 0x1122334455667788u);
  EXPECT_EQ(header->epoch, 3u);
  EXPECT_EQ(header->previous_crc, 0xabcdef01u);
  EXPECT_EQ(header->capacity, 64u << 20);
}

TEST(SegmentHeaderTest, NoFlippedBitPasses) {
  std::string block = Block(Header());
  for (size_t bit = 0; bit < block.size() * 8; ++bit) {
    block[bit / 8] = static_cast<char>(block[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(DecodeSegmentHeader(block, "f")) << bit;
    block[bit / 8] = static_cast<char>(block[bit / 8] ^ (1 << (bit % 8)));
  }
}

TEST(SegmentHeaderTest, NoTruncationPasses) {
  std::string block = Block(Header());
  for (size_t size = 0; size < block.size(); ++size) {
    auto header = DecodeSegmentHeader(std::string(block.data(), size), "f");
    ASSERT_FALSE(header);
    EXPECT_EQ(header.error().code(), size == 0 ? StatusCode::kNotFound : StatusCode::kCorruption);
  }
}

TEST(SegmentHeaderTest, ZerosAreASpare) {
  auto header = DecodeSegmentHeader(std::string(kSegmentHeaderSize, '\0'), "f");
  EXPECT_EQ(header.error().code(), StatusCode::kNotFound);
}

TEST(SegmentHeaderTest, NewerVersionIsRefusedByItsNumber) {
  // Version 2, with the checksum that it would have: the one golden block of the future.
  std::string block = Block(Header());
  block[8] = 2;
  block[12] = block[13] = block[14] = block[15] = 0;
  uint32_t crc = ~0u;
  for (size_t i = 0; i < sizeof(SegmentHeader); ++i) {
    crc ^= static_cast<uint8_t>(block[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78 : 0);
  }
  crc = ~crc;
  for (int i = 0; i < 4; ++i) block[12 + i] = static_cast<char>(crc >> (8 * i));
  auto header = DecodeSegmentHeader(block, "f");
  ASSERT_EQ(header.error().code(), StatusCode::kUnsupported);
  EXPECT_NE(header.error().message().find("version 2"), std::string::npos);
}

TEST(SegmentNameTest, IsSixteenHexDigits) {
  EXPECT_EQ(SegmentFileName(1), "0000000000000001.seg");
  EXPECT_EQ(SegmentFileName(0xfedcba9876543210), "fedcba9876543210.seg");
  uint64_t id = 0;
  EXPECT_TRUE(ParseSegmentFileName("fedcba9876543210.seg", &id));
  EXPECT_EQ(id, 0xfedcba9876543210);
  for (const char* name :
       {"", ".seg", "0000000000000000.seg", "000000000000001.seg", "00000000000000001.seg",
        "000000000000000A.seg", "000000000000000g.seg", "0000000000000001.SEG", "LOCK"}) {
    EXPECT_FALSE(ParseSegmentFileName(name, &id)) << name;
  }
}

TEST(SegmentTableTest, PositionsNameSlotAndOffset) {
  SegmentTable table(1 << 20);
  Segment* a = table.Add(7);
  Segment* b = table.Add(9);
  PackedPosition position = table.Pack(*b, 4096 + 32);
  EXPECT_NE(position, 0u);
  EXPECT_LT(position, 1ull << 40);
  EXPECT_EQ(table.Of(position), b);
  EXPECT_EQ(table.OffsetOf(position), 4096u + 32);
  EXPECT_EQ(table.Unpack(position), (LogPosition{9, 4096 + 32}));
  EXPECT_EQ(table.Pack(LogPosition{9, 4096 + 32}), position);
  EXPECT_EQ(table.Of(table.Pack(*a, (1 << 20) - 16)), a);
  EXPECT_EQ(table.Of(0), nullptr);
}

TEST(SegmentTableTest, ImpossiblePositionsAreNone) {
  SegmentTable table(1 << 20);
  table.Add(7);
  EXPECT_EQ(table.Pack(LogPosition{8, 4096}), 0u);
  EXPECT_EQ(table.Pack(LogPosition{7, 0}), 0u);
  EXPECT_EQ(table.Pack(LogPosition{7, 4097}), 0u);
  EXPECT_EQ(table.Pack(LogPosition{7, 1 << 20}), 0u);
  EXPECT_EQ(table.Unpack(1ull << 39), LogPosition{});
}

TEST(SegmentTableTest, SlotsAreReusedAndIdsAreNot) {
  SegmentTable table(1 << 20);
  Segment* a = table.Add(1);
  uint32_t slot = a->slot;
  EXPECT_NE(slot, 0u);
  table.Add(2);
  table.Remove(a);
  EXPECT_EQ(table.ById(1), nullptr);
  EXPECT_EQ(table.BySlot(slot), nullptr);
  EXPECT_EQ(table.Add(3)->slot, slot);
  EXPECT_EQ(table.all().begin()->first, 2u);
}

TEST(SegmentTableTest, LastSlotIsRefusedBeyond) {
  SegmentTable table(1 << 30);  // 2^14 slots
  uint64_t id = 1;
  while (table.Add(id) != nullptr) ++id;
  EXPECT_EQ(id, 1u << 14);
  EXPECT_LT(table.Pack(*table.ById(id - 1), (1 << 30) - 16), 1ull << 40);
}

TEST(SegmentMakerTest, SmallDisksGetSmallSegments) {
  constexpr uint64_t kMiB = 1 << 20;
  EXPECT_EQ(OrdinaryCapacity(64 * kMiB, {}), 64 * kMiB);
  EXPECT_EQ(OrdinaryCapacity(64 * kMiB, {.disk_bytes = 1ull << 40}), 64 * kMiB);
  EXPECT_EQ(OrdinaryCapacity(64 * kMiB, {.disk_bytes = 160 * kMiB}), 10 * kMiB);
  EXPECT_EQ(OrdinaryCapacity(64 * kMiB, {.max_log_bytes = 32 * kMiB, .disk_bytes = 1ull << 40}),
            2 * kMiB);
  EXPECT_EQ(OrdinaryCapacity(64 * kMiB, {.disk_bytes = 4 * kMiB}), kMiB);
}

TEST(SegmentMakerTest, ReserveIsATwentiethWithinBounds) {
  constexpr uint64_t kGiB = 1 << 30;
  EXPECT_EQ(DiskReserve(100 * kGiB), 5 * kGiB);
  EXPECT_EQ(DiskReserve(10 * kGiB), kGiB);
  EXPECT_EQ(DiskReserve(2 * kGiB), kGiB / 2);
}

TEST(SegmentTableTest, TheEndOfAFullSegmentLiesBehindAllOfIt) {
  constexpr uint64_t kSize = 1 << 20;
  SegmentTable table(kSize);
  for (uint64_t id = 1; id <= 4; ++id) {
    const Segment* segment = table.Add(id);
    ASSERT_NE(segment, nullptr);
    EXPECT_LT(table.Pack(*segment, kSize - kRecordAlignment), table.Pack(*segment, kSize)) << id;
  }
}

}  // namespace
}  // namespace firn::log
