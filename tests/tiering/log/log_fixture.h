// A log writer on a disk, real or simulated, with a loop that runs step by step.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/spy_file_system.h"
#include "support/step_loop.h"
#include "tiering/io/posix_file.h"
#include "tiering/io/sim_disk.h"
#include "tiering/log/log_writer.h"
#include "tiering/log/segment_list.h"

namespace firn::log {

inline constexpr uint64_t kMiB = 1 << 20;

enum class Disk { kReal, kSimulated };

class LogFixture : public testing::Test {
 protected:
  struct Read {
    LogPosition position;
    uint64_t lsn;
    RecordKind kind;
    uint8_t flags;
    std::string key;
    std::string payload;
    uint32_t crc;
    uint64_t durable_lsn;
    int64_t wall_ms;
  };

  void SetUpDisk(Disk disk) {
    if (disk == Disk::kReal) {
      real_ = io::CreatePosixFileSystem();
      std::string pattern = testing::TempDir() + "/firn-log-XXXXXX";
      ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
      root_ = pattern;
      fs_ = std::make_unique<test::SpyFileSystem>(real_.get());
    } else {
      sim_ = std::make_unique<io::SimDisk>();
      root_ = "data";
      fs_ = std::make_unique<test::SpyFileSystem>(sim_.get());
    }
    options_.directory = root_ + "/log";
    options_.segment_size_bytes = kMiB;
    options_.window_size_bytes = 2 * kMiB;
    options_.directory_id = 77;
    options_.epoch = 1;
    ASSERT_TRUE(fs_->CreateDirectories(options_.directory).ok());
    if (sim_) {
      ASSERT_TRUE(sim_->SyncDirectory("").ok());
      ASSERT_TRUE(sim_->SyncDirectory(root_).ok());
    }
  }
  void TearDown() override {
    if (writer_) static_cast<void>(Stop());
    if (real_) std::filesystem::remove_all(root_);
  }

  Status TryStart() {
    segments_ = std::make_unique<SegmentTable>(options_.segment_size_bytes);
    writer_ = std::make_unique<LogWriter>(fs_.get(), &loop_, segments_.get(), options_);
    writer_->set_room_changed([this] { ++room_changes_; });
    writer_->set_synced([this] { ++syncs_; });
    Status status = writer_->Start();
    if (!status.ok()) writer_.reset();
    return status;
  }
  void Start() {
    Status status = TryStart();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  Status Stop() {
    Status status = writer_->Stop();
    writer_.reset();
    return status;
  }
  // As recovery does: goes on behind the last record that is there.
  void Restart() {
    ASSERT_TRUE(Stop().ok());
    auto found = ListSegments(fs_.get(), options_.directory, {});
    ASSERT_TRUE(found);
    ++options_.epoch;
    for (const FoundSegment& segment : *found) {
      options_.next_segment_id = segment.id + 1;
      options_.previous_segment_id = segment.id;
    }
    for (const Read& record : ReadLog()) {
      options_.first_lsn = record.lsn + 1;
      options_.previous_crc = record.crc;
    }
    Start();
  }

  LogWriter::Appended Append(const RecordSpec& spec) {
    auto appended = writer_->Append(spec, ++wall_ms_);
    EXPECT_TRUE(appended) << appended.error().message();
    return appended ? *appended : LogWriter::Appended{};
  }
  LogWriter::Appended Set(std::string_view key, std::string_view value) {
    return Append({.kind = RecordKind::kImage, .type = kDiskString, .key = key, .payload = value});
  }
  // Records of about 64 KiB, with the loop running in between.
  void Fill(uint64_t bytes) {
    std::string value(64 << 10, 'f');
    for (; bytes >= value.size(); bytes -= value.size()) {
      Set("fill", value);
      loop_.RunAll();
    }
  }
  void Sync() {
    writer_->Sync();
    loop_.RunAll();
  }

  // All that the fresh stream holds on disk now; it must be sound.
  std::vector<Read> ReadLog() {
    std::vector<Read> records;
    auto found = ListSegments(fs_.get(), options_.directory, {});
    EXPECT_TRUE(found);
    LogReader reader(SegmentsOf(Stream::kFresh, *found), kSegmentHeaderSize, {.allow_gaps = true});
    RecordView record;
    LogReader::Outcome outcome;
    while ((outcome = reader.Next(&record)) == LogReader::Outcome::kRecord) {
      records.push_back({reader.position(), record.lsn, record.kind, record.flags,
                         std::string(record.key), std::string(record.payload), record.crc,
                         record.durable_lsn, record.wall_ms});
    }
    EXPECT_EQ(outcome, LogReader::Outcome::kEnd) << reader.message();
    return records;
  }
  std::vector<std::string> Files() {
    auto names = fs_->List(options_.directory);
    EXPECT_TRUE(names);
    std::sort(names->begin(), names->end());
    return *names;
  }
  // The key in the window, or "" if the position isn't warm.
  std::string WarmKey(PackedPosition position) {
    std::string_view bytes = writer_->Warm(position);
    if (bytes.empty()) return "";
    RecordView record;
    uint64_t needed = 0;
    EXPECT_EQ(DecodeRecord(bytes, &record, &needed), DecodeOutcome::kOk);
    return std::string(record.key);
  }

  std::unique_ptr<io::FileSystem> real_;
  std::unique_ptr<io::SimDisk> sim_;
  std::unique_ptr<test::SpyFileSystem> fs_;
  std::string root_;
  test::StepLoop loop_;
  LogWriterOptions options_;
  std::unique_ptr<SegmentTable> segments_;
  std::unique_ptr<LogWriter> writer_;
  int64_t wall_ms_ = 1'700'000'000'000;
  int room_changes_ = 0;
  int syncs_ = 0;
};

}  // namespace firn::log
