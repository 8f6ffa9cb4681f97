#include "tiering/io/sim_loop.h"

#include <gtest/gtest.h>

#include <set>

namespace firn::io {
namespace {

struct Request : DiskRequest {
  Request() {
    done = [](DiskRequest* request, int result) {
      auto* self = static_cast<Request*>(request);
      self->result = result;
      ++self->calls;
    };
  }
  int result = -1;
  int calls = 0;
};

class SimLoopTest : public testing::Test {
 protected:
  SimLoopTest() {
    file_ = std::move(*disk_.Open("a", {.create = true}));
    EXPECT_TRUE(disk_.SyncDirectory("/").ok());
  }

  SimDisk disk_;
  std::unique_ptr<File> file_;
  SimLoop loop_{&disk_, {}};
};

TEST_F(SimLoopTest, ReadsCompleteLaterWithTheBytes) {
  ASSERT_TRUE(file_->WriteAt(0, std::string(5000, 'x')).ok());
  ASSERT_TRUE(file_->Sync().ok());
  alignas(4096) static char buffer[8192];
  Request request;
  loop_.Read(file_.get(), 0, buffer, 8192, &request);
  EXPECT_EQ(request.calls, 0);
  EXPECT_FALSE(loop_.Idle());
  EXPECT_TRUE(loop_.RunUntil([&] { return request.calls > 0; }, 100'000));
  EXPECT_EQ(request.result, 5000);
  EXPECT_EQ(buffer[4999], 'x');
  EXPECT_TRUE(loop_.Idle());
}

TEST_F(SimLoopTest, SyncsCoverWhatWasStoredBeforeThemAndReportErrors) {
  ASSERT_TRUE(file_->WriteAt(0, "before").ok());
  Request request;
  loop_.Sync(file_.get(), &request);
  ASSERT_TRUE(file_->WriteAt(6, "after").ok());
  EXPECT_TRUE(loop_.RunUntil([&] { return request.calls > 0; }, 100'000));
  EXPECT_EQ(request.result, 0);
  auto image = disk_.CrashImage(disk_.event_count(), {}, 1);
  EXPECT_EQ(*(*image->Open("a", {}))->Size(), 6u);
  disk_.Inject({.call = SimFault::Call::kSync});
  loop_.Sync(file_.get(), &request);
  EXPECT_TRUE(loop_.RunUntil([&] { return request.calls > 1; }, 100'000));
  EXPECT_EQ(request.result, -EIO);
}

TEST_F(SimLoopTest, OperationsFinishInManyOrders) {
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimLoop loop(&disk_, {.seed = seed});
    std::string order;
    for (char name : {'a', 'b', 'c'}) {
      loop.RunOnWorker(
          name == 'c' ? WorkPriority::kUrgent : WorkPriority::kBackground,
          [&order, name] { order += name; },
          [&order, name] { order += static_cast<char>(name - 32); });
    }
    ASSERT_TRUE(loop.RunUntil([&] { return order.size() == 6; }, 1'000'000));
    EXPECT_LT(order.find('a'), order.find('b'));  // of one priority: in order
    EXPECT_LT(order.find('a'), order.find('A'));
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 5u);
}

TEST_F(SimLoopTest, EqualSeedsGiveEqualRuns) {
  std::vector<int64_t> times[2];
  for (auto& run : times) {
    SimLoop loop(&disk_, {.seed = 9});
    for (int i = 0; i < 20; ++i) {
      loop.RunOnWorker(
          WorkPriority::kBackground, [] {}, [&] { run.push_back(loop.NowMicros()); });
    }
    ASSERT_TRUE(loop.RunUntil([&] { return run.size() == 20; }, 10'000'000));
  }
  EXPECT_EQ(times[0], times[1]);
}

TEST_F(SimLoopTest, TimersAreNeverEarlyAndCanBeCancelled) {
  int64_t begin = loop_.NowMicros();
  int64_t fired = 0;
  bool cancelled_fired = false;
  TimerId other = 0;
  loop_.AddTimer(5000, [&] {
    fired = loop_.NowMicros();
    loop_.CancelTimer(other);
  });
  other = loop_.AddTimer(5000, [&] { cancelled_fired = true; });
  loop_.RunOnce(4000);
  EXPECT_EQ(fired, 0);
  loop_.RunOnce(-1);
  EXPECT_GE(fired, begin + 5000);
  loop_.RunOnce(100'000);
  EXPECT_FALSE(cancelled_fired);
  loop_.CancelTimer(other);
}

TEST_F(SimLoopTest, WaitingMovesTheClockAndStepsMoveTheWallClockOnly) {
  int64_t now = loop_.NowMicros();
  int64_t wall = loop_.WallMillis();
  loop_.RunOnce(50'000);
  EXPECT_GE(loop_.NowMicros(), now + 50'000);
  EXPECT_GE(loop_.WallMillis(), wall + 50);
  now = loop_.NowMicros();
  loop_.StepWall(-10'000);
  EXPECT_LT(loop_.WallMillis(), wall);
  EXPECT_EQ(loop_.NowMicros(), now);
}

TEST_F(SimLoopTest, PostedTasksRunInALaterIteration) {
  int runs = 0;
  loop_.Post([&] {
    ++runs;
    loop_.Post([&] { ++runs; });
  });
  loop_.RunOnce(-1);
  EXPECT_EQ(runs, 1);
  loop_.RunOnce(-1);
  EXPECT_EQ(runs, 2);
}

TEST_F(SimLoopTest, JobsOfAPoweredOffDiskFailWithoutHarm) {
  Request request;
  loop_.Sync(file_.get(), &request);
  disk_.PowerOff();
  EXPECT_TRUE(loop_.RunUntil([&] { return request.calls > 0; }, 100'000));
  EXPECT_EQ(request.result, -EIO);
}

}  // namespace
}  // namespace firn::io
