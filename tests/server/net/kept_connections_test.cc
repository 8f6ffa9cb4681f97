#include "server/kept_connections.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "tests/support/step_loop.h"

namespace firn::server {
namespace {

int OpenSomething() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

class KeptConnectionsTest : public testing::Test {
 protected:
  void Wait(int64_t micros) {
    loop_.Advance(micros);
    loop_.RunOnce(0);
  }
  test::StepLoop loop_;
  KeptConnections kept_{&loop_};
};

TEST_F(KeptConnectionsTest, GivesEachOnce) {
  const int fd = OpenSomething();
  EXPECT_EQ(kept_.Take("a"), -1);
  kept_.Keep("a", fd);
  EXPECT_EQ(kept_.Take("b"), -1);
  EXPECT_EQ(kept_.Take("a"), fd);
  EXPECT_EQ(kept_.Take("a"), -1);
  EXPECT_TRUE(IsOpen(fd));
  ::close(fd);
}

TEST_F(KeptConnectionsTest, ClosesWhatNobodyUsedForTenSeconds) {
  const int first = OpenSomething();
  const int second = OpenSomething();
  kept_.Keep("first", first);
  Wait(6'000'000);
  kept_.Keep("second", second);
  Wait(5'000'000);
  EXPECT_FALSE(IsOpen(first));
  EXPECT_TRUE(IsOpen(second));
  EXPECT_EQ(kept_.Take("first"), -1);
  Wait(5'000'000);
  EXPECT_FALSE(IsOpen(second));
  EXPECT_EQ(kept_.size(), 0u);
}

TEST_F(KeptConnectionsTest, KeepsOneOfAName) {
  const int first = OpenSomething();
  const int second = OpenSomething();
  kept_.Keep("a", first);
  kept_.Keep("a", second);
  EXPECT_FALSE(IsOpen(first));
  EXPECT_EQ(kept_.Take("a"), second);
  ::close(second);
}

TEST_F(KeptConnectionsTest, HasALimit) {
  const int oldest = OpenSomething();
  kept_.Keep("oldest", oldest);
  for (size_t i = 0; i < KeptConnections::kMost; ++i) {
    loop_.Advance(1000);
    kept_.Keep(std::to_string(i), OpenSomething());
  }
  EXPECT_EQ(kept_.size(), KeptConnections::kMost);
  EXPECT_FALSE(IsOpen(oldest));
}

}  // namespace
}  // namespace firn::server
