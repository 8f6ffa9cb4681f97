// The crash tests are tested: each of these mistakes is found.

#include <gtest/gtest.h>

#include "crash_explorer.h"

namespace firn::test {
namespace {

// A file system that makes one mistake.
struct Mistake {
  std::string forgets_directory;  // whose SyncDirectory does nothing
  std::string forgets_files;      // files under it: their own Sync does nothing
};

class MistakenFile : public io::File {
 public:
  MistakenFile(std::unique_ptr<io::File> file, bool forgets)
      : io::File(file->path()), file_(std::move(file)), forgets_(forgets) {}

  io::File* inner() const { return file_.get(); }
  Result<size_t> ReadAt(uint64_t offset, std::span<char> into) override {
    return file_->ReadAt(offset, into);
  }
  Result<size_t> ReadDirectAt(uint64_t offset, std::span<char> into) override {
    return file_->ReadDirectAt(offset, into);
  }
  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    return file_->WriteAt(offset, bytes);
  }
  Status Sync() override { return forgets_ ? Status::Ok() : file_->Sync(); }
  Status Truncate(uint64_t size) override { return file_->Truncate(size); }
  Status Allocate(uint64_t size) override { return file_->Allocate(size); }
  Result<uint64_t> Size() override { return file_->Size(); }
  Result<char*> Map(uint64_t offset, uint64_t size) override { return file_->Map(offset, size); }
  void Unmap(char* address, uint64_t size) override { file_->Unmap(address, size); }
  Status Populate(char* address, uint64_t offset, uint64_t size) override {
    return file_->Populate(address, offset, size);
  }
  bool LockInRam(char* address, uint64_t size) override { return file_->LockInRam(address, size); }
  void DropCache(uint64_t offset, uint64_t size) override { file_->DropCache(offset, size); }

 private:
  const std::unique_ptr<io::File> file_;
  const bool forgets_;
};

class MistakenFileSystem : public io::FileSystem {
 public:
  MistakenFileSystem(io::SimDisk* disk, Mistake mistake)
      : disk_(*disk), mistake_(std::move(mistake)) {}

  Result<std::unique_ptr<io::File>> Open(const std::string& path,
                                         io::OpenOptions options) override {
    auto file = disk_.Open(path, options);
    if (!file) return file;
    bool forgets = !mistake_.forgets_files.empty() && path.starts_with(mistake_.forgets_files);
    return std::make_unique<MistakenFile>(std::move(*file), forgets);
  }
  Result<std::vector<std::string>> List(const std::string& directory) override {
    return disk_.List(directory);
  }
  Status CreateDirectories(const std::string& directory) override {
    return disk_.CreateDirectories(directory);
  }
  Status Remove(const std::string& path) override { return disk_.Remove(path); }
  Status RemoveDirectory(const std::string& path) override { return disk_.RemoveDirectory(path); }
  Status Rename(const std::string& from, const std::string& to) override {
    return disk_.Rename(from, to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return disk_.Link(from, to);
  }
  bool Exists(const std::string& path) override { return disk_.Exists(path); }
  Status SyncDirectory(const std::string& directory) override {
    return directory == mistake_.forgets_directory ? Status::Ok() : disk_.SyncDirectory(directory);
  }
  Result<std::unique_ptr<io::FileLock>> Lock(const std::string& path) override {
    return disk_.Lock(path);
  }
  Result<io::SpaceInfo> Space(const std::string& path) override { return disk_.Space(path); }

 private:
  io::SimDisk& disk_;
  const Mistake mistake_;
};

// A loop for such files; `early`: it says that a sync is done when it has only begun.
class MistakenLoop : public io::Loop {
 public:
  MistakenLoop(io::SimLoop* loop, bool early) : loop_(*loop), early_(early) {}

  int64_t NowMicros() const override { return loop_.NowMicros(); }
  int64_t WallMillis() const override { return loop_.WallMillis(); }
  void Read(io::File* file, uint64_t offset, char* into, uint32_t size,
            io::DiskRequest* request) override {
    loop_.Read(Inner(file), offset, into, size, request);
  }
  void Sync(io::File* file, io::DiskRequest* request) override {
    if (early_) {
      loop_.Post([request] { request->done(request, 0); });
    } else {
      loop_.Sync(Inner(file), request);
    }
  }
  void RunOnWorker(io::WorkPriority priority, std::move_only_function<void()> job,
                   std::move_only_function<void()> done) override {
    loop_.RunOnWorker(priority, std::move(job), std::move(done));
  }
  void Post(std::move_only_function<void()> task) override { loop_.Post(std::move(task)); }
  io::TimerId AddTimer(int64_t delay_micros, std::move_only_function<void()> task) override {
    return loop_.AddTimer(delay_micros, std::move(task));
  }
  void CancelTimer(io::TimerId id) override { loop_.CancelTimer(id); }
  void RunOnce(int64_t max_wait_micros) override { loop_.RunOnce(max_wait_micros); }
  void Wake() override { loop_.Wake(); }

 private:
  static io::File* Inner(io::File* file) {
    auto* wrapped = dynamic_cast<MistakenFile*>(file);
    return wrapped != nullptr ? wrapped->inner() : file;
  }

  io::SimLoop& loop_;
  const bool early_;
};

WorldWrappers Wrap(Mistake mistake, bool syncs_early = false) {
  return {
      .file_system =
          [mistake](io::SimDisk* disk) {
            return std::make_unique<MistakenFileSystem>(disk, mistake);
          },
      .loop = [syncs_early](
                  io::SimLoop* loop) { return std::make_unique<MistakenLoop>(loop, syncs_early); }};
}

struct Hunt {
  SyncPolicy policy = SyncPolicy::kAlways;
  uint32_t commands = 500;
  int first_seed = 1;  // one that finds it soon
  int seeds = 40;      // at most
  uint64_t points = 300;
  WorldWrappers wrappers = {};
  PlantedBug bug = PlantedBug::kNone;
  bool overwrites = false;
  bool collections = false;
  bool count_pages = false;
  EvictionPolicy eviction = EvictionPolicy::kNone;
};

// What was found wrong first; "" if nothing.
std::string Find(const Hunt& hunt) {
  for (int seed = hunt.first_seed; seed < hunt.first_seed + hunt.seeds; ++seed) {
    CrashExplorer explorer({.seed = static_cast<uint64_t>(seed),
                            .policy = hunt.policy,
                            .commands = hunt.commands,
                            .points = hunt.points,
                            .wrappers = hunt.wrappers,
                            .bug = hunt.bug,
                            .overwrites = hunt.overwrites,
                            .collections = hunt.collections,
                            .count_pages = hunt.count_pages,
                            .eviction = hunt.eviction});
    if (std::string found = explorer.Run(); !found.empty()) return found;
  }
  return "";
}

TEST(PlantedBugsTest, TheWrappersAloneDoNoHarm) {
  EXPECT_EQ(Find({.seeds = 1, .points = 50, .wrappers = Wrap({})}), "");
}

TEST(PlantedBugsTest, RepliesBeforeTheSync) {
  EXPECT_NE(Find({.bug = PlantedBug::kReplyBeforeSync}), "");
}

TEST(PlantedBugsTest, ADiskThatSaysTooEarlyThatASyncIsDone) {
  EXPECT_NE(Find({.wrappers = Wrap({}, true)}), "");
}

TEST(PlantedBugsTest, ForgottenSyncOfTheLogsDirectory) {
  EXPECT_NE(Find({.wrappers = Wrap({.forgets_directory = "/data/log"})}), "");
}

TEST(PlantedBugsTest, ForgottenSyncOfTheIndex) {
  EXPECT_NE(Find({.commands = 3000, .wrappers = Wrap({.forgets_files = "/data/index/"})}), "");
}

TEST(PlantedBugsTest, ForgottenSyncOfWhatCompactionCopies) {
  EXPECT_NE(Find({.commands = 3000, .wrappers = Wrap({.forgets_files = "/data/log/"})}), "");
}

TEST(PlantedBugsTest, RecordsInTheIndexThatAreNotSynced) {
  EXPECT_NE(Find({.policy = SyncPolicy::kNo, .first_seed = 9, .bug = PlantedBug::kIndexUnsynced}),
            "");
}

TEST(PlantedBugsTest, ASegmentRemovedBeforeTheIndexIsFlushed) {
  EXPECT_NE(Find({.commands = 3000, .bug = PlantedBug::kUnlinkBeforeFlush}), "");
}

TEST(PlantedBugsTest, GroupsWithoutTheirCommits) {
  EXPECT_NE(Find({.bug = PlantedBug::kApplyOpenGroups}), "");
}

TEST(PlantedBugsTest, DeletesThatCompactionDrops) {
  EXPECT_NE(Find({.commands = 3000, .first_seed = 2, .bug = PlantedBug::kDropDeletes}), "");
}

TEST(PlantedBugsTest, EvictedKeysThatComeBack) {
  EXPECT_NE(Find({.commands = 2000,
                  .bug = PlantedBug::kDropDeletes,
                  .eviction = EvictionPolicy::kAllKeysRandom}),
            "");
}

TEST(PlantedBugsTest, AnEmptiedSegmentRemovedBeforeTheIndexIsFlushed) {
  EXPECT_NE(Find({.commands = 2000,
                  .bug = PlantedBug::kUnlinkBeforeFlush,
                  .eviction = EvictionPolicy::kAllKeysRandom}),
            "");
}

TEST(PlantedBugsTest, DeletesOfKeysThatOnlyTheIndexKnows) {
  EXPECT_NE(Find({.bug = PlantedBug::kForgetTombstones}), "");
}

TEST(PlantedBugsTest, EffectsReplayedTwice) {
  EXPECT_NE(Find({.commands = 3000, .bug = PlantedBug::kReplayEffectsTwice}), "");
}

TEST(PlantedBugsTest, EffectsBeforeTheReplayPosition) {
  EXPECT_NE(Find({.commands = 3000, .bug = PlantedBug::kForgetEffects}), "");
}

TEST(PlantedBugsTest, ATailOfADeadProcessThatWasNeverSynced) {
  EXPECT_NE(Find({.policy = SyncPolicy::kNo,
                  .commands = 3000,
                  .first_seed = 30,
                  .bug = PlantedBug::kTrustUnsyncedTail}),
            "");
}

TEST(PlantedBugsTest, AnOldRecordPutIntoTheIndexOverANewerOne) {
  EXPECT_NE(Find({.commands = 3000,
                  .first_seed = 30,
                  .bug = PlantedBug::kMoveOverNewer,
                  .overwrites = true}),
            "");
}

TEST(PlantedBugsTest, OldNamesOfDatabasesReplayed) {
  EXPECT_NE(Find({.commands = 3000, .first_seed = 6, .bug = PlantedBug::kReplayOldNames}), "");
}

TEST(PlantedBugsTest, ASplitOfAPageThatIsThereInPart) {
  EXPECT_NE(Find({.first_seed = 5, .bug = PlantedBug::kPartsOfSplits, .collections = true}), "");
}

TEST(PlantedBugsTest, PagesOfDeletedValuesThatNobodyDeletes) {
  EXPECT_NE(Find({.bug = PlantedBug::kForgetReapNotes, .collections = true, .count_pages = true}),
            "");
}

}  // namespace
}  // namespace firn::test
