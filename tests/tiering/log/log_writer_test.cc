#include "tiering/log/log_writer.h"

#include <gtest/gtest.h>

#include <string>

#include "tiering/log/log_fixture.h"

namespace firn::log {
namespace {

using Room = LogWriter::Room;
using Urgency = LogWriter::Urgency;

class LogWriterTest : public LogFixture, public testing::WithParamInterface<Disk> {
 protected:
  void SetUp() override { SetUpDisk(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Disks, LogWriterTest, testing::Values(Disk::kReal, Disk::kSimulated),
                         [](const auto& info) {
                           return info.param == Disk::kReal ? "Real" : "Simulated";
                         });

TEST_P(LogWriterTest, WhatIsAppendedIsRead) {
  Start();
  auto first = Set("a", "1");
  auto second = Append({.kind = RecordKind::kDelete, .key = "a"});
  EXPECT_EQ(first.lsn, 1u);
  EXPECT_EQ(first.size, 50u);
  EXPECT_EQ(second.lsn, 2u);
  EXPECT_EQ(writer_->appended_lsn(), 2u);
  EXPECT_EQ(segments_->OffsetOf(first.position), kSegmentHeaderSize);
  EXPECT_EQ(segments_->OffsetOf(second.position), kSegmentHeaderSize + 64);
  auto records = ReadLog();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].key, "a");
  EXPECT_EQ(records[0].payload, "1");
  EXPECT_EQ(records[1].kind, RecordKind::kDelete);
  EXPECT_EQ(writer_->last_crc(), records[1].crc);
  EXPECT_EQ(writer_->tail(), (LogPosition{1, kSegmentHeaderSize + 128}));
}

TEST_P(LogWriterTest, ChainsOverManySegments) {
  Start();
  std::vector<std::pair<std::string, PackedPosition>> written;
  for (int i = 0; i < 400; ++i) {
    std::string key = "key" + std::to_string(i);
    written.emplace_back(key, Set(key, std::string(static_cast<size_t>(i) * 37, 'v')).position);
    if (i % 7 == 0) loop_.RunAll();
    if (i % 31 == 0) writer_->Sync();
  }
  loop_.RunAll();
  auto records = ReadLog();
  ASSERT_EQ(records.size(), written.size());
  for (size_t i = 0; i < written.size(); ++i) {
    EXPECT_EQ(records[i].key, written[i].first);
    EXPECT_EQ(segments_->Pack(records[i].position), written[i].second);
  }
  EXPECT_GE(segments_->all().size(), 3u);
  for (const auto& [id, segment] : segments_->all()) {
    EXPECT_EQ(segment->sealed, segment.get() != writer_->active());
    EXPECT_LE(segment->end_offset, kMiB);
  }
}

TEST_P(LogWriterTest, ASegmentThatIsMadeMeanwhileNeverFollowsALaterOne) {
  Start();
  uint64_t last = 0;
  auto set = [&](const std::string& key, size_t size) {
    Set(key, std::string(size, 'v'));
    EXPECT_GE(writer_->active()->id, last);
    last = writer_->active()->id;
  };
  for (int i = 0; i < 60; ++i) {
    set("key" + std::to_string(i), 200'000);
    // Too long for any spare: its segment is made on the spot, while others are under way.
    if (i % 11 == 0) set("long" + std::to_string(i), 3 * kMiB);
    if (i % 3 == 0) loop_.RunAll();
  }
  loop_.RunAll();
  EXPECT_EQ(ReadLog().size(), 66u);
}

TEST_P(LogWriterTest, NextStartContinuesTheChain) {
  Start();
  Set("a", "1");
  Restart();
  auto appended = Set("b", "2");
  EXPECT_EQ(appended.lsn, 3u);  // behind the stamp of the stop
  Restart();
  Set("c", "3");
  // Stops without an append leave nothing behind.
  Restart();
  Restart();
  ASSERT_TRUE(Stop().ok());
  EXPECT_EQ(Files().size(), 3u);
  auto found = ListSegments(fs_.get(), options_.directory, {});
  LogReader reader(SegmentsOf(Stream::kFresh, *found), kSegmentHeaderSize, {});
  RecordView record;
  std::string keys;
  LogReader::Outcome outcome;
  while ((outcome = reader.Next(&record)) == LogReader::Outcome::kRecord) keys += record.key;
  EXPECT_EQ(outcome, LogReader::Outcome::kEnd) << reader.message();
  EXPECT_EQ(keys, "abc");
}

TEST_P(LogWriterTest, WallTimeNeverFalls) {
  Start();
  ASSERT_TRUE(writer_->Append({.kind = RecordKind::kDelete, .key = "a"}, 2000));
  ASSERT_TRUE(writer_->Append({.kind = RecordKind::kDelete, .key = "b"}, 1000));
  auto records = ReadLog();
  EXPECT_EQ(records[0].wall_ms, 2000);
  EXPECT_EQ(records[1].wall_ms, 2000);
}

TEST_P(LogWriterTest, ASegmentKnowsWhenAllOfItHasExpiredAndWhatItHides) {
  Start();
  auto set = [&](int64_t expiry_ms) {
    Append({.kind = RecordKind::kImage, .type = kDiskString, .expiry_ms = expiry_ms, .key = "k"});
    return writer_->active()->max_expiry_ms;
  };
  EXPECT_EQ(set(500), 500u);
  EXPECT_EQ(set(300), 500u);
  Append({.kind = RecordKind::kStamp});
  EXPECT_EQ(writer_->active()->max_expiry_ms, 500u);
  EXPECT_EQ(writer_->active()->last_delete_lsn, 0u);
  Append({.kind = RecordKind::kDelete, .key = "k"});
  EXPECT_EQ(writer_->active()->max_expiry_ms, 500u);
  EXPECT_EQ(writer_->active()->last_delete_lsn, writer_->appended_lsn());
  EXPECT_EQ(set(kNoExpiry), ~0ull);
}

// --- groups

TEST_P(LogWriterTest, GroupsCarryTheirDigest) {
  Start();
  ASSERT_TRUE(writer_->BeginGroup(1).ok());
  Set("a", "1");
  Set("b", "2");
  ASSERT_TRUE(writer_->EndGroup(1).ok());
  Set("c", "3");
  ASSERT_TRUE(writer_->BeginGroup(1).ok());
  ASSERT_TRUE(writer_->EndGroup(1).ok());
  auto records = ReadLog();
  ASSERT_EQ(records.size(), 7u);
  EXPECT_EQ(records[0].kind, RecordKind::kGroupBegin);
  EXPECT_EQ(records[1].flags, kFlagInGroup);
  EXPECT_EQ(records[2].flags, kFlagInGroup);
  EXPECT_EQ(records[3].kind, RecordKind::kGroupCommit);
  GroupDigest digest;
  digest.Add(records[1].crc);
  digest.Add(records[2].crc);
  EXPECT_TRUE(digest.Matches(records[3].payload));
  EXPECT_EQ(records[4].flags, 0);
  EXPECT_TRUE(GroupDigest().Matches(records[6].payload));
}

TEST_P(LogWriterTest, GroupsMaySpanSegments) {
  Start();
  ASSERT_TRUE(writer_->BeginGroup(1).ok());
  Fill(3 * kMiB);
  ASSERT_TRUE(writer_->EndGroup(1).ok());
  auto records = ReadLog();
  GroupDigest digest;
  for (size_t i = 1; i + 1 < records.size(); ++i) digest.Add(records[i].crc);
  EXPECT_TRUE(digest.Matches(records.back().payload));
  EXPECT_GT(records.back().position.segment_id, 2u);
}

// --- durability

TEST_P(LogWriterTest, DurableFollowsTheSyncs) {
  Start();
  EXPECT_EQ(writer_->durable_lsn(), 0u);
  Set("a", "1");
  EXPECT_EQ(writer_->unsynced_bytes(), 64u);
  writer_->Sync();
  EXPECT_TRUE(writer_->sync_in_flight());
  Set("b", "2");
  writer_->Sync();
  writer_->Sync();
  EXPECT_EQ(writer_->durable_lsn(), 0u);
  loop_.RunAll();
  EXPECT_EQ(writer_->durable_lsn(), 2u);
  EXPECT_EQ(syncs_, 2);
  EXPECT_EQ(writer_->unsynced_bytes(), 0u);
  Sync();
  EXPECT_EQ(syncs_, 2) << "nothing was left to sync";
  Set("c", "3");
  EXPECT_EQ(ReadLog()[2].durable_lsn, 2u);
}

TEST_P(LogWriterTest, SealedSegmentsAreSyncedFirst) {
  Start();
  Fill(2 * kMiB + kMiB / 2);
  Segment* first = segments_->ById(1);
  EXPECT_TRUE(first->sealed);
  EXPECT_EQ(first->synced_offset, 0u);
  std::vector<uint64_t> durable;
  writer_->set_synced([&] { durable.push_back(writer_->durable_lsn()); });
  Sync();
  ASSERT_EQ(durable.size(), 3u);
  EXPECT_EQ(durable[0], first->last_lsn);
  EXPECT_EQ(durable[1], segments_->ById(writer_->active()->id)->as_of_lsn - 1);
  EXPECT_EQ(durable[2], writer_->appended_lsn());
  EXPECT_GE(first->synced_offset, first->end_offset);
  EXPECT_EQ(first->synced_offset % 4096, 0u);
  EXPECT_LE(writer_->active()->synced_offset, writer_->active()->end_offset);
  EXPECT_EQ(writer_->active()->synced_offset % 4096, 0u);
}

TEST_P(LogWriterTest, StampsOnceWhenIdle) {
  Start();
  writer_->StampIfIdle(1);
  EXPECT_EQ(writer_->appended_lsn(), 0u);
  Set("a", "1");
  writer_->StampIfIdle(1);
  EXPECT_EQ(writer_->appended_lsn(), 1u) << "not durable yet";
  Sync();
  writer_->StampIfIdle(1);
  loop_.RunAll();
  EXPECT_EQ(writer_->durable_lsn(), 2u);
  writer_->StampIfIdle(1);
  EXPECT_EQ(writer_->appended_lsn(), 2u);
  auto records = ReadLog();
  EXPECT_EQ(records[1].kind, RecordKind::kStamp);
  EXPECT_EQ(records[1].durable_lsn, 1u);
}

TEST_P(LogWriterTest, StopSyncsStampsAndTidiesUp) {
  Start();
  Set("a", "1");
  EXPECT_EQ(Files().size(), 3u);
  ASSERT_TRUE(Stop().ok());
  EXPECT_EQ(Files(), std::vector<std::string>{SegmentFileName(1)});
  auto records = ReadLog();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].kind, RecordKind::kStamp);
  EXPECT_EQ(fs_->spy().mapped_bytes, 0);
  auto file = fs_->Open(options_.directory + "/" + SegmentFileName(1), {});
  EXPECT_EQ(*(*file)->Size(), 8192u);
}

TEST_P(LogWriterTest, StopWithoutAppendsLeavesNothing) {
  Start();
  ASSERT_TRUE(Stop().ok());
  EXPECT_TRUE(Files().empty());
  EXPECT_TRUE(segments_->all().empty());
}

TEST_P(LogWriterTest, StopWaitsForWhatIsInFlight) {
  Start();
  loop_.HoldJobs(true);
  std::string value(100'000, 'v');
  for (int i = 0; i < 12; ++i) Set("k", value);
  writer_->Sync();
  loop_.HoldJobs(false);
  ASSERT_TRUE(Stop().ok());
  EXPECT_EQ(fs_->spy().mapped_bytes, 0);
  EXPECT_EQ(ReadLog().size(), 13u);
}

// --- long records

TEST_P(LogWriterTest, LongRecordGetsASegmentOfItsOwn) {
  options_.lock_in_ram = false;  // not everybody may lock so much
  Start();
  Set("before", "1");
  std::string value(3 * kMiB + 12345, 'x');
  EXPECT_EQ(writer_->CheckRoom(value.size() + 100, Urgency::kNormal), Room::kWait);
  for (int i = 0; i < 5 && room_changes_ == 0; ++i) loop_.RunOnce(0);
  while (writer_->CheckRoom(value.size() + 100, Urgency::kNormal) == Room::kWait) loop_.RunAll();
  EXPECT_EQ(writer_->CheckRoom(value.size() + 100, Urgency::kNormal), Room::kReady);
  uint64_t jobs = loop_.jobs_started();
  auto appended = Set("long", value);
  EXPECT_EQ(segments_->OffsetOf(appended.position), kSegmentHeaderSize);
  EXPECT_GE(loop_.jobs_started(), jobs);
  Set("after", "2");
  Sync();
  auto records = ReadLog();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[1].payload, value);
  EXPECT_NE(records[1].position.segment_id, records[0].position.segment_id);
  EXPECT_NE(records[2].position.segment_id, records[1].position.segment_id);
  EXPECT_EQ(WarmKey(appended.position), "long");
  // The segment before it was hardly used, and gave its room back.
  EXPECT_EQ(segments_->ById(1)->file_bytes, 8192u);
}

TEST_P(LogWriterTest, LongRecordThatNobodyAskedForMakesItsSegmentOnTheSpot) {
  Start();
  std::string value(2 * kMiB, 'x');
  loop_.HoldJobs(true);
  Set("long", value);
  Set("after", "1");
  loop_.HoldJobs(false);
  Sync();
  auto records = ReadLog();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].payload, value);
}

TEST_P(LogWriterTest, UnusedLongSegmentIsUsedUpInTurn) {
  Start();
  EXPECT_EQ(writer_->CheckRoom(3 * kMiB, Urgency::kNormal), Room::kWait);
  loop_.RunAll();
  Fill(8 * kMiB);
  Sync();
  EXPECT_EQ(ReadLog().size(), 128u);
  for (const auto& [id, segment] : segments_->all()) EXPECT_LE(segment->file_bytes, kMiB + 65536);
}

// --- the window

TEST_P(LogWriterTest, WindowFollowsTheTailOverSyncedBytesOnly) {
  options_.lock_in_ram = false;
  Start();
  auto first = Set("first", "1");
  Fill(5 * kMiB);
  writer_->AdvanceWindow();
  EXPECT_EQ(WarmKey(first.position), "first") << "nothing is synced yet";
  Sync();
  writer_->AdvanceWindow();
  EXPECT_EQ(WarmKey(first.position), "");
  auto last = Set("last", "2");
  EXPECT_EQ(WarmKey(last.position), "last");
  EXPECT_EQ(segments_->ById(1)->holds, 0);
  EXPECT_GE(writer_->window_bytes(), 2 * kMiB);
  EXPECT_LE(writer_->window_bytes(), 5 * kMiB);
  writer_->set_window_size(0);
  Sync();
  writer_->AdvanceWindow();
  EXPECT_LE(writer_->window_bytes(), 3 * kMiB);
  EXPECT_EQ(WarmKey(0), "");
}

TEST_P(LogWriterTest, WindowMovesInsideALargeSegment) {
  options_.segment_size_bytes = 16 * kMiB;
  options_.lock_in_ram = false;
  Start();
  auto first = Set("first", "1");
  Fill(5 * kMiB);
  Sync();
  int64_t mapped = fs_->spy().mapped_bytes;
  writer_->AdvanceWindow();
  EXPECT_EQ(mapped - fs_->spy().mapped_bytes, static_cast<int64_t>(3 * kMiB));
  EXPECT_EQ(WarmKey(first.position), "");
  EXPECT_EQ(segments_->ById(1)->holds, 1);
}

TEST_P(LogWriterTest, CacheIsDroppedOnceTheIndexerHasPassed) {
  options_.segment_size_bytes = 16 * kMiB;
  options_.lock_in_ram = false;
  Start();
  Fill(6 * kMiB);
  Sync();
  writer_->AdvanceWindow();
  loop_.RunAll();
  EXPECT_TRUE(fs_->spy().dropped().empty());
  writer_->set_drop_cache_below({1, 2 * kMiB + 100 * 16});
  loop_.RunAll();
  auto dropped = fs_->spy().dropped();
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].begin, 0u);
  EXPECT_EQ(dropped[0].end, 2 * kMiB);
  writer_->set_drop_cache_below({2, 0});
  loop_.RunAll();
  dropped = fs_->spy().dropped();
  ASSERT_EQ(dropped.size(), 2u);
  EXPECT_EQ(dropped[1].begin, 2 * kMiB);
  EXPECT_EQ(dropped[1].end, 4 * kMiB);
}

TEST_P(LogWriterTest, RefusedLockLeavesNothingReadableButWritesGoOn) {
  fs_->spy().refuse_locks = true;
  Start();
  auto appended = Set("a", "1");
  loop_.RunAll();
  EXPECT_TRUE(writer_->lock_failed());
  EXPECT_TRUE(writer_->Warm(appended.position).empty());
  Fill(3 * kMiB);
  Sync();
  writer_->AdvanceWindow();
  EXPECT_LE(writer_->window_bytes(), 3 * kMiB);
  EXPECT_EQ(ReadLog().size(), 49u);
}

TEST_P(LogWriterTest, PopulatesAheadOfTheTailAndNotMore) {
  options_.segment_size_bytes = 64 * kMiB;
  options_.window_size_bytes = 8 * kMiB;
  Start();
  loop_.RunAll();
  // An idle log has next to nothing populated.
  EXPECT_LE(fs_->spy().populated_bytes, kMiB);
  std::string value(8000, 'v');
  for (int i = 0; i < 1000; ++i) {
    Set("k", value);
    loop_.RunOnce(0);
    uint64_t tail = writer_->tail().offset;
    EXPECT_GE(fs_->spy().populated_bytes, tail);
    EXPECT_LE(fs_->spy().populated_bytes, tail + 4 * kMiB);
  }
}

TEST_P(LogWriterTest, TailThatCatchesUpPopulatesItself) {
  options_.segment_size_bytes = 16 * kMiB;
  Start();
  loop_.HoldJobs(true);
  std::string value(8000, 'v');
  for (int i = 0; i < 500; ++i) Set("k", value);
  EXPECT_GE(fs_->spy().populated_bytes, writer_->tail().offset);
  EXPECT_LE(fs_->spy().populated_bytes, writer_->tail().offset + 512 * 1024u);
  loop_.HoldJobs(false);
  loop_.RunAll();
  EXPECT_EQ(ReadLog().size(), 500u);
}

TEST_P(LogWriterTest, ManyBytesAreWorthWaitingForAWorker) {
  options_.segment_size_bytes = 64 * kMiB;
  Start();
  loop_.RunAll();
  EXPECT_EQ(writer_->CheckRoom(8 * kMiB, Urgency::kNormal), Room::kWait);
  loop_.RunAll();
  EXPECT_EQ(room_changes_, 1);
  EXPECT_EQ(writer_->CheckRoom(8 * kMiB, Urgency::kNormal), Room::kReady);
}

}  // namespace
}  // namespace firn::log
