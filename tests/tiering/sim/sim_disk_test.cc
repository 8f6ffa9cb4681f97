#include "tiering/io/sim_disk.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <set>

#include "engine/base/random.h"

namespace firn::io {
namespace {

using Policy = CrashPolicy::Kind;
using Call = SimFault::Call;

constexpr Policy kPolicies[] = {Policy::kNone,          Policy::kAll,       Policy::kEpoch,
                                Policy::kRandomSectors, Policy::kTornWrite, Policy::kGarbage};

std::unique_ptr<File> OpenFile(FileSystem* disk, const std::string& path) {
  Result<std::unique_ptr<File>> file = disk->Open(path, {.create = true});
  EXPECT_TRUE(file.has_value());
  return std::move(*file);
}

std::string ReadAll(FileSystem* disk, const std::string& path) {
  Result<std::unique_ptr<File>> file = disk->Open(path, {.writable = false});
  if (!file) return "<absent>";
  std::string bytes(*(*file)->Size(), '\0');
  EXPECT_EQ(*(*file)->ReadAt(0, bytes), bytes.size());
  return bytes;
}

TEST(SimDiskTest, ReadsBackWhatWasWrittenWithHolesAsZeros) {
  SimDisk disk;
  auto file = OpenFile(&disk, "/a");
  ASSERT_TRUE(file->WriteAt(5000, "tail").ok());
  ASSERT_TRUE(file->WriteAt(0, "head").ok());
  EXPECT_EQ(*file->Size(), 5004u);
  std::string bytes(6000, 'x');
  EXPECT_EQ(*file->ReadAt(0, bytes), 5004u);
  EXPECT_EQ(bytes.substr(0, 5), std::string("head\0", 5));
  EXPECT_EQ(bytes.substr(5000, 4), "tail");
  ASSERT_TRUE(file->Truncate(2).ok());
  ASSERT_TRUE(file->Truncate(8).ok());
  EXPECT_EQ(ReadAll(&disk, "/a"), std::string("he\0\0\0\0\0\0", 8));
}

TEST(SimDiskTest, SyncedDataIsInEveryImageAndUnsyncedDataInSome) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(file->WriteAt(0, std::string(10000, 's')).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->WriteAt(5000, std::string(10000, 'u')).ok());
  for (Policy policy : kPolicies) {
    std::set<std::string> seen;
    for (uint64_t seed = 0; seed < 50; ++seed) {
      auto image = disk.CrashImage(disk.event_count(), {.kind = policy}, seed);
      std::string bytes = ReadAll(image.get(), "a");
      ASSERT_GE(bytes.size(), 10000u);
      EXPECT_EQ(bytes.substr(0, 5000), std::string(5000, 's'));
      for (char c : bytes.substr(5000, 5000)) ASSERT_TRUE(c == 's' || c == 'u');
      seen.insert(bytes);
    }
    if (policy == Policy::kNone) {
      EXPECT_EQ(*seen.begin(), std::string(10000, 's'));
    }
    if (policy == Policy::kAll) {
      EXPECT_EQ(seen.begin()->substr(5000), std::string(10000, 'u'));
    }
    if (policy == Policy::kNone || policy == Policy::kAll) {
      EXPECT_EQ(seen.size(), 1u);
    }
    if (policy == Policy::kRandomSectors) {
      EXPECT_GT(seen.size(), 20u);
    }
  }
}

TEST(SimDiskTest, SectorsAreWholeAndLaterVersionsIncludeEarlierOnes) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(file->WriteAt(0, std::string(8192, '0')).ok());
  ASSERT_TRUE(file->Sync().ok());
  for (char version = '1'; version < '5'; ++version) {
    // Each write changes another part of every sector.
    for (uint64_t at = (version - '1') * 128; at < 8192; at += 512) {
      ASSERT_TRUE(file->WriteAt(at, std::string(128, version)).ok());
    }
  }
  for (uint64_t sector_size : {512, 4096}) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      auto image = disk.CrashImage(
          disk.event_count(), {.kind = Policy::kRandomSectors, .sector_size = sector_size}, seed);
      std::string bytes = ReadAll(image.get(), "a");
      for (uint64_t sector = 0; sector < 8192; sector += 512) {
        bool ended = false;
        for (int part = 0; part < 4; ++part) {
          char c = bytes[sector + part * 128];
          ASSERT_TRUE(c == '0' || (c == '1' + part && !ended));
          ASSERT_EQ(bytes.substr(sector + part * 128, 128), std::string(128, c));
          ended = c == '0';
        }
      }
    }
  }
}

TEST(SimDiskTest, AFileGrowsByAppendedBytesOnlyUnlessSizesDoNotWaitForData) {
  for (bool wait : {true, false}) {
    SimDisk disk({.sizes_wait_for_data = wait});
    auto file = OpenFile(&disk, "a");
    ASSERT_TRUE(disk.SyncDirectory("/").ok());
    for (uint64_t at = 0; at < 20'000; at += 700) {
      ASSERT_TRUE(file->WriteAt(at, std::string(700, 'x')).ok());
    }
    int with_holes = 0;
    for (uint64_t seed = 0; seed < 100; ++seed) {
      CrashPolicy policy{.kind = seed % 2 == 0 ? Policy::kRandomSectors : Policy::kTornWrite};
      std::string bytes = ReadAll(disk.CrashImage(disk.event_count(), policy, seed).get(), "a");
      with_holes += bytes != std::string(bytes.size(), 'x');
    }
    EXPECT_EQ(with_holes > 0, !wait);
  }
}

TEST(SimDiskTest, NamesAreCertainOnlyAfterTheDirectoryIsSynced) {
  SimDisk disk;
  ASSERT_TRUE(disk.CreateDirectories("/d/e").ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(disk.SyncDirectory("/d").ok());
  auto file = OpenFile(&disk, "/d/e/new");
  ASSERT_TRUE(file->WriteAt(0, "content").ok());
  ASSERT_TRUE(file->Sync().ok());
  uint64_t before = disk.event_count();
  ASSERT_TRUE(disk.SyncDirectory("/d/e").ok());
  EXPECT_EQ(ReadAll(disk.CrashImage(before, {.kind = Policy::kNone}, 1).get(), "/d/e/new"),
            "<absent>");
  EXPECT_EQ(ReadAll(disk.CrashImage(before, {.kind = Policy::kAll}, 1).get(), "/d/e/new"),
            "content");
  for (Policy policy : kPolicies) {
    auto image = disk.CrashImage(disk.event_count(), {.kind = policy}, 7);
    EXPECT_EQ(ReadAll(image.get(), "/d/e/new"), "content");
  }
}

TEST(SimDiskTest, SyncOfANewFileKeepsItsNameWhereTheFileSystemIsSaidToDoSo) {
  SimDisk disk({.sync_persists_name = true});
  ASSERT_TRUE(disk.CreateDirectories("/d").ok());
  auto file = OpenFile(&disk, "/d/a");
  ASSERT_TRUE(file->WriteAt(0, "content").ok());
  ASSERT_TRUE(file->Sync().ok());
  auto image = disk.CrashImage(disk.event_count(), {.kind = Policy::kNone}, 1);
  EXPECT_EQ(ReadAll(image.get(), "/d/a"), "content");
}

TEST(SimDiskTest, RenameIsAtomicAndLosesNeitherNameWithoutTheOther) {
  SimDisk disk;
  for (const char* name : {"current", "next"}) {
    auto file = OpenFile(&disk, name);
    ASSERT_TRUE(file->WriteAt(0, name).ok());
    ASSERT_TRUE(file->Sync().ok());
  }
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(disk.Rename("next", "current").ok());
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    auto image = disk.CrashImage(disk.event_count(), {.kind = Policy::kRandomSectors}, seed);
    std::string current = ReadAll(image.get(), "current");
    seen.insert(current);
    EXPECT_EQ(image->Exists("next"), current == "current");
  }
  EXPECT_EQ(seen, (std::set<std::string>{"current", "next"}));
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "current"), "next");
}

TEST(SimDiskTest, RemovedFilesMayComeBackUntilTheDirectoryIsSynced) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(file->WriteAt(0, "x").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk.SyncDirectory("").ok());
  ASSERT_TRUE(disk.Remove("a").ok());
  EXPECT_FALSE(disk.Exists("a"));
  EXPECT_TRUE(file->WriteAt(0, "y").ok());  // an open file lives on
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "a"), "x");
  ASSERT_TRUE(disk.SyncDirectory("").ok());
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "a"), "<absent>");
  file.reset();
  EXPECT_EQ(disk.used_bytes(), 0u);
}

TEST(SimDiskTest, AProcessDeathKeepsEverythingButDoesNotMakeItDurable) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(file->WriteAt(0, "unsynced").ok());
  auto next = disk.ProcessDeathImage(disk.event_count());
  EXPECT_EQ(ReadAll(next.get(), "a"), "unsynced");
  EXPECT_EQ(next->inherited_events(), 1u);
  EXPECT_EQ(ReadAll(next->CrashImage(next->event_count(), {}, 1).get(), "a"), "");
  ASSERT_TRUE(OpenFile(next.get(), "a")->Sync().ok());
  EXPECT_EQ(ReadAll(next->CrashImage(next->event_count(), {}, 1).get(), "a"), "unsynced");
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "a"), "");
}

TEST(SimDiskTest, StoresThroughMappingsAreWrites) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(file->Allocate(1 << 20).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  char* map = *file->Map(4096, 65536);
  std::memcpy(map + 1000, "hello", 5);
  std::string bytes(5, '\0');
  EXPECT_EQ(*file->ReadAt(5096, bytes), 5u);  // coherent
  EXPECT_EQ(bytes, "hello");
  ASSERT_TRUE(file->WriteAt(5096, "jelly").ok());
  EXPECT_EQ(std::string(map + 1000, 5), "jelly");
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "a").substr(5096, 5),
            std::string(5, '\0'));
  std::memset(map, 'x', 10000);
  uint64_t events = disk.event_count();
  disk.NoteMappedStores();
  EXPECT_EQ(disk.event_count(), events + 1);
  disk.NoteMappedStores();
  EXPECT_EQ(disk.event_count(), events + 1);
  char* overlapping = *file->Map(8192, 4096);
  EXPECT_EQ(overlapping, map + 4096);
  file->Unmap(overlapping, 4096);
  ASSERT_TRUE(file->Sync().ok());
  file->Unmap(map, 65536);
  auto image = disk.CrashImage(disk.event_count(), {}, 1);
  EXPECT_EQ(ReadAll(image.get(), "a").substr(4096, 10000), std::string(10000, 'x'));
  EXPECT_EQ(disk.stats().sparse_mapped_stores, 0u);
}

// As those of a log: each begins where the last one ended, and may hold zeros.
TEST(SimDiskTest, AscendingStoresAreFoundWhereTheLastOnesWere) {
  constexpr uint64_t kSize = 1 << 20;
  SimDisk disk({.ascending_stores = true});
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(file->Allocate(kSize).ok());
  char* map = *file->Map(0, kSize);
  std::string stored;
  for (uint64_t i = 0; stored.size() + (64 << 10) + 2 <= kSize; ++i) {
    std::string bytes(i % 5 == 4 ? (64 << 10) + 2 : i * 117 + 1, '\0');
    bytes.front() = bytes.back() = 'x';
    std::memcpy(map + stored.size(), bytes.data(), bytes.size());
    stored += bytes;
    disk.NoteMappedStores();
    auto image = disk.CrashImage(disk.event_count(), {.kind = Policy::kAll}, 1);
    ASSERT_EQ(ReadAll(image.get(), "a").substr(0, stored.size()), stored);
  }
  // What is mapped next, where this was, has none of it.
  file->Unmap(map, kSize);
  auto next = OpenFile(&disk, "b");
  ASSERT_TRUE(next->Allocate(kSize).ok());
  map = *next->Map(0, kSize);
  EXPECT_EQ(std::string(map, kSize), std::string(kSize, '\0'));
  next->Unmap(map, kSize);
}

TEST(SimDiskTest, WhatIsStoredAfterThePowerCutIsNotMappedAgain) {
  constexpr uint64_t kSize = 1 << 20;
  SimDisk disk({.ascending_stores = true});
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(file->Allocate(kSize).ok());
  auto image = disk.CrashImage(disk.event_count(), {.kind = Policy::kAll}, 1);
  char* map = *file->Map(0, kSize);
  disk.PowerOff();
  std::memset(map, 'x', 300'000);
  file->Unmap(map, kSize);
  auto other = OpenFile(image.get(), "b");
  ASSERT_TRUE(other->Allocate(kSize).ok());
  char* same = *other->Map(0, kSize);
  EXPECT_EQ(same, map);
  EXPECT_EQ(std::string(same, kSize), std::string(kSize, '\0'));
  other->Unmap(same, kSize);
}

TEST(SimDiskDeathTest, AStoreThatDoesNotFollowTheLastOneIsNoticed) {
  SimDisk disk({.ascending_stores = true});
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(file->Allocate(1 << 20).ok());
  char* map = *file->Map(0, 1 << 20);
  map[500'000] = 'x';
  EXPECT_DEATH(file->Unmap(map, 1 << 20), "a store was not found");
}

TEST(SimDiskTest, AProcessDeathSplitsNoStoresThatWereFoundTogether) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(file->Allocate(65536).ok());
  char* map = *file->Map(0, 65536);
  map[0] = map[30000] = map[60000] = 'x';
  uint64_t before = disk.event_count();
  disk.NoteMappedStores();
  ASSERT_EQ(disk.event_count(), before + 3);
  std::string bytes = ReadAll(disk.ProcessDeathImage(before + 1).get(), "a");
  EXPECT_EQ(bytes[60000], 'x');
  EXPECT_EQ(ReadAll(disk.ProcessDeathImage(before).get(), "a")[0], '\0');
  file->Unmap(map, 65536);
}

TEST(SimDiskTest, AFailedSyncLosesDataThatNoLaterSyncBringsBack) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SimDisk disk({.seed = seed});
    auto file = OpenFile(&disk, "a");
    ASSERT_TRUE(disk.SyncDirectory("/").ok());
    ASSERT_TRUE(file->Allocate(2048).ok());
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(file->WriteAt(0, std::string(2048, 'x')).ok());
    disk.Inject({.call = Call::kSync});
    EXPECT_EQ(file->Sync().code(), StatusCode::kIoError);
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_EQ(ReadAll(&disk, "a"), std::string(2048, 'x'));  // from the cache
    auto image = disk.CrashImage(disk.event_count(), {.kind = Policy::kAll}, 1);
    seen.insert(ReadAll(image.get(), "a"));
  }
  EXPECT_GT(seen.size(), 3u);
}

TEST(SimDiskTest, FaultsHitTheCallsTheyName) {
  SimDisk disk;
  auto file = OpenFile(&disk, "log");
  auto other = OpenFile(&disk, "other");
  disk.Inject({.call = Call::kWrite, .skip = 1, .path_part = "log"});
  EXPECT_TRUE(file->WriteAt(0, "1").ok());
  EXPECT_TRUE(other->WriteAt(0, "1").ok());
  EXPECT_EQ(file->WriteAt(1, "2").error_number(), EIO);
  EXPECT_TRUE(file->WriteAt(1, "3").ok());
  disk.Inject({.call = Call::kRead, .repeats = true});
  char byte;
  EXPECT_FALSE(file->ReadAt(0, {&byte, 1}).has_value());
  EXPECT_FALSE(other->ReadAt(0, {&byte, 1}).has_value());
  disk.ClearFaults();
  EXPECT_TRUE(file->ReadAt(0, {&byte, 1}).has_value());
  disk.Inject({.call = Call::kNames});
  EXPECT_FALSE(disk.Open("third", {.create = true}).has_value());
  EXPECT_FALSE(disk.Exists("third"));
  EXPECT_EQ(disk.stats().faults, 4u);
}

TEST(SimDiskTest, AFullDiskRefusesBlocksAndTakesThePartThatFits) {
  SimDisk disk({.capacity_bytes = 65536});
  auto file = OpenFile(&disk, "a");
  EXPECT_EQ(file->Allocate(100000).code(), StatusCode::kNoSpace);
  ASSERT_TRUE(file->Allocate(32768).ok());
  EXPECT_EQ(disk.Space("/")->available_bytes, 32768u);
  auto other = OpenFile(&disk, "b");
  EXPECT_EQ(other->WriteAt(0, std::string(40000, 'x')).code(), StatusCode::kNoSpace);
  EXPECT_EQ(*other->Size(), 32768u);
  EXPECT_TRUE(file->WriteAt(0, std::string(32768, 'y')).ok());  // reserved
  EXPECT_FALSE(file->WriteAt(32768, "y").ok());
  other.reset();
  ASSERT_TRUE(disk.Remove("b").ok());
  EXPECT_TRUE(file->WriteAt(32768, "y").ok());
}

TEST(SimDiskTest, DamageIsInTheLiveDiskAndInEveryImage) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(file->WriteAt(0, "aaaa").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(disk.FlipBit("a", 2, 1).ok());
  EXPECT_EQ(ReadAll(&disk, "a"), "aaca");
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "a"), "aaca");
  EXPECT_FALSE(disk.FlipBit("a", 4, 1).ok());
}

TEST(SimDiskTest, CountsDirectReadsOfUnsyncedBytes) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(file->WriteAt(0, std::string(8192, 'x')).ok());
  ASSERT_TRUE(file->Sync().ok());
  alignas(4096) static char buffer[4096];
  ASSERT_TRUE(file->ReadDirectAt(0, buffer).has_value());
  EXPECT_EQ(disk.stats().direct_reads_of_unsynced, 0u);
  ASSERT_TRUE(file->WriteAt(4096, "y").ok());
  ASSERT_TRUE(file->ReadDirectAt(0, buffer).has_value());
  EXPECT_EQ(disk.stats().direct_reads_of_unsynced, 0u);
  ASSERT_TRUE(file->ReadDirectAt(4096, buffer).has_value());
  EXPECT_EQ(disk.stats().direct_reads_of_unsynced, 1u);
}

TEST(SimDiskTest, ObjectsFromBeforeThePowerCutChangeNothing) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  auto lock = disk.Lock("lock");
  ASSERT_TRUE(lock.has_value());
  EXPECT_EQ(disk.Lock("lock").error().code(), StatusCode::kBusy);
  ASSERT_TRUE(file->Allocate(4096).ok());
  char* map = *file->Map(0, 4096);
  disk.PowerOff();
  uint64_t events = disk.event_count();
  map[0] = 'x';
  EXPECT_FALSE(file->WriteAt(0, "y").ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(disk.Remove("a").ok());
  file->Unmap(map, 4096);
  EXPECT_EQ(disk.event_count(), events);
  auto image = disk.CrashImage(events, {.kind = Policy::kAll}, 1);
  EXPECT_EQ(ReadAll(image.get(), "a"), std::string(4096, '\0'));
  EXPECT_TRUE(image->Lock("lock").has_value());
}

TEST(SimDiskTest, ASyncCoversWhatWasStoredBeforeItBeganOnly) {
  SimDisk disk;
  auto file = OpenFile(&disk, "a");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE(file->WriteAt(0, "1").ok());
  uint64_t begun = disk.BeginSync(file.get());
  ASSERT_TRUE(file->WriteAt(1, "2").ok());
  ASSERT_TRUE(disk.FinishSync(file.get(), begun).ok());
  EXPECT_EQ(ReadAll(disk.CrashImage(disk.event_count(), {}, 1).get(), "a"), "1");
}

// Random operations; then every crash point in several ways, against what had been synced.
class Workload {
 public:
  explicit Workload(uint64_t seed) : random_(seed) { EXPECT_TRUE(disk_.SyncDirectory("/").ok()); }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
  }

  // Version numbers only grow: a byte of an image is between what was synced and what was written.
  void CheckImages(int rounds) {
    for (uint64_t event = 0; event <= disk_.event_count(); ++event) {
      for (int round = 0; round < rounds; ++round) {
        Policy policy = kPolicies[random_.Below(5)];
        auto image = disk_.CrashImage(event, {.kind = policy}, random_.Next());
        Check(image.get(), event, true);
      }
      Check(disk_.ProcessDeathImage(event).get(), event, false);
    }
  }

  SimDisk& disk() { return disk_; }

 private:
  static constexpr int kFiles = 3;
  static constexpr uint64_t kCells = 64;  // cells of 256 bytes in a file
  struct Mark {
    uint64_t event;
    uint8_t version;
  };
  struct CellLog {
    std::vector<Mark> written;
    std::vector<Mark> synced;
  };

  void Step() {
    int f = random_.Below(kFiles);
    if (files_[f] == nullptr) {
      files_[f] = OpenFile(&disk_, std::to_string(f));
      EXPECT_TRUE(disk_.SyncDirectory("/").ok());
      return;
    }
    if (random_.Below(4) == 0) {
      uint64_t begun = disk_.BeginSync(files_[f].get());
      EXPECT_TRUE(disk_.FinishSync(files_[f].get(), begun).ok());
      for (CellLog& log : cells_[f]) {
        if (!log.written.empty())
          log.synced.push_back({disk_.event_count(), log.written.back().version});
      }
      return;
    }
    uint64_t cell = random_.Below(kCells);
    uint8_t version = ++versions_[f][cell];
    EXPECT_TRUE(files_[f]->WriteAt(cell * 256, std::string(256, static_cast<char>(version))).ok());
    cells_[f][cell].written.push_back({disk_.event_count(), version});
  }

  static uint8_t At(const std::vector<Mark>& marks, uint64_t event) {
    uint8_t version = 0;
    for (const Mark& mark : marks) {
      if (mark.event <= event) version = mark.version;
    }
    return version;
  }

  void Check(SimDisk* image, uint64_t event, bool may_lose) {
    for (int f = 0; f < kFiles; ++f) {
      std::string bytes = ReadAll(image, std::to_string(f));
      if (bytes == "<absent>") bytes.clear();
      bytes.resize(kCells * 256);
      for (uint64_t cell = 0; cell < kCells; ++cell) {
        uint8_t found = bytes[cell * 256];
        uint8_t written = At(cells_[f][cell].written, event);
        ASSERT_GE(found, may_lose ? At(cells_[f][cell].synced, event) : written);
        ASSERT_LE(found, written);
      }
    }
  }

  SimDisk disk_;
  Random random_;
  std::unique_ptr<File> files_[kFiles];
  uint8_t versions_[kFiles][kCells] = {};
  CellLog cells_[kFiles][kCells];
};

TEST(SimDiskTest, EveryImageLiesBetweenWhatWasSyncedAndWhatWasWritten) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Workload workload(seed);
    workload.Run(150);
    workload.CheckImages(4);
  }
}

TEST(SimDiskTest, ImagesAreEqualForEqualSeeds) {
  Workload a(3);
  Workload b(3);
  a.Run(300);
  b.Run(300);
  ASSERT_EQ(a.disk().event_count(), b.disk().event_count());
  EXPECT_EQ(a.disk().Digest(), b.disk().Digest());
  std::set<uint64_t> digests;
  for (Policy policy : kPolicies) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      uint64_t event = (seed * 37) % a.disk().event_count();
      uint64_t digest = a.disk().CrashImage(event, {.kind = policy}, seed)->Digest();
      EXPECT_EQ(digest, b.disk().CrashImage(event, {.kind = policy}, seed)->Digest());
      digests.insert(digest);
    }
  }
  EXPECT_GT(digests.size(), 40u);
}

TEST(SimDiskTest, AnImageOfAFewMegabytesTakesFarLessThanAMillisecond) {
  SimDisk disk;
  Random random(1);
  std::vector<std::unique_ptr<File>> files;
  for (int i = 0; i < 20; ++i) {
    files.push_back(OpenFile(&disk, std::to_string(i)));
    ASSERT_TRUE(files.back()->WriteAt(0, std::string(400'000, 'x')).ok());
    ASSERT_TRUE(files.back()->Sync().ok());
  }
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  for (int i = 0; i < 3000; ++i) {
    File& file = *files[random.Below(files.size())];
    ASSERT_TRUE(file.WriteAt(random.Below(400'000), std::string(random.Below(2000), 'y')).ok());
    if (i % 20 == 0) {
      ASSERT_TRUE(files[random.Below(files.size())]->Sync().ok());
    }
  }
  auto begin = std::chrono::steady_clock::now();
  uint64_t images = 0;
  for (uint64_t event = 0; event <= disk.event_count(); ++event) {
    for (Policy policy : {Policy::kNone, Policy::kRandomSectors}) {
      auto image = disk.CrashImage(event, {.kind = policy}, event);
      images += image != nullptr;
    }
  }
  std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  double micros = spent.count() / static_cast<double>(images);
  RecordProperty("micros_an_image", static_cast<int>(micros));
  printf("%.1f us an image\n", micros);
  EXPECT_LT(micros, 5000);
}

}  // namespace
}  // namespace firn::io
