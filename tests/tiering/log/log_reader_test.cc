#include "tiering/log/log_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/base/coding.h"
#include "engine/base/crc32c.h"
#include "tiering/log/stream_builder.h"

namespace firn::log {
namespace {

using Outcome = LogReader::Outcome;

std::string Value(int i) { return "value " + std::string(static_cast<size_t>(i) * 7 % 60, 'v'); }

StreamBuilder ThreeSegments() {
  StreamBuilder stream;
  for (int segment = 0; segment < 3; ++segment) {
    stream.Segment();
    for (int i = 0; i < 5; ++i) stream.Set("key" + std::to_string(i), Value(i + segment));
    stream.Zeros(256);
  }
  return stream;
}

TEST(LogReaderTest, ReadsAcrossSegments) {
  StreamBuilder stream = ThreeSegments();
  for (bool direct : {false, true}) {
    LogReader reader = stream.Reader({.chunk_size_bytes = 4096, .direct = direct});
    ReadBack read = ReadAll(&reader, stream.written());
    EXPECT_EQ(read.outcome, Outcome::kEnd);
    EXPECT_EQ(read.records, 15u);
    EXPECT_TRUE(read.all_right);
    EXPECT_EQ(reader.position().segment_id, 3u);
    EXPECT_EQ(reader.position().offset, stream.bytes(2).size() - 256);
    EXPECT_EQ(reader.header().segment_id, 3u);
  }
}

TEST(LogReaderTest, EmptyStreamsEnd) {
  RecordView record;
  LogReader nothing({}, 0, {});
  EXPECT_EQ(nothing.Next(&record), Outcome::kEnd);
  StreamBuilder empty;
  empty.Segment().Segment();
  LogReader reader = empty.Reader();
  EXPECT_EQ(reader.Next(&record), Outcome::kEnd);
  EXPECT_EQ(reader.position(), (LogPosition{2, kSegmentHeaderSize}));
  EXPECT_EQ(reader.Next(&record), Outcome::kEnd);
}

TEST(LogReaderTest, StartsInTheMiddle) {
  StreamBuilder stream = ThreeSegments();
  const auto& third = stream.written()[2];
  LogReader reader(stream.Readable(), third.offset, {});
  RecordView record;
  ASSERT_EQ(reader.Next(&record), Outcome::kRecord);
  EXPECT_EQ(record.lsn, third.lsn);

  uint32_t crc_before = record.previous_crc;
  LogReader linked(stream.Readable(), third.offset,
                   {.check_first_link = true, .previous_crc = crc_before});
  EXPECT_EQ(linked.Next(&record), Outcome::kRecord);
  LogReader wrong(stream.Readable(), third.offset,
                  {.check_first_link = true, .previous_crc = crc_before + 1});
  EXPECT_EQ(wrong.Next(&record), Outcome::kInvalid);
}

TEST(LogReaderTest, RecordsLongerThanAChunkAreRead) {
  StreamBuilder stream;
  stream.Segment();
  stream.Set("long", std::string(300'000, 'x')).Set("short", "y").Set("l", std::string(9000, 'z'));
  for (bool direct : {false, true}) {
    LogReader reader = stream.Reader({.chunk_size_bytes = 4096, .direct = direct});
    ReadBack read = ReadAll(&reader, stream.written());
    EXPECT_EQ(read.records, 3u);
    EXPECT_TRUE(read.all_right);
    EXPECT_EQ(read.outcome, Outcome::kEnd);
  }
}

TEST(LogReaderTest, FillersArePassedOver) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Record({.kind = RecordKind::kFiller, .payload = "gap"});
  stream.Set("b", "2");
  LogReader reader = stream.Reader();
  RecordView record;
  ASSERT_EQ(reader.Next(&record), Outcome::kRecord);
  ASSERT_EQ(reader.Next(&record), Outcome::kRecord);
  EXPECT_EQ(record.key, "b");
  stream.Record({.kind = RecordKind::kFiller, .payload = "end"});
  LogReader again = stream.Reader();
  while (again.Next(&record) == Outcome::kRecord) continue;
  EXPECT_EQ(again.last_crc(), stream.previous_crc()) << "what follows names the filler";
}

TEST(LogReaderTest, EndOffsetBoundsTheReading) {
  StreamBuilder stream = ThreeSegments();
  auto segments = stream.Readable();
  segments.resize(1);
  segments[0].end_offset = stream.written()[3].offset;
  LogReader reader(segments, kSegmentHeaderSize, {});
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.records, 3u);
  EXPECT_EQ(read.outcome, Outcome::kEnd);
}

TEST(LogReaderTest, EveryTruncationGivesAPrefix) {
  StreamBuilder whole;
  whole.Segment();
  for (int i = 0; i < 12; ++i) whole.Set("key" + std::to_string(i), Value(i));
  std::string bytes = whole.bytes(0);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    whole.bytes(0) = bytes.substr(0, size);
    LogReader reader = whole.Reader();
    ReadBack read = ReadAll(&reader, whole.written());
    EXPECT_TRUE(read.all_right);
    size_t expected = 0;
    for (const auto& record : whole.written()) expected += record.offset + record.size <= size;
    EXPECT_EQ(read.records, expected) << size;
    EXPECT_NE(read.outcome, Outcome::kError);
    if (size > 0 && size < kSegmentHeaderSize) {
      EXPECT_EQ(read.outcome, Outcome::kInvalid);
    }
  }
}

TEST(LogReaderTest, EveryFlippedByteIsSeen) {
  StreamBuilder stream;
  stream.Segment();
  for (int i = 0; i < 12; ++i) stream.Set("key" + std::to_string(i), Value(i));
  stream.Zeros(64);
  std::string& bytes = stream.bytes(0);
  for (size_t at = 0; at < bytes.size(); ++at) {
    // Bits in turn; the zeros behind the end too.
    char flip = static_cast<char>(1 << (at % 8));
    bytes[at] = static_cast<char>(bytes[at] ^ flip);
    LogReader reader = stream.Reader();
    ReadBack read = ReadAll(&reader, stream.written());
    EXPECT_TRUE(read.all_right) << at;
    size_t before = 0;
    bool in_record = at < kSegmentHeaderSize;
    for (const auto& record : stream.written()) {
      before += record.offset + record.size <= at;
      in_record |= at >= record.offset && at < record.offset + record.size;
    }
    if (in_record) {
      EXPECT_EQ(read.outcome, Outcome::kInvalid) << at;
      EXPECT_EQ(read.records, before) << at;
    } else {
      // Padding is nobody's data; behind the end it looks like a torn record.
      EXPECT_EQ(read.records, stream.written().size()) << at;
    }
    bytes[at] = static_cast<char>(bytes[at] ^ flip);
  }
}

TEST(LogReaderTest, ReplacedRecordBreaksTheChain) {
  StreamBuilder stream, other;
  stream.Segment().Set("a", "11").Set("b", "22").Set("c", "33");
  other.Segment().Set("a", "xx").Set("b", "22").Set("c", "33");
  // A sound record of the right size and LSN, as a misdirected or lost write leaves it.
  const auto& first = stream.written()[0];
  stream.bytes(0).replace(first.offset, 64, other.bytes(0), first.offset, 64);
  LogReader reader = stream.Reader();
  RecordView record;
  ASSERT_EQ(reader.Next(&record), Outcome::kRecord);
  EXPECT_EQ(reader.Next(&record), Outcome::kInvalid);
  EXPECT_EQ(reader.position(), (LogPosition{1, stream.written()[1].offset}));
  EXPECT_NE(reader.message().find("offset 4160"), std::string::npos) << reader.message();
}

TEST(LogReaderTest, LostEndOfASegmentIsFoundAtTheNext) {
  StreamBuilder stream = ThreeSegments();
  const auto& last = stream.written()[4];
  std::string& bytes = stream.bytes(0);
  std::fill(bytes.begin() + last.offset, bytes.end(), '\0');
  LogReader reader = stream.Reader();
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kInvalid);
  EXPECT_EQ(read.records, 4u);
  EXPECT_EQ(reader.position(), (LogPosition{1, last.offset}));
}

TEST(LogReaderTest, MissingSegmentIsAGap) {
  StreamBuilder stream = ThreeSegments();
  auto segments = stream.Readable();
  segments.erase(segments.begin() + 1);
  LogReader strict(segments, kSegmentHeaderSize, {});
  ReadBack read = ReadAll(&strict, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kInvalid);
  EXPECT_EQ(read.records, 5u);
  EXPECT_EQ(strict.position().segment_id, 1u);

  LogReader lenient(segments, kSegmentHeaderSize, {.allow_gaps = true});
  RecordView record;
  int records = 0;
  while (lenient.Next(&record) == Outcome::kRecord) ++records;
  EXPECT_EQ(records, 10);
}

TEST(LogReaderTest, SparesArePassedOver) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1");
  auto segments = stream.Readable();
  segments.push_back({.id = 2,
                      .file = std::make_shared<test::MemoryFile>(std::string(1 << 16, '\0')),
                      .end_offset = 1 << 16});
  segments.push_back(
      {.id = 3, .file = std::make_shared<test::MemoryFile>(std::string()), .end_offset = 0});
  LogReader reader(segments, kSegmentHeaderSize, {});
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.records, 1u);
  EXPECT_EQ(read.outcome, Outcome::kEnd);
  EXPECT_EQ(reader.position().segment_id, 1u);
}

TEST(LogReaderTest, SegmentsOfOthersAreRefused) {
  StreamBuilder stream = ThreeSegments();
  SegmentHeader header = LoadFixed<SegmentHeader>(stream.bytes(1).data());
  struct Change {
    const char* expected;
    void (*apply)(SegmentHeader*);
  };
  const Change changes[] = {
      {"another data directory", [](SegmentHeader* h) { h->directory_id ^= 1; }},
      {"another stream", [](SegmentHeader* h) { h->stream = 2; }},
      {"that of segment 9", [](SegmentHeader* h) { h->segment_id = 9; }},
      {"missing", [](SegmentHeader* h) { h->previous_id = 0; }},
      {"doesn't continue", [](SegmentHeader* h) { h->previous_crc ^= 1; }},
      {"epoch", [](SegmentHeader* h) { h->epoch = 2; }},
      {"began with LSN 100", [](SegmentHeader* h) { h->as_of_lsn = 100; }}};
  for (const Change& change : changes) {
    SegmentHeader changed = header;
    change.apply(&changed);
    EncodeSegmentHeader(changed, stream.bytes(1).data());
    LogReader reader = stream.Reader();
    ReadBack read = ReadAll(&reader, stream.written());
    EXPECT_EQ(read.outcome, Outcome::kInvalid);
    EXPECT_EQ(read.records, 5u);
    EXPECT_NE(reader.message().find(change.expected), std::string::npos) << reader.message();
  }
}

TEST(LogReaderTest, LsnMustRise) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Set("b", "2");
  std::string& bytes = stream.bytes(0);
  char* second = bytes.data() + stream.written()[1].offset;
  StoreFixed(second + 16, uint64_t{1});
  StoreFixed(second, Crc32c(0, second + 4, stream.written()[1].size - 4));
  LogReader reader = stream.Reader();
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kInvalid);
  EXPECT_EQ(read.records, 1u);
}

TEST(LogReaderTest, FailedReadsAreErrors) {
  StreamBuilder stream = ThreeSegments();
  stream.file(1).FailReads();
  LogReader reader = stream.Reader();
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kError);
  EXPECT_EQ(read.records, 5u);
  EXPECT_EQ(reader.status().code(), StatusCode::kIoError);
}

// --- damage or torn tail?

TEST(LogReaderTest, LaterDurableRecordProvesDamage) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Set("b", "2").Synced().Set("c", "3").Zeros(4096);
  stream.bytes(0)[stream.written()[1].offset + 49] ^= 1;
  LogReader reader = stream.Reader();
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kInvalid);
  EXPECT_EQ(read.records, 1u);
  auto proof = reader.FindProofOfDamage(2);
  ASSERT_TRUE(proof);
  EXPECT_EQ(*proof, (LogPosition{1, stream.written()[2].offset}));
}

TEST(LogReaderTest, RecordsThatWereNeverSyncedProveNothing) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Synced().Set("b", "2").Set("c", "3").Zeros(4096);
  stream.bytes(0)[stream.written()[1].offset + 49] ^= 1;
  LogReader reader = stream.Reader();
  ReadAll(&reader, stream.written());
  EXPECT_FALSE(reader.FindProofOfDamage(2));
}

TEST(LogReaderTest, ProofIsFoundInLaterSegments) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Set("b", "2").Zeros(64);
  stream.Segment().Set("c", "3").Synced().Set("d", std::string(10'000, 'd')).Zeros(64);
  stream.bytes(0)[stream.written()[1].offset + 49] ^= 1;
  LogReader reader = stream.Reader({.chunk_size_bytes = 4096});
  ReadAll(&reader, stream.written());
  auto proof = reader.FindProofOfDamage(2);
  ASSERT_TRUE(proof);
  EXPECT_EQ(*proof, (LogPosition{2, stream.written()[3].offset}));
}

TEST(LogReaderTest, ZeroedRecordsAreDamageIfSynced) {
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Set("b", "2").Synced().Set("c", "3").Zeros(64);
  const auto& second = stream.written()[1];
  std::fill_n(stream.bytes(0).begin() + second.offset, 64, '\0');
  LogReader reader = stream.Reader();
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kEnd);
  EXPECT_TRUE(reader.FindProofOfDamage(2));
}

TEST(LogReaderTest, ProofIsFoundBehindAnyNumberOfZeros) {
  for (uint64_t size = 0; size < 9000; size += size < 200 ? 1 : 61) {
    StreamBuilder stream;
    stream.Segment().Set("a", "1").Set("b", std::string(size, 'b')).Synced().Set("c", "3");
    const auto& second = stream.written()[1];
    const auto& third = stream.written()[2];
    std::fill(stream.bytes(0).begin() + second.offset, stream.bytes(0).begin() + third.offset, 0);
    LogReader reader = stream.Reader({.chunk_size_bytes = 4096});
    ReadAll(&reader, stream.written());
    auto proof = reader.FindProofOfDamage(2);
    ASSERT_TRUE(proof) << size;
    EXPECT_EQ(*proof, (LogPosition{1, third.offset}));
  }
}

TEST(LogReaderTest, LaterEpochProvesThatAllBeforeItWasSynced) {
  StreamBuilder stream;
  stream.Segment(1).Set("a", "1").Set("b", "2").Zeros(64);
  stream.Segment(2);
  stream.bytes(0)[stream.written()[1].offset + 49] ^= 1;
  LogReader reader = stream.Reader();
  ReadAll(&reader, stream.written());
  auto proof = reader.FindProofOfDamage(2);
  ASSERT_TRUE(proof);
  EXPECT_EQ(*proof, (LogPosition{2, 0}));
}

TEST(LogReaderTest, PayloadsThatLookLikeRecordsProveNothing) {
  // A client stores what would be a record of the far future, aligned as one; the record around it
  // is sound and only the one before is torn.
  StreamBuilder forged;
  forged.Segment();
  for (int i = 0; i < 50; ++i) forged.Set("x", "y");
  forged.Synced().Set("x", "y");
  const auto& future = forged.written().back();
  std::string inside = forged.bytes(0).substr(future.offset, 64);
  StreamBuilder stream;
  stream.Segment().Set("a", "1").Set("b", "2").Set("kkkkkkkkkkkkkkkk", inside).Zeros(64);
  stream.bytes(0)[stream.written()[1].offset + 49] ^= 1;
  LogReader reader = stream.Reader();
  ReadAll(&reader, stream.written());
  EXPECT_FALSE(reader.FindProofOfDamage(2));
}

TEST(LogReaderTest, BrokenFirstHeaderStillLetsProofBeFound) {
  StreamBuilder stream;
  stream.Segment(3).Set("a", "1").Synced().Set("b", "2").Zeros(64);
  stream.bytes(0)[20] ^= 1;
  LogReader reader = stream.Reader();
  ReadBack read = ReadAll(&reader, stream.written());
  EXPECT_EQ(read.outcome, Outcome::kInvalid);
  EXPECT_EQ(reader.position(), (LogPosition{1, 0}));
  EXPECT_TRUE(reader.FindProofOfDamage(1));
}

}  // namespace
}  // namespace firn::log
