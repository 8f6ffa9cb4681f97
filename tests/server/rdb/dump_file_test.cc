// Who may change the names of dumps, when one is abandoned while it is written.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "server/rdb_file.h"
#include "tiering/io/posix_file.h"

namespace firn::server {
namespace {

class DumpFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "dump-file-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static std::unique_ptr<io::File> Create(DumpFile* dump, const std::string& text) {
    auto file = dump->Create();
    EXPECT_TRUE(file.has_value()) << file.error().message();
    if (!file) return nullptr;
    EXPECT_TRUE((*file)->WriteAt(0, text).ok());
    return std::move(*file);
  }
  void WriteOldDump() { std::ofstream(directory_ + "/dump.rdb") << "old"; }
  std::string Dump() const {
    std::ifstream file(directory_ + "/dump.rdb");
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  size_t Files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory_), {}));
  }

  std::string directory_;
  std::unique_ptr<io::FileSystem> files_ = io::CreatePosixFileSystem();
};

TEST_F(DumpFileTest, TakesTheNameOnceItIsWhole) {
  WriteOldDump();
  DumpFile dump(files_.get(), directory_, "dump.rdb");
  auto file = Create(&dump, "new");
  EXPECT_EQ(Dump(), "old");
  EXPECT_EQ(Files(), 2u);
  EXPECT_TRUE(dump.Commit().ok());
  EXPECT_EQ(Dump(), "new");
  EXPECT_EQ(Files(), 1u);
  dump.Remove();
  EXPECT_EQ(Dump(), "new");
}

TEST_F(DumpFileTest, WhatIsAbandonedAfterItsLastByteNeverTakesTheName) {
  WriteOldDump();
  DumpFile dump(files_.get(), directory_, "dump.rdb");
  auto file = Create(&dump, "of no use");
  dump.Abandon();
  EXPECT_EQ(Files(), 1u);
  EXPECT_EQ(dump.Commit().code(), StatusCode::kBusy);
  EXPECT_EQ(Dump(), "old");
}

TEST_F(DumpFileTest, WhatIsAbandonedBeforeItsFirstByteGetsNoFile) {
  DumpFile dump(files_.get(), directory_, "dump.rdb");
  dump.Abandon();
  auto file = dump.Create();
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code(), StatusCode::kBusy);
  EXPECT_EQ(Files(), 0u);
}

TEST_F(DumpFileTest, WhatIsAbandonedAfterItTookTheNameStays) {
  DumpFile dump(files_.get(), directory_, "dump.rdb");
  auto file = Create(&dump, "new");
  EXPECT_TRUE(dump.Commit().ok());
  dump.Abandon();
  EXPECT_EQ(Dump(), "new");
}

TEST_F(DumpFileTest, TheWriterOfAnAbandonedOneDoesNotTouchTheNext) {
  DumpFile abandoned(files_.get(), directory_, "dump.rdb");
  auto old_file = Create(&abandoned, "of no use");
  abandoned.Abandon();
  DumpFile next(files_.get(), directory_, "dump.rdb");
  auto file = Create(&next, "next");
  EXPECT_TRUE(old_file->WriteAt(0, "still of no use").ok());
  EXPECT_EQ(abandoned.Commit().code(), StatusCode::kBusy);
  abandoned.Remove();
  EXPECT_EQ(Files(), 1u);
  EXPECT_TRUE(next.Commit().ok());
  EXPECT_EQ(Dump(), "next");
}

TEST_F(DumpFileTest, NeverWritesToAFileThatLiesThere) {
  DumpFile left(files_.get(), directory_, "dump.rdb");
  auto old_file = Create(&left, "left behind by a removal that failed");
  DumpFile next(files_.get(), directory_, "dump.rdb");
  auto file = Create(&next, "next");
  EXPECT_TRUE(old_file->WriteAt(0, "more").ok());
  EXPECT_TRUE(next.Commit().ok());
  EXPECT_EQ(Dump(), "next");
}

}  // namespace
}  // namespace firn::server
