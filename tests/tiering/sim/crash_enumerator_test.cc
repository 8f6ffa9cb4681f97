// The enumerator, on a counter that is replaced by rename: right, and with planted bugs.
#include "support/crash_enumerator.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "tiering/io/sim_loop.h"

namespace firn::test {
namespace {

enum class Bug { kNone, kSkipSync, kSkipDirectorySync, kOverwrite, kAcknowledgeEarly };

struct Ack {
  uint64_t event;
  int value;
};

std::string Padded(int value) { return std::string(2000, '.') + std::to_string(value); }

void Write(io::SimDisk* disk, const std::string& path, int value, bool sync) {
  auto file = disk->Open(path, {.create = true, .truncate = true});
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE((*file)->WriteAt(0, Padded(value)).ok());
  if (sync) {
    ASSERT_TRUE((*file)->Sync().ok());
  }
}

std::vector<Ack> Count(io::SimDisk* disk, Bug bug) {
  std::vector<Ack> acks;
  Write(disk, "counter", 0, true);
  EXPECT_TRUE(disk->SyncDirectory("/").ok());
  acks.push_back({disk->event_count(), 0});
  for (int value = 1; value <= 10; ++value) {
    if (bug == Bug::kAcknowledgeEarly) acks.push_back({disk->event_count(), value});
    Write(disk, bug == Bug::kOverwrite ? "counter" : "next", value, bug != Bug::kSkipSync);
    if (bug != Bug::kOverwrite) {
      EXPECT_TRUE(disk->Rename("next", "counter").ok());
    }
    if (bug != Bug::kSkipDirectorySync) {
      EXPECT_TRUE(disk->SyncDirectory("/").ok());
    }
    acks.push_back({disk->event_count(), value});
  }
  return acks;
}

std::string CheckCounter(io::SimDisk* image, uint64_t event, const std::vector<Ack>& acks) {
  int found = -1;
  auto file = image->Open("counter", {.writable = false});
  if (file) {
    std::string bytes(*(*file)->Size(), '\0');
    if (!(*file)->ReadAt(0, bytes).has_value()) return "unreadable";
    for (int value = 0; value <= 10; ++value) {
      if (bytes == Padded(value)) found = value;
    }
    if (found < 0) return "damaged";
  }
  for (const Ack& ack : acks) {
    if (ack.event <= event && ack.value > found) return "lost " + std::to_string(ack.value);
  }
  return "";
}

std::string Enumerate(Bug bug, CrashEnumeratorOptions options) {
  io::SimDisk disk;
  std::vector<Ack> acks = Count(&disk, bug);
  options.first_event = acks[0].event;
  CrashEnumerator enumerator(&disk, options);
  std::string failure = enumerator.Run([&](io::SimDisk* image, const CrashPoint& point) {
    return CheckCounter(image, point.event, acks);
  });
  EXPECT_EQ(enumerator.points() == options.points_max, failure.empty());
  return failure;
}

TEST(CrashEnumeratorTest, FindsNothingWrongWithWhatIsRight) {
  EXPECT_EQ(Enumerate(Bug::kNone, {.points_max = 3000}), "");
}

TEST(CrashEnumeratorTest, CatchesPlantedBugs) {
  for (Bug bug :
       {Bug::kSkipSync, Bug::kSkipDirectorySync, Bug::kOverwrite, Bug::kAcknowledgeEarly}) {
    EXPECT_NE(Enumerate(bug, {.points_max = 1000}), "") << static_cast<int>(bug);
  }
}

TEST(CrashEnumeratorTest, AFailureNamesAPointThatCanBeVisitedAgain) {
  std::string failure = Enumerate(Bug::kSkipSync, {.points_max = 1000});
  ASSERT_NE(failure, "");
  size_t begin = std::string("crash point ").size();
  std::string point = failure.substr(begin, failure.find(' ', begin) - begin);
  setenv("FIRN_CRASH_POINT", point.c_str(), 1);
  EXPECT_EQ(Enumerate(Bug::kSkipSync, {.points_max = 1000}), failure);
  unsetenv("FIRN_CRASH_POINT");
}

TEST(CrashEnumeratorTest, SpreadsFewPointsOverAllEventsAndRepeatsFromItsSeed) {
  io::SimDisk disk;
  Count(&disk, Bug::kNone);
  std::vector<std::string> visits[2];
  std::set<uint64_t> events;
  for (auto& visited : visits) {
    CrashEnumerator enumerator(&disk, {.seed = 4, .points_max = 20});
    enumerator.Run([&](io::SimDisk*, const CrashPoint& point) {
      visited.push_back(point.ToString());
      events.insert(point.event);
      return "";
    });
    EXPECT_EQ(enumerator.points(), 20u);
  }
  EXPECT_EQ(visits[0], visits[1]);
  EXPECT_EQ(events.size(), 20u);
  EXPECT_GT(*events.rbegin(), disk.event_count() * 9 / 10);
}

// A log in a mapping, synced through the loop: what every store above this is made of.
TEST(CrashEnumeratorTest, AMappedLogKeepsWhatItsSyncsCoveredAndALivingKernelAll) {
  constexpr uint64_t kRecord = 700;
  constexpr uint64_t kSize = 1 << 18;
  struct Request : io::DiskRequest {
    int result = 1;
  };
  io::SimDisk disk;
  io::SimLoop loop(&disk, {.seed = 2});
  auto file = std::move(*disk.Open("log", {.create = true}));
  ASSERT_TRUE(file->Allocate(kSize).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  char* map = *file->Map(0, kSize);
  uint64_t begin = disk.event_count();
  std::vector<Ack> synced;
  std::vector<Ack> written;
  for (int i = 0; i < 300; ++i) {
    std::fill_n(map + i * kRecord, kRecord, static_cast<char>(1 + i % 200));
    if (i % 5 != 4) continue;
    disk.NoteMappedStores();
    written.push_back({disk.event_count(), i});
    Request request;
    request.done = [](io::DiskRequest* done, int result) {
      static_cast<Request*>(done)->result = result;
    };
    loop.Sync(file.get(), &request);
    ASSERT_TRUE(loop.RunUntil([&] { return request.result <= 0; }, 1'000'000));
    ASSERT_EQ(request.result, 0);
    synced.push_back({disk.event_count(), i});
  }
  file->Unmap(map, kSize);
  disk.PowerOff();
  CrashEnumerator enumerator(&disk, {.points_max = 2000, .first_event = begin});
  std::string failure = enumerator.Run([&](io::SimDisk* image, const CrashPoint& point) {
    std::string bytes(kSize, '\0');
    if (!(*image->Open("log", {}))->ReadAt(0, bytes).has_value()) return "unreadable";
    for (const Ack& ack : point.process_death ? written : synced) {
      if (ack.event > point.event) break;
      for (uint64_t at = 0; at < kRecord; ++at) {
        if (bytes[ack.value * kRecord + at] != static_cast<char>(1 + ack.value % 200)) {
          return "lost a record";
        }
      }
    }
    return "";
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace firn::test
