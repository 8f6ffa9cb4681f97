// A backup and the log that was kept after it give back every moment since the backup.

#include "tiering/point_in_time.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "support/store_driver.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/posix_file.h"
#include "tiering/log_archiver.h"

namespace firn {
namespace {

namespace fs = std::filesystem;

using Model = std::map<std::string, std::string>;

class PointInTimeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "firn-pit-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    files_ = io::CreatePosixFileSystem();
  }
  void TearDown() override {
    Abandon();
    fs::remove_all(root_);
  }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  Status Open(const std::string& name, const std::string& archive) {
    Abandon();
    std::string notice;
    auto loop = io::CreateNetLoop({}, &notice);
    CHECK(loop.has_value());
    loop_ = std::move(*loop);
    StoreOptions options;
    options.directory = Path(name);
    options.segment_size_bytes = 1 << 20;
    options.random_seed = 3 + name.size();  // of it the id of a directory is made
    options.warm_memory_bytes = 1 << 20;
    options.archive_directory = archive.empty() ? "" : Path(archive);
    driver_.emplace(options, StoreEnvironment{.file_system = files_.get(), .loop = loop_.get()});
    Status status = driver_->Open();
    if (!status.ok()) driver_.reset();
    return status;
  }
  void MustOpen(const std::string& name, const std::string& archive) {
    const Status status = Open(name, archive);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void Close() {
    const Status status = driver_->Close();
    ASSERT_TRUE(status.ok()) << status.message();
    driver_.reset();
    loop_.reset();
  }
  void Abandon() {
    if (driver_) driver_->Abandon();
    driver_.reset();
    loop_.reset();
  }
  void Copy(const std::string& from, const std::string& to) {
    fs::copy(Path(from), Path(to), fs::copy_options::recursive);
  }

  // Writes of all kinds; `model` follows.
  void Write(int count) {
    for (int i = 0; i < count; ++i) {
      const std::string key = "key" + std::to_string(random_.Next() % 200);
      switch (random_.Next() % 4) {
        case 0:
          if (driver_->Delete(key)) model_.erase(key);
          break;
        case 1:
          driver_->Append(key, "+" + std::to_string(i));
          model_[key] += "+" + std::to_string(i);
          break;
        default:
          model_[key] = std::string(random_.Next() % 3000, 'a' + static_cast<char>(i % 26));
          driver_->Set(key, model_[key]);
      }
    }
  }
  uint64_t Lsn() { return driver_->store().Stats().appended_lsn; }

  Result<PointInTimeReport> Bring(const std::string& name, RecoveryTarget target,
                                  uint64_t replay_limit = 256 << 20) {
    return BringLogTo(files_.get(), {.directory = Path(name),
                                     .archive = Path("archive"),
                                     .target = target,
                                     .replay_limit_bytes = replay_limit});
  }
  void ExpectModel(const Model& model) {
    for (int i = 0; i < 200; ++i) {
      const std::string key = "key" + std::to_string(i);
      auto it = model.find(key);
      const std::optional<std::string> wanted =
          it == model.end() ? std::nullopt : std::optional(it->second);
      ASSERT_EQ(driver_->Get(key), wanted) << key;
    }
    EXPECT_EQ(driver_->Count(), model.size());
  }
  std::vector<std::string> Archived() {
    std::vector<std::string> names = *files_->List(Path("archive"));
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string root_;
  std::unique_ptr<io::FileSystem> files_;
  std::unique_ptr<io::NetLoop> loop_;
  std::optional<test::StoreDriver> driver_;
  Random random_{11};
  Model model_;
};

TEST_F(PointInTimeTest, EveryRecordedMomentComesBack) {
  MustOpen("data", "archive");
  Write(500);
  Close();
  Copy("data", "backup");
  MustOpen("data", "archive");
  struct Moment {
    uint64_t lsn;
    Model model;
  };
  std::vector<Moment> moments;
  for (int round = 0; round < 6; ++round) {
    Write(400);
    moments.push_back({Lsn(), model_});
    if (round == 3) {
      // As a process that dies, and begins a new epoch.
      ASSERT_TRUE(driver_->Sync().ok());
      MustOpen("data", "archive");
    }
    if (round == 4) driver_->store().Compact();
  }
  Close();
  ASSERT_GT(Archived().size(), 3u);
  for (size_t i = 0; i < moments.size(); ++i) {
    const std::string name = "restored" + std::to_string(i);
    Copy("backup", name);
    // With and without the index.
    auto report = Bring(name, {.lsn = moments[i].lsn}, i % 2 == 0 ? 256 << 20 : 0);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->lsn, moments[i].lsn);
    EXPECT_TRUE(report->is_reached);
    MustOpen(name, "");
    ExpectModel(moments[i].model);
    const Status check = driver_->store().CheckConsistency();
    EXPECT_TRUE(check.ok() || check.code() == StatusCode::kBusy) << check.message();
    Close();
  }
}

TEST_F(PointInTimeTest, TimeCountsAsItStandsInTheRecords) {
  MustOpen("data", "archive");
  driver_->Set("key0", "old");
  Close();
  Copy("data", "backup");
  MustOpen("data", "archive");
  driver_->Set("key0", "new");
  const int64_t then = driver_->store().now_ms();
  while (loop_->WallMillis() <= then + 5) driver_->Turn();
  driver_->Set("key0", "newest");
  Close();
  Copy("backup", "restored");
  auto report = Bring("restored", {.unix_ms = then + 2});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_TRUE(report->is_reached);
  MustOpen("restored", "");
  ExpectModel({{"key0", "new"}});
  Close();
  // Beyond the end of what there is: all of it, and the report says so.
  Copy("backup", "all");
  report = Bring("all", {.unix_ms = then + 3'600'000});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_FALSE(report->is_reached);
  MustOpen("all", "");
  ExpectModel({{"key0", "newest"}});
}

TEST_F(PointInTimeTest, AGroupIsWholeOrAbsent) {
  MustOpen("data", "archive");
  driver_->Set("key0", "0");
  Close();
  Copy("data", "backup");
  MustOpen("data", "archive");
  const uint64_t before = Lsn();
  driver_->store().BeginGroup();
  driver_->Set("key1", "1");
  driver_->Set("key2", "2");
  driver_->store().EndGroup();
  const uint64_t after = Lsn();
  Close();
  for (uint64_t lsn = before; lsn <= after; ++lsn) {
    const std::string name = "restored" + std::to_string(lsn);
    Copy("backup", name);
    auto report = Bring(name, {.lsn = lsn});
    ASSERT_TRUE(report.has_value()) << report.error().message();
    MustOpen(name, "");
    ExpectModel(lsn < after ? Model{{"key0", "0"}}
                            : Model{{"key0", "0"}, {"key1", "1"}, {"key2", "2"}});
    Close();
  }
}

TEST_F(PointInTimeTest, AnInterruptedOneIsRepeated) {
  MustOpen("data", "archive");
  Write(100);
  Close();
  Copy("data", "backup");
  MustOpen("data", "archive");
  Write(2500);
  Close();
  Copy("backup", "restored");
  // As far as an interruption may have come: some segments are there.
  const auto names = Archived();
  ASSERT_GT(names.size(), 3u);
  fs::copy_file(Path("archive/" + names[0]), Path("restored/log/" + names[0]),
                fs::copy_options::overwrite_existing);
  fs::copy_file(Path("archive/" + names[1]), Path("restored/log/" + names[1]),
                fs::copy_options::overwrite_existing);
  auto report = Bring("restored", {.unix_ms = INT64_MAX});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  MustOpen("restored", "");
  ExpectModel(model_);
}

TEST_F(PointInTimeTest, AMomentBeforeTheBackupIsRefused) {
  MustOpen("data", "archive");
  Write(300);
  const uint64_t lsn = Lsn();
  Write(300);
  Close();
  auto report = Bring("data", {.lsn = lsn});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), StatusCode::kInvalid);
  EXPECT_NE(report.error().message().find("later changes"), std::string::npos);
  report = Bring("data", {.unix_ms = 1'000'000});
  EXPECT_FALSE(report.has_value());
}

TEST_F(PointInTimeTest, AMissingSegmentIsToldAndNothingChanges) {
  MustOpen("data", "archive");
  Write(100);
  Close();
  Copy("data", "backup");
  MustOpen("data", "archive");
  Write(3000);
  Close();
  const auto names = Archived();
  ASSERT_GT(names.size(), 3u);
  fs::rename(Path("archive/" + names[2]), Path("aside"));
  Copy("backup", "restored");
  auto report = Bring("restored", {.unix_ms = INT64_MAX});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), StatusCode::kCorruption);
  EXPECT_NE(report.error().message().find("missing"), std::string::npos)
      << report.error().message();
  // A damaged one as well.
  fs::rename(Path("aside"), Path("archive/" + names[2]));
  {
    std::fstream file(Path("archive/" + names[2]), std::ios::in | std::ios::out);
    file.seekp(60'000);
    file.put('\x7f');
    file.put('\x7e');
  }
  report = Bring("restored", {.unix_ms = INT64_MAX});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), StatusCode::kCorruption);
  EXPECT_EQ(files_->List(Path("restored/log"))->size(), files_->List(Path("backup/log"))->size());
}

TEST_F(PointInTimeTest, AnotherDirectorysLogIsRefused) {
  MustOpen("data", "archive");
  Write(100);
  Close();
  MustOpen("other", "");
  Write(100);
  Close();
  auto report = Bring("other", {.unix_ms = INT64_MAX});
  ASSERT_FALSE(report.has_value());
  EXPECT_NE(report.error().message().find("another data directory"), std::string::npos)
      << report.error().message();
  const Status status = Open("other", "archive");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("another data directory"), std::string::npos);
}

TEST_F(PointInTimeTest, TheRestoredLogIsNotMixedWithTheAbandonedOne) {
  MustOpen("data", "archive");
  Write(100);
  Close();
  Copy("data", "backup");
  MustOpen("data", "archive");
  const uint64_t lsn = Lsn() + 1;
  Write(3000);
  Close();
  auto report = Bring("backup", {.lsn = lsn});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  Status status = Open("backup", "archive");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("a later log"), std::string::npos) << status.message();
  MustOpen("backup", "archive2");
  Write(10);
  Close();
}

TEST_F(PointInTimeTest, CompactionRemovesNothingThatIsNotKeptYet) {
  MustOpen("data", "archive");
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 200; ++i) {
      driver_->Set("key" + std::to_string(i), std::string(5000, 'a' + static_cast<char>(round)));
    }
    ASSERT_TRUE(driver_->Sync().ok());
  }
  driver_->store().Compact();
  EXPECT_TRUE(driver_->RunUntil([&] { return driver_->store().Stats().compactions > 2; }));
  Close();
  // All of the fresh stream since the beginning.
  Copy("data", "other");
  fs::remove_all(Path("other/log"));
  fs::remove_all(Path("other/index"));
  fs::create_directory(Path("other/log"));
  fs::copy_file(Path("archive/0000000000000001.seg"), Path("other/log/0000000000000001.seg"));
  auto report = Bring("other", {.unix_ms = INT64_MAX});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  MustOpen("other", "");
  EXPECT_EQ(driver_->Get("key7"), std::string(5000, 'a' + 11));
  EXPECT_EQ(driver_->Count(), 200u);
}

}  // namespace
}  // namespace firn
