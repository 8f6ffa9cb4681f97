#include "tiering/log/log_mend.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tiering/log/log_check.h"
#include "tiering/log/log_fixture.h"

namespace firn::log {
namespace {

class LogMendTest : public LogFixture {
 protected:
  void SetUp() override {
    SetUpDisk(Disk::kSimulated);
    Start();
  }
  // Three segments of some sixteen records; all synced, then stamped and stopped.
  void WriteLog() {
    for (int i = 0; i < 48; ++i) {
      Set("key" + std::to_string(i), std::string(64 << 10, static_cast<char>('a' + i % 26)));
      loop_.RunAll();
      if (i % 4 == 0) Sync();
    }
    ASSERT_TRUE(Stop().ok());
    before_ = ReadLog();
    ASSERT_EQ(before_.size(), 49u);
  }
  std::string Path(uint64_t id) { return options_.directory + "/" + SegmentFileName(id); }
  void Damage(LogPosition position, std::string_view bytes = "damage") {
    ASSERT_TRUE(sim_->Damage(Path(position.segment_id), position.offset, bytes).ok());
  }
  LogReport Check() {
    auto found = ListSegments(fs_.get(), options_.directory, {});
    EXPECT_TRUE(found);
    return CheckLog(*found);
  }
  MendLines Skip() {
    auto lines = SkipDamage(fs_.get(), options_.directory);
    EXPECT_TRUE(lines) << lines.error().message();
    return lines ? *lines : MendLines();
  }
  std::set<std::string> Keys() {
    std::set<std::string> keys;
    for (const Read& record : ReadLog()) keys.insert(record.key);
    return keys;
  }
  int SetAside() {
    int count = 0;
    for (const std::string& name : Files()) count += name.starts_with("damaged-");
    return count;
  }

  std::vector<Read> before_;
};

TEST_F(LogMendTest, SoundLogIsClean) {
  WriteLog();
  LogReport report = Check();
  EXPECT_TRUE(report.IsClean());
  EXPECT_EQ(report.records, 49u);
  EXPECT_EQ(report.last_lsn, 49u);
  EXPECT_EQ(report.segments, 4u);
  EXPECT_EQ(report.gaps, 0u);
  EXPECT_TRUE(Skip().empty());
}

TEST_F(LogMendTest, RunningOrKilledServersLogIsClean) {
  Set("a", "1");
  LogReport report = Check();
  EXPECT_TRUE(report.IsClean());
  EXPECT_EQ(report.spares, 2u);
}

TEST_F(LogMendTest, TornTailIsNoDamage) {
  Set("a", "1");
  Sync();
  LogPosition torn = writer_->tail();
  Set("b", std::string(5000, 'b'));
  loop_.RunAll();
  sim_->NoteMappedStores();
  writer_->set_synced({});
  sim_->PowerOff();
  auto image = sim_->CrashImage(sim_->event_count(), {.kind = io::CrashPolicy::Kind::kAll}, 1);
  ASSERT_TRUE(image->Damage(Path(1), torn.offset + 100, "torn").ok());
  auto found = ListSegments(image.get(), options_.directory, {});
  LogReport report = CheckLog(*found);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, Finding::Kind::kTornTail);
  EXPECT_EQ(report.findings[0].position, torn);
  writer_.reset();
}

TEST_F(LogMendTest, UncommittedGroupAtTheEndIsATornTail) {
  Set("a", "1");
  Sync();
  ASSERT_TRUE(writer_->BeginGroup(1).ok());
  Set("b", "1");
  LogReport report = Check();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, Finding::Kind::kTornTail);
  EXPECT_EQ(report.findings[0].position.offset, kSegmentHeaderSize + 64);
  ASSERT_TRUE(writer_->EndGroup(1).ok());
  EXPECT_TRUE(Check().IsClean());
}

TEST_F(LogMendTest, EveryDamagedRecordIsFoundAndLeftOut) {
  WriteLog();
  for (size_t i : {0, 5, 6, 17, 30}) {
    LogPosition at = before_[i].position;
    Damage({at.segment_id, at.offset + 1000});
  }
  LogReport report = Check();
  // Two that are neighbours are one.
  ASSERT_EQ(report.findings.size(), 4u);
  EXPECT_TRUE(report.HasDamage());
  EXPECT_EQ(report.findings[0].position, before_[0].position);
  EXPECT_EQ(*report.findings[1].next_sound, before_[7].position);

  EXPECT_FALSE(Skip().empty());
  EXPECT_TRUE(Check().IsClean());
  std::set<std::string> keys = Keys();
  for (size_t i = 0; i < 48; ++i) {
    bool lost = i == 0 || i == 5 || i == 6 || i == 17 || i == 30;
    EXPECT_EQ(keys.contains("key" + std::to_string(i)), !lost) << i;
  }
  EXPECT_EQ(SetAside(), 4);
}

TEST_F(LogMendTest, DamageAtTheEndOfASegmentIsLeftOut) {
  WriteLog();
  size_t last = 0;
  while (before_[last + 1].position.segment_id == 1) ++last;
  Damage({1, before_[last].position.offset + 8});
  ASSERT_EQ(Check().findings.size(), 1u);
  Skip();
  EXPECT_TRUE(Check().IsClean());
  EXPECT_EQ(Keys().size(), 48u);  // 47 keys and the stamp's empty one
}

TEST_F(LogMendTest, BrokenHeaderIsWrittenAnew) {
  WriteLog();
  for (uint64_t id : {1, 2}) Damage({id, 0});
  EXPECT_TRUE(Check().HasDamage());
  Skip();
  EXPECT_TRUE(Check().IsClean());
  EXPECT_EQ(Keys().size(), 49u);
}

TEST_F(LogMendTest, CutSetsAsideAllThatFollows) {
  WriteLog();
  LogPosition at = before_[20].position;
  Damage({at.segment_id, at.offset + 8});
  auto lines = CutLog(fs_.get(), options_.directory, at);
  ASSERT_TRUE(lines) << lines.error().message();
  EXPECT_TRUE(Check().IsClean());
  EXPECT_EQ(ReadLog().size(), 20u);
  EXPECT_EQ(SetAside(), 3);  // the rest of one segment, and two whole ones
}

TEST_F(LogMendTest, CutInsideARecordIsRefused) {
  WriteLog();
  LogPosition at = before_[20].position;
  for (uint32_t offset : {at.offset + 16, at.offset + 1, 16u, 1u << 30}) {
    auto lines = CutLog(fs_.get(), options_.directory, {at.segment_id, offset});
    ASSERT_FALSE(lines);
    EXPECT_EQ(lines.error().code(), StatusCode::kInvalid);
  }
  EXPECT_FALSE(CutLog(fs_.get(), options_.directory, {99, 4096}));
  EXPECT_TRUE(Check().IsClean());
  EXPECT_EQ(ReadLog().size(), 49u);
}

TEST_F(LogMendTest, MissingSegmentIsNoDamageOfTheRest) {
  WriteLog();
  ASSERT_TRUE(fs_->Remove(Path(2)).ok());
  LogReport report = Check();
  EXPECT_TRUE(report.IsClean());
  EXPECT_EQ(report.gaps, 1u);
}

TEST_F(LogMendTest, UnreadableSegmentIsDamage) {
  WriteLog();
  auto found = ListSegments(fs_.get(), options_.directory, {});
  sim_->Inject({.call = io::SimFault::Call::kRead, .repeats = true, .path_part = "02.seg"});
  LogReport report = CheckLog(*found);
  EXPECT_TRUE(report.HasDamage());
  EXPECT_GT(report.records, 30u) << "the others are checked all the same";
}

TEST(FillerTest, HasTheCrcThatIsWanted) {
  for (uint32_t size : {48u, 49u, 64u, 1000u, 70'000u}) {
    for (uint32_t crc : {0u, 1u, 0xffffffffu, 0xdeadbeefu}) {
      std::string bytes =
          MakeFiller({.size = size, .crc = crc, .previous_crc = 5, .epoch = 1, .lsn = 9});
      RecordView record;
      uint64_t needed = 0;
      ASSERT_EQ(DecodeRecord(bytes, &record, &needed), DecodeOutcome::kOk);
      EXPECT_EQ(record.kind, RecordKind::kFiller);
      EXPECT_EQ(record.crc, crc);
      EXPECT_EQ(record.size, size);
      EXPECT_EQ(record.previous_crc, 5u);
    }
  }
}

}  // namespace
}  // namespace firn::log
