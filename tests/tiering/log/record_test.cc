#include "tiering/log/record.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/coding.h"
#include "engine/base/crc32c.h"
#include "engine/base/random.h"

namespace firn::log {
namespace {

const RecordContext kContext = {.previous_crc = 0x01020304,
                                .epoch = 7,
                                .lsn = 1000,
                                .durable_lsn = 990,
                                .wall_ms = 1'700'000'000'123};

std::string Encode(const RecordSpec& spec, const RecordContext& context = kContext) {
  std::string bytes(PaddedSize(EncodedSize(spec)), '\xee');
  EncodeRecord(spec, context, bytes.data());
  return bytes;
}

DecodeOutcome Decode(std::string_view bytes, RecordView* record) {
  uint64_t needed = 0;
  return DecodeRecord(bytes, record, &needed);
}

// Replaces the checksum, as one who forges a record would.
void Reseal(std::string* bytes) {
  auto size = LoadFixed<uint32_t>(bytes->data() + 8);
  StoreFixed(bytes->data(), Crc32c(0, bytes->data() + 4, size - 4));
}

std::vector<RecordSpec> SpecsOfEveryKind() {
  static const std::string digest(8, '\x11');
  return {
      {.kind = RecordKind::kImage,
       .flags = kFlagNewKey | kFlagRawString,
       .type = kDiskString,
       .keyspace = 5,
       .expiry_ms = 1'800'000'000'000,
       .key = "a key",
       .payload = "the value"},
      {.kind = RecordKind::kImage,
       .flags = kFlagBlind,
       .type = kDiskString,
       .encoding = PayloadEncoding::kInteger,
       .keyspace = 1,
       .key = "",
       .payload = "12345678"},
      {.kind = RecordKind::kDelete, .keyspace = 2, .key = "gone"},
      {.kind = RecordKind::kEffect,
       .type = kDiskString,
       .key = "k",
       .payload_prefix = "\x01",
       .payload = "appended"},
      {.kind = RecordKind::kGroupBegin},
      {.kind = RecordKind::kGroupCommit, .payload = digest},
      {.kind = RecordKind::kStamp},
      {.kind = RecordKind::kKeyspaces, .payload = "a map"},
      {.kind = RecordKind::kFiller, .payload = "anything"},
  };
}

TEST(RecordTest, EveryKindComesBackAsItWasWritten) {
  for (const RecordSpec& spec : SpecsOfEveryKind()) {
    std::string bytes = Encode(spec);
    RecordView record;
    ASSERT_EQ(Decode(bytes, &record), DecodeOutcome::kOk) << static_cast<int>(spec.kind);
    EXPECT_EQ(record.kind, spec.kind);
    EXPECT_EQ(record.flags & ~kFlagHasExpiry, spec.flags);
    EXPECT_EQ(record.type, spec.type);
    EXPECT_EQ(record.encoding, spec.encoding);
    EXPECT_EQ(record.compression, spec.compression);
    EXPECT_EQ(record.keyspace, spec.keyspace);
    EXPECT_EQ(record.expiry_ms, spec.expiry_ms);
    EXPECT_EQ(record.key, spec.key);
    EXPECT_EQ(record.payload, std::string(spec.payload_prefix) + std::string(spec.payload));
    EXPECT_EQ(record.raw_payload_size, record.payload.size());
    EXPECT_EQ(record.size, EncodedSize(spec));
    EXPECT_EQ(record.previous_crc, kContext.previous_crc);
    EXPECT_EQ(record.epoch, kContext.epoch);
    EXPECT_EQ(record.lsn, kContext.lsn);
    EXPECT_EQ(record.durable_lsn, kContext.durable_lsn);
    EXPECT_EQ(record.wall_ms, kContext.wall_ms);
  }
}

TEST(RecordTest, PaddingIsZeroAndUpToSixteenBytes) {
  for (size_t size = 0; size < 40; ++size) {
    std::string value(size, 'v');
    std::string bytes =
        Encode({.kind = RecordKind::kImage, .type = kDiskString, .key = "k", .payload = value});
    EXPECT_EQ(bytes.size() % kRecordAlignment, 0u);
    uint32_t unpadded = 48 + 1 + static_cast<uint32_t>(size);
    EXPECT_LT(bytes.size() - unpadded, kRecordAlignment);
    EXPECT_EQ(bytes.find_first_not_of('\0', unpadded), std::string::npos);
  }
}

TEST(RecordTest, NoTruncationIsTakenForARecord) {
  for (const RecordSpec& spec : SpecsOfEveryKind()) {
    std::string bytes = Encode(spec);
    uint32_t size = EncodedSize(spec);
    for (size_t length = 0; length < size; ++length) {
      // A copy on the heap of just that length, so that ASan sees any read beyond it.
      std::string cut(bytes.data(), length);
      cut.shrink_to_fit();
      RecordView record;
      uint64_t needed = 0;
      DecodeOutcome outcome = DecodeRecord(cut, &record, &needed);
      if (length == 0) {
        EXPECT_EQ(outcome, DecodeOutcome::kEnd);
      } else {
        ASSERT_EQ(outcome, DecodeOutcome::kNeedMore) << length;
        EXPECT_GT(needed, length);
        EXPECT_EQ(needed, length < 48 ? 48u : size);
      }
    }
  }
}

TEST(RecordTest, NoFlippedBitIsTakenForARecord) {
  for (const RecordSpec& spec : SpecsOfEveryKind()) {
    std::string bytes = Encode(spec);
    for (size_t bit = 0; bit < EncodedSize(spec) * 8; ++bit) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      RecordView record;
      EXPECT_NE(Decode(bytes, &record), DecodeOutcome::kOk) << bit;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    }
  }
}

TEST(RecordTest, ZerosAreTheEnd) {
  std::string zeros(4096, '\0');
  RecordView record;
  for (size_t size : {0, 1, 12, 47, 48, 49, 4096}) {
    EXPECT_EQ(Decode(std::string_view(zeros).substr(0, size), &record), DecodeOutcome::kEnd);
  }
  zeros[47] = 1;
  EXPECT_EQ(Decode(zeros, &record), DecodeOutcome::kInvalid);
}

TEST(RecordTest, RefusesWhatNoWriterWrites) {
  struct Forgery {
    const char* what;
    size_t offset;
    uint8_t byte;
  };
  const Forgery forgeries[] = {{"kind 0", 14, 0},
                               {"kind 9", 14, 9},
                               {"an unknown flag", 15, 0x40},
                               {"no type", 30, 0},
                               {"type 10", 30, 10},
                               {"encoding 0", 31, 0},
                               {"encoding 3", 31, 3},
                               {"compression 2", 31, 33},
                               {"a key longer than the record", 40, 200},
                               {"a huge key", 43, 0x7f},
                               {"another raw size", 44, 1}};
  for (const Forgery& forgery : forgeries) {
    std::string bytes =
        Encode({.kind = RecordKind::kImage, .type = kDiskString, .key = "key", .payload = "value"});
    bytes[forgery.offset] = static_cast<char>(forgery.byte);
    Reseal(&bytes);
    RecordView record;
    EXPECT_EQ(Decode(bytes, &record), DecodeOutcome::kInvalid) << forgery.what;
  }
  std::string mark = Encode({.kind = RecordKind::kStamp});
  mark[15] = kFlagBlind;
  Reseal(&mark);
  RecordView record;
  EXPECT_EQ(Decode(mark, &record), DecodeOutcome::kInvalid);
}

TEST(RecordTest, HugeSizesAreRefusedOrAskedForNeverRead) {
  std::string bytes = Encode({.kind = RecordKind::kImage, .type = kDiskString, .payload = "value"});
  RecordView record;
  uint64_t needed = 0;
  StoreFixed(bytes.data() + 8, uint32_t{0xffffffff});
  EXPECT_EQ(DecodeRecord(bytes, &record, &needed), DecodeOutcome::kInvalid);
  StoreFixed(bytes.data() + 8, uint32_t{48 + (512u << 20)});
  StoreFixed(bytes.data() + 44, uint32_t{512u << 20});
  EXPECT_EQ(DecodeRecord(bytes, &record, &needed), DecodeOutcome::kNeedMore);
  EXPECT_EQ(needed, 48u + (512u << 20));
}

TEST(RecordTest, HeadIsReadWithoutThePayload) {
  std::string value(100'000, 'v');
  std::string bytes = Encode({.kind = RecordKind::kImage,
                              .type = kDiskString,
                              .expiry_ms = 5,
                              .key = "key",
                              .payload = value});
  RecordView record;
  uint64_t needed = 0;
  std::string head(bytes.data(), 48 + 8 + 3);
  ASSERT_EQ(DecodeRecordHead(head, &record, &needed), DecodeOutcome::kOk);
  EXPECT_EQ(record.key, "key");
  EXPECT_EQ(record.expiry_ms, 5);
  EXPECT_EQ(record.raw_payload_size, value.size());
  EXPECT_TRUE(record.payload.empty());
  head.pop_back();
  EXPECT_EQ(DecodeRecordHead(head, &record, &needed), DecodeOutcome::kNeedMore);
  EXPECT_EQ(needed, 59u);
}

TEST(RecordTest, DistanceToDurableSaturates) {
  RecordContext context = kContext;
  context.lsn = 1ull << 40;
  context.durable_lsn = 3;
  RecordView record;
  std::string bytes = Encode({.kind = RecordKind::kStamp}, context);
  ASSERT_EQ(Decode(bytes, &record), DecodeOutcome::kOk);
  EXPECT_EQ(record.lsn, context.lsn);
  EXPECT_EQ(record.durable_lsn, 0u);
}

TEST(RecordTest, CompressedPayloadsComeBack) {
  std::string value;
  for (int i = 0; i < 1000; ++i) value += "the same again ";
  std::string compressed = CompressPayload(value, 3);
  ASSERT_FALSE(compressed.empty());
  EXPECT_LT(compressed.size(), value.size() / 8);
  std::string bytes = Encode({.kind = RecordKind::kImage,
                              .type = kDiskString,
                              .compression = Compression::kZstd,
                              .key = "key",
                              .payload = compressed,
                              .raw_payload_size = static_cast<uint32_t>(value.size())});
  RecordView record;
  ASSERT_EQ(Decode(bytes, &record), DecodeOutcome::kOk);
  EXPECT_EQ(record.raw_payload_size, value.size());
  auto raw = UncompressPayload(record);
  ASSERT_TRUE(raw) << raw.error().message();
  EXPECT_EQ(*raw, value);

  record.raw_payload_size = 500u << 20;
  EXPECT_EQ(UncompressPayload(record).error().code(), StatusCode::kCorruption);
  record.raw_payload_size = static_cast<uint32_t>(value.size());
  record.payload.remove_suffix(1);
  EXPECT_EQ(UncompressPayload(record).error().code(), StatusCode::kCorruption);
  record.payload = "not a frame";
  EXPECT_EQ(UncompressPayload(record).error().code(), StatusCode::kCorruption);
}

TEST(RecordTest, WhatCompressesBadlyIsLeftAlone) {
  Random random(1);
  std::string noise(10'000, '\0');
  for (char& byte : noise) byte = static_cast<char>(random.Next());
  EXPECT_TRUE(CompressPayload(noise, 3).empty());
  EXPECT_TRUE(CompressPayload("", 3).empty());
  EXPECT_TRUE(CompressPayload("aaaaaaaaaaaa", 3).empty());
}

TEST(RecordTest, DigestOfAGroupTellsWhatBelongsToIt) {
  GroupDigest digest;
  digest.Add(1);
  digest.Add(2);
  char payload[GroupDigest::kEncodedSize];
  digest.Encode(payload);
  std::string_view view(payload, sizeof payload);
  GroupDigest same, swapped, fewer;
  same.Add(1), same.Add(2);
  swapped.Add(2), swapped.Add(1);
  fewer.Add(1);
  EXPECT_TRUE(same.Matches(view));
  EXPECT_FALSE(swapped.Matches(view));
  EXPECT_FALSE(fewer.Matches(view));
  EXPECT_FALSE(same.Matches(view.substr(1)));
}

}  // namespace
}  // namespace firn::log
