// What the tests of the production loops share: each runs over both backends.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "tiering/io/net_loop.h"
#include "tiering/io/posix_file.h"

namespace firn::io {

class LoopFixture : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    char name[] = "./loop_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    CreateLoop({});
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void CreateLoop(NetLoopOptions options) {
    loop_.reset();
    options.backend = GetParam();
    std::string notice;
    Result<std::unique_ptr<NetLoop>> loop = CreateNetLoop(options, &notice);
    if (!loop) GTEST_SKIP() << loop.error().message();
    loop_ = std::move(*loop);
  }

  // Runs the loop until `done()`, at most a minute. Returns whether it was done in time. Each wait
  // may last that long: a lost wake-up fails the test.
  template <typename Predicate>
  bool RunUntil(Predicate done) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    for (;;) {
      const auto left = deadline - Clock::now();
      if (left.count() <= 0) return false;
      if (done()) return true;
      loop_->RunOnce(std::chrono::duration_cast<std::chrono::microseconds>(left).count());
    }
  }

  // The same where what is waited for wakes nobody.
  template <typename Predicate>
  bool PollUntil(Predicate done) {
    for (int i = 0; i < 60'000; ++i) {
      if (done()) return true;
      loop_->RunOnce(1000);
    }
    return done();
  }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  std::string directory_;
  std::unique_ptr<FileSystem> fs_ = CreatePosixFileSystem();
  std::unique_ptr<NetLoop> loop_;
};

inline std::string BackendName(const testing::TestParamInfo<Backend>& info) {
  return info.param == Backend::kUring ? "Uring" : "Threads";
}

#define FIRN_FOR_BOTH_LOOPS(fixture)                                               \
  INSTANTIATE_TEST_SUITE_P(                                                        \
      Backends, fixture,                                                           \
      testing::Values(::firn::io::Backend::kUring, ::firn::io::Backend::kThreads), \
      ::firn::io::BackendName)

}  // namespace firn::io
