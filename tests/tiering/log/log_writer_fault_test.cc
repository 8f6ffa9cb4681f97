// LogWriter on a disk that is full or fails.
#include <gtest/gtest.h>

#include <string>

#include "tiering/log/log_fixture.h"

namespace firn::log {
namespace {

using Room = LogWriter::Room;
using Urgency = LogWriter::Urgency;
using Call = io::SimFault::Call;

class LogWriterFaultTest : public LogFixture {
 protected:
  void SetUp() override { SetUpDisk(Disk::kSimulated); }

  Room Check(uint64_t bytes = 1000, Urgency urgency = Urgency::kNormal) {
    return writer_->CheckRoom(bytes, urgency);
  }
  // Writes until normal writes are refused. Returns the number of 64 KiB records.
  int FillUp() {
    int records = 0;
    for (; records < 1000; ++records) {
      Room room = Check(70'000);
      if (room == Room::kWait) {
        loop_.RunAll();
        room = Check(70'000);
      }
      if (room != Room::kReady) break;
      Fill(64 << 10);
    }
    return records;
  }
};

TEST_F(LogWriterFaultTest, FullDiskRefusesWritesAndKeepsSparesForDeletes) {
  sim_->SetCapacity(16 * kMiB);
  Start();
  FillUp();
  EXPECT_EQ(Check(), Room::kNoSpace);
  EXPECT_TRUE(writer_->out_of_space());
  EXPECT_EQ(writer_->space_status().code(), StatusCode::kNoSpace);
  EXPECT_EQ(writer_->poison().code(), StatusCode::kOk);
  uint64_t refused_at = writer_->appended_lsn();
  // Deletes still find a mebibyte and more.
  int deletes = 0;
  while (Check(100, Urgency::kFreesSpace) == Room::kReady && deletes < 100'000) {
    Append({.kind = RecordKind::kDelete, .key = "some key"});
    ++deletes;
  }
  EXPECT_GT(deletes, 16'000);
  EXPECT_LT(deletes, 100'000);
  EXPECT_EQ(Check(100, Urgency::kFreesSpace), Room::kNoSpace);
  Sync();
  EXPECT_EQ(writer_->durable_lsn(), refused_at + static_cast<uint64_t>(deletes));
  EXPECT_EQ(ReadLog().size(), writer_->appended_lsn());
}

TEST_F(LogWriterFaultTest, ServiceResumesWhenSpaceIsBack) {
  sim_->SetCapacity(16 * kMiB);
  Start();
  FillUp();
  EXPECT_EQ(Check(), Room::kNoSpace);
  uint64_t jobs = loop_.jobs_started();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Check(), Room::kNoSpace);
  EXPECT_LE(loop_.jobs_started(), jobs + 1) << "not more often than every 100 ms";
  loop_.RunAll();
  sim_->SetCapacity(32 * kMiB);
  EXPECT_EQ(Check(), Room::kNoSpace);
  loop_.Advance(150'000);
  Check();
  loop_.RunAll();
  loop_.RunAll();
  EXPECT_EQ(Check(), Room::kReady);
  EXPECT_FALSE(writer_->out_of_space());
  EXPECT_GT(FillUp(), 10);
}

TEST_F(LogWriterFaultTest, RemovedSegmentsMakeRoomAtOnce) {
  sim_->SetCapacity(16 * kMiB);
  Start();
  FillUp();
  Sync();
  writer_->AdvanceWindow();
  EXPECT_EQ(Check(), Room::kNoSpace);
  loop_.RunAll();
  for (uint64_t id : {1, 2, 3, 4}) {
    Segment* segment = segments_->ById(id);
    ASSERT_EQ(segment->holds, 0);
    std::string path = segment->file->path();
    segments_->Remove(segment);
    ASSERT_TRUE(fs_->Remove(path).ok());
  }
  writer_->OnSpaceFreed();
  loop_.RunAll();
  EXPECT_EQ(Check(), Room::kReady);
}

TEST_F(LogWriterFaultTest, MaxBytesBoundsTheLog) {
  options_.max_bytes = 16 * kMiB;
  Start();
  FillUp();
  EXPECT_EQ(Check(), Room::kNoSpace);
  EXPECT_NE(writer_->space_status().message().find("maxdisk"), std::string::npos);
  EXPECT_LE(segments_->total_bytes(), 15 * kMiB);
  loop_.RunAll();
  writer_->set_max_bytes(32 * kMiB);
  loop_.RunAll();
  EXPECT_EQ(Check(), Room::kReady);
}

TEST_F(LogWriterFaultTest, LongRecordThatDoesntFitRefusesOnlyItself) {
  sim_->SetCapacity(16 * kMiB);
  Start();
  loop_.RunAll();
  EXPECT_EQ(Check(20 * kMiB), Room::kWait);
  loop_.RunAll();
  EXPECT_EQ(Check(20 * kMiB), Room::kNoSpace);
  EXPECT_FALSE(writer_->out_of_space());
  EXPECT_EQ(Check(), Room::kReady);
  auto appended = writer_->Append(
      {.kind = RecordKind::kImage, .type = kDiskString, .payload = std::string(20 * kMiB, 'x')}, 1);
  EXPECT_EQ(appended.error().code(), StatusCode::kNoSpace);
  Set("a", "1");
  EXPECT_EQ(ReadLog().size(), 1u);
}

TEST_F(LogWriterFaultTest, GroupThatFindsNoRoomIsNeverCommitted) {
  sim_->SetCapacity(16 * kMiB);
  Start();
  Set("a", "1");
  ASSERT_TRUE(writer_->BeginGroup(1).ok());
  std::string value(20 * kMiB, 'x');
  EXPECT_FALSE(
      writer_->Append({.kind = RecordKind::kImage, .type = kDiskString, .payload = value}, 1));
  Set("b", "2");
  EXPECT_EQ(writer_->EndGroup(1).code(), StatusCode::kNoSpace);
  Set("c", "3");
  for (const Read& record : ReadLog()) EXPECT_NE(record.kind, RecordKind::kGroupCommit);
}

TEST_F(LogWriterFaultTest, SmallDiskGetsSmallSegments) {
  options_.segment_size_bytes = 64 * kMiB;
  sim_->SetCapacity(32 * kMiB);
  Start();
  EXPECT_EQ(writer_->active()->file_bytes, 2 * kMiB);
  EXPECT_GT(FillUp(), 100);
}

TEST_F(LogWriterFaultTest, FullDiskStillStarts) {
  sim_->SetCapacity(16 * kMiB);
  auto file = fs_->Open(root_ + "/ballast", {.create = true});
  ASSERT_TRUE((*file)->Allocate(14 * kMiB).ok());
  Start();
  EXPECT_EQ(Check(), Room::kNoSpace);
  EXPECT_EQ(Check(1000, Urgency::kFreesSpace), Room::kReady);
  Append({.kind = RecordKind::kDelete, .key = "k"});
}

TEST_F(LogWriterFaultTest, NoRoomAtAllIsSaidAtTheStart) {
  sim_->SetCapacity(16 * kMiB);
  auto file = fs_->Open(root_ + "/ballast", {.create = true});
  ASSERT_TRUE((*file)->Allocate(15 * kMiB + kMiB / 2).ok());
  EXPECT_EQ(TryStart().code(), StatusCode::kNoSpace);
  EXPECT_TRUE(Files().empty());
}

TEST_F(LogWriterFaultTest, FailedSyncPoisons) {
  Start();
  auto first = Set("a", "1");
  Sync();
  Set("b", "2");
  sim_->Inject({.call = Call::kSync});
  Sync();
  EXPECT_EQ(writer_->poison().code(), StatusCode::kIoError);
  EXPECT_EQ(writer_->durable_lsn(), 1u);
  EXPECT_EQ(syncs_, 2);
  EXPECT_FALSE(writer_->Append({.kind = RecordKind::kDelete, .key = "k"}, 1));
  EXPECT_EQ(Check(), Room::kPoisoned);
  Sync();
  EXPECT_EQ(syncs_, 2) << "never retried";
  EXPECT_EQ(writer_->durable_lsn(), 1u);
  EXPECT_EQ(WarmKey(first.position), "a") << "reads go on";
  writer_->AdvanceWindow();
  writer_->StampIfIdle(1);
  EXPECT_EQ(Stop().code(), StatusCode::kIoError);
}

TEST_F(LogWriterFaultTest, FailedSyncAtTheStopIsTold) {
  Start();
  Set("a", "1");
  sim_->Inject({.call = Call::kSync});
  EXPECT_EQ(Stop().code(), StatusCode::kIoError);
}

TEST_F(LogWriterFaultTest, FailedPopulatePoisons) {
  options_.segment_size_bytes = 16 * kMiB;
  Start();
  fs_->spy().fail_populate = true;
  std::string value(100'000, 'v');
  int appended = 0;
  while (appended < 100 &&
         writer_->Append({.kind = RecordKind::kImage, .type = kDiskString, .payload = value}, 1)) {
    ++appended;
  }
  EXPECT_LT(appended, 100);
  EXPECT_EQ(writer_->poison().code(), StatusCode::kIoError);
}

TEST_F(LogWriterFaultTest, FileThatCantBeMadeIsTriedAgain) {
  Start();
  sim_->Inject({.call = Call::kAllocate, .repeats = true});
  FillUp();
  EXPECT_EQ(Check(), Room::kNoSpace);
  EXPECT_EQ(writer_->space_status().code(), StatusCode::kIoError);
  sim_->ClearFaults();
  loop_.Advance(150'000);
  Check();
  loop_.RunAll();
  EXPECT_EQ(Check(), Room::kReady);
}

TEST_F(LogWriterFaultTest, PowerCutLeavesAPrefixThatHoldsWhatWasSynced) {
  // Sixteen crash images at each of a few dozen moments; the store's crash tests do far more.
  struct Mark {
    uint64_t event;
    uint64_t durable;
  };
  std::vector<Mark> marks;
  Start();
  std::string value(20'000, 'v');
  for (int i = 0; i < 120; ++i) {
    Set("key" + std::to_string(i), value);
    if (i % 3 == 0) writer_->Sync();
    loop_.RunAll();
    sim_->NoteMappedStores();
    marks.push_back({sim_->event_count(), writer_->durable_lsn()});
  }
  sim_->PowerOff();
  writer_.reset();
  for (size_t at = 0; at < marks.size(); at += 3) {
    for (uint64_t seed = 0; seed < 16; ++seed) {
      auto image =
          sim_->CrashImage(marks[at].event, {.kind = io::CrashPolicy::Kind::kRandomSectors}, seed);
      auto found = ListSegments(image.get(), options_.directory, {});
      ASSERT_TRUE(found);
      LogReader reader(SegmentsOf(Stream::kFresh, *found), kSegmentHeaderSize, {});
      RecordView record;
      uint64_t lsn = 0;
      while (reader.Next(&record) == LogReader::Outcome::kRecord) {
        ASSERT_EQ(record.lsn, ++lsn);
        ASSERT_EQ(record.payload, value);
      }
      ASSERT_GE(lsn, marks[at].durable) << reader.message() << " seed " << seed;
      ASSERT_FALSE(reader.FindProofOfDamage(lsn + 1)) << "a torn tail is no damage";
    }
  }
}

}  // namespace
}  // namespace firn::log
