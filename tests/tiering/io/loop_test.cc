#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/tiering/io/loop_fixture.h"
#include "tiering/io/timer_heap.h"

namespace firn::io {
namespace {

constexpr uint64_t kPage = kDirectAlignment;

struct Answer : DiskRequest {
  Answer() {
    done = [](DiskRequest* request, int result) {
      auto* answer = static_cast<Answer*>(request);
      answer->result = result;
      ++answer->times;
    };
  }
  int result = 0;
  int times = 0;
};

struct Pages {
  explicit Pages(size_t count) : bytes(static_cast<char*>(::aligned_alloc(kPage, count * kPage))) {}
  ~Pages() { ::free(bytes); }
  char* bytes;
};

class LoopTest : public LoopFixture {
 protected:
  // A file whose page i is filled with 'a' + i % 26, and then `tail` bytes of '!'.
  std::unique_ptr<File> FileOfPages(size_t pages, size_t tail) {
    Result<std::unique_ptr<File>> file = fs_->Open(Path("f"), {.create = true});
    EXPECT_TRUE(file.has_value());
    for (size_t i = 0; i < pages; ++i) {
      EXPECT_TRUE((*file)->WriteAt(i * kPage, std::string(kPage, 'a' + i % 26)).ok());
    }
    EXPECT_TRUE((*file)->WriteAt(pages * kPage, std::string(tail, '!')).ok());
    return std::move(*file);
  }
};

TEST_P(LoopTest, ReadsManyPagesAtOnce) {
  constexpr size_t kCount = 300;
  std::unique_ptr<File> file = FileOfPages(kCount, 0);
  Pages into(kCount);
  std::vector<Answer> answers(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    loop_->Read(file.get(), i * kPage, into.bytes + i * kPage, kPage, &answers[i]);
    EXPECT_EQ(answers[i].times, 0);
  }
  ASSERT_TRUE(RunUntil([&] {
    return std::all_of(answers.begin(), answers.end(), [](auto& answer) { return answer.times; });
  }));
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(answers[i].result, static_cast<int>(kPage));
    EXPECT_EQ(into.bytes[i * kPage], static_cast<char>('a' + i % 26));
    EXPECT_EQ(into.bytes[i * kPage + kPage - 1], static_cast<char>('a' + i % 26));
  }
}

TEST_P(LoopTest, ReadBuffersOfItsOwnAreAsGoodAsAnyOthers) {
  constexpr size_t kCount = 300;  // more than any loop keeps
  std::unique_ptr<File> file = FileOfPages(kCount + 32, 0);
  for (int round = 0; round < 3; ++round) {
    std::vector<Answer> answers(kCount);
    std::vector<char*> buffers(kCount);
    auto size = [](size_t i) { return static_cast<uint32_t>(i % 50 == 49 ? 32 * kPage : kPage); };
    for (size_t i = 0; i < kCount; ++i) {
      buffers[i] = loop_->AllocateReadBuffer(size(i));
      ASSERT_NE(buffers[i], nullptr);
      memset(buffers[i], '?', size(i));
      loop_->Read(file.get(), i * kPage, buffers[i], size(i), &answers[i]);
    }
    ASSERT_TRUE(RunUntil([&] {
      return std::all_of(answers.begin(), answers.end(), [](auto& answer) { return answer.times; });
    }));
    for (size_t i = 0; i < kCount; ++i) {
      EXPECT_EQ(answers[i].result, static_cast<int>(size(i)));
      EXPECT_EQ(buffers[i][0], static_cast<char>('a' + i % 26));
      const size_t last = i + size(i) / kPage - 1;
      EXPECT_EQ(buffers[i][size(i) - 1], static_cast<char>('a' + last % 26));
      loop_->FreeReadBuffer(buffers[i]);
    }
  }
  loop_->FreeReadBuffer(nullptr);
}

TEST_P(LoopTest, ReadStopsAtTheEndOfTheFile) {
  std::unique_ptr<File> file = FileOfPages(2, 10);
  Pages into(4);
  Answer tail;
  Answer beyond;
  loop_->Read(file.get(), kPage, into.bytes, 3 * kPage, &tail);
  loop_->Read(file.get(), 4 * kPage, into.bytes + 3 * kPage, kPage, &beyond);
  ASSERT_TRUE(RunUntil([&] { return tail.times + beyond.times == 2; }));
  EXPECT_EQ(tail.result, static_cast<int>(kPage) + 10);
  EXPECT_EQ(into.bytes[kPage + 9], '!');
  EXPECT_EQ(beyond.result, 0);
}

TEST_P(LoopTest, ReadThatEndsOnAPageAtTheEndOfTheFileIsShort) {
  std::unique_ptr<File> file = FileOfPages(2, 0);
  Pages into(3);
  Answer answer;
  loop_->Read(file.get(), 0, into.bytes, 3 * kPage, &answer);
  ASSERT_TRUE(RunUntil([&] { return answer.times == 1; }));
  EXPECT_EQ(answer.result, static_cast<int>(2 * kPage));
}

TEST_P(LoopTest, SyncAnswersAfterWrites) {
  std::unique_ptr<File> file = FileOfPages(1, 0);
  Answer answer;
  loop_->Sync(file.get(), &answer);
  ASSERT_TRUE(RunUntil([&] { return answer.times == 1; }));
  EXPECT_EQ(answer.result, 0);
}

TEST_P(LoopTest, ReadsMayBeStartedFromTheAnswersOfOthers) {
  struct Chain : DiskRequest {
    Loop* loop;
    File* file;
    char* into;
    int left;
  };
  constexpr size_t kChains = 32;
  std::unique_ptr<File> file = FileOfPages(kChains, 0);
  Pages into(kChains);
  for (const size_t chains : {size_t{1}, kChains}) {
    std::vector<Chain> all(chains);
    for (size_t i = 0; i < chains; ++i) {
      all[i].loop = loop_.get();
      all[i].file = file.get();
      all[i].into = into.bytes + i * kPage;
      all[i].left = 500 / static_cast<int>(chains) + 20;
      all[i].done = [](DiskRequest* request, int result) {
        auto* self = static_cast<Chain*>(request);
        ASSERT_EQ(result, static_cast<int>(kPage));
        if (--self->left > 0) self->loop->Read(self->file, 0, self->into, kPage, self);
      };
      loop_->Read(file.get(), 0, all[i].into, kPage, &all[i]);
    }
    ASSERT_TRUE(RunUntil([&] {
      return std::all_of(all.begin(), all.end(), [](auto& chain) { return chain.left == 0; });
    }));
  }
}

TEST_P(LoopTest, AnAnswerThatComesWhileATimerRunsIsNotForgotten) {
  std::unique_ptr<File> file = FileOfPages(1, 0);
  Pages into(1);
  Answer answer;
  loop_->AddTimer(0, [&] {
    loop_->Read(file.get(), 0, into.bytes, kPage, &answer);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  EXPECT_TRUE(RunUntil([&] { return answer.times == 1; }));
}

// A full batch that nothing is known of yet holds back what comes later.
TEST_P(LoopTest, ReadsThatComeWhileOthersAreUnderWayAreAnsweredToo) {
  constexpr size_t kBatch = 20;
  constexpr size_t kBatches = 10;
  std::unique_ptr<File> file = FileOfPages(kBatch, 0);
  Pages into(kBatches * kBatch);
  std::vector<Answer> answers(kBatches * kBatch);
  for (size_t i = 0; i < answers.size(); ++i) {
    loop_->Read(file.get(), i % kBatch * kPage, into.bytes + i * kPage, kPage, &answers[i]);
    if (i % kBatch == kBatch - 1) loop_->RunOnce(0);
  }
  ASSERT_TRUE(RunUntil([&] {
    return std::all_of(answers.begin(), answers.end(),
                       [](auto& answer) { return answer.times > 0; });
  }));
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].times, 1);
    EXPECT_EQ(answers[i].result, static_cast<int>(kPage));
    EXPECT_EQ(into.bytes[i * kPage], into.bytes[i % kBatch * kPage]);
  }
}

TEST_P(LoopTest, DestructionForgetsReadsThatWereHeldBack) {
  std::unique_ptr<File> file = FileOfPages(1, 0);
  Pages into(40);
  std::vector<Answer> answers(40);
  for (size_t i = 0; i < answers.size(); ++i) {
    loop_->Read(file.get(), 0, into.bytes + i * kPage, kPage, &answers[i]);
    if (i == 19) loop_->RunOnce(0);
  }
  loop_.reset();
}

TEST_P(LoopTest, TimersFireInOrderAndNeverEarly) {
  using Clock = std::chrono::steady_clock;
  const std::vector<int64_t> delays = {30000, 10000, 0, 20000, 20000, 5000};
  std::vector<size_t> fired;
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < delays.size(); ++i) {
    loop_->AddTimer(delays[i], [&, i] {
      EXPECT_GE(Clock::now() - start, std::chrono::microseconds(delays[i]));
      fired.push_back(i);
    });
  }
  EXPECT_TRUE(fired.empty());
  ASSERT_TRUE(RunUntil([&] { return fired.size() == delays.size(); }));
  EXPECT_EQ(fired, (std::vector<size_t>{2, 5, 1, 3, 4, 0}));
}

TEST_P(LoopTest, AWaitEndsForATimer) {
  bool fired = false;
  loop_->AddTimer(20'000, [&] { fired = true; });
  // Waits without a limit: a timer that doesn't end them would hang here.
  while (!fired) loop_->RunOnce(-1);
}

TEST_P(LoopTest, CancelledTimersStaySilent) {
  int fired = 0;
  const TimerId first = loop_->AddTimer(1000, [&] { ++fired; });
  TimerId second = 0;
  loop_->AddTimer(0, [&] { loop_->CancelTimer(second); });
  second = loop_->AddTimer(1000, [&] { ++fired; });
  bool last = false;
  loop_->CancelTimer(first);
  loop_->CancelTimer(first);
  loop_->CancelTimer(12345);
  loop_->AddTimer(5000, [&] { last = true; });
  ASSERT_TRUE(RunUntil([&] { return last; }));
  EXPECT_EQ(fired, 0);
}

TEST_P(LoopTest, RunOnceWithoutWorkReturnsAfterItsWait) {
  loop_->RunOnce(0);
  const auto start = std::chrono::steady_clock::now();
  // The kernel may interrupt a wait, as it does when the ring of an earlier test goes away.
  int iterations = 0;
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(40)) {
    loop_->RunOnce(20'000);
    ++iterations;
  }
  EXPECT_LE(iterations, 100);
}

TEST_P(LoopTest, ClocksAreSampledByIteration) {
  const int64_t micros = loop_->NowMicros();
  EXPECT_NEAR(static_cast<double>(loop_->WallMillis()), ::time(nullptr) * 1000.0, 60'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(loop_->NowMicros(), micros);
  loop_->RunOnce(0);
  EXPECT_GE(loop_->NowMicros(), micros + 2000);
}

TEST_P(LoopTest, PostedTasksRunInOrderOnTheLoop) {
  constexpr int kCount = 10'000;
  std::vector<int> seen;
  std::thread poster([&] {
    for (int i = 0; i < kCount; ++i) loop_->Post([&seen, i] { seen.push_back(i); });
  });
  // Waits without a limit: a lost wake-up would hang here.
  while (seen.size() < kCount) loop_->RunOnce(-1);
  poster.join();
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST_P(LoopTest, ATaskMayPostAnother) {
  int depth = 0;
  std::function<void()> again = [&] {
    if (++depth < 100) loop_->Post(again);
  };
  loop_->Post(again);
  EXPECT_TRUE(RunUntil([&] { return depth == 100; }));
}

TEST_P(LoopTest, WakeEndsAWaitInAnotherThread) {
  std::atomic<int> stage{0};
  std::thread waker([&] {
    for (int i = 1; i <= 50; ++i) {
      while (stage.load() < i) std::this_thread::yield();
      loop_->Wake();
    }
  });
  for (int i = 1; i <= 50; ++i) {
    stage.store(i);
    loop_->RunOnce(-1);
  }
  waker.join();
}

TEST_P(LoopTest, WakeFromASignalHandlerEndsTheWait) {
  static std::atomic<Loop*> target;
  target = loop_.get();
  struct sigaction action = {};
  struct sigaction previous;
  action.sa_handler = [](int) { target.load()->Wake(); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &previous), 0);
  const pthread_t self = ::pthread_self();
  std::thread sender([self] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ::pthread_kill(self, SIGUSR1);
  });
  loop_->RunOnce(-1);
  sender.join();
  ::sigaction(SIGUSR1, &previous, nullptr);
}

TEST_P(LoopTest, WorkersRunJobsElsewhereAndAnswerOnTheLoop) {
  CreateLoop({.workers = 1});
  const std::thread::id loop_thread = std::this_thread::get_id();
  std::vector<int> jobs;
  std::vector<int> answers;
  for (int i = 0; i < 100; ++i) {
    loop_->RunOnWorker(
        WorkPriority::kUrgent,
        [&jobs, i, loop_thread] {
          EXPECT_NE(std::this_thread::get_id(), loop_thread);
          jobs.push_back(i);
        },
        [&, i] {
          EXPECT_EQ(std::this_thread::get_id(), loop_thread);
          answers.push_back(i);
        });
  }
  loop_->RunOnWorker(WorkPriority::kUrgent, [] {}, {});
  ASSERT_TRUE(RunUntil([&] { return answers.size() == 100; }));
  EXPECT_TRUE(std::is_sorted(jobs.begin(), jobs.end()));
  EXPECT_TRUE(std::is_sorted(answers.begin(), answers.end()));
}

TEST_P(LoopTest, UrgentWorkPassesBackgroundWork) {
  std::atomic<bool> release{false};
  int background_done = 0;
  for (int i = 0; i < 4; ++i) {
    loop_->RunOnWorker(
        WorkPriority::kBackground,
        [&] {
          while (!release) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        },
        [&] { ++background_done; });
  }
  bool urgent_done = false;
  loop_->RunOnWorker(
      WorkPriority::kUrgent, [] {}, [&] { urgent_done = true; });
  EXPECT_TRUE(RunUntil([&] { return urgent_done; }));
  EXPECT_EQ(background_done, 0);
  release = true;
  EXPECT_TRUE(RunUntil([&] { return background_done == 4; }));
}

TEST_P(LoopTest, WorkersBlockSignalsAndYieldToTheExecutorOnceLowered) {
  struct Seen {
    int niceness = 0;
    bool blocked = false;
  };
  auto look = [this] {
    Seen seen;
    bool done = false;
    loop_->RunOnWorker(
        WorkPriority::kBackground,
        [&] {
          sigset_t mask;
          ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
          seen.blocked = ::sigismember(&mask, SIGTERM) == 1 && ::sigismember(&mask, SIGUSR1) == 1;
          seen.niceness = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
        },
        [&] { done = true; });
    EXPECT_TRUE(RunUntil([&] { return done; }));
    return seen;
  };
  const int own = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
  const Seen before = look();
  EXPECT_TRUE(before.blocked);
  EXPECT_EQ(before.niceness, own);
  loop_->LowerWorkers();
  const int after = look().niceness;
  EXPECT_TRUE(after > own || own == 19) << after << ", where the executor has " << own;
}

TEST_P(LoopTest, DestructionWaitsForReadsInFlight) {
  std::unique_ptr<File> file = FileOfPages(64, 0);
  Pages into(64);
  std::vector<Answer> answers(64);
  for (size_t i = 0; i < 64; ++i) {
    loop_->Read(file.get(), i * kPage, into.bytes + i * kPage, kPage, &answers[i]);
  }
  loop_->RunOnce(0);
  loop_.reset();
}

FIRN_FOR_BOTH_LOOPS(LoopTest);

// Makes a system call fail with EPERM in this thread and those that it starts, as container
// runtimes do.
void RefuseSystemCall(uint32_t number) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {.len = std::size(code), .filter = code};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST(CreateNetLoopTest, FallsBackWithANoticeWhereIoUringIsRefused) {
  for (const uint32_t call : {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register}) {
    std::thread([call] {
      RefuseSystemCall(call);
      std::string notice;
      Result<std::unique_ptr<NetLoop>> refused =
          CreateNetLoop({.backend = Backend::kUring}, &notice);
      ASSERT_FALSE(refused.has_value());
      EXPECT_EQ(refused.error().code(), StatusCode::kUnsupported);
      Result<std::unique_ptr<NetLoop>> loop = CreateNetLoop({}, &notice);
      ASSERT_TRUE(loop.has_value());
      EXPECT_NE(notice.find("io_uring is not available"), std::string::npos) << notice;
      EXPECT_EQ(notice.find('\n'), std::string::npos);
      bool fired = false;
      (*loop)->AddTimer(0, [&] { fired = true; });
      for (int i = 0; i < 60'000 && !fired; ++i) (*loop)->RunOnce(1000);
      EXPECT_TRUE(fired);
    }).join();
  }
}

TEST(TimerHeapTest, RunsByDeadlineUnderRandomAddsAndCancels) {
  TimerHeap heap;
  uint32_t random = 1;
  int64_t last = -1;
  std::vector<TimerId> ids;
  size_t fired = 0;
  size_t cancelled = 0;
  for (int i = 0; i < 5000; ++i) {
    random = random * 1664525 + 1013904223;
    const int64_t deadline = random >> 20;
    ids.push_back(heap.Add(deadline, [&, deadline] {
      EXPECT_GE(deadline, last);
      last = deadline;
      ++fired;
    }));
    if (i % 3 == 0) {
      heap.Cancel(ids[random % ids.size()]);
    }
  }
  for (size_t i = 0; i < ids.size(); i += 7) heap.Cancel(ids[i]);
  for (int64_t now = 0; !heap.empty(); now += 64) {
    heap.RunDue(now);
    if (!heap.empty()) {
      EXPECT_GT(heap.NextDeadline(), now);
    }
  }
  for (const TimerId id : ids) heap.Cancel(id);
  cancelled = ids.size() - fired;
  EXPECT_GT(cancelled, 714u);
  EXPECT_GT(fired, 2000u);
}

TEST(TimerHeapTest, ATimerAddedByATimerWaitsForTheNextRun) {
  TimerHeap heap;
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    heap.Add(0, again);
  };
  heap.Add(0, again);
  heap.RunDue(10);
  EXPECT_EQ(runs, 1);
  heap.RunDue(10);
  EXPECT_EQ(runs, 2);
}

}  // namespace
}  // namespace firn::io
