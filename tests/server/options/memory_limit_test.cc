#include "server/options/memory_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace firn::server {
namespace {

constexpr uint64_t kGiB = 1 << 30;

// A machine described by a tree of files.
class MemoryLimitTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "firn-machine-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    Write("/proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  uint64_t Usable() const { return UsableMemoryBytes(root_); }

  std::string root_;
};

TEST_F(MemoryLimitTest, WithoutCgroupsTheMachineCounts) { EXPECT_EQ(Usable(), 8 * kGiB); }

TEST_F(MemoryLimitTest, NothingReadableIsZero) {
  EXPECT_EQ(UsableMemoryBytes(root_ + "/nowhere"), 0u);
}

TEST_F(MemoryLimitTest, Version2LimitCounts) {
  Write("/proc/self/cgroup", "0::/a.slice/b.service\n");
  Write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/a.slice/b.service/memory.max", "2147483648\n");
  EXPECT_EQ(Usable(), 2 * kGiB);
}

TEST_F(MemoryLimitTest, Version2LimitsOfParentsCount) {
  Write("/proc/self/cgroup", "0::/a.slice/b.service\n");
  Write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/a.slice/memory.max", "1073741824\n");
  Write("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
  EXPECT_EQ(Usable(), kGiB);
}

TEST_F(MemoryLimitTest, Version2InAContainerCountsAtTheTopOfTheMount) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/proc/self/mountinfo",
        "30 23 0:26 /docker/abc /sys/fs/cgroup ro master:9 - cgroup2 cgroup rw\n");
  Write("/sys/fs/cgroup/memory.max", "536870912\n");
  EXPECT_EQ(Usable(), kGiB / 2);
}

TEST_F(MemoryLimitTest, Version2PathOutsideOfTheMountCountsAtItsTop) {
  Write("/proc/self/cgroup", "0::/../../other\n");
  Write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/memory.max", "1073741824\n");
  EXPECT_EQ(Usable(), kGiB);
}

TEST_F(MemoryLimitTest, Version1LimitCounts) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/jobs/7\n0::/\n");
  Write("/proc/self/mountinfo",
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "268435456\n");
  EXPECT_EQ(Usable(), kGiB / 4);
}

TEST_F(MemoryLimitTest, Version1InAContainerCounts) {
  Write("/proc/self/cgroup", "4:memory:/docker/abc\n");
  Write("/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  EXPECT_EQ(Usable(), kGiB);
}

TEST_F(MemoryLimitTest, ALimitAboveTheMachineDoesNotCount) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/memory.max", "99999999999\n");
  EXPECT_EQ(Usable(), 8 * kGiB);
}

TEST_F(MemoryLimitTest, GarbageDoesNotCount) {
  Write("/proc/self/cgroup", "x\n::\n0::\n");
  Write("/proc/self/mountinfo", "1\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n - \n");
  Write("/sys/fs/cgroup/memory.max", "-1x\n");
  EXPECT_EQ(Usable(), 8 * kGiB);
}

TEST(MemoryLimit, ThisMachineHasMemory) { EXPECT_GT(UsableMemoryBytes(), 0u); }

}  // namespace
}  // namespace firn::server
