#include "tiering/io/posix_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace firn::io {
namespace {

constexpr size_t kPage = 4096;

class PosixFileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "./posix_file_test.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  std::unique_ptr<File> Create(const std::string& name) {
    Result<std::unique_ptr<File>> file = fs_->Open(Path(name), {.create = true});
    EXPECT_TRUE(file.has_value());
    return std::move(*file);
  }

  std::string directory_;
  std::unique_ptr<FileSystem> fs_ = CreatePosixFileSystem();
};

struct AlignedBuffer {
  explicit AlignedBuffer(size_t size)
      : bytes(static_cast<char*>(::aligned_alloc(kPage, size)), size) {}
  ~AlignedBuffer() { ::free(bytes.data()); }
  std::span<char> bytes;
};

TEST_F(PosixFileTest, ReadsBackWhatWasWrittenAndStopsAtTheEnd) {
  std::unique_ptr<File> file = Create("f");
  ASSERT_TRUE(file->WriteAt(3, "hello").ok());
  EXPECT_EQ(*file->Size(), 8u);
  char into[16];
  const Result<size_t> count = file->ReadAt(2, into);
  ASSERT_TRUE(count.has_value());
  EXPECT_EQ(std::string_view(into, *count), std::string_view("\0hello", 6));
  EXPECT_EQ(*file->ReadAt(100, into), 0u);
  EXPECT_TRUE(file->Sync().ok());
}

TEST_F(PosixFileTest, DirectReadsSeeWrittenBytesAndTheUnalignedTail) {
  std::unique_ptr<File> file = Create("f");
  ASSERT_TRUE(file->WriteAt(0, std::string(2 * kPage + 100, 'x')).ok());
  AlignedBuffer into(4 * kPage);
  const Result<size_t> count = file->ReadDirectAt(kPage, into.bytes);
  ASSERT_TRUE(count.has_value());
  EXPECT_EQ(*count, kPage + 100);
  EXPECT_TRUE(std::all_of(into.bytes.begin(), into.bytes.begin() + *count,
                          [](char byte) { return byte == 'x'; }));
  EXPECT_EQ(*file->ReadDirectAt(8 * kPage, into.bytes), 0u);
}

TEST_F(PosixFileTest, DirectDescriptorIsOpenedDirectWhereTheFileSystemAllows) {
  std::unique_ptr<File> file = Create("f");
  const PosixDescriptors descriptors = DescriptorsOf(*file);
  if (descriptors.direct == descriptors.buffered) GTEST_SKIP() << "no direct I/O here";
  EXPECT_NE(::fcntl(descriptors.direct, F_GETFL) & O_DIRECT, 0);
  EXPECT_EQ(::fcntl(descriptors.buffered, F_GETFL) & O_DIRECT, 0);
}

TEST_F(PosixFileTest, OpenReportsAbsentAndExistingFiles) {
  EXPECT_EQ(fs_->Open(Path("no"), {}).error().code(), StatusCode::kNotFound);
  Create("f");
  EXPECT_EQ(fs_->Open(Path("f"), {.create = true, .exclusive = true}).error().code(),
            StatusCode::kBusy);
  EXPECT_TRUE(fs_->Open(Path("f"), {.writable = false}).has_value());
}

TEST_F(PosixFileTest, TruncateOptionEmptiesTheFile) {
  ASSERT_TRUE(Create("f")->WriteAt(0, "abc").ok());
  Result<std::unique_ptr<File>> file = fs_->Open(Path("f"), {.truncate = true});
  EXPECT_EQ(*(*file)->Size(), 0u);
}

TEST_F(PosixFileTest, ReadOnlyFileRefusesWrites) {
  Create("f");
  Result<std::unique_ptr<File>> file = fs_->Open(Path("f"), {.writable = false});
  EXPECT_EQ((*file)->WriteAt(0, "x").code(), StatusCode::kIoError);
}

TEST_F(PosixFileTest, AllocateReservesBlocksAndKeepsBytes) {
  std::unique_ptr<File> file = Create("f");
  ASSERT_TRUE(file->WriteAt(0, "abc").ok());
  ASSERT_TRUE(file->Allocate(1 << 20).ok());
  EXPECT_EQ(*file->Size(), 1u << 20);
  struct stat info;
  ASSERT_EQ(::stat(Path("f").c_str(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 1 << 20);
  char into[4];
  ASSERT_EQ(*file->ReadAt(0, into), 4u);
  EXPECT_EQ(std::string_view(into, 4), std::string_view("abc\0", 4));
  ASSERT_TRUE(file->Truncate(10).ok());
  EXPECT_EQ(*file->Size(), 10u);
}

TEST_F(PosixFileTest, StoresIntoAMappingAreReadThroughTheFile) {
  std::unique_ptr<File> file = Create("f");
  ASSERT_TRUE(file->Allocate(4 * kPage).ok());
  Result<char*> address = file->Map(kPage, 2 * kPage);
  ASSERT_TRUE(address.has_value());
  ASSERT_TRUE(file->Populate(*address, kPage, 2 * kPage).ok());
  std::memcpy(*address, "mapped", 6);
  ASSERT_TRUE(file->Sync().ok());
  AlignedBuffer into(kPage);
  ASSERT_EQ(*file->ReadDirectAt(kPage, into.bytes), kPage);
  EXPECT_EQ(std::string_view(into.bytes.data(), 6), "mapped");
  file->LockInRam(*address, kPage);
  file->DropCache(0, kPage);
  const std::unique_ptr<File> alias = std::move(file);
  EXPECT_EQ((*address)[1], 'a');
  alias->Unmap(*address, 2 * kPage);
}

TEST_F(PosixFileTest, MapBeyondTheEndIsRefused) {
  std::unique_ptr<File> file = Create("f");
  ASSERT_TRUE(file->Truncate(kPage).ok());
  EXPECT_EQ(file->Map(0, 2 * kPage).error().code(), StatusCode::kInvalid);
}

TEST_F(PosixFileTest, DirectoriesAreCreatedListedAndRemoved) {
  ASSERT_TRUE(fs_->CreateDirectories(Path("a/b/c")).ok());
  ASSERT_TRUE(fs_->CreateDirectories(Path("a/b/c")).ok());
  ASSERT_TRUE(fs_->CreateDirectories(Path("a/b/d/")).ok());
  Create("a/b/f");
  Result<std::vector<std::string>> names = fs_->List(Path("a/b"));
  ASSERT_TRUE(names.has_value());
  std::sort(names->begin(), names->end());
  EXPECT_EQ(*names, (std::vector<std::string>{"c", "d", "f"}));
  EXPECT_EQ(fs_->CreateDirectories(Path("a/b/f/g")).error_number(), ENOTDIR);
  EXPECT_TRUE(fs_->SyncDirectory(Path("a")).ok());
  EXPECT_TRUE(fs_->RemoveDirectory(Path("a/b/c")).ok());
  EXPECT_FALSE(fs_->RemoveDirectory(Path("a/b")).ok());
  EXPECT_EQ(fs_->List(Path("no")).error().code(), StatusCode::kNotFound);
}

TEST_F(PosixFileTest, RenameLinkAndRemoveMoveNames) {
  ASSERT_TRUE(Create("f")->WriteAt(0, "abc").ok());
  ASSERT_TRUE(fs_->Link(Path("f"), Path("g")).ok());
  ASSERT_TRUE(fs_->Rename(Path("f"), Path("h")).ok());
  EXPECT_FALSE(fs_->Exists(Path("f")));
  EXPECT_TRUE(fs_->Exists(Path("g")));
  ASSERT_TRUE(fs_->Remove(Path("g")).ok());
  EXPECT_EQ(fs_->Remove(Path("g")).code(), StatusCode::kNotFound);
  EXPECT_EQ(*(*fs_->Open(Path("h"), {}))->Size(), 3u);
}

TEST_F(PosixFileTest, LockKeepsAnotherHolderOutUntilReleased) {
  Result<std::unique_ptr<FileLock>> lock = fs_->Lock(Path("lock"));
  ASSERT_TRUE(lock.has_value());
  EXPECT_EQ(fs_->Lock(Path("lock")).error().code(), StatusCode::kBusy);
  lock->reset();
  EXPECT_TRUE(fs_->Lock(Path("lock")).has_value());
}

TEST_F(PosixFileTest, SpaceIsReported) {
  const Result<SpaceInfo> space = fs_->Space(directory_);
  ASSERT_TRUE(space.has_value());
  EXPECT_GT(space->total_bytes, 0u);
  EXPECT_LE(space->available_bytes, space->total_bytes);
}

}  // namespace
}  // namespace firn::io
