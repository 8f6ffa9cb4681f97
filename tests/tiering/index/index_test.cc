#include "tiering/index/index.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace firn {
namespace {

IndexRoot RootOf(uint64_t lsn, int64_t expiry_ms = -1) {
  return {.position = {.segment_id = 3, .offset = static_cast<uint32_t>(4096 + 16 * lsn)},
          .logical_size = 320,
          .size = 160,
          .lsn = lsn,
          .type = log::kDiskString,
          .expiry_ms = expiry_ms};
}

void Put(IndexBatch* batch, IndexKey key, IndexRoot root) {
  batch->changes.push_back({std::move(key), root});
}

class IndexTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/firn-index-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    Open();
  }
  void TearDown() override {
    index_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Open() {
    auto index = Index::Open({.directory = directory_});
    ASSERT_TRUE(index.has_value()) << index.error().message();
    index_ = std::move(*index);
  }
  void Reopen() {
    index_.reset();
    Open();
  }
  void Apply(const IndexBatch& batch) {
    Status status = index_->Apply(batch);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void Set(const IndexKey& key, const IndexRoot& root) {
    IndexBatch batch;
    Put(&batch, key, root);
    Apply(batch);
  }
  void Flush() { ASSERT_TRUE(index_->Flush().ok()); }
  // The LSN of the key's root, 0 if there is none.
  uint64_t LsnOf(const IndexKey& key) {
    auto root = index_->Find(key);
    EXPECT_TRUE(root.has_value());
    return root && root->has_value() ? (*root)->lsn : 0;
  }
  std::vector<std::string> Visited(uint32_t keyspace, uint64_t first_hash, size_t limit = 1000) {
    std::vector<std::string> keys;
    Status status = index_->Visit(keyspace, first_hash, [&](const Index::Visited& visited) {
      keys.push_back(visited.is_long ? "long" : std::string(visited.key));
      return keys.size() < limit;
    });
    EXPECT_TRUE(status.ok()) << status.message();
    return keys;
  }
  // Writes past the class, as damage would. Closes the index and opens it again.
  void Plant(const std::string& key, const std::string& value) {
    index_.reset();
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, directory_, &db).ok());
    std::unique_ptr<rocksdb::DB> owner(db);
    ASSERT_TRUE(db->Put({}, key, value).ok());
    ASSERT_TRUE(db->Flush({}).ok());
    owner.reset();
    Open();
  }

  std::string directory_;
  std::unique_ptr<Index> index_;
};

using Keys = std::vector<std::string>;

TEST_F(IndexTest, OfAKeyTheLastChangeOfABatchCountsInWhateverOrderTheKeysAre) {
  const IndexKey high{1, 900, "high"};
  const IndexKey low{1, 7, "low"};
  const IndexKey same_hash{1, 7, "another of that hash"};
  IndexBatch batch;
  Put(&batch, high, RootOf(1));
  Put(&batch, low, RootOf(2));
  batch.changes.push_back({high, std::nullopt});
  Put(&batch, same_hash, RootOf(4));
  Put(&batch, low, RootOf(5));
  Put(&batch, {0, 950, "of a keyspace before"}, RootOf(6));
  Apply(batch);
  EXPECT_EQ(LsnOf(high), 0u);
  EXPECT_EQ(LsnOf(low), 5u);
  EXPECT_EQ(LsnOf(same_hash), 4u);
  EXPECT_EQ(LsnOf({0, 950, "of a keyspace before"}), 6u);
}

TEST_F(IndexTest, WhatIsAppliedIsFoundWithEveryField) {
  const IndexKey key = {7, 0x1122334455667788, "name"};
  const IndexRoot root = RootOf(5, 1'700'000'000'123);
  Set(key, root);
  auto found = index_->Find(key);
  ASSERT_TRUE(found.has_value());
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->position, root.position);
  EXPECT_EQ((*found)->logical_size, root.logical_size);
  EXPECT_EQ((*found)->size, root.size);
  EXPECT_EQ((*found)->lsn, root.lsn);
  EXPECT_EQ((*found)->type, root.type);
  EXPECT_EQ((*found)->expiry_ms, root.expiry_ms);
}

TEST_F(IndexTest, KeyspaceHashAndBytesAllTellKeysApart) {
  Set({1, 10, "a"}, RootOf(1));
  EXPECT_EQ(LsnOf({1, 10, "a"}), 1u);
  EXPECT_EQ(LsnOf({2, 10, "a"}), 0u);
  EXPECT_EQ(LsnOf({1, 11, "a"}), 0u);
  EXPECT_EQ(LsnOf({1, 10, "b"}), 0u);
  EXPECT_EQ(LsnOf({1, 10, ""}), 0u);
}

TEST_F(IndexTest, LaterChangesWinWithinABatchAndAcrossBatches) {
  const IndexKey key = {1, 10, "a"};
  IndexBatch batch;
  Put(&batch, key, RootOf(1));
  Put(&batch, key, RootOf(2));
  Apply(batch);
  EXPECT_EQ(LsnOf(key), 2u);
  Set(key, RootOf(3));
  EXPECT_EQ(LsnOf(key), 3u);
  IndexBatch removal;
  removal.changes.push_back({key, std::nullopt});
  Apply(removal);
  EXPECT_EQ(LsnOf(key), 0u);
  Apply(removal);  // of what isn't there
}

TEST_F(IndexTest, KeysOfAnyBytesAndLengthsAreKept) {
  const std::string zeros(3, '\0');
  std::vector<std::string> names = {"", zeros, zeros + "x", std::string("\x01\xff\r\n", 4)};
  for (size_t size : {127u, 128u, 129u, 1000u, 100'000u}) names.emplace_back(size, 'k');
  for (size_t i = 0; i < names.size(); ++i) Set({1, 10, names[i]}, RootOf(i + 1));
  Flush();
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(LsnOf({1, 10, names[i]}), i + 1);
}

TEST_F(IndexTest, LongKeysOfOneHashAreToldApart) {
  const std::string first = std::string(200, 'k') + "1";
  const std::string second = std::string(200, 'k') + "2";
  Set({1, 10, first}, RootOf(1));
  EXPECT_EQ(LsnOf({1, 10, second}), 0u);
  Set({1, 10, second}, RootOf(2));
  EXPECT_EQ(LsnOf({1, 10, first}), 1u);
  EXPECT_EQ(Visited(1, 0), (Keys{"long", "long"}));
}

TEST_F(IndexTest, FindByHashReturnsAllRootsOfThatHashOnly) {
  Set({1, 9, "before"}, RootOf(1));
  Set({1, 10, "a"}, RootOf(2));
  Set({1, 10, "b"}, RootOf(3));
  Set({1, 11, "behind"}, RootOf(4));
  Set({2, 10, "elsewhere"}, RootOf(5));
  auto found = index_->FindByHash(1, 10);
  ASSERT_TRUE(found.has_value());
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].first, "a");
  EXPECT_EQ((*found)[0].second.lsn, 2u);
  EXPECT_EQ((*found)[1].first, "b");
  EXPECT_TRUE(index_->FindByHash(1, 12)->empty());
  EXPECT_TRUE(index_->FindByHash(3, 10)->empty());
}

TEST_F(IndexTest, VisitGoesInTheOrderOfHashesAsNumbers) {
  const std::vector<uint64_t> hashes = {~0ull, 0, 0x8000000000000000, 256, 255, 1};
  for (uint64_t hash : hashes) Set({1, hash, std::to_string(hash)}, RootOf(1));
  Set({0, 5, "keyspace before"}, RootOf(1));
  Set({2, 5, "keyspace behind"}, RootOf(1));
  EXPECT_EQ(Visited(1, 0),
            (Keys{"0", "1", "255", "256", "9223372036854775808", "18446744073709551615"}));
  EXPECT_EQ(Visited(1, 256), (Keys{"256", "9223372036854775808", "18446744073709551615"}));
  EXPECT_EQ(Visited(1, 257), (Keys{"9223372036854775808", "18446744073709551615"}));
  EXPECT_EQ(Visited(1, ~0ull), (Keys{"18446744073709551615"}));
}

TEST_F(IndexTest, VisitStopsWhenToldTo) {
  for (uint64_t hash = 0; hash < 10; ++hash) Set({1, hash, std::to_string(hash)}, RootOf(1));
  EXPECT_EQ(Visited(1, 3, 2), (Keys{"3", "4"}));
}

TEST_F(IndexTest, VisitSeesWhatWasThereWhenItBegan) {
  for (uint64_t hash = 0; hash < 4; ++hash) Set({1, hash, std::to_string(hash)}, RootOf(1));
  Keys seen;
  Status status = index_->Visit(1, 0, [&](const Index::Visited& visited) {
    seen.emplace_back(visited.key);
    IndexBatch batch;
    batch.changes.push_back({{1, 3, "3"}, std::nullopt});
    Put(&batch, {1, 100, "new"}, RootOf(2));
    EXPECT_TRUE(index_->Apply(batch).ok());
    return true;
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(seen, (Keys{"0", "1", "2", "3"}));
  EXPECT_EQ(Visited(1, 0), (Keys{"0", "1", "2", "new"}));
}

TEST_F(IndexTest, DroppingAKeyspaceLeavesItsNeighboursAlone) {
  for (uint32_t keyspace : {1u, 2u, 3u, 256u}) {
    Set({keyspace, 0, "low"}, RootOf(1));
    Set({keyspace, ~0ull, "high"}, RootOf(1));
  }
  Flush();
  IndexBatch batch;
  batch.dropped_keyspaces = {2};
  Apply(batch);
  for (uint32_t keyspace : {1u, 3u, 256u}) EXPECT_EQ(Visited(keyspace, 0), (Keys{"low", "high"}));
  Flush();
  Reopen();
  for (uint32_t keyspace : {1u, 3u, 256u}) EXPECT_EQ(Visited(keyspace, 0), (Keys{"low", "high"}));
}

TEST_F(IndexTest, HintsComeDueOldestFirstUpToTheLimit) {
  Set({1, 10, "c"}, RootOf(1, 300));
  Set({1, 11, "a"}, RootOf(2, 100));
  Set({2, 12, "b"}, RootOf(3, 200));
  Set({1, 13, "never"}, RootOf(4));
  EXPECT_TRUE(index_->DueHints(99, 10)->empty());
  auto due = index_->DueHints(200, 10);
  ASSERT_TRUE(due.has_value());
  ASSERT_EQ(due->size(), 2u);
  EXPECT_EQ((*due)[0].expiry_ms, 100u);
  EXPECT_EQ((*due)[0].hash, 11u);
  EXPECT_EQ((*due)[1].expiry_ms, 200u);
  EXPECT_EQ((*due)[1].keyspace, 2u);
  EXPECT_EQ(index_->DueHints(1000, 10)->size(), 3u);
  EXPECT_EQ(index_->DueHints(1000, 1)->size(), 1u);
  EXPECT_TRUE(index_->DueHints(1000, 0)->empty());
}

TEST_F(IndexTest, SpentHintsDoNotComeAgainUnlessTheyAreSetAgain) {
  const IndexKey key = {1, 10, "a"};
  Set(key, RootOf(1, 100));
  IndexBatch spent;
  spent.spent_hints = *index_->DueHints(100, 10);
  Apply(spent);
  EXPECT_TRUE(index_->DueHints(1000, 10)->empty());
  EXPECT_EQ(LsnOf(key), 1u);  // the root is no hint
  IndexBatch again = spent;
  Put(&again, key, RootOf(2, 100));
  Apply(again);
  EXPECT_EQ(index_->DueHints(1000, 10)->size(), 1u);
}

TEST_F(IndexTest, MetaIsEmptyUntilWrittenAndKeptByBatchesWithoutOne) {
  EXPECT_EQ(index_->ReadMeta().value(), "");
  IndexBatch batch;
  batch.meta = std::string("one\0two", 7);
  Apply(batch);
  Set({1, 10, "a"}, RootOf(1));
  EXPECT_EQ(index_->ReadMeta().value(), std::string("one\0two", 7));
}

TEST_F(IndexTest, AnEmptyBatchChangesNothing) {
  Set({1, 10, "a"}, RootOf(1));
  Apply({});
  EXPECT_EQ(LsnOf({1, 10, "a"}), 1u);
}

TEST_F(IndexTest, ReopeningKeepsWhatWasFlushedAndAPrefixOfTheRest) {
  for (uint64_t i = 1; i <= 50; ++i) {
    IndexBatch batch;
    Put(&batch, {1, i, "k"}, RootOf(i));
    batch.meta = std::to_string(i);
    Apply(batch);
    if (i == 30) Flush();
  }
  Reopen();
  uint64_t last = std::stoull(index_->ReadMeta().value());
  EXPECT_GE(last, 30u);
  for (uint64_t i = 1; i <= 50; ++i) EXPECT_EQ(LsnOf({1, i, "k"}), i <= last ? i : 0);
}

TEST_F(IndexTest, ASecondOpenerIsRefused) {
  EXPECT_FALSE(Index::Open({.directory = directory_}).has_value());
}

TEST_F(IndexTest, DestroyLeavesAnEmptyIndex) {
  Set({1, 10, "a"}, RootOf(1));
  Flush();
  index_.reset();
  ASSERT_TRUE(Index::Destroy({.directory = directory_}).ok());
  Open();
  EXPECT_EQ(LsnOf({1, 10, "a"}), 0u);
}

TEST_F(IndexTest, MemoryGrowsWithWhatIsAppliedAndStaysBounded) {
  index_.reset();
  auto index = Index::Open(
      {.directory = directory_, .memory = {.memtable_bytes = 1 << 20, .cache_bytes = 1 << 20}});
  ASSERT_TRUE(index.has_value());
  const uint64_t before = (*index)->MemoryBytes();
  for (uint64_t i = 0; i < 200; ++i) {
    IndexBatch batch;
    for (uint64_t j = 0; j < 200; ++j)
      Put(&batch, {1, i * 200 + j, std::string(50, 'k')}, RootOf(1));
    ASSERT_TRUE((*index)->Apply(batch).ok());
    ASSERT_LE((*index)->MemoryBytes(), 8u << 20);
  }
  EXPECT_GT((*index)->MemoryBytes(), before);
}

// --- damage

std::string StoredKey(uint32_t keyspace, const std::string& hash, const std::string& rest) {
  return std::string("R\0\0\0", 4) + static_cast<char>(keyspace) + hash + rest;
}
const std::string kHashOne("\0\0\0\0\0\0\0\1", 8);

TEST_F(IndexTest, ARootOfAWrongLengthIsCorruptionWhereverItIsRead) {
  const IndexKey key = {1, 1, "a"};
  Set(key, RootOf(1));
  Flush();
  for (size_t size : {0u, 1u, 36u, 38u, 1000u}) {
    Plant(StoredKey(1, kHashOne, std::string("\0a", 2)), std::string(size, 'x'));
    auto found = index_->Find(key);
    ASSERT_FALSE(found.has_value()) << size;
    EXPECT_EQ(found.error().code(), StatusCode::kCorruption);
    auto by_hash = index_->FindByHash(1, 1);
    ASSERT_FALSE(by_hash.has_value()) << size;
    EXPECT_EQ(by_hash.error().code(), StatusCode::kCorruption);
    EXPECT_EQ(index_->Visit(1, 0, [](const Index::Visited&) { return true; }).code(),
              StatusCode::kCorruption);
  }
}

TEST_F(IndexTest, ARootUnderATruncatedKeyIsCorruption) {
  Plant(StoredKey(1, kHashOne, ""), std::string(37, '\0'));
  EXPECT_EQ(index_->Visit(1, 0, [](const Index::Visited&) { return true; }).code(),
            StatusCode::kCorruption);
}

TEST_F(IndexTest, AHintOfAWrongLengthIsPassedOver) {
  Set({1, 10, "a"}, RootOf(1, 100));
  Flush();
  Plant(std::string("E\0\0", 3), "");
  auto due = index_->DueHints(1000, 10);
  ASSERT_TRUE(due.has_value());
  ASSERT_EQ(due->size(), 1u);
  EXPECT_EQ((*due)[0].hash, 10u);
}

TEST_F(IndexTest, FlippedBytesInItsFilesAreErrorsNotOtherRoots) {
  for (uint64_t i = 1; i <= 2000; ++i) Set({1, i, "k"}, RootOf(i));
  Flush();
  index_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    for (int offset = 100; offset < 60'000; offset += 1000) {
      file.seekg(offset);
      const int byte = file.get();
      file.seekp(offset);
      file.put(static_cast<char>(byte ^ 0x40));
    }
  }
  auto index = Index::Open({.directory = directory_});
  if (!index) return;  // refused as a whole
  int failed = 0;
  for (uint64_t i = 1; i <= 2000; ++i) {
    auto root = (*index)->Find({1, i, "k"});
    if (!root) {
      EXPECT_EQ(root.error().code(), StatusCode::kCorruption);
      ++failed;
    } else {
      ASSERT_TRUE(root->has_value());
      EXPECT_EQ((*root)->lsn, i);
    }
  }
  EXPECT_GT(failed, 0);
}

TEST_F(IndexTest, AFileInPlaceOfTheDirectoryIsAnError) {
  const std::string path = directory_ + "/file";
  std::ofstream(path) << "x";
  EXPECT_FALSE(Index::Open({.directory = path}).has_value());
}

}  // namespace
}  // namespace firn
