// StoreOnFiles: a fixture with a store on real files in a directory of its own.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "support/store_driver.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/posix_file.h"

namespace firn::test {

class StoreOnFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "firn-test-").string() + std::string(6, 'X');
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    options_.directory = pattern;
    options_.segment_size_bytes = 1 << 20;
    options_.random_seed = 7;
    options_.warm_memory_bytes = 1 << 20;
    files_ = io::CreatePosixFileSystem();
    Open();
  }
  void TearDown() override {
    if (driver_) driver_->Abandon();
    driver_.reset();
    loop_.reset();
    std::filesystem::remove_all(options_.directory);
  }

  Status TryOpen() {
    driver_.reset();
    std::string notice;
    auto loop = io::CreateNetLoop({}, &notice);
    EXPECT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
    driver_ = std::make_unique<StoreDriver>(
        options_,
        StoreEnvironment{.file_system = files_.get(),
                         .loop = loop_.get(),
                         .log = [this](int, const std::string& line) { lines_ += line + "\n"; }});
    return driver_->Open();
  }
  void Open() {
    const Status status = TryOpen();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void Restart() {
    const Status closed = driver_->Close();
    ASSERT_TRUE(closed.ok()) << closed.message();
    Open();
  }
  // As when the process dies.
  void Crash() {
    driver_->Abandon();
    Open();
  }
  Store& store() { return driver_->store(); }

  StoreOptions options_;
  std::string lines_;  // that were logged
  std::unique_ptr<io::FileSystem> files_;
  std::unique_ptr<io::NetLoop> loop_;
  std::unique_ptr<StoreDriver> driver_;
};

}  // namespace firn::test
