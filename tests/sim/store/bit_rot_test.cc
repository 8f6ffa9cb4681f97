// Disks that turn single bits over, in any file of any kind: what is read afterwards is right, or
// an error that tells where.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "crash_workload.h"
#include "crash_world.h"
#include "engine/base/coding.h"
#include "tiering/log/segment_list.h"
#include "tiering/point_in_time.h"
#include "tiering/snapshot/backup.h"

namespace firn::test {
namespace {

constexpr int64_t kWallMs = 1'700'000'000'000;
constexpr const char* kBackup = "/backup";
constexpr const char* kArchive = "/archive";
constexpr const char* kMarker = "~";  // a key that no workload has
constexpr int64_t kMinuteMicros = 61'000'000;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}
// Of each kind of file. A long run is for what tools/test has no time for.
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kDefaultFlips = 8;
#else
constexpr uint64_t kDefaultFlips = 20;
#endif
uint64_t BitFlips() { return FromEnvironment("FIRN_BIT_FLIPS", kDefaultFlips); }
uint64_t Seed() { return FromEnvironment("FIRN_BIT_SEED", 1); }

bool Holds(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// A data directory with all that belongs to it, at rest; and what its keys hold.
struct Medium {
  std::unique_ptr<io::SimDisk> disk;
  std::string directory = kDirectory;
  std::vector<std::string> keys;
  uint32_t databases = 0;
  FoundState expected;
};

struct Outcomes {
  uint64_t refused = 0;  // starts
  uint64_t errors = 0;   // keys that can't be read, or scans
  uint64_t right = 0;    // starts on which everything was read
};

StoreOptions OptionsFor(const std::string& directory) {
  StoreOptions options = SmallStore(SyncPolicy::kAlways, 9);
  options.directory = directory;
  options.keep_hot_set = true;
  return options;
}

std::unique_ptr<io::SimDisk> CopyOf(const io::SimDisk& disk) {
  return disk.CrashImage(disk.event_count(), {.kind = io::CrashPolicy::Kind::kNone}, 1);
}

uint64_t SizeOf(io::SimDisk* disk, const std::string& path) {
  auto file = disk->Open(path, {.writable = false});
  return file ? *(*file)->Size() : 0;
}

std::string BytesOf(io::SimDisk* disk, const std::string& path) {
  auto file = disk->Open(path, {.writable = false});
  std::string bytes(*(*file)->Size(), 0);
  EXPECT_TRUE((*file)->ReadAt(0, bytes).has_value());
  return bytes;
}

// Up to where there is something else than zeros.
uint64_t ContentOf(io::SimDisk* disk, const std::string& path) {
  return BytesOf(disk, path).find_last_not_of('\0') + 1;
}

class BitRotTest : public testing::Test {
 protected:
  // Writes values of all kinds with everything that makes further files; ends with a stop, or
  // (`killed`) by a death after which the power fails.
  void Live(bool killed) {
    std::unique_ptr<io::SimDisk> lived;  // longer than the world on it
    disk_ = std::make_unique<io::SimDisk>(kCrashDisk);
    ASSERT_TRUE(disk_->CreateDirectories(kDirectory).ok());
    ASSERT_TRUE(disk_->CreateDirectories(kBackup).ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
    StoreOptions options = OptionsFor(kDirectory);
    options.archive_directory = kArchive;
    CrashWorld world(disk_.get(), options,
                     {.seed = Seed(), .wall_start_ms = kWallMs, .repeatable = true});
    ASSERT_TRUE(world.Open().ok());
    Work(&world, 1500);
    Work(&world, 400);
    MakeBackup(&world);
    Work(&world, 700);
    moment_ = StateOf(&world);
    moment_lsn_ = world.store().executed_lsn();
    Work(&world, 1500);
    Rest(&world);
    final_ = StateOf(&world);
    if (!killed) {
      ASSERT_TRUE(world.driver().Close().ok());
    } else {
      // Each says that what was before it has been synced.
      for (int i = 0; i < 3; ++i) {
        world.driver().Set(kMarker, std::to_string(i));
        ASSERT_TRUE(world.driver().Sync().ok());
      }
    }
    lived = std::exchange(disk_, CopyOf(*disk_));
  }

  Medium Data() const { return {CopyOf(*disk_), kDirectory, keys_, databases_, final_}; }

  // Turns bits over in these files, one a start. `count`: of starts.
  void Flip(const Medium& medium, const char* kind, const std::vector<std::string>& paths) {
    ASSERT_FALSE(paths.empty()) << kind;
    Outcomes outcomes;
    Random random(Seed() * 1000 + paths.size());
    const uint64_t flips = BitFlips();
    for (uint64_t i = 0; i < flips; ++i) {
      const std::string& path = paths[random.Below(paths.size())];
      uint64_t size = SizeOf(medium.disk.get(), path);
      // The end of a segment that is being written is zeros.
      if (random.Below(4) != 0) size = std::max<uint64_t>(ContentOf(medium.disk.get(), path), 1);
      const uint64_t offset = random.Below(size);
      const int bit = static_cast<int>(random.Below(8));
      ASSERT_EQ(CheckFlip(medium, path, offset, bit, &outcomes), "")
          << kind << ": " << path << " at " << offset << ", bit " << bit;
    }
    std::printf(
        "%-28s %3zu files: %lu flips: %lu starts refused, %lu reads with errors, %lu right\n", kind,
        paths.size(), flips, outcomes.refused, outcomes.errors, outcomes.right);
  }

  std::string CheckFlip(const Medium& medium, const std::string& path, uint64_t offset, int bit,
                        Outcomes* outcomes) {
    auto image = CopyOf(*medium.disk);
    EXPECT_TRUE(image->FlipBit(path, offset, bit).ok());
    return Check(image.get(), medium, path, outcomes);
  }

  // Starts on the image. What is wrong, "" if nothing.
  std::string Check(io::SimDisk* image, const Medium& medium, const std::string& path,
                    Outcomes* outcomes) {
    CrashWorld world(image, OptionsFor(medium.directory),
                     {.seed = 9, .wall_start_ms = medium.expected.now_ms});
    if (Status status = world.Open(); !status.ok()) {
      ++outcomes->refused;
      return NamesPlace(status, path) ? "" : "refused without a place: " + status.message();
    }
    const uint64_t errors_before = outcomes->errors;
    std::string wrong = CheckKeys(&world, medium, path, outcomes);
    if (wrong.empty()) wrong = CheckScans(&world, medium, path, outcomes);
    outcomes->right += outcomes->errors == errors_before;
    return wrong;
  }

  std::vector<std::string> FilesOf(io::SimDisk* disk, const std::string& directory,
                                   const char* begin, const char* end) {
    std::vector<std::string> paths;
    auto names = disk->List(directory);
    if (!names) return paths;
    std::sort(names->begin(), names->end());
    for (const std::string& name : *names) {
      const std::string path = directory + "/" + name;
      if (name.starts_with(begin) && name.ends_with(end) && SizeOf(disk, path) > 0) {
        paths.push_back(path);
      }
    }
    return paths;
  }

  std::vector<std::string> Segments(io::SimDisk* disk, log::Stream stream, bool active) {
    std::vector<std::string> paths;
    auto found = log::ListSegments(disk, std::string(kDirectory) + "/log", {});
    EXPECT_TRUE(found.has_value());
    for (const log::FoundSegment& segment : *found) {
      if (segment.header && static_cast<log::Stream>(segment.header->stream) == stream)
        paths.push_back(segment.file->path());
    }
    if (active) return {paths.back()};
    if (stream == log::Stream::kFresh) paths.pop_back();
    return paths;
  }

  std::unique_ptr<io::SimDisk> disk_;
  std::vector<std::string> keys_;
  uint32_t databases_ = 0;
  FoundState final_;
  FoundState backed_up_;
  FoundState moment_;
  uint64_t moment_lsn_ = 0;

 private:
  void Work(CrashWorld* world, uint32_t commands) {
    WorkloadOptions options{.seed = Seed() * 100 + ++works_,
                            .commands = commands,
                            .collections = true,
                            .streams = true,
                            .long_strings = works_ % 2 == 0};
    auto next = model_ ? std::make_unique<CrashWorkload>(options, ModelNow(world))
                       : std::make_unique<CrashWorkload>(options);
    ASSERT_EQ(next->Run(world), "");
    model_.emplace(next->model());
    keys_ = model_->keys();
    databases_ = model_->databases();
  }

  CrashModel ModelNow(CrashWorld* world) {
    FoundState found;
    EXPECT_EQ(world->ReadState(*model_, true, &found), "");
    return model_->StartAt(found);
  }
  FoundState StateOf(CrashWorld* world) {
    FoundState found;
    EXPECT_EQ(world->ReadState(*model_, false, &found), "");
    PrefixRange range;
    EXPECT_EQ(model_->FindPrefix(found, model_->op(), &range), "");
    return found;
  }

  void MakeBackup(CrashWorld* world) {
    auto backup = world->store().BeginBackup(kBackup);
    ASSERT_TRUE(backup.has_value()) << backup.error().message();
    ASSERT_TRUE((*backup)->CopyIndex().ok());
    // What only the backup's identity proves.
    for (int i = 0; i < 20; ++i) world->driver().Set(kMarker, std::to_string(i));
    backed_up_ = StateOf(world);
    (*backup)->TakeLog();
    ASSERT_TRUE((*backup)->CopyLog().ok());
  }

  // Compaction, the note of what is hot, demotion.
  void Rest(CrashWorld* world) {
    world->store().Compact();
    for (int i = 0; i < 300; ++i) world->driver().Turn(20'000);
    world->loop().AdvanceTime(kMinuteMicros);
    for (int i = 0; i < 100; ++i) world->driver().Turn(20'000);
    for (uint32_t db = 0; db < databases_; ++db) {
      std::vector<std::string> cold;
      for (size_t i = 0; i < keys_.size(); i += 2) cold.push_back(keys_[i]);
      world->driver().Demote(cold, db);
    }
  }

  // An error has to say where it lies: the file, and the place in it where there is one.
  static bool NamesPlace(const Status& status, const std::string& path) {
    const std::string& text = status.message();
    const std::string name = path.substr(path.rfind('/') + 1);
    if (Holds(text, name.c_str())) return Holds(text, "offset") || !name.ends_with(".seg");
    // What another file says of this one, as a segment of what should be in the next.
    return Holds(text, ".seg") || Holds(text, ".sst") || Holds(text, "/IDENTITY");
  }

  std::string CheckKeys(CrashWorld* world, const Medium& medium, const std::string& path,
                        Outcomes* outcomes) {
    for (uint32_t db = 0; db < medium.databases; ++db) {
      for (size_t key = 0; key < medium.keys.size(); ++key) {
        FoundState::Value found;
        Status status = world->ReadKey(medium.keys[key], db, &found);
        if (!status.ok()) {
          ++outcomes->errors;
          if (!NamesPlace(status, path)) return "an error without a place: " + status.message();
          continue;
        }
        const FoundState::Value& value = medium.expected.values[db * medium.keys.size() + key];
        const bool expired = value.expiry_ms >= 0 && value.expiry_ms <= world->store().now_ms();
        if (found.fingerprint == 0 && (expired || value.fingerprint == 0)) continue;
        if (found.fingerprint == value.fingerprint && found.expiry_ms == value.expiry_ms) continue;
        return "db " + std::to_string(db) + " key " + medium.keys[key].substr(0, 20) +
               (found.fingerprint == 0 ? " is absent" : " is another") + "\n" + world->log();
      }
    }
    return "";
  }

  std::string CheckScans(CrashWorld* world, const Medium& medium, const std::string& path,
                         Outcomes* outcomes) {
    for (uint32_t db = 0; db < medium.databases; ++db) {
      std::set<std::string> scanned;
      uint64_t cursor = 0;
      do {
        std::optional<Store::ScanResult> result;
        world->store().Scan(db, cursor, 20, [&](Store::ScanResult r) { result = std::move(r); });
        if (!world->driver().RunUntil([&] { return result.has_value(); })) return "SCAN hangs";
        if (!result->status.ok()) {
          ++outcomes->errors;
          if (NamesPlace(result->status, path)) return "";
          return "a scan's error without a place: " + result->status.message();
        }
        for (const auto& key : result->keys) scanned.insert(key.key);
        cursor = result->next;
      } while (cursor != 0);
      scanned.erase(kMarker);
      for (size_t key = 0; key < medium.keys.size(); ++key) {
        const FoundState::Value& value = medium.expected.values[db * medium.keys.size() + key];
        const bool expired = value.expiry_ms >= 0 && value.expiry_ms <= world->store().now_ms();
        const bool is_there = scanned.erase(medium.keys[key]) != 0;
        if (is_there && value.fingerprint == 0) return "SCAN finds a key that isn't there";
        if (!is_there && value.fingerprint != 0 && !expired) {
          return "SCAN misses " + medium.keys[key].substr(0, 20);
        }
      }
      if (!scanned.empty()) return "SCAN finds what never was: " + *scanned.begin();
    }
    return "";
  }

  std::optional<CrashModel> model_;
  uint64_t works_ = 0;
};

TEST_F(BitRotTest, LogOfAStoreThatWasStopped) {
  Live(false);
  const Medium data = Data();
  Flip(data, "log, active, stopped", Segments(data.disk.get(), log::Stream::kFresh, true));
  Flip(data, "log, full", Segments(data.disk.get(), log::Stream::kFresh, false));
  Flip(data, "log, compacted", Segments(data.disk.get(), log::Stream::kCold, false));
}

TEST_F(BitRotTest, LogOfAStoreThatDied) {
  Live(true);
  const Medium data = Data();
  Flip(data, "log, active, died", Segments(data.disk.get(), log::Stream::kFresh, true));
  Flip(data, "log, full, died", Segments(data.disk.get(), log::Stream::kFresh, false));
  Flip(data, "log, compacted, died", Segments(data.disk.get(), log::Stream::kCold, false));
  const std::string index = data.directory + "/index";
  Flip(data, "index, all files, died", FilesOf(data.disk.get(), index, "", ""));
}

TEST_F(BitRotTest, Index) {
  Live(false);
  const Medium data = Data();
  const std::string index = data.directory + "/index";
  Flip(data, "index, tables", FilesOf(data.disk.get(), index, "", ".sst"));
  Flip(data, "index, MANIFEST", FilesOf(data.disk.get(), index, "MANIFEST-", ""));
  Flip(data, "index, CURRENT", FilesOf(data.disk.get(), index, "CURRENT", ""));
  std::vector<std::string> others;
  for (const std::string& path : FilesOf(data.disk.get(), index, "", "")) {
    if (!Holds(path, ".sst") && !Holds(path, "/MANIFEST") && !Holds(path, "/CURRENT")) {
      others.push_back(path);
    }
  }
  Flip(data, "index, OPTIONS and others", others);
}

// The lengths of a MANIFEST's records: each stands behind a checksum of 4 bytes, and before a byte
// of its type, and no record crosses a border of 32 KiB (RocksDB's wiki, "Write Ahead Log File
// Format").
std::vector<uint64_t> PlacesOfLengths(std::string_view manifest) {
  constexpr uint64_t kBlock = 32 * 1024, kHeader = 7;
  std::vector<uint64_t> places;
  for (uint64_t at = 0; at + kHeader <= manifest.size();) {
    if (kBlock - at % kBlock < kHeader) {
      at += kBlock - at % kBlock;
      continue;
    }
    places.push_back(at + 4);
    at += kHeader + LoadFixed<uint16_t>(manifest.data() + at + 4);
  }
  return places;
}

// RocksDB takes such a record, and all behind it, for a write that a crash has cut off.
TEST_F(BitRotTest, AnIndexThatHasForgottenItsLastChangesGivesErrorsAndNothingOlder) {
  Live(false);
  const Medium data = Data();
  const auto paths = FilesOf(data.disk.get(), data.directory + "/index", "MANIFEST-", "");
  ASSERT_EQ(paths.size(), 1u);
  const std::vector<uint64_t> places = PlacesOfLengths(BytesOf(data.disk.get(), paths[0]));
  ASSERT_GT(places.size(), 20u);
  Random random(Seed());
  Outcomes outcomes;
  for (uint64_t i = 0; i < BitFlips(); ++i) {
    const uint64_t place = places[random.Below(places.size())];
    ASSERT_EQ(CheckFlip(data, paths[0], place + 1, 7, &outcomes), "") << "at " << place;
  }
  EXPECT_GT(outcomes.refused + outcomes.errors, 0u);
}

TEST_F(BitRotTest, FilesBesideLogAndIndex) {
  Live(false);
  const Medium data = Data();
  Flip(data, "IDENTITY", FilesOf(data.disk.get(), data.directory, "IDENTITY", ""));
  Flip(data, "HOT", FilesOf(data.disk.get(), data.directory, "HOT", ""));
}

TEST_F(BitRotTest, Backup) {
  Live(false);
  Medium backup = Data();
  backup.directory = kBackup;
  backup.expected = backed_up_;
  Flip(backup, "backup, log", FilesOf(backup.disk.get(), "/backup/log", "", ".seg"));
  Flip(backup, "backup, index", FilesOf(backup.disk.get(), "/backup/index", "", ""));
  Flip(backup, "backup, IDENTITY", FilesOf(backup.disk.get(), kBackup, "IDENTITY", ""));
}

// A backup brought forward with kept segments.
TEST_F(BitRotTest, Archive) {
  Live(false);
  Medium medium = Data();
  medium.directory = kBackup;
  medium.expected = moment_;
  const auto paths = FilesOf(medium.disk.get(), kArchive, "", ".seg");
  ASSERT_FALSE(paths.empty());
  Outcomes outcomes;
  Random random(Seed());
  const uint64_t flips = BitFlips();
  for (uint64_t i = 0; i < flips; ++i) {
    const std::string& path = paths[random.Below(paths.size())];
    const uint64_t offset = random.Below(SizeOf(medium.disk.get(), path));
    auto image = CopyOf(*medium.disk);
    if (i > 0) {  // first as it is
      ASSERT_TRUE(image->FlipBit(path, offset, static_cast<int>(random.Below(8))).ok());
    }
    auto report = BringLogTo(
        image.get(), {.directory = kBackup, .archive = kArchive, .target = {.lsn = moment_lsn_}});
    ASSERT_TRUE(i > 0 || report.has_value()) << report.error().message();
    if (!report || !report->is_reached) {
      ++outcomes.refused;
      const std::string text = report ? ".seg" : report.error().message();
      ASSERT_TRUE(Holds(text, ".seg")) << text;
      continue;
    }
    ASSERT_EQ(Check(image.get(), medium, path, &outcomes), "") << path << " at " << offset;
  }
  std::printf("%-28s %3zu files: %lu flips: %lu refused, %lu reads with errors, %lu right\n",
              "archive", paths.size(), flips, outcomes.refused, outcomes.errors, outcomes.right);
}

}  // namespace
}  // namespace firn::test
