#include "server/oom_score.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace firn::server {
namespace {

class OomScoreTest : public testing::Test {
 protected:
  void SetUp() override { Write("100\n"); }
  void TearDown() override { std::remove(path_.c_str()); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  int Score() const {
    int score = 0;
    std::ifstream(path_) >> score;
    return score;
  }

  const std::string path_ = testing::TempDir() + "oom_score_" + std::to_string(getpid());
  OomScore score_{path_};
};

using Mode = OomScore::Mode;

TEST_F(OomScoreTest, AddsToWhatWasThereAndPutsItBack) {
  ASSERT_TRUE(score_.Apply(Mode::kRelative, 20).ok());
  EXPECT_EQ(Score(), 120);
  ASSERT_TRUE(score_.Apply(Mode::kRelative, 30).ok());
  EXPECT_EQ(Score(), 130);
  ASSERT_TRUE(score_.Apply(Mode::kAbsolute, 5).ok());
  Write("5\n");
  ASSERT_TRUE(score_.Apply(Mode::kOff, 0).ok());
  EXPECT_EQ(Score(), 100);
}

TEST_F(OomScoreTest, LeavesItAloneWhileOff) {
  Write("42\n");
  ASSERT_TRUE(score_.Apply(Mode::kOff, 7).ok());
  EXPECT_EQ(Score(), 42);
}

TEST_F(OomScoreTest, StaysWithinTheKernelsRange) {
  ASSERT_TRUE(score_.Apply(Mode::kRelative, 2000).ok());
  EXPECT_EQ(Score(), 1000);
}

TEST_F(OomScoreTest, TellsThatItFailed) {
  OomScore nowhere("/nowhere/at/all");
  EXPECT_FALSE(nowhere.Apply(Mode::kRelative, 1).ok());
  EXPECT_TRUE(nowhere.Apply(Mode::kOff, 0).ok());
}

}  // namespace
}  // namespace firn::server
